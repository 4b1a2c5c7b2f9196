"""ChangeSet → affected targets → rebuilt, in the living SCons process. The only module that touches SCons's internals
(with ``scons_internals`` and ``audit``, which only it and the tool use).

After the first build, which is SCons's own, the node graph is kept. A change clears just the nodes that depend on it
and runs SCons's Taskmaster over the tops of that closure: what is up to date and how it is built is decided by
SCons's own code, as in a fresh scons.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import SCons.Node

from . import commands
from . import scons_internals as scons
from .audit import Reads
from .model import Build, HotReloadError, Step, StepKind

_LINKERS = frozenset({"Program", "SharedLibrary", "StaticLibrary", "LoadableModule"})
_COMPILERS = frozenset({"StaticObject", "SharedObject", "Object"})
_Signature = tuple[int, int, int]

FLUSH_AFTER = 0.3
"""Seconds of rest before signatures are written: never while the next save may be on its way."""


class Graph:
    """The project as SCons knows it. Owned by one thread; ``relevant`` may be called from others."""

    def __init__(
        self, fs: Any, options: Any, targets: Any, target_top: Any, build_targets: Callable[..., Any], reads: Reads
    ) -> None:
        self.explain = False
        self._fs = fs
        self._options = options
        self._targets = targets
        self._target_top = target_top
        self._build_targets = build_targets
        self._reads = reads
        self._tops: list[Any] = []
        self._index = _Index()
        self._outputs: dict[str, _Signature] = {}
        """Files that the build makes, as it left them."""
        self._building = False
        self._unfinished: set[Any] = set()
        """Nodes of a pass that failed or was cut: evaluated again with the next one."""
        self._unfinished_tops: list[Any] = []
        self._failed = False
        self._dirty_since: float | None = None

    # --- the first build -------------------------------------------------------------------------------------------

    def start(self) -> Build:
        """The full build, by SCons itself, its output straight to the terminal."""
        scons.require()
        SCons.Node.interactive = True  # or executors are dropped once a target is built
        started = time.perf_counter()
        with scons.exit_status() as status:
            nodes = self._build_targets(self._fs, self._options, self._targets, self._target_top)
        if status.interrupted:
            raise KeyboardInterrupt
        self._tops = nodes or []
        failed = not nodes or status.code != 0
        self._failed = failed
        if failed:
            self._unfinished_tops = self._tops
        self._learn(self._tops)
        errors = [HotReloadError("the first build failed", "", "mend it and save: this session builds again")]
        return Build(
            not failed, (), self._index.objects, (time.perf_counter() - started) * 1e3, errors=tuple(errors * failed)
        )

    # --- what matters ----------------------------------------------------------------------------------------------

    def directories(self) -> frozenset[str]:
        """Every directory in which a change may matter."""
        return self._index.directories | self._reads.directories | {os.path.dirname(path) for path in self._reads.files}

    def inputs(self) -> frozenset[str]:
        """Known input files, the SConscripts' own too."""
        return self._index.inputs | self._reads.files

    def relevant(self, path: str) -> bool:
        """Whether a change of this name may matter. Cheap; any thread."""
        if path in self._outputs:
            return not self._building and _signature(path) != self._outputs[path]
        return self._index.knows(path) or self._reads.concerns(path)

    # --- a pass ----------------------------------------------------------------------------------------------------

    def update(self, files: Iterable[str], cut: Callable[[], bool] = lambda: False) -> Build:
        """Rebuild what a fresh scons would, after these files changed. ``cut`` ends the pass and its commands early."""
        files = list(files)
        for path in files:
            if reason := self._reads.reason(path):
                return Build(True, restart=os.path.relpath(reason, self._fs.Top.get_abspath()))
        changed = {node for path in files for node in self._touched(path)}
        closure = self._closure(changed | self._unfinished | self._index.always)
        if not closure and not self._unfinished_tops:
            return Build(True, of=self._index.objects)
        for path in files:
            scons.forget_directory(self._fs, os.path.dirname(path))
        scons.forget_lookups()
        rescan = self._rescanned(changed)
        for node in closure:
            scons.clear(node, rescan=node in rescan or node in self._unfinished)
        tops = [*self._closure_tops(closure), *self._unfinished_tops]
        return self._run(tops, closure, cut)

    def _run(self, tops: list[Any], closure: set[Any], cut: Callable[[], bool]) -> Build:
        pass_ = _Pass(self.explain)
        was_cut = threading.Event()
        over = threading.Event()
        started = time.perf_counter()
        self._building = True

        def guard() -> None:
            while not over.wait(0.004):
                if cut():
                    was_cut.set()
                    pass_.stop()
                    commands.end_all()
                    return

        watcher = threading.Thread(target=guard, daemon=True, name="pass guard")
        try:
            with _captured() as output, scons.exit_status() as status:
                watcher.start()
                interrupted = scons.run(tops, self._options, pass_)
        finally:
            over.set()
            watcher.join()
            scons.merge_signatures()
            self._dirty_since = time.monotonic()
            pass_.remove_torn()
            self._note_outputs(pass_.touched)
            self._building = False
        if interrupted or status.interrupted:
            commands.end_all()
            raise KeyboardInterrupt
        failed = bool(pass_.errors) or status.code != 0
        self._failed = failed
        self._unfinished = closure | pass_.unfinished if failed or was_cut.is_set() else set()
        self._unfinished_tops = tops if failed or was_cut.is_set() else []
        self._learn(closure)
        ms = (time.perf_counter() - started) * 1e3
        text = output()
        if was_cut.is_set():
            return Build(False, tuple(pass_.steps), self._index.objects, ms, text, cut=True)
        errors = tuple(
            HotReloadError(error.what, error.where, error.remedy, text if index == 0 else "")
            for index, error in enumerate(pass_.errors)
        )
        return Build(not failed, tuple(pass_.steps), self._index.objects, ms, text, errors)

    def is_current(self, path: str) -> bool:
        """Whether the target at ``path`` is as a fresh scons would leave it."""
        node = next(iter(self._index.nodes(path)), None)
        return node is None or node not in self._unfinished

    # --- deferred work ---------------------------------------------------------------------------------------------

    def idle(self) -> float | None:
        """Do deferred work whose time has come; seconds until there is more to do, None when there is none."""
        if self._dirty_since is None:
            return None
        left = self._dirty_since + FLUSH_AFTER - time.monotonic()
        if left > 0:
            return left
        self.sync()
        return None

    def sync(self) -> None:
        """Write .sconsign now: a fresh scons afterwards finds what this session built."""
        if self._dirty_since is not None:
            self._dirty_since = None
            scons.write_signatures()

    def close(self) -> None:
        """Nothing is held open."""

    # --- the closure -----------------------------------------------------------------------------------------------

    def _touched(self, path: str) -> set[Any]:
        """Nodes that a change of this file may change: those that stand for it, those that looked for its name, and the
        directories that have it in them."""
        if path in self._outputs and _signature(path) == self._outputs[path]:
            return set()
        nodes = self._index.nodes(path)
        if not nodes or not self._index.exists(path, os.path.lexists(path)):
            nodes = nodes | self._index.seekers(os.path.basename(path)) | self._index.holders(path)
        return nodes

    def _closure(self, changed: Iterable[Any]) -> set[Any]:
        closure: set[Any] = set()
        stack = list(changed)
        while stack:
            node = stack.pop()
            if node in closure:
                continue
            closure.add(node)
            stack.extend(self._index.parents.get(node, ()))
            stack.extend(scons.made_together(node))
        return closure

    def _closure_tops(self, closure: set[Any]) -> list[Any]:
        """Nodes of the closure that nothing else in it needs. Directories that only hold targets are no reason to visit
        all that is in them."""
        tops = []
        for node in closure:
            if scons.is_directory(node):
                continue
            above = (parent for parent in self._index.parents.get(node, ()) if parent in closure)
            if all(scons.is_directory(parent) and not self._index.is_held(parent) for parent in above):
                tops.append(node)
        return sorted(tops, key=str)

    def _rescanned(self, changed: set[Any]) -> set[Any]:
        """Targets whose implicit dependencies may be others now: those that depend on a changed file directly."""
        direct = set(changed)
        for node in changed:
            direct.update(self._index.parents.get(node, ()))
        # A generated header may include others than before, so whoever depends on a target that is made anew is too.
        for node in self._closure(changed):
            if not scons.is_object(node):
                direct.update(self._index.parents.get(node, ()))
        return direct

    # --- indexes ---------------------------------------------------------------------------------------------------

    def _learn(self, nodes: Collection[Any]) -> None:
        for node in self._index.add(nodes):
            if scons.is_made(node):
                self._outputs[node.get_abspath()] = _signature(node.get_abspath())

    def _note_outputs(self, nodes: Iterable[Any]) -> None:
        for node in nodes:
            path = node.get_abspath()
            self._outputs[path] = _signature(path)


