"""Events → lines for a person."""

from __future__ import annotations

import errno
import io
import json
from typing import Any

import pytest

from hotreload_engine.model import Event
from hotreload_engine.report import Style, lines, ndjson, terminal, wants_colour

RELOAD: dict[str, Any] = {
    "plugin": "plug", "generation": 7, "host": 4242, "ok": True, "reason": "", "pending": False, "running": 7,
    "compiled": 1, "of": 14, "compile_ms": 31.2, "link_ms": 6.04, "host_ms": 0.41, "save_to_reload_ms": 52.3,
}  # fmt: skip
BUILD: dict[str, Any] = {
    "targets": [], "ok": True, "compiled": 0, "of": 14, "compile_ms": 0, "link_ms": 0, "output": "", "note": "", "why": [],
    "unchanged": False, "delivers": False, "fixed": False,
}  # fmt: skip
ERROR = {
    "what": "Error 1",
    "where": "a.o",
    "remedy": "mend it",
    "output": "a.c:1: no\n",
    "running": [{"pid": 7, "generation": 6}],
}
CRASH: dict[str, Any] = {
    "plugin": "plug", "generation": 7, "host": 4242, "what": "SIGSEGV", "where": "src/plug.c:8, tick()", "fate": "rolled-back",
    "reason": "", "mark": "/b/m", "running": [{"pid": 4242, "generation": 6}],
}  # fmt: skip

CASES = [
    ("reload", RELOAD,
     "reloaded plug #7 in pid 4242 · 1 of 14 objects · cc 31 ms · link 6.0 ms · host 0.4 ms · 52 ms from save"),
    ("reload", {**RELOAD, "ok": False, "reason": "why", "running": 6},
     "not reloaded plug #7 in pid 4242; it goes on with #6: why"),
    ("reload", {**RELOAD, "ok": False, "running": 6,
                "reason": "generation 7 crashed: SIGSEGV; generation 6 goes on, with the state as it was: change the code"},
     ""),
    ("reload", {**RELOAD, "ok": False, "pending": True, "reason": "it is stopped"},
     "waiting plug #7 for pid 4242: it is stopped"),
    ("build", {**BUILD, "unchanged": True}, "unchanged: nothing to build"),
    ("build", {**BUILD, "targets": ["a", "b"], "compiled": 1, "compile_ms": 1500.0},
     "built 2 targets · 1 of 14 objects · cc 1500 ms"),
    ("build", {**BUILD, "delivers": True, "fixed": True}, "fixed"),
    ("build", {**BUILD, "output": "a.c:1: warning\n", "delivers": True}, "a.c:1: warning"),
    ("build", {**BUILD, "targets": ["a.o"], "delivers": True, "why": [{"target": "a.o", "why": "a.c changed"}]},
     "rebuilt a.o: a.c changed"),
    ("error", ERROR, "a.c:1: no\nerror a.o: Error 1\n  mend it\n  pid 7 goes on with #6"),
    ("host", {"pid": 3, "state": "ended (SIGSEGV)"}, "host pid 3 ended (SIGSEGV)"),
    ("published", {"plugin": "plug", "generation": 2, "hosts": 0, "calls": True, "findings": []},
     "published plug #2 · no host is running"),
    ("published", {"plugin": "plug", "generation": 2, "hosts": 1, "calls": False, "findings": []},
     "published plug #2 · 1 host to be told: scons reload"),
    ("ready", {"files": 1, "directories": 2, "plugins": [{"plugin": "plug", "generation": 0}], "hosts": [], "edit": ""},
     "watching 1 file in 2 directories · plug is not built yet · no host is running"),
    ("refused", {"plugin": "plug", "running": [], "findings": [
        {"what": "no f", "where": "l.so", "remedy": "define it", "severity": "error"}]},
     "refused plug: the new library was not given to any host\n  error l.so: no f\n    define it"),
    ("crash", CRASH,
     "crashed plug #7 in pid 4242: SIGSEGV in src/plug.c:8, tick(); it goes on with #6, with the state as it was at the reload\n"
     "  change the code; or delete /b/m to try it again"),
    ("crash", {**CRASH, "running": [], "where": ""},
     "crashed plug #7 in pid 4242: SIGSEGV\n  change the code; or delete /b/m to try it again"),
    ("crash", {**CRASH, "fate": "ended", "reason": "it was in a constructor", "mark": ""},
     "crashed plug #7 in pid 4242: SIGSEGV in src/plug.c:8, tick(); it has ended: it was in a constructor"),
    ("nothing known", {}, ""),
]  # fmt: skip


@pytest.mark.parametrize("event,fields,text", CASES)
def test_lines(event: str, fields: dict[str, Any], text: str) -> None:
    """One line a result, in these words."""
    assert "\n".join(lines(Event(event, 1, fields), Style(False))) == text


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal, and not against NO_COLOR or a dumb one."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_colour(Terminal()) and not wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())
    assert "\x1b[32;" not in Style(False)("good", "x") and "\x1b[32m" in Style(True)("good", "x")


def test_quiet_prints_trouble_and_its_end() -> None:
    """--hot-quiet leaves out what went well, but not that it is fixed."""
    stream = io.StringIO()
    show = terminal(stream, quiet=True)
    show(Event("reload", 1, RELOAD))
    show(Event("error", 1, ERROR))
    show(Event("build", 1, {**BUILD, "fixed": True, "delivers": True}))
    assert stream.getvalue() == "a.c:1: no\nerror a.o: Error 1\n  mend it\n  pid 7 goes on with #6\nfixed\n"


def test_marks_stand_around_what_a_build_says() -> None:
    """--hot-marks, also beside --hot-quiet; without it nothing is printed where a build begins and ends."""
    change = Event("change", 1, {"files": ["/a.c"], "note": "as asked"})
    for quiet, note in ((False, "as asked\n"), (True, "")):
        stream = io.StringIO()
        show = terminal(stream, quiet, marks=True)
        for event in (change, Event("error", 1, {**ERROR, "running": []}), Event("done", 1, {})):
            show(event)
        assert stream.getvalue() == f"build begins\n{note}a.c:1: no\nerror a.o: Error 1\n  mend it\nbuild ends\n"
    plain = io.StringIO()
    terminal(plain)(Event("done", 1, {}))
    assert not plain.getvalue()


class Disk(io.RawIOBase):
    """A file with room for so many more bytes."""

    def __init__(self) -> None:
        self.text, self.room = b"", 1000

    def write(self, data: Any) -> int:
        taken = bytes(data[: self.room])
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.text += taken
        self.room -= len(taken)
        return len(taken)


def test_ndjson() -> None:
    """One object a line, with event, time and iteration in each."""
    disk = Disk()
    ndjson(disk, pytest.fail)(Event("host", 3, {"pid": 1, "state": "läuft"}, 12.5))
    assert json.loads(disk.text) == {"event": "host", "time": 12.5, "iteration": 3, "pid": 1, "state": "läuft"}
    assert disk.text.count(b"\n") == 1


def test_events_wait_for_room() -> None:
    """None is lost or torn, whatever the disk took of one; each time that it is full is told once."""
    disk, told = Disk(), []
    write = ndjson(disk, told.append)
    for number, room in enumerate((1000, 20, 0, 300, 0, 1000)):
        disk.room = room
        write(Event("host", number, {"pid": 1, "state": "runs"}, 12.5))
    assert [json.loads(line)["iteration"] for line in disk.text.splitlines()] == [*range(6)]
    assert len(told) == 2
