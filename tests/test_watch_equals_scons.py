"""A session equals a fresh scons: after every edit nothing is left to do, and the outputs are those of a new build.

``scons watch`` runs for real; what it made is judged by a fresh ``scons -n`` beside it and by a build from scratch.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

import grown
from harness import LIMIT, Project, Watch, need, project

SETTINGS = [
    pytest.param("newest", "gcc", "-j1", id="newest-gcc-j1"),
    pytest.param("newest", "gcc", "-j4", id="newest-gcc-j4"),
    pytest.param("oldest", "clang", "-j4", id="oldest-clang-j4"),
    pytest.param("oldest", "gcc", "-j1", id="oldest-gcc-j1"),
]
STEPS = int(os.environ.get("HOTRELOAD_STEPS", "140"))
"""Random edits for each of the four settings."""


def left_to_do(made: Project, *arguments: str) -> list[str]:
    """What a fresh scons would run; the target that is always built does not count."""
    lines = made.scons("-Q", "-n", *arguments, code=None).splitlines()
    return [line for line in lines if "is up to date" not in line and line != "echo always > out/gen/always"]


def settle(made: Project, watch: Watch, what: str, *arguments: str) -> None:
    """Wait until a fresh scons finds nothing to do."""
    deadline = time.monotonic() + LIMIT
    while left := left_to_do(made, *arguments):
        assert watch.process.poll() is None, watch.output[-3000:]
        if time.monotonic() > deadline:
            pytest.fail(f"after «{what}» a fresh scons would run {left}\n{watch.output[-3000:]}")


def told(watch: Watch, what: str, before: int) -> None:
    """Wait until the session has said what came of the last edit: that it does not build, or what was built."""
    deadline = time.monotonic() + LIMIT
    while not any(event["event"] in ("error", "build") for event in watch.events[before:]):
        if time.monotonic() > deadline:
            pytest.fail(f"«{what}» is not told\n{watch.output[-3000:]}")
        time.sleep(0.01)


def compare(made: Project, scratch: Path, what: str, *arguments: str) -> None:
    """The outputs are byte for byte those of a build from scratch."""
    grown.copy_sources(made, scratch)
    subprocess.run(
        made.command("-Q", "-j2", *arguments), cwd=scratch, env=made.environment, check=True, capture_output=True
    )
    here, there = grown.outputs(made.root), grown.outputs(scratch)
    extra = {
        name for name in set(here) - set(there) if "glob_" not in name
    }  # scons deletes no object that is not named
    assert not extra and not set(there) - set(here), what
    different = [name for name in there if here[name] != there[name]]
    assert not different, f"after «{what}» these differ from a build from scratch: {different}"


@pytest.mark.parametrize("scons,compiler,jobs", SETTINGS[1:3])
def test_each_edit(tmp_path: Path, scons: str, compiler: str, jobs: str) -> None:
    """Every kind of edit, one after the other, in one session."""
    arguments = (f"cc={need(compiler)}", "flag=3")
    with project(tmp_path / "project", old_scons=scons == "oldest") as made:
        grown.lay(made)
        watch = made.watch(jobs, *arguments)
        for number, (what, edit, builds) in enumerate(grown.STEPS):
            before = len(watch.events)
            edit(made)
            if builds:
                settle(made, watch, what, *arguments)
                if number % 8 == 0 or what in ("repaired", "edit and put back at once"):
                    compare(made, tmp_path / f"scratch{number}", what, *arguments)
            else:
                told(watch, what, before)
        assert watch.stop() == 130


@pytest.mark.parametrize("scons,compiler,jobs", SETTINGS)
def test_random_edits(tmp_path: Path, scons: str, compiler: str, jobs: str) -> None:
    """Random edits in bursts; the seed is printed when it fails."""
    seed = int(os.environ.get("HOTRELOAD_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    chance = random.Random(seed)
    arguments = (f"cc={need(compiler)}",)
    with project(tmp_path / "project", old_scons=scons == "oldest") as made:
        grown.lay(made)
        watch = made.watch(jobs, *arguments)
        done = 0
        while done < STEPS:
            burst = [grown.random_edit(chance, made) for _ in range(chance.choice((1, 1, 2, 3, 5, 8)))]
            done += len(burst)
            settle(made, watch, f"seed {seed}, edit {done}: {burst}", *arguments)
        compare(made, tmp_path / "scratch", f"seed {seed}", *arguments)
