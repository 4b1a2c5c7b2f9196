"""What pointers into the old library may point to, and where that is in the new one."""

from __future__ import annotations

from collections.abc import Callable

from .debug import Type
from .layout import Layout
from .plan import NONE, NONE64, Landmark
from .statics import pairs


def landmarks(old: Layout, new: Layout, program_of: Callable[[Type, Type], int]) -> tuple[Landmark, ...]:
    """Functions by their names, variables by what they are matched with.

    ``program_of``: the number of the program from an old type to a new one, NONE where there is none.
    """
    found: dict[int, Landmark] = {}
    names = {(symbol.file, symbol.name): symbol for symbol in new.mapped.symbols}
    loose = {symbol.name: symbol for symbol in new.mapped.symbols}
    for symbol in old.mapped.symbols:
        if symbol.name.startswith((".", "___asan_")):
            continue  # the compiler's own: clang counts its texts, so that a name means another one by now
        match = names.get((symbol.file, symbol.name)) or loose.get(symbol.name)
        if match is not None and match.is_function != symbol.is_function:
            match = None
        at = match.address if match else NONE64
        size = min(symbol.size, match.size) if match and not symbol.is_function else symbol.size
        found[symbol.address] = Landmark(symbol.address, max(size, 1), at, NONE, symbol.name)
    for key, mine in old.variables.items():
        for was, now in pairs(mine, new.variables.get(key, [])):
            if was is not None and now is not None:
                before, after = was.type(), now.type()
                program = program_of(before, after)
                size = before.size if program != NONE else min(before.size, after.size)
                found[was.address] = Landmark(was.address, max(size, 1), now.address, program, was.title)
    return tuple(sorted(found.values()))
