"""Every fenced block of README.md and docs/*.md is run by a test: here, or where TESTED says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import ROOT, Project, need
from snippets import Block, block, blocks, example, shows
from terminal_kit import terminal

HERE = "test_docs.py::"
RECIPES = "test_editor_recipes.py::"

TESTED = {
    ("README.md", "console", "$ ./sconsw watch --hot-run"): HERE + "test_the_hello_session",
    ("README.md", "sh", "./sconsw watch --hot-run"): "test_sconsw.py::test_ctrl_c_ends_the_example_and_leaves_nothing_behind",
    ("README.md", "python", 'HotLibrary("build/plug"'): "test_install.py::test_pip",
    ("README.md", "c", "HR_FUNCTIONS(plug"): "test_install.py::test_pip",
    ("README.md", "c", "HR_STATE(plug"): "test_install.py::test_pip",
    ("README.md", "c", "HOTRELOAD_IMPLEMENTATION"): "test_install.py::test_pip",
    ("README.md", "console", "1 widened (hp"): HERE + "test_the_hello_session",
    ("README.md", "c", "hr_new(struct chunk, 1)"): HERE + "test_c_in_its_place",
    ("README.md", "console", "blocks of struct chunk"): HERE + "test_the_hello_session",
    ("README.md", "console", "crashed plug"): HERE + "test_the_hello_session",
    ("README.md", "c", "view.view_show"): HERE + "test_c_in_its_place",
    ("README.md", "c", "plug_before_reload"): HERE + "test_c_in_its_place",
    ("README.md", "python", "pidfile="): "test_foreign_hosts.py::test_watch_reload_and_hosts",
    ("README.md", "console", "sent SIGUSR1"): "test_foreign_hosts.py::test_watch_reload_and_hosts",
    ("README.md", "python", "StaticLibrary"): "test_any_target.py::test_a_library",
    ("README.md", "console", "The garden:"): "test_garden.py::test_the_walk",
    ("README.md", "console", "its state was carried over"): "test_handover.py::test_a_restart_goes_on_where_it_was",
    ("docs/editors.md", "json", "problemMatcher"): RECIPES + "test_vs_code_and_vim",
    ("docs/editors.md", "vim", "HotErrors"): RECIPES + "test_vs_code_and_vim",
    ("docs/editors.md", "elisp", "compile-command"): RECIPES + "test_emacs",
    ("docs/editors.md", "gdb", "break plug_hello"): RECIPES + "test_gdb",
    ("docs/editors.md", "python", "CompilationDatabase"): HERE + "test_compile_commands",
}
"""(page, language, what the block has in it) → the test that runs it."""

NOT_RUN = {
    ("README.md", "", "a save → settled change"): "a drawing",
}


@pytest.mark.parametrize("each", blocks(), ids=lambda each: each.name)
def test_every_block_is_run(each: Block) -> None:
    """A new one needs a test, or a reason; one that is gone takes its entry with it."""
    keys = [key for key in {**TESTED, **NOT_RUN} if _is_about(key, each)]
    assert len(keys) == 1, f"{len(keys)} entries of TESTED and NOT_RUN are about this block of {each.page}:\n{each.text}"


@pytest.mark.parametrize("key", {**TESTED, **NOT_RUN}, ids=str)
def test_every_entry_is_about_a_block(key: tuple[str, str, str]) -> None:
    assert [each for each in blocks() if _is_about(key, each)]
    if where := TESTED.get(key):
        file, _, name = where.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.M), where


def _is_about(key: tuple[str, str, str], each: Block) -> bool:
    return key[:2] == (each.page, each.language) and key[2] in each.text


# --- what a session prints ------------------------------------------------------------------------------------

STATE = """\
#include "hotreload.h"
typedef struct plug_state {{ unsigned calls; int a, b, c, d, e; {fields} float vx; }} plug_state;
#define PLUG_FUNCTIONS(X) X(plug_hello, void, (plug_state *state))
HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
"""
STATICS = """\
#include "plug.h"
HR_STATE(plug, plug_state)
static int one, two, three, speed = {speed};
void plug_hello(plug_state *state) {{ state->calls += (unsigned)(++one + ++two + ++three + speed); }}
"""
CHUNKS = """\
#include "hotreload.h"
#define COUNT {count}
struct chunk {{ char tile; {fields} }};
typedef struct plug_state {{ unsigned calls; int n; struct chunk *first, *last; }} plug_state;
#define PLUG_FUNCTIONS(X) X(plug_hello, void, (plug_state *state))
HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
"""
FILL = """\
#include "plug.h"
#include <stdio.h>
HR_STATE(plug, plug_state)
void plug_hello(plug_state *state)
{
    if (state->n == COUNT) return;
    while (state->n++ < COUNT) state->last = hr_new(struct chunk, 1);
    state->n = COUNT;
    printf("%d chunks\\n", state->n);
}
"""


def test_the_hello_session(made: Project) -> None:
    """The example on a terminal: the lines of the README's first block, of a crash, of a state and of blocks that change."""
    need("gcc")
    shutil.copytree(ROOT / "src/hello", made.path("src/hello"))
    shutil.copy(ROOT / "SConstruct", made.root)
    command = re.search(r"\$ ./sconsw (.*)", block("README.md", "console", "$ ./sconsw"))
    assert command
    with terminal(made, command=made.command("-Q", *command[1].split()), columns=200) as term:
        term.says("h lists the keys")
        made.edit("src/hello/plug.c", "Hello Link", "Good morning")
        term.says("reloaded plug #2")
        term.says("Good morning")
        made.edit("src/hello/plug.c", "state->calls++;", "*(volatile int *)0 = 1;")
        term.says("crashed plug #3")
        term.says("to try it again")
        made.write("src/hello/plug.h", STATE.format(fields="short hp; float x;"))
        made.write("src/hello/plug.c", STATICS.format(speed=3))
        term.says("reloaded plug #4")
        term.says("state: ")
        made.write("src/hello/plug.h", STATE.format(fields="int hp; float vy, x;"))
        made.write("src/hello/plug.c", STATICS.format(speed=4))
        term.says("reloaded plug #5")
        term.says("initialiser was edited")
        made.write("src/hello/plug.c", FILL)
        made.write("src/hello/plug.h", CHUNKS.format(count=1, fields=""))
        term.says("1 chunks")
        made.write("src/hello/plug.h", CHUNKS.format(count=12, fields="struct chunk *next;"))  # into the room that the first has
        term.says("12 chunks")
        made.write("src/hello/plug.h", CHUNKS.format(count=12, fields="struct chunk *next; int light;"))  # not the first any more
        term.says("to another address")
        term.type("q")
        assert term.ends() == 0
        printed = "\n".join(term.display.whole_lines)
    shows(block("README.md", "console", "$ ./sconsw"), printed)
    shows(block("README.md", "console", "crashed plug"), printed.replace("│ ", ""))
    for mark in ("1 widened (hp", "blocks of struct chunk"):
        shows(block("README.md", "console", mark), printed.replace("│ ", ""))
        (said,) = re.findall(r"^  state: .*$", block("README.md", "console", mark), re.M)
        assert f"│ {said}" in printed.splitlines(), f"{said} is not in these very numbers in\n{printed}"


