"""The whole loop, for real: scons watch, a compiler, hosts, signals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

import ticker
from conftest import SCONS, both_scons
from harness import ROOT, HostProcess, Project, need, until


def rundir(made: Project) -> Path:
    return made.path("build/.hotreload")


def running(*words: str) -> list[int]:
    """Processes that have all of these words in their command lines or working directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            text = (process / "cmdline").read_text(errors="replace") + os.readlink(process / "cwd")
            if all(word in text for word in words) and "zombie" not in (process / "status").read_text():
                found.append(int(process.name))
    return found


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@both_scons
def test_a_save_reaches_the_running_host(made: Project, compiler: str) -> None:
    """Save a file: the same process runs the new code, whole, and its state goes on."""
    ticker.lay(made, compiler)
    watch = made.watch()
    host = made.host()
    ticker.runs(host, 1)
    watch.wait("host", lambda e: e["pid"] == host.pid)
    ticker.set_number(made, 2)
    event = watch.reloaded(host=host.pid)
    assert (event["generation"], event["compiled"], event["of"]) == (2, 2, 3)
    line = ticker.runs(host, 2)
    assert int(line.split("calls ")[1].split()[0]) > 0, "the state began anew"
    assert event["save_to_reload_ms"] > 0 and event["pause_us"] < event["load_us"]
    assert watch.stop() == 130
    assert host.alive, "the watch ends, the host goes on"


def test_the_result_is_one_line(made: Project) -> None:
    """What a person reads after a save has the counts and the times."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    made.edit("src/plug.c", "state->calls++", "state->calls += 1")
    watch.reloaded()
    line = next(line for line in watch.output.splitlines() if line.startswith("reloaded"))
    start = f"reloaded plug #2 in pid {host.pid} · 1 of 3 objects · cc "
    assert line.startswith(start) and line.endswith(" ms from save"), line
    assert "\x1b" not in watch.output, "no colour and no cursor tricks in a file"


def test_an_edit_of_the_host_itself_is_said_to_need_a_new_start(made: Project) -> None:
    """Its program is built again; what runs is the one before. Not said of what it shares with the plugin."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    made.edit("src/plug.h", "#define", "/* shared */\n#define")
    assert "build/main" in watch.wait("build", lambda e: e["targets"])["targets"]
    watch.wait("done")
    made.edit("src/main.c", "int main", "/* the host's own */\nint main")
    event = watch.wait("host")
    state = "goes on with build/main as it was: what is new in src/main.c comes with a new start"
    assert (event["pid"], event["state"]) == (host.pid, state), "and nothing was said of plug.h"
    assert watch.wait("done")["iteration"] == event["iteration"], "it belongs to what the build says"


def test_a_compile_error_is_told_and_the_fix_clears_it(made: Project, compiler: str) -> None:
    """The compiler's own output, who goes on with what, and the next good build says that it is fixed."""
    ticker.lay(made, compiler)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    made.edit("src/plug.c", "state->calls++;", "state->calls++")
    error = watch.wait("error")
    assert "expected ';'" in error["output"] and "plug" in error["where"]
    assert error["running"][0]["pid"] == host.pid and error["running"][0]["generation"] == 1
    assert f"pid {host.pid} goes on with #1" in watch.output
    assert "expected ';'" in made.scons("hosts", "-Q")
    made.edit("src/plug.c", "state->calls++", "state->calls += 2;")
    assert watch.wait("build", lambda e: e["ok"])["fixed"]
    watch.reloaded(generation=2)
    assert "expected ';'" not in made.scons("hosts", "-Q")


def test_more_errors_while_one_stands(made: Project) -> None:
    """Every save while an error stands is tried; the fix of one of two errors is no fix."""
    ticker.lay(made)
    watch = made.watch()
    made.edit("src/plug.c", "state->calls++;", "one;")
    assert "one" in watch.wait("error")["output"]
    made.edit("src/number.c", "return NUMBER", "return two")
    watch.wait("build", lambda e: not e["ok"])
    made.edit("src/plug.c", "one;", "state->calls++;")
    assert "two" in watch.wait("error", lambda e: "two" in e["output"])["output"]
    made.edit("src/number.c", "return two", "return NUMBER + 0")
    assert watch.wait("build", lambda e: e["ok"])["fixed"]


