"""What a plan needs to know of one library: its state, its variables, its types, and what its source says of these by
HR_STATE, HR_RENAMED, HR_MIGRATE, HR_FRESH and hr_new.

Values in, values out: touches no disk and no process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from .binary import Binary
from .debug import Debug, Opaque, Pointer, Record, Type, Variable
from .dwarf import read
from .kinds import alike
from .mapped import Mapped

_HINTS = "hr_hints"
"""Section of the strings that HR_RENAMED leaves: ``type.new=old``, and HR_MIGRATE: ``type.field@function``."""
_FRESH = "hr_fresh"
"""Section of the variables that HR_FRESH keeps out of this."""
_STATE = "hr_state_of_"
"""HR_STATE leaves a pointer to the state's type under this name."""
_BLOCK = "hr__block_of"
"""Each hr_new leaves an object of this name: the type's name as it stands there, and a pointer to the type."""
_RUNTIME = "hr__typed"
"""A variable of the runtime's, which the host fills in."""

_Named = dict[tuple[str, ...], list[Variable]]
"""Variables by what they are known as."""


@dataclass(frozen=True)
class Layout:
    """What a plan needs to know of one library."""

    debug: Debug
    mapped: Mapped
    plugin: str
    """As in HR_STATE(plugin, …); "" when the library has none."""

    @cached_property
    def state(self) -> Type | None:
        """The type of the state, or None where it is not known."""
        for variable in self.debug.variables:
            if variable.name == _STATE + self.plugin and isinstance(pointer := variable.type(), Pointer):
                return pointer.to()
        return None

    @property
    def state_size(self) -> int:
        """Bytes, as HR_STATE says (hr_plugin_info in hotreload.h); 0 when there is none."""
        symbol = self.mapped.by_name.get(f"hr_plugin_{self.plugin}")
        return int.from_bytes(self.mapped.read(symbol.address + 8, 8), "little") if symbol else 0

    @cached_property
    def _kept(self) -> tuple[_Named, _Named]:
        found: tuple[_Named, _Named] = {}, {}
        met: set[int] = set()
        for variable in self.debug.variables:
            if variable.address in met or variable.name == _RUNTIME:
                continue
            met.add(variable.address)
            names = tuple(part for part in variable.scope if not part.isdigit())
            key = (*names, variable.name) if variable.external and not names else (variable.unit, *names, variable.name)
            found[not self.mapped.is_variable(variable.address)].setdefault(key, []).append(variable)
        return found

    @property
    def variables(self) -> _Named:
        """What keeps a value in the library."""
        return self._kept[0]

    @property
    def constants(self) -> _Named:
        """What has an address, and cannot change there."""
        return self._kept[1]

    def initially(self, at: int, size: int) -> bytes:
        """What a new state has there, before anything is carried into it."""
        symbol = self.mapped.by_name.get(f"hr_plugin_{self.plugin}")
        initial = self.mapped.pointer(symbol.address + 24) if symbol else None
        return self.mapped.read(initial + at, size) if initial else bytes(size)

    # --- what its source says --------------------------------------------------------------------------------

    @property
    def renamed(self) -> dict[tuple[str, str], str]:
        """(type, name now) → its name before, of HR_RENAMED."""
        found = {}
        for text in self._notes():
            new, _, old = text.partition("=")
            type_, _, name = new.rpartition(".")
            if type_ and name and old:
                found[type_.removeprefix("struct ").removeprefix("enum ").strip(), name] = old.strip()
        return found

    @property
    def migrations(self) -> dict[tuple[str, str], str]:
        """(type, field) → the function of HR_MIGRATE; the field is "" for HR_MIGRATE_TYPE."""
        found = {}
        for text in self._notes():
            target, at, function = text.partition("@")
            type_, _, field = target.partition(".")
            if at and type_ and function:
                found[type_.removeprefix("struct ").strip(), field.strip()] = function.strip()
        return found

    def _notes(self) -> list[str]:
        """What HR_RENAMED and HR_MIGRATE left."""
        return self.mapped.contents(_HINTS).decode("utf-8", "replace").split("\0")

    @property
    def fresh(self) -> range:
        """Addresses of the variables of HR_FRESH."""
        address, size = self.mapped.extent(_FRESH)
        return range(address, address + size)

    @property
    def blocks(self) -> dict[str, list[Type]]:
        """The types that hr_new is called for, by the name that stands there."""
        found: dict[str, list[Type]] = {}
        for variable in self.debug.variables:
            if variable.name == _BLOCK and isinstance(note := variable.type(), Record) and len(note.members) == 2:
                text, pointer = (member.type for member in note.members)
                if isinstance(pointer, Pointer):
                    name = self.mapped.read(variable.address, text.size).split(b"\0")[0].decode("utf-8", "replace")
                    found.setdefault(name, []).append(pointer.to())
        return found

    # --- its types -------------------------------------------------------------------------------------------

    def whole(self, type_: Type) -> Type:
        """A type that is only declared where a pointer to it stands: as the plugin's other source files define it."""
        if not isinstance(type_, Opaque) or not type_.name or type_.size:
            return type_
        found = list(self.definitions(type_.name))
        return found[0] if found and all(alike(found[0], each) for each in found[1:]) else type_

    def definitions(self, name: str) -> Iterator[Record]:
        """Every definition of that name, of C++ in any scope."""
        for full in self._scoped.get(name, ()):
            for each in self.debug.records[full]:
                if isinstance(found := each(), Record) and found.size:
                    yield found

    @cached_property
    def _scoped(self) -> dict[str, list[str]]:
        """Names without their scopes → names in the debug information."""
        found: dict[str, list[str]] = {}
        for full in self.debug.records:
            found.setdefault(full.rpartition("::")[2], []).append(full)
        return found


def layout(data: bytes | Binary, path: str, known: Layout | None = None) -> Layout:
    """Read a library; ``path`` is only named. HotReloadError when its debug information is damaged.

    ``known``: an earlier state of the same library, of which whatever has not changed need not be read again.
    """
    binary = Binary.of(data)
    mapped = Mapped(binary)
    names = [name.removeprefix("hr_plugin_") for name in mapped.by_name if name.startswith("hr_plugin_")]
    return Layout(read(binary, path, known.debug if known else None), mapped, names[0] if len(names) == 1 else "")
