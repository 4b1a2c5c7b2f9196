"""examples/garden, as it is in this repository: its walk of edits, played while it runs under a real ``scons watch``."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import LIMIT, ROOT, HostProcess, Project, Watch, example, need, until
from snippets import block, shows


class Garden(NamedTuple):
    """What one line of the program says."""

    tick: int
    drawn: int
    people: dict[str, str]
    """Name → kind and gait, in words."""
    eaten: dict[str, int]
    """Name → flowers."""
    total: int
    """A static of another file counts them too."""
    motto: str

    @classmethod
    def read(cls, line: str) -> Garden:
        found = re.fullmatch(r"tick (\d+), drawn (\d+): (.*); (\d+) eaten; (.*)", line)
        assert found, f"not a line of the garden: {line!r}"
        words = [one.rsplit(" ", 1) for one in found[3].split(", ")]
        names = [(what.split(" the ", 1), int(count)) for what, count in words]
        return cls(
            int(found[1]), int(found[2]), {name: what for (name, what), _ in names},
            {name: count for (name, _), count in names}, int(found[4]), found[5],
        )  # fmt: skip


PEOPLE = {
    "Ada": "snail crawls", "Ben": "beetle marches", "Cleo": "bird flutters", "Dora": "snail crawls",
    "Emil": "beetle marches",
}  # fmt: skip

WALK = {
    "1-field-added": "state: 6 kept, 1 moved, 1 new (sky.rain = 2) · statics: 5 kept",
    "2-field-moved": "state: 8 moved · statics: 5 kept",
    "3-field-widened": "state: 8 kept, 1 widened (creatures[].meals: short → int) · statics: 5 kept",
    "4-kind-in-front": "state: 8 kept, 1 re-mapped (creatures[].kind: SNAIL, BEETLE, BIRD) · statics: 5 kept",
    "5-struct-nested": "state: 4 kept, 4 moved, 1 new (creatures[].looks) · statics: 5 kept",
    "6-field-renamed": "state: 8 kept, 1 renamed (creatures[].meals → eaten) · statics: 5 kept",
    "7-array-grown": "state: 4 kept, 4 moved, 1 grown (creatures: 6 → 9) · statics: 5 kept",
    "8-initialiser-edited": "state: 8 kept · statics: 4 kept, 1 anew (pace = 5: its initialiser was edited)",
}
"""Patch in the example's directory walk/ → what the reload says of the state (gcc's short is called "short int")."""


class Walk:
    """The example in a project of its own, watched and running."""

    def __init__(self, made: Project, compiler: str) -> None:
        self.made = made
        self._git("init", "-q")
        made.edit("SConstruct", "CCFLAGS=", f'CC="{compiler}", CCFLAGS=')
        self._git("add", "-A")
        self.watch: Watch = made.watch()
        self.host: HostProcess = made.host("build/main", "10")
        self.watch.wait("host", lambda e: e["pid"] == self.host.pid)
        self.now = self.look()

    def look(self) -> Garden:
        """The next whole line that the program prints; nothing of what it says may be lost from one to the next."""
        start = len(self.host.output)

        def whole() -> list[str]:
            assert self.host.alive, f"the garden ended: {self.host.process.returncode}\n{self.host.output[-2000:]}"
            return self.host.output[start:].split("\n")[1:-1]  # the first may have begun earlier

        now = Garden.read(until(whole, "the garden printing a line")[0])
        assert now.people.items() >= PEOPLE.items()
        assert sum(now.eaten.values()) == now.total, "the state and a static count the same flowers"
        assert now.tick == now.drawn, "the state and a static count the same ticks"
        assert now.motto == "slow and steady"
        return now

    def patch(self, name: str, *options: str) -> None:
        """As a checkout does: .git/index.lock is there until all files of the step are."""
        self._git("apply", "--index", *options, f"walk/{name}.patch")

    def reloaded(self, generation: int) -> str:
        """What the next good reload says of the state; it is this generation, and the garden goes on from where it was."""
        event = self.watch.reloaded(host=self.host.pid, generation=generation)
        self.goes_on()
        return str(event["state"]).replace("short int", "short")

    def goes_on(self) -> None:
        before, self.now = self.now, self.look()
        assert self.now.tick > before.tick and self.now.total >= before.total
        assert all(self.now.eaten[name] >= count for name, count in before.eaten.items())

    def _git(self, *arguments: str) -> None:
        subprocess.run([need("git"), *arguments], cwd=self.made.root, check=True)


@pytest.fixture
def garden(tmp_path: Path) -> Iterator[Project]:
    with example(tmp_path / "tree", "garden") as made:
        yield made


@pytest.fixture
def walk(garden: Project, compiler: str) -> Walk:
    return Walk(garden, compiler)


def test_the_walk(walk: Walk) -> None:
    """Types, names and statics edited, a crash, its fix, an undo: one process, all creatures there, every count goes on."""
    assert walk.now.people == PEOPLE
    said = {}
    for number, name in enumerate(WALK, 2):
        walk.patch(name)
        said[name] = walk.reloaded(number)
        assert walk.now.people == PEOPLE
    assert said == WALK

    walk.patch("9-crash")
    crash = walk.watch.wait("crash")
    assert (crash["host"], crash["generation"], crash["signal"]) == (walk.host.pid, number + 1, "SIGSEGV")
    assert crash["fate"] == "rolled-back"
    line = walk.made.path("world.c").read_text().split("\n").index("        moth->kind = MOTH;") + 1
    assert crash["where"] == f"world.c:{line}, garden_tick()"
    walk.goes_on()
    assert walk.now.people == PEOPLE

    walk.patch("9-crash-mended")
    assert walk.reloaded(number + 2) == "state: 8 kept · statics: 5 kept"
    assert walk.now.people == PEOPLE | {"Fay": "moth dances"}

    back = walk.made.scons("reload", "--hot-undo", "-Q").splitlines()
    assert f"undo garden #{number + 3} is #{number} again" in back
    assert any(line.startswith(f"reloaded garden #{number + 3} in pid {walk.host.pid}") for line in back)
    walk.goes_on()
    assert walk.now.people == PEOPLE | {"Fay": "moth dances"}, "the code that she was born by is gone, she is not"
    walk.made.edit("world.c", "pace = 5", "pace = 7")
    assert "1 anew (pace = 7: its initialiser was edited)" in walk.reloaded(number + 4)

    assert walk.watch.stop() == 130
    assert "not reloaded" not in walk.watch.output, "the crash is told once"
    shown = "\n".join([walk.watch.output, *back])
    shows(block("README.md", "console", "The garden:"), shown, only="reloaded|crashed|fixed|undo|  state:")
    walk.host.process.send_signal(signal.SIGTERM)
    assert walk.host.process.wait(20) == 0


@pytest.mark.parametrize("release", ["release=0", "release=1"])
def test_the_picture(garden: Project, release: str) -> None:
    """On a terminal: a picture at the top that leaves the rest to scroll, and all to scroll at the end; -Werror."""
    garden.edit("SConstruct", '"-Wextra"', '"-Wextra", "-Werror"')
    garden.scons(release)
    terminal, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    seen = b""
    with subprocess.Popen([garden.path("build/main"), "10"], stdin=inner, stdout=inner, stderr=inner) as process:
        os.close(inner)
        try:
            while b"Tick 5," not in seen:
                seen += read_within(terminal)
            assert b"\x1b[15;r\x1b[H" in seen, "14 lines of picture"
            for creature in PEOPLE:
                assert creature.encode() in seen
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 80, 0, 0))
            while b"drawn" not in seen:  # too small for it now
                seen += read_within(terminal)
            process.send_signal(signal.SIGTERM)
            while not seen.endswith(b"\x1b[r\x1b8"):
                seen += read_within(terminal)
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()
            os.close(terminal)


def read_within(terminal: int) -> bytes:
    ready, _, _ = select.select([terminal], [], [], LIMIT)
    assert ready, "the program prints nothing any more"
    return os.read(terminal, 1 << 16)


def test_the_readme_shows_the_walk() -> None:
    """What the README prints of each step is what the step says."""
    shown = (ROOT / "README.md").read_text(encoding="utf-8").replace("short int", "short").splitlines()
    first = shown.index("## A walk through a garden")
    states = [line.strip() for line in shown[first : first + 50] if line.startswith("  state: ")]
    assert states == list(WALK.values())
