"""The watch loop: a save → affected targets → delivery → one line, in one straight line.

One process, one thread (the watcher's and the vigil's only wake it). A pass whose inputs changed under it is not
delivered; the next one is. Ends with SIGINT, SIGTERM or SIGHUP: host and compilers reaped, signatures written.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import FrameType

from . import elf
from .deliver import Cause, Delivery
from .files import Sig, signature
from .graph import Graph
from .handover import Handover
from .hosts import Vigil
from .journal import Journal
from .keys import KEYS, Keyboard, usable
from .model import Build, ChangeSet, Generation, HotReloadError, Plugin
from .notify import Notifier
from .page_file import PageFile
from .relaunch import Relaunch
from .runner import Runner
from .screen import Screen
from .together import Together, call
from .watch import Watcher

_LOOKED_AT = 20
"""Saved files, of those of one change, that are looked at for one that only hosts have."""


@dataclass(frozen=True)
class Settings:
    """What the command line says of a session."""

    directory: str
    """The top of the project: where targets' names are relative to."""
    poll: bool = False
    explain: bool = False
    carried: dict[str, object] | None = None
    """What the session before a re-exec handed on; None for a session that the user started."""
    screen: Screen | None = None
    """The terminal that a person looks at; None when there is none."""
    keys: bool = True
    """Whether what is typed there may be for us."""
    notifier: Notifier | None = None
    page: PageFile | None = None


