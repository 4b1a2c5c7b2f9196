"""What running hosts were compiled against, read from the programs that they run, and what that means for a library.

A program is read through /proc, since it may have been built again, once for each state of the file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from . import contract, dwarf
from .debug import Debug, Record
from .files import Sig, signature
from .layout import Layout
from .model import Finding, Host, HotReloadError
from .slot import Slot

_LARGEST = 64 << 20
"""Bytes of a program whose debug information is read: about six seconds."""
_REMEMBERED = 8
"""Programs whose debug information is kept in memory."""


@dataclass(frozen=True)
class Agreement:
    """Whether a library is what its hosts call."""

    findings: tuple[Finding, ...] = ()
    outdated: tuple[tuple[int, bool], ...] = ()
    """Hosts that would call it wrongly: (pid, whether their program has been built again, for the functions as they
    are now: then a new start mends it)."""


class Programs:
    """The debug information of programs."""

    def __init__(self) -> None:
        self._known: dict[Sig, Debug | None] = {}

    def debug(self, path: str) -> Debug | None:
        """None when the program has none, or so much that reading it would take too long."""
        key = signature(path)
        if key is None:
            return None
        if key not in self._known:
            found: Debug | None = None
            with contextlib.suppress(HotReloadError, OSError):
                if key[1] <= _LARGEST:
                    with open(path, "rb") as file:
                        found = dwarf.read(file.read(), path)
            self._known[key] = found if found and not found.trouble else None
            for old in list(self._known)[:-_REMEMBERED]:
                del self._known[old]
        return self._known[key]

    def acquaint(self, running: Iterable[Host]) -> None:
        """Read what will be asked at the next save. For when there is nothing else to do."""
        for host in running:
            self.debug(_program(host))

    def agreement(
        self, running: list[Host], new: Layout, path: str, slot: Slot, layout_of: Callable[[str], Layout]
    ) -> Agreement:
        """Compare the library ``new``, which lies at ``path``, with what hosts know of it.

        ``layout_of``: of a generation, by its file name, for hosts without debug information.
        """
        if new.debug.trouble:
            return Agreement()
        broken: dict[contract.Difference, list[Host]] = {}
        warned = []
        for host in running:
            for difference in self._differences(host, new, slot, layout_of):
                broken.setdefault(difference, []).append(host)
            debug = self.debug(_program(host))
            if debug and contract.sees_state_differently(debug, new.state, new.plugin):
                warned.append(host)
        outdated = {
            host.pid: self._is_mended(host, new, slot, layout_of) for found in broken.values() for host in found
        }
        findings = [
            Finding(
                f"{difference.words}, and {_pids(found)} was compiled against the old one",
                path,
                "end that host, run scons (a watch does it by itself), and start the host again"
                if all(outdated[host.pid] for host in found)
                else "build the host again, end it, run scons, and start it again; or put the function back as it was",
            )
            for difference, found in broken.items()
        ]
        if warned and not broken:
            name = new.state.name if isinstance(new.state, Record) else "the state"
            findings.append(
                Finding(
                    f"{_pids(warned)} was compiled with another layout of {name}",
                    path,
                    "the plugin has the state that it expects; if the host looks into it too, start the host again",
                    "warning",
                )
            )
        return Agreement(tuple(findings), tuple(outdated.items()))

    def _differences(
        self, host: Host, new: Layout, slot: Slot, layout_of: Callable[[str], Layout]
    ) -> list[contract.Difference]:
        """Where ``host`` would call the library wrongly; [] also when that cannot be known."""
        name = new.state.name if isinstance(new.state, Record) else ""
        functions = contract.of_library(new.debug, host.functions)
        debug = self.debug(_program(host))
        known = contract.of_host(debug, host.functions) if debug else []
        if not known:
            return list(contract.differences(_as_it_runs(host, slot, layout_of), functions, layouts=False))
        found = (difference for each in known for difference in contract.differences(each, functions, name))
        return list(dict.fromkeys(found))

    def _is_mended(self, host: Host, new: Layout, slot: Slot, layout_of: Callable[[str], Layout]) -> bool:
        if signature(host.program) in (signature(_program(host)), None):
            return False
        return not self._differences(replace(host, pid=0, executable=host.program, file=""), new, slot, layout_of)


def _as_it_runs(host: Host, slot: Slot, layout_of: Callable[[str], Layout]) -> contract.Prototypes:
    """Of a host without debug information: what the generation that it runs has, unless its program is younger."""
    with contextlib.suppress(HotReloadError, OSError):
        if host.file and os.stat(_program(host)).st_mtime <= slot.published_at(host.file):
            return contract.of_library(layout_of(host.file).debug, host.functions)
    return {}


def _program(host: Host) -> str:
    """Where the program that a host runs can be read; of one that does not run (pid 0) its path."""
    return f"/proc/{host.pid}/exe" if host.pid else host.executable


def _pids(found: Iterable[Host]) -> str:
    return "pid " + " and ".join(str(host.pid) for host in found)
