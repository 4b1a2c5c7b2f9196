"""``scons watch`` on a terminal: keys, progress, what is written and how the terminal is left."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

import ticker
from harness import Project, need, until
from hotreload_engine import screen as screens
from hotreload_engine.keys import Decoder
from hotreload_engine.model import Event
from hotreload_engine.notify import Notifier
from hotreload_engine.screen import Screen, progress, width, wrapped
from terminal_kit import Display, slow_compiler, state_of, terminal

COPY = """\
env = Environment(tools=["hotreload"])
env.Command("out", "in", "cp $SOURCE $TARGET")
"""


@pytest.fixture
def copying(made: Project) -> Project:
    """A project in which a save is a copied file: no compiler, no host."""
    made.write("SConstruct", COPY)
    made.write("in", "1\n")
    return made


def hosts_of(made: Project) -> list[int]:
    program = str(made.path("build/main"))
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _link(process / "exe") == program]


# --- bytes and widths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "keys"),
    [
        ([b"r"], "r"),
        ([b"R", b"xp"], "Rp"),
        ([b"\x1b[A", b"\x1bOR", b"\x1b[15~", b"\x1b[1;5R"], ""),
        ([b"\x1b", b"q"], "q"),
        ([b"\x1bq"], ""),
        ([b"\x1b[1;", b"5Rb"], "b"),
        ([b"make -j4 bear\n"], ""),
        (["é".encode(), b"\xff", b"\n", b"h"], "h"),
    ],
    ids=["a key", "others", "function keys", "escape, then a key", "Alt", "a torn sequence", "a paste", "other letters"],
)
def test_keys_from_bytes(chunks: list[bytes], keys: str) -> None:
    """Only letters that were typed count: not those in the sequences of other keys, not pasted text."""
    decoder = Decoder()
    assert "".join(key for chunk in chunks for key in decoder.feed(chunk)) == keys


@pytest.mark.parametrize("columns", [*range(0, 90, 7), 200])
@pytest.mark.parametrize("name", ["a.c", "src/" + "long/" * 30 + "name.c", "src/変更.c" * 5])
def test_progress_is_never_wider_than_the_terminal(columns: int, name: str) -> None:
    """The counter always where it fits, the end of the name where it fits, a bar where there is room for both."""
    text = progress(3, 12, name, columns, colour=False)
    assert width(text) <= columns
    assert "[3/12]" in text or columns < 6
    assert ("━" in text) == (columns >= 52)
    assert columns < 20 or text.endswith(".c")


@pytest.mark.parametrize("columns", [22, 33, 47, 100])
def test_a_line_that_is_too_long_goes_on_with_the_mark(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """At a space, in its colour, each row with the mark and not wider than the terminal; none of its words is lost."""
    words = "host pid 4301 restarted: pid 4242 was compiled against 変更 functions of plug; its state was carried over"
    stream, display = io.StringIO(), Display(columns)
    monkeypatch.setattr(Screen, "columns", columns)
    display.feed(Screen(stream, colour=True, shared=True).framed(f"\x1b[2m{words}\x1b[0m\nshort"))
    *rows, short, end = display.lines
    assert short == "│ short" and end == ""
    assert all(width(row) <= columns and row.startswith("│ " if n == 0 else "│     ") for n, row in enumerate(rows)), rows
    assert " ".join(word for row in rows for word in row.removeprefix("│ ").split()) == words
    assert all(row.startswith("    \x1b[2m") and row.endswith("\x1b[0m") for row in wrapped(f"\x1b[2m{words}\x1b[0m", 40)[1:])
    assert wrapped(f"{'a' * 12} {'b' * 50} c", 40) == [f"{'a' * 12} {'b' * 50}", "    c"]
    assert wrapped(words, 19) == [words]
    assert Screen(stream, colour=False, shared=True).framed(words, wraps=False).endswith(f"│ {words}\n")


def test_our_lines_stand_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind half a line of the host's they begin a new one; at the beginning of one they leave no gap."""
    monkeypatch.setattr(screens.os, "get_terminal_size", lambda descriptor: os.terminal_size((20, 5)))
    stream = io.StringIO()
    monkeypatch.setattr(stream, "fileno", lambda: 1)
    screen, display = Screen(stream, colour=True, shared=True), Display(20)
    display.feed("password: " + screen.framed("reloaded\nstate") + "host\n" + screen.framed("x"))
    assert display.lines == ["password:", "│ reloaded", "│ state", "host", "│ x", ""]
    assert not display.strange


# --- keys -----------------------------------------------------------------------------------------------------


