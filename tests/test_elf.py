"""elf.read on real libraries, on halves of them, and on what is none."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from elf_kit import PLUGIN, build, library, read
from harness import need
from hotreload_engine import elf
from hotreload_engine.model import HotReloadError


@pytest.fixture(scope="module")
def plug(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("plug"), "libplug.so", PLUGIN, "-Wl,-soname,libplug.so.1")


def refusal(data: bytes, path: str = "/project/libplug.so") -> HotReloadError:
    with pytest.raises(HotReloadError) as caught:
        elf.read(data, path)
    assert caught.value.where == path
    assert caught.value.remedy
    return caught.value


# --- what a library says of itself --------------------------------------------------------------------------


def test_a_library_is_read_as_its_compiler_made_it(tmp_path: Path, compiler: str) -> None:
    """Exports, imports, soname, needed, build-id, machine: from gcc's and clang's output alike."""
    path = library(tmp_path, "libplug.so", PLUGIN, "-Wl,-soname,libplug.so.1", "-Wl,--build-id=sha1", compiler=compiler)
    image = read(path)
    assert {"plug_hello", "plug_bye", "plug_count", "plug_weak", "plug_protected"} <= image.exports
    assert not image.exports & {"plug_hidden", "hidden_by_static", "printf", "perhaps", ""}
    assert "printf" in image.imports
    assert not image.imports & {"perhaps", "plug_hello", "__gmon_start__", ""}, "weak or defined is not wanted"
    assert (image.kind, image.bits, image.soname) == ("DYN", 8 * struct.calcsize("P"), "libplug.so.1")
    assert "libc.so.6" in image.needed
    assert (image.path, image.size) == (str(path), path.stat().st_size)
    notes = subprocess.run([need("readelf", "binutils"), "-nW", path], capture_output=True, text=True, check=True)
    assert f"Build ID: {image.build_id}\n" in notes.stdout


def test_the_sweep_over_symbols_agrees_with_pyelftools(plug: Path) -> None:
    """Its own unpacking of symbols gives what pyelftools gives one by one, also for libc."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").split()
    libc = next((Path(word) for word in maps if "/libc.so" in word or "/libc-" in word or "/ld-musl" in word), plug)
    for path in (plug, libc):
        image = read(path)
        with path.open("rb") as file:
            table = ELFFile(file).get_section_by_name(".dynsym")
            assert isinstance(table, SymbolTableSection)
            symbols = list(table.iter_symbols())
        assert image.exports == {
            s.name
            for s in symbols
            if s["st_shndx"] != "SHN_UNDEF"
            and s["st_info"]["bind"] != "STB_LOCAL"
            and s["st_other"]["visibility"] in ("STV_DEFAULT", "STV_PROTECTED")
        }
        assert image.imports == {
            s.name for s in symbols if s.name and s["st_shndx"] == "SHN_UNDEF" and s["st_info"]["bind"] == "STB_GLOBAL"
        }


def test_unique_symbols_of_cpp_are_exports(tmp_path: Path) -> None:
    """The static of an inline function is STB_GNU_UNIQUE: others can bind to it."""
    need("g++")
    source = 'inline int &one() { static int value; return value; }\nextern "C" int plug_next() { return ++one(); }\n'
    image = read(library(tmp_path, "libplug.so", source, "-xc++", compiler="g++"))
    assert {"plug_next", "_ZZ3onevE5value"} <= image.exports


def test_equal_bytes_have_equal_digests(plug: Path) -> None:
    """One changed byte is another library; another path is not."""
    data = plug.read_bytes()
    assert elf.read(data, "/a").digest == elf.read(data, "/b").digest
    at = data.index(b"Hello Link")
    assert elf.read(data[:at] + b"J" + data[at + 1 :], "/a").digest != elf.read(data, "/a").digest


def test_a_stripped_library_reads_the_same(plug: Path, tmp_path: Path) -> None:
    """strip takes debug information and local symbols, nothing that hosts bind to."""
    stripped = tmp_path / "libplug.so"
    subprocess.run([need("strip", "binutils"), "-o", stripped, plug], check=True)
    before, after = read(plug), read(stripped)
    assert after.size < before.size
    assert (after.exports, after.imports, after.needed) == (before.exports, before.imports, before.needed)
    assert (after.soname, after.build_id, after.flags) == (before.soname, before.build_id, before.flags)


