"""--hot-report: the page about a session, from events, and in a real session as a browser sees it."""

from __future__ import annotations

import json
import re
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import ticker
from harness import Project, need, until
from hotreload_engine.chronicle import ROWS, Chronicle
from hotreload_engine.model import Event, HotReloadError
from hotreload_engine.page import TROUBLES, pieces
from hotreload_engine.page_file import PageFile

BUILD: dict[str, Any] = {
    "targets": ["plug.os"], "steps": [], "ms": 60.0, "ok": True, "compiled": 1, "of": 1, "compile_ms": 40.0, "link_ms": 10.0,
    "output": "", "note": "", "why": [], "unchanged": False, "delivers": True, "fixed": False,
}  # fmt: skip
PUBLISHED: dict[str, Any] = {
    "plugin": "plug", "generation": 2, "restores": 0, "findings": [], "check_ms": 6.0, "publish_ms": 2.0,
}  # fmt: skip
RELOAD: dict[str, Any] = {
    "plugin": "plug", "generation": 2, "host": 7, "ok": True, "reason": "", "pending": False, "running": 2, "pause_us": 5.0,
    "load_us": 90.0, "state": "state: 2 kept", "save_to_reload_ms": 80.0, "host_ms": 1.0, "compiled": 1, "of": 1,
    "compile_ms": 40.0, "link_ms": 10.0, "build_ms": 60.0, "settle_ms": 0.5,
}  # fmt: skip
CRASH: dict[str, Any] = {
    "plugin": "plug", "generation": 2, "host": 7, "what": "SIGSEGV", "where": "a.c:3, tick()", "fate": "rolled-back",
    "reason": "", "running": [{"pid": 7, "generation": 1, "state": ""}],
}  # fmt: skip
ERROR: dict[str, Any] = {"what": "Error 1", "where": "a.o", "remedy": "mend it", "output": "a.c:1: error: no\n"}
REFUSED: dict[str, Any] = {
    "plugin": "plug", "running": [],
    "findings": [{"what": "no f", "where": "/p/l.so", "remedy": "define it", "severity": "error"}],
}  # fmt: skip


class Elements(HTMLParser):
    """A page's elements; fails where they are not well nested."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def text(self, tag: str = "") -> str:
        return " ".join(data for where, data in self.texts if tag in ("", where))

    def count(self, tag: str, kind: str = "") -> int:
        return sum(1 for name, attributes in self.found if name == tag and kind in ("", attributes.get("class")))


def of(*events: tuple[str, dict[str, Any]]) -> Chronicle:
    """Each in an iteration of its own, one second after the other."""
    chronicle = Chronicle()
    for number, (name, fields) in enumerate(events):
        chronicle.add(Event(name, fields.get("iteration", number), fields, 1000.0 + number))
    return chronicle


def page(chronicle: Chronicle) -> Elements:
    text = "".join(pieces(chronicle, "/p"))
    links = {link[1:] for link in re.findall(r'<a href="?(#\w+)', text)}
    ids = re.findall(r" id=(\w+)", text)
    assert links <= set(ids) and len(ids) == len(set(ids))
    return Elements(text)


def rows(chronicle: Chronicle) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chronicle.keep()["rows"]
    return found


# --- events in, text out ------------------------------------------------------------------------------------


def test_the_parts_of_a_bar_are_what_the_clock_saw() -> None:
    """Commands that ran side by side count once; what no event tells of is the rest; the parts make the whole."""
    steps = [
        {"target": "a.os", "kind": "compile", "ms": 20.0, "at_ms": 1.0},
        {"target": "b.os", "kind": "compile", "ms": 20.0, "at_ms": 11.0},
        {"target": "l.so", "kind": "link", "ms": 10.0, "at_ms": 40.0},
    ]
    chronicle = of(("build", {**BUILD, "steps": steps}), ("published", PUBLISHED), ("reload", RELOAD))
    (row,) = rows(chronicle)
    assert row["parts"] == {"compile": 30.0, "link": 10.0, "check": 8.0, "host": 1.0, "rest": 31.0} and row["total"] == 80.0
    assert chronicle.keep()["files"] == {name: {"times": 1, "total": 20.0, "longest": 20.0} for name in ("a.os", "b.os")}
    assert "the rest: 31 ms (0.5 ms until the build began, 20 ms in it beside its commands)" in page(chronicle).text("title")
    assert "state: 2 kept" in page(chronicle).text()


def test_a_host_that_lets_us_wait() -> None:
    """The waiting goes when the answer comes, and is the host's time, not ours."""
    late = {**RELOAD, "save_to_reload_ms": 5000.0, "host_ms": 0.0}
    asked = ("reload", {**RELOAD, "ok": False, "pending": True, "reason": "it is stopped", "save_to_reload_ms": None})
    assert "waiting for the host" in page(of(asked)).text("title")
    (row,) = rows(of(asked, ("reload", late)))
    assert row["kind"] == "reload" and row["parts"]["host"] == 4950.0 and row["parts"]["rest"] == 0.0


