"""The project that both build: every kind of dependency that SCons has, in files of a few lines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness import ROOT

SITE_INIT = """\
import os, sys
if "HOTRELOAD_DRIVER" in os.environ:
    sys.path[:0] = os.environ["HOTRELOAD_DRIVER_PATH"].split(os.pathsep)
    from equivalence import driver
    driver.install()
"""

SCONSTRUCT = """\
import os
dup, decider, cc = int(ARGUMENTS.get("dup", 0)), ARGUMENTS.get("decider", "content"), ARGUMENTS.get("cc", "gcc")
env = Environment(
    tools=["default", "hotreload"] if ARGUMENTS.get("live") else ["default"], CC=cc, CCFLAGS=["-O0", "-w"], CPPPATH=["#inc1", "#inc2", "#build/src"],
    ENV={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, AR="ar", RANLIBCOM="",
)
env.Decider(decider)
if ARGUMENTS.get("level"):
    env.Append(CPPDEFINES={"LEVEL": ARGUMENTS["level"]})
make = env.Clone()
make.Decider("make")
stamp = env.Clone(CPPDEFINES={"STAMP": "1"})
stamp.Decider("content-timestamp")
with open("words.txt") as words:
    names = words.read().split()
Export("env make stamp names")
SConscript("src/SConscript", variant_dir="build/src", duplicate=dup)
SConscript("text/SConscript")
"""

SRC = """\
Import("env make stamp names")

# A static and a shared library, a program of both.
util = env.StaticLibrary("util", ["u1.c", "u2.c"])
plug = env.SharedLibrary("plug", ["p1.c", "p2.c", "linked.c"])
app = env.Program("app", ["main.c", make.Object("timed.c"), stamp.Object("stamped.c")],
                  LIBS=["util", "extra"] if "extra" in names else ["util"], LIBPATH=[".", "#lib"])
env.Depends(app, "app.ld.txt")

# One source, two environments.
other = env.Clone(OBJPREFIX="other_", CPPDEFINES={"OTHER": "2"})
env.StaticLibrary("other", [other.Object("u1.c"), env.Object("sp ace \\u00fc.c")])

# Generated sources and headers, several targets of one action, the generator's script.
table = env.Command(["table.h", "table.c"], ["table.txt", "#tools/table.py"],
                    "python3 ${SOURCES[1]} ${SOURCES[0]} $TARGETS")
made = env.Command("made.c", ["made.txt", "#tools/made.sh"], "sh ${SOURCES[1]} ${SOURCES[0]} $TARGET")
env.SharedLibrary("tables", [table[1], "uses_table.c", made])

# Every source that matches.
env.StaticLibrary("globbed", Glob("glob/*.c"))

# Installed, ignored.
env.Install("#dist", plug)
env.InstallAs("#dist/notes.txt", "notes.txt")
ignoring = env.Object("ignoring.c")
env.Ignore(ignoring, "#inc1/ignored.h")
env.StaticLibrary("extra", [ignoring])
"""

TEXT = """\
Import("env make stamp names")
env.Command("#out/dep.out", "a.txt", "cat $SOURCE text/dep.txt > $TARGET")
Depends("#out/dep.out", "dep.txt")
required = env.Command("#out/required.txt", "b.txt", "cp $SOURCE $TARGET")
first = env.Command("#out/first.out", "c.txt", "cp $SOURCE $TARGET && test -e out/required.txt")
Requires(first, required)
side = env.Command("#out/side.out", "c.txt", "cp $SOURCE $TARGET && cp $SOURCE out/side.log")
beside = env.Command("#out/beside.out", "c.txt", "cp $SOURCE $TARGET && cp $SOURCE out/side.log")
SideEffect("#out/side.log", [side, beside])
env.Command("#out/log.copy", "#out/side.log", "cp $SOURCE $TARGET")
AlwaysBuild(env.Command("#out/always.out", "b.txt", "cp $SOURCE $TARGET"))
env.Command("#out/dir.out", Dir("data"), "(cd $SOURCE && find . -type f | LC_ALL=C sort | xargs -r cat) > $TARGET",
            source_scanner=DirScanner)
env.Command("#out/names.out", Value(" ".join(names)), lambda target, source, env:
            open(str(target[0]), "w").write(source[0].get_text_contents()) and None)
make.Command("#out/made.out", ["a.txt", "b.txt"], "cat $SOURCES > $TARGET")
stamp.Command("#out/stamp.out", ["#out/made.out", "c.txt"], "cat $SOURCES > $TARGET")
env.Alias("all", ["#out", "#build", "#dist"])
"""

FILES = {
    "SConstruct": SCONSTRUCT,
    "words.txt": "one two\n",
    "src/SConscript": SRC,
    "text/SConscript": TEXT,
    "tools/table.py": (
        "import sys\n"
        "source, header, code = sys.argv[1:]\n"
        "word = open(source).read().strip()\n"
        "open(header, 'w').write(f'#define TABLE \"{word}\"\\n')\n"
        "open(code, 'w').write(f'const char *table(void) {{ return \"{word}\"; }}\\n')\n"
    ),
    "tools/made.sh": '#!/bin/sh\nset -e\nread -r value < "$1"\necho "int made(void) { return $value; }" > "$2"\n',
    "inc1/common.h": "#define COMMON 1\n",
    "inc2/common.h": "#define COMMON 2\n",
    "inc1/deep.h": "#define DEEP 10\n",
    "inc2/deeper.h": "#include <deep.h>\n#define DEEPER (DEEP + 1)\n",
    "inc1/ignored.h": "/* ignored */\n",
    "inc2/sub/part.h": "#define PART 7\n",
    "src/main.c": '#include "common.h"\nint util(void);\nint main(void) { return util() - util() + COMMON - COMMON; }\n',
    "src/timed.c": '#include "common.h"\nint timed = COMMON;\n',
    "src/stamped.c": '#include "local.h"\nint stamped = STAMP + LOCAL;\n',
    "src/u1.c": "#include <deeper.h>\n#ifndef OTHER\n#define OTHER 0\n#endif\nint util(void) { return DEEPER + OTHER; }\n",
    "src/u2.c": '#include "local.h"\nint util2(void) { return LOCAL; }\n',
    "src/local.h": "#define LOCAL 3\n",
    "src/p1.c": '#include "common.h"\nint p1(void) { return COMMON; }\n',
    "src/p2.c": "#include <sub/part.h>\nint p2(void) { return PART; }\n",
    "src/sp ace \u00fc.c": '#include "local.h"\nint space(void) { return LOCAL; }\n',
    "src/table.txt": "alpha\n",
    "src/uses_table.c": '#include "table.h"\nconst char *used(void) { return TABLE; }\n',
    "src/made.txt": "42\n",
    "src/glob/g1.c": "int g1(void) { return 1; }\n",
    "src/glob/g2.c": '#include "common.h"\nint g2(void) { return COMMON; }\n',
    "src/ignoring.c": '#include "ignored.h"\nint ignoring(void) { return 1; }\n',
    "src/app.ld.txt": "none\n",
    "src/notes.txt": "notes\n",
    "real/linked.c": '#include "common.h"\nint linked(void) { return COMMON; }\n',
    "text/a.txt": "a\n",
    "text/b.txt": "b\n",
    "text/c.txt": "c\n",
    "text/dep.txt": "dep\n",
    "text/data/d1.txt": "d1\n",
    "text/data/d2.txt": "d2\n",
    "text/data/in/d3.txt": "d3\n",
    "lib/README": "libraries\n",
}


def write(root: Path) -> None:
    lay(root, FILES)
    os.symlink("../real/linked.c", root / "src/linked.c")
    for name in ("site_tools", "hotreload_engine"):
        os.symlink(ROOT / "site_scons" / name, root / "site_scons" / name)


def lay(root: Path, files: Mapping[str, str]) -> None:
    for name, text in {"site_scons/site_init.py": SITE_INIT, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            path.chmod(0o755)
