"""Proving hosts and awaiting their answers, against real locks, signals and processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import ticker
from harness import Project, need, until
from hotreload_engine import hosts
from hotreload_engine.deliver import Cause
from hotreload_engine.journal import Journal
from hotreload_engine.model import Event, Plugin
from hotreload_engine.slot import Slot
from hotreload_engine.together import Together, call

HOST = """
import fcntl, os, signal, sys, time, zlib
path, number, catches = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "catches"
if catches: signal.signal(number, lambda *_: print("got it", flush=True))
file = open(path + ".new", "w+b", buffering=0)
fcntl.lockf(file, fcntl.LOCK_EX)
def write(sequence, generation, tried, status, reason="-"):
    body = (f"hotreload-host 1\\npid {os.getpid()}\\nstart 1\\nsignal {number}\\nlibrary x\\nfunctions f,g\\n"
            f"state_size 4\\ngeneration {generation}\\nfile -\\ntried {tried}\\nstatus {status}\\nreason {reason}\\n"
            f"load_us 1.0\\npause_us 2.0\\nswaps 0\\nkept 0\\nsequence {sequence}\\n").encode()
    os.pwrite(file.fileno(), (body + b"sum %08x\\n" % zlib.crc32(body)).ljust(4096, b"\\n"), 0)
write(1, 1, 1, "running")
os.rename(path + ".new", path)
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Fake:
    """A process that holds a record as the runtime does, and does what it is told."""

    def __init__(self, slot: Slot, number: int = signal.SIGURG, catches: bool = True, name: str = "") -> None:
        slot.prepare()
        self.record = os.path.join(slot.directory, name or "libplug.so.host.1.1")
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOST, self.record, str(int(number)), "catches" if catches else "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self.process.pid
        self.hear("ready")

    def hear(self, text: str) -> None:
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], 30)[0], f"no {text}"
        assert self.process.stdout.readline().strip() == text

    def do(self, command: str, answer: str = "done") -> None:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        if answer:
            self.hear(answer)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    tmp_path.chmod(0o700)
    return Slot(str(tmp_path / "libplug.so"))


@pytest.fixture
def fake(slot: Slot) -> Iterator[Fake]:
    made = Fake(slot)
    yield made
    made.close()


def test_a_host_is_found_and_proven(slot: Slot, fake: Fake) -> None:
    """What the record says, and what the kernel says of its holder: the pid is the lock's, not the record's."""
    (host,) = hosts.census(slot).hosts
    assert host.pid == fake.pid and host.trouble == "" and host.functions == ("f", "g")
    assert host.executable == os.path.realpath(sys.executable)


def test_it_is_signalled(slot: Slot, fake: Fake) -> None:
    """A proven host gets its signal."""
    (host,) = hosts.census(slot).hosts
    assert hosts.notify(host) == ""
    fake.do("", "got it")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_without_a_handler_it_is_not(slot: Slot, number: int) -> None:
    """SIGUSR1 to a process that does not catch it would kill it."""
    fake = Fake(slot, number, catches=False)
    try:
        (host,) = hosts.census(slot).hosts
        assert "no handler" in host.trouble and "no handler" in hosts.notify(host)
        assert fake.process.poll() is None
    finally:
        fake.close()


def test_whoever_lost_the_lock_is_not(slot: Slot, fake: Fake) -> None:
    """The proof is made again at the moment of the signal."""
    (host,) = hosts.census(slot).hosts
    fake.do("fcntl.lockf(file, fcntl.LOCK_UN)")
    assert "no longer holds" in hosts.notify(host)
    assert hosts.census(slot).hosts == () and not os.path.exists(fake.record)


def test_a_reused_pid_is_not(slot: Slot, fake: Fake) -> None:
    """A record that names another process's pid does not lead there: the holder's pid is what counts."""
    (host,) = hosts.census(slot).hosts
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        assert "no longer holds" in hosts.notify(replace(host, pid=bystander.pid))
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_dead_hosts_record_goes(slot: Slot, fake: Fake) -> None:
    """kill -9 leaves no orphan."""
    (host,) = hosts.census(slot).hosts
    fake.close()
    assert hosts.notify(host) == "it has ended"
    assert hosts.census(slot).hosts == () and not os.path.exists(fake.record)