@pytest.mark.parametrize("first", ["crash", "reload"])
def test_a_crash_is_told_once(first: str) -> None:
    """Whichever comes first: the host's "not reloaded", or what the crash guard has written."""
    refused = ("reload", {**RELOAD, "ok": False, "reason": "generation 2 crashed: SIGSEGV", "running": 1})
    events = [("crash", CRASH), refused]
    made = of(*(events if first == "crash" else reversed(events)))
    assert [row["kind"] for row in rows(made)] == ["crash"]
    seen = page(made)
    assert "crashed plug #2 in pid 7: SIGSEGV: taken back; it goes on with #1" in seen.text("summary")
    assert "a.c:3, tick()" in seen.text("span") and "not reloaded" not in seen.text()


def test_plugins_and_hosts_are_kept_apart() -> None:
    """A lane for each plugin in each host; a host that takes the place of one that ended goes on in its lane."""
    made = of(
        ("reload", {**RELOAD, "iteration": 1}),
        ("reload", {**RELOAD, "iteration": 1, "host": 8}),
        ("reload", {**RELOAD, "iteration": 1, "plugin": "view"}),
        ("host", {"pid": 8, "state": "ended (SIGKILL)"}),
        ("reload", {**RELOAD, "generation": 3, "host": 9, "iteration": 2}),
        ("host", {"pid": 10, "state": "restarted", "before": 7, "carried": [{"plugin": "plug", "state": "1 kept", "reason": ""}]}),
        ("error", ERROR),
    )  # fmt: skip
    seen = page(made)
    names = [data for tag, data in seen.texts if tag == "h3"]
    assert names == ["plug in pid 7, then 10", "plug in pid 8, then 9", "view in pid 7, then 10"]
    assert "restarted · plug: 1 kept" in seen.text("td")
    assert sum(1 for tag, attributes in seen.found if tag == "rect" and attributes.get("class") == "hit") == 4 + 3


def test_builds_without_a_plugin_and_hosts_without_the_runtime() -> None:
    """A bar for each build that delivers nothing; a signal is told as sent, in the lane of the host's name."""
    step = {"target": "manual.html", "kind": "other", "ms": 50.0, "at_ms": 2.0}
    sent = {
        "plugin": "plug", "host": 7, "name": "engine --path <.>", "signal": "SIGUSR1", "ok": True, "reason": "", "remedy": "",
        "save_to_sent_ms": 70.0,
    }  # fmt: skip
    made = of(("build", {**BUILD, "steps": [step], "delivers": False}), ("sent", sent), ("sent", {**sent, "host": 8}))
    assert rows(made)[0]["parts"] == {"compile": 0.0, "link": 0.0, "rest": 60.0}
    seen = page(made)
    lanes = ["builds", "plug · engine --path <.> in pid 7, then 8"]
    assert [data for tag, data in seen.texts if tag == "h3"] == lanes
    assert "SIGUSR1 for engine --path <.>" in seen.text("div") and not seen.count("table", "slow")


def test_what_went_wrong_has_its_texts() -> None:
    """Findings with their remedies, errors with the compiler's words, also before anything was ever reloaded."""
    seen = page(of(("refused", REFUSED), ("error", ERROR)))
    assert {"refused plug: no f ", "a.c:1: error: no "} == {data for tag, data in seen.texts if tag == "summary"}
    assert "define it" in seen.text() and "mend it" in seen.text("p") and "l.so" in seen.text("span")
    assert "/p/" not in seen.text(), "paths are told from the top of the project"
    assert seen.count("svg", "mark") > 4 and "a.c:1: error: no\n" in seen.text("pre")


def test_nothing_yet() -> None:
    assert "Nothing has been reloaded yet" in page(Chronicle()).text()


def test_a_few_long_bars_do_not_flatten_the_others() -> None:
    """They are cut off, and that is said; the table has the figure."""
    usual = [("reload", {**RELOAD, "generation": number}) for number in range(20)]
    seen = page(of(*usual, ("reload", {**RELOAD, "generation": 20, "save_to_reload_ms": 9000.0})))
    assert "1 longer than 120 ms" in seen.text("p") and seen.count("svg", "over") == 1
    assert "9,000" in seen.text("b")


