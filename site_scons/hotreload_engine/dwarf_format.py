"""DWARF's format: its constants, numbers, heads of units, and tables of abbreviations. Bytes in, values out.

Formats: DWARF 4 and 5, dwarfstd.org, section 7.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

# --- constants of the standard that are needed here ---------------------------------------------------------

# Tags: kinds of entries.
ARRAY, CLASS, ENUMERATION, PARAMETER, LEXICAL_BLOCK, MEMBER = 0x01, 0x02, 0x04, 0x05, 0x0B, 0x0D
POINTER, REFERENCE, STRUCTURE, SUBROUTINE, TYPEDEF, UNION = 0x0F, 0x10, 0x13, 0x15, 0x16, 0x17
UNSPECIFIED_PARAMETERS, INHERITANCE, PTR_TO_MEMBER, SUBRANGE, BASE, CONST = 0x18, 0x1C, 0x1F, 0x21, 0x24, 0x26
ENUMERATOR, SUBPROGRAM, VARIABLE, VOLATILE, RESTRICT, NAMESPACE = 0x28, 0x2E, 0x34, 0x35, 0x37, 0x39
UNSPECIFIED, RVALUE, ATOMIC, LABEL = 0x3B, 0x42, 0x47, 0x0A
RECORDS = {STRUCTURE: "struct", UNION: "union", CLASS: "class"}

# Attributes.
LOCATION, NAME, BYTE_SIZE, BIT_SIZE, CONST_VALUE = 0x02, 0x03, 0x0B, 0x0D, 0x1C
UPPER_BOUND, ORIGIN, ARTIFICIAL, COUNT, MEMBER_LOCATION, DECLARATION = 0x2F, 0x31, 0x34, 0x37, 0x38, 0x3C
ENCODING, EXTERNAL, SPECIFICATION, TYPE, VIRTUALITY, BIT_OFFSET = 0x3E, 0x3F, 0x47, 0x49, 0x4C, 0x0C
DATA_BIT_OFFSET, LINKAGE_NAME, STR_OFFSETS_BASE, ADDR_BASE, DWO_NAME = 0x6B, 0x6E, 0x72, 0x73, 0x76
GNU_DWO_NAME, SIGNATURE, LANGUAGE, MIPS_LINKAGE_NAME = 0x2130, 0x69, 0x13, 0x2007
WANTED = frozenset(
    {
        LOCATION, NAME, BYTE_SIZE, BIT_SIZE, CONST_VALUE, UPPER_BOUND, ORIGIN, ARTIFICIAL, COUNT,
        MEMBER_LOCATION, DECLARATION, ENCODING, EXTERNAL, SPECIFICATION, TYPE, VIRTUALITY, BIT_OFFSET,
        DATA_BIT_OFFSET, LINKAGE_NAME, STR_OFFSETS_BASE, ADDR_BASE, DWO_NAME, GNU_DWO_NAME, SIGNATURE, LANGUAGE,
        MIPS_LINKAGE_NAME,
    }
)  # fmt: skip
"""Attributes that anybody asks for; the others are passed over."""

# Forms of attributes.
_FIXED = {  # form → bytes; offsets and addresses are added for each unit
    0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x19: 0, 0x1C: 4, 0x1E: 16,
    0x20: 8, 0x21: 0, 0x24: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4,
}  # fmt: skip
_OFFSETS = frozenset({0x0E, 0x10, 0x17, 0x1D, 0x1F, 0x1F20, 0x1F21})  # strp ref_addr sec_offset strp_sup line_strp GNU
LEB = frozenset({0x0D, 0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23, 0x1F01, 0x1F02})
STRING, STRP, LINE_STRP = 0x08, 0x0E, 0x1F
STRX = {0x1A: 0, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x1F02: 0}
ADDRX = {0x1B: 0, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4, 0x1F01: 0}
UNIT_REFS = {0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x15: 0}
BLOCKS = {0x03: 2, 0x04: 4, 0x0A: 1, 0x09: 0, 0x18: 0}  # form → bytes of the length; 0: LEB128
SEC_OFFSET = 0x17
_ELSEWHERE = frozenset({0x10, 0x16, 0x1C, 0x1D, 0x20, 0x24, 0x1F20, 0x1F21})
"""Forms that refer to other units or files: ref_addr, indirect, ref_sup, strp_sup, ref_sig8, the GNU ones."""
SDATA, FLAG_PRESENT, IMPLICIT, INDIRECT, REF_SIG8, REF_ADDR, ADDR, FLAG = (
    0x0D, 0x19, 0x21, 0x16, 0x20, 0x10, 0x01, 0x0C,
)  # fmt: skip
_LINKED = frozenset({STRP, LINE_STRP, ADDR, SEC_OFFSET})

# Operations of expressions.
OP_ADDR, OP_ADDRX, OP_GNU_ADDRX, OP_PLUS_UCONST, OP_CONSTU = 0x03, 0xA1, 0xFB, 0x23, 0x10
OP_DEREF, OP_DEREF_SIZE, OP_PIECE = 0x06, 0x94, 0x93
ADDRESSED = frozenset({OP_ADDR, OP_ADDRX, OP_GNU_ADDRX})
"""What the expression of something that has an address begins with."""


# --- numbers ------------------------------------------------------------------------------------------------


def uleb(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value, shift = byte & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def sleb(data: bytes, at: int) -> tuple[int, int]:
    begin = at
    value, at = uleb(data, at)
    bits = 7 * (at - begin)
    return (value - (1 << bits) if value >> (bits - 1) else value), at


# --- units --------------------------------------------------------------------------------------------------


class Head(NamedTuple):
    """Of a unit; offsets in its section, but for ``first`` and ``type_at``, which are from its beginning."""

    start: int
    end: int
    version: int
    offset_size: int
    address_size: int
    abbrevs: int
    """Offset in .debug_abbrev."""
    signature: int | None
    type_at: int
    first: int
    """Where its entries begin."""


def unit_heads(info: bytes, section: str, byte_order: str) -> Iterator[Head]:
    order = "<" if byte_order == "little" else ">"
    begin = 0
    while begin + 11 < len(info):
        at = begin
        (length,) = struct.unpack_from(order + "I", info, at)
        at += 4
        offset_size = 4
        if length == 0xFFFFFFFF:
            (length,) = struct.unpack_from(order + "Q", info, at)
            at += 8
            offset_size = 8
        end = at + length
        if end > len(info):
            raise ValueError("a unit that is longer than its section")
        (version,) = struct.unpack_from(order + "H", info, at)
        if not 2 <= version <= 5:
            raise ValueError(f"DWARF version {version}")
        at += 2
        offset = "I" if offset_size == 4 else "Q"
        kind = 1
        if version >= 5:
            kind, address_size, abbrevs = struct.unpack_from(order + "BB" + offset, info, at)
            at += 2 + offset_size
        else:
            abbrevs, address_size = struct.unpack_from(order + offset + "B", info, at)
            at += offset_size + 1
        signature: int | None = None
        type_at = 0
        if section == ".debug_types" or kind in (0x02, 0x06):  # DW_UT_type, DW_UT_split_type
            signature, type_at = struct.unpack_from(order + "Q" + offset, info, at)
            at += 8 + offset_size
        elif kind in (0x04, 0x05):  # DW_UT_skeleton, DW_UT_split_compile: an id of the other file
            at += 8
        yield Head(begin, end, version, offset_size, address_size, abbrevs, signature, type_at, at - begin)
        begin = end


# --- tables of abbreviations --------------------------------------------------------------------------------


class _Jump(NamedTuple):
    """Over attributes of fixed size to one that is not."""

    gap: int
    """Bytes of the former."""
    form: int
    location: bool


@dataclass(frozen=True, slots=True)
class Abbrev:
    tag: int
    children: bool
    steps: tuple[tuple[int, int, int], ...]
    """(attribute, form, implicit constant)"""
    jumps: tuple[_Jump, ...]
    tail: int
    """Bytes of the attributes behind the last jump; of all where there is none."""
    linked: tuple[tuple[int, int, int], ...]
    """What a linker writes, beside addresses in expressions: (jumps before it, bytes from there, form)."""
    by_number: bool
    """A name goes through .debug_str_offsets."""
    elsewhere: bool
    """It refers to other units or files, or may do so."""


Table = dict[int, Abbrev]
TableKey = tuple[bytes, int, int, int]
"""A table's bytes, up to where the next one begins; of the unit: bytes of an offset and of an address, version. All
that its meaning depends on, wherever it lies."""


@cache
def _fixed_sizes(offset_size: int, address_size: int, reference_size: int) -> dict[int, int]:
    fixed = dict(_FIXED) | dict.fromkeys(_OFFSETS, offset_size)
    fixed[ADDR] = address_size
    fixed[REF_ADDR] = reference_size
    return fixed


def form_sizes(key: TableKey) -> dict[int, int]:
    """Form → bytes, of those whose size is fixed in such a unit."""
    _, offset_size, address_size, version = key
    return _fixed_sizes(offset_size, address_size, address_size if version < 3 else offset_size)


def abbrev_table(key: TableKey) -> Table:
    data, at, sizes = key[0], 0, form_sizes(key)
    entries: Table = {}
    while True:
        code, at = uleb(data, at)
        if code == 0:
            return entries
        tag, at = uleb(data, at)
        children = bool(data[at])
        at += 1
        steps, linked, gap = [], [], 0
        jumps: list[_Jump] = []
        while True:
            attribute, at = uleb(data, at)
            form, at = uleb(data, at)
            constant = 0
            if form == IMPLICIT:
                constant, at = sleb(data, at)
            if not attribute and not form:
                break
            steps.append((attribute, form, constant))
            if form in _LINKED:
                linked.append((len(jumps), gap, form))
            if (size := sizes.get(form)) is not None:
                gap += size
            else:
                jumps.append(_Jump(gap, form, attribute == LOCATION))
                gap = 0
        forms = {form for _, form, _ in steps}
        by_number, elsewhere = (not forms.isdisjoint(kind) for kind in (STRX, _ELSEWHERE))
        entries[code] = Abbrev(tag, children, tuple(steps), tuple(jumps), gap, tuple(linked), by_number, elsewhere)
