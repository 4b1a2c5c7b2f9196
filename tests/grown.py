"""A small project with everything that makes incremental builds go wrong, and edits to it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from harness import Project

SCONSTRUCT = """\
import os
env = Environment(tools=["default", "hotreload"], CC=ARGUMENTS.get("cc", "gcc"), CPPPATH=["#inc1", "#inc2"], CCFLAGS=["-O0"])
if ARGUMENTS.get("flag"):
    env.Append(CPPDEFINES=["FLAG=" + ARGUMENTS["flag"]])
Export("env")
SConscript("one/SConscript", variant_dir="out/one", duplicate=0)
SConscript("two/SConscript", variant_dir="out/two", duplicate=1)
SConscript("gen/SConscript")
"""

ONE = """\
Import("env")
env = env.Clone()
lib = env.StaticLibrary("base", ["base.c", "linked.c"])
env.Append(LIBS=[lib])
program = env.Program("app", ["main.c"] + Glob("glob_*.c"))
env.Depends(program, "#extra.txt")
env.Ignore(env.Object("quiet.c"), "#inc1/quiet.h")
env.Install("#out/installed", program)
env.Requires(program, env.Command("stamp", "#stamp.in", Copy("$TARGET", "$SOURCE")))
"""

TWO = """\
Import("env")
timed = env.Clone(CPPDEFINES=["TWO"])
timed.Decider("content-timestamp")
shared = timed.SharedLibrary("shared", ["shared.c", "spaced name ü.c"])
made = env.Clone()
made.Decider("make")
made.Program("tool", ["tool.c"])
"""

GEN = """\
Import("env")
header = env.Command(["#out/gen/numbers.h", "#out/gen/numbers.txt"], ["numbers.in", "make_numbers.py"],
                     "python3 gen/make_numbers.py $SOURCE $TARGETS")
source = env.Command("#out/gen/made.c", "made.in", Copy("$TARGET", "$SOURCE"))
gen = env.Clone()
gen.Append(CPPPATH=["#out/gen"])
program = gen.Program("#out/gen/made", [source, "user.c"])
listing = env.Command("#out/gen/listing", Dir("#data"), "ls -R data > $TARGET; cat data/*.txt >> $TARGET",
                      source_scanner=DirScanner)