def test_a_library_without_section_headers_is_read_by_its_segments(plug: Path) -> None:
    """The dynamic loader needs no sections; neither do we (sstrip, some packers)."""
    data = bytearray(plug.read_bytes())
    struct.pack_into("<Q", data, 0x28, 0)  # e_shoff
    struct.pack_into("<HHH", data, 0x3A, 0, 0, 0)  # e_shentsize, e_shnum, e_shstrndx
    before, after = read(plug), elf.read(bytes(data), str(plug))
    assert (after.exports, after.imports, after.needed) == (before.exports, before.imports, before.needed)
    assert (after.soname, after.build_id) == (before.soname, before.build_id)


@pytest.mark.parametrize(
    ("flags", "kind", "pie"),
    [(("-no-pie",), "EXEC", False), (("-pie", "-fPIE"), "DYN", True), (("-static", "-no-pie"), "EXEC", False)],
    ids=["no-pie", "pie", "static"],
)
def test_programs_are_read_as_programs(tmp_path: Path, flags: tuple[str, ...], kind: str, pie: bool) -> None:
    """A host may be of any kind; one that could pass for a library (PIE) is told by its flag."""
    image = read(build(tmp_path, "main", '#include <stdio.h>\nint main(void) { return puts("x") < 0; }\n', *flags))
    assert (image.kind, "PIE" in image.flags) == (kind, pie)
    assert ("puts" in image.imports) == ("-static" not in flags)


@pytest.mark.parametrize(
    ("option", "flag"), [("nodelete", "NODELETE"), ("nodlopen", "NOOPEN"), ("now", "NOW")], ids=str
)
def test_the_linkers_flags_are_known(tmp_path: Path, option: str, flag: str) -> None:
    """``-z`` options that change how the library can be opened and closed."""
    assert flag in read(library(tmp_path, "libplug.so", PLUGIN, "-Wl,-z," + option)).flags
    assert flag not in read(library(tmp_path, "libplain.so", PLUGIN, "-Wl,-z,lazy")).flags


def test_a_32_bit_library_is_read(tmp_path: Path) -> None:
    """The other ELF class has other layouts: its symbols, machine and bits are right too."""
    source = "extern int other(int); int plug_data; int plug_hello(void) { return other(plug_data); }\n"
    try:
        path = library(tmp_path, "libplug.so", source, "-m32", "-nostdlib", "-ffreestanding")
    except AssertionError as error:
        if "-m32" in str(error) or "elf_i386" in str(error):
            pytest.skip("needs a gcc that knows -m32 (Debian package gcc-multilib)")
        raise
    image = read(path)
    assert (image.machine, image.bits) == ("EM_386", 32)
    assert {"plug_hello", "plug_data"} <= image.exports
    assert image.imports - {"_GLOBAL_OFFSET_TABLE_"} == {"other"}


def test_a_name_that_is_no_utf8_is_shown_escaped(plug: Path) -> None:
    """Symbols are bytes; what is no UTF-8 must not break the text that names it."""
    data = plug.read_bytes().replace(b"plug_bye\0", b"plug_\xff\xfee\0")
    assert "plug_\\xff\\xfee" in elf.read(data, "/x").exports


# --- what is no library -------------------------------------------------------------------------------------


def test_an_empty_file_is_said_to_be_empty() -> None:
    """A linker has opened it and not yet written."""
    assert refusal(b"").what == "the file is empty"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\n#include <stdio.h>\nint main(void);\n", 'a text file ("#include <stdio.h>")'),
        ("Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}e\n".encode(), "a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs"),
        (b"/* GNU ld script\n*/\nGROUP ( /lib/libc.so.6 )\n", "a linker script"),
        (b"INPUT(libplug.so.1)\n", "a linker script"),
        (b"!<arch>\nplug.o/ ", "a static library"),
        (b"BC\xc0\xde5\x14\0\0", "LLVM bitcode"),
        (b"MZ\x90\0\3\0\0\0", "a Windows program or DLL"),
        (b"\0" * 4096, "a file of zero bytes"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no ELF file"),
        (b"\x1b[2Jboo\n", "no ELF file"),
    ],
    ids=["c", "utf8", "lfs", "ld-script", "input", "ar", "bitcode", "pe", "zeros", "png", "escape"],
)
def test_what_is_no_elf_file_is_called_by_its_name(data: bytes, words: str) -> None:
    """The text says what the file looks like, not only what it is not; and it never carries control characters."""
    error = refusal(data)
    assert words in error.what
    assert "not a shared library" in error.what
    assert error.what.isprintable()


