"""The crash guard: every kind of crash in new code, in real hosts; none hangs, each ends as the header's manual says."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import ticker
from harness import Project, need, until
from hotreload_engine import lines
from hotreload_engine.model import Crash, Frame
from hotreload_engine.slot import Slot
from runtime_kit import GUARDED, HERE, PATIENCE, REFUSED, RUNNING, Kit, Obedient, publish

pytestmark = GUARDED

SOURCE = (HERE / "crash.c").read_text(encoding="utf-8")
FRAMES = ("-fno-omit-frame-pointer", "-fno-stack-protector")
SEGV, BUS, FPE, ILL, TRAP, ABRT = (
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT,
)  # fmt: skip


class Kind(NamedTuple):
    signals: tuple[int, ...]
    alone: str
    """What becomes of it in a host of one thread: "" rolled back; else why not."""
    among: str
    """The same in a host of several threads."""
    line: str = ""
    """The mark in crash.c where it happens; "" the kind's own name."""


KINDS = {
    "null-write": Kind((SEGV,), "", ""),
    "null-read": Kind((SEGV,), "", ""),
    "division": Kind((FPE,), "", ""),
    "trap": Kind((ILL,), "", ""),
    "breakpoint": Kind((TRAP,), "", ""),
    "illegal": Kind((ILL,), "", ""),
    "abort": Kind((ABRT,), "", ""),
    "assert": Kind((ABRT,), "", ""),
    "raise": Kind((SEGV,), "", ""),
    "truncated": Kind((BUS,), "", ""),
    "stack-overflow": Kind((SEGV,), "", ""),
    "endless": Kind((TRAP,), "", ""),
    "endless-outside": Kind((TRAP,), "", ""),
    "endless-forks": Kind((TRAP,), "", ""),
    "endless-masked": Kind((TRAP,), "", ""),
    "double-free": Kind((ABRT,), "", ""),
    "double-free-big": Kind((ABRT,), "locks", "locks", "double-free"),
    "broken-heap": Kind((SEGV, ABRT), "locks", "locks"),
    "printf": Kind((SEGV,), "", "locks"),
    "strlen": Kind((SEGV,), "", ""),
    "null-call": Kind((SEGV,), "", ""),
    "qsort": Kind((SEGV,), "", "", "null-write"),
    "thread": Kind((SEGV,), "thread", "thread", "null-write"),
    "smash-own": Kind((SEGV,), "", "", "smash"),
    "smash-host": Kind((SEGV,), "stack", "stack", "smash"),
    "constructor": Kind((SEGV,), "constructor", "constructor", "null-write"),
}
SLOW = {"double-free-big", "broken-heap", "endless-forks", "endless-masked"}
"""Tried with one optimisation and in one language only: two wait two seconds for a lock that never comes."""


class Crasher(Obedient):
    """tests/runtime/crash_host.c. What the C library says on its way down is skipped."""

    def ask(self, command: str) -> str:
        self.tell(command)
        return self.answer(command.split()[0])

    def answer(self, word: str) -> str:
        while (line := self.hear()).split(" ")[0] != word:
            pass
        return line[len(word) + 1 :]

    def ends(self, command: str) -> int:
        """Do what it does not survive; its exit status."""
        with contextlib.suppress(BrokenPipeError):  # it may have ended before
            self.tell(command)
        return self.process.wait(PATIENCE)

    def crash(self) -> Crash | None:
        """What its record tells; it may have ended."""
        slot = Slot(str(self.library))
        (path,) = [path for path in slot.records() if f".host.{self.pid}." in path]
        return slot.read_record(path).crash


class Maker:
    """A compiler with its flags, as C or C++."""

    def __init__(self, kit: Kit, flag: str, plusplus: bool) -> None:
        self._kit, self._flag, self._plusplus = kit, flag, plusplus

    def plugin(self, number: int, *flags: str) -> bytes:
        return self._kit.plugin(
            self._flag, *FRAMES, *flags, number=number, plusplus=self._plusplus, source="crash.c"
        )  # fmt: skip

    @property
    def host(self) -> Path:
        return self._kit.compile("crash_host.c", self._flag, plusplus=self._plusplus)

    def program(self, source: str, *flags: str) -> Path:
        return self._kit.compile(source, self._flag, *flags, plusplus=self._plusplus)