class _Index:
    """From files and names to nodes, and from nodes to those that depend on them."""

    def __init__(self) -> None:
        self.parents: dict[Any, set[Any]] = {}
        self.always: set[Any] = set()
        """Targets that scons builds every time."""
        self.objects = 0
        self.directories: frozenset[str] = frozenset()
        self.inputs: frozenset[str] = frozenset()
        self._seen: set[Any] = set()
        self._by_path: defaultdict[str, set[Any]] = defaultdict(set)
        self._seekers: defaultdict[str, set[Any]] = defaultdict(set)
        """Base name in an #include → files that have that line."""
        self._held: dict[str, Any] = {}
        """Directories that are themselves sources."""
        self._there: dict[str, bool] = {}
        """Whether a path existed when it was last looked at."""

    def add(self, nodes: Collection[Any]) -> list[Any]:
        """Index these nodes again and all that is new below them. Returns those that are new."""
        directories, inputs, fresh = set(self.directories), set(self.inputs), []
        stack, again = list(nodes), set(nodes)
        while stack:
            node = stack.pop()
            if node in self._seen and node not in again:
                continue
            again.discard(node)
            if node not in self._seen:
                self._seen.add(node)
                fresh.append(node)
                self._place(node, directories, inputs)
            self._note_includes(node)
            for child in scons.dependencies(node):
                self.parents.setdefault(child, set()).add(node)
                if child not in self._seen:
                    stack.append(child)
                if scons.is_directory(child) and not scons.is_directory(node) and scons.has_action(node):
                    self._held[child.get_abspath()] = child
            for path in scons.search_path(node):
                directories.add(path)
        self.directories, self.inputs = frozenset(directories), frozenset(inputs)
        return fresh

    def _place(self, node: Any, directories: set[str], inputs: set[str]) -> None:
        if node.always_build and scons.has_builder(node):
            self.always.add(node)
        if scons.is_object(node):
            self.objects += 1
        for path in scons.paths(node):
            self._by_path[path].add(node)
            directory = path if scons.is_directory(node) else os.path.dirname(path)
            directories.add(directory)
            self._there[path] = os.path.lexists(path)
            if not scons.is_made(node) and not scons.is_directory(node):
                inputs.add(path)

    def _note_includes(self, node: Any) -> None:
        for name in scons.included_names(node):
            self._seekers[os.path.basename(name)].add(node)

    def knows(self, path: str) -> bool:
        return (
            path in self._by_path
            or os.path.basename(path) in self._seekers
            or any(path.startswith(held + os.sep) for held in self._held)
        )

    def is_held(self, directory: Any) -> bool:
        """Whether a directory is a source of something, itself or above it, and not just a place for targets."""
        path = directory.get_abspath()
        return any(path == held or path.startswith(held + os.sep) for held in self._held)

    def nodes(self, path: str) -> set[Any]:
        return set(self._by_path.get(path, ()))

    def seekers(self, name: str) -> set[Any]:
        return set(self._seekers.get(name, ()))

    def holders(self, path: str) -> set[Any]:
        return {node for held, node in self._held.items() if path.startswith(held + os.sep)}

    def exists(self, path: str, now: bool) -> bool:
        """Whether it existed before and does now; remembers the latter."""
        before, self._there[path] = self._there.get(path, False), now
        return before and now


