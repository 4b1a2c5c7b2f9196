"""HOTRELOAD_PCH: a header that plugins' sources include first is compiled once, and nothing else changes."""

from __future__ import annotations

import os

import pytest

import ticker
from conftest import COMPILERS, both_scons
from harness import Project, need
from migration_kit import plan_of
from runtime_kit import PLUSPLUS

SUFFIX = {"gcc": "gch", "clang": "pch"}
SCONSTRUCT = """\
env = Environment(tools=["default", "hotreload"], CC="{cc}", CXX="{cxx}", CCFLAGS=["-Wall", "-Wextra", "-Wpedantic"])
env.HotLibrary("{build}plug", ["{src}one.c", "{src}two.c", "{src}three.cc"], HOTRELOAD_PCH={header})
"""
FILES = {
    "src/heavy.h": '#pragma once\n#include "deep.h"\ntypedef struct heavy { DEEP a; char text[8]; } heavy;\n',
    "src/deep.h": '#pragma message "parsed"\n#define DEEP int\n',
    "src/one.c": '#include "heavy.h"\nheavy one;\n',
    "src/two.c": '#include "heavy.h"\nint in_two(heavy *two);\nint in_two(heavy *two) { return (int)two->a; }\n',
    "src/three.cc": '#include "heavy.h"\nheavy three;\n',
}

each_compiler = pytest.mark.parametrize("cc", COMPILERS)


def lay(made: Project, cc: str = "gcc", header: object = "src/heavy.h", build: str = "build/", src: str = "src/") -> None:
    cxx = need(PLUSPLUS[cc]) if cc in PLUSPLUS else "g++"
    made.write("SConstruct", SCONSTRUCT.format(cc=cc, cxx=cxx, header=repr(header), build=build, src=src))
    for name, text in FILES.items():
        made.write(name, text)


def parsed(output: str) -> int:
    """How many compilers have read the headers as text."""
    return sum("parsed" in line and "deep.h:1:" in line for line in output.splitlines())


def nothing_is_left(made: Project) -> None:
    assert "is up to date" in made.scons("-n", "."), made.scons("-n", "--debug=explain", ".")


@both_scons
@each_compiler
def test_a_header_is_compiled_once_for_each_language(made: Project, cc: str) -> None:
    """The three objects are made from what two compilers have read; an edit of what it includes reaches all of it."""
    lay(made, cc)
    assert parsed(made.scons("-j4")) == 2
    nothing_is_left(made)
    made.edit("src/deep.h", "int", "long")
    output = made.scons("-j4")
    assert parsed(output) == 2
    assert [output.count(f"{name}\n") for name in FILES if not name.endswith(".h")] == [1, 1, 1], output
    nothing_is_left(made)
    os.utime(made.path("src/deep.h"), (2e9, 2e9))  # no news to scons; clang looks at times
    made.edit("src/two.c", "two->a", "two->a + 1")
    output = made.scons()
    assert parsed(output) == 0 and output.count(" -c ") == 1
    assert made.path(f"build/heavy.h.c.pch/heavy.h.{SUFFIX[cc]}").exists()
    made.scons("-c")
    assert not list(made.path("build").iterdir())


@pytest.mark.parametrize("duplicate", [0, 1])
def test_in_a_variant_directory(made: Project, duplicate: int) -> None:
    """The header is named as the sources are, and is that of the source tree."""
    lay(made, build="", src="", header="heavy.h")
    made.path("SConstruct").rename(made.path("src/SConscript"))
    made.write("SConstruct", f"SConscript('src/SConscript', variant_dir='out dir', duplicate={duplicate})\n")
    assert parsed(made.scons("-j4")) == 2
    nothing_is_left(made)
    made.edit("src/deep.h", "int", "long")
    assert parsed(made.scons("-j4")) == 2
    nothing_is_left(made)


@each_compiler
def test_a_state_that_the_header_defines_is_carried_over(made: Project, cc: str) -> None:
    """By a session: the layout of the state and all else that debug information tells is as without the header."""
    ticker.lay(made, need(cc))
    made.edit("SConstruct", '"-O0"]', '"-O0"], HOTRELOAD_PCH=ARGUMENTS.get("pch", "src/plug.h")')
    made.edit("src/plug.h", "#include", "#pragma once\n#include")
    watch = made.watch()
    host = made.host()
    ticker.runs(host, 1)
    made.edit("src/plug.h", "{ unsigned calls;", "{ double before; unsigned calls;")
    assert watch.reloaded()["state"].startswith("state: 1 moved, 1 new (before = 0)")
    ticker.set_number(made, 2)
    watch.reloaded()
    ticker.runs(host, 2)
    watch.stop()
    nothing_is_left(made)
    library = made.path("build/libplug.so")
    precompiled = library.read_bytes()
    assert "-header" not in made.scons("pch=")
    assert plan_of(precompiled, library.read_bytes()) == plan_of(library.read_bytes(), library.read_bytes())


def test_libraries_that_are_compiled_alike_share_one(made: Project) -> None:
    """And their objects; other flags or another header make another. What was built elsewhere is left alone."""
    lay(made)
    with made.path("SConstruct").open("a") as file:
        file.write(
            "env['HOTRELOAD_PCH'] = File('src/heavy.h')\n"
            "env.HotLibrary('build/alike', ['src/two.c', env.SharedObject('src/four.c')])\n"
            "env.HotLibrary('build/other', ['src/two.c'], CPPDEFINES=['OTHER'], SHOBJPREFIX='other-')\n"
            "env.HotLibrary('build/third', ['src/two.c'], SHOBJPREFIX='third-', HOTRELOAD_PCH='src/deep/heavy.h')\n"
        )
    made.write("src/deep/heavy.h", "#pragma once\n")
    made.write("src/four.c", '#include "heavy.h"\n')
    output = made.scons("-n")
    assert output.count("-x c-header") == 3 and output.count("-x c++-header") == 1
    assert output.count("-include src/heavy.h ") == 3 and output.count("-include src/deep/heavy.h ") == 1
    assert next(line for line in output.splitlines() if "four.c" in line).count("-include") == 0
    assert next(line for line in output.splitlines() if "other-two" in line).count("heavy.h.c-2.pch/heavy.h ") == 1
    assert next(line for line in output.splitlines() if "third-two" in line).count("heavy.h.c-3.pch/heavy.h ") == 1


def test_nobody_who_has_not_asked_gets_one(made: Project) -> None:
    """Nor a release."""
    lay(made)
    assert "-header" in made.scons("-n")
    assert "-header" not in made.scons("-n", "release=1") and "-include" not in made.scons("-n", "release=1")
    lay(made, header="")
    assert "-include" not in made.scons("-n")


@pytest.mark.parametrize(
    ("header", "cc", "words"),
    [
        ("src/none.h", "gcc", "there is no header src/none.h"),
        (["src/heavy.h", "src/deep.h"], "gcc", "make one header that includes them"),
        ("src", "gcc", "is not a file"),
        ("src/heavy.h", "tcc", "'tcc' is neither gcc nor clang"),
    ],
)
def test_what_cannot_be_precompiled_is_an_error_with_its_remedy(
    made: Project, header: object, cc: str, words: str
) -> None:
    """Before anything is built; cleaning still works where the header is gone."""
    lay(made, cc, header)
    output = made.scons("-n", code=2)
    assert words in output and "HOTRELOAD_PCH" in output and "Traceback" not in output
    if "none" in words:
        made.scons("-c")
