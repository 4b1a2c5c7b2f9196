"""The plugin's hooks and its own migrations, in real hosts: what they are told, "not now", crashes in them."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import ticker
from harness import ROOT, Project, need, until
from hotreload_engine import elf, hosts, lines
from hotreload_engine.deliver import what
from hotreload_engine.model import Crash
from hotreload_engine.plan import encode
from migration_kit import HERE, Carried, Workshop, carried, plan_of, source
from runtime_kit import GUARDED


@pytest.fixture(scope="module", params=["gcc", "clang", "g++", "clang++"])
def workshop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    compiler = {"g++": "gcc", "clang++": "clang"}.get(request.param, request.param)
    flags = ("-g", "-pthread", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter")
    if request.param == "g++":
        flags += ("-fno-gnu-unique",)
    yield Workshop(compiler, tmp_path_factory.mktemp("hooks"), flags, plusplus="++" in request.param)



LOGGED = """
typedef struct state { int busy, asked; %s char log[1024]; } state;
static void hr_log(state *s, const char *text) { strncat(s->log, text, sizeof s->log - strlen(s->log) - 1); }
"""


def logged(
    number: int, fields: str = "", set_: str = "s->busy = !s->busy;", after: str = "", more: str = "", types: str = ""
) -> str:
    """A plugin that writes down which of its hooks were called, and with what; busy at will."""
    hooks = f"""
