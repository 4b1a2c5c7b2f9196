"""Find hosts, prove them, signal, await their answers.

A control record proves nothing by itself: it may be garbage, left by a killed process, or name a pid that now belongs
to somebody else. A host is proven when

- the kernel says that some process holds the POSIX record lock that the runtime took (fcntl(2), F_GETLK): it dies with
  the process, is not inherited by fork, and is gone after an exec; l_pid is the holder's pid in *our* pid namespace;
- that process catches the signal (``SigCgt`` in /proc/PID/status, proc(5)): otherwise it could kill it.

The signal goes through a pidfd opened before the proof, so a pid that is used again is never reached.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import select
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from . import processes
from .model import Ack, Host, HotReloadError
from .slot import Slot, parse_record, read_regular

_FLOCK = "hhqqi4x"
"""struct flock of fcntl(2) on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""


@dataclass(frozen=True)
class Census:
    hosts: tuple[Host, ...]
    notes: tuple[HotReloadError, ...]
    """Records that were not believed, and why."""
    fallen: tuple[Host, ...] = ()
    """Hosts whose plugin's crash has ended them since somebody last asked. Nobody else will hear of it."""


def census(slot: Slot) -> Census:
    """Who has the library of ``slot`` open now. Records of processes that are gone are deleted."""
    hosts: list[Host] = []
    fallen: list[Host] = []
    notes: list[HotReloadError] = []
    for path in slot.records():
        try:
            holder = _lock_holder(path)
            if holder is None:
                with contextlib.suppress(HotReloadError):
                    gone = slot.read_record(path)
                    if gone.crash and gone.crash.fate == "ended":
                        fallen.append(gone)
                slot.discard_record(path)
                continue
            hosts.append(_with_kernel_facts(_read_settled(slot, path), holder))
        except HotReloadError as note:
            notes.append(note)
        except FileNotFoundError:
            continue
        except OSError as error:
            notes.append(
                HotReloadError(
                    f"cannot read a control record: {error.strerror}",
                    path,
                    "run scons as the user that its host runs as",
                )
            )
    return Census(tuple(hosts), tuple(notes), tuple(fallen))


def notify(host: Host) -> str:
    """Send the host its signal; "" when it is sent, else why it was not. Never signals what is not proven."""
    if host.trouble:
        return host.trouble
    try:
        descriptor = os.pidfd_open(host.pid)
    except ProcessLookupError:
        return "it has ended"
    try:
        if _lock_holder(host.record) != host.pid:
            return "it no longer holds its control record (ended, or another program now)"
        if trouble := _with_kernel_facts(host, host.pid).trouble:
            return trouble
        signal.pidfd_send_signal(descriptor, signal.Signals(host.signal))
        return ""
    except (ProcessLookupError, FileNotFoundError):
        return "it has ended"
    except PermissionError:
        return "it belongs to another user: run scons as the user that the host runs as"
    finally:
        os.close(descriptor)


def await_answers(
    asked: Iterable[Host], generation: int, seconds: float, cut: Callable[[], bool] = lambda: False
) -> list[Ack]:
    """Wait until each host (as it was *before* its signal) has answered for ``generation``, has ended, or time is up.

    A host that is stopped (SIGSTOP, a debugger) is not waited for. ``cut`` ends the wait early.
    """
    deadline = time.monotonic() + seconds
    open_questions = list(asked)
    acks: list[Ack] = []
    nap = 0.0001
    while open_questions:
        late = time.monotonic() >= deadline or cut()
        waiting: list[Host] = []
        for before in open_questions:
            ack = answer(before, generation)
            if ack.pending and not late and not ack.reason.startswith("it is stopped"):
                waiting.append(before)
            else:
                acks.append(ack)
        open_questions = waiting
        if open_questions:
            time.sleep(nap)
            nap = min(nap * 1.2, 0.005)
    return acks


def answer(before: Host, generation: int) -> Ack:
    """The host's answer so far: decided, or pending with what is known of the reason."""
    try:
        now = parse_record(read_regular(before.record), before.record)
        now = replace(now, pid=before.pid, executable=before.executable)
    except FileNotFoundError:
        return Ack(before, generation, ok=False, reason="it has ended")
    except (HotReloadError, OSError):
        return Ack(before, generation, ok=False, reason="its answer is being written", pending=True)
    decided = now.sequence > before.sequence and now.tried >= generation and now.status in ("running", "refused")
    if decided:
        return Ack(now, generation, ok=now.generation >= generation, reason=now.reason)
    holder = None
    with contextlib.suppress(FileNotFoundError):
        holder = _lock_holder(before.record)
    if holder is None:
        return Ack(now, generation, ok=False, reason="it has ended")
    if _process_state(before.pid) in "Tt":
        reason = "it is stopped (SIGSTOP or a debugger) and will reload when it goes on"
    elif now.status == "ready" and now.reason:
        reason = now.reason  # the plugin said "not now", and why
    elif now.status == "ready":
        reason = "the new code is loaded and waits for the host's safe point (hr_poll)"
    else:
        reason = "no answer yet"
    return Ack(now, generation, ok=False, reason=reason, pending=True)


