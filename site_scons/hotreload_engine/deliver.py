"""From a linked library to the hosts' answers: read, verdict, publish, signal, acknowledge. Nothing flows back.

Plain ``scons`` publishes, ``scons reload`` and ``scons watch`` also signal; all of them come through here. A refusal
anywhere leaves everything behind it as it was, and says why: as an event, and in the run directory for ``scons hosts``.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import elf, hosts, lines, loader, verify
from .binary import Binary
from .carry import Carrier
from .files import Sig, signature
from .journal import Journal
from .model import (
    DELETED,
    Ack,
    Build,
    Company,
    Crash,
    Finding,
    Frame,
    Generation,
    Host,
    HotReloadError,
    Image,
    Plugin,
    Verdict,
)
from .plan import Plan, encode
from .programs import Programs
from .slot import Parcel, Slot

PATIENCE = 2.0
"""Seconds that a reload waits for a host's safe point before it is called pending and awaited meanwhile."""
CURIOSITY = 10.0
"""Seconds in which hosts may answer another scons and we tell of it."""


@dataclass(frozen=True)
class Cause:
    """What led to a delivery: the pass that built it and when the file was saved (monotonic seconds)."""

    build: Build | None = None
    save_at: float | None = None
    settled_at: float | None = None


@dataclass(frozen=True)
class Judged:
    """A library that may be published."""

    parcel: Parcel
    previous: Generation | None
    plans: dict[str, Plan]
    running: tuple[Host, ...]
    findings: list[dict[str, Any]]
    """As events have them."""
    check_ms: float

    @property
    def is_new(self) -> bool:
        return self.previous is None or self.previous.digest != self.parcel.image.digest


@dataclass(frozen=True)
class _Pending:
    before: Host
    generation: Generation
    cause: Cause
    until: float = math.inf
    """When we cease to ask (monotonic seconds)."""