int plug_before_reload(void *raw, char *reason, size_t size)
{{
    state *s = (state *)raw;
    s->asked++;
    if (s->busy) snprintf(reason, size, "level %d is being saved", s->busy);
    else hr_log(s, "before{number} ");
    return s->busy;
}}
void plug_after_reload(void *raw, const hr_migration *what)
{{
    state *s = (state *)raw;
    char text[512];
    snprintf(text, sizeof text, "after{number}(%u %u %d %u %u %s) ", what->from, what->to,
             (int)(what->new_size - what->old_size), what->statics, what->lost, what->words);
    hr_log(s, text);
    {after}
}}
"""
    return source(types + LOGGED % fields, set_=set_, show='"%d %s", s->asked, s->log', more=more + hooks)


# --- what they are told -------------------------------------------------------------------------------------


def test_both_are_called_with_what_was_done(workshop: Workshop) -> None:
    """The old code's before, then the new one's after, with the numbers, sizes, counts and words of the change-over."""
    keep = "static int hr_count; int hr_counted(void) { return hr_count++; }"
    first = workshop.library(logged(1, "long level;", set_="s->level = 70000;", more=keep))
    second = workshop.library(logged(2, "int more; short level;", more=keep))
    with carried(workshop.place(), workshop.host(), first) as host:
        assert host.ask("show").startswith("0 after1(0 1 ")
        host.ask("set")
        _, said = host.reload(second)
        assert said.startswith("changed 2"), said
        log = host.ask("show")
        assert log.startswith("1 after1(0 1 "), log
        after = log.partition(" before1 ")[2]
        assert after.startswith("after2(1 2 0 1 1 state: 2 kept, 1 moved, 1 new (more = 0), 1 narrowed (level:"), log


def test_a_plugin_without_hooks_is_as_before(workshop: Workshop) -> None:
    """Only one of the two, or none, on either side: each is called where it is."""
    bare = source(LOGGED % "", show='"%d %s", s->asked, s->log').replace(
        "static void", "__attribute__((unused)) static void"
    )
    with carried(workshop.place(), workshop.host(), workshop.library(bare)) as host:
        assert host.reload(workshop.library(logged(2)))[1].startswith("changed 2")
        assert host.ask("show").startswith("0 after2(1 2 ")
        assert host.reload(workshop.library(bare + "\n/* again */ int hr_again(void) { return 1; }"))[1].startswith(
            "changed"
        )
        assert host.ask("show").endswith("before2 ")


def test_a_reload_that_does_not_come_is_told_to_the_old_code(workshop: Workshop) -> None:
    """It had let go, and nothing changed: it hears why, with equal numbers, and can start again what it stopped."""
    node = "struct node { %s int v; };\n"
    first = workshop.library(
        logged(1, "struct node *n;", "s->n = (struct node *)calloc(1, 64); s->n->v = 1;", types=node % "")
    )
    second = workshop.library(logged(2, "struct node *n;", "s->n->v = 2;", types=node % "int more;"))
    with carried(workshop.place(), workshop.host(), first) as host:
        host.ask("set")
        _, said = host.reload(second)
        assert said.startswith("refused 1 state.n->"), said
        log = host.ask("show")
        assert "before1 after1(1 1 0 0 0 state.n->" in log and "after2" not in log, log


# --- not now ------------------------------------------------------------------------------------------------


def test_not_now_and_then_now(workshop: Workshop) -> None:
    """The reload waits, hosts and builder tell why, the old code goes on; then it is taken without another signal."""
    with carried(workshop.place(), workshop.host(), workshop.library(logged(1))) as host:
        host.ask("set")
        before = hosts.census(host.slot).hosts[0]
        host.publish(workshop.library(logged(2)))
        host.signal()
        until(lambda: host.ask("look") == "1 not now: level 1 is being saved", "the host's own word")

        def answer() -> bool:
            found = hosts.answer(before, 2)
            return found.pending and found.reason == "not now: level 1 is being saved"

        until(answer, "the builder's word")
        asked = int(host.ask("show").split()[0])
        looks = 400
        for _ in range(looks):
            host.ask("look")
        assert int(host.ask("show").split()[0]) - asked < looks / 2, "it is asked at every poll"
        until(lambda: host.ask("look") and int(host.ask("show").split()[0]) > asked, "another try")
        host.ask("set")
        until(lambda: host.ask("look").startswith("2 the newest"), "the new code")
        assert "before1 after2(1 2" in host.ask("show")
        final = until(lambda: (a := hosts.answer(before, 2)) and not a.pending and a, "the answer")
        assert final.ok and final.reason == ""


def test_what_is_newer_takes_the_place_of_what_waits(workshop: Workshop) -> None:
    """Two saves while the plugin says not now: the second is what it changes over to."""
    with carried(workshop.place(), workshop.host(), workshop.library(logged(1))) as host:
        host.ask("set")
        for number in (2, 3):
            host.publish_from_running(workshop.library(logged(number)))
            until(lambda: "not now" in host.ask("look"), "a refusal for now")
        host.ask("set")
        until(lambda: host.ask("look").startswith("3 "), "the newest code")
        assert "after2" not in host.ask("show") and "after3(1 3" in host.ask("show")


def test_the_watch_says_that_it_waits(made: Project, compiler: str) -> None:
    """scons watch: the reason, while it waits; the reload, when it has come."""
    ticker.lay(made, compiler)
    made.edit("src/plug.c", "void plug_tick", """#include <unistd.h>
int plug_before_reload(void *state, char *reason, size_t size)
{
    (void)state;
    snprintf(reason, size, "a level is being saved");
    return access("busy", F_OK) == 0;
}
void plug_tick""")  # fmt: skip
    watch, host = made.watch(), made.host()
    watch.wait("host")
    made.write("busy", "")
    ticker.set_number(made, 2)
    event = watch.wait("reload", lambda e: e["pending"])
    assert event["reason"] == "not now: a level is being saved" and event["running"] == 1
    made.path("busy").unlink()
    watch.reloaded(host=host.pid)
    ticker.runs(host, 2)


# --- what they are for --------------------------------------------------------------------------------------

THREAD = """
#include <pthread.h>
typedef struct state {{ pthread_t thread; int stop, runs, by, {more} ticks; }} state;
static void *hr_tick(void *raw)
{{
    state *s = (state *)raw;
    while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) __atomic_fetch_add(&s->ticks, 1, __ATOMIC_ACQ_REL);
    s->by = {number};
    return NULL;
}}
int plug_before_reload(void *raw, char *reason, size_t size)
{{
    state *s = (state *)raw;
    __atomic_store_n(&s->stop, 1, __ATOMIC_RELEASE);
    return pthread_join(s->thread, NULL);
}}
void plug_after_reload(void *raw, const hr_migration *what)
{{
    state *s = (state *)raw;
    s->stop = 0;
    s->runs++;
    pthread_create(&s->thread, NULL, hr_tick, s);
}}
"""


def test_a_thread_of_the_plugin_is_stopped_and_started(workshop: Workshop) -> None:
    """No thread is in old code when it goes; each generation's own runs, and the state that it counts in may move."""
    texts = [
        source(
            THREAD.format(number=number, more="more, " * (number % 2)),
            show='"%d %d %d", s->by, s->runs, __atomic_load_n(&s->ticks, __ATOMIC_ACQUIRE) > 0',
            set_="plug_before_reload(s, NULL, 0);",
            state="HR_STATE(plug, state)",
        )
        for number in range(1, 6)
    ]
    with carried(workshop.place(), workshop.host(), workshop.library(texts[0])) as host:
        for number, text in enumerate(texts[1:], 2):
            _, said = host.reload(workshop.library(text))
            assert said.startswith(f"changed {number}"), said
            until(lambda number=number: host.ask("show") == f"{number - 1} {number} 1", "the thread's work")
        host.ask("set")  # hr_close calls no hook, and frees the state


