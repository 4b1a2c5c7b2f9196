"""The state of a host that is started again: left in a file, taken by the new process, or said why not."""

from __future__ import annotations

import os
import platform
import re
import secrets
import signal
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Project, Watch, until
from hotreload_engine import hosts
from hotreload_engine.slot import ABANDONED, TOKEN_VARIABLE, Slot
from migration_kit import Carried, Workshop, carried, source
from runtime_kit import GUARDED
from snippets import block, shows

_NAME = struct.calcsize("=8sIIQQQQQQ") + 8 * 32
"""Where the generation's name is in the file."""
_PARENT = struct.calcsize("=8sIIQ")


@pytest.fixture(scope="module")
def gcc(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop("gcc", tmp_path_factory.mktemp("handover"))



# --- a host, and another one in its place -------------------------------------------------------------------


def leave(host: Carried, seconds: float = 30.0, stays: bool = False) -> tuple[str, str]:
    """(token, why it did not) of a host that is asked for its state, and then ended."""
    token = secrets.token_hex(16)
    (old,) = hosts.census(host.slot).hosts
    host.slot.ask_for_state(old.record, token)
    assert hosts.notify(old) == ""
    assert host.process.stdin
    host.process.stdin.write("poll\n")
    host.process.stdin.flush()
    said = hosts.await_state({"": old}, token, seconds)[""]
    if not stays:
        host.kill()
    return token, said


def left(host: Carried, token: str) -> Path:
    return host.library.parent / ".hotreload" / f"{host.library.name}.state.{token}"


def take(host: Carried, token: str) -> str:
    """Start the next process; what it says of what was left."""
    origin = min((path.name for path in host.library.parent.glob(".hotreload/*.so.1-*.so")), key=len)
    newest = host.slot.newest()
    assert newest
    host.carrier.complete(newest, origin, 0, restart=True)
    host.start(**{TOKEN_VARIABLE: token})
    (now,) = hosts.census(host.slot).hosts
    return now.inherited


def nothing_is_left(host: Carried) -> bool:
    return not [name for name in os.listdir(host.library.parent / ".hotreload") if re.search(r"\.(state|save)\.", name)]


FULL = """
typedef struct state {{ {fields} }} state;
static int hr_helper(int n) {{ return n {factor}; }}
static int hr_counter = 5;
static struct {{ short a; {more} int *to; }} hr_pair = {{1, {value} &hr_counter}};
"""
FIRST = FULL.format(
    fields="int level; char name[8]; int *here; int *counter; int (*helper)(int); int numbers[3];",
    factor="+ 1",
    more="",
    value="",
)
SECOND = FULL.format(
    fields="long more; int (*helper)(int); int numbers[5]; int *counter; char name[12]; int *here; long level;",
    factor="* 100",
    more="long between;",
    value="0,",
)
SET = """s->level = 42; strcpy(s->name, "Ada"); s->here = &s->numbers[1]; s->numbers[1] = 7; s->counter = &hr_counter;
s->helper = hr_helper; hr_counter = 77; hr_pair.a = 9;"""
SHOW = '"%ld %s %d %d %d %d %d", (long)s->level, s->name, *s->here, *s->counter, s->helper(3), hr_pair.a, *hr_pair.to'


def test_another_process_goes_on(workshop: Workshop) -> None:
    """Values, statics, pointers to the state, to statics and functions, while the layouts of all of them change."""
    first = workshop.library(source(FIRST, set_=SET, show=SHOW))
    with carried(workshop.place(), workshop.host(), first) as host:
        host.ask("set")
        token, said = leave(host)
        assert said == ""
        host.publish(workshop.library(source(SECOND, set_=SET, show=SHOW)))
        assert take(host, token) == "yes"
        assert host.ask("show") == "42 Ada 7 77 300 9 77"
        assert nothing_is_left(host)


def test_the_same_code_again(workshop: Workshop) -> None:
    """The generation did not change, only the process: another plugin's did, say."""
    with carried(workshop.place(), workshop.host(), workshop.library(source(FIRST, set_=SET, show=SHOW))) as host:
        host.ask("set")
        token, _ = leave(host)
        assert take(host, token) == "yes"
        assert host.ask("show") == "42 Ada 7 77 4 9 77"


def test_what_belongs_to_the_old_process(gcc: Workshop) -> None:
    """A pointer to memory of the host, to a text, a static one: all begins anew, statics too, and its path is said."""
    for field, set_, said in (
        ("void *world;", "s->world = malloc(8);", "state.world points to memory of the process that has ended"),
        ("const char *name;", 's->name = "Ada";', "state.name points to a text or constant of the old code"),
        ("int x;", "hr_log = stderr;", "hr_log points to memory of the process that has ended"),
        ("union { void *p; long n; } u;", "s->u.n = 5;", "state.u.p points to memory of the process that has ended"),
    ):
        types = f"typedef struct state {{ int level; {field} }} state; static int hr_count = 3; static FILE *hr_log;"
        text = source(
            types,
            set_=f"s->level = 42; hr_count = 4; {set_}",
            show='"%d %d %d", s->level, hr_count, hr_log != NULL',
        )
        with carried(gcc.place(), gcc.host(), gcc.library(text)) as host:
            host.ask("set")
            token, _ = leave(host)
            assert take(host, token) == said
            assert host.ask("show") == "0 3 0"
            assert nothing_is_left(host)


def test_functions_of_ones_own(gcc: Workshop) -> None:
    """HR_MIGRATE is called with the old bytes; not where it could follow or copy a pointer of the old process."""
    own = """
typedef struct state {{ double angle; {more} }} state;
HR_MIGRATE(state, angle, plug_own)
void plug_own(void *now, const void *was, const void *object) {{ *(double *)now = *(const float *)was * 2; (void)object; }}
"""
    for more, expected, shown in (
        ("", "yes", "5"),
        ("char *p;", "state.angle is migrated by a function, and there are pointers in it", "0"),
    ):
        first = gcc.library(source(f"typedef struct state {{ float angle; {more} }} state;", set_="s->angle = 2.5f;"))
        with carried(gcc.place(), gcc.host(), first) as host:
            host.ask("set")
            token, _ = leave(host)
            host.publish(gcc.library(source(own.format(more=more), show='"%g", s->angle')))
            assert take(host, token) == expected
            assert host.ask("show") == shown


@GUARDED
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the crash guard is for x86-64")
@pytest.mark.parametrize("kind", ["SIGSEGV", "an endless loop"])
def test_a_crash_in_a_function_of_ones_own(workshop: Workshop, kind: str) -> None:
    """The new process begins anew, and says why; it runs the new code, and takes the next."""
    crash = {"SIGSEGV": "*(volatile int *)8 = 1;", "an endless loop": "{ volatile int on = 1; while (on) on = 1; }"}[kind]
    first = workshop.library(source("typedef struct state { float angle; } state;", set_="s->angle = 2.5f;"))
    own = """
typedef struct state {{ double angle; {} }} state;
HR_MIGRATE(state, angle, plug_own)
void plug_own(void *now, const void *was, const void *object) {{ *(double *)now = 3; {} }}
"""
    with carried(workshop.place(), workshop.host("-DLOOP_MS=100"), first) as host:
        host.ask("set")
        token, _ = leave(host)
        host.publish(workshop.library(source(own.format("", crash), show='"%g", s->angle')))
        assert take(host, token) == f"generation 2 crashed: {kind}"
        assert host.ask("show") == "0"
        assert nothing_is_left(host)
        host.publish_from_running(workshop.library(source(own.format("int more;", ""), show='"%g", s->angle')))
        until(lambda: host.ask("look").startswith("3 "), "the next library")


def sealed(data: bytearray) -> bytes:
    data[8:12] = zlib.crc32(bytes(data[16:])).to_bytes(4, "little")
    return bytes(data)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)


