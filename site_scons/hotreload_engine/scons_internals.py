"""Every SCons internal that ``graph`` and its helpers use, named once, for SCons 4.4 to 4.11.

``missing`` checks that they are there. What is said here of SCons was read in its sources of 4.4.0 and 4.11.1. One
process has one SCons, so what is replaced in it is replaced once, by ``Hooks``.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import SCons.Action
import SCons.Defaults
import SCons.Environment
import SCons.Errors
import SCons.Executor
import SCons.Node
import SCons.Node.Alias
import SCons.Node.FS
import SCons.Platform.posix
import SCons.SConsign
import SCons.Script
import SCons.Script.Main
import SCons.Taskmaster
import SCons.Util

try:
    import SCons.Taskmaster.Job as _job  # from 4.5 on
except ImportError:
    import SCons.Job as _job  # 4.4

from .files import Sig, signature, signed
from .ledger import alone, would_wait
from .model import HotReloadError

_NEEDED: tuple[tuple[Any, str], ...] = (
    (SCons.Node, "interactive no_state pending up_to_date executed failed"),
    (SCons.Node.Node, "clear clear_memoized_values children all_children scan explain add_to_implicit get_executor"),
    (SCons.Node.Node, "new_ninfo get_ninfo get_binfo get_stored_info alter_targets"),
    (SCons.Node.FS, "find_file File Dir Entry Base get_MkdirBuilder"),
    (SCons.Node.FS.RootDir, "_lookup_abs"),
    (SCons.Node.FS.Dir, "srcdir_find_file entry_exists_on_disk sconsign get_all_rdirs"),
    (
        SCons.Node.FS.File,
        "rfile srcnode get_found_includes changed_timestamp_then_content changed_timestamp_newer"
        " changed_timestamp_match get_timestamp get_stored_info do_duplicate",
    ),
    (SCons.Environment, "AliasBuilder"),
    (SCons.Executor.Executor, "get_all_targets get_action_list cleanup nullify get_contents scan"),
    (SCons.Script.Main, "BuildTask exit_status this_build_status _build_targets _BuildFailures"),
    (SCons.SConsign, "write sig_files DB_sync_list"),
    (SCons.SConsign.Base, "merge"),
    (SCons.Taskmaster, "Taskmaster OutOfDateTask"),
    (SCons.Taskmaster.Taskmaster, "stop"),
    (_job, "Jobs"),
    (_job.Jobs, "run were_interrupted _setup_sig_handler"),
    (SCons.Action, "print_actions LazyAction"),
    (SCons.Action.CommandAction, "process _get_implicit_deps_lightweight"),
    (SCons.Platform.posix, "exec_subprocess"),
)


def version() -> str:
    return str(SCons.__version__)


def missing(fs: Any) -> str:
    """Names of what this SCons lacks, "" when all is there."""
    names = [
        f"{f'{owner.__module__}.{owner.__qualname__}' if isinstance(owner, type) else owner.__name__}.{name}"
        for owner, names in _NEEDED
        for name in names.split()
        if not hasattr(owner, name)
    ]
    if not hasattr(getattr(SCons.Node.FS.find_file, "__self__", None), "_memo") and not hasattr(
        SCons.Node.FS.find_file, "hotreload"
    ):
        names.append("SCons.Node.FS.find_file.__self__._memo")
    if not hasattr(fs.get_root(""), "_lookupDict"):
        names.append("SCons.Node.FS.RootDir._lookupDict")
    return ", ".join(names)


def has_moved(node: Any) -> bool:
    """Whether a source file is another now than when SCons looked at it."""
    seen, now = _looks(node)
    return seen != now


def is_as_seen(node: Any) -> bool:
    """Whether SCons has looked at the source file, and it is the same now."""
    seen, now = _looks(node)
    return seen is not None and seen == now


def _looks(node: Any) -> tuple[Sig | None, Sig | None]:
    """What SCons saw of the file, and what is there now; twice None where it has not looked."""
    try:
        file = node._memo.get("rfile", node)
        seen = file._memo["stat"]
    except (AttributeError, KeyError):
        return None, None
    return None if seen is None else signed(seen), signature(file.get_abspath())


def launch_directory() -> str:
    """Where scons was started, before -C and before an SConstruct above was looked for."""
    return str(SCons.Script._SConscript.launch_dir)


def made_files(fs: Any) -> list[str]:
    """Files that SCons makes, of the nodes that it knows now; also where something of ``_NEEDED`` is missing."""
    try:
        return [str(node.get_abspath()) for node in fs.get_root("")._lookupDict.values() if is_made(node)]
    except AttributeError:
        return []


# --- what is replaced in SCons --------------------------------------------------------------------------------------


class Hooks:
    """Watches SCons's look-ups of names, and decides by more than whole seconds where a session needs it.

    Installed once a process; called from SCons's threads, one at a time under its own lock.
    """

    def __init__(self) -> None:
        self.seekers: dict[str, set[Any]] = {}
        """Name in an include line (each part of its path) → files whose scan looked for it."""
        self.searched: set[Any] = set()
        """Directory nodes in which names were looked for."""
        self.searched_paths: set[str] = set()
        self.touched: set[Any] = set()
        """Nodes that are known to have changed, whatever their time in whole seconds says."""
        self.making: Callable[[Any], None] = lambda node: None
        """Called before a source is copied into a variant directory."""
        self.is_new_to: Callable[[Any, Any], bool] = lambda target, node: False
        """Whether the target did not depend on the node before: SCons compares the times of two lists, not their names,
        so that an older header in the place of another passes for no change."""
        self._scanning = threading.local()
        self._paths_seen: set[Any] = set()
        self._finder = SCons.Node.FS.find_file.__self__
        self._install()

    def _install(self) -> None:
        hooks = self
        file = SCons.Node.FS.File
        find, includes = SCons.Node.FS.find_file, file.get_found_includes
        scanning = self._scanning

        def find_file(filename: Any, paths: Any, verbose: Any = False) -> Any:
            hooks._note(filename, paths)
            return find(filename, paths, verbose)

        def get_found_includes(node: Any, env: Any, scanner: Any, path: Any) -> Any:
            before = getattr(scanning, "node", None)
            scanning.node = node
            try:
                return includes(node, env, scanner, path)
            finally:
                scanning.node = before

        then_content, newer, match = (
            file.changed_timestamp_then_content,
            file.changed_timestamp_newer,
            file.changed_timestamp_match,
        )

        def changed_timestamp_then_content(node: Any, target: Any, prev_ni: Any, repo_node: Any = None) -> Any:
            if not hooks._is_new(node):
                return then_content(node, target, prev_ni, repo_node)
            memo = node._memo.get("get_timestamp")
            node._memo["get_timestamp"] = -1  # no file has it: the content decides
            try:
                return then_content(node, target, prev_ni, repo_node)
            finally:
                if memo is None:
                    node._memo.pop("get_timestamp", None)
                else:
                    node._memo["get_timestamp"] = memo

        def changed_timestamp_newer(node: Any, target: Any, prev_ni: Any, repo_node: Any = None) -> Any:
            return newer(node, target, prev_ni, repo_node) or hooks._is_new(node) or hooks.is_new_to(target, node)

        def changed_timestamp_match(node: Any, target: Any, prev_ni: Any, repo_node: Any = None) -> Any:
            return match(node, target, prev_ni, repo_node) or hooks._is_new(node) or hooks.is_new_to(target, node)

        duplicate = file.do_duplicate

        def do_duplicate(node: Any, source: Any) -> None:
            hooks.making(node)
            duplicate(node, source)

        def entry_exists_on_disk(directory: Any, name: str) -> bool:
            # SCons lists a directory once; a name that nobody had looked for may have come since, unheard.
            return os.path.lexists(os.path.join(directory.get_abspath(), name))

        SCons.Node.FS.Dir.entry_exists_on_disk = entry_exists_on_disk
        find_file.hotreload = True  # type: ignore[attr-defined]
        file.do_duplicate = do_duplicate
        SCons.Node.FS.find_file = find_file
        file.get_found_includes = get_found_includes
        file.changed_timestamp_then_content = changed_timestamp_then_content
        file.changed_timestamp_newer = changed_timestamp_newer
        file.changed_timestamp_match = changed_timestamp_match

    def _is_new(self, node: Any) -> bool:
        return node in self.touched or node.state == SCons.Node.executed

    def _note(self, filename: Any, paths: Any) -> None:
        node = getattr(self._scanning, "node", None)
        if node is None:
            return
        head = ""
        for name in str(filename).split("/"):
            if name and name not in (".", ".."):
                self.seekers.setdefault(name, set()).add(node)
        if "/" in str(filename):
            head = os.path.dirname(str(filename))
        key = (head, paths) if isinstance(paths, tuple) else None
        if key is None or key not in self._paths_seen:
            if key is not None:
                self._paths_seen.add(key)
            for directory in paths:
                self.searched.add(directory)
                place = directory.get_abspath()
                for each in (place, *(rdir.get_abspath() for rdir in directory.get_all_rdirs())):
                    self.searched_paths.add(each)
                    if head:
                        self.searched_paths.add(os.path.normpath(os.path.join(each, head)))

    def scripts_looked_for(self) -> frozenset[str]:
        """Paths that a look-up so far would have found: FindFile in SConscripts."""
        found = self._finder._memo.get("find_file", {})
        return frozenset(
            os.path.normpath(os.path.join(directory.get_abspath(), name))
            for name, paths in found
            if not callable(paths)
            for directory in paths
        )

    def forget_lookups(self) -> None:
        """Where names were found: some name came or went."""
        self._finder._memo = {}
        for directory in self.searched:
            directory._memo.pop("srcdir_find_file", None)


_hooks: list[Hooks] = []


def hooks() -> Hooks:
    """The process's one set."""
    if not _hooks:
        _hooks.append(Hooks())
    return _hooks[0]


