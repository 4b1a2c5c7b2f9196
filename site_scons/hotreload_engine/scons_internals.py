"""Every SCons internal that ``graph`` uses, named once, for SCons 4.4 to 4.11.

``require`` checks that they are there. What is read here was read in SCons's sources of 4.4.0 and 4.11.1.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import SCons.Action
import SCons.Errors
import SCons.Node
import SCons.Node.FS
import SCons.SConsign
import SCons.Script.Main
import SCons.Taskmaster
import SCons.Util

try:
    import SCons.Taskmaster.Job as _job  # from 4.5 on
except ImportError:
    import SCons.Job as _job  # 4.4

from .model import HotReloadError

if TYPE_CHECKING:
    from .graph import _Pass

_NEEDED = (
    (SCons.Node, "interactive do_store_info"),
    (SCons.Node.Node, "clear children scan explain add_to_implicit get_executor"),
    (SCons.Node.FS, "find_file get_default_fs"),
    (SCons.Node.FS.Dir, "srcdir_find_file entry_exists_on_disk sconsign"),
    (SCons.Node.FS.File, "rfile srcnode changed_content changed_timestamp_then_content get_timestamp"),
    (SCons.Script.Main, "BuildTask exit_status this_build_status _build_targets"),
    (SCons.SConsign, "write sig_files"),
    (SCons.SConsign.Base, "merge"),
    (SCons.Taskmaster, "Taskmaster OutOfDateTask"),
    (_job, "Jobs"),
    (SCons.Action, "print_actions"),
)


def require() -> None:
    """HotReloadError that names what this SCons lacks."""
    missing = [
        f"{getattr(owner, '__name__', owner)}.{name}"
        for owner, names in _NEEDED
        for name in names.split()
        if not hasattr(owner, name)
    ]
    if missing:
        raise HotReloadError(
            f"this version of SCons lacks what watch builds on: {', '.join(missing)}",
            f"SCons {SCons.__version__}",
            "use SCons 4.4 to 4.11, or run scons and scons reload by hand",
        )


# --- the Taskmaster ---------------------------------------------------------------------------------------------


def run(tops: list[Any], options: Any, pass_: _Pass) -> bool:
    """Run SCons's Taskmaster over these nodes. True when a signal interrupted it."""

    class Task(SCons.Script.Main.BuildTask):  # type: ignore[misc]
        progress = SCons.Util.Null()  # callable, as 4.4 wants it; the project's own Progress is for whole builds
        why = ""

        def display(self, message: str) -> None:
            pass

        def make_ready(self) -> None:
            super().make_ready()
            if pass_.explain and self.out_of_date:
                self.why = (self.out_of_date[0].explain() or "").strip()

        def needs_execute(self) -> bool:
            return bool(SCons.Taskmaster.OutOfDateTask.needs_execute(self))

        def execute(self) -> None:
            if pass_.stopped:
                raise SCons.Errors.BuildError(self.targets[0], "the inputs changed")
            pass_.begin(self.targets)
            started = time.perf_counter()
            SCons.Taskmaster.OutOfDateTask.execute(self)
            if has_action(self.targets[0]):
                pass_.end(self.targets, (time.perf_counter() - started) * 1e3, self.why)

        def executed(self) -> None:
            target = self.targets[0]
            missing = self.top and not target.has_builder() and not target.side_effect and not target.exists()
            if missing and isinstance(target, SCons.Node.FS.Base):
                try:
                    raise SCons.Errors.BuildError(target, f"do not know how to make {target}")
                except SCons.Errors.BuildError:
                    self.exception_set()
                self.failed()
            else:
                SCons.Taskmaster.OutOfDateTask.executed(self)

        def failed(self) -> None:
            error = SCons.Errors.convert_to_BuildError(self.exc_info()[1] or sys.exc_info()[1])
            target = error.node or self.node
            where = ", ".join(map(str, target if isinstance(target, list) else [target]))
            what = str(error.errstr)
            pass_.failed(self.targets, HotReloadError(what, where, "", ""))
            self.do_failed(error.exitstatus)
            self.exc_clear()

    task_master = SCons.Taskmaster.Taskmaster(tops, Task, lambda dependencies: dependencies, None)
    jobs = _job.Jobs(options.num_jobs, task_master)
    before = SCons.Action.print_actions
    SCons.Action.print_actions = 0
    try:
        jobs.run(postfunc=lambda: None)
    finally:
        SCons.Action.print_actions = before
    return bool(jobs.were_interrupted())


class _Status:
    code = 0
    interrupted = False


@contextlib.contextmanager
def exit_status() -> Iterator[_Status]:
    """The exit status that a build sets in SCons's own place, taken out of it again."""
    main, status = SCons.Script.Main, _Status()
    before = main.exit_status
    main.exit_status = main.this_build_status = 0
    try:
        yield status
    finally:
        status.code = main.exit_status or main.this_build_status
        main.exit_status, main.this_build_status = before, 0
        del SCons.Script.Main._BuildFailures[:]


