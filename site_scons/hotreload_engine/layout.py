"""Two libraries' debug information → the plan that carries a host's state from one to the other.

Fields are matched by name, or by a hint in the source (HR_RENAMED). Whatever is not carried is said: a plan's words
name every field that is new, gone or changed. What nobody can carry rightly is refused, never guessed.

Values in, values out: touches no disk and no process.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeVar

from .binary import Binary
from .debug import (
    Array,
    Debug,
    Enum,
    Function,
    Opaque,
    Pointer,
    Record,
    Scalar,
    Type,
    Variable,
)
from .dwarf import read
from .mapped import Mapped
from .plan import LOST, NONE, NONE64, POINTS_TO_CHANGED, BlockType, Kind, Landmark, Operation, Plan, Program, Static

HINTS = "hr_hints"
"""Section of the strings that HR_RENAMED leaves: ``type.new=old``, and HR_MIGRATE: ``type.field@function``."""
FRESH = "hr_fresh"
"""Section of the variables that HR_FRESH keeps out of this."""
_STATE = "hr_state_of_"
"""HR_STATE leaves a pointer to the state's type under this name."""
_BLOCK = "hr__block_of"
"""Each hr_new leaves an object of this name: the type's name as it stands there, and a pointer to the type."""
_RUNTIME = "hr__typed"
"""A variable of the runtime's, which the host fills in."""
_AMBIGUOUS = "source files mean different types by that name: rename one of them"
_DEEP = 64
"""Types nested deeper than that are damaged bytes."""


_Named = dict[tuple[str, ...], list[Variable]]
"""Variables by what they are known as."""


@dataclass(frozen=True)
class Layout:
    """What a plan needs to know of one library."""

    debug: Debug
    mapped: Mapped
    plugin: str
    """As in HR_STATE(plugin, …); "" when the library has none."""

    @property
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

    @property
    def initial(self) -> int | None:
        """Address of the object that a new state begins as; None: zeros."""
        symbol = self.mapped.by_name.get(f"hr_plugin_{self.plugin}")
        return self.mapped.pointer(symbol.address + 24) if symbol else None


def layout(data: bytes | Binary, path: str, known: Layout | None = None) -> Layout:
    """Read a library; ``path`` is only named. HotReloadError when its debug information is damaged.

    ``known``: an earlier state of the same library, of which whatever has not changed need not be read again.
    """
    binary = Binary.of(data)
    mapped = Mapped(binary)
    names = [name.removeprefix("hr_plugin_") for name in mapped.by_name if name.startswith("hr_plugin_")]
    return Layout(read(binary, path, known.debug if known else None), mapped, names[0] if len(names) == 1 else "")


def plan(old: Layout, new: Layout) -> Plan:
    """How a host that runs ``old`` gets to ``new``. Refuses what cannot be carried; RecursionError when types point to
    each other in a longer chain than there is room for, at four calls each.
    """
    return _Maker(old, new).plan()


def blind(old: int, new: Layout, why: str) -> Plan:
    """Without types only a state of the same size (``old`` bytes) can be carried, as it is; and nothing else."""
    size = new.state_size
    if old != size and size:
        return Plan(
            old, size, refusal=f"the state's size changed, {old} to {size} bytes, and its fields are not known ({why})"
        )
    parts = [f"state: {old} bytes as they are"] if old else []
    return Plan(old, size, keep=True, words=" · ".join([*parts, f"statics: begin anew ({why}; compile with -g)"]))


_Any = TypeVar("_Any", bound=Type)


class _Refusal(Exception):
    """This cannot be carried over: where, why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


class _Field(NamedTuple):
    """A member as it is reached from the outside: those of anonymous structs are their parent's."""

    name: str
    type: Type
    bits_at: int
    bits: int


@dataclass
class _Tally:
    """What becomes of the fields of one object."""

    kept: int = 0
    moved: int = 0
    kinds: dict[str, list[str]] = field(default_factory=dict)
    """``1 widened (hp: short → int)`` is made of these: kind → details."""

    def note(self, kind: str, detail: str) -> None:
        details = self.kinds.setdefault(kind, [])
        if detail not in details:
            details.append(detail)

    def take(self, inner: _Tally, titled: Callable[[str], str]) -> None:
        """Notes of an object within this one, each as it is called from here."""
        for kind, details in inner.kinds.items():
            for detail in details:
                self.note(kind, titled(detail))

    def words(self) -> str:
        parts = [f"{self.kept} kept"] if self.kept else []
        if self.moved:
            parts.append(f"{self.moved} moved")
        for kind in _KINDS:
            details = self.kinds.get(kind, [])
            if details:
                shown = ", ".join(details[:4]) + (f", … {len(details) - 4} more" if len(details) > 4 else "")
                parts.append(f"{len(details)} {kind} ({shown})")
        return ", ".join(parts)


_KINDS = (
    "new", "gone", "renamed", "migrated", "widened", "narrowed", "converted", "re-mapped", "grown", "shrunk",
    "replaced", "anew",
)  # fmt: skip


_NOTHING = Program("", 0, 0, ())


