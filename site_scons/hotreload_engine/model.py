"""The values that flow from a save to a reload, and nothing else.

Every class here is a frozen value: modules take them, return new ones, and never share mutable state.
Times are seconds of ``time.monotonic()`` where they are called ``*_at``, Unix seconds where they are called
``time``, and durations carry their unit in the name (``ms``, ``us``). Paths are absolute strings.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal


class HotReloadError(Exception):
    """Something the user can mend: what happened, where, and what to do about it.

    ``output`` is the text of another program that belongs to it (a compiler's messages), or "".
    """

    def __init__(self, what: str, where: str = "", remedy: str = "", output: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy
        self.output = output

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.remedy}" if self.remedy else text

    @property
    def whole(self) -> str:
        """The text, and behind it the other program's."""
        return f"{self}\n{self.output}".rstrip()


# --- watch.py -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChangeSet:
    """A settled set of changed files: every one of them was complete when it was last seen to change."""

    files: frozenset[str]
    first_at: float
    """When the first event of the set arrived."""
    last_at: float
    """When the last one did: the "save" that a reload's latency is counted from."""
    everything: bool = False
    """Events were lost (queue overflow, a watch that failed): every known input is suspect."""
    note: str = ""
    """Why the set came later or larger than usual, in words for the user; "" for the usual case."""
    settled_at: float = 0.0
    """When it counts as settled if nothing more comes: until then, what it leads to may be prepared only. 0: it is."""


# --- graph.py -----------------------------------------------------------------------------------------------

StepKind = Literal["compile", "link", "other"]


@dataclass(frozen=True)
class Step:
    """One action that a build pass ran."""

    target: str
    kind: StepKind
    ms: float
    why: str = ""
    """Why it was rebuilt, in the words of ``scons --debug=explain``; "" when nobody asked."""
    at_ms: float = 0.0
    """When it began, since the pass did."""


@dataclass(frozen=True)
class Build:
    """What one pass over the affected targets did."""

    ok: bool
    steps: tuple[Step, ...] = ()
    of: int = 0
    """Objects that the session knows, so that "1 of 14 objects" can be said."""
    ms: float = 0.0
    output: str = ""
    """What the commands printed (compiler messages), captured; "" when it went to the terminal at once."""
    errors: tuple[HotReloadError, ...] = ()
    cut: bool = False
    """Inputs changed while it ran: its results are not to be published; a new ChangeSet follows."""
    restart: str = ""
    """Not empty: only a freshly started scons would be right, for this reason. Nothing was built."""
    reread: bool = False
    """That reason is nothing but what changed while the SConscripts were read."""
    note: str = ""
    """Why a slower way than the usual one was taken; "" for the usual case."""

    @property
    def compiled(self) -> int:
        return sum(1 for step in self.steps if step.kind == "compile")

    def spent_ms(self, kind: StepKind) -> float:
        return sum(step.ms for step in self.steps if step.kind == kind)


# --- elf.py and verify.py -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """What the builder needs to know of an ELF file, read from its bytes."""

    path: str
    size: int
    digest: str
    """Hex digest of the bytes: two images with one digest are the same library."""
    build_id: str
    """GNU build-id as hex, or "" when the linker left none."""
    kind: str
    """ELF e_type without its prefix: DYN, EXEC, REL, CORE."""
    machine: str
    """ELF e_machine as pyelftools names it, e.g. EM_X86_64."""
    bits: int
    soname: str = ""
    needed: tuple[str, ...] = ()
    exports: frozenset[str] = frozenset()
    """Defined symbols of the dynamic symbol table that others can bind to."""
    imports: frozenset[str] = frozenset()
    """Undefined, non-weak symbols of the dynamic symbol table."""
    flags: frozenset[str] = frozenset()
    """Names of the bits in DT_FLAGS and DT_FLAGS_1 without DF_ and DF_1_: PIE, NOOPEN, NODELETE, STATIC_TLS, ..."""
    unique: frozenset[str] = frozenset()
    """Exports that are STB_GNU_UNIQUE: one in the whole process, whoever defined it first."""
    open_calls: frozenset[str] = frozenset()
    """Exports, not weak, that its own code reaches through the dynamic linker: a definition found before is used."""
    rpath: tuple[str, ...] = ()
    """Directories of DT_RPATH, as they stand there ($ORIGIN/...)."""
    runpath: tuple[str, ...] | None = None
    """Those of DT_RUNPATH; None without one, since an empty one still takes DT_RPATH's place."""
    thread_bytes: int = 0
    """Of thread-local storage, rounded up to its alignment."""
    executable_stack: bool = False
    """The loader must make the process's stacks executable for it."""
    debug: bool = False
    """It has debug information (.debug_info, or the skeleton of -gsplit-dwarf)."""


@dataclass(frozen=True)
class Need:
    """A library that a plugin needs (DT_NEEDED) and that its host has not loaded yet."""

    name: str
    path: str
    """Where the host's loader finds it, for a plugin in the run directory; "" nowhere."""
    beside: str
    """Where it would, were the plugin opened where the linker put it; "" nowhere."""


@dataclass(frozen=True)
class Company:
    """What a plugin finds in a host: a process, or the program while none runs."""

    where: str
    """The program's path."""
    runs: bool
    first: tuple[Image, ...] = ()
    """The program and what it is linked to: their definitions are found before the plugin's own."""
    later: tuple[Image, ...] = ()
    """What it has loaded since; what the plugin brings along is not in here."""
    needs: tuple[Need, ...] = ()
    undefined: frozenset[str] | None = None
    """Imports of the plugin that nothing in here defines, nor what it brings along; None when that cannot be told."""

    @property
    def images(self) -> tuple[Image, ...]:
        return self.first + self.later


Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One reason against a library, or a warning about it."""

    what: str
    where: str = ""
    remedy: str = ""
    severity: Severity = "error"


@dataclass(frozen=True)
class Verdict:
    findings: tuple[Finding, ...] = ()
    keep: bool = False
    """Something outside may point into it for ever (a thread, a signal handler): hosts must not unload it."""

    @property
    def ok(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)


# --- slot.py and hosts.py -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Foreign:
    """A host without our runtime, as the user names it: by its command, its pid file, or both."""

    command: tuple[str, ...] = ()
    pidfile: str = ""
    signal: int = 0
    """By which it reloads itself; 0: it is only started, by ``--hot-run``."""
    directory: str = ""
    """Where the command is given."""

    @property
    def name(self) -> str:
        return " ".join(self.command) or self.pidfile


@dataclass(frozen=True)
class Plugin:
    """A library that hosts reload, known by the path where the linker puts it."""

    library: str
    hosts: tuple[str, ...] = ()
    """Programs built beside it that load it; empty when SCons knows of none."""
    sources: tuple[str, ...] = ()
    """Source files that it is linked from, as the user knows them: for "edit this and save"."""
    foreign: tuple[Foreign, ...] = ()
    """Hosts without our runtime: they open the library itself."""

    @property
    def name(self) -> str:
        """``libplug.so`` and ``libplug.so.1.2`` are both plug."""
        stem = PurePath(self.library).name.split(".so")[0]
        return stem.removeprefix("lib") or stem


@dataclass(frozen=True)
class Generation:
    """A published library: an immutable file that a host may open."""

    plugin: str
    number: int
    path: str
    size: int
    digest: str
    build_id: str
    restores: int = 0
    """The number of the generation whose code it has again, after an undo; 0: it was built."""


@dataclass(frozen=True)
class Frame:
    """A place in a library's code, as far as its debug information and symbols tell."""

    function: str = ""
    file: str = ""
    """As the compiler was given it, or absolute; "" when the library has no lines."""
    line: int = 0
    offset: int = 0
    """Address as in the library's file."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        function = f"{self.function}()" if self.function else ""
        return ", ".join(filter(None, (place, function))) or f"offset {self.offset:#x}"


@dataclass(frozen=True)
class Crash:
    """A fault in a generation's code, as the host's crash guard tells of it."""

    pid: int
    generation: int
    file: str
    """File name of the generation."""
    signal: int
    fate: Literal["rolled-back", "ended"]
    cause: str
    """A word of the runtime's: call, loop; before, before-loop: in the hook of the code that was to go; or why it could
    not be rolled back: first, thread, constructor, stack, host, locks."""
    address: int
    """That was touched; 0 when none was."""
    frames: tuple[int | None, ...]
    """Addresses as in the generation's file, innermost first; None: in other code. All but the first are return
    addresses."""
    where: str = ""
    """The place in words, once the builder has looked."""
    mark: str = ""
    """Path of the file that keeps hosts from loading the generation again; "" when there is none."""

    @property
    def in_old_code(self) -> bool:
        """In a hook of the code that was to go: that generation goes on, and it is the next one that was not taken."""
        return self.cause.startswith(("before", "told"))


DELETED = " (deleted)"
"""How /proc names a mapped file that is gone, or another one by now."""


@dataclass(frozen=True)
class Host:
    """A process as its control record and the kernel tell of it."""

    pid: int
    record: str
    signal: int
    generation: int
    """What it runs now; 0 before its first."""
    tried: int
    """The newest generation that it has come to a decision about."""
    status: Literal["waiting", "running", "ready", "refused", "closed"]
    reason: str
    sequence: int
    """Grows with every record it writes."""
    functions: tuple[str, ...] = ()
    executable: str = ""
    load_us: float = 0.0
    pause_us: float = 0.0
    state_size: int = 0
    file: str = ""
    """File name of the generation that it runs."""
    lost: int = 0
    """Values that did not fit into their new type, in the last change-over."""
    blocks: int = 0
    """Typed blocks (hr_new) that it carried over, because their types changed."""
    moved: int = 0
    """Those of them that are elsewhere now."""
    trouble: str = ""
    """Why this process must not be signalled (no handler, stopped answering, ...); "" if it may be."""
    guard: str = ""
    """"on", or why it has no crash guard; "" when its runtime does not say."""
    crash: Crash | None = None
    """The last crash of its plugin; None when there was none since its last reload."""
    saved: str | None = ""
    """Its last answer to a request to leave its state: "TOKEN -", or "TOKEN " and why it could not; None: its runtime
    does not know of such requests."""
    inherited: str = ""
    """Whether it began with the state of the process before it: "yes", or why not; "" when there was none to take."""

    @property
    def program(self) -> str:
        """Where its executable was when it began."""
        return self.executable.removesuffix(DELETED)


@dataclass(frozen=True)
class Ack:
    """A host's answer to one published generation."""

    host: Host
    generation: int
    ok: bool
    reason: str
    pending: bool = False
    """It has not answered within the time limit; it will when it comes to its safe point."""


# --- report.py ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """One line of ``--hot-events``; DESIGN.md section 3 names the events and their fields."""

    event: str
    iteration: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)
