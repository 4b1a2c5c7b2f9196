"""examples/window: what stands on the screen before and after edits, read from the X server's own picture of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import LIMIT, Project, example, need, until
from runtime_kit import STRICT

Colour = tuple[int, int, int]

SKY: Colour = (20, 30, 60)
GOLD: Colour = (255, 200, 60)
RED: Colour = (230, 10, 40)
BLUE: Colour = (90, 170, 255)
GREEN: Colour = (40, 200, 80)


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Project]:
    need("sdl2-config", "libsdl2-dev")
    with example(tmp_path / "tree", "window") as made:
        made.edit("SConstruct", '"-Wall", "-Wextra"', ", ".join(f'"{flag}"' for flag in STRICT))
        yield made


class Screen:
    """Xvfb, which keeps the picture of its screen in a file: an XWD header, a table of colours, 32 bits a pixel."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        reader, writer = os.pipe()
        with open(reader, encoding="ascii") as number:
            self._server = subprocess.Popen(
                [
                    need("Xvfb", "xvfb"), "-displayfd", str(writer), "-screen", "0", "640x480x24", "-fbdir",
                    str(directory), "-nolisten", "tcp",
                ],
                pass_fds=[writer], stderr=subprocess.DEVNULL,
            )  # fmt: skip
            os.close(writer)
            self.name = f":{int(number.readline())}"
        self._picture = directory / "Xvfb_screen0"

    def _pixels(self) -> array[int]:
        data = self._picture.read_bytes()
        header = struct.unpack_from(">25I", data)
        size, depth, bits, line, colours = header[0], header[3], header[11], header[12], header[19]
        assert (depth, bits, header[7]) == (24, 32, 0), "as asked for; the least significant byte first"
        start = size + 12 * colours
        pixels = array("I", data[start : start + line * header[5]])
        if sys.byteorder == "big":
            pixels.byteswap()
        return pixels

    def birds(self, colour: Colour) -> frozenset[int]:
        """Wait until nothing is on the screen but the sky and birds of this colour; the pixels that they have."""
        sky, wanted = (red << 16 | green << 8 | blue for red, green, blue in (SKY, colour))

        def seen() -> frozenset[int]:
            pixels = self._pixels()
            there = set(pixels) == {sky, wanted}
            return frozenset(at for at, pixel in enumerate(pixels) if pixel == wanted) if there else frozenset()

        return frozenset(until(seen, lambda: f"birds of {colour}; there are {sorted(set(self._pixels()))[:9]}"))

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(LIMIT)


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    made = Screen(tmp_path / "screen")
    monkeypatch.setenv("DISPLAY", made.name)
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    yield made
    made.close()


def test_the_window(screen: Screen, window: Project) -> None:
    """Another colour, another pace, a field more in each bird: in the same process, and every bird is where it was."""
    watch = window.watch("--hot-run", ready=False)
    pid = watch.meets()

    def edit(*edits: tuple[str, str]) -> str:
        """One save; what the reload says of the state."""
        text = window.path("flock.c").read_text()
        for old, new in edits:
            assert text.count(old) == 1
            text = text.replace(old, new)
        window.write("flock.c", text)
        return str(watch.reloaded(host=pid)["state"])

    def colour(old: Colour, new: Colour) -> tuple[str, str]:
        return f"birds_are = {{{', '.join(map(str, old))}", f"birds_are = {{{', '.join(map(str, new))}"

    first = screen.birds(GOLD)
    assert 80 * 20 < len(first) < 80 * 100
    until(lambda: screen.birds(GOLD) != first, "the birds fly")
    edit(colour(GOLD, RED))
    red = screen.birds(RED)
    until(lambda: screen.birds(RED) != red, "the birds fly on")

    edit(colour(RED, BLUE), ("pace = 1.0f", "pace = 0.0f"))
    still = screen.birds(BLUE)
    state = edit(colour(BLUE, GREEN), ("struct bird {\n", "struct bird {\n    int age;\n"))
    assert state == "state: 4 kept, 1 new (birds[].age)"
    assert screen.birds(GREEN) == still, "they begin anew at other places: the dice are thrown at each start"

    edit(colour(GREEN, GOLD), ("pace = 0.0f", "pace = 1.0f"), ("BIRDS = 80", "BIRDS = 120"))
    until(lambda: len(screen.birds(GOLD)) > 1.2 * len(still), "more birds")
    assert watch.stop() == 130
    assert "  warning" not in watch.output
    told = re.search(r"window: (\d+) frames drawn, (\d+) counted in the state", watch.output)
    assert told and told[1] == told[2] and int(told[1]) > 8


def test_without_a_screen(window: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """release=1; and SIGTERM closes the window."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window.scons("release=1")
    host = window.host("build/main")
    host.wait_line("window: 640 x 480, driver dummy")
    host.process.send_signal(signal.SIGTERM)
    assert host.process.wait(LIMIT) == 0
    told = re.search(r"window: (\d+) frames drawn, (\d+) counted in the state", host.output)
    assert told and told[1] == told[2]


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    """A machine without SDL2: the package's name, and no traceback."""
    with example(tmp_path / "tree", "window") as made:
        programs = tmp_path / "bin"
        programs.mkdir()
        for tool in ("gcc", "ld", "as", "ar"):
            if path := shutil.which(tool):
                (programs / tool).symlink_to(path)
        made.edit("SConstruct", "    CCFLAGS=", f'    ENV={{"PATH": "{programs}"}},\n    CCFLAGS=')
        said = made.scons("-Q", code=2)
        assert said.splitlines() == ["examples/window: SDL2 is missing: apt install libsdl2-dev"]
