"""Projects of C files for ``bench.graph``, each laid out and built for scons, ninja and make alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GROUP = 100
"""Objects in one library, unless all are in a single one."""
_HEADERS = 5
_COMPILE = "gcc -c -O0 -fPIC -Iinc"


@dataclass(frozen=True)
class Shape:
    """What a project looks like and what is edited in it."""

    name: str
    files: int
    one_library: bool = False
    shared_header: bool = False
    """Every file includes ``inc/all.h``, and that is what is edited."""
    jobs: int = 1

    @property
    def groups(self) -> int:
        return 1 if self.one_library else max(1, self.files // GROUP)

    @property
    def per_group(self) -> int:
        return self.files // self.groups

    @property
    def nodes(self) -> int:
        """Files that scons knows of: sources, objects, libraries, headers."""
        return 2 * self.files + self.groups + _HEADERS + self.shared_header

    @property
    def edited(self) -> str:
        return "inc/all.h" if self.shared_header else "src0/f1.c"

    def text(self, number: int) -> str:
        """The edited file's content; another one for each number."""
        return f"#define ALL {number}\n" if self.shared_header else self._source(0, 1, str(number))

    def affected(self) -> tuple[list[list[str]], list[list[str]]]:
        """What the edit leads to, by hand, with outputs beside the real ones: compile commands, then link commands."""
        groups = range(self.groups) if self.shared_header else [0]
        touched = [(g, n) for g in groups for n in (range(self.per_group) if self.shared_header else [1])]
        compiles = [[*_COMPILE.split(), "-o", f"bare/g{g}f{n}.os", f"src{g}/f{n}.c"] for g, n in touched]
        links = []
        for g in groups:
            names = (f"bare/g{g}f{n}.os" if (g, n) in touched else f"src{g}/f{n}.os" for n in range(self.per_group))
            links.append(["gcc", "-o", f"bare/libg{g}.so", "-shared", *names])
        return compiles, links

    def _source(self, group: int, number: int, value: str = "0") -> str:
        headers = [f"h{(number + n) % _HEADERS}.h" for n in range(3)] + ["all.h"] * self.shared_header
        return "".join(f'#include "{name}"\n' for name in headers) + f"int g{group}f{number} = {value};\n"

    def _files(self) -> Iterator[tuple[int, int]]:
        return ((group, number) for group in range(self.groups) for number in range(self.per_group))

    # --- written down ----------------------------------------------------------------------------------------

    def lay_sources(self, root: Path) -> None:
        for header in range(_HEADERS):
            _write(root / f"inc/h{header}.h", f"#define H{header} {header}\n")
        if self.shared_header:
            _write(root / "inc/all.h", self.text(0))
        for group, number in self._files():
            _write(root / f"src{group}/f{number}.c", self._source(group, number))

    def lay_scons(self, root: Path, tools: str) -> None:
        _write(
            root / "SConstruct",
            f"env = Environment(tools={tools}, CCFLAGS=['-O0'], CPPPATH=['inc'])\n"
            f"for g in range({self.groups}):\n"
            f"    env.SharedLibrary(f'out/g{{g}}', [f'src{{g}}/f{{n}}.c' for n in range({self.per_group})])\n"
            "Default('out')\n",
        )

    def lay_ninja(self, root: Path) -> None:
        lines = [
            f"rule cc\n command = {_COMPILE} -MMD -MF $out.d -o $out $in\n deps = gcc\n depfile = $out.d\n",
            "rule ld\n command = gcc -o $out -shared $in\n",
        ]
        for group in range(self.groups):
            objects = [f"out/g{group}f{number}.o" for number in range(self.per_group)]
            lines += [f"build {name}: cc src{group}/f{number}.c\n" for number, name in enumerate(objects)]
            lines.append(f"build out/libg{group}.so: ld {' '.join(objects)}\n")
        _write(root / "build.ninja", "".join(lines))

    def lay_make(self, root: Path) -> None:
        lines = ["all:\n"]
        for group in range(self.groups):
            objects = [f"out/g{group}f{number}.o" for number in range(self.per_group)]
            for number, name in enumerate(objects):
                lines.append(f"{name}: src{group}/f{number}.c\n\t{_COMPILE} -MMD -MP -o $@ $<\n")
            library = f"out/libg{group}.so"
            lines.append(f"all: {library}\n{library}: {' '.join(objects)}\n\tgcc -o $@ -shared $^\n")
        lines.append("-include $(wildcard out/*.d)\n")
        _write(root / "Makefile", "".join(lines))


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("10", 10),
        Shape("100", 100),
        Shape("1000", 1000),
        Shape("10000", 10000),
        Shape("library", 5000, one_library=True),
        Shape("header", 2000, shared_header=True, jobs=2),
    )
}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
