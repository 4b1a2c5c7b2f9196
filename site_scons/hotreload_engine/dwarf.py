"""A library's debug information → its types and variables. Bytes in, values out: touches no disk and no process.

pyelftools opens the file (sections, compression); the entries are unpacked here, in one sweep, because an object per
attribute costs 60 µs an entry, at every save (a test compares both readings). Formats: DWARF 4 and 5, dwarfstd.org,
sections 7.5 (entries), 7.7 (expressions).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from .binary import Binary
from .debug import (
    VOID,
    Array,
    Debug,
    Enum,
    Function,
    Member,
    Opaque,
    Part,
    Pointer,
    Record,
    Scalar,
    Type,
    Variable,
)
from .model import HotReloadError


def read(data: bytes | Binary, path: str, known: Debug | None = None) -> Debug:
    """Read the debug information of a library or program; ``path`` is only named, never opened.

    ``known``: an earlier state of the same library. Units that have not changed since, but for their addresses, are
    taken over from it, types and all.

    A file that has none is no error: ``trouble`` says so. HotReloadError when it is damaged. Any thread.
    """
    try:
        return _read(Binary.of(data), path, known)
    except HotReloadError:
        raise
    except Exception as error:  # damaged bytes lead anywhere
        raise HotReloadError(
            f"its debug information is damaged ({type(error).__name__}: {str(error)[:120]})", path, "build it again"
        ) from error


def prepare(debug: Debug) -> None:
    """What the next ``read`` with this one as ``known`` would do first: for when there is time."""
    for unit in debug.units_read:
        unit.shape = unit.shape or _shape(unit)


# --- constants of the standard that are needed here ---------------------------------------------------------

_ARRAY, _CLASS, _ENUMERATION, _PARAMETER, _LEXICAL_BLOCK, _MEMBER = 0x01, 0x02, 0x04, 0x05, 0x0B, 0x0D
_POINTER, _REFERENCE, _STRUCTURE, _SUBROUTINE, _TYPEDEF, _UNION = 0x0F, 0x10, 0x13, 0x15, 0x16, 0x17
_UNSPECIFIED_PARAMETERS, _INHERITANCE, _PTR_TO_MEMBER, _SUBRANGE, _BASE, _CONST = 0x18, 0x1C, 0x1F, 0x21, 0x24, 0x26
_ENUMERATOR, _SUBPROGRAM, _VARIABLE, _VOLATILE, _RESTRICT, _NAMESPACE = 0x28, 0x2E, 0x34, 0x35, 0x37, 0x39
_UNSPECIFIED, _RVALUE, _ATOMIC = 0x3B, 0x42, 0x47
_RECORDS = {_STRUCTURE: "struct", _UNION: "union", _CLASS: "class"}
_QUALIFIERS = frozenset({_CONST, _VOLATILE, _RESTRICT, _ATOMIC})
_SCOPES = frozenset({_NAMESPACE, _SUBPROGRAM, _LEXICAL_BLOCK, *_RECORDS})

_LOCATION, _NAME, _BYTE_SIZE, _BIT_SIZE, _CONST_VALUE = 0x02, 0x03, 0x0B, 0x0D, 0x1C
_UPPER_BOUND, _ORIGIN, _ARTIFICIAL, _COUNT, _MEMBER_LOCATION, _DECLARATION = 0x2F, 0x31, 0x34, 0x37, 0x38, 0x3C
_ENCODING, _EXTERNAL, _SPECIFICATION, _TYPE, _VIRTUALITY, _BIT_OFFSET = 0x3E, 0x3F, 0x47, 0x49, 0x4C, 0x0C
_DATA_BIT_OFFSET, _LINKAGE_NAME, _STR_OFFSETS_BASE, _ADDR_BASE, _DWO_NAME = 0x6B, 0x6E, 0x72, 0x73, 0x76
_GNU_DWO_NAME, _SIGNATURE, _LANGUAGE, _MIPS_LINKAGE_NAME = 0x2130, 0x69, 0x13, 0x2007
_WANTED = frozenset(
    {
        _LOCATION, _NAME, _BYTE_SIZE, _BIT_SIZE, _CONST_VALUE, _UPPER_BOUND, _ORIGIN, _ARTIFICIAL, _COUNT,
        _MEMBER_LOCATION, _DECLARATION, _ENCODING, _EXTERNAL, _SPECIFICATION, _TYPE, _VIRTUALITY, _BIT_OFFSET,
        _DATA_BIT_OFFSET, _LINKAGE_NAME, _STR_OFFSETS_BASE, _ADDR_BASE, _DWO_NAME, _GNU_DWO_NAME, _SIGNATURE, _LANGUAGE,
        _MIPS_LINKAGE_NAME,
    }
)  # fmt: skip

_FIXED = {  # form → bytes; offsets and addresses are added for each unit
    0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x19: 0, 0x1C: 4, 0x1E: 16,
    0x20: 8, 0x21: 0, 0x24: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4,
}  # fmt: skip
_OFFSETS = frozenset({0x0E, 0x10, 0x17, 0x1D, 0x1F, 0x1F20, 0x1F21})  # strp ref_addr sec_offset strp_sup line_strp GNU
_LEB = frozenset({0x0D, 0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23, 0x1F01, 0x1F02})
_STRING, _STRP, _LINE_STRP = 0x08, 0x0E, 0x1F
_STRX = {0x1A: 0, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x1F02: 0}
_ADDRX = {0x1B: 0, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4, 0x1F01: 0}
_UNIT_REFS = {0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x15: 0}
_BLOCKS = {0x03: 2, 0x04: 4, 0x0A: 1, 0x09: 0, 0x18: 0}  # form → bytes of the length; 0: LEB128
_SEC_OFFSET = 0x17
_ELSEWHERE = frozenset({0x10, 0x16, 0x1C, 0x1D, 0x20, 0x24, 0x1F20, 0x1F21})
"""Forms that refer to other units or files: ref_addr, indirect, ref_sup, strp_sup, ref_sig8, the GNU ones."""
_SDATA, _FLAG_PRESENT, _IMPLICIT, _INDIRECT, _REF_SIG8, _REF_ADDR, _ADDR, _FLAG = (
    0x0D, 0x19, 0x21, 0x16, 0x20, 0x10, 0x01, 0x0C,
)  # fmt: skip
_OP_ADDR, _OP_ADDRX, _OP_GNU_ADDRX, _OP_PLUS_UCONST, _OP_CONSTU = 0x03, 0xA1, 0xFB, 0x23, 0x10
_OP_DEREF, _OP_DEREF_SIZE, _OP_PIECE = 0x06, 0x94, 0x93
_LINKED = frozenset({_STRP, _LINE_STRP, _ADDR, _SEC_OFFSET})
_ADDRESSED = frozenset({_OP_ADDR, _OP_ADDRX, _OP_GNU_ADDRX})
"""What the expression of something that has an address begins with."""


class _Jump(NamedTuple):
    """Over attributes of fixed size to one that is not."""

    gap: int
    """Bytes of the former."""
    form: int
    location: bool


@dataclass(frozen=True, slots=True)
class _Abbrev:
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


_Attributes = dict[int, Any]


@dataclass(frozen=True)
class _Strings:
    """What entries refer to by an offset or a number."""

    order: Literal["little", "big"]
    texts: bytes
    lines: bytes
    offsets: bytes
    addresses: bytes


class _Reader:
    """The units of one file."""

    def __init__(self, binary: Binary, known: Iterable[_Unit] = ()) -> None:
        """``known``: units of a library read before, whose tables are likely to be the same."""

        def sections(name: str) -> bytes:
            section = binary.named.get(name)
            return bytes(section.data()) if section is not None else b""

        self.strings = _Strings(
            "little" if binary.file.little_endian else "big",
            sections(".debug_str"),
            sections(".debug_line_str"),
            sections(".debug_str_offsets"),
            sections(".debug_addr"),
        )
        abbrevs = sections(".debug_abbrev")
        self.signatures: dict[int, tuple[_Unit, int]] = {}
        self._tables = {unit.table_key: unit.table for unit in known}
        self.units: list[_Unit] = []
        infos = {name: sections(name) for name in (".debug_info", ".debug_types")}
        heads = [(name, head) for name, info in infos.items() for head in _heads(info, name, self.strings.order)]
        begins = sorted({head.abbrevs for _, head in heads})
        raw = {begin: abbrevs[begin:end] for begin, end in zip(begins, [*begins[1:], None], strict=False)}
        for name, head in heads:
            unit = _Unit(self, infos[name], head, name, raw[head.abbrevs])
            if head.signature is not None:
                self.signatures[head.signature] = (unit, head.type_at)
            self.units.append(unit)

    def table(self, key: _TableKey) -> _Table:
        if key not in self._tables:
            self._tables[key] = _table(key)
        return self._tables[key]

    def unit_at(self, section: str, at: int) -> _Unit:
        for unit in self.units:
            if unit.section == section and unit.start <= at < unit.start + len(unit.info):
                return unit
        raise ValueError(f"a reference to {at:#x}, where no unit is")


class _Head(NamedTuple):
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


def _heads(info: bytes, section: str, byte_order: str) -> Iterator[_Head]:
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
        yield _Head(begin, end, version, offset_size, address_size, abbrevs, signature, type_at, at - begin)
        begin = end


_Table = dict[int, _Abbrev]
_TableKey = tuple[bytes, int, int, int]
"""A table's bytes, up to where the next one begins; of the unit: bytes of an offset and of an address, version. All
that its meaning depends on, wherever it lies."""


@cache
def _form_sizes(offset_size: int, address_size: int, reference_size: int) -> dict[int, int]:
    fixed = dict(_FIXED) | dict.fromkeys(_OFFSETS, offset_size)
    fixed[_ADDR] = address_size
    fixed[_REF_ADDR] = reference_size
    return fixed


def _sizes(key: _TableKey) -> dict[int, int]:
    """Form → bytes, of those whose size is fixed in such a unit."""
    _, offset_size, address_size, version = key
    return _form_sizes(offset_size, address_size, address_size if version < 3 else offset_size)


def _table(key: _TableKey) -> _Table:
    data, at, sizes = key[0], 0, _sizes(key)
    entries: _Table = {}
    while True:
        code, at = _uleb(data, at)
        if code == 0:
            return entries
        tag, at = _uleb(data, at)
        children = bool(data[at])
        at += 1
        steps, linked, gap = [], [], 0
        jumps: list[_Jump] = []
        while True:
            attribute, at = _uleb(data, at)
            form, at = _uleb(data, at)
            constant = 0
            if form == _IMPLICIT:
                constant, at = _sleb(data, at)
            if not attribute and not form:
                break
            steps.append((attribute, form, constant))
            if form in _LINKED:
                linked.append((len(jumps), gap, form))
            if (size := sizes.get(form)) is not None:
                gap += size
            else:
                jumps.append(_Jump(gap, form, attribute == _LOCATION))
                gap = 0
        forms = {form for _, form, _ in steps}
        by_number, elsewhere = (not forms.isdisjoint(kind) for kind in (_STRX, _ELSEWHERE))
        entries[code] = _Abbrev(tag, children, tuple(steps), tuple(jumps), gap, tuple(linked), by_number, elsewhere)


class _Unit:
    """The entries of one source file. Offsets are from the unit's beginning."""

    def __init__(self, reader: _Reader, info: bytes, head: _Head, section: str, abbrevs: bytes) -> None:
        self.reader: _Reader | None = reader
        """None when nothing in it refers to other units."""
        self.strings, self.section = reader.strings, section
        self.start, self.signature, self.first = head.start, head.signature, head.first
        self.offset_size, self.address_size = head.offset_size, head.address_size
        self.info = info[head.start : head.end]
        self.table_key = abbrevs, head.offset_size, head.address_size, head.version
        self.table = reader.table(self.table_key)
        self._sizes = _sizes(self.table_key)
        self.known: dict[int, Type] = {}
        self.found = _Found()
        self.shape: _Shape | None = None
        self.string_base = 8 if self.offset_size == 4 else 16
        self.address_base = 8
        _, self.top, _ = self.entry(self.first)
        self.string_base = self.top.get(_STR_OFFSETS_BASE, self.string_base)
        self.address_base = self.top.get(_ADDR_BASE, self.address_base)
        _, self.top, _ = self.entry(self.first)  # now that indices can be followed
        self.name = str(self.top.get(_NAME, ""))

    # --- entries ---------------------------------------------------------------------------------------------

    def entry(self, at: int) -> tuple[_Abbrev | None, _Attributes, int]:
        """The entry at an offset: its kind (None: the end of a list), its attributes, where the next one begins."""
        code, at = _uleb(self.info, at)
        if code == 0:
            return None, {}, at
        abbrev = self.table[code]
        attributes: _Attributes = {}
        for attribute, form, constant in abbrev.steps:
            if attribute in _WANTED:
                attributes[attribute], at = self._value(form, constant, at)
            else:
                at = self.skip_form(form, at)
        return abbrev, attributes, at

    def skip(self, abbrev: _Abbrev, at: int) -> int:
        """Behind the attributes of an entry that begin here."""
        for gap, form, _ in abbrev.jumps:
            at = self.skip_form(form, at + gap)
        return at + abbrev.tail

    def children(self, at: int) -> Iterator[tuple[_Abbrev, _Attributes, int]]:
        """The direct children of an entry whose children begin at ``at``: (kind, attributes, where its own begin)."""
        depth = 0
        while True:
            code, behind = _uleb(self.info, at)
            if code == 0:
                if depth == 0:
                    return
                depth -= 1
                at = behind
                continue
            abbrev = self.table[code]
            if depth:
                at = self.skip(abbrev, behind)
            else:
                _, attributes, at = self.entry(at)
                yield abbrev, attributes, at
            if abbrev.children:
                depth += 1

    def skip_form(self, form: int, at: int) -> int:
        size = self._sizes.get(form)
        if size is not None:
            return at + size
        if form in _LEB:
            return _uleb(self.info, at)[1]
        if form == _STRING:
            return self.info.index(b"\0", at) + 1
        if form in _BLOCKS:
            length, at = self.length(form, at)
            return at + length
        if form == _INDIRECT:
            form, at = _uleb(self.info, at)
            return self.skip_form(form, at)
        raise ValueError(f"unknown form {form:#x}")

    def length(self, form: int, at: int) -> tuple[int, int]:
        size = _BLOCKS[form]
        return (self._number(at, size), at + size) if size else _uleb(self.info, at)

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self.info[at : at + size], self.strings.order)

    def _value(self, form: int, constant: int, at: int) -> tuple[Any, int]:
        """References come as (unit, offset), blocks as bytes, flags as bool, the rest as numbers and text."""
        if form == _STRP:
            return _text(self.strings.texts, self._number(at, self.offset_size)), at + self.offset_size
        if form == _LINE_STRP:
            return _text(self.strings.lines, self._number(at, self.offset_size)), at + self.offset_size
        if form == _STRING:
            end = self.info.index(b"\0", at)
            return self.info[at:end].decode("utf-8", "replace"), end + 1
        if form in _UNIT_REFS:
            size = _UNIT_REFS[form]
            offset, at = (self._number(at, size), at + size) if size else _uleb(self.info, at)
            return (self, offset), at
        if form == _REF_ADDR:
            size = self._sizes[form]
            if self.reader is None:
                raise ValueError("a reference to another unit")
            offset = self._number(at, size)
            unit = self.reader.unit_at(self.section, offset)
            return (unit, offset - unit.start), at + size
        if form == _REF_SIG8:
            return ("signature", self._number(at, 8)), at + 8
        if form == _FLAG_PRESENT:
            return True, at
        if form == _FLAG:
            return self.info[at] != 0, at + 1
        if form == _IMPLICIT:
            return constant, at
        if form == _SDATA:
            return _sleb(self.info, at)
        if form in _STRX:
            size = _STRX[form]
            index, at = (self._number(at, size), at + size) if size else _uleb(self.info, at)
            where = self.string_base + index * self.offset_size
            offset = int.from_bytes(self.strings.offsets[where : where + self.offset_size], self.strings.order)
            return _text(self.strings.texts, offset), at
        if form in _ADDRX:
            size = _ADDRX[form]
            index, at = (self._number(at, size), at + size) if size else _uleb(self.info, at)
            return self.address(index), at
        if form in _BLOCKS:
            length, at = self.length(form, at)
            return self.info[at : at + length], at + length
        if form == _INDIRECT:
            form, at = _uleb(self.info, at)
            return self._value(form, 0, at)
        if form in self._sizes:
            size = self._sizes[form]
            return self._number(at, size), at + size
        if form in _LEB:
            return _uleb(self.info, at)
        raise ValueError(f"unknown form {form:#x}")

    def address(self, index: int) -> int:
        at = self.address_base + index * self.address_size
        return int.from_bytes(self.strings.addresses[at : at + self.address_size], self.strings.order)

    def moved(self, found: _Found) -> Iterator[Variable]:
        """The variables of a unit that is the same as this one but for addresses, at theirs here."""
        for at, place, was in found.variables:
            address = self._number(place, self.address_size) if place else self._address_of(at)
            yield Variable(was.name, was.scope, was.unit, was.external, address, was.type)

    def _address_of(self, at: int) -> int:
        """The address of the variable whose entry is at this offset."""
        address = _address_of(self, self.entry(at)[1][_LOCATION])
        if address is None:
            raise ValueError("a variable without an address")
        return address

    def locate(self, abbrev: _Abbrev, at: int) -> tuple[int, int]:
        """Where the location of a variable begins whose attributes begin here, 0 for what has none or an empty one;
        where the next entry begins."""
        place = 0
        for gap, form, is_location in abbrev.jumps:
            at += gap
            if is_location and form in _BLOCKS:
                length, begin = self.length(form, at)
                place = begin if length else 0
                at = begin + length
            else:
                at = self.skip_form(form, at)
        return place, at + abbrev.tail

    def numbered_names(self) -> list[int]:
        """Offsets in .debug_str of the unit's names by number (DWARF 5, 7.26)."""
        order = "<" if self.strings.order == "little" else ">"
        (length,) = struct.unpack_from(order + "I", self.strings.offsets, self.string_base - 8)
        return list(struct.unpack_from(f"{order}{(length - 4) // 4}I", self.strings.offsets, self.string_base))

    # --- types -----------------------------------------------------------------------------------------------

    def type(self, reference: Any) -> Type:
        """The type that a DW_AT_type refers to; None is void."""
        if reference is None:
            return VOID
        unit, offset = reference
        if unit == "signature":
            if self.reader is None or offset not in self.reader.signatures:
                return Opaque("", "its definition is in a type unit that is not there")
            unit, offset = self.reader.signatures[offset]
        if offset not in unit.known:
            unit.known[offset] = Opaque("", "it contains itself")  # nothing can, but damaged bytes
            unit.known[offset] = unit._resolve(offset)
        return unit.known[offset]  # type: ignore[no-any-return]

    def _resolve(self, offset: int) -> Type:
        abbrev, attributes, inside = self.entry(offset)
        if abbrev is None:
            raise ValueError("a reference to the end of a list")
        tag, name = abbrev.tag, str(attributes.get(_NAME, ""))
        if _SIGNATURE in attributes:
            return self.type(attributes[_SIGNATURE])
        if tag == _TYPEDEF or tag in _QUALIFIERS:
            found = self.type(attributes.get(_TYPE))
            if tag == _TYPEDEF and isinstance(found, Record | Enum) and not found.name:
                return _named(found, name)
            return found
        size = attributes.get(_BYTE_SIZE, 0)
        if not isinstance(size, int):
            return Opaque(name, "its size is known at run time only")
        if tag == _BASE:
            return Scalar(name, size, _ENCODINGS.get(attributes.get(_ENCODING, 0), "other"))
        if tag in (_POINTER, _REFERENCE, _RVALUE):
            target = attributes.get(_TYPE)
            return Pointer(size or self.address_size, lambda: self.type(target), tag != _POINTER)
        if tag == _ENUMERATION:
            return self._enum(name, size, attributes, inside if abbrev.children else 0)
        if tag == _ARRAY:
            return self._array(self.type(attributes.get(_TYPE)), inside if abbrev.children else 0)
        if tag in _RECORDS:
            if attributes.get(_DECLARATION):
                return Opaque(name, f"{_RECORDS[tag]} {name} is only declared")
            return self._record(tag, name, size, inside if abbrev.children else 0)
        if tag == _SUBROUTINE:
            return self.function("", attributes, inside if abbrev.children else 0)
        if tag == _UNSPECIFIED:
            return Opaque(name, "it is unspecified")
        if tag == _PTR_TO_MEMBER:
            return Opaque(name, "it is a pointer to a member", size)
        return Opaque(name, f"it is an entry of kind {tag:#x}", size)

    def _enum(self, name: str, size: int, attributes: _Attributes, inside: int) -> Type:
        under = self.type(attributes[_TYPE]) if _TYPE in attributes else None
        values = []
        for abbrev, child, _ in self.children(inside) if inside else ():
            if abbrev.tag == _ENUMERATOR:
                values.append((str(child.get(_NAME, "")), int(child.get(_CONST_VALUE, 0))))
        signed = (isinstance(under, Scalar) and under.kind == "signed") or any(value < 0 for _, value in values)
        bits = 8 * (size or (under.size if under else 4))
        fixed = tuple((each, _wrapped(value, bits, signed)) for each, value in values)
        return Enum(name, bits // 8, signed, fixed)

    def _array(self, of: Type, inside: int) -> Type:
        counts = []
        for abbrev, child, _ in self.children(inside) if inside else ():
            if abbrev.tag == _SUBRANGE:
                count = child.get(_COUNT, child.get(_UPPER_BOUND, -1) if _COUNT not in child else 0)
                if not isinstance(count, int):
                    return Opaque("", "an array whose length is known at run time only")
                if _COUNT not in child:
                    count = 0 if count in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF) else count + 1
                counts.append(count)
        for count in reversed(counts):
            of = Array(of, count)
        return of

    def _record(self, tag: int, name: str, size: int, inside: int) -> Type:
        members, obstacle = [], ""
        for abbrev, child, _ in self.children(inside) if inside else ():
            if abbrev.tag == _INHERITANCE and (
                child.get(_VIRTUALITY) or not isinstance(child.get(_MEMBER_LOCATION, 0), int)
            ):
                obstacle = obstacle or "it has a virtual base class"
            elif abbrev.tag in (_MEMBER, _INHERITANCE):
                if child.get(_EXTERNAL) or child.get(_DECLARATION) or _CONST_VALUE in child:
                    continue  # a static member of a class: a variable of its own
                title = str(child.get(_NAME, ""))
                type_ = self.type(child.get(_TYPE))
                if abbrev.tag == _INHERITANCE and isinstance(type_, Record):
                    title = f"<{type_.name}>"
                if title.startswith("_vptr") and child.get(_ARTIFICIAL, True):
                    obstacle = obstacle or "it has virtual functions"
                elif isinstance(type_, Record) and type_.obstacle:
                    obstacle = obstacle or f"{title}: {type_.obstacle}"
                elif isinstance(type_, Array) and isinstance(element := _element(type_), Record) and element.obstacle:
                    obstacle = obstacle or f"{title}: {element.obstacle}"
                elif isinstance(type_, Pointer) and type_.reference:
                    obstacle = obstacle or f"{title}: it is a reference"
                members.append(self._member(title, type_, child))
            elif abbrev.tag == _SUBPROGRAM:
                if child.get(_VIRTUALITY):
                    obstacle = obstacle or "it has virtual functions"
                elif str(child.get(_NAME, "")).startswith("~") and not child.get(_ARTIFICIAL):
                    obstacle = obstacle or "it has a destructor"
        return Record(name, _RECORDS[tag], size, tuple(members), obstacle)  # type: ignore[arg-type]

    def _member(self, name: str, type_: Type, attributes: _Attributes) -> Member:
        bits = int(attributes.get(_BIT_SIZE, 0))
        location = attributes.get(_MEMBER_LOCATION, 0)
        if isinstance(location, bytes):
            location = _offset_of(location)
        at = location * 8
        if _DATA_BIT_OFFSET in attributes:
            at = int(attributes[_DATA_BIT_OFFSET])
        elif bits and _BIT_OFFSET in attributes:  # DWARF 2-3 (and gcc's 4): counted from the most significant bit
            storage = int(attributes.get(_BYTE_SIZE, type_.size)) * 8
            from_top = _wrapped(int(attributes[_BIT_OFFSET]), 64, True)
            at += storage - from_top - bits if self.strings.order == "little" else from_top
        return Member(name, type_, at, bits)

    def function(self, name: str, attributes: _Attributes, inside: int) -> Function:
        """Its text is in C's words, with the types' own names, so that it can be shown."""
        parameters, variadic = [], False
        for abbrev, child, _ in self.children(inside) if inside else ():
            if abbrev.tag == _PARAMETER:
                origin = child.get(_ORIGIN)  # the parameters of an inlined function's own copy
                if _TYPE not in child and origin and origin[0] != "signature":
                    child = origin[0].entry(origin[1])[1]
                parameters.append(self._part(child.get(_TYPE)))
            elif abbrev.tag == _UNSPECIFIED_PARAMETERS:
                variadic = True
        words = [part.text for part in parameters] + ["..."] * variadic
        returns = self._part(attributes.get(_TYPE))
        text = f"{returns.text} {name}({', '.join(words) or 'void'})"
        return Function(text, 0, returns, tuple(parameters), variadic)

    def _part(self, reference: Any) -> Part:
        return Part(self.words(reference), lambda: self.type(reference), self._constants(reference))

    def _constants(self, reference: Any) -> tuple[bool, ...]:
        found, constant = [], False
        for _ in range(40):
            if reference is None:
                break
            unit, offset = reference
            if unit == "signature":
                break
            abbrev, attributes, _ = unit.entry(offset)
            if abbrev is None or abbrev.tag not in {_TYPEDEF, _POINTER, _REFERENCE, _RVALUE, *_QUALIFIERS}:
                break
            if abbrev.tag in (_POINTER, _REFERENCE, _RVALUE):
                found.append(constant)
                constant = False
            constant = constant or abbrev.tag == _CONST
            reference = attributes.get(_TYPE)
        return (*found, constant)[1:]

    def words(self, reference: Any, depth: int = 0) -> str:
        """A type as it is spelt in C; typedefs are followed only where they name nothing."""
        if reference is None:
            return "void"
        unit, offset = reference
        if unit == "signature":
            if self.reader is None or offset not in self.reader.signatures:
                return "?"
            unit, offset = self.reader.signatures[offset]
        elsewhere = unit is not self
        if elsewhere:
            words: str = unit.words((unit, offset), depth)
            return words
        abbrev, attributes, inside = self.entry(offset)
        if abbrev is None or depth > 20:
            return "?"
        tag, target = abbrev.tag, attributes.get(_TYPE)
        name = str(attributes.get(_NAME, ""))
        if tag in (_BASE, _UNSPECIFIED):
            return name
        if tag == _TYPEDEF:
            followed = self.type((unit, offset))
            if isinstance(followed, Record | Enum | Opaque):
                return name  # typedef struct {...} name, or a handle
            return self.words(target, depth + 1)
        if tag in _QUALIFIERS:
            word = {_CONST: "const", _VOLATILE: "volatile", _RESTRICT: "", _ATOMIC: "_Atomic"}[tag]
            inner = self.words(target, depth + 1)
            return f"{inner} {word}".strip() if inner.endswith("*") else f"{word} {inner}".strip()
        if tag in (_POINTER, _REFERENCE, _RVALUE):
            mark = {_POINTER: "*", _REFERENCE: "&", _RVALUE: "&&"}[tag]
            inner = self.words(target, depth + 1)
            if "(" in inner and not inner.endswith("*"):
                head, _, tail = inner.partition("(")
                return f"{head}({mark})({tail}" if not tail.startswith("*") else f"{head}({mark}{tail}"
            return inner + (mark if inner.endswith("*") else f" {mark}")
        if tag == _SUBROUTINE:
            return self.function("", attributes, inside if abbrev.children else 0).text
        if tag == _ENUMERATION:
            return f"enum {name}".strip()
        if tag in _RECORDS:
            return name if self._is_cxx else f"{_RECORDS[tag]} {name}".strip()
        if tag == _ARRAY:
            found = self.type((unit, offset))
            dimensions = ""
            while isinstance(found, Array):
                dimensions += f"[{found.count}]"
                found = found.of
            return f"{self.words(target, depth + 1)} {dimensions}"
        return name or "?"

    @property
    def _is_cxx(self) -> bool:
        return self.top.get(_LANGUAGE, 0) in (0x04, 0x1A, 0x21, 0x2B)  # C_plus_plus, _11, _14, _17


