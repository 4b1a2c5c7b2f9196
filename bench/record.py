"""The moving picture at the top of the README: a real ``scons watch --hot-run``, and edits of its plugin.

``python -m bench.record`` plays the edits below in an editor's pane (this script types and saves), takes what the
session writes with its times, and draws both as docs/terminal.svg: CSS alone moves it. Where motion is not wanted it
shows its last moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/terminal.svg"
COLUMNS, EDITOR_ROWS, TERMINAL_ROWS = 104, 16, 19
CELL, LINE, MARGIN = 8.4, 19, 14
"""Pixels: a column, a row, and round each pane."""
KEY, HOLD = 0.055, 4.0
"""Seconds: between two keys, and at the end."""
SCONSTRUCT = """\
env = Environment(tools=["default", "hotreload"], CPPPATH=["src"])
plug = env.HotLibrary("build/plug", ["src/plug.c"])
main = env.HotProgram("build/hello", ["src/main.c"], plugins=[plug])
"""
PLUG_H = """\
#include "hotreload.h"
typedef struct plug_state plug_state;
#define PLUG_FUNCTIONS(X) X(plug_hello, void, (plug_state *state))
HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
"""
PLUG_C = """\
#include "plug.h"
#include <stdio.h>

struct plug_state {
    unsigned calls;
};
HR_STATE(plug, plug_state)