def _short(path: Path) -> None:
    os.truncate(path, 100)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4100] ^= 1
    path.write_bytes(data)


def _other_build(path: Path) -> None:
    data = bytearray(path.read_bytes())
    assert data[_NAME : _NAME + 14] == b"libplug.so.1-" + data[_NAME + 13 : _NAME + 14]
    data[_NAME + 13 : _NAME + 25] = b"0123456789ab"
    path.write_bytes(sealed(data))


def _beyond(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = _NAME - 8 * 32 + 24
    for part in range(8):
        data[at + part * 32 : at + part * 32 + 8] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(sealed(data))


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_cut, "is damaged or of another version"),
        (_short, "is cut off"),
        (_flip, "is damaged or of another version"),
        (_beyond, "is damaged or of another version"),
        (_other_build, "no plan leads from generation 1 to 1"),
        (_link, "Too many levels of symbolic links"),
        (lambda path: path.chmod(0o644), "is not a file of ours alone"),
        (lambda path: os.chown(path, 12345, -1), "is not a file of ours alone"),
    ],
)
def test_a_file_that_is_not_to_be_believed(gcc: Workshop, damage: Callable[[Path], None], said: str) -> None:
    """A new state, and why; the file is gone."""
    if "chown" in damage.__code__.co_names and os.geteuid() != 0:
        pytest.skip("needs root, to give a file to another user")
    with carried(gcc.place(), gcc.host(), gcc.library(source(FIRST, set_=SET, show='"%d", s->level'))) as host:
        host.ask("set")
        token, _ = leave(host)
        damage(left(host, token))
        assert said in take(host, token)
        assert host.ask("show") == "0"
        assert not os.path.lexists(left(host, token))


