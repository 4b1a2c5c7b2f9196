"""A session equals a fresh scons, case by case and in random sequences: after every edit a fresh ``scons -n`` finds nothing
to do, and the outputs are byte for byte those of a build from scratch.

The session is driven without file events (``equivalence.driver``), so that hundreds of edits take a minute; that events
reach it is for the tests of the watch loop. HOTRELOAD_STEPS: random edits for each setting. HOTRELOAD_SEED: the first seed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from equivalence.edits import EDITS
from equivalence.harness import Difference, Tree
from harness import need, old_scons_path, until

STEPS = int(os.environ.get("HOTRELOAD_STEPS", "72"))
SEED = int(os.environ.get("HOTRELOAD_SEED", "1"))


@dataclass(frozen=True)
class Setting:
    scons: str
    compiler: str
    duplicate: int
    decider: str
    jobs: int

    def __str__(self) -> str:
        return f"{self.scons}-{self.compiler}-dup{self.duplicate}-{self.decider}-j{self.jobs}"

    def tree(self, base: Path, fault: str = "", *more: str) -> Tree:
        compiler = need(self.compiler)
        arguments = [f"dup={self.duplicate}", f"decider={self.decider}", f"cc={compiler}", f"-j{self.jobs}", *more]
        return Tree(base, arguments, old_scons_path() if self.scons == "oldest" else "", fault)


SETTINGS = [
    Setting("newest", "gcc", 0, "content", 1),
    Setting("newest", "clang", 1, "content", 1),
    Setting("newest", "gcc", 0, "content-timestamp", 4),
    Setting("newest", "gcc", 1, "make", 4),
    Setting("oldest", "gcc", 1, "content-timestamp", 1),
    Setting("oldest", "clang", 0, "content", 4),
    Setting("oldest", "gcc", 0, "make", 4),
]


EACH = [SETTINGS[1], SETTINGS[3], SETTINGS[5], SETTINGS[4]]
"""Settings for the tests that are not random: each value of each kind occurs."""


@pytest.fixture(params=EACH, ids=str)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tree]:
    made = request.param.tree(tmp_path)
    try:
        assert made.session.start()["ok"], made.session.output
        yield made
    finally:
        made.close()


def targets(answer: dict[str, Any]) -> set[str]:
    return {step[0] for step in answer["steps"]} - {"out/always.out"}


Do = Callable[[Tree], list[Path]]


def write(name: str, text: str, rename: bool = False) -> Do:
    return lambda tree: tree.write(name, text, rename)


def remove(*names: str) -> Do:
    return lambda tree: [path for name in names for path in tree.remove(name)]


def add(name: str, text: str) -> Do:
    return lambda tree: tree.write(name, text + tree.read(name))


def replace(name: str, old: str, new: str) -> Do:
    return lambda tree: tree.replace(name, old, new)


def touch(name: str) -> Do:
    return lambda tree: tree.touch(name)


def delete_output(name: str) -> Do:
    return lambda tree: tree.remove_output(name)


def put_back(name: str) -> Do:
    return lambda tree: tree.write(name, "other\n") + tree.write(name, _PROJECT[name])


def many(*edits: Do) -> Do:
    return lambda tree: [path for edit in edits for path in edit(tree)]


from equivalence.project import FILES as _PROJECT  # noqa: E402

CASES: list[tuple[str, Do, set[str] | None]] = [
    ("a source", replace("src/p1.c", "return COMMON", "return 5 + COMMON"), {"p1.os", "libplug.so", "dist/libplug.so"}),
    ("a header", write("inc2/sub/part.h", "#define PART 8\n"), {"p2.os", "libplug.so", "dist/libplug.so"}),
    ("a source by rename", write("src/glob/g1.c", "int g1(void) { return 2; }\n", rename=True), {"g1.o", "libglobbed.a"}),
    ("a header by rename", write("inc2/sub/part.h", "#define PART 9\n", rename=True), None),
    ("a header's comment", add("inc2/sub/part.h", "/* a part */\n"), None),
    ("touch", touch("src/p2.c"), None),
    ("edit and put back", put_back("src/table.txt"), None),
    ("a second edit in the same second", many(write("inc1/deep.h", "#define DEEP 11\n")), None),
    ("and a third", write("inc1/deep.h", "#define DEEP 12\n"), None),
    ("add an #include", add("src/p1.c", '#include "added.h"\n'), set()),
    ("what it names appears", write("inc2/added.h", "int added = 1;\n"), {"p1.os", "libplug.so", "dist/libplug.so"}),
    ("edit the header that was added", write("inc2/added.h", "int added = 2;\n"), None),
    ("it is shadowed", write("inc1/added.h", "int added = 3;\n"), None),
    ("the shadow is edited", write("inc1/added.h", "int added = 4;\n"), None),
    ("the shadowed one is edited", write("inc2/added.h", "int added = 5;\n"), set()),
    ("the shadow goes", remove("inc1/added.h"), None),
    ("a header beside the source shadows", write("src/common.h", "#define COMMON 6\n"), None),
    ("it goes", remove("src/common.h"), None),
    ("remove the #include", replace("src/p1.c", '#include "added.h"\n', ""), None),
    ("edit a header no longer included", write("inc2/added.h", "int added = 6;\n"), set()),
    ("include it again", add("src/p1.c", '#include "added.h"\n'), None),
    ("shadow in a new directory", write("inc1/sub/part.h", "#define PART 20\n"), None),
    ("the new directory's file goes", remove("inc1/sub/part.h"), None),
    ("generator input", write("src/table.txt", "beta\n"), None),
    ("generator script", add("tools/table.py", "# a comment\n"), None),
    ("a generator's script with another result", add("tools/made.sh", "#!/bin/sh\necho 'int before;' > /dev/null\n"), None),
    ("a static library's source", add("src/u2.c", "int more;\n"), {"u2.o", "libutil.a", "app"}),
    ("explicit dependency", write("text/dep.txt", "other\n"), {"out/dep.out"}),
    ("an explicit dependency that changes nothing", write("src/app.ld.txt", "other\n"), None),
    ("what is required only", write("text/b.txt", "other\n"), None),
    ("what has a side effect", write("text/c.txt", "other\n"), None),
    ("directory source: change", write("text/data/in/d3.txt", "other\n"), {"out/dir.out"}),
    ("directory source: add", write("text/data/d4.txt", "d4\n"), {"out/dir.out"}),
    ("directory source: a directory", write("text/data/deep/er/d5.txt", "d5\n"), {"out/dir.out"}),
    ("directory source: delete", remove("text/data/d4.txt", "text/data/d2.txt"), {"out/dir.out"}),
    ("a file behind a symbolic link", replace("real/linked.c", "COMMON;", "COMMON + 9;"), None),
    ("a name with a space and an umlaut", replace("src/sp ace \u00fc.c", "return LOCAL", "return 7"), None),
    ("delete an object", delete_output("build/src/u1.o"), None),
    ("delete a library", delete_output("build/src/libplug.so"), None),
    ("delete what was installed", delete_output("dist/libplug.so"), None),
    ("delete a generated source", delete_output("build/src/made.c"), None),
    ("an ignored header", write("inc1/ignored.h", "/* other */\n"), set()),
    ("an ignored header includes another", write("inc1/ignored.h", '#include "deep.h"\n'), None),
    ("which is edited", write("inc1/deep.h", "#define DEEP 13\n"), None),
    ("a header that is generated and included anew", add("src/p2.c", '#include "table.h"\n'), None),
    ("its generator's input", write("src/table.txt", "gamma\n"), None),
    ("many at once", many(
        write("inc1/common.h", "#define COMMON 30\n"), write("src/table.txt", "delta\n"), write("text/a.txt", "many\n"),
        write("src/local.h", "#define LOCAL 31\n"), remove("text/data/deep/er/d5.txt")), None),
]  # fmt: skip
"""(what, edit, end of the names of the targets that may be built under the content decider: None where that is not the
point)."""


def test_each_edit_is_built_as_a_fresh_scons_would(tree: Tree) -> None:
    """The edits of a long day, one after the other: no work is left, and none is done that nobody needs."""
    by_content = "decider=content" in tree.arguments
    for number, (what, do, expected) in enumerate(CASES):
        try:
            answer = tree.session.update(do(tree))
            broken = what == "add an #include"
            assert answer["ok"] is not broken, (what, answer)
            if expected is not None and by_content:
                beyond = {name for name in targets(answer) if not name.endswith(tuple(expected))}
                assert not beyond and len(targets(answer)) == len(expected), (what, targets(answer))
            if not broken:
                tree.check(outputs=number % 8 == 0 or number == len(CASES) - 1)
        except Difference as difference:
            raise AssertionError(f"after «{what}»: {difference}") from None
    assert tree.session.starts == 1, tree.session.restarts


def test_touched_files_with_old_content_are_not_compiled(tmp_path: Path) -> None:
    """Under the content decider a touch, and an edit that is put back before it is delivered, build nothing."""
    tree = SETTINGS[0].tree(tmp_path)
    try:
        tree.session.start()
        for do in (touch("src/p2.c"), touch("inc2/sub/part.h"), put_back("src/table.txt"), put_back("src/u2.c")):
            assert not targets(tree.session.update(do(tree)))
        tree.check()
    finally:
        tree.close()


def test_an_error_is_told_until_it_is_mended(tree: Tree) -> None:
    """More edits while an error stands are built or waited with; after the mending nothing is left to do."""
    update = tree.session.update
    answer = update(tree.write("src/p1.c", "int p1(void) { return ;;; broken }\n"))
    assert not answer["ok"] and not answer["current"]
    assert "broken" in answer["errors"][0][2] and "p1.os" in answer["errors"][0][1]
    answer = update(tree.write("src/u2.c", "int util2(void) { return 77; }\n"))
    assert not answer["ok"], "the error still stands"
    update(tree.write("inc1/common.h", "#define COMMON 40\n"))
    answer = update(tree.write("src/p1.c", "int p1(void) { return 41; }\n"))
    assert answer["ok"] and answer["current"], answer
    tree.check()
    # Broken and put back to the very content that was built before: the old object is gone, so it is built again.
    update(tree.write("src/p1.c", "broken\n"))
    assert update(tree.write("src/p1.c", "int p1(void) { return 41; }\n"))["ok"]
    tree.check()


@pytest.mark.parametrize("setting", EACH, ids=str)
@pytest.mark.parametrize("name", ["src/timed.c", "src/u2.c", "src/uses_table.c"])
def test_a_session_that_begins_with_an_error(setting: Setting, name: str, tmp_path: Path) -> None:
    """What the first build did not come to is known all the same: the mending is heard, and all is built."""
    tree = setting.tree(tmp_path)
    try:
        good = tree.read(name)
        tree.write(name, good + "broken\n")
        assert not tree.session.start()["ok"]
        answer = tree.session.update(tree.write("src/notes.txt", "before the mending\n"))
        assert not answer["ok"] and "broken" in answer["errors"][0][2], answer
        assert tree.session.update(tree.write(name, good))["ok"]
        tree.check()
    finally:
        tree.close()


@pytest.mark.parametrize("setting", [SETTINGS[1], SETTINGS[2]], ids=str)
def test_a_name_that_a_pass_meets_before_its_event_comes(setting: Setting, tmp_path: Path) -> None:
    """A header that shadows another appears, and the first to find it is a pass that was for something else: all others
    that look for that name are told when its event comes."""
    tree = setting.tree(tmp_path)
    try:
        assert tree.session.start()["ok"]
        assert tree.session.update(tree.remove("inc1/common.h"))["ok"]
        header = tree.write("inc1/common.h", "#define COMMON 77\n")
        until(lambda: time.time_ns() - header[0].stat().st_ctime_ns > 10**8, "that pass begins later")
        other = tree.write("inc1/deeper.h", "#include <deep.h>\n#define DEEPER (DEEP + 5)\n")  # names are looked for anew
        assert tree.session.update(tree.replace("src/main.c", "return", "return 0 +") + other)["ok"]
        assert tree.session.update(header)["ok"]
        tree.check()
    finally:
        tree.close()


@pytest.mark.parametrize("next_builder", ["the session", "a fresh scons", "a session after a restart"])
def test_what_was_made_before_an_error_is_news_after_it(next_builder: str, tmp_path: Path) -> None:
    """An object is made, an error in the next ends the pass: their library is still to be made, though the object's time in
    whole seconds, by which content-timestamp decides, is what it was."""
    compiler, stop_clock = tmp_path / "cc-with-a-clock", tmp_path / "stop-clock"
    compiler.write_text(
        f'#!/bin/sh\ngcc "$@" || exit\ntest ! -e {stop_clock} || touch -d @1800000000 "$2"\n', encoding="utf-8"
    )
    compiler.chmod(0o755)
    stop_clock.touch()
    tree = Tree(tmp_path, ["decider=content-timestamp", f"cc={compiler}", "-j1"])
    try:
        assert tree.session.start()["ok"], tree.session.output
        good, began = tree.read("src/u2.c"), time.time()
        answer = tree.session.update(tree.write("inc1/deep.h", "#define DEEP 61\n") + tree.write("src/u2.c", "broken\n"))
        assert not answer["ok"] and "build/src/u1.o" in targets(answer), answer
        if next_builder != "the session":
            stop_clock.unlink()
        if next_builder == "a session after a restart":
            assert tree.session.update(tree.write("words.txt", "one extra\n"))["restart"]
        elif next_builder == "a fresh scons":
            tree.session.end()
        mended = tree.write("src/u2.c", good)
        if next_builder == "a fresh scons":
            until(lambda: time.time() >= began + 1, "another second: SCons itself takes what it makes in the same one for old")
            assert tree.scons(tree.root)[0] == 0
        else:
            assert tree.session.update(mended)["ok"]
        tree.check_outputs()
    finally:
        tree.close()


@pytest.mark.parametrize("tree", [EACH[2], EACH[3]], indirect=True, ids=str)
def test_a_listed_source_goes_and_comes_back(tree: Tree) -> None:
    """A missing source is an error as in scons; when it is back, changed or not, all is well."""
    for name, text in (("src/p2.c", None), ("src/u1.c", "int util(void) { return 1; }\n"), ("text/a.txt", "new\n")):
        old = tree.read(name)
        answer = tree.session.update(tree.remove(name))
        assert not answer["ok"], (name, answer)
        answer = tree.session.update(tree.write(name, text or old))
        assert answer["ok"], (name, answer)
        tree.check()


@pytest.mark.parametrize("tree", [EACH[1], EACH[3]], indirect=True, ids=str)
def test_what_the_sconscripts_would_read_otherwise_needs_a_fresh_scons(tree: Tree) -> None:
    """An SConscript, a file that one reads, a new file that a Glob matches and its end: the session says so."""
    tell = tree.session.update
    assert "SConscript" in tell(tree.write("text/SConscript", tree.read("text/SConscript") + "# more\n"))["restart"]
    tree.check()
    assert "words.txt" in tell(tree.write("words.txt", "one extra\n"))["restart"]
    tree.check()
    assert "g3.c" in tell(tree.write("src/glob/g3.c", "int g3;\n"))["restart"]
    tree.check()
    assert not tell(tree.write("src/glob/g3.c", "int g3 = 3;\n"))["restart"]
    tree.check()
    assert "g3.c" in tell(tree.remove("src/glob/g3.c"))["restart"]
    tree.check()
    assert not tell(tree.touch("words.txt"))["restart"], "the same content"
    assert not tell(tree.write("src/glob/notes.md", "no source\n"))["restart"]


@pytest.mark.parametrize("tree", [EACH[2], EACH[3]], indirect=True, ids=str)
def test_an_error_in_an_sconscript_loses_no_edit(tree: Tree) -> None:
    """While an SConscript cannot be read the old graph serves; what else came with the error is not forgotten."""
    good = tree.read("text/SConscript")
    answer = tree.session.update(
        tree.write("text/SConscript", good + "syntax error(\n") + tree.write("src/glob/g3.c", "int g3;\n")
    )
    assert "syntax error" in answer["refused"]
    answer = tree.session.update(tree.write("src/p1.c", "int p1(void) { return 50; }\n"))
    assert not answer["restart"] and any(name.endswith("p1.os") for name in targets(answer)), answer
    answer = tree.session.update(tree.write("text/SConscript", good))
    assert "g3.c" in answer["restart"]
    tree.check()


@pytest.mark.parametrize("tree", [EACH[0], EACH[1]], indirect=True, ids=str)
def test_changes_that_have_not_settled_begin_nothing(tree: Tree) -> None:
    """What was prepared is dropped: no command, no target taken away, no restart; and nothing is forgotten."""
    tell, objects = tree.session.update, sorted(tree.root.rglob("*.os"))
    assert objects
    for edit in (tree.write("src/p1.c", "int p1(void) { return 60; }\n"), tree.write("words.txt", "one extra\n")):
        answer = tell(edit, settled=False)
        assert answer["cut"] and not answer["steps"] and not answer["restart"] and not answer["errors"], answer
        assert sorted(tree.root.rglob("*.os")) == objects
    answer = tell([])
    assert "words.txt" in answer["restart"]
    tree.check()


def test_an_option_of_the_command_line_stays(tmp_path: Path) -> None:
    """LEVEL is on the command line of the session, of its restarts and of every command."""
    tree = SETTINGS[0].tree(tmp_path, "", "level=5")
    try:
        tree.session.start()
        tree.session.update(tree.write("src/p1.c", "int p1(void) { return LEVEL; }\n"))
        tree.check()
        tree.session.update(tree.write("words.txt", "one\n"))
        assert tree.session.update(tree.write("src/p1.c", "int p1(void) { return LEVEL + 1; }\n"))["ok"]
        tree.check()
    finally:
        tree.close()


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_random_edits(setting: Setting, tmp_path: Path) -> None:
    """Any sequence of edits, some of them at once."""
    number = SETTINGS.index(setting)
    seed = SEED * 1000 + number
    dice = random.Random(seed)
    tree = setting.tree(tmp_path)
    done: list[str] = []
    began = time.monotonic()
    try:
        assert tree.session.start()["ok"], tree.session.output
        while len(done) < STEPS:
            name = dice.choice(sorted(EDITS))
            changed = EDITS[name](tree, dice)
            if changed is None:
                continue
            done.append(f"{name}: {', '.join(str(path.relative_to(tree.root)) for path in changed)}")
            answer = tree.session.update(changed)
            assert answer["ok"], answer
            tree.check(outputs=len(done) % 8 == 0 or len(done) == STEPS)
    except (Difference, AssertionError) as error:
        last = "\n".join(done[-5:])
        raise AssertionError(
            f"seed {seed}, step {len(done)} of {setting}; HOTRELOAD_SEED={SEED} HOTRELOAD_STEPS={STEPS} shows it again. "
            f"The last edits:\n{last}\n{error}"
        ) from None
    finally:
        tree.close()
    print(f"seed {seed}: {STEPS} edits in {time.monotonic() - began:.0f} s, {tree.session.starts - 1} restarts")


@pytest.mark.parametrize(
    ("edge", "name", "text"),
    [
        ("implicit", "inc1/deep.h", "#define DEEP 99\n"),
        ("depends", "text/dep.txt", "fault\n"),
        ("source", "src/p1.c", "int p1(void) { return 99; }\n"),
    ],
)
def test_an_edge_left_out_of_the_map_is_found(edge: str, name: str, text: str, tmp_path: Path) -> None:
    """The comparison can fail: a session whose map lacks one kind of edge is caught by it."""
    tree = SETTINGS[0].tree(tmp_path, fault=edge)
    try:
        assert tree.session.start()["ok"], tree.session.output
        tree.session.update(tree.write(name, text))
        with pytest.raises(Difference, match="finds work"):
            tree.check_nothing_to_do()
        with pytest.raises(Difference, match="not as a build from scratch"):
            tree.check_outputs()
    finally:
        tree.close()
