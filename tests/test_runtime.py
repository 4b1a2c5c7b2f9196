"""The host runtime (src/hotreload.h) with real compilers, processes and signals; the builder is runtime_kit.publish."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import need, until
from hotreload_engine.slot import Slot
from runtime_kit import (
    DETACHED,
    FAILED,
    PATIENCE,
    REFUSED,
    RUNNING,
    UNSANITIZED,
    WAITING,
    Kit,
    Obedient,
    point,
    publish,
    write_pointer,
)

Start = Callable[..., Obedient]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Where the linker would put it; its directory is there and is nobody else's."""
    build = tmp_path / "build"
    build.mkdir(mode=0o755)
    return build / "libplug.so"


@pytest.fixture
def start(kit: Kit, library: Path) -> Iterator[Start]:
    """Start a host of the library; it waits for commands."""
    started: list[Obedient] = []

    def begin(*arguments: str, program: Path | None = None, **settings: object) -> Obedient:
        host = Obedient(program or kit.compile("host.c"), settings.pop("at", library), *arguments, **settings)  # type: ignore[arg-type]
        started.append(host)
        return host

    yield begin
    for host in started:
        host.kill()


def is_locked(record: str) -> bool:
    """Whether a living process holds the record's lock."""
    with open(record, "rb") as file:
        question = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return bool(struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, question))[0] != fcntl.F_UNLCK)


# --- the way it goes ------------------------------------------------------------------------------------------


def test_a_bare_signal_reloads_to_the_newest_generation(kit: Kit, library: Path, start: Start) -> None:
    """`kill -URG` alone is enough; state and its address stay, and so does what the calls counted."""
    publish(library, kit.plugin(number=1))
    host = start()
    opened = host.open()
    assert (opened.code, opened.generation, opened.changed, opened.state_size) == (RUNNING, 1, True, 4)
    assert host.number_and_calls() == (1, 1)
    address = host.ask("state")
    subprocess.run(["sh", "-c", f"kill -URG {host.pid}"], check=True)
    assert host.records("running", 1)
    publish(library, kit.plugin(number=2))
    subprocess.run(["sh", "-c", f"kill -URG {host.pid}"], check=True)
    now = host.news()
    assert (now.code, now.generation, now.changed, now.refused) == (RUNNING, 2, True, False)
    assert now.load_us > 0 and now.pause_us > 0
    assert host.number_and_calls() == (2, 2)
    assert host.ask("state") == address
    assert not host.result("poll").changed
    assert host.end() == 0


def test_the_record_tells_all_that_a_builder_wants(kit: Kit, library: Path, start: Start) -> None:
    """Fields as in the protocol: ready before the safe point, running after it, closed and gone at the end."""
    host = start()
    assert host.open().code == WAITING
    waiting = host.records("waiting", 0)
    assert waiting.functions == ("plug_number", "plug_calls", "plug_undefined")
    assert (waiting.signal, waiting.generation, waiting.file) == (signal.SIGURG, 0, "")
    assert "not published" in waiting.reason
    assert is_locked(waiting.record)
    mode = os.stat(waiting.record)
    assert mode.st_mode & 0o777 == 0o600 and mode.st_size == 4096
    assert mode.st_blocks * 512 >= 4096, "not preallocated: a full disk could cut it"
    assert os.stat(library.parent / ".hotreload").st_mode & 0o777 == 0o700

    generation = publish(library, kit.plugin())
    host.signal()
    ready = host.records("ready", 1)
    assert ready.generation == 0 and ready.sequence > waiting.sequence and ready.load_us > 0
    assert host.news().changed
    running = host.records("running", 1)
    assert (running.generation, running.file, running.state_size) == (1, os.path.basename(generation.path), 4)
    text = Path(running.record).read_text()
    start_time = Path(f"/proc/{host.pid}/stat").read_text().rpartition(") ")[2].split()[19]
    assert f"\nstart {start_time}\n" in text
    assert f"\nlibrary {library}\n" in text
    assert "\nswaps 1\n" in text and "\nkept 1\n" in text

    assert host.ask("close") == ""
    assert not os.path.exists(running.record)


def test_a_host_started_before_the_first_publish_takes_it_when_it_comes(kit: Kit, library: Path, start: Start) -> None:
    """With the directory there, a signal brings it."""
    host = start()
    opened = host.open()
    assert opened.code == WAITING and not opened.refused and "run scons" in opened.text
    assert host.takes(kit.plugin()).generation == 1


def test_a_missing_directory_is_waited_for(kit: Kit, library: Path, start: Start) -> None:
    """Nobody can signal a host without a record: it looks by itself until it can register."""
    library.parent.rmdir()
    host = start()
    opened = host.open()
    assert opened.code == WAITING and str(library.parent) in opened.text
    library.parent.mkdir(mode=0o755)
    publish(library, kit.plugin())
    assert host.until(RUNNING).generation == 1
    assert host.records("running", 1)