_ENCODINGS: dict[int, Literal["signed", "unsigned", "float", "bool", "char", "other"]] = {
    0x02: "bool", 0x04: "float", 0x05: "signed", 0x06: "signed", 0x07: "unsigned", 0x08: "unsigned", 0x10: "unsigned",
}  # fmt: skip


def _named(found: Record | Enum, name: str) -> Record | Enum:
    if isinstance(found, Enum):
        return Enum(name, found.size, found.signed, found.values)
    return Record(name, found.kind, found.size, found.members, found.obstacle)


def _element(array: Array) -> Type:
    found: Type = array
    while isinstance(found, Array):
        found = found.of
    return found


# --- the sweep ----------------------------------------------------------------------------------------------


class _Sweep:
    """One walk over a unit: its variables, the names of its structs and of its functions."""

    def __init__(self, unit: _Unit) -> None:
        self._unit, self._found = unit, unit.found

    def run(self) -> None:
        unit = self._unit
        info, table = unit.info, unit.table
        at, end = unit.first, len(info)
        scopes: list[tuple[str, ...]] = []
        """For each open list of children, the scope that it is in."""
        blocks = 0
        while at < end:
            begin = at
            code = info[at]
            at += 1
            if code & 0x80:
                code, at = _uleb(info, begin)
            if code == 0:
                if not scopes:
                    break
                scopes.pop()
                continue
            abbrev = table[code]
            tag = abbrev.tag
            scope = scopes[-1] if scopes else ()
            if tag == _VARIABLE:
                place, at = unit.locate(abbrev, at)
                if place and info[place] in _ADDRESSED:
                    self._variable(unit.entry(begin)[1], scope, begin, place)
                if abbrev.children:
                    scopes.append(scope)
                continue
            if tag not in _NOTED:
                at = unit.skip(abbrev, at)
                if abbrev.children:
                    scopes.append(scope)
                continue
            if tag == _LEXICAL_BLOCK:
                at = unit.skip(abbrev, at)
                if abbrev.children:
                    blocks += 1
                    scopes.append((*scope, str(blocks)))
                continue
            _, attributes, at = unit.entry(begin)
            if tag in _RECORDS:
                name = str(attributes.get(_NAME, ""))
                if name and not attributes.get(_DECLARATION):
                    self._found.record("::".join([*scope, name]), unit, begin)
                scope = (*scope, name)
            elif tag == _TYPEDEF:
                self._found.typedef("::".join([*scope, str(attributes.get(_NAME, ""))]), unit, begin)
            elif tag == _SUBPROGRAM:
                name = self._function(attributes, begin)
                scope = (*scope, name)
                blocks = 0
            elif tag == _NAMESPACE:
                scope = (*scope, str(attributes.get(_NAME, "(anonymous)")))
            if abbrev.children:
                scopes.append(scope)

    def _variable(self, attributes: _Attributes, scope: tuple[str, ...], begin: int, place: int) -> None:
        """``place``: of its location. What has none is optimised away or in a register: no object to carry."""
        unit = self._unit
        location = attributes[_LOCATION]
        address = _address_of(unit, location)
        if address is None and not _is_apart(unit, location):
            return
        whole = _whole(attributes, _NAME, _TYPE)
        name = whole.get(_LINKAGE_NAME) if _SPECIFICATION in attributes else None
        name = str(name or whole.get(_NAME, ""))
        if not name:
            return
        if address is None:
            self._found.apart.add("::".join([*(part for part in scope if not part.isdigit()), name]))
            return
        target = whole.get(_TYPE)
        variable = Variable(name, scope, unit.name, bool(whole.get(_EXTERNAL)), address, lambda: unit.type(target))
        is_plain = location[0] == _OP_ADDR and len(location) == 1 + unit.address_size
        self._found.variables.append((begin, place + 1 if is_plain else 0, variable))

    def _function(self, attributes: _Attributes, begin: int) -> str:
        """Its name for the linker, noted when others can call it."""
        whole = _whole(attributes, _NAME)
        name = str(whole.get(_LINKAGE_NAME) or whole.get(_MIPS_LINKAGE_NAME) or whole.get(_NAME, ""))
        if whole.get(_EXTERNAL) and not attributes.get(_DECLARATION) and name and _ORIGIN not in attributes:
            self._found.function(name, self._unit, begin, whole)
        return name


