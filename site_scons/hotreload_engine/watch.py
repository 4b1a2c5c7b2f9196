"""File events → settled ChangeSets. Knows no targets: it is given directories and a predicate.

Events come from watchdog, one non-recursive inotify watch a directory. Whatever editors do, the last content event on
the real name is CLOSE_WRITE or MOVED_TO, and the file is complete at that moment; a name may be absent or empty for
some milliseconds before. So only those two count (and the appearance of a symbolic or hard link, which is complete at
once); a name that vanished counts when it stays away.

``Watcher`` does the waiting; when a set is settled is decided by ``due``, a pure function.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .model import ChangeSet, HotReloadError

# --- when a set of events is settled: pure --------------------------------------------------------------------

QUIET_ONE = 0.002
"""Seconds without an event before a single changed name is delivered."""
QUIET_MANY = 0.015
"""The same when several names change: an editor's "save all", a checkout, a generator."""
LONGEST = 0.250
"""A stream of changes to several names is delivered after this time though it does not pause."""
GONE = 0.060
"""A vanished name is delivered when it has stayed away that long; editors take it away for 1 to 5 ms."""
GIT_LONGEST = 10.0
"""While .git/index.lock exists nothing is delivered, but no longer than this."""
POLL = 0.2
"""Seconds between two looks at files whose file system makes no events."""
POLL_QUIET = 0.05
"""A polled file counts as complete when two looks that far apart find it the same."""

_EVER = float("inf")


@dataclass(frozen=True)
class Sighting:
    """What is known of one name since the last delivery."""

    first_at: float
    last_at: float
    kind: Literal["content", "gone"]


def due(sightings: Mapping[str, Sighting], git_locked: bool, quiet: float = 0.0) -> float:
    """When (monotonic seconds) these sightings may be delivered; infinity while nothing is to be delivered.

    ``git_locked``: .git/index.lock exists now. ``quiet``: the least time of silence, for polling.
    """
    if not sightings:
        return _EVER
    first = min(sighting.first_at for sighting in sightings.values())
    if git_locked:
        return first + GIT_LONGEST
    content = [sighting for sighting in sightings.values() if sighting.kind == "content"]
    gone = [sighting.last_at + GONE for sighting in sightings.values() if sighting.kind == "gone"]
    when = max(gone, default=-_EVER)
    if content:
        last = max(sighting.last_at for sighting in content)
        silence = last + max(QUIET_ONE if len(content) == 1 else QUIET_MANY, quiet)
        # A rename is a name that comes and a name that goes: delivered together, or the first would not compile.
        when = max(when, silence if len(content) == 1 else min(silence, first + max(LONGEST, quiet)))
    return when


# --- the watcher ----------------------------------------------------------------------------------------------

_SILENT = ("9p", "nfs", "nfs4", "cifs", "smb3", "smbfs", "drvfs", "vboxsf", "prl_fs", "virtiofs", "fakeowner", "fuse")
"""File systems on which others' writes make no inotify events (WSL 2, Docker Desktop, network mounts)."""