def test_a_wiped_directory_is_survived(kit: Kit, library: Path, start: Start) -> None:
    """rm -rf succeeds though the host lives in there; numbers begin again; the host registers again and takes them."""
    publish(library, kit.plugin(number=1))
    host = start()
    host.open()
    host.takes(kit.plugin(number=2))
    for number in range(3, 6):
        subprocess.run(["rm", "-r", str(library.parent)], check=True)
        assert host.number_and_calls()[0] > 0
        library.parent.mkdir(mode=0o755)
        generation = publish(library, kit.plugin(number=number))
        assert generation.number == 1
        assert host.news().changed
        assert host.number_and_calls()[0] == number
        assert is_locked(host.records("running", 1).record)
    assert host.takes(kit.plugin(number=9)).generation == 2


def test_a_host_does_not_get_in_the_way_of_an_rm(kit: Kit, library: Path, start: Start) -> None:
    """A file that it made between unlink and rmdir would make `rm -rf build` fail; a directory made later is litter."""
    publish(library, kit.plugin(number=1))
    host = start()
    host.open()
    directory = library.parent / ".hotreload"

    def removed() -> bool:
        record = host.records("running", 1).record
        os.unlink(record)
        until(lambda: not any(record in target for target in host.targets), "the host noticing it")
        for path in directory.iterdir():
            path.unlink()
        try:
            directory.rmdir()
        except OSError:
            publish(library, kit.plugin(number=1))
            return False
        return True

    assert any(removed() for _ in range(5)), "it always has a new record there at once"
    time.sleep(0.8)  # it looks every 250 ms; seeing nothing for that long is the point
    assert not directory.exists()
    publish(library, kit.plugin(number=2))
    assert host.news().changed
    assert host.number_and_calls()[0] == 2


def test_a_moved_directory_is_left_behind(kit: Kit, library: Path, start: Start) -> None:
    """mv build old; a new build: the host registers in the new one and leaves no living record in the old one."""
    publish(library, kit.plugin(number=1))
    host = start()
    host.open()
    old = library.parent.with_name("old")
    library.parent.rename(old)
    library.parent.mkdir(mode=0o755)
    publish(library, kit.plugin(number=2))
    assert host.news().changed
    assert host.number_and_calls()[0] == 2
    (left,) = Slot(str(old / library.name)).records()
    assert not is_locked(left) and Slot(str(old / library.name)).read_record(left).status == "closed"


def test_a_newer_generation_replaces_one_that_waits(kit: Kit, library: Path, start: Start) -> None:
    """A host that is busy comes to its safe point once, and runs the newest."""
    publish(library, kit.plugin(number=1))
    host = start()
    host.open()
    for number in (2, 3, 4):
        publish(library, kit.plugin(number=number))
        host.signal()
        host.records("ready", number)
    now = host.result("poll")
    assert now.changed and now.generation == 4
    assert host.number_and_calls()[0] == 4
    until(lambda: len(host.mapped) == 2, "those that never ran being closed")


def test_what_is_taken_back_before_the_safe_point_never_runs(kit: Kit, library: Path, start: Start) -> None:
    """The pointer goes back to what runs: the generation that waits is dropped."""
    first = publish(library, kit.plugin(number=1))
    pointer = (library.parent / ".hotreload" / "libplug.so.newest").read_bytes()
    host = start()
    host.open()
    publish(library, kit.plugin(number=2))
    host.signal()
    host.records("ready", 2)
    write_pointer(library, pointer)
    host.signal()
    host.records("running", 1)
    assert not host.news().changed
    assert host.number_and_calls()[0] == 1
    assert host.mapped == {os.path.basename(first.path)}
    assert host.takes(kit.plugin(number=3)).generation == 3


def test_ten_generations_while_stopped_are_one_reload(kit: Kit, library: Path, start: Start) -> None:
    """As in a debugger: SIGSTOP, ten generations with their signals, SIGCONT, and the last one runs."""
    publish(library, kit.plugin(number=1))
    host = start()
    host.open()
    os.kill(host.pid, signal.SIGSTOP)
    for number in range(2, 12):
        publish(library, kit.plugin(number=number))
        host.signal()
    os.kill(host.pid, signal.SIGCONT)
    assert host.until(RUNNING, 11).changed
    assert host.number_and_calls()[0] == 11
    assert "\nswaps 2\n" in Path(host.records("running", 11).record).read_text()


def test_three_hundred_reloads_leave_nothing_behind(kit: Kit, library: Path, start: Start) -> None:
    """Right code and exact count each time; descriptors and maps are those of the beginning."""
    publish(library, kit.plugin(number=1))
    host = start()
    host.open()
    slot = Slot(str(library))
    for number in range(2, 303):
        now = host.takes(kit.plugin(number=number))
        assert now.generation == number
        assert host.number_and_calls() == (number, number - 1)
        if number == 4:
            until(lambda: len(host.mapped) == 2, "generation N-2 being closed")
            descriptors, maps = host.descriptors, len(host.maps)
        slot.collect(host.mapped)
    until(lambda: len(host.mapped) == 2, "generation N-2 being closed")
    assert (host.descriptors, len(host.maps)) == (descriptors, maps)
    record = Path(host.records("running", 302).record)
    until(lambda: "\nswaps 302\nkept 2\n" in record.read_text(), "the record counting")


