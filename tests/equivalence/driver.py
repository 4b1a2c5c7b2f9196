"""A session without file events: a scons whose build is taken over by a Graph that does what it is told.

``install`` is called by the project's site_init.py, before the SConstruct is read. The driver connects to the Unix socket
that HOTRELOAD_DRIVER names and answers each line of JSON with one.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from typing import Any

import SCons.Script.Main

from hotreload_engine import audit
from hotreload_engine.graph import Graph
from hotreload_engine.index import Index
from hotreload_engine.model import Build


def install() -> None:
    """Take the place of SCons's build, and note what the SConscripts read."""
    address = os.environ.pop("HOTRELOAD_DRIVER")  # not for a scons that this one runs
    reads = audit.install()
    build_targets = SCons.Script.Main._build_targets
    if kind := os.environ.get("HOTRELOAD_DRIVER_DROPS"):
        _drop_edges(kind)

    def drive(fs: Any, options: Any, targets: Any, target_top: Any) -> Any:
        reads.stop((os.path.abspath("SConstruct"),))
        graph = Graph(fs, options, targets, target_top, build_targets, reads)
        _serve(graph, address)
        return [fs.Dir("#")]

    SCons.Script.Main._build_targets = drive


def _drop_edges(kind: str) -> None:
    """A deliberate fault: a session that does not know dependencies of this kind."""
    join = Index._join

    def faulty(index: Index, edges: Any, child: Any, parent: Any) -> None:
        kinds = {"implicit": parent.implicit, "depends": parent.depends, "source": parent.sources}
        if child not in (kinds[kind] or ()):
            join(index, edges, child, parent)

    Index._join = faulty  # type: ignore[method-assign]


def _serve(graph: Graph, address: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        with connection.makefile("rw", encoding="utf-8") as channel:

            def answer(build: Build, **more: Any) -> None:
                fields = {
                    "ok": build.ok,
                    "steps": [[step.target, step.kind, step.ms, step.why] for step in build.steps],
                    "of": build.of,
                    "ms": build.ms,
                    "output": build.output,
                    "errors": [[error.what, error.where, error.output] for error in build.errors],
                    "cut": build.cut,
                    "restart": build.restart,
                    "note": build.note,
                    "current": graph.all_current(),
                    "pid": os.getpid(),
                }
                channel.write(json.dumps({**fields, **more}) + "\n")
                channel.flush()

            answer(graph.start())
            for line in channel:
                order = json.loads(line)
                if order["do"] == "update":
                    graph.explain = order.get("explain", False)
                    asked, heard = order["files"], []
                    heard = _heard(graph, asked) if order.get("filter", True) else asked
                    answer(graph.update(heard, _cut(order), lambda order=order: order.get("settled", True)), heard=heard)
                elif order["do"] == "sync":
                    graph.sync()
                    answer(Build(True))
                elif order["do"] == "idle":
                    while graph.idle() is not None:
                        time.sleep(0.01)
                    answer(Build(True))
                elif order["do"] == "known":
                    answer(Build(True), inputs=sorted(graph.inputs()), directories=sorted(graph.directories()))
                elif order["do"] == "relevant":
                    answer(Build(True), relevant={path: graph.relevant(path) for path in order["files"]})
                elif order["do"] == "end":
                    graph.close()
                    answer(Build(True))
                    return


def _heard(graph: Graph, files: list[str]) -> list[str]:
    """What a watcher would deliver of these changes: names in watched directories that may matter, symbolic links by
    their own name, and of what happens in a directory that is not watched yet, that the directory came."""
    directories = graph.directories()
    links = {os.path.realpath(path): path for path in graph.inputs() if os.path.islink(path)}
    names = []
    for name in {given for path in files for given in (path, links.get(path, path))}:
        while os.path.dirname(name) not in directories and name != "/":
            name = os.path.dirname(name)
        if graph.relevant(name):
            names.append(name)
    return names


def _cut(order: dict[str, Any]) -> Any:
    """When the inputs change: never, after a time, or when a file is there (a command has begun)."""
    after, when = order.get("cut_after"), order.get("cut_when")
    if after is None and when is None:
        return lambda: False
    begun = time.monotonic()
    fired = threading.Event()

    def cut() -> bool:
        if not fired.is_set() and ((when and os.path.exists(when)) or (after and time.monotonic() - begun > after)):
            fired.set()
        return fired.is_set()

    return cut


if __name__ == "__main__":
    sys.exit("this is imported by a project's site_init.py")
