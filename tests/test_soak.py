"""Many reloads in a row, under load: none lost, none mixed, nothing grows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ticker
from harness import Project, until

ROUNDS = int(os.environ.get("HOTRELOAD_SOAK", "200"))
WARM = 50


def _facts(pid: int) -> tuple[int, int, int]:
    """Open descriptors, mappings, resident KiB."""
    proc = Path(f"/proc/{pid}")
    resident = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("VmRSS"))
    return len(list((proc / "fd").iterdir())), len((proc / "maps").read_text().splitlines()), int(resident.split()[1])


@pytest.mark.timeout(1500)
def test_many_reloads_under_load(made: Project) -> None:
    """Every save is acknowledged, right generation, no mix, exact count, and the host stays as small as it was."""
    ticker.lay(made)
    made.write("src/plug.c", ticker.PLUG_C + ticker.NUMBER_C.split("\n", 2)[2])  # one compiler run a round
    made.write("src/number.c", "typedef int nothing;\n")
    watch, host = made.watch(), made.host()
    watch.wait("host")
    load = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for number in range(2, ROUNDS + 2):
            ticker.set_number(made, number)
            event = watch.wait("reload")
            assert event["ok"] and event["generation"] == number, event
            if number == WARM:
                before = _facts(host.pid)
        ticker.runs(host, ROUNDS + 1)
        after = _facts(host.pid)
    finally:
        load.kill()
        load.wait()
    lines = [line for line in host.lines if line.startswith("generation")]
    assert [line.split(" calls")[0] for line in lines] == [
        f"generation {n} numbers {n} {n} {n}" for n in range(1, ROUNDS + 2)
    ]
    assert after[0] == before[0], "descriptors"
    assert abs(after[1] - before[1]) <= 4, "mappings"
    assert after[2] - before[2] < 1024, "resident memory grew by over 1 MiB"

    def generations() -> int:
        return len([path for path in made.path("build/.hotreload").iterdir() if path.name.endswith(".so")])

    until(lambda: generations() <= 32, "old generations are deleted")  # at rest, and the session was at work until now
