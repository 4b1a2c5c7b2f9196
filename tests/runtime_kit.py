"""What the runtime's tests share: compiled plugins and hosts, a builder in ten lines, a host that obeys."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import subprocess
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import ROOT, need, until
from hotreload_engine.model import Generation, Host, HotReloadError, Image
from hotreload_engine.slot import Slot

HERE = Path(__file__).resolve().parent / "runtime"
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
PLUSPLUS = {"gcc": "g++", "clang": "clang++"}
_SANITIZERS = os.environ.get("HOTRELOAD_SANITIZE")
ASKED_FOR = [f"-fsanitize={_SANITIZERS}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"] if _SANITIZERS else []
"""Flags of every host (HOTRELOAD_SANITIZE=address,undefined): the runtime under sanitizers in all tests of it."""
if _SANITIZERS:  # clang's UBSan takes the signals for itself; a crash is to be the guard's
    _handled = ("segv", "sigbus", "abort", "sigfpe", "sigill", "sigtrap")
    os.environ.setdefault("UBSAN_OPTIONS", ":".join(f"handle_{name}=0" for name in _handled))


def _not_sanitized(reason: str) -> pytest.MarkDecorator:
    """HOTRELOAD_SANITIZE=undefined changes nothing of it."""
    return pytest.mark.skipif(_SANITIZERS not in (None, "undefined"), reason=reason)


GUARDED = _not_sanitized("no crash guard in a program whose sanitizer handles faults itself")
UNSANITIZED = _not_sanitized("blocks that are checked for overruns have no room to grow in; ThreadSanitizer goes with no other")

PATIENCE = 30.0
"""Seconds; far beyond what anything takes on a loaded machine."""

RUNNING, WAITING, REFUSED, DETACHED, FAILED, CLOSED = range(6)
"""hr_code, in the header's order."""

_MARK = 0x5EED0001


def compile_command(compiler: str, standard: str) -> list[str]:
    """gcc or clang, as C or C++, whatever the source file is called; skips the test where it is missing."""
    if "++" not in standard:
        return [need(compiler), f"-std={standard}"]
    tool = need(PLUSPLUS[compiler], "clang" if compiler == "clang" else "g++")
    return [tool, "-x", "c++", f"-std={standard}"]


