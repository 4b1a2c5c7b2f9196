"""What happens once, without a watch: publish after a build, ``scons reload``, ``scons hosts``, ``scons -c``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable

from . import foreign
from .deliver import Cause, what
from .hosts import census
from .journal import Journal
from .model import HotReloadError, Plugin
from .slot import Slot
from .together import Together, call


def publish(plugins: Iterable[Plugin], emit: Journal) -> bool:
    """Publish what was built; hosts are not signalled. False when a library was refused."""
    together = Together(plugins, emit)
    return all(together.publish(together.deliveries, Cause(), calls=False).values())


def reload(plugins: Iterable[Plugin], emit: Journal) -> bool:
    """Publish, signal, and report each host's answer. True only if every host runs the new code."""
    return _deliver(Together(plugins, emit), undo=False)


def undo(plugins: Iterable[Plugin], emit: Journal) -> bool:
    """Take every host back to the generation before the newest, and report its answer. True only if all are there."""
    return _deliver(Together(plugins, emit), undo=True)


def _deliver(together: Together, undo: bool) -> bool:
    for delivery in together.deliveries:
        delivery.crashes(quietly=True)
    published = together.publish(together.deliveries, Cause(), undo=undo)
    good = call(published, Cause(), everyone=True)
    if not undo:  # what it goes back to is not where hosts without our runtime open it
        good &= together.send(published, Cause(), everyone=True)
    return not any([delivery.crashes() for delivery in together.deliveries]) and good


def list_hosts(plugins: Iterable[Plugin], say: Callable[[str], None]) -> None:
    """Who runs what, and what stands in the way of the newest code."""
    for plugin in plugins:
        slot = Slot(plugin.library)
        newest = slot.newest()
        say(f"{plugin.name}: " + (f"newest is #{newest.number}" if newest else "nothing is published yet"))
        found = census(slot)
        for host in found.hosts:
            is_newest = newest is not None and host.file == os.path.basename(newest.path)
            state = f"runs #{host.generation}" if host.generation else "waits for the first generation"
            state += " (newest)" if is_newest else ""
            if host.status == "refused":
                state += f", refused #{host.tried}: {host.reason}"
            if host.trouble:
                state += f"; cannot be signalled: {host.trouble}"
            if host.guard not in ("", "on"):
                state += f"; no crash guard: {host.guard}"
            say(f"  pid {host.pid}  {host.executable or '?'}  {state}")
        for stranger in plugin.foreign:
            for process in foreign.find(stranger):
                state = process.trouble or f"pid {process.pid} can be sent {signal.Signals(stranger.signal).name}"
                say(f"  {stranger.name}  {state}")
        for host in found.fallen:
            if host.crash:
                say(f"  pid {host.pid}  has ended: #{host.crash.generation} crashed: {what(host.crash)}")
        if not found.hosts and not plugin.foreign:
            say("  no host is running")
        for note in found.notes:
            say(f"  {note}")
        if trouble := slot.trouble():
            say("  the last build is not what hosts run:")
            for line in trouble.splitlines():
                say(f"    {line}")


def clean(plugins: Iterable[Plugin]) -> None:
    for plugin in plugins:
        try:
            Slot(plugin.library).clean()
        except OSError as error:
            raise HotReloadError(f"cannot clean: {error.strerror}", plugin.library) from error