def test_what_was_refused_is_not_mended_by_a_build_of_something_else(made: Project) -> None:
    """Nothing is "fixed" before the plugin is, and why it was refused can be asked for until then."""
    ticker.lay(made)
    made.write("other.c", "int main(void) { return 0; }\n")
    made.write("SConstruct", made.path("SConstruct").read_text() + 'env.Program("other", ["other.c"])\n')
    watch, _ = made.watch(), made.host()
    watch.wait("host")
    made.edit("src/plug.c", "void plug_tick", "void plug_tock")
    watch.wait("refused")
    made.write("other.c", "int main(void) { return 1; }\n")
    build = watch.wait("build", lambda e: "other" in e["targets"])
    assert build["ok"] and not build["fixed"]
    made.write("other.c", "int main(void) { return }\n")
    watch.wait("error")
    made.write("other.c", "int main(void) { return 2; }\n")
    assert watch.wait("build", lambda e: e["ok"])["fixed"], "the build is, and that is said"
    assert "plug_tick" in made.scons("hosts", "-Q")
    made.edit("src/plug.c", "void plug_tock", "void plug_tick")
    assert watch.wait("build", lambda e: "build/libplug.so" in e["targets"])["fixed"]
    made.write("other.c", "int main(void) { return 3; }\n")
    assert not watch.wait("build", lambda e: "other" in e["targets"])["fixed"]
    assert "plug_tick" not in made.scons("hosts", "-Q")


def test_an_error_elsewhere_holds_no_plugin_back(made: Project) -> None:
    """With -k, a plugin that builds is reloaded though another target of the project does not."""
    ticker.lay(made)
    made.write("other.c", "int main(void) { return 0; }\n")
    made.write("SConstruct", made.path("SConstruct").read_text() + 'env.Program("other", ["other.c"])\n')
    watch, host = made.watch("-k"), made.host()
    watch.wait("host")
    made.write("other.c", "int main(void) { return }\n")
    watch.wait("error")
    ticker.set_number(made, 2)
    assert watch.wait("error")["where"] == "other.o"
    watch.reloaded(host=host.pid)
    ticker.runs(host, 2)


def test_a_link_error(made: Project) -> None:
    """A plugin that does not link is an error like another."""
    ticker.lay(made)
    made.edit("SConstruct", 'build/plug", [', "build/plug\", SHLINKFLAGS=['-shared', '-Wl,-z,defs'], source=[")
    watch, host = made.watch(), made.host()
    ticker.runs(host, 1)
    made.edit("src/plug.c", "state->calls++;", "extern void nowhere(void); nowhere();")
    assert "nowhere" in watch.wait("error")["output"]
    made.edit("src/plug.c", "extern void nowhere(void); nowhere();", "state->calls++;")
    watch.wait("build", lambda e: e["ok"])


def test_an_undefined_symbol_is_refused_before_it_is_published(made: Project) -> None:
    """What the host could not load is found by the builder, with the symbol's name; the definition cures it."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    made.edit("src/plug.c", "state->calls++;", "extern void nowhere(void); nowhere();")
    refused = watch.wait("refused")
    assert "nowhere" in refused["findings"][0]["what"] and refused["findings"][0]["remedy"]
    assert refused["running"][0]["generation"] == 1
    assert "nowhere" in made.scons("hosts", "-Q")
    made.edit("src/number.c", "int number_variable", "void nowhere(void) {}\nint number_variable")
    watch.reloaded(host=host.pid)
    assert "nowhere" not in made.scons("hosts", "-Q")


def test_a_function_of_the_list_is_renamed(made: Project) -> None:
    """A function that the host looks up by name and does not find: refused, with a guess at its new name."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    tack = "void plug_tack(plug_state *state) { (void)state; }\n"
    made.edit("src/plug.c", "void plug_tick(", tack + "static void unused(")
    what = watch.wait("refused")["findings"][0]["what"]
    assert "plug_tick" in what and "plug_tack" in what
    made.edit("src/plug.c", "static void unused(", "void plug_tick(")
    watch.reloaded(host=host.pid)


