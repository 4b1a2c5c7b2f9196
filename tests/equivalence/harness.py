"""Applies edits to a project that a session has built, and asks a fresh scons whether the session is right."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import LIMIT, ROOT

from . import project

Fields = dict[str, Any]
TESTS = ROOT / "tests"
OUTPUT_DIRECTORIES = ("build", "out", "dist")
QUIET = ("scons: `", "scons: done", "scons: Building", "scons: Reading")


class Difference(AssertionError):
    """The session and a fresh scons do not agree."""


class Session:
    """A driven session (see ``driver``); started again when it says that only a fresh scons is right."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._address = str(tree.base / "driver.socket")
        self._process: subprocess.Popen[bytes] | None = None
        self.started: Fields = {}
        self.starts = 0
        self.restarts: list[str] = []

    def start(self) -> Fields:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._address)
        path = [str(TESTS), str(ROOT / "site_scons")]
        environment = {
            **self._tree.environment,
            "HOTRELOAD_DRIVER": self._address,
            "HOTRELOAD_DRIVER_PATH": os.pathsep.join(path),
        }
        with socket.socket(socket.AF_UNIX) as listener, (self._tree.base / "driver.txt").open("wb") as output:
            listener.bind(self._address)
            listener.listen(1)
            listener.settimeout(LIMIT * 4)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "SCons", "-Q", *self._tree.arguments],
                cwd=self._tree.root, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                process_group=0,
            )  # fmt: skip
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                raise AssertionError(f"the driver did not start:\n{self.output}") from None
        connection.settimeout(LIMIT * 4)
        self._channel = connection.makefile("rw", encoding="utf-8")
        connection.close()
        self.started = self._read()
        self.starts += 1
        return self.started

    @property
    def output(self) -> str:
        return (self._tree.base / "driver.txt").read_text(encoding="utf-8", errors="replace")

    def ask(self, **order: Any) -> Fields:
        self._channel.write(json.dumps(order) + "\n")
        self._channel.flush()
        return self._read()

    def update(self, files: list[Path], **more: Any) -> Fields:
        """Deliver changes. A restart that is asked for is done, as the real session does, if the SConscripts can be read;
        "refused" tells why they cannot."""
        answer = self.ask(do="update", files=[str(path) for path in files], **more)
        if answer["restart"]:
            self.ask(do="sync")
            code, output = self._tree.scons(self._tree.root, "-h")
            if code:
                return {**answer, "refused": output}
            self.restarts.append(answer["restart"])
            self.end()
            return {**self.start(), "restart": answer["restart"]}
        return answer

    def end(self) -> None:
        if self._process and self._process.poll() is None:
            self.ask(do="end")
            self._process.wait(LIMIT)
        self.close()

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._channel.close()
            self._process = None

    def _read(self) -> Fields:
        line = self._channel.readline()
        if not line:
            raise AssertionError(f"the driver ended:\n{self.output}")
        fields: Fields = json.loads(line)
        return fields


class Tree:
    """A project, a copy of its sources that nobody builds in, and what is needed to compare."""

    def __init__(
        self,
        base: Path,
        arguments: list[str],
        old_scons: str = "",
        fault: str = "",
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.base = base
        self.root = base / "work" / "project"
        self.pristine = base / "pristine"
        self.arguments = arguments
        self.environment = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
        for name in ("PYTHONPATH", "HOTRELOAD_DRIVER", "SCONSFLAGS"):
            self.environment.pop(name, None)
        if old_scons:
            self.environment["PYTHONPATH"] = old_scons
        for root in (self.root, self.pristine):
            if files is None:
                project.write(root)
            else:
                project.lay(root, files)
        self._fresh = subprocess.Popen(
            [sys.executable, str(TESTS / "equivalence" / "fresh.py")],
            env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if fault:
            self.environment["HOTRELOAD_DRIVER_DROPS"] = fault
        self.session = Session(self)

    def close(self) -> None:
        self.session.close()
        self._fresh.kill()
        self._fresh.communicate()

    # --- edits: to both trees, returning what changed ------------------------------------------------------------

    def write(self, name: str, text: str, rename: bool = False) -> list[Path]:
        for root in (self.pristine, self.root):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if rename:
                temporary = path.with_name(path.name + ".tmp~")
                temporary.write_text(text, encoding="utf-8")
                if path.exists():
                    shutil.copymode(path, temporary)
                os.replace(temporary, path.resolve())
            else:
                path.write_text(text, encoding="utf-8")
        return [(self.root / name).resolve()]

    def has(self, name: str) -> bool:
        return (self.root / name).exists()

    def read(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def replace(self, name: str, old: str, new: str) -> list[Path]:
        text = self.read(name)
        assert old in text, f"{old!r} is not in {name}: {text!r}"
        return self.write(name, text.replace(old, new))

    def remove(self, name: str) -> list[Path]:
        for root in (self.pristine, self.root):
            (root / name).unlink()
        return [self.root / name]

    def touch(self, name: str) -> list[Path]:
        os.utime(self.root / name)
        return [(self.root / name).resolve()]

    def remove_output(self, name: str) -> list[Path]:
        (self.root / name).unlink()
        return [self.root / name]

    # --- comparison ------------------------------------------------------------------------------------------------

    def scons(self, directory: Path, *arguments: str) -> tuple[int, str]:
        output = self.base / "fresh.txt"
        environment = {key: value for key, value in self.environment.items() if not key.startswith("HOTRELOAD")}
        order = {
            "directory": str(directory),
            "arguments": ["-Q", *self.arguments, *arguments],
            "environment": environment,
            "output": str(output),
        }
        assert self._fresh.stdin and self._fresh.stdout
        self._fresh.stdin.write(json.dumps(order) + "\n")
        self._fresh.stdin.flush()
        code = int(self._fresh.stdout.readline())
        return code, output.read_text(encoding="utf-8", errors="replace")

    def left_to_do(self) -> list[str]:
        """What a fresh scons -n in the session's own tree would run beside the command that always runs."""
        code, output = self.scons(self.root, "-n")
        left = [line for line in output.splitlines() if not line.startswith(QUIET) and "always.out" not in line]
        return left or [f"exit {code}"] * bool(code)

    def check_nothing_to_do(self) -> None:
        self.session.ask(do="sync")
        if self.left_to_do():
            code, why = self.scons(self.root, "-n", "--debug=explain")
            raise Difference(f"a fresh scons -n finds work ({code}):\n{why}")

    def check_outputs(self) -> None:
        """Every file of a build from scratch is there, with the same bytes."""
        if wrong := self.unlike(self.from_scratch()):
            raise Difference(f"not as a build from scratch:\n{wrong}")

    def from_scratch(self) -> Path:
        """Where the sources as they are now were built in a fresh tree."""
        scratch = self.base / "other" / "project"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.parent.mkdir(exist_ok=True)
        shutil.copytree(self.pristine, scratch, symlinks=True)
        code, output = self.scons(scratch)
        if code:
            raise Difference(f"a build from scratch fails:\n{output}")
        return scratch

    def unlike(self, scratch: Path) -> str:
        """The outputs that are not those of that build."""
        wrong = []
        for directory in OUTPUT_DIRECTORIES:
            for path in sorted((scratch / directory).rglob("*")):
                mine = _content(self.root / path.relative_to(scratch))
                if path.is_file() and mine != path.read_bytes():
                    wrong.append(f"{path.relative_to(scratch)} {'is missing' if mine is None else 'differs'}")
        return "\n".join(wrong)

    def check(self, outputs: bool = True) -> None:
        self.check_nothing_to_do()
        if outputs:
            self.check_outputs()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None
