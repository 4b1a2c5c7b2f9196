"""The run directory: its file names and formats, publishing, garbage. The only Python that knows them.

For a library ``DIR/libplug.so`` it is ``DIR/.hotreload``, so both sides find it from the library's path alone:

==============================  ==========================================================================
``libplug.so.newest``           the pointer to the newest generation; replaced by rename
``libplug.so.N-DIGEST.so``      generation N: immutable, complete, under a name that is never used again
``libplug.so.host.PID.SERIAL``  a host's control record; written by the host alone (see hotreload.h)
``GENERATION.from.N-DIGEST.so`` how a host gets there from generation N with its state (see plan.py)
``libplug.so.trouble``          why what was last built is not what hosts run; gone with the next good build
``libplug.so.crashed.DIGEST``   the library with this digest crashed in a host and was rolled back: nobody loads or
                                publishes it again; written by the host, and again by the builder with the place
``libplug.so.save.PID.SERIAL``  asks that host to leave its state for a process that takes its place; gone once read
``libplug.so.state.TOKEN``      the state that was left; gone once taken (its format is hotreload.h's alone)
``libplug.so.lock``             flock of whoever publishes
==============================  ==========================================================================

The pointer and the records are text, ``key value`` a line, the first line a magic word, the last one ``sum`` with the
CRC-32 of all before it: a torn or foreign file is recognised, never believed. Names that begin with "." are being made.

A pointer may have lines ``together NUMBER LIBRARY``: its generation must not run without that number, or a later one,
of another library, where a host has both open. Plugins that one change rebuilt name each other; the lines stay with
later generations, since what was built upon a change needs it too.

A generation is a copy, not a link, of what the linker wrote: linkers and ``strip`` may rewrite the same inode, and a
mapped file that changes is a crash. It holds the very bytes that were checked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .model import Crash, Generation, Host, HotReloadError, Image

DIRECTORY = ".hotreload"
KEPT = 16
"""Generations that stay on disk though no host runs them: a debugger may still want their symbols."""
KEPT_MARKS = 64
"""Crashed generations that are remembered."""
ABANDONED = 600.0
"""Seconds after which a state that was left, or the request for one, is of a session that was killed."""

_POINTER_MAGIC = "hotreload-generation 1"
_RECORD_MAGIC = "hotreload-host 1"
_MARK_MAGIC = "hotreload-crash 1"
_SAVE_MAGIC = "hotreload-save 1"
TOKEN_VARIABLE = "HOTRELOAD_STATE"
"""In the environment of a host that is to take the state which another has left: the token."""
_DIGITS = 12
"""Of the digest, in names."""
_RECORD_SIZE = 4096
_VERSION = re.compile(r"(?<=.\.so)(\.[0-9]+)+\Z")
"""Of a library's name. It is no part of the names here: hosts open a link that leads to some version."""


