"""Where the dynamic loader of a host finds the libraries that a plugin needs, and what symbols they bring (ld.so(8)).

Looks at the disk, starts nothing. glibc's rules: DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, the cache, the default places.
What cannot be told from here (a run path relative to the host's working directory, $LIB, $PLATFORM) is never guessed.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator

from .model import Company, Image, Need

UNKNOWN = "?"
"""In place of a path: the library may be there or not, nobody can tell from here."""

_CACHE = "/etc/ld.so.cache"
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_DEFAULT_PLACES = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")

Read = Callable[[str], Image | None]


def company(
    image: Image,
    library: str,
    place: str,
    program: Image,
    loaded: Iterable[Image] | None,
    library_path: str,
    read: Read,
    whole: bool = True,
) -> Company:
    """What ``image`` finds in a host.

    ``library``: where the linker put it; ``place``: the directory that hosts open it in. ``loaded``: what a running
    host has mapped beside ``program``; None when it does not run. ``library_path``: its LD_LIBRARY_PATH. ``read``: the
    image of a file, None for what is none. ``whole``: ``loaded`` is all of it.
    """
    search = _Search(library_path, program, read)
    mapped = list(loaded or ())
    known = {name: each for each in mapped for name in _called(each)}
    first = {program.path: program}
    todo = list(program.needed)
    for name in todo:  # grows while it is walked
        if name in known and known[name].path not in first:
            first[known[name].path] = known[name]
            todo += known[name].needed
    missing = (image.imports - image.exports).difference(*(each.exports for each in (program, *mapped)))
    found: list[Image] = []
    brought = search.walk([(program, os.path.dirname(program.path))] if loaded is None else [], known, found)
    undefined = _undefined(_undefined(missing, brought), search.walk([(image, place)], known, []))
    beside = os.path.dirname(library)
    needs = []
    for name in image.needed:
        path = search.find(name, image, place) if name not in known else UNKNOWN
        if path != UNKNOWN:
            needs.append(Need(name, _known(path), _known(search.find(name, image, beside))))
    return Company(
        where=program.path,
        runs=loaded is not None,
        first=(*first.values(), *found),
        later=tuple(each for each in mapped if each.path not in first),
        needs=tuple(needs),
        undefined=undefined if whole else None,
    )


def _undefined(missing: frozenset[str] | None, brought: Iterator[Image | None]) -> frozenset[str] | None:
    """Reads no more of what is brought along than is needed to define everything: libraries may be large.

    None: one was not found, so nobody knows what it would define.
    """
    while missing:
        try:
            other = next(brought)
        except StopIteration:
            break
        missing = None if other is None else missing - other.exports
    return missing


def _known(path: str | None) -> str:
    return "" if path is None or path == UNKNOWN else os.path.realpath(path)


def _called(image: Image) -> tuple[str, ...]:
    """Names by which the loader knows it again."""
    return tuple(name for name in (image.soname, os.path.basename(image.path), image.path) if name)


class _Search:
    def __init__(self, library_path: str, program: Image, read: Read) -> None:
        self._library_path = [place for part in library_path.split(":") for place in part.split(";") if place]
        self._program = program
        self._read = read

    def find(self, name: str, asker: Image, origin: str) -> str | None:
        """The path for ``name`` as needed by ``asker``, opened in the directory ``origin``; None or UNKNOWN."""
        if "/" in name:
            if not name.startswith("/"):
                return UNKNOWN
            return name if self._fits(name, asker) else None
        unknown = False
        for place in self._places(asker, origin):
            if not place.startswith("/") or "$" in place:
                unknown = True
            elif self._fits(path := os.path.normpath(os.path.join(place, name)), asker):
                return UNKNOWN if unknown else path
        if unknown:
            return UNKNOWN
        candidates = [*_cached(name), *(f"{place}/{name}" for place in _DEFAULT_PLACES)]
        return next((path for path in candidates if self._fits(path, asker)), None)

    def _places(self, asker: Image, origin: str) -> Iterator[str]:
        if asker.runpath is None:
            yield from (_expanded(place, origin) for place in asker.rpath)
            if self._program.runpath is None:
                yield from (_expanded(place, os.path.dirname(self._program.path)) for place in self._program.rpath)
        yield from self._library_path
        yield from (_expanded(place, origin) for place in asker.runpath or ())

    def _fits(self, path: str, asker: Image) -> bool:
        """The loader passes over files of another class (elf(5), EI_CLASS)."""
        try:
            with open(path, "rb") as file:
                head = file.read(5)
        except OSError:
            return False
        return head[:4] == b"\x7fELF" and head[4] == asker.bits // 32

    def walk(self, askers: list[tuple[Image, str]], known: Iterable[str], found: list[Image]) -> Iterator[Image | None]:
        """What ``askers`` bring along, breadth first, without what is known by name; None for what is not found.

        Each asker with the directory that it is opened in. ``found`` gets what was read on the way.
        """
        seen = set(known)
        todo = [(name, asker, origin) for asker, origin in askers for name in asker.needed]
        for name, asker, origin in todo:  # grows while it is walked
            if name in seen:
                continue
            seen.add(name)
            path = self.find(name, asker, origin)
            image = self._read(path) if path and path != UNKNOWN else None
            if image:
                found.append(image)
                todo += [(further, image, os.path.dirname(image.path)) for further in image.needed]
            yield image


def _expanded(place: str, origin: str) -> str:
    return place.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)


_cache: tuple[int, dict[str, list[str]]] = (0, {})


def _cached(name: str) -> list[str]:
    """Paths for a name in ld.so.cache; none when there is no cache, or another format of it."""
    global _cache
    with contextlib.suppress(OSError, struct.error, ValueError):
        stamp = os.stat(_CACHE).st_mtime_ns
        if _cache[0] != stamp:
            with open(_CACHE, "rb") as file:
                _cache = (stamp, _parsed(file.read()))
        return _cache[1].get(name, [])
    return []


def _parsed(data: bytes) -> dict[str, list[str]]:
    """glibc, sysdeps/generic/dl-cache.h: 48 bytes of header, then entries: flags, key, value, version, capabilities."""
    start = data.index(_CACHE_MAGIC)
    (count,) = struct.unpack_from("=I", data, start + len(_CACHE_MAGIC))
    found: dict[str, list[str]] = {}
    for index in range(count):
        key, value = struct.unpack_from("=4xII", data, start + 48 + 24 * index)
        name, path = (os.fsdecode(data[start + offset : data.index(b"\0", start + offset)]) for offset in (key, value))
        found.setdefault(name, []).append(path)
    return found
