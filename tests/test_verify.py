"""verify on real libraries and hosts: each finding provoked, and beside it the library that must not provoke it."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from elf_kit import PLUGIN, build, library, read
from harness import need
from hotreload_engine import elf, verify
from hotreload_engine.model import Company, Finding, Image, Verdict

FUNCTIONS = ["plug_hello", "plug_bye"]
HOST = "#include <dlfcn.h>\nint main(void) { return dlopen(0, RTLD_NOW) == 0; }\n"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return read(library(tmp_path_factory.mktemp("good"), "libplug.so", PLUGIN))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return read(build(tmp_path_factory.mktemp("host"), "main", HOST, "-ldl"))


@pytest.fixture(scope="module")
def libc() -> tuple[Image, ...]:
    """The C library and the loader that this process has mapped."""
    words = Path("/proc/self/maps").read_text(encoding="utf-8").split()
    files = {word for word in words if ".so" in word and word.startswith("/")}
    system = [path for path in files if Path(path).name.startswith(("libc.", "libc-", "ld-"))]
    return tuple(read(Path(path)) for path in system)


def among(image: Image, *others: Image, runs: bool = True) -> list[Company]:
    """A host in which ``image`` finds the others."""
    undefined = (image.imports - image.exports).difference(*(other.exports for other in others))
    return [Company("/project/main", runs, others, undefined=undefined)]


def only(verdict: Verdict) -> Finding:
    assert not verdict.ok
    assert len(verdict.findings) == 1, verdict.findings
    finding = verdict.findings[0]
    assert finding.where
    assert finding.remedy
    return finding


# --- a library that is fine ---------------------------------------------------------------------------------


def test_a_good_library_has_no_findings(tmp_path: Path, compiler: str, host: Image, libc: tuple[Image, ...]) -> None:
    """Everything that can be checked is checked, and there is nothing to say: gcc's and clang's output, stripped too."""
    for flags in ((), ("-s",), ("-O2", "-Wl,-soname,libplug.so.1")):
        image = read(library(tmp_path, "libplug.so", PLUGIN, *flags, compiler=compiler))
        assert verify.plugin(image, FUNCTIONS, host, among(image, host, *libc)) == Verdict()
        assert verify.plugin(image, FUNCTIONS) == Verdict()


# --- kind and machine ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags", [("-no-pie",), ("-pie", "-fPIE"), ("-static", "-no-pie")], ids=["no-pie", "pie", "static"]
)
def test_a_program_is_no_plugin(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """One finding that says so; not one more for each function that a program does not export."""
    image = read(build(tmp_path, "libplug.so", HOST, *flags))
    assert "this is a program" in only(verify.plugin(image, FUNCTIONS)).what


def test_a_library_that_forbids_opening_is_refused(tmp_path: Path) -> None:
    """-z nodlopen: dlopen would fail in every host."""
    image = read(library(tmp_path, "libplug.so", PLUGIN, "-Wl,-z,nodlopen"))
    assert "nodlopen" in only(verify.plugin(image, FUNCTIONS)).remedy


def test_another_machine_is_refused(tmp_path: Path, host: Image) -> None:
    """e_machine patched to AArch64: compared with the host, or without one with this computer."""
    data = bytearray(library(tmp_path, "libplug.so", PLUGIN).read_bytes())
    struct.pack_into("<H", data, 0x12, 183)
    image = elf.read(bytes(data), "/project/libplug.so")
    what = only(verify.plugin(image, FUNCTIONS, host)).what
    assert "aarch64 (64 bit)" in what
    assert "the host is" in what
    here = (host.machine, host.bits)
    assert "this computer is" in only(verify.plugin(image, FUNCTIONS, machine=here)).what
    assert verify.plugin(image, FUNCTIONS, machine=(image.machine, image.bits)).ok
    assert verify.plugin(image, FUNCTIONS).ok, "nobody knows what it should be for"


def test_another_width_is_refused(good: Image, host: Image) -> None:
    """32-bit library, 64-bit host."""
    assert "(32 bit)" in only(verify.plugin(replace(good, bits=32), FUNCTIONS, host)).what


# --- the list of functions ----------------------------------------------------------------------------------


def test_a_renamed_function_is_named_with_its_new_name(tmp_path: Path) -> None:
    """The near match is taken from the library's own symbols."""
    image = read(library(tmp_path, "libplug.so", PLUGIN.replace("plug_hello", "plug_helo")))
    what = only(verify.plugin(image, FUNCTIONS)).what
    assert "plug_hello" in what
    assert "renamed? it has plug_helo" in what