class Kit:
    """A compiler and what it has made so far; one per compiler and test session."""

    def __init__(self, compiler: str, directory: Path) -> None:
        self.compiler = compiler
        self._directory = directory
        self._made: dict[tuple[str, ...], Path] = {}

    def compile(self, source: str, *flags: str, shared: bool = False, plusplus: bool = False) -> Path:
        """Compile one file of tests/runtime (or an absolute one), strictly, into a program or a library."""
        key = (source, *flags, str(shared), str(plusplus))
        if key not in self._made:
            path = self._directory / f"{len(self._made)}-{Path(source).stem}"
            command = compile_command(self.compiler, "c++11" if plusplus else "c99")
            kind = ["-fPIC", "-shared"] if shared else ASKED_FOR
            done = subprocess.run(
                [*command, *STRICT, "-g", *kind, *flags, f"-I{ROOT / 'src'}", f"-I{HERE}", str(HERE / source),
                 "-o", str(path), "-ldl", "-pthread"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if "-fsanitize" in " ".join(flags) and "cannot find" in done.stderr:
                pytest.skip("needs the sanitizer runtimes (Debian packages libgcc-12-dev, libclang-rt-14-dev)")
            assert done.returncode == 0, done.stderr
            self._made[key] = path
        return self._made[key]

    def plugin(self, *flags: str, number: int = 1, plusplus: bool = False, source: str = "plug.c") -> bytes:
        """The library's bytes with its number put in, in no time."""
        data = self.compile(source, *flags, shared=True, plusplus=plusplus).read_bytes()
        mark = _MARK.to_bytes(4, "little")
        assert data.count(mark) >= 2
        return data.replace(mark, number.to_bytes(4, "little"))


def publish(library: Path, data: bytes) -> Generation:
    """What the builder does, without its checks: so that bad libraries reach the host."""
    digest = hashlib.sha256(data).hexdigest()
    image = Image(path=str(library), size=len(data), digest=digest, build_id="", kind="DYN", machine="", bits=64)
    return Slot(str(library)).publish(image, data)


def point(library: Path, **changed: str) -> None:
    """Write a pointer with a right sum whose lines are what the test wants."""
    fields = {"number": "1", "file": f"{library.name}.1-00.so", "size": "100", "build_id": "-", "digest": "00"}
    body = "hotreload-generation 1\n" + "".join(f"{key} {value}\n" for key, value in {**fields, **changed}.items())
    write_pointer(library, f"{body}sum {zlib.crc32(body.encode()):08x}\n".encode())


def write_pointer(library: Path, data: bytes) -> None:
    temporary = library.parent / ".hotreload" / ".pointer"
    temporary.write_bytes(data)
    temporary.rename(library.parent / ".hotreload" / f"{library.name}.newest")


class Result(NamedTuple):
    code: int
    generation: int
    changed: bool
    refused: bool
    state_size: int
    load_us: float
    pause_us: float
    text: str


class Obedient:
    """tests/runtime/host.c: a command a line in, a line out."""

    def __init__(
        self, program: Path, library: Path, *arguments: str, named: str | None = None, cwd: Path | None = None
    ) -> None:
        self.library = library
        self.number = next((int(a[7:]) for a in arguments if a.startswith("signal=")), int(signal.SIGURG))
        self.process = subprocess.Popen(
            [program, str(library) if named is None else named, *arguments], cwd=cwd, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.pid = self.process.pid

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = b""
        deadline = time.monotonic() + PATIENCE
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no answer within {PATIENCE:.0f} s; so far: {line!r}"
            byte = os.read(self.process.stdout.fileno(), 1)
            assert byte, f"the host ended with {self.process.wait(PATIENCE)}; so far: {line!r}"
            line += byte
        return line.decode("utf-8", "replace").rstrip("\n")

    def ask(self, command: str) -> str:
        """Send a command; the answer without its first word."""
        self.tell(command)
        answer = self.hear()
        word = command.split()[0]
        assert answer.split(" ")[0] == word, answer
        return answer[len(word) + 1 :]

    def result(self, command: str) -> Result:
        code, generation, changed, refused, size, load, pause, text = self.ask(command).split(" ", 7)
        return Result(
            int(code), int(generation), changed == "1", refused == "1", int(size), float(load), float(pause), text
        )

    def open(self) -> Result:
        return self.result("open")

    def signal(self) -> None:
        os.kill(self.pid, self.number)

    def news(self) -> Result:
        """Sleep in hr_wait until there is something to do, then do it."""
        assert self.ask(f"wait {int(PATIENCE * 1000)}") == "1", "nothing came"
        return self.result("poll")

    def until(self, code: int, generation: int | None = None) -> Result:
        """Poll through what comes until the host is where it should be."""
        now = self.result("poll")
        while now.code != code or generation not in (None, now.generation):
            now = self.news()
        return now

    def takes(self, data: bytes) -> Result:
        """Publish, send the bare signal, and see it run."""
        generation = publish(self.library, data)
        self.signal()
        now = self.until(RUNNING, generation.number)
        assert now.changed
        return now

    def refuses(self, data: bytes) -> Result:
        """Publish, signal, and see it refused, with the old code still there."""
        before = self.result("poll")
        publish(self.library, data)
        self.signal()
        now = self.news()
        assert now.code == REFUSED and now.refused and not now.changed, now
        assert now.generation == before.generation
        return now

    def number_and_calls(self) -> tuple[int, int]:
        number, calls = self.ask("call").split()
        return int(number), int(calls)

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def targets(self) -> list[str]:
        """What its descriptors are, as /proc names it."""
        found = []
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/{self.pid}/fd/{name}"))
        return found

    @property
    def maps(self) -> list[str]:
        return Path(f"/proc/{self.pid}/maps").read_text().splitlines()

    @property
    def mapped(self) -> set[str]:
        """File names of the generations that are mapped."""
        prefix = f"{self.library.name}."
        return {name for line in self.maps if (name := line.split("/")[-1]).startswith(prefix)}

    def record(self) -> Host | None:
        """Its control record; None while there is none, or a torn one."""
        slot = Slot(str(self.library))
        for path in slot.records():
            try:
                host = slot.read_record(path)
            except HotReloadError:
                continue
            if host.pid == self.pid:
                return host
        return None

    def records(self, status: str, tried: int | None = None) -> Host:
        """Wait until the record says so."""

        def right() -> Host | None:
            host = self.record()
            return host if host and host.status == status and tried in (None, host.tried) else None

        host: Host = until(right, f"the record saying {status} {tried}: {self.record()}", PATIENCE)
        return host

    def loader(self) -> Path:
        """The loader thread's directory in /proc."""
        tasks = [Path(f"/proc/{self.pid}/task/{task}") for task in os.listdir(f"/proc/{self.pid}/task")]
        (task,) = [task for task in tasks if task.name != str(self.pid)]
        return task

    def end(self) -> int:
        """Close its standard input: it closes the library and ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
