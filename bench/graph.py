"""What a rebuild costs as a project grows: our session beside scons, scons --interactive, ninja and make.

    scons bench graph                                         projects of 10, 100 and 1,000 files
    scons bench graph bench="--projects 10 100 1000 10000 library header --json bench/data/graph.json"

In each round one file is edited in a tree of each tool, one tool after the other, and each brings its tree up to date:
what else the machine does falls on all alike. "Bare" is what the edit leads to, compiled and linked by hand in the same
round, once the session is at rest. Tools that are not installed are left out. With --json, what was measured of other
projects stays in the file; bench/plot.py draws it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench.projects import SHAPES, Shape  # noqa: E402
from harness import Project, Watch, project  # noqa: E402

LIMIT = 1800.0
"""Seconds; for a first build of 10,000 files on a busy machine."""
SLOW = {"fresh scons": 3.0, "scons --interactive": 2.5, "make": 0.5, "ninja": 0.05}
"""Tool → seconds of a round at 1,000 files, or one library of 500, or so: says how many there is time for."""
MINUTE = 60.0
"""Seconds for all rounds of one tool in one project, unless three take longer."""
STARTS = 3
IDLE = 5.0
"""Seconds in which the idle session is observed."""

Result = dict[str, Any]


class Trees:
    """One tree for each tool, in a directory that may be used again."""

    def __init__(self, shape: Shape, directory: Path) -> None:
        self.shape = shape
        self._directory = directory

    @contextmanager
    def session(self) -> Iterator[Project]:
        with project(self._directory / "session") as made:
            shape = self.shape
            if not made.path("inc").exists():
                shape.lay_sources(made.root)
            shape.lay_scons(made.root, "['default', 'hotreload']")
            made.path("bare").mkdir(exist_ok=True)
            yield made

    def plain(self, name: str, session: Project) -> Path:
        """A copy of the session's tree, as it is built now, for a scons without our tool."""
        root = self._directory / name
        if root.exists():
            shutil.rmtree(root)
        subprocess.run(["cp", "-a", session.root, root], check=True)
        shutil.rmtree(root / "site_scons")
        self.shape.lay_scons(root, "['default']")
        return root

    def other(self, name: str, lay: Callable[[Path], None]) -> Path:
        root = self._directory / name
        if not root.exists():
            self.shape.lay_sources(root)
        lay(root)
        (root / "out").mkdir(exist_ok=True)
        return root


