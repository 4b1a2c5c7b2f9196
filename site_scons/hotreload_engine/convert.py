"""Types that changed → the programs that turn one object of an old type into one of the new.

Fields are matched by name, or by a hint in the source (HR_RENAMED). What nobody can carry rightly is refused, never
guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .compare import Comparison
from .debug import Array, Enum, Opaque, Pointer, Record, Scalar, Type
from .kinds import Reach, alike, fields, holds_pointers, is_text, may_point_home, pointers_of, share
from .layout import Layout
from .numeric import converted, remapping
from .plan import NONE, POINTS_TO_CHANGED, Kind, Operation, Program
from .spelling import spelt, why, with_value
from .tally import Tally

_DEEP = 64
"""Types nested deeper than that are damaged bytes."""
_NOTHING = Program("", 0, 0, ())


class Refusal(Exception):
    """This cannot be carried over: where, why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


class Converter:
    """Makes programs when they are asked for, each once, and numbers them. One for a plan."""

    def __init__(
        self, old: Layout, new: Layout, comparison: Comparison, migrations: Mapping[tuple[str, str], str]
    ) -> None:
        """``migrations``: functions for fields (type, field) or types (type, "")."""
        self._old, self._new = old, new
        self._comparison = comparison
        self._migrations = migrations
        self._hints = new.renamed
        self._programs: list[Program | None] = []
        """None: in the making, or refused; its number stays taken."""
        self._known: dict[tuple[int, int], int] = {}
        self._alive: list[Type] = []
        """Types whose id() is a key: they must not be freed meanwhile."""
        self._copies: dict[int, int] = {}
        self._wanted: list[tuple[int, str, Type, Type]] = []
        """What pointers point to: programs to make, (number, path, old, new)."""
        self._twins: dict[str, list[tuple[Record, Record]]] = {}
        """Changed records by name: one of those that several translation units see alike."""
        self._home = Reach(may_point_home)
        self.tables: list[tuple[tuple[int, int], ...]] = []
        self.texts: list[str] = []
        self.keep = False
        """Whether memory that no plan sees may point into the old library."""
        self.pointers = False
        """Whether anything that is carried holds pointers."""
        self.migrated: set[tuple[str, str]] = set()
        """Those of the migrations that found something to migrate."""
        self.tallies: dict[int, Tally] = {}
        """Of what pointers point to, by the number of its program."""
        self.refused: dict[int, Refusal] = {}
        """The same: what cannot be made."""

    # --- what came of it -------------------------------------------------------------------------------------

    @property
    def programs(self) -> tuple[Program, ...]:
        return tuple(program or _NOTHING for program in self._programs)

    def program_of(self, old: Type, new: Type) -> int:
        """The number of a program that was asked for; NONE where it was not."""
        return self._known.get((id(old), id(new)), NONE)

    # --- programs that are asked for -------------------------------------------------------------------------

    def program(self, path: str, old: Type, new: Type, tally: Tally) -> int:
        """The number of the program that turns an ``old`` into a ``new``."""
        old, new = self.twin(old, new)
        number = self._number_of(old, new)
        operations: list[Operation] = []
        own = self._migrations.get((new.name, "")) if isinstance(old, Record) and isinstance(new, Record) else None
        if own and isinstance(new, Record):
            self.migrated.add((new.name, ""))
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

    def copy(self, size: int) -> int:
        """The program that copies so many bytes."""
        if size not in self._copies:
            self._copies[size] = len(self._programs)
            self._programs.append(Program("", size, size, (Operation(Kind.COPY, 0, 0, a=size),)))
        return self._copies[size]

    def want(self, path: str, old: Type, new: Type) -> int:
        """The number of a program that ``make_wanted`` will make."""
        number = self._number_of(old, new)
        self._wanted.append((number, path, old, new))
        return number

    def make_wanted(self) -> None:
        """Programs of what is pointed to; what cannot be made is refused where something of it is in use."""
        while self._wanted:
            number, path, old, new = self._wanted.pop(0)  # the state's come first: their paths are the telling ones
            if number in self.tallies:
                continue
            tally, before = Tally(), self._programs[number]
            self.tallies[number] = tally
            try:
                self.program(path, old, new, tally)
            except Refusal as refusal:
                self.refused[number] = refusal
            self._programs[number] = before or self._programs[number]
            fresh = tally.kinds.get("new", [])
            fresh[:] = [with_value(each, new, lambda _, size: bytes(size)) for each in fresh]

    def changed(self) -> list[tuple[int, Record, Record]]:
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
                if self._programs[number] is None and number not in self.refused
            ]
            if not missing:
                return found
            self._wanted += missing
            self.make_wanted()

    def twin(self, old: Type, new: Type) -> tuple[Type, Type]:
        """For a record that changed, the pair that stands for it in all translation units that see it alike."""
        if not (isinstance(old, Record) and isinstance(new, Record)) or self._comparison.difference(old, new) is None:
            return old, new
        pairs = self._twins.setdefault(old.name, [])
        for one, two in pairs:
            if (one is old or alike(one, old)) and (two is new or alike(two, new)):
                return one, two
        pairs.append((old, new))
        return old, new

    def _number_of(self, old: Type, new: Type) -> int:
        """That of a program, which may be made later."""
        number = self._known.setdefault((id(old), id(new)), len(self._programs))
        if number == len(self._programs):
            self._programs.append(None)
            self._alive += [old, new]
        return number

    # --- what they are made of -------------------------------------------------------------------------------

    def _convert(
        self, out: list[Operation], path: str, name: str, old: Type, new: Type,
        from_: int, to: int, old_bits: int, new_bits: int, tally: Tally,
    ) -> None:  # fmt: skip
        """Append what carries one object over. ``from_`` and ``to`` in bits; widths of bit-fields, or 0."""
        title = name or path
        if path.count(".") > _DEEP:
            raise Refusal(path, "it is nested too deeply")
        if isinstance(old, Record) and isinstance(new, Record):
            if old.kind == "union" or new.kind == "union":
                self._union(out, path, name, old, new, from_, to, tally)
            else:
                self._nested(out, path, name, old, new, from_ // 8, to // 8, 1, tally)
        elif isinstance(old, Array) and isinstance(new, Array):
            self._array(out, path, name, old, new, from_, to, tally)
        elif isinstance(old, Pointer) and isinstance(new, Pointer):
            self._pointer(out, path, old, new, from_, to)
            tally.count(from_, to)
        elif isinstance(old, Scalar | Enum) and isinstance(new, Scalar | Enum):
            self._number(out, title, old, new, from_, to, old_bits, new_bits, tally)
        elif isinstance(old, Opaque) and isinstance(new, Opaque):
            if old.name != new.name or old.size != new.size or not old.size:
                raise Refusal(path, why(old, new))
            out.append(Operation(Kind.COPY, from_ // 8, to // 8, a=old.size))
            tally.count(from_, to)
        else:
            tally.note("replaced", f"{title}: {spelt(old)} → {spelt(new)}")

    def _nested(
        self, out: list[Operation], path: str, name: str, old: Type, new: Type, from_: int, to: int, times: int,
        tally: Tally,
    ) -> None:  # fmt: skip
        """Objects with a program of their own; a plain copy where that is all it does. Offsets in bytes."""
        inner = Tally()
        number = self.program(path, old, new, inner)
        program = self._programs[number]
        if program is None:
            raise Refusal(path, "it contains itself")
        if old.size == new.size and program.operations == (Operation(Kind.COPY, 0, 0, a=old.size),):
            out.append(Operation(Kind.COPY, from_, to, a=old.size * times))
        elif program.operations:
            out.append(Operation(Kind.EACH, from_, to, times, old.size, new.size, a=number))
        tally.take(inner, lambda detail: f"{name}.{detail}" if name else detail)
        if times == 1:
            still = from_ == to
            tally.kept += inner.kept if still else 0
            tally.moved += inner.moved + (0 if still else inner.kept)

    def _record(self, out: list[Operation], path: str, old: Record, new: Record, tally: Tally) -> None:
        for record in (old, new):
            if record.obstacle:
                raise Refusal(path, f"{record.kind} {record.name} cannot be carried over: {record.obstacle}")
        were = {each.name: each for each in fields(old)}
        for now in fields(new):
            was = were.pop(now.name, None)
            hint = self._hints.get((new.name, now.name)) or self._hints.get((old.name, now.name))
            if was is None and hint and hint in were:
                was = were.pop(hint)
                tally.note("renamed", f"{hint} → {now.name}")
            if was is None and now.name.startswith("<"):
                was = next((were.pop(key) for key in list(were) if share(key, now.name)), None)
            if own := self._migrations.get((new.name, now.name)):
                self.migrated.add((new.name, now.name))
                if now.bits or (was is not None and was.bits):
                    raise Refusal(f"{path}.{now.name}", "HR_MIGRATE is not for bit-fields")
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
            raise Refusal(path, f"HR_MIGRATE names the function {function}, which the plugin does not define")
        self.keep = True
        table = self._table(((symbol.address, 0),))
        text = self._text(path) if holds_pointers(object_) or holds_pointers(new) else NONE
        size = old.size if old is not None else 0
        return Operation(Kind.CALL, from_, to, a=size, b=new.size, table=table, text=text)

    def _union(
        self, out: list[Operation], path: str, name: str, old: Record, new: Record, from_: int, to: int, tally: Tally
    ) -> None:
        """Nobody knows which member counts: its bytes go over as they are, if they mean the same to all that stay."""
        if old.kind != new.kind:
            raise Refusal(path, f"a {old.kind} became a {new.kind}")
        were = {member.name: member for member in old.members}
        for now in new.members:
            was = were.pop(now.name, None)
            if was is None:
                tally.note("new", f"{name}.{now.name}" if name else now.name)
                continue
            difference = self._comparison.difference(was.type, now.type)
            if difference is not None or (was.bits_at, was.bits) != (now.bits_at, now.bits):
                raise Refusal(
                    f"{path}.{now.name}" if now.name else path,
                    "a member of a union changed, and nobody knows which one counts",
                )
        for gone in were.values():
            tally.note("gone", f"{name}.{gone.name}" if name else gone.name)
        out.append(Operation(Kind.COPY, from_ // 8, to // 8, a=min(old.size, new.size)))
        for at, pointer, where in pointers_of(old):
            if at // 8 + pointer.size <= new.size:
                self._pointer(out, f"{path}{where}", pointer, pointer, from_ + at, to + at)
        tally.count(from_, to)

    def _array(
        self, out: list[Operation], path: str, name: str, old: Array, new: Array, from_: int, to: int, tally: Tally
    ) -> None:
        count = min(old.count, new.count)
        if old.count != new.count:
            kind = "grown" if new.count > old.count else "shrunk"
            tally.note(kind, f"{name or path}: {old.count} → {new.count}")
        if count:
            inner = Tally()
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
        if new.count < old.count and new.count and is_text(old.of) and is_text(new.of):
            out.append(Operation(Kind.END, 0, to // 8, a=new.count))
        tally.count(from_, to)

    @staticmethod
    def _is_simple(type_: Type) -> bool:
        return isinstance(type_, Scalar | Enum | Pointer)

    def _pointer(self, out: list[Operation], path: str, old: Pointer, new: Pointer, from_: int, to: int) -> None:
        self.pointers = True
        target_old, target_new = old.to(), new.to()
        difference = self._comparison.difference(target_old, target_new)
        path = path.replace("->.", "->")
        flags = POINTS_TO_CHANGED if difference is not None else 0
        text = self._text(f"{path}->{difference.removeprefix('.')}" if difference is not None else path)
        for target in (target_old, target_new):  # memory that no plan looks into
            self.keep = self.keep or self._home.has(target)
        number = NONE
        target_old, target_new = self._old.whole(target_old), self._new.whole(target_new)
        if isinstance(target_old, Record) and isinstance(target_new, Record) and target_old.size and target_new.size:
            target_old, target_new = self.twin(target_old, target_new)
            number = self._number_of(target_old, target_new)
            if self._programs[number] is None:
                self._wanted.append((number, f"{path}->", target_old, target_new))
        elif isinstance(target_old, Pointer) and isinstance(target_new, Pointer) and difference is not None:
            number = self.want(f"{path}->", target_old, target_new)
        elif isinstance(target_old, Scalar | Enum | Pointer) and target_old.size > 1:
            number = self.copy(target_old.size)  # a member, not the object that begins with it
        out.append(Operation(Kind.POINTER, from_ // 8, to // 8, a=flags, b=number, text=text))

    def _number(
        self, out: list[Operation], title: str, old: Scalar | Enum, new: Scalar | Enum,
        from_: int, to: int, old_bits: int, new_bits: int, tally: Tally,
    ) -> None:  # fmt: skip
        table, remapped = NONE, ""
        if isinstance(old, Enum) and isinstance(new, Enum):
            pairs, remapped = remapping(old, new, self._hints)
            if remapped:
                table = self._table(pairs)
                tally.note("re-mapped", f"{title}: {remapped}")
        made = converted(old, new, from_, to, old_bits, new_bits, table)
        if made is None:
            tally.note("replaced", f"{title}: {spelt(old)} → {spelt(new)}")
            return
        operation, change = made
        out.append(operation)
        if remapped:
            return
        if change:
            tally.note(change, f"{title}: {spelt(old, old_bits)} → {spelt(new, new_bits)}")
        else:
            tally.count(from_, to)

    def _table(self, pairs: tuple[tuple[int, int], ...]) -> int:
        self.tables.append(pairs)
        return len(self.tables) - 1

    def _text(self, path: str) -> int:
        self.texts.append(path)
        return len(self.texts) - 1


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


def _within(detail: str, name: str) -> str:
    return detail if not name or detail.startswith(name) else f"{name}[].{detail}"