def test_a_function_of_the_list_is_never_the_new_name_of_another(tmp_path: Path) -> None:
    """plug_one is missing; plug_two is near, but is itself on the list."""
    image = read(library(tmp_path, "libplug.so", "int plug_one2x; int plug_two(void) { return 1; }\n"))
    what = only(verify.plugin(image, ["plug_one", "plug_two"])).what
    assert "plug_two" not in what
    nothing_near = read(library(tmp_path, "libplug.so", "int plug_two(void) { return 1; }\n"))
    assert "renamed" not in only(verify.plugin(nothing_near, ["plug_one", "plug_two"])).what


@pytest.mark.parametrize(
    "change",
    [
        ("void plug_bye(void)", "static void plug_bye(void)"),
        ("void plug_bye(void)", '__attribute__((visibility("hidden"))) void plug_bye(void)'),
    ],
    ids=["static", "hidden"],
)
def test_a_function_that_cannot_be_looked_up_is_missing(tmp_path: Path, change: tuple[str, str]) -> None:
    """Defined, and yet dlsym would not find it; the remedy names the causes."""
    image = read(library(tmp_path, "libplug.so", PLUGIN.replace(*change), "-Wno-unused-function"))
    finding = only(verify.plugin(image, FUNCTIONS))
    assert "plug_bye" in finding.what
    assert "static" in finding.remedy
    assert "hidden" in finding.remedy


def test_cpp_without_c_linkage_is_recognised(tmp_path: Path) -> None:
    """The mangled name is there: the remedy is extern "C"."""
    need("g++")
    image = read(library(tmp_path, "libplug.so", "void plug_hello() {}\n", "-xc++", compiler="g++"))
    finding = only(verify.plugin(image, ["plug_hello"]))
    assert "_Z10plug_hellov" in finding.what
    assert 'extern "C"' in finding.remedy


def test_a_function_that_the_library_only_uses_is_said_once(tmp_path: Path, libc: tuple[Image, ...]) -> None:
    """Its source file is not linked: one finding, not a second one for the undefined symbol."""
    source = "void plug_bye(void); void plug_hello(void) { plug_bye(); }\n"
    image = read(library(tmp_path, "libplug.so", source))
    assert "but uses it" in only(verify.plugin(image, FUNCTIONS, None, among(image, *libc))).what


# --- undefined symbols --------------------------------------------------------------------------------------

LOOSE = PLUGIN + "\nextern int nowhere_at_all(void); int plug_loose(void) { return nowhere_at_all(); }\n"


def test_a_symbol_that_nobody_defines_is_refused(
    tmp_path: Path, compiler: str, host: Image, libc: tuple[Image, ...]
) -> None:
    """With RTLD_NOW the host's dlopen would fail; with RTLD_LAZY the host itself would, later."""
    image = read(library(tmp_path, "libplug.so", LOOSE, compiler=compiler))
    finding = only(verify.plugin(image, FUNCTIONS, host, among(image, host, *libc)))
    assert "nowhere_at_all" in finding.what
    assert "-rdynamic" in finding.remedy


def test_a_symbol_that_the_host_exports_is_fine(tmp_path: Path, libc: tuple[Image, ...]) -> None:
    """-rdynamic makes the difference, in the library of the host as in the verdict."""
    source = HOST + "int nowhere_at_all(void) { return 1; }\n"
    image = read(library(tmp_path, "libplug.so", LOOSE))
    open_host = read(build(tmp_path, "open", source, "-ldl", "-rdynamic"))
    closed_host = read(build(tmp_path, "closed", source, "-ldl"))
    assert verify.plugin(image, FUNCTIONS, open_host, among(image, *libc, open_host)) == Verdict()
    assert not verify.plugin(image, FUNCTIONS, closed_host, among(image, *libc, closed_host)).ok


def test_nothing_is_said_of_symbols_when_nobody_knows_what_is_available(tmp_path: Path) -> None:
    """No host is known, or one whose libraries are not all found."""
    image = read(library(tmp_path, "libplug.so", LOOSE))
    assert verify.plugin(image, FUNCTIONS) == Verdict()
    assert verify.plugin(image, FUNCTIONS, None, [Company("/project/main", True)]) == Verdict()


def test_a_symbol_that_a_program_will_lack_is_a_warning(tmp_path: Path, host: Image, libc: tuple[Image, ...]) -> None:
    """While it does not run, it may still get it from somewhere: LD_PRELOAD, a library that it opens by itself."""
    image = read(library(tmp_path, "libplug.so", LOOSE))
    verdict = verify.plugin(image, FUNCTIONS, host, among(image, host, *libc, runs=False))
    assert verdict.ok
    assert [finding.severity for finding in verdict.findings] == ["warning"]


