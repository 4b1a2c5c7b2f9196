"""ChangeSet → affected targets → rebuilt, in the living SCons process.

After the first build, which is SCons's own, the node graph is kept. A change clears just the nodes that depend on it
and runs SCons's Taskmaster over the tops of that closure: what is up to date and how it is built is decided by
SCons's own code, as in a fresh scons. What a fresh scons would read again (SConscripts, what they read, their globs)
is answered with ``Build.restart``.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import commands
from . import scons_internals as scons
from .audit import Reads
from .expansions import Expansions
from .fallback import Fresh
from .files import Sig, signature
from .index import Index
from .ledger import Ledger, abandoned
from .model import Build, HotReloadError, Step, StepKind

_LINKERS = frozenset({"Program", "SharedLibrary", "StaticLibrary", "LoadableModule"})
_COMPILERS = frozenset({"StaticObject", "SharedObject", "Object"})

FLUSH_AFTER = 0.3
"""Seconds of rest before signatures are written: never while the next save may be on its way."""
PROGRESS_AFTER = 1.0
"""Seconds that a pass takes before its progress is told."""
PROGRESS_EVERY = 0.1
RETRY_AFTER = 10.0
"""Seconds until signatures that could not be written are tried again."""
_CLOCK_SLACK = 20_000_000
"""Nanoseconds by which a file's change time may be older than the moment of the change: the kernel's coarse clock."""
_MAKING: Sig = (-1, -1, -1)
_Joined = tuple[frozenset[str], frozenset[str]]
"""What the index knows, and that with what the SConscripts read: joined anew only when the former is another."""


class Graph:
    """The project as SCons knows it. Owned by one thread; ``relevant`` may be called from others."""

    def __init__(
        self,
        fs: Any,
        options: Any,
        targets: Any,
        target_top: Any,
        build_targets: Callable[..., Any],
        reads: Reads | None = None,
    ) -> None:
        self.explain = False
        """Steps say why in SCons's own words, which takes milliseconds for a target of hundreds of sources."""
        self.causes = False
        """Where they do not, they name the sources that changed, which is cheap."""
        self.progress: Callable[[int, int, str], None] | None = None
        """Told of a pass that takes long, again and again, from a thread of its own: how many of how many targets are
        done, and what is being made."""
        self.fallback = ""
        """Why a fresh scons is run for every change, slow and right; "" in the usual case."""
        self._options = options
        self._build_targets: Callable[[], Any] = lambda: build_targets(fs, options, targets, target_top)
        self._reads = reads
        self._top = str(fs.Top.get_abspath())
        self._fresh: Fresh | None = None
        self._outputs: dict[str, Sig | None] = {}
        """Files that the build makes, as it left them."""
        self._making: set[str] = set()
        """Those that the pass has been writing."""
        self._all_inputs: _Joined = (frozenset(), frozenset())
        self._all_directories: _Joined = (frozenset(), frozenset())
        self._unfinished: set[Any] = set()
        """Nodes that a pass left otherwise than a fresh scons would: evaluated again with the next one."""
        self._suspects: set[str] = set()
        """Files that changed under a pass: looked at again with the next one, event or not."""
        self._waiting: dict[str, Sig | None] = {}
        """Files because of which the SConscripts should be read again, as they were when that was last asked for."""
        self._last_pass = (0, 0)
        """When the last pass began and ended, in ns of the system clock."""
        self._absent: set[Any] = set()
        """Targets that their own command does not make: a fresh scons runs it every time."""
        self._dirty_since: float | None = None
        self._unwritable = False
        self._due = False
        self._ledger = Ledger(self._top)
        if lacking := scons.missing(fs):
            self.fallback = f"SCons {scons.version()} lacks {lacking}"
            self._fresh = Fresh(self._top, targets, scons.launch_directory(), scons.made_files(fs))
            return
        scons.keep_executors()
        scons.run_commands_with(commands.run)
        self._expansions = Expansions()
        self._hooks = scons.hooks()
        self._script_lookups = self._hooks.scripts_looked_for()
        self._script_lookups_there = {path for path in self._script_lookups if os.path.lexists(path)}
        self._places = scons.Places(fs)
        self._index = Index(self._places, self._hooks, ())

    # --- the first build -------------------------------------------------------------------------------------------

    def start(self) -> Build:
        """The full build, by SCons itself, its output straight to the terminal."""
        began, started = time.time_ns(), time.perf_counter()
        noting = scons.noting_builds(self._note_begun)
        with scons.exit_status() as status, noting, scons.noting_signatures(), _Reaper(status):
            nodes = self._build_targets() or []  # writes signatures too, at its end
        self._ledger.clear()
        if status.interrupted:
            raise KeyboardInterrupt
        ok = bool(nodes) and status.code == 0
        error = HotReloadError("the first build failed", "", "mend it and save: this session builds again")
        if self._fresh:
            self._fresh.ok = ok
            self._fresh.look()
        else:
            self._learn_all(nodes, ok, began)
        objects = 0 if self._fresh else self._index.objects
        ms = (time.perf_counter() - started) * 1e3
        return Build(ok, (), objects, ms, errors=() if ok else (error,), note=self.fallback)

    def _learn_all(self, nodes: list[Any], ok: bool, began: int) -> None:
        tops = [each for node in nodes for each in scons.altered(node)]
        self._index = Index(self._places, self._hooks, tops)
        self._hooks.making = self._note_making
        self._hooks.is_new_to = self._index.is_new_to
        for node in self._index.add(tops):
            current = scons.settle(node)
            if not current and not ok:
                self._unfinished.add(node)
            if scons.is_made(node):
                path = node.get_abspath()
                self._outputs[path] = signature(path)
                if current and self._outputs[path] is None and scons.is_absent(node):
                    self._absent.add(node)
            elif scons.is_file(node) and scons.has_moved(node):
                self._suspects.update(self._places.mirrored(node.get_abspath()))
                self._distrust(self._index.parents(node))
                self._due = True  # its change may be older than what the session asks for
        for node in self._places.all():
            if not self._index.is_known(node):
                scons.forget_memory(node)
        if self._reads and self._reads.outdated:
            self._suspects |= self._reads.outdated
            self._due = True
        self._last_pass = (began, time.time_ns())

    # --- what matters ----------------------------------------------------------------------------------------------

    def directories(self) -> frozenset[str]:
        """Every directory in which a change may matter."""
        if self._fresh:
            return self._fresh.directories()
        if (known := self._index.directories()) is not self._all_directories[0]:
            found = known | {os.path.dirname(path) for path in self._script_lookups}
            if self._reads:
                found |= self._reads.directories | {os.path.dirname(path) for path in self._reads.files}
            self._all_directories = known, found
        return self._all_directories[1]

    def inputs(self) -> frozenset[str]:
        """Known input files, the SConscripts' own too. The same object as long as they are the same."""
        if self._fresh:
            return self._fresh.inputs()
        if (known := self._index.inputs()) is not self._all_inputs[0]:
            self._all_inputs = known, known | (self._reads.files if self._reads else frozenset())
        return self._all_inputs[1]

    def relevant(self, path: str) -> bool:
        """Whether a change of this name may matter. Cheap; any thread."""
        if self._fresh:
            return self._fresh.relevant(path)
        if path in self._outputs:
            left = self._outputs[path]
            return left is not _MAKING and signature(path) != left
        if self._index.knows(path) or path in self._script_lookups:
            return True
        return bool(self._reads and self._reads.concerns(path))

    def unseen(self, paths: Iterable[str], since: float) -> frozenset[str]:
        """Of the paths that changed after ``since`` (Unix seconds), in whatever way, those that SCons may not have seen
        as they are. Not those of which it makes another hard link in a variant directory, at every start."""
        return frozenset(path for path in paths if self._fresh or not self._has_seen(path, int((since - 1.0) * 1e9)))

    def _has_seen(self, path: str, before: int) -> bool:
        """Whether nothing was written into the file after ``before`` (ns), and SCons has looked at it."""
        now = signature(path)
        nodes = [node for node in self._places.at(path) if self._index.is_known(node)]
        return bool(now and now[0] < before and nodes) and all(map(scons.is_as_seen, nodes))

    def is_current(self, path: str) -> bool:
        """Whether the target at ``path`` is as a fresh scons would leave it."""
        if self._fresh:
            return self._fresh.ok
        return not any(node in self._unfinished for node in self._places.at(path))

    def reaches(self, files: Iterable[str], path: str) -> bool:
        """Whether the target at ``path`` depends on one of these files."""
        if self._fresh:
            return True
        nodes = [node for file in files for node in self._places.at(file)]
        return not self._index.closure(nodes).isdisjoint(self._places.at(path))

    def all_current(self) -> bool:
        return not self._unfinished and not self._suspects and not self._waiting

    @property
    def is_waiting(self) -> bool:
        """Whether the SConscripts ought to be read again, but have an error."""
        return bool(self._waiting)

    @property
    def is_due(self) -> bool:
        """Whether there is something to build though no file changed: ``update(())``."""
        return self._due

    # --- a pass ----------------------------------------------------------------------------------------------------

    def update(
        self,
        files: Iterable[str],
        cut: Callable[[], bool] = lambda: False,
        settled: Callable[[], bool] = lambda: True,
    ) -> Build:
        """Rebuild what a fresh scons would, after these files changed.

        ``settled`` is asked, and may wait, before anything is begun that others can see; when it answers no, the Build
        is cut.

        ``cut`` is asked between and during commands; when it turns true they are ended, all of them, and the Build says
        so: the next update finishes what this one began, whatever files it is given.
        """
        if self._fresh:
            return self._fresh.update() if settled() else Build(False, cut=True)
        changes = _Changes()
        files = set(files)
        changed = files | self._suspects
        if self._reads and any(map(self._reads.concerns, changed)) and not settled():
            self._suspects |= changed
            return Build(False, cut=True)
        self._due = False
        for path in changed:
            if not os.path.lexists(path):
                self._places.drop_copies(path)
        reason = self._restart_reason(changed)
        for path in changed:
            self._see(path, changes)
        if changes.names:
            self._hooks.forget_lookups()
        if reason:
            # As close() does for what came before.
            self._distrust(parent for node in changes.nodes for parent in self._index.parents(node))
            self._suspects |= changed
            outdated = self._reads.outdated if self._reads else frozenset()
            return Build(True, restart=reason, reread=outdated.issuperset(self._waiting))
        if not changes.nodes and not self._unfinished:
            self._suspects.clear()
            return Build(True, of=self._index.objects)
        closure = self._index.closure(changes.nodes | self._unfinished | self._index.always | self._absent)
        needed, tops = self._index.reduced(closure)
        rescan = changes.rescan | self._unfinished
        for node in changes.nodes:
            rescan.update(self._index.parents(node))
        for node in needed:
            scons.clear(node, rescan=node in rescan or scons.is_directory(node))
        for node in changes.nodes:
            scons.clear_changed(node)
        self._expansions.forget(rescan if changes.names else self._unfinished)
        self._hooks.touched |= changes.nodes
        self._places.make_directories_again(needed)
        self._suspects.clear()
        return self._run(tops, needed, cut, settled, changes.news, by_itself=not files)

    def _restart_reason(self, changed: set[str]) -> str:
        """Why only a fresh scons would be right; "" when it need not be.

        The same reasons are told once: the SConscripts may have an error, and the old graph serves until it is mended.
        """
        reasons = {path: reason for path in changed | set(self._waiting) if (reason := self._why_restart(path))}
        now = {path: signature(path) for path in reasons}
        if now == self._waiting:
            return ""
        self._waiting = now
        return os.path.relpath(min(reasons.values()), self._top) if reasons else ""

    def _why_restart(self, path: str) -> str:
        if path in self._script_lookups and os.path.lexists(path) != (path in self._script_lookups_there):
            return f"{path}, which the SConscripts look for, {'is new' if os.path.lexists(path) else 'is gone'}"
        return self._reads.reason(path) if self._reads else ""

    def _see(self, path: str, changes: _Changes) -> None:
        """Which nodes a change of this file may change: those that stand for it, those that looked for its name, and
        the directories that have it in them."""
        left = self._outputs.get(path, _MAKING)
        if left is not _MAKING and signature(path) == left:
            return
        if self._places.is_directory(path) or os.path.isdir(path):
            for below in {*self._places.below(path), *_files_below(path)}:
                if self.relevant(below):
                    self._see(below, changes)
        there = os.path.lexists(path)
        unsure = path in self._suspects or self._changed_under_the_last_pass(path)
        nodes = self._places.at(path)
        if unsure or self._index.there.get(path) != there:
            changes.names = True
            name = os.path.basename(path)
            for seeker in self._hooks.seekers.get(name, ()):
                changes.nodes.add(seeker)
                changes.rescan.add(seeker)
            changes.nodes |= self._index.holders(path)
            for each in _upwards(path):  # a directory may have come or gone with it
                self._places.name_changed(each)
            self._index.there[path] = there
        elif not self._index.timestamps_matter and left is _MAKING and nodes:
            contents = {scons.content(node) for node in nodes if self._index.is_known(node)}
            if contents == {scons.content_now(path)}:
                return
        changes.nodes.update(nodes)
        changes.news.update(nodes)

    def _changed_under_the_last_pass(self, path: str) -> bool:
        """What SCons found of such a file may be half of one state and half of another."""
        try:
            when = os.lstat(path).st_ctime_ns
        except OSError:
            return True
        began, ended = self._last_pass
        return began - _CLOCK_SLACK <= when <= ended + _CLOCK_SLACK

    def _run(
        self,
        tops: list[Any],
        needed: set[Any],
        cut: Callable[[], bool],
        settled: Callable[[], bool],
        news: set[Any],
        by_itself: bool,
    ) -> Build:
        causes = news if self.causes else None
        pass_ = Pass(self.explain, self._index.tops, self._note_making, self._note_begun, settled, causes)
        runner = scons.Runner(tops, self._options, pass_)
        began, started = time.time_ns(), time.perf_counter()
        before = {node: self._outputs.get(node.get_abspath()) for node in needed if scons.is_made(node)}
        progress = self.progress and functools.partial(pass_.tell, self.progress, len(before))
        with (
            _captured() as output,
            scons.exit_status() as status,
            _Guard(runner, pass_, cut, status, progress) as guard,
        ):
            number = runner.run()
        scons.merge_signatures()
        self._dirty_since = time.monotonic()
        was_cut = guard.was_cut or pass_.unsettled
        whole = not number and not was_cut and not pass_.errors and status.code == 0
        self._conclude(pass_, needed, before, whole)
        self._due = bool(self._look_again(pass_)) and not by_itself and not was_cut
        self._last_pass = (began, time.time_ns())
        if number:
            signal.raise_signal(number)
            raise KeyboardInterrupt
        ms = (time.perf_counter() - started) * 1e3
        text = output()
        errors = tuple(
            HotReloadError(error.what, error.where, error.remedy, text if index == 0 else "")
            for index, error in enumerate(pass_.errors)
        )
        if was_cut or pass_.moved:
            return Build(False, tuple(pass_.steps), self._index.objects, ms, text, cut=True)
        return Build(whole, tuple(pass_.steps), self._index.objects, ms, text, errors)

    def _conclude(self, pass_: Pass, needed: set[Any], before: dict[Any, Sig | None], whole: bool) -> None:
        """Learn what a pass has made of the graph, and what is left to do."""
        fresh = self._index.add(needed)
        left = {node for node in [*needed, *fresh] if not scons.settle(node)}
        self._unfinished = set() if whole else left
        if whole:
            self._hooks.touched.clear()
        else:  # what was made is news to those that were not reached
            self._hooks.touched |= pass_.begun
        self._distrust(pass_.torn())
        self._distrust(pass_.moved)
        for node in pass_.moved:
            for child in self._index.of(node):
                if scons.is_file(child) and scons.has_moved(child):
                    self._suspects.update(self._places.mirrored(child.get_abspath()))
        made = {node.get_abspath() for node in pass_.begun} | self._making
        self._making = set()
        for path in made:
            self._outputs[path] = pass_.left.get(path) or signature(path)
        for node in [*needed, *fresh]:
            if scons.is_made(node) and (path := node.get_abspath()) not in made:
                now = signature(path)
                if node in before and before[node] != now and scons.is_derived(node) and before[node] is not None:
                    self._suspects.add(path)  # somebody else did that, while commands ran
                else:
                    self._outputs[path] = now

    def _look_again(self, pass_: Pass) -> list[str]:
        """What the commands of a pass left and something else took away before anybody could have heard of it. Called
        when events of these files count again: nothing falls in between."""
        gone = []
        for path, left in pass_.left.items():
            now = signature(path)
            if now is None and left is not None:
                gone.append(path)
            elif now != left:
                self._outputs[path] = now  # by another command of the pass
        for target in pass_.finished:
            if pass_.left[target.get_abspath()] is None and scons.is_absent(target):
                self._absent.add(target)
            else:
                self._absent.discard(target)
        self._suspects.update(gone)
        return gone

    def _distrust(self, nodes: Iterable[Any]) -> None:
        """Targets that are not what their signatures say: neither we nor a fresh scons may take them for current."""
        for node in list(nodes):
            if scons.is_derived(node) and not scons.is_directory(node):
                scons.forget_signature(node)
                self._unfinished.add(node)
                self._dirty_since = time.monotonic()

    def _note_begun(self, targets: list[Any]) -> None:
        """These are about to be built (SCons's threads)."""
        self._ledger.note(target.get_abspath() for target in targets if scons.is_file(target))

    def _note_making(self, node: Any) -> None:
        """A file is about to be written by the build (SCons's threads)."""
        path = node.get_abspath()
        self._making.add(path)
        self._outputs[path] = _MAKING

    # --- deferred work ---------------------------------------------------------------------------------------------

    def idle(self) -> float | None:
        """Do deferred work whose time has come; seconds until there is more to do, None when there is none.

        HotReloadError when it cannot be done: once, though it is tried again and again.
        """
        if self._dirty_since is None:
            return None
        left = self._dirty_since + FLUSH_AFTER - time.monotonic()
        if left > 0:
            return left
        if self._expansions.to_check:
            if changed := self._expansions.recheck():
                self._unfinished.update(changed)
                self._due = True
            return 0.0
        if scons.signatures_are_locked():
            return FLUSH_AFTER
        try:
            self.sync()
        except HotReloadError:
            self._dirty_since = time.monotonic() + RETRY_AFTER
            if not self._unwritable:
                self._unwritable = True
                raise
            return RETRY_AFTER
        return None

    def sync(self) -> None:
        """Write .sconsign now: a fresh scons afterwards finds what this session built."""
        if self._fresh:
            return
        if self._dirty_since is not None or scons.others_wrote_signatures():
            scons.write_signatures(lambda path: path in self._outputs and self._outputs[path] == signature(path))
            self._dirty_since = None
            self._unwritable = False
            self._ledger.clear()

    def close(self) -> None:
        """The last ``sync``. What a session knows better than a fresh scons, which compares whole seconds, is not lost
        to it: a target that was not reached, of sources that were made or edited again within one second."""
        if not self._fresh:
            unreached = {parent for node in self._hooks.touched for parent in self._index.parents(node)}
            self._distrust(unreached & self._unfinished)
        self.sync()