# --- the first build ------------------------------------------------------------------------------------------------


class Status:
    code = 0
    interrupted = False
    signals = 0
    """How many have come that end a build."""

    def counting(self, handler: Any) -> Callable[[int, Any], None]:
        def handle(number: int, frame: Any) -> None:
            self.signals += 1
            handler(number, frame)

        return handle


@contextlib.contextmanager
def exit_status() -> Iterator[Status]:
    """The exit status that a build sets in SCons's own place, taken out of it again; signals meanwhile are counted."""
    main, status = SCons.Script.Main, Status()
    before = main.exit_status
    main.exit_status = main.this_build_status = 0
    run, jobs = _job.Jobs.run, []

    def noted_run(self: Any, *arguments: Any, **keywords: Any) -> Any:
        jobs.append(self)
        set_up = self._setup_sig_handler

        def noted() -> None:
            set_up()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, status.counting(signal.getsignal(number)))

        self._setup_sig_handler = noted
        return run(self, *arguments, **keywords)

    _job.Jobs.run = noted_run
    try:
        yield status
    finally:
        _job.Jobs.run = run
        status.code = main.exit_status or main.this_build_status
        status.interrupted = any(job.were_interrupted() for job in jobs)
        main.exit_status, main.this_build_status = before, 0
        del SCons.Script.Main._BuildFailures[:]