class Slot:
    """The run directory as one library sees it. Holds no state: every call reads what is there now."""

    def __init__(self, library: str) -> None:
        parent, name = os.path.split(os.path.abspath(library))
        self._name = _VERSION.sub("", name)
        self._parent = os.path.realpath(parent)
        self.directory = os.path.join(self._parent, DIRECTORY)
        self.library = os.path.join(self._parent, self._name)
        self._generation_name = re.compile(re.escape(self._name) + r"\.(\d+)-([0-9a-f]+)\.so")
        self._record_name = re.compile(re.escape(self._name) + r"\.host\.\d+\.\d+")
        self._mark_name = re.compile(re.escape(self._name) + r"\.crashed\.[0-9a-f]+")
        self._state_name = re.compile(re.escape(self._name) + r"\.(state\.[0-9a-f]+|save\.\d+\.\d+)")

    # --- the directory ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the run directory, or refuse one that somebody else could write."""
        with contextlib.suppress(FileExistsError):
            try:
                os.mkdir(self.directory, 0o700)
            except OSError as error:
                if isinstance(error, FileExistsError):
                    raise
                raise HotReloadError(
                    f"cannot make the run directory: {error.strerror}",
                    self.directory,
                    "make the library's directory writable for you, or build into another one",
                ) from error
        for path in (self._parent, self.directory):
            _require_trust(path)

    def is_record(self, path: str) -> bool:
        """Whether a changed file is a host's control record, i.e. a host has come."""
        directory, name = os.path.split(path)
        return directory == self.directory and self._record_name.fullmatch(name) is not None

    def is_mark(self, path: str) -> bool:
        """Whether a changed file says that a generation has crashed."""
        directory, name = os.path.split(path)
        return directory == self.directory and self._mark_name.fullmatch(name) is not None

    def is_pointer(self, path: str) -> bool:
        """Whether a changed file names the newest generation."""
        return path == self._path("newest")

    def holds(self, path: str) -> bool:
        """Whether a file is one of the run directory's."""
        return os.path.dirname(path) == self.directory

    # --- generations -----------------------------------------------------------------------------------------

    def newest(self) -> Generation | None:
        """What the pointer names; None when nothing is published or the pointer is not to be believed."""
        try:
            fields = _parse(read_regular(self._path("newest")), _POINTER_MAGIC)
            return Generation(
                self._name,
                int(fields["number"]),
                os.path.join(self.directory, os.path.basename(fields["file"])),
                int(fields["size"]),
                fields["digest"],
                "" if fields["build_id"] == "-" else fields["build_id"],
                int(fields.get("restores", "0")),
            )
        except (OSError, KeyError, ValueError):
            return None

    def publish(
        self, image: Image, data: bytes, keep: bool = False, plans: Mapping[str, bytes] | None = None
    ) -> Generation:
        """``publish_together`` of this one alone."""
        return publish_together([Parcel(self, image, data, keep, plans)])[0]

    def together(self) -> dict[str, int]:
        """What the newest generation must not run without: number by library, that one or a later one."""
        found = {}
        with contextlib.suppress(OSError, ValueError):
            for line in _checked(read_regular(self._path("newest")), _POINTER_MAGIC, "surrogateescape"):
                key, _, value = line.partition(" ")
                number, _, library = value.partition(" ")
                if key == "together":
                    found[library] = int(number)
        return found

    def _new_number(self, newest: Generation | None) -> int:
        return 1 + max([newest.number if newest else 0, *self._numbers()])

    def before_newest(self) -> tuple[int, str] | None:
        """(number, file name) of the generation whose code ran before the newest one's: what an undo goes back to.

        An undo after an undo goes on backwards; what crashed is passed over. None: nothing older is kept.
        """
        newest = self.newest()
        if newest is None:
            return None
        found: dict[str, tuple[int, str]] = {}
        """By digest, so that what an undo published again counts as what it restored."""
        for name in self._names():
            if match := self._generation_name.fullmatch(name):
                digest, number = match[2], int(match[1])
                found[digest] = min(found.get(digest, (number, name)), (number, name))
        base = newest.restores or newest.number
        older = [
            each
            for digest, each in found.items()
            if each[0] < base and not newest.digest.startswith(digest) and self.crash_of(digest) is None
        ]
        return max(older, default=None)

    def add_plan(self, generation: Generation, origin: str, content: bytes) -> None:
        """Put a plan beside a generation, for hosts that run the generation whose file is called ``origin``."""
        self._replace(self._plan_path(generation.path, origin), content)

    def has_plan(self, generation: Generation, origin: str) -> bool:
        return os.path.exists(self._plan_path(generation.path, origin))

    def _plan_path(self, path: str, origin: str) -> str:
        return f"{path}.from.{origin[len(self._name) + 1 :]}"

    def read_generation(self, file: str) -> bytes:
        """The bytes of a generation, by its file name; HotReloadError when it is gone."""
        path = self.generation_path(file)
        try:
            with open(path, "rb") as opened:
                return opened.read()
        except OSError as error:
            raise HotReloadError(
                f"cannot read a generation that a host runs: {error.strerror}", path, "restart that host"
            ) from error

    def published_at(self, file: str) -> float:
        """When the generation of this file name was published, Unix seconds; OSError when it is gone."""
        return os.stat(os.path.join(self.directory, os.path.basename(file))).st_mtime

    def collect(self, in_use: Iterable[str]) -> None:
        """Delete old generations, but for the newest KEPT and those (file names) that hosts have mapped."""
        keep = set(in_use)
        with contextlib.suppress(FileNotFoundError), self._locked():
            newest = self.newest()
            if newest:
                keep.add(os.path.basename(newest.path))
            numbered = sorted(
                (int(match[1]), name) for name in self._names() if (match := self._generation_name.fullmatch(name))
            )
            gone = {name for _, name in numbered[:-KEPT] if name not in keep}
            for name in gone:
                self._unlink(name)
            for name in self._names():
                target, plan, origin = name.partition(".from.")
                if plan and (target in gone or f"{self._name}.{origin}" in gone):
                    self._unlink(name)
            for name in sorted(filter(self._mark_name.fullmatch, self._names()), key=self._age)[:-KEPT_MARKS]:
                self._unlink(name)
            for name in filter(self._state_name.fullmatch, self._names()):
                if time.time() - self._age(name) / 1e9 > ABANDONED:
                    self._unlink(name)

    def clean(self) -> None:
        """What ``scons -c`` does: all goes but the records of living hosts, and with the last file the directory."""
        for name in self._names():
            if not self._record_name.fullmatch(name):
                self._unlink(name)
        with contextlib.suppress(OSError):
            os.rmdir(self.directory)

    # --- trouble ---------------------------------------------------------------------------------------------

    def set_trouble(self, text: str) -> None:
        """Remember, for whoever asks later, why the newest edit is not published."""
        with contextlib.suppress(HotReloadError, OSError):
            self.prepare()
            self._replace(self._path("trouble"), text.encode())

    def clear_trouble(self) -> None:
        self._unlink(f"{self._name}.trouble")

    def trouble(self) -> str:
        try:
            with open(self._path("trouble"), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    # --- crashes ---------------------------------------------------------------------------------------------

    def crashes(self) -> list[Crash]:
        """What the marks tell, oldest first; a mark that is not to be believed still counts for ``crash_of``."""
        names = sorted(filter(self._mark_name.fullmatch, self._names()), key=self._age)
        return [crash for name in names if (crash := self._read_mark(os.path.join(self.directory, name)))]

    def crash_of(self, digest: str) -> tuple[str, Crash | None] | None:
        """(path of the mark, what it tells if it can be read) of a library that must not be loaded again."""
        path = self._path(f"crashed.{digest[:_DIGITS]}")
        return (path, self._read_mark(path)) if os.path.lexists(path) else None

    def explain(self, crash: Crash, where: str) -> None:
        """Put the place into a mark, for hosts to name it."""
        with contextlib.suppress(OSError, ValueError, HotReloadError):
            fields = _parse(read_regular(crash.mark), _MARK_MAGIC)
            fields["where"] = where.replace("\n", " ") or "-"
            lines = [f"{key} {value}" for key, value in fields.items() if key]
            self._replace(crash.mark, _sealed([_MARK_MAGIC, *lines]))

    def generation_path(self, name: str) -> str:
        """Where the generation with this file name is, or was."""
        return os.path.join(self.directory, os.path.basename(name))

    def _read_mark(self, path: str) -> Crash | None:
        try:
            fields = _parse(read_regular(path), _MARK_MAGIC)
            words = [fields[key] for key in ("generation", "signal", "fate", "cause", "address", "frames", "file")]
            where = "" if fields["where"] == "-" else fields["where"]
            return replace(_crash(words, int(fields["pid"])), where=where, mark=path)
        except (OSError, KeyError, ValueError):
            return None

    def _age(self, name: str) -> int:
        try:
            return os.stat(os.path.join(self.directory, name)).st_mtime_ns
        except OSError:
            return 0

    # --- control records -------------------------------------------------------------------------------------

    def records(self) -> list[str]:
        """Paths of the control records that are there, whoever wrote them."""
        return sorted(os.path.join(self.directory, name) for name in self._names() if self._record_name.fullmatch(name))

    def read_record(self, path: str) -> Host:
        """The host that a control record tells of, unproven; HotReloadError when it is not to be believed."""
        try:
            return parse_record(read_regular(path), path)
        except OSError as error:
            raise HotReloadError(f"cannot read a control record: {error.strerror}", path) from error

    def ask_for_state(self, record: str, token: str) -> None:
        """Request that the host of ``record`` leave its state under ``token``, for a child of this process."""
        _, _, host = record.rpartition(".host.")
        path = self._path(f"save.{host}")
        self._replace(path, _sealed([_SAVE_MAGIC, f"token {token}", f"parent {os.getpid()}"]))

    def discard_state(self, record: str, token: str) -> None:
        """Delete what is left of a handover: the request, the state, and what was being written."""
        _, _, host = record.rpartition(".host.")
        for name in (f"{self._name}.save.{host}", f"{self._name}.state.{token}", f".{self._name}.state.{token}"):
            self._unlink(name)

    def discard_record(self, path: str) -> None:
        """Delete the record of a host that is gone."""
        self._unlink(os.path.basename(path))

    # --- below -----------------------------------------------------------------------------------------------

    def _path(self, suffix: str) -> str:
        return os.path.join(self.directory, f"{self._name}.{suffix}")

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.directory) if name.startswith(self._name + ".")]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _numbers(self) -> list[int]:
        return [int(match[1]) for name in self._names() if (match := self._generation_name.fullmatch(name))]

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(os.path.join(self.directory, name))

    def _replace(self, path: str, data: bytes) -> None:
        """Written under a name of this process's own, then renamed."""
        with _Change() as change:
            change.write(path, data)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HotReloadError(
                f"cannot publish: {error.strerror}", self._path("lock"), "make the run directory writable for you"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Parcel:
    """Something to be published: ``data`` are the bytes that ``image`` was read from."""

    slot: Slot
    image: Image
    data: bytes
    keep: bool = False
    """Hosts never unload it."""
    plans: Mapping[str, bytes] | None = None
    """By the file name of the generation that each begins at; they are there before the generation is.

    None: hosts carry their state over by its size alone."""
    restores: int = 0
    """The number of the generation that these bytes are of, for an undo."""


def publish_together(parcels: Sequence[Parcel]) -> list[Generation]:
    """Make each the newest generation of its library; hosts that have several of them open take those together.

    Atomic: a host sees the whole of one or nothing, and when one cannot be written all stay as they were. Bytes equal
    to the newest generation are not published again; its Generation is returned.
    """
    with contextlib.ExitStack() as locks, _Change() as change:
        for parcel in parcels:
            parcel.slot.prepare()
        for parcel in sorted(parcels, key=lambda parcel: parcel.slot.library):  # one order, whoever publishes
            locks.enter_context(parcel.slot._locked())
        made: dict[str, tuple[Parcel, Generation]] = {}
        generations = []
        for parcel in parcels:
            slot, image = parcel.slot, parcel.image
            newest = slot.newest()
            if newest and newest.digest == image.digest and _size(newest.path) == newest.size:
                generations.append(newest)
                continue
            number = slot._new_number(newest)
            path = slot._path(f"{number}-{image.digest[:_DIGITS]}.so")
            generation = Generation(
                slot._name, number, path, len(parcel.data), image.digest, image.build_id, parcel.restores
            )
            change.write(path, parcel.data)
            for origin, content in (parcel.plans or {}).items():
                change.write(slot._plan_path(path, origin), content)
            generations.append(generation)
            made[slot.library] = (parcel, generation)
        numbers = {library: generation.number for library, (_, generation) in made.items()}
        for library, (parcel, generation) in made.items():
            slot = parcel.slot
            partners = {other: number for other, number in slot.together().items() if _is_published(other, number)}
            partners |= {other: number for other, number in numbers.items() if other != library and "\n" not in other}
            lines = [
                _POINTER_MAGIC,
                f"number {generation.number}",
                f"file {os.path.basename(generation.path)}",
                f"size {generation.size}",
                f"build_id {generation.build_id or '-'}",
                f"digest {generation.digest}",
                f"plans {'no' if parcel.plans is None else 'yes'}",
                *([f"restores {parcel.restores}"] if parcel.restores else []),
                *(["keep 1"] if parcel.keep else []),
            ]
            wanted = [f"together {number} {other}" for other, number in partners.items()]
            while len(_sealed(lines + wanted)) >= _RECORD_SIZE:
                del wanted[0]  # carried for long
            change.write(slot._path("newest"), _sealed(lines + wanted))
    for parcel in parcels:
        parcel.slot.clear_trouble()
    return generations


def _is_published(library: str, number: int) -> bool:
    newest = Slot(library).newest()
    return newest is not None and newest.number >= number


class _Change:
    """Files that come at once: all are written under names of this process's own; at the end, in order, renamed."""

    def __init__(self) -> None:
        self._written: list[tuple[str, str]] = []

    def write(self, path: str, data: bytes) -> None:
        directory, name = os.path.split(path)
        temporary = os.path.join(directory, f".{name}.{os.getpid()}")
        with _said(path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)  # of a process with our pid that was killed
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._written.append((temporary, path))
            with open(descriptor, "wb", buffering=0) as file:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]

    def __enter__(self) -> _Change:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            while self._written and kind is None:
                temporary, path = self._written[0]
                with _said(path):
                    os.rename(temporary, path)
                del self._written[0]
        finally:
            for temporary, _ in self._written:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)