# --- pieces of C ----------------------------------------------------------------------------------------------

AROUND = {
    "hr_new(struct chunk, 1)": """\
#include "hotreload.h"
struct chunk {{ struct chunk *next; int tile; }};
typedef struct plug_state {{ struct chunk *first; }} plug_state;
#define PLUG_FUNCTIONS(X) X(plug_fill, void, (plug_state *state, struct chunk *unused))
HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
HR_STATE(plug, plug_state)
void plug_fill(plug_state *state, struct chunk *unused)
{{
{block}
}}
""",
    "view.view_show": """\
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"
typedef struct sim_state {{ int ticks; }} sim_state;
#define SIM_FUNCTIONS(X) X(sim_tick, void, (sim_state *))
HR_FUNCTIONS(sim, SIM_FUNCTIONS)
typedef struct view_state {{ int frames; }} view_state;
#define VIEW_FUNCTIONS(X) X(view_show, void, (view_state *, const struct sim_functions *))
HR_FUNCTIONS(view, VIEW_FUNCTIONS)
HR_TABLE(sim, SIM_FUNCTIONS)
HR_TABLE(view, VIEW_FUNCTIONS)
int main(void)
{{
    hr_host *sim_host, *view_host;
    hr_desc sim_desc = HR_DESC(sim, "$ORIGIN/libsim.so"), view_desc = HR_DESC(view, "$ORIGIN/libview.so");
    hr_result a = hr_open(&sim_host, &sim_desc), b = hr_open(&view_host, &view_desc);
    if (a.generation) sim.sim_tick((sim_state *)a.state);
{block}
    return 0;
}}
""",
    "plug_before_reload": """\
#include "hotreload.h"
typedef struct plug_state {{ float angle; }} plug_state;
#define PLUG_FUNCTIONS(X) X(plug_tick, void, (plug_state *state))
HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
HR_STATE(plug, plug_state)
{block}
void plug_tick(plug_state *state) {{ state->angle += 1; }}
int plug_before_reload(void *state, char *reason, size_t size) {{ (void)state; (void)reason; return size == 0; }}
void plug_after_reload(void *state, const hr_migration *what) {{ (void)state; (void)what; }}
void plug_to_radians(void *now, const void *was, const void *object) {{ (void)now; (void)was; (void)object; }}
""",
}


@pytest.mark.parametrize("mark", AROUND)
def test_c_in_its_place(mark: str, compiler: str, tmp_path: Path) -> None:
    """It compiles without a warning where a reader would put it; hooks have the types that the header declares."""
    source = tmp_path / "piece.c"
    source.write_text(AROUND[mark].format(block=block("README.md", "c", mark)), encoding="utf-8")
    done = subprocess.run(
        [compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "-fPIC", f"-I{ROOT / 'src'}", "-c", source, "-o", "/dev/null"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- compile_commands.json ------------------------------------------------------------------------------------


def test_compile_commands(made: Project) -> None:
    """Plugin and host, with the commands that they are compiled with; a plain build leaves it as it is."""
    files = example()
    old = 'env = Environment(tools=["default", "hotreload"])\n'
    assert old in files["SConstruct"]
    files["SConstruct"] = files["SConstruct"].replace(old, block("docs/editors.md", "python"))
    for name, text in files.items():
        made.write(name, text)
    made.scons("-Q", "compile_commands.json")
    rows = json.loads(made.path("compile_commands.json").read_text(encoding="utf-8"))
    assert {(row["directory"], row["file"]) for row in rows} == {(str(made.root), f"src/{name}.c") for name in ("plug", "main")}
    for row in rows:
        subprocess.run([*row["command"].split(), "-fsyntax-only"], cwd=made.root, check=True)
    made.path("compile_commands.json").unlink()
    assert "published plug #1" in made.scons("-Q") and not made.path("compile_commands.json").exists()