def test_an_idle_host_never_wakes(kit: Kit, library: Path, start: Start) -> None:
    """The loader thread sleeps without a timer, before the first generation and after it."""
    host = start()
    host.open()
    for step in ("waiting", "running"):
        if step == "running":
            host.takes(kit.plugin())
        host.records(step)
        loader = host.loader()
        _sleeps(loader)
        before = _switches(loader)
        time.sleep(0.8)  # three periods of the timer that must not be there
        assert _switches(loader) == before, step


def _sleeps(task: Path) -> None:
    until(lambda: "S (sleeping)" in (task / "status").read_text(), "the thread sleeping")


def _switches(task: Path) -> str:
    return next(line for line in (task / "status").read_text().splitlines() if line.startswith("voluntary_ctxt"))


# --- refusals: the old code goes on, the text says why, the next good one runs --------------------------------


@pytest.fixture
def running(kit: Kit, library: Path, start: Start) -> Iterator[Obedient]:
    """A host that runs generation 1. In the end it must take a good generation, whatever it refused."""
    publish(library, kit.plugin(number=1))
    host = start()
    assert host.open().code == RUNNING
    yield host
    now = host.takes(kit.plugin(number=99))
    assert "newest" in now.text and host.number_and_calls()[0] == 99
    assert host.end() == 0


def test_missing_functions_are_all_named(kit: Kit, running: Obedient) -> None:
    """Not only the first: one look is enough to mend them."""
    now = running.refuses(kit.plugin("-DWITHOUT_CALLS", "-DWITHOUT_NUMBER", number=2))
    assert "plug_number, plug_calls" in now.text and "plug_undefined" not in now.text
    assert running.number_and_calls() == (1, 1)
    record = running.records("refused", 2)
    assert record.generation == 1 and record.reason == now.text


def test_an_undefined_symbol_is_refused_with_the_loaders_words(kit: Kit, running: Obedient) -> None:
    """dlerror's text, and what to do."""
    now = running.refuses(kit.plugin("-DUNDEFINED", number=2))
    assert "undefined symbol: nowhere" in now.text and "build again" in now.text
    assert running.number_and_calls() == (1, 1)