# --- signatures -------------------------------------------------------------------------------------------------


def merge_signatures() -> None:
    """What was built goes into the entries before its nodes are cleared, or it is lost."""
    for file in SCons.SConsign.sig_files:
        if file.to_be_merged:
            file.merge()


def write_signatures() -> None:
    try:
        SCons.SConsign.write()
    except OSError as error:
        raise HotReloadError(
            f"cannot write .sconsign: {error.strerror}", "", "make room or permission: scons would build again"
        ) from error


# --- forgetting -------------------------------------------------------------------------------------------------


def clear(node: Any, rescan: bool) -> None:
    """Forget what a node remembers of its last evaluation."""
    node.clear()
    node.set_state(SCons.Node.no_state)
    node.ref_count = 0
    node.waiting_parents = set()
    node.waiting_s_e = set()
    if rescan:
        node.implicit = None
        node.implicit_set = set()
    if isinstance(node, SCons.Node.FS.File):
        node.linked = False
        source = node.srcnode()
        if source is not node:
            source.clear()
    if isinstance(node, SCons.Node.FS.Dir):
        node.implicit = None
        node.searched = False
        _forget_listing(node)


def forget_directory(fs: Any, path: str) -> None:
    """A name in this directory came, went or changed."""
    node = _known(fs, path)
    if node is not None:
        _forget_listing(node)
        for variant in getattr(node, "variant_dirs", ()):
            _forget_listing(variant)


def _known(fs: Any, path: str) -> Any:
    """The directory's node if SCons has one."""
    node = fs.get_root("")
    for part in path.strip("/").split("/") if path != "/" else ():
        node = getattr(node, "entries", {}).get(part)
        if node is None:
            return None
    return node if isinstance(node, SCons.Node.FS.Dir) else None


def _forget_listing(directory: Any) -> None:
    directory.clear_memoized_values()
    with contextlib.suppress(AttributeError):
        del directory.on_disk_entries


def forget_lookups() -> None:
    """Where #include's and libraries were found."""
    SCons.Node.FS.find_file.__self__._memo = {}


# --- what a node is ---------------------------------------------------------------------------------------------


def dependencies(node: Any) -> Iterable[Any]:
    """Everything that is built or looked at before the node: sources, Depends, implicit ones, Requires."""
    yield from node.children(scan=0)
    yield from node.prerequisites or ()
    if isinstance(node, SCons.Node.FS.Base):
        source = node.srcnode()
        if source is not node and not isinstance(node, SCons.Node.FS.Dir):
            yield source


def made_together(node: Any) -> Iterable[Any]:
    """Targets of the same action, and side effects."""
    executor = getattr(node, "executor", None)
    if executor is not None and len(executor.batches) == 1:
        yield from (target for target in executor.get_all_targets() if target is not node)
    yield from node.side_effects or ()


def is_directory(node: Any) -> bool:
    return isinstance(node, SCons.Node.FS.Dir)


def has_builder(node: Any) -> bool:
    return bool(node.has_builder())


def is_made(node: Any) -> bool:
    """Whether scons writes the file: a target, a side effect, a copy in a variant directory."""
    if not isinstance(node, (SCons.Node.FS.File, SCons.Node.FS.Entry)):
        return False
    return bool(node.has_builder() or node.side_effect or (node.duplicate and node.srcnode() is not node))


def builder_name(node: Any) -> str:
    if not node.has_builder():
        return ""
    try:
        return str(node.builder.get_name(node.get_build_env()))
    except AttributeError:
        return ""


def is_object(node: Any) -> bool:
    return builder_name(node) in ("StaticObject", "SharedObject", "Object")


def has_action(node: Any) -> bool:
    executor = node.get_executor()
    return bool(executor and executor.get_action_list())


def paths(node: Any) -> Collection[str]:
    """Files in the file system that the node stands for: its own and, in a variant directory, its source."""
    if not isinstance(node, SCons.Node.FS.Base):
        return ()
    own = node.get_abspath()
    source = node.srcnode()
    if source is node or isinstance(node, SCons.Node.FS.Dir) or node.has_builder():
        return (own,)
    return (own, source.get_abspath())


def included_names(node: Any) -> Collection[str]:
    """Names in the #include lines that a scan of the file found."""
    includes = getattr(node, "includes", None)
    if not isinstance(includes, (list, tuple)):
        return ()
    return [str(each[-1] if isinstance(each, tuple) else each) for each in includes]


def search_path(node: Any) -> Collection[str]:
    """Directories where headers of this target are looked for."""
    if not is_object(node):
        return ()
    environment = node.get_build_env()
    found = environment.get("CPPPATH", ())
    key = (id(environment), str(found))
    if key not in _search_paths:
        _search_paths[key] = frozenset(
            rdir.get_abspath()
            for directory in environment.subst_path(found, target=node)
            for rdir in [environment.Dir(str(directory)), environment.Dir(str(directory)).srcnode()]
        )
    return _search_paths[key]


_search_paths: dict[Any, frozenset[str]] = {}


def flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
