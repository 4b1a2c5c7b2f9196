"""What a rebuild costs as a project grows: our session beside fresh scons, ninja and make.

    scons bench graph                                         10, 100, 1,000 files
    scons bench graph bench="--sizes 10 10000 --rounds 30"

Each project is C files in plugins of 100 objects. A round changes one file of one plugin, and each tool brings the
project up to date. What is ours is the time from the save to the end of the build, less the bare compile and link of
what is affected, measured in the same round. Tools that are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness import Project, project  # noqa: E402

GROUP = 100
"""Objects in one plugin."""
Times = dict[str, list[float]]


def lay(made: Project, files: int, headers: int = 5) -> None:
    groups = max(1, files // GROUP)
    per_group = files // groups
    made.write(
        "SConstruct",
        "env = Environment(tools=['default', 'hotreload'], CCFLAGS=['-O0'], CPPPATH=['inc'])\n"
        f"for g in range({groups}):\n"
        f"    env.SharedLibrary(f'out/g{{g}}', [f'src{{g}}/f{{n}}.c' for n in range({per_group})])\n"
        "Default('out')\n",
    )
    for header in range(headers):
        made.write(f"inc/h{header}.h", f"#define H{header} {header}\n")
    compile_ = "gcc -o $out -c -O0 -fPIC -Iinc $in"
    ninja = [f"rule cc\n command = {compile_}\nrule ld\n command = gcc -o $out -shared $in\n"]
    make = ["all:\n"]
    for group in range(groups):
        objects = []
        for number in range(per_group):
            source, target = f"src{group}/f{number}.c", f"nin/g{group}f{number}.o"
            includes = "".join(f'#include "h{(number + n) % headers}.h"\n' for n in range(3))
            made.write(source, f"{includes}int g{group}f{number} = 0;\n")
            objects.append(target)
            ninja.append(f"build {target}: cc {source}\n")
            make.append(f"mak/{target}: {source}\n\tgcc -o $@ -c -O0 -fPIC -Iinc $<\n")
        ninja.append(f"build nin/libg{group}.so: ld {' '.join(objects)}\n")
        library = f"mak/libg{group}.so"
        needed = " ".join("mak/" + target for target in objects)
        make.append(f"all: {library}\n{library}: {needed}\n\tgcc -o $@ -shared $^\n")
    made.write("build.ninja", "".join(ninja))
    made.write("Makefile", "".join(make))
    made.path("mak/nin").mkdir(parents=True)
    made.path("nin").mkdir()


def measure(directory: Path, files: int, rounds: int, others: bool) -> dict[str, Any]:
    with project(directory / f"p{files}") as made:
        lay(made, files)
        started = time.perf_counter()
        made.scons("-Q", "-s", "-j2", limit=3600)
        plain = time.perf_counter()
        made.scons("-Q", "-s")
        null_build = time.perf_counter() - plain
        begun = time.perf_counter()
        watch = made.watch("-s", ready=False)
        watch.wait("ready", limit=600)
        start = time.perf_counter() - begun
        objects = [f"src0/f{n}.os" for n in range(files // max(1, files // GROUP))]
        times: Times = {"bare compile and link": [], "hotreload": [], "ours above bare": []}
        memory = _resident(watch.process.pid)
        for number in range(rounds + 2):
            _edit(made, f"int g0f1 = {number + 1};")
            saved = time.time()
            event = watch.wait("build")
            assert event["ok"] and event["compiled"] == 1, event
            bare = _timed(lambda: _bare(made, objects))
            if number >= 2:
                ours = (event["time"] - saved) * 1e3
                times["hotreload"].append(ours)
                times["bare compile and link"].append(bare)
                times["ours above bare"].append(ours - bare)
        watch.stop()
        if others:
            for name, run in _others(made).items():
                times[name] = _rounds(made, run, min(rounds, 3 if files > 2000 else 5))
        return {
            "files": files,
            "first build s": plain - started,
            "null scons s": null_build,
            "watch ready s": start,
            "resident KiB": memory,
            "times": times,
        }


def _others(made: Project) -> dict[str, Callable[[], object]]:
    tools: dict[str, Callable[[], object]] = {"fresh scons": lambda: made.scons("-Q", "-s")}
    for tool, command in (("ninja", ["ninja"]), ("make", ["make", "-s"])):
        if shutil.which(tool):
            tools[tool] = partial(subprocess.run, command, cwd=made.root, check=True, capture_output=True)
    return tools


def _rounds(made: Project, run: Callable[[], object], count: int) -> list[float]:
    run()
    taken = []
    for number in range(count):
        time.sleep(0.01)  # a tick of the file system's clock: make and ninja go by time
        _edit(made, f"int g0f1 = {1000 + number};")
        taken.append(_timed(run))
    return taken


def _bare(made: Project, objects: list[str]) -> None:
    for command in (
        ["gcc", "-o", "bare.os", "-c", "-O0", "-fPIC", "-Iinc", "src0/f1.c"],
        ["gcc", "-o", "bare.so", "-shared", *objects],
    ):
        subprocess.run(command, cwd=made.root, check=True)


def _edit(made: Project, line: str) -> None:
    text = made.path("src0/f1.c").read_text()
    made.write("src0/f1.c", text[: text.index("int ")] + line + "\n")


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1e3


def _resident(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def table(results: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for result in results for name in result["times"]))
    rows = ["| files | " + " | ".join(names) + " | plain scons, nothing to do | watch ready | memory |"]
    rows.append("|---:|" + "---:|" * (len(names) + 3))
    for result in results:
        times = result["times"]
        cells = [f"{statistics.median(times[name]):.1f} ms" if times.get(name) else "" for name in names]
        cells += [f"{result['null scons s']:.1f} s", f"{result['watch ready s']:.1f} s"]
        cells += [f"{result['resident KiB'] // 1024} MiB"]
        rows.append(f"| {result['files']:,} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.graph")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--alone", action="store_true", help="leave the other tools out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as directory:
            results.append(measure(Path(directory), size, options.rounds, not options.alone))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
