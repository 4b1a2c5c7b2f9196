"""The session's graph beside the equivalence: what it says may matter, how a pass is cut short, what it does when SCons or
the disk does not play along."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import SCons

from equivalence.harness import Tree
from harness import need, old_scons_path, until

COMPILER = """\
#!/bin/sh
# A compiler that can be made to wait, below a shell of its own, and to change its source while it works.
echo $$ >> pids
touch begun
(while [ -e hold ]; do sleep 0.02; done; exit 0) &
echo $! >> pids
wait $!
if [ -e spoil.c ]; then cp spoil.c one.c; rm spoil.c; fi
exec gcc "$@"
"""

FILES = {
    "SConstruct": 'env = Environment(CC="./compiler", CCFLAGS=["-O0", "-w"], CPPPATH=["inc"])\n'
    'env.SharedLibrary("out/plug", ["one.c", "two.c"])\nDefault("out")\n',
    "compiler": COMPILER,
    "one.c": '#include "one.h"\nint one(void) { return ONE; }\n',
    "two.c": "int two(void) { return 2; }\n",
    "inc/one.h": "#define ONE 1\n",
}


@pytest.fixture(params=["newest", "oldest"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tree]:
    need("gcc")
    made = Tree(tmp_path, ["-j2"], old_scons_path() if request.param == "oldest" else "", files=FILES)
    try:
        yield made
    finally:
        made.close()


def check(tree: Tree) -> None:
    tree.check_nothing_to_do()
    scratch = tree.base / "other"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(tree.pristine, scratch)
    code, output = tree.scons(scratch)
    assert code == 0, output
    for name in ("one.os", "two.os", "out/libplug.so"):
        assert (tree.root / name).read_bytes() == (scratch / name).read_bytes(), name


def processes(tree: Tree) -> list[int]:
    """Those of the compiler's processes that have not ended."""
    numbers = map(int, (tree.root / "pids").read_text(encoding="ascii").split())
    return [number for number in numbers if Path(f"/proc/{number}").exists()]


def test_only_what_may_matter_is_relevant(tree: Tree) -> None:
    """Sources, headers, names in #include lines and the SConstruct are; probes, backups and strangers are not."""
    tree.write("one.c", '#include "one.h"\n#include "absent.h"\nint one(void) { return ONE; }\n')
    assert not tree.session.start()["ok"]
    names = {
        "one.c": True, "inc/one.h": True, "SConstruct": True, "inc/absent.h": True, "absent.h": True,
        "4913": False, "one.c~": False, ".#one.c": False, ".one.c.swp": False, "README": False, "inc/other.h": False,
        "two.os": False,
    }  # fmt: skip
    paths = {str(tree.root / name): relevant for name, relevant in names.items()}
    assert tree.session.ask(do="relevant", files=list(paths))["relevant"] == paths
    known = tree.session.ask(do="known")
    assert {str(tree.root), str(tree.root / "inc")} <= set(known["directories"])
    assert {str(tree.root / "one.c"), str(tree.root / "inc/one.h")} <= set(known["inputs"])
    update = tree.session.update(tree.write("inc/absent.h", "/* here */\n"))
    assert update["ok"], update
    check(tree)


def test_an_own_output_matters_only_when_another_changed_it(tree: Tree) -> None:
    """What the build wrote is no change; what somebody deletes is."""
    tree.session.start()
    outputs = [str(tree.root / name) for name in ("one.os", "out/libplug.so")]
    assert not any(tree.session.ask(do="relevant", files=outputs)["relevant"].values())
    tree.session.update(tree.write("one.c", "int one(void) { return 4; }\n"))
    assert not any(tree.session.ask(do="relevant", files=outputs)["relevant"].values())
    shutil.rmtree(tree.root / "out")
    assert tree.session.ask(do="relevant", files=outputs)["relevant"][outputs[1]]
    answer = tree.session.update([tree.root / "out/libplug.so"])
    assert [step[0] for step in answer["steps"]] == ["out/libplug.so"], answer
    check(tree)


@pytest.mark.parametrize("what", ["compile", "link"])
def test_a_pass_is_cut_short(tree: Tree, what: str) -> None:
    """When the inputs change during a command, all its processes end, nothing torn stays, and the next pass is right: also
    when the sources are what they were before."""
    tree.session.start()
    old = tree.read("one.c")
    changed = tree.write("one.c", "int one(void) { return 5; }\n") if what == "compile" else []
    if what == "link":
        changed = tree.remove_output("out/libplug.so")
    for name in ("begun", "pids"):
        (tree.root / name).unlink()
    (tree.root / "hold").touch()
    answer = tree.session.update(changed, cut_when=str(tree.root / "begun"))
    assert answer["cut"] and not answer["ok"] and not answer["errors"] and not answer["current"]
    until(lambda: not processes(tree), "the compiler's processes have ended")
    assert not (tree.root / ("one.os" if what == "compile" else "out/libplug.so")).exists()
    (tree.root / "hold").unlink()
    answer = tree.session.update(tree.write("one.c", old))
    assert answer["ok"] and answer["current"], answer
    check(tree)


