"""Where events go: numbered with the iteration they belong to, handed to whoever shows or writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .model import Event


class Journal:
    """Call it with an event's name and fields. Used by one thread."""

    def __init__(self, sink: Callable[[Event], None]) -> None:
        self._sink = sink
        self.iteration = 0
        """The change set that events belong to; 0 before the first."""

    def __call__(self, event: str, /, **fields: Any) -> None:
        self._sink(Event(event, self.iteration, fields))
