"""File events → settled ChangeSets. Knows no targets: it is given directories and a predicate.

Events come from watchdog, one non-recursive inotify watch a directory. Whatever editors do, the last content event on
the real name is CLOSE_WRITE or MOVED_TO, and the file is complete at that moment; a name may be absent or empty for
some milliseconds before. So only those two count (and the appearance of a symbolic or hard link, which is complete at
once); a name that vanished counts when it stays away, a changed time when no save is under way.

``Watcher`` does the waiting; what is known of a name after an event is decided by ``sight``, and when a set is settled
by ``due``: both are pure functions.

Not seen: a write through a memory map before the file is closed, truncate(2) without an open, and a write through a
hard link whose name is neither an input nor in a watched directory (inotify has no event under the names we know).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from .files import changed_since, signature
from .model import ChangeSet, HotReloadError

# --- when a set of events is settled: pure --------------------------------------------------------------------

QUIET_ONE = 0.002
"""Seconds without an event before a single changed name is delivered."""
QUIET_MANY = 0.015
"""The same when several names change: an editor's "save all", a checkout, a generator."""
LONGEST = 0.250
"""A stream of changes to several names is delivered after this time though it does not pause."""
GONE = 0.060
"""A vanished name is delivered when it has stayed away that long. Editors take it away for 1 to 5 ms; ten times that
bears a loaded machine, and nobody waits for a deletion. A time or mode that was set counts after as long: fchmod comes
in the middle of a save."""
GIT_LONGEST = 10.0
"""While .git/index.lock exists nothing is delivered, but no longer than this; an older lock is not waited for: git
holds it while the user writes a commit message, and a killed git leaves it behind."""
POLL = 0.2
"""Seconds between two looks at files whose file system makes no events."""
POLL_QUIET = 0.05
"""A polled file counts as complete when two looks that far apart find it the same."""

_EVER = float("inf")


Kind = Literal["content", "gone", "touched"]
"""``content``: complete and new. ``gone``: not there. ``touched``: its time or mode was set, maybe in mid-save."""


@dataclass(frozen=True)
class Sighting:
    """What is known of one name since the last delivery."""

    first_at: float
    last_at: float
    kind: Kind
    alias: bool = False
    """Another name of a file that is among the sightings under its own: one save, not two."""


def sight(before: Sighting | None, at: float, kind: Kind, alias: bool = False) -> Sighting:
    """What is known of a name after one more event. Setting the mode of what was just saved does not hold it back."""
    if before is None:
        return Sighting(at, at, kind, alias)
    if kind == "touched" and before.kind == "content":
        return before
    return Sighting(before.first_at, at, kind, before.alias and alias)


def due(sightings: Mapping[str, Sighting], git_locked: bool, quiet: float = 0.0, lost: Sighting | None = None) -> float:
    """When (monotonic seconds) these sightings may be delivered; infinity while nothing is to be delivered.

    ``git_locked``: git is at work now. ``quiet``: the least time of silence, for polling. ``lost``: events were lost,
    first and last then: as good as changes to several names.
    """
    if lost:
        sightings = {**sightings, "lost/1": lost, "lost/2": lost}
    if not sightings:
        return _EVER
    first = min(sighting.first_at for sighting in sightings.values())
    if git_locked:
        return first + GIT_LONGEST
    content = [sighting for sighting in sightings.values() if sighting.kind == "content"]
    others = [sighting for sighting in sightings.values() if sighting.kind != "content"]
    when = max((sighting.last_at + GONE for sighting in others), default=-_EVER)
    if content:
        one = sum(not sighting.alias for sighting in content) <= 1
        silence = max(sighting.last_at for sighting in content) + max(QUIET_ONE if one else QUIET_MANY, quiet)
        # A rename is a name that comes and a name that goes: delivered together, or the first would not compile.
        when = max(when, silence if one else min(silence, first + max(LONGEST, quiet)))
    return when


