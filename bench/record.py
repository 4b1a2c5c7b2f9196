"""The moving picture at the top of the README: a real ``scons watch --hot-run``, and edits of its plugin.

``python -m bench.record`` plays the edits below in an editor's pane (this script types and saves), takes what the
session writes with its times, and draws both as docs/terminal.svg: CSS alone moves it. Where motion is not wanted it
shows its last moment.
"""

from __future__ import annotations

import itertools
import re
import sys
import tempfile
import time
from collections.abc import Callable
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness import Project, project  # noqa: E402
from terminal_kit import Display, Terminal, terminal  # noqa: E402

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
_C = re.compile(r'(?P<green>"[^"]*"?)|(?P<violet>#\w+|HR_\w+)|(?P<cyan>\b(?:struct|unsigned|int|void|volatile)\b)')
_STYLE = """
text{font:14px ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",Consolas,monospace;fill:#c9d1d9;white-space:pre}
.red{fill:#ff7b72}.green{fill:#7ee787}.yellow{fill:#e3b341}.cyan{fill:#79c0ff}.violet{fill:#d2a8ff}.dim{fill:#8b949e}
@media(prefers-reduced-motion:reduce){*{animation:none!important}}
"""


class Recorder(Display):
    """What stands on the terminal at last, with the colour of each letter and the moment when each line began."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(COLUMNS)
        self.began = [0.0]
        self._now, self._style = now, ""
        self._styles: list[list[str]] = [[]]

    @property
    def coloured(self) -> list[Row]:
        return [list(zip(row, styles, strict=False)) for row, styles in zip(self.rows, self._styles, strict=True)]

    def _take(self, token: re.Match[str]) -> None:
        if token["final"] == "m":
            self._style = next((_COLOURS[each] for each in token["parameters"].split(";") if each in _COLOURS), "")
        super()._take(token)
        self._note_rows()

    def _put(self, letter: str) -> None:
        super()._put(letter)
        self._note_rows()
        styles = self._styles[-1]
        styles += [""] * (self.column - len(styles))
        styles[self.column - 1] = self._style

    def _note_rows(self) -> None:
        while len(self.began) < len(self.rows):
            self.began.append(self._now())
            self._styles.append([])


class Session:
    """A running ``scons watch --hot-run`` on a terminal, and what is to be drawn of it."""

    def __init__(self, terminal_: Terminal) -> None:
        self._terminal, self._began = terminal_, time.monotonic()
        self.recorder = terminal_.display = Recorder(lambda: self.now)
        self.recorder.feed("$ scons -Q watch --hot-run\r\n")

    @property
    def now(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began

    def watch(self, seconds: float) -> None:
        end = self.now + seconds
        while (left := end - self.now) > 0:
            self._terminal.read(min(left, 0.02))


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


def draw(editor: Editor, recorder: Recorder, seconds: float) -> str:
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
    counts = [(at, number + 1) for number, at in enumerate(recorder.began)]
    rolls = [(at, f"transform:translateY({min(TERMINAL_ROWS - count, 0) * LINE}px)") for at, count in counts]
    parts.append(f"<g {picture.moved(rolls)}>")
    for number, row in enumerate(recorder.coloured):
        picture.row(row, number * LINE + 14)
    veil = picture.moved([(at, f"transform:translateY({count * LINE}px)") for at, count in counts])
    parts.append(f'<rect width="100%" height="{len(recorder.rows) * LINE}" fill="#0d1117" {veil}/></g></svg>')
    return picture.whole(width, height)


def lay(made: Project) -> None:
    made.write("src/main.c", (ROOT / "src/hello/main.c").read_text(encoding="utf-8"))
    for name, text in {"SConstruct": SCONSTRUCT, "src/plug.h": PLUG_H, "src/plug.c": PLUG_C}.items():
        made.write(name, text)
    made.scons("-s")


def main() -> None:
    with tempfile.TemporaryDirectory() as place, project(Path(place)) as made:
        lay(made)
        with terminal(made, "--hot-run", columns=COLUMNS) as shown:
            session = Session(shown)
            editor = Editor(made.path("src/plug.c"), session)
            shown.says("watching")
            for pause, edits in PLAY:
                session.watch(pause)
                for old, new in edits:
                    editor.replace(old, new)
                editor.save()
            session.watch(HOLD)
            end = session.now
            text = draw(editor, session.recorder, end)
            shown.type("q")
            shown.ends()
    PICTURE.write_text(text, encoding="utf-8")
    print(f"{PICTURE}: {end:.0f} s, {len(text.encode()) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
