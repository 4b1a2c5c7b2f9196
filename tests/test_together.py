"""Several plugins in one process: real hosts with two and three, which switch together or not at all; and real scons."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elf_kit import library, read
from harness import Project, until
from hotreload_engine import verify
from hotreload_engine.model import Host, HotReloadError, Image
from hotreload_engine.slot import Parcel, Slot, publish_together
from runtime_kit import GUARDED, PATIENCE, Kit, Obedient

Start = Callable[..., "Several"]


class Several(Obedient):
    """tests/runtime/several.c with its libraries."""

    def __init__(self, kit: Kit, libraries: list[Path], signals: dict[int, int]) -> None:
        self.libraries = libraries
        named = [f"{path}:{signals[i]}" if i in signals else str(path) for i, path in enumerate(libraries)]
        super().__init__(kit.compile("several.c"), libraries[0], *named[1:], named=named[0])

    def polls(self, *indices: int) -> list[tuple[int, bool, bool]]:
        """(generation, changed, refused) of each."""
        answers = [word.split("/") for word in self.ask(" ".join(["poll", *map(str, indices)])).split()]
        return [(int(generation), changed == "1", refused == "1") for _, generation, changed, refused in answers]

    def numbers(self) -> list[int]:
        return [int(word) for word in self.ask("numbers").split()]

    def says(self, index: int, status: str, tried: int) -> Host:
        """Wait until that plugin's record says so."""
        slot = Slot(str(self.libraries[index]))

        def right() -> Host | None:
            for path in slot.records():
                try:
                    host = slot.read_record(path)
                except HotReloadError:
                    continue
                if (host.pid, host.status, host.tried) == (self.pid, status, tried):
                    return host
            return None

        found: Host = until(right, f"plugin {index} being {status} {tried}", PATIENCE)
        return found


@pytest.fixture
def start(kit: Kit, tmp_path: Path) -> Iterator[Start]:
    """A host of so many plugins, each in a directory of its own, generation 1 of all running and polled twice."""
    started: list[Several] = []

    def begin(count: int = 2, signals: dict[int, int] | None = None) -> Several:
        places = []
        for index in range(count):
            place = tmp_path / f"part{index}"
            place.mkdir(mode=0o755)
            places.append(place / f"libpart{index}.so")
        together(kit, dict.fromkeys(places, 1))
        host = Several(kit, places, signals or {})
        started.append(host)
        host.ask("open")
        host.polls(*range(count))
        host.polls(*range(count))
        assert host.numbers() == [1] * count
        return host

    yield begin
    for host in started:
        host.kill()


def together(
    kit: Kit,
    numbers: dict[Path, int],
    bad: frozenset[Path] | set[Path] = frozenset(),
    data: dict[Path, bytes] | None = None,
) -> None:
    """Publish these numbers of these libraries as one change; those in ``bad`` lack a function, ``data`` is taken as is."""
    ready = data or {}
    parcels = []
    for path, number in numbers.items():
        flags = ["-DWITHOUT_CALLS"] if path in bad else []
        content = ready.get(path) or kit.plugin(*flags, number=number)
        image = Image(str(path), len(content), f"{hash((content, path.name)) & (1 << 64) - 1:016x}", "", "DYN", "", 64)
        parcels.append(Parcel(Slot(str(path)), image, content))
    publish_together(parcels)


# --- together ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_what_was_published_together_changes_over_in_one_poll(kit: Kit, start: Start, count: int) -> None:
    """A bare signal; when all are loaded, the first hr_poll takes all, and each one's own hr_poll tells of it once."""
    host = start(count)
    together(kit, dict.fromkeys(host.libraries, 2))
    os.kill(host.pid, signal.SIGURG)
    for index in range(count):
        host.says(index, "ready", 2)
    assert host.numbers() == [1] * count
    assert host.polls(0) == [(2, True, False)]
    assert host.numbers() == [2] * count
    assert host.polls(*range(1, count)) == [(2, True, False)] * (count - 1)
    assert host.polls(*range(count)) == [(2, False, False)] * count
    for index in range(count):
        host.says(index, "running", 2)
    assert host.end() == 0