_kits: dict[str, Kit] = {}


def maker(factory: pytest.TempPathFactory, compiler: str, flag: str = "-O0", plusplus: bool = False) -> Maker:
    need(compiler)
    if compiler not in _kits:
        _kits[compiler] = Kit(compiler, factory.mktemp(compiler))
    return Maker(_kits[compiler], flag, plusplus)


@pytest.fixture(params=["c", "c++"])
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return maker(tmp_path_factory, "gcc", "-O2", request.param == "c++")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    build = tmp_path / "build"
    build.mkdir(mode=0o755)
    return build / "libcrash.so"


Start = Callable[..., Crasher]


@pytest.fixture
def start(library: Path) -> Iterator[Start]:
    started: list[Crasher] = []

    def begin(program: Path, *arguments: str) -> Crasher:
        host = Crasher(program, library, *arguments)
        started.append(host)
        return host

    yield begin
    for host in started:
        host.kill()


@pytest.fixture
def running(make: Maker, library: Path, start: Start) -> Callable[..., Crasher]:
    """A host that runs generation 2, which crashes, after generation 1, which does not."""

    def begin(*arguments: str) -> Crasher:
        publish(library, make.plugin(1))
        host = start(make.host, *arguments)
        assert host.open().code == RUNNING
        assert host.ask("call none") == "1 77"
        host.takes(make.plugin(2))
        return host

    return begin


def spent(host: Crasher) -> int:
    """Processor time in user mode, in ticks of 10 ms."""
    return int(Path(f"/proc/{host.pid}/stat").read_text().rpartition(") ")[2].split()[11])


def line_of(mark: str) -> int:
    return 1 + next(index for index, line in enumerate(SOURCE.splitlines()) if line.endswith(f"/* here: {mark} */"))


def frames_of(data: bytes, crash: Crash) -> tuple[Frame, ...]:
    """As the builder does it."""
    addresses = [
        address - (index > 0 or (crash.signal == TRAP and crash.cause == "call"))
        for index, address in enumerate(crash.frames)
        if address is not None
    ]
    return lines.resolve(data, addresses)


def counted(state: str, more: int) -> str:
    """The state with `calls` that many higher."""
    calls = int.from_bytes(bytes.fromhex(state[:8]), "little") + more
    return calls.to_bytes(4, "little").hex() + state[8:]


# --- the matrix -----------------------------------------------------------------------------------------------


MATRIX = [
    (compiler, language, flag, threads, kind)
    for compiler, (language, flag), threads, kind in itertools.product(
        ("gcc", "clang"), (("c", "-O0"), ("c", "-O2"), ("c++", "-O2")), ("alone", "among"), KINDS
    )
    if (kind not in SLOW or (flag, language) == ("-O0", "c"))
]


