"""A fresh scons for every change: slow and right, where this SCons lacks what the fast way needs.

Knows no nodes. Every file below the project's top is an input until a build is seen to write it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from . import commands
from .model import Build, HotReloadError

_Sig = tuple[int, int, int]


class Fresh:
    """Owned by one thread; ``relevant`` may be called from others."""

    def __init__(self, top: str, targets: Iterable[object]) -> None:
        self._top = top
        self._command = _command([str(target) for target in targets])
        self._seen: dict[str, _Sig] = {}
        self._building = False

    def look(self) -> None:
        """What lies there now is the state that was built."""
        self._seen = {path: sig for path in self._files() if (sig := _signature(path))}

    def directories(self) -> frozenset[str]:
        return frozenset({self._top, *map(os.path.dirname, self._seen)})

    def inputs(self) -> frozenset[str]:
        return frozenset(self._seen)

    def relevant(self, path: str) -> bool:
        name = os.path.basename(path)
        if self._building or name.startswith((".", "#")) or name.endswith("~") or name == "4913":
            return False
        parts = os.path.relpath(path, self._top).split(os.sep)[:-1]
        return not any(map(_is_ignored, parts)) and self._seen.get(path) != _signature(path)

    def update(self, cut: Callable[[], bool]) -> Build:
        """Run scons. Files that it writes are its outputs; one that changed otherwise counts with the next change."""
        before = dict(self._seen)
        self._building = True
        started = time.perf_counter()
        was_cut = False
        process = subprocess.Popen(
            self._command, cwd=self._top, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output = b""
        try:
            while True:
                try:
                    output, _ = process.communicate(timeout=0.02)
                    break
                except subprocess.TimeoutExpired:
                    if not was_cut and cut():
                        was_cut = True
                        commands.end_all()
        finally:
            if process.poll() is None:
                commands.end_all()
            process.wait()
            self.look()
            self._building = False
        text = output.decode("utf-8", "replace")
        ms = (time.perf_counter() - started) * 1e3
        ok = process.returncode == 0 and not was_cut
        error = HotReloadError("scons failed", "", "", text)
        changed = self._seen != before
        note = "a fresh scons was run" if changed else ""
        return Build(ok, (), 0, ms, text, errors=() if ok or was_cut else (error,), cut=was_cut, note=note)

    def _files(self) -> Iterator[str]:
        for place, directories, names in os.walk(self._top):
            directories[:] = [name for name in directories if not _is_ignored(name)]
            yield from (os.path.join(place, name) for name in names if not name.startswith(".sconsign"))


def _is_ignored(directory: str) -> bool:
    """Version control's, caches, our own."""
    return directory == "__pycache__" or (directory.startswith(".") and directory.strip(".") != "")


def _command(targets: list[str]) -> list[str]:
    """This process's own command line without what makes it watch."""
    options = [word for word in sys.argv[1:] if word != "watch" and not word.startswith("--hot-")]
    missing = [target for target in targets if target not in options]
    return [sys.executable, "-m", "SCons", *options, *(missing if not any(t in options for t in targets) else [])]


def _signature(path: str) -> _Sig | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