def _whole(attributes: _Attributes, *needed: int) -> _Attributes:
    """A definition's attributes with those of its declaration, as far as it does not say what is ``needed`` itself."""
    for _ in range(4):
        if all(each in attributes for each in needed):
            break
        reference = attributes.get(_SPECIFICATION, attributes.get(_ORIGIN))
        if not reference or reference[0] == "signature":
            break
        _, more, _ = reference[0].entry(reference[1])
        own = {key: value for key, value in attributes.items() if key not in (_SPECIFICATION, _ORIGIN)}
        attributes = {**more, **own}
    return attributes


_NOTED = frozenset({_TYPEDEF, *_SCOPES})


class _Found:
    """What a sweep found in one unit."""

    def __init__(self) -> None:
        self.variables: list[tuple[int, int, Variable]] = []
        """With the offsets of the entry that has the address and, where it is nothing but that, of the address."""
        self.apart: set[str] = set()
        self.records: dict[str, list[Callable[[], Type]]] = {}
        self.functions: dict[str, Callable[[], Function]] = {}

    def record(self, name: str, unit: _Unit, at: int) -> None:
        self.records.setdefault(name, []).append(lambda: unit.type((unit, at)))

    def typedef(self, name: str, unit: _Unit, at: int) -> None:
        """Of a struct without a name of its own; one that has a name is found by it."""
        _, attributes, _ = unit.entry(at)
        target = attributes.get(_TYPE)
        if target and target[0] != "signature":
            abbrev, of, _ = target[0].entry(target[1])
            if abbrev and abbrev.tag in _RECORDS and _NAME not in of:
                self.records.setdefault(name, []).append(lambda: unit.type((unit, at)))

    def function(self, name: str, unit: _Unit, at: int, own: _Attributes) -> None:
        def prototype() -> Function:
            abbrev, _, inside = unit.entry(at)
            return unit.function(name, own, inside if abbrev and abbrev.children else 0)

        self.functions.setdefault(name, prototype)


