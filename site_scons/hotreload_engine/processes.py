"""What the kernel tells of a process, by its pid (proc(5)). OSError where it is gone or does not let us look."""

from __future__ import annotations

import os
import signal
import time
from typing import Literal

from .model import DELETED


def began(pid: int | Literal["self"]) -> float:
    """When it was forked (Unix seconds), to some hundredths of a second."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # field 22, in ticks since boot
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def words(pid: int) -> list[str]:
    """Its command line, as it was started or calls itself now; [] of a zombie."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]


def program(pid: int) -> str:
    """Where its executable was when it began."""
    return os.readlink(f"/proc/{pid}/exe").removesuffix(DELETED)


def directory(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/cwd")


def facts(pid: int, task: str = "") -> dict[str, str]:
    """The lines of its status, or of one of its threads', by their names."""
    path = f"/proc/{pid}/task/{task}/status" if task else f"/proc/{pid}/status"
    with open(path, encoding="utf-8", errors="replace") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def stands(pid: int, number: int) -> str:
    """Why it cannot be sent this signal; "" when it catches it, or all its threads block it (signalfd).

    A thread in sigwait(3) does not show: the kernel counts what it waits for as not blocked.
    """
    bit = 1 << (number - 1)
    if int(facts(pid)["SigCgt"], 16) & bit:
        return ""
    if all(int(facts(pid, task)["SigBlk"], 16) & bit for task in os.listdir(f"/proc/{pid}/task")):
        return ""
    name = signal.Signals(number).name
    ignored = int(facts(pid)["SigIgn"], 16) & bit
    return f"ignores {name}" if ignored else f"has no handler for {name}, and would be killed"


def everyone() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
