"""examples/shapes: C++ with classes, virtual functions, templates and containers, reloaded."""

from __future__ import annotations

import re
from pathlib import Path

from harness import example, need
from runtime_kit import STRICT

CLASS = """class pointed : public behaviour {
public:
    explicit pointed(shape &data) : behaviour(data) {}
    std::string name() const override { return "a star of " + std::to_string(it.corners) + " corners"; }
    double area() const override { return it.size; }
};
"""
CASE = "    case kind::star: return std::make_unique<pointed>(data);\n"
BIRTH = """    if (now->shapes.count == 3) {
        shape star = made(kind::star, 1.0, 0.0);
        star.corners = 5;
        now->shapes.add(star);
    }
"""


def test_shapes(tmp_path: Path) -> None:
    """Another virtual function; then a field more, a kind in front of the others and a class for it; all goes on."""
    need("g++")
    with example(tmp_path / "tree", "shapes") as made:
        made.edit("SConstruct", '"-Wall", "-Wextra"', ", ".join(f'"{flag}"' for flag in STRICT))
        watch = made.watch()
        host = made.host("build/main", "20")
        watch.wait("host", lambda e: e["pid"] == host.pid)
        host.wait_line("a circle of 3.14 at")

        text = made.path("shapes.cpp").read_text()
        text = text.replace('"a circle"', '"a disc"').replace("3.1415927 * it.size", "3.0 * it.size")
        made.write("shapes.cpp", text)
        assert watch.reloaded(host=host.pid)["state"] == "state: 3 kept"
        host.wait_line("a disc of 3 at")

        made.edit("drawing.h", "{ circle, box };", "{ star, circle, box };")
        assert "enumeration value 'star' not handled" in watch.wait("error")["output"]
        made.edit("drawing.h", "struct shape {\n", "struct shape {\n    int corners;\n")
        watch.wait("error")
        text = text.replace("std::unique_ptr<behaviour> of(", CLASS + "\nstd::unique_ptr<behaviour> of(")
        text = text.replace("    switch (data.what) {\n", "    switch (data.what) {\n" + CASE)
        text = text.replace("    now->ticks++;\n", BIRTH + "    now->ticks++;\n")
        made.write("shapes.cpp", text)
        said = watch.reloaded(host=host.pid)["state"]
        assert said == "state: 3 kept, 1 new (shapes.items[].corners), 1 re-mapped (shapes.items[].what: circle, box)"
        line = host.wait_line("a star of 5 corners")
        assert re.search(r": a disc of .*, a box of .*, a disc of .*, a star of 5 corners", line), "each is what it was"
        number = int(line.split()[1].rstrip(":"))
        host.wait_line(f"tick {number + 1}:")
        assert watch.stop() == 130
        assert "  warning" not in watch.output
        assert "fixed" in watch.output
        ticks = [int(found) for found in re.findall(r"^tick (\d+):.*\(line \1\)$", host.output, re.M)]
        assert ticks[:number] == list(range(1, number + 1)), "the state and the host's vector count the same"