def test_every_key(made: Project) -> None:
    """One session, its own host, and each key: what it does, and what it says when there is nothing to do."""
    ticker.lay(made)
    with terminal(made, "--hot-run", "--hot-events=events") as term:
        term.says("h lists the keys")
        until(lambda: not term.is_cooked, "keys one by one")
        (host,) = hosts_of(made)
        for key, answer in {
            "h": "q  quit",
            "r": "nothing to reload: every host runs what is published last (plug #1)",
            "u": "nothing to undo",
            "b": "nothing to build: all is current",
            "e": "nothing has been rebuilt in this session yet",
            "p": "paused: changes are collected",
        }.items():
            term.type(key)
            term.says(answer)
        ticker.set_number(made, 2)
        term.says("paused: src/number.h changed; p goes on")
        ticker.set_number(made, 3)
        term.says("paused: src/number.h changed; 1 file to build at the next p")
        term.type("p")
        term.says("going on: 1 file changed meanwhile")
        term.says(f"reloaded plug #2 in pid {host} · 2 of 3 objects")
        term.shows("^generation 2 numbers 3 3 3 ")
        term.type("e")
        term.says(": src/number.h changed")
        term.says("rebuilt build/libplug.so")
        term.says(": src/plug.os changed")
        term.says("src/number.os changed")
        term.type("v")
        term.says("verbose")
        made.edit("src/plug.c", "state->calls++", "state->calls += 1")
        term.says(f"changed: {made.path('src/plug.c')}")
        term.says("because `src/plug.c' changed")
        term.says(f"reloaded plug #3 in pid {host}")
        term.says("state: 1 kept")
        term.type("v")
        term.says("no longer verbose")
        term.type("u")
        term.says("undo plug #4 is #2 again")
        term.says(f"reloaded plug #4 in pid {host}")
        term.type("R")
        term.says(f"restarted, it was pid {host}; its state began anew")
        until(lambda: not state_of(host), "the end of the old host")
        term.says("runs #4")
        made.edit("SConstruct", '"-O0"', '"-O0", "-DAGAIN"')  # another process in our place
        term.says("reading the SConscripts again")
        term.says("watching ")
        until(lambda: not term.is_cooked, "keys again")
        term.type("b")
        term.says("nothing to build")
        term.type("q")
        term.says("watch ended by the key q")
        assert term.ends() == 0
        assert term.is_cooked and not hosts_of(made)
        assert not term.display.strange, "the cursor only goes back to the beginning of its line"
        ours = [line for line in term.display.lines if line.startswith("│ ")]
        assert any(line.startswith("│ reloaded plug #2") for line in ours)
        assert not any("numbers" in line for line in ours) and term.display.colours
    events = made.path("events").read_text()
    assert '"event": "key"' in events and "│" not in events


def test_no_keys_where_something_is_piped(copying: Project) -> None:
    """Standard output is a file: the terminal on standard input is left alone, and the text is plain."""
    master, slave = os.openpty()
    output = copying.path("output")
    try:
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["setsid", "--ctty", *copying.command("-Q", "watch")], cwd=copying.root,
                env={**copying.environment, "TERM": "xterm", "NO_COLOR": ""}, stdin=slave, stdout=file, stderr=file,
            )  # fmt: skip
        try:
            until(lambda: "watching" in output.read_text(), output.read_text)
            os.write(master, b"q\nh\n")
            copying.write("in", "2\n")
            until(lambda: "built 1 target" in output.read_text(), output.read_text)
            assert termios.tcgetattr(slave)[3] & termios.ICANON
            assert process.poll() is None and "\x1b" not in output.read_text() and "quit" not in output.read_text()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
    finally:
        os.close(master)
        os.close(slave)


def test_a_shell_s_job_control(made: Project) -> None:
    """In the background it takes no keys and is not stopped for them; Ctrl-Z gives the terminal back and stops the host,
    fg takes it again; Ctrl-C ends all."""
    ticker.lay(made)
    need("bash")
    with terminal(made, command=["bash", "--norc", "--noprofile", "-i"], PS1="shell> ") as term:
        term.says("shell> ")
        term.type(f"{shlex.join(made.command('-Q', 'watch', '--hot-run'))} &\n")
        term.says("h lists the keys")
        term.type("stty -a | grep -c ' icanon'\n")  # bash itself edits lines in a mode of its own, but sets it back
        term.says("1")
        (host,) = hosts_of(made)
        assert state_of(host) in "RS"
        term.type("fg\n")
        until(lambda: (term.read(0.01), not term.is_cooked)[1] and _foreground(made), "the foreground")
        until(lambda: _asks(term, "h", "q  quit"), "keys in the foreground")
        term.type("\x1a")
        term.says("Stopped")
        assert state_of(host) == "T"
        term.type("stty -a | grep -c ' icanon'\n")
        term.says("1")
        term.type("fg\n")
        until(lambda: state_of(host) in "RS", "the host to go on")
        until(lambda: _asks(term, "r", "nothing to reload"), "keys after fg")
        term.type("\x03")
        term.says("watch ended by SIGINT")
        term.says("shell> ")  # what is typed before bash reads again is lost
        term.type("echo status $?\n")
        term.says("status 130")
        assert not hosts_of(made)
        term.type("exit\n")
        assert term.ends() == 0