@contextlib.contextmanager
def noting_builds(note: Callable[[list[Any]], None]) -> Iterator[None]:
    """What SCons's own build is about to build is noted, from SCons's threads."""
    task = SCons.Script.Main.BuildTask
    prepare = task.prepare

    def noted(self: Any) -> None:
        if self.targets[0].get_state() == SCons.Node.executing:
            note(self.targets)
        prepare(self)

    task.prepare = noted
    try:
        yield
    finally:
        task.prepare = prepare


def keep_executors() -> None:
    SCons.Node.interactive = True  # or executors are dropped once a target is built


def run_commands_with(run: Callable[[list[str], Any], int]) -> None:
    """Where SCons's own $SPAWN hands over ``["sh", "-c", text]`` and the environment."""
    SCons.Platform.posix.exec_subprocess = run


# --- a pass ---------------------------------------------------------------------------------------------------------


class Pass(Protocol):
    """What a run tells of itself, from SCons's threads."""

    explain: bool
    stopped: bool
    asked: set[Any]

    def may_begin(self) -> bool: ...
    def prepare(self, targets: list[Any]) -> None: ...
    def begin(self, targets: list[Any]) -> float: ...
    def end(self, targets: list[Any], began: float, why: str) -> None: ...
    def failed(self, targets: list[Any], error: HotReloadError) -> None: ...
    def passed(self, targets: list[Any]) -> None: ...