def await_state(asked: Mapping[str, Host], token: str, seconds: float) -> dict[str, str]:
    """Wait until each host (by a key of the caller's) has left its state under ``token``: "", or why it did not."""
    deadline = time.monotonic() + seconds
    answers: dict[str, str] = {}
    while len(answers) < len(asked):
        for key, host in asked.items():
            if key not in answers and (said := _state_left(host, token, time.monotonic() >= deadline)) is not None:
                answers[key] = said
        if len(answers) < len(asked):
            time.sleep(0.002)
    return answers


def _state_left(host: Host, token: str, late: bool) -> str | None:
    try:
        now = parse_record(read_regular(host.record), host.record)
        if _lock_holder(host.record) is None:
            return "it has ended"
    except FileNotFoundError:
        return "it has ended"
    except (HotReloadError, OSError):  # it is being written
        return "its answer cannot be read" if late else None
    if now.saved is None:
        return "it was built with an earlier hotreload.h"
    word, _, trouble = now.saved.partition(" ")
    if word == token:
        return "" if trouble == "-" else trouble
    if _process_state(host.pid) in "Tt":
        return "it was stopped (SIGSTOP or a debugger)"
    if not late:
        return None
    return now.reason if now.reason.startswith("not now") else "it did not come to its safe point (hr_poll)"


def mapped_files(pid: int) -> tuple[str, ...]:
    """Files that the process has mapped executable (proc(5), maps); empty when it does not let us look."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
            rows = [line.split(maxsplit=5) for line in maps]
    except OSError:
        return ()
    return tuple(
        dict.fromkeys(row[5].rstrip("\n") for row in rows if len(row) == 6 and "x" in row[1] and row[5][0] == "/")
    )


def environment(pid: int) -> dict[str, str]:
    """What the process was started with (proc(5), environ); empty when it does not let us look."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            words = os.fsdecode(file.read()).split("\0")
    except OSError:
        return {}
    return {name: value for name, _, value in (word.partition("=") for word in words)}


class Vigil:
    """Tells when hosts end, without a timer: a thread a host sleeps on its pidfd, then calls ``wake``.

    Everything but ``wake`` happens in the owner's thread.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._watched: set[int] = set()
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def watch(self, pid: int) -> None:
        if pid in self._watched or pid <= 0:
            return
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            self._watched.add(pid)
            threading.Thread(target=self._wait, args=(descriptor, pid), daemon=True, name=f"host {pid}").start()

    def ended(self) -> set[int]:
        """Pids that have ended since the last call."""
        gone = set()
        while not self._ended.empty():
            gone.add(self._ended.get())
        self._watched -= gone
        return gone

    def _wait(self, descriptor: int, pid: int) -> None:
        waiter = select.poll()
        waiter.register(descriptor, select.POLLIN)
        waiter.poll()
        os.close(descriptor)
        self._ended.put(pid)
        self._wake()


def _read_settled(slot: Slot, path: str) -> Host:
    """A record read while its host rewrites it has a wrong sum: read again before calling it garbage."""
    for _ in range(20):
        try:
            return slot.read_record(path)
        except HotReloadError:
            time.sleep(0.0005)
    return slot.read_record(path)


def _lock_holder(path: str) -> int | None:
    """The pid that holds the record's lock, 0 when it is in a pid namespace that we do not see, None without a lock."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
        return None if kind == fcntl.F_UNLCK else int(pid)
    finally:
        os.close(descriptor)


def _with_kernel_facts(host: Host, holder: int) -> Host:
    if holder <= 0:
        return replace(host, trouble="it runs in a container whose processes are not visible from here")
    trouble = ""
    try:
        caught = int(processes.facts(holder)["SigCgt"], 16) >> (host.signal - 1) & 1
        if not caught:
            name = signal.Signals(host.signal).name
            trouble = f"it has no handler for {name}; another part of the program has removed ours"
    except (OSError, KeyError, ValueError):
        trouble = "it has ended"
    executable = ""
    with contextlib.suppress(OSError):
        executable = os.readlink(f"/proc/{holder}/exe")
    return replace(host, pid=holder, executable=executable, trouble=trouble)


def _process_state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return chr(file.read().rpartition(b") ")[2][0])
    except (OSError, IndexError):
        return "X"