class _Changes:
    def __init__(self) -> None:
        self.nodes: set[Any] = set()
        self.rescan: set[Any] = set()
        self.news: set[Any] = set()
        """Of the nodes, those that stand for a changed file."""
        self.names = False
        """Some name came or went."""


class Pass:
    """What one run of the Taskmaster did. Its methods are called from SCons's threads."""

    def __init__(
        self,
        explain: bool,
        asked: set[Any],
        making: Callable[[Any], None],
        begun: Callable[[list[Any]], None],
        settled: Callable[[], bool],
        news: set[Any] | None = None,
    ) -> None:
        """``news``: changed files; steps tell which of them, and of what the pass has made, they are about."""
        self.explain = explain
        self._news = news
        self.asked = asked
        """Nodes that the user asked for: it is an error if they are not there and nothing makes them."""
        self.stopped = False
        self.unsettled = False
        """It was stopped before it began: the changes have not settled."""
        self.steps: list[Step] = []
        self._started = time.perf_counter()
        self.errors: list[HotReloadError] = []
        self.begun: set[Any] = set()
        self.finished: list[Any] = []
        self.left: dict[str, Sig | None] = {}
        """Targets as their commands left them."""
        self.moved: set[Any] = set()
        """Targets one of whose sources was another before their command than after it."""
        self._running: dict[Any, None] = {}
        """Targets that are being made, in the order in which that began."""
        self._done = 0
        self._failed: set[Any] = set()
        self._making = making
        self._note_begun = begun
        self._settled = settled

    def may_begin(self) -> bool:
        """Whether targets may be made now; may wait."""
        if not self.stopped and not self.begun and not self._settled():
            self.stopped = self.unsettled = True
        return not self.stopped

    def stop(self) -> None:
        self.stopped = True

    def prepare(self, targets: list[Any]) -> None:
        """SCons is about to take the old files away."""
        self._note_begun(targets)
        for target in targets:
            for node in [target, *(target.side_effects or ())]:
                if scons.is_file(node):
                    self._making(node)
                    self.begun.add(node)

    def begin(self, targets: list[Any]) -> float:
        self._running.update(dict.fromkeys(targets))
        return time.perf_counter()

    def end(self, targets: list[Any], began: float, why: str) -> None:
        ms = (time.perf_counter() - began) * 1e3
        at_ms = round((began - self._started) * 1e3, 3)
        for target in targets:
            if scons.is_file(target):
                path = target.get_abspath()
                self.left[path] = signature(path)
                self.finished.append(target)
        for target in targets:
            self._running.pop(target, None)
        if not why and self._news is not None:
            changed = scons.among_sources(targets, self._news, self.begun)
            why = "\n".join(f"{name} changed" for name in changed)
        self.steps.append(Step(str(targets[0]), _kind(targets[0]), round(ms, 3), why, at_ms))
        if any(scons.is_file(child) and scons.has_moved(child) for child in scons.sources_looked_at(targets)):
            self.moved.update(targets)

    def failed(self, targets: list[Any], error: HotReloadError) -> None:
        self._failed.update(targets)
        if not self.stopped:
            self.errors.append(error)

    def passed(self, targets: list[Any]) -> None:
        """These are as they ought to be, made or found so."""
        self._done += sum(1 for target in targets if scons.is_made(target))

    def tell(self, progress: Callable[[int, int, str], None], total: int) -> None:
        for target in list(self._running)[:1]:
            name = target.sources[0] if _kind(target) == "compile" and target.sources else target
            progress(min(self._done, total), total, str(name))

    def torn(self) -> set[Any]:
        """Targets whose command failed or was ended halfway. What it left is taken away: a file that is neither old nor
        new would be taken for current when its sources are put back."""
        for node in self._running if self.stopped else ():
            if scons.is_file(node) and not scons.is_precious(node):
                with contextlib.suppress(OSError):
                    os.unlink(node.get_abspath())
        return {node for node in self._failed & self.begun | self._running.keys() if scons.is_file(node)}