@pytest.mark.parametrize("percent", [0, 10, 50, 90, 99])
def test_a_truncated_library_is_refused(kit: Kit, running: Obedient, percent: int) -> None:
    """Opened, it would be SIGBUS."""
    data = kit.plugin(number=2)
    now = running.refuses(data[: max(1, len(data) * percent // 100)])
    assert "cut off" in now.text or "not an ELF file" in now.text
    assert running.number_and_calls() == (1, 1)


def test_a_text_file_is_refused(running: Obedient) -> None:
    """A linker script, or a mistake."""
    assert "not an ELF file" in running.refuses(b"GROUP ( libplug.so.1 )\n" * 40).text


def _patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def test_a_library_for_another_machine_is_refused(kit: Kit, running: Obedient) -> None:
    """e_machine and the ELF class are compared with those of the program itself."""
    data = kit.plugin(number=2)
    assert "another machine" in running.refuses(_patched(data, 18, (0xF3 ^ data[18]).to_bytes(2, "little"))).text
    assert "another machine" in running.refuses(_patched(data, 4, b"\1")).text


def test_a_program_is_refused(kit: Kit, running: Obedient) -> None:
    """Only what is linked as ET_DYN can be opened; an object file is the usual mistake."""
    assert "-shared" in running.refuses(_patched(kit.plugin(number=2), 16, b"\1\0")).text


def test_headers_that_point_outside_the_file_are_refused(kit: Kit, running: Obedient) -> None:
    """Offsets near 2**64 must not wrap around the check."""
    data = kit.plugin(number=2)
    for at, value in ((40, b"\xc0" + b"\xff" * 7), (32, b"\xc0" + b"\xff" * 7), (54, b"\1\0"), (56, b"\xff\xff")):
        assert "cut off" in running.refuses(_patched(data, at, value)).text, at
    first_segment = int.from_bytes(data[32:40], "little")
    for at in (first_segment + 8, first_segment + 32):
        assert "cut off" in running.refuses(_patched(data, at, b"\xff" * 8)).text, at


def test_a_changed_state_size_is_refused_with_both_sizes(kit: Kit, running: Obedient) -> None:
    """Migration is not there yet: the text says what can be done."""
    now = running.refuses(kit.plugin("-DEXTRA=int more;", number=2))
    assert "4 to 8 bytes" in now.text and "restart the host" in now.text
    assert now.state_size == 4
    assert running.number_and_calls() == (1, 1)


def test_a_refused_generation_is_tried_again_on_each_signal(kit: Kit, library: Path, running: Obedient) -> None:
    """The cause may have gone: here a file mode, without anything new being published."""
    generation = publish(library, kit.plugin(number=2))
    os.chmod(generation.path, 0o666)
    running.signal()
    assert "chmod go-w" in running.news().text
    running.signal()
    again = running.news()
    assert again.refused and again.code == REFUSED
    os.chmod(generation.path, 0o600)
    running.signal()
    assert running.news().changed
    assert running.number_and_calls()[0] == 2


def test_a_refusal_is_over_when_the_pointer_goes_back(kit: Kit, library: Path, running: Obedient) -> None:
    """Undo: what runs already is the newest again, and the host hears of it."""
    pointer = (library.parent / ".hotreload" / "libplug.so.newest").read_bytes()
    running.refuses(b"text")
    write_pointer(library, pointer)
    running.signal()
    now = running.news()
    assert (now.code, now.generation, now.changed, now.refused) == (RUNNING, 1, False, False)
    assert running.records("running", 1).reason == ""


def test_a_refusal_and_a_generation_that_waits_are_both_told(kit: Kit, library: Path, running: Obedient) -> None:
    """One poll changes over to 2 and tells that 3 was refused."""
    publish(library, kit.plugin(number=2))
    running.signal()
    running.records("ready", 2)
    publish(library, b"text")
    running.signal()
    running.records("refused", 3)
    now = running.result("poll")
    assert (now.code, now.generation, now.changed, now.refused) == (REFUSED, 2, True, True)
    until(lambda: running.records("refused", 3).generation == 2, "the record saying that 2 runs")
    later = running.result("poll")
    assert later.code == REFUSED and not later.refused and not later.changed


def test_a_file_that_is_not_as_published_is_refused(kit: Kit, library: Path, running: Obedient) -> None:
    """Shortened, gone, a directory, a symbolic link, a fifo: each has its text, none hangs."""
    target = library.with_name("target.so")
    target.write_bytes(kit.plugin(number=5))
    cut = library.with_name("cut.so")
    cut.write_bytes(target.read_bytes()[:5000])
    replacements: tuple[tuple[str, Callable[[Path], object]], ...] = (
        ("were published", lambda path: cut.rename(path)),
        ("No such file", str),
        ("not a file", lambda path: path.mkdir()),
        ("symbolic links", lambda path: path.symlink_to(target)),
        ("not a file", lambda path: os.mkfifo(path)),
    )
    for number, (text, put) in enumerate(replacements, 10):
        path = Path(publish(library, kit.plugin(number=number)).path)
        path.unlink()
        put(path)
        running.signal()
        assert text in running.news().text
    assert running.number_and_calls() == (1, 1)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 300, bytes(range(256)) * 20, b"hotreload-generation 1\n", b"hotreload-generation 1\nsum 0000000\n"],
    ids=["empty", "zeros", "bytes", "cut", "sum"],
)
def test_a_garbage_pointer_is_refused(library: Path, running: Obedient, data: bytes) -> None:
    """Whoever wrote that: the text names the file."""
    write_pointer(library, data)
    running.signal()
    now = running.news()
    assert now.code == REFUSED and "libplug.so.newest" in now.text and "build again" in now.text
    assert running.number_and_calls() == (1, 1)


def test_a_pointer_with_a_right_sum_and_wrong_values_is_refused(library: Path, running: Obedient) -> None:
    """Names that lead out of the directory, numbers that are none."""
    for changed in (
        {"file": "../libplug.so"}, {"file": "/etc/passwd"}, {"file": ".."}, {"file": ""}, {"file": "x" * 400},
        {"size": "0"}, {"size": "-1"}, {"size": "18446744073709551616"}, {"size": "12 "}, {"size": "0x10"},
        {"number": "0"}, {"number": "4294967296"}, {"number": "seven"}, {"number": ""},
    ):  # fmt: skip
        point(library, **changed)
        running.signal()
        assert "damaged" in running.news().text, changed
    point(library, number="7")
    running.signal()
    assert "No such file" in running.news().text


def test_a_pointer_that_is_no_file_is_refused(library: Path, running: Obedient) -> None:
    """A fifo would hold a careless reader for ever, a link would lead elsewhere."""
    path = library.parent / ".hotreload" / "libplug.so.newest"
    kept = path.read_bytes()
    makers: tuple[Callable[[], None], ...] = (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("elsewhere"))
    for make in makers:
        path.unlink()
        make()
        running.signal()
        assert str(path) in running.news().text
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_bytes(kept)


def test_a_directory_that_others_can_write_is_refused(kit: Kit, library: Path, start: Start) -> None:
    """The library's directory and the run directory; mended by the chmod that the text names, without a signal."""
    publish(library, kit.plugin(number=1))
    for place in (library.parent, library.parent / ".hotreload"):
        for mode in (0o777, 0o1777, 0o757):
            place.chmod(mode)
            host = start()
            opened = host.open()
            assert opened.code == REFUSED and opened.generation == 0
            assert f"chmod go-w '{place}'" in opened.text
            assert host.record() is None
            place.chmod(0o700)
            assert host.until(RUNNING).generation == 1
            host.kill()
    if os.geteuid() == 0:
        os.chown(library.parent, 12345, 12345)
        assert "another user (uid 12345)" in start().open().text


def test_a_directory_opened_to_others_later_is_refused_too(kit: Kit, library: Path, running: Obedient) -> None:
    """Nothing that could have been written meanwhile is loaded."""
    for place in (library.parent, library.parent / ".hotreload"):
        publish(library, kit.plugin(number=len(str(place))))
        place.chmod(0o777)
        running.signal()
        assert f"chmod go-w '{place}'" in running.news().text
        assert running.number_and_calls()[0] != len(str(place))
        place.chmod(0o700)
        running.signal()
        assert running.news().changed
        assert running.number_and_calls()[0] == len(str(place))


def test_group_writable_is_accepted_for_a_private_group_only(kit: Kit, library: Path, start: Start) -> None:
    """Debian's umask 002 with uid == gid is everybody's default there."""
    publish(library, kit.plugin(number=1))
    library.parent.chmod(0o775)
    private = os.geteuid() == os.stat(library.parent).st_gid
    assert start().open().code == (RUNNING if private else REFUSED)
    if os.geteuid() == 0:
        os.chown(library.parent, -1, 12345)
        assert start().open().code == REFUSED


# --- state ----------------------------------------------------------------------------------------------------


def test_the_state_begins_with_the_plugins_default_and_keeps_its_values(kit: Kit, library: Path, start: Start) -> None:
    """HR_STATE_INIT is for the first generation; later ones find what is there."""
    publish(library, kit.plugin("-DINITIAL=40", number=1))
    host = start()
    host.open()
    assert host.number_and_calls() == (1, 41)
    host.takes(kit.plugin("-DINITIAL=7", number=2))
    assert host.number_and_calls() == (2, 42)


def test_a_plugin_without_a_state_gets_what_the_host_says(kit: Kit, library: Path, start: Start) -> None:
    """desc.state_size counts where HR_STATE is missing, and must fit where it is there."""
    publish(library, kit.plugin("-DSTATELESS", number=1))
    host = start("state_size=64")
    assert host.open().state_size == 64
    assert host.number_and_calls() == (1, 1)
    now = host.refuses(kit.plugin(number=2))
    assert "64 to 4 bytes" in now.text
    late = start("state_size=64")
    assert "compiled with a state of 64 bytes, the plugin has 4" in late.open().text


def test_a_state_larger_than_the_reserve_is_refused(kit: Kit, library: Path, start: Start) -> None:
    """HR_STATE_RESERVE is named, since it is what to change."""
    publish(library, kit.plugin("-DEXTRA=char more[5000];", number=1))
    small = kit.compile("host.c", "-DHR_STATE_RESERVE=4096u")
    now = start(program=small).open()
    assert now.code == REFUSED and "HR_STATE_RESERVE" in now.text
    assert start().open().state_size == 5004


# --- processes and signals ------------------------------------------------------------------------------------


def test_a_forked_child_is_detached(kit: Kit, library: Path, start: Start) -> None:
    """It keeps its code, hears nothing, holds no lock, and may close; the parent goes on."""
    publish(library, kit.plugin(number=1))
    host = start()
    host.open()
    host.number_and_calls()
    record = host.records("running", 1)
    child = int(host.ask("fork"))
    try:
        now = host.result("poll")  # the child answers
        assert now.code == DETACHED and "forked child" in now.text
        assert host.number_and_calls() == (1, 2)
        assert host.ask("fd") == "-1"
        os.kill(child, signal.SIGURG)
        publish(library, kit.plugin(number=2))
        host.signal()
        host.records("ready", 2)
        assert host.result("poll").code == DETACHED
        assert host.number_and_calls() == (1, 3)
        host.process.kill()
        host.process.wait()
        until(lambda: not is_locked(record.record), "the lock going with the parent though the child lives")
        assert host.ask("close") == ""
        assert os.path.exists(record.record), "a child must not remove what is not its own"
        opened = host.open()
        assert opened.code == RUNNING and opened.generation == 2, "a child may become a host of its own"
        assert host.number_and_calls() == (2, 1)
        mine = library.parent / ".hotreload" / f"libplug.so.host.{child}.2"
        assert is_locked(str(mine))
        publish(library, kit.plugin(number=3))
        os.kill(child, signal.SIGURG)
        assert host.until(RUNNING, 3)
    finally:
        os.kill(child, signal.SIGKILL)


def test_after_an_exec_the_record_is_unlocked(kit: Kit, library: Path, start: Start) -> None:
    """The kernel then says that nobody is there to be signalled; no descriptor is left to the new program."""
    publish(library, kit.plugin(number=1))
    host = start()
    host.open()
    record = host.records("running", 1)
    assert is_locked(record.record)
    host.tell(f"exec {need('cat')}")
    assert host.hear() == "exec"
    until(lambda: not is_locked(record.record), "the lock going with the exec")
    assert host.descriptors == 3


def test_a_stale_record_with_our_pid_is_replaced(kit: Kit, library: Path, start: Start) -> None:
    """Pids are used again; what a dead process left, finished or half made, is no obstacle."""
    publish(library, kit.plugin(number=1))
    host = start()
    stale = library.parent / ".hotreload" / f"libplug.so.host.{host.pid}.1"
    stale.write_text("left by somebody")
    stale.with_name("." + stale.name).write_text("half")
    host.open()
    assert host.records("running", 1).record == str(stale) and is_locked(str(stale))
    assert not stale.with_name("." + stale.name).exists()


@pytest.mark.parametrize("command", ["sleep 1500", "epoll 1500"])
def test_no_system_call_of_the_host_is_interrupted(kit: Kit, library: Path, start: Start, command: str) -> None:
    """nanosleep and epoll_wait are never restarted by SA_RESTART: ours must not reach their thread."""
    publish(library, kit.plugin(number=1))
    host = start()
    host.open()
    host.tell(command)
    _sleeps(Path(f"/proc/{host.pid}"))
    for number in range(2, 6):
        publish(library, kit.plugin(number=number))
        host.signal()
        host.records("ready", number)
    assert host.hear() == f"{command.split()[0]} whole"
    assert host.result("poll").generation == 5


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGRTMIN + 3])
def test_a_signal_of_the_hosts_choice(kit: Kit, library: Path, start: Start, number: int) -> None:
    """It is in the record, it reloads, and after hr_close it still cannot end the process."""
    publish(library, kit.plugin(number=1))
    host = start(f"signal={int(number)}")
    assert host.ask("signal") == "default 0 0"
    host.open()
    assert host.records("running", 1).signal == number
    assert host.ask("signal") == "ours 1 0"
    host.takes(kit.plugin(number=2))
    host.ask("close")
    host.signal()
    assert host.ask("signal") == "ours 0 0"


