"""A library's bytes → Image. Bytes in, value out: touches no disk and no process.

The file's structure is pyelftools' to parse; here is what to ask it, and what to say when the bytes are no library.
Only the symbol table itself is unpacked here, in one sweep: an object per symbol costs 80 ms for libc and 250 ms for
10,000 C++ symbols, at every save. Layouts: elf(5).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from .binary import Binary
from .model import HotReloadError, Image

_AGAIN = "build it again; hosts go on with what they have"
_MAGICS = (
    (b"!<arch>\n", "a static library (ar archive)"),
    (b"!<thin>\n", "a static library (thin ar archive)"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    (b"MZ", "a Windows program or DLL"),
    (b"\xcf\xfa\xed\xfe", "a macOS (Mach-O) file"),
    (b"\0asm", "a WebAssembly module"),
    (b"\x1f\x8b", "a gzip archive"),
)
_OTHER_KINDS = {
    "REL": ("an object file (.o)", "link it into a shared library (-shared)"),
    "CORE": ("a core dump", "point to the library itself"),
    "NONE": ("an ELF file of no type", _AGAIN),
}
_UNDEFINED = 0  # SHN_UNDEF
_LOCAL, _GLOBAL, _UNIQUE = 0, 1, 10  # STB_LOCAL, STB_GLOBAL, STB_GNU_UNIQUE; beside them STB_WEAK
_DEFAULT = 0  # STV_DEFAULT
_BINDABLE = (0, 3)  # STV_DEFAULT, STV_PROTECTED
_ALLOCATED = 2  # SHF_ALLOC
_EXECUTABLE_BY_DEFAULT = frozenset({"EM_X86_64", "EM_386"})
"""Where the loader takes a file without PT_GNU_STACK for one that wants an executable stack (glibc, stackinfo.h)."""
_DEBUG = frozenset({".debug_info", ".zdebug_info"})


@cache
def _library() -> Any:
    try:
        import elftools.common.utils
        import elftools.elf.elffile
        import elftools.elf.enums
    except ImportError as error:
        raise HotReloadError(
            "pyelftools is not installed for the Python that runs scons", "", "python3 -m pip install pyelftools"
        ) from error
    return elftools


def warm() -> None:
    """Import what is slow to import (pyelftools, 40 ms). HotReloadError when it is not installed."""
    _library()


def read(data: bytes | Binary, path: str) -> Image:
    """Read a shared library or a program; ``path`` is only named, never opened.

    HotReloadError when the bytes are neither, are cut off or damaged. Any thread, given bytes; keeps
    nothing. About 1.5 ms for a small library, 5 ms for libc.
    """
    binary = Binary.of(data)
    _require_elf(binary.data, path)
    try:
        return _image(binary, path)
    except HotReloadError:
        raise
    except Exception as error:  # pyelftools raises whatever its parsing stumbles on
        raise HotReloadError(
            f"this ELF file is damaged ({type(error).__name__}: {str(error)[:120]})", path, _AGAIN
        ) from error


def _image(binary: Binary, path: str) -> Image:
    elftools = _library()
    file, data = binary.file, binary.data
    segments = _whole_segments(file, data, path)
    kind = str(file["e_type"]).removeprefix("ET_")
    if kind not in ("DYN", "EXEC"):
        what, remedy = _OTHER_KINDS.get(kind, (f"an ELF file of the unknown type {kind}", _AGAIN))
        raise HotReloadError(f"this is {what}, not a shared library", path, remedy)
    sections = binary.sections
    dynamic = _first(sections, "SHT_DYNAMIC") or next(file.iter_segments("PT_DYNAMIC"), None)
    tags = list(dynamic.iter_tags()) if dynamic else []
    if kind == "DYN" and not tags:
        raise HotReloadError(
            "this library has nothing to load in it (no dynamic section): split-off debug information?",
            path,
            "point to the library itself",
        )
    table = _table(file, data, _first(sections, "SHT_DYNSYM"), dynamic)
    # With versions own calls name one that only this library has.
    versioned = any(tag.entry.d_tag == "DT_VERDEF" for tag in tags)
    names = _names(table, frozenset() if versioned else _named_by_relocations(file, data, sections, tags))
    stack = next((segment["p_flags"] for segment in segments if segment["p_type"] == "PT_GNU_STACK"), None)
    return Image(
        path=path,
        size=len(data),
        digest=hashlib.blake2b(data, digest_size=16).hexdigest(),
        build_id=_build_id([s for s in sections if s["sh_type"] == "SHT_NOTE"] or file.iter_segments("PT_NOTE")),
        kind=kind,
        machine=str(file["e_machine"]),
        bits=file.elfclass,
        soname=next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), ""),
        needed=tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
        exports=names.exports,
        imports=names.imports,
        flags=frozenset(_flags(tags, elftools.elf.enums)),
        unique=names.unique,
        open_calls=names.open_calls,
        rpath=_directories(tags, "DT_RPATH", "rpath") or (),
        runpath=_directories(tags, "DT_RUNPATH", "runpath"),
        thread_bytes=next((_rounded(s["p_memsz"], s["p_align"]) for s in segments if s["p_type"] == "PT_TLS"), 0),
        executable_stack=bool(stack & 1) if stack is not None else file["e_machine"] in _EXECUTABLE_BY_DEFAULT,
        debug=any(section.name in _DEBUG for section in sections),
    )


# --- what is no ELF file, or half of one --------------------------------------------------------------------


def _require_elf(data: bytes, path: str) -> None:
    if not data:
        raise HotReloadError("the file is empty", path, _AGAIN)
    if data[:4] != b"\x7fELF":
        raise HotReloadError(
            f"this is {_looks_like(data[:512])}, not a shared library", path, "let the linker make it (-shared)"
        )


def _looks_like(head: bytes) -> str:
    for magic, what in _MAGICS:
        if head.startswith(magic):
            return what
    if not head.strip(b"\0"):
        return "a file of zero bytes"
    text = head.decode("utf-8", "replace")
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if any(ord(letter) < 32 and letter not in "\t\n\r\f\v" for letter in text) or text.count("\ufffd") > 1:
        return "no ELF file"
    if first.startswith(("/* GNU ld script", "INPUT", "GROUP", "OUTPUT_FORMAT")):
        return "a linker script"
    return f'a text file ("{first[:60]}")'


def _whole_segments(file: Any, data: bytes, path: str) -> list[Any]:
    """The program headers, if every table and every segment lies within the file: the header tables alone catch every
    truncation, because linkers put the section headers last; a stripped file without them is caught by its segments.
    """
    segments = []
    if file["e_ehsize"] != file.structs.Elf_Ehdr.sizeof():
        raise HotReloadError("this ELF file is damaged (its header contradicts itself)", path, _AGAIN)
    ends = [file["e_phoff"] + file["e_phnum"] * file["e_phentsize"]]
    if file["e_shoff"]:
        ends.append(file["e_shoff"] + max(file["e_shnum"], 1) * file["e_shentsize"])
    if max(ends) <= len(data):
        parse = _library().common.utils.struct_parse
        for index in range(file["e_phnum"]):
            segment = parse(file.structs.Elf_Phdr, file.stream, file["e_phoff"] + index * file["e_phentsize"])
            segments.append(segment)
            ends.append(segment["p_offset"] + segment["p_filesz"])
    if max(ends) > len(data):
        raise HotReloadError(f"this ELF file is cut off: it has {len(data)} bytes and needs {max(ends)}", path, _AGAIN)
    return segments


# --- symbols ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    symbols: bytes
    strings: bytes
    layout: struct.Struct
    """Of one symbol; unpacks to name, info, other, section."""


def _table(file: Any, data: bytes, section: Any, dynamic: Any) -> _Table:
    """By the section, which tells its size; by the segment for a file that has no sections (sstrip)."""
    order = "<" if file.little_endian else ">"
    # Elf64_Sym: name info other shndx (value size); Elf32_Sym: name (value size) info other shndx
    layout = struct.Struct(order + ("IBBH16x" if file.elfclass == 64 else "I8xBBH"))
    if section is not None:
        if section["sh_entsize"] != layout.size:
            raise ValueError(f"symbols of {section['sh_entsize']} bytes")
        start, size = section["sh_offset"], section["sh_size"]
        names, names_size = section.stringtable["sh_offset"], section.stringtable["sh_size"]
    elif dynamic is not None and hasattr(dynamic, "num_symbols"):
        start, size = dynamic.get_table_offset("DT_SYMTAB")[1], dynamic.num_symbols() * layout.size
        names = dynamic.get_table_offset("DT_STRTAB")[1]
        names_size = next(tag["d_val"] for tag in dynamic.iter_tags("DT_STRSZ"))
    else:
        return _Table(b"", b"", layout)
    if start + size > len(data) or names + names_size > len(data):
        raise ValueError("its symbol table lies beyond its end")
    return _Table(data[start : start + size], data[names : names + names_size], layout)


@dataclass(frozen=True)
class _Names:
    exports: frozenset[str]
    """What others can bind to."""
    imports: frozenset[str]
    """What must come from others: undefined and not weak."""
    unique: frozenset[str]
    open_calls: frozenset[str]


def _names(table: _Table, named: frozenset[int]) -> _Names:
    """``named``: indices of symbols that relocations name."""
    exports, imports, unique, open_calls = set(), set(), set(), set()
    for index, (name, info, other, section) in enumerate(table.layout.iter_unpack(table.symbols)):
        bind = info >> 4
        if section == _UNDEFINED:
            if bind == _GLOBAL and name:
                imports.add(name)
        elif bind != _LOCAL and other & 3 in _BINDABLE:
            exports.add(name)
            if bind == _UNIQUE:
                unique.add(name)
            elif bind == _GLOBAL and index in named and other & 3 == _DEFAULT:
                open_calls.add(name)
    return _Names(*(_strings(table.strings, offsets) for offsets in (exports, imports, unique, open_calls)))


def _named_by_relocations(file: Any, data: bytes, sections: list[Any], tags: list[Any]) -> frozenset[int]:
    """Relative relocations, most of a large library's, name no symbol and stand first (DT_RELACOUNT): left out."""
    order = "<" if file.little_endian else ">"
    # Elf64_Rela: offset, info (symbol << 32 | type), addend; Elf32_Rel: offset, info (symbol << 8 | type)
    if file.elfclass == 64:
        entry, addend, shift = ("8x4xI" if order == "<" else "8xI4x"), "8x", 0
    else:
        entry, addend, shift = "4xI", "4x", 8
    relative = next((tag.entry.d_val for tag in tags if tag.entry.d_tag in ("DT_RELACOUNT", "DT_RELCOUNT")), 0)
    found: set[int] = set()
    for section in sections:
        kind = section["sh_type"]
        if kind not in ("SHT_RELA", "SHT_REL") or not section["sh_flags"] & _ALLOCATED:
            continue
        layout = struct.Struct(order + entry + (addend if kind == "SHT_RELA" else ""))
        start = section["sh_offset"] + (relative * layout.size if section.name in (".rela.dyn", ".rel.dyn") else 0)
        end = section["sh_offset"] + section["sh_size"]
        if end > len(data):
            raise ValueError("its relocations lie beyond its end")
        entries = layout.iter_unpack(data[start : end - (end - start) % layout.size])
        found.update(info >> shift for (info,) in entries)
    return frozenset(found - {0})