class Interactive:
    """scons --interactive: one process, told to build again."""

    def __init__(self, command: list[str], root: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [*command, "-Q", "-s", "--interactive"], cwd=root, env=environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._wait()

    def build(self) -> None:
        stdin: IO[bytes] | None = self._process.stdin
        assert stdin
        stdin.write(b"build\n")
        stdin.flush()
        self._wait()

    def _wait(self) -> None:
        stdout, text = self._process.stdout, b""
        assert stdout
        while not text.endswith(b"scons>>> "):
            read = os.read(stdout.fileno(), 65536)
            assert read, text
            text += read

    def close(self) -> None:
        self._process.communicate(b"exit\n")


def measure(shape: Shape, directory: Path, rounds: int, others: bool) -> Result:
    trees = Trees(shape, directory)
    result: Result = {"name": shape.name, "files": shape.files, "nodes": shape.nodes, "jobs": shape.jobs}
    with trees.session() as made:
        jobs = f"-j{shape.jobs}"
        made.scons("-Q", "-s", f"-j{os.cpu_count()}", limit=LIMIT)
        result["load before"] = os.getloadavg()
        tools = _tools(trees, made, jobs) if others else {}
        result.update(_starts(made, tools.get("scons, nothing to do")))
        watch = _ready(made.watch("-s", jobs, ready=False))
        result["session KiB"] = _resident(watch)
        result["idle ms/s"] = _idle(watch)
        result["times"] = _rounds(shape, made, watch, tools, rounds)
        result["session KiB after"] = _resident(watch)
        result["reading again s"] = _reading_again(made, watch, tools.get("scons, nothing to do"))
        watch.stop()
        for tool in tools.values():
            tool.close()
    result["load after"] = os.getloadavg()
    return result


class Tool:
    def __init__(self, root: Path, run: Callable[[], object], close: Callable[[], None] = lambda: None) -> None:
        self.root = root
        self.run = run
        self.close = close


def _tools(trees: Trees, made: Project, jobs: str) -> dict[str, Tool]:
    def call(command: list[str], root: Path) -> Callable[[], object]:
        return partial(subprocess.run, command, cwd=root, check=True, stdout=subprocess.DEVNULL, env=made.environment)

    found: dict[str, Tool] = {}
    for name, command, lay in (
        ("ninja", ["ninja", jobs], trees.shape.lay_ninja),
        ("make", ["make", "-s", jobs], trees.shape.lay_make),
    ):
        if shutil.which(command[0]):
            root = trees.other(name, lay)
            subprocess.run([*command[:-1], f"-j{os.cpu_count()}"], cwd=root, check=True, stdout=subprocess.DEVNULL)
            found[name] = Tool(root, call(command, root))
    root = trees.plain("interactive", made)
    interactive = Interactive(made.command(jobs), root, made.environment)
    interactive.build()
    found["scons --interactive"] = Tool(root, interactive.build, interactive.close)
    root = trees.plain("fresh", made)
    found["fresh scons"] = Tool(root, call(made.command("-Q", "-s", jobs), root))
    root = trees.plain("null", made)
    found["scons, nothing to do"] = Tool(root, call(made.command("-Q", "-s", jobs), root))
    return found


# --- what is measured ---------------------------------------------------------------------------------------


def _starts(made: Project, plain: Tool | None) -> Result:
    """From nothing running to ready, beside a plain scons that has nothing to do."""
    times: dict[str, list[float]] = {"ready s": [], "plain s": []}
    peak = 0
    for _ in range(STARTS):
        begun = time.perf_counter()
        watch = _ready(made.watch("-s", ready=False))
        times["ready s"].append(time.perf_counter() - begun)
        watch.stop()
        if plain:
            times["plain s"].append(_seconds(plain.run))
            peak = peak or _peak(made, plain.root)
    return {**times, "plain KiB": peak}


def _reading_again(made: Project, watch: Watch, plain: Tool | None) -> dict[str, list[float]]:
    """From an edit of the SConstruct to ready again, beside the same plain scons."""
    times: dict[str, list[float]] = {"session": [], "plain": []}
    for number in range(STARTS):
        with made.path("SConstruct").open("a") as file:
            file.write(f"# {number}\n")
        begun = time.perf_counter()
        _ready(watch)
        times["session"].append(time.perf_counter() - begun)
        if plain:
            times["plain"].append(_seconds(plain.run))
    return times


def _rounds(shape: Shape, made: Project, watch: Watch, tools: dict[str, Tool], rounds: int) -> dict[str, list[float]]:
    names = ["bare", "bare link", "hotreload", "above bare", *tools]
    times: dict[str, list[float]] = {name: [] for name in names if name != "scons, nothing to do"}
    counts = {name: _count(shape, rounds, name) for name in tools if name in times}
    compiles, links = shape.affected()
    edit = (int(time.time()) % 1_000_000) * 1000
    warm = 1 if shape.shared_header else 3
    for number in range(warm + _count(shape, rounds, "hotreload")):
        began = time.monotonic()
        edit += 1
        made.write(shape.edited, shape.text(edit))
        saved = time.time()
        event = watch.wait("build", lambda event: event["compiled"], limit=LIMIT)
        assert event["ok"] and event["compiled"] == len(compiles), event
        ours = (event["time"] - saved) * 1e3
        _wait_for_rest(watch)
        compiled = _together(made.root, compiles, shape.jobs)
        linked = _together(made.root, links, shape.jobs)
        for name, count in counts.items():
            if number == warm - 1 or warm <= number < warm + count:
                tool = tools[name]
                (tool.root / shape.edited).write_text(shape.text(edit))
                taken = _seconds(tool.run) * 1e3
                if number >= warm:
                    times[name].append(taken)
        if number >= warm:
            times["hotreload"].append(ours)
            times["bare"].append(compiled + linked)
            times["bare link"].append(linked)
            times["above bare"].append(ours - compiled - linked)
        if (seconds := time.monotonic() - began) > 5.0:
            print(f"  round {number - warm + 1}: {seconds:.0f} s", file=sys.stderr)
    return times


def _count(shape: Shape, rounds: int, tool: str) -> int:
    """Rounds that there is time for. All of a shared header's are mostly compilers, thousands of them."""
    if shape.shared_header:
        return min(rounds, 3)
    seconds = SLOW.get(tool, 0.0) * max(shape.files * (1 + shape.one_library), 50) / 1000
    return min(rounds, max(3, int(MINUTE / seconds))) if seconds else rounds


def _together(root: Path, commands: list[list[str]], jobs: int) -> float:
    """Milliseconds of these commands, ``jobs`` at a time."""

    def run(command: list[str]) -> None:
        subprocess.run(command, cwd=root, check=True)

    begun = time.perf_counter()
    if jobs == 1 or len(commands) == 1:
        for command in commands:
            run(command)
    else:
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(run, commands))
    return (time.perf_counter() - begun) * 1e3


