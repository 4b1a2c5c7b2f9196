"""Random pairs of structs: what the new code finds is what C's own conversions say, and nothing else.

The compilers are the oracle for where fields lie: old code writes them by name, new code reads them by name. What a value
becomes is worked out here, independently of the plan. HOTRELOAD_PAIRS and HOTRELOAD_SEED tune it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from migration_kit import Workshop, carried

PAIRS = int(os.environ.get("HOTRELOAD_PAIRS", "100"))
SEED = int(os.environ.get("HOTRELOAD_SEED", "20261126"))
AT_ONCE = 25
"""Pairs in one library: each is a member of the state."""

INTEGERS = {
    "signed char": (8, True), "short": (16, True), "int": (32, True), "int64_t": (64, True),
    "unsigned char": (8, False), "unsigned short": (16, False), "unsigned": (32, False), "uint64_t": (64, False),
}  # fmt: skip
ENUMERATORS = [f"E{number}" for number in range(6)]


@dataclass(frozen=True)
class Leaf:
    type: str
    """A C type, ``bool``, ``float``, ``double``, ``enum``, ``char`` (a text) or ``nested``."""
    bits: int = 0
    count: int = 0
    """Of an array; 0: none."""
    inner: tuple[tuple[str, Leaf], ...] = ()


@dataclass
class Side:
    """One struct of a pair: its fields in their order, and the numbers of its enumerators."""

    fields: list[tuple[str, Leaf]]
    order: list[str] = field(default_factory=lambda: list(ENUMERATORS))


class Pairs:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def leaf(self, deep: int = 0) -> Leaf:
        kind = self.random.random()
        count = self.random.choice((0, 0, 0, 1, 2, 3, 7))
        if kind < 0.45:
            type_ = self.random.choice(list(INTEGERS))
            if self.random.random() < 0.3:
                return Leaf(type_, bits=self.random.randint(1, INTEGERS[type_][0]))
            return Leaf(type_, count=count)
        if kind < 0.6:
            return Leaf(self.random.choice(("float", "double", "bool")), count=count)
        if kind < 0.75:
            return Leaf("enum", count=count)
        if kind < 0.87 or deep > 1:
            return Leaf("char", count=self.random.randint(1, 12))
        inner = tuple((f"m{number}", self.leaf(deep + 1)) for number in range(self.random.randint(1, 4)))
        return Leaf("nested", count=self.random.choice((0, 0, 1, 3)), inner=inner)

    def changed(self, leaf: Leaf, deep: int = 0) -> Leaf:
        kind = self.random.random()
        if leaf.type == "nested":
            return replace(leaf, inner=tuple(self.mutated(list(leaf.inner), deep + 1)), count=self.count(leaf.count))
        if kind < 0.4:
            return leaf
        if leaf.type == "char":
            return replace(leaf, count=self.random.randint(1, 12))
        if leaf.count and kind < 0.7:
            return replace(leaf, count=self.random.randint(1, 9))
        fresh = self.leaf(2)
        if fresh.type == "char" or (leaf.bits and fresh.type in ("float", "double")):
            return leaf
        if leaf.type in ("float", "double") and fresh.bits:
            return leaf
        return replace(fresh, count=leaf.count, bits=0 if leaf.count else fresh.bits)

    def count(self, now: int) -> int:
        return self.random.randint(1, 4) if now else 0

    def mutated(self, fields: list[tuple[str, Leaf]], deep: int = 0) -> list[tuple[str, Leaf]]:
        out = [(name, self.changed(leaf, deep)) for name, leaf in fields if self.random.random() > 0.15]
        for number in range(self.random.choice((0, 0, 1, 2))):
            out.insert(self.random.randint(0, len(out)), (f"new{number}", self.leaf(deep)))
        if self.random.random() < 0.4:
            self.random.shuffle(out)
        return out or [("new9", Leaf("int"))]

    def pair(self) -> tuple[Side, Side]:
        old = Side([(f"f{number}", self.leaf()) for number in range(self.random.randint(1, 8))])
        new = Side(self.mutated(old.fields))
        if self.random.random() < 0.5:
            self.random.shuffle(new.order)
        return old, new


def declared(fields: list[tuple[str, Leaf]] | tuple[tuple[str, Leaf], ...], number: int) -> str:
    out = []
    for name, leaf in fields:
        array = f"[{leaf.count}]" if leaf.count else ""
        type_ = {"bool": "_Bool", "enum": f"enum e{number}"}.get(leaf.type, leaf.type)
        if leaf.type == "nested":
            type_ = f"struct {{ {declared(leaf.inner, number)} }}"
        out.append(f"{type_} {name}{array}{f' : {leaf.bits}' if leaf.bits else ''};")
    return " ".join(out)


def elements(
    fields: list[tuple[str, Leaf]] | tuple[tuple[str, Leaf], ...], path: str
) -> Iterator[tuple[str, str, Leaf]]:
    """(C expression, path without what a plan cannot match, leaf) of every scalar and text."""
    for name, leaf in fields:
        here = f"{path}.{name}"
        if leaf.type == "char":
            yield here, here, leaf
            continue
        indices = [f"[{index}]" for index in range(leaf.count)] if leaf.count else [""]
        for index in indices:
            if leaf.type == "nested":
                yield from elements(leaf.inner, here + index)
            else:
                yield here + index, here + index, leaf


def value(pairs: Pairs, leaf: Leaf) -> object:
    """Something that the old field can hold."""
    if leaf.type in INTEGERS:
        bits, signed = leaf.bits or INTEGERS[leaf.type][0], INTEGERS[leaf.type][1]
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        return pairs.random.choice((low, high, 0, min(high, 5), pairs.random.randint(low, high)))
    if leaf.type == "bool":
        return pairs.random.choice((0, 1))
    if leaf.type in ("float", "double"):
        return pairs.random.choice((0.0, 1.5, -2.25, 1e9, -1e18, 3e30, 200.0, -0.5))
    if leaf.type == "enum":
        return pairs.random.choice(ENUMERATORS)
    return "".join(pairs.random.choice("abcdef") for _ in range(pairs.random.randint(0, leaf.count - 1)))


def became(given: object, old: Leaf, new: Leaf, old_side: Side, new_side: Side) -> object:
    """What the new field is to hold: C's conversion, clamped; enumerators by name; texts cut."""
    if new.type == "char":
        return str(given)[: new.count - 1]
    if old.type == "enum" and new.type == "enum":
        return given
    number: float | int = old_side.order.index(str(given)) if old.type == "enum" else given  # type: ignore[assignment]
    if old.type == "float":
        import struct

        number = struct.unpack("f", struct.pack("f", number))[0]
    if new.type in INTEGERS or new.type == "enum":
        bits, signed = (new.bits or INTEGERS[new.type][0], INTEGERS[new.type][1]) if new.type != "enum" else (32, False)
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        return max(low, min(high, int(number)))
    if new.type == "bool":
        return int(number != 0)
    import struct

    return struct.unpack("f", struct.pack("f", number))[0] if new.type == "float" else float(number)