def may_prepare(sightings: Mapping[str, Sighting], lost: Sighting | None) -> bool:
    """Whether it is the usual case, one file's complete content, in which nothing more is to be expected."""
    content = all(sighting.kind == "content" for sighting in sightings.values())
    return content and not lost and sum(not sighting.alias for sighting in sightings.values()) == 1


# --- the watcher ----------------------------------------------------------------------------------------------

_SILENT = {
    "9p", "afs", "beegfs", "ceph", "cifs", "drvfs", "fakeowner", "fuse", "fuseblk", "gpfs",
    "lustre", "nfs", "nfs4", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs",
}  # fmt: skip
"""File systems on which others' writes make no inotify events (WSL 2, Docker Desktop, network mounts)."""

_Depth = Literal["whole", "names", "self"]
"""How much of a directory is watched: its files too; which names come and go in it; only its own end or move."""


class Watcher:
    """Owned by one thread, which calls everything but ``pending`` and ``wake``. ``relevant`` is called from others;
    what it raises there is raised again by ``next``."""

    def __init__(self, relevant: Callable[[str], bool], poll: bool = False) -> None:
        self._relevant = relevant
        self._poll_all = poll
        self._changed = threading.Condition()
        self._sightings: dict[str, Sighting] = {}
        self._unfinished: set[str] = set()
        """Names that were created and not closed yet."""
        self._delivered: dict[str, tuple[int, ...] | None] = {}
        """How a delivered file looked: setting its mode afterwards, as vim does, is no change."""
        self._lost: Sighting | None = None
        self._failure: Exception | None = None
        self._woken = False
        self._shaken: set[str] = set()
        """Directories and links to directories that came, went or moved: what is watched there is to be found again."""
        self._blind = False
        """Events were lost: every watch is to be made again."""

        self._wanted: frozenset[str] = frozenset()
        self._inputs: frozenset[str] = frozenset()
        self._symlinks: set[str] = set()
        """Inputs that are symbolic links."""
        self._places = _Places.of((), ())
        self._hard: dict[str, tuple[int, ...]] = {}
        """Input that is one of several hard links → device, inode, how many."""
        self._twins: Mapping[str, frozenset[str]] = {}
        """Input → inputs that are hard links to the same file."""
        self._watches: dict[str, tuple[_Depth, Any]] = {}
        """Real directory → watchdog's watch."""
        self._git_locks: frozenset[str] = frozenset()
        self._old_locks: set[tuple[int, int]] = set()
        """Locks that the user was told of."""

        self._looking = threading.Lock()
        self._looks: dict[str, tuple[int, ...] | frozenset[str] | None] = {}
        """What polling saw last of each file and directory listing."""
        self._looked_at = 0.0
        self._look_again = POLL
        self._polled: frozenset[str] = frozenset()
        """Given directories that make no events."""
        self._polled_links: frozenset[str] = frozenset()
        """Inputs whose target lies where no events are made."""

        self._problems: list[HotReloadError] = []
        self._events: _Events | None = None
        if not poll:
            try:
                self._events = _Events(self._see, self._see_directory, self._lose)
            except OSError as error:
                self._poll_all = True
                self._problems.append(_unwatchable("", error))

    # --- what to watch -----------------------------------------------------------------------------------------

    def watch(self, directories: Iterable[str], since: float | None = None) -> list[HotReloadError]:
        """Watch exactly these directories. Returns what cannot be watched; that is looked at regularly instead.

        ``since`` (Unix seconds): relevant files of directories new to the set that changed after it count as changed.
        """
        wanted = frozenset(directories)
        fresh = wanted - self._wanted
        if wanted != self._wanted:
            self._wanted = wanted
            self._synchronise()
        if fresh:
            self._git_locks = _git_locks(self._places.real.values())
        if since is not None:
            for path in self._changed_in(fresh, since):
                self._note([path], "content")
        problems, self._problems = self._problems, []
        return problems

    def inputs(self, files: Iterable[str]) -> None:
        """The known input files: what to look at where events cannot be had, and which of them are symbolic or hard
        links. Costs what is new in it."""
        now = files if isinstance(files, frozenset) else frozenset(files)
        if now is self._inputs:
            return
        new, self._inputs = now - self._inputs, now
        self._symlinks &= now
        if any([self._note_link(path) for path in new]):
            self._find_twins()
        if self._symlinks & new:
            self._synchronise()
        with self._looking:
            for path in new:
                if self._is_polled(path):
                    self._looks[path] = signature(path)

    def missed(self, since: float) -> frozenset[str]:
        """Inputs, and relevant files of the watched directories, that changed after ``since`` (Unix seconds); with a
        second of doubt where another machine's clock may stamp them. For the beginning, when what changed before the
        watch had no event."""
        inputs = (path for path in self._inputs if changed_since(path, since, 1.0 if self._is_polled(path) else 0.05))
        return frozenset(inputs).union(self._changed_in(self._wanted, since))

    def _changed_in(self, directories: Iterable[str], since: float) -> Iterator[str]:
        for directory in directories:
            for name in _listing(directory):
                path = os.path.join(directory, name)
                if changed_since(path, since, 0.05) and self._relevant(path):
                    yield path

    def close(self) -> None:
        """Threads and descriptors are gone when it returns. May be called twice."""
        if self._events:
            self._events.close()
            self._events = None

    # --- what changed ------------------------------------------------------------------------------------------

    def next(self, timeout: float | None, early: bool = False) -> ChangeSet | None:
        """Wait for a settled set; None after ``timeout`` seconds (None: no limit) or after ``wake``.

        ``early``: a single file is delivered at once, with the time at which it will be settled. Who finds something
        ``pending`` then gives it back with ``put_back``.
        """
        end = _EVER if timeout is None else time.monotonic() + timeout
        while True:
            if self._shaken or self._blind:
                self._synchronise()
            with self._changed:
                if self._failure:
                    failure, self._failure = self._failure, None
                    raise failure
                now = time.monotonic()
                polls = bool(self._polled or self._polled_links)
                anything = bool(self._sightings or self._lost)
                locked = anything and self._git_is_at_work()
                when = due(self._sightings, locked, POLL_QUIET if polls else 0.0, self._lost)
                # What is polled is settled when a look after that time still finds it the same.
                if when <= now and not (polls and self._looked_at < when):
                    changes = self._deliver()
                    break
                if early and not polls and not locked and anything and may_prepare(self._sightings, self._lost):
                    changes = replace(self._deliver(), settled_at=when)
                    break
                if self._woken or now >= end:
                    self._woken = False
                    return None
                pause = min(when, end) - now
                if locked:
                    pause = min(pause, 0.01)  # the lock's going is no event of ours
                if polls:
                    pause = min(pause, self._looked_at + self._look_again - now)
                if pause > 0:
                    self._changed.wait(None if pause == _EVER else pause)
            if polls and time.monotonic() >= min(when, self._looked_at + self._look_again):
                self._look_around()
        self._follow(changes.files)
        return changes

    def pending(self, counts: Callable[[str], bool] = lambda name: True) -> bool:
        """Whether something relevant has changed, of what ``counts``, that was not delivered yet. Any thread.

        Where files are polled it looks at them when the last look is older than POLL_QUIET.
        """
        if (self._polled or self._polled_links) and time.monotonic() >= self._looked_at + max(
            POLL_QUIET, self._look_again - POLL
        ):
            self._look_around()
        with self._changed:
            return self._lost is not None or any(map(counts, self._sightings))

    def put_back(self, changes: ChangeSet) -> None:
        """What was delivered early has not settled: it comes again, with what came meanwhile."""
        with self._changed:
            for name in changes.files:
                now = self._sightings.get(name)
                before = Sighting(changes.first_at, changes.last_at, "content")
                self._sightings[name] = sight(before, now.last_at, now.kind, now.alias) if now else before

    def wake(self) -> None:
        """Make ``next`` return. Any thread."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _deliver(self) -> ChangeSet:
        sightings, self._sightings = self._sightings, {}
        lost, self._lost = self._lost, None
        if lost:
            self._delivered.clear()
            note = "file events were lost: every input is looked at"
            return ChangeSet(frozenset(sightings), lost.first_at, lost.last_at, True, note)
        for name in sightings:
            self._delivered[name] = signature(name)
        return ChangeSet(
            frozenset(sightings),
            min(sighting.first_at for sighting in sightings.values()),
            max(sighting.last_at for sighting in sightings.values()),
            note=self._old_lock(),
        )

    def _follow(self, files: frozenset[str]) -> None:
        """Delivered inputs may have become, or ceased to be, links; others than before may be of one file."""
        known = files & self._inputs
        if any([self._note_link(path) != self._hard.get(path) for path in known]):
            self._find_twins()
        memo: dict[str, str] = {}
        if any(_hops(path, memo, set()) != self._places.hops.get(path, ()) for path in known):
            self._synchronise()

    # --- git ---------------------------------------------------------------------------------------------------

    def _git_is_at_work(self) -> bool:
        for lock in self._git_locks:
            with contextlib.suppress(OSError):
                status = os.stat(lock)
                if time.time() - status.st_mtime < GIT_LONGEST and _identity(status) not in self._old_locks:
                    return True
        return False

    def _old_lock(self) -> str:
        """A word on a lock that is there though the time to wait for it is over; once for each."""
        for lock in self._git_locks:
            with contextlib.suppress(OSError):
                identity = _identity(os.stat(lock))
                if identity not in self._old_locks:
                    self._old_locks.add(identity)
                    return f"{lock} has been there for {GIT_LONGEST:.0f} s: not waiting longer for git"
        return ""

    # --- events (watchdog's threads) ---------------------------------------------------------------------------

    def _see(self, path: str, kind: Kind | Literal["born"]) -> None:
        """An event on a file, by its real path."""
        if path in self._places.trunk:  # a link to a directory; or inotify's word on a watched directory's own end
            self._see_directory(path, "gone" if kind == "gone" else "content")
            return
        try:
            names = [name for name in self._names_of(path) if self._relevant(name)]
        except Exception as failure:
            self._fail(failure)
            return
        if kind == "born":
            with self._changed:
                self._unfinished.update(names)
                for name in names:  # it is not away any more, and not complete: its CLOSE_WRITE will come
                    if name in self._sightings and self._sightings[name].kind == "gone":
                        del self._sightings[name]
        elif names:
            self._note(names, kind)

    def _see_directory(self, path: str, kind: Literal["content", "gone"]) -> None:
        """A directory came, went, was renamed."""
        if path not in self._places.trunk:
            self._see(path, kind)
            return
        if kind == "gone":  # said at once, so that ``pending`` is right before ``next`` has looked
            below = {given for real in self._places.names if _lies_in(real, path) for given in self._places.names[real]}
            try:
                lost = [file for file in self._inputs if os.path.dirname(file) in below and self._relevant(file)]
            except Exception as failure:
                self._fail(failure)
                return
            if lost:
                self._note(lost, "gone")
        with self._changed:
            self._shaken.add(path)
            self._changed.notify_all()

    def _lose(self) -> None:
        with self._changed:
            self._lost = sight(self._lost, time.monotonic(), "content")
            self._blind = True
            self._changed.notify_all()

    def _fail(self, failure: Exception) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _names_of(self, path: str) -> dict[str, None]:
        """The names under which a real path is known; in the order of a dict, the plainest first."""
        directory, name = os.path.split(path)
        names = {os.path.join(given, name): None for given in self._places.names.get(directory, ())}
        names.update(dict.fromkeys(self._places.links.get(path, ())))
        for twins in [self._twins[name] for name in names if name in self._twins]:
            names.update(dict.fromkeys(twins))
        return names

    def _note(self, names: Iterable[str], kind: Kind, at: float | None = None) -> None:
        """Names of one file."""
        at = time.monotonic() if at is None else at
        with self._changed:
            alias = False
            for name in names:
                if kind != "touched":
                    self._unfinished.discard(name)
                elif name in self._unfinished or signature(name) == self._delivered.get(name, ()):
                    continue
                self._sightings[name] = sight(self._sightings.get(name), at, kind, alias)
                alias = True
            self._changed.notify_all()

    # --- watches -----------------------------------------------------------------------------------------------

    def _synchronise(self) -> None:
        """Make the watches what they should be now."""
        for _ in range(20):  # what comes or goes meanwhile is seen by the next round
            if not self._arrange():
                return

    def _arrange(self) -> bool:
        """One round; whether things have moved meanwhile.

        Inputs in a directory that came, went or moved count as changed: an edit in between had no event. (Not by
        comparing inodes: their numbers are used again.)
        """
        with self._changed:
            shaken, self._shaken = self._shaken, set()
            blind, self._blind = self._blind, False
        before, now = self._places, _Places.of(self._wanted, self._symlinks)
        self._places = now
        again = False
        depths = {} if self._poll_all else now.depths()
        polled, polled_links = self._find_silent(now)
        for given in polled:
            if polled.issuperset(now.names[now.real[given]]):
                depths.pop(now.real[given], None)

        for real, (depth, watch) in [*self._watches.items()]:
            if self._events and (blind or depths.get(real) != depth or _is_shaken(real, shaken)):
                del self._watches[real]
                self._events.unwatch(watch)
        for real, depth in depths.items():
            if real in self._watches or not self._events:
                continue
            try:
                if os.path.isdir(real) and not os.access(real, os.R_OK):  # watchdog is silent about it
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                self._watches[real] = depth, self._events.watch(real, depth)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR):
                    again = True
                elif depth == "whole":
                    polled |= {*now.names.get(real, ())}
                    polled_links |= {given for given, hops in now.hops.items() if real in map(os.path.dirname, hops)}
                    self._problems.append(_unwatchable(real, error))

        # After the watches are made: nothing falls in between.
        for given in before.real.keys() & now.real.keys():
            if before.state(before.real[given]) != now.state(now.real[given]) or _is_shaken(now.real[given], shaken):
                self._look_through(given)
        for given in before.hops.keys() & now.hops.keys():
            places = [os.path.dirname(hop) for hop in now.hops[given]]
            if before.hops[given] != now.hops[given] or any(
                before.state(place) != now.state(place) or _is_shaken(place, shaken) for place in places
            ):
                self._look_for([given])
        self._start_polling(frozenset(polled), frozenset(polled_links))
        return again or any(os.path.isdir(place) for place in now.missing)

    def _look_through(self, given: str) -> None:
        """A directory came, went or moved: what is known in it, and what is in it now, may have changed."""
        there = {os.path.join(given, name) for name in _listing(given)}
        self._look_for(there.union(path for path in self._inputs if os.path.dirname(path) == given))

    def _look_for(self, paths: Iterable[str]) -> None:
        for path in paths:
            if self._relevant(path):
                self._note([path], "content" if os.path.exists(path) else "gone")

    def _note_link(self, path: str) -> tuple[int, ...] | None:
        """Whether an input is a symbolic link is noted; if it is one of several hard links: device, inode, how many."""
        self._symlinks.discard(path)
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                self._symlinks.add(path)
            elif status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
                return status.st_dev, status.st_ino, status.st_nlink
        return None

    def _find_twins(self) -> None:
        self._hard = {path: identity for path in self._inputs if (identity := self._note_link(path))}
        groups: dict[tuple[int, ...], set[str]] = {}
        for path, identity in self._hard.items():
            groups.setdefault(identity, set()).add(path)
        self._twins = {path: frozenset(group) for group in groups.values() if len(group) > 1 for path in group}

    # --- polling -----------------------------------------------------------------------------------------------

    def _find_silent(self, places: _Places) -> tuple[set[str], set[str]]:
        """Given directories, and inputs that are links, that are to be polled."""
        if self._poll_all:
            return {*self._wanted}, {*places.hops}
        mounts = _mounts()
        silent = {real for real in places.names if _is_silent(real, mounts)}
        polled = {given for real in silent for given in places.names[real]}
        links = {given for given, hops in places.hops.items() if any(_is_silent(hop, mounts) for hop in hops)}
        return polled | (self._polled & self._wanted), links | (self._polled_links & places.hops.keys())

    def _start_polling(self, polled: frozenset[str], links: frozenset[str]) -> None:
        with self._looking:
            for directory in polled - self._polled:
                self._looks[directory] = frozenset(_listing(directory))
            self._polled, self._polled_links = polled, links
            if polled or links:
                for path in self._inputs:
                    if path not in self._looks and self._is_polled(path):
                        self._looks[path] = signature(path)

    def _is_polled(self, path: str) -> bool:
        return os.path.dirname(path) in self._polled or path in self._polled_links

    def _look_around(self) -> None:
        """Takes an eighth of the time at most, however many files there are."""
        with self._looking:
            began = time.monotonic()
            for path in self._inputs:
                if self._is_polled(path):
                    self._compare(path, began)
            for directory in self._polled:
                names, before = frozenset(_listing(directory)), self._looks.get(directory)
                self._looks[directory] = names
                if isinstance(before, frozenset):
                    for name in names ^ before:
                        path = os.path.join(directory, name)
                        if path not in self._inputs and self._relevant(path):
                            self._compare(path, began)
            # Those that no input is of, until they have been delivered: they may be still growing.
            for path in [name for name in self._sightings.copy() if name not in self._inputs]:
                if self._is_polled(path):
                    self._compare(path, began)
            self._looked_at = began
            self._look_again = max(POLL, 8 * (time.monotonic() - began))

    def _compare(self, path: str, at: float) -> None:
        look = signature(path)
        if look != self._looks.get(path, ()):
            self._looks[path] = look
            self._note([path], "content" if look else "gone", at)


@dataclass(frozen=True)
class _Places:
    """Where the wanted directories and the linked files really are."""

    real: Mapping[str, str]
    """Given directory → where it really is, or would be."""
    hops: Mapping[str, tuple[str, ...]]
    """Input that is a symbolic link → what it leads to, over what, as real paths."""
    names: Mapping[str, tuple[str, ...]]
    """Real directory → the directories as they were given; none if only a link leads there."""
    links: Mapping[str, tuple[str, ...]]
    """Real path → inputs that lead to it or over it."""
    missing: frozenset[str]
    """Real directories that do not exist."""
    pivots: frozenset[str]
    """Symbolic links on the ways to the given directories and files, as real paths."""
    trunk: frozenset[str]
    """Every name whose coming or going moves one of the directories."""

    @classmethod
    def of(cls, wanted: Iterable[str], symlinks: Iterable[str]) -> _Places:
        memo: dict[str, str] = {}
        pivots: set[str] = set()
        real = {given: _resolve(given, memo, pivots) for given in wanted}
        hops = {given: _hops(given, memo, pivots) for given in symlinks}
        names: dict[str, tuple[str, ...]] = {}
        for given, place in real.items():
            names[place] = (*names.get(place, ()), given)
        links: dict[str, tuple[str, ...]] = {}
        for given, places in hops.items():
            for place in places:
                links[place] = (*links.get(place, ()), given)
                names.setdefault(os.path.dirname(place), ())
        missing = frozenset(place for place in names if not os.path.isdir(place))
        trunk = pivots.union(*map(_above, names), *map(_above, pivots))
        return cls(real, hops, names, links, missing, frozenset(pivots), frozenset(trunk))

    def state(self, real: str) -> tuple[str, bool]:
        return real, real not in self.missing

    def depths(self) -> dict[str, _Depth]:
        """What is to be watched, and how much of it. Nothing at all of what others do in /tmp, or in a home directory,
        wakes us while all that we look for is there."""
        depths: dict[str, _Depth] = dict.fromkeys(filter(os.path.isdir, self.trunk - self.pivots), "self")
        for place in self.missing:
            while place not in depths and place != "/":
                place = os.path.dirname(place)
            depths[place] = "names"
        for pivot in self.pivots:
            depths[os.path.dirname(pivot)] = "names"
        for place in self.names.keys() - self.missing:
            depths[place] = "whole"
        return depths


# --- watchdog ---------------------------------------------------------------------------------------------------


class _Events(logging.Handler):
    """watchdog behind three calls: a file by its real path, a directory, and "events were lost"."""

    def __init__(
        self,
        file: Callable[[str, Kind | Literal["born"]], None],
        directory: Callable[[str, Literal["content", "gone"]], None],
        lost: Callable[[], None],
    ) -> None:
        super().__init__(logging.WARNING)
        try:
            from watchdog import events
            from watchdog.observers import inotify, inotify_c
        except ImportError as error:
            raise HotReloadError(
                "watchdog (7.1 or newer) is not installed for the Python that runs scons",
                "",
                "python3 -m pip install 'watchdog>=7.1,<8'",
            ) from error
        _do_not_wait_for_pairs()
        constants = inotify_c.InotifyConstants
        ends = constants.IN_DELETE_SELF | constants.IN_MOVE_SELF
        names = ends | constants.IN_CREATE | constants.IN_DELETE | constants.IN_MOVE
        # IN_ATTRIB without IN_MODIFY: utime alone is a change for SCons's timestamp deciders.
        masks: dict[_Depth, int] = {
            "self": ends,
            "names": names,
            "whole": names | constants.IN_CLOSE_WRITE | constants.IN_ATTRIB,
        }
        self._filters: dict[_Depth, list[type[Any]]] = {
            "self": [events.DirDeletedEvent],
            "names": [
                events.DirDeletedEvent,
                events.DirMovedEvent,
                events.DirCreatedEvent,
                events.FileMovedEvent,
                events.FileCreatedEvent,
                events.FileDeletedEvent,
            ],
        }
        self._filters["whole"] = [*self._filters["names"], events.FileClosedEvent, events.FileAttribEvent]
        depths: dict[frozenset[type[Any]], _Depth] = {frozenset(kinds): depth for depth, kinds in self._filters.items()}

        class Emitter(inotify.InotifyFullEmitter):
            def get_event_mask_from_filter(self) -> Any:
                return masks[depths[self._event_filter or frozenset()]]

            def build_and_queue_event(self, event: Any, *, full_events: bool = True) -> None:
                mask = 0 if isinstance(event[0], tuple) else event.ev.mask
                if mask & (constants.IN_MOVE_SELF | constants.IN_UNMOUNT):  # watchdog passes over both
                    self.queue_event(events.DirDeletedEvent(os.fsdecode(event.path)))
                super().build_and_queue_event(event, full_events=full_events)

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
                if there:
                    directory(there, "content")
                if here:
                    directory(here, "content" if isinstance(event, events.DirCreatedEvent) else "gone")
            elif isinstance(event, events.FileMovedEvent):
                if here:
                    file(here, "gone")
                if there:
                    file(there, "content")
            elif isinstance(event, events.FileDeletedEvent):
                file(here, "gone")
            elif isinstance(event, events.FileClosedEvent):
                file(_name_of_nameless(here), "content")
            elif isinstance(event, events.FileAttribEvent):
                file(here, "touched")
            else:
                file(here, "content" if _is_complete_at_birth(here) else "born")

        self._handler = Handler()
        self._lost = lost
        self._observer = Observer()
        self._observer.start()
        logger = logging.getLogger("watchdog")
        logger.addHandler(self)
        if not logger.isEnabledFor(logging.WARNING):
            logger.setLevel(logging.WARNING)

    def watch(self, directory: str, depth: _Depth) -> Any:
        """OSError when the system has no watch left."""
        return self._observer.schedule(self._handler, directory, recursive=False, event_filter=self._filters[depth])

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


def _do_not_wait_for_pairs() -> bool:
    """Whether watchdog was told not to. A name that is moved out of a directory holds back everything behind it for
    half a second, in case its other half arrives; with "full events" we do not need the pair. Without this private
    setting such saves come late, not wrong."""
    try:
        from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper
    except ImportError:
        return False
    known = hasattr(InotifyMoveEventGrouper, "delay")
    InotifyMoveEventGrouper.delay = 0.0
    return known


# --- looking --------------------------------------------------------------------------------------------------


def _is_complete_at_birth(path: str) -> bool:
    """Symbolic links, and hard links to a file that has a name already."""
    try:
        status = os.lstat(path)
        return stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 1)
    except OSError:
        return False


def _name_of_nameless(path: str) -> str:
    """A file made without a name (O_TMPFILE) and linked to one later is closed as "#" and its inode's number."""
    directory, name = os.path.split(path)
    if re.fullmatch(r"#[0-9]+", name) and not os.path.lexists(path):
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.inode() == int(name[1:]):
                    return entry.path
    return path


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_ctime_ns


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _above(directory: str) -> Iterable[str]:
    """It and every directory above it but the root."""
    while directory != "/":
        yield directory
        directory = os.path.dirname(directory)