def _read(binary: Binary, path: str, known: Debug | None) -> Debug:
    if ".debug_info" not in binary.named:
        old = ".zdebug_info" in binary.named
        why = (
            "its debug information is compressed in the old way (-gz=zlib-gnu)"
            if old
            else "it has no debug information"
        )
        return Debug(path, (), (), {}, {}, frozenset(), why)
    units_before = known.units_read if known else ()
    reader = _Reader(binary, units_before)
    before = _Before(units_before)
    trouble = ""
    units = []
    variables: list[Variable] = []
    apart: set[str] = set()
    records: dict[str, list[Callable[[], Type]]] = {}
    functions: dict[str, Callable[[], Function]] = {}
    for unit in reader.units:
        if unit.top.get(_DWO_NAME) or unit.top.get(_GNU_DWO_NAME):
            trouble = "its debug information is split off (-gsplit-dwarf)"
        same = before.like(unit)
        if same is None:
            _Sweep(unit).run()
            variables += [variable for _, _, variable in unit.found.variables]
        else:
            variables += unit.moved(same.found)
        kept = same or unit
        units.append(kept)
        apart |= kept.found.apart
        for name, types in kept.found.records.items():
            records.setdefault(name, []).extend(types)
        for name, function in kept.found.functions.items():
            functions.setdefault(name, function)
    return Debug(
        path,
        tuple(unit.name for unit in units if unit.signature is None),
        tuple(variables),
        {name: tuple(types) for name, types in records.items()},
        functions,
        frozenset(apart),
        trouble,
        tuple(units),
    )


