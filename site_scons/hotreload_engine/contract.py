"""What a host was compiled against, and a new library: do they still mean the same functions?

A host calls the functions of its list through pointers whose types it was compiled with; nothing at run time would see
that one of them takes something else by now. Both sides' debug information tells. Values in, values out: touches no
disk and no process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .debug import Array, Debug, Enum, Function, Opaque, Part, Pointer, Record, Scalar, Type

Prototypes = Mapping[str, Function]

_TABLE = "_functions"
"""HR_FUNCTIONS(plug, …) declares ``struct plug_functions``, a typed pointer a function."""
_DEEP = 32


@dataclass(frozen=True)
class Difference:
    """A function that the two sides do not see in the same way."""

    function: str
    was: str
    """The prototype as the host knows it."""
    now: str
    where: str = ""
    """Not empty: the prototype is the same, but not the bytes of a type in it: ``point.x``."""

    @property
    def words(self) -> str:
        if self.where:
            return f"{self.now} takes another layout than before (at {self.where})"
        return f"{self.was} became {self.now}"


def of_host(debug: Debug, functions: Sequence[str]) -> list[Prototypes]:
    """What a host's program was compiled against, once for each source file that saw it differently; [] when unknown.

    ``functions``: its list, in order; it may be cut at the end.
    """
    found: list[Prototypes] = []
    for name, definitions in debug.records.items():
        if not name.endswith(_TABLE):
            continue
        for definition in definitions:
            table = definition()
            if not isinstance(table, Record) or not functions:
                continue
            prototypes = {member.name: function for member in table.members if (function := _pointed_to(member.type))}
            if tuple(prototypes)[: len(functions)] == tuple(functions):
                found.append(prototypes)
    return found


def of_library(debug: Debug, functions: Sequence[str]) -> Prototypes:
    """What a library makes of the functions of a list; without those whose debug information is not there."""
    return {name: debug.functions[name]() for name in functions if name in debug.functions}


def differences(known: Prototypes, new: Prototypes, state: str = "", layouts: bool = True) -> Iterator[Difference]:
    """Where a host that knows ``known`` would call ``new`` wrongly. Functions that only one side knows do not count.

    ``state``: name of the state's type, whose layout may differ (the runtime carries it over). ``layouts`` False: what
    pointers lead to is not compared, because the host's own view of it is not known.
    """
    for name, was in known.items():
        now = new.get(name)
        if now is None:
            continue
        if not _same_function(was, now, 0):
            yield Difference(name, spelt(name, was), spelt(name, now))
        elif layouts:
            for one, other in zip(_parts(was), _parts(now), strict=False):
                if place := _other_bytes(one.type(), other.type(), state):
                    yield Difference(name, spelt(name, was), spelt(name, now), place)
                    break


def sees_state_differently(host: Debug, state: Type | None, plugin: str) -> bool:
    """Whether the host's program has a definition of the state's type of its own, with another layout. Where it calls
    the plugin: elsewhere the name may be another type's."""
    if not isinstance(state, Record) or not state.name:
        return False
    table = plugin + _TABLE
    known = host.beside(table, state.name) if table in host.records else host.records.get(state.name, ())
    return any(_difference(definition(), state, 0) is not None for definition in known)


def spelt(name: str, function: Function) -> str:
    """``int plug_show(void *, char *)``."""
    words = [part.text for part in function.parameters] + ["..."] * function.variadic
    returns = function.returns.text if function.returns else "void"
    return f"{returns}{'' if returns.endswith('*') else ' '}{name}({', '.join(words) or 'void'})"


# --- prototypes ---------------------------------------------------------------------------------------------


def _pointed_to(type_: Type) -> Function | None:
    target = type_.to() if isinstance(type_, Pointer) else None
    return target if isinstance(target, Function) else None


def _parts(function: Function) -> list[Part]:
    return [*function.parameters, *([function.returns] if function.returns else [])]


