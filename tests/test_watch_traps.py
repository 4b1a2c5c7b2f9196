"""Shapes of projects that others fell over; each converges to what a fresh scons would build."""

from __future__ import annotations

import os

import pytest

from harness import Project, Watch, until

PLAIN = """\
env = Environment(tools=["default", "hotreload"], CPPPATH=["inc"])
{setting}
env.Program("prog", ["main.c", "other.c"])
"""

SETTINGS = {
    "signatures elsewhere": "import os\nos.makedirs('meta', exist_ok=True)\nSConsignFile('meta/signatures')",
    "signatures in every directory": "SConsignFile(None)",
    "cache": "CacheDir('cache')",
    "response files": "env.Replace(MAXLINELENGTH=10)\nenv['LINKCOM'] = '${TEMPFILE(\"' + env['LINKCOM'] + '\")}'",
    "warnings are errors": "SetOption('warn', ['all'])",
    "jobs": "SetOption('num_jobs', 3)",
    "implicit cache": "SetOption('implicit_cache', 1)",
    "timestamps": "env.Decider('make')",
    "content and time": "env.Decider('content-timestamp')",
    "exact times": "env.Decider('timestamp-match')",
    "post action": "env.AddPostAction('prog', 'cp $TARGET prog.copy')",
    "function of the target": "env['CCFLAGS'] = lambda target, source, env, for_signature: '-DNAME=' + target[0].name.split('.')[0]",
    "generated while reading": "open('inc/gen.h', 'w').write('#define GEN 1\\n')",
    "configured": "conf = Configure(env)\nconf.CheckCHeader('stdio.h')\nenv = conf.Finish()",
    "hand-made globbing": "import os\n[os.path.join('src', n) for n in os.listdir('inc')]",
    "clones with overrides": "env = env.Clone(CCFLAGS='-O0').Clone(CPPDEFINES={'A': 1})",
    "default target is a directory": "Default('.')",
}


def settle(made: Project, watch: Watch, what: str) -> None:
    """Wait until a fresh scons finds nothing to do."""

    def is_settled() -> bool:
        assert watch.process.poll() is None, watch.output[-3000:]
        return all("is up to date" in line for line in made.scons("-Q", "-n", code=None).splitlines())

    until(is_settled, f"nothing being left to do after «{what}»\n{watch.output[-3000:]}")


@pytest.mark.parametrize("setting", SETTINGS)
def test_setting(made: Project, setting: str) -> None:
    """A header, a source, a header by rename, an object that goes: after each a fresh scons has nothing to do."""
    made.write("SConstruct", PLAIN.format(setting=SETTINGS[setting]))
    made.write("inc/h.h", "#define H 1\n")
    made.write("main.c", '#include "h.h"\nint other(void);\nint main(void) { return other() + H; }\n')
    made.write("other.c", "int other(void) { return 1; }\n")
    watch = made.watch()
    for number in range(2, 5):
        made.write("inc/h.h", f"#define H {number}\n")
        settle(made, watch, f"header {number}")
        made.write("other.c", f"int other(void) {{ return {number}; }}\n")
        settle(made, watch, f"source {number}")
        made.write("inc/h.new", f"#define H {number + 10}\n")
        os.rename(made.path("inc/h.new"), made.path("inc/h.h"))
        settle(made, watch, f"rename {number}")
    made.path("other.o").unlink()
    settle(made, watch, "object")
    assert watch.stop() == 130
    assert "Traceback" not in watch.output


def test_explain(made: Project) -> None:
    """--hot-explain says why, in scons's own words."""
    made.write("SConstruct", PLAIN.format(setting=""))
    made.write("inc/h.h", "#define H 1\n")
    made.write("main.c", '#include "h.h"\nint other(void);\nint main(void) { return other() + H; }\n')
    made.write("other.c", "int other(void) { return 1; }\n")
    watch = made.watch("--hot-explain")
    made.write("inc/h.h", "#define H 2\n")
    why = watch.wait("build", lambda e: e["targets"])["why"]
    assert {step["target"]: "inc/h.h' changed" in step["why"] for step in why} == {"main.o": True, "prog": False}
    assert "rebuilt main.o: rebuilding `main.o' because `inc/h.h' changed" in watch.output


def test_a_start_takes_no_link_for_an_edit(made: Project) -> None:
    """scons links the sources into the variant directory anew at each start, which changes their inodes' times; where times
    decide, nothing is built because of that."""
    made.write("SConstruct", 'SConscript("code/SConscript", variant_dir="out", duplicate=1)\n')
    made.write("code/SConscript", 'env = Environment(tools=["default", "hotreload"])\nenv.Decider("make")\nenv.Program("p", "p.c")\n')
    made.write("code/p.c", "int main(void) { return 0; }\n")
    os.utime(made.path("code/p.c"), (1e9, 1e9))
    made.scons("-Q")
    watch = made.watch()
    first = [event["targets"] for event in watch.events if event["event"] == "build"]
    made.write("code/SConscript", made.path("code/SConscript").read_text() + "# read again\n")
    watch.wait("ready")
    made.write("code/p.c", "int main(void) { return 1; }\n")
    assert watch.wait("build", lambda e: e["targets"])["targets"] == ["out/p.o", "out/p"]
    built = [event["targets"] for event in watch.events if event["event"] == "build"]
    assert first == [[]] and built == [[], [], ["out/p.o", "out/p"]]
