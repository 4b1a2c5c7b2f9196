"""A fresh scons for every change: slow and right, where this SCons lacks what the fast way needs.

Knows no nodes, only which files are outputs. Every other file below the project's top is an input; what changes while
scons runs, and is no output, may have been read before: then scons runs once more.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

from . import commands
from .files import Sig, signature
from .model import Build, HotReloadError, Step

_OBJECTS = (".o", ".os")
_OFTEN = 3
"""A file that changes in so many runs on end is written by them."""


class Fresh:
    """Owned by one thread; ``relevant`` may be called from others."""

    def __init__(self, top: str, targets: Iterable[object], directory: str, outputs: Iterable[str] = ()) -> None:
        """``directory``: where scons was started (before -C). ``outputs``: files that scons makes, as far as known."""
        self.ok = True
        """Whether the last run was good."""
        self._top = top
        self._directory = directory
        self._command = _command([str(target) for target in targets])
        self._outputs = set(outputs)
        self._seen: dict[str, Sig] = {}
        self._runs: dict[str, int] = {}
        """File that is no output, as far as known → in how many runs on end it changed."""
        self._building = False
        self._ours = frozenset(_written_by_us())

    def look(self) -> None:
        """What lies there now is the state that was built."""
        self._seen = self._snapshot()

    def directories(self) -> frozenset[str]:
        return frozenset({self._top, *map(os.path.dirname, self._seen)})

    def inputs(self) -> frozenset[str]:
        return frozenset(self._seen)

    def relevant(self, path: str) -> bool:
        name = os.path.basename(path)
        if name.startswith((".", "#")) or name.endswith("~") or name == "4913":
            return False
        if path in self._ours or (self._building and path in self._outputs):
            return False
        parts = os.path.relpath(path, self._top).split(os.sep)[:-1]
        return not any(map(_is_ignored, parts)) and self._seen.get(path) != signature(path)

    def update(self) -> Build:
        """Run scons to its end."""
        started = time.perf_counter()
        before = self._seen = self._snapshot()
        self._building = True
        process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            text = process.communicate()[0].decode("utf-8", "replace")
        finally:
            if process.poll() is None:
                commands.end_all()
            process.wait()
            changed = self._conclude(before)
            self._building = False
        self.ok = process.returncode == 0
        ms = (time.perf_counter() - started) * 1e3
        steps = tuple(Step(name, "compile" if name.endswith(_OBJECTS) else "other", 0.0) for name in changed)
        errors = () if self.ok else (HotReloadError("scons failed", "", "", text),)
        objects = sum(path.endswith(_OBJECTS) for path in self._outputs)
        return Build(self.ok, steps, objects, ms, text, errors, note="a fresh scons was run")

    def _conclude(self, before: dict[str, Sig]) -> list[str]:
        """The outputs that a run has changed, relative to the top."""
        after = self._snapshot()
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        others = changed - self._outputs
        self._runs = {path: self._runs.get(path, 0) + 1 for path in others}
        self._outputs.update(path for path, runs in self._runs.items() if runs >= _OFTEN)
        for path in others:  # still to be told of
            if path in before:
                after[path] = before[path]
            else:
                del after[path]
        self._seen = after
        return sorted(os.path.relpath(path, self._top) for path in changed & self._outputs)

    def _snapshot(self) -> dict[str, Sig]:
        return {path: sig for path in self._files() if path not in self._ours and (sig := signature(path))}

    def _files(self) -> Iterator[str]:
        for place, directories, names in os.walk(self._top):
            directories[:] = [name for name in directories if not _is_ignored(name)]
            yield from (os.path.join(place, name) for name in names if not name.startswith(".sconsign"))


def _written_by_us() -> Iterator[str]:
    """Files that this process has open: events, its own output."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{name}")


def _is_ignored(directory: str) -> bool:
    """Version control's, caches, our own."""
    return directory == "__pycache__" or (directory.startswith(".") and directory.strip(".") != "")


def _command(targets: list[str]) -> list[str]:
    """This process's own command line without what makes it watch."""
    words = iter(sys.orig_argv[1:])
    options = []
    for word in words:
        if word == "--hot-events":
            next(words, "")  # its value
        elif word != "watch" and not word.startswith("--hot-"):
            options.append(word)
    return [sys.executable, *options, *(target for target in targets if target not in options)]