def test_weak_and_versioned_names_are_nobodys_fault(good: Image) -> None:
    """A weak reference may stay open; a version within a name is the loader's business."""
    image = replace(good, imports=frozenset({"old_name@LIB_1.0", "other@@LIB_2"}))
    assert "perhaps" not in good.imports
    assert verify.plugin(image, FUNCTIONS, None, among(image)) == Verdict()


def test_all_findings_come_at_once(tmp_path: Path, libc: tuple[Image, ...]) -> None:
    """Wrong machine, two missing functions, two undefined symbols: five findings, each with its remedy, in this order."""
    source = "int no1(void), no2(void); int plug_helo(void) { return no1() + no2(); }\n"
    image = replace(read(library(tmp_path, "libplug.so", source)), machine="EM_AARCH64")
    verdict = verify.plugin(image, FUNCTIONS, None, among(image, *libc), ("EM_X86_64", 64))
    assert not verdict.ok
    assert all(finding.remedy and finding.where and finding.severity == "error" for finding in verdict.findings)
    words = ["aarch64", "plug_hello", "plug_bye", "no1", "no2"]
    assert len(verdict.findings) == len(words)
    for finding, word in zip(verdict.findings, words, strict=True):
        assert word in finding.what


def test_a_name_on_the_list_twice_is_said_once(tmp_path: Path) -> None:
    """Two hosts may bring the same list."""
    image = read(library(tmp_path, "libplug.so", PLUGIN))
    only(verify.plugin(image, ["plug_none", "plug_none"]))


# --- hosts --------------------------------------------------------------------------------------------------

CALLS = "void plug_hello(void); void plug_bye(void);\nint main(void) { plug_hello(); plug_bye(); return 0; }\n"


def linked(directory: Path, source: str, *flags: str, soname: str = "", compiler: str = "gcc") -> tuple[Image, Image]:
    extra = [f"-Wl,-soname,{soname}"] if soname else []
    plug = library(directory, "libplug.so", PLUGIN, *extra, compiler=compiler)
    search = f"-L{directory}"
    return read(build(directory, "main", source, search, *flags, compiler=compiler)), read(plug)


@pytest.mark.parametrize("soname", ["", "libplug.so.3"])
def test_a_host_that_calls_its_plugin_directly_is_refused(tmp_path: Path, compiler: str, soname: str) -> None:
    """Even behind --as-needed: the finding names the symbols that pulled the library in."""
    main, plug = linked(tmp_path, CALLS, "-Wl,--as-needed", "-lplug", soname=soname, compiler=compiler)
    finding = only(verify.host(main, [plug]))
    assert "plug_bye, plug_hello" in finding.what
    assert "table of function pointers" in finding.remedy
    assert finding.where == main.path


def test_a_host_behind_as_needed_is_fine(tmp_path: Path, compiler: str) -> None:
    """-L. -lplug on the command line, and no DT_NEEDED: what hot mode wants."""
    main, plug = linked(tmp_path, HOST, "-Wl,--as-needed", "-lplug", "-ldl", compiler=compiler)
    assert verify.host(main, [plug]) == Verdict()


def test_a_host_linked_without_as_needed_is_told_so(tmp_path: Path) -> None:
    """It uses nothing of the plugin, and still would load it first."""
    main, plug = linked(tmp_path, HOST, "-Wl,--no-as-needed", "-lplug", "-ldl")
    assert "without -Wl,--as-needed" in only(verify.host(main, [plug])).what


def test_a_host_that_uses_the_plugins_data_is_told_the_variable(tmp_path: Path) -> None:
    """A copy relocation *defines* the variable in the host: it is no import, and is still the culprit."""
    source = "extern int plug_count;\nint main(void) { return plug_count; }\n"
    main, plug = linked(tmp_path, source, "-Wl,--as-needed", "-lplug", "-no-pie", "-fno-pie")
    finding = only(verify.host(main, [plug]))
    assert "plug_count" in finding.what


def test_a_host_linked_by_path_is_refused_too(tmp_path: Path) -> None:
    """Without a soname, DT_NEEDED is the path as it was given to the linker."""
    plug = library(tmp_path, "libplug.so", PLUGIN)
    main = read(build(tmp_path, "main", CALLS, str(plug)))
    assert any("/" in name for name in main.needed)
    assert "plug_hello" in only(verify.host(main, [read(plug)])).what


def test_each_plugin_is_judged_by_itself(tmp_path: Path) -> None:
    """Two plugins, one pulled in: one finding, for that one."""
    main, plug = linked(tmp_path, CALLS, "-lplug")
    other = read(library(tmp_path, "libother.so", "int other(void) { return 1; }\n"))
    assert "libplug.so" in only(verify.host(main, [other, plug])).what
    assert verify.host(main, [other]) == Verdict()
