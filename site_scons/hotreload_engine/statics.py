"""Variables that go on in the new library, matched by name; those that begin anew, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .convert import Converter, Refusal
from .debug import Opaque, Variable
from .initialisers import edited
from .kinds import holds_pointers
from .layout import Layout
from .plan import Static
from .tally import Tally


def statics(old: Layout, new: Layout, converter: Converter) -> tuple[list[Static], str]:
    """And what becomes of them all, in words."""
    left, constants = dict(old.variables), old.constants
    found: list[Static] = []
    tally = Tally()
    fresh = new.fresh
    for key, theirs in new.variables.items():
        for was, now in pairs(left.pop(key, []), theirs):
            if now is None:
                tally.note("gone", was.title)  # type: ignore[union-attr]
            elif now.address in fresh:
                tally.note("anew", f"{now.title}: HR_FRESH")
            elif was is None:
                if key not in constants and now.title not in old.debug.apart:
                    tally.note("new", now.title)
            else:
                found += _static(old, was, new, now, converter, tally)
    apart = old.debug.apart | new.debug.apart
    for title in sorted(apart):
        tally.note("anew", f"{title}: the compiler took it apart; -O0 or volatile keeps it whole")
    for key, gone in left.items():
        for variable in gone:
            if variable.title in apart:
                continue
            if key in new.constants:
                tally.note("anew", f"{variable.title}: nothing in the new code changes it")
            else:
                tally.note("gone", variable.title)
    return found, tally.words()


def pairs(mine: list[Variable], theirs: list[Variable]) -> Iterable[tuple[Variable | None, Variable | None]]:
    """Statics of one name in one function: by their order where there are as many as before, else by their block."""
    if len(mine) == len(theirs):
        return list(zip(mine, theirs, strict=True))
    blocks = {variable.scope: variable for variable in mine}
    found: list[tuple[Variable | None, Variable | None]] = [(blocks.pop(now.scope, None), now) for now in theirs]
    return found + [(was, None) for was in blocks.values()]


def _static(
    old: Layout, was: Variable, new: Layout, now: Variable, converter: Converter, tally: Tally
) -> list[Static]:
    """One variable, with its guard; nothing where it begins anew."""
    before, after = was.type(), now.type()
    if isinstance(before, Opaque) or isinstance(after, Opaque) or not before.size or not after.size:
        tally.note("anew", f"{now.title}: its type is not known")
        return []
    if before is after and not holds_pointers(before):
        size = before.size
        if old.mapped.read(was.address, size) == new.mapped.read(now.address, size):
            tally.kept += 1
            copy = converter.copy(size)
            return [Static(was.address, now.address, copy, now.title), *_guard(old, was, new, now, converter)]
    change = edited(old.mapped, was, before, new.mapped, now, after)
    if change is not None:
        tally.note("anew", f"{now.title}{change}: its initialiser was edited")
        return []
    inner = Tally()
    try:
        program = converter.program(now.title, before, after, inner)
    except Refusal as refusal:
        tally.note("anew", f"{refusal.path}: {refusal.why}")
        return []
    if any(inner.kinds.values()):
        own = f"{now.title}:", f"{now.title}["
        tally.take(inner, lambda detail: detail if detail.startswith(own) else f"{now.title}.{detail}")
    else:
        tally.kept += 1
    return [Static(was.address, now.address, program, now.title), *_guard(old, was, new, now, converter)]


def _guard(old: Layout, was: Variable, new: Layout, now: Variable, converter: Converter) -> Iterator[Static]:
    """The guard of a C++ function's static, without which its initialiser would run again (Itanium C++ ABI 2.8)."""
    places = []
    for mapped, variable in ((old.mapped, was), (new.mapped, now)):
        symbol = mapped.symbol_at(variable.address) if mapped.guards else None
        guard = mapped.guards.get(f"_ZGV{symbol.name[2:]}") if symbol and symbol.name.startswith("_ZZ") else None
        if guard is None:
            return
        places.append(guard.address)
    yield Static(places[0], places[1], converter.copy(8), f"guard of {now.title}")
