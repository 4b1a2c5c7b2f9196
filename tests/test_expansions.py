"""What a session keeps of SCons's expansions is what SCons finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness import ROOT

SETTINGS = [
    {},
    {"CC": "gcc -m64"},
    {"CC": "/usr/bin/gcc"},
    {"CC": '"/usr/bin/gcc" -O1'},
    {"CC": "$OTHER", "OTHER": "clang"},
    {"CC": "${OTHER}", "OTHER": "gcc"},
    {"CC": ["gcc", "-m64"]},
    {"CC": "no-such-compiler"},
    {"CC": ""},
    {"CC": "$CC"},
    {"CC": " gcc"},
    {"CC": "ccache\tgcc"},
    {"CC": "$( gcc $)"},
    {"SHCCCOM": "gcc -c $SOURCES -o $TARGET\nls $TARGET"},
    {"SHCCCOM": "$CC -c $SOURCES -o $TARGET $MORE", "MORE": "\nls x"},
    {"SHCCCOM": ["$CC", "-c", "$SOURCES"]},
    {"SHCCCOM": "$TARGET $SOURCES"},
    {"SHCCCOM": "$CC$TARGET -c"},
    {"SHCCCOM": "$( $CC $) -c $SOURCES"},
    {"SHCCCOM": "$CC"},
    {"SHCCCOM": "cat $SOURCES && $CC -c $SOURCES"},
    {"IMPLICIT_COMMAND_DEPENDENCIES": 0},
    {"IMPLICIT_COMMAND_DEPENDENCIES": 2, "SHCCCOM": "$CC src/a.c -o $TARGET"},
]

SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import SCons.Script
from SCons.Environment import Environment
fast = []
if sys.argv[3] == "ours":
    import hotreload_engine.expansions as expansions
    expansions.Expansions()
    first_word = expansions._first_word
    expansions._first_word = lambda *a: fast.append(first_word(*a)) or fast[-1]

def found(index, settings):
    env = Environment(tools=["default"])
    env.Replace(**settings)
    for source in ("a.c", "b.cc"):
        shared = env.SharedObject(f"o{index}{source}", source)
        for target in (shared, env.SharedLibrary(f"p{index}{source}", shared)):
            executor = target[0].get_executor()
            for wanted in (executor.get_implicit_deps, executor.get_contents):
                try:
                    answer = wanted()
                    yield bytes(answer).hex() if isinstance(answer, (bytes, bytearray)) else [str(n) for n in answer]
                except Exception as error:
                    yield f"{type(error).__name__}: {error}"

print(json.dumps([[list(found(*each)) for each in enumerate(json.loads(sys.argv[2]))], fast]))
"""


def answers(directory: Path, whose: str) -> tuple[list[object], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(ROOT / "site_scons"), json.dumps(SETTINGS), whose],
        cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, fast = json.loads(done.stdout)
    return found, fast


def test_the_program_of_a_command_is_the_one_that_scons_finds(tmp_path: Path) -> None:
    """Compilers as words, lists, through other variables, quoted, missing; commands of several lines and none."""
    plain, _ = answers(tmp_path, "scons")
    ours, fast = answers(tmp_path, "ours")
    for setting, expected, answer in zip(SETTINGS, plain, ours, strict=True):
        assert answer == expected, setting
    assert "gcc" in fast and "clang" in fast, "the short way was taken"
