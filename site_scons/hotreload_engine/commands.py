"""The commands that a build pass runs: found, ended and waited for. Knows processes only, no build."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""


def end_all() -> None:
    """End every descendant in our own process group and return when all of them have really ended.

    A shell dies at once while the compiler below it goes on writing, so each is waited for by its own pidfd; each is
    stopped before its children are looked for, so that none is missed. A host that we started has a group of its own.
    """
    watched: dict[int, int] = {}
    try:
        _stop_tree(os.getpid(), os.getpgrp(), watched)
        deadline = time.monotonic() + GRACE
        for descriptor in watched.values():
            for number in (signal.SIGTERM, signal.SIGCONT):
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(descriptor, number)
        _wait(list(watched.values()), deadline)
        for descriptor in watched.values():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        _wait(list(watched.values()), time.monotonic() + GRACE)
    finally:
        for descriptor in watched.values():
            os.close(descriptor)


def _stop_tree(pid: int, group: int, watched: dict[int, int]) -> None:
    for child in _children(pid):
        with contextlib.suppress(OSError):
            if child in watched or os.getpgid(child) != group:
                continue
            watched[child] = os.pidfd_open(child)
            signal.pidfd_send_signal(watched[child], signal.SIGSTOP)
            _stop_tree(child, group, watched)


def _children(pid: int) -> Iterator[int]:
    """proc(5): /proc/PID/task/TID/children of every thread."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                yield from map(int, file.read().split())


def _wait(descriptors: list[int], deadline: float) -> None:
    left = set(descriptors)
    while left and time.monotonic() < deadline:
        waiter = select.poll()
        for descriptor in left:
            waiter.register(descriptor, select.POLLIN)
        left -= {descriptor for descriptor, _ in waiter.poll(max(1.0, (deadline - time.monotonic()) * 1e3))}
