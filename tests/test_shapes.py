"""Shapes of grown projects: each, small but real, builds, runs, reloads, and ends as a fresh scons would leave it.

One table. Of each shape: ``scons`` builds and publishes, a host runs, ``scons watch`` takes an edit of the plugin to it,
and where the SConstruct does something while it is read, an edit of that too. Then a fresh ``scons -n`` finds nothing
to do, and every file is, byte for byte, that of a build from scratch in the same place.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import SCONS
from harness import ROOT, Project, need, project

PLUG_H = """\
#include "hotreload.h"
typedef struct plug_state { unsigned calls; } plug_state;
#define PLUG_FUNCTIONS(X) X(plug_text, const char *, (plug_state *state))
HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
"""
PLUG_C = """\
#include "plug.h"
HR_STATE(plug, plug_state)
const char *plug_text(plug_state *state)
{
    state->calls++;
    return "code one";
}
"""
MAIN_C = """\
#include "plug.h"
#include <stdio.h>
HR_TABLE(plug, PLUG_FUNCTIONS)
int main(void)
{
    hr_host *host;
    hr_desc desc = HR_DESC(plug, "LIBRARY");
    hr_result now = hr_open(&host, &desc);
    for (; now.code != HR_FAILED; now = hr_poll(host)) {
        if (now.changed) printf("%s\\n", plug.plug_text((plug_state *)now.state));
        fflush(stdout);
        hr_wait(host, 1000);
    }
    printf("%s\\n", now.text);
    return 1;
}
"""
SOURCES = {"plug.h": PLUG_H, "plug.c": PLUG_C, "main.c": MAIN_C}
ENV = 'env = Environment(tools=["default", "hotreload"], CPPPATH=["$HOTRELOAD_INCLUDE"])\n'
PLUG = 'plug = env.SharedLibrary("plug", "plug.c")\n'
MAIN = 'main = env.Program("main", ["main.c", "#runtime.o"])\n'
HOT = "env.HotReload(host=main, plugins=[plug])\n"


@dataclass(frozen=True)
class Shape:
    files: dict[str, str]
    """SConstruct and what else it has; the sources are added in ``sources``."""
    library: str = "$ORIGIN/libplug.so"
    """What the host opens."""
    host: str = "main"
    sources: str = "."
    edit: str = "plug.c"
    """The file that has the text."""
    arguments: tuple[str, ...] = ()
    directory: str = "."
    """Where scons is called."""
    host_directory: str = "."
    environment: dict[str, str] = field(default_factory=dict)
    says: str = ""
    """In the output of the first scons."""
    also: tuple[tuple[str, str], ...] = ()
    """A file that is there after the session, and a text in it that was not there before the edits."""
    again: tuple[str, str, str] = ()  # type: ignore[assignment]
    """A file that the SConscript phase reads, and what is replaced in it while the session runs."""
    always: str = ""
    """The beginning of what a scons says that it does every time."""
    watch: bool = True
    """The project leaves us the target ``watch``; otherwise ``scons reload`` takes the edit to the host."""
    oldest: bool = False
    """On the oldest SCons too."""


def plain(between: str = "", env: str = ENV, before: str = "", after: str = "") -> dict[str, str]:
    """A SConstruct of existing targets, with something more in it."""
    return {"SConstruct": before + env + between + PLUG + MAIN + HOT + after}


SHAPES = {
    # --- what the plugin is ---
    "shared library": Shape(plain()),
    "loadable module": Shape(
        {"SConstruct": ENV + 'plug = env.LoadableModule("plug", "plug.c", LDMODULEPREFIX="")\n' + MAIN + HOT},
        library="$ORIGIN/plug.so",
    ),
    "installed under another name": Shape(
        {"SConstruct": ENV + PLUG + 'plug = env.InstallAs("stage/lib/effect.module", plug)\n' + MAIN + HOT},
        library="$ORIGIN/stage/lib/effect.module",
        oldest=True,
    ),
    "versioned library": Shape(
        {"SConstruct": ENV + 'plug = env.SharedLibrary("plug", "plug.c", SHLIBVERSION="1.2.3")\n' + MAIN + HOT},
        library="$ORIGIN/libplug.so",
        oldest=True,
    ),
    "versioned library, by its link": Shape(
        {
            "SConstruct": ENV
            + 'env.SharedLibrary("plug", "plug.c", SHLIBVERSION="1.2.3")\n'
            + MAIN
            + 'env.HotReload(host="main", plugins=["libplug.so"])\n'
        },
        library="$ORIGIN/libplug.so.1",
    ),
    "versioned library, installed": Shape(
        {
            "SConstruct": ENV
            + 'plug = env.SharedLibrary("plug", "plug.c", SHLIBVERSION="1.2.3")\n'
            + 'plug = env.InstallVersionedLib("stage", plug)\n'
            + MAIN
            + HOT
        },
        library="$ORIGIN/stage/libplug.so.1",
    ),
    "made by a command": Shape(
        {
            "SConstruct": ENV
            + 'plug = env.Command("plug.so", ["plug.c", "plug.h"],\n'
            + '                   "gcc -shared -fPIC -I$HOTRELOAD_INCLUDE -o $TARGET $SOURCE")\n'
            + MAIN
            + HOT
        },
        library="$ORIGIN/plug.so",
    ),
    "made by Program": Shape(
        {
            "SConstruct": ENV
            + 'plug = env.Program("plug.so", env.SharedObject("plug.c"), LINKFLAGS=["-shared"])\n'
            + MAIN
            + HOT
        },
        library="$ORIGIN/plug.so",
    ),
    "named by paths": Shape(
        {
            "SConstruct": 'SConscript("engine/SConscript")\n',
            "engine/SConscript": "def build(env):\n"
            + '    env.SharedLibrary("plug", "plug.c")\n'
            + '    env.Program("main", ["main.c", "#runtime.o"])\n'
            + ENV
            + 'build(env)  # returns no node\nenv.HotReload(host="main", plugins=["libplug.so"])\n',
        },
        sources="engine",
        edit="engine/plug.c",
        host="engine/main",
    ),
    "path before the target": Shape(
        {"SConstruct": ENV + 'env.HotReload(host="main", plugins="#/libplug.so")\n' + PLUG + MAIN}
    ),
    "C++": Shape(
        {"SConstruct": ENV + 'plug = env.SharedLibrary("plug", "plug.cpp")\n' + MAIN + HOT}
        | {
            "plug.cpp": '#include "plug.h"\n#include <string>\nHR_STATE(plug, plug_state)\n'
            'static std::string text("code one");\n'
            'extern "C" const char *plug_text(plug_state *) { text = "code one"; return text.c_str(); }\n'
        },
        edit="plug.cpp",
    ),
    "Windows line ends": Shape(
        {name: text.replace("\n", "\r\n") for name, text in {**plain(), **SOURCES}.items()},
        again=("SConstruct", "env.HotReload", "\r\nenv.HotReload"),
    ),
    # --- where host and plugin are ---
    "two SConscripts and environments": Shape(
        {
            "SConstruct": 'SConscript(["plugins/SConscript", "app/SConscript"])\n',
            "plugins/SConscript": 'env = Environment(CPPPATH=["#app", "#src"], CCFLAGS=["-O1"])\n'
            + 'env.SharedLibrary("plug", "plug.c")\n',
            "plugins/plug.c": PLUG_C,
            "app/SConscript": 'env = Environment(tools=["default", "hotreload"])\n'
            + 'env.Append(CPPPATH=["$HOTRELOAD_INCLUDE"])\n'
            + MAIN
            + 'env.HotReload(host=main, plugins=["#plugins/libplug.so"])\n',
        },
        library="$ORIGIN/../plugins/libplug.so",
        sources="app",
        host="app/main",
        edit="plugins/plug.c",
        again=("plugins/SConscript", "-O1", "-O2"),
    ),
    "spaces in names": Shape(
        {
            "SConstruct": 'SConscript("my src/SConscript", variant_dir="my build")\n',
            "my src/SConscript": plain()["SConstruct"],
        },
        sources="my src",
        edit="my src/plug.c",
        host="my build/main",
    ),
    "variant directory": Shape(
        {"SConstruct": 'SConscript("src/SConscript", variant_dir="build/debug")\n', "src/SConscript": plain()["SConstruct"]},
        sources="src",
        edit="src/plug.c",
        host="build/debug/main",
        again=("src/SConscript", "env.HotReload", "\nenv.HotReload"),
    ),
    "variant directory without copies": Shape(
        {
            "SConstruct": 'SConscript("src/SConscript", variant_dir="build/debug", duplicate=0)\n',
            "src/SConscript": plain()["SConstruct"],
        },
        sources="src",
        edit="src/plug.c",
        host="build/debug/main",
    ),
    "one SConscript, called many times": Shape(
        {
            "SConstruct": "for number in range(12):\n"
            + '    SConscript("src/SConscript", variant_dir=f"build/{number}", exports="number")\n',
            "src/SConscript": 'Import("number")\n'
            + ENV
            + 'env.Append(CPPDEFINES={"NUMBER": number})\n'
            + "if number in (0, 11):\n"
            + '    plug = env.SharedLibrary("plug", "plug.c")\n'
            + 'if number == 11:\n    main = env.Program("main", ["main.c", "#runtime.o"])\n'
            + '    env.HotReload(host=main, plugins=[plug, "../0/libplug.so"])\n',
        },
        sources="src",
        edit="src/plug.c",
        host="build/11/main",
    ),
    "started by a script elsewhere": Shape(
        plain()
        | {"tools/run.sh": '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\ncd /\nexec "$here/../main" 2>&1\n'},
        host="tools/run.sh",
        host_directory="tools",
    ),
    # --- what the SConstruct does ---
    "no default environment": Shape(plain(before="DefaultEnvironment(tools=[])\n")),
    "options of our names": Shape(
        plain(before='AddOption("--hot-run", action="store_true", default=False, help="our own")\n'),
        says="the project has an option --hot-run of its own",
    ),
    "a target of our name": Shape(
        plain(after='env.Alias("watch", [], "echo theirs")\n'), watch=False
    ),
    "arguments taken from sys.argv": Shape(
        plain(
            "import sys\nmode = sys.argv[sys.argv.index('mode=fast') + 1]\n"
            "assert mode == 'name with space=1', sys.argv\nenv.Append(CPPDEFINES=[('MODE', len(sys.argv) > 2)])\n"
        ),
        arguments=("mode=fast", "name with space=1"),
        again=("SConstruct", "assert mode", "assert  mode"),
    ),
    "options kept in files": Shape(
        plain(
            "options = Variables(['options.py', 'local.py'], ARGUMENTS)\n"
            "options.Add('LEVEL', '', '1')\noptions.Update(env)\noptions.Save('options.py', env)\n"
            "import pickle\nfrom pathlib import Path\ncache = Path('.saved_config')\n"
            "level = pickle.loads(cache.read_bytes()) if cache.exists() else env['LEVEL']\n"
            "cache.write_bytes(pickle.dumps(env['LEVEL']))\n"
            "env.Append(CPPDEFINES={'LEVEL': '$LEVEL'})\n"
        ),
        arguments=("LEVEL=3",),
        again=("SConstruct", "'LEVEL', '', '1'", "'LEVEL', '', '2'"),
    ),
    "sources made while it is read": Shape(
        plain(
            "import os\nos.makedirs('gen', exist_ok=True)\n"
            "with open('gen/text.h', 'w') as file:\n"
            "    file.write('#define TEXT \"%s\"\\n' % open('text.txt').read().strip())\n"
        )
        | {
            "text.txt": "code one\n",
            "plug.c": PLUG_C.replace('#include "plug.h"', '#include "plug.h"\n#include "gen/text.h"').replace(
                '"code one"', "TEXT"
            ),
        },
        edit="text.txt",
    ),
    "outputs in hash order": Shape(
        plain(
            "names = {'alpha', 'beta', 'gamma', 'delta', 'epsilon'}\n"
            "env.Append(CPPDEFINES=[*names])\nenv.Command('order.txt', [], 'echo ' + ' '.join(names) + ' > $TARGET')\n"
        ),
        environment={"PYTHONHASHSEED": "7"},
        again=("SConstruct", "names = {", "names =  {"),
    ),
    "configured": Shape(
        plain(
            "conf = env.Configure(config_h='config.h')\nconf.CheckCHeader('stdio.h')\nconf.CheckFunc('dlopen')\n"
            "conf.CheckLib('m', autoadd=0)\nconf.Define('LEVEL', 1)\nenv = conf.Finish()\n"
        )
        | {"plug.c": '#include "config.h"\n' + PLUG_C},
        again=("SConstruct", "('LEVEL', 1)", "('LEVEL', 2)"),
        also=(("config.h", "LEVEL 2"),),
        oldest=True,
    ),
    "a compilation database": Shape(
        plain("env.Tool('compilation_db')\nenv.CompilationDatabase()\n"),
        again=("SConstruct", "CompilationDatabase()\n", "CompilationDatabase()\nenv.Append(CPPDEFINES=['MORE'])\n"),
        also=(("compile_commands.json", "-DMORE"),),
        always="Building compilation database",
    ),
    "Help": Shape(plain(before="Help('build it by scons\\n')\nAddOption('--level', default='1', help='how much')\n")),
    "Exit in a branch": Shape(
        plain(before="if ARGUMENTS.get('list'):\n    print('nothing to list')\n    Exit(0)\n"),
        again=("SConstruct", "nothing to list", "no list"),
    ),
    "a post action on the plugin": Shape(
        plain(after="env.AddPostAction(plug, 'strip --strip-debug $TARGET && cp $TARGET twin.so')\n")
    ),
    "warnings are exceptions": Shape(
        plain(before="import SCons.Warnings\nSCons.Warnings.warningAsException()\nSetOption('warn', ['all', 'no-dependency'])\n")
    ),
    "signatures elsewhere": Shape(
        plain(before="import os\nos.makedirs('meta', exist_ok=True)\nSConsignFile('meta/signatures')\n"),
        again=("SConstruct", "exist_ok=True", "exist_ok = True"),
    ),
    "cache": Shape(plain(before="CacheDir('cache')\n")),
    # --- how scons is called ---
    "-C": Shape(plain(), arguments=("-C", "project"), directory=".."),
    "-D below": Shape(
        plain() | {"below/SConscript": ""},
        arguments=("-D",),
        directory="below",
        again=("SConstruct", "env.HotReload", "\nenv.HotReload"),
    ),
    "-u below": Shape(
        {
            "SConstruct": 'SConscript("engine/SConscript")\nDefault(".")\n',
            "engine/SConscript": plain()["SConstruct"],
        },
        sources="engine",
        edit="engine/plug.c",
        host="engine/main",
        arguments=("-u", "."),
        directory="engine",
    ),
    "-f": Shape(
        {
            "build/rules.py": plain(
                env='env = Environment(tools=["default", "hotreload"], toolpath=["#site_scons/site_tools"],\n'
                '                  CPPPATH=["$HOTRELOAD_INCLUDE"])\n'
            )["SConstruct"]
        },
        arguments=("-f", "build/rules.py"),
        again=("build/rules.py", "env.HotReload", "\nenv.HotReload"),
    ),
    "--site-dir": Shape(
        plain(before="import localrules\n") | {"scripts/localrules.py": "LEVEL = 1\n"},
        arguments=("--site-dir=scripts",),
        again=("scripts/localrules.py", "1", "2"),
    ),
    "-j -k": Shape(plain(after='env.Program("more", "more.c")\n') | {"more.c": "int main(void) { return 0; }\n"}, arguments=("-j4", "-k")),
    "--config=force": Shape(
        plain("conf = env.Configure(config_h='config.h')\nconf.CheckCHeader('stdio.h')\nenv = conf.Finish()\n")
        | {"plug.c": '#include "config.h"\n' + PLUG_C},
        arguments=("--config=force",),
    ),
}
CASES = [(name, scons) for name, shape in SHAPES.items() for scons in SCONS if scons == "newest" or shape.oldest]

NOT_OUTPUTS = re.compile(
    r"(.*/)?(\.sconsign|signatures|\.sconf_temp/|config\.log$|\.hotreload/|__pycache__/|\.output-|events|cache/)"
)
"""Not to be the same: signatures have times in them, logs have words."""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime, compiled once."""
    place = tmp_path_factory.mktemp("runtime")
    (place / "runtime.c").write_text('#define HOTRELOAD_IMPLEMENTATION\n#include "hotreload.h"\n')
    command = [need("gcc"), "-c", f"-I{ROOT / 'src'}", "runtime.c"]
    subprocess.run(command, cwd=place, check=True)
    return place / "runtime.o"


NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


class Fresh:
    """Fresh processes of the newest SCons, forked by one that has imported it (and nothing of ours)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/equivalence/fresh.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != NO_BYTECODE}, text=True,
        )  # fmt: skip

    def scons(self, made: Project, directory: str, *arguments: str) -> str:
        output = made.root.parent / "fresh.txt"
        order = {
            "directory": str(made.root / directory), "arguments": list(arguments), "environment": made.environment,
            "output": str(output),
        }  # fmt: skip
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = self._process.stdout.readline()
        text = output.read_text(encoding="utf-8", errors="replace")
        assert code == "0\n", f"exit {code}\n{text}"
        return text

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def fresh() -> Iterator[Fresh]:
    made = Fresh()
    yield made
    made.close()


@pytest.fixture(params=[False])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """A project without anything in it; ``request.param``: the oldest SCons."""
    with project(tmp_path / "project", old_scons=request.param, site=False) as found:
        found.environment.pop(NO_BYTECODE, None)  # all shapes have one copy of ours, compiled once
        yield found


def lay(made: Project, shape: Shape, runtime: Path) -> None:
    """The tool is linked in: its compiled modules serve all shapes."""
    site = next((word.partition("=")[2] for word in shape.arguments if word.startswith("--site-dir")), "site_scons")
    made.path(site).mkdir(parents=True)
    for name in ("site_tools", "hotreload_engine"):
        made.path(f"{site}/{name}").symlink_to(ROOT / "site_scons" / name)
    made.path("src").mkdir(exist_ok=True)
    for source, name in ((ROOT / "src/hotreload.h", "src/hotreload.h"), (runtime, "runtime.o")):
        os.link(source, made.path(name)) if source == runtime else made.path(name).write_bytes(source.read_bytes())
    for name, text in {f"{shape.sources}/{name}": text for name, text in SOURCES.items()}.items():
        made.write(name, text)
    for name, text in shape.files.items():
        made.path(name).parent.mkdir(parents=True, exist_ok=True)
        made.path(name).write_bytes(text.encode())
        if name.endswith(".sh"):
            made.path(name).chmod(0o755)
    main = f"{shape.sources}/main.c"
    made.path(main).write_bytes(made.path(main).read_bytes().replace(b"LIBRARY", shape.library.encode()))


def change(made: Project, name: str, old: str, new: str) -> None:
    """As an editor does that leaves line ends alone."""
    data = made.path(name).read_bytes()
    assert old.encode() in data, f"{old!r} is not in {name}"
    made.path(name).write_bytes(data.replace(old.encode(), new.encode()))


def outputs(root: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(root.rglob("*")) if path.is_file())
    named = ((str(path.relative_to(root)), path) for path in paths)
    return {name: path.read_bytes() for name, path in named if not NOT_OUTPUTS.match(name)}


def test_exit_in_an_edited_sconscript(made: Project, runtime: Path) -> None:
    """Exit(0) is a success for scons, but nothing is built any more: the session goes on, and says so."""
    lay(made, SHAPES["shared library"], runtime)
    watch = made.watch()
    change(made, "SConstruct", "env.HotReload", "Exit(0)\nenv.HotReload")
    assert "calls Exit" in watch.wait("error")["output"]
    change(made, "plug.c", "code one", "code two")
    assert watch.wait("published")["generation"] == 2
    change(made, "SConstruct", "Exit(0)\n", "")
    change(made, "plug.c", "code two", "code three")
    assert watch.wait("published")["generation"] == 3
    assert watch.stop() == 130


def test_two_versions_of_one_library(made: Project, runtime: Path) -> None:
    """In one directory hosts could not tell them apart: said, and neither is published. By two names it is one."""
    two = "".join(f'HOT(env.SharedLibrary("plug", "plug.c", SHLIBVERSION="{n}"))\n' for n in (1, 2))
    hot = "HOT = lambda plug: env.HotReload(plugins=plug)\n"
    lay(made, Shape({"SConstruct": ENV + hot + two}), runtime)
    output = made.scons("-Q", code=2)
    assert "hosts cannot tell libplug.so.2 from libplug.so.1" in output and "published" not in output
    made.write("SConstruct", ENV + hot + two.splitlines()[0] + '\nHOT("libplug.so")\n')
    assert made.scons("-Q").count("published plug") == 1


def test_a_path_that_nothing_makes(made: Project, runtime: Path) -> None:
    """A wrong path to a plugin is told."""
    lay(made, Shape({"SConstruct": ENV + PLUG + 'env.HotReload(plugins=["libplg.so"])\n'}), runtime)
    output = made.scons("-Q", "reload", code=2)
    assert "libplg.so" in output and "HotReload the path of what is built" in output and "Traceback" not in output


@pytest.mark.parametrize("made", list(SCONS.values()), indirect=True, ids=list(SCONS))
def test_beside_the_ninja_tool(made: Project, runtime: Path) -> None:
    """SCons's own tool, which has ninja build: what ninja has built is published, and reloaded; watch builds without it."""
    ninja = pytest.importorskip("ninja")
    found = f"env.PrependENVPath('PATH', {ninja.BIN_DIR!r})\n"  # SCons 4.4 looks for it there alone
    lay(made, Shape(plain(f"SetOption('experimental', 'ninja')\n{found}env.Tool('ninja')\n")), runtime)
    output = made.scons("-Q")
    assert "Executing: " in output and "published plug #1" in output
    host = made.host("main")
    host.wait_line("code one")
    change(made, "plug.c", "code one", "code two")
    assert f"reloaded plug #2 in pid {host.pid}" in made.scons("-Q", "reload")
    host.wait_line("code two")
    assert "runs #2 (newest)" in made.scons("-Q", "hosts")
    change(made, "plug.c", "code two", 'code "')
    assert "published" not in made.scons("-Q", code=2)
    change(made, "plug.c", 'code "', "code three")
    watch = made.watch("--hot-run", ready=False)
    watch.reloaded(host=host.pid)
    host.wait_line("code three")
    change(made, "SConstruct", "env.HotReload", "\nenv.HotReload")
    watch.wait("change", lambda e: "reading the SConscripts again" in e["note"])
    watch.wait("ready")
    change(made, "plug.c", "code three", "code four")
    watch.reloaded(host=host.pid)
    host.wait_line("code four")
    assert watch.stop() == 130
    assert "watch builds without it" in watch.output and "Traceback" not in watch.output
    made.scons("-Q", "-c")
    output = made.scons("-Q", "--disable-execute-ninja")
    assert "error" not in output and "published" not in output and not made.path("libplug.so").exists()


