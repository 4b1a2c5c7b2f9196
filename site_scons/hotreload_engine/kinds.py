"""Small questions about types: which fields one has, what it holds, where its pointers lead, whether two are alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from .debug import Array, Enum, Function, Opaque, Pointer, Record, Scalar, Type

_Any = TypeVar("_Any", bound=Type)


class Field(NamedTuple):
    """A member as it is reached from the outside: those of anonymous structs are their parent's."""

    name: str
    type: Type
    bits_at: int
    bits: int


def fields(record: Record, at: int = 0) -> Iterator[Field]:
    """Members, those of anonymous structs in their parent's place; an anonymous union gets a name of its members'."""
    for member in record.members:
        if member.name or not isinstance(member.type, Record):
            yield Field(member.name, member.type, at + member.bits_at, member.bits)
        elif member.type.kind == "union":
            title = "<" + ", ".join(each.name for each in fields(member.type)) + ">"
            yield Field(title, member.type, at + member.bits_at, 0)
        else:
            yield from fields(member.type, at + member.bits_at)


def share(one: str, other: str) -> bool:
    """Whether two anonymous unions have a member's name in common."""
    split = [set(name.strip("<>").split(", ")) for name in (one, other)]
    return one.startswith("<") and bool(split[0] & split[1])


def kind_of(type_: Scalar | Enum) -> str:
    if isinstance(type_, Enum):
        return "signed" if type_.signed else "unsigned"
    return type_.kind


def is_text(type_: Type) -> bool:
    """Whether an array of these is a text."""
    return isinstance(type_, Scalar) and type_.size == 1 and type_.name == "char"


# --- pointers -----------------------------------------------------------------------------------------------


def pointers_of(type_: Type, at: int = 0, path: str = "") -> Iterator[tuple[int, Pointer, str]]:
    """(offset in bits, pointer, path) of every pointer within an object."""
    if isinstance(type_, Pointer):
        yield at, type_, path
    elif isinstance(type_, Record):
        for member in type_.members:
            yield from pointers_of(member.type, at + member.bits_at, f"{path}.{member.name}" if member.name else path)
    elif isinstance(type_, Array):
        for index in range(min(type_.count, 4096)):
            yield from pointers_of(type_.of, at + index * type_.of.size * 8, f"{path}[]")


def holds_pointers(type_: Type) -> bool:
    if isinstance(type_, Record):
        return any(holds_pointers(member.type) for member in type_.members)
    return holds_pointers(type_.of) if isinstance(type_, Array) else isinstance(type_, Pointer)


def is_declared_only(type_: Type) -> bool:
    return isinstance(type_, Opaque) and bool(type_.name) and not type_.size and type_.name != "void"


def may_point_home(type_: Type) -> bool:
    """Whether a value of this type may be the address of something in the library: of a text, a function, anything."""
    if isinstance(type_, Pointer):
        target = type_.to()
        return isinstance(target, Function) or (isinstance(target, Scalar) and target.size == 1)
    return isinstance(type_, Opaque) and type_.name == "void"


class Reach:
    """Whether a type that is sought is in another one, or where pointers lead from it. Remembers what it has found."""

    def __init__(self, sought: Callable[[Type], bool]) -> None:
        self._sought = sought
        self._known: dict[int, bool] = {}
        self._alive: list[Type] = []
        """Types whose id() is a key: they must not be freed meanwhile."""

    def has(self, type_: Type) -> bool:
        met: dict[int, Type] = {}
        ahead = [type_]
        while ahead:
            each = ahead.pop()
            answer = self._known.get(id(each))
            if id(each) in met or answer is False:
                continue
            if answer or self._sought(each):
                self._alive.append(type_)
                self._known[id(type_)] = True
                return True
            met[id(each)] = each
            if isinstance(each, Record):
                ahead += [member.type for member in each.members]
            elif isinstance(each, Array):
                ahead.append(each.of)
            elif isinstance(each, Pointer):
                ahead.append(each.to())
        self._alive += met.values()
        self._known.update(dict.fromkeys(met, False))
        return False


# --- alike --------------------------------------------------------------------------------------------------


def distinct(types: Iterable[_Any]) -> list[_Any]:
    """One of each that are alike."""
    found: list[_Any] = []
    for each in types:
        if not any(alike(each, other) for other in found):
            found.append(each)
    return found


def alike(one: Type, other: Type) -> bool:
    """Whether two source files mean the same by a type, as far as pointers lead."""
    return _alike(one, other, set())


def _alike(one: Type, other: Type, met: set[tuple[int, int]]) -> bool:
    if one is other or (id(one), id(other)) in met:
        return True
    met.add((id(one), id(other)))
    if isinstance(one, Record) and isinstance(other, Record):
        heads = [(each.name, each.kind, each.size, each.obstacle, len(each.members)) for each in (one, other)]
        if heads[0] != heads[1]:
            return False
        for left, right in zip(one.members, other.members, strict=True):
            if (left.name, left.bits_at, left.bits) != (right.name, right.bits_at, right.bits):
                return False
            if not _alike(left.type, right.type, met):
                return False
        return True
    if isinstance(one, Array) and isinstance(other, Array):
        return one.count == other.count and _alike(one.of, other.of, met)
    if isinstance(one, Pointer) and isinstance(other, Pointer):
        return _alike(one.to(), other.to(), met)
    if isinstance(one, Opaque) or isinstance(other, Opaque):
        names = [each.name for each in (one, other) if isinstance(each, Opaque | Record)]
        return len(names) == 2 and names[0] == names[1]
    if isinstance(one, Function) and isinstance(other, Function):
        return True
    return one == other
