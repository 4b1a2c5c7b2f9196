"""What becomes of memory of hr_new, by the type that it was asked for: blocks and what their pointers lead to."""

from __future__ import annotations

from collections.abc import Iterator

from .compare import Comparison
from .convert import Converter
from .debug import Pointer, Record, Type
from .kinds import distinct
from .layout import Layout
from .plan import NONE, BlockType
from .tally import Tally

_AMBIGUOUS = "source files mean different types by that name: rename one of them"


def blocks(
    old: Layout, new: Layout, comparison: Comparison, converter: Converter
) -> tuple[list[BlockType], list[str]]:
    """What hr_new is called for in the old code, and whatever else a pointer leads to that has changed; in words too.

    Makes all the programs that are wanted, so it comes last.
    """
    found: dict[str, BlockType] = {}
    titles: dict[int, str] = {}
    are = new.blocks
    converter.make_wanted()
    for name, types in old.blocks.items():
        pairs = _matches(types, are.get(name, []), new)
        if not pairs or not all(was.size and now.size for was, now in pairs):
            continue
        changed = any(comparison.difference(was, now) is not None for was, now in pairs)
        if len(pairs) > 1:
            if changed:
                found[name] = BlockType(name, NONE, True, _AMBIGUOUS)
            continue
        was, now = converter.twin(*pairs[0])
        number = converter.want(name, was, now)
        titles.setdefault(number, name)
        renamed = f"{now.kind} {now.name}" if name not in are and isinstance(now, Record) else ""
        found[name] = BlockType(name, number, changed, "", renamed if renamed != name else "")
    converter.make_wanted()
    for number, before, after in converter.changed():
        renamed = f"{after.kind} {after.name}" if after.name != before.name else ""
        for name in (before.name, f"{before.kind} {before.name}"):
            known = found.setdefault(name, BlockType(name, number, True, "", renamed))
            if known.program not in (number, NONE):
                found[name] = BlockType(name, NONE, True, _AMBIGUOUS)
    words = [f"blocks of {title}: {tally.words()}" for title, tally in _told(titles, converter)]
    return [checked for each in found.values() if (checked := _checked(each, converter))], words


def _told(titles: dict[int, str], converter: Converter) -> Iterator[tuple[str, Tally]]:
    """Of which types hr_new is called for there is something to say."""
    for number, title in titles.items():
        tally = converter.tallies.get(number)
        if tally and any(tally.kinds.values()) and number not in converter.refused:
            yield title, tally


def _checked(block: BlockType, converter: Converter) -> BlockType | None:
    """With the reason where it cannot be carried over; None where it stays as it is."""
    refusal = converter.refused.get(block.program)
    if refusal is not None:
        return BlockType(block.name, NONE, True, str(refusal)) if block.changed else None
    tally = converter.tallies.get(block.program)
    return block._replace(changed=True) if tally and tally.kinds.get("migrated") else block


def _matches(were: list[Type], are: list[Type], new: Layout) -> list[tuple[Type, Type]]:
    """What each of them is in the new code, where that is known: one pair, if all mean the same."""
    if not are:
        are = [now for now in (_now(were[0], new),) if now is not None]
    were, are = distinct(were), distinct(are)
    if len(were) == len(are):
        return list(zip(were, are, strict=True))
    return [(was, now) for was in were for now in are]


def _now(was: Type, new: Layout) -> Type | None:
    """The type of that name in code that does not call hr_new for it any more."""
    if isinstance(was, Record):
        found = distinct(new.definitions(was.name))
        return found[0] if len(found) == 1 else None
    if isinstance(was, Pointer):
        target = _now(was.to(), new)
        return Pointer(was.size, lambda: target) if target is not None else None
    return was