@pytest.mark.parametrize(
    "shape, made", [(name, SCONS[scons]) for name, scons in CASES], indirect=["made"], ids=map("-".join, CASES)
)
def test_shape(made: Project, shape: str, runtime: Path, fresh: Fresh) -> None:
    """It builds, a host runs, edits reach it, and nothing is left to do for a fresh scons, nor different."""
    this = SHAPES[shape]
    if this.edit.endswith(".cpp"):
        need("g++")
    made.environment |= this.environment
    lay(made, this, runtime)

    def scons(*arguments: str) -> str:
        words = [word for word in this.arguments if not ("-n" in arguments and word == "--config=force")]
        if this.environment or "PYTHONPATH" in made.environment:  # to be there when Python starts
            return made.scons("-Q", *arguments, *words, directory=this.directory)
        return fresh.scons(made, this.directory, "-Q", *arguments, *words)

    output = scons()
    assert this.says in output and "published" in output, output
    host = made.host(this.host, directory=this.host_directory)
    host.wait_line("code one")
    if this.watch:
        watch = made.watch(*this.arguments, directory=this.directory)
    change(made, this.edit, "code one", "code two")
    if not this.watch:
        assert "has a target watch of its own" in scons("watch")
        assert f"in pid {host.pid}" in scons("reload", ".")
    else:
        watch.reloaded(host=host.pid)
    host.wait_line("code two")
    if this.again:
        change(made, *this.again)
        watch.wait("ready")
        change(made, this.edit, "code two", "code three")
        watch.reloaded(host=host.pid)
        host.wait_line("code three")
    if this.watch:
        assert watch.stop() == 130
        assert "Traceback" not in watch.output and "error" not in {event["event"] for event in watch.events}, watch.output
        again = watch.output.count("reading the SConscripts again")
        assert again == bool(this.again) + (this.edit == "text.txt"), watch.output
    for name, text in this.also:
        assert text in made.path(name).read_text()
    usual = ("scons: ", "Checking ", "hotreload: ", *filter(None, [this.always]))
    assert [line for line in scons("-n").splitlines() if not line.startswith(usual)] == []
    host.kill()
    mine = outputs(made.root)
    made.root.rename(made.root.with_name("session"))
    made.root.mkdir()
    lay(made, this, runtime)
    change(made, this.edit, "code one", "code three" if this.again else "code two")
    if this.again:
        change(made, *this.again)
    scons()
    scratch = outputs(made.root)
    assert mine.keys() == scratch.keys()
    assert [name for name, data in scratch.items() if data != mine[name]] == []