def test_a_long_session_stays_small() -> None:
    """The last ROWS results are shown, those before are counted."""
    made = of(*(("reload", {**RELOAD, "generation": number}) for number in range(ROWS + 100)))
    text = "".join(pieces(made, "/p"))
    assert len(text) < 1_500 * ROWS
    seen = page(made)
    assert f"The last {ROWS} results of {ROWS + 100}." in seen.text("p")
    assert f"{ROWS + 100}" in seen.text("dd") and seen.count("rect", "hit") == ROWS
    troubled = page(of(*[("error", ERROR)] * (TROUBLES + 10)))
    assert sum(1 for tag, data in troubled.texts if tag == "summary" and "a.c:1" in data) == TROUBLES


def test_what_is_handed_on_goes_on(tmp_path: Path) -> None:
    """Through a descriptor, over an exec; what has become of it meanwhile is no error."""
    first = PageFile(str(tmp_path / "page.html"), "/p")
    first(Event("reload", 1, RELOAD))
    descriptor = first.hand_on()
    second = PageFile(str(tmp_path / "page.html"), "/p", descriptor)
    second(Event("reload", 2, {**RELOAD, "generation": 3}))
    assert second.close() is None
    text = (tmp_path / "page.html").read_text()
    assert "plug #2" in text and "plug #3" in text
    assert PageFile(str(tmp_path / "page.html"), "/p", descriptor).close() is None, "it is closed: the page begins anew"


def test_no_save_waits_for_the_page(tmp_path: Path) -> None:
    """It is written at rest; when something comes in between, the old page stays and is whole."""
    path = tmp_path / "page.html"
    made = PageFile(str(path), "/p")
    before = path.read_text()
    made(Event("reload", 1, RELOAD))
    asked: list[bool] = []

    def busy() -> bool:
        asked.append(len(asked) >= 2)
        return asked[-1]

    until(lambda: made.idle(busy) and asked, "the attempt")
    assert asked == [False, False, True], "given up at once"
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]
    assert made.idle(lambda: False) is None and "plug #2" in path.read_text()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """An error at the start, with a remedy; later one word, until it could be written again."""
    with pytest.raises(HotReloadError, match="cannot write the report: No such file") as raised:
        PageFile(str(tmp_path / "none" / "page.html"), "/p")
    assert raised.value.remedy
    place = tmp_path / "there"
    place.mkdir()
    made = PageFile(str(place / "page.html"), "/p")
    place.rename(tmp_path / "gone")
    said = []
    for number in range(2):
        made(Event("reload", number, RELOAD))

        def rested() -> bool:
            try:
                return made.idle(lambda: False) is None
            except HotReloadError as error:
                said.append(error)
                return True

        until(rested, "the attempt")
    assert len(said) == 1 and made.close() is None
    place.mkdir()
    made(Event("reload", 3, RELOAD))
    assert made.close() is None and (place / "page.html").exists()


# --- a real session, a real browser -------------------------------------------------------------------------

HOSTILE = "src/a <img src=x onerror=document.title=1>.c"
SHOUT = '#error "<script>document.title = \\"executed\\"</script><b>&amp;"\n'


def browse(page_: Path, tmp_path: Path, *options: str) -> tuple[Elements, bytes]:
    """The page as Chromium has it after it was loaded, and the first pixel of its picture; nothing on the console."""
    picture = tmp_path / f"{page_.name}.png"
    done = subprocess.run(
        [need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}",
         "--enable-logging=stderr", "--dump-dom", f"--screenshot={picture}", "--window-size=700,1000", *options,
         page_.as_uri()],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert ":CONSOLE" not in done.stderr, done.stderr
    data = picture.read_bytes()
    return Elements(done.stdout), zlib.decompressobj().decompress(data[data.index(b"IDAT") + 4 :], 8)[1:4]


