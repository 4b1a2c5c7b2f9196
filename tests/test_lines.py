"""lines.py: addresses in real libraries → functions, files and lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from elf_kit import library
from harness import need
from hotreload_engine import lines
from hotreload_engine.lines import plain
from hotreload_engine.model import Frame

SOURCE = """\
static int hidden(int *where)
{
    return *where + 1;
}
int plug_outer(int *where)
{
    int twice = hidden(where);
    twice *= 2;
    return twice;
}
__attribute__((section(".text.elsewhere"))) int plug_elsewhere(int *where)
{
    return *where;
}
"""


def addresses(path: Path, name: str) -> range:
    """Where a function is, as nm sees it."""
    listing = subprocess.run([need("nm", "binutils"), "-S", path], capture_output=True, text=True, check=True).stdout
    (row,) = [line.split() for line in listing.splitlines() if line.endswith(f" {name}")]
    return range(int(row[0], 16), int(row[0], 16) + int(row[1], 16))


@pytest.mark.parametrize("more", [(), ("-gz",), ("-gsplit-dwarf",), ("-ffunction-sections",), ("-O2",), ("-flto",)])
@pytest.mark.parametrize("dwarf", ["-gdwarf-4", "-gdwarf-5"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_lines_of_real_libraries(compiler: str, dwarf: str, more: tuple[str, ...], tmp_path: Path) -> None:
    """Each instruction of a function belongs to its lines, in the file as the compiler was given it."""
    if compiler == "clang" and more == ("-flto",):
        need("ld.lld", "lld")
        more = ("-flto", "-fuse-ld=lld")
    path = library(tmp_path, "lib.so", SOURCE, dwarf, *more, compiler=compiler)
    data = path.read_bytes()
    for name, first, last in (("plug_outer", 1, 10), ("plug_elsewhere", 11, 14)):
        span = addresses(path, name)
        found = lines.resolve(data, span)
        assert {frame.function for frame in found} == {name}
        assert {frame.file for frame in found} == {str(path) + ".c"}
        assert all(first <= frame.line <= last for frame in found), found
        assert [frame.offset for frame in found] == list(span)
    assert {frame.line for frame in lines.resolve(data, addresses(path, "plug_outer"))} >= {7, 8} or more


def test_several_units(tmp_path: Path) -> None:
    """The unit that has the address is found among others; relative names are those of the compiler's directory."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.c").write_text("int one(int a)\n{\n    return a;\n}\n")
    (tmp_path / "two.c").write_text('#include "deep/../deep/in.h"\nint two(int a)\n{\n    return twice(a);\n}\n')
    (tmp_path / "deep" / "in.h").write_text("\n\nstatic int twice(int a)\n{\n    return a * 2;\n}\n")
    subprocess.run(
        [need("gcc"), "-g", "-O0", "-fPIC", "-shared", "deep/one.c", "two.c", "-o", "lib.so"], cwd=tmp_path, check=True
    )
    path = tmp_path / "lib.so"
    for name, file, line in (("one", "deep/one.c", 3), ("two", "two.c", 4), ("twice", "deep/in.h", 5)):
        found = lines.resolve(path.read_bytes(), addresses(path, name))
        assert {frame.file for frame in found} == {str(tmp_path / file)}
        assert line in {frame.line for frame in found}


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    """Without debug information the function's name; stripped, with its own symbols, that of the exported ones; no ELF
    file at all, nothing."""
    bare = library(tmp_path, "lib.so", SOURCE, "-g0")
    at = addresses(bare, "plug_outer").start
    assert lines.resolve(bare.read_bytes(), [at]) == (Frame("plug_outer", "", 0, at),)
    hidden = addresses(bare, "hidden").start
    subprocess.run([need("strip", "binutils"), bare], check=True)
    assert lines.resolve(bare.read_bytes(), [at, hidden]) == (Frame("plug_outer", "", 0, at), Frame(offset=hidden))
    assert lines.resolve(bare.read_bytes(), [1 << 40]) == (Frame(offset=1 << 40),)
    assert lines.resolve(b"text", [1, 2]) == (Frame(offset=1), Frame(offset=2))
    assert lines.resolve(b"", []) == ()


def test_a_damaged_file_tells_less(tmp_path: Path) -> None:
    """Cut anywhere, or with its lines overwritten: never an exception, never a wrong function."""
    path = library(tmp_path, "lib.so", SOURCE)
    data, at = path.read_bytes(), addresses(path, "plug_outer").start
    for size in range(0, len(data), 97):
        (frame,) = lines.resolve(data[:size], [at])
        assert frame.function in ("", "plug_outer")
    start = data.index(b".debug_line") - 400
    (frame,) = lines.resolve(data[:start] + b"\xff" * 300 + data[start + 300 :], [at])
    assert frame.function in ("", "plug_outer")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plug_tick", "plug_tick"),
        ("tick.part.0", "tick"),
        ("_ZN4game4tickEv", "game::tick"),
        ("_ZNK4game5World4tickEi", "game::World::tick"),
        ("_ZN12_GLOBAL__N_14tickEv", "(anonymous)::tick"),
        ("_ZL4tickPi", "tick"),
        ("_Z4tickPi.cold", "tick"),
        ("_ZN4gameC1Ev", "_ZN4gameC1Ev"),
        ("_ZStlsIcE", "_ZStlsIcE"),
        ("_Z", "_Z"),
        ("_ZN99x", "_ZN99x"),
    ],
)
def test_plain_names(name: str, words: str) -> None:
    """What is simple is shown as written in the source, all else as it is."""
    assert plain(name) == words


def test_frames_in_words() -> None:
    """As much as is known."""
    assert str(Frame("tick", "a.c", 3, 16)) == "a.c:3, tick()"
    assert str(Frame("tick", "", 0, 16)) == "tick()"
    assert str(Frame("", "", 0, 16)) == "offset 0x10"