class Session:
    def __init__(
        self,
        graph: Graph,
        plugins: Iterable[Plugin],
        emit: Journal,
        relaunch: Relaunch,
        settings: Settings,
        runner: Runner | None,
    ) -> None:
        self._graph = graph
        self._emit = emit
        self._relaunch = relaunch
        self._settings = settings
        self._runner = runner
        self._together = Together(plugins, emit)
        self._deliveries = self._together.deliveries
        self._watcher = Watcher(self._relevant, settings.poll)
        self._vigil = Vigil(self._watcher.wake)
        self._delivered: dict[str, Sig | None] = {}
        self._bad = bool((settings.carried or {}).get("bad"))
        """The last build or reading of the SConscripts failed, and nothing good has come since."""
        self._behind: set[Delivery] = set()
        """Those whose newest library was refused or has crashed: a good build of other things does not mend that."""
        self._undone: set[Delivery] = set()
        """Those of which another scons has published something since we did: a save brings our newest back."""
        self._untidy = True
        self._cut: ChangeSet | None = None
        """What a pass that was cut short was about: built again even if the change that cut it comes to nothing."""
        self._told: set[str] = set()
        self._renewed: set[int] = set()
        """Hosts that were ended to be started again: their end was said with that."""
        self._told_stopped: set[int] = set()
        self._keyboard: Keyboard | None = None
        self._quit = False
        """The key for it was pressed."""
        self._paused = False
        self._held: ChangeSet | None = None
        """What changed while it was paused."""
        self._last: Build | None = None
        """The last pass that built something."""
        self._renewal: _Renewal | None = None

    def run(self) -> int:
        """Until a signal or a key ends it; the exit status."""
        _on_end(_end)
        signal.signal(signal.SIGPIPE, _end)  # SCons hides the error: a session that nobody hears would go on for ever
        try:
            self._start()
            while True:
                if self._settings.notifier:
                    self._settings.notifier.stands(self._bad)
                self._turn()
        except (_Ended, KeyboardInterrupt) as end:
            return self._stop(end.number if isinstance(end, _Ended) else signal.SIGINT)
        finally:
            if self._keyboard:
                self._keyboard.close()

    # --- the three acts --------------------------------------------------------------------------------------

    def _start(self) -> None:
        began = time.time()
        elf.warm()
        if screen := self._settings.screen:
            screen.verbose = bool((self._settings.carried or {}).get("verbose"))
            self._graph.progress = screen.progress
        self._note_reasons()
        build = self._graph.start()
        gc.freeze()  # the graph stays: the collector need not walk it again and again
        gc.set_threshold(20_000, 50, 10)
        self._watch()
        self._after(build, Cause(build), first=True)
        self._emit("done")
        for delivery in self._deliveries:
            delivery.overtaken(quietly=True)
        # Edits between the reading of an input and the start of its watch had no event.
        if missed := self._graph.unseen(self._watcher.missed(began), began):
            self._pass(_changes(missed), quietly=True)
        self._ready()

    def _turn(self) -> None:
        """Wait for one thing to happen and see to it."""
        changes = self._watcher.next(self._patience(), early=True)
        for delivery in self._deliveries:
            delivery.pending_answers()
        self._tell_renewal()
        self._see_to_processes()
        self._see_to_keys()
        if changes is None and self._cut and not self._paused and not self._inputs_changed():
            changes = self._cut
        if changes is None and self._graph.is_due and not self._paused:
            self._pass(_changes(), quietly=True)
            return
        if changes is None:
            if self._untidy and not self._watcher.pending():
                self._untidy = False
                for delivery in self._deliveries:
                    delivery.tidy()
            return
        records = {path for path in changes.files if any(d.slot.is_record(path) for d in self._deliveries)}
        marks = {path for path in changes.files if any(d.slot.is_mark(path) for d in self._deliveries)}
        pointers = {path for path in changes.files if any(d.slot.is_pointer(path) for d in self._deliveries)}
        if records:
            self._meet()
        if marks:
            self._crashes()
        if pointers:
            self._undone.update([delivery for delivery in self._deliveries if delivery.overtaken()])
        inputs = changes.files - records - marks - pointers
        if (inputs or changes.everything) and self._paused:
            self._hold(replace(changes, files=inputs))
        elif inputs or changes.everything:
            self._emit.iteration += 1
            known = self._graph.inputs() if changes.everything else frozenset()
            self._pass(replace(changes, files=inputs | known))

    def _patience(self) -> float | None:
        """Seconds to wait for a change until something else is to be done; None when nothing is."""
        times = [0.05] if self._renewal or any(delivery.owed for delivery in self._deliveries) else []
        if self._runner and self._runner.is_young:
            times.append(0.5)
        if self._cut and not self._paused:
            times.append(0.3)
        if self._untidy or (self._graph.is_due and not self._paused):
            times.append(0.0)
        else:
            times += [more for work in self._deferred() if (more := self._at_rest(work)) is not None]
        return min(times, default=None)

    def _deferred(self) -> Iterator[Callable[[], float | None]]:
        yield self._graph.idle
        if page := self._settings.page:
            yield lambda: page.idle(self._watcher.pending)

    def _at_rest(self, work: Callable[[], float | None]) -> float | None:
        """Deferred work whose time may have come; seconds until there is more, None when there is none."""
        try:
            return work()
        except HotReloadError as error:  # a full disk, say
            self._emit.error(error)
            return work()  # when it is tried again

    def _close_graph(self) -> None:
        """Signatures are written, or it is said that they could not be: the end does not wait for a full disk."""
        try:
            self._graph.close()
        except HotReloadError as error:
            self._emit.error(error)

    def _stop(self, number: int) -> int:
        _on_end(self._hurry)
        try:
            self._tell_renewal(at_once=True)
            if self._runner:
                self._runner.stop()
        finally:
            self._watcher.close()
            self._close_graph()
            gone = "the end of whoever read its output" if number == signal.SIGPIPE else ""
            by = "the key q" if self._quit else gone or signal.Signals(number).name
            self._emit("stopped", reason=f"watch ended by {by}")
        return 0 if self._quit else 128 + number

    def _hurry(self, number: int, frame: FrameType | None) -> None:
        """Asked a second time: a host that does not end by itself is killed."""
        if self._runner:
            self._runner.kill()

    # --- a pass ----------------------------------------------------------------------------------------------

    def _pass(self, changes: ChangeSet, quietly: bool = False) -> bool:
        """``quietly``: say nothing if nothing is to be built. Whether it came to an end that was told."""
        began, cause_at = time.time(), time.monotonic()

        def announce() -> None:
            if not quietly:
                self._emit("change", files=sorted(changes.files), note=changes.note)

        settled = _Settled(self._inputs_changed, changes, announce)
        files = changes.files | (self._cut.files if self._cut else frozenset())
        self._cut = None
        build = self._graph.update(files, self._inputs_changed, settled)
        if self._settings.screen:
            self._settings.screen.clear()
        if not settled():
            self._watcher.put_back(changes)
            self._cut = ChangeSet(files, changes.first_at, changes.last_at)
            return False
        while build.restart:
            self._restart(build.restart, build.reread)
            build = self._graph.update(files, self._inputs_changed)  # what else was saved, by what was read before
        if build.cut or self._inputs_changed():
            self._cut = ChangeSet(files, changes.first_at, changes.last_at)
            self._watch(began)
            return False
        for delivery in self._undone:
            if self._graph.reaches(files, delivery.plugin.library):
                self._delivered.pop(delivery.plugin.library, None)
        told = bool(build.steps or build.errors or not quietly)
        if told:
            if quietly:  # only now is it known that there is something to tell
                self._emit("change", files=[], note="")
            self._after(build, Cause(build, changes.last_at, cause_at))
            self._tell_older(build, files)
            self._emit("done")
        self._watch(began)
        return told

    def _after(self, build: Build, cause: Cause, first: bool = False) -> None:
        """A pass is over: say what it did and deliver what it made."""
        owned = self._runner.pid if self._runner else 0
        fresh = [
            delivery
            for delivery in self._deliveries
            # Refused for the host that we own while its program did not compile: now a new start may mend it.
            if self._is_fresh(delivery) or (build.ok and build.steps and delivery.outdated.get(owned) is False)
        ]
        good = build.ok and not self._graph.is_waiting
        mended = bool(self._behind) and self._behind <= set(self._together.with_waiting(fresh))
        if build.steps:
            self._last = build
        self._emit(
            "build",
            targets=[step.target for step in build.steps],
            steps=[
                {"target": step.target, "kind": step.kind, "ms": step.ms, "at_ms": step.at_ms} for step in build.steps
            ],
            ms=round(build.ms, 3),
            ok=build.ok,
            compiled=build.compiled,
            of=build.of,
            compile_ms=round(build.spent_ms("compile"), 3),
            link_ms=round(build.spent_ms("link"), 3),
            output=build.output if build.ok else "",
            note=build.note,
            why=[{"target": step.target, "why": step.why} for step in build.steps if step.why and self._graph.explain],
            unchanged=not (build.steps or first or fresh),
            delivers=bool(fresh) or first,
            fixed=good and (self._bad or mended),
        )
        for error in build.errors:
            self._emit.error(error, running=[pair for delivery in self._deliveries for pair in delivery.running()])
            for delivery in set(self._deliveries) - self._behind:
                delivery.slot.set_trouble(error.whole)
        was_bad, self._bad = self._bad, not good
        if good and was_bad:
            for delivery in set(self._deliveries) - self._behind:
                delivery.slot.clear_trouble()
        self._deliver(fresh, cause)
        self._renew_host(cause)
        if build.ok and self._runner and not self._runner.pid and (fresh or first):
            self._start_host()

    def _deliver(self, fresh: list[Delivery], cause: Cause) -> None:
        for delivery in fresh:
            self._delivered[delivery.plugin.library] = signature(delivery.plugin.library)
        published = self._together.publish(fresh, cause)
        call(
            {delivery: generation for delivery, generation in published.items() if generation},
            cause,
            self._inputs_changed,
        )
        starting = self._runner.program if self._runner and not self._runner.pid else ""
        self._together.send(published, cause, starting=starting)
        self._untidy |= any(published.values())
        self._note(published)

    def _note(self, published: dict[Delivery, Generation | None]) -> None:
        """Who is behind now, and who no more."""
        for delivery, generation in published.items():
            (self._behind.discard if generation else self._behind.add)(delivery)
            if generation:
                self._undone.discard(delivery)

    def _is_fresh(self, delivery: Delivery) -> bool:
        """Whether the library was made anew, and whole: an error elsewhere in the project does not hold it back."""
        library = delivery.plugin.library
        return self._delivered.get(library, ()) != signature(library) and self._graph.is_current(library)

    def _restart(self, reason: str, reread: bool) -> None:
        """Returns only when the SConscripts cannot be read now. ``reread``: the reason is what changed while they were
        read."""
        ok, output = self._relaunch.trial()
        if not ok:
            self._bad = True
            self._emit.error(
                HotReloadError(
                    "scons cannot read the project any more",
                    reason,
                    "this session goes on with what it read before, until that is mended",
                    output,
                )
            )
            return
        self._tell_renewal(at_once=True)
        self._emit("change", files=[], note=f"{reason}: reading the SConscripts again")
        self._close_graph()
        self._watcher.close()
        if self._keyboard:
            self._keyboard.close()
        self._relaunch.again(
            {
                "iteration": self._emit.iteration,
                "bad": self._bad or bool(self._behind),
                "host": self._runner.pid if self._runner else 0,
                "reread": reread,
                "verbose": self._verbose,
                "page": self._settings.page.hand_on() if self._settings.page else None,
            }
        )

    # --- hosts -----------------------------------------------------------------------------------------------

    def _tell_older(self, build: Build, files: frozenset[str]) -> None:
        """An edit of a host's own code is built, but what runs is the program as it was. Not of what it shares with a
        plugin, which has just been reloaded."""
        census = [host for delivery in self._deliveries for host in delivery.census()]
        older = {host.pid: host.program for host in census if host.program != host.executable}
        if not older:
            return
        top = self._settings.directory
        built = {os.path.realpath(os.path.join(top, step.target)) for step in build.steps}
        for pid, program in older.items():
            if program not in built:
                continue
            own = next((file for file in sorted(files)[:_LOOKED_AT] if self._is_of_hosts_alone(file, program)), "")
            if own:
                key = " (R)" if self._keyboard and self._runner and self._runner.pid == pid else ""
                what = f"what is new in {os.path.relpath(own, top)} comes with a new start{key}"
                self._emit("host", pid=pid, state=f"goes on with {os.path.relpath(program, top)} as it was: {what}")

    def _is_of_hosts_alone(self, file: str, program: str) -> bool:
        libraries = [delivery.plugin.library for delivery in self._deliveries]
        return self._graph.reaches((file,), program) and not any(
            self._graph.reaches((file,), library) for library in libraries
        )

    def _start_host(self) -> None:
        runner = self._runner
        if runner is None:
            return
        running = {host.executable for delivery in self._deliveries for host in delivery.census()}
        if runner.program in running or self._together.is_running(runner.program):
            return
        try:
            runner.start()
            self._vigil.watch(runner.pid)
        except HotReloadError as error:
            self._emit.error(error)

    def _renew_host(self, cause: Cause) -> None:
        """The host that we own was compiled against other functions, and its program has been built again: a new start
        is what it takes. It goes on with the state of the process before, or it is said why not."""
        runner = self._runner
        waiting = [delivery for delivery in self._deliveries if delivery.outdated]
        if runner is None or not runner.pid or not waiting:
            return
        if any(delivery.outdated != {runner.pid: True} for delivery in waiting):
            return  # others run too, or the program is still the old one: the refusal has said what to do
        old = runner.pid
        self._tell_renewal(at_once=True)
        handover = Handover(self._deliveries, old)
        try:
            handover.ask()
            self._renewed.add(old)
            runner.stop()
            published = self._together.publish(waiting, cause)
            self._note(published)
            if not all(published.values()):
                state = "ended, since its functions changed; the next good build starts it, and its state begins anew"
                self._emit("host", pid=old, state=state)
                return
            try:
                runner.start(handover.ready())
            except HotReloadError as error:
                self._emit.error(error)
                return
            names = " and ".join(delivery.plugin.name for delivery in waiting)
            self._renewal = _Renewal(handover, old, runner.pid, names)
        finally:
            if self._renewal is None:
                handover.close()
        self._vigil.watch(runner.pid)

    def _tell_renewal(self, at_once: bool = False) -> None:
        """Say what became of the state of the host that was started again, as soon as that is known; or ``at_once``."""
        renewal = self._renewal
        if renewal is None:
            return
        fates = renewal.handover.fates(renewal.pid, at_once)
        if fates is None:
            return
        self._renewal = None
        renewal.handover.close()
        went_on = [fate.plugin for fate in fates if not fate.reason]
        anew = [(f"that of {fate.plugin}", fate.reason) for fate in fates if fate.reason]
        if not went_on or not anew:  # one word for all
            anew = [("its state", reason) for reason in dict.fromkeys(reason for _, reason in anew)]
        said = [f"the state of {' and '.join(went_on)} was carried over" if anew else "its state was carried over"]
        said = (said if went_on else []) + [f"{whose} began anew: {reason}" for whose, reason in anew]
        self._emit(
            "host",
            pid=renewal.pid,
            state=f"restarted: pid {renewal.old} was compiled against other functions of {renewal.names}; "
            + "; ".join(said or ["its state began anew"]),
            before=renewal.old,
            carried=[{"plugin": fate.plugin, "state": fate.words, "reason": fate.reason} for fate in fates],
        )

    def _meet(self, quietly: bool = False) -> None:
        """Hosts have come: report them, and see that they end with a word."""
        for delivery in self._deliveries:
            for host in delivery.newcomers(quietly):
                self._vigil.watch(host.pid)
                self._untidy = True  # there is something to read about it

    def _crashes(self) -> None:
        """New code has crashed in hosts: the next good build mends it."""
        for delivery in self._deliveries:
            if delivery.crashes():
                self._behind.add(delivery)

    def _see_to_processes(self) -> None:
        if self._runner and self._runner.is_young and (number := self._runner.wants_terminal()):
            self._without_terminal(number)
        ended = self._vigil.ended()
        if ended:
            self._crashes()
        for pid in ended:
            known = [delivery for delivery in self._deliveries if delivery.forget(pid)]
            if pid in self._renewed:
                self._renewed.discard(pid)
                continue
            if self._runner and pid == self._runner.pid:
                # Asked only now: what has ended for the vigil can be waited for, and its status is taken but once.
                self._tell_renewal(at_once=True)
                how = self._runner.ended()
                self._emit("host", pid=pid, state=f"ended ({how}); it is started again with the next good build")
            elif known:
                self._emit("host", pid=pid, state="ended")
            self._without(pid)

    def _without_terminal(self, number: str) -> None:
        pid = self._runner.pid if self._runner else 0
        if pid not in self._told_stopped:
            self._told_stopped.add(pid)
            self._emit(
                "host",
                pid=pid,
                state=f"is stopped ({number}): it wants the terminal for itself, whose keys are ours; start it in "
                "another terminal, where it is found",
            )

    def _without(self, pid: int) -> None:
        """What was refused for a host that has ended now is published."""
        refused = [delivery for delivery in self._deliveries if delivery.outdated.pop(pid, None) is not None]
        free = [delivery for delivery in refused if not delivery.outdated]
        if free and all(self._graph.is_current(delivery.plugin.library) for delivery in free):
            self._deliver(free, Cause())

    # --- keys ------------------------------------------------------------------------------------------------

    @property
    def _verbose(self) -> bool:
        return bool(self._settings.screen and self._settings.screen.verbose)

    def _note_reasons(self) -> None:
        self._graph.explain = self._settings.explain or self._verbose
        self._graph.causes = self._keyboard is not None

    def _open_keyboard(self) -> None:
        """Only now: during the first build a command may ask the user something, as with any scons."""
        if self._keyboard or not self._settings.screen or not self._settings.keys or not usable(0):
            return
        main = threading.main_thread().ident or 0

        def quit() -> None:
            self._quit = True
            signal.pthread_kill(main, signal.SIGINT)

        def stopping() -> None:
            if self._runner:
                self._runner.suspend()

        def going_on() -> None:
            if self._runner:
                self._runner.go_on()

        def aborting() -> None:
            if self._runner:
                self._runner.kill()

        self._keyboard = Keyboard(self._watcher.wake, quit, stopping, going_on, aborting)
        self._keyboard.open()
        self._note_reasons()

    def _see_to_keys(self) -> None:
        actions = {
            "r": self._reload_again,
            "R": self._restart_host,
            "p": self._pause,
            "u": self._undo,
            "b": self._build_all,
            "e": self._explain,
            "v": self._talk,
            "h": self._help,
        }
        for key in self._keyboard.taken() if self._keyboard else ():
            try:
                said = actions[key]()
            except HotReloadError as error:
                self._emit.error(error)
                continue
            if said:
                self._emit("key", key=key, said=said)

    def _reload_again(self) -> list[str]:
        newest = {delivery: delivery.slot.newest() for delivery in self._deliveries}
        present = {delivery: delivery.census() for delivery in self._deliveries}
        behind = {
            delivery: generation
            for delivery, generation in newest.items()
            if generation and any(host.file != os.path.basename(generation.path) for host in present[delivery])
        }
        if behind:
            call(dict(behind), Cause(), self._inputs_changed)
            return []
        if not any(present.values()):
            return ["nothing to reload: no host is running"]
        names = " · ".join(f"{delivery.plugin.name} #{each.number}" for delivery, each in newest.items() if each)
        trouble = [
            f"  the last build of {delivery.plugin.name} is not what they run: {text.splitlines()[0]}"
            for delivery in self._deliveries
            if (text := delivery.slot.trouble())
        ]
        return [f"nothing to reload: every host runs what is published last ({names})", *trouble]

    def _restart_host(self) -> list[str]:
        runner = self._runner
        if runner is None:
            return ["no host to restart: --hot-run starts one"]
        old = runner.pid
        if not old:
            self._start_host()
            return [f"host pid {runner.pid} started" if runner.pid else "not started: another one runs, or see above"]
        self._renewed.add(old)
        runner.stop()
        self._without(old)
        runner.start()
        self._vigil.watch(runner.pid)
        self._emit("host", pid=runner.pid, state=f"restarted, it was pid {old}; its state began anew", before=old)
        return []

    def _pause(self) -> list[str]:
        if not self._paused:
            self._paused = True
            if self._cut:
                self._emit("done")  # as far as it went: nothing more comes of it before the next p
            return ["paused: changes are collected; p goes on"]
        self._paused = False
        held, self._held = self._held, None
        if held is None:
            return ["going on; nothing has changed meanwhile"]
        self._emit("key", key="p", said=[f"going on: {_files(held.files)} changed meanwhile"])
        self._emit.iteration += 1
        known = self._graph.inputs() if held.everything else frozenset()
        self._pass(replace(_changes(held.files | known), note=held.note))
        return []

    def _hold(self, changes: ChangeSet) -> None:
        """Paused: this is for later, and that is said."""
        before = self._held.files if self._held else frozenset()
        everything = changes.everything or bool(self._held and self._held.everything)
        self._held = replace(changes, files=before | changes.files, everything=everything)
        top = self._settings.directory
        names = ", ".join(os.path.relpath(path, top) for path in sorted(changes.files)[:3])
        more = "" if len(changes.files) <= 3 else f" and {len(changes.files) - 3} more"
        wait = f"; {_files(self._held.files)} to build at the next p" if before else "; p goes on"
        self._emit("key", key="p", said=[f"paused: {names or 'something'}{more} changed{wait}"])

    def _undo(self) -> list[str]:
        earlier = [delivery for delivery in self._deliveries if delivery.slot.before_newest()]
        if not earlier:
            return ["nothing to undo: there is no generation before this one"]
        published = self._together.publish(earlier, Cause(), undo=True)
        call({delivery: each for delivery, each in published.items() if each}, Cause(), self._inputs_changed)
        self._untidy = True
        return []

    def _build_all(self) -> list[str]:
        held, self._held, self._paused = self._held, None, False
        self._emit.iteration += 1
        files = self._graph.inputs() | (held.files if held else frozenset())
        told = self._pass(_changes(files), quietly=True)
        return [] if told or self._cut else ["nothing to build: all is current"]

    def _explain(self) -> list[str]:
        if self._last is None:
            return ["nothing has been rebuilt in this session yet"]
        lines = []
        for step in self._last.steps:
            first, *more = (step.why or "it was missing, had failed, or its command is another").splitlines()
            lines += [f"rebuilt {step.target} in {step.ms:.0f} ms: {first}", *(f"  {line}" for line in more[:9])]
            lines += [f"  … {len(more) - 9} more"] if len(more) > 9 else []
        return lines

    def _talk(self) -> list[str]:
        if screen := self._settings.screen:
            screen.verbose = not screen.verbose
        self._note_reasons()
        return ["verbose" if self._verbose else "no longer verbose"]

    def _help(self) -> list[str]:
        return [f"  {key}  {text}" for key, text in KEYS.items()]

    # --- what is watched -------------------------------------------------------------------------------------

    def _relevant(self, path: str) -> bool:
        slots = [delivery.slot for delivery in self._deliveries]
        return self._graph.relevant(path) or any(
            slot.is_record(path) or slot.is_mark(path) or slot.is_pointer(path) for slot in slots
        )

    def _inputs_changed(self) -> bool:
        return self._watcher.pending(self._graph.relevant)

    def _watch(self, since: float | None = None) -> None:
        """``since``: when the pass began that may have found directories (Unix seconds)."""
        directories = self._graph.directories() | {delivery.slot.directory for delivery in self._deliveries}
        for problem in self._watcher.watch(directories, since):
            if problem.where not in self._told:
                self._told.add(problem.where)
                self._emit.error(problem)
        self._watcher.inputs(self._graph.inputs())

    def _ready(self) -> None:
        self._open_keyboard()
        self._meet(quietly=True)
        for delivery in self._deliveries:
            delivery.crashes(quietly=True)
        plugins = [
            {"plugin": d.plugin.name, "generation": newest.number if (newest := d.slot.newest()) else 0}
            for d in self._deliveries
        ]
        sources = [source for delivery in self._deliveries for source in delivery.plugin.sources]
        again = self._settings.carried is not None
        self._emit(
            "ready",
            plugins=plugins,
            hosts=[host for delivery in self._deliveries for host in delivery.running()],
            foreign=self._together.strangers(),
            files=len(self._graph.inputs()),
            directories=len(self._graph.directories()),
            edit=os.path.relpath(sources[0], self._settings.directory) if sources and not again else "",
            keys=self._keyboard is not None,
        )


@dataclass(frozen=True)
class _Renewal:
    """A new start of our host that is not told yet."""

    handover: Handover
    old: int
    pid: int
    names: str


class _Settled:
    """Waits, when first called, until changes count as settled; whether they are. Then they are announced."""

    def __init__(self, pending: Callable[[], bool], changes: ChangeSet, announce: Callable[[], None]) -> None:
        self._pending = pending
        self._changes = changes
        self._announce = announce
        self._answer: bool | None = None

    def __call__(self) -> bool:
        if self._answer is None:
            self._answer = True
            if self._changes.settled_at:
                time.sleep(max(0.0, self._changes.settled_at - time.monotonic()))
                self._answer = not self._pending()
            if self._answer:
                self._announce()
        return self._answer


class _Ended(BaseException):
    """A signal that ends the session; like KeyboardInterrupt, nothing on the way may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _end(number: int, frame: FrameType | None) -> None:
    _on_end(signal.SIG_IGN)  # until _stop says what the next one does
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    raise _Ended(number)


def _on_end(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _files(files: frozenset[str]) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"


def _changes(files: frozenset[str] = frozenset()) -> ChangeSet:
    now = time.monotonic()
    return ChangeSet(files, now, now)