def test_a_session_in_a_browser(made: Project, tmp_path: Path) -> None:
    """Reloads, an error, a refusal, a crash, an SConscript read again: all of it is there, and none of it is executed."""
    need("chromium")
    ticker.lay(made)
    made.write(HOSTILE, "int hostile;\n")
    made.edit("SConstruct", '"src/number.c"]', f'"src/number.c", "{HOSTILE}"]')
    watch, host = made.watch("--hot-report=page.html"), made.host()
    path = made.path("page.html")
    until(lambda: "Nothing has been reloaded yet" in path.read_text(), "the first page")
    watch.wait("host", lambda e: e["pid"] == host.pid)
    made.write(HOSTILE, "int hostile = 2;\n")
    watch.reloaded(generation=2)
    made.write(HOSTILE, SHOUT)
    watch.wait("error")
    made.write(HOSTILE, "int hostile = 3;\n")
    watch.reloaded(generation=3)
    made.edit("src/plug.c", "void plug_tick", "void plug_tock")
    watch.wait("refused")
    made.edit("src/plug.c", "void plug_tock", "void plug_tick")
    made.edit("src/plug.h", "unsigned calls;", "unsigned calls; short more;")
    watch.reloaded(generation=4)
    made.edit("src/plug.c", "state->calls++;", "state->calls++; *(volatile int *)8 = 1;")
    watch.wait("crash")
    until(lambda: "crashed plug #5" in path.read_text(), "the page of a session that rests")
    made.write("SConstruct", made.path("SConstruct").read_text() + "# read again\n")
    watch.wait("ready")
    made.edit("src/plug.c", "*(volatile int *)8 = 1;", "state->calls += 0;")
    watch.reloaded(generation=6)
    watch.stop()

    assert all(event["steps"] for event in watch.events if event["event"] == "build" and event["targets"])
    seen, background = browse(path, tmp_path)
    assert background == b"\xfc\xfc\xfb"
    assert seen.text("title").startswith("project · hotreload"), "the title that the page has, not one of a script"
    assert not {"script", "img", "b>"} & {tag for tag, _ in seen.found}
    assert 'document.title = \\"executed\\"</script><b>&amp;"' in seen.text("pre")
    assert "<img src=x onerror=document.title=1>.os" in seen.text("td"), "among the slowest"
    numbers = [int(number) for number in re.findall(r"reloaded plug #(\d+) in pid", seen.text("td"))]
    assert [number for number in numbers if number != 5] == [6, 4, 3, 2], "the newest first, over the re-exec"
    assert "crashed plug #5" in seen.text("summary") and "src/plug.c:5, plug_tick()" in seen.text()
    assert "1 new (more = 0)" in seen.text("div") and "has the function plug_tick" in seen.text("summary")
    assert f"plug in pid {host.pid}" in seen.text("h3") and "watch ended by SIGINT" in seen.text("p")
    for kind in ("compile", "link", "check", "host", "rest"):
        assert seen.count("rect", kind) == len(numbers), "a part of each bar; #5 had one if it answered before it crashed"


def test_dark_and_empty(tmp_path: Path) -> None:
    PageFile(str(tmp_path / "page.html"), "/p")
    seen, background = browse(tmp_path / "page.html", tmp_path, "--blink-settings=preferredColorScheme=0")
    assert background == b"\x16\x19\x1c" and "Nothing has been reloaded yet" in seen.text("p")


def test_where_the_page_is_and_when_it_cannot_be(made: Project) -> None:
    """FILE that cannot be written is an error at the start; later a warning, and the session goes on. Another session that
    may not run leaves it alone."""
    ticker.lay(made)
    said = made.scons("watch", "-Q", "--hot-report=none/page.html", code=2)
    assert f"hotreload: {made.path('none/page.html')}: cannot write the report: No such file or directory" in said
    made.path("out").mkdir()
    watch, _ = made.watch("--hot-report=out/page.html"), made.host()
    watch.wait("host")
    ticker.set_number(made, 2)
    watch.reloaded(generation=2)
    until(lambda: "plug #2" in made.path("out/page.html").read_text(), "the page")
    assert "another scons watch runs" in made.scons("watch", "-Q", "--hot-report=out/page.html", code=2)
    assert "plug #2" in made.path("out/page.html").read_text()
    made.path("out").rename(made.path("away"))
    ticker.set_number(made, 3)
    watch.reloaded(generation=3)
    assert "cannot write the report" in watch.wait("error")["what"]
    ticker.set_number(made, 4)
    watch.reloaded(generation=4)
    made.path("away").rename(made.path("out"))
    assert watch.stop() == 130
    assert sum("cannot write" in event.get("what", "") for event in watch.events) == 1
    assert "plug #4" in made.path("out/page.html").read_text()
    assert [each.name for each in made.path("out").iterdir()] == ["page.html"]


def test_events_of_the_page_are_kept_as_json_knows_them() -> None:
    made = of(("refused", REFUSED), ("reload", RELOAD), ("crash", CRASH), ("error", ERROR))
    again = Chronicle(json.loads(json.dumps(made.keep())))
    assert "".join(pieces(again, "/p")) == "".join(pieces(made, "/p"))