def _ready(watch: Watch) -> Watch:
    watch.wait("ready", limit=LIMIT)
    return watch


def _seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _resident(watch: Watch) -> int:
    text = Path(f"/proc/{watch.process.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1])


def _peak(made: Project, root: Path) -> int:
    """KiB that a plain scons with nothing to do has resident at most."""
    process = subprocess.Popen(made.command("-Q", "-s"), cwd=root, env=made.environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


def _idle(watch: Watch) -> float:
    """Milliseconds of processor time in a second, once the session has nothing left to do."""
    _wait_for_rest(watch)
    before = _spent(watch)
    time.sleep(IDLE)
    return (_spent(watch) - before) / IDLE


def _wait_for_rest(watch: Watch) -> None:
    """Until what a session does when idle is done: signatures are written 0.3 s after a pass."""
    time.sleep(0.35)
    before = -1.0
    while (now := _spent(watch)) - before > 0.5:
        before = now
        time.sleep(0.05)


def _spent(watch: Watch) -> float:
    """Milliseconds of processor time so far, its commands not counted."""
    tasks = Path(f"/proc/{watch.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


# --- told ---------------------------------------------------------------------------------------------------

COLUMNS = ("bare", "bare link", "hotreload", "above bare", "ninja", "make", "scons --interactive", "fresh scons")
TITLES = {
    "10": "10 files", "100": "100 files", "1000": "1,000 files", "10000": "10,000 files",
    "library": "5,000 in one library", "header": "header of 2,000 files, -j2",
}  # fmt: skip


def table(results: list[Result]) -> str:
    """Medians; the number of rounds where it is not 30."""
    rows = ["| ms: median (p90) | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for result in results:
        cells = [_cell(result["times"].get(name, [])) for name in COLUMNS]
        rows.append(f"| {TITLES[result['name']]} | " + " | ".join(cells) + " |")
    rows += [
        "",
        "| | scons, nothing to do | watch: ready after | after an SConstruct edit | scons, peak memory | watch, memory "
        "| a node | idle |",
        "|---|" + "---:|" * 7,
    ]
    for result in results:
        again = result["reading again s"]
        base = next((each for each in results if each["name"] == "10"), result)
        nodes = result["nodes"] - base["nodes"]
        a_node = f"{(result['session KiB after'] - base['session KiB after']) / nodes:.1f} KiB" if nodes else ""
        cells = [_seconds_cell(result["plain s"]), _seconds_cell(result["ready s"]), _seconds_cell(again["session"])]
        cells += [f"{result['plain KiB'] / 1024:.0f} MiB", f"{result['session KiB after'] / 1024:.0f} MiB", a_node]
        rows.append(f"| {TITLES[result['name']]} | " + " | ".join([*cells, f"{result['idle ms/s']:.2f} ms/s"]) + " |")
    return "\n".join(rows)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    digits = 1 if statistics.median(values) < 100 else 0
    rounds = f", {len(values)} rounds" if len(values) != 30 else ""
    return f"{statistics.median(values):,.{digits}f} ({_p90(values):,.{digits}f}{rounds})"


def _p90(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.9 * (len(values) - 1)))]


def _seconds_cell(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s" if values else ""


def _machine() -> Result:
    def first(*command: str) -> str:
        if not shutil.which(command[0]):
            return ""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return next(iter(done.stdout.splitlines()), "")

    import SCons

    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.release()}",
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "scons": SCons.__version__,
        "gcc": first("gcc", "--version"),
        "ld": first("ld", "--version"),
        "ninja": first("ninja", "--version"),
        "make": first("make", "--version"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.graph")
    parser.add_argument("--projects", nargs="*", choices=[*SHAPES], default=["10", "100", "1000"])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--alone", action="store_true", help="leave the other tools out")
    parser.add_argument("--work", type=Path, help="a directory for the projects that stays and is used again")
    parser.add_argument("--json", type=Path, help="keep every round's figures there")
    options = parser.parse_args()
    known: dict[str, Result] = {}
    if options.json and options.json.exists():
        known = {result["name"]: result for result in json.loads(options.json.read_text())["projects"]}
    for name in options.projects:
        print(f"{TITLES[name]}: first builds", file=sys.stderr)
        with tempfile.TemporaryDirectory() as directory:
            place = (options.work or Path(directory)) / name
            known[name] = measure(SHAPES[name], place, options.rounds, not options.alone)
        known[name]["machine"] = _machine()
        if options.json:
            ordered = [known[each] for each in SHAPES if each in known]
            options.json.write_text(json.dumps({"projects": ordered}, indent=1) + "\n")
    print(table([known[each] for each in SHAPES if each in known]))


if __name__ == "__main__":
    main()
