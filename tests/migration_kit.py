"""Pairs of plugins whose state differs, and a real host that is carried from the one to the other."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import ROOT, need
from hotreload_engine import elf, layout, migrate
from hotreload_engine.carry import Carrier
from hotreload_engine.plan import Plan, encode
from hotreload_engine.slot import Slot
from runtime_kit import ASKED_FOR

HERE = Path(__file__).resolve().parent / "migration"
PLUSPLUS = {"gcc": "g++", "clang": "clang++"}
_HEAD = """\
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plug.h"
"""


def source(types: str, state: str = "HR_STATE(plug, state)", set_: str = "", show: str = "", more: str = "") -> str:
    """A plugin: its types, how it fills its state (``s``), and what it prints of it (arguments of printf)."""
    shown = f"return snprintf(text, size, {show});" if show else "return 0;"
    return f"""{_HEAD}{types}
{state}
{more}
void plug_set(void *raw) {{ state *s = (state *)raw; (void)s; {set_} }}
int plug_show(void *raw, char *text, size_t size)
{{ state *s = (state *)raw; (void)s; (void)text; (void)size; {shown} }}
"""


@dataclass
class Workshop:
    """A compiler, its flags, and a directory."""

    compiler: str
    directory: Path
    flags: tuple[str, ...] = ("-g",)
    plusplus: bool = False
    made: dict[str, bytes] = field(default_factory=dict)
    _places: Iterator[int] = field(default_factory=itertools.count)

    def place(self) -> Path:
        """A directory for a library and its host; another one each time."""
        return self.directory / f"p{next(self._places)}"

    def library(self, text: str, *flags: str) -> bytes:
        """Compile one plugin, always from ``plug.c``: statics belong to their source file."""
        key = text + "\0".join(flags)
        if key not in self.made:
            path = self.directory / ("plug.cc" if self.plusplus else "plug.c")
            path.write_text(text)
            out = self.directory / "made.so"
            done = subprocess.run(
                [self._tool(), *self.flags, *flags, "-fPIC", "-shared", f"-I{ROOT / 'src'}", f"-I{HERE}", "-o", str(out), path.name],
                cwd=self.directory, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            self.made[key] = out.read_bytes()
        return self.made[key]

    def host(self, *flags: str) -> Path:
        out = self.directory / f"host{''.join(flags)}"
        if not out.exists():
            subprocess.run(
                [need(self.compiler), "-g", *flags, *ASKED_FOR, f"-I{ROOT / 'src'}", f"-I{HERE}", "-o", str(out), str(HERE / "host.c"),
                 "-ldl", "-pthread"],
                check=True,
            )  # fmt: skip
        return out

    def _tool(self) -> str:
        if self.plusplus:
            return need(PLUSPLUS[self.compiler], "clang" if self.compiler == "clang" else "g++")
        return need(self.compiler)


class Carried:
    """One library's place, its builder in a few lines, and one host."""

    def __init__(self, place: Path, program: Path, first: bytes) -> None:
        place.mkdir(parents=True)
        os.chmod(place, 0o700)
        self.library = place / "libplug.so"
        self.slot = Slot(str(self.library))
        self.carrier = Carrier(self.slot)
        self.program = program
        self.publish(first)
        self.start()

    def start(self, **environment: str) -> None:
        """A process of it; ``environment``: what it has beside ours."""
        self.process = subprocess.Popen(
            [self.program, self.library], env={**os.environ, **environment},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.ask("")  # it has opened what is there

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def publish(self, data: bytes) -> Plan | None:
        """As the builder does; the plan from the newest generation before."""
        previous = self.slot.newest()
        origins = {os.path.basename(previous.path): 0} if previous else {}
        plans = self.carrier.plans(data, origins)
        generation = self.slot.publish(
            elf.read(data, str(self.library)), data, plans={name: encode(plan) for name, plan in plans.items()}
        )
        self.carrier.published(generation, plans)
        return next(iter(plans.values()), None)

    def publish_from_running(self, data: bytes) -> None:
        """A host that refused what came between is carried from what it runs."""
        running = self.slot.read_record(self.slot.records()[0])
        newest = self.slot.newest()
        assert newest is not None
        origins = {running.file: running.state_size, os.path.basename(newest.path): 0}
        plans = self.carrier.plans(data, origins)
        self.slot.publish(elf.read(data, str(self.library)), data, plans={n: encode(p) for n, p in plans.items()})
        self.signal()

    def signal(self) -> None:
        self.process.send_signal(signal.SIGURG)

    def ask(self, command: str) -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline()) != "ok\n":
            assert line, f"the host ended with {self.process.wait()}: {''.join(lines)}"
            lines.append(line)
        return "".join(lines).rstrip("\n")

    def reload(self, data: bytes) -> tuple[Plan, str]:
        """(the plan, what the host says of it)"""
        plan = self.publish(data)
        assert plan is not None
        self.signal()
        return plan, self.ask("poll")

    def close(self) -> None:
        if self.process.poll() is not None and self.process.stdin and self.process.stdin.closed:
            return  # killed
        assert self.process.stdin
        self.process.stdin.close()
        try:
            ended = self.process.wait(30)
            assert ended in (0, -9), f"the host ended with {ended}"
        finally:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream:
                    stream.close()


@contextmanager
def carried(place: Path, program: Path, first: bytes) -> Iterator[Carried]:
    made = Carried(place, program, first)
    try:
        yield made
    except BaseException:
        made.process.kill()
        raise
    finally:
        made.close()


def plan_of(old: bytes, new: bytes) -> Plan:
    return migrate.plan(layout.layout(old, "old.so"), layout.layout(new, "new.so"))