def test_only_the_process_that_it_is_for(gcc: Workshop) -> None:
    """Once; not by a process that another one started; not without being told of it."""
    with carried(gcc.place(), gcc.host(), gcc.library(source(FIRST, set_=SET, show='"%d", s->level'))) as host:
        host.ask("set")
        token, _ = leave(host)
        path = left(host, token)
        assert path.stat().st_mode & 0o777 == 0o600
        data = bytearray(path.read_bytes())
        assert int.from_bytes(data[_PARENT : _PARENT + 8], "little") == os.getpid()
        other = bytearray(data)
        other[_PARENT : _PARENT + 8] = (1).to_bytes(8, "little")
        path.write_bytes(sealed(other))
        assert take(host, token) == "" and host.ask("show") == "0" and path.exists(), "another's was taken"
        host.kill()
        path.write_bytes(data)
        for other_token in ("0" * 32, "../" + token):
            assert take(host, other_token) == "" and path.exists()
            host.kill()
        assert take(host, token) == "yes" and host.ask("show") == "42"
        host.kill()
        assert take(host, token) == "" and host.ask("show") == "0", "it was taken twice"


def test_the_hooks_of_both_processes(workshop: Workshop) -> None:
    """The old code lets go before it leaves its state; the new one hears that it is in another process."""
    hooks = """
int plug_before_reload(void *raw, char *reason, size_t size)
{ state *s = (state *)raw; snprintf(reason, size, "busy"); return !s->ready; }
void plug_after_reload(void *raw, const hr_migration *what)
{ state *s = (state *)raw; snprintf(s->log, sizeof s->log, "%u %u %d %d %s", what->from, what->to, what->restarted,
  what->old_size == sizeof *s, what->words); }
"""
    text = source(
        "typedef struct state { int ready; char log[128]; } state;",
        set_="s->ready = 1;",
        show='"%s", s->log',
        more=hooks,
    )
    with carried(workshop.place(), workshop.host(), workshop.library(text)) as host:
        assert host.ask("show") == "0 1 0 0 "
        token, said = leave(host, 0.3)
        assert said == "not now: busy" and not left(host, token).exists()
    with carried(workshop.place(), workshop.host(), workshop.library(text)) as host:
        host.ask("set")
        token, said = leave(host)
        assert said == "" and take(host, token) == "yes"
        assert host.ask("show") == "1 1 1 1 state: 2 kept"


def test_a_host_that_is_not_ended_after_all_goes_on(gcc: Workshop) -> None:
    """The safe point waits a second for its end, or until a signal is handled; then all is as before."""
    with carried(gcc.place(), gcc.host(), gcc.library(source(FIRST, set_=SET, show='"%d", s->level'))) as host:
        host.ask("set")
        token, said = leave(host, stays=True)
        assert said == ""
        host.publish(gcc.library(source(SECOND, set_=SET, show='"%ld", s->level')))
        host.signal()
        assert host.process.stdout and host.process.stdout.readline().startswith("changed 2")
        assert host.process.stdout.readline() == "ok\n" and host.ask("show") == "42"
        host.slot.collect(())
        assert left(host, token).exists()
        os.utime(left(host, token), (1, 1))
        assert ABANDONED > 60
        host.slot.collect(())
        assert nothing_is_left(host)


# --- scons watch --hot-run ----------------------------------------------------------------------------------

