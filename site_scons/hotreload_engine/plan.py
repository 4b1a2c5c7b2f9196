"""What a host does to carry its state from one generation to another: the plan, and its bytes on disk.

``migrate.py`` makes plans, ``src/hotreload.h`` carries them out. The file is written and read on the same machine, so
its numbers are in that machine's order:

    magic "HRPLAN2\\n" · CRC-32 of what follows · counts · programs · operations · statics · symbols · blocks · tables ·
    strings

A *program* turns one object of an old type into one of the new type: a list of operations on (old bytes, new bytes),
which begin as the new generation's own defaults. Offsets are bytes from the object's beginning (bits for BITS).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

MAGIC = b"HRPLAN2\n"
NONE = 0xFFFFFFFF
"""No program, no table, no text."""


class Kind(IntEnum):
    """Of an operation; the numbers are the format's."""

    COPY = 0
    """``a`` bytes each."""
    NUMBER = 1
    """From number kind ``a`` to ``b``, clamped; with a table an enumeration, mapped by it."""
    BITS = 2
    """``a`` and ``b``: width | truth value << 30 | signed << 31. Offsets in bits."""
    POINTER = 3
    """``a``: flags, ``text``: the path, for a refusal."""
    EACH = 4
    """Program ``a`` for each element."""
    END = 5
    """A text of ``a`` bytes that was cut gets a NUL, if it has none."""
    CALL = 6
    """The user's own function, whose address in the new file is the table's only entry: ``a`` bytes of the old field
    (0: there is none), ``b`` bytes of the new one. ``text``: the path, if there are pointers to follow or to copy."""


POINTS_TO_CHANGED = 1
"""Flag of POINTER: the layout of what it points to has changed, so it must not point to memory that stays as it is."""


class Operation(NamedTuple):
    kind: Kind
    from_: int
    to: int
    times: int = 1
    from_step: int = 0
    to_step: int = 0
    a: int = 0
    b: int = 0
    table: int = NONE
    text: int = NONE


class Program(NamedTuple):
    name: str
    old_size: int
    new_size: int
    operations: tuple[Operation, ...]


class Static(NamedTuple):
    """A variable of the old library that goes on in the new one."""

    old: int
    new: int
    program: int
    title: str


class Landmark(NamedTuple):
    """Something of the old library that pointers may point to, and where it is in the new one."""

    old: int
    size: int
    new: int
    """NONE64 when the new library does not have it."""
    program: int
    title: str


class BlockType(NamedTuple):
    """Memory that hr_new gave for this type."""

    name: str
    """As it stands in hr_new."""
    program: int
    """For one element; NONE: a host that has such blocks must not take this step."""
    changed: bool
    """Its layout, or that of something that it points to. Without any change of blocks in use all stay as they are."""
    refusal: str = ""
    renamed: str = ""
    """What later generations will know it as, where nothing in the new code calls it by ``name``."""


NONE64 = 0xFFFFFFFFFFFFFFFF
LOST = -(2**63)
"""In a table of an enumeration: its enumerator is gone and its number means another one now."""


@dataclass(frozen=True)
class Plan:
    """How to get from one generation to another."""

    old_state: int
    """Bytes."""
    new_state: int
    state: int = NONE
    """Program of the state; NONE: by its bytes, which have the same size."""
    programs: tuple[Program, ...] = ()
    statics: tuple[Static, ...] = ()
    landmarks: tuple[Landmark, ...] = ()
    """Sorted by ``old``."""
    blocks: tuple[BlockType, ...] = ()
    tables: tuple[tuple[tuple[int, int], ...], ...] = ()
    """Of enumerations: (old value, new value or LOST)."""
    texts: tuple[str, ...] = ()
    keep: bool = False
    """Memory that no plan sees may point into the old library: it must stay mapped."""
    refusal: str = ""
    """Not empty: this step must not be made, and why."""
    words: str = ""
    """What it does, for the user."""


def encode(plan: Plan) -> bytes:
    """The file's bytes."""
    strings = bytearray(b"\0")
    places: dict[str, int] = {"": 0}

    def text(value: str) -> int:
        if value not in places:
            places[value] = len(strings)
            strings.extend(value.encode("utf-8", "replace") + b"\0")
        return places[value]

    programs, operations = bytearray(), bytearray()
    total = 0
    texts = [text(value) for value in plan.texts]
    tables = bytearray()
    starts = []
    for pairs in plan.tables:
        starts.append(len(tables) // 16)
        for pair in pairs:
            tables += struct.pack("=qq", *pair)
    for program in plan.programs:
        programs += struct.pack(
            "=QQIII4x", program.old_size, program.new_size, total, len(program.operations), text(program.name)
        )
        total += len(program.operations)
        for op in program.operations:
            table, entries = (starts[op.table], len(plan.tables[op.table])) if op.table != NONE else (0, 0)
            operations += struct.pack(
                "=QQIIIIIIIIII",
                op.from_, op.to, op.kind, op.times, op.from_step, op.to_step, op.a, op.b, table, entries,
                texts[op.text] if op.text != NONE else 0, 0,
            )  # fmt: skip
    statics = b"".join(struct.pack("=QQII", s.old, s.new, s.program, text(s.title)) for s in plan.statics)
    landmarks = b"".join(
        struct.pack("=QQQII", mark.old, mark.size, mark.new, mark.program, text(mark.title)) for mark in plan.landmarks
    )
    blocks = b"".join(
        struct.pack("=IIIIII", text(b.name), b.program, text(b.refusal), text(b.renamed), int(b.changed), 0)
        for b in plan.blocks
    )
    words, refusal = text(plan.words), text(plan.refusal)
    head = struct.pack(
        "=QQIIIIIIIIIIII", plan.old_state, plan.new_state, plan.state, int(plan.keep), words, refusal,
        len(plan.programs), total, len(plan.statics), len(plan.landmarks), len(blocks) // 24,
        len(tables) // 16, len(strings), 0,
    )  # fmt: skip
    body = head + bytes(programs) + bytes(operations) + statics + landmarks + blocks + bytes(tables) + bytes(strings)
    return MAGIC + struct.pack("=II", zlib.crc32(body), len(body)) + body
