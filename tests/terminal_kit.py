"""A terminal for tests: a program under a pseudo-terminal, what it shows, and keys typed at it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

from harness import LIMIT, Project, until

_TOKEN = re.compile(r"\x1b\[(?P<parameters>[0-?]*)(?P<final>[@-~])|\x1b.|[\x00-\x1f]|[^\x00-\x1f\x1b]+", re.S)
_UNFINISHED = re.compile(rb"\x1b(\[[0-?]*)?\Z")


class Display:
    """What stands on a terminal and has scrolled out of it, line by line. Knows what our own output may use: a text that
    moves the cursor in any other way than to the beginning of its line is noted in ``strange``."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[list[str]] = [[]]
        self.wrapped: set[int] = set()
        """Rows that go on with the one before, as xterm.js counts them: erased from their beginning they do no more."""
        self.column = 0
        self.colours = 0
        self.bells = 0
        self.strange: list[str] = []

    def feed(self, text: str) -> None:
        for token in _TOKEN.finditer(text):
            self._take(token)

    def _take(self, token: re.Match[str]) -> None:
        text = token[0]
        if text == "\r":
            self.column = 0
        elif text == "\n":
            self.rows.append([])
            self.column = 0
        elif text == "\a":
            self.bells += 1
        elif token["final"] == "K" and not token["parameters"]:
            del self.rows[-1][self.column :]
            if not self.column:
                self.wrapped.discard(len(self.rows) - 1)
        elif token["final"] == "m":
            self.colours += 1
        elif text[0] < " ":
            self.strange.append(text)
        else:
            for letter in text:
                self._put(letter)

    def _put(self, letter: str) -> None:
        if self.column == self.columns:  # only what follows the last column goes on in a new line
            self.rows.append([])
            self.wrapped.add(len(self.rows) - 1)
            self.column = 0
        row = self.rows[-1]
        row += " " * (self.column + 1 - len(row))
        row[self.column] = letter
        self.column += 1

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.rows]

    @property
    def whole_lines(self) -> list[str]:
        """Those that are over, wrapped ones joined."""
        joined: list[str] = []
        for index, row in enumerate(self.rows[:-1]):
            text = "".join(row)
            if index in self.wrapped:
                joined[-1] += text
            else:
                joined.append(text)
        if len(self.rows) - 1 in self.wrapped:
            joined.pop()
        return [line.rstrip() for line in joined]


class Terminal:
    """A program that has a terminal of its own: leader of its session, in the foreground."""

    def __init__(self, command: list[str], directory: Path, environment: dict[str, str], columns: int = 100) -> None:
        self.display = Display(columns)
        self.text = ""
        """All that was written, without escape sequences."""
        self._seen = 0
        self._rest = b""
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        # setsid(1) makes the terminal the controlling one and execs: the pid is the program's.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], cwd=directory, env=environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)

    def read(self, patience: float = 0.0) -> None:
        while select.select([self._master], [], [], patience)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: nobody has it open any more
                return
            data = self._rest + data
            cut = _UNFINISHED.search(data)
            end = cut.start() if cut else len(data)
            while end and len(data) - end < 4 and _is_torn(data[:end]):
                end -= 1
            self._rest = data[end:]
            text = data[:end].decode("utf-8")
            self.display.feed(text)
            self.text += re.sub(r"\x1b\[[0-?]*[@-~]", "", text)
            patience = 0.0

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def says(self, text: str, limit: float = LIMIT) -> None:
        """Wait for this, behind what earlier calls have waited for."""

        def found() -> bool:
            self.read(0.01)
            at = self.text.find(text, self._seen)
            if at >= 0:
                self._seen = at + len(text)
            return at >= 0

        until(found, lambda: f"{text!r}; since then it says\n{self.text[self._seen :]}", limit)

    def shows(self, pattern: str) -> str:
        """Wait for a line that is like this, on the screen as it is then."""

        def found() -> str:
            self.read(0.01)
            return next((line for line in self.display.lines if re.search(pattern, line)), "")

        return str(until(found, lambda: f"{pattern!r} on\n" + "\n".join(self.display.lines)))

    @property
    def is_cooked(self) -> bool:
        """Whether the terminal collects lines and shows what is typed, as a shell's programs expect it."""
        cooked = termios.ICANON | termios.ECHO
        return termios.tcgetattr(self._master)[3] & cooked == cooked

    def ends(self) -> int:
        """Wait for its end; the exit status."""

        def ended() -> bool:
            self.read(0.01)
            return self.process.poll() is not None

        until(ended, lambda: f"the end; it says\n{self.text[-3000:]}")
        self.read()
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
        self.process.wait()
        os.close(self._master)


def _is_torn(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


@contextlib.contextmanager
def terminal(
    made: Project, *arguments: str, columns: int = 100, command: list[str] | None = None, **more: str
) -> Iterator[Terminal]:
    """``scons watch`` with these arguments (or another command) on a terminal. ``more``: environment."""
    environment = {name: value for name, value in made.environment.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm", "DISPLAY": "", "WAYLAND_DISPLAY": "", "DBUS_SESSION_BUS_ADDRESS": "", **more}
    found = Terminal(command or made.command("-Q", "watch", *arguments), made.root, environment, columns)
    try:
        yield found
    finally:
        found.close()


def slow_compiler(made: Project) -> None:
    """``./cc``: gcc that waits while there is a file ``hold``, deaf to polite requests; it notes that it has begun."""
    made.write(
        "cc",
        "#!/bin/sh\ncase \"$*\" in *-c*)\n"  # SCons asks for the version too
        "if [ -e hold ]; then trap '' INT TERM; : >begun; while [ -e hold ]; do sleep 0.02; done; fi;; esac\n"
        'exec gcc "$@"\n',
    )
    made.path("cc").chmod(0o755)


def state_of(pid: int) -> str:
    """R, S, T …; "" when it is gone (proc(5))."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


