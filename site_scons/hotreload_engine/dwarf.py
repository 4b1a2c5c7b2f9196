"""A library's debug information → its types and variables. Bytes in, values out: touches no disk and no process.

pyelftools opens the file (sections, compression); the entries are unpacked by us, in one sweep, because an object per
attribute costs 60 µs an entry, at every save (a test compares both readings). Formats: DWARF 4 and 5, dwarfstd.org,
sections 7.5 (entries), 7.7 (expressions).
"""

from __future__ import annotations

from collections.abc import Callable

from .binary import Binary
from .debug import Debug, Function, Type, Variable
from .dwarf_format import DWO_NAME, GNU_DWO_NAME
from .dwarf_same import Before, Kept
from .dwarf_sweep import Sweep
from .dwarf_units import Reader
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
    for kept in debug.units_read:
        kept.make_shape()


def _read(binary: Binary, path: str, known: Debug | None) -> Debug:
    if ".debug_info" not in binary.named:
        old = ".zdebug_info" in binary.named
        why = (
            "its debug information is compressed in the old way (-gz=zlib-gnu)"
            if old
            else "it has no debug information"
        )
        return Debug(path, (), (), {}, {}, frozenset(), why)
    kept_before: tuple[Kept, ...] = known.units_read if known else ()
    reader = Reader(binary, (kept.unit for kept in kept_before))
    before = Before(kept_before)
    trouble = ""
    units = []
    variables: list[Variable] = []
    apart: set[str] = set()
    records: dict[str, list[Callable[[], Type]]] = {}
    functions: dict[str, Callable[[], Function]] = {}
    for unit in reader.units:
        if unit.top.get(DWO_NAME) or unit.top.get(GNU_DWO_NAME):
            trouble = "its debug information is split off (-gsplit-dwarf)"
        same = before.like(unit)
        kept = same or Kept(unit, Sweep(unit).run())
        variables += same.moved_to(unit) if same else [variable for _, _, variable in kept.found.variables]
        units.append(kept)
        apart |= kept.found.apart
        for name, types in kept.found.records.items():
            records.setdefault(name, []).extend(types)
        for name, function in kept.found.functions.items():
            functions.setdefault(name, function)
    return Debug(
        path,
        tuple(kept.unit.name for kept in units if kept.unit.signature is None),
        tuple(variables),
        {name: tuple(types) for name, types in records.items()},
        functions,
        frozenset(apart),
        trouble,
        tuple(kept.found.records for kept in units),
        tuple(units),
    )