class Delivery:
    """Carries one plugin to its hosts. Remembers only what it has already said, and who still owes an answer."""

    def __init__(self, plugin: Plugin, emit: Journal, files: Files, siblings: Iterable[str] = ()) -> None:
        """``siblings``: the libraries of the other plugins of the project."""
        self.plugin = plugin
        self._siblings = tuple(path for path in siblings if path != plugin.library)
        self.slot = Slot(plugin.library)
        self._emit = emit
        self._files = files
        self._carrier = Carrier(self.slot)
        self._pending: list[_Pending] = []
        self._known: dict[int, Host] = {}
        self._newest = 0
        """The number of the last generation that we published or have told of."""
        self._notes: set[str] = set()
        self._warned: frozenset[tuple[str, str]] = frozenset()
        self._fallen: list[Host] = []
        self._before: dict[str, Host] = {}
        """Hosts by their records, as they were before what was published last and has not been called for yet."""
        self._reported: set[tuple[int, str]] = set()
        """Crashes that are reported: (pid, file name of the generation)."""
        self.outdated: dict[int, bool] = {}
        """Hosts for which alone the library was refused that was read last, since they were compiled against other
        functions, by pid; whether their program has been built again since, so that a new start mends it."""

    # --- publishing ------------------------------------------------------------------------------------------

    def judge(self, undo: bool = False) -> Judged | None:
        """Check the library as the linker left it; for an undo, the generation before the newest. None: refused, and
        said so.
        """
        before = self.slot.before_newest() if undo else None
        if undo and before is None:
            self.refuse(HotReloadError("there is no earlier generation to go back to", self.slot.directory))
            return None
        restores, path = 0, self.plugin.library
        if before is not None:
            restores, path = before[0], self.slot.generation_path(before[1])
        started = time.perf_counter()
        try:
            binary = Binary(_read(path))
            image = elf.read(binary, path)
            running = self.census()
            previous = self.slot.newest()
            verdict = self._verdict(image, running)
            if self.plugin.foreign and not (self.plugin.hosts or running):  # warnings tell what our runtime will do
                errors = tuple(finding for finding in verdict.findings if finding.severity == "error")
                verdict = replace(verdict, findings=errors)
            verdict = replace(verdict, findings=(*self._crashed(image), *verdict.findings))
            verdict = self._with_contract(verdict, binary, path, running)
            plans = self._plans(image, binary, running, previous) if verdict.ok else {}
            found = verdict.findings + _dead_ends(running, plans, image.path)
            verdict = replace(verdict, findings=tuple(sorted(found, key=lambda each: each.severity != "error")))
            checked = time.perf_counter()
            findings = self._told(verdict.findings)
            if not verdict.ok:
                self._emit("refused", plugin=self.plugin.name, findings=findings, running=self.running())
                self._remember(f for f in verdict.findings if f.severity == "error")
                return None
        except HotReloadError as error:
            self.refuse(error)
            return None
        encoded = {origin: encode(plan) for origin, plan in plans.items()}
        parcel = Parcel(self.slot, image, binary.data, verdict.keep, encoded, restores)
        return Judged(parcel, previous, plans, tuple(running), findings, _ms(checked - started))

    def hold(self, judged: Judged, other: Delivery) -> None:
        """Not published, good as it is: ``other``, which was built together with it, is not."""
        name = other.plugin.name
        what = f"{name} was built together with it and is not published: hosts get both or none"
        held = Finding(what, self.plugin.library, f"mend {name}; this one is published with it")
        self._remember([held])
        findings = [*judged.findings, _shown(held)]
        self._emit("refused", plugin=self.plugin.name, findings=findings, running=self.running())

    def published(
        self, judged: Judged, generation: Generation, cause: Cause, publish_ms: float, calls: bool, together: list[str]
    ) -> None:
        """Say that it is out, unless it was already.

        ``calls``: hosts will be called, whose answers say more. ``together``: the names of those that came with it.
        """
        previous = judged.previous
        self._newest = generation.number
        self._before = {host.record: host for host in judged.running}
        self._carrier.published(generation, judged.plans)
        if previous is not None and previous.path == generation.path:
            return
        self._tell_published(
            generation,
            judged.running,
            calls,
            judged.findings,
            together,
            judged.check_ms,
            publish_ms,
            **timings(cause),
        )

    def _tell_published(
        self,
        generation: Generation,
        running: Sequence[Host],
        calls: bool = True,
        findings: Sequence[dict[str, Any]] = (),
        together: Sequence[str] = (),
        check_ms: float = 0.0,
        publish_ms: float = 0.0,
        **more: Any,
    ) -> None:
        self._emit(
            "published",
            plugin=self.plugin.name,
            generation=generation.number,
            build_id=generation.build_id or generation.digest,
            restores=generation.restores,
            hosts=len(running),
            foreign=sum(1 for host in self.plugin.foreign if host.signal),
            calls=calls,
            findings=list(findings),
            together=list(together),
            check_ms=check_ms,
            publish_ms=publish_ms,
            **more,
        )

    def refuse(self, error: HotReloadError) -> None:
        """The newest edit does not reach the hosts, for this reason."""
        self.slot.set_trouble(error.whole)
        self._emit.error(error, plugin=self.plugin.name, running=self.running())

    def _verdict(self, image: Image, running: list[Host]) -> Verdict:
        program = next((self._files.image(path) for path in self.plugin.hosts if os.path.exists(path)), None)
        functions = {name for host in running for name in host.functions}
        ours = self._files.image(os.path.realpath(sys.executable))
        verdict = verify.plugin(
            image,
            sorted(functions),
            program,
            self._companies(image, running, program),
            machine=(ours.machine, ours.bits) if ours else None,
            siblings=[found for path in self._siblings if (found := self._files.image(path))],
        )
        if program is not None:
            linked = verify.host(program, [image])
            return replace(verdict, findings=verdict.findings + linked.findings)
        return verdict

    def _with_contract(self, verdict: Verdict, binary: Binary, path: str, running: list[Host]) -> Verdict:
        self.outdated = {}
        if not running:
            return verdict
        new, layout_of = self._carrier.read(binary), self._carrier.layout_of
        agreement = self._files.programs.agreement(running, new, path, self.slot, layout_of)
        if verdict.ok:
            self.outdated = dict(agreement.outdated)
        return replace(verdict, findings=verdict.findings + agreement.findings)

    def _plans(self, image: Image, binary: Binary, running: list[Host], previous: Generation | None) -> dict[str, Plan]:
        """From what each host runs, and from the newest generation, which a host may have changed over to just now."""
        if previous and previous.digest == image.digest:
            return {}
        origins = {host.file: host.state_size for host in running if host.file}
        if previous:
            origins.setdefault(os.path.basename(previous.path), 0)
        return self._carrier.plans(binary, origins)

    def _companies(self, image: Image, running: list[Host], program: Image | None) -> list[Company]:
        """What the library finds in each running host, by the files that it has mapped; else in ``program``."""

        library, place = self.plugin.library, self.slot.directory
        companies = []
        for host in running:
            mapped = [path for path in hosts.mapped_files(host.pid) if not self.slot.holds(path)]
            # Through /proc, since a program that was built again is another file by now.
            executable = self._files.image(f"/proc/{host.pid}/exe")
            if executable is None or not mapped:
                continue  # it does not let us look
            images = [found for path in mapped if path != host.executable and (found := self._files.image(path))]
            library_path = hosts.environment(host.pid).get("LD_LIBRARY_PATH", "")
            whole = not any(name.endswith(DELETED) for name in mapped if name != host.executable)
            companies.append(
                loader.company(
                    image,
                    library,
                    place,
                    replace(executable, path=host.program),
                    images,
                    library_path,
                    self._files.image,
                    whole,
                )
            )
        if program is not None and not running:
            ours = os.environ.get("LD_LIBRARY_PATH", "")
            companies.append(loader.company(image, library, place, program, None, ours, self._files.image))
        return companies

    def _told(self, findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
        """For events. ``again``: it was said of the build before and is still so; a warning need not be shown twice."""
        before = self._warned
        self._warned = frozenset((f.what, f.where) for f in findings if f.severity == "warning")
        return [_shown(f, (f.what, f.where) in before) for f in findings]

    def _remember(self, against: Iterable[Finding]) -> None:
        """For whoever asks later why the newest edit does not run."""
        self.slot.set_trouble("\n".join(f"{f.what}\n  {f.remedy}" for f in against))

    # --- crashes ---------------------------------------------------------------------------------------------

    def crashes(self, quietly: bool = False) -> bool:
        """Report what crashed in hosts since the last call; whether there was something.

        ``quietly``: only remember it, and put the place into the marks of crashes that no builder saw.
        """
        present = self.census()
        fallen, self._fallen = self._fallen, []
        found = [*self.slot.crashes(), *(host.crash for host in (*present, *fallen) if host.crash)]
        fresh = []
        for crash in found:
            key = (crash.pid, crash.file)
            if key not in self._reported and (
                crash.fate == "rolled-back" or any(crash is host.crash for host in fallen)
            ):
                self._reported.add(key)
                fresh.append(crash)
        for crash in fresh:
            if not quietly:
                self._report_crash(crash)
            elif crash.mark and not crash.where:
                self.slot.explain(crash, self._place(crash)[1])
        return bool(fresh)

    def _report_crash(self, crash: Crash) -> None:
        frames, where = self._place(crash)
        if crash.mark:
            self.slot.explain(crash, where)
        word = what(crash)
        self._emit(
            "crash",
            plugin=self.plugin.name,
            generation=crash.generation,
            host=crash.pid,
            signal=_signal(crash.signal),
            what=word,
            fate=crash.fate,
            cause=crash.cause,
            reason=_CAUSES.get(crash.cause, ""),
            old_code=crash.in_old_code,
            where=where,
            frames=[
                {"function": frame.function, "file": frame.file, "line": frame.line, "offset": frame.offset}
                for frame in frames
            ],
            mark=crash.mark,
            running=self.running(),
        )
        place = f" in {where}" if where else ""
        self.slot.set_trouble(f"pid {crash.pid}: #{crash.generation} crashed: {word}{place}")

    def _place(self, crash: Crash) -> tuple[tuple[Frame, ...], str]:
        """The frames in the plugin, and the innermost that has a name in words."""
        addresses = []
        for index, address in enumerate(crash.frames):
            if address is not None:
                behind = index > 0 or (crash.signal == signal.SIGTRAP and not crash.cause.endswith("loop"))
                addresses.append(address - 1 if behind else address)  # it is the instruction after
        try:
            data = self.slot.read_generation(crash.file)
        except HotReloadError:
            data = b""
        frames = lines.resolve(data, addresses)
        if not frames:
            return (), ""
        place = str(_near(next((frame for frame in frames if frame.file), frames[0])))
        return frames, place if crash.frames[0] is not None else f"other code, called from {place}"

    def _crashed(self, image: Image) -> tuple[Finding, ...]:
        """What is against a library that has crashed already."""
        found = self.slot.crash_of(image.digest)
        if found is None:
            return ()
        mark, crash = found
        told = f" in pid {crash.pid}: {what(crash)}" if crash else ""
        place = f" in {crash.where}" if crash and crash.where else ""
        return (
            Finding(
                f"this very library has crashed{told}{place}",
                image.path,
                f"change the code; or delete {mark} to try it again",
            ),
        )

    # --- hosts -----------------------------------------------------------------------------------------------

    def census(self) -> list[Host]:
        """The hosts of this plugin now; a record that is not believed is said once."""
        try:
            found = hosts.census(self.slot)
        except OSError as error:
            raise HotReloadError(f"cannot read the run directory: {error.strerror}", self.slot.directory) from error
        for note in found.notes:
            if note.where not in self._notes:
                self._notes.add(note.where)
                self._emit.error(note)
        self._fallen += found.fallen
        return list(found.hosts)

    def call(
        self,
        generation: Generation,
        cause: Cause,
        present: Iterable[Host],
        cut: Callable[[], bool] = lambda: False,
        everyone: bool = False,
    ) -> bool:
        """Signal every host that does not run ``generation`` and report its answer. True: all of them run it now.

        ``present``: the census before any host was signalled. ``everyone``: report those too that ran it already. Hosts
        that do not answer in time are asked again by ``pending_answers``.
        """
        started = time.perf_counter()
        name = os.path.basename(generation.path)
        # A host may look by itself, and have changed over between the publishing and the census.
        present = [self._before.get(host.record, host) for host in present]
        self._before = {}
        behind = [host for host in present if host.file != name]
        for host in present:
            if everyone and host not in behind:
                self._report(
                    Ack(host, generation.number, ok=True, reason="it ran it already"), host, generation, cause, 0.0
                )
        asked: list[Host] = []
        for host in behind:
            self._carrier.complete(generation, host.file, host.state_size)
            if trouble := hosts.notify(host):
                self._report(Ack(host, generation.number, ok=False, reason=trouble), host, generation, cause, 0.0)
            else:
                asked.append(host)
        self._pending = []
        acks = hosts.await_answers(asked, generation.number, PATIENCE, cut)
        for ack in acks:
            before = next(host for host in asked if host.record == ack.host.record)
            self._report(ack, before, generation, cause, _ms(time.perf_counter() - started))
            if ack.pending:
                self._pending.append(_Pending(before, generation, cause))
        return len(acks) == len(behind) and all(ack.ok for ack in acks)

    @property
    def owed(self) -> bool:
        """Whether a host still owes an answer."""
        return bool(self._pending)

    def pending_answers(self) -> None:
        """Report what late hosts have answered since."""
        still: list[_Pending] = []
        for question in self._pending:
            ack = hosts.answer(question.before, question.generation.number)
            if ack.pending:
                still += [question] if time.monotonic() < question.until else []
            else:
                self._report(ack, question.before, question.generation, question.cause, 0.0)
        self._pending = still

    def overtaken(self, quietly: bool = False) -> bool:
        """Whether another scons has published since the last call: an undo, say. It is told, and what hosts answer.

        How their state was carried over is only known to that one.
        """
        newest = self.slot.newest()
        if newest is None or newest.number <= self._newest:
            return False
        self._newest = newest.number
        if quietly:
            return True
        present = self.census()
        self._tell_published(newest, present, by="another scons")
        for host in present:
            before = replace(host, file="")
            if host.file == os.path.basename(newest.path):
                self._report(Ack(host, newest.number, ok=True, reason=""), before, newest, Cause(), 0.0)
            else:
                self._pending.append(_Pending(before, newest, Cause(), time.monotonic() + CURIOSITY))
        return True

    def newcomers(self, quietly: bool = False) -> list[Host]:
        """Hosts that have come since the last call, reported (or not).

        They need no call: a host registers before it reads the pointer, so it has read what is published now, or it was
        in the census of whoever published later.
        """
        came = [host for host in self.census() if host.pid not in self._known]
        for host in came:
            settled = self._opened(host)
            self._known[host.pid] = settled
            if not quietly:
                state = _state(settled)
                self._emit("host", pid=host.pid, state=state, plugin=self.plugin.name, executable=host.executable)
        return came

    def _opened(self, host: Host) -> Host:
        """The host once its first load is over; a moment at most, since it may have nothing to load."""
        deadline = time.monotonic() + 0.25
        while _has_none_yet(host) and self.slot.newest() and time.monotonic() < deadline:
            time.sleep(0.005)
            host = next((now for now in self.census() if now.record == host.record), host)
        return host

    def bridge(self, host: Host) -> None:
        """See that a process which goes on where ``host`` has ended finds its way to the newest generation."""
        newest = self.slot.newest()
        if newest is not None:
            self._carrier.complete(newest, host.file, host.state_size, restart=True)

    def became(self, before: Host, now: Host) -> str:
        """What was done with the state of ``before`` for ``now``, in words."""
        state = self._carrier.words(before.file, now.file)
        state = state or (f"{now.state_size} bytes kept" if now.state_size else "")
        if now.blocks:
            state += f" · {now.blocks} block{'s' * (now.blocks > 1)} carried over"
            state += f", {now.moved} to another address" if now.moved else ""
        if now.lost:
            state += f" · {now.lost} values did not fit and became the nearest that does"
        return state

    def running(self) -> list[dict[str, Any]]:
        """For events: who runs what."""
        return [{"pid": host.pid, "generation": host.generation, "state": _state(host)} for host in self.census()]

    def forget(self, pid: int) -> bool:
        """A process has ended; whether it was a host of ours. Its record is deleted."""
        self.census()
        return self._known.pop(pid, None) is not None

    def tidy(self) -> None:
        """Delete what nobody needs any more, make ready for the next. For when there is nothing else to do."""
        with contextlib.suppress(HotReloadError, OSError):  # there is another time
            present = self.census()
            self.slot.collect(os.path.basename(path) for host in present for path in hosts.mapped_files(host.pid))
            self._carrier.prepare()
            self._files.programs.acquaint(present)

    def _report(self, ack: Ack, before: Host, generation: Generation, cause: Cause, host_ms: float) -> None:
        now = time.monotonic()
        state = ""
        if ack.ok and before.file and not ack.pending:
            state = self.became(before, replace(ack.host, file=os.path.basename(generation.path)))
        self._emit(
            "reload",
            plugin=self.plugin.name,
            generation=generation.number,
            host=ack.host.pid,
            ok=ack.ok,
            reason=ack.reason,
            pending=ack.pending,
            running=ack.host.generation,
            pause_us=ack.host.pause_us,
            load_us=ack.host.load_us,
            state=state,
            save_to_reload_ms=_ms(now - cause.save_at) if cause.save_at is not None and not ack.pending else None,
            host_ms=host_ms,
            **timings(cause),
        )
        if not ack.ok and ack.host.crash and ack.host.crash.in_old_code:
            key = ack.host.crash.pid, ack.host.crash.file
            if key not in self._reported:
                self._reported.add(key)
                self._report_crash(ack.host.crash)
        if not ack.ok and not ack.pending:
            self.slot.set_trouble(f"pid {ack.host.pid} refused generation {generation.number}: {ack.reason}")


def _shown(finding: Finding, again: bool = False) -> dict[str, Any]:
    """As events have it."""
    return {
        "what": finding.what,
        "where": finding.where,
        "remedy": finding.remedy,
        "severity": finding.severity,
        "again": again,
    }


def _dead_ends(running: list[Host], plans: dict[str, Plan], path: str) -> tuple[Finding, ...]:
    """Reasons for which no host could take the library; where one can, the others refuse by themselves."""
    reasons = [plans[host.file].refusal if host.file in plans else "" for host in running]
    if not reasons or not all(reasons):
        return ()
    return tuple(
        Finding(f"the state cannot be carried over: {reason}", path, "put it back as it was, or restart the host")
        for reason in dict.fromkeys(reasons)
    )


class Files:
    """Images of programs and system libraries, read once for each state of the file."""

    def __init__(self) -> None:
        self._images: dict[str, tuple[Sig, Image | None]] = {}
        self.programs = Programs()

    def image(self, path: str) -> Image | None:
        """None when the file is not there or is not a readable ELF file (a mapped font, say)."""
        now = signature(path)
        if now is None:
            return None
        if path not in self._images or self._images[path][0] != now:
            try:
                image: Image | None = elf.read(_read(path), path)
            except HotReloadError:
                image = None
            self._images[path] = (now, image)
        return self._images[path][1]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise HotReloadError(
            f"cannot read the library: {error.strerror}",
            path,
            "build it again, or give HotReload the path of what is built; hosts go on with what they have",
        ) from error


_CAUSES = {
    "first": "there is no earlier generation to go back to",
    "thread": "it was in a thread that is not guarded",
    "constructor": "it was in a constructor, while the library was opened",
    "stack": "the stack of the caller was overwritten",
    "host": "it was not in a call into the plugin",
    "locks": "other code was at work, which may hold a lock for ever",
}
"""Why a host's guard let the crash end the process."""


def what(crash: Crash) -> str:
    """Of a crash, in a word or three."""
    return "an endless loop" if crash.cause.endswith("loop") else _signal(crash.signal)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _near(frame: Frame) -> Frame:
    """With its file as the user knows it: from the working directory on."""
    here = os.getcwd() + os.sep
    return replace(frame, file=frame.file.removeprefix(here))


def timings(cause: Cause) -> dict[str, Any]:
    build = cause.build
    if build is None or not build.steps:
        return {}
    timings = {
        "compiled": build.compiled,
        "of": build.of,
        "compile_ms": _ms(build.spent_ms("compile") / 1e3),
        "link_ms": _ms(build.spent_ms("link") / 1e3),
        "build_ms": _ms(build.ms / 1e3),
    }
    if cause.save_at is not None and cause.settled_at is not None:
        timings["settle_ms"] = _ms(cause.settled_at - cause.save_at)
    return timings


def _has_none_yet(host: Host) -> bool:
    return not host.generation and host.status in ("waiting", "ready")


def _state(host: Host) -> str:
    if host.trouble:
        return f"cannot be reached: {host.trouble}"
    if host.status == "waiting":
        return "waiting for the first build"
    if _has_none_yet(host):
        return "has not taken its first generation yet"
    runs = f"runs #{host.generation}" if host.generation else "runs none"
    return runs + (f", refused #{host.tried}: {host.reason}" if host.status == "refused" else "")


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
