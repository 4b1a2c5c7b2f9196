"""A library's bytes → what is where once it is mapped: contents, symbols, relocated pointers. Touches no disk.

Addresses are the file's own (elf(5), p_vaddr): a process adds the place that the library was loaded at.
"""

from __future__ import annotations

import bisect
import struct
from functools import cached_property
from typing import NamedTuple

from .binary import Binary

_LOAD, _RELRO = "PT_LOAD", "PT_GNU_RELRO"
_WRITE = 2  # PF_W
_OBJECT, _FUNCTION, _FILE, _IFUNC = 1, 2, 4, 10  # STT_*
_POINTER_SIZED = frozenset({1, 6, 8, 257, 1024, 1025, 1027})
"""Relocations whose result is symbol + addend, or base + addend: R_X86_64_64, GLOB_DAT, RELATIVE and R_AARCH64_ABS64,
COPY, GLOB_DAT, RELATIVE."""


class Symbol(NamedTuple):
    """A tuple: a large library has tens of thousands."""

    name: str
    address: int
    size: int
    is_function: bool
    file: str
    """For a local symbol the source file it is of; "" for one that others can bind to."""


class Mapped:
    """One library's memory as its file describes it. Read once, then a value."""

    def __init__(self, data: bytes | Binary) -> None:
        self._binary = binary = Binary.of(data)
        self._data = binary.data
        self._file = binary.file
        self._sections = binary.named
        self.little = bool(self._file.little_endian)
        self.bits = int(self._file.elfclass)
        self._segments = [
            (s["p_vaddr"], s["p_memsz"], s["p_offset"], s["p_filesz"], s["p_flags"], s["p_type"])
            for s in self._file.iter_segments()
            if s["p_type"] in (_LOAD, _RELRO)
        ]

    def is_variable(self, address: int) -> bool:
        """Whether the code can write there: not constants, nor what the loader makes read-only again."""
        writable = False
        for begin, size, _, _, flags, kind in self._segments:
            if begin <= address < begin + size:
                if kind == _RELRO:
                    return False
                writable = writable or bool(flags & _WRITE)
        return writable

    def contents(self, name: str) -> bytes:
        """Of a section; b"" where there is none."""
        section = self._sections.get(name)
        return bytes(section.data()) if section is not None else b""

    def extent(self, name: str) -> tuple[int, int]:
        """(address, size) of a section."""
        section = self._sections.get(name)
        return (int(section["sh_addr"]), int(section["sh_size"])) if section is not None else (0, 0)

    def read(self, address: int, size: int) -> bytes:
        """What is there when the library has just been mapped, before relocation; zeros where the file has none."""
        for begin, memory, offset, stored, _, kind in self._segments:
            if kind == _LOAD and begin <= address < begin + memory:
                at = address - begin
                return self._data[offset + at : offset + min(at + size, stored)].ljust(size, b"\0")
        return bytes(size)

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """Functions and objects that have an address here. Of a stripped library the exported ones only."""
        return self._symbols(".symtab") or self._symbols(".dynsym")

    def _symbols(self, section_name: str) -> tuple[Symbol, ...]:
        found, file = [], ""
        table = self._sections.get(section_name)
        if table is None:
            return ()
        strings = self._file.get_section(table["sh_link"]).data()
        order = "<" if self.little else ">"
        layout = struct.Struct(order + ("IBBHQQ" if self.bits == 64 else "IIIBBH"))
        for fields in layout.iter_unpack(table.data()):
            if self.bits == 64:
                name, info, _, section, value, size = fields
            else:
                name, value, size, info, _, section = fields
            kind, local = info & 15, info >> 4 == 0
            if kind == _FILE:
                file = _text(strings, name)
            elif kind in (_OBJECT, _FUNCTION, _IFUNC) and section and name:
                found.append(Symbol(_text(strings, name), value, size, kind != _OBJECT, file if local else ""))
        return tuple(found)

    @cached_property
    def by_name(self) -> dict[str, Symbol]:
        """Of those that others can bind to: the dynamic table has no others, and is short."""
        return {symbol.name: symbol for symbol in self._symbols(".dynsym")}

    @cached_property
    def guards(self) -> dict[str, Symbol]:
        """The guard variables of C++ functions' statics, by name (Itanium C++ ABI, 5.1.6.2: ``_ZGV``)."""
        if b"\0_ZGV" not in self.contents(".strtab"):
            return {}
        return {symbol.name: symbol for symbol in self.symbols if symbol.name.startswith("_ZGV")}

    @cached_property
    def _sorted(self) -> tuple[list[int], list[Symbol]]:
        inside = sorted(self.symbols, key=lambda symbol: symbol.address)
        return [symbol.address for symbol in inside], inside

    def symbol_at(self, address: int) -> Symbol | None:
        """The function or object that an address is in."""
        starts, inside = self._sorted
        index = bisect.bisect_right(starts, address) - 1
        found = inside[index] if index >= 0 else None
        return found if found and address < found.address + max(found.size, 1) else None

    @cached_property
    def pointers(self) -> dict[int, tuple[str, int]]:
        """Where the loader writes an address: (symbol, addend); the symbol is "" for an address in this library."""
        found: dict[int, tuple[str, int]] = {}
        for section in self._binary.sections:
            if section["sh_type"] != "SHT_RELA":
                continue
            symbols = self._file.get_section(section["sh_link"])
            for entry in section.iter_relocations():
                if entry["r_info_type"] not in _POINTER_SIZED:
                    continue
                symbol = symbols.get_symbol(entry["r_info_sym"]).name if entry["r_info_sym"] else ""
                found[entry["r_offset"]] = (symbol, entry["r_addend"])
        return found

    @cached_property
    def _pointed(self) -> list[int]:
        return sorted(self.pointers)

    def has_pointers(self, address: int, size: int) -> bool:
        """Whether the loader writes into an object that lies there."""
        index = bisect.bisect_left(self._pointed, address)
        return index < len(self._pointed) and self._pointed[index] < address + size

    def pointer(self, address: int) -> int | None:
        """The address in this library that a pointer there has once the loader is through; None for elsewhere."""
        symbol, addend = self.pointers.get(address, ("", 0))
        if symbol:
            return self.by_name[symbol].address + addend if symbol in self.by_name else None
        return addend or None


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode("utf-8", "backslashreplace")