class Runner:
    """One run of SCons's Taskmaster over some nodes; ``stop`` may be called from another thread."""

    def __init__(self, tops: list[Any], options: Any, pass_: Pass) -> None:
        self._task_master = SCons.Taskmaster.Taskmaster(tops, _task_class(options, pass_), _as_they_are, None)
        self._jobs = _job.Jobs(options.num_jobs, self._task_master)
        self._signal = 0

    def run(self) -> int:
        """The number of the signal that interrupted it, or 0."""
        set_up = self._jobs._setup_sig_handler

        def noted() -> None:
            set_up()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, self._noting(signal.getsignal(number)))

        self._jobs._setup_sig_handler = noted
        before = SCons.Action.print_actions
        SCons.Action.print_actions = 0
        try:
            self._jobs.run(postfunc=lambda: None)
        finally:
            SCons.Action.print_actions = before
        return self._signal or (signal.SIGINT if self._jobs.were_interrupted() else 0)

    def _noting(self, handler: Any) -> Callable[[int, Any], None]:
        def handle(number: int, frame: Any) -> None:
            self._signal = number
            handler(number, frame)

        return handle

    @property
    def interrupted(self) -> bool:
        return bool(self._signal)

    def stop(self) -> None:
        self._task_master.stop()


def _as_they_are(dependencies: Any) -> Any:
    return dependencies


def _task_class(options: Any, pass_: Pass) -> type:
    class Task(SCons.Script.Main.BuildTask):  # type: ignore[misc]
        progress = SCons.Util.Null()  # 4.4 calls it unasked
        why = ""

        def display(self, message: str) -> None:
            pass

        def make_ready(self) -> None:
            SCons.Taskmaster.OutOfDateTask.make_ready(self)
            if pass_.explain and self.out_of_date:
                self.why = explain(self.out_of_date[0])

        def prepare(self) -> None:
            if self.targets[0].get_state() == SCons.Node.executing:
                if not pass_.may_begin():
                    raise SCons.Errors.BuildError(self.targets[0], "the inputs changed")
                pass_.prepare(self.targets)
            SCons.Taskmaster.OutOfDateTask.prepare(self)

        def needs_execute(self) -> bool:
            return bool(SCons.Taskmaster.OutOfDateTask.needs_execute(self))

        def execute(self) -> None:
            target = self.targets[0]
            if pass_.stopped:
                raise SCons.Errors.BuildError(target, "the inputs changed")
            began = pass_.begin(self.targets)
            SCons.Taskmaster.OutOfDateTask.execute(self)
            if has_action(target):
                pass_.end(self.targets, began, self.why)

        def executed(self) -> None:
            target = self.targets[0]
            pass_.passed(self.targets)
            if target in pass_.asked and not is_derived(target) and not target.exists():
                try:
                    raise SCons.Errors.BuildError(target, f"Do not know how to make target `{target}'")
                except SCons.Errors.BuildError:
                    self.exception_set()
                self.failed()
            else:
                SCons.Taskmaster.OutOfDateTask.executed(self)

        def failed(self) -> None:
            error = SCons.Errors.convert_to_BuildError(self.exc_info()[1] or sys.exc_info()[1])
            target = error.node or self.node
            where = ", ".join(map(str, target if isinstance(target, list) else [target]))
            pass_.failed(self.targets, HotReloadError(str(error.errstr), where, "", ""))
            self.exception = (type(error), error, None)
            self.do_failed(error.exitstatus)
            self.exc_clear()

    Task.options = options
    return Task


