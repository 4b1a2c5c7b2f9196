"""``--hot-report``: the page about a session in a file, which is whole at any time.

It is written when the session is at rest, and given up at once when something comes in between: no save waits for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from typing import Any

from .chronicle import Chronicle
from .model import Event, HotReloadError
from .page import pieces

REST = 0.3
"""Seconds without an event after which it is written."""


class PageFile:
    """Is given every event. Used by one thread."""

    def __init__(self, path: str, directory: str, carried: int | None = None) -> None:
        """``path``: absolute. ``directory``: the top of the project. ``carried``: what ``hand_on`` returned to the
        session before a re-exec; None for a session that the user started.

        HotReloadError when the file cannot be written; not after a re-exec: ``idle`` says so then.
        """
        self._path = path
        self._directory = directory
        self._chronicle = Chronicle(_taken(carried) if carried is not None else None)
        self._since: float | None = time.monotonic()
        """When the last event came that the file does not tell of yet."""
        self._told = False
        """It was said that it cannot be written."""
        if carried is None:
            self._write()

    def __call__(self, event: Event) -> None:
        self._chronicle.add(event)
        self._since = time.monotonic()

    def idle(self, busy: Callable[[], bool]) -> float | None:
        """Write it, if its time has come; seconds until then, None when it tells of everything.

        ``busy``: asked again and again; when it turns true the old page stays for now. HotReloadError when it cannot be
        written: once, though it is tried again after each event.
        """
        if self._since is None:
            return None
        left = self._since + REST - time.monotonic()
        if left > 0:
            return left
        try:
            if not self._write(busy):
                return REST
        except HotReloadError:
            self._since = None
            if self._told:
                return None
            self._told = True
            raise
        return None

    def close(self) -> HotReloadError | None:
        """The last time. Why it could not be written, unless that was said before."""
        try:
            self._write()
        except HotReloadError as error:
            return None if self._told else error
        return None

    def hand_on(self) -> int:
        """All that it knows, in a descriptor that stays open over an exec."""
        descriptor = os.memfd_create("hotreload-page", 0)
        with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as file:
            json.dump(self._chronicle.keep(), file)
        return descriptor

    def _write(self, busy: Callable[[], bool] = lambda: False) -> bool:
        """Whether it was: not when ``busy``."""
        place, name = os.path.split(self._path)
        temporary = os.path.join(place, f".{name}.{os.getpid()}")
        try:
            with open(temporary, "w", encoding="utf-8", errors="replace") as file:
                for piece in pieces(self._chronicle, self._directory):
                    if busy():
                        break
                    file.write(piece)
                else:
                    file.close()
                    os.replace(temporary, self._path)
                    self._since, self._told = None, False
                    return True
            return False
        except OSError as error:
            raise HotReloadError(
                f"cannot write the report: {error.strerror}",
                self._path,
                "give --hot-report another file, or make room for this one; everything else goes on",
            ) from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _taken(descriptor: int) -> dict[str, Any]:
    """What ``hand_on`` has left there; nothing, when something has closed it meanwhile."""
    try:
        with os.fdopen(descriptor, "r", encoding="utf-8") as file:
            file.seek(0)
            kept: dict[str, Any] = json.load(file)
            return kept
    except (OSError, ValueError):
        return {}