class _Maker:
    def __init__(self, old: Layout, new: Layout) -> None:
        self._old, self._new = old, new
        self._programs: list[Program | None] = []
        """None: in the making, or refused; its number stays taken."""
        self._known: dict[tuple[int, int], int] = {}
        self._alive: list[Type] = []
        """Types whose id() is a key: they must not be freed meanwhile."""
        self._tables: list[tuple[tuple[int, int], ...]] = []
        self._texts: list[str] = []
        self._hints = _hints(new.mapped)
        self._copies: dict[int, int] = {}
        self._own = _own(new.mapped)
        """Functions for fields (type, field) or types (type, ""), but for those that the old code had already."""
        self._before: list[tuple[str, str]] = []
        """What the old code migrated by a function and the new code, an earlier one perhaps, knows nothing of."""
        for key, function in _own(old.mapped).items():
            if self._own.get(key) == function:
                del self._own[key]
            elif key not in self._own:
                self._before.append(key)
        self._unused = dict(self._own)
        self._keep = False
        self._pointers = False
        """Whether anything that is carried holds pointers."""
        self._differences: dict[tuple[int, int], str | None] = {}
        self._wanted: list[tuple[int, str, Type, Type]] = []
        """What pointers point to and has changed: programs to make, (number, path, old, new)."""
        self._refused: dict[int, _Refusal] = {}
        self._tallies: dict[int, _Tally] = {}
        self._twins: dict[str, list[tuple[Record, Record]]] = {}
        """Changed records by name: one of those that several translation units see alike."""
        self._scoped: dict[int, dict[str, list[str]]] = {}
        """Of a side: names without their scopes → names in its debug information."""
        self._elsewhere: dict[int, bool] = {}
        self._home: dict[int, bool] = {}
        """Whether types lead to something that is only declared, or back into the library."""
        self._looks_further = True
        """Whether types that are only declared are looked up in the other source files."""

    # --- the whole -------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        old, new = self._old, self._new
        sizes = old.state_size, new.state_size
        for side, which in ((old, "the running code"), (new, "the new code")):
            if side.debug.trouble:
                return self._by_bytes(f"{which}: {side.debug.trouble}")
        tally, state = _Tally(), NONE
        try:
            if any(sizes):
                was, now = old.state, new.state
                if was is None or now is None:
                    return self._by_bytes("HR_STATE's type is not in the debug information")
                for side, type_ in ((old, was), (new, now)):
                    self._same_everywhere(side, type_)
                if isinstance(was, Opaque) or isinstance(now, Opaque):
                    raise _Refusal("state", f"{_why(was, now)} in the debug information (clang: -fstandalone-debug)")
                state = self._program("state", was, now, tally)
                tally.kinds.get("new", [])[:] = [self._with_value(each, now) for each in tally.kinds.get("new", [])]
            statics, words = self._statics()
            blocks, of_blocks = self._blocks()
        except _Refusal as refusal:
            return Plan(*sizes, refusal=f"{refusal.path}: {refusal.why}")
        parts = [f"state: {tally.words() or 'empty'}"] if any(sizes) else []
        parts += [f"statics: {words}"] if words else []
        parts += of_blocks
        for keys, what in (
            (self._unused, "HR_MIGRATE finds nothing to migrate"),
            (self._before, "as HR_MIGRATE made them, though this code has no such line"),
        ):
            if keys:
                parts += [f"{what}: {', '.join('.'.join(filter(None, key)) for key in keys)}"]
        return Plan(
            *sizes,
            state,
            tuple(program or _NOTHING for program in self._programs),
            tuple(statics),
            self._landmarks() if self._pointers else (),
            tuple(blocks),
            tuple(self._tables),
            tuple(self._texts),
            self._keep,
            "",
            " · ".join(parts),
        )

    def _by_bytes(self, why: str) -> Plan:
        if self._own:
            sizes = self._old.state_size, self._new.state_size
            return Plan(*sizes, refusal=f"HR_MIGRATE needs the types of the fields ({why})")
        return blind(self._old.state_size, self._new, why)

    def _same_everywhere(self, side: Layout, type_: Type) -> None:
        """Two translation units that see the state differently: an object is stale, or a macro changes the struct."""
        if not isinstance(type_, Record) or not type_.name:
            return
        kept, self._differences, self._looks_further = self._differences, {}, False
        try:
            for name, definitions in side.debug.records.items():
                if name.rpartition("::")[2] != type_.name:
                    continue
                for each in definitions:
                    other = each()
                    comparable = isinstance(other, Record) and other.size and "::" not in name
                    if comparable and (difference := self._difference(other, type_, {})):
                        raise _Refusal(
                            "state",
                            f"two source files see {type_.name} differently (at {_dotted(difference)}): "
                            "an object is out of date, or a macro changes the struct",
                        )
        finally:
            self._differences, self._looks_further = kept, True

    def _with_value(self, name: str, type_: Type, blank: bool = False) -> str:
        """``vy = 0``: what a new field begins as, where that can be said in a word."""
        at, found = 0, type_
        for part in name.split("."):
            member = next((f for f in _fields(found) if f.name == part), None) if isinstance(found, Record) else None
            if member is None or member.bits or (isinstance(found, Record) and found.kind == "union"):
                return name
            at, found = at + member.bits_at // 8, member.type
        initial = None if blank else self._new.initial
        data = self._new.mapped.read(initial + at, found.size) if initial else bytes(found.size)
        value = _value(found, data)
        return f"{name} = {value}" if value else name

    # --- types -----------------------------------------------------------------------------------------------

    def _program(self, path: str, old: Type, new: Type, tally: _Tally) -> int:
        """The number of the program that turns an ``old`` into a ``new``."""
        old, new = self._twin(old, new)
        number = self._number_of(old, new)
        operations: list[Operation] = []
        own = self._own.get((new.name, "")) if isinstance(old, Record) and isinstance(new, Record) else None
        if own and isinstance(new, Record):
            self._unused.pop((new.name, ""), None)
            tally.note("migrated", f"{new.name}: {own}")
            operations.append(self._call(path, own, old, old, 0, new, 0))
        elif isinstance(old, Record) and isinstance(new, Record) and "union" not in (old.kind, new.kind):
            self._record(operations, path, old, new, tally)
        else:
            self._convert(operations, path, "", old, new, 0, 0, 0, 0, tally)
        name = old.name if isinstance(old, Record) else ""
        merged = tuple(_merged(operations))
        same = not tally.moved and not any(tally.kinds.values()) and old.size == new.size
        if same and all(op.kind == Kind.COPY and op.from_ == op.to for op in merged):
            merged = (Operation(Kind.COPY, 0, 0, a=old.size),)  # the gaps too: nothing new can lie in them
        self._programs[number] = Program(name, old.size, new.size, merged)
        return number

    def _number_of(self, old: Type, new: Type) -> int:
        """That of a program, which may be made later."""
        number = self._known.setdefault((id(old), id(new)), len(self._programs))
        if number == len(self._programs):
            self._programs.append(None)
            self._alive += [old, new]
        return number

    def _twin(self, old: Type, new: Type) -> tuple[Type, Type]:
        """For a record that changed, the pair that stands for it in all translation units that see it alike."""
        if not (isinstance(old, Record) and isinstance(new, Record)) or self._difference(old, new, {}) is None:
            return old, new
        pairs = self._twins.setdefault(old.name, [])
        for one, two in pairs:
            if (one is old or _alike(one, old, set())) and (two is new or _alike(two, new, set())):
                return one, two
        pairs.append((old, new))
        return old, new

    def _convert(
        self, out: list[Operation], path: str, name: str, old: Type, new: Type,
        from_: int, to: int, old_bits: int, new_bits: int, tally: _Tally,
    ) -> None:  # fmt: skip
        """Append what carries one object over. ``from_`` and ``to`` in bits; widths of bit-fields, or 0."""
        title = name or path
        if path.count(".") > _DEEP:
            raise _Refusal(path, "it is nested too deeply")
        if isinstance(old, Record) and isinstance(new, Record):
            if old.kind == "union" or new.kind == "union":
                self._union(out, path, name, old, new, from_, to, tally)
            else:
                self._nested(out, path, name, old, new, from_ // 8, to // 8, 1, tally)
        elif isinstance(old, Array) and isinstance(new, Array):
            self._array(out, path, name, old, new, from_, to, tally)
        elif isinstance(old, Pointer) and isinstance(new, Pointer):
            self._pointer(out, path, old, new, from_, to)
            self._count(tally, from_, to)
        elif isinstance(old, Scalar | Enum) and isinstance(new, Scalar | Enum):
            self._number(out, title, old, new, from_, to, old_bits, new_bits, tally)
        elif isinstance(old, Opaque) and isinstance(new, Opaque):
            if old.name != new.name or old.size != new.size or not old.size:
                raise _Refusal(path, _why(old, new))
            out.append(Operation(Kind.COPY, from_ // 8, to // 8, a=old.size))
            self._count(tally, from_, to)
        else:
            tally.note("replaced", f"{title}: {_spelt(old)} → {_spelt(new)}")

    def _nested(
        self, out: list[Operation], path: str, name: str, old: Type, new: Type, from_: int, to: int, times: int,
        tally: _Tally,
    ) -> None:  # fmt: skip
        """Objects with a program of their own; a plain copy where that is all it does. Offsets in bytes."""
        inner = _Tally()
        number = self._program(path, old, new, inner)
        program = self._programs[number]
        if program is None:
            raise _Refusal(path, "it contains itself")
        if old.size == new.size and program.operations == (Operation(Kind.COPY, 0, 0, a=old.size),):
            out.append(Operation(Kind.COPY, from_, to, a=old.size * times))
        elif program.operations:
            out.append(Operation(Kind.EACH, from_, to, times, old.size, new.size, a=number))
        tally.take(inner, lambda detail: f"{name}.{detail}" if name else detail)
        if times == 1:
            still = from_ == to
            tally.kept += inner.kept if still else 0
            tally.moved += inner.moved + (0 if still else inner.kept)

    def _record(self, out: list[Operation], path: str, old: Record, new: Record, tally: _Tally) -> None:
        for record in (old, new):
            if record.obstacle:
                raise _Refusal(path, f"{record.kind} {record.name} cannot be carried over: {record.obstacle}")
        were = {each.name: each for each in _fields(old)}
        for now in _fields(new):
            was = were.pop(now.name, None)
            hint = self._hints.get((new.name, now.name)) or self._hints.get((old.name, now.name))
            if was is None and hint and hint in were:
                was = were.pop(hint)
                tally.note("renamed", f"{hint} → {now.name}")
            if was is None and now.name.startswith("<"):
                was = next((were.pop(key) for key in list(were) if _share(key, now.name)), None)
            if own := self._own.get((new.name, now.name)):
                self._unused.pop((new.name, now.name), None)
                if now.bits or (was is not None and was.bits):
                    raise _Refusal(f"{path}.{now.name}", "HR_MIGRATE is not for bit-fields")
                tally.note("migrated", f"{now.name}: {own}")
                type_, at = (was.type, was.bits_at // 8) if was is not None else (None, 0)
                out.append(self._call(f"{path}.{now.name}", own, old, type_, at, now.type, now.bits_at // 8))
                continue
            if was is None:
                tally.note("new", now.name)
                continue
            self._convert(
                out, f"{path}.{now.name}", now.name, was.type, now.type, was.bits_at, now.bits_at, was.bits, now.bits,
                tally,
            )  # fmt: skip
        for gone in were.values():
            tally.note("gone", gone.name)

    def _call(
        self, path: str, function: str, object_: Type, old: Type | None, from_: int, new: Type, to: int
    ) -> Operation:
        """The user's own migration; what it copies may point anywhere. It has a text if it sees or makes pointers,
        which mean nothing where ``object_`` is of another process."""
        symbol = self._new.mapped.by_name.get(function)
        if symbol is None or not symbol.is_function:
            raise _Refusal(path, f"HR_MIGRATE names the function {function}, which the plugin does not define")
        self._keep = True
        self._tables.append(((symbol.address, 0),))
        text = NONE
        if _holds_pointers(object_) or _holds_pointers(new):
            text = len(self._texts)
            self._texts.append(path)
        size = old.size if old is not None else 0
        return Operation(Kind.CALL, from_, to, a=size, b=new.size, table=len(self._tables) - 1, text=text)

    def _union(
        self, out: list[Operation], path: str, name: str, old: Record, new: Record, from_: int, to: int, tally: _Tally
    ) -> None:
        """Nobody knows which member counts: its bytes go over as they are, if they mean the same to all that stay."""
        if old.kind != new.kind:
            raise _Refusal(path, f"a {old.kind} became a {new.kind}")
        were = {member.name: member for member in old.members}
        for now in new.members:
            was = were.pop(now.name, None)
            if was is None:
                tally.note("new", f"{name}.{now.name}" if name else now.name)
                continue
            difference = self._difference(was.type, now.type, {})
            if difference is not None or (was.bits_at, was.bits) != (now.bits_at, now.bits):
                raise _Refusal(
                    f"{path}.{now.name}" if now.name else path,
                    "a member of a union changed, and nobody knows which one counts",
                )
        for gone in were.values():
            tally.note("gone", f"{name}.{gone.name}" if name else gone.name)
        out.append(Operation(Kind.COPY, from_ // 8, to // 8, a=min(old.size, new.size)))
        for at, pointer, where in _pointers_of(old):
            if at // 8 + pointer.size <= new.size:
                self._pointer(out, f"{path}{where}", pointer, pointer, from_ + at, to + at)
        self._count(tally, from_, to)

    def _array(
        self, out: list[Operation], path: str, name: str, old: Array, new: Array, from_: int, to: int, tally: _Tally
    ) -> None:
        count = min(old.count, new.count)
        if old.count != new.count:
            kind = "grown" if new.count > old.count else "shrunk"
            tally.note(kind, f"{name or path}: {old.count} → {new.count}")
        if count:
            inner = _Tally()
            element: list[Operation] = []
            if self._is_simple(old.of) and self._is_simple(new.of):
                self._convert(element, f"{path}[]", f"{name}[]", old.of, new.of, 0, 0, 0, 0, inner)
                element = [
                    op._replace(from_=op.from_ + from_ // 8, to=op.to + to // 8, times=count, from_step=old.of.size,
                                to_step=new.of.size)
                    for op in element
                ]  # fmt: skip
            else:
                self._nested(element, f"{path}[]", "", old.of, new.of, from_ // 8, to // 8, count, inner)
            out.extend(element)
            tally.take(inner, lambda detail: _within(detail, name))
        if new.count < old.count and new.count and _is_text(old.of) and _is_text(new.of):
            out.append(Operation(Kind.END, 0, to // 8, a=new.count))
        self._count(tally, from_, to)

    @staticmethod
    def _is_simple(type_: Type) -> bool:
        return isinstance(type_, Scalar | Enum | Pointer)

    def _pointer(self, out: list[Operation], path: str, old: Pointer, new: Pointer, from_: int, to: int) -> None:
        self._pointers = True
        target_old, target_new = old.to(), new.to()
        difference = self._difference(target_old, target_new, {})
        path = path.replace("->.", "->")
        flags, text = 0, len(self._texts)
        if difference is not None:
            flags = POINTS_TO_CHANGED
            self._texts.append(f"{path}->{difference.removeprefix('.')}")
        else:
            self._texts.append(path)
        for target in (target_old, target_new):  # memory that no plan looks into
            self._keep = self._keep or self._leads_to(target, self._home, _may_point_home)
        number = NONE
        target_old, target_new = self._whole(self._old, target_old), self._whole(self._new, target_new)
        if isinstance(target_old, Record) and isinstance(target_new, Record) and target_old.size and target_new.size:
            target_old, target_new = self._twin(target_old, target_new)
            number = self._number_of(target_old, target_new)
            if self._programs[number] is None:
                self._wanted.append((number, f"{path}->", target_old, target_new))
        elif isinstance(target_old, Pointer) and isinstance(target_new, Pointer) and difference is not None:
            number = self._number_of(target_old, target_new)
            self._wanted.append((number, f"{path}->", target_old, target_new))
        elif isinstance(target_old, Scalar | Enum | Pointer) and target_old.size > 1:
            number = self._copy(target_old.size)  # a member, not the object that begins with it
        out.append(Operation(Kind.POINTER, from_ // 8, to // 8, a=flags, b=number, text=text))

    def _number(
        self, out: list[Operation], title: str, old: Scalar | Enum, new: Scalar | Enum,
        from_: int, to: int, old_bits: int, new_bits: int, tally: _Tally,
    ) -> None:  # fmt: skip
        table, remapped = self._mapping(old, new)
        if remapped:
            tally.note("re-mapped", f"{title}: {remapped}")
        before, after = _width(old, old_bits), _width(new, new_bits)
        kinds = _kind_of(old), _kind_of(new)
        if "other" in kinds and (old != new):
            tally.note("replaced", f"{title}: {_spelt(old)} → {_spelt(new)}")
            return
        same = kinds[0] == kinds[1] and before == after
        if old_bits or new_bits:
            if "float" in kinds:
                tally.note("replaced", f"{title}: {_spelt(old)} → {_spelt(new)}")
                return
            sign = [int(kind == "signed") << 31 | int(kind == "bool") << 30 for kind in kinds]
            out.append(Operation(Kind.BITS, from_, to, a=before | sign[0], b=after | sign[1], table=table))
        elif same and table == NONE:
            out.append(Operation(Kind.COPY, from_ // 8, to // 8, a=old.size))
        else:
            numbers = [_NUMBERS.get((kind, type_.size)) for kind, type_ in zip(kinds, (old, new), strict=True)]
            if numbers[0] is None or numbers[1] is None:
                tally.note("replaced", f"{title}: {_spelt(old)} → {_spelt(new)}")
                return
            out.append(Operation(Kind.NUMBER, from_ // 8, to // 8, a=numbers[0], b=numbers[1], table=table))
        if same or remapped:
            if not remapped:
                self._count(tally, from_, to)
            return
        change = f"{title}: {_spelt(old, old_bits)} → {_spelt(new, new_bits)}"
        if kinds[0] != kinds[1] and "float" in kinds:
            tally.note("converted", change)
        elif after > before:
            tally.note("widened", change)
        elif after < before:
            tally.note("narrowed", change)
        else:
            tally.note("converted", change)

    def _mapping(self, old: Scalar | Enum, new: Scalar | Enum) -> tuple[int, str]:
        """(table, what it says) from enumerators' old values to the new ones; NONE where values stay."""
        if not isinstance(old, Enum) or not isinstance(new, Enum):
            return NONE, ""
        now = dict(new.values)
        taken = set(now.values())
        pairs: dict[int, int] = {}
        changed: list[str] = []
        for was, value in old.values:
            name = self._renamed(old, new, was)
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
            return NONE, ""
        self._tables.append(tuple(sorted(pairs.items())))
        return len(self._tables) - 1, ", ".join(changed[:4]) + (", …" if len(changed) > 4 else "")

    def _renamed(self, old: Enum, new: Enum, name: str) -> str:
        for (type_, now), was in self._hints.items():
            if was == name and type_ in (old.name, new.name):
                return now
        return name

    def _count(self, tally: _Tally, from_: int, to: int) -> None:
        if from_ == to:
            tally.kept += 1
        else:
            tally.moved += 1

    # --- comparing -------------------------------------------------------------------------------------------

    def _difference(self, old: Type, new: Type, met: dict[tuple[int, int], bool]) -> str | None:
        """Where the two differ, as a path from them (``.chunks->tile``); None when memory of one is good for the other.

        Follows pointers: what cannot be reached from here does not count.
        """
        if self._looks_further and (isinstance(old, Opaque) or isinstance(new, Opaque)):
            old, new = self._whole(self._old, old), self._whole(self._new, new)
        key = (id(old), id(new))
        if key in met or (old is new and not self._leads_elsewhere(old)):
            return None
        if key in self._differences:
            return self._differences[key]
        whole = not met
        met[key] = True
        self._alive += [old, new]
        found = self._differs(old, new, met)
        if found is not None:
            self._differences[key] = found
        elif whole:
            self._differences.update(dict.fromkeys(met))  # nothing of all that can be reached differs
        return found

    def _differs(self, old: Type, new: Type, met: dict[tuple[int, int], bool]) -> str | None:
        if isinstance(old, Record) and isinstance(new, Record):
            if old.kind != new.kind and "union" in (old.kind, new.kind):
                return ""
            mine, theirs = list(_fields(old)), list(_fields(new))
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
            return None if (_kind_of(old), old.size) == (_kind_of(new), new.size) else ""
        if isinstance(old, Function) and isinstance(new, Function):
            return None
        if isinstance(old, Opaque) or isinstance(new, Opaque):
            return None  # declared only, on one side at least: code that does not see inside cannot see a change
        return ""

    def _leads_elsewhere(self, type_: Type) -> bool:
        """Whether pointers in a type lead to one that is only declared, and may differ though this one is the same."""
        return self._looks_further and self._leads_to(type_, self._elsewhere, _is_declared_only)

    def _leads_to(self, type_: Type, known: dict[int, bool], sought: Callable[[Type], bool]) -> bool:
        """Whether such a type is in it, or where pointers lead from it; ``known``: what was found so far."""
        met: dict[int, Type] = {}
        ahead = [type_]
        while ahead:
            each = ahead.pop()
            answer = known.get(id(each))
            if id(each) in met or answer is False:
                continue
            if answer or sought(each):
                self._alive.append(type_)
                known[id(type_)] = True
                return True
            met[id(each)] = each
            if isinstance(each, Record):
                ahead += [member.type for member in each.members]
            elif isinstance(each, Array):
                ahead.append(each.of)
            elif isinstance(each, Pointer):
                ahead.append(each.to())
        self._alive += met.values()
        known.update(dict.fromkeys(met, False))
        return False

    def _whole(self, side: Layout, type_: Type) -> Type:
        """A type that is only declared where a pointer to it stands: as the plugin's other source files define it."""
        if not isinstance(type_, Opaque) or not type_.name or type_.size:
            return type_
        found = list(self._defined(side, type_.name))
        return found[0] if found and all(_alike(found[0], each, set()) for each in found[1:]) else type_

    def _defined(self, side: Layout, name: str) -> Iterator[Record]:
        """Every definition of that name, of C++ in any scope."""
        names = self._scoped.get(id(side))
        if names is None:
            names = self._scoped[id(side)] = {}
            for full in side.debug.records:
                names.setdefault(full.rpartition("::")[2], []).append(full)
        for full in names.get(name, ()):
            for each in side.debug.records[full]:
                if isinstance(found := each(), Record) and found.size:
                    yield found

    # --- typed blocks ----------------------------------------------------------------------------------------

    def _blocks(self) -> tuple[list[BlockType], list[str]]:
        """What hr_new is called for in the old code, and whatever else a pointer leads to that has changed."""
        found: dict[str, BlockType] = {}
        titles: dict[int, str] = {}
        are = _typed(self._new)
        self._make_wanted()
        for name, types in _typed(self._old).items():
            pairs = self._matches(types, are.get(name, []))
            if not pairs or not all(old.size and new.size for old, new in pairs):
                continue
            changed = any(self._difference(old, new, {}) is not None for old, new in pairs)
            if len(pairs) > 1:
                if changed:
                    found[name] = BlockType(name, NONE, True, _AMBIGUOUS)
                continue
            old, new = self._twin(*pairs[0])
            number = self._number_of(old, new)
            self._wanted.append((number, name, old, new))
            titles.setdefault(number, name)
            renamed = f"{new.kind} {new.name}" if name not in are and isinstance(new, Record) else ""
            found[name] = BlockType(name, number, changed, "", renamed if renamed != name else "")
        self._make_wanted()
        for number, old, new in self._changed():
            renamed = f"{new.kind} {new.name}" if new.name != old.name else ""
            for name in (old.name, f"{old.kind} {old.name}"):
                known = found.setdefault(name, BlockType(name, number, True, "", renamed))
                if known.program not in (number, NONE):
                    found[name] = BlockType(name, NONE, True, _AMBIGUOUS)
        words = [f"blocks of {title}: {tally.words()}" for title, tally in self._told(titles)]
        return [checked for each in found.values() if (checked := self._checked(each))], words

    def _changed(self) -> list[tuple[int, Record, Record]]:
        """Records that changed and that have a program, which may be a refused one."""
        while True:
            found = [
                (self._known[id(old), id(new)], old, new)
                for pairs in self._twins.values()
                for old, new in pairs
                if (id(old), id(new)) in self._known and old.name and old.size and new.size
            ]
            missing = [
                (number, f"{old.kind} {old.name}", old, new)
                for number, old, new in found
                if self._programs[number] is None and number not in self._refused
            ]
            if not missing:
                return found
            self._wanted += missing
            self._make_wanted()

    def _told(self, titles: dict[int, str]) -> Iterator[tuple[str, _Tally]]:
        """Of which types hr_new is called for there is something to say."""
        for number, title in titles.items():
            tally = self._tallies.get(number)
            if tally and any(tally.kinds.values()) and number not in self._refused:
                yield title, tally

    def _checked(self, block: BlockType) -> BlockType | None:
        """With the reason where it cannot be carried over; None where it stays as it is."""
        refusal = self._refused.get(block.program)
        if refusal is not None:
            return BlockType(block.name, NONE, True, str(refusal)) if block.changed else None
        tally = self._tallies.get(block.program)
        return block._replace(changed=True) if tally and tally.kinds.get("migrated") else block

    def _matches(self, old: list[Type], new: list[Type]) -> list[tuple[Type, Type]]:
        """What each of them is in the new code, where that is known: one pair, if all mean the same."""
        if not new:
            new = [now for now in (self._now(old[0]),) if now is not None]
        old, new = _distinct(old), _distinct(new)
        if len(old) == len(new):
            return list(zip(old, new, strict=True))
        return [(one, two) for one in old for two in new]

    def _now(self, old: Type) -> Type | None:
        """The type of that name in code that does not call hr_new for it any more."""
        if isinstance(old, Record):
            found = _distinct(list(self._defined(self._new, old.name)))
            return found[0] if len(found) == 1 else None
        if isinstance(old, Pointer):
            target = self._now(old.to())
            return Pointer(old.size, lambda: target) if target is not None else None
        return old

    def _make_wanted(self) -> None:
        """Programs of what is pointed to; what cannot be made is refused where something of it is in use."""
        while self._wanted:
            number, path, old, new = self._wanted.pop(0)  # the state's come first: their paths are the telling ones
            if number in self._tallies:
                continue
            tally, before = _Tally(), self._programs[number]
            self._tallies[number] = tally
            try:
                self._program(path, old, new, tally)
            except _Refusal as refusal:
                self._refused[number] = refusal
            self._programs[number] = before or self._programs[number]
            fresh = tally.kinds.get("new", [])
            fresh[:] = [self._with_value(each, new, blank=True) for each in fresh]

    # --- statics ---------------------------------------------------------------------------------------------

    def _statics(self) -> tuple[list[Static], str]:
        old, new = dict(self._old.variables), self._new.variables
        found: list[Static] = []
        tally = _Tally()
        shielded = self._new.mapped.extent(FRESH)
        for key, theirs in new.items():
            mine = old.pop(key, [])
            for was, now in _pairs(mine, theirs):
                if now is None:
                    tally.note("gone", was.title)  # type: ignore[union-attr]
                elif shielded[0] <= now.address < shielded[0] + shielded[1]:
                    tally.note("anew", f"{now.title}: HR_FRESH")
                elif was is None:
                    if key not in self._old.constants and now.title not in self._old.debug.apart:
                        tally.note("new", now.title)
                else:
                    self._static(was, now, found, tally)
        apart = self._old.debug.apart | self._new.debug.apart
        for title in sorted(apart):
            tally.note("anew", f"{title}: the compiler took it apart; -O0 or volatile keeps it whole")
        for key, left in old.items():
            for variable in left:
                if variable.title in apart:
                    continue
                if key in self._new.constants:
                    tally.note("anew", f"{variable.title}: nothing in the new code changes it")
                else:
                    tally.note("gone", variable.title)
        return found, tally.words()

    def _static(self, was: Variable, now: Variable, found: list[Static], tally: _Tally) -> None:
        before, after = was.type(), now.type()
        if isinstance(before, Opaque) or isinstance(after, Opaque) or not before.size or not after.size:
            tally.note("anew", f"{now.title}: its type is not known")
            return
        if before is after and not _holds_pointers(before):
            size = before.size
            if self._old.mapped.read(was.address, size) == self._new.mapped.read(now.address, size):
                found.append(Static(was.address, now.address, self._copy(size), now.title))
                found += self._guard(was, now)
                tally.kept += 1
                return
        edited = _initialiser(self._old.mapped, was, before, self._new.mapped, now, after)
        if edited is not None:
            tally.note("anew", f"{now.title}{edited}: its initialiser was edited")
            return
        inner = _Tally()
        try:
            program = self._program(now.title, before, after, inner)
        except _Refusal as refusal:
            tally.note("anew", f"{refusal.path}: {refusal.why}")
            return
        found.append(Static(was.address, now.address, program, now.title))
        found += self._guard(was, now)
        if any(inner.kinds.values()):
            own = f"{now.title}:", f"{now.title}["
            tally.take(inner, lambda detail: detail if detail.startswith(own) else f"{now.title}.{detail}")
        else:
            tally.kept += 1

    def _copy(self, size: int) -> int:
        """The program that copies so many bytes."""
        if size not in self._copies:
            self._copies[size] = len(self._programs)
            self._programs.append(Program("", size, size, (Operation(Kind.COPY, 0, 0, a=size),)))
        return self._copies[size]

    def _guard(self, was: Variable, now: Variable) -> Iterator[Static]:
        """The guard of a C++ function's static, without which its initialiser would run again (Itanium C++ ABI 2.8)."""
        if not (self._old.mapped.has_guards and self._new.mapped.has_guards):
            return
        one, two = self._old.mapped.symbol_at(was.address), self._new.mapped.symbol_at(now.address)
        if one is None or two is None or not one.name.startswith("_ZZ"):
            return
        guards = [
            next((each for each in side.mapped.symbols if each.name == f"_ZGV{symbol.name[2:]}"), None)
            for side, symbol in ((self._old, one), (self._new, two))
        ]
        if guards[0] and guards[1]:
            yield Static(guards[0].address, guards[1].address, self._copy(8), f"guard of {now.title}")

    def _landmarks(self) -> tuple[Landmark, ...]:
        """Functions by their names, variables by what they are matched with."""
        old, new = self._old, self._new
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
            for was, now in _pairs(mine, new.variables.get(key, [])):
                if was is not None and now is not None:
                    before, after = was.type(), now.type()
                    program = self._known.get((id(before), id(after)), NONE)
                    size = before.size if program != NONE else min(before.size, after.size)
                    found[was.address] = Landmark(was.address, max(size, 1), now.address, program, was.title)
        return tuple(sorted(found.values()))


# --- words and small questions ------------------------------------------------------------------------------


def _fields(record: Record, at: int = 0) -> Iterator[_Field]:
    """Members, those of anonymous structs in their parent's place; an anonymous union gets a name of its members'."""
    for member in record.members:
        if member.name or not isinstance(member.type, Record):
            yield _Field(member.name, member.type, at + member.bits_at, member.bits)
        elif member.type.kind == "union":
            title = "<" + ", ".join(each.name for each in _fields(member.type)) + ">"
            yield _Field(title, member.type, at + member.bits_at, 0)
        else:
            yield from _fields(member.type, at + member.bits_at)


def _share(one: str, other: str) -> bool:
    """Whether two anonymous unions have a member's name in common."""
    split = [set(name.strip("<>").split(", ")) for name in (one, other)]
    return one.startswith("<") and bool(split[0] & split[1])


def _pointers_of(type_: Type, at: int = 0, path: str = "") -> Iterator[tuple[int, Pointer, str]]:
    """(offset in bits, pointer, path) of every pointer within an object."""
    if isinstance(type_, Pointer):
        yield at, type_, path
    elif isinstance(type_, Record):
        for member in type_.members:
            yield from _pointers_of(member.type, at + member.bits_at, f"{path}.{member.name}" if member.name else path)
    elif isinstance(type_, Array):
        for index in range(min(type_.count, 4096)):
            yield from _pointers_of(type_.of, at + index * type_.of.size * 8, f"{path}[]")


def _holds_pointers(type_: Type) -> bool:
    if isinstance(type_, Record):
        return any(_holds_pointers(member.type) for member in type_.members)
    return _holds_pointers(type_.of) if isinstance(type_, Array) else isinstance(type_, Pointer)


def _is_declared_only(type_: Type) -> bool:
    return isinstance(type_, Opaque) and bool(type_.name) and not type_.size and type_.name != "void"


def _may_point_home(type_: Type) -> bool:
    """Whether a value of this type may be the address of something in the library: of a text, a function, anything."""
    if isinstance(type_, Pointer):
        target = type_.to()
        return isinstance(target, Function) or (isinstance(target, Scalar) and target.size == 1)
    return isinstance(type_, Opaque) and type_.name == "void"


def _typed(side: Layout) -> dict[str, list[Type]]:
    """The types that hr_new is called for, by the name that stands there."""
    found: dict[str, list[Type]] = {}
    for variable in side.debug.variables:
        if variable.name == _BLOCK and isinstance(note := variable.type(), Record) and len(note.members) == 2:
            text, pointer = (member.type for member in note.members)
            if isinstance(pointer, Pointer):
                name = side.mapped.read(variable.address, text.size).split(b"\0")[0].decode("utf-8", "replace")
                found.setdefault(name, []).append(pointer.to())
    return found


def _distinct(types: Iterable[_Any]) -> list[_Any]:
    """One of each that are alike."""
    found: list[_Any] = []
    for each in types:
        if not any(each is other or _alike(each, other, set()) for other in found):
            found.append(each)
    return found


def _alike(one: Type, other: Type, met: set[tuple[int, int]]) -> bool:
    """Whether two source files mean the same by a type, as far as pointers lead."""
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


def _pairs(mine: list[Variable], theirs: list[Variable]) -> Iterable[tuple[Variable | None, Variable | None]]:
    """Statics of one name in one function: by their order where there are as many as before, else by their block."""
    if len(mine) == len(theirs):
        return list(zip(mine, theirs, strict=True))
    blocks = {variable.scope: variable for variable in mine}
    found: list[tuple[Variable | None, Variable | None]] = [(blocks.pop(now.scope, None), now) for now in theirs]
    return found + [(was, None) for was in blocks.values()]


def _initialiser(old: Mapped, was: Variable, before: Type, new: Mapped, now: Variable, after: Type) -> str | None:
    """Whether the source gives the variable another value than before: what of it, in words; None: it does not."""
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
        return _as_number(_value(type_, data_)) if isinstance(type_, Scalar | Enum) else data_

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
        were = {member.name: member for member in _fields(old)}
        for now in _fields(new):
            if was := were.get(now.name):
                below = left.at(was.bits_at, was.bits), right.at(now.bits_at, now.bits)
                yield from _common(below[0], was.type, below[1], now.type, f"{path}.{now.name}")
    elif isinstance(old, Array) and isinstance(new, Array):
        count = min(old.count, new.count)
        if _spelt(old.of) == _spelt(new.of) and not _holds_pointers(old.of):
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


def _notes(mapped: Mapped) -> list[str]:
    """What HR_RENAMED and HR_MIGRATE left."""
    return mapped.contents(HINTS).decode("utf-8", "replace").split("\0")


def _hints(mapped: Mapped) -> dict[tuple[str, str], str]:
    """(type, name now) → its name before, of HR_RENAMED."""
    found = {}
    for text in _notes(mapped):
        new, _, old = text.partition("=")
        type_, _, name = new.rpartition(".")
        if type_ and name and old:
            found[type_.removeprefix("struct ").removeprefix("enum ").strip(), name] = old.strip()
    return found


def _own(mapped: Mapped) -> dict[tuple[str, str], str]:
    """(type, field) → the function of HR_MIGRATE; the field is "" for HR_MIGRATE_TYPE."""
    found = {}
    for text in _notes(mapped):
        target, at, function = text.partition("@")
        type_, _, field_ = target.partition(".")
        if at and type_ and function:
            found[type_.removeprefix("struct ").strip(), field_.strip()] = function.strip()
    return found


def _merged(operations: list[Operation]) -> Iterator[Operation]:
    """Copies that follow each other in both objects without a gap become one: over a gap a field that went would be
    carried into one that came."""
    last: Operation | None = None
    for op in operations:
        single = op.kind == Kind.COPY and (op.times == 1 or op.from_step == op.to_step == op.a)
        if single:
            op = Operation(Kind.COPY, op.from_, op.to, a=op.a * op.times)
            if last is not None and last.from_ + last.a == op.from_ and last.to + last.a == op.to:
                last = last._replace(a=last.a + op.a)
                continue
        if last is not None:
            yield last
            last = None
        if single:
            last = op
        else:
            yield op
    if last is not None:
        yield last


_NUMBERS = {
    ("signed", 1): 0, ("signed", 2): 1, ("signed", 4): 2, ("signed", 8): 3,
    ("unsigned", 1): 4, ("unsigned", 2): 5, ("unsigned", 4): 6, ("unsigned", 8): 7,
    ("float", 4): 8, ("float", 8): 9, ("float", 16): 10, ("bool", 1): 11,
}  # fmt: skip
"""Kinds of numbers in the format."""


def _kind_of(type_: Scalar | Enum) -> str:
    if isinstance(type_, Enum):
        return "signed" if type_.signed else "unsigned"
    return type_.kind


def _width(type_: Scalar | Enum, bits: int) -> int:
    return bits or (1 if _kind_of(type_) == "bool" else type_.size * 8)


def _is_text(type_: Type) -> bool:
    return isinstance(type_, Scalar) and type_.size == 1 and type_.name == "char"


def _within(detail: str, name: str) -> str:
    return detail if not name or detail.startswith(name) else f"{name}[].{detail}"


def _dotted(path: str) -> str:
    return path.removeprefix(".") or "its size"


def _why(*types: Type) -> str:
    return next((type_.why for type_ in types if isinstance(type_, Opaque)), "its type changed")


def _spelt(type_: Type, bits: int = 0) -> str:
    width = f":{bits}" if bits else ""
    if isinstance(type_, Scalar):
        return type_.name + width
    if isinstance(type_, Enum):
        return f"enum {type_.name}".strip() + width
    if isinstance(type_, Pointer):
        return "pointer"
    if isinstance(type_, Array):
        return f"{_spelt(type_.of)}[{type_.count}]"
    if isinstance(type_, Record):
        return f"{type_.kind} {type_.name}".strip()
    return "function" if isinstance(type_, Function) else type_.name or "?"


def _value(type_: Type, data: bytes) -> str:
    """A number, an enumerator or a text as a person writes it; "" for anything larger."""
    if isinstance(type_, Enum):
        number = int.from_bytes(data, "little", signed=type_.signed)
        return next((name for name, value in type_.values if value == number), str(number))
    if isinstance(type_, Scalar):
        if type_.kind == "float" and type_.size in (4, 8):
            return f"{struct.unpack('<f' if type_.size == 4 else '<d', data)[0]:.7g}"
        if type_.kind in ("signed", "unsigned"):
            return str(int.from_bytes(data, "little", signed=type_.kind == "signed"))
        if type_.kind == "bool":
            return "true" if any(data) else "false"
        return data.hex() if any(data) else "0"  # long double, complex
    if isinstance(type_, Array) and _is_text(type_.of):
        text = data.split(b"\0")[0]
        return '"' + text.decode("utf-8", "replace") + '"' if len(text) < 40 else ""
    if isinstance(type_, Pointer):
        return "NULL" if not any(data) else ""
    return ""


def _as_number(text: str) -> object:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return {"true": 1, "false": 0}.get(text, text)
