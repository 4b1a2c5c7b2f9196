"""Units that are the same as in an earlier state of their library, but for addresses: these need no sweep."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from .debug import Variable
from .dwarf_format import (
    ADDR,
    ADDRESSED,
    BLOCKS,
    LABEL,
    LINE_STRP,
    LOCATION,
    OP_ADDR,
    PARAMETER,
    SEC_OFFSET,
    STRP,
    uleb,
)
from .dwarf_sweep import Found, address_of
from .dwarf_units import Strings, Unit


@dataclass(frozen=True)
class Shape:
    """Which bytes of a unit a linker writes, so that others can be compared with it without these. Bytes and masks are
    held as little-endian numbers: nothing else in Python compares megabytes under a mask in milliseconds."""

    whole: int
    mask: int
    """Ones where bytes must be equal."""
    named: int
    """The same, where the texts that names are in are equal too."""
    texts: struct.Struct
    """Unpacks the offsets of the names in .debug_str."""
    lines: struct.Struct
    """In .debug_line_str."""
    by_number: bool
    """Names go through .debug_str_offsets."""


class Kept:
    """A unit and what was found in it, kept for when the next state of its library is read."""

    def __init__(self, unit: Unit, found: Found) -> None:
        self.unit, self.found = unit, found
        self._shape: Shape | Literal["not made"] | None = "not made"

    def make_shape(self) -> Shape | None:
        """When it is first asked for; None for a unit that cannot be compared."""
        if self._shape == "not made":
            self._shape = _shape(self.unit)
            if self._shape:
                self.unit.reader = None  # it refers to no other: nothing else of that file is kept for its sake
        return self._shape

    def move(self, unit: Unit, shape: Shape) -> None:
        """It is the same as ``unit``, of a later state: that one's bytes and texts take the place of the earlier ones,
        which go, and the next comparison is with the state before it."""
        self.unit.take_place_of(unit)
        self._shape = shape

    def moved_to(self, unit: Unit) -> Iterator[Variable]:
        """Its variables at the addresses that they have in a unit which is the same but for these."""
        for at, place, was in self.found.variables:
            address = unit.number(place, unit.address_size) if place else _address(unit, at)
            yield Variable(was.name, was.scope, was.unit, was.external, address, was.type)


def _address(unit: Unit, at: int) -> int:
    """Of the variable whose entry is at this offset."""
    address = address_of(unit, unit.entry(at)[1][LOCATION])
    if address is None:
        raise ValueError("a variable without an address")
    return address


class Before:
    """The units of the library that was read before: most are the same but for addresses, and need no sweep."""

    def __init__(self, kept: Sequence[Kept]) -> None:
        self._kept: dict[tuple[str, int], list[Kept]] = {}
        self._old = [each.unit.strings for each in kept]
        """Whatever an id is of stays."""
        self._same_texts: dict[int, bool] = {}
        self._moved: dict[int, dict[int, int | None]] = {}
        """Of texts: where names were → where they are, as far as it is known. A name may be in several places."""
        for each in kept:
            self._kept.setdefault((each.unit.name, len(each.unit.info)), []).append(each)

    def like(self, unit: Unit) -> Kept | None:
        """One of them that says the same of everything but addresses, moved there; None: there is none, or that
        cannot be told."""
        same_name = self._kept.get((unit.name, len(unit.info)), [])
        for other in same_name:
            same_head = (unit.first, unit.table_key) == (other.unit.first, other.unit.table_key)
            if same_head and (shape := self._shape_of(unit, other)):
                same_name.remove(other)  # it stands for one only
                other.move(unit, shape)
                return other
        return None

    def _shape_of(self, new: Unit, kept: Kept) -> Shape | None:
        """None: it is not the same."""
        old, shape = kept.unit, kept.make_shape()
        if shape is None:
            return None
        whole = int.from_bytes(new.info, "little")
        differences = shape.whole ^ whole
        if differences & shape.mask:
            return None
        if not shape.by_number and self._are_same_texts(old.strings, new.strings):
            return None if differences & shape.named else replace(shape, whole=whole)
        for form, place in ((shape.texts, "texts"), (shape.lines, "lines")):
            offsets = form.unpack(old.info), form.unpack(new.info)
            if not self._names(getattr(old.strings, place), getattr(new.strings, place), *offsets):
                return None
        if shape.by_number:
            one, two = (unit.numbered_names() for unit in (old, new))
            if len(one) != len(two) or not self._names(old.strings.texts, new.strings.texts, one, two):
                return None
        return replace(shape, whole=whole)

    def _are_same_texts(self, old: Strings, new: Strings) -> bool:
        """Whether an offset means the same name in both. Asked of one new library only."""
        if id(old) not in self._same_texts:
            self._same_texts[id(old)] = old.texts == new.texts and old.lines == new.lines
        return self._same_texts[id(old)]

    def _names(self, old: bytes, new: bytes, were: Sequence[int], are: Sequence[int]) -> bool:
        """Whether the names at these offsets of two sections are the same, one by one."""
        if id(old) not in self._moved:
            self._moved[id(old)] = _moves(old, new)
        moved = self._moved[id(old)]
        if tuple(map(moved.get, were)) == tuple(are):
            return True
        for one, two in zip(were, are, strict=True):
            if moved.get(one) != two:
                if not new.startswith(old[one : old.index(b"\0", one) + 1], two):
                    return False
                moved[one] = two
        return True


def _moves(old: bytes, new: bytes) -> dict[int, int | None]:
    """Where texts were → where they are. Not those that are the end of another one (a linker merges these)."""
    (were, texts), (are, now) = _texts(old), _texts(new)
    return dict(zip(were, map(dict(zip(now, are, strict=True)).get, texts), strict=True))


def _texts(section: bytes) -> tuple[list[int], list[bytes]]:
    texts = section.split(b"\0")
    places = list(accumulate(map(len, texts), lambda at, length: at + length + 1, initial=0))
    return places[:-1], texts


_UNNAMED = frozenset({PARAMETER, LABEL})
"""Entries whose names mean nothing to anybody here. Nor do those of variables that have a place on the stack only."""


def _shape(unit: Unit) -> Shape | None:
    """None for a unit that refers to others, or has forms that are not looked through here."""
    if unit.offset_size != 4 or unit.signature is not None:
        return None
    info, table, address_size = unit.info, unit.table, unit.address_size
    texts: list[int] = []
    lines: list[int] = []
    addresses: list[int] = []
    offsets: list[int] = []
    by_number = False
    ignored: list[int] = []
    places = {STRP: texts, LINE_STRP: lines, ADDR: addresses, SEC_OFFSET: offsets}
    unnamed = {**places, STRP: ignored, LINE_STRP: ignored}
    at = unit.first
    while at < len(info):
        code, at = uleb(info, at)
        if code == 0:
            continue
        abbrev = table[code]
        if abbrev.elsewhere:
            return None
        is_named = abbrev.tag not in _UNNAMED
        by_number = by_number or abbrev.by_number
        starts = [at]
        for gap, form, is_location in abbrev.jumps:
            at += gap
            if is_location and form in BLOCKS:
                length, begin = unit.length(form, at)
                if length > address_size and info[begin] == OP_ADDR:
                    addresses.append(begin + 1)
                is_named = length > 0 and info[begin] in ADDRESSED
                at = begin + length
            else:
                at = unit.skip_form(form, at)
            starts.append(at)
        for run, gap, form in abbrev.linked:
            (places if is_named else unnamed)[form].append(starts[run] + gap)
        at += abbrev.tail
    named = bytearray(b"\xff") * len(info)
    named[: unit.first] = bytes(unit.first)
    _blank(named, addresses, address_size)
    _blank(named, offsets, 4)
    mask = named[:]
    for each in (texts, lines, ignored):
        _blank(mask, each, 4)
    order = "<" if unit.strings.order == "little" else ">"
    return Shape(
        int.from_bytes(info, "little"),
        int.from_bytes(mask, "little"),
        int.from_bytes(named, "little"),
        _offsets(order, texts, len(info)),
        _offsets(order, lines, len(info)),
        by_number,
    )


def _blank(mask: bytearray, places: Iterable[int], size: int) -> None:
    zeros = bytes(size)
    for at in places:
        mask[at : at + size] = zeros


def _offsets(order: str, places: list[int], size: int) -> struct.Struct:
    """Unpacks the four-byte numbers at these places of so many bytes, in one call."""
    parts, at = [order], 0
    for place in places:
        parts.append(f"{place - at}xI")
        at = place + 4
    return struct.Struct("".join(parts) + f"{size - at}x")