PLUG_H = """#include "hotreload.h"
typedef struct plug_state { unsigned calls; void *world; } plug_state;
#define STEP (plug_state *state)
#define PLUG_FUNCTIONS(X) X(plug_step, unsigned, STEP)
HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
"""
PLUG_C = """#include "plug.h"
#include <stdlib.h>
HR_STATE(plug, plug_state)
static unsigned twice;
unsigned plug_step STEP
{
    twice += 2;
    return ++state->calls * 2 == twice ? state->calls : 0;
}
"""
MAIN_C = """#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"
#include <stdio.h>
#include <unistd.h>
#include "plug.h"
HR_TABLE(plug, PLUG_FUNCTIONS)
int main(void)
{
    hr_host *host;
    hr_desc desc = HR_DESC(plug, "$ORIGIN/libplug.so");
    hr_result now = hr_open(&host, &desc);
    for (;;) {
        printf("step %u\\n", plug.plug_step((plug_state *)now.state));
        fflush(stdout);
        hr_wait(host, 10);
        while (access("busy", F_OK) == 0) usleep(1000);
        now = hr_poll(host);
    }
}
"""
SCONSTRUCT = """env = Environment(tools=["default", "hotreload"], CC="{cc}", CCFLAGS=["-O0"])
plug = env.HotLibrary("build/plug", ["src/plug.c"])
main = env.HotProgram("build/main", ["src/main.c"], plugins=[plug])
"""


def lay(project: Project, compiler: str, *edits: tuple[str, str]) -> Watch:
    """The project with its host running; ``edits``: of all its files."""
    texts = {"SConstruct": SCONSTRUCT.format(cc=compiler), "src/plug.h": PLUG_H, "src/plug.c": PLUG_C, "src/main.c": MAIN_C}
    for name, text in texts.items():
        for old, new in edits:
            text = text.replace(old, new)
        project.write(name, text)
    watch = project.watch("--hot-run", ready=False)
    watch.meets()
    return watch


def restarted(watch: Watch) -> dict[str, object]:
    return watch.wait("host", lambda e: e["state"].startswith("restarted: "))


def run_directory(project: Project) -> list[str]:
    return [name for name in os.listdir(project.path("build/.hotreload")) if re.search(r"\.(state|save)\.", name)]


def steps(watch: Watch, word: str = "step") -> list[int]:
    return [int(line.split()[1]) for line in watch.output.splitlines() if re.fullmatch(rf"{word} \d+", line)]


def more_factors(project: Project, count: int) -> None:
    """The function takes one argument more than before."""
    names = [f"int f{index}" for index in range(count)]
    before = "#define STEP (" + ", ".join(["plug_state *state", *names[:-1]]) + ")"
    project.edit("src/plug.h", before, "#define STEP (" + ", ".join(["plug_state *state", *names]) + ")")
    project.edit("src/main.c", "now.state" + ", 1" * (count - 1) + ")", "now.state" + ", 1" * count + ")")
    project.edit("src/plug.c", f"/* {count} */" if count > 1 else "twice += 2;", f"twice += 2; /* {count + 1} */")


def test_a_restart_goes_on_where_it_was(made: Project, compiler: str) -> None:
    """Another signature and another layout at once, twice: not a step is lost or made twice, statics go on too."""
    watch = lay(made, compiler)
    until(lambda: len(steps(watch)) > 5, "steps")
    made.edit("src/plug.h", "unsigned calls; void", "long more; unsigned calls; void")
    more_factors(made, 1)
    event = restarted(watch)
    assert event["state"].endswith("its state was carried over"), event
    words = "state: 2 moved, 1 new (more = 0) · statics: 1 kept"
    assert event["carried"] == [{"plugin": "plug", "state": words, "reason": ""}]
    assert f"its state was carried over\n  {words}\n" in watch.output
    shows(block("README.md", "console", "its state was carried over"), watch.output)
    assert run_directory(made) == []
    count = len(steps(watch))
    until(lambda: len(steps(watch)) > count + 5, "steps of the second process")
    made.edit("src/plug.h", "#define STEP (plug_state *state, int f0)", "#define STEP (plug_state *state, long f0)")
    event = restarted(watch)
    assert event["carried"] == [{"plugin": "plug", "state": "state: 3 kept · statics: 1 kept", "reason": ""}]
    count = len(steps(watch))
    until(lambda: len(steps(watch)) > count + 5, "steps of the third process")
    found = steps(watch)
    assert found == list(range(1, len(found) + 1))
    os.kill(int(str(event["pid"])), signal.SIGKILL)
    watch.wait("host", lambda e: "ended (SIGKILL)" in e["state"])
    count = len(steps(watch))
    made.edit("src/plug.c", "twice += 2;", "twice += 1; twice += 1;")
    until(lambda: len(steps(watch)) > count + 2, "steps of the fourth process")
    assert steps(watch)[count:][:2] == [1, 2], "what had ended by itself left nothing"
    assert run_directory(made) == []