def _lies_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _is_shaken(real: str, shaken: set[str]) -> bool:
    return bool(shaken) and any(above in shaken for above in _above(real))


def _resolve(path: str, memo: dict[str, str], pivots: set[str]) -> str:
    """The real path, as realpath(3), of what need not exist; adds the symbolic links on the way to ``pivots``.

    One look a name, however many paths share it.
    """
    if path in memo:
        return memo[path]
    above, name = os.path.split(path.rstrip("/"))
    if not name:
        return "/"
    parent = _resolve(above, memo, pivots)
    place = os.path.dirname(parent) if name == ".." else parent if name == "." else os.path.join(parent, name)
    memo[path] = place  # a link that leads to itself ends here
    with contextlib.suppress(OSError):
        target = os.readlink(place)
        pivots.add(place)
        memo[path] = _resolve(os.path.join(parent, target), memo, pivots)
    return memo[path]


def _hops(path: str, memo: dict[str, str], pivots: set[str]) -> tuple[str, ...]:
    """What a symbolic link to a file leads to, over what, as real paths."""
    hops: list[str] = []
    place = os.path.join(_resolve(os.path.dirname(path), memo, pivots), os.path.basename(path))
    with contextlib.suppress(OSError):
        while len(hops) < 40:  # as the kernel
            directory, name = os.path.split(os.path.join(os.path.dirname(place), os.readlink(place)))
            place = os.path.join(_resolve(directory, memo, pivots), name)
            hops.append(place)
    return tuple(hops)