# --- units that are the same as before ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Shape:
    """Which bytes of a unit a linker writes, so that others can be compared with it without these. Bytes and masks are
    held as little-endian numbers: nothing else in Python compares megabytes under a mask in milliseconds."""

    whole: int
    mask: int
    """Ones where bytes must be equal."""
    named: int
    """The same, where the texts that names are in are equal too."""
    texts: tuple[struct.Struct, array[int]]
    """Unpacks the offsets of the names in .debug_str; what they are here."""
    lines: tuple[struct.Struct, array[int]]
    """In .debug_line_str."""
    by_number: bool
    """Names go through .debug_str_offsets."""


class _Before:
    """The units of the library that was read before: most are the same but for addresses, and need no sweep."""

    def __init__(self, units: Iterable[_Unit]) -> None:
        self._units: dict[tuple[str, int], list[_Unit]] = {}
        self._same_texts: dict[int, bool] = {}
        self._moved: dict[int, dict[int, int]] = {}
        """Of texts: where names were → where they are. A name may be in several places; one is kept."""
        for unit in units:
            self._units.setdefault((unit.name, len(unit.info)), []).append(unit)

    def like(self, unit: _Unit) -> _Unit | None:
        """One of them that says the same of everything but addresses; None: there is none, or that cannot be told."""
        for other in self._units.get((unit.name, len(unit.info)), ()):
            same_head = (unit.first, unit.table_key) == (other.first, other.table_key)
            if same_head and self._same(other, unit):
                return other
        return None

    def _same(self, old: _Unit, new: _Unit) -> bool:
        shape = old.shape or _shape(old)
        if shape is None:
            return False
        old.shape = shape
        differences = shape.whole ^ int.from_bytes(new.info, "little")
        if differences & shape.mask:
            return False
        if not shape.by_number and self._are_same_texts(old.strings, new.strings):
            return not differences & shape.named
        for (form, were), place in ((shape.texts, "texts"), (shape.lines, "lines")):
            if not self._names(getattr(old.strings, place), getattr(new.strings, place), were, form.unpack(new.info)):
                return False
        if not shape.by_number:
            return True
        one, two = (unit.numbered_names() for unit in (old, new))
        return len(one) == len(two) and self._names(old.strings.texts, new.strings.texts, one, two)

    def _are_same_texts(self, old: _Strings, new: _Strings) -> bool:
        """Whether an offset means the same name in both. Asked of one new library only."""
        if id(old) not in self._same_texts:
            self._same_texts[id(old)] = old.texts == new.texts and old.lines == new.lines
        return self._same_texts[id(old)]

    def _names(self, old: bytes, new: bytes, were: Iterable[int], are: Iterable[int]) -> bool:
        """Whether the names at these offsets of two sections are the same, one by one."""
        moved = self._moved.setdefault(id(old), {})
        known = moved.get
        for one, two in [pair for pair in zip(were, are, strict=True) if known(pair[0]) != pair[1]]:
            if known(one) != two:
                if _raw(old, one) != _raw(new, two):
                    return False
                moved[one] = two
        return True