# --- signatures -----------------------------------------------------------------------------------------------------


def merge_signatures() -> None:
    """What was built goes into the entries before its nodes are cleared, or it is lost."""
    for file in SCons.SConsign.sig_files:
        if file.to_be_merged:
            file.merge()


def forget_signature(node: Any) -> None:
    """Neither this session nor a fresh scons is to believe that the target is current."""
    if not isinstance(node, SCons.Node.FS.File):
        return
    file = node.dir.sconsign()
    if file.entries.pop(node.name, None) is not None:
        file.dirty = True
    file.to_be_merged.pop(node.name, None)
    node._memo.pop("get_stored_info", None)


def write_signatures(is_ours: Callable[[str], bool] = lambda path: True) -> None:
    """``is_ours``: whether the file at a path is as this session left it. Where another scons wrote signatures
    meanwhile they stay unless the file is ours; SCons by itself would lose them.
    """
    try:
        with alone(map(_file_of, SCons.SConsign.DB_sync_list)):
            if others_wrote_signatures():
                _take_over_signatures(is_ours)
            SCons.SConsign.write()
            signatures_as_they_are()
    except OSError as error:
        for db in SCons.SConsign.DB_sync_list:
            with contextlib.suppress(AttributeError):
                db._needs_sync = False  # or it would try when the interpreter ends, with a traceback
        raise HotReloadError(
            f"cannot write .sconsign: {error.strerror}", "", "make room or permission: scons would build again"
        ) from error


def signatures_are_locked() -> bool:
    """Whether ``write_signatures`` would wait for another scons that is about it."""
    return would_wait(map(_file_of, SCons.SConsign.DB_sync_list))


_as_written: dict[int, Sig | None] = {}
"""Signature file (by the id of what SCons holds of it for the life of the process) → how we left it."""


@contextlib.contextmanager
def noting_signatures() -> Iterator[None]:
    """Wherever SCons itself writes them, another scons's doing is told from ours from then on."""
    write = SCons.SConsign.write

    def noted() -> None:
        with alone(map(_file_of, SCons.SConsign.DB_sync_list)):
            write()
            signatures_as_they_are()

    SCons.SConsign.write = noted
    try:
        yield
    finally:
        SCons.SConsign.write = write


def signatures_as_they_are() -> None:
    """From now on another scons's doing is told from ours."""
    _as_written.update((id(db), signature(_file_of(db))) for db in SCons.SConsign.DB_sync_list)


def others_wrote_signatures() -> bool:
    return any(
        id(db) in _as_written and _as_written[id(db)] != signature(_file_of(db)) for db in SCons.SConsign.DB_sync_list
    )


def _file_of(db: Any) -> str:
    """dblite's; other database modules are left to SCons."""
    return str(getattr(db, "_file_name", ""))


def _take_over_signatures(is_ours: Callable[[str], bool]) -> None:
    held = {os.path.normcase(file.dir.get_internal_path()): file for file in SCons.SConsign.sig_files}
    for db in SCons.SConsign.DB_sync_list:
        if not hasattr(db, "_dict") or _as_written.get(id(db)) == signature(_file_of(db)):
            continue
        try:
            with open(_file_of(db), "rb") as stream:
                theirs = pickle.load(stream)
        except (OSError, ValueError, EOFError, pickle.UnpicklingError):
            continue  # gone, or damaged: ours is written in its place
        for place, pickled in theirs.items():
            file = held.get(place)
            if file is None:
                db[place] = pickled
                continue
            for name, entry in pickle.loads(pickled).items():
                if not is_ours(os.path.join(file.dir.get_abspath(), name)):
                    entry.convert_from_sconsign(file.dir, name)
                    file.entries[name] = entry
            file.dirty = True


