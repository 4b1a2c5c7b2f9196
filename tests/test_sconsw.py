"""sconsw as a newcomer meets it: a whole set-up with pip, without a network, and what it says where something is missing.

pip finds the packages in a directory of wheels, packed from what is installed where the tests run.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness import ROOT, need, until
from wheels import RUNTIME, pack

LIMIT = 240.0
"""Seconds for a whole set-up, beside other tests."""
PYTHON = Path(getattr(sys, "_base_executable", sys.executable))
"""The interpreter outside any environment."""
TOOLS = {"sh": "dash", "dirname": "coreutils", "cksum": "coreutils", "readlink": "coreutils", "gcc": "gcc"}
"""What sconsw itself calls or looks for, besides Python → the package that has it."""


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Checkout:
    """A copy of what a clone has, on a machine with only the given commands and a directory of wheels."""

    def __init__(self, root: Path) -> None:
        self.root = root / "a path with spaces" / "hot reload"
        self.commands = root / "commands"
        self.wheels = root / "wheels"
        for directory in (self.root, self.commands, self.wheels, root / "home"):
            directory.mkdir(parents=True)
        ignore = shutil.ignore_patterns("__pycache__", ".*", "*.o", "*.os")
        for name in ("site_scons", "src"):
            shutil.copytree(ROOT / name, self.root / name, ignore=ignore)
        for name in ("sconsw", "pyproject.toml", "SConstruct"):
            shutil.copy(ROOT / name, self.root)
        for tool, package in TOOLS.items():
            (self.commands / tool).symlink_to(need(tool, package))
        script(self.commands / "python3", f'exec "{PYTHON}" "$@"')
        self.environment = {
            "PATH": str(self.commands),
            "HOME": str(root / "home"),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            "LC_ALL": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @contextmanager
    def start(self, *arguments: str, directory: Path | None = None) -> Iterator[subprocess.Popen[str]]:
        """sconsw in a session of its own, its output and errors in one pipe; what is left of it is killed."""
        process = subprocess.Popen(
            [self.root / "sconsw", *arguments], cwd=directory or self.root, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def run(self, *arguments: str, directory: Path | None = None) -> tuple[int, str]:
        """Exit status and whole output."""
        with self.start(*arguments, directory=directory) as process:
            output, _ = process.communicate(timeout=LIMIT)
        return process.returncode, output


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout that two calls at the same time have set up; afterwards no package is to be had any more."""
    made = Checkout(tmp_path_factory.mktemp("sconsw"))
    for name in RUNTIME:
        pack(name, made.wheels)
    with made.start("--version") as first, made.start("--version") as second:
        outputs = [process.communicate(timeout=LIMIT)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], "\n".join(outputs)
    assert "".join(outputs).count("sconsw: setting up .venv (once)") == 1, outputs
    assert all("SCons: v" in output for output in outputs), outputs
    shutil.rmtree(made.wheels)
    return made


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (None, "there is no python3"),
        ('[ "$1" = -V ] && echo Python 3.9.2', "python3 is Python 3.9.2"),
        ("exit 127", "there is no python3"),
    ],
    ids=["missing", "too old", "broken"],
)
def test_without_a_python_that_is_new_enough_it_says_what_is_there(
    checkout: Checkout, python: str | None, said: str
) -> None:
    """No Python, an old one and one that does not start: each is named, with the packages that help; nothing is made."""
    (checkout.commands / "python3").unlink()
    if python is not None:
        script(checkout.commands / "python3", python)
    code, output = checkout.run("--version")
    assert code == 1
    assert output.startswith(f"sconsw: no Python 3.11 or newer was found ({said})\n"), output
    assert "apt install python3 python3-venv" in output
    assert not checkout.venv.exists()


def test_a_python_that_is_named_is_the_only_one_asked(checkout: Checkout) -> None:
    """PYTHON is a wish: where it cannot be met, another Python is not taken in its place."""
    checkout.environment["PYTHON"] = str(checkout.commands / "my python")
    code, output = checkout.run("--version")
    assert code == 1
    assert f"there is no {checkout.commands / 'my python'}" in output
    assert not checkout.venv.exists()


