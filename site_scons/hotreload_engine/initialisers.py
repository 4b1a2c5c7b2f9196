"""Whether the source gives a variable another value than before, by what both libraries' files hold there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .debug import Array, Enum, Pointer, Record, Scalar, Type, Variable
from .kinds import fields, holds_pointers
from .mapped import Mapped
from .spelling import spelt, value


def edited(old: Mapped, was: Variable, before: Type, new: Mapped, now: Variable, after: Type) -> str | None:
    """Whether the source gives the variable another value than before: what of it, in words; None: it does not."""
    places = (old, was.address), (new, now.address)
    if before is after and not any(mapped.has_pointers(address, before.size) for mapped, address in places):
        bytes_there = [mapped.read(address, before.size) for mapped, address in places]
        if bytes_there[0] == bytes_there[1]:
            return None
    for path, one, two in _common(_Place(old, was.address * 8, 0), before, _Place(new, now.address * 8, 0), after, ""):
        if one != two:
            return f"{path} = {two}" if isinstance(two, str | float | int) and two != "" else path
    return None


class _Place(NamedTuple):
    mapped: Mapped
    bit: int
    """Address in bits."""
    bits: int
    """Width of a bit-field; 0 for what is none."""

    def at(self, bits: int, width: int = 0) -> _Place:
        return _Place(self.mapped, self.bit + bits, width)

    def read(self, size: int) -> bytes:
        return self.mapped.read(self.bit // 8, size)

    def value(self, type_: Type) -> object:
        """What its initialiser says, comparable with another library's."""
        address = self.bit // 8
        if isinstance(type_, Pointer):
            return self._target(address)
        if self.bits:
            data = int.from_bytes(self.mapped.read(address, 9), "little") >> self.bit % 8
            return data & ((1 << self.bits) - 1)
        data_ = self.mapped.read(address, type_.size)
        return _as_number(value(type_, data_)) if isinstance(type_, Scalar | Enum) else data_

    def _target(self, address: int) -> object:
        """What a pointer's initialiser means, whatever the addresses are."""
        mapped = self.mapped
        if address not in mapped.pointers:
            return mapped.read(address, mapped.bits // 8)
        symbol, addend = mapped.pointers[address]
        if symbol:
            return symbol, addend
        if inside := mapped.symbol_at(addend):
            return inside.name, addend - inside.address
        return (mapped.read(addend, 256).split(b"\0")[0],)  # a string literal


def _common(left: _Place, old: Type, right: _Place, new: Type, path: str) -> Iterator[tuple[str, object, object]]:
    """(path, old value, new value) of what two objects have in common; long arrays of numbers as one value."""
    if isinstance(old, Record) and isinstance(new, Record) and "union" not in (old.kind, new.kind):
        were = {member.name: member for member in fields(old)}
        for now in fields(new):
            if was := were.get(now.name):
                below = left.at(was.bits_at, was.bits), right.at(now.bits_at, now.bits)
                yield from _common(below[0], was.type, below[1], now.type, f"{path}.{now.name}")
    elif isinstance(old, Array) and isinstance(new, Array):
        count = min(old.count, new.count)
        if spelt(old.of) == spelt(new.of) and not holds_pointers(old.of):
            yield path, left.value(Array(old.of, count)), right.value(Array(new.of, count))
            return
        for index in range(min(count, 4096)):
            at, to = left.at(index * old.of.size * 8), right.at(index * new.of.size * 8)
            yield from _common(at, old.of, to, new.of, f"{path}[{index}]")
    elif isinstance(old, Record) and isinstance(new, Record):
        size = min(old.size, new.size)  # of a union: its bytes
        yield path, left.read(size), right.read(size)
    elif type(old) is type(new) or (isinstance(old, Scalar | Enum) and isinstance(new, Scalar | Enum)):
        yield path, left.value(old), right.value(new)


def _as_number(text: str) -> object:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return {"true": 1, "false": 0}.get(text, text)