# --- the file system as SCons knows it ------------------------------------------------------------------------------


class Places:
    """From paths to the nodes that a change there concerns."""

    def __init__(self, fs: Any) -> None:
        self._nodes = fs.get_root("")._lookupDict
        self._variants: list[tuple[str, str]] = []
        """(source directory, variant directory)"""
        self._mirrors: list[tuple[str, str]] = []
        for node in list(self._nodes.values()):
            if isinstance(node, SCons.Node.FS.Dir):
                place = node.get_abspath()
                if node.srcdir:
                    self._variants.append((node.srcdir.get_abspath(), place))
                self._mirrors += [(repository.get_abspath(), place) for repository in node.repositories]
        self._mirrors += self._variants
        self._named = frozenset(self._nodes)
        """Paths that SConscripts named."""

    def all(self) -> list[Any]:
        return list(self._nodes.values())

    def mirrored(self, path: str) -> list[str]:
        """The path itself and those that stand for it in variant directories."""
        paths = [path]
        for each in paths:
            for source, variant in self._mirrors:
                if each.startswith(source + "/"):
                    mirror = variant + each[len(source) :]
                    if mirror not in paths and not variant.startswith(each):
                        paths.append(mirror)
        return paths

    def sources_of(self, path: str) -> list[str]:
        """Where the file of a node in a variant directory comes from; [] elsewhere."""
        best = max((pair for pair in self._variants if path.startswith(pair[1] + "/")), key=_length, default=None)
        return [best[0] + path[len(best[1]) :]] if best else []

    def at(self, path: str) -> list[Any]:
        return [node for each in self.mirrored(path) if (node := self._nodes.get(each)) is not None]

    def below(self, directory: str) -> list[str]:
        """Paths of the files that are known below it."""
        found, stack = [], [self._nodes.get(directory)]
        while stack:
            node = stack.pop()
            if isinstance(node, SCons.Node.FS.Dir):
                stack.extend(entry for name, entry in node.entries.items() if name not in (".", ".."))
            elif node is not None:
                found.append(node.get_abspath())
        return found

    def is_directory(self, path: str) -> bool:
        return isinstance(self._nodes.get(path), SCons.Node.FS.Dir)

    def name_changed(self, path: str) -> None:
        """A name came or went: forget what was found because of it."""
        for each in self.mirrored(os.path.dirname(path)):
            node = self._nodes.get(each)
            if isinstance(node, SCons.Node.FS.Dir):
                node.clear_memoized_values()
        for node in self.at(path):
            # A directory whose scan found the file keeps it in its entries; a fresh scons would not have it there.
            if os.path.lexists(path) or node.get_abspath() in self._named:
                continue
            if not is_derived(node) and not is_directory(node):
                node.dir.entries.pop(node.name, None)
                self._nodes.pop(node.get_abspath(), None)

    def drop_copies(self, path: str) -> None:
        """A source is gone: its copy in a variant directory would pass for a source once more, in a fresh scons too."""
        for node in self.at(path):
            if isinstance(node, SCons.Node.FS.File) and node.duplicate and not is_derived(node):
                node.clear_memoized_values()
                node.srcnode().clear_memoized_values()
                node.linked = False
                node.exists()  # SCons itself takes it away

    def make_directories_again(self, nodes: Iterable[Any]) -> None:
        """Directories of targets that SCons believes to exist but do not any more."""
        for directory in {node.dir for node in nodes if isinstance(node, SCons.Node.FS.File)}:
            while directory is not None and not os.path.isdir(directory.get_abspath()):
                clear(directory, rescan=False)
                with contextlib.suppress(AttributeError):
                    directory.executor._do_execute = directory.executor._execute_str = 1  # undoes nullify()
                directory = directory.up()


def _length(pair: tuple[str, str]) -> int:
    return len(pair[1])