def test_an_earlier_handler_is_called_and_put_back(kit: Kit, library: Path, start: Start) -> None:
    """Ours comes in front of it while the library is open."""
    publish(library, kit.plugin(number=1))
    host = start("chain")
    assert host.ask("signal") == "earlier 0 0"
    host.open()
    host.takes(kit.plugin(number=2))
    assert host.ask("signal") == "ours 1 1"
    host.ask("close")
    assert host.ask("signal") == "earlier 0 1"


def test_the_handler_keeps_errno(kit: Kit, library: Path, start: Start) -> None:
    """It runs in the middle of the host's work; the handler that was there before, and that it calls, clears errno."""
    publish(library, kit.plugin(number=1))
    host = start("chain")
    host.open()
    assert host.ask("errno") == "77 1"


def test_the_default_is_put_back_where_it_harms_nobody(kit: Kit, library: Path, start: Start) -> None:
    """SIGURG is ignored by default. Opened again, all is as the first time; a handler set by others stays theirs."""
    publish(library, kit.plugin(number=1))
    host = start()
    for _ in range(3):
        assert host.open().code == RUNNING
        assert host.ask("signal") == "ours 1 0"
        host.ask("close")
        assert host.ask("signal") == "default 0 0"
    assert host.open().code == RUNNING
    host.ask("steal")
    host.ask("close")
    assert host.ask("signal") == "earlier 0 0"