first = env.Command("#out/gen/log1", "log.in", "cat $SOURCE > $TARGET; cat $SOURCE >> out/gen/shared.log")
second = env.Command("#out/gen/log2", "log.in", "cat $SOURCE > $TARGET; cat $SOURCE >> out/gen/shared.log")
env.SideEffect("#out/gen/shared.log", [first, second])
always = env.Command("#out/gen/always", [], "echo always > $TARGET")
AlwaysBuild(always)
"""

FILES = {
    "SConstruct": SCONSTRUCT,
    "one/SConscript": ONE,
    "two/SConscript": TWO,
    "gen/SConscript": GEN,
    "inc1/first.h": "#define FIRST 1\n",
    "inc2/second.h": '#include "deep.h"\n#define SECOND 2\n',
    "inc2/deep.h": "#define DEEP 3\n",
    "inc2/unused.h": "#define UNUSED 4\n",
    "one/base.c": '#include "second.h"\nint base(void) { return SECOND + DEEP; }\n',
    "one/main.c": '#include "first.h"\n#include "local.h"\nint base(void);\nint main(void) { return base() + FIRST + LOCAL; }\n',
    "one/local.h": "#define LOCAL 5\n",
    "one/glob_a.c": "int glob_a = 1;\n",
    "elsewhere/real.c": '#include "second.h"\nint linked = DEEP;\n',
    "two/shared.c": '#include "first.h"\n#include "own.h"\nint shared(void) { return FIRST + OWN; }\n',
    "two/own.h": "#define OWN 6\n",
    "two/spaced name ü.c": '#include "second.h"\nint spaced(void) { return SECOND; }\n',
    "two/tool.c": '#include "first.h"\nint main(void) { return FIRST; }\n',
    "gen/numbers.in": "7\n",
    "gen/make_numbers.py": "import sys\nn = open(sys.argv[1]).read().strip()\n"
    "open(sys.argv[2], 'w').write(f'#define NUMBER {n}\\n')\nopen(sys.argv[3], 'w').write(n)\n",
    "gen/made.in": "int number(void);\nint main(void) { return number(); }\n",
    "gen/user.c": '#include "numbers.h"\nint number(void) { return NUMBER; }\n',
    "gen/log.in": "line\n",
    "data/a.txt": "a\n",
    "data/sub/b.txt": "b\n",
    "extra.txt": "extra\n",
    "one/quiet.c": '#include "quiet.h"\n#include "first.h"\nint quiet = FIRST;\n',
    "inc1/quiet.h": "/* ignored */\n",
    "stamp.in": "stamp\n",
}

Edit = Callable[[Project], None]


def lay(project: Project) -> None:
    for name, text in FILES.items():
        project.write(name, text)
    project.path("one/linked.c").symlink_to("../elsewhere/real.c")


def write(name: str, text: str) -> Edit:
    return lambda project: project.write(name, text)


def remove(name: str) -> Edit:
    return lambda project: project.path(name).unlink()


def rename_onto(name: str, text: str) -> Edit:
    def edit(project: Project) -> None:
        project.write(name + ".new", text)
        os.rename(project.path(name + ".new"), project.path(name))

    return edit


def both(first: Edit, second: Edit) -> Edit:
    def edit(project: Project) -> None:
        first(project)
        second(project)

    return edit


def original(name: str) -> Edit:
    return write(name, FILES[name])


def touch(name: str) -> Edit:
    def edit(project: Project) -> None:
        os.utime(project.path(name))

    return edit


def sub(name: str, old: str, new: str) -> Edit:
    return lambda project: project.edit(name, old, new)


STEPS: list[tuple[str, Edit, bool]] = [
    # what is done, how, whether the project builds afterwards
    ("edit a source", sub("one/main.c", "+ FIRST", "+ 2 * FIRST"), True),
    ("edit a header", write("inc1/first.h", "#define FIRST 10\n"), True),
    ("edit a header that a header includes", write("inc2/deep.h", "#define DEEP 30\n"), True),
    ("edit a header's comment", write("inc1/first.h", "#define FIRST 10 /* ten */\n"), True),
    ("edit by rename", rename_onto("one/base.c", '#include "second.h"\nint base(void) { return SECOND * DEEP; }\n'), True),
    ("touch", touch("two/tool.c"), True),
    ("touch a header", touch("inc1/first.h"), True),
    ("edit a source of a duplicated variant", sub("two/shared.c", "FIRST + OWN", "FIRST * OWN"), True),
    ("edit a header of a duplicated variant", write("two/own.h", "#define OWN 60\n"), True),
    ("add an #include", sub("two/tool.c", '#include "first.h"', '#include "first.h"\n#include "unused.h"'), True),
    ("edit the header that was added", write("inc2/unused.h", "#define UNUSED 40\n"), True),
    ("remove the #include", sub("two/tool.c", '\n#include "unused.h"', ""), True),
    ("edit a header that is no longer included", write("inc2/unused.h", "#define UNUSED 400\n"), True),
    ("a new header shadows another", write("inc1/second.h", '#include "deep.h"\n#define SECOND 22\n'), True),
    ("edit the one that shadows", write("inc1/second.h", "#define SECOND 23\n#define DEEP 4\n"), True),
    ("it goes again", remove("inc1/second.h"), True),
    ("a local header shadows", write("one/first.h", "#define FIRST 11\n"), True),
    ("and goes", remove("one/first.h"), True),
    ("an #include of what is not there", sub("one/base.c", '#include "second.h"', '#include "second.h"\n#include "late.h"'), False),
    ("more edits while it stands", write("inc1/first.h", "#define FIRST 12\n"), False),
    ("it appears", write("inc2/late.h", "#define LATE 1\n"), True),
    ("edit it", write("inc2/late.h", "#define LATE 2\n"), True),
    ("generator input", write("gen/numbers.in", "8\n"), True),
    ("generator script", sub("gen/make_numbers.py", "#define NUMBER {n}", "#define NUMBER (0 + {n})"), True),
    ("generated source", sub("gen/made.in", "return number()", "return 1 + number()"), True),
    ("a static library's source through a symlink", write("elsewhere/real.c", "int linked = 5;\n"), True),
    ("explicit dependency", write("extra.txt", "more\n"), True),
    ("ignored dependency", write("inc1/quiet.h", "/* more */\n"), True),
    ("order-only dependency", write("stamp.in", "more\n"), True),
    ("side effect", write("gen/log.in", "lines\n"), True),
    ("directory source: change", write("data/a.txt", "aa\n"), True),
    ("directory source: add", write("data/c.txt", "c\n"), True),
    ("directory source: change below", write("data/sub/b.txt", "bb\n"), True),
    ("directory source: delete", remove("data/c.txt"), True),
    ("a new file that a Glob matches", write("one/glob_b.c", "int glob_b = 2;\n"), True),
    ("edit it", write("one/glob_b.c", "int glob_b = 3;\n"), True),
    ("it goes", remove("one/glob_b.c"), True),
    ("delete a listed source", remove("two/tool.c"), False),
    ("bring it back", original("two/tool.c"), True),
    ("syntax error", sub("one/main.c", "int main", "int int main"), False),
    ("more edits while it stands", write("two/own.h", "#define OWN 61\n"), False),
    ("the fix", sub("one/main.c", "int int main", "int main"), True),
    ("delete a built object", remove("out/one/base.o"), True),
    ("delete a built library", remove("out/two/libshared.so"), True),
    ("delete an installed file", remove("out/installed/app"), True),
    ("SConscript edited", sub("one/SConscript", 'env = env.Clone()', 'env = env.Clone(CPPDEFINES=["MORE"])'), True),
    ("with an error in it", sub("one/SConscript", "lib = ", "lib = = "), False),
    ("edit while it stands", write("gen/numbers.in", "9\n"), False),
    ("repaired", sub("one/SConscript", "lib = = ", "lib = "), True),
    ("name with a space and UTF-8", sub("two/spaced name ü.c", "return SECOND", "return 2 * SECOND"), True),
    ("edit and put back at once", both(write("inc2/deep.h", "#define DEEP 99\n"), write("inc2/deep.h", "#define DEEP 30\n")), True),
]  # fmt: skip


def copy_sources(project: Project, to: Path) -> None:
    """The tree without anything that was built."""
    skipped = shutil.ignore_patterns(
        "out", "*.o", "*.os", ".sconsign*", "events*", ".output*", "__pycache__", ".hotreload"
    )
    shutil.copytree(project.root, to, symlinks=True, ignore=skipped)


def outputs(root: Path) -> dict[str, bytes]:
    """Every file that a build makes, by name; a log that grows with every command is left out."""
    found = [*(root / "out").rglob("*"), *root.glob("*/*.o")]
    return {
        str(path.relative_to(root)): path.read_bytes() for path in found if path.is_file() and path.name != "shared.log"
    }


def random_edit(chance: random.Random, project: Project) -> str:
    """One random edit that leaves the project buildable; says what it did."""
    number = chance.randrange(1000)
    choices: list[tuple[str, Edit]] = [
        ("main", write("one/main.c", FILES["one/main.c"].replace("FIRST +", f"{number} * FIRST +"))),
        ("first.h", write("inc1/first.h", f"#define FIRST {number}\n")),
        ("deep.h by rename", rename_onto("inc2/deep.h", f"#define DEEP {number}\n")),
        ("deep.h put back", original("inc2/deep.h")),
        ("own.h", write("two/own.h", f"#define OWN {number}\n")),
        ("shared.c", write("two/shared.c", FILES["two/shared.c"] + f"int more{number};\n")),
        ("spaced", write("two/spaced name ü.c", FILES["two/spaced name ü.c"] + f"/* {number} */\n")),
        ("tool with unused.h", write("two/tool.c", '#include "unused.h"\n' + FILES["two/tool.c"])),
        ("tool without", original("two/tool.c")),
        ("unused.h", write("inc2/unused.h", f"#define UNUSED {number}\n")),
        ("shadow", write("inc1/second.h", f"#define SECOND {number}\n#define DEEP 1\n")),
        ("no shadow", lambda p: p.path("inc1/second.h").unlink(missing_ok=True)),
        ("local shadow", write("one/first.h", f"#define FIRST {number}\n")),
        ("no local shadow", lambda p: p.path("one/first.h").unlink(missing_ok=True)),
        ("numbers.in", write("gen/numbers.in", f"{number}\n")),
        ("real.c", write("elsewhere/real.c", f"int linked = {number};\n")),
        ("extra", write("extra.txt", f"{number}\n")),
        ("stamp", write("stamp.in", f"{number}\n")),
        ("data", write(f"data/{number % 5}.txt", f"{number}\n")),
        ("data gone", lambda p: p.path(f"data/{number % 5}.txt").unlink(missing_ok=True)),
        ("object gone", lambda p: p.path("out/one/base.o").unlink(missing_ok=True)),
        ("library gone", lambda p: p.path("out/two/libshared.so").unlink(missing_ok=True)),
        ("touch", touch("two/shared.c")),
        ("syntax error, then not", both(write("one/base.c", "int int\n"), original("one/base.c"))),
        ("glob", write(f"one/glob_{number % 3}.c", f"int glob{number % 3} = {number};\n")),
    ]
    what, edit = chance.choice(choices)
    edit(project)
    return what