def test_one_alone_is_taken_alone(kit: Kit, start: Start) -> None:
    """The other is not touched; nor does what belonged together once hold back what came later."""
    host = start()
    first, second = host.libraries
    together(kit, {first: 2, second: 2})
    os.kill(host.pid, signal.SIGURG)
    until(lambda: host.polls(0, 1) and host.numbers() == [2, 2], "both")
    assert Slot(str(first)).together() == {str(second): 2}
    together(kit, {first: 3})
    assert Slot(str(first)).together() == {str(second): 2}, "what it is built upon"
    os.kill(host.pid, signal.SIGURG)
    until(lambda: host.polls(0, 1) and host.numbers() == [3, 2], "the first alone")


@pytest.mark.parametrize("count", [2, 3])
def test_a_hundred_changes_are_never_seen_half(kit: Kit, start: Start, count: int) -> None:
    """A host that polls all in turns and calls all: at no time do two of them differ, whatever the loaders do."""
    host = start(count)
    host.tell("run 101")
    for number in range(2, 102):
        together(kit, dict.fromkeys(host.libraries, number))
        os.kill(host.pid, signal.SIGURG)
        if number % 10 == 0:
            host.says(0, "running", number)
    assert host.hear() == "run 0"
    assert host.end() == 0


# --- or not at all ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("bad", [0, 1])
def test_one_that_is_refused_makes_the_others_refuse(kit: Kit, start: Start, count: int, bad: int) -> None:
    """All go on with the old code; each says why; when it is mended, alone, all come at once."""
    host = start(count)
    together(kit, dict.fromkeys(host.libraries, 2), {host.libraries[bad]})
    os.kill(host.pid, signal.SIGURG)
    for index in range(count):
        reason = host.says(index, "refused", 2).reason
        assert "functions missing: plug_calls" in reason
        assert (f"libpart{bad}.so, which was built together with it" in reason) == (index != bad)
    assert all(refused for _, _, refused in host.polls(*range(count)))
    assert host.numbers() == [1] * count
    os.kill(host.pid, signal.SIGURG)  # again, by hand: the same, and nothing goes in a circle
    sequences = [host.says(index, "refused", 2).sequence for index in range(count)]
    until(lambda: all(host.says(i, "refused", 2).sequence >= sequences[i] for i in range(count)), "the same again")
    together(kit, {host.libraries[bad]: 3})
    os.kill(host.pid, signal.SIGURG)
    for index in range(count):
        host.says(index, "ready", 3 if index == bad else 2)
    assert host.polls(0)[0][1]
    assert host.numbers() == [3 if index == bad else 2 for index in range(count)]
    assert host.end() == 0


def test_a_refused_pair_does_not_keep_the_loaders_busy(kit: Kit, start: Start) -> None:
    """Who refuses wakes those that wait for it, once: afterwards the records stay as they are."""
    host = start()
    together(kit, dict.fromkeys(host.libraries, 2), {host.libraries[1]})
    os.kill(host.pid, signal.SIGURG)
    host.says(0, "refused", 2)
    host.says(1, "refused", 2)
    before = [-1, -1]
    now = [0, 0]

    def at_rest() -> bool:
        nonlocal before, now
        before, now = now, [host.says(index, "refused", 2).sequence for index in (0, 1)]
        time.sleep(0.2)  # a circle would write hundreds of records in that time
        return before == now

    until(at_rest, "an end of it")
    assert max(now) < 30


CRASHING = """\
#include "plug.h"
HR_STATE(plug, plug_state)
static int *volatile none;
int plug_number(plug_state *state) { state->calls++; return *none; }
unsigned plug_calls(const plug_state *state) { return state->calls; }
int plug_undefined(void) { return 0; }
"""


