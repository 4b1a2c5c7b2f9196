"""A session when the world does not play along: killed, interrupted, beside another scons, on a full disk, on a SCons that
lacks something. It says so and goes on or ends, and a fresh scons afterwards is right."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ticker
from conftest import both_scons
from harness import LIMIT, Project, Watch, need, project, until
from hotreload_engine import hosts, ledger
from hotreload_engine.graph import FLUSH_AFTER
from hotreload_engine.slot import Slot

SCONSTRUCT = """\
env = Environment(tools=["default", "hotreload"], CC="./tool cc", LINK="./tool ld", CPPPATH=["inc1", "inc2"])
env.Program("one", ["one.c"])
env.Program("two", ["two.c"])
Default("one")
"""

TOOL = """\
#!/bin/sh
# gcc, with a place to wait: while the file hold.cc (hold.ld) is there, the compiler (the linker) has begun and waits.
name=$1
shift
while [ -e hold.$name ]; do touch begun.$name; sleep 0.02; done
exec gcc "$@"
"""


def lay(made: Project) -> None:
    need("gcc")
    made.write("SConstruct", SCONSTRUCT)
    made.write("tool", TOOL)
    made.path("tool").chmod(0o755)
    made.path("inc1").mkdir()
    made.path("inc2").mkdir()
    for name in ("one", "two"):
        source(made, name, 1)


def source(made: Project, name: str, number: int) -> None:
    made.write(f"{name}.c", f"int main(void) {{ return {number}; }}\n")


@contextlib.contextmanager
def held(made: Project, name: str) -> Iterator[None]:
    """The next compiler (cc) or linker (ld) waits until the block ends; ``begun`` tells when it has come."""
    made.path(f"begun.{name}").unlink(missing_ok=True)
    hold = made.path(f"hold.{name}")
    hold.touch()
    try:
        yield
    finally:
        hold.unlink(missing_ok=True)


def begun(made: Project, name: str) -> None:
    until(made.path(f"begun.{name}").exists, f"{name} has begun")


def kill_in_a_link(made: Project, watch: Watch) -> None:
    """The session is killed while it links an edit of ``one``, which is then put back."""
    with held(made, "ld"):
        source(made, "one", 2)
        begun(made, "ld")
        watch.kill()
        source(made, "one", 1)


def runs(made: Project, name: str = "one") -> int:
    with contextlib.suppress(OSError):  # while it is made
        return subprocess.run([made.path(name)], check=False).returncode
    return -1


def becomes(made: Project, watch: Watch, number: int, name: str = "one") -> None:
    """Wait until the program returns this, and a fresh scons has nothing to do."""

    until(lambda: runs(made, name) == number, f"{name} returning {number}\n{watch.output}")
    # Not -q, which writes signatures: those that it had read before the session wrote its own.
    until(lambda: made.scons("-Q", "-n", name).endswith("is up to date.\n"),
          lambda: f"nothing is left to do\n{watch.output}\n{made.scons('-n', '--debug=explain', name)}")  # fmt: skip


# --- ended in the middle ------------------------------------------------------------------------------------------


def test_a_session_that_is_killed_in_its_first_build(made: Project) -> None:
    """The same holds for the build with which a session begins, though that is SCons's own."""
    lay(made)
    made.scons("-Q")
    source(made, "one", 2)
    with held(made, "ld"):
        watch = made.watch(ready=False)
        begun(made, "ld")
        watch.kill()
        source(made, "one", 1)
    assert "of its targets" in made.scons("-Q")
    assert runs(made) == 1


@both_scons
def test_a_killed_session_leaves_no_stale_target(made: Project) -> None:
    """kill -9 between a new object and its signature, the source put back: a fresh scons does not trust the object."""
    lay(made)
    watch = made.watch()
    becomes(made, watch, 1)
    kill_in_a_link(made, watch)
    assert "one.o" in made.scons("-Q", "-n") and "one.o" in made.scons("-Q", "-n"), "asking changes nothing"
    assert "1 of its targets" in (said := made.scons("-Q")) or "2 of its targets" in said
    assert runs(made) == 1
    assert made.scons("-Q") == "scons: `one' is up to date.\n"