class _Pass:
    """What one run of the Taskmaster did. Its methods are called from SCons's threads."""

    def __init__(self, explain: bool) -> None:
        self.steps: list[Step] = []
        self.errors: list[HotReloadError] = []
        self.touched: set[Any] = set()
        self.unfinished: set[Any] = set()
        self.stopped = False
        self.explain = explain
        self._running: set[Any] = set()

    def stop(self) -> None:
        self.stopped = True

    def begin(self, targets: list[Any]) -> None:
        self._running.update(targets)
        self.touched.update(targets)

    def end(self, targets: list[Any], ms: float, why: str) -> None:
        self._running.difference_update(targets)
        self.steps.append(Step(str(targets[0]), _kind(targets[0]), round(ms, 3), why))

    def failed(self, targets: list[Any], error: HotReloadError) -> None:
        self.unfinished.update(targets)
        if not self.stopped:
            self.errors.append(error)

    def remove_torn(self) -> None:
        """Targets whose command was ended halfway: a file that is neither old nor new would be taken for current when
        its sources are put back."""
        for node in self._running if self.stopped else ():
            if not node.precious:
                with contextlib.suppress(OSError):
                    os.unlink(node.get_abspath())


def _kind(node: Any) -> StepKind:
    name = scons.builder_name(node)
    return "compile" if name in _COMPILERS else "link" if name in _LINKERS else "other"


def _signature(path: str) -> _Signature:
    try:
        status = os.lstat(path)
        return status.st_mtime_ns, status.st_size, status.st_ino
    except OSError:
        return 0, 0, 0


@contextlib.contextmanager
def _captured() -> Iterator[Callable[[], str]]:
    """Standard output and error of us and our commands, into a file that can be read afterwards."""
    with tempfile.TemporaryFile() as file:
        text = ""
        saved = [os.dup(1), os.dup(2)]
        scons.flush_output()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: text
        finally:
            scons.flush_output()
            for number, descriptor in enumerate(saved, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            file.seek(0)
            text = file.read().decode("utf-8", "replace")
