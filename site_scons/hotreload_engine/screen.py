"""What a terminal shows beside the lines of results: a build's progress, and what tells our lines from the host's.

Only the current line is ever rewritten: what has scrolled by stays. Used for terminals; a pipe has none of this.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TextIO

from .escapes import plain

_BAR = 24
"""Columns of a bar, where there are enough left for a name."""
_NAME = 20
_CLEAR = "\r\x1b[K"
_TOKEN = re.compile(r"\x1b\[[\d;]*m| +|[^ \x1b]+")
_GOES_ON = "    "
"""Before what continues a line that was too long."""


class Screen:
    """A terminal that a session writes to. ``stream`` is its own: builds redirect standard output.

    ``shared``: a host writes to the terminal too. Then our lines carry a mark, and the host's stay as they are: one
    that draws, asks whether it has a terminal or writes half a line finds what it would find without us. ``quiet``: no
    progress is shown.
    """

    def __init__(self, stream: TextIO, colour: bool, shared: bool = False, quiet: bool = False) -> None:
        self.stream = stream
        self.verbose = False
        self._colour = colour
        self._shared = shared
        self._quiet = quiet
        self._shown = False

    def framed(self, text: str, wraps: bool = True) -> str:
        """What to write so that the lines of ``text`` stand by themselves. Not ``wraps``: none is cut in two by us, a
        compiler's for example, which people copy and editors read."""
        before, self._shown = (_CLEAR if self._shown else ""), False
        if not self._shared:
            return f"{before}{text}\n"
        # Behind half a line of the host's the blanks go on to the next one; at its beginning they do nothing.
        fresh = f"{' ' * (self.columns - 1)}{_CLEAR}" if self.columns else ""
        mark = "\x1b[36m│\x1b[0m " if self._colour else "│ "
        columns = self.columns - 2 if wraps else 0
        lines = [row for line in text.split("\n") for row in wrapped(line, columns)]
        return before + fresh + "".join(f"{mark}{line}\n" for line in lines)

    def progress(self, done: int, total: int, name: str) -> None:
        """Show how far a build is. Any thread, as long as nobody writes lines."""
        if self._quiet or not self.columns:
            return
        mark = "│ " if self._shared else ""
        self._shown = True
        self._write(f"{_CLEAR}{mark}{progress(done, total, name, self.columns - 1 - len(mark), self._colour)}")

    def clear(self) -> None:
        """No build is under way."""
        if self._shown:
            self._shown = False
            self._write(_CLEAR)

    def bell(self) -> None:
        self._write("\a")

    @property
    def columns(self) -> int:
        """0 where the terminal does not say."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns
        except OSError:
            return 0

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def progress(done: int, total: int, name: str, columns: int, colour: bool) -> str:
    """``[3/12] src/name.c``, with a bar where the width allows; never wider than ``columns``."""
    counter = f"[{done}/{total}]"
    left = columns - width(counter) - 1
    bar = ""
    if left >= _BAR + 1 + _NAME:
        full = _BAR * min(done, total) // max(total, 1)
        done_part, rest = "━" * full, "━" * (_BAR - full)
        bar = f"\x1b[32m{done_part}\x1b[0;2m{rest}\x1b[0m " if colour else f"{done_part}{' ' * len(rest)} "
        left -= _BAR + 1
    return f"{bar}{counter} {_shortened(name, left)}" if left > 1 else counter[: max(columns, 0)]


def wrapped(line: str, columns: int) -> list[str]:
    """Cut at spaces so that no row is wider than ``columns``, colour going on; where there is hardly room, as it is."""
    if columns < 5 * len(_GOES_ON) or width(plain(line)) <= columns:
        return [line]
    rows, left, colour = [""], columns, ""
    for token in _TOKEN.findall(line):
        if token[0] == "\x1b":
            colour = "" if token == "\x1b[0m" else token
        elif width(token) <= left or width(token) > columns - len(_GOES_ON):
            left -= width(token)  # the terminal itself goes on where a word, a path say, is longer than a row
        else:
            rows[-1] = rows[-1].rstrip(" ") + ("\x1b[0m" if colour else "")
            rows.append(_GOES_ON + colour)
            left = columns - len(_GOES_ON)
            if token[0] == " ":
                continue
            left -= width(token)
        rows[-1] += token
    return rows


def _shortened(name: str, columns: int) -> str:
    """The end of a name says more than its beginning."""
    if width(name) <= columns:
        return name
    while name and width(name) > columns - 1:
        name = name[1:]
    return "…" + name


def width(text: str) -> int:
    """Columns that a text takes."""
    wide, none = "WF", unicodedata.combining
    return sum(0 if none(letter) else 2 if unicodedata.east_asian_width(letter) in wide else 1 for letter in text)