@GUARDED
def test_what_is_built_upon_a_change_that_crashed_waits_for_its_mending(kit: Kit, start: Start, tmp_path: Path) -> None:
    """The crash takes one back; a later generation of the other is refused with that reason; the mended one brings it."""
    host = start()
    first, second = host.libraries
    source = tmp_path / "crashing.c"
    source.write_text(CRASHING, encoding="utf-8")
    together(kit, {first: 2, second: 2}, data={first: kit.compile(str(source), shared=True).read_bytes()})
    os.kill(host.pid, signal.SIGURG)
    host.says(0, "ready", 2)
    host.says(1, "ready", 2)
    host.polls(0, 1)
    assert host.numbers() == [1, 2]
    assert host.polls(0)[0] == (1, True, True)
    together(kit, {second: 3})
    os.kill(host.pid, signal.SIGURG)
    assert "built together with it, is refused: generation 2 crashed" in host.says(1, "refused", 3).reason
    host.polls(0, 1)
    assert host.numbers() == [1, 2]
    together(kit, {first: 3})
    os.kill(host.pid, signal.SIGURG)
    host.says(0, "ready", 3)
    host.says(1, "ready", 3)
    assert host.polls(0)[0][1] and host.numbers() == [3, 3]
    assert host.end() == 0


# --- nothing hangs, nothing is lost -------------------------------------------------------------------------------


def test_a_host_that_polls_only_one_of_them_is_not_held_up(kit: Kit, start: Start) -> None:
    """It changes over by itself; the other, whenever it is polled, has it at once."""
    host = start()
    for number in (2, 3):
        host.polls(0)
        host.polls(0)
        together(kit, dict.fromkeys(host.libraries, number))
        os.kill(host.pid, signal.SIGURG)
        until(lambda number=number: host.polls(0)[0][0] == number, "the one that is polled")  # type: ignore[misc]
        assert host.numbers()[1] == 1
    host.says(1, "ready", 3)
    assert host.polls(1) == [(3, True, False)]
    assert host.numbers() == [3, 3]


def test_a_plugin_of_another_thread_is_left_to_that_thread(kit: Kit, start: Start) -> None:
    """Its table is not touched by a poll that is not its own."""
    host = start()
    host.ask("elsewhere 1")
    together(kit, dict.fromkeys(host.libraries, 2))
    os.kill(host.pid, signal.SIGURG)
    host.says(0, "ready", 2)
    host.says(1, "ready", 2)
    assert host.polls(0) == [(2, True, False)]
    assert host.numbers() == [2, 1]
    assert host.ask("elsewhere 1").split("/")[1:3] == ["2", "1"]
    assert host.numbers() == [2, 2]


def test_a_plugin_with_a_signal_of_its_own_hears_of_it_through_the_other(kit: Kit, start: Start) -> None:
    """kill -URG reaches the first alone; it wakes the second, which reads its pointer."""
    host = start(2, {1: int(signal.SIGUSR1)})
    together(kit, dict.fromkeys(host.libraries, 2))
    os.kill(host.pid, signal.SIGURG)
    host.says(0, "ready", 2)
    host.says(1, "ready", 2)
    assert host.polls(0)[0][1] and host.numbers() == [2, 2]


def half(kit: Kit, host: Several) -> bytes:
    """Publish number 2 of both, and take the second's pointer back: a builder that was stopped between the two."""
    pointer = host.libraries[1].parent / ".hotreload" / f"{host.libraries[1].name}.newest"
    old = pointer.read_bytes()
    together(kit, dict.fromkeys(host.libraries, 2))
    new = pointer.read_bytes()
    replace(pointer, old)
    return new


def replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(".test")
    temporary.write_bytes(data)
    temporary.rename(path)


def test_a_signal_between_two_pointers_shows_nothing_half(kit: Kit, start: Start) -> None:
    """The first waits; with the second pointer both come."""
    host = start()
    new = half(kit, host)
    os.kill(host.pid, signal.SIGURG)
    host.says(0, "ready", 2)
    assert host.ask("wait 0 300") == "0", "there is nothing to be taken"
    assert host.polls(0, 1) == [(1, False, False)] * 2
    replace(host.libraries[1].parent / ".hotreload" / f"{host.libraries[1].name}.newest", new)
    os.kill(host.pid, signal.SIGURG)
    host.says(1, "ready", 2)
    assert host.polls(0)[0][1] and host.numbers() == [2, 2]


