"""A number of one type as one of another: the operation that carries it over, and what the change is called."""

from __future__ import annotations

from collections.abc import Mapping

from .debug import Enum, Scalar
from .kinds import kind_of
from .plan import LOST, NONE, Kind, Operation

_NUMBERS = {
    ("signed", 1): 0, ("signed", 2): 1, ("signed", 4): 2, ("signed", 8): 3,
    ("unsigned", 1): 4, ("unsigned", 2): 5, ("unsigned", 4): 6, ("unsigned", 8): 7,
    ("float", 4): 8, ("float", 8): 9, ("float", 16): 10, ("bool", 1): 11,
}  # fmt: skip
"""Kinds of numbers in the format."""


def converted(
    old: Scalar | Enum, new: Scalar | Enum, from_: int, to: int, old_bits: int, new_bits: int, table: int
) -> tuple[Operation, str] | None:
    """What carries it over, and what the change is called; "" where it is the same number. None: nobody can carry it.

    ``from_`` and ``to`` in bits; widths of bit-fields, or 0; ``table``: of enumerators, or NONE.
    """
    kinds = kind_of(old), kind_of(new)
    if "other" in kinds and old != new:
        return None
    before, after = _width(old, kinds[0], old_bits), _width(new, kinds[1], new_bits)
    change = "" if kinds[0] == kinds[1] and before == after else _change(kinds, before, after)
    if old_bits or new_bits:
        if "float" in kinds:
            return None
        sign = [int(kind == "signed") << 31 | int(kind == "bool") << 30 for kind in kinds]
        return Operation(Kind.BITS, from_, to, a=before | sign[0], b=after | sign[1], table=table), change
    if not change and table == NONE:
        return Operation(Kind.COPY, from_ // 8, to // 8, a=old.size), change
    numbers = [_NUMBERS.get((kind, type_.size)) for kind, type_ in zip(kinds, (old, new), strict=True)]
    if numbers[0] is None or numbers[1] is None:
        return None
    return Operation(Kind.NUMBER, from_ // 8, to // 8, a=numbers[0], b=numbers[1], table=table), change


def _change(kinds: tuple[str, str], before: int, after: int) -> str:
    if (kinds[0] != kinds[1] and "float" in kinds) or before == after:
        return "converted"
    return "widened" if after > before else "narrowed"


def remapping(
    old: Enum, new: Enum, hints: Mapping[tuple[str, str], str]
) -> tuple[tuple[tuple[int, int], ...], str]:
    """(table, what it says) from enumerators' old values to the new ones; nothing where values stay.

    ``hints``: (type, name now) → its name before.
    """
    now = dict(new.values)
    taken = set(now.values())
    pairs: dict[int, int] = {}
    changed: list[str] = []
    for was, value in old.values:
        name = _renamed(old, new, was, hints)
        if value in pairs:
            continue
        if name in now:
            pairs[value] = now[name]
            if now[name] != value:
                changed.append(name)
        elif value in taken and not any(other in now and number == value for other, number in old.values):
            pairs[value] = LOST
            changed.append(f"{was} is gone")
    if not changed:
        return (), ""
    return tuple(sorted(pairs.items())), ", ".join(changed[:4]) + (", …" if len(changed) > 4 else "")


def _renamed(old: Enum, new: Enum, name: str, hints: Mapping[tuple[str, str], str]) -> str:
    for (type_, now), was in hints.items():
        if was == name and type_ in (old.name, new.name):
            return now
    return name


def _width(type_: Scalar | Enum, kind: str, bits: int) -> int:
    return bits or (1 if kind == "bool" else type_.size * 8)