def test_a_handler_that_wraps_ours_is_no_circle(kit: Kit, library: Path, start: Start) -> None:
    """Set after hr_open and calling ours; after hr_close and hr_open ours calls it, which calls ours."""
    publish(library, kit.plugin(number=1))
    host = start()
    host.open()
    host.ask("wrap")
    host.takes(kit.plugin(number=2))
    host.ask("close")
    assert host.open().code == RUNNING
    host.takes(kit.plugin(number=3))
    assert host.ask("signal") == "ours 1 2"


def test_signals_that_cannot_be_caught_are_refused(kit: Kit, library: Path, start: Start) -> None:
    """Also the two that the C library keeps for itself."""
    for number in (signal.SIGKILL, signal.SIGSTOP, 32, 65, -1):
        host = start(f"signal={int(number)}")
        opened = host.open()
        assert opened.code == FAILED and "SIGURG" in opened.text, number
        assert host.result("poll").code == FAILED
        assert host.ask("wait 0") == "0"
        assert host.end() == 0


def test_two_hosts_of_one_library(kit: Kit, library: Path, start: Start) -> None:
    """Two processes; one refuses to come to its safe point and keeps nobody waiting."""
    publish(library, kit.plugin(number=1))
    first, second = start(), start()
    first.open()
    second.open()
    generation = publish(library, kit.plugin(number=2))
    first.signal()
    second.signal()
    assert first.until(RUNNING, generation.number)
    assert second.records("ready", 2).generation == 1
    assert first.records("running", 2)


