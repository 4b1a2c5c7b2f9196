"""Compilers' output, errors before warnings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hotreload_engine.diagnostics import errors_first

GCC = """\
In file included from a.c:1:
a.h: In function ‘f’:
a.h:2:9: warning: unused variable ‘x’ [-Wunused-variable]
    2 |     int x;
      |         ^
a.h:3:12: error: ‘y’ undeclared
    3 |     return y;
      |            ^
a.h:3:12: note: each undeclared identifier is reported only once
b.c: In function ‘g’:
b.c:9:1: warning: no return statement
/usr/bin/ld: c.o: undefined reference to `h'
collect2: error: ld returned 1 exit status
"""
SORTED = """\
In file included from a.c:1:
a.h: In function ‘f’:
a.h:3:12: error: ‘y’ undeclared
    3 |     return y;
      |            ^
a.h:3:12: note: each undeclared identifier is reported only once
/usr/bin/ld: c.o: undefined reference to `h'
collect2: error: ld returned 1 exit status
In file included from a.c:1:
a.h: In function ‘f’:
a.h:2:9: warning: unused variable ‘x’ [-Wunused-variable]
    2 |     int x;
      |         ^
b.c: In function ‘g’:
b.c:9:1: warning: no return statement
"""


def test_warnings_come_last_with_all_that_is_theirs() -> None:
    """Titles, notes and lines of source go with their diagnostic; a title is said again where it is needed."""
    assert errors_first(GCC) == SORTED


def test_colours_are_seen_through() -> None:
    """As gcc prints them with -fdiagnostics-color=always, at a line's beginning too."""
    warning = "\x1b[01m\x1b[Ka.c:1:5:\x1b[m\x1b[K \x1b[01;35m\x1b[Kwarning: \x1b[m\x1b[Kunused\n    1 | \x1b[01;35m\x1b[Kx\x1b[m\x1b[K\n"
    error = "\x1b[01m\x1b[Ka.c:2:5:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kno\n"
    assert errors_first(warning + error) == error + warning


@pytest.mark.parametrize(
    "text",
    ["", "a.c:1:2: warning: w\n   1 | x\n", "a.c:1:2: error: e\na.c:3:1: error: f\n", "Traceback:\n  x\nError 1\n"],
    ids=["nothing", "only warnings", "only errors", "something else"],
)
def test_nothing_moves_where_nothing_has_to(text: str) -> None:
    assert errors_first(text) == text


def test_of_a_real_compiler_no_line_is_lost(compiler: str, tmp_path: Path) -> None:
    """Errors first, and every line that there was."""
    source = tmp_path / "a.c"
    source.write_text("int f(void) { int unused; return 0; }\nint g(void) { return nowhere; }\nint h(void) { int un2; }\n")
    done = subprocess.run([compiler, "-Wall", "-c", str(source)], cwd=tmp_path, capture_output=True, text=True, check=False)
    found = errors_first(done.stderr)
    assert set(found.splitlines()) == set(done.stderr.splitlines())
    assert found.index("error:") < found.index("warning:") > done.stderr.index("warning:")