def test_a_session_after_a_killed_one(made: Project) -> None:
    """The next scons watch does not trust what the killed one left either."""
    lay(made)
    watch = made.watch()
    kill_in_a_link(made, watch)
    becomes(made, made.watch(), 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_in_the_middle_of_a_link(made: Project, number: int) -> None:
    """Ctrl-C while the linker runs: the linker ends too, nothing half-made stays, a fresh scons goes on with the rest."""
    lay(made)
    watch = made.watch()
    with held(made, "ld"):
        source(made, "one", 2)
        begun(made, "ld")
        assert watch.stop(number) == 128 + number
        made.path("begun.ld").unlink()
    assert watch.events[-1]["event"] == "stopped"
    assert not made.path(".sconsign.unwritten").exists()
    said = made.scons("-Q")
    assert "ld -o one" in said and "cc -o" not in said, "the object is as it should be, and known to be"
    assert runs(made) == 2


# --- another scons ------------------------------------------------------------------------------------------------


def test_a_plain_scons_beside_a_build(made: Project) -> None:
    """While a session builds, another scons does not take its targets for those of a dead one."""
    lay(made)
    watch = made.watch()
    with held(made, "ld"):
        source(made, "one", 2)
        begun(made, "ld")
        assert made.path(".sconsign.unwritten").exists()
        assert "killed" not in made.scons("-Q", "two.o")
        assert made.path(".sconsign.unwritten").exists()
    becomes(made, watch, 2)
    until(lambda: not made.path(".sconsign.unwritten").exists(), "the signatures are written")


def test_signatures_of_another_scons_are_kept(made: Project) -> None:
    """What a plain scons has built beside a session is not forgotten when the session writes its own."""
    lay(made)
    made.scons("one", "two")
    watch = made.watch()
    source(made, "two", 5)
    made.scons("-Q", "two")
    source(made, "one", 2)
    becomes(made, watch, 2)
    source(made, "two", 1)  # as it was when the session began: old signatures would say that two.o is current
    made.scons("-Q", "two")
    assert runs(made, "two") == 1


def test_signatures_that_another_scons_wrote_over(made: Project) -> None:
    """A plain scons that began before a session's build and ends after it takes the session's signatures with it: they
    are written again."""
    lay(made)
    watch = made.watch()
    with held(made, "cc"):
        source(made, "two", 3)
        command = made.command("-Q", "two")
        with subprocess.Popen(command, cwd=made.root, env=made.environment, stdout=subprocess.DEVNULL) as other:
            begun(made, "cc")
            # The other one waits in its compiler; ours goes past it, to its own.
            made.edit("tool", "while", "[ $name-$2 = cc-one.o ] || while")
            made.path("tool").chmod(0o755)
            source(made, "one", 2)
            becomes_built(made, watch)
            made.path("hold.cc").unlink()
            assert other.wait(LIMIT) == 0
    assert watch.stop() == 130
    source(made, "one", 1)
    made.scons("-Q")
    assert runs(made) == 1


def test_two_that_write_signatures_at_once(made: Project) -> None:
    """A session and a plain scons wait for whoever is writing them, the session without being held up; then neither has lost
    what the other wrote."""
    lay(made)
    made.scons("one", "two")
    watch = made.watch()
    database = made.path(".sconsign.dblite")
    with database.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = database.read_bytes()
        source(made, "one", 2)
        watch.wait("build", lambda e: "one" in e["targets"])
        rest = time.monotonic() + 3 * FLUSH_AFTER
        until(lambda: time.monotonic() > rest, "the session would have written")
        source(made, "one", 3)
        watch.wait("build", lambda e: "one" in e["targets"], limit=ledger._PATIENCE / 2)
        source(made, "two", 5)
        command = made.command("-Q", "two")
        with subprocess.Popen(command, cwd=made.root, env=made.environment, stdout=subprocess.DEVNULL) as other:
            until(lambda: runs(made, "two") == 5, "two built")
            until(lambda: has_open(other.pid, database), "the other scons waiting")
            assert database.read_bytes() == before
            fcntl.flock(file, fcntl.LOCK_UN)
            assert other.wait(LIMIT) == 0
    assert watch.stop() == 130
    for name in ("one", "two"):
        source(made, name, 1)  # as it was when both began: old signatures would say that its object is current
    made.scons("-Q", "one", "two")
    assert (runs(made, "one"), runs(made, "two")) == (1, 1)


def has_open(pid: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return any(os.path.samefile(each, path) for each in Path(f"/proc/{pid}/fd").iterdir())
    return False


def becomes_built(made: Project, watch: Watch) -> None:
    watch.wait("build", lambda e: "one" in e["targets"])
    until(lambda: not made.path(".sconsign.unwritten").exists(), "the signatures are written")


# --- disks --------------------------------------------------------------------------------------------------------


def test_signatures_that_cannot_be_written(made: Project) -> None:
    """It is said once; the session goes on; a fresh scons afterwards is right, though the end could not write either."""
    lay(made)
    watch = made.watch()
    database = made.path(".sconsign.dblite")
    stored = database.read_bytes()
    database.unlink()
    (database / "in the way").mkdir(parents=True)
    source(made, "one", 2)
    assert ".sconsign" in watch.wait("error")["what"]
    tried = made.path(".sconsign.tmp")
    first = tried.stat().st_mtime_ns
    source(made, "one", 3)
    watch.wait("build", lambda e: "one" in e["targets"])
    until(lambda: tried.stat().st_mtime_ns != first, "another try")
    source(made, "one", 4)
    watch.wait("build", lambda e: "one" in e["targets"])
    assert watch.stop() == 130
    assert len([e for e in watch.events if e["event"] == "error"]) == 2, "once, and once at the end"
    assert "Traceback" not in watch.output
    shutil.rmtree(database)
    database.write_bytes(stored)
    source(made, "one", 1)
    made.scons("-Q")
    assert runs(made) == 1


def test_signatures_are_written_when_they_can_be(made: Project) -> None:
    """No save is needed for that: it is tried again every ten seconds."""
    lay(made)
    watch = made.watch()
    database = made.path(".sconsign.dblite")
    database.unlink()
    (database / "in the way").mkdir(parents=True)
    source(made, "one", 2)
    watch.wait("error")
    shutil.rmtree(database)
    until(database.exists, "the signatures are written")
    assert "up to date" in made.scons("-Q", "-n")


def can_mount() -> bool:
    where = Path("/tmp") / f"mount-{os.getpid()}"
    where.mkdir()
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "none", where], capture_output=True, check=False).returncode:
            return False
        return subprocess.run(["umount", where], check=False).returncode == 0
    except OSError:  # there is no such program here, or not for us
        return False
    finally:
        where.rmdir()