def test_what_never_comes_is_not_waited_for_without_end(kit: Kit, start: Start) -> None:
    """The pointer is older than ten seconds: the first goes alone, and so it does by itself, without a signal."""
    host = start()
    half(kit, host)
    pointer = host.libraries[0].parent / ".hotreload" / f"{host.libraries[0].name}.newest"
    os.kill(host.pid, signal.SIGURG)
    host.says(0, "ready", 2)
    assert host.polls(0, 1) == [(1, False, False)] * 2
    assert host.ask("wait 0 25000") == "1"
    assert host.polls(0) == [(2, True, False)]
    assert time.time() - pointer.stat().st_mtime > 9


def test_an_old_pointer_waits_for_nobody(kit: Kit, start: Start) -> None:
    """As above, found so at the signal."""
    host = start()
    half(kit, host)
    pointer = host.libraries[0].parent / ".hotreload" / f"{host.libraries[0].name}.newest"
    os.utime(pointer, (time.time() - 60, time.time() - 60))
    os.kill(host.pid, signal.SIGURG)
    until(lambda: host.polls(0) == [(2, True, False)], "the first alone")
    assert host.numbers() == [2, 1]


def test_a_plugin_that_is_closed_is_not_waited_for(kit: Kit, start: Start) -> None:
    """hr_close wakes those that wait for it."""
    host = start()
    half(kit, host)
    os.kill(host.pid, signal.SIGURG)
    host.says(0, "ready", 2)
    assert host.polls(0, 1) == [(1, False, False)] * 2
    host.ask("close 1")
    assert host.ask("wait 0 8000") == "1"
    assert host.polls(0) == [(2, True, False)]


def test_a_plugin_that_is_not_open_here_is_not_waited_for(kit: Kit, start: Start, tmp_path: Path) -> None:
    """Only what this process has open counts."""
    host = start()
    place = tmp_path / "elsewhere"
    place.mkdir(mode=0o755)
    together(kit, {host.libraries[0]: 2, place / "libplug.so": 2})
    os.kill(host.pid, signal.SIGURG)
    until(lambda: host.polls(0) == [(2, True, False)], "the first")


def test_a_wiped_directory_of_one_does_not_stop_the_other(kit: Kit, start: Start) -> None:
    """Its numbers begin again at 1: what the other was built upon is taken to be there."""
    host = start()
    first, second = host.libraries
    for number in (2, 3):
        together(kit, {first: number, second: number})
    os.kill(host.pid, signal.SIGURG)
    until(lambda: host.polls(0, 1) and host.numbers() == [3, 3], "both")
    for path in (second.parent / ".hotreload").glob("*.so.newest"):
        path.unlink()
    for path in (second.parent / ".hotreload").glob("*-*.so"):
        path.unlink()
    together(kit, {first: 4, second: 4})
    os.kill(host.pid, signal.SIGURG)
    until(lambda: host.polls(0, 1) and host.numbers() == [4, 4], "both again")
    assert Slot(str(first)).together() == {str(second): 1}


def test_a_program_that_starts_late_takes_what_is_newest(kit: Kit, start: Start) -> None:
    """hr_open waits for nobody: there is no old code to go on with."""
    host = start()
    half(kit, host)
    late = Several(kit, host.libraries, {})
    try:
        assert [word.split("/")[1] for word in late.ask("open").split()] == ["2", "1"]
    finally:
        late.kill()


# --- publishing -----------------------------------------------------------------------------------------------------


def test_when_one_cannot_be_written_none_is_published(kit: Kit, tmp_path: Path) -> None:
    """The second directory is writable by all: refused, and the first's pointer stays as it was."""
    places = [tmp_path / name / "libplug.so" for name in ("one", "two")]
    for place in places:
        place.parent.mkdir(mode=0o755)
    together(kit, dict.fromkeys(places, 1))
    places[1].parent.chmod(0o777)
    with pytest.raises(HotReloadError, match="other users can write here"):
        together(kit, dict.fromkeys(places, 2))
    for place in places:
        newest = Slot(str(place)).newest()
        assert newest is not None and newest.number == 1
        assert not [path for path in (place.parent / ".hotreload").iterdir() if path.name.startswith(".")]


