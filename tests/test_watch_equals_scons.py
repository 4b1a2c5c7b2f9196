"""A real ``scons watch`` equals a fresh scons: saves by the system calls of editors, in bursts, while it builds what went
before. When it has settled nothing is left to do, and the outputs are byte for byte those of a build from scratch.

The edits are those of ``test_equivalence``, which asks after each of them; here it is about when they come.
HOTRELOAD_BURSTS: bursts of edits for each setting. HOTRELOAD_SEED: the seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from equivalence.edits import EDITS
from equivalence.harness import Tree
from harness import Project, Watch, need, old_scons_path, until

BURSTS = int(os.environ.get("HOTRELOAD_BURSTS", "8"))
SETTINGS = [("newest", "gcc", 1, "content-timestamp", 4), ("oldest", "clang", 0, "content", 1)]


class Live:
    """A tree in which ``scons watch`` runs."""

    def __init__(self, base: Path, scons: str, compiler: str, duplicate: int, decider: str, jobs: int) -> None:
        arguments = [f"dup={duplicate}", f"decider={decider}", f"cc={need(compiler)}", f"-j{jobs}", "live=1"]
        self.tree = Tree(base, arguments, old_scons_path() if scons == "oldest" else "")
        self.project = Project(self.tree.root, site=False)
        self.project.environment.update(self.tree.environment)
        self.watch: Watch = self.project.watch("-Q", *arguments)

    def settle(self, what: str) -> None:
        """Wait until a fresh scons finds nothing to do."""

        def is_settled() -> bool:
            assert self.watch.process.poll() is None, self.watch.output[-3000:]
            return not self.tree.left_to_do()

        until(is_settled, f"nothing being left to do after {what}\n{self.watch.output[-3000:]}")

    def check_outputs(self, what: str) -> None:
        """Wait until the outputs are those of a build from scratch: a fresh scons has nothing to do from the start after
        edits that change nothing, which a session may still be looking at, or build anew after a restart."""
        scratch = self.tree.from_scratch()
        until(lambda: not self.tree.unlike(scratch),
              lambda: f"{self.tree.unlike(scratch)}\nbeing as built from scratch after {what}\n{self.watch.output[-3000:]}")  # fmt: skip

    def close(self) -> None:
        self.project.close()
        self.tree.close()


@pytest.fixture(params=SETTINGS, ids=lambda setting: "-".join(map(str, setting)))
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path, *request.param)
    try:
        yield made
    finally:
        made.close()


def test_bursts_of_saves(live: Live) -> None:
    """Random edits, one to eight at once, and sometimes the next before the last are built."""
    seed = int(os.environ.get("HOTRELOAD_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    dice = random.Random(seed)
    done: list[str] = []
    for burst in range(BURSTS):
        for _ in range(dice.choice((1, 1, 2, 3, 5, 8))):
            name = dice.choice(sorted(EDITS))
            if EDITS[name](live.tree, dice) is not None:
                done.append(name)
        if dice.random() < 0.3:
            continue
        what = f"HOTRELOAD_SEED={seed}, burst {burst}: {done[-8:]}"
        live.settle(what)
        if burst % 4 == 3:
            live.check_outputs(what)
    live.settle(f"HOTRELOAD_SEED={seed}: {done[-8:]}")
    live.check_outputs(f"HOTRELOAD_SEED={seed}: {done[-8:]}")
    assert live.watch.stop() == 130


def test_an_error_and_what_is_saved_while_it_stands(live: Live) -> None:
    """A syntax error, more edits, one of them in an SConscript that has an error too; both mended."""
    tree, watch = live.tree, live.watch
    good, script = tree.read("src/main.c"), tree.read("src/SConscript")
    tree.replace("src/main.c", "int main", "int int main")
    assert "main" in watch.wait("error")["where"]
    tree.write("src/local.h", "#define LOCAL 61\n")
    watch.wait("build", lambda e: not e["ok"])
    tree.write("src/SConscript", script.replace("util = ", "util = = "))
    watch.wait("error", lambda e: "SConscript" in e["where"])
    tree.write("src/table.txt", "while it stands\n")
    tree.write("src/main.c", good)
    watch.wait("build", lambda e: any(name.endswith("main.o") for name in e["targets"]))
    tree.write("src/SConscript", script)
    live.settle("the mending")
    live.check_outputs("the mending")
