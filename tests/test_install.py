"""The ways into a project, each in an empty virtual environment: pip from a wheel and from an sdist, site_scons copied in, a
git submodule. In each the README's whole example is built, run and reloaded.

pip finds the packages in a directory of wheels, packed from what is installed where the tests run.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ROOT, Project, need, old_scons_path, project
from snippets import example
from wheels import BACKEND, RUNTIME, pack, with_needs

LIMIT = 240.0
"""Seconds for one pip, beside other tests."""
TOOLS = 'tools=["default", "hotreload"]'


def run(*command: str | Path, directory: Path = ROOT) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of wheels."""
    directory = tmp_path_factory.mktemp("index")
    for name in with_needs(*RUNTIME, BACKEND):
        pack(name, directory)
    return directory


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel and sdist, from a copy of what is under version control."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", directory)
    return directory


def environment(place: Path, index: Path, *wanted: str | Path) -> str:
    """The Python of a new virtual environment with these, and what they ask for, in it."""
    venv.create(place, symlinks=True, with_pip=True)
    python = place / "bin/python"
    run(python, "-m", "pip", "install", "--disable-pip-version-check", "--no-index", "-f", index, *wanted)
    return str(python)


def write(made: Project, tools: str = TOOLS) -> None:
    for name, text in example().items():
        made.write(name, text.replace(TOOLS, tools) if name == "SConstruct" else text)


def goes_through(made: Project) -> None:
    """It builds, a host runs, a save reaches it, and a fresh scons has nothing left to do."""
    made.scons()
    host = made.host(need("stdbuf", "coreutils"), "-oL", "build/main")  # as on a terminal
    host.wait_line("Hello Link")
    watch = made.watch()
    made.edit("src/plug.c", "Hello Link", "Good morning")
    assert watch.reloaded()["host"] == host.pid
    host.wait_line("Good morning")
    assert watch.stop() == 130
    assert "is up to date" in made.scons()
    assert f"pid {host.pid}" in made.scons("hosts")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Project]:
    """A project without anything of ours in it."""
    with project(tmp_path / "project", site=False) as made:
        yield made


@pytest.mark.parametrize("kind", ["whl", "tar.gz"])
def test_pip(kind: str, bare: Project, built: Path, index: Path, tmp_path: Path) -> None:
    """One package has tool, engine and header; the documented toolpath line finds the tool."""
    line = 'toolpath=[PyPackageDir("hotreload_engine")]'
    assert line in (ROOT / "README.md").read_text(encoding="utf-8")
    bare.python = environment(tmp_path / "venv", index, next(built.glob(f"*.{kind}")))
    write(bare, f"{TOOLS}, {line}")
    goes_through(bare)


def test_pip_beside_the_oldest_scons(bare: Project, built: Path, tmp_path: Path) -> None:
    bare.environment["PYTHONPATH"] = f"{old_scons_path()}:{tmp_path / 'site'}"
    run(sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "-t", tmp_path / "site", next(built.glob("*.whl")))
    write(bare, f'{TOOLS}, toolpath=[PyPackageDir("hotreload_engine")]')
    goes_through(bare)


def test_existing_targets_find_the_header(bare: Project, built: Path, tmp_path: Path) -> None:
    """A project of its own flags names $HOTRELOAD_INCLUDE; nothing else of how it builds is changed."""
    bare.environment["PYTHONPATH"] = str(tmp_path / "site")
    run(sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "-t", tmp_path / "site", next(built.glob("*.whl")))
    write(bare)
    bare.write(
        "SConstruct",
        'env = Environment(tools=["default", "hotreload"], toolpath=[PyPackageDir("hotreload_engine")], CCFLAGS=["-g"])\n'
        'env.Append(CPPPATH=["$HOTRELOAD_INCLUDE"])\n'
        'library = env.SharedLibrary("build/plug", ["src/plug.c"])\n'
        'program = env.Program("build/main", ["src/main.c"], LIBS=["dl", "pthread"])\n'
        "env.HotReload(host=program, plugins=[library])\n",
    )
    goes_through(bare)


def test_copied_in(tmp_path: Path, index: Path) -> None:
    with project(tmp_path / "project") as made:
        made.python = environment(tmp_path / "venv", index, *RUNTIME)
        write(made)
        goes_through(made)


def test_git_submodule(bare: Project, index: Path, tmp_path: Path) -> None:
    """A clone of the project, submodules and all, finds tool and header by one toolpath line."""
    git = [need("git"), "-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"]
    ours, origin = tmp_path / "hotreload", tmp_path / "origin"
    for made in (ours, origin):
        run(*git, "init", "-q", made)
    with project(ours):  # a copy of site_scons and src
        run(*git, "add", ".", directory=ours)
        run(*git, "commit", "-qm", "hotreload", directory=ours)
    run(*git, "submodule", "--quiet", "add", ours, "ext/hotreload", directory=origin)
    run(*git, "commit", "-qm", "submodule", directory=origin)
    run(*git, "clone", "-q", "--recurse-submodules", origin, bare.root / "clone")
    line = 'toolpath=["ext/hotreload/site_scons/site_tools"]'
    assert line in (ROOT / "README.md").read_text(encoding="utf-8")
    with project(bare.root / "clone", site=False) as clone:
        clone.python = environment(tmp_path / "venv", index, *RUNTIME)
        write(clone, f"{TOOLS}, {line}")
        goes_through(clone)