def test_an_object_file_is_refused(tmp_path: Path) -> None:
    """-c where -shared was meant."""
    path = build(tmp_path, "libplug.so", PLUGIN, "-c", "-fPIC")
    error = refusal(path.read_bytes())
    assert "an object file (.o), not a shared library" in error.what
    assert "-shared" in error.remedy


def test_split_off_debug_information_is_refused(plug: Path, tmp_path: Path) -> None:
    """objcopy --only-keep-debug leaves an ELF file with the library's name and headers, and nothing to load."""
    debug = tmp_path / "libplug.so"
    subprocess.run([need("objcopy", "binutils"), "--only-keep-debug", plug, debug], check=True)
    assert "nothing to load" in refusal(debug.read_bytes()).what


# --- halves and damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [10, 50, 90, 99])
@pytest.mark.parametrize("stripped", [False, True], ids=["debug", "stripped"])
def test_a_library_that_is_cut_off_is_refused(tmp_path: Path, compiler: str, percent: int, stripped: bool) -> None:
    """A half-written library that a host opens is SIGBUS; the text has both sizes."""
    path = library(tmp_path, "libplug.so", PLUGIN, *(["-s"] if stripped else []), compiler=compiler)
    data = path.read_bytes()
    elf.read(data, str(path))
    half = data[: len(data) * percent // 100]
    error = refusal(half)
    assert "cut off" in error.what
    assert f"{len(half)} bytes and needs {len(data)}" in error.what


def test_every_length_but_the_whole_is_refused(plug: Path) -> None:
    """From no byte to all but one: none of the prefixes passes, none ends in a traceback."""
    data = plug.read_bytes()
    lengths = {*range(0, 600), *range(600, len(data), 97), *range(len(data) - 200, len(data))}
    for length in sorted(lengths):
        refusal(data[:length])


def test_a_cut_library_without_section_headers_is_refused(plug: Path) -> None:
    """Then the segments tell how long it must be."""
    data = bytearray(plug.read_bytes())
    struct.pack_into("<Q", data, 0x28, 0)
    struct.pack_into("<HHH", data, 0x3A, 0, 0, 0)
    with plug.open("rb") as file:
        end = max(segment["p_offset"] + segment["p_filesz"] for segment in ELFFile(file).iter_segments())
    elf.read(bytes(data[:end]), "/x")
    assert "cut off" in refusal(bytes(data[: end - 1])).what


def test_a_library_with_the_wrong_class_byte_is_refused(plug: Path) -> None:
    """64-bit tables that call themselves 32-bit."""
    data = bytearray(plug.read_bytes())
    data[4] = 1
    assert "damaged" in refusal(bytes(data)).what


@pytest.mark.parametrize(
    ("offset", "value"), [(4, 9), (5, 7), (0x10, 0x77), (0x34, 1), (0x3E, 0xFFFE)], ids=lambda value: hex(value)
)
def test_nonsense_in_the_header_is_refused(plug: Path, offset: int, value: int) -> None:
    """Class, byte order, type, header size, index of the section names."""
    data = bytearray(plug.read_bytes())
    if offset < 16:
        data[offset] = value
    else:
        struct.pack_into("<H", data, offset, value)
    refusal(bytes(data))


def test_damage_anywhere_is_a_text_and_never_a_traceback(plug: Path) -> None:
    """Random bytes in the tables: an Image or a HotReloadError, nothing else."""
    whole = plug.read_bytes()
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    tables = [*range(0, 0x900), *range(struct.unpack_from("<Q", whole, 0x28)[0], len(whole))]
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            data[chance.choice(tables)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        try:
            elf.read(bytes(data), "/x")
        except HotReloadError as error:
            assert error.what, f"seed {seed}"
            refused += 1
        except Exception as error:
            pytest.fail(f"seed {seed}: {error!r}")
    assert refused, f"seed {seed}: nothing was damaged"