@GUARDED
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the crash guard is for x86-64")
def test_a_crash_in_a_hook_is_rolled_back(workshop: Workshop) -> None:
    """The old code is back with its state, hears of it, and the next good library is taken."""
    first = workshop.library(logged(1))
    bad = workshop.library(logged(2, after="s->busy = 9; *(volatile int *)8 = 1;"))
    with carried(workshop.place(), workshop.host(), first) as host:
        host.publish(bad)
        host.signal()
        said = host.ask("poll")
        assert said.startswith("changed 1 generation 2 crashed: SIGSEGV"), said
        log = host.ask("show")
        assert "before1 after1(2 1" in log and "after2" not in log, log
        host.publish_from_running(workshop.library(logged(3)))
        until(lambda: host.ask("look").startswith("3 "), "the next library")
        assert "after3(1 3" in host.ask("show")


CRASHES = {
    "SIGSEGV": "*(volatile int *)8 = 1;",
    "SIGFPE": "{ volatile int zero = 0; zero = 10 / zero; }",
    "SIGABRT": "abort();",
    "an endless loop": "{ volatile int on = 1; while (on) on = 1; }",
}
SOON = ("-DLOOP_MS=100", "-DGUARDED_CALLS=1")
PLAIN = "typedef struct state { int level; char name[20]; %s } state; static int hr_asked; "
SHOW_PLAIN = '"%d %s %d", s->level, s->name, hr_asked'
SPOILS = "memset(raw, 0xEE, sizeof(state)); hr_asked++;"


def crashes(workshop: Workshop) -> list[tuple[str, tuple[str, ...]]]:
    """(kind, the host's flags): in C++ one stands for all; among several threads the one that asks for locks."""
    if workshop.plusplus:
        return [("SIGSEGV", ())]
    return [*((kind, ()) for kind in CRASHES), ("SIGABRT", ("-DTHREADS",))]


def before_that(crash: str) -> str:
    return f"int plug_before_reload(void *raw, char *reason, size_t size) {{ {SPOILS} {crash} return 0; }}"


def place_of(host: Carried, crash: Crash) -> str:
    """The innermost function of the plugin. Behind other code it is where that returns to."""
    addresses = [frame - (crash.frames[0] is None) for frame in crash.frames if frame is not None]
    return lines.resolve(host.slot.read_generation(crash.file), addresses)[0].function


def signals(host: Carried) -> list[str]:
    text = Path(f"/proc/{host.process.pid}/status").read_text()
    return [line for line in text.splitlines() if line.startswith(("SigCgt", "SigBlk"))]


def settled(host: Carried) -> None:
    """The guard of the first generation is over."""
    host.ask("set")
    host.ask("show")
    host.ask("look")


