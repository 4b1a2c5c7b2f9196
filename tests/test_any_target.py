"""``scons watch`` without any plugin: the README's SConstruct, with a library, tests and a document."""

from __future__ import annotations

import subprocess

import pytest

from conftest import both_scons
from harness import Project, need, until
from snippets import block

HEADER = "int area(int width, int height);\n"
AREA = '#include "shapes.h"\nint area(int width, int height) { return width * height; }\n'
TESTS = """\
#include "shapes.h"
#include <stdio.h>
int main(void)
{
    printf("area of 2 by 3 is %d\\n", area(2, 3));
    return area(2, 3) != 6;
}
"""
HTML = "import sys\nfor line in open(sys.argv[1]):\n    print(f'<p>{line.strip()}</p>')\n"


@pytest.fixture
def shapes(made: Project) -> Project:
    """The project that the README describes."""
    need("gcc")
    made.write("SConstruct", block("README.md", "python", "StaticLibrary"))
    made.write("src/shapes.h", HEADER)
    made.write("src/area.c", AREA)
    made.write("tests/tests.c", TESTS)
    made.write("tools/html.py", HTML)
    made.write("manual.txt", "Shapes have an area.\n")
    return made


@both_scons
def test_a_library(shapes: Project) -> None:
    """A source of the library, a new one that its Glob matches, and its end."""
    watch = shapes.watch("build/libshapes.a")

    def members() -> set[str]:
        return set(
            subprocess.run(["ar", "t", shapes.path("build/libshapes.a")], capture_output=True, text=True).stdout.split()
        )

    assert members() == {"area.o"}
    shapes.edit("src/area.c", "width * height", "height * width")
    assert watch.wait("build", lambda e: e["ok"])["targets"] == ["src/area.o", "build/libshapes.a"]
    shapes.write("src/round.c", "int round_one(void) { return 3; }\n")
    until(lambda: members() == {"area.o", "round.o"}, f"the new source\n{watch.output}")
    watch.wait("ready")
    shapes.path("src/round.c").unlink()
    until(lambda: members() == {"area.o"}, f"the library without it\n{watch.output}")
    watch.wait("ready")  # ranlib is over too
    assert watch.stop() == 130
    assert "up to date" in shapes.scons("-Q", "build/libshapes.a")


@both_scons
def test_tests_that_run_when_they_are_built(shapes: Project) -> None:
    """A failure is told with the tests' own output, and counts until it is mended; a document runs no test."""
    watch = shapes.watch()
    assert shapes.path("build/tests.passed").exists()
    shapes.edit("src/area.c", "width * height", "width + height")
    error = watch.wait("error")
    assert "area of 2 by 3 is 5" in error["output"] and error["where"] == "build/tests.passed"
    assert not shapes.path("build/tests.passed").exists()
    shapes.edit("src/area.c", "width + height", "height * width")
    built = watch.wait("build", lambda e: e["ok"])
    assert built["fixed"] and "area of 2 by 3 is 6" in built["output"]
    assert shapes.path("build/tests.passed").exists()
    shapes.write("manual.txt", "An area is a number.\n")
    assert watch.wait("build")["targets"] == ["build/manual.html"]


def test_tests_that_always_run(shapes: Project) -> None:
    """An alias with an action that is always built: it runs again though the tests were not built anew."""
    shapes.write("SConstruct", shapes.path("SConstruct").read_text() + 'env.Depends("check", "notes.txt")\n')
    shapes.write("notes.txt", "one\n")
    watch = shapes.watch("check")
    shapes.edit("src/area.c", "width * height", "height * width")
    built = watch.wait("build", lambda e: "check" in e["targets"])
    assert "build/tests" in built["targets"] and "area of 2 by 3 is 6" in built["output"]
    shapes.write("notes.txt", "two\n")
    built = watch.wait("build", lambda e: e["targets"])
    assert built["targets"] == ["check"] and "area of 2 by 3 is 6" in built["output"]


def test_a_document(shapes: Project) -> None:
    """Its text, and the tool that makes it."""
    watch = shapes.watch("build/manual.html")
    page = shapes.path("build/manual.html")
    shapes.write("manual.txt", "An area is a number.\n")
    watch.wait("build", lambda e: e["targets"])
    assert page.read_text() == "<p>An area is a number.</p>\n"
    shapes.edit("tools/html.py", "<p>{line.strip()}</p>", "<h1>{line.strip()}</h1>")
    watch.wait("build", lambda e: e["targets"])
    assert page.read_text() == "<h1>An area is a number.</h1>\n"
    assert "built 1 target" in watch.output