def _raw(strings: bytes, at: int) -> bytes:
    return strings[at : strings.index(b"\0", at)]


def _shape(unit: _Unit) -> _Shape | None:
    """None for a unit that refers to others, or has forms that are not looked through here."""
    if unit.offset_size != 4 or unit.signature is not None:
        return None
    info, table, address_size = unit.info, unit.table, unit.address_size
    texts: list[int] = []
    lines: list[int] = []
    addresses: list[int] = []
    offsets: list[int] = []
    by_number = False
    places = {_STRP: texts, _LINE_STRP: lines, _ADDR: addresses, _SEC_OFFSET: offsets}
    at = unit.first
    while at < len(info):
        code, at = _uleb(info, at)
        if code == 0:
            continue
        abbrev = table[code]
        if abbrev.elsewhere:
            return None
        by_number = by_number or abbrev.by_number
        starts = [at]
        for gap, form, is_location in abbrev.jumps:
            at += gap
            if is_location and form in _BLOCKS:
                length, begin = unit.length(form, at)
                if length > address_size and info[begin] == _OP_ADDR:
                    addresses.append(begin + 1)
                at = begin + length
            else:
                at = unit.skip_form(form, at)
            starts.append(at)
        for run, gap, form in abbrev.linked:
            places[form].append(starts[run] + gap)
        at += abbrev.tail
    named = bytearray(b"\xff") * len(info)
    named[: unit.first] = bytes(unit.first)
    _blank(named, addresses, address_size)
    _blank(named, offsets, 4)
    mask = named[:]
    _blank(mask, texts, 4)
    _blank(mask, lines, 4)
    order = "<" if unit.strings.order == "little" else ">"
    return _Shape(
        int.from_bytes(info, "little"),
        int.from_bytes(mask, "little"),
        int.from_bytes(named, "little"),
        _offsets(order, texts, info),
        _offsets(order, lines, info),
        by_number,
    )


