"""bench/data/graph.json → bench/graph.svg: time from an edit to a project that is up to date, by its size.

    python3 bench/plot.py [graph.json graph.svg]

Both axes are logarithmic; projects of another shape have a column each at the right. Needs nothing but Python.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 960, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 390, 30, 50
SHAPES = {"library": ("5,000 in one", "library"), "header": ("a header of", "2,000")}
"""Name of a project of another shape → the two lines below its column."""
COLUMN = 85
LINES = (
    ("fresh scons", "#b03a2e"),
    ("scons --interactive", "#d68910"),
    ("make", "#7d3c98"),
    ("ninja", "#2471a3"),
    ("hotreload", "#1e8449"),
    ("bare", "#808b96"),
)
Points = list[tuple[float, float]]


def medians(projects: list[dict], name: str) -> Points:  # type: ignore[type-arg]
    """Of the projects of plugins of 100 objects, one file edited."""
    return [
        (project["files"], statistics.median(project["times"][name]))
        for project in projects
        if project["name"].isdigit() and project["times"].get(name)
    ]


def draw(lines: dict[str, Points], others: dict[str, dict[str, float]]) -> str:
    """``others``: project of another shape → line → milliseconds."""
    values = [ms for points in lines.values() for _, ms in points]
    values += [ms for column in others.values() for ms in column.values()]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    sizes = sorted({files for points in lines.values() for files, _ in points})

    def x(files: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(files / sizes[0]) / math.log(sizes[-1] / sizes[0])

    def y(ms: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(ms / low) / math.log(high / low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"',
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18">one C file edited, until all is built again: milliseconds (median)</text>',
    ]
    ms = low
    while ms <= high:
        text = f"{ms:,.0f} ms" if ms < 1000 else f"{ms / 1000:,.0f} s"
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(ms):.1f}" y2="{y(ms):.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(ms) + 4:.1f}" text-anchor="end">{text}</text>')
        ms *= 10
    for files in sizes:
        parts.append(f'<text x="{x(files):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{files:,}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">files</text>')
    taken: list[float] = []
    for (name, colour), points in zip(LINES, (lines.get(name, []) for name, _ in LINES), strict=True):
        if not points:
            continue
        path = " ".join(f"{x(files):.1f},{y(ms):.1f}" for files, ms in points)
        dash = ' stroke-dasharray="5 4"' if name == "bare" else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{x(files):.1f}" cy="{y(ms):.1f}" r="3" fill="{colour}"/>' for files, ms in points]
        place = y(points[-1][1]) + 4
        while any(abs(place - other) < 15 for other in taken):
            place += 3
        taken.append(place)
        label = "compiler and linker alone" if name == "bare" else name
        parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{place:.1f}" fill="{colour}">{label}</text>')
    for number, (shape, column) in enumerate(others.items()):
        middle = WIDTH - 20 - COLUMN * (len(others) - number - 0.5)
        for row, text in enumerate(SHAPES[shape]):
            place = HEIGHT - BOTTOM + 20 + 15 * row
            parts.append(f'<text x="{middle:.1f}" y="{place}" text-anchor="middle">{text}</text>')
        parts.append(f'<line x1="{middle}" x2="{middle}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#dddddd"/>')
        for name, colour in LINES:
            if name in column:
                parts.append(f'<circle cx="{middle:.1f}" cy="{y(column[name]):.1f}" r="4" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    data, picture = map(Path, sys.argv[1:3] or (HERE / "data" / "graph.json", HERE / "graph.svg"))
    projects = json.loads(data.read_text())["projects"]
    others = {
        project["name"]: {name: statistics.median(times) for name, times in project["times"].items() if times}
        for project in projects
        if project["name"] in SHAPES
    }
    for column in others.values():
        for name in set(column) - {name for name, _ in LINES}:
            del column[name]  # the link alone, and differences
    picture.write_text(draw({name: medians(projects, name) for name, _ in LINES}, others))


if __name__ == "__main__":
    main()