@GUARDED
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the crash guard is for x86-64")
def test_a_crash_in_before_reload(workshop: Workshop) -> None:
    """The old code goes on with the state as it was, with the place; this library is not tried again, the next one is
    taken without the hook that crashed."""
    for kind, threads in crashes(workshop):
        set_ = 's->level = 5; strcpy(s->name, "Ada");'
        text = source(PLAIN % "", set_=set_, show=SHOW_PLAIN, more=before_that(CRASHES[kind]))
        with carried(workshop.place(), workshop.host(*SOON, *threads), workshop.library(text)) as host:
            settled(host)
            before = host.ask("bytes"), signals(host)
            _, said = host.reload(workshop.library(source(PLAIN % "int more;", show=SHOW_PLAIN)))
            expected = f"refused 1 plug_before_reload of generation 1 crashed: {kind}; generation 1 goes on, with the state as it was"
            assert said.startswith(expected), said
            assert host.ask("bytes") == before[0] and host.ask("show") == "5 Ada 1"
            until(lambda: signals(host) == before[1], "the signals as they were")  # noqa: B023
            crash = hosts.census(host.slot).hosts[0].crash
            assert crash and crash.in_old_code and crash.generation == 1 and crash.fate == "rolled-back"
            assert place_of(host, crash) == "plug_before_reload" and what(crash) == kind
            assert host.slot.crashes() == []
            host.signal()
            assert host.ask("poll").startswith(expected) and host.ask("show") == "5 Ada 1"
            host.publish_from_running(workshop.library(source(PLAIN % "long more;", show=SHOW_PLAIN)))
            until(lambda: host.ask("look").startswith("3 "), "the next library")
            assert host.ask("show") == "5 Ada 1"


@GUARDED
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the crash guard is for x86-64")
def test_a_crash_in_a_migration_of_ones_own(workshop: Workshop) -> None:
    """Nothing has changed, its place is known, and the library is not loaded again; the next one is."""
    for kind, threads in crashes(workshop):
        set_ = 's->level = 5; strcpy(s->name, "Ada");'
        own = "HR_MIGRATE(state, level, plug_own)\nvoid plug_own(void *now, const void *was, const void *object) { %s }"
        text = source(PLAIN % "", set_=set_, show=SHOW_PLAIN)
        with carried(workshop.place(), workshop.host(*SOON, *threads), workshop.library(text)) as host:
            settled(host)
            before = host.ask("bytes"), signals(host)
            bad = PLAIN % "int more;" + own % f"*(int *)now = 9; hr_asked++; {CRASHES[kind]}"
            _, said = host.reload(workshop.library(source(bad, show=SHOW_PLAIN)))
            assert said.startswith(f"refused 1 generation 2 crashed: {kind}; generation 1 goes on, with the state as it was")
            assert host.ask("bytes") == before[0] and host.ask("show") == "5 Ada 0"
            until(lambda: signals(host) == before[1], "the signals as they were")  # noqa: B023
            crash = until(lambda: host.slot.crashes(), "the mark")[0]
            assert crash.generation == 2 and crash.fate == "rolled-back" and what(crash) == kind
            assert place_of(host, crash) == "plug_own"
            host.signal()
            assert host.ask("poll").startswith(f"refused 1 generation 2 crashed: {kind}")
            good = PLAIN % "long more;" + own % "*(int *)now = *(const int *)was * 2;"
            host.publish_from_running(workshop.library(source(good, show=SHOW_PLAIN)))
            until(lambda: host.ask("look").startswith("3 "), "the next library")
            assert host.ask("show") == "10 Ada 0"