def test_two_plugins_in_one_host(kit: Kit, library: Path, tmp_path: Path) -> None:
    """One handler for both; each has its functions, its state, its record, and reloads for itself."""
    program = library.with_name("two")
    shutil.copy(kit.compile("two.c"), program)
    other = library.with_name("libother.so")

    def double(step: int) -> bytes:
        return kit.compile("other.c", f"-DSTEP={step}", shared=True).read_bytes()

    publish(library, kit.plugin(number=1))
    publish(other, double(1))
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin and process.stdout

        def ask() -> list[int]:
            process.stdin.write(b"\n")  # type: ignore[union-attr]
            return [int(word) for word in process.stdout.readline().split()[1:]]  # type: ignore[union-attr]

        assert ask() == [1, 1, 1, 1]
        publish(other, double(10))
        process.send_signal(signal.SIGURG)
        answer = until(lambda: (got := ask())[2] == 2 and got, "the second plugin's reload")
        assert answer[:2] == [1, 1]
        assert ask()[3] == answer[3] + 10
        publish(library, kit.plugin(number=2))
        process.send_signal(signal.SIGURG)
        assert until(lambda: (got := ask())[0] == 2 and got, "the first plugin's reload")[1:3] == [2, 2]
        assert len(Slot(str(library)).records()) == len(Slot(str(other)).records()) == 1
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    assert not Slot(str(library)).records() and not Slot(str(other)).records()


# --- desc -----------------------------------------------------------------------------------------------------


def test_where_the_library_is(kit: Kit, library: Path, tmp_path: Path, start: Start) -> None:
    """$ORIGIN whatever the working directory; relative to that; default; a linked directory; never searched for."""
    publish(library, kit.plugin(number=1))
    program = library.with_name("host")
    shutil.copy(kit.compile("host.c"), program)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(library.parent)
    for named, cwd in (
        ("$ORIGIN/libplug.so", tmp_path / "elsewhere"), ("", tmp_path / "elsewhere"), ("libplug.so", library.parent),
        ("build/libplug.so", tmp_path), ("$ORIGIN/../build/libplug.so", None),
        ("../build/libplug.so", library.parent),
        (str(tmp_path / "link" / "libplug.so"), None),
    ):  # fmt: skip
        host = start(program=program, named=named, cwd=cwd)
        opened = host.open()
        assert (opened.code, opened.generation) == (RUNNING, 1), (named, opened)
        host.kill()
    lost = start(program=program, named="libplug.so", cwd=tmp_path / "elsewhere").open()
    assert lost.code == WAITING and str(tmp_path / "elsewhere") in lost.text
    assert start(program=program, named="/").open().code == FAILED
    assert start(program=program, named="/" + "x/" * 2100 + "y").open().code in (FAILED, REFUSED)


def test_lazy_binding_takes_what_immediate_binding_refuses(kit: Kit, library: Path, start: Start) -> None:
    """RTLD_LAZY is the host's choice; the undefined function then only must not be called."""
    publish(library, kit.plugin("-DUNDEFINED", number=1))
    opened = start().open()
    assert opened.code == REFUSED and opened.refused and opened.generation == 0 and "nowhere" in opened.text
    host = start("lazy")
    assert host.open().code == RUNNING
    assert host.number_and_calls() == (1, 1)


def test_verbose_tells_reloads_and_refusals_on_stderr(kit: Kit, library: Path, start: Start) -> None:
    """A line each; without it (every other test here reads stderr too) the runtime prints nothing."""
    publish(library, kit.plugin(number=1))
    host = start("verbose")
    host.tell("open")
    assert host.hear().startswith("hotreload: runs libplug.so.1-")
    assert host.hear().startswith("open 0 1 1 0 ")
    publish(library, b"text")
    host.signal()
    assert "hotreload: refused: " in (line := host.hear()) and "not an ELF file" in line


def test_a_cxx_host_and_a_cxx_plugin(kit: Kit, library: Path, start: Start) -> None:
    """The same sources as C++11, strictly compiled, in any combination with C."""
    publish(library, kit.plugin(number=1, plusplus=True))
    host = start(program=kit.compile("host.c", plusplus=True))
    assert host.open().code == RUNNING
    assert host.number_and_calls() == (1, 1)
    host.takes(kit.plugin(number=2))
    host.takes(kit.plugin(number=3, plusplus=True))
    assert host.number_and_calls() == (3, 2)
    assert host.end() == 0


def test_optimised_and_hidden_builds_reload_alike(kit: Kit, library: Path, start: Start) -> None:
    """-O2 with hidden visibility, and -Bsymbolic: the list's functions are found, own calls stay in the generation."""
    flags = ("-O2", "-fvisibility=hidden")
    publish(library, kit.plugin(*flags, number=1))
    host = start(program=kit.compile("host.c", "-O2"))
    host.open()
    host.takes(kit.plugin(*flags, "-Wl,-Bsymbolic", number=2))
    assert host.number_and_calls() == (2, 1)
    host.takes(kit.plugin("-O2", number=3))
    assert host.number_and_calls() == (3, 2)


def test_a_library_that_cannot_be_unloaded_is_counted(kit: Kit, library: Path, start: Start) -> None:
    """-z nodelete stays mapped after dlclose: new code runs all the same, and the record says how many are there."""
    publish(library, kit.plugin("-Wl,-z,nodelete", number=1))
    host = start()
    host.open()
    for number in range(2, 6):
        host.takes(kit.plugin("-Wl,-z,nodelete", number=number))
        assert host.number_and_calls()[0] == number
    until(lambda: "\nkept 5\n" in Path(host.records("running", 5).record).read_text(), "the record saying kept 5")
    assert len(host.mapped) == 5


