"""The plans that carry hosts from the generations they run to a new one: made when needed, layouts read once each."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from . import layout, migrate
from .binary import Binary
from .dwarf import prepare
from .layout import Layout
from .model import Generation, HotReloadError
from .plan import Plan, encode
from .slot import Slot

_REMEMBERED = 4
"""Layouts: of the newest generation, of what most hosts run, and of what was undone."""
_FRAMES = 40_000
"""Of Python code alone, which takes no stack of the thread's."""


class Carrier:
    """Plans of one plugin. Remembers layouts by file name (a generation never changes), and what plans said."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._layouts: OrderedDict[str, Layout] = OrderedDict()
        self._words: dict[tuple[str, str], str] = {}
        self._next: tuple[bytes | Binary, Layout] | None = None

    def read(self, library: bytes | Binary) -> Layout:
        """The layout of a library that is not published yet."""
        if self._next is None or self._next[0] is not library:
            self._next = library, layout.layout(library, self._slot.library, self._newest())
        return self._next[1]

    def layout_of(self, file: str) -> Layout:
        """That of a generation, by its file name; HotReloadError when it is gone."""
        if file not in self._layouts:
            self._remember(file, layout.layout(self._slot.read_generation(file), file, self._newest()))
        self._layouts.move_to_end(file)
        return self._layouts[file]

    def plans(self, library: bytes | Binary, origins: Mapping[str, int]) -> dict[str, Plan]:
        """To a library that is not published yet, by the file name of the generation that each begins at.

        ``origins``: with the bytes of state that a host of that generation has, for when its file is gone.
        """
        return {origin: self._plan(origin, size, self.read(library)) for origin, size in origins.items()}

    def published(self, generation: Generation, plans: dict[str, Plan]) -> None:
        """What was read last has become a generation, or is the newest one already."""
        name = os.path.basename(generation.path)
        if self._next is not None:
            self._remember(name, self._next[1])
            self._next = None
        for origin, plan in plans.items():
            self._words[origin, name] = plan.words
        for key in list(self._words)[:-64]:
            del self._words[key]

    def complete(self, generation: Generation, origin: str, size: int, restart: bool = False) -> None:
        """See that there is a plan from ``origin``, which a host runs that nobody knew of when it was published.

        ``restart``: another process goes on from there, so that even one from the generation to itself is of use.
        """
        name = os.path.basename(generation.path)
        if not origin or (origin == name and not restart) or self._slot.has_plan(generation, origin):
            return
        plan = self._plan(origin, size, self.layout_of(name))
        self._slot.add_plan(generation, origin, encode(plan))
        self._words[origin, name] = plan.words

    def prepare(self) -> None:
        """What the next plan begins with: the newest generation's layout. For when there is time."""
        newest = self._slot.newest()
        if newest is not None:
            with contextlib.suppress(HotReloadError):
                prepare(self.layout_of(os.path.basename(newest.path)).debug)

    def words(self, origin: str, generation: str) -> str:
        """What was said of a step, "" when it was another session that planned it."""
        return self._words.get((origin, generation), "")

    def _plan(self, origin: str, size: int, target: Layout) -> Plan:
        try:
            with _long_chains():
                return migrate.plan(self.layout_of(origin), target)
        except HotReloadError as error:
            return migrate.blind(size, target, f"{origin}: {error.what}")
        except RecursionError:
            return Plan(size, target.state_size, refusal="its types point to each other in too long a chain")

    def _newest(self) -> Layout | None:
        """The layout that was read last."""
        return next(reversed(self._layouts.values()), None)

    def _remember(self, file: str, found: Layout) -> None:
        self._layouts[file] = found
        while len(self._layouts) > _REMEMBERED:
            self._layouts.popitem(last=False)


@contextlib.contextmanager
def _long_chains() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