# --- forgetting -----------------------------------------------------------------------------------------------------


def clear(node: Any, rescan: bool) -> None:
    """Forget what a node remembers of its last evaluation."""
    node.clear()
    node.state = SCons.Node.no_state
    node.ref_count = 0
    node.waiting_parents = set()
    node.waiting_s_e = set()
    node.linked = False
    if rescan:
        node.implicit = None
        node.implicit_set = set()
    if isinstance(node, SCons.Node.FS.Dir):
        node.searched = False


def clear_changed(node: Any) -> None:
    """A file that changed: its content counts, not what is stored for its time."""
    clear(node, rescan=False)
    if isinstance(node, SCons.Node.FS.File) and not node.has_builder():
        node.get_stored_info().ninfo = node.new_ninfo()


def forget_memory(node: Any) -> None:
    """What was memoised while SConscripts were read, of a node that no build has looked at."""
    if node.state == SCons.Node.no_state:
        node.clear_memoized_values()


def settle(node: Any) -> bool:
    """After a pass: whether the node is as a fresh scons would find it. Built counts as up to date from now on."""
    if node.state == SCons.Node.executed:
        node.state = SCons.Node.up_to_date
    return bool(node.state == SCons.Node.up_to_date)


# --- what a node is -------------------------------------------------------------------------------------------------


def dependencies(node: Any) -> list[Any]:
    """Everything whose change may concern the node: sources, Depends, implicit ones, also those that are ignored (what
    an ignored header includes is not). A directory's are looked for where a build that failed has not come to it."""
    if is_directory(node) and node.implicit is None:
        node.scan()
    return list(dict.fromkeys(node.all_children(scan=0)))


def sources_looked_at(targets: list[Any]) -> Iterator[Any]:
    """Files that no build makes, among what the targets were just built from."""
    for target in targets:
        for child in target.children(scan=0):
            if getattr(child, "builder", None) is None and not child.side_effect:
                yield child


def among_sources(targets: list[Any], *nodes: set[Any]) -> Iterator[str]:
    """The names of those that the targets were just built from."""
    for target in targets:
        for child in target.children(scan=0):
            if any(child in each for each in nodes):
                yield str(child)


def explain(node: Any) -> str:
    """Why the target is out of date, in SCons's words; with the signatures of what changed, which SCons keeps back.

    A signature is the content's hash, or the time where that is what is compared and the content is not known.
    """
    text = str(node.explain() or "").strip()
    old: Any = getattr(node.get_stored_info(), "binfo", None)
    new = node.get_binfo()
    try:
        before = dict(zip(old.bsources + old.bdepends + old.bimplicit, _infos(old), strict=False))
        after = dict(zip(new.bsources + new.bdepends + new.bimplicit, _infos(new), strict=False))
    except AttributeError:
        return text  # never built, or not in this way
    lines = []
    names = {kid: node.dir.Entry(kid) if hasattr(kid, "dir") else kid for kid in after if kid in before}
    changed = {f"`{name}' changed": kid for kid, name in names.items()}
    for line in text.splitlines():
        lines.append(line)
        for words, kid in changed.items():
            if line.endswith(words) and (told := _told(before[kid], after[kid])):
                lines += [f"{' ' * 15}{title}: {signed}" for title, signed in zip(("old", "new"), told, strict=True)]
    return "\n".join(lines)


def _infos(info: Any) -> list[Any]:
    return list(info.bsourcesigs + info.bdependsigs + info.bimplicitsigs)


def _told(before: Any, after: Any) -> tuple[str, str] | None:
    for name in ("csig", "timestamp"):
        old, new = getattr(before, name, None), getattr(after, name, None)
        if old and new and old != new:
            return str(old), str(new)
    return None


def prerequisites(node: Any) -> Iterable[Any]:
    """What is built before the node and concerns it no further."""
    return node.prerequisites or ()


def made_together(node: Any) -> Iterator[Any]:
    """Targets of the same action, and side effects."""
    executor = getattr(node, "executor", None)
    if executor is not None:
        yield from (target for target in executor.get_all_targets() if target is not node)
    yield from node.side_effects or ()