class _Guard:
    """Ends a pass and its commands when its inputs change or a signal comes, and calls ``progress`` from when it takes
    long; a thread for the time of the pass. A second signal leaves the commands no time to end by themselves."""

    def __init__(
        self,
        runner: scons.Runner,
        pass_: Pass,
        cut: Callable[[], bool],
        status: scons.Status,
        progress: Callable[[], None] | None,
    ) -> None:
        self.was_cut = False
        self._runner = runner
        self._pass = pass_
        self._cut = cut
        self._status = status
        self._progress = progress
        self._over = threading.Event()
        self._acting = threading.Lock()
        """Held while it looks or acts: the pass is not over before that has come to its end."""

    def __enter__(self) -> _Guard:
        _thread.start_new_thread(self._watch, ())  # threading's own start() waits until the thread runs
        return self

    def __exit__(self, *_: object) -> None:
        with self._acting:
            self._over.set()

    def _watch(self) -> None:
        due = time.monotonic() + PROGRESS_AFTER
        while not self._over.wait(0.004):
            with self._acting:
                if not self._over.is_set():
                    self._look()
                    if self._progress and time.monotonic() >= due:
                        self._progress()
                        due = time.monotonic() + PROGRESS_EVERY

    def _look(self) -> None:
        if not self._pass.stopped:
            self.was_cut = not self._runner.interrupted and self._cut()
            if not self.was_cut and not self._runner.interrupted:
                return
            self._pass.stop()
            self._runner.stop()
        # Again: a thread may have been about to start one.
        commands.end_all(lambda: self._status.signals > 1)