def test_the_answer(slot: Slot, fake: Fake) -> None:
    """Only a record written after the signal, about that generation, is an answer."""
    (before,) = hosts.census(slot).hosts
    assert hosts.answer(before, 1).pending, "an old record is no answer"
    fake.do("write(2, 1, 2, 'ready')")
    assert "safe point" in hosts.answer(before, 2).reason
    fake.do("write(3, 2, 2, 'running')")
    ack = hosts.answer(before, 2)
    assert ack.ok and not ack.pending and ack.host.pause_us == 2.0
    fake.do("write(4, 2, 3, 'refused', r'no \\n such \\\\ thing')")
    ack = hosts.answer(before, 3)
    assert not ack.ok and not ack.pending and ack.reason == "no \n such \\ thing"


def test_the_wait_ends(slot: Slot, fake: Fake) -> None:
    """With the time, with the cut, with the host's end, and at once for a stopped host."""
    (before,) = hosts.census(slot).hosts
    (ack,) = hosts.await_answers([before], 2, 0.05)
    assert ack.pending and ack.reason == "no answer yet"
    (ack,) = hosts.await_answers([before], 2, 600, cut=lambda: True)
    assert ack.pending
    os.kill(fake.pid, signal.SIGSTOP)
    until(lambda: Path(f"/proc/{fake.pid}/stat").read_text().split()[2] == "T", "the stop")
    (ack,) = hosts.await_answers([before], 2, 600)
    assert ack.pending and "stopped" in ack.reason
    fake.close()
    (ack,) = hosts.await_answers([before], 2, 600)
    assert not ack.pending and ack.reason == "it has ended"


def test_a_torn_record_is_read_again(slot: Slot, fake: Fake) -> None:
    """A record that is being rewritten all the time is read whole or not at all."""
    (before,) = hosts.census(slot).hosts
    fake.do("[write(n, 1, 1, 'running') for n in range(2, 3000)]", "")
    deadline = time.monotonic() + 30
    sequence = 0
    while sequence < 2999 and time.monotonic() < deadline:
        (host,) = hosts.census(slot).hosts
        assert host.generation == 1 and host.sequence >= sequence
        sequence = host.sequence
    assert sequence == 2999
    assert before.sequence == 1


def test_the_vigil(fake: Fake) -> None:
    """The end of a host wakes whoever waits, without a timer."""
    woken: list[int] = []
    vigil = hosts.Vigil(lambda: woken.append(1))
    vigil.watch(fake.pid)
    vigil.watch(fake.pid)
    assert vigil.ended() == set()
    fake.close()
    until(lambda: woken, "the wake-up")
    assert vigil.ended() == {fake.pid} and vigil.ended() == set()


def test_mapped_files(fake: Fake) -> None:
    """What a process has mapped to run, by path; nothing for one that is gone."""
    assert any("libc" in path for path in hosts.mapped_files(fake.pid))
    fake.close()
    assert hosts.mapped_files(fake.pid) == ()


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ((0, 1, "ready"), "has not taken its first generation yet"),
        ((0, 0, "waiting"), "waiting for the first build"),
        ((0, 3, "refused", "why"), "runs none, refused #3: why"),
        ((2, 2, "running"), "runs #2"),
    ],
)
def test_what_is_said_of_a_host_that_comes(slot: Slot, fake: Fake, record: tuple[object, ...], state: str) -> None:
    """It runs nothing before it says so."""
    fake.do(f"write(2, *{record})")
    events: list[Event] = []
    (delivery,) = Together([Plugin(slot.library)], Journal(events.append)).deliveries
    assert [host.pid for host in delivery.newcomers()] == [fake.pid]
    assert [event.fields["state"] for event in events] == [state]


def test_a_host_that_has_changed_over_before_it_is_called(made: Project) -> None:
    """It may look by itself at any time; its reload is told as any other."""
    ticker.lay(made)
    made.scons("-Q")
    host = made.host()
    ticker.runs(host, 1)
    ticker.set_number(made, 2)
    command = [need("gcc"), "-g", "-fPIC", "-shared", "-Wl,-Bsymbolic", "-Isrc", "src/plug.c", "src/number.c"]
    subprocess.run([*command, "-o", "build/libplug.so"], cwd=made.root, check=True)
    plugin = Plugin(str(made.path("build/libplug.so")), hosts=(str(made.path("build/main")),))
    events: list[Event] = []
    together = Together([plugin], Journal(events.append))
    published = together.publish(together.deliveries, Cause())
    os.kill(host.pid, signal.SIGURG)
    until(lambda: hosts.census(Slot(plugin.library)).hosts[0].generation == 2, "the host runs what is new")
    assert call(published, Cause())
    (reload,) = [event.fields for event in events if event.event == "reload"]
    assert (reload["host"], reload["generation"], reload["ok"]) == (host.pid, 2, True)
