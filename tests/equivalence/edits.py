"""What people do to a project between two builds. An edit changes both trees and tells which files it changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from .harness import Tree

Edit = Callable[[Tree, random.Random], list[Path] | None]
"""None: not possible as things are."""

EDITS: dict[str, Edit] = {}


def edit(function: Callable[[Tree, random.Random], list[Path] | None]) -> Edit:
    EDITS[function.__name__.replace("_", " ")] = function
    return function


def _number(
    tree: Tree, dice: random.Random, name: str, before: str, after: str, rename: bool = False
) -> list[Path] | None:
    """Another number between these two pieces of text."""
    if not tree.has(name):
        return None
    text = tree.read(name)
    start = text.find(before)
    if start < 0:
        return None
    start += len(before)
    end = text.index(after, start)
    return tree.write(name, f"{text[:start]}{dice.randrange(1000)}{text[end:]}", rename)


@edit
def edit_a_source(tree: Tree, dice: random.Random) -> list[Path] | None:
    return _number(tree, dice, *dice.choice([
        ("src/glob/g1.c", "return ", ";"), ("src/ignoring.c", "return ", ";"), ("src/made.txt", "", "\n"),
    ]))  # fmt: skip


@edit
def edit_a_header(tree: Tree, dice: random.Random) -> list[Path] | None:
    return _number(tree, dice, *dice.choice([
        ("inc1/common.h", "COMMON ", "\n"), ("inc2/common.h", "COMMON ", "\n"), ("inc1/deep.h", "DEEP ", "\n"),
        ("inc2/deeper.h", "(DEEP + ", ")"), ("inc2/sub/part.h", "PART ", "\n"), ("src/local.h", "LOCAL ", "\n"),
    ]))  # fmt: skip


@edit
def edit_by_rename(tree: Tree, dice: random.Random) -> list[Path] | None:
    return _number(tree, dice, *dice.choice([
        ("src/local.h", "LOCAL ", "\n"), ("src/glob/g1.c", "return ", ";"), ("real/linked.c", "return ", ";"),
    ]), rename=True)  # fmt: skip


@edit
def edit_a_comment_of_a_header(tree: Tree, dice: random.Random) -> list[Path] | None:
    name = dice.choice(["inc1/common.h", "inc2/deeper.h", "src/local.h"])
    return tree.write(name, tree.read(name) + f"/* {dice.randrange(1000)} */\n") if tree.has(name) else None


@edit
def touch(tree: Tree, dice: random.Random) -> list[Path] | None:
    name = dice.choice(["src/p1.c", "inc1/common.h", "src/table.txt", "text/c.txt", "src/notes.txt"])
    return tree.touch(name) if tree.has(name) else None


@edit
def edit_and_put_back(tree: Tree, dice: random.Random) -> list[Path] | None:
    name = dice.choice(["src/p1.c", "inc1/deep.h", "text/a.txt"])
    if not tree.has(name):
        return None
    text = tree.read(name)
    return tree.write(name, "other\n") + tree.write(name, text)


@edit
def add_an_include(tree: Tree, dice: random.Random) -> list[Path] | None:
    name = dice.choice(["src/p1.c", "src/u2.c", "src/glob/g2.c", "inc1/deep.h"])
    line = "#include " + dice.choice(["<sub/part.h>", '"deep.h"', '"extra.h"', '"table.h"'])
    if not tree.has(name) or line in tree.read(name) or (name.endswith("deep.h") and '"deep.h"' in line):
        return None
    header = line.split()[1][1:-1]
    if header == "extra.h" and not tree.has("inc2/extra.h"):
        return None
    return tree.write(name, f"{line}\n{tree.read(name)}")


@edit
def remove_an_include(tree: Tree, dice: random.Random) -> list[Path] | None:
    name = dice.choice(["src/p1.c", "src/u2.c", "src/glob/g2.c", "inc1/deep.h"])
    lines = tree.read(name).splitlines(keepends=True) if tree.has(name) else []
    added = [line for line in lines if line.startswith("#include") and not any(
        kept in line for kept in ("common.h", "local.h", "deeper.h"))]  # fmt: skip
    if not added:
        return None
    lines.remove(dice.choice(added))
    return tree.write(name, "".join(lines))


@edit
def edit_a_header_that_may_not_be_included(tree: Tree, dice: random.Random) -> list[Path] | None:
    """Whether or not it is there and included now."""
    return tree.write("inc2/extra.h", f"#define EXTRA {dice.randrange(1000)}\nstatic int extra = EXTRA;\n")


@edit
def shadow_a_header(tree: Tree, dice: random.Random) -> list[Path] | None:
    new = dice.choice(["src/common.h", "src/deep.h", "inc1/local.h", "inc1/sub/part.h", "src/glob/common.h"])
    if tree.has(new):
        return None
    macro = {"common": "COMMON", "deep": "DEEP", "local": "LOCAL", "part": "PART"}[Path(new).stem]
    return tree.write(new, f"#define {macro} {dice.randrange(1000)}\n")


@edit
def take_the_shadow_away(tree: Tree, dice: random.Random) -> list[Path] | None:
    names = ["src/common.h", "src/deep.h", "inc1/local.h", "inc1/sub/part.h", "src/glob/common.h"]
    there = [name for name in names if tree.has(name)]
    return tree.remove(dice.choice(there)) if there else None


@edit
def take_the_first_of_two_headers_away(tree: Tree, dice: random.Random) -> list[Path] | None:
    if tree.has("inc1/common.h"):
        return tree.remove("inc1/common.h") if tree.has("inc2/common.h") else None
    return tree.write("inc1/common.h", f"#define COMMON {dice.randrange(1000)}\n")


@edit
def edit_a_generator_input(tree: Tree, dice: random.Random) -> list[Path] | None:
    return tree.write("src/table.txt", dice.choice(["alpha", "beta", "gamma"]) + "\n")


@edit
def edit_a_generator_script(tree: Tree, dice: random.Random) -> list[Path] | None:
    name = dice.choice(["tools/table.py", "tools/made.sh"])
    text = tree.read(name)
    if name.endswith(".py"):
        return tree.write(
            name, text + dice.choice([f"# {dice.randrange(100)}\n", "open(code, 'a').write('int more;\\n')\n"])
        )
    return tree.write(name, text.rstrip("\n") + dice.choice(["\n# more\n", "\necho 'int more_made;' >> \"$2\"\n"]))


@edit
def edit_a_source_of_the_static_library(tree: Tree, dice: random.Random) -> list[Path] | None:
    name = "src/u2.c"
    return tree.write(name, tree.read(name) + f"int u2_{dice.randrange(1000)}_{len(tree.read(name))};\n")


@edit
def edit_an_explicit_dependency(tree: Tree, dice: random.Random) -> list[Path] | None:
    return tree.write(dice.choice(["text/dep.txt", "src/app.ld.txt"]), f"{dice.randrange(1000)}\n")


@edit
def edit_text(tree: Tree, dice: random.Random) -> list[Path] | None:
    return tree.write(
        dice.choice(["text/a.txt", "text/b.txt", "text/c.txt", "src/notes.txt"]), f"{dice.randrange(1000)}\n"
    )


@edit
def change_in_a_directory_source(tree: Tree, dice: random.Random) -> list[Path] | None:
    name = dice.choice(["text/data/d1.txt", "text/data/in/d3.txt", "text/data/d4.txt", "text/data/new/d5.txt"])
    if tree.has(name) and dice.random() < 0.4 and name != "text/data/d1.txt":
        return tree.remove(name)
    return tree.write(name, f"{dice.randrange(1000)}\n")


@edit
def change_what_a_glob_matches(tree: Tree, dice: random.Random) -> list[Path] | None:
    name = dice.choice(["src/glob/g3.c", "src/glob/g4.c"])
    if tree.has(name):
        return tree.remove(name)
    return tree.write(name, f"int {Path(name).stem}(void) {{ return {dice.randrange(1000)}; }}\n")


@edit
def edit_an_ignored_header(tree: Tree, dice: random.Random) -> list[Path] | None:
    """What it includes is not ignored."""
    return tree.write("inc1/ignored.h", dice.choice(["/* ignored */\n", '#include "deep.h"\n']))


@edit
def save_many_at_once(tree: Tree, dice: random.Random) -> list[Path] | None:
    chosen = [EDITS[name] for name in dice.sample(sorted(EDITS), 6) if name not in ("save many at once",)]
    changed = [made(tree, dice) for made in chosen]
    return [path for paths in changed for path in paths or ()]


@edit
def delete_an_output(tree: Tree, dice: random.Random) -> list[Path] | None:
    outputs = sorted(
        path.relative_to(tree.root)
        for directory in ("build", "out", "dist")
        for path in (tree.root / directory).rglob("*")
        if path.is_file() and path.suffix in (".o", ".os", ".a", ".so", ".out", ".copy")
    )
    return tree.remove_output(str(dice.choice(outputs))) if outputs else None


@edit
def edit_an_sconscript(tree: Tree, dice: random.Random) -> list[Path] | None:
    name = dice.choice(["src/SConscript", "text/SConscript"])
    return tree.write(name, tree.read(name) + f"# {dice.randrange(1000)}\n")


@edit
def edit_what_the_sconstruct_reads(tree: Tree, dice: random.Random) -> list[Path] | None:
    return tree.write("words.txt", dice.choice(["one two\n", "one three\n", "one extra\n"]))


@edit
def edit_a_file_with_spaces(tree: Tree, dice: random.Random) -> list[Path] | None:
    return _number(tree, dice, "src/sp ace \u00fc.c", "return ", ";") or tree.write(
        "src/sp ace \u00fc.c", f"int space(void) {{ return {dice.randrange(1000)}; }}\n"
    )


@edit
def edit_through_a_link(tree: Tree, dice: random.Random) -> list[Path] | None:
    return tree.write(
        "real/linked.c", f'#include "common.h"\nint linked(void) {{ return COMMON + {dice.randrange(1000)}; }}\n'
    )