def _git_locks(directories: Iterable[str]) -> frozenset[str]:
    """The index locks of the work trees that these real directories lie in (gitrepository-layout(5))."""
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
            with contextlib.suppress(OSError), open(git, encoding="utf-8", errors="surrogateescape") as file:
                place = file.readline().removeprefix("gitdir: ").rstrip("\n")
                tops[above] = os.path.join(above, place, "index.lock")
                break
    return frozenset(filter(None, tops.values()))


def _mounts() -> dict[str, str]:
    """Mount point → type of the file system on top there (proc(5), mountinfo)."""
    mounts: dict[str, str] = {}
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            fields, _, rest = line.partition(b" - ")
            place = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), fields.split(b" ")[4])
            mounts[os.fsdecode(place)] = os.fsdecode(rest.split(b" ", 1)[0])
    return mounts


def _is_silent(path: str, mounts: Mapping[str, str]) -> bool:
    """Whether a real path lies on a file system that makes no events for what others write."""
    for above in (*_above(path), "/"):
        if above in mounts:
            return mounts[above].split(".")[0] in _SILENT
    return False


def _unwatchable(directory: str, error: OSError) -> HotReloadError:
    if error.errno in (errno.ENOSPC, errno.EMFILE):
        return HotReloadError(
            "the system allows no more file watches; "
            f"{'this directory is' if directory else 'all files are'} looked at 5 times a second instead",
            directory,
            "raise the limit: sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=1024",
        )
    return HotReloadError(
        f"cannot watch: {error.strerror}; it is looked at 5 times a second instead", directory, "check its permissions"
    )