def test_the_state_gets_another_field(made: Project) -> None:
    """A field added to the state: the host goes on with what it had, the new field is zero, and both are said."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    ticker.runs(host, 1)
    made.edit("src/plug.h", "unsigned calls;", "unsigned more, calls;")
    event = watch.reloaded(host=host.pid)
    assert event["state"] == "state: 1 moved, 1 new (more = 0) · statics: 1 kept"
    assert event["state"] in watch.output
    ticker.set_number(made, 2)
    ticker.runs(host, 2)  # and that the count goes on


def test_a_state_that_cannot_be_carried_over(made: Project) -> None:
    """What no host could take is not published, with the field and the remedy; the next good save reloads."""
    ticker.lay(made)
    made.edit("src/plug.h", "unsigned calls;", "unsigned calls; union { int i; float f; } u;")
    watch, host = made.watch(), made.host()
    watch.wait("host")
    made.edit("src/plug.h", "float f;", "double f;")
    event = watch.wait("refused")
    assert "state.u.f: a member of a union changed" in event["findings"][0]["what"]
    assert "state.u.f" in made.scons("hosts", "-Q")
    made.edit("src/plug.h", "double f;", "float f;")
    ticker.set_number(made, 5)
    watch.reloaded(host=host.pid)
    ticker.runs(host, 5)


def test_a_save_with_unchanged_content(made: Project) -> None:
    """Writing the same bytes again builds nothing and reloads nothing."""
    ticker.lay(made)
    watch = made.watch()
    ticker.set_number(made, 1)
    assert watch.wait("build")["unchanged"]
    assert "unchanged" in watch.output


def test_two_saves_at_once_deliver_the_last(made: Project) -> None:
    """Of two saves within a blink the host sees the last; no intermediate one is delivered."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    for number in (2, 3):
        ticker.set_number(made, number)
    watch.reloaded(host=host.pid)
    ticker.runs(host, 3)
    assert "numbers 2" not in host.output


def test_a_save_during_the_build(made: Project) -> None:
    """A save while the compiler runs ends it; what comes of the first save is never delivered."""
    ticker.lay(made)
    made.write("slow.sh", '#!/bin/sh\nsleep 1 & wait\nexec gcc "$@"\n')
    made.path("slow.sh").chmod(0o755)
    made.edit("SConstruct", 'CC="gcc"', 'CC="./slow.sh"')
    watch, host = made.watch(), made.host()
    watch.wait("host")
    ticker.set_number(made, 2)
    watch.wait("change")
    until(lambda: running(str(made.root), "slow.sh"), "a compiler")
    ticker.set_number(made, 3)
    assert watch.reloaded(host=host.pid)["generation"] == 2
    ticker.runs(host, 3)
    assert "numbers 2" not in host.output


