"""Addresses in a library → functions, files and lines, from its bytes. Bytes in, values out.

Reads the line program of the one unit that an address belongs to (DWARF 2 to 5, compressed sections too), and the
symbol table. What is not there is left out: a library without debug information still has its functions' names, a
stripped one nothing but the offset.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from .model import Frame


def resolve(data: bytes, addresses: Iterable[int]) -> tuple[Frame, ...]:
    """A Frame for each address; all but what can be told is left empty. Never fails: a damaged file tells less."""
    wanted = tuple(addresses)
    try:
        from elftools.elf.elffile import ELFFile  # slow to import, and nobody needs it without a crash

        file = ELFFile(io.BytesIO(data))
    except Exception:
        return tuple(Frame(offset=address) for address in wanted)
    lines: dict[int, tuple[str, int]] = {}
    names: dict[int, str] = {}
    try:
        lines = _lines(file, set(wanted))
    except Exception:  # pyelftools raises whatever its parsing stumbles on; the names may still be there
        lines = {}
    try:
        names = _functions(file, wanted)
    except Exception:
        names = {}
    frames = []
    for address in wanted:
        path, line = lines.get(address, ("", 0))
        frames.append(Frame(names.get(address, ""), path, line, address))
    return tuple(frames)


# --- lines --------------------------------------------------------------------------------------------------


def _lines(file: Any, wanted: set[int]) -> dict[int, tuple[str, int]]:
    if not file.has_dwarf_info():
        return {}
    dwarf = file.get_dwarf_info(relocate_dwarf_sections=False)
    found: dict[int, tuple[str, int]] = {}
    for unit in dwarf.iter_CUs():
        here = {address for address in wanted - found.keys() if _covers(dwarf, unit, address)}
        if here:
            found.update(_in_unit(dwarf, unit, here))
        if len(found) == len(wanted):
            break
    return found


def _covers(dwarf: Any, unit: Any, address: int) -> bool:
    return any(begin <= address < end for begin, end in _ranges(dwarf, unit))


def _ranges(dwarf: Any, unit: Any) -> Iterator[tuple[int, int]]:
    top = unit.get_top_DIE().attributes
    low = top["DW_AT_low_pc"].value if "DW_AT_low_pc" in top else 0
    if "DW_AT_ranges" in top:
        base = low
        for entry in dwarf.range_lists().get_range_list_at_offset(top["DW_AT_ranges"].value, cu=unit):
            if hasattr(entry, "base_address"):
                base = entry.base_address
            elif entry.is_absolute:
                yield entry.begin_offset, entry.end_offset
            else:
                yield base + entry.begin_offset, base + entry.end_offset
    elif "DW_AT_high_pc" in top:
        high = top["DW_AT_high_pc"]
        yield low, high.value if high.form == "DW_FORM_addr" else low + high.value
    elif "DW_AT_stmt_list" in top:
        yield 0, 1 << 64  # an assembler's unit may say nothing: its line program decides


def _in_unit(dwarf: Any, unit: Any, wanted: set[int]) -> dict[int, tuple[str, int]]:
    program = dwarf.line_program_for_CU(unit)
    if program is None:
        return {}
    found: dict[int, tuple[str, int]] = {}
    before = None
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        if before is not None:
            for address in wanted:
                if before.address <= address < state.address:
                    found[address] = (_path(program, unit, before.file), before.line)
        before = None if state.end_sequence else state
    return found


def _path(program: Any, unit: Any, index: int) -> str:
    header = program.header
    before_5 = header.version < 5
    entry = header.file_entry[index - 1 if before_5 else index]
    name = _text(entry.name)
    directories = [_text(directory) for directory in header.include_directory]
    number = entry.dir_index
    top = unit.get_top_DIE().attributes
    compiled_in = _text(top["DW_AT_comp_dir"].value) if "DW_AT_comp_dir" in top else ""
    if before_5:
        directory = directories[number - 1] if number else compiled_in
    else:
        directory = directories[number] if number < len(directories) else compiled_in
    path = PurePosixPath(compiled_in, directory, name)
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] not in ("/", ".."):
            parts.pop()
        else:
            parts.append(part)
    return str(PurePosixPath(*parts))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# --- functions ----------------------------------------------------------------------------------------------


def _functions(file: Any, wanted: tuple[int, ...]) -> dict[int, str]:
    section = file.get_section_by_name(".symtab") or file.get_section_by_name(".dynsym")
    if section is None:
        return {}
    symbols = sorted(
        (symbol["st_value"], symbol["st_size"], symbol.name)
        for symbol in section.iter_symbols()
        if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF"
    )
    starts = [start for start, _, _ in symbols]
    found = {}
    for address in wanted:
        index = bisect_right(starts, address) - 1
        if index >= 0 and address < symbols[index][0] + max(symbols[index][1], 1):
            found[address] = plain(symbols[index][2])
    return found


def plain(name: str) -> str:
    """A function's name without its mangling, where that is simple (``_ZN4game4tickEv``: game::tick), and without the
    compiler's own suffixes (``tick.part.0``, ``tick.cold``)."""
    name = name.partition(".")[0]
    if not name.startswith("_Z"):
        return name
    rest = name[2:].removeprefix("L")
    nested = rest.startswith("N")
    rest = rest.removeprefix("NK" if rest.startswith("NK") else "N")
    parts = []
    while found := re.match(r"\d+", rest):
        end = found.end() + int(found[0])
        parts.append(rest[found.end() : end])
        rest = rest[end:]
        if not nested:
            break
    good = parts and all(parts) and (rest.startswith("E") if nested else True)
    return "::".join("(anonymous)" if part == "_GLOBAL__N_1" else part for part in parts) if good else name