def zero(leaf: Leaf, side: Side) -> object:
    return "" if leaf.type == "char" else side.order[0] if leaf.type == "enum" else 0


def literal(given: object, leaf: Leaf, number: int) -> str:
    if leaf.type == "enum":
        return f"{given}_{number}"
    if isinstance(given, int) and given in (-(1 << 63),):
        return "INT64_MIN"
    return f"{given}ull" if isinstance(given, int) and given > (1 << 62) else f"{given}"


def sources(pairs: Pairs, count: int, blocks: bool = False) -> tuple[str, str, list[str]]:
    """Both plugins, and the lines that the new one is to print. ``blocks``: each pair is the elements of a block of
    hr_new, in a ring, the last of them known to the state too, instead of a member of it."""
    head = '#include <stdint.h>\n#include <stdio.h>\n#include <string.h>\n#include "plug.h"\n'
    types: tuple[list[str], list[str]] = ([], [])
    sets, shows, expected = [], [], []
    for number in range(count):
        sides = pairs.pair()
        for side, out in zip(sides, types, strict=True):
            names = ", ".join(f"{name}_{number}" for name in side.order)
            fields = [declared(side.fields, number), *([f"struct s{number} *next;"] if blocks else [])]
            pairs.random.shuffle(fields)
            out.append(f"enum e{number} {{ {names} }};\nstruct s{number} {{ {' '.join(fields)} }};\n")
        old, new = sides
        places = [f"s->p{number}"]
        if blocks:
            length = pairs.random.choice((1, 2, 5))
            places = [f"s->p{number}[{index}]" for index in range(length)]
            sets.append(f"s->p{number} = hr_new(struct s{number}, {length}); s->at{number} = &{places[-1]};")
            sets += [f"{place}.next = s->p{number} + {(index + 1) % length};" for index, place in enumerate(places)]
            for index, pointer in [(length - 1, f"s->at{number}"), *((i, f"{place}.next") for i, place in enumerate(places, 1))]:
                shows.append(f'at += snprintf(text + at, size - at, "%d\\n", (int)({pointer} - s->p{number}));')
                expected.append(str(index % length))
        given: dict[str, tuple[object, Leaf]] = {}
        for expression, path, leaf in (each for place in places for each in elements(old.fields, place)):
            worth = value(pairs, leaf)
            given[path] = worth, leaf
            if leaf.type == "char":
                sets.append(f'strcpy({expression}, "{worth}");')
            else:
                sets.append(f"{expression} = {literal(worth, leaf, number)};")
        for expression, path, leaf in (each for place in places for each in elements(new.fields, place)):
            was = given.get(path)
            matched = (
                was is not None
                and ((was[1].type == "char") == (leaf.type == "char"))
                and (bool(was[1].count) == bool(leaf.count))
            )
            if not matched or was is None:
                worth = zero(leaf, new)
            elif (was[1].bits and leaf.type in ("float", "double")) or (
                leaf.bits and was[1].type in ("float", "double")
            ):
                worth = 0
            else:
                worth = became(was[0], was[1], leaf, old, new)
            if leaf.type == "char":
                shows.append(f'at += snprintf(text + at, size - at, "%s\\n", {expression});')
                expected.append(str(worth))
            elif leaf.type in ("float", "double"):
                shows.append(f'at += snprintf(text + at, size - at, "%.17g\\n", (double){expression});')
                expected.append(f"{float(worth):.17g}")  # type: ignore[arg-type]
            else:
                if leaf.type == "enum" and isinstance(worth, str):
                    worth = new.order.index(worth)
                unsigned = (leaf.type == "uint64_t" and not leaf.bits) or leaf.type == "uint64_t"
                shape, cast = ("%llu", "unsigned long long") if unsigned else ("%lld", "long long")
                shows.append(f'at += snprintf(text + at, size - at, "{shape}\\n", ({cast}){expression});')
                expected.append(str(worth))
    member = "struct s{0} *p{0}, *at{0};" if blocks else "struct s{0} p{0};"
    members = " ".join(map(member.format, range(count)))
    text = [
        f"{head}{''.join(each)}typedef struct state {{ {members} }} state;\nHR_STATE(plug, state)\n" for each in types
    ]
    old_text = text[0] + "void plug_set(void *raw) { state *s = raw; " + "\n".join(sets) + " }\n"
    old_text += "int plug_show(void *raw, char *text, size_t size) { (void)raw; (void)text; (void)size; return 0; }\n"
    new_text = text[1] + "void plug_set(void *raw) { (void)raw; }\nint plug_show(void *raw, char *text, size_t size)\n"
    new_text += "{ state *s = raw; int at = 0; " + "\n".join(shows) + " return at; }\n"
    return old_text, new_text, expected


@pytest.mark.parametrize("where", ["state", "blocks"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_random_pairs_of_structs(compiler: str, where: str, tmp_path: Path) -> None:
    """Every field of the new struct has the value that its name had in the old one, converted; the rest are zero. Blocks may
    have moved: pointers to them, and between them, have followed."""
    shop = Workshop(compiler, tmp_path, ("-g", "-w"))
    for turn in range(max(1, PAIRS // 2 // AT_ONCE)):
        seed = SEED * 1000 + turn * 2 + (compiler == "clang")
        print(f"seed {seed}")
        old, new, expected = sources(Pairs(seed), AT_ONCE, where == "blocks")
        with carried(tmp_path / f"p{turn}", shop.host(), shop.library(old)) as host:
            host.ask("set")
            plan, said = host.reload(shop.library(new))
            assert said.startswith("changed 2"), (seed, said, plan.refusal)
            lines = host.ask("show").split("\n")
            found = lines + [""] * (len(expected) - len(lines))  # texts at the end may be empty
            wrong = [index for index, (one, two) in enumerate(zip(found, expected, strict=True)) if one != two]
            assert not wrong, (seed, wrong[0], found[wrong[0]], expected[wrong[0]])
        shop.made.clear()
