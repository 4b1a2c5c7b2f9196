"""The commands that a build pass runs: started, found, ended and waited for. Knows processes only, no build."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""

_PLAIN = re.compile(r"[A-Za-z0-9_./+,:@%-]+( [A-Za-z0-9_./+,:@%=-]+)*")
"""Words in which every shell sees nothing but words, the first of them no assignment."""
_SHELL_WORDS = frozenset(
    re.findall(
        r"\S+",
        ". : alias bg bind break builtin caller case cd chdir command compgen complete compopt continue coproc declare "
        "dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi for function getopts hash "
        "help history if in jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly return "
        "select set shift shopt source suspend test then time times trap true type typeset ulimit umask unalias unset "
        "until wait while",
    )
)
"""dash(1) and bash(1): reserved words, and what they run themselves."""
_SHELL_SETTINGS = ("ENV", "BASH_ENV", "PWD", "OLDPWD", "SHELLOPTS", "BASHOPTS", "BASH_FUNC_", "POSIXLY_CORRECT")
_LONGEST = 131072
"""Bytes that a single argument may have (execve(2), MAX_ARG_STRLEN): a shell cannot be given more."""


def run(command: list[str], environment: Mapping[str, str]) -> int:
    """Run ``sh -c TEXT`` to its end; the exit status as subprocess tells it.

    What any shell would only pass on is started without one, which saves its start (1 ms of /bin/sh, more of bash) and
    a process between us and the compiler. What cannot be started so is left to the shell, with its words and status.
    """
    if plain := words(command, environment):
        with contextlib.suppress(OSError):
            # A shell exports PWD; compilers write it into debug information.
            return subprocess.Popen(plain, env={"PWD": os.getcwd(), **environment}, close_fds=True).wait()
    return subprocess.Popen(command, env=environment, close_fds=True).wait()


def words(command: list[str], environment: Mapping[str, str]) -> list[str]:
    """What the shell would execute; [] when that is for the shell to say."""
    if len(command) != 3 or command[:2] != ["sh", "-c"] or not environment.get("PATH"):
        return []
    text = command[2]
    if (
        len(text) >= _LONGEST
        or not _PLAIN.fullmatch(text)
        or any(key.startswith(_SHELL_SETTINGS) for key in environment)
    ):
        return []
    found = text.split(" ")
    return [] if found[0] in _SHELL_WORDS else found


def end_all(hurried: Callable[[], bool] = lambda: False) -> None:
    """End every descendant in our own process group and return when all of them have really ended. ``hurried``: whether
    they get no more time to do so by themselves.

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
        _wait(list(watched.values()), deadline, hurried)
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


def _wait(descriptors: list[int], deadline: float, hurried: Callable[[], bool] = lambda: False) -> None:
    left = set(descriptors)
    while left and time.monotonic() < deadline and not hurried():
        waiter = select.poll()
        for descriptor in left:
            waiter.register(descriptor, select.POLLIN)
        left -= {descriptor for descriptor, _ in waiter.poll(min(max(1.0, (deadline - time.monotonic()) * 1e3), 50.0))}