void plug_hello(plug_state *state)
{
    state->calls++;
    printf("Hello Link (call %u)\\n", state->calls);
}
"""
PLAY: tuple[tuple[float, tuple[tuple[str, str], ...]], ...] = (
    (3.0, (("Hello Link", "Good morning"),)),
    (
        3.0,
        (
            ("calls;\n", "calls;\n    int coins;\n"),
            ("calls++;\n", "calls++;\n    state->coins += 3\n"),
            ("(call %u)", "(call %u, %d coins)"),
            ("->calls);", "->calls, state->coins);"),
        ),
    ),
    (2.5, (("coins += 3", "coins += 3;"),)),
    (3.0, (("+= 3;\n", "+= 3;\n    *(volatile int *)0 = 7;\n"),)),
    (3.5, (("    *(volatile int *)0 = 7;\n", ""),)),
)
"""Seconds to look at what there is, then what is typed before the file is saved."""

Row = list[tuple[str, str]]
"""Letters, each with the name of its colour."""
_COLOURS = {"31": "red", "32": "green", "33": "yellow", "36": "cyan", "2": "dim"}
_TOKEN = re.compile(r"\x1b\[([0-?]*)([@-~])|([\x00-\x1f])|([^\x00-\x1f\x1b])")
_C = re.compile(r'(?P<green>"[^"]*"?)|(?P<violet>#\w+|HR_\w+)|(?P<cyan>\b(?:struct|unsigned|int|void|volatile)\b)')
_STYLE = """
text{font:14px ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",Consolas,monospace;fill:#c9d1d9;white-space:pre}
.red{fill:#ff7b72}.green{fill:#7ee787}.yellow{fill:#e3b341}.cyan{fill:#79c0ff}.violet{fill:#d2a8ff}.dim{fill:#8b949e}
@media(prefers-reduced-motion:reduce){*{animation:none!important}}
"""


class Display:
    """Lines as they stand at last, with the moment when each began. Knows the escape sequences of our own output."""

    def __init__(self) -> None:
        self.rows: list[Row] = [[]]
        self.began = [0.0]
        self._column, self._style = 0, ""

    def feed(self, text: str, now: float) -> None:
        for parameters, final, control, letter in _TOKEN.findall(text):
            if final == "m":
                self._style = next((_COLOURS[each] for each in parameters.split(";") if each in _COLOURS), "")
            elif final == "K":
                del self.rows[-1][self._column :]
            elif control == "\r":
                self._column = 0
            elif control == "\n" or (letter and self._column == COLUMNS):
                self.rows.append([])
                self.began.append(now)
                self._column = 0
            if letter:
                row = self.rows[-1]
                row += [(" ", "")] * (self._column + 1 - len(row))
                row[self._column] = letter, self._style
                self._column += 1


class Session:
    """A running ``scons watch --hot-run`` on a pseudo-terminal."""

    def __init__(self, directory: Path) -> None:
        self.display = Display()
        self.display.feed("$ scons -Q watch --hot-run\r\n", 0.0)
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", TERMINAL_ROWS, COLUMNS, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
        self._process = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-m", "SCons", "-Q", "watch", "--hot-run"],
            cwd=directory, env=environment, stdin=slave, stdout=slave, stderr=slave,
        )  # fmt: skip
        os.close(slave)
        self._began = time.monotonic()

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    def watch(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = self.now + seconds
        while (left := end - self.now) > 0 and not until():
            if select.select([self._master], [], [], min(left, 0.1))[0]:
                self.display.feed(os.read(self._master, 65536).decode("utf-8", "replace"), self.now)

    def says(self, text: str) -> None:
        self.watch(30, lambda: any(text in "".join(letter for letter, _ in row) for row in self.display.rows))

    def close(self) -> None:
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            self.watch(10)
        self._process.wait()


class Editor:
    """A file that is typed into: what its pane shows, moment by moment."""

    def __init__(self, path: Path, session: Session) -> None:
        self.moments: list[tuple[float, list[Row]]] = []
        self.cursor: list[tuple[float, int, int]] = []
        """Moment, row, column."""
        self._path, self._session = path, session
        self._text = path.read_text()
        self._show(0, "")

    def replace(self, old: str, new: str) -> None:
        """What differs is taken away, and typed key by key."""
        before = _common(old, new)
        after = _common(old[before:][::-1], new[before:][::-1])
        start = self._text.index(old) + before
        typed = new[before : len(new) - after]
        head, tail = self._text[:start], self._text[start + len(old) - before - after :]
        for count in range(len(typed) + 1):
            self._text = head + typed[:count] + tail
            if not typed[:count].isspace() or count == len(typed):  # an editor indents by itself
                self._show(start + count, "modified")
                self._session.watch(KEY)

    def save(self) -> None:
        self._session.watch(8 * KEY)
        self._path.write_text(self._text)
        self._show(None, "saved")

    def _show(self, at: int | None, state: str) -> None:
        now = self._session.now
        title = [(letter, "dim") for letter in "src/plug.c  "] + [(letter, "yellow") for letter in state]
        lines = [[*((each, "dim") for each in f"{n:3} "), *_highlighted(line)] for n, line in
                 enumerate(self._text.splitlines(), 1)]  # fmt: skip
        self.moments.append((now, [title, *lines]))
        if at is not None:
            before = self._text[:at]
            self.cursor.append((now, before.count("\n") + 1, at - before.rfind("\n") - 1 + 4))


def _common(one: str, other: str) -> int:
    """Letters with which both begin."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _highlighted(line: str) -> Row:
    found = {at: each.lastgroup or "" for each in _C.finditer(line) for at in range(*each.span())}
    return [(letter, found.get(at, "")) for at, letter in enumerate(line)]


class Picture:
    """SVG whose parts are shown and moved by CSS. ``seconds``: until it begins again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._names: dict[str, str] = {}
        self.parts: list[str] = []

    def moved(self, moments: list[tuple[float, str]]) -> str:
        """Attributes of an element: these declarations of CSS, each from its moment on."""
        frames = "".join(f"{min(max(at, 0) / self._seconds, 1):.2%}{{{css}}}" for at, css in moments)
        name = self._names.setdefault(f"{frames}100%{{{moments[-1][1]}}}", f"k{len(self._names)}")
        return f'style="{moments[-1][1]};animation:{name} {self._seconds:.2f}s step-end infinite"'

    def row(self, row: Row, y: float, more: str = "") -> None:
        text = "".join(
            f'<tspan class="{style}">{escape(part)}</tspan>' if style else escape(part)
            for style, letters in itertools.groupby(row, key=lambda each: each[1])
            for part in ["".join(letter for letter, _ in letters)]
        )
        if text.strip():
            length = f"{len(row) * CELL:g}"
            self.parts.append(f'<text y="{y:g}" textLength="{length}" xml:space="preserve" {more}>{text}</text>')

    def whole(self, width: float, height: float) -> str:
        frames = "".join(f"@keyframes {name}{{{frames}}}\n" for frames, name in self._names.items())
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}">'
            "<title>A watch beside an editor: each save runs in the living program, or says why not</title>"
            f"<style>{_STYLE}{frames}</style>\n" + "\n".join(self.parts) + "\n</svg>\n"
        )


def draw(editor: Editor, display: Display, seconds: float) -> str:
    picture = Picture(seconds)
    parts = picture.parts
    width = COLUMNS * CELL + 2 * MARGIN
    top = (EDITOR_ROWS + 1) * LINE + 2 * MARGIN
    height = top + TERMINAL_ROWS * LINE + 2 * MARGIN
    parts.append(f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#0d1117"/>')
    parts.append(f'<rect width="{width:g}" height="{top - MARGIN:g}" rx="8" fill="#161b22"/>')
    parts.append(f'<g transform="translate({MARGIN} {MARGIN + 12})">')
    for number in range(EDITOR_ROWS + 1):
        shown = [(at, rows[number] if number < len(rows) else []) for at, rows in editor.moments]
        runs = [(row, next(group)[0]) for row, group in itertools.groupby(shown, lambda moment: moment[1])]
        for (row, start), (_, end) in itertools.pairwise([*runs, ([], seconds)]):
            moments = [(0.0, "opacity:0")] * (start > 0) + [(start, "opacity:1")]
            moments += [(end, "opacity:0")] * (end < seconds)
            picture.row(row, number * LINE, picture.moved(moments) if len(moments) > 1 else "")
    moves = [(at, f"{column * CELL:g}px,{row * LINE - 13:g}px") for at, row, column in editor.cursor]
    moved = picture.moved([(at, f"transform:translate({place})") for at, place in moves])
    parts.append(f'<rect width="2" height="17" fill="#58a6ff" {moved}/></g>')
    parts.append(f'<svg x="{MARGIN}" y="{top:g}" width="{width - MARGIN:g}" height="{TERMINAL_ROWS * LINE + 4}">')
    counts = [(at, number + 1) for number, at in enumerate(display.began)]
    rolls = [(at, f"transform:translateY({min(TERMINAL_ROWS - count, 0) * LINE}px)") for at, count in counts]
    parts.append(f"<g {picture.moved(rolls)}>")
    for number, row in enumerate(display.rows):
        picture.row(row, number * LINE + 14)
    veil = picture.moved([(at, f"transform:translateY({count * LINE}px)") for at, count in counts])
    parts.append(f'<rect width="100%" height="{len(display.rows) * LINE}" fill="#0d1117" {veil}/></g></svg>')
    return picture.whole(width, height)


def lay(root: Path) -> None:
    shutil.copytree(ROOT / "site_scons", root / "site_scons", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "src").mkdir()
    shutil.copy(ROOT / "src/hotreload.h", root / "src")
    shutil.copy(ROOT / "src/hello/main.c", root / "src")
    for name, text in {"SConstruct": SCONSTRUCT, "src/plug.h": PLUG_H, "src/plug.c": PLUG_C}.items():
        (root / name).write_text(text)
    subprocess.run([sys.executable, "-m", "SCons", "-s"], cwd=root, check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        lay(root)
        session = Session(root)
        try:
            editor = Editor(root / "src/plug.c", session)
            session.says("watching")
            for pause, edits in PLAY:
                session.watch(pause)
                for old, new in edits:
                    editor.replace(old, new)
                editor.save()
            session.watch(HOLD)
            end = session.now
            text = draw(editor, session.display, end)
        finally:
            session.close()
    PICTURE.write_text(text, encoding="utf-8")
    print(f"{PICTURE}: {end:.0f} s, {len(text.encode()) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