@pytest.mark.parametrize("way", ["limit", *(["disk"] if can_mount() else [])])
def test_no_room(tmp_path: Path, way: str) -> None:
    """A disk that is full, or a limit on the size of files: an error like others, until there is room."""
    root = tmp_path / "project"
    root.mkdir()
    with contextlib.ExitStack() as stack:
        if way == "disk":
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", root], check=True)
            stack.callback(subprocess.run, ["umount", "-l", root], check=True)
        made = stack.enter_context(project(root))
        made.write("SConstruct", "env = Environment(tools=['default', 'hotreload'])\n"
                   "env.Command('big', 'small', 'for n in $$(seq $$(cat $SOURCE)); do head -c 100000 /dev/zero; done > $TARGET')\n")  # fmt: skip
        made.write("small", "1\n")
        watch = made.watch()
        if way == "limit":
            resource.prlimit(watch.process.pid, resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
        made.write("small", "50\n")
        assert watch.wait("build", lambda e: not e["ok"])
        assert watch.wait("error")["where"] == "big"
        made.write("small", "2\n")
        assert watch.wait("build", lambda e: e["ok"])["fixed"]
        assert made.path("big").stat().st_size == 200_000
        until(lambda: "up to date" in made.scons("-Q", "-n"), "nothing is left to do")
        assert watch.stop() == 130
        assert "Traceback" not in watch.output, watch.output


def test_no_room_for_events(made: Project) -> None:
    """It is said, once; all else goes on."""
    ticker.lay(made)
    output = made.path("output.txt")
    with output.open("wb") as stream:
        command = made.command("-Q", "watch", "--hot-events=/dev/full")
        process = subprocess.Popen(command, cwd=made.root, env=made.environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    try:
        until(lambda: "no host is running\n" in output.read_text(), "the session")
        host = made.host()
        ticker.runs(host, 1)
        ticker.set_number(made, 2)
        ticker.runs(host, 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
    finally:
        process.kill()
        process.wait()
    text = output.read_text()
    assert text.count("cannot write events: No space left on device") == 1 and "Traceback" not in text, text


@pytest.mark.parametrize("what", ["events", "lines", "both"])
def test_the_reader_of_the_output_ends(made: Project, what: str) -> None:
    """So does the session, as at Ctrl-C: no host is left behind, no signature unwritten."""
    ticker.lay(made)
    read, write = os.pipe()
    errors = made.path("errors.txt")
    with errors.open("wb") as stream:
        process = subprocess.Popen(
            made.command("-Q", "watch", "--hot-run", *(["--hot-events=-"] if what != "lines" else [])),
            cwd=made.root, env=made.environment, stdin=subprocess.DEVNULL, stdout=write,
            stderr=stream if what == "events" else write,
        )  # fmt: skip
    os.close(write)
    try:
        with open(read, "rb") as output:
            ready = b'"event": "ready"' if what == "events" else b"watching "
            assert any(ready in line for line in output)
        slot = Slot(str(made.path("build/libplug.so")))
        until(lambda: hosts.census(slot).hosts, "the host")
        ticker.set_number(made, 2)
        assert process.wait(LIMIT) == 128 + signal.SIGPIPE
    finally:
        process.kill()
        process.wait()
    assert not hosts.census(slot).hosts
    assert "Traceback" not in errors.read_text()
    if what == "events":
        assert "watch ended by the end of whoever read its output\n" in errors.read_text()
    assert not made.path(".sconsign.unwritten").exists()


# --- what is in the project ---------------------------------------------------------------------------------------


@both_scons
def test_an_action_that_raises(made: Project) -> None:
    """An exception in a Python action is that target's error; the session goes on and builds it when it can."""
    made.write("SConstruct", "env = Environment(tools=['default', 'hotreload'])\n"
               "def action(target, source, env):\n"
               "    text = source[0].get_text_contents()\n"
               "    if 'bad' in text: raise LookupError('no such word')\n"
               "    open(str(target[0]), 'w').write(text)\n"
               "env.Command('copy', 'text', action)\nenv.Command('other', 'text', 'cat $SOURCE > $TARGET')\n")  # fmt: skip
    made.write("text", "good\n")
    watch = made.watch("-k")
    made.write("text", "bad\n")
    error = watch.wait("error")
    assert "no such word" in error["what"] + error["output"] and error["where"] == "copy"
    made.write("text", "better\n")
    assert watch.wait("build", lambda e: e["ok"])["fixed"]
    assert made.path("copy").read_text() == made.path("other").read_text() == "better\n"


def test_an_output_that_goes_while_others_are_made(made: Project) -> None:
    """Somebody deletes an object while the linker runs: it is made again, without another save."""
    lay(made)
    watch = made.watch()
    with held(made, "ld"):
        source(made, "one", 2)
        begun(made, "ld")
        made.path("one.o").unlink()
    until(made.path("one.o").exists, f"the object is made again\n{watch.output}")
    becomes(made, watch, 2)


@pytest.mark.parametrize("name", ["cc", "ld"])
def test_edits_during_a_command(made: Project, name: str) -> None:
    """Two more saves while the compiler, or the linker, works on the first: the last one counts."""
    lay(made)
    watch = made.watch()
    with held(made, name):
        source(made, "one", 2)
        for number in (3, 4):
            begun(made, name)
            made.path(f"begun.{name}").unlink()
            source(made, "one", number)
        begun(made, name)
    becomes(made, watch, 4)


def test_a_header_that_comes_before_its_directory_is_watched(made: Project) -> None:
    """A directory that a compilation is the first to search: a header made there meanwhile shadows the other's."""
    lay(made)
    made.path("inc1/sub").mkdir()
    made.write("inc2/sub/x.h", "#define X 2\n")
    watch = made.watch()
    with held(made, "ld"):
        made.write("one.c", "#include <sub/x.h>\nint main(void) { return X; }\n")
        begun(made, "ld")
        made.write("inc1/sub/x.h", "#define X 3\n")
    becomes(made, watch, 3)


def test_a_command_that_changes_by_itself(made: Project) -> None:
    """A construction variable that is a function of something outside: found out when idle, and built at once."""
    made.write("SConstruct", "env = Environment(tools=['default', 'hotreload'])\n"
               "env['WORD'] = lambda target, source, env, for_signature: open('word').read()\n"
               "env.Command('made', 'text', 'cat $SOURCE > $TARGET; echo $WORD >> $TARGET; cp next word')\n")  # fmt: skip
    for name in ("word", "next", "text"):
        made.write(name, "one")
    watch = made.watch()
    made.write("next", "two")
    made.write("text", "text\n")
    until(lambda: "up to date" in made.scons("-Q", "-n"), f"nothing is left to do\n{watch.output}")
    assert made.path("made").read_text() == "text\ntwo\n"


@pytest.mark.parametrize("name", ["SConstruct", "more/SConscript", "number"])
def test_what_changes_while_the_sconscripts_are_read(made: Project, name: str) -> None:
    """A file is edited after it was read, before anybody watches it: it is read again."""
    made.write("SConstruct", "import os, time\n"
               "env = Environment(tools=['default', 'hotreload'], A='a', B='b')\nenv['N'] = open('number').read()\n"
               "SConscript('more/SConscript', exports='env')\n"
               "env.Command('made', [], 'echo $A $B $N > $TARGET')\n"
               "open('has read', 'w').close()\n"
               "while os.path.exists('hold'): time.sleep(0.01)\n")  # fmt: skip
    made.write("more/SConscript", "Import('env')\nenv.Append(B='c')\n")
    made.write("number", "1")
    made.path("hold").touch()
    made.watch(ready=False)
    until(made.path("has read").exists, "all is read")
    if name == "number":
        made.write("number", "2")
    else:
        made.edit(name, "A='a'" if name == "SConstruct" else "B='c'", "A='z'" if name == "SConstruct" else "B='z'")
    made.path("hold").unlink()
    wanted = {"SConstruct": "z bc 1\n", "number": "a bc 2\n", "more/SConscript": "a bz 1\n"}[name]
    until(lambda: made.path("made").exists() and made.path("made").read_text() == wanted, wanted)


def test_what_was_imported_before_the_tool(made: Project) -> None:
    """A module that the SConstruct imports first, and site_init.py, are inputs like the SConscripts."""
    made.write("SConstruct", "import helper\nenv = Environment(tools=['default', 'hotreload'])\n"
               "env.Command('made', [], f'echo {helper.WORD} {other} > $TARGET')\n")  # fmt: skip
    made.write("helper.py", "WORD = 'one'\n")
    made.write("site_scons/site_init.py", "other = 'two'\n")
    made.watch()
    for name, old, new, text in (
        ("helper.py", "one", "three", "three two"),
        ("site_scons/site_init.py", "two", "four", "three four"),
    ):
        made.edit(name, old, new)
        until(lambda text=text: made.path("made").exists() and made.path("made").read_text() == text + "\n", text)


def test_a_project_that_changes_what_it_reads(made: Project) -> None:
    """A counter that every scons reads and writes, by itself and by a command, is no reason to begin again and again; also
    where there is nothing to build, so that it was written a moment before the files are watched."""
    made.write("SConstruct", "import os\nenv = Environment(tools=['default', 'hotreload'])\n"
               "number = int(open('number').read())\nopen('number', 'w').write(str(number + 1))\n"
               "other = int(open('other').read())\nos.system(f'echo {other + 1} > other')\n"
               "env.Precious(env.Command('made', 'text', 'cat $SOURCE > $TARGET'))\n")  # fmt: skip
    for name in ("number", "other", "text"):
        made.write(name, "1\n")
    for count in (1, 2, 3):
        before = int(made.path("number").read_text())
        watch = made.watch()
        made.write("text", f"{count + 1}\n")
        until(lambda count=count: made.path("made").read_text() == f"{count + 1}\n", watch.output)
        watch.stop()
        assert int(made.path("number").read_text()) - before <= 3, watch.output


def test_a_target_that_its_command_does_not_make(made: Project) -> None:
    """As a fresh scons does, a session runs such a command whenever it builds anything."""
    made.write("SConstruct", "env = Environment(tools=['default', 'hotreload'])\n"
               "env.Command('count', [], 'echo once >> log')\nenv.Command('copy', 'text', 'cat $SOURCE > $TARGET')\n")  # fmt: skip
    made.write("text", "one\n")
    watch = made.watch()
    for number in (2, 3):
        made.write("text", f"{number}\n")
        assert set(watch.wait("build")["targets"]) == {"count", "copy"}
        assert made.path("log").read_text() == "once\n" * number


def test_what_is_saved_beside_an_sconscript_with_an_error(made: Project) -> None:
    """It is built by what was read before; nothing counts as mended until the SConscript is."""
    lay(made)
    made.path(".git").mkdir()
    watch = made.watch()
    made.write(".git/index.lock", "")  # what changes now is one set
    made.write("SConstruct", SCONSTRUCT + "syntax error(\n")
    source(made, "one", 2)
    made.path(".git/index.lock").unlink()
    assert "SConstruct" in watch.wait("error")["where"]
    until(lambda: runs(made) == 2, f"what was saved with it\n{watch.output}")
    source(made, "one", 3)
    assert not watch.wait("build", lambda e: "one" in e["targets"] and runs(made) == 3)["fixed"]
    made.write("SConstruct", SCONSTRUCT)
    watch.wait("build", lambda e: e["fixed"])
    becomes(made, watch, 3)


# --- the slower way -----------------------------------------------------------------------------------------------

LACKING = "import SCons.Node\ndel SCons.Node.Node.explain\n"


@both_scons
def test_a_scons_that_lacks_an_internal(made: Project) -> None:
    """It is said which; a fresh scons is run for every change, and an edit while it runs is not lost."""
    lay(made)
    made.write("site_scons/site_init.py", LACKING)
    watch = made.watch(ready=False)
    assert "SCons.Node.Node.explain" in watch.wait("build")["note"]
    watch.wait("ready")
    source(made, "one", 2)
    until(lambda: runs(made) == 2, f"the first edit\n{watch.output}")
    made.write("one.c", "broken\n")
    assert "broken" in watch.wait("error")["output"]
    with held(made, "ld"):
        source(made, "one", 3)
        begun(made, "ld")
        source(made, "one", 4)
    until(lambda: runs(made) == 4, f"the second edit\n{watch.output}")
    until(lambda: "up to date" in made.scons("-Q", "-n"), f"nothing is left to do\n{watch.output}")
    assert watch.stop() == 130
    assert made.scons("-Q") == "scons: `one' is up to date.\n"


def test_a_host_where_scons_lacks_an_internal(made: Project) -> None:
    """Reloading is slower, and as sure."""
    ticker.lay(made)
    made.write("site_scons/site_init.py", LACKING)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    for number in (2, 3):
        ticker.set_number(made, number)
        watch.reloaded(host=host.pid)
        ticker.runs(host, number)
