"""The units of a file's debug information, their entries, and the types that these make.

Nothing is unpacked before it is asked for, and a type is made once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .binary import Binary
from .debug import VOID, Array, Enum, Function, Member, Opaque, Part, Pointer, Record, Scalar, Type

from .dwarf_format import (  # isort: skip
    ARRAY, ATOMIC, BASE, CONST, ENUMERATION, ENUMERATOR, INHERITANCE, MEMBER, PARAMETER, POINTER, PTR_TO_MEMBER,
    RECORDS, REFERENCE, RESTRICT, RVALUE, SUBPROGRAM, SUBRANGE, SUBROUTINE, TYPEDEF, UNSPECIFIED,
    UNSPECIFIED_PARAMETERS, VOLATILE,
    ADDR_BASE, ARTIFICIAL, BIT_OFFSET, BIT_SIZE, BYTE_SIZE, CONST_VALUE, COUNT, DATA_BIT_OFFSET, DECLARATION, ENCODING,
    EXTERNAL, LANGUAGE, MEMBER_LOCATION, NAME, ORIGIN, SIGNATURE, STR_OFFSETS_BASE, TYPE, UPPER_BOUND, VIRTUALITY,
    WANTED,
    ADDRX, BLOCKS, FLAG, FLAG_PRESENT, IMPLICIT, INDIRECT, LEB, LINE_STRP, REF_ADDR, REF_SIG8, SDATA, STRING, STRP,
    STRX, UNIT_REFS,
    OP_CONSTU, OP_PLUS_UCONST,
    Abbrev, Head, Table, TableKey, abbrev_table, form_sizes, sleb, uleb, unit_heads,
)  # fmt: skip

_QUALIFIERS = frozenset({CONST, VOLATILE, RESTRICT, ATOMIC})
_ENCODINGS: dict[int, Literal["signed", "unsigned", "float", "bool", "char", "other"]] = {
    0x02: "bool", 0x04: "float", 0x05: "signed", 0x06: "signed", 0x07: "unsigned", 0x08: "unsigned", 0x10: "unsigned",
}  # fmt: skip

Attributes = dict[int, Any]


@dataclass(frozen=True)
class Strings:
    """What entries refer to by an offset or a number."""

    order: Literal["little", "big"]
    texts: bytes
    lines: bytes
    offsets: bytes
    addresses: bytes


class Reader:
    """The units of one file."""

    def __init__(self, binary: Binary, known: Iterable[Unit] = ()) -> None:
        """``known``: units of a library read before, whose tables are likely to be the same."""

        def sections(name: str) -> bytes:
            section = binary.named.get(name)
            return bytes(section.data()) if section is not None else b""

        self.strings = Strings(
            "little" if binary.file.little_endian else "big",
            sections(".debug_str"),
            sections(".debug_line_str"),
            sections(".debug_str_offsets"),
            sections(".debug_addr"),
        )
        abbrevs = sections(".debug_abbrev")
        self.signatures: dict[int, tuple[Unit, int]] = {}
        self._tables = {unit.table_key: unit.table for unit in known}
        self.units: list[Unit] = []
        infos = {name: sections(name) for name in (".debug_info", ".debug_types")}
        heads = [(name, head) for name, info in infos.items() for head in unit_heads(info, name, self.strings.order)]
        begins = sorted({head.abbrevs for _, head in heads})
        raw = {begin: abbrevs[begin:end] for begin, end in zip(begins, [*begins[1:], None], strict=False)}
        for name, head in heads:
            unit = Unit(self, infos[name], head, name, raw[head.abbrevs])
            if head.signature is not None:
                self.signatures[head.signature] = (unit, head.type_at)
            self.units.append(unit)

    def table(self, key: TableKey) -> Table:
        if key not in self._tables:
            self._tables[key] = abbrev_table(key)
        return self._tables[key]

    def unit_at(self, section: str, at: int) -> Unit:
        for unit in self.units:
            if unit.section == section and unit.start <= at < unit.start + len(unit.info):
                return unit
        raise ValueError(f"a reference to {at:#x}, where no unit is")


class Unit:
    """The entries of one source file. Offsets are from the unit's beginning."""

    def __init__(self, reader: Reader, info: bytes, head: Head, section: str, abbrevs: bytes) -> None:
        self.reader: Reader | None = reader
        """None when nothing in it refers to other units."""
        self.strings, self.section = reader.strings, section
        self.start, self.signature, self.first = head.start, head.signature, head.first
        self.offset_size, self.address_size = head.offset_size, head.address_size
        self.info = info[head.start : head.end]
        self.table_key = abbrevs, head.offset_size, head.address_size, head.version
        self.table = reader.table(self.table_key)
        self._sizes = form_sizes(self.table_key)
        self.known: dict[int, Type] = {}
        self.string_base = 8 if self.offset_size == 4 else 16
        self.address_base = 8
        _, self.top, _ = self.entry(self.first)
        self.string_base = self.top.get(STR_OFFSETS_BASE, self.string_base)
        self.address_base = self.top.get(ADDR_BASE, self.address_base)
        _, self.top, _ = self.entry(self.first)  # now that indices can be followed
        self.name = str(self.top.get(NAME, ""))

    def take_place_of(self, other: Unit) -> None:
        """Of one of a later file that says the same, but for addresses and where names lie. Types that were made
        stay."""
        self.info, self.strings, self.start = other.info, other.strings, other.start
        self.string_base, self.address_base = other.string_base, other.address_base

    # --- entries ---------------------------------------------------------------------------------------------

    def entry(self, at: int) -> tuple[Abbrev | None, Attributes, int]:
        """The entry at an offset: its kind (None: the end of a list), its attributes, where the next one begins."""
        code, at = uleb(self.info, at)
        if code == 0:
            return None, {}, at
        abbrev = self.table[code]
        attributes: Attributes = {}
        for attribute, form, constant in abbrev.steps:
            if attribute in WANTED:
                attributes[attribute], at = self._value(form, constant, at)
            else:
                at = self.skip_form(form, at)
        return abbrev, attributes, at

    def skip(self, abbrev: Abbrev, at: int) -> int:
        """Behind the attributes of an entry that begin here."""
        for gap, form, _ in abbrev.jumps:
            at = self.skip_form(form, at + gap)
        return at + abbrev.tail

    def children(self, at: int) -> Iterator[tuple[Abbrev, Attributes, int]]:
        """The direct children of an entry whose children begin at ``at``: (kind, attributes, where its own begin)."""
        depth = 0
        while True:
            code, behind = uleb(self.info, at)
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
        if form in LEB:
            return uleb(self.info, at)[1]
        if form == STRING:
            return self.info.index(b"\0", at) + 1
        if form in BLOCKS:
            length, at = self.length(form, at)
            return at + length
        if form == INDIRECT:
            form, at = uleb(self.info, at)
            return self.skip_form(form, at)
        raise ValueError(f"unknown form {form:#x}")

    def length(self, form: int, at: int) -> tuple[int, int]:
        size = BLOCKS[form]
        return (self.number(at, size), at + size) if size else uleb(self.info, at)

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.info[at : at + size], self.strings.order)

    def _value(self, form: int, constant: int, at: int) -> tuple[Any, int]:
        """References come as (unit, offset), blocks as bytes, flags as bool, the rest as numbers and text."""
        if form == STRP:
            return _text(self.strings.texts, self.number(at, self.offset_size)), at + self.offset_size
        if form == LINE_STRP:
            return _text(self.strings.lines, self.number(at, self.offset_size)), at + self.offset_size
        if form == STRING:
            end = self.info.index(b"\0", at)
            return self.info[at:end].decode("utf-8", "replace"), end + 1
        if form in UNIT_REFS:
            size = UNIT_REFS[form]
            offset, at = (self.number(at, size), at + size) if size else uleb(self.info, at)
            return (self, offset), at
        if form == REF_ADDR:
            size = self._sizes[form]
            if self.reader is None:
                raise ValueError("a reference to another unit")
            offset = self.number(at, size)
            unit = self.reader.unit_at(self.section, offset)
            return (unit, offset - unit.start), at + size
        if form == REF_SIG8:
            return ("signature", self.number(at, 8)), at + 8
        if form == FLAG_PRESENT:
            return True, at
        if form == FLAG:
            return self.info[at] != 0, at + 1
        if form == IMPLICIT:
            return constant, at
        if form == SDATA:
            return sleb(self.info, at)
        if form in STRX:
            size = STRX[form]
            index, at = (self.number(at, size), at + size) if size else uleb(self.info, at)
            where = self.string_base + index * self.offset_size
            offset = int.from_bytes(self.strings.offsets[where : where + self.offset_size], self.strings.order)
            return _text(self.strings.texts, offset), at
        if form in ADDRX:
            size = ADDRX[form]
            index, at = (self.number(at, size), at + size) if size else uleb(self.info, at)
            return self.address(index), at
        if form in BLOCKS:
            length, at = self.length(form, at)
            return self.info[at : at + length], at + length
        if form == INDIRECT:
            form, at = uleb(self.info, at)
            return self._value(form, 0, at)
        if form in self._sizes:
            size = self._sizes[form]
            return self.number(at, size), at + size
        if form in LEB:
            return uleb(self.info, at)
        raise ValueError(f"unknown form {form:#x}")

    def address(self, index: int) -> int:
        at = self.address_base + index * self.address_size
        return int.from_bytes(self.strings.addresses[at : at + self.address_size], self.strings.order)

    def locate(self, abbrev: Abbrev, at: int) -> tuple[int, int]:
        """Where the location of a variable begins whose attributes begin here, 0 for what has none or an empty one;
        where the next entry begins."""
        place = 0
        for gap, form, is_location in abbrev.jumps:
            at += gap
            if is_location and form in BLOCKS:
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
        tag, name = abbrev.tag, str(attributes.get(NAME, ""))
        if SIGNATURE in attributes:
            return self.type(attributes[SIGNATURE])
        if tag == TYPEDEF or tag in _QUALIFIERS:
            found = self.type(attributes.get(TYPE))
            if tag == TYPEDEF and isinstance(found, Record | Enum) and not found.name:
                return _named(found, name)
            return found
        size = attributes.get(BYTE_SIZE, 0)
        if not isinstance(size, int):
            return Opaque(name, "its size is known at run time only")
        if tag == BASE:
            return Scalar(name, size, _ENCODINGS.get(attributes.get(ENCODING, 0), "other"))
        if tag in (POINTER, REFERENCE, RVALUE):
            target = attributes.get(TYPE)
            return Pointer(size or self.address_size, lambda: self.type(target), tag != POINTER)
        if tag == ENUMERATION:
            return self._enum(name, size, attributes, inside if abbrev.children else 0)
        if tag == ARRAY:
            return self._array(self.type(attributes.get(TYPE)), inside if abbrev.children else 0)
        if tag in RECORDS:
            if attributes.get(DECLARATION):
                return Opaque(name, f"{RECORDS[tag]} {name} is only declared")
            return self._record(tag, name, size, inside if abbrev.children else 0)
        if tag == SUBROUTINE:
            return self.function("", attributes, inside if abbrev.children else 0)
        if tag == UNSPECIFIED:
            return Opaque(name, "it is unspecified")
        if tag == PTR_TO_MEMBER:
            return Opaque(name, "it is a pointer to a member", size)
        return Opaque(name, f"it is an entry of kind {tag:#x}", size)

    def _enum(self, name: str, size: int, attributes: Attributes, inside: int) -> Type:
        under = self.type(attributes[TYPE]) if TYPE in attributes else None
        values = []
        for abbrev, child, _ in self.children(inside) if inside else ():
            if abbrev.tag == ENUMERATOR:
                values.append((str(child.get(NAME, "")), int(child.get(CONST_VALUE, 0))))
        signed = (isinstance(under, Scalar) and under.kind == "signed") or any(value < 0 for _, value in values)
        bits = 8 * (size or (under.size if under else 4))
        fixed = tuple((each, _wrapped(value, bits, signed)) for each, value in values)
        return Enum(name, bits // 8, signed, fixed)

    def _array(self, of: Type, inside: int) -> Type:
        counts = []
        for abbrev, child, _ in self.children(inside) if inside else ():
            if abbrev.tag == SUBRANGE:
                count = child.get(COUNT, child.get(UPPER_BOUND, -1) if COUNT not in child else 0)
                if not isinstance(count, int):
                    return Opaque("", "an array whose length is known at run time only")
                if COUNT not in child:
                    count = 0 if count in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF) else count + 1
                counts.append(count)
        for count in reversed(counts):
            of = Array(of, count)
        return of

    def _record(self, tag: int, name: str, size: int, inside: int) -> Type:
        members, obstacle = [], ""
        for abbrev, child, _ in self.children(inside) if inside else ():
            if abbrev.tag == INHERITANCE and (
                child.get(VIRTUALITY) or not isinstance(child.get(MEMBER_LOCATION, 0), int)
            ):
                obstacle = obstacle or "it has a virtual base class"
            elif abbrev.tag in (MEMBER, INHERITANCE):
                if child.get(EXTERNAL) or child.get(DECLARATION) or CONST_VALUE in child:
                    continue  # a static member of a class: a variable of its own
                title = str(child.get(NAME, ""))
                type_ = self.type(child.get(TYPE))
                if abbrev.tag == INHERITANCE and isinstance(type_, Record):
                    title = f"<{type_.name}>"
                if title.startswith("_vptr") and child.get(ARTIFICIAL, True):
                    obstacle = obstacle or "it has virtual functions"
                elif isinstance(type_, Record) and type_.obstacle:
                    obstacle = obstacle or f"{title}: {type_.obstacle}"
                elif isinstance(type_, Array) and isinstance(element := _element(type_), Record) and element.obstacle:
                    obstacle = obstacle or f"{title}: {element.obstacle}"
                elif isinstance(type_, Pointer) and type_.reference:
                    obstacle = obstacle or f"{title}: it is a reference"
                members.append(self._member(title, type_, child))
            elif abbrev.tag == SUBPROGRAM:
                if child.get(VIRTUALITY):
                    obstacle = obstacle or "it has virtual functions"
                elif str(child.get(NAME, "")).startswith("~") and not child.get(ARTIFICIAL):
                    obstacle = obstacle or "it has a destructor"
        return Record(name, RECORDS[tag], size, tuple(members), obstacle)  # type: ignore[arg-type]

    def _member(self, name: str, type_: Type, attributes: Attributes) -> Member:
        bits = int(attributes.get(BIT_SIZE, 0))
        location = attributes.get(MEMBER_LOCATION, 0)
        if isinstance(location, bytes):
            location = _offset_of(location)
        at = location * 8
        if DATA_BIT_OFFSET in attributes:
            at = int(attributes[DATA_BIT_OFFSET])
        elif bits and BIT_OFFSET in attributes:  # DWARF 2-3 (and gcc's 4): counted from the most significant bit
            storage = int(attributes.get(BYTE_SIZE, type_.size)) * 8
            from_top = _wrapped(int(attributes[BIT_OFFSET]), 64, True)
            at += storage - from_top - bits if self.strings.order == "little" else from_top
        return Member(name, type_, at, bits)

    def function(self, name: str, attributes: Attributes, inside: int) -> Function:
        """Its text is in C's words, with the types' own names, so that it can be shown."""
        parameters, variadic = [], False
        for abbrev, child, _ in self.children(inside) if inside else ():
            if abbrev.tag == PARAMETER:
                origin = child.get(ORIGIN)  # the parameters of an inlined function's own copy
                if TYPE not in child and origin and origin[0] != "signature":
                    child = origin[0].entry(origin[1])[1]
                parameters.append(self._part(child.get(TYPE)))
            elif abbrev.tag == UNSPECIFIED_PARAMETERS:
                variadic = True
        words = [part.text for part in parameters] + ["..."] * variadic
        returns = self._part(attributes.get(TYPE))
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
            if abbrev is None or abbrev.tag not in {TYPEDEF, POINTER, REFERENCE, RVALUE, *_QUALIFIERS}:
                break
            if abbrev.tag in (POINTER, REFERENCE, RVALUE):
                found.append(constant)
                constant = False
            constant = constant or abbrev.tag == CONST
            reference = attributes.get(TYPE)
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
        tag, target = abbrev.tag, attributes.get(TYPE)
        name = str(attributes.get(NAME, ""))
        if tag in (BASE, UNSPECIFIED):
            return name
        if tag == TYPEDEF:
            followed = self.type((unit, offset))
            if isinstance(followed, Record | Enum | Opaque):
                return name  # typedef struct {...} name, or a handle
            return self.words(target, depth + 1)
        if tag in _QUALIFIERS:
            word = {CONST: "const", VOLATILE: "volatile", RESTRICT: "", ATOMIC: "_Atomic"}[tag]
            inner = self.words(target, depth + 1)
            return f"{inner} {word}".strip() if inner.endswith("*") else f"{word} {inner}".strip()
        if tag in (POINTER, REFERENCE, RVALUE):
            mark = {POINTER: "*", REFERENCE: "&", RVALUE: "&&"}[tag]
            inner = self.words(target, depth + 1)
            if "(" in inner and not inner.endswith("*"):
                head, _, tail = inner.partition("(")
                return f"{head}({mark})({tail}" if not tail.startswith("*") else f"{head}({mark}{tail}"
            return inner + (mark if inner.endswith("*") else f" {mark}")
        if tag == SUBROUTINE:
            return self.function("", attributes, inside if abbrev.children else 0).text
        if tag == ENUMERATION:
            return f"enum {name}".strip()
        if tag in RECORDS:
            return name if self._is_cxx else f"{RECORDS[tag]} {name}".strip()
        if tag == ARRAY:
            found = self.type((unit, offset))
            dimensions = ""
            while isinstance(found, Array):
                dimensions += f"[{found.count}]"
                found = found.of
            return f"{self.words(target, depth + 1)} {dimensions}"
        return name or "?"

    @property
    def _is_cxx(self) -> bool:
        return self.top.get(LANGUAGE, 0) in (0x04, 0x1A, 0x21, 0x2B)  # C_plus_plus, _11, _14, _17


def _named(found: Record | Enum, name: str) -> Record | Enum:
    if isinstance(found, Enum):
        return Enum(name, found.size, found.signed, found.values)
    return Record(name, found.kind, found.size, found.members, found.obstacle)


def _element(array: Array) -> Type:
    found: Type = array
    while isinstance(found, Array):
        found = found.of
    return found


def _wrapped(value: int, bits: int, signed: bool) -> int:
    """A constant as an object of this many bits holds it: compilers write -1 as 0xff."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode("utf-8", "replace")


def _offset_of(expression: bytes) -> int:
    """A member's place as DWARF 2 wrote it: DW_OP_plus_uconst N, or DW_OP_constu N."""
    if expression and expression[0] in (OP_PLUS_UCONST, OP_CONSTU):
        return uleb(expression, 1)[0]
    raise ValueError("a member whose place is known at run time only")
