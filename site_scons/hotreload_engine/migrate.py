"""Two libraries' layouts → the plan that carries a host's state from one to the other.

Whatever is not carried is said: a plan's words name every field that is new, gone or changed.

Values in, values out: touches no disk and no process.
"""

from __future__ import annotations

from .blocks import blocks
from .compare import Comparison
from .convert import Converter, Refusal
from .debug import Opaque, Record, Type
from .landmarks import landmarks
from .layout import Layout
from .plan import NONE, Plan
from .spelling import why, with_value
from .statics import statics
from .tally import Tally


def plan(old: Layout, new: Layout) -> Plan:
    """How a host that runs ``old`` gets to ``new``. Refuses what cannot be carried; RecursionError when types point to
    each other in a longer chain than there is room for, at four calls each.
    """
    sizes = old.state_size, new.state_size
    migrations, before = _migrations(old, new)
    trouble, was, now = _trouble(old, new), None, None
    if not trouble and any(sizes):
        was, now = old.state, new.state
        if was is None or now is None:
            trouble = "HR_STATE's type is not in the debug information"
    if trouble and migrations:
        return Plan(*sizes, refusal=f"HR_MIGRATE needs the types of the fields ({trouble})")
    if trouble:
        return blind(old.state_size, new, trouble)
    comparison = Comparison((old, new))
    converter = Converter(old, new, comparison, migrations)
    tally, state = Tally(), NONE
    try:
        if was is not None and now is not None:
            _same_everywhere(old, was)
            _same_everywhere(new, now)
            if isinstance(was, Opaque) or isinstance(now, Opaque):
                raise Refusal("state", f"{why(was, now)} in the debug information (clang: -fstandalone-debug)")
            state = converter.program("state", was, now, tally)
            fresh = tally.kinds.get("new", [])
            fresh[:] = [with_value(each, now, new.initially) for each in fresh]
        carried, of_statics = statics(old, new, converter)
        of_types, of_blocks = blocks(old, new, comparison, converter)
    except Refusal as refusal:
        return Plan(*sizes, refusal=str(refusal))
    parts = [f"state: {tally.words() or 'empty'}"] if any(sizes) else []
    parts += [f"statics: {of_statics}"] if of_statics else []
    parts += of_blocks
    for keys, what in (
        ([key for key in migrations if key not in converter.migrated], "HR_MIGRATE finds nothing to migrate"),
        (before, "as HR_MIGRATE made them, though this code has no such line"),
    ):
        if keys:
            parts += [f"{what}: {', '.join('.'.join(filter(None, key)) for key in keys)}"]
    return Plan(
        *sizes,
        state,
        converter.programs,
        tuple(carried),
        landmarks(old, new, converter.program_of) if converter.pointers else (),
        tuple(of_types),
        tuple(converter.tables),
        tuple(converter.texts),
        converter.keep,
        "",
        " · ".join(parts),
    )


def blind(old: int, new: Layout, why: str) -> Plan:
    """Without types only a state of the same size (``old`` bytes) can be carried, as it is; and nothing else."""
    size = new.state_size
    if old != size and size:
        return Plan(
            old, size, refusal=f"the state's size changed, {old} to {size} bytes, and its fields are not known ({why})"
        )
    parts = [f"state: {old} bytes as they are"] if old else []
    return Plan(old, size, keep=True, words=" · ".join([*parts, f"statics: begin anew ({why}; compile with -g)"]))


def _trouble(old: Layout, new: Layout) -> str:
    """Why the debug information of one of them is not enough; "" when it is."""
    for side, which in ((old, "the running code"), (new, "the new code")):
        if side.debug.trouble:
            return f"{which}: {side.debug.trouble}"
    return ""


def _migrations(old: Layout, new: Layout) -> tuple[dict[tuple[str, str], str], list[tuple[str, str]]]:
    """What is to be migrated by a function: what the new code says, but for what the old code had done already. And
    what the old code migrated so and the new code, an earlier one perhaps, knows nothing of."""
    had, has = old.migrations, new.migrations
    todo = {key: function for key, function in has.items() if had.get(key) != function}
    return todo, [key for key in had if key not in has]


def _same_everywhere(side: Layout, type_: Type) -> None:
    """Two translation units that see the state differently: an object is stale, or a macro changes the struct."""
    if not isinstance(type_, Record) or not type_.name:
        return
    comparison = Comparison()
    for each in side.debug.records.get(type_.name, ()):
        other = each()
        if isinstance(other, Record) and other.size and (difference := comparison.difference(other, type_)):
            raise Refusal(
                "state",
                f"two source files see {type_.name} differently (at {difference.removeprefix('.') or 'its size'}): "
                "an object is out of date, or a macro changes the struct",
            )