@pytest.mark.parametrize(("compiler", "language", "flag", "threads", "kind"), MATRIX)
def test_every_kind_of_crash(
    compiler: str, language: str, flag: str, threads: str, kind: str,
    library: Path, start: Start, tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    """Rolled back with the state as at the swap and the call made again, or ended with a line in the record."""
    make = maker(tmp_path_factory, compiler, flag, language == "c++")
    expected = KINDS[kind]
    cause = expected.alone if threads == "alone" else expected.among
    publish(library, make.plugin(1))
    host = start(make.host, "loop=200", *(["threads"] if threads == "among" else []))
    host.open()
    host.ask("call none")
    state = host.ask("state")
    data = make.plugin(2, *(["-DCONSTRUCTOR"] if kind == "constructor" else []))
    generation = publish(library, data)
    host.signal()
    if cause:
        if kind != "constructor":
            assert host.news().generation == 2
        assert host.ends(f"call {kind}") in [-number for number in expected.signals]
    else:
        assert host.news().generation == 2
        assert host.ask(f"call {kind}") == "1 77", "the call is made again with the old code, and errno is the host's"
        assert host.ask("state") == counted(state, 1)
        now = host.result("poll")
        assert (now.code, now.generation, now.changed, now.refused) == (REFUSED, 1, True, True)
        what = "an endless loop" if kind.startswith("endless") else signal.Signals(expected.signals[0]).name
        assert f"generation 2 crashed: {what}; generation 1 goes on" in now.text
        assert not host.result("poll").changed
        assert host.ask("call null-write") == "1 77", "what runs is the old code"
    crash = None if cause else until(host.crash, "the record telling of it")
    crash = crash or host.crash()
    assert crash, "the record does not tell of it"
    assert crash.signal in expected.signals
    assert (crash.generation, crash.file) == (2, os.path.basename(generation.path))
    assert crash.fate == ("ended" if cause else "rolled-back")
    assert crash.cause == (cause or ("loop" if kind.startswith("endless") else "call"))
    frames = frames_of(data, crash)
    if kind != "broken-heap":
        named = [frame.file for frame in frames if frame.file]  # an endless loop may be in the PLT just now
        assert named and named[0] == str(HERE / "crash.c"), (crash.frames, frames)
    outside = ("broken-heap", "stack-overflow", "endless-outside", "endless-forks", "endless-masked")
    if flag == "-O0" and kind not in outside:
        assert frames[0].line == line_of(expected.line or kind), (crash.frames, frames)
    if cause:
        return
    slot = Slot(str(library))
    until(lambda: slot.crash_of(generation.digest), "the mark")
    assert host.takes(make.plugin(3)).generation == 3
    assert host.ask("call none") == "3 77"
    host.ask("allocate")
    host.tell("join")
    if threads == "among":
        host.answer("thread")
    host.answer("join")
    assert host.end() == 0


# --- what is put back ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["-O0", "-O2"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_call_is_made_again_with_the_same_arguments(
    compiler: str, flag: str, library: Path, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In registers, in vector registers, and on the stack, all of them spoilt by the code that crashed."""
    make = maker(tmp_path_factory, compiler, flag)
    publish(library, make.plugin(1))
    host = start(make.host)
    host.open()
    right = host.ask("many")
    assert right == str(1 + 20 + 300 + 4000 + 50000 + 46 + 1000000 + 45)
    host.takes(make.plugin(2))
    assert host.ask("many") == right
    assert host.result("poll").code == REFUSED


def test_a_call_within_a_guarded_call_is_part_of_it(make: Maker, running: Callable[..., Crasher]) -> None:
    """The outermost call is made again: plugin, host, plugin, crash. And a good inner one is just a call."""
    host = running()
    assert host.ask("around null-write") == "101"
    assert host.result("poll").code == REFUSED
    host.takes(make.plugin(4))
    assert host.ask("around none") == "101", "the inner call is good, the outer one crashes afterwards"
    assert host.result("poll").code == REFUSED
    host.takes(make.plugin(3))
    assert host.ask("around none") == "303"


def test_the_state_is_as_at_the_swap_not_as_at_the_call(running: Callable[..., Crasher]) -> None:
    """Good calls into the generation that crashes later have never been."""
    host = running()
    state = host.ask("state")
    host.ask("again 20")
    assert host.ask("state") != counted(state, 20), "generation 2 spoils it"
    host.ask("call null-write")
    assert host.ask("state") == counted(state, 1)


def test_a_call_that_is_left_by_longjmp(running: Callable[..., Crasher]) -> None:
    """It is over; the next ones are guarded still, more often than there is room for calls under way."""
    host = running()
    for _ in range(20):
        assert host.ask("leave") == ""
    assert host.ask("call null-write") == "1 77"
    assert host.result("poll").code == REFUSED


def test_coroutines_may_be_within_a_guarded_call(make: Maker, running: Callable[..., Crasher]) -> None:
    """They come back to where they were called from, after a crash on another stack, and in the next generation."""
    host = running()
    host.ask("suspend")
    assert host.ask("call none") == "2 77"
    assert host.ask("resume") == "2 2 2"
    host.ask("suspend")
    assert host.ask("call null-write") == "1 77"
    assert host.ask("resume") == "2 2 2"
    assert host.result("poll").code == REFUSED
    host.takes(make.plugin(3))
    host.ask("suspend")
    host.takes(make.plugin(4))
    assert host.ask("resume") == "3 3 3"
    assert host.ask("call null-write") == "3 77"


def test_a_debugger_sees_the_caller_through_the_guard(make: Maker, library: Path, start: Start) -> None:
    """A backtrace from a guarded call goes on into main, whose variables are right."""
    publish(library, make.plugin(1))
    host = start(make.host)
    host.open()
    host.takes(make.plugin(2))
    host.tell("call endless")
    begun = spent(host)
    until(lambda: spent(host) - begun >= 20, "the loop running", PATIENCE)
    done = subprocess.run(
        [need("gdb"), "-nx", "-batch", "-p", str(host.pid), "-ex", "backtrace", "-ex", "frame function main", "-ex", "print line"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE * 2, check=False,
    )  # fmt: skip
    assert re.search(r"crash_call .*\n#\d+ .*hr__gate .*\n#\d+ .*main \(", done.stdout), done.stdout + done.stderr
    assert '"call\\000endless' in done.stdout, done.stdout


def test_the_hosts_own_crash_is_its_own(running: Callable[..., Crasher]) -> None:
    """Though calls are guarded, and though one was left by longjmp before."""
    host = running()
    host.ask("leave")
    assert host.ends("own 0") == -SEGV
    crash = host.crash()
    assert crash and (crash.fate, crash.cause) == ("ended", "host")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_an_exception_passes_through_the_guard(
    compiler: str, library: Path, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Thrown by the plugin, caught by the host, with the frames between unwound; the guard goes on guarding."""
    make = maker(tmp_path_factory, compiler, "-O2", plusplus=True)
    publish(library, make.plugin(1))
    host = start(make.host)
    host.open()
    for turn in range(1, 13):
        assert host.ask(f"throw {turn}") == f"{turn} {turn}"
    assert host.ask("throw 0") == "0 13"
    host.takes(make.plugin(2))
    assert host.ask("throw 5") == "5 14"
    assert host.ask("call null-write") == "1 77"
    assert host.result("poll").code == REFUSED


# --- how long it lasts ------------------------------------------------------------------------------------------------


def code_of(host: Crasher, name: str) -> list[tuple[int, int]]:
    """Address ranges of a file that the host has mapped executable."""
    rows = [line.split() for line in host.maps if line.endswith(name) and " r-xp " in line]
    return [(int(row[0].split("-")[0], 16), int(row[0].split("-")[1], 16)) for row in rows]


def table_is_plain(host: Crasher, file: str) -> bool:
    addresses = [int(word, 16) for word in host.ask("table").split()]
    ranges = code_of(host, file)
    assert ranges
    inside = [any(low <= address < high for low, high in ranges) for address in addresses]
    assert all(inside) or not any(inside)
    return all(inside)


def test_after_the_first_calls_nothing_of_it_remains(make: Maker, library: Path, start: Start) -> None:
    """The table has the plain pointers, the signals are as before; a crash then ends the host, without a word of ours."""
    publish(library, make.plugin(1))
    host = start(make.host, "calls=3")
    before = host.ask("signals")
    assert before == "default default default default default default stack none 0"
    host.open()
    generation = publish(library, make.plugin(3))
    host.signal()
    assert host.news().generation == 2
    file = os.path.basename(generation.path)
    for _ in range(3):
        assert not table_is_plain(host, file)
        assert host.ask("signals").startswith("ours ours ours ours ours ours stack some")
        assert host.ask("call none") == "3 77"
    assert host.ask("wait 0") == "1", "there is something to do at the safe point"
    now = host.result("poll")
    assert (now.code, now.changed, now.refused) == (RUNNING, False, False)
    assert table_is_plain(host, file)
    assert host.ask("signals") == before
    assert host.ask("wait 0") == "0"
    assert host.ends("call always:null-write") == -SEGV
    assert host.crash() is None


def test_by_default_a_hundred_calls_are_guarded(make: Maker, running: Callable[..., Crasher]) -> None:
    """The hundredth still is."""
    host = running()
    host.ask("again 99")
    assert host.ask("call null-write") == "1 77"


def test_a_guard_that_goes_over_into_the_next(make: Maker, library: Path, running: Callable[..., Crasher]) -> None:
    """Generations that come faster than their calls: each is guarded, the last one's crash goes back by one."""
    host = running()
    for number in (3, 5, 7):
        host.takes(make.plugin(number))
        assert host.ask("call none") == f"{number} 77"
    host.takes(make.plugin(8))
    assert host.ask("call division") == "7 77"
    host.result("poll")
    assert host.ask("signals") == "default default default default default default stack none 0"


# --- what is the host's -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "signals"),
    [
        ("handler", "own default default default default own stack none 0"),
        ("stack", "default default default default default default stack some 65536"),
        ("blocked", "default default-blocked default default default-blocked default stack none 0"),
    ],
)
def test_handlers_stack_and_mask_of_the_host_are_put_back(
    setting: str, signals: str, make: Maker, running: Callable[..., Crasher]
) -> None:
    """After a crash, after good calls, and after hr_close."""
    host = running(setting, "calls=2")
    assert host.ask("call truncated") == "1 77"
    host.result("poll")
    assert host.ask("signals") == signals
    host.takes(make.plugin(3))
    host.ask("again 2")
    host.result("poll")
    assert host.ask("signals") == signals
    host.takes(make.plugin(4))
    host.ask("close")
    assert host.ask("signals") == signals