def _same_function(was: Function, now: Function, depth: int) -> bool:
    """Whether a call that was compiled for the one is a call of the other.

    A parameter may promise more than before (``const``), a result less.
    """
    if (was.returns is None) != (now.returns is None):
        return False
    if was.returns and now.returns:
        if not _same(was.returns.type(), now.returns.type(), depth):
            return False
        if any(after and not before for before, after in zip(was.returns.const, now.returns.const, strict=False)):
            return False
    if any(side.variadic and not side.parameters for side in (was, now)):
        return True  # int f() in C: its parameters were never said
    if len(was.parameters) != len(now.parameters) or was.variadic != now.variadic:
        return False
    return all(
        _same(one.type(), other.type(), depth)
        and not any(before and not after for before, after in zip(one.const, other.const, strict=False))
        for one, other in zip(was.parameters, now.parameters, strict=True)
    )


def _same(was: Type, now: Type, depth: int) -> bool:
    """Types as a prototype names them: structs by their names, numbers by what they are (``long`` by any spelling)."""
    if was is now or depth > _DEEP:
        return True
    if isinstance(was, Pointer) and isinstance(now, Pointer):
        return was.reference == now.reference and _same(was.to(), now.to(), depth + 1)
    if isinstance(was, Array) and isinstance(now, Array):
        return was.count == now.count and _same(was.of, now.of, depth + 1)
    if isinstance(was, Function) and isinstance(now, Function):
        return _same_function(was, now, depth + 1)
    if isinstance(was, Scalar) and isinstance(now, Scalar):
        return (was.kind, was.size) == (now.kind, now.size) and (was.kind != "other" or was.name == now.name)
    if isinstance(was, Enum) and isinstance(now, Enum):
        return (was.name, was.size) == (now.name, now.size)
    if isinstance(was, Record | Opaque) and isinstance(now, Record | Opaque):
        return was.name == now.name
    return False


# --- what prototypes lead to --------------------------------------------------------------------------------


def _other_bytes(was: Type, now: Type, state: str) -> str:
    """Where the object that a parameter is, or points to, lies differently for the two; "" where it does not."""
    title = ""
    for _ in range(_DEEP):
        if not isinstance(was, Pointer) or not isinstance(now, Pointer):
            break
        was, now = was.to(), now.to()
    if isinstance(was, Record | Enum) and isinstance(now, Record | Enum):
        if was.name == state and state:
            return ""
        title = was.name
        difference = _difference(was, now, 0)
        return "" if difference is None else f"{title}{difference}" or "a struct without a name"
    return ""


def _difference(was: Type, now: Type, depth: int) -> str | None:
    """As a path from the object; None where its bytes mean the same. Pointers are not followed."""
    if was is now or depth > _DEEP:
        return None
    if isinstance(was, Record) and isinstance(now, Record):
        if was.size and now.size and was.size != now.size and len(was.members) == len(now.members) == 0:
            return ""
        for one, other in zip(was.members, now.members, strict=False):
            if (one.name, one.bits_at, one.bits) != (other.name, other.bits_at, other.bits):
                return f".{one.name or other.name}"
            if (below := _difference(one.type, other.type, depth + 1)) is not None:
                return f".{one.name}{below}"
        if len(was.members) != len(now.members):
            longer = max(was.members, now.members, key=len)
            return f".{longer[min(len(was.members), len(now.members))].name}"
        return None if was.size == now.size else ""
    if isinstance(was, Array) and isinstance(now, Array):
        below = _difference(was.of, now.of, depth + 1)
        return f"[]{below}" if below is not None else None if was.count == now.count else "[]"
    if isinstance(was, Enum) and isinstance(now, Enum):
        values = dict(now.values)
        moved = next((name for name, value in was.values if values.get(name, value) != value), None)
        return f": {moved}" if moved else None if was.size == now.size else ""
    if isinstance(was, Scalar) and isinstance(now, Scalar):
        return None if (was.kind, was.size) == (now.kind, now.size) else ""
    if isinstance(was, Pointer) and isinstance(now, Pointer):
        return None
    if isinstance(was, Opaque) or isinstance(now, Opaque):
        return None  # who does not see inside cannot see a change
    return ""
