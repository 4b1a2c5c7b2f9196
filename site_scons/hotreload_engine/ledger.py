"""Targets whose signatures are not on disk yet: noted before they are built, so that a killed session deceives nobody.

SCons writes .sconsign late. A process that is killed in between leaves new targets beside old signatures; when the
source is then put back, a fresh scons takes the stale target for current. The ledger names such targets: it is there
only while there are some, and its owner holds a POSIX record lock on it (fcntl(2): no child inherits that). Without an
owner it was abandoned; the next scons forgets the signatures of what it names. A disk that cannot take it costs this
protection and nothing else.

Signature files are written anew and renamed, by every scons under the same temporary name; ``alone`` lets one process
at a time do that, of those that have this tool.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator

_NAME = ".sconsign.unwritten"
_PATIENCE = 30.0
"""Seconds to wait for another process that writes signatures: it may have been stopped meanwhile."""


class Ledger:
    """One session's. ``note`` may be called from any of SCons's threads, the rest from the session's."""

    def __init__(self, top: str) -> None:
        """``top``: the project's directory, absolute."""
        self._top = top
        self._path = os.path.join(top, _NAME)
        self._descriptor: int | None = None
        self._noted: set[str] = set()

    def note(self, targets: Iterable[str]) -> None:
        """These files (absolute paths) are about to be written."""
        new = [target for target in targets if target not in self._noted]
        if not new:
            return
        self._noted.update(new)
        with contextlib.suppress(OSError):
            if self._descriptor is None:
                self._descriptor = _open(self._path, os.O_CREAT)
            os.write(self._descriptor, b"".join(os.fsencode(os.path.relpath(each, self._top)) + b"\0" for each in new))

    def clear(self) -> None:
        """The signatures of all of them are written."""
        self._noted.clear()
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            os.close(self._descriptor)
            self._descriptor = None


@contextlib.contextmanager
def abandoned(top: str, keep: bool) -> Iterator[list[str]]:
    """Absolute paths that a session which is no more has left in its ledger; unless ``keep``, the ledger is gone when
    the block ends well."""
    path = os.path.join(top, _NAME)
    try:
        descriptor = _open(path, os.O_NONBLOCK)
    except OSError:  # there is none, or its owner lives
        yield []
        return
    try:
        with open(descriptor, "rb", closefd=False) as file:
            names = file.read().split(b"\0")[:-1]  # a name that was cut off was not being built yet
        yield [os.path.join(top, os.fsdecode(name)) for name in names]
        if not keep:
            os.unlink(path)
    finally:
        os.close(descriptor)


_held: set[str] = set()


@contextlib.contextmanager
def alone(paths: Iterable[str]) -> Iterator[None]:
    """Nobody else is in such a block for the same signature files, which may be renamed over in it. May be nested; one
    thread. A file that is not there or cannot be locked is not waited for, nor one that stays locked for too long."""
    with contextlib.ExitStack() as stack:
        for path in sorted({os.path.abspath(path) for path in paths if path} - _held):
            if (descriptor := _lock(path)) is not None:
                stack.callback(os.close, descriptor)
                stack.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)  # a child may have inherited it
            _held.add(path)
            stack.callback(_held.discard, path)
        yield


def would_wait(paths: Iterable[str]) -> bool:
    """Whether somebody is in ``alone`` for one of these just now."""
    for path in paths:
        try:
            os.close(_locked(path, os.O_RDONLY, _flock))
        except BlockingIOError:
            return True
        except OSError:
            continue
    return False


def _lock(path: str) -> int | None:
    end = time.monotonic() + _PATIENCE

    def lock(descriptor: int) -> None:
        while True:
            try:
                return _flock(descriptor)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)

    try:
        return _locked(path, os.O_RDONLY, lock)
    except OSError:
        return None


def _flock(descriptor: int) -> None:
    """Not a record lock: closing another descriptor of the file, which is read meanwhile, would drop that."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_there(top: str) -> bool:
    return os.path.exists(os.path.join(top, _NAME))


def _open(path: str, how: int) -> int:
    """Open and lock; O_NONBLOCK: OSError instead of waiting for the lock."""
    kind = fcntl.LOCK_EX | (fcntl.LOCK_NB if how & os.O_NONBLOCK else 0)
    return _locked(path, os.O_RDWR | os.O_APPEND | (how & os.O_CREAT), lambda descriptor: fcntl.lockf(descriptor, kind))


def _locked(path: str, how: int, lock: Callable[[int], None]) -> int:
    """A descriptor of the file that has the name once it is locked: it may have been renamed over meanwhile."""
    while True:
        descriptor = os.open(path, how, 0o600)
        try:
            lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