def test_without_the_venv_module_it_names_the_package(checkout: Checkout) -> None:
    """Debian's python3 comes without ensurepip; python3-venv brings it."""
    (checkout.root / "less").mkdir()
    (checkout.root / "less" / "ensurepip.py").write_text("raise ModuleNotFoundError('ensurepip')\n", encoding="utf-8")
    script(checkout.commands / "python3", f'PYTHONPATH="{checkout.root}/less" exec "{PYTHON}" "$@"')
    code, output = checkout.run("--version")
    assert code == 1
    assert output == "sconsw: python3 has no venv module\n  install it (Debian: apt install python3-venv)\n"
    assert not checkout.venv.exists()


def test_without_a_compiler_it_says_so_before_anything_is_fetched(checkout: Checkout) -> None:
    """Nobody waits for a set-up that cannot build afterwards; clang alone will do."""
    (checkout.commands / "gcc").unlink()
    code, output = checkout.run("watch", "--hot-run")
    assert code == 1
    assert output.startswith(
        "sconsw: no C compiler was found (gcc, clang or cc)\n  install one (Debian: apt install gcc"
    )
    assert not checkout.venv.exists()
    script(checkout.commands / "clang", "exit 0")
    (checkout.commands / "python3").unlink()
    assert "no Python" in checkout.run()[1]


def test_a_set_up_that_did_not_end_is_made_again(checkout: Checkout) -> None:
    """Killed in the middle, without packages, and with a Python that has gone: the next run mends each."""
    with checkout.start("--version"):
        until((checkout.venv / "pyvenv.cfg").exists, ".venv is begun")
    assert not list(checkout.venv.glob("ready-*"))

    code, output = checkout.run("--version")
    assert code == 1
    assert f"sconsw: pip could not install into {checkout.venv}, see above\n" in output
    assert "check the network" in output

    for name in RUNTIME:
        pack(name, checkout.wheels)
    assert checkout.run("--version")[0] == 0

    (checkout.venv / "bin" / "python").unlink()
    (checkout.venv / "bin" / "python").symlink_to("/nonexistent/python3")
    code, output = checkout.run("--version")
    assert (code, "SCons: v" in output) == (0, True), output


def test_the_second_time_it_starts_at_once(ready: Checkout, tmp_path: Path) -> None:
    """From another directory, without a package to be had, it builds the example where it is, and sets nothing up."""
    code, output = ready.run("-Q", directory=tmp_path)
    assert code == 0, output
    assert "setting up" not in output
    assert (ready.root / "build" / "libplug.so").exists()
    assert (ready.root / "build" / "main").exists()
    assert not list(tmp_path.iterdir())


def test_what_only_tests_need_is_fetched_for_tests_only(ready: Checkout) -> None:
    """Running the example has not brought pytest; test and bench want it, and where they cannot have it the rest goes on."""
    assert not list(ready.venv.glob("lib/python*/site-packages/pytest"))
    for word in ("test", "bench"):
        code, output = ready.run(word)
        assert code == 1, output
        assert "pip could not install" in output
    code, output = ready.run("--version")
    assert (code, "setting up" in output) == (0, False), output


def test_the_exit_status_of_scons_is_that_of_sconsw(ready: Checkout) -> None:
    """A target that nobody knows ends scons with 2."""
    code, output = ready.run("-Q", "no-such-target")
    assert code == 2
    assert "no-such-target" in output


def test_ctrl_c_ends_the_example_and_leaves_nothing_behind(ready: Checkout) -> None:
    """The README's first command shows the running host and which file to edit; Ctrl-C ends all of it with 130."""
    lines: list[str] = []
    with ready.start("watch", "--hot-run") as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "Hello Link" in line and any("edit src/hello/plug.c" in line for line in lines):
                break
        else:
            pytest.fail("".join(lines))
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == 130, "".join(lines) + rest
        until(lambda: not group_exists(process.pid), "the example and its compilers are gone")