@contextlib.contextmanager
def _said(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HotReloadError(
            f"cannot publish: {error.strerror}", path, "make room there or permission; hosts go on with what they have"
        ) from error


def read_regular(path: str) -> bytes:
    """A pointer or record; OSError for what is no regular file: a FIFO would hold us up, a link lead elsewhere."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return os.read(descriptor, _RECORD_SIZE)
    finally:
        os.close(descriptor)


def parse_record(data: bytes, path: str) -> Host:
    """A control record's bytes → Host; HotReloadError when they are torn, foreign or of another version."""
    try:
        fields = _parse(data, _RECORD_MAGIC)
        status = fields["status"]
        if status not in ("waiting", "running", "ready", "refused", "closed"):
            raise ValueError(f"unknown status {status}")
        return Host(
            pid=int(fields["pid"]),
            record=path,
            signal=int(fields["signal"]),
            generation=int(fields["generation"]),
            tried=int(fields["tried"]),
            status=status,  # type: ignore[arg-type]
            reason=_unescaped(fields["reason"]),
            sequence=int(fields["sequence"]),
            functions=() if fields["functions"] == "-" else tuple(fields["functions"].split(",")),
            load_us=float(fields["load_us"]),
            pause_us=float(fields["pause_us"]),
            state_size=int(fields["state_size"]),
            file="" if fields["file"] == "-" else fields["file"],
            lost=int(fields.get("lost", "0")),
            blocks=int(fields.get("blocks", "0")),
            moved=int(fields.get("moved", "0")),
            guard=fields.get("guard", ""),
            crash=_crash(fields["crash"].split(" "), int(fields["pid"])) if "crash" in fields else None,
            saved=_unescaped(fields["saved"]) if "saved" in fields else None,
            inherited=_unescaped(fields.get("inherited", "-")),
        )
    except (KeyError, ValueError) as error:
        raise HotReloadError(
            f"this is not a control record ({error})", path, "it is ignored; delete it if no host of yours wrote it"
        ) from error


def _crash(words: list[str], pid: int) -> Crash:
    """The runtime's "NUMBER SIGNAL FATE CAUSE ADDRESS FRAMES FILE"; ValueError when it is something else."""
    number, signal, fate, cause, address, frames, file = words
    if fate not in ("rolled-back", "ended"):
        raise ValueError(f"unknown fate {fate}")
    return Crash(
        pid=pid,
        generation=int(number),
        file=file,
        signal=int(signal),
        fate=fate,  # type: ignore[arg-type]
        cause=cause,
        address=int(address, 16),
        frames=tuple(None if frame == "-" else int(frame, 16) for frame in frames.split(",")),
    )


def _parse(data: bytes, magic: str) -> dict[str, str]:
    pairs = (line.partition(" ") for line in _checked(data, magic))
    return {key: value for key, _, value in pairs}


def _checked(data: bytes, magic: str, errors: str = "replace") -> list[str]:
    """Its lines between the magic word and the sum; ValueError when it is torn, foreign or of another version."""
    body, found, tail = data.partition(b"\nsum ")
    if not found:
        raise ValueError("no sum")
    if not body.startswith(magic.encode() + b"\n"):
        raise ValueError("another format or version")
    body += b"\n"
    if f"{zlib.crc32(body):08x}" != tail[:8].decode("ascii", "replace"):
        raise ValueError("its sum is wrong")
    return body.decode("utf-8", errors).split("\n")[1:-1]


def _sealed(lines: Iterable[str]) -> bytes:
    body = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    return body + f"sum {zlib.crc32(body):08x}\n".encode()


def _unescaped(text: str) -> str:
    return "" if text == "-" else re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _require_trust(path: str) -> None:
    """A place that another user can write could make a host run that user's code: refuse it.

    Group-writable is accepted for a user's private group (Debian's umask 002), recognised by uid == gid.
    """
    status = os.stat(path)
    if status.st_uid not in (os.geteuid(), 0):
        raise HotReloadError(
            f"this directory belongs to another user (uid {status.st_uid})", path, "build into a directory of your own"
        )
    shared = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != status.st_uid)
    if shared:
        raise HotReloadError(
            "other users can write here, so they could change the code that hosts run",
            path,
            f"chmod go-w '{path}', or build into a directory of your own",
        )
