"""Hosts without our runtime, named by the user: found, proven, and sent the signal that they reload themselves by.

Nothing is guessed. The process is the one that the pid file names, or one that was started by the very command. It is
sent its signal only if it is ours, began before the pid file was written, is the program that was named, and stands
the signal; all of that through a pidfd that was opened before it was looked at. That the signal was sent is all that
is known afterwards: such a host does not answer.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
from dataclasses import dataclass

from . import processes
from .model import Foreign, HotReloadError

_SLACK = 2.0
"""Seconds by which a pid file may seem to be older than its process: clocks are set."""


@dataclass(frozen=True)
class Found:
    """A process that may be meant, or none."""

    pid: int
    trouble: str = ""
    """Why it is not sent a signal; "" if it can be."""
    remedy: str = ""


def find(host: Foreign) -> list[Found]:
    """What is running of it now; one Found with its trouble when that is nothing, never an empty list."""
    return _each(host, send=False)


def send(host: Foreign) -> list[Found]:
    """Send its signal to each process of it that may be sent one. Without trouble: it was sent."""
    return _each(host, send=True)


def runs(host: Foreign) -> bool:
    """Whether a process of it is there, whatever may be said against signalling it."""
    return any(found.pid for found in find(host))


def program(host: Foreign) -> str:
    """The real path of what its command starts; "" without a command, or where there is no such program."""
    if not host.command:
        return ""
    word = host.command[0]
    path = os.path.join(host.directory, word) if "/" in word else shutil.which(word)
    return os.path.realpath(path) if path and os.path.exists(path) else ""


def _each(host: Foreign, send: bool) -> list[Found]:
    try:
        pids = [_pid_in(host.pidfile)] if host.pidfile else _started_by(host)
    except HotReloadError as error:
        return [Found(0, str(error.what), error.remedy)]
    if not pids:
        return [Found(0, f"no process of yours runs {host.name!r}", "start it, by these very words")]
    return [_one(host, pid, send) for pid in pids]


def _one(host: Foreign, pid: int, send: bool) -> Found:
    name = signal.Signals(host.signal).name if host.signal else ""
    gone = Found(0, f"no process {pid} is there any more", "start it again")
    stale = f"{host.pidfile} is stale: " if host.pidfile else ""
    remedy = f"delete {host.pidfile}, or start the host" if host.pidfile else ""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return Found(0, f"{stale}no process {pid} is there", remedy) if stale else gone
    try:
        facts = processes.facts(pid)
        if facts.get("State", "X")[0] in "ZX":
            return Found(0, f"{stale}process {pid} has ended", remedy)
        if int(facts["Uid"].split()[1]) != os.geteuid():
            return Found(
                0, f"{stale}process {pid} belongs to another user", "run scons as the user that the host runs as"
            )
        if host.pidfile and processes.began(pid) > os.stat(host.pidfile).st_mtime + _SLACK:
            return Found(0, f"{stale}process {pid} is younger than it, another one", remedy)
        if host.command and not _is(host, pid, whole=not host.pidfile):
            wanted = program(host) or host.command[0]
            return Found(0, f"{stale}process {pid} is {processes.program(pid)}, not {wanted}", remedy)
        if not host.signal:
            return Found(pid, "no signal is given for it, so it is not told", "HotReload(…, signal=…)")
        if trouble := processes.stands(pid, host.signal):
            return Found(pid, f"pid {pid} {trouble}", f"let it catch {name}, or read it by signalfd")
        if send:
            signal.pidfd_send_signal(descriptor, signal.Signals(host.signal))
        return Found(pid)
    except (ProcessLookupError, FileNotFoundError):
        return gone
    except PermissionError:
        return Found(0, f"process {pid} does not let us look at it", "run scons as the user that the host runs as")
    finally:
        os.close(descriptor)


def _pid_in(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise HotReloadError(f"there is no {path}", path, "start the host, which writes it") from None
    except OSError as error:
        raise HotReloadError(f"cannot read {path}: {error.strerror}", path, "make it readable for you") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise HotReloadError(f"{path} is no regular file", path, "name the file that the host writes its pid to")
        word = os.read(descriptor, 64).split(b"\n")[0].strip()
    except OSError as error:
        raise HotReloadError(f"cannot read {path}: {error.strerror}", path, "make it readable for you") from None
    finally:
        os.close(descriptor)
    if not word.isdigit() or not 0 < int(word) < 1 << 31:
        text = word.decode("utf-8", "replace")
        raise HotReloadError(f"{path} has {text!r} in it, no pid", path, "the first line is to be the host's pid")
    return int(word)


def _started_by(host: Foreign) -> list[int]:
    """Processes of ours that its command started; of a family of them the eldest, which hands on what it is told."""
    found: dict[int, int] = {}
    if not program(host):
        raise HotReloadError(f"there is no program {host.command[0]!r}", host.command[0], "install it, or build it")
    for pid in processes.everyone():
        with contextlib.suppress(OSError, KeyError, ValueError):
            facts = processes.facts(pid)
            if int(facts["Uid"].split()[1]) == os.geteuid() and _is(host, pid, whole=True):
                found[pid] = int(facts["PPid"])
    return sorted(pid for pid, parent in found.items() if parent not in found)


def _is(host: Foreign, pid: int, whole: bool) -> bool:
    """Whether the process runs the command's program, itself or as a script; ``whole``: by just these arguments."""
    wanted, arguments = program(host), list(host.command[1:])
    words = processes.words(pid)
    if not wanted or not words:
        return False
    if processes.program(pid) == wanted:
        return not whole or words[1:] == arguments
    for index, word in enumerate(words[1:], 1):
        fits = not word.startswith("-") and (not whole or words[index + 1 :] == arguments)
        if fits and os.path.realpath(os.path.join(processes.directory(pid), word)) == wanted:
            return True
    return False