def test_a_source_that_changes_under_its_compiler_is_compiled_again(tree: Tree) -> None:
    """Hashed in one state, compiled in another: the pass counts as cut, and putting the source back hides nothing."""
    tree.session.start()
    (tree.root / "spoil.c").write_text("int one(void) { return 66; }\n", encoding="ascii")
    changed = tree.write("one.c", "int one(void) { return 7; }\n")
    answer = tree.session.update(changed)
    assert answer["cut"] and not answer["current"]
    ended = time.monotonic()
    until(lambda: time.monotonic() > ended + 0.1, "what is written now is not taken for a part of that pass")
    answer = tree.session.update(tree.write("one.c", "int one(void) { return 7; }\n"))
    assert answer["ok"] and answer["current"], answer
    check(tree)


def test_it_says_why(tree: Tree) -> None:
    """In the words of scons --debug=explain, with the signatures of what changed."""
    tree.session.start()
    signatures = [hashlib.md5((tree.root / "one.os").read_bytes()).hexdigest()]
    answer = tree.session.update(tree.write("inc/one.h", "#define ONE 9\n"), explain=True)
    reasons = {step[0]: step[3] for step in answer["steps"]}
    signatures.append(hashlib.md5((tree.root / "one.os").read_bytes()).hexdigest())
    old, new = (hashlib.md5(b"#define ONE %d\n" % number).hexdigest() for number in (1, 9))
    indent = "\n" + " " * 15
    assert reasons == {
        "one.os": f"rebuilding `one.os' because `inc/one.h' changed{indent}old: {old}{indent}new: {new}",
        "out/libplug.so": "rebuilding `out/libplug.so' because `one.os' changed"
        f"{indent}old: {signatures[0]}{indent}new: {signatures[1]}",
    }
    kinds = {step[0]: step[1] for step in answer["steps"]}
    assert kinds == {"one.os": "compile", "out/libplug.so": "link"}
    assert answer["of"] == 2 and all(step[2] > 0 for step in answer["steps"])


def test_a_command_that_is_a_function_of_the_world_is_looked_at_again(tmp_path: Path) -> None:
    """A construction variable that calls a function may change a command though no file did: found when idle."""
    files = {
        "SConstruct": "import os\nenv = Environment(WORD=lambda target, source, env, for_signature: open('word').read())\n"
        "env.Command('made', 'from', 'echo $WORD > $TARGET; cat $SOURCE >> $TARGET')\n",
        "from": "from\n",
        "word": "one",
    }
    tree = Tree(tmp_path, [], files=files)
    try:
        tree.session.start()
        tree.session.update(tree.write("from", "second\n"))
        (tree.root / "word").write_text("two", encoding="ascii")
        tree.session.update(tree.write("from", "third\n"))
        tree.session.ask(do="idle")
        tree.session.update([])
        assert (tree.root / "made").read_text(encoding="ascii") == "two\nthird\n"
        tree.check_nothing_to_do()
    finally:
        tree.close()


def test_a_file_that_is_not_utf_8_by_name_is_no_obstacle(tmp_path: Path) -> None:
    """A directory source holds a file whose name is not text."""
    tree = Tree(tmp_path, [], files={
        "SConstruct": "env = Environment()\nenv.Command('made', Dir('data'), 'cat data/* > $TARGET', source_scanner=DirScanner)\n",
        "data/a": "a\n",
    })  # fmt: skip
    try:
        tree.session.start()
        name = os.fsencode(tree.root / "data") + b"/\xff"
        with open(name, "wb") as file:
            file.write(b"odd\n")
        tree.session.update(tree.write("data/a", "b\n"))
        assert (tree.root / "made").read_bytes() == b"b\nodd\n"
    finally:
        tree.close()


def test_a_scons_that_is_reached_through_a_link(tmp_path: Path) -> None:
    """A .venv may be a symbolic link: what SCons itself lists, to find files, is not taken for the SConscripts' doing."""
    link = tmp_path / "link"
    link.symlink_to(Path(SCons.__file__).parent.parent)
    files = {"SConstruct": "env = Environment()\nenv.Object(Glob('src/*.c'))\n", "src/a.c": "int a;\n"}
    tree = Tree(tmp_path, [], str(link), files=files)
    try:
        tree.session.start()
        names = {str(tree.root / name): name == "src/b.c" for name in ("src/b.c", "src/notes", "notes")}
        assert tree.session.ask(do="relevant", files=list(names))["relevant"] == names
    finally:
        tree.close()