class Watcher:
    """Owned by one thread, which calls everything but ``pending`` and ``wake``. ``relevant`` is called from others."""

    def __init__(self, relevant: Callable[[str], bool], poll: bool = False) -> None:
        self._relevant = relevant
        self._poll_all = poll
        self._changed = threading.Condition()
        self._sightings: dict[str, Sighting] = {}
        self._everything = False
        self._woken = False
        self._shaken: set[str] = set()
        """Directories that came, went or moved: watches at and below them are to be made again."""

        self._wanted: frozenset[str] = frozenset()
        self._trunk: frozenset[str] = frozenset()
        """Every directory above a wanted one, and itself, as real paths."""
        self._names: dict[str, tuple[str, ...]] = {}
        """Real directory → the directories as they were given."""
        self._links: dict[str, set[str]] = {}
        """Real path of a file → names given for it that are symbolic links."""
        self._watches: dict[str, Any] = {}
        """Real directory → watchdog's watch."""
        self._missing: frozenset[str] = frozenset()
        """Wanted real directories that do not exist."""
        self._inputs: frozenset[str] = frozenset()
        self._looks: dict[str, tuple[int, ...] | None] = {}
        """What polling saw last of each file and directory listing."""
        self._polled: frozenset[str] = frozenset()
        """Given directories that make no events."""
        self._git_locks: frozenset[str] = frozenset()
        self._events = _Events(self._see, self._see_directory, self._lose)

    # --- what to watch -----------------------------------------------------------------------------------------

    def watch(self, directories: Iterable[str], since: float | None = None) -> list[HotReloadError]:
        """Watch exactly these directories. Returns what cannot be watched; that is looked at regularly instead.

        ``since`` (Unix seconds): relevant files of directories new to the set that changed after it count as changed.
        """
        wanted = frozenset(directories)
        fresh = wanted - self._wanted
        if wanted == self._wanted:
            return []
        self._wanted = wanted
        self._git_locks = _git_locks(wanted, self._git_locks if not fresh else frozenset())
        problems = self._synchronise()
        if since is not None:
            for directory in fresh:
                for name in _listing(directory):
                    path = os.path.join(directory, name)
                    if self._relevant(path) and _changed_after(path, since):
                        self._note(path)
        return problems

    def inputs(self, files: Iterable[str]) -> None:
        """The known input files: what to look at where events cannot be had, and which of them are symbolic links."""
        now = files if isinstance(files, frozenset) else frozenset(files)
        if now is self._inputs:
            return
        new, self._inputs = now - self._inputs, now
        linked = False
        for path in new:
            if os.path.islink(path):
                target = os.path.realpath(path)
                self._links.setdefault(target, set()).add(path)
                linked = True
        if linked:
            self._synchronise()
        for path in new:
            if os.path.dirname(path) in self._polled:
                self._looks[path] = _look(path)

    def close(self) -> None:
        self._events.close()

    # --- what changed ------------------------------------------------------------------------------------------

    def next(self, timeout: float | None) -> ChangeSet | None:
        """Wait for a settled set; None after ``timeout`` seconds (None: no limit) or after ``wake``."""
        end = _EVER if timeout is None else time.monotonic() + timeout
        next_look = time.monotonic() + POLL
        while True:
            if self._shaken:
                self._synchronise()
            with self._changed:
                now = time.monotonic()
                if self._everything:
                    self._everything = False
                    self._sightings.clear()
                    return ChangeSet(frozenset(), now, now, True, "file events were lost: every input is looked at")
                locked = bool(self._sightings) and any(os.path.exists(lock) for lock in self._git_locks)
                when = due(self._sightings, locked, POLL_QUIET if self._polled else 0.0)
                if when <= now:
                    return self._deliver(locked)
                if self._woken or now >= end:
                    self._woken = False
                    return None
                pause = min(when, end) - now
                if locked:
                    pause = min(pause, 0.01)  # the lock's going is no event of ours
                if self._polled:
                    pause = min(pause, max(next_look - now, 0.0))
                self._changed.wait(None if pause == _EVER else pause)
            if self._polled and time.monotonic() >= next_look:
                self._look_around()
                next_look = time.monotonic() + (POLL_QUIET if self._sightings else POLL)

    def pending(self, counts: Callable[[str], bool] = lambda name: True) -> bool:
        """Whether something relevant has changed, of what ``counts``, that was not delivered yet. Any thread."""
        with self._changed:
            return self._everything or any(map(counts, self._sightings))

    def wake(self) -> None:
        """Make ``next`` return. Any thread."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _deliver(self, locked: bool) -> ChangeSet:
        sightings, self._sightings = self._sightings, {}
        return ChangeSet(
            frozenset(sightings),
            min(sighting.first_at for sighting in sightings.values()),
            max(sighting.last_at for sighting in sightings.values()),
            note=f".git/index.lock has been there for {GIT_LONGEST:.0f} s: not waiting longer for git"
            if locked
            else "",
        )

    # --- events (watchdog's thread) ----------------------------------------------------------------------------

    def _see(self, path: str, kind: Literal["content", "gone"]) -> None:
        """An event on a file, by its real path."""
        if path in self._trunk:  # inotify tells of a watched directory's own end without IN_ISDIR
            self._see_directory(path)
            return
        for name in self._given(path):
            if self._relevant(name):
                self._note(name, kind)

    def _see_directory(self, path: str) -> None:
        """A directory came, went, was renamed."""
        if path in self._trunk:
            with self._changed:
                self._shaken.add(path)
                self._changed.notify_all()
        else:
            self._see(path, "content")

    def _lose(self) -> None:
        with self._changed:
            self._everything = True
            self._changed.notify_all()

    def _given(self, path: str) -> Iterable[str]:
        directory, name = os.path.split(path)
        yield from (os.path.join(given, name) for given in self._names.get(directory, ()))
        yield from self._links.get(path, ())

    def _note(self, name: str, kind: Literal["content", "gone"] = "content") -> None:
        now = time.monotonic()
        with self._changed:
            before = self._sightings.get(name)
            self._sightings[name] = Sighting(before.first_at if before else now, now, kind)
            self._changed.notify_all()

    # --- watches -----------------------------------------------------------------------------------------------

    def _synchronise(self) -> list[HotReloadError]:
        """Make the watches what they should be now. Inputs in a directory that came, went or moved count as changed:
        an edit in between had no event. (Not by comparing inodes: their numbers are used again.)"""
        names: dict[str, list[str]] = {}
        for directory in self._wanted:
            names.setdefault(os.path.realpath(directory), []).append(directory)
        for target in self._links:
            names.setdefault(os.path.dirname(target), [])
        self._names = {real: tuple(given) for real, given in names.items()}
        self._trunk = frozenset(
            above for real in names for above in _above(real) if above == real or not _is_common(above)
        )
        with self._changed:
            shaken, self._shaken = self._shaken, set()
        for real in [*self._watches]:
            if real not in self._trunk or any(above in shaken for above in _above(real)):
                self._events.unwatch(self._watches.pop(real))

        problems: list[HotReloadError] = []
        polled = set(self._wanted) if self._poll_all else {d for d in self._polled if d in self._wanted}
        silent = [] if self._poll_all else _silent_mounts()
        missing = frozenset(real for real in names if not os.path.isdir(real))
        for real in [] if self._poll_all else sorted(self._trunk):
            given = names.get(real, [])
            if real in self._watches or not os.path.isdir(real) or polled.issuperset(given or [""]):
                continue
            if given and any(real == mount or real.startswith(mount.rstrip("/") + "/") for mount in silent):
                polled.update(given)
                continue
            try:
                self._watches[real] = self._events.watch(real, whole=real in names)
            except OSError as error:
                if given:
                    polled.update(given)
                    problems.append(_unwatchable(real, error))
        for real in self._names:  # after the watches are made: nothing falls in between
            if real in self._missing ^ missing or any(above in shaken for above in _above(real)):
                self._look_through(real)
        self._missing = missing
        for directory in polled - self._polled:
            self._looks[directory] = _look_directory(directory)
        self._polled = frozenset(polled)
        for path in self._inputs:
            if path not in self._looks and os.path.dirname(path) in self._polled:
                self._looks[path] = _look(path)
        return problems

    def _look_through(self, real: str) -> None:
        """A directory came, went or moved: what is known in it, and what is in it now, may have changed."""
        for given in self._names.get(real, ()):
            known = [path for path in self._inputs if os.path.dirname(path) == given]
            there = [os.path.join(given, name) for name in _listing(real)]
            for path in {*known, *there}:
                if self._relevant(path):
                    self._note(path, "content" if os.path.lexists(path) else "gone")

    # --- polling -----------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        for path in self._inputs:
            if os.path.dirname(path) in self._polled:
                self._compare(path, _look(path))
        for directory in self._polled:
            listing = _look_directory(directory)
            if listing != self._looks.get(directory):
                self._looks[directory] = listing
                for name in _listing(directory):
                    path = os.path.join(directory, name)
                    if path not in self._inputs and self._relevant(path):
                        self._compare(path, _look(path))

    def _compare(self, path: str, look: tuple[int, ...] | None) -> None:
        if look != self._looks.get(path, ()):
            self._looks[path] = look
            self._note(path, "content" if look else "gone")


# --- watchdog ---------------------------------------------------------------------------------------------------


class _Events(logging.Handler):
    """watchdog behind three calls: a file by its real path, a directory, and "events were lost"."""

    def __init__(
        self,
        file: Callable[[str, Literal["content", "gone"]], None],
        directory: Callable[[str], None],
        lost: Callable[[], None],
    ) -> None:
        super().__init__(logging.WARNING)
        try:
            from watchdog import events
            from watchdog.observers import inotify, inotify_c, inotify_move_event_grouper
        except ImportError as error:
            raise HotReloadError(
                "watchdog (7.1 or newer) is not installed for the Python that runs scons",
                "",
                "python3 -m pip install 'watchdog>=7.1,<8'",
            ) from error

        # A name that is moved out of the directory would hold back everything behind it for half a second, in case its
        # other half arrives; with "full events" we do not need the pair.
        inotify_move_event_grouper.InotifyMoveEventGrouper.delay = 0.0

        class Emitter(inotify.InotifyFullEmitter):
            def get_event_mask_from_filter(self) -> Any:
                # IN_ATTRIB without IN_MODIFY: utime alone is a change for SCons's timestamp deciders.
                return super().get_event_mask_from_filter() | inotify_c.InotifyConstants.IN_ATTRIB

        class Observer(inotify.InotifyObserver):
            def __init__(self) -> None:
                super().__init__(generate_full_events=True)
                self._emitter_class = Emitter

        class Handler(events.FileSystemEventHandler):
            def dispatch(self, event: Any) -> None:
                seen(event)

        def seen(event: Any) -> None:
            here, there = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
            if event.is_directory:
                for path in filter(None, (here, there)):
                    directory(path)
            elif isinstance(event, events.FileMovedEvent):
                if here:
                    file(here, "gone")
                if there:
                    file(there, "content")
            elif isinstance(event, events.FileDeletedEvent):
                file(here, "gone")
            elif isinstance(event, (events.FileClosedEvent, events.FileAttribEvent)) or _is_complete_at_birth(here):
                file(here, "content")

        directories = [events.DirMovedEvent, events.DirCreatedEvent, events.DirDeletedEvent]
        self._filters = {
            True: [
                *directories,
                events.FileMovedEvent,
                events.FileCreatedEvent,
                events.FileDeletedEvent,
                events.FileClosedEvent,
                events.FileAttribEvent,
            ],
            False: directories,
        }
        self._handler = Handler()
        self._lost = lost
        self._observer = Observer()
        self._observer.start()
        logging.getLogger("watchdog").addHandler(self)

    def watch(self, directory: str, whole: bool) -> Any:
        """``whole``: its files too; otherwise only the directories in it. OSError when the system has no watch left."""
        return self._observer.schedule(self._handler, directory, recursive=False, event_filter=self._filters[whole])

    def unwatch(self, watch: Any) -> None:
        with contextlib.suppress(KeyError, OSError):  # the directory is gone, and watchdog has noticed before us
            self._observer.unschedule(watch)

    def emit(self, record: logging.LogRecord) -> None:
        # watchdog tells of a queue overflow by its logger alone.
        if "overflow" in record.getMessage():
            self._lost()

    def close(self) -> None:
        logging.getLogger("watchdog").removeHandler(self)
        self._observer.stop()
        self._observer.join()
        super().close()


# --- looking --------------------------------------------------------------------------------------------------


def _is_complete_at_birth(path: str) -> bool:
    """Symbolic links, and hard links to a file that has a name already."""
    try:
        status = os.lstat(path)
        return stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 1)
    except OSError:
        return False


def _look(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
        return status.st_mtime_ns, status.st_size, status.st_ino
    except OSError:
        return None


def _look_directory(path: str) -> tuple[int, ...] | None:
    names = _listing(path)
    return (hash(tuple(sorted(names))), len(names)) if names else None


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _changed_after(path: str, when: float) -> bool:
    """By the inode's change time, which a rename does not carry over; with some doubt for coarse clocks."""
    try:
        return os.lstat(path).st_ctime >= when - 0.05
    except OSError:
        return False