def test_three_hundred_files_at_once(made: Project) -> None:
    """A checkout of 300 files is one change, and what runs afterwards is its end."""
    ticker.lay(made)
    made.edit("SConstruct", '"src/number.c"]', '"src/number.c"] + [f"src/many/m{n}.c" for n in range(40)]')
    for number in range(300):
        made.write(f"src/many/m{number}.c", f"int many{number} = 1;\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    made.write(".gitignore", "build\n*.o*\n.sconsign*\nevents*\n.output*\nsite_scons\n")

    def run(*words: str) -> None:
        subprocess.run([*git, *words], cwd=made.root, check=True, capture_output=True)

    run("init", "-q")
    run("add", "-A")
    run("commit", "-qm", "one")
    run("checkout", "-qb", "other")
    for number in range(300):
        made.write(f"src/many/m{number}.c", f"int many{number} = 2;\n")
    ticker.set_number(made, 7)
    run("commit", "-qam", "two")
    run("checkout", "-q", "main")
    watch, host = made.watch("-j2"), made.host()
    watch.wait("host")
    run("checkout", "-q", "other")
    watch.reloaded(host=host.pid)
    ticker.runs(host, 7)
    assert len([e for e in watch.events if e["event"] == "published"]) == 2, "the first build and the checkout"


def test_plugin_deleted(made: Project) -> None:
    """The built library is deleted: it is built again, and the host does not notice."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    made.path("build/libplug.so").unlink()
    until(made.path("build/libplug.so").exists, "the library being built again")
    ticker.set_number(made, 4)
    watch.reloaded(host=host.pid)
    ticker.runs(host, 4)


@pytest.mark.parametrize("damage", ["10", "50", "90", "99", "text", "machine", "empty"])
def test_a_damaged_library_is_refused(made: Project, damage: str) -> None:
    """A library cut at any place, a text file, another architecture: refused by the builder, the host goes on."""
    ticker.lay(made)
    made.scons()
    host = made.host()
    ticker.runs(host, 1)
    library = made.path("build/libplug.so")
    data = library.read_bytes()
    harm = {"text": b"hello, I am a text file\n", "machine": data[:18] + b"\xb7\x00" + data[20:], "empty": b""}
    harmed = harm[damage] if damage in harm else data[: len(data) * int(damage) // 100]
    made.write("SConstruct", "env = Environment(tools=['hotreload'])\n"
               "env.HotReload(host='build/main', plugins=['build/libplug.so'])\n")  # fmt: skip
    library.unlink()
    library.write_bytes(harmed)
    output = made.scons("reload", "-Q", "build/libplug.so", code=2)
    assert any(word in output for word in ("cut off", "text file", "aarch64", "empty")), output
    assert host.alive and "generation 2" not in host.output
    assert "last build is not what hosts run" in made.scons("hosts", "-Q")


def test_host_started_before_the_first_build(made: Project, compiler: str) -> None:
    """A host that finds nothing published waits, and gets the first build when it is there."""
    ticker.lay(made, compiler)
    made.scons("build/main")
    shutil.rmtree(rundir(made), ignore_errors=True)
    host = made.host()
    assert "run scons" in host.wait_line("not published yet")
    made.watch()
    ticker.runs(host, 1)


def test_host_started_later_and_a_second_one(made: Project) -> None:
    """Hosts may come at any time; each is reported, and each gets the next save."""
    ticker.lay(made)
    watch = made.watch()
    first = made.host()
    watch.wait("host", lambda e: e["pid"] == first.pid)
    second = made.host(directory="src")
    watch.wait("host", lambda e: e["pid"] == second.pid)
    ticker.set_number(made, 2)
    pids = {watch.reloaded()["host"], watch.reloaded()["host"]}
    assert pids == {first.pid, second.pid}
    ticker.runs(first, 2)
    ticker.runs(second, 2)


def test_host_killed_and_started_again(made: Project) -> None:
    """kill -9 leaves no record behind; the host that is started again runs the newest code."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host", lambda e: e["pid"] == host.pid)
    ticker.set_number(made, 2)
    watch.reloaded()
    host.process.kill()
    watch.wait("host", lambda e: e["pid"] == host.pid and "ended" in e["state"])
    until(lambda: not list(rundir(made).glob("*.host.*")), "the record being deleted")
    again = made.host()
    ticker.runs(again, 2)
    watch.wait("host", lambda e: e["pid"] == again.pid)


def test_host_stopped_and_continued(made: Project) -> None:
    """A stopped host is not waited for; continued, it goes to the newest of what it missed, and that is reported."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    os.kill(host.pid, signal.SIGSTOP)
    for number in (2, 3, 4):
        ticker.set_number(made, number)
        event = watch.wait("reload")
        assert event["pending"] and "stopped" in event["reason"]
    os.kill(host.pid, signal.SIGCONT)
    assert watch.reloaded(host=host.pid)["generation"] == 4
    ticker.runs(host, 4)
    assert "numbers 2 " not in host.output and "numbers 3 " not in host.output


def test_watcher_killed_and_started_again(made: Project) -> None:
    """kill -9 of the watcher harms nobody; the next one finds the host."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    watch.kill()
    ticker.set_number(made, 2)
    again = made.watch()
    ticker.runs(host, 2)
    ticker.set_number(made, 3)
    again.reloaded(host=host.pid, generation=3)
    ticker.runs(host, 3)