def test_a_restart_with_a_state_that_cannot_go_along(made: Project) -> None:
    """A pointer to the heap: the new process begins anew, and the path is said."""
    watch = lay(made, "gcc")
    made.edit("src/plug.c", "    twice += 2;", "    if (!state->world) state->world = malloc(8);\n    twice += 2;")
    watch.reloaded()
    count = len(steps(watch))
    until(lambda: len(steps(watch)) > count + 2, "steps of the new code")
    made.edit("src/plug.c", "    if (!state->world) state->world = malloc(8);\n", "")
    watch.reloaded()
    more_factors(made, 1)
    event = restarted(watch)
    why = "state.world points to memory of the process that has ended"
    assert str(event["state"]).endswith(f"its state began anew: {why}"), event
    assert event["carried"] == [{"plugin": "plug", "state": "", "reason": why}]
    until(lambda: 1 in steps(watch)[count:], "a new count")
    assert run_directory(made) == []


VIEW_H = """#include "hotreload.h"
typedef struct view_state { unsigned frames; void *screen; } view_state;
#define VIEW_FUNCTIONS(X) X(view_show, unsigned, (view_state *state, int allocate))
HR_FUNCTIONS(view, VIEW_FUNCTIONS)
"""
VIEW_C = """#include "view.h"
#include <stdlib.h>
HR_STATE(view, view_state)
unsigned view_show(view_state *state, int allocate)
{
    if (allocate && !state->screen) state->screen = malloc(8);
    return ++state->frames;
}
"""
TWO = """view = env.HotLibrary("build/view", ["src/view.c"])
main = env.HotProgram("build/main", ["src/main.c"], plugins=[plug, view])
"""


@pytest.mark.parametrize("allocates", [0, 1])
def test_a_restart_with_two_plugins(made: Project, allocates: int) -> None:
    """Both leave their state at one safe point, the one that did not change too; each goes on or begins anew for itself."""
    made.write("src/view.h", VIEW_H)
    made.write("src/view.c", VIEW_C)
    watch = lay(
        made,
        "gcc",
        (SCONSTRUCT.splitlines()[-1] + "\n", TWO),
        ('#include "plug.h"\nHR_TABLE(plug, PLUG_FUNCTIONS)', '#include "plug.h"\n#include "view.h"\n'
         "HR_TABLE(plug, PLUG_FUNCTIONS)\nHR_TABLE(view, VIEW_FUNCTIONS)"),
        ("    for (;;) {", '    hr_host *other;\n    hr_desc second = HR_DESC(view, "$ORIGIN/libview.so");\n'
         "    hr_result seen = hr_open(&other, &second);\n    for (;;) {\n"
         f'        printf("frame %u\\n", view.view_show((view_state *)seen.state, {allocates}));'),
        ("now = hr_poll(host);\n    }", "now = hr_poll(host);\n        seen = hr_poll(other);\n    }"),
    )  # fmt: skip
    until(lambda: len(steps(watch, "frame")) > 5, "frames")
    more_factors(made, 1)
    event = restarted(watch)
    why = "state.screen points to memory of the process that has ended"
    count = len(steps(watch))
    until(lambda: len(steps(watch, "frame")) > count + 5, "frames of the second process")
    assert steps(watch) == list(range(1, len(steps(watch)) + 1))
    frames = steps(watch, "frame")
    if allocates:
        assert str(event["state"]).endswith(f"of plug; the state of plug was carried over; that of view began anew: {why}")
        assert frames != list(range(1, len(frames) + 1))
    else:
        assert str(event["state"]).endswith("of plug; its state was carried over")
        assert frames == list(range(1, len(frames) + 1))
        assert "  view: state: 2 kept\n" in watch.output
    assert run_directory(made) == []


@pytest.mark.parametrize("kind", ["busy", "stopped"])
def test_a_restart_of_a_host_that_does_not_answer(made: Project, kind: str) -> None:
    """It never polls, or is stopped: waited for some seconds or not at all, ended, and said; a late file is gone."""
    watch = lay(made, "gcc")
    (pid,) = [host.pid for host in hosts.census(Slot(str(made.path("build/libplug.so")))).hosts]
    if kind == "busy":
        made.write("busy", "")
    else:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text(), "its stop")
    more_factors(made, 1)
    event = restarted(watch) if kind == "stopped" else None
    if kind == "busy":
        until(lambda: not os.path.exists(f"/proc/{pid}"), "its end")
        made.path("busy").unlink()
        event = restarted(watch)
    assert event
    why = "it was stopped (SIGSTOP or a debugger)" if kind == "stopped" else "it did not come to its safe point (hr_poll)"
    assert str(event["state"]).endswith(f"its state began anew: {why}"), event
    assert run_directory(made) == []
