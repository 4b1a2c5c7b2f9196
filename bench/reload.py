"""Save → new code running, split into its parts, beside the bare compiler and linker in the same run.

    scons bench                  200 rounds
    scons bench bench="--rounds 50 --json bench/reload.json"

Every round changes one number in a plugin of one file, waits for the host's answer, then runs the same compile and link
commands by hand. Figures are of this machine; what carries over is the difference between the two, round by round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import ticker  # noqa: E402
from harness import project  # noqa: E402

PARTS = (
    ("event", lambda e: e["settle_ms"]),
    ("compile", lambda e: e["compile_ms"]),
    ("link", lambda e: e["link_ms"]),
    ("graph: what to build, signatures, settling", lambda e: e["build_ms"] - e["compile_ms"] - e["link_ms"]),
    ("check", lambda e: e["published"]["check_ms"]),
    ("publish", lambda e: e["published"]["publish_ms"]),
    ("signal, load, swap, answer", lambda e: e["host_ms"]),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.reload")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--json", type=Path, help="write every round's figures there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        rounds = measure(Path(directory), options.rounds, options.cc)
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1) + "\n")
    print(table(rounds))


def measure(directory: Path, count: int, cc: str) -> list[dict[str, float]]:
    rounds = []
    with project(directory / "project") as made:
        ticker.lay(made, cc)
        made.edit("src/number.c", '#include "number.h"', "#define NUMBER 1")
        made.edit("src/plug.c", '#include "number.h"', "#define NUMBER 1")
        watch, host = made.watch(), made.host()
        watch.wait("host")
        compile_ = [cc, "-o", "bare.os", "-c", "-O0", "-fPIC", "-g", "-Isrc", "src/plug.c"]
        link = [cc, "-o", "bare.so", "-shared", "-Wl,-Bsymbolic", "-Wl,--build-id", "bare.os", "src/number.os"]
        for number in range(count + 5):
            made.edit("src/plug.c", f"NUMBER {number + 1}\n", f"NUMBER {number + 2}\n")
            saved = time.time()
            published = watch.wait("published")
            event: dict[str, Any] = {**watch.wait("reload"), "published": published}
            assert event["ok"] and event["host"] == host.pid, event
            row = {name: float(part(event)) for name, part in PARTS}
            row["save → runs"] = (event["time"] - saved) * 1e3
            row["pause of the host at its safe point, µs"] = event["pause_us"]
            started = time.perf_counter()
            for command in (compile_, link):
                subprocess.run(command, cwd=made.root, check=True)
            row["bare compile and link"] = (time.perf_counter() - started) * 1e3
            row["ours above the bare pair"] = row["save → runs"] - row["bare compile and link"]
            if number >= 5:  # the first ones warm caches
                rounds.append(row)
    return rounds


def table(rounds: list[dict[str, float]]) -> str:
    rows = [f"| ms, {len(rounds)} rounds | median | p99 |", "|---|---:|---:|"]
    for name in rounds[0]:
        values = sorted(row[name] for row in rounds)
        p99 = values[min(len(values) - 1, round(0.99 * (len(values) - 1)))]
        rows.append(f"| {name} | {statistics.median(values):.2f} | {p99:.2f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