def test_a_handler_of_the_host_gets_what_is_the_hosts(running: Callable[..., Crasher]) -> None:
    """The plugin's crash is the guard's; the host's own goes to the handler that it had."""
    assert running("handler").ends("own 0") == 41, "while the guard is on"
    host = running("handler")
    assert host.ask("call null-write") == "1 77"
    host.result("poll")
    assert host.ends("own 0") == 41


def test_a_forked_childs_crash_is_its_own(running: Callable[..., Crasher]) -> None:
    """Nothing is guarded in it, and nothing happens to its parent."""
    host = running()
    child = int(host.ask("fork"))
    host.tell("call null-write")

    def ended() -> bool:
        return not Path(f"/proc/{child}").exists() or "zombie" in Path(f"/proc/{child}/status").read_text()

    until(ended, "the child ending of it", PATIENCE)
    assert host.process.poll() is None


def test_an_endless_loop_under_a_debugger_is_left_alone(
    make: Maker, library: Path, start: Start, tmp_path: Path
) -> None:
    """Somebody may be looking at it."""
    gdb = need("gdb")
    publish(library, make.plugin(1))
    host = start(make.host, "loop=50")
    host.open()
    host.takes(make.plugin(2))
    log = tmp_path / "gdb.txt"
    with log.open("wb") as output:
        debugger = subprocess.Popen(
            [gdb, "-nx", "-batch", "-p", str(host.pid), "-ex", "python print('attached', flush=True)", "-ex", "continue"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        until(lambda: "attached" in log.read_text(errors="replace"), f"gdb attaching: {log.read_text()}", PATIENCE)
        begun = spent(host)
        host.tell("call endless")
        until(lambda: spent(host) - begun >= 50, "half a second of processor time", PATIENCE)
        assert host.crash() is None
    finally:
        debugger.kill()
        debugger.wait()
    assert host.answer("call") == "1 77", "without the debugger it is ended"


# --- when there is no guard -------------------------------------------------------------------------------------------


def test_the_first_generation_has_nothing_to_go_back_to(make: Maker, library: Path, start: Start) -> None:
    """It ends as it would without us; the record tells where."""
    data = make.plugin(2)
    publish(library, data)
    host = start(make.host)
    host.open()
    assert host.ends("call null-write") == -SEGV
    crash = host.crash()
    assert crash and (crash.fate, crash.cause) == ("ended", "first")
    assert frames_of(data, crash)[0].file == str(HERE / "crash.c")
    assert not Slot(str(library)).crashes(), "there is no mark: it may be tried again, in a debugger"


def test_an_unguarded_host_ends(running: Callable[..., Crasher]) -> None:
    """desc.unguarded: nothing of ours is there, and the record says so."""
    host = running("unguarded")
    record = host.record()
    assert record and record.guard == "desc.unguarded"
    assert host.ask("signals").startswith("default default")
    assert host.ends("call null-write") == -SEGV
    assert host.crash() is None


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_sanitizers_handle_faults_themselves(
    compiler: str, sanitizer: str, library: Path, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The guard is off and says why."""
    kit = maker(tmp_path_factory, compiler)
    flag = f"-fsanitize={sanitizer}"
    publish(library, kit.plugin(1, flag))
    host = start(kit.program("crash_host.c", flag))
    host.open()
    assert "sanitizer" in host.records("running", 1).guard
    assert host.ask("call none") == "1 77"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_guard_under_the_undefined_behaviour_sanitizer(
    compiler: str, library: Path, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The runtime's own code does nothing undefined on its way through a crash, a loop and the end of a guard."""
    make = maker(tmp_path_factory, compiler, "-O1")
    program = make.program("crash_host.c", "-fsanitize=undefined", "-fno-sanitize-recover=all")
    publish(library, make.plugin(1))
    host = start(program, "loop=100", "calls=3")
    host.open()
    for number, kind in ((2, "null-write"), (4, "abort"), (6, "stack-overflow"), (8, "endless"), (10, "strlen")):
        host.takes(make.plugin(number))
        assert host.ask(f"call {kind}") == "1 77"
        assert host.result("poll").code == REFUSED
    host.takes(make.plugin(1))
    host.ask("again 5")
    host.result("poll")
    assert host.end() == 0


# --- marks ------------------------------------------------------------------------------------------------------------


def test_a_mark_keeps_every_host_away_until_it_is_deleted(
    make: Maker, library: Path, running: Callable[..., Crasher], start: Start
) -> None:
    """The same host at the next signal, another one, one that starts later; and then it is only a file."""
    host = running()
    host.ask("call null-write")
    host.result("poll")
    slot = Slot(str(library))
    (crash,) = until(slot.crashes, "the mark")
    assert (crash.pid, crash.generation, crash.signal, crash.fate) == (host.pid, 2, SEGV, "rolled-back")
    assert oct(os.stat(crash.mark).st_mode & 0o777) == "0o600"
    assert re.fullmatch(r"libcrash\.so\.crashed\.[0-9a-f]{12}", os.path.basename(crash.mark))
    slot.explain(crash, "src/plug.c:12, plug_hello()")
    words = f"generation 2 crashed: SIGSEGV in src/plug.c:12, plug_hello(): change the code; or delete {crash.mark}"
    host.signal()
    again = host.news()
    assert (again.code, again.generation, again.refused) == (REFUSED, 1, True) and words in again.text
    later = start(make.host)
    opened = later.open()
    assert (opened.code, opened.generation) == (REFUSED, 0) and words in opened.text
    os.unlink(crash.mark)
    later.signal()
    assert later.news().generation == 2
    host.signal()
    assert host.news().generation == 2
    assert host.ask("call null-write") == "1 77"


def test_without_room_for_a_mark_the_host_remembers_itself(running: Callable[..., Crasher], library: Path) -> None:
    """A directory is in the mark's place: the generation is not loaded again all the same."""
    host = running()
    newest = Slot(str(library)).newest()
    assert newest
    mark = library.parent / ".hotreload" / f"libcrash.so.crashed.{newest.digest[:12]}"
    mark.mkdir()
    host.ask("call null-write")
    assert host.result("poll").code == REFUSED
    host.signal()
    again = host.news()
    assert again.code == REFUSED and "generation 2 crashed" in again.text


def test_a_crash_while_a_newer_generation_waits(make: Maker, library: Path, running: Callable[..., Crasher]) -> None:
    """After the crash the newer one is taken, from where the old one is; the mark is there."""
    host = running()
    publish(library, make.plugin(3))
    host.signal()
    host.records("ready", 3)
    assert host.ask("call null-write") == "1 77"
    until(lambda: Slot(str(library)).crashes(), "the mark")
    until(lambda: host.result("poll").generation == 3, "the newer generation")
    assert host.ask("call none") == "3 77"


def test_crash_after_crash(make: Maker, library: Path, running: Callable[..., Crasher]) -> None:
    """Twenty bad generations, each rolled back to the same good one; what crashed stays mapped, all else is as before."""
    host = running()
    state = host.ask("state")
    descriptors = host.descriptors
    for turn in range(20):
        if turn:
            host.takes(make.plugin(2 + 2 * turn))
        assert host.ask("call null-write") == "1 77"
        assert host.result("poll").code == REFUSED
    assert host.ask("state") == counted(state, 20)
    assert host.descriptors == descriptors
    until(lambda: len(Slot(str(library)).crashes()) == 20, "the marks")
    assert host.end() == 0


# --- two hosts in a process -------------------------------------------------------------------------------------------


def test_two_plugins_in_one_thread(tmp_path_factory: pytest.TempPathFactory, library: Path, start: Start) -> None:
    """A crash in the second, called by the first through the host, takes the second back alone; then the first crashes too.
    The signal stack that they share is taken away by the last."""
    make = maker(tmp_path_factory, "gcc", "-O2")
    publish(library, make.plugin(1))
    host = start(make.program("crash_two.c"))
    assert host.ask("poll") == "1 1"
    publish(library, make.plugin(2))
    host.signal()
    until(lambda: host.ask("poll") == "2 2", "both running it", PATIENCE)
    assert host.ask("nested") == "101"
    assert host.ask("poll") == "1 1"
    assert host.ask("signals") == "default none"
    publish(library, make.plugin(3))
    host.signal()
    until(lambda: host.ask("poll") == "3 3", "both running the next", PATIENCE)
    assert host.ask("nested") == "303"


# --- the builder ------------------------------------------------------------------------------------------------------

GOOD = "void plug_tick(plug_state *state) { state->calls++; }"
BAD = """\
static int *nowhere;
static void deeper(int *where)
{
    *where = 1;
}
void plug_tick(plug_state *state)
{
    state->calls += 1000;
    deeper(nowhere);
}"""


def test_watch_tells_file_and_line(made: Project, compiler: str) -> None:
    """A save that crashes: the host goes on with its state, the place is named; the next good save is as ever."""
    ticker.lay(made, compiler)
    watch = made.watch()
    host = made.host()
    watch.wait("host", lambda e: e["pid"] == host.pid)
    ticker.runs(host, 1)
    made.edit("src/plug.c", GOOD, BAD)
    crash = watch.wait("crash")
    assert (crash["plugin"], crash["generation"], crash["host"]) == ("plug", 2, host.pid)
    assert (crash["signal"], crash["what"], crash["fate"], crash["cause"]) == (
        "SIGSEGV",
        "SIGSEGV",
        "rolled-back",
        "call",
    )
    line = 1 + made.path("src/plug.c").read_text().split("\n").index("    *where = 1;")
    assert crash["where"] == f"src/plug.c:{line}, deeper()"
    inner, outer = crash["frames"][:2]
    assert (inner["function"], inner["line"], inner["file"]) == ("deeper", line, str(made.path("src/plug.c")))
    assert (outer["function"], outer["line"]) == ("plug_tick", line + 5)
    assert (
        f"crashed plug #2 in pid {host.pid}: SIGSEGV in src/plug.c:{line}, deeper(); it goes on with #1" in watch.output
    )
    assert host.alive
    host.wait_line("refused: generation 2 crashed: SIGSEGV; generation 1 goes on")
    (mark,) = rundir(made).glob("*.crashed.*")
    assert crash["mark"] == str(mark)
    until(lambda: f"\nwhere src/plug.c:{line}, deeper()\n" in mark.read_text(), "the place in the mark")

    listed = made.scons("hosts")
    assert f"pid {host.pid}" in listed and "refused #2: generation 2 crashed" in listed
    assert f"#2 crashed: SIGSEGV in src/plug.c:{line}, deeper()" in listed

    made.edit("src/plug.c", "state->calls += 1000", "state->calls += 2000")
    assert watch.wait("crash")["generation"] == 3
    made.edit("src/plug.c", BAD.replace("1000", "2000"), GOOD)
    event = watch.wait("build", lambda e: e["fixed"])
    assert event["ok"]
    ticker.set_number(made, 4)
    watch.reloaded(host=host.pid)
    ticker.runs(host, 4)


def test_the_builder_refuses_what_has_crashed(made: Project) -> None:
    """Built again from the same sources it is the same library: not published, whoever builds; until its mark is gone."""
    ticker.lay(made)
    made.scons()
    host = made.host()
    ticker.runs(host, 1)
    made.edit("src/plug.c", GOOD, BAD)
    made.scons("reload", code=None)
    mark: Path = until(lambda: next(rundir(made).glob("*.crashed.*"), None), "the mark")
    made.scons("hosts")
    made.edit("src/plug.c", BAD, GOOD)
    made.scons("reload")
    ticker.runs(host, 1)
    made.edit("src/plug.c", GOOD, BAD)
    refused = made.scons("reload", code=2)
    assert f"this very library has crashed in pid {host.pid}: SIGSEGV" in refused
    assert f"change the code; or delete {mark} to try it again" in refused
    assert made.scons(code=2).count("has crashed") == 1
    mark.unlink()
    made.scons("reload", code=None)
    until(lambda: next(rundir(made).glob("*.crashed.*"), None), "another crash, for it was tried again")
    made.edit("src/plug.c", BAD, GOOD)
    made.scons("reload")
    assert host.alive
    made.scons("-c")
    assert not list(rundir(made).glob("*.crashed.*"))


def test_watch_tells_of_a_crash_that_ends_the_host(made: Project) -> None:
    """In a constructor nothing can be rolled back: the process has ended, and the place is told all the same."""
    ticker.lay(made)
    watch = made.watch()
    host = made.host()
    watch.wait("host", lambda e: e["pid"] == host.pid)
    ticker.runs(host, 1)
    made.edit(
        "src/plug.c",
        GOOD,
        f"{GOOD}\n__attribute__((constructor)) static void at_once(void)\n{{\n    *(volatile int *)0 = 1;\n}}",
    )
    crash = watch.wait("crash")
    assert (crash["fate"], crash["cause"], crash["host"]) == ("ended", "constructor", host.pid)
    line = 1 + made.path("src/plug.c").read_text().split("\n").index("    *(volatile int *)0 = 1;")
    assert crash["where"] == f"src/plug.c:{line}, at_once()"
    assert f"crashed plug #2 in pid {host.pid}: SIGSEGV in src/plug.c:{line}, at_once(); it has ended" in watch.output
    assert host.process.wait(PATIENCE) == -SEGV


def test_a_list_of_hosts_tells_who_has_ended(made: Project) -> None:
    """Once: the first generation crashed, and there was nothing to go back to."""
    ticker.lay(made)
    made.edit("src/plug.c", GOOD, BAD)
    made.scons()
    host = made.host()
    assert host.process.wait(PATIENCE) == -SEGV
    assert f"pid {host.pid}  has ended: #1 crashed: SIGSEGV" in made.scons("hosts")
    assert str(host.pid) not in made.scons("hosts")


def test_a_watch_that_begins_later_does_not_tell_old_crashes(made: Project) -> None:
    """What crashed before is no news; it is still refused."""
    ticker.lay(made)
    made.scons()
    host = made.host()
    ticker.runs(host, 1)
    made.edit("src/plug.c", GOOD, BAD)
    made.scons("reload", code=None)
    until(lambda: list(rundir(made).glob("*.crashed.*")), "the mark")
    watch = made.watch()
    assert not [event for event in watch.events if event["event"] == "crash"]
    made.edit("src/plug.c", BAD, GOOD)
    ticker.set_number(made, 3)
    watch.reloaded(host=host.pid)
    ticker.runs(host, 3)
    assert not [event for event in watch.events if event["event"] == "crash"]


def rundir(made: Project) -> Path:
    return made.path("build/.hotreload")
