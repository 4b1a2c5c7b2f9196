"""Whether memory that holds one library's objects is good for the other's, as it is: pointers are followed."""

from __future__ import annotations

from .debug import Array, Enum, Function, Opaque, Pointer, Record, Scalar, Type
from .kinds import Reach, fields, is_declared_only, kind_of
from .layout import Layout


class Comparison:
    """Remembers what it has found. ``sides``: where types that are only declared are looked up in the other source
    files, the old library's and the new one's; None: they are not."""

    def __init__(self, sides: tuple[Layout, Layout] | None = None) -> None:
        self._sides = sides
        self._known: dict[tuple[int, int], str | None] = {}
        self._alive: list[Type] = []
        """Types whose id() is a key: they must not be freed meanwhile."""
        self._elsewhere = Reach(is_declared_only)

    def difference(self, old: Type, new: Type) -> str | None:
        """Where the two differ, as a path from them (``.chunks->tile``); None when memory of one is good for the other.

        Follows pointers: what cannot be reached from here does not count.
        """
        return self._difference(old, new, {})

    def _difference(self, old: Type, new: Type, met: dict[tuple[int, int], bool]) -> str | None:
        if self._sides and (isinstance(old, Opaque) or isinstance(new, Opaque)):
            old, new = self._sides[0].whole(old), self._sides[1].whole(new)
        key = (id(old), id(new))
        if key in met or (old is new and not self._leads_elsewhere(old)):
            return None
        if key in self._known:
            return self._known[key]
        whole = not met
        met[key] = True
        self._alive += [old, new]
        found = self._differs(old, new, met)
        if found is not None:
            self._known[key] = found
        elif whole:
            self._known.update(dict.fromkeys(met))  # nothing of all that can be reached differs
        return found

    def _differs(self, old: Type, new: Type, met: dict[tuple[int, int], bool]) -> str | None:
        if isinstance(old, Record) and isinstance(new, Record):
            if old.kind != new.kind and "union" in (old.kind, new.kind):
                return ""
            mine, theirs = list(fields(old)), list(fields(new))
            for was, now in zip(mine, theirs, strict=False):
                if (was.name, was.bits_at, was.bits) != (now.name, now.bits_at, now.bits):
                    return f".{was.name}"
                below = self._difference(was.type, now.type, met)
                if below is not None:
                    return f".{was.name}{below}"
            if len(mine) != len(theirs):
                longer = max(mine, theirs, key=len)
                return f".{longer[min(len(mine), len(theirs))].name}"
            return None if old.size == new.size else ""
        if isinstance(old, Array) and isinstance(new, Array):
            below = self._difference(old.of, new.of, met)
            return f"[]{below}" if below is not None else None if old.count == new.count else "[]"
        if isinstance(old, Pointer) and isinstance(new, Pointer):
            below = self._difference(old.to(), new.to(), met)
            return f"->{below.removeprefix('.')}" if below is not None else None
        if isinstance(old, Enum) and isinstance(new, Enum):
            now_values = dict(new.values)
            moved = any(now_values.get(name, value) != value for name, value in old.values)
            return "" if moved or (old.size, old.signed) != (new.size, new.signed) else None
        if isinstance(old, Scalar | Enum) and isinstance(new, Scalar | Enum):
            return None if (kind_of(old), old.size) == (kind_of(new), new.size) else ""
        if isinstance(old, Function) and isinstance(new, Function):
            return None
        if isinstance(old, Opaque) or isinstance(new, Opaque):
            return None  # declared only, on one side at least: code that does not see inside cannot see a change
        return ""

    def _leads_elsewhere(self, type_: Type) -> bool:
        """Whether pointers in a type lead to one that is only declared, and may differ though this one is the same."""
        return self._sides is not None and self._elsewhere.has(type_)