def altered(node: Any) -> list[Any]:
    """What scons builds when asked for this: a source directory stands for its variant directories."""
    return [node, *(node.alter_targets()[0] or ())]


def is_directory(node: Any) -> bool:
    return isinstance(node, SCons.Node.FS.Dir)


def is_file(node: Any) -> bool:
    return isinstance(node, (SCons.Node.FS.File, SCons.Node.FS.Entry))


def is_transparent(node: Any) -> bool:
    """Whether the node only stands for others: a directory that nothing builds, an alias without an action."""
    if isinstance(node, SCons.Node.FS.Dir):
        return bool(node.builder is SCons.Node.FS.get_MkdirBuilder())
    if isinstance(node, SCons.Node.Alias.Alias):
        if node.has_builder() and node.builder is not SCons.Environment.AliasBuilder:
            return False
        executor = getattr(node, "executor", None)
        return executor is None or not (getattr(executor, "pre_actions", ()) or getattr(executor, "post_actions", ()))
    return False


def is_derived(node: Any) -> bool:
    return bool(node.has_builder() or node.side_effect)


def is_object(node: Any) -> bool:
    return builder_name(node) in ("StaticObject", "SharedObject", "Object")


def is_absent(node: Any) -> bool:
    """Whether the target of a builder is not there, in a repository neither."""
    return (
        isinstance(node, SCons.Node.FS.File)
        and bool(node.has_builder())
        and not any(os.path.lexists(os.path.join(place.get_abspath(), node.name)) for place in node.dir.get_all_rdirs())
    )


def is_always_built(node: Any) -> bool:
    return bool(node.always_build and node.has_builder())


def is_precious(node: Any) -> bool:
    return bool(node.precious)


def is_made(node: Any) -> bool:
    """Whether scons writes the file: a target, a side effect, a copy in a variant directory."""
    return is_file(node) and bool(is_derived(node) or (node.duplicate and node.srcnode() is not node))


def builder_name(node: Any) -> str:
    if not node.has_builder():
        return ""
    try:
        return str(node.builder.get_name(node.get_build_env()))
    except AttributeError:
        return ""


def has_action(node: Any) -> bool:
    executor = node.get_executor()
    return bool(executor and executor.get_action_list())


def decides_by_content(node: Any) -> bool:
    """Whether the target is rebuilt for nothing but other content of its dependencies."""
    executor = getattr(node, "executor", None)
    environment = getattr(executor, "env", None) or node.env
    if environment is None:
        return True
    if (found := _by_content.get(id(environment))) is None:
        default = SCons.Defaults.DefaultEnvironment
        deciders = [
            getattr(default(), name) if given is getattr(SCons.Environment, "default_" + name, None) else given
            for name in ("decide_source", "decide_target")
            for given in (getattr(environment, name),)
        ]
        found = all(getattr(decider, "__func__", decider) in _CONTENT_DECIDERS for decider in deciders)
        _by_content[id(environment)] = found
    return found


_by_content: dict[int, bool] = {}
_CONTENT_DECIDERS = (
    SCons.Environment.Base._changed_content,
    SCons.Environment.Base._changed_timestamp_then_content,
)


def has_own_decider(node: Any) -> bool:
    return bool(node.changed_since_last_build > 6)


def content(node: Any) -> str:
    """The signature of the file's content as SCons last computed it; "" when it never did."""
    return str(getattr(node.ninfo, "csig", "") or "")


def content_now(path: str) -> str:
    """The signature that SCons computes for this content."""
    try:
        if os.stat(path).st_size < SCons.Node.FS.File.hash_chunksize:
            with open(path, "rb") as file:
                return str(SCons.Node.FS.hash_signature(file.read()))
        return str(SCons.Node.FS.hash_file_signature(path, chunksize=SCons.Node.FS.File.hash_chunksize))
    except OSError:
        return ""


def flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
