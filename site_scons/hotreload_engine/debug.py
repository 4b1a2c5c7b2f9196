"""What debug information tells of a library or program: its types, variables, and prototypes. Values only.

Types are resolved when they are asked for. What cannot be resolved is ``Opaque`` with the reason, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Scalar:
    name: str
    size: int
    """Bytes."""
    kind: Literal["signed", "unsigned", "float", "bool", "char", "other"]


@dataclass(frozen=True)
class Enum:
    name: str
    size: int
    signed: bool
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class Pointer:
    size: int
    to: Callable[[], Type]
    """Resolved when called: types may point to each other in circles."""
    reference: bool = False


@dataclass(frozen=True, eq=False)
class Array:
    of: Type
    count: int
    """0 for a flexible array member."""

    @property
    def size(self) -> int:
        return self.of.size * self.count


@dataclass(frozen=True)
class Member:
    name: str
    """"" for an anonymous struct or union."""
    type: Type
    bits_at: int
    """Offset in bits; a multiple of 8 unless it is a bit-field."""
    bits: int
    """Width of a bit-field; 0 for what is none."""

    @property
    def offset(self) -> int:
        return self.bits_at // 8


@dataclass(frozen=True, eq=False)
class Record:
    name: str
    kind: Literal["struct", "union", "class"]
    size: int
    members: tuple[Member, ...]
    obstacle: str = ""
    """Why its bytes cannot be carried over (virtual functions, a destructor, ...); "" for plain old data."""


@dataclass(frozen=True, eq=False)
class Part:
    """A parameter of a function, or what it returns."""

    text: str
    type: Callable[[], Type]
    const: tuple[bool, ...]
    """Of a pointer: whether what it points to is constant, then what that points to, ...; its own does not count."""


@dataclass(frozen=True, eq=False)
class Function:
    text: str
    """The prototype in words: ``int (struct state *, float)``."""
    size: int = 0
    returns: Part | None = None
    parameters: tuple[Part, ...] = ()
    variadic: bool = False
    """With ``...``; without parameters also one that C leaves open, ``int f()``."""


@dataclass(frozen=True)
class Opaque:
    """A type that is only declared, or that this reader does not know."""

    name: str
    why: str
    size: int = 0


Type = Scalar | Enum | Pointer | Array | Record | Function | Opaque
VOID = Opaque("void", "void")


@dataclass(frozen=True, eq=False)
class Variable:
    """An object with an address of its own: a global, a static, a static of a function."""

    name: str
    scope: tuple[str, ...]
    """Namespaces, classes, the function that it is a static of; inner blocks by their number."""
    unit: str
    """Name of the source file as the compiler was given it."""
    external: bool
    address: int
    type: Callable[[], Type]

    @property
    def title(self) -> str:
        """``counter``, ``plug_tick::calls``."""
        return "::".join([*(part for part in self.scope if not part.isdigit()), self.name])


@dataclass(frozen=True)
class Debug:
    """The debug information of one library or program."""

    path: str
    units: tuple[str, ...]
    variables: tuple[Variable, ...]
    records: dict[str, tuple[Callable[[], Type], ...]] = field(repr=False)
    """Every definition of a struct, union or class of this name, one a translation unit."""
    functions: dict[str, Callable[[], Function]] = field(repr=False)
    """Prototypes of the functions that others can call, by linker name."""
    apart: frozenset[str] = frozenset()
    """Titles of variables that the compiler took apart or put together differently: they have no address."""
    trouble: str = ""
    """Why it is not there, or only in part; "" when it is whole."""
    by_unit: tuple[Mapping[str, Sequence[Callable[[], Type]]], ...] = field(default=(), repr=False)
    """``records``, each translation unit's for itself."""
    units_read: tuple[Any, ...] = field(default=(), repr=False)
    """The reader's own, for when it reads the next state of the same library."""

    def beside(self, other: str, name: str) -> list[Callable[[], Type]]:
        """The definitions of a record ``name`` in translation units that have one called ``other`` too."""
        return [definition for records in self.by_unit if other in records for definition in records.get(name, ())]
