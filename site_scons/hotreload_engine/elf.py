"""A library's bytes → Image. Bytes in, value out: touches no disk.

Parsing is pyelftools'; here is only what to ask it and what to say when the bytes are no library. Importing it takes
50 ms: ``warm`` does that before it is needed.
"""

from __future__ import annotations

import hashlib
import io
import struct
from functools import cache
from typing import Any

from .model import HotReloadError, Image

_REMEDY = "build it again; hosts go on with what they have"


@cache
def _library() -> Any:
    try:
        from elftools.elf import elffile
    except ImportError as error:
        raise HotReloadError(
            "pyelftools is not installed for the Python that runs scons", "", "python3 -m pip install pyelftools"
        ) from error
    return elffile


def warm() -> None:
    """Import what is slow to import."""
    _library()


def read(data: bytes, path: str) -> Image:
    """Read an ELF file. HotReloadError when it is none, is cut off or damaged; the text names ``path``."""
    _require_complete(data, path)
    elffile = _library()
    try:
        file = elffile.ELFFile(io.BytesIO(data))
        dynamic = next((s for s in file.iter_segments("PT_DYNAMIC")), None)
        tags = list(dynamic.iter_tags()) if dynamic else []
        symbols = [symbol for symbol in _dynamic_symbols(file, dynamic) if symbol.name]
        exports = frozenset(
            symbol.name
            for symbol in symbols
            if symbol["st_shndx"] != "SHN_UNDEF"
            and symbol["st_info"]["bind"] != "STB_LOCAL"
            and symbol["st_other"]["visibility"] in ("STV_DEFAULT", "STV_PROTECTED")
        )
        imports = frozenset(
            symbol.name
            for symbol in symbols
            if symbol["st_shndx"] == "SHN_UNDEF" and symbol["st_info"]["bind"] == "STB_GLOBAL"
        )
        return Image(
            path=path,
            size=len(data),
            digest=hashlib.blake2b(data, digest_size=16).hexdigest(),
            build_id=_build_id(file),
            kind=str(file["e_type"]).removeprefix("ET_"),
            machine=str(file["e_machine"]),
            bits=file.elfclass,
            soname=next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), ""),
            needed=tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
            exports=exports,
            imports=imports,
        )
    except HotReloadError:
        raise
    except Exception as error:  # pyelftools raises whatever its parsing stumbles on
        raise HotReloadError(f"this ELF file is damaged ({type(error).__name__}: {error})", path, _REMEDY) from error


def _dynamic_symbols(file: Any, dynamic: Any) -> list[Any]:
    """By the section, which counts them at once; by the segment for a file that has no sections (strip -R, sstrip)."""
    section = file.get_section_by_name(".dynsym")
    if section is not None:
        return list(section.iter_symbols())
    return list(dynamic.iter_symbols()) if dynamic else []


def _build_id(file: Any) -> str:
    for segment in file.iter_segments("PT_NOTE"):
        for note in segment.iter_notes():
            if note["n_type"] == "NT_GNU_BUILD_ID":
                return str(note["n_desc"])
    return ""


def _require_complete(data: bytes, path: str) -> None:
    """The cheap checks first: an ELF header, and tables and segments that lie within the file (elf(5))."""
    if not data:
        raise HotReloadError("the file is empty", path, _REMEDY)
    if data[:4] != b"\x7fELF":
        kind = (
            "a text file" if _is_text(data[:512]) else "a static library" if data[:8] == b"!<arch>\n" else "no ELF file"
        )
        raise HotReloadError(f"this is {kind}, not a shared library", path, "let the linker make it (-shared)")
    try:
        order = {1: "<", 2: ">"}[data[5]]
        wide = {1: False, 2: True}[data[4]]
        if wide:
            phoff, shoff = struct.unpack_from(order + "QQ", data, 0x20)
            phentsize, phnum, shentsize, shnum = struct.unpack_from(order + "HHHH", data, 0x36)
        else:
            phoff, shoff = struct.unpack_from(order + "II", data, 0x1C)
            phentsize, phnum, shentsize, shnum = struct.unpack_from(order + "HHHH", data, 0x2A)
        end = max(shoff + shnum * shentsize, phoff + phnum * phentsize)
        for index in range(phnum):
            base = phoff + index * phentsize
            offset, size = (
                (
                    struct.unpack_from(order + "Q", data, base + 8)[0],
                    struct.unpack_from(order + "Q", data, base + 32)[0],
                )
                if wide
                else (
                    struct.unpack_from(order + "I", data, base + 4)[0],
                    struct.unpack_from(order + "I", data, base + 16)[0],
                )
            )
            end = max(end, offset + size)
    except (KeyError, struct.error):
        raise HotReloadError("this ELF file is cut off within its header", path, _REMEDY) from None
    if end > len(data):
        raise HotReloadError(f"this ELF file is cut off: it has {len(data)} bytes and needs {end}", path, _REMEDY)


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and not any(byte < 9 for byte in head)