class _Reaper:
    """Ends the commands of SCons's own build when a signal comes: it would wait for them, however long. A thread."""

    def __init__(self, status: scons.Status) -> None:
        self._status = status
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            if self._status.signals:
                commands.end_all(lambda: self._status.signals > 1)


def forget_abandoned(fs: Any, write: bool) -> int:
    """What a session that was killed was building is not current, whatever .sconsign says: how many targets that were.

    To be called before anything is built. ``write``: for good, not for this process alone.
    """
    top = str(fs.Top.get_abspath())
    with abandoned(top, keep=not write) as targets:
        for target in targets:
            with contextlib.suppress(TypeError):  # a directory of that name now
                scons.forget_signature(fs.File(target))
        if targets and write:
            scons.write_signatures()
    return len(targets)


def _kind(node: Any) -> StepKind:
    name = scons.builder_name(node)
    return "compile" if name in _COMPILERS else "link" if name in _LINKERS else "other"


def _upwards(path: str) -> Iterator[str]:
    while path != "/":
        yield path
        path = os.path.dirname(path)


def _files_below(directory: str) -> Iterator[str]:
    for place, _, names in os.walk(directory):
        for name in names:
            yield os.path.join(place, name)


@contextlib.contextmanager
def _captured() -> Iterator[Callable[[], str]]:
    """Standard output and error of us and our commands, into memory that can be read afterwards."""
    with open(os.memfd_create("hotreload"), "r+b") as file:
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