def test_a_pointer_is_never_longer_than_hosts_read(kit: Kit, tmp_path: Path) -> None:
    """Partners with long names: as many as fit, and a pointer that is still believed."""
    places = [tmp_path / f"{index:0200}" / "libplug.so" for index in range(40)]
    for place in places:
        place.parent.mkdir(mode=0o755)
    together(kit, dict.fromkeys(places, 1))
    for place in places[:3]:
        assert Slot(str(place)).newest() is not None
        assert 5 < len(Slot(str(place)).together()) < 39


def test_a_plugin_that_is_linked_to_another_is_refused(tmp_path: Path, compiler: str) -> None:
    """It would go on with the copy that it was loaded with; one that gets a table of functions is fine."""
    first = library(tmp_path, "libfirst.so", "int first(void) { return 1; }\n", compiler=compiler)
    source = "int first(void);\nint second(void) { return first(); }\n"
    linked = read(library(tmp_path, "libsecond.so", source, str(first), compiler=compiler))
    table = "struct table { int (*first)(void); };\nint second(struct table *t) { return t->first(); }\n"
    free = read(library(tmp_path, "libfree.so", table, compiler=compiler))
    verdict = verify.plugin(linked, (), siblings=[read(first)])
    (finding,) = verdict.findings
    assert not verdict.ok and "libfirst.so (it uses first)" in finding.what and "table" in finding.remedy
    assert verify.plugin(free, (), siblings=[read(first)]).ok
    assert verify.plugin(read(first), (), siblings=[linked, free]).ok


# --- the whole way ----------------------------------------------------------------------------------------------------

SCONSTRUCT = """\
env = Environment(tools=["default", "hotreload"], CC="{cc}", CCFLAGS=["-O0"])
sim = env.HotLibrary("build/sim", ["src/sim.c"])
view = env.HotLibrary("build/view", ["src/view.c"])
main = env.HotProgram("build/main", ["src/main.c"], plugins=[sim, view])
"""
SHARED = "#define SHARED 1\n"
SIM_H = """\
#ifndef SIM_H
#define SIM_H
#include "hotreload.h"
typedef struct sim_state { unsigned steps; } sim_state;
#define SIM_FUNCTIONS(X) X(sim_step, int, (sim_state *state))
HR_FUNCTIONS(sim, SIM_FUNCTIONS)
#endif
"""
SIM_C = """\
#include "sim.h"
#include "shared.h"
HR_STATE(sim, sim_state)
#define OWN 1
int sim_step(sim_state *state) { state->steps++; return SHARED * 100 + OWN; }
"""
VIEW_H = """\
#include "hotreload.h"
#include "sim.h"
typedef struct view_state { unsigned shown; } view_state;
#define VIEW_FUNCTIONS(X) X(view_show, int, (view_state *state, const struct sim_functions *sim, sim_state *its))
HR_FUNCTIONS(view, VIEW_FUNCTIONS)
"""
VIEW_C = """\
#include "view.h"
#include "shared.h"
#include <stdio.h>
HR_STATE(view, view_state)
#define OWN 1
int view_show(view_state *state, const struct sim_functions *sim, sim_state *its)
{
    const int got = sim->sim_step(its);
    state->shown++;
    printf("view %d%02d sim %d %s\\n", SHARED, OWN, got, got / 100 == SHARED ? "same" : "DIFFERENT");
    return got;
}
"""
MAIN_C = """\
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"
#include <stdio.h>
#include "sim.h"
#include "view.h"
HR_TABLE(sim, SIM_FUNCTIONS)
HR_TABLE(view, VIEW_FUNCTIONS)
int main(void)
{
    hr_host *one, *two;
    hr_desc sim_desc = HR_DESC(sim, "$ORIGIN/libsim.so"), view_desc = HR_DESC(view, "$ORIGIN/libview.so");
    hr_result now = hr_open(&one, &sim_desc), then = hr_open(&two, &view_desc);
    for (;;) {
        now = hr_poll(one);
        then = hr_poll(two);
        if (now.generation && then.generation) view.view_show((view_state *)then.state, &sim, (sim_state *)now.state);
        fflush(stdout);
        hr_wait(one, 5);
    }
}
"""