def _blank(mask: bytearray, places: Iterable[int], size: int) -> None:
    zeros = bytes(size)
    for at in places:
        mask[at : at + size] = zeros


def _offsets(order: str, places: list[int], info: bytes) -> tuple[struct.Struct, array[int]]:
    """Unpacks the four-byte numbers at these places of so many bytes, in one call; what they are in these."""
    parts, at = [order], 0
    for place in places:
        parts.append(f"{place - at}xI")
        at = place + 4
    form = struct.Struct("".join(parts) + f"{len(info) - at}x")
    return form, array("I", form.unpack(info))


# --- numbers ------------------------------------------------------------------------------------------------


def _uleb(data: bytes, at: int) -> tuple[int, int]:
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


def _sleb(data: bytes, at: int) -> tuple[int, int]:
    begin = at
    value, at = _uleb(data, at)
    bits = 7 * (at - begin)
    return (value - (1 << bits) if value >> (bits - 1) else value), at


def _wrapped(value: int, bits: int, signed: bool) -> int:
    """A constant as an object of this many bits holds it: compilers write -1 as 0xff."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode("utf-8", "replace")


def _address_of(unit: _Unit, expression: bytes) -> int | None:
    """The address that an expression is, and nothing but that: pieces and thread-locals have none."""
    operation = expression[0] if expression else 0
    if operation == _OP_ADDR and len(expression) >= 1 + unit.address_size:
        address, at = int.from_bytes(expression[1 : 1 + unit.address_size], unit.strings.order), 1 + unit.address_size
    elif operation in (_OP_ADDRX, _OP_GNU_ADDRX):
        index, at = _uleb(expression, 1)
        address = unit.address(index)
    else:
        return None
    if at < len(expression) and expression[at] == _OP_PLUS_UCONST:
        more, at = _uleb(expression, at + 1)
        address += more
    return address if at == len(expression) else None


def _is_apart(unit: _Unit, expression: bytes) -> bool:
    """Whether it is made of memory that has an address, in pieces or by a calculation; not one in a register."""
    operation, at = expression[0] if expression else 0, 0
    if operation == _OP_ADDR:
        at = 1 + unit.address_size
    elif operation in (_OP_ADDRX, _OP_GNU_ADDRX):
        at = _uleb(expression, 1)[1]
    return 0 < at < len(expression) and expression[at] in (_OP_DEREF, _OP_DEREF_SIZE, _OP_PIECE)


def _offset_of(expression: bytes) -> int:
    """A member's place as DWARF 2 wrote it: DW_OP_plus_uconst N, or DW_OP_constu N."""
    if expression and expression[0] in (_OP_PLUS_UCONST, _OP_CONSTU):
        return _uleb(expression, 1)[0]
    raise ValueError("a member whose place is known at run time only")
