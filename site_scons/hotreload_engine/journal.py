"""Where events go: numbered with the iteration they belong to, handed to whoever shows or writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .model import Event, HotReloadError


class Journal:
    """Call it with an event's name and fields. Used by one thread."""

    def __init__(self, sink: Callable[[Event], None]) -> None:
        self._sink = sink
        self.iteration = 0
        """The change set that events belong to; 0 before the first."""

    def __call__(self, event: str, /, **fields: Any) -> None:
        self._sink(Event(event, self.iteration, fields))

    def error(self, error: HotReloadError, **fields: Any) -> None:
        """The event that a HotReloadError makes, with more fields where they are known."""
        self("error", what=error.what, where=error.where, remedy=error.remedy, output=error.output, **fields)