@GUARDED
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the crash guard is for x86-64")
@pytest.mark.parametrize("after", ["a refusal", "a crash"])
def test_a_crash_of_the_old_code_that_is_told_that_it_goes_on(workshop: Workshop, after: str) -> None:
    """It does, with the state as it was, and is not told again; why there was no reload is said first."""
    fields = "struct node *n;"
    set_ = 's->level = 5; strcpy(s->name, "Ada"); s->n = (struct node *)calloc(1, 64); s->n->v = 1;'
    refused = after == "a refusal"
    for kind, threads in crashes(workshop):
        hook = f"if (what->from < what->to) return; {SPOILS} {CRASHES[kind]}"
        hook = f"void plug_after_reload(void *raw, const hr_migration *what) {{ {hook} }}"
        node = "struct node { %s int v; };\n"
        text = source(node % "" + PLAIN % fields, set_=set_, show=SHOW_PLAIN, more=hook)
        new = source(
            node % ("int more;" if refused else "") + PLAIN % fields,
            set_="s->n->v = 2;", show=SHOW_PLAIN, more="" if refused else "void plug_after_reload(void *raw, const hr_migration *what) { abort(); }",
        )  # fmt: skip
        with carried(workshop.place(), workshop.host(*SOON, *threads), workshop.library(text)) as host:
            settled(host)
            before = host.ask("bytes"), signals(host)
            words = host.reload(workshop.library(new))[1]
            why = "state.n->" if refused else "generation 2 crashed: SIGABRT"
            told = f"plug_after_reload of generation 1 crashed: {kind}; generation 1 goes on, with the state as it was"
            for _ in range(2):
                if not (why in words and told in words):
                    words += f"\n{host.ask('poll')}"
            assert why in words and told in words, words
            assert host.ask("bytes") == before[0] and host.ask("show") == "5 Ada 1"
            until(lambda: signals(host) == before[1], "the signals as they were")  # noqa: B023
            def told_of() -> Crash | None:
                crash = hosts.census(host.slot).hosts[0].crash
                return crash if crash and crash.in_old_code else None

            crash = until(told_of, "the record tells of it")
            assert crash.generation == 1 and crash.fate == "rolled-back"
            assert place_of(host, crash) == "plug_after_reload" and what(crash) == kind
            host.publish_from_running(workshop.library(new + "\nint hr_other;"))
            host.signal()
            until(lambda: host.ask("look").startswith("1 ") and host.ask("show") == "5 Ada 1", "the old code, not told again")


@GUARDED
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the crash guard is for x86-64")
def test_a_crash_in_before_reload_while_its_code_is_guarded(workshop: Workshop) -> None:
    """The guard of the generation's first calls stays what it was: a crash in one of them goes back to the one before."""
    first = workshop.library(source(PLAIN % "", set_="s->level++;", show=SHOW_PLAIN))
    types = PLAIN % "int more;"
    second = source(types, set_=CRASHES["SIGSEGV"], show=SHOW_PLAIN, more=before_that(CRASHES["SIGSEGV"]))
    with carried(workshop.place(), workshop.host(), first) as host:
        host.ask("set")
        assert host.reload(workshop.library(second))[1].startswith("changed 2")
        _, said = host.reload(workshop.library(source(PLAIN % "long more;", show=SHOW_PLAIN)))
        assert said.startswith("refused 2 plug_before_reload of generation 2 crashed: SIGSEGV"), said
        assert host.ask("show") == "1  1"
        host.ask("set")
        assert host.ask("show") == "2  0", "made again by the generation before, with the state as at the reload"
        until(lambda: host.ask("look").startswith("1 generation 2 crashed: SIGSEGV"), "the word of it")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the crash guard is for x86-64")
def test_the_watch_tells_of_a_crash_in_before_reload(made: Project) -> None:
    """With file and line; the next save is taken."""
    ticker.lay(made, "gcc")
    made.edit("src/plug.c", "void plug_tick", """int plug_before_reload(void *state, char *reason, size_t size)
{
    (void)state, (void)reason, (void)size;
    return *(volatile int *)8; /* here */
}
void plug_tick""")  # fmt: skip
    watch, host = made.watch(), made.host()
    watch.wait("host")
    ticker.runs(host, 1)
    here = 1 + made.path("src/plug.c").read_text().split("/* here */")[0].count("\n")
    ticker.set_number(made, 2)
    event = watch.wait("reload", lambda e: not e["ok"])
    assert event["running"] == 1 and "plug_before_reload of generation 1 crashed: SIGSEGV" in event["reason"]
    event = watch.wait("crash")
    assert event["where"] == f"src/plug.c:{here}, plug_before_reload()" and event["old_code"], event
    assert f"crashed plug #1 in pid {host.pid}: SIGSEGV in src/plug.c:{here}, plug_before_reload(); it goes on with #1, " \
        "with the state as it was\n" in watch.output  # fmt: skip
    ticker.set_number(made, 3)
    watch.reloaded(host=host.pid)
    ticker.runs(host, 3)