def _foreground(made: Project) -> bool:
    """Whether a scons of ours is in its terminal's foreground (proc(5): pgrp and tpgid)."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if b"watch" in (process / "cmdline").read_bytes() and os.readlink(process / "cwd") == str(made.root):
                return fields[2] == fields[5]
        except OSError:
            continue
    return False


def _asks(term: Any, key: str, answer: str) -> bool:
    before = len(term.text)
    term.type(key)
    term.read(0.5)
    return answer in term.text[before:]


@pytest.mark.parametrize(
    ("way", "status"),
    [("\x03", 130), ("\x1c", -signal.SIGQUIT), (signal.SIGTERM, 143), ("a mistake of ours", 2)],
    ids=["Ctrl-C", "Ctrl-backslash", "SIGTERM", "an exception"],
)
def test_the_terminal_is_as_it_was(copying: Project, way: str | int, status: int) -> None:
    """Whatever ends the session."""
    if status == 2:
        copying.edit("site_scons/hotreload_engine/session.py", 'return ["no host to restart: ', 'return {}["a bug: ')
    with terminal(copying) as term:
        term.says("watching")
        until(lambda: not term.is_cooked, "keys one by one")
        if isinstance(way, int):
            term.process.send_signal(way)
        else:
            term.type(way if len(way) == 1 else "R")
        assert term.ends() == status
        assert term.is_cooked


@pytest.mark.parametrize("phase", ["first build", "pass"])
def test_the_second_ctrl_c_kills_compilers(made: Project, phase: str) -> None:
    """One that hears neither Ctrl-C nor SIGTERM gets its time; asked again, there is none left."""
    ticker.lay(made, "./cc")
    slow_compiler(made)
    made.edit("site_scons/hotreload_engine/commands.py", "GRACE = 2.0", "GRACE = 1000.0")
    if phase == "first build":
        made.write("hold", "")
    with terminal(made) as term:
        if phase == "pass":
            term.says("watching")
            made.write("hold", "")
            ticker.set_number(made, 2)
        until(made.path("begun").exists, "the compiler")
        term.type("\x03")
        _waits(made, term.process.pid)
        assert term.process.poll() is None
        term.type("\x03")
        assert term.ends() == 130
        assert term.is_cooked and not _compilers(made)


@pytest.mark.parametrize("keys", ["\x03\x03", "\x1c"], ids=["Ctrl-C twice", "Ctrl-backslash"])
def test_a_host_that_does_not_hear_is_killed(made: Project, keys: str) -> None:
    """SIGTERM and SIGINT are nothing to it."""
    ticker.lay(made)
    made.edit("src/main.c", "char text[256];", "char text[256]; signal(SIGTERM, heard); signal(SIGINT, SIG_IGN);")
    made.edit("src/main.c", "int main", '#include <signal.h>\nstatic void heard(int n) { (void)n; puts("not yet"); }\nint main')
    made.edit("site_scons/hotreload_engine/runner.py", "GRACE = 2.0", "GRACE = 1000.0")
    with terminal(made, "--hot-run") as term:
        term.says("watching")
        until(lambda: not term.is_cooked, "keys one by one")
        term.type(keys[0])
        for key in keys[1:]:
            term.says("not yet")
            assert term.process.poll() is None
            term.type(key)
        assert term.ends() == (130 if "\x03" in keys else -signal.SIGQUIT)
        until(lambda: not hosts_of(made), "the end of the host")


def _compilers(made: Project) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"./cc" in (process / "cmdline").read_bytes() and os.readlink(process / "cwd") == str(made.root):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _waits(made: Project, session: int) -> None:
    """Until the session waits for the compiler to end: it holds a pidfd of it, as it does of nothing else here."""
    descriptors = Path(f"/proc/{session}/fd")
    until(
        lambda: _compilers(made) and any("pidfd" in _link(each) for each in descriptors.glob("*")),
        "the session waiting for the compiler",
    )


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def test_a_host_that_wants_the_terminal_is_named(made: Project) -> None:
    """One that sets the terminal up for itself is stopped by the kernel, as any background job: not in silence."""
    ticker.lay(made)
    made.edit("src/main.c", "char text[256];", "char text[256]; struct termios mode; tcgetattr(1, &mode); tcsetattr(1, 0, &mode);")
    made.edit("src/main.c", "int main", "#include <termios.h>\nint main")
    with terminal(made, "--hot-run") as term:
        term.says("is stopped (SIGTTOU): it wants the terminal for itself")
        until(lambda: not term.is_cooked, "keys one by one")
        term.type("q")
        assert term.ends() == 0
        assert not hosts_of(made) and term.text.count("is stopped") == 1


# --- progress and colour --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("columns", "colour"), [(100, True), (40, False)], ids=["wide", "narrow, NO_COLOR"])
def test_a_slow_build_shows_how_far_it_is(made: Project, columns: int, colour: bool) -> None:
    """A counter and the current file, with a bar where there is room; gone when the result comes."""
    ticker.lay(made, "./cc")
    slow_compiler(made)
    more = {} if colour else {"NO_COLOR": "1"}
    with terminal(made, columns=columns, **more) as term:
        term.says("watching")
        before = term.display.lines
        made.write("hold", "")
        ticker.set_number(made, 2)
        until(made.path("begun").exists, "the compiler")
        line = term.shows(r"\[\d/\d\] ")
        assert re.search(r"\[0/3\] src/(plug|number)\.c$", line) and len(line) < columns
        assert line.startswith("[" if columns == 40 else "━"), line
        os.unlink(made.path("hold"))
        term.says("published plug #2")
        term.type("q")
        assert term.ends() == 0
        lines = term.display.lines
        assert lines[: len(before) - 1] == before[:-1], "what stood there stands there"
        assert not any(re.search(r"\[\d/\d\]", line) for line in lines)
        assert not term.display.strange and bool(term.display.colours) is colour
        assert len(max(lines, key=len)) <= columns


def test_a_pause_ends_a_build_that_was_cut(made: Project) -> None:
    """For who waits for the end of what has begun; at the next p it begins again."""
    ticker.lay(made, "./cc")
    slow_compiler(made)
    with terminal(made, "--hot-marks") as term:
        term.says("watching")
        made.write("hold", "")
        ticker.set_number(made, 2)
        until(made.path("begun").exists, "the compiler")
        term.says("build begins")
        term.type("p")
        ticker.set_number(made, 3)
        term.says("build ends")
        term.says("paused: ")
        os.unlink(made.path("hold"))
        term.type("p")
        term.says("build begins")
        term.says("published plug #2")
        term.says("build ends")


# --- notifications --------------------------------------------------------------------------------------------


def test_the_bell_rings_when_good_turns_bad_and_back(copying: Project) -> None:
    """Once for an error, not for the next one; once when it is mended."""
    copying.edit("SConstruct", "cp $SOURCE $TARGET", "grep -q good $SOURCE && cp $SOURCE $TARGET")
    copying.write("in", "good\n")
    with terminal(copying, "--hot-notify") as term:
        term.says("watching")
        for text, answer, bells in (("bad", "error out", 1), ("worse", "error out", 1), ("good 2", "fixed", 2)):
            copying.write("in", text + "\n")
            term.says(answer)
            until(lambda expected=bells: (term.read(0.01), term.display.bells >= expected)[1], "the bell")
        copying.write("in", "good 3\n")
        term.says("built 1 target")
        term.type("q")
        assert term.ends() == 0
        assert term.display.bells == 2


def test_a_desktop_gets_a_message_instead(tmp_path: Path) -> None:
    """notify-send is told what is bad; the bell is for where there is none."""
    told, program = tmp_path / "told", tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >>{told}; echo >>{told}\n')
    program.chmod(0o755)
    rung: list[int] = []
    notifier = Notifier(lambda: rung.append(1), desktop=str(program))
    notifier.stands(False)
    notifier(Event("error", 1, {"where": "a.o", "what": "Error 1", "remedy": "", "output": ""}))
    notifier.stands(True)
    until(lambda: told.exists() and told.read_text().count("\n") == 1, "the first message")
    notifier.stands(True)
    notifier.stands(False)
    until(lambda: told.read_text().count("\n") == 2, "the second message")
    first, second = told.read_text().splitlines()
    assert "trouble|a.o: Error 1|" in first and "well again" in second and not rung
    until(lambda: (notifier.stands(False), not notifier._children)[1], "the end of both")
