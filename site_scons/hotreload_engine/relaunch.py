"""The same scons again: to try a changed SConstruct before trusting it, then in our place.

A changed SConscript can only be read by a fresh process. It is read in a child first (``trial``), which stops where
building would begin: while that fails the old session goes on. Then ``again`` replaces this process, with the same
arguments, environment and directory, so that hash order, options and our parent's idea of our pid stay.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from . import processes

TRIAL = "HOTRELOAD_TRIAL"
"""Environment variable: read the SConscripts, build nothing, say so on the descriptor that it names, exit 0."""
CARRIED = "HOTRELOAD_CARRIED"
"""Environment variable: what the session before the re-exec hands on, as JSON."""

_START = 0.05
"""Seconds that Python and SCons take before they read anything, at the very least."""


class Relaunch:
    def __init__(self, directory: str) -> None:
        """``directory``: where scons was started (before -C)."""
        self._directory = directory

    def trial(self) -> tuple[bool, str]:
        """Whether the SConscripts can be read now, to the end, and what scons said."""
        reader, writer = os.pipe()
        try:
            done = subprocess.run(
                _command(),
                cwd=self._directory,
                env={**os.environ, TRIAL: str(writer)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[writer],
                text=True,
                errors="replace",
                check=False,
            )
        finally:
            os.close(writer)
        with open(reader, "rb") as said:
            os.set_blocking(reader, False)  # something that the SConscripts started may hold the other end open
            whole = bool(said.read(1))
        if done.returncode == 0 and not whole:
            return False, f"{done.stdout}an SConscript calls Exit: nothing would be built any more\n"
        return done.returncode == 0, done.stdout

    def again(self, carried: Mapping[str, Any]) -> NoReturn:
        """Become a fresh scons. Children stay children."""
        os.environ[CARRIED] = json.dumps({**carried, "at": time.time()})
        self._become(_command())

    def with_option(self, option: str) -> NoReturn:
        """Become a scons that has this option too, from its beginning and for good."""
        self._become([*_command(), option])

    def _become(self, command: list[str]) -> NoReturn:
        os.chdir(self._directory)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, command)


def is_trial() -> bool:
    """Whether this process only tries whether the SConscripts can be read; then they have been, to the end."""
    if TRIAL not in os.environ:
        return False
    os.write(int(os.environ[TRIAL]), b".")
    return True


def carried() -> dict[str, Any]:
    """What the session before handed on; taken out of the environment, so that no SConscript sees it."""
    text = os.environ.pop(CARRIED, "")
    return dict(json.loads(text)) if text else {}


def began(carried: Mapping[str, Any]) -> float | None:
    """When this process began to read SConscripts at the earliest (Unix seconds).

    None when it does so again because they changed while they were read: once is enough, for the project itself may be
    what changes them.
    """
    if carried.get("reread"):
        return None
    if "at" in carried:
        return float(carried["at"]) + _START
    return processes.began("self") + _START


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]
