"""Several plugins: those of one host that one change rebuilt are published all or none; hosts are called for all."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from . import foreign
from .deliver import Cause, Delivery, Files, Judged, timings
from .journal import Journal
from .model import Foreign, Generation, HotReloadError, Plugin
from .slot import Slot, publish_together


class Together:
    """The deliveries of a project. Remembers only which of them still wait for one another."""

    def __init__(self, plugins: Iterable[Plugin], emit: Journal) -> None:
        plugins = _apart(plugins)
        files = Files()
        libraries = [plugin.library for plugin in plugins]
        self.deliveries = tuple(Delivery(plugin, emit, files, libraries) for plugin in plugins)
        self._emit = emit
        self._waiting: list[set[Delivery]] = []
        self._new: set[Delivery] = set()
        """Those whose last library was another than the one before."""

    def publish(
        self, fresh: Iterable[Delivery], cause: Cause, calls: bool = True, undo: bool = False
    ) -> dict[Delivery, Generation | None]:
        """Judge and publish the libraries of ``fresh``, and of those that were held back with one of them before.

        None: refused or held back, and said so. ``calls``: hosts will be called, whose answers say more. ``undo``: not
        the libraries, but the generations before the newest.
        """
        judged = {delivery: delivery.judge(undo) for delivery in self.with_waiting(fresh)}
        published: dict[Delivery, Generation | None] = {}
        self._new = {delivery for delivery, verdict in judged.items() if verdict and verdict.is_new}
        for group in _groups(judged):
            self._waiting = [waiting for waiting in self._waiting if not waiting & set(group)]
            published |= self._publish({delivery: judged[delivery] for delivery in group}, cause, calls)
        return published

    def with_waiting(self, fresh: Iterable[Delivery]) -> list[Delivery]:
        """And those that were held back with one of them."""
        wanted = list(dict.fromkeys(fresh))
        for waiting in self._waiting:
            if waiting & set(wanted):
                wanted += [delivery for delivery in self.deliveries if delivery in waiting - set(wanted)]
        return wanted

    def _publish(
        self, group: dict[Delivery, Judged | None], cause: Cause, calls: bool
    ) -> dict[Delivery, Generation | None]:
        bad = [delivery for delivery, judged in group.items() if judged is None]
        good = {delivery: judged for delivery, judged in group.items() if judged is not None}
        if bad:
            held = [delivery for delivery, judged in good.items() if judged.is_new]
            for delivery in held:
                delivery.hold(good[delivery], bad[0])
            if held:
                self._waiting.append({*held, *bad})
            return dict.fromkeys(group)
        started = time.perf_counter()
        try:
            generations = publish_together([judged.parcel for judged in good.values()])
        except HotReloadError as error:
            for delivery in good:
                delivery.refuse(error)
            return dict.fromkeys(group)
        ms = round((time.perf_counter() - started) * 1e3, 3)
        names = [delivery.plugin.name for delivery, judged in good.items() if judged.is_new]
        for (delivery, judged), generation in zip(good.items(), generations, strict=True):
            others = [name for name in names if name != delivery.plugin.name]
            delivery.published(judged, generation, cause, ms, calls, others)
        return dict(zip(good, generations, strict=True))

    def send(
        self,
        published: dict[Delivery, Generation | None],
        cause: Cause,
        everyone: bool = False,
        starting: str = "",
    ) -> bool:
        """Send the hosts without our runtime their signals, once each, for what ``publish`` has published just now.

        True: each was sent what it was to be sent. A host of a library that was refused is sent nothing. ``everyone``:
        those too whose libraries are what they were. ``starting``: a program that will be started anyway if it does
        not run.
        """
        good = True
        for host in self.foreign:
            theirs = [delivery for delivery in published if host in delivery.plugin.foreign]
            refused = any(published[delivery] is None for delivery in theirs)
            good &= not refused
            comes = starting and foreign.program(host) == starting and not foreign.runs(host)
            if host.signal and theirs and not (refused or comes) and (everyone or self._new & set(theirs)):
                good &= self._send(host, [delivery.plugin.name for delivery in theirs], cause)
        return good

    @property
    def foreign(self) -> list[Foreign]:
        """The project's hosts without our runtime."""
        return list(dict.fromkeys(host for delivery in self.deliveries for host in delivery.plugin.foreign))

    def is_running(self, program: str) -> bool:
        """Whether it is such a host, and runs already."""
        return any(foreign.program(host) == program and foreign.runs(host) for host in self.foreign)

    def strangers(self) -> list[dict[str, Any]]:
        """For events: the hosts without our runtime, and what is known of them."""
        return [
            {"host": found.pid, "name": host.name, "ok": not found.trouble, "reason": found.trouble}
            for host in self.foreign
            for found in foreign.find(host)
        ]

    def _send(self, host: Foreign, names: list[str], cause: Cause) -> bool:
        sent = foreign.send(host)
        for found in sent:
            ms = (time.monotonic() - cause.save_at) * 1e3 if cause.save_at is not None else None
            self._emit(
                "sent",
                plugin=" and ".join(names),
                host=found.pid,
                name=host.name,
                signal=signal.Signals(host.signal).name,
                ok=not found.trouble,
                reason=found.trouble,
                remedy=found.remedy,
                save_to_sent_ms=round(ms, 3) if ms is not None else None,
                **timings(cause),
            )
        return not any(found.trouble for found in sent)


def _apart(plugins: Iterable[Plugin]) -> list[Plugin]:
    """Each library once, though it is named with its version and without; HotReloadError for two versions of one."""
    found: dict[str, Plugin] = {}
    for plugin in plugins:
        place = Slot(plugin.library).library
        other = found.get(place, plugin)
        if len({plugin.library, other.library, place}) > 2:
            raise HotReloadError(
                f"hosts cannot tell {os.path.basename(plugin.library)} from {os.path.basename(other.library)}",
                os.path.dirname(place),
                "build them into different directories, or make one of them hot",
            )
        whole = other if plugin.library == place else plugin
        found[place] = replace(
            whole,
            hosts=tuple(dict.fromkeys(other.hosts + plugin.hosts)),
            foreign=tuple(dict.fromkeys(other.foreign + plugin.foreign)),
        )
    return list(found.values())


def call(
    published: dict[Delivery, Generation | None],
    cause: Cause,
    cut: Callable[[], bool] = lambda: False,
    everyone: bool = False,
) -> bool:
    """Signal the hosts of what was published and report their answers. True: nothing was refused, all run the newest.

    Who is behind is asked before the first signal: that one may make a host change over to several plugins at once.
    """
    present = {delivery: delivery.census() for delivery in published}
    answers = [
        generation is not None and delivery.call(generation, cause, present[delivery], cut, everyone)
        for delivery, generation in published.items()
    ]
    return all(answers)


def _groups(judged: dict[Delivery, Judged | None]) -> list[list[Delivery]]:
    """Those that share a host, a program or a process, directly or through others; in the order that they came in."""
    groups: list[tuple[set[object], list[Delivery]]] = []
    for delivery, verdict in judged.items():
        hosts: set[object] = {os.path.realpath(path) for path in delivery.plugin.hosts}
        hosts |= {host.pid for host in (verdict.running if verdict else delivery.census())}
        members = [delivery]
        apart = []
        for others, theirs in groups:
            if hosts & others:
                hosts |= others
                members = theirs + members
            else:
                apart.append((others, theirs))
        groups = [*apart, (hosts, members)]
    return [members for _, members in groups]