def _is_common(directory: str) -> bool:
    """A place like /tmp, where everybody makes files all the time: its comings and goings would keep us awake."""
    try:
        return bool(os.stat(directory).st_mode & stat.S_IWOTH)
    except OSError:
        return False


def _above(directory: str) -> Iterable[str]:
    while directory != "/":
        yield directory
        directory = os.path.dirname(directory)


def _git_locks(directories: Iterable[str], known: frozenset[str]) -> frozenset[str]:
    """The index locks of the work trees that these directories lie in (gitrepository-layout(5))."""
    if known:
        return known
    tops: dict[str, str] = {}
    for directory in directories:
        for above in _above(directory):
            if above in tops:
                break
            git = os.path.join(above, ".git")
            tops[above] = ""
            if os.path.isdir(git):
                tops[above] = os.path.join(git, "index.lock")
                break
            if os.path.isfile(git):
                with open(git, encoding="utf-8", errors="replace") as file:
                    place = file.readline().removeprefix("gitdir: ").strip()
                tops[above] = os.path.join(above, place, "index.lock")
                break
    return frozenset(filter(None, tops.values()))


def _silent_mounts() -> list[str]:
    """Mount points of file systems that make no events for what others write (proc(5), mountinfo)."""
    mounts = []
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                fields, _, rest = line.partition(" - ")
                kind = rest.split(" ", 1)[0]
                if kind.split(".")[0] in _SILENT:
                    mounts.append(fields.split(" ")[4].encode().decode("unicode_escape"))
    except OSError:
        pass
    return mounts


def _unwatchable(directory: str, error: OSError) -> HotReloadError:
    if error.errno in (errno.ENOSPC, errno.EMFILE):
        return HotReloadError(
            "the system allows no more file watches; this directory is looked at 5 times a second instead",
            directory,
            "raise the limit: sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=1024",
        )
    return HotReloadError(
        f"cannot watch: {error.strerror}; it is looked at 5 times a second instead", directory, "check its permissions"
    )
