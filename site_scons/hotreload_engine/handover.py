"""A host is started again and goes on with the state of the process before: asked for, filed, taken; or why not.

Each plugin of the host on its own: the state of one that cannot be carried begins anew, the others go on.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

from . import hosts
from .deliver import Delivery
from .model import Host, HotReloadError
from .slot import TOKEN_VARIABLE

PATIENCE = 3.0
"""Seconds that a host has to come to its safe point and leave its state."""
TAKEN_WITHIN = 30.0
"""Seconds that the new process has to open its plugins, before what was left for it is thrown away."""


@dataclass(frozen=True)
class Fate:
    """What became of the state of one plugin."""

    plugin: str
    words: str
    """As of a reload; "" when it began anew."""
    reason: str
    """Why it began anew; "" when it did not."""


class Handover:
    """One new start of one host. Ends with ``close``, whatever happened before."""

    def __init__(self, deliveries: Iterable[Delivery], pid: int) -> None:
        """``pid``: the host that is to be ended."""
        self._token = secrets.token_hex(16)
        self._leavers: dict[Delivery, Host] = {}
        self._trouble: dict[Delivery, str] = {}
        self._deadline = 0.0
        for delivery in deliveries:
            for host in delivery.census():
                if host.pid == pid and host.file:
                    self._leavers[delivery] = host

    def ask(self) -> None:
        """Have the state of every plugin left in a file, within PATIENCE; the host waits for its end then."""
        asked: dict[str, Host] = {}
        for delivery, host in self._leavers.items():
            try:
                delivery.slot.ask_for_state(host.record, self._token)
                trouble = hosts.notify(host)
            except (HotReloadError, OSError) as error:
                trouble = error.what if isinstance(error, HotReloadError) else str(error)
            if trouble:
                self._trouble[delivery] = trouble
            else:
                asked[host.record] = host
        answers = hosts.await_state(asked, self._token, PATIENCE)
        self._trouble |= {
            delivery: answers[host.record] for delivery, host in self._leavers.items() if answers.get(host.record)
        }

    def ready(self) -> dict[str, str]:
        """The host has ended and its plugins are published: what the new one needs in its environment."""
        for delivery, host in self._leavers.items():
            if delivery not in self._trouble:
                try:
                    delivery.bridge(host)
                except HotReloadError as error:
                    self._trouble[delivery] = error.what
            if delivery in self._trouble:
                delivery.slot.discard_state(host.record, self._token)
        self._deadline = time.monotonic() + TAKEN_WITHIN
        return {TOKEN_VARIABLE: self._token} if len(self._trouble) < len(self._leavers) else {}

    def fates(self, pid: int, at_once: bool = False) -> list[Fate] | None:
        """What the new process made of it; None while that is not decided. ``at_once``: what is not, began anew."""
        late = at_once or time.monotonic() > self._deadline
        found = []
        for delivery, host in self._leavers.items():
            words, reason = "", self._trouble.get(delivery, "")
            if not reason:
                now = next((each for each in delivery.census() if each.pid == pid), None)
                if now is not None and now.generation and now.inherited == "yes":
                    words = delivery.became(host, now)
                elif now is not None and (now.generation or now.status == "refused"):
                    reason = now.inherited or "the new process did not look for it"
                elif not late:
                    return None
                else:
                    reason = "the new process did not open the plugin"
            found.append(Fate(delivery.plugin.name, words, reason))
        return found

    def close(self) -> None:
        """Nothing of it stays in the run directory."""
        for delivery, host in self._leavers.items():
            delivery.slot.discard_state(host.record, self._token)