@GUARDED
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the crash guard is for x86-64")
def test_a_hook_uses_up_no_guarded_call(workshop: Workshop) -> None:
    """desc.guarded_calls are the host's own: the first one after the hook is guarded though only one is."""
    bad = logged(2).replace("return snprintf", "*(volatile int *)8 = 1; return snprintf")
    with carried(workshop.place(), workshop.host("-DGUARDED_CALLS=1"), workshop.library(logged(1))) as host:
        assert host.reload(workshop.library(bad))[1].startswith("changed 2")
        log = host.ask("show")
        assert log.endswith("before1 "), f"the old function's answer, with the old state: {log}"
        until(lambda: host.ask("look").startswith("1 generation 2 crashed"), "the word of it")
        assert "after1(2 1" in host.ask("show")


def test_release_calls_what_starts(tmp_path: Path) -> None:
    """With HR_RELEASE the plugin's after is called in hr_open, as for a first generation; without one nothing is."""
    for compiler, language in (("gcc", "c"), ("clang", "c"), ("g++", "c++"), ("clang++", "c++")):
        tool = need(compiler, "clang" if "clang" in compiler else compiler)
        for text, expected in ((logged(1), "0 after1(0 1 "), (source(LOGGED % ""), "")):
            (tmp_path / "plug.c").write_text(text)
            common = [tool, "-x", language, "-DHR_RELEASE", "-w", f"-I{ROOT / 'src'}", f"-I{HERE}"]
            library, program = tmp_path / "libplug.so", tmp_path / "host"
            subprocess.run([*common, "-fPIC", "-shared", tmp_path / "plug.c", "-o", library], check=True)
            subprocess.run(
                [*common, HERE / "host.c", "-x", "none", library, f"-Wl,-rpath,{tmp_path}", "-o", program], check=True
            )
            said = subprocess.run(
                [program], input="show\n", capture_output=True, text=True, check=True, timeout=30
            ).stdout
            assert said.startswith(expected), said


# --- migrations of one's own --------------------------------------------------------------------------------

OLD = "typedef struct part {{ float degrees; int id; }} part; typedef struct state {{ part p[3]; int hp, mode; {} }} state;"
NEW = """
typedef struct part { int id; float degrees; } part;
typedef struct state { int level; part p[3]; int mode; long hp; int share; } state;
HR_MIGRATE(part, degrees, plug_to_radians)
HR_MIGRATE(state, share, plug_share)
void plug_to_radians(void *now, const void *was, const void *object)
{ *(float *)now = *(const float *)was * 2; (void)object; }
struct old_state { struct { float degrees; int id; } p[3]; int hp, mode; };
void plug_share(void *now, const void *was, const void *object)
{ *(int *)now = was ? -1 : ((const struct old_state *)object)->hp * 100; }
"""
SHOW = '"%d %d | %g %g %d | %ld %d | %d", s->level, s->mode, s->p[0].degrees, s->p[2].degrees, s->p[2].id, s->hp, s->share, {}'


def test_a_field_by_a_function_of_ones_own(workshop: Workshop) -> None:
    """In nested arrays, and a new field from what the old object had; said; once and not again while the line stays."""
    first = workshop.library(
        source(
            OLD.format(""),
            set_="s->hp = 7; s->mode = 5; for (int i = 0; i < 3; i++) { s->p[i].degrees = i + 1; s->p[i].id = i; }",
        )
    )
    with carried(workshop.place(), workshop.host(), first) as host:
        host.ask("set")
        plan, said = host.reload(workshop.library(source(NEW, show=SHOW.format(2))))
        assert said.startswith("changed 2"), said
        assert (
            "migrated" in plan.words and "degrees: plug_to_radians" in plan.words and "share: plug_share" in plan.words
        )
        assert host.ask("show") == "0 5 | 2 6 2 | 7 700 | 2"
        _, said = host.reload(workshop.library(source(NEW, show=SHOW.format(3))))
        assert said.startswith("changed 3") and host.ask("show") == "0 5 | 2 6 2 | 7 700 | 3", "it was done again"
        plan, said = host.reload(workshop.library(source(_without_lines(NEW), show=SHOW.format(4))))
        assert said.startswith("changed 4") and host.ask("show") == "0 5 | 2 6 2 | 7 700 | 4"
        assert "as HR_MIGRATE made them, though this code has no such line: part.degrees, state.share" in plan.words


