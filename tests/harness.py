"""Real projects for tests: a directory with an SConstruct, a real scons, real hosts, and the events that they make.

Nothing here sleeps for luck: everything waits on a condition, with LIMIT as the end of patience.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import events_schema

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 40.0
"""Seconds; far beyond what anything takes on a loaded machine."""

Fields = dict[str, Any]


def until(condition: Callable[[], Any], what: str | Callable[[], str], limit: float = LIMIT) -> Any:
    """Wait for a true value and return it; fail with ``what`` otherwise, asked for only then."""
    deadline = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {limit:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.005)
    return value


def need(tool: str, package: str = "") -> str:
    """The path of a tool; skips the test, naming the package, where it is missing."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"needs {package or tool} (Debian package {package or tool})")
    return path


class Project:
    """A project directory that uses the tool as a user would: site_scons and the header copied in."""

    def __init__(self, root: Path, old_scons: bool = False, site: bool = True) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)
        if site:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / "site_scons", root / "site_scons", ignore=ignore, dirs_exist_ok=True)
            (root / "src").mkdir(exist_ok=True)
            shutil.copy(ROOT / "src" / "hotreload.h", root / "src")
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        self.environment.pop("PYTHONPATH", None)
        if old_scons:
            self.environment["PYTHONPATH"] = old_scons_path()
        self.python = sys.executable
        self._watches: list[Watch] = []
        self._hosts: list[HostProcess] = []

    def path(self, name: str) -> Path:
        return self.root / name

    def write(self, name: str, text: str) -> None:
        """As a plain editor does: truncate, write, close."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.path(name).read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        self.write(name, text.replace(old, new))

    def command(self, *arguments: str) -> list[str]:
        return [self.python, "-m", "SCons", *arguments]

    def scons(self, *arguments: str, code: int | None = 0, directory: str = ".", limit: float = 120) -> str:
        """Run scons; its whole output. ``code`` None accepts any exit status, ``limit`` is in seconds."""
        done = subprocess.run(
            self.command(*arguments), cwd=self.root / directory, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit, check=False,
        )  # fmt: skip
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}"
        return done.stdout

    def watch(self, *arguments: str, ready: bool = True, directory: str = ".") -> Watch:
        watch = Watch(self, arguments, f"events{len(self._watches)}.ndjson", directory)
        self._watches.append(watch)
        if ready:
            watch.wait("ready")
        return watch

    def host(self, program: str = "build/main", *arguments: str, directory: str = ".") -> HostProcess:
        host = HostProcess([str(self.root / program), *arguments], self.root / directory)
        self._hosts.append(host)
        return host

    def close(self) -> None:
        for watch in self._watches:
            watch.kill()
        for host in self._hosts:
            host.kill()
        for process in Path("/proc").glob("[0-9]*"):  # what a killed watch had started
            with contextlib.suppress(OSError):
                if os.readlink(process / "exe").startswith(str(self.root) + "/"):
                    os.kill(int(process.name), signal.SIGKILL)


class HostProcess:
    """A running host; its output goes to a file that tests read."""

    def __init__(self, command: list[str], directory: Path) -> None:
        self.output_path = directory / f".output-{time.monotonic_ns()}"
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self.pid = self.process.pid

    @property
    def output(self) -> str:
        return self.output_path.read_text(encoding="utf-8", errors="replace")

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()

    def wait_line(self, text: str, after: int = 0) -> str:
        """The first line from line ``after`` on that contains ``text``."""

        def found() -> str | None:
            assert self.process.poll() is None, f"the host ended: {self.process.returncode}\n{self.output}"
            return next((line for line in self.lines[after:] if text in line), None)

        return str(until(found, lambda: f"the host printing {text!r}; it printed:\n{self.output[-2000:]}"))

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
            self.process.kill()
        self.process.wait()


class Watch:
    """A running ``scons watch`` and its events."""

    def __init__(self, project: Project, arguments: tuple[str, ...], events: str, directory: str = ".") -> None:
        self._events_path = project.path(events)
        self._events: list[Fields] = []
        self._read = 0
        self._seen = 0
        self.output_path = project.path(events + ".txt")
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                project.command("watch", f"--hot-events={self._events_path}", *arguments),
                cwd=project.root / directory, env=project.environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, process_group=0,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self.output_path.read_text(encoding="utf-8", errors="replace")

    @property
    def events(self) -> list[Fields]:
        """All events so far, each as docs/events.schema.json says."""
        with contextlib.suppress(FileNotFoundError), self._events_path.open("rb") as file:
            file.seek(self._read)
            *lines, _ = file.read().split(b"\n")
            self._read += sum(len(line) + 1 for line in lines)
            for event in map(json.loads, lines):
                events_schema.check(event)
                self._events.append(event)
        return self._events

    def wait(self, event: str, where: Callable[[Fields], Any] = lambda fields: True, limit: float = LIMIT) -> Fields:
        """The next event of that name for which ``where`` holds; later waits begin behind it."""

        def found() -> Fields | None:
            events = self.events
            for index in range(self._seen, len(events)):
                if events[index]["event"] == event and where(events[index]):
                    self._seen = index + 1
                    return events[index]
            if self.process.poll() is not None:
                pytest.fail(f"watch ended with {self.process.returncode}, no {event}:\n{self.output[-4000:]}")
            return None

        result: Fields = until(found, lambda: f"event {event}; there are {self._rest()}\n{self.output[-3000:]}", limit)
        return result

    def meets(self) -> int:
        """The pid of the first host that the watch knows of."""
        known = self.wait("ready")["hosts"]
        return int(known[0]["pid"] if known else self.wait("host")["pid"])

    def reloaded(self, **fields: Any) -> Fields:
        """The next good reload (with these field values)."""
        return self.wait("reload", lambda e: e["ok"] and all(e[key] == value for key, value in fields.items()))

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it as a user would and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT)

    def kill(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _rest(self) -> str:
        return "\n".join(json.dumps(event)[:300] for event in self.events[self._seen :])


def old_scons_path() -> str:
    path = os.environ.get("HOTRELOAD_OLD_SCONS") or str(ROOT / ".venv/old-scons")
    if not Path(path).is_dir():
        pytest.skip("needs the oldest supported SCons (scons 4.4.0 in the directory that HOTRELOAD_OLD_SCONS names)")
    return path


@contextlib.contextmanager
def example(root: Path, name: str) -> Iterator[Project]:
    """examples/NAME where it lies in this repository, beside a copy of the tool."""
    built = shutil.ignore_patterns("__pycache__", "build", "*.o", "*.os", ".*")
    shutil.copytree(ROOT / "site_scons", root / "site_scons", ignore=built)
    (root / "src").mkdir()
    shutil.copy(ROOT / "src" / "hotreload.h", root / "src")
    shutil.copytree(ROOT / "examples" / name, root / "examples" / name, ignore=built)
    with project(root / "examples" / name, site=False) as made:
        yield made


@contextlib.contextmanager
def project(root: Path, **settings: Any) -> Iterator[Project]:
    made = Project(root, **settings)
    try:
        yield made
    finally:
        made.close()