def _strings(strings: bytes, offsets: set[int]) -> frozenset[str]:
    return frozenset(
        strings[offset : strings.index(b"\0", offset)].decode("utf-8", "backslashreplace") for offset in offsets
    )


# --- the rest -----------------------------------------------------------------------------------------------


def _flags(tags: list[Any], enums: Any) -> Iterator[str]:
    for tag in tags:
        if tag.entry.d_tag in ("DT_TEXTREL", "DT_SYMBOLIC"):  # what linkers wrote before DT_FLAGS was there
            yield tag.entry.d_tag.removeprefix("DT_")
        if tag.entry.d_tag == "DT_FLAGS":
            known, prefix = enums.ENUM_DT_FLAGS, "DF_"
        elif tag.entry.d_tag == "DT_FLAGS_1":
            known, prefix = enums.ENUM_DT_FLAGS_1, "DF_1_"
        else:
            continue
        for name, bit in known.items():
            if tag.entry.d_val & bit:
                yield name.removeprefix(prefix)


def _directories(tags: list[Any], kind: str, attribute: str) -> tuple[str, ...] | None:
    texts = [getattr(tag, attribute) for tag in tags if tag.entry.d_tag == kind]
    return tuple(part for text in texts for part in text.split(":") if part) if texts else None


def _rounded(size: int, alignment: int) -> int:
    return size if alignment < 2 else -(-size // alignment) * alignment


def _build_id(notes: Iterable[Any]) -> str:
    for part in notes:
        for note in part.iter_notes():
            if note["n_type"] == "NT_GNU_BUILD_ID":
                return str(note["n_desc"])
    return ""


def _first(sections: list[Any], kind: str) -> Any:
    return next((section for section in sections if section["sh_type"] == kind), None)