def test_two_watchers_on_one_tree(made: Project) -> None:
    """The second watcher says so and ends."""
    ticker.lay(made)
    made.watch()
    output = made.scons("watch", "-Q", code=2)
    assert "another scons watch runs on this tree" in output and "Traceback" not in output


def test_run_directory_writable_by_others(made: Project) -> None:
    """A run directory that others can write is refused by both sides."""
    ticker.lay(made)
    made.scons()
    rundir(made).chmod(0o777)
    output = made.scons("reload", "-Q", code=2)
    assert "other users can write here" in output and "chmod" in output
    host = made.host()
    assert "chmod" in host.wait_line("other users can write")
    assert host.alive


def test_library_in_a_place_that_others_can_write(made: Project) -> None:
    """The same for the library's own directory."""
    ticker.lay(made)
    made.path("build").mkdir()
    made.path("build").chmod(0o777)
    output = made.scons("-Q", code=2)
    assert "other users can write here" in output and "Traceback" not in output
    assert not rundir(made).exists() or not list(rundir(made).glob("*.so"))


def test_garbage_for_a_control_record(made: Project) -> None:
    """A record that no host wrote is ignored, or named when its maker holds its lock; nothing crashes."""
    ticker.lay(made)
    made.scons()
    host = made.host()
    ticker.runs(host, 1)
    garbage = rundir(made) / "libplug.so.host.1.1"
    garbage.write_bytes(os.urandom(4096))
    output = made.scons("hosts", "-Q")
    assert f"pid {host.pid}" in output and not garbage.exists(), "nobody holds its lock: left by a dead process"
    held = rundir(made) / "libplug.so.host.2.1"
    held.write_bytes(b"\0" * 100)
    holder = subprocess.Popen(
        ["python3", "-c", "import fcntl,sys,time\nf=open(sys.argv[1],'r+b')\nfcntl.lockf(f,fcntl.LOCK_EX)\n"
         "print('held',flush=True)\ntime.sleep(600)", str(held)], stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert holder.stdout and holder.stdout.readline()
        output = made.scons("hosts", "-Q")
        assert "not a control record" in output and "Traceback" not in output
        assert holder.poll() is None, "a process is not signalled for holding a lock"
        ticker.set_number(made, 2)
        assert "reloaded plug #2" in made.scons("reload", "-Q")
        assert holder.poll() is None
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("how", ["exec", "handler", "fork"])
def test_who_must_not_be_signalled(made: Project, how: str) -> None:
    """A process that is a host no more (exec, handler gone), and a forked child that outlives its host."""
    ticker.lay(made)
    action = {
        "exec": 'execlp("sleep", "sleep", "600", (char *)0);',
        "handler": "signal(SIGUSR1, SIG_DFL); for (;;) pause();",
        "fork": "if (fork() == 0) for (;;) pause(); kill(getpid(), SIGKILL);",
    }[how]
    made.edit("src/main.c", '#include "plug.h"', '#include <signal.h>\n#include <unistd.h>\n#include "plug.h"')
    made.edit("src/main.c", "    for (;;) {", "    puts(now.text); fflush(stdout);\n    " + action + "\n    for (;;) {")
    made.scons()
    host = made.host("build/main", str(int(signal.SIGUSR1)))
    until(lambda: host.output, "the host's first line")
    if how == "fork":
        until(lambda: host.process.poll() is not None, "the parent's end")
        (child,) = running(str(made.path("build/main")))
    else:
        child = host.pid
        wanted = "sleep" if how == "exec" else "main"
        until(lambda: Path(f"/proc/{child}/comm").read_text().strip() == wanted, wanted)
        if how == "handler":
            until(lambda: _catches_nothing(child, signal.SIGUSR1), "the handler's end")
    try:
        ticker.set_number(made, 2)
        output = made.scons("reload", "-Q", code=2 if how == "handler" else 0)
        assert ("no handler" in output) if how == "handler" else ("no host is running" in output), output
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def _catches_nothing(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return not mask >> (number - 1) & 1


def test_a_bare_kill_reloads(made: Project) -> None:
    """Without any watcher, kill -URG takes the host to the newest published generation."""
    ticker.lay(made)
    made.scons()
    host = made.host()
    ticker.runs(host, 1)
    ticker.set_number(made, 2)
    assert "published plug #2" in made.scons("-Q")
    os.kill(host.pid, signal.SIGURG)
    ticker.runs(host, 2)


def test_reload_answers_for_each_host(made: Project) -> None:
    """scons reload prints each host's answer and exits 0 only when all run the new code."""
    ticker.lay(made)
    made.scons()
    one, two = made.host(), made.host()
    ticker.runs(one, 1)
    ticker.runs(two, 1)
    ticker.set_number(made, 2)
    output = made.scons("reload", "-Q")
    assert f"reloaded plug #2 in pid {one.pid}" in output and f"reloaded plug #2 in pid {two.pid}" in output
    assert "it ran it already" in made.scons("reload", "-Q")
    made.edit("src/plug.h", "unsigned calls;", "unsigned calls, more;")
    assert made.scons("reload", "-Q").count("state: 1 kept, 1 new (more = 0)") == 2
    listed = made.scons("hosts", "-Q")
    assert listed.count("runs #3") == 2


def test_sconstruct_with_a_syntax_error(made: Project) -> None:
    """While the SConstruct has an error the old session goes on; mended, it is read again, arguments and all."""
    ticker.lay(made)
    watch, host = made.watch("extra=1"), made.host()
    watch.wait("host")
    made.edit("SConstruct", "plug = ", "plug = = ")
    assert "SyntaxError" in watch.wait("error")["output"] or "invalid syntax" in watch.output
    ticker.set_number(made, 2)
    watch.reloaded(host=host.pid)
    made.edit("SConstruct", "plug = = ", "assert ARGUMENTS['extra'] == '1'\nplug = ")
    assert watch.wait("ready")["hosts"][0]["pid"] == host.pid
    ticker.set_number(made, 3)
    watch.reloaded(host=host.pid)
    ticker.runs(host, 3)
    assert watch.stop() == 130


def test_a_flag_changed_in_the_sconstruct(made: Project) -> None:
    """A changed flag rebuilds and reloads, in the same process id of the watch."""
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    made.edit("src/number.c", "return NUMBER", "return PLUS NUMBER")
    watch.wait("error")
    made.edit("SConstruct", '"-O0"', '"-O0", "-DPLUS=0+"')
    watch.wait("ready")
    ticker.set_number(made, 2)
    watch.wait("reload", lambda e: e["ok"])
    ticker.runs(host, 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_with_the_signal_and_leaves_nothing_behind(made: Project, number: int) -> None:
    """Ctrl-C: exit status 130, the host that --hot-run started is gone, a fresh scons has nothing to do."""
    ticker.lay(made)
    watch = made.watch("--hot-run", ready=False)
    pid = watch.meets()
    ticker.set_number(made, 2)
    watch.reloaded(host=pid)
    assert watch.stop(number) == 128 + number
    assert not Path(f"/proc/{pid}").exists()
    assert watch.events[-1]["event"] == "stopped"
    assert "is up to date" in made.scons("-Q", "build/main", "build/libplug.so")


def test_hot_run_passes_arguments_and_names_the_end(made: Project) -> None:
    """--hot-run=ARGS starts the host with them; its end is named, the next good build starts it again."""
    ticker.lay(made)
    watch = made.watch("--hot-run=10", ready=False)
    first = watch.meets()
    assert Path(f"/proc/{first}/cmdline").read_bytes().split(b"\0")[1] == b"10"
    os.kill(first, signal.SIGKILL)
    assert "SIGKILL" in watch.wait("host", lambda e: "ended" in e["state"])["state"]
    ticker.set_number(made, 2)
    second = watch.wait("host", lambda e: e["pid"] != first)["pid"]
    assert second != first


def test_events_on_standard_output_are_nothing_but_events(made: Project) -> None:
    """--hot-events=- writes NDJSON to standard output, everything for people goes to standard error."""
    ticker.lay(made)
    done = subprocess.run(
        made.command("-Q", "reload", "--hot-events=-"), cwd=made.root, env=made.environment, capture_output=True,
        text=True, timeout=60, check=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [row["event"] for row in rows] == ["published"] and {"event", "time", "iteration"} <= rows[0].keys()
    assert "published plug #1" in done.stderr


def test_modes_that_pass_through(made: Project) -> None:
    """-n, -q, -c and -h with watch do what they do without it, and end."""
    ticker.lay(made)
    made.scons()
    assert "watching" not in made.scons("watch", "-n", "-Q")
    made.scons("watch", "-q", "-Q")
    assert "hot-run" in made.scons("watch", "-h", "-Q")
    made.scons("watch", "-c", "-Q")
    assert not made.path("build/libplug.so").exists() and not rundir(made).exists()


@pytest.mark.parametrize("made", list(SCONS), indirect=True)
def test_release(made: Project, compiler: str) -> None:
    """release=1: the same sources, linked for good with an $ORIGIN rpath, no dlopen in the host."""
    ticker.lay(made, compiler)
    made.scons("release=1")
    host = made.host(directory="src")
    assert "numbers 1 1 1" in host.wait_line("generation 1")
    dynamic = output_of("readelf", "-d", str(made.path("build/main")))
    assert "libplug.so" in dynamic and "$ORIGIN" in dynamic
    symbols = output_of("nm", "-D", str(made.path("build/main")))
    assert not any(f" {name}@" in symbols for name in ("dlopen", "dlsym", "pthread_create", "sigaction"))
    assert not rundir(made).exists()


def test_hot_host_is_not_linked_to_the_plugin(made: Project) -> None:
    """The command line carries -L./build -lplug, the host no DT_NEEDED; a host that pulls it in is refused by name."""
    ticker.lay(made)
    output = made.scons()
    assert "-L./build -lplug" in output and "-ldl" in output
    dynamic = output_of("readelf", "-d", str(made.path("build/main")))
    assert "libplug" not in dynamic
    made.edit("src/main.c", "plug.plug_tick(", "plug_tick(")
    output = made.scons("-Q", code=2)
    assert "it uses plug_tick" in output and "HR_TABLE" in output


def test_watch_without_a_plugin(made: Project) -> None:
    """scons watch is of use for any target: a program is built again on a save."""
    made.write("SConstruct", "env = Environment(tools=['default', 'hotreload'])\nenv.Program('hi', 'hi.c')\n")
    made.write("hi.c", "int main(void) { return 1; }\n")
    watch = made.watch()
    assert subprocess.run([made.path("hi")], check=False).returncode == 1
    made.write("hi.c", "int main(void) { return 2; }\n")
    assert watch.wait("build")["targets"] == ["hi.o", "hi"]
    assert subprocess.run([made.path("hi")], check=False).returncode == 2
    assert "built 2 targets · 1 of 1 object" in watch.output


def test_targets_of_our_names_give_way(made: Project) -> None:
    """A project's own target named watch is built; ours gives way and says so."""
    made.write("SConstruct", "env = Environment(tools=['default', 'hotreload'])\n"
               "env.Command('watch', [], 'echo mine > $TARGET')\n")  # fmt: skip
    assert "has a target watch of its own" in made.scons("watch", "-Q")
    assert made.path("watch").read_text() == "mine\n"


def test_run_directory_is_private(made: Project) -> None:
    """Directory 0700, files 0600."""
    ticker.lay(made)
    made.scons()
    assert stat.S_IMODE(rundir(made).stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in rundir(made).iterdir()} == {0o600}


def test_gdb_follows_the_generations(made: Project) -> None:
    """gdb attached after five reloads stops at a breakpoint in the newest source."""
    gdb = need("gdb")
    ticker.lay(made)
    watch, host = made.watch(), made.host()
    watch.wait("host")
    for number in range(2, 7):
        ticker.set_number(made, number)
        watch.reloaded(generation=number)
    ticker.runs(host, 6)
    line = 1 + ticker.PLUG_C.split("\n").index("void plug_tick(plug_state *state) { state->calls++; }")
    done = subprocess.run(
        [gdb, "-nx", "-batch", "-p", str(host.pid), "-ex", f"break plug.c:{line}", "-ex", "continue", "-ex", "bt 2",
         "-ex", "info sharedlibrary", "-ex", "detach"], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert f"plug.c:{line}" in done.stdout and "libplug.so.6-" in done.stdout, done.stdout + done.stderr
    assert re.search(r"hit Breakpoint 1(\.1)?, plug_tick", done.stdout), done.stdout + done.stderr
    assert host.alive


def test_hello(made: Project) -> None:
    """The example as it is in this repository: a new greeting, the same pid, and the count goes on."""
    shutil.copytree(ROOT / "src/hello", made.path("src/hello"))
    made.write("SConstruct", "env = Environment(tools=['default', 'hotreload'])\n"
               "plug = env.HotLibrary('build/plug', ['src/hello/plug.c'])\n"
               "env.HotProgram('build/main', ['src/hello/main.c'], plugins=[plug])\n")  # fmt: skip
    watch = made.watch()
    host: HostProcess = made.host()
    host.wait_line("Hello Link (call 2)")
    watch.wait("host")
    made.edit("src/hello/plug.c", "Hello Link", "Good morning")
    watch.reloaded(host=host.pid)
    count = int(host.wait_line("Good morning").split("call ")[1].rstrip(")"))
    assert count > 2
    os.kill(host.pid, signal.SIGTERM)
    assert host.process.wait(20) == 0


def test_an_undo_beside_a_watch(made: Project) -> None:
    """The watch tells of it, leaves it as it is, and brings the newest back when a file of the plugin is saved, even
    if the library stays as it was."""
    ticker.lay(made)
    made.write("other.c", "int main(void) { return 0; }\n")
    made.write("SConstruct", made.path("SConstruct").read_text() + 'env.Program("other", ["other.c"])\n')
    watch, host = made.watch(), made.host()
    watch.wait("host")
    ticker.set_number(made, 2)
    watch.reloaded(generation=2)
    for number, edited in ((3, made.path("src/plug.c").read_text()), (5, ticker.PLUG_C + "/* the same code */\n")):
        made.scons("reload", "-Q", "--hot-undo")
        told = watch.wait("published", lambda e: e.get("by") == "another scons")
        assert told["generation"] == number and told["restores"]
        assert watch.reloaded(generation=number)["host"] == host.pid
        host.wait_line(f"generation {number} numbers 1 ")
        made.write("other.c", f"int main(void) {{ return {number}; }}\n")
        assert not watch.wait("build", lambda e: "other" in e["targets"])["delivers"]
        made.write("src/plug.c", edited)
        watch.reloaded(generation=number + 1)
        host.wait_line(f"generation {number + 1} numbers 2 ")
    assert f"undo plug #3 is #1 again, by another scons\nreloaded plug #3 in pid {host.pid}\n" in watch.output
    assert "unchanged" not in watch.output


def test_undo_takes_hosts_back_with_their_state(made: Project) -> None:
    """Back to the generation before, and before that; the state goes backwards too; a build goes forward again."""
    ticker.lay(made)
    made.scons()
    host = made.host()
    ticker.runs(host, 1)
    made.edit("src/plug.h", "unsigned calls;", "unsigned more, calls;")
    ticker.set_number(made, 2)
    made.scons("reload", "-Q")
    ticker.runs(host, 2)
    ticker.set_number(made, 3)
    made.scons("reload", "-Q")
    ticker.runs(host, 3)
    output = made.scons("reload", "-Q", "--hot-undo")
    assert "undo plug #4 is #2 again" in output and f"reloaded plug #4 in pid {host.pid}" in output
    ticker.runs(host, 2)
    output = made.scons("reload", "-Q", "--hot-undo")
    assert "undo plug #5 is #1 again" in output and "state: 1 moved, 1 gone (more) · " in output
    ticker.runs(host, 1)
    assert "there is no earlier generation" in made.scons("reload", "-Q", "--hot-undo", code=2)
    made.scons("reload", "-Q")
    ticker.runs(host, 3)