def _without_lines(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("HR_MIGRATE"))


def test_a_plan_that_calls_anything_else_than_code(workshop: Workshop) -> None:
    """An address that is not in the new library's code: the plan is damaged, and nothing is called."""
    old, new = workshop.library(source(OLD.format(""))), workshop.library(source(NEW))
    plan = plan_of(old, new)
    with carried(workshop.place(), workshop.host(), old) as host:
        for address in (1 << 40, -1, 1 << 62):
            tables = tuple(((address, 0),) for _ in plan.tables)
            data = workshop.library(
                source(NEW + f"\nint hr_more_{address & 255 or address >> 40}(void) {{ return 1; }}")
            )
            origin = host.slot.read_record(host.slot.records()[0]).file
            bad = encode(replace(plan, tables=tables))
            host.slot.publish(elf.read(data, "x"), data, plans={origin: bad})
            host.signal()
            said = host.ask("poll")
            assert said.startswith("refused 1 ") and "is damaged" in said, said


def test_whole_objects_by_a_function_of_ones_own(workshop: Workshop) -> None:
    """HR_MIGRATE_TYPE, also for what no plan would carry: a union whose tag only the plugin knows."""
    old = "typedef struct value { int tag; union { int i; float f; } u; } value; typedef struct state { value v[2]; } state;"
    new = """
typedef struct value { char tag; union { long i; double f; } u; } value;
typedef struct state { int n; value v[2]; } state;
struct old_value { int tag; union { int i; float f; } u; };
HR_MIGRATE_TYPE(value, plug_value)
void plug_value(void *raw, const void *was, const void *object)
{
    value *now = (value *)raw;
    const struct old_value *old = (const struct old_value *)was;
    now->tag = (char)old->tag;
    if (old->tag) now->u.f = old->u.f; else now->u.i = old->u.i;
    (void)object;
}
"""
    first = workshop.library(source(old, set_="s->v[0].tag = 1; s->v[0].u.f = 2.5f; s->v[1].u.i = -3;"))
    with carried(workshop.place(), workshop.host(), first) as host:
        host.ask("set")
        plan, said = host.reload(workshop.library(source(new, show='"%g %ld", s->v[0].u.f, s->v[1].u.i')))
        assert said.startswith("changed 2"), said
        assert "value: plug_value" in plan.words and host.ask("show") == "2.5 -3"
    refused = plan_of(first, workshop.library(source(new.replace("HR_MIGRATE_TYPE(value, plug_value)", ""))))
    assert "union" in refused.refusal, "without it nobody knows"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "HR_MIGRATE(state, hp, plug_nowhere)",
            "HR_MIGRATE names the function plug_nowhere, which the plugin does not",
        ),
        ("HR_MIGRATE(state, bits, plug_own)", "state.bits: HR_MIGRATE is not for bit-fields"),
        ("HR_MIGRATE(state, other, plug_own)", "HR_MIGRATE finds nothing to migrate: state.other"),
        ("HR_MIGRATE(stat, hp, plug_own)", "HR_MIGRATE finds nothing to migrate: stat.hp"),
    ],
)
def test_a_migration_that_cannot_be(workshop: Workshop, line: str, said: str) -> None:
    """A function that is not there, a bit-field, a field or type that is not there: said."""
    types = "typedef struct state { int hp, bits: 3; %s } state;"
    own = "\nHR__EXTERN HR_EXPORT hr_migrate_fn plug_own;\nvoid plug_own(void *n, const void *w, const void *o) { (void)n, (void)w, (void)o; }"
    old, new = workshop.library(source(types % "")), workshop.library(source(types % "int more;" + "\n" + line + own))
    plan = plan_of(old, new)
    assert said in plan.refusal + plan.words