def test_without_room_for_its_record_a_host_still_reloads(kit: Kit, library: Path, start: Start) -> None:
    """It says that nobody can see it, and registers when there is room: here a limit on file sizes stands for it."""
    publish(library, kit.plugin(number=1))
    program = kit.compile("host.c")
    script = library.with_name("limited")
    script.write_text(f"#!/bin/sh\nulimit -f 0\ntrap '' XFSZ\nexec '{program}' \"$@\"\n")
    script.chmod(0o755)
    host = start(program=script)
    opened = host.open()
    assert (opened.code, opened.generation) == (RUNNING, 1)
    assert "cannot register" in opened.text
    assert host.record() is None and not [name for name in os.listdir(library.parent / ".hotreload") if "host" in name]
    host.signal()
    publish(library, kit.plugin(number=2))
    host.signal()
    assert host.until(RUNNING, 2).changed
    assert host.end() == 0


def test_more_hosts_than_slots_are_refused(kit: Kit, library: Path, start: Start) -> None:
    """HR_MAX_HOSTS is named; those that are open go on, and a closed one makes room."""
    publish(library, kit.plugin(number=1))
    host = start(program=kit.compile("host.c", "-DHR_MAX_HOSTS=2"))
    host.open()
    host.open()
    third = host.open()
    assert third.code == FAILED and "HR_MAX_HOSTS" in third.text
    host.ask("close")
    assert host.open().code == FAILED, "closing one that failed makes no room"
    assert host.record() is not None


def test_without_descriptors_opening_fails_with_a_text(kit: Kit, library: Path, start: Start) -> None:
    """ulimit -n: no crash, nothing left behind."""
    publish(library, kit.plugin(number=1))
    script = library.with_name("limited")
    script.write_text(f"#!/bin/sh\nulimit -n 4\nexec '{kit.compile('host.c')}' \"$@\"\n")
    script.chmod(0o755)
    host = start(program=script)
    opened = host.open()
    assert opened.code == FAILED and "ulimit -n" in opened.text
    assert host.ask("close") == ""
    assert host.end() == 0


# --- sanitizers -----------------------------------------------------------------------------------------------


def test_address_and_undefined_sanitizers_find_nothing(kit: Kit, library: Path, start: Start) -> None:
    """Reloads, refusals, undo, a wiped directory, close and open: leaks count too."""
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
    publish(library, kit.plugin(*flags, number=1))
    host = start(program=kit.compile("host.c", *flags))
    assert host.open().code == RUNNING
    for number in range(2, 12):
        host.takes(kit.plugin(*flags, number=number))
        assert host.number_and_calls()[0] == number
        host.refuses(kit.plugin(*flags, "-DWITHOUT_CALLS", number=number))
        host.refuses(kit.plugin(*flags, number=number)[:-3])
        point(library, number="3000000000", file="libplug.so." + "y" * 200)
        host.signal()
        assert host.news().refused
    subprocess.run(["rm", "-r", str(library.parent)], check=True)
    library.parent.mkdir(mode=0o755)
    publish(library, kit.plugin(*flags, number=77))
    assert host.until(RUNNING, 1)
    host.ask("close")
    assert host.open().code == RUNNING
    host.tell("status")
    assert "Sanitizer" not in host.hear()
    assert host.end() == 0


@UNSANITIZED
def test_thread_sanitizer_finds_no_race(kit: Kit, library: Path) -> None:
    """Two hosts poll without pause in two threads while generations and refusals come as fast as they can."""
    program = library.with_name("race")
    shutil.copy(kit.compile("race.c", "-fsanitize=thread", "-O1"), program)
    publish(library, kit.plugin(number=1))
    # The dynamic linker's memory is under a lock of its own that the sanitizer does not see.
    suppressions = library.with_name("suppressions")
    suppressions.write_text("race:ld-linux\nrace:^_dl_\n")
    environment = {**os.environ, "TSAN_OPTIONS": f"suppressions='{suppressions}'"}
    output = library.with_name("output")
    # Its shadow memory may not have its place under address randomisation; where that cannot be turned off, try anyway.
    straight = [need("setarch", "util-linux"), "-R"]
    if subprocess.run([*straight, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        straight = []
    with output.open("wb") as file:
        process = subprocess.Popen([*straight, program, "40"], stdout=file, stderr=file, env=environment)
    try:
        number = 1
        deadline = time.monotonic() + 2 * PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            number += 1
            publish(library, b"text" * number if number % 5 == 0 else kit.plugin(number=number))
            Slot(str(library)).collect([])
            process.send_signal(signal.SIGURG)
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    said = output.read_text()
    assert "WARNING: ThreadSanitizer" not in said, said[:6000]
    assert process.returncode == 0, said[-3000:]