def lay(made: Project, cc: str) -> None:
    made.write("SConstruct", SCONSTRUCT.format(cc=cc))
    for name, text in {
        "shared.h": SHARED, "sim.h": SIM_H, "sim.c": SIM_C, "view.h": VIEW_H, "view.c": VIEW_C, "main.c": MAIN_C,
    }.items():  # fmt: skip
        made.write(f"src/{name}", text)


def test_a_change_to_both_reaches_a_running_host_whole(made: Project, compiler: str) -> None:
    """A shared header: both in one pass; one plugin's own edit: that one; the other calls its new code by its table."""
    lay(made, compiler)
    watch = made.watch()
    host = made.host()
    host.wait_line("view 101 sim 101 same")
    made.edit("src/shared.h", "SHARED 1", "SHARED 2")
    host.wait_line("view 201 sim 201 same")
    made.edit("src/sim.c", "OWN 1", "OWN 7")
    host.wait_line("view 201 sim 207 same")
    made.edit("src/view.c", "OWN 1", "OWN 5")
    host.wait_line("view 205 sim 207 same")
    wanted = [("sim", 2), ("sim", 3), ("view", 2), ("view", 3)]

    def told() -> list[tuple[str, int]]:
        reloads = [event for event in watch.events if event["event"] == "reload" and event["ok"]]
        return sorted((event["plugin"], event["generation"]) for event in reloads)

    until(lambda: len(told()) >= len(wanted), "every reload being told")
    assert told() == wanted
    both = [e["together"] for e in watch.events if e["event"] == "published" and e["generation"] == 2]
    assert both == [["view"], ["sim"]]
    assert "DIFFERENT" not in host.output


def test_a_change_that_one_cannot_take_reaches_none(made: Project, compiler: str) -> None:
    """view lacks its function: neither is published and both say so; mended alone, both come in one pass."""
    lay(made, compiler)
    watch = made.watch()
    host = made.host()
    host.wait_line("view 101 sim 101 same")
    watch.wait("host")
    made.edit("src/view.c", "int view_show(view_state", "int view_shown(view_state")
    watch.wait("refused", lambda e: e["plugin"] == "view")
    made.write("src/shared.h", "#define SHARED 2\n")
    held = watch.wait("refused", lambda e: e["plugin"] == "sim")
    assert "view was built together with it" in held["findings"][-1]["what"]
    assert "view was built together with it" in made.scons("hosts")
    made.edit("src/sim.c", "OWN 1", "OWN 3")
    watch.wait("refused", lambda e: e["plugin"] == "sim")
    newest = Slot(str(made.path("build/libsim.so"))).newest()
    assert newest is not None and newest.number == 1
    made.edit("src/view.c", "int view_shown(view_state", "int view_show(view_state")
    host.wait_line("view 201 sim 203 same")
    assert "DIFFERENT" not in host.output
    assert "built together" not in made.scons("hosts")


def test_one_that_was_refused_alone_holds_nobody_back(made: Project) -> None:
    """Its fault has nothing to do with the next edit, of the other plugin."""
    lay(made, "gcc")
    watch = made.watch()
    host = made.host()
    host.wait_line("view 101 sim 101 same")
    watch.wait("host")
    made.edit("src/view.c", "int view_show(view_state", "int view_shown(view_state")
    watch.wait("refused", lambda e: e["plugin"] == "view")
    made.edit("src/sim.c", "OWN 1", "OWN 3")
    host.wait_line("view 101 sim 103 same")


def test_plain_scons_and_reload_keep_them_together_too(made: Project) -> None:
    """Without a watch: what is newer than what is published goes all or none."""
    lay(made, "gcc")
    made.scons()
    host = made.host()
    host.wait_line("view 101 sim 101 same")
    made.write("src/shared.h", "#define SHARED 2\n")
    made.edit("src/view.c", "int view_show(view_state", "int view_shown(view_state")
    text = made.scons(code=2)
    assert "refused view" in text and "refused sim" in text
    made.edit("src/view.c", "int view_shown(view_state", "int view_show(view_state")
    text = made.scons("reload")
    assert text.count("reloaded") == 2
    host.wait_line("view 201 sim 201 same")
    assert "DIFFERENT" not in host.output
