"""The host that ``--hot-run`` starts and owns: started, its end named, reaped with all its children.

It runs in a process group of its own, so that one Ctrl-C reaches us first and we end it in order; Ctrl-Z is passed on
to it. Its input is empty: the terminal's keys are the watch's, and a host that reads the keyboard is started in another
terminal. Its output goes where ours goes, unchanged: on a terminal it is ours that has a mark (screen.py).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping

from .model import HotReloadError

YOUNG = 5.0
"""Seconds after its start in which a host is looked at more closely."""
GRACE = 2.0
"""Seconds between the request to end and SIGKILL."""


class Runner:
    """One program, at most one process of it at a time. Used by one thread."""

    def __init__(self, program: str, arguments: str, adopted: int = 0) -> None:
        self.program = os.path.realpath(program)
        self._command = [program, *shlex.split(arguments)]
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted = adopted
        """A child that the process image before a re-exec started: same pid, no Popen."""
        self._suspended = False
        self._young_until = 0.0

    @property
    def pid(self) -> int:
        """0 when it does not run."""
        return self._process.pid if self._process else self._adopted

    @property
    def is_young(self) -> bool:
        return bool(self.pid) and time.monotonic() < self._young_until

    def wants_terminal(self) -> str:
        """The name of the signal that has stopped it because it would use the terminal as only a foreground job may
        (read it, change its settings); "" otherwise."""
        try:
            found = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) if self.pid else None
        except ChildProcessError:
            return ""
        number = found.si_status if found else 0
        return signal.Signals(number).name if number in (signal.SIGTTIN, signal.SIGTTOU) else ""

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """``environment``: variables that it has beside ours."""
        self._young_until = time.monotonic() + YOUNG
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                process_group=0,
                restore_signals=True,
                env={**os.environ, **environment} if environment else None,
            )
        except OSError as error:
            raise HotReloadError(
                f"the host does not start: {error.strerror}",
                self._command[0],
                "build it, or start it yourself: it is found when it runs",
            ) from error

    def ended(self) -> str:
        """Once after it has ended, how: "exit 0", "SIGSEGV"; "" while it runs or when it was never started."""
        code: int | None = None
        if self._process:
            code = self._process.poll()
        elif self._adopted:
            pid, status = os.waitpid(self._adopted, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if pid else None
        if code is None:
            return ""
        self._process, self._adopted = None, 0
        return f"exit {code}" if code >= 0 else signal.Signals(-code).name

    def suspend(self) -> None:
        """As Ctrl-Z does, for its process group."""
        self._suspended = True
        _tell(self.pid, signal.SIGTSTP)

    def go_on(self) -> None:
        """Only after ``suspend``: a host that somebody else has stopped stays so."""
        if self._suspended:
            self._suspended = False
            _tell(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """It gets no more time to end by itself: for while ``stop`` waits (a signal's handler may call it)."""
        _tell(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM to its process group, SIGKILL after GRACE; returns when it is gone."""
        group = self.pid
        if not group:
            return
        _tell(group, signal.SIGTERM)
        _tell(group, signal.SIGCONT)
        deadline = time.monotonic() + GRACE
        while not self.ended() and self.pid:
            if time.monotonic() > deadline:
                _tell(group, signal.SIGKILL)
            time.sleep(0.005)
        _tell(group, signal.SIGKILL)


def _tell(group: int, number: int) -> None:
    """Signal a process group; 0: there is none."""
    if group:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
