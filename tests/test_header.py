"""src/hotreload.h as a header: what it compiles under, what its manual promises, what HR_RELEASE leaves of it."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import ROOT, need, until
from runtime_kit import HERE, STRICT, compile_command, publish

SOURCES = ROOT / "src"
HELLO = SOURCES / "hello"
HEADER = (SOURCES / "hotreload.h").read_text(encoding="utf-8")
MATRIX = [(compiler, standard) for compiler in ("gcc", "clang") for standard in ("c99", "c11", "c++11", "c++17")]


def _run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(("compiler", "standard"), MATRIX)
def test_everything_compiles_clean_under_strict_warnings(compiler: str, standard: str, tmp_path: Path) -> None:
    """Host, plugin, and a file that only includes it; hot and release; plain and optimised; warnings are errors."""
    command = compile_command(compiler, standard)
    only = tmp_path / "only.c"
    only.write_text('#include "hotreload.h"\n#include "hotreload.h"\n')
    for source in (HELLO / "main.c", HELLO / "plug.c", HERE / "two.c", HERE / "plug.c", HERE / "host.c", only):
        for flags in ([], ["-O2"], ["-DHR_RELEASE"], ["-DHR_RELEASE", "-O2"]):
            if source.name == "host.c" and "-DHR_RELEASE" in flags:
                continue  # it asks for pthread and dlopen itself
            _run(*command, *STRICT, *flags, "-fPIC", f"-I{SOURCES}", "-c", source, "-o", tmp_path / "out.o")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("standard", ["c99", "c++11"])
def test_the_manuals_example_compiles_and_reloads(compiler: str, standard: str, tmp_path: Path) -> None:
    """What stands at the top of the header, copied out of it word for word."""
    manual = HEADER[: HEADER.index("*/")].replace("     | ", "")
    plugin, host = manual[manual.index("   A PLUGIN") :].split("   A HOST\n")
    plug_h, plug_c = plugin.split("// plug.c\n")
    (tmp_path / "plug.h").write_text(plug_h.split("// plug.h")[1].split("\n", 1)[1])
    (tmp_path / "plug.c").write_text(plug_c)
    (tmp_path / "main.c").write_text(host[: host.index("     Link it with")])
    command = compile_command(compiler, standard)
    library = tmp_path / "libplug.so"
    tmp_path.chmod(0o755)
    _run(*command, f"-I{SOURCES}", "-fPIC", "-shared", tmp_path / "plug.c", "-o", library)
    _run(*command, f"-I{SOURCES}", tmp_path / "main.c", "-o", tmp_path / "main", "-ldl", "-pthread")
    publish(library, library.read_bytes())
    with subprocess.Popen([tmp_path / "main"]) as process:
        try:
            record = tmp_path / ".hotreload" / f"libplug.so.host.{process.pid}.1"
            until(lambda: record.exists() and "\nstatus running\n" in record.read_text(), "the example running")
        finally:
            process.kill()


def test_the_manual_includes_nothing() -> None:
    """SCons's scanner does not know comments: an #include at a line's beginning would be a dependency of everybody."""
    assert re.search(r"^[ \t]*#[ \t]*include", HEADER[HEADER.index("*/") :], re.M)
    assert not re.search(r"^[ \t]*#[ \t]*include", HEADER[: HEADER.index("*/")], re.M)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_wrong_plugin_does_not_compile(compiler: str, tmp_path: Path) -> None:
    """The list's prototypes hold the plugin's definitions and the host's calls to their types."""
    command = compile_command(compiler, "c99")
    wrong = tmp_path / "plug.c"
    for line, what in (
        ("int plug_hello(plug_state *state) { return state != 0; }", "conflicting types"),
        ("HR_TABLE(plug, PLUG_FUNCTIONS)\nvoid f(void) { plug.plug_hello(1, 2); }", "too many arguments"),
    ):
        wrong.write_text(f'#include "plug.h"\n{line}\n')
        done = subprocess.run(
            [*command, f"-I{SOURCES}", f"-I{HELLO}", "-c", wrong, "-o", tmp_path / "out.o"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0 and what in done.stderr


def test_the_header_must_come_first_where_it_is_implemented(tmp_path: Path) -> None:
    """Under -std=c99 another header before it hides what it needs: it says so instead of a hundred errors."""
    source = tmp_path / "main.c"
    source.write_text('#include <stdio.h>\n#define HOTRELOAD_IMPLEMENTATION\n#include "hotreload.h"\n')
    done = subprocess.run(
        [need("gcc"), "-std=c99", f"-I{SOURCES}", "-c", source, "-o", tmp_path / "out.o"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "include it before any other header" in done.stderr


def test_names_are_ours_alone() -> None:
    """hr_ and HR_ are public, hr__ and HR__ private; at most eight functions, each with its line in the manual."""
    manual, code = HEADER.split("*/", 1)
    macros = set(re.findall(r"^\s*#define (\w+)", code, re.M))
    macros -= {"_GNU_SOURCE", "MADV_POPULATE_READ", "HOTRELOAD_H", "hr_new"}
    assert all(name.startswith(("HR_", "hr__")) for name in macros), macros
    face = code[: code.index("#endif /* HOTRELOAD_H */")]
    functions = set(re.findall(r"\b(hr_[a-z]+)\([^()]*\)(?:;| \{|\n\{)", face))
    functions |= set(re.findall(r"^#define (hr_[a-z]+)\(", face, re.M))
    assert functions == {"hr_open", "hr_poll", "hr_wait", "hr_fd", "hr_status", "hr_close", "hr_new", "hr_free"}
    assert all(re.search(rf"^     {name} ", manual, re.M) for name in functions)
    codes = set(re.findall(r"^    X\((HR_\w+),", code, re.M))
    assert codes and codes - {"HR_CLOSED"} <= set(re.findall(r"HR_\w+", manual))


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_nothing_leaks_out_of_the_object(compiler: str, tmp_path: Path) -> None:
    """A host that implements the runtime defines main and the six functions, the plugin only its list and what HR_STATE
    makes; hr__typed is hidden, so that nothing else can bind to it."""
    command = compile_command(compiler, "c99")
    nm = need("nm", "binutils")
    for source, wanted in (
        ("main.c", {"main", "hr_open", "hr_poll", "hr_wait", "hr_fd", "hr_status", "hr_close", "hr__typed"}),
        ("plug.c", {"plug_hello", "hr_plugin_plug", "hr_state_of_plug", "hr_blocks_of_plug", "hr__typed"}),
    ):
        _run(*command, f"-I{SOURCES}", "-c", HELLO / source, "-o", tmp_path / "out.o")
        defined = {line.split()[-1] for line in _run(nm, "-g", "--defined-only", tmp_path / "out.o").splitlines()}
        assert defined == wanted


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("standard", ["c99", "c++11"])
def test_a_release_build_has_no_runtime_in_it(compiler: str, standard: str, tmp_path: Path) -> None:
    """Same sources with HR_RELEASE: no loader, thread or signal; direct calls, no table; and the same output."""
    command = [*compile_command(compiler, standard), f"-I{SOURCES}", "-O2"]
    nm = need("nm", "binutils")
    hot, release = tmp_path / "hot", tmp_path / "release"
    tmp_path.chmod(0o755)
    for directory, flags in ((hot, []), (release, ["-DHR_RELEASE"])):
        directory.mkdir(mode=0o755)
        _run(*command, *flags, "-fPIC", "-shared", HELLO / "plug.c", "-o", directory / "libplug.so")
        _run(*command, *flags, "-c", HELLO / "main.c", "-o", directory / "main.o")
    linker = command[0]
    _run(linker, hot / "main.o", "-o", hot / "main", "-ldl", "-pthread")
    _run(linker, release / "main.o", "-o", release / "main", f"-L{release}", "-lplug", "-Wl,-rpath,$ORIGIN")

    undefined = set(re.findall(r"U (\w+)", _run(nm, "-u", release / "main.o")))
    needed = {"plug_hello"}
    assert needed <= undefined
    forbidden = re.compile(r"^_*(dl\w*|pthread_\w+|eventfd|inotify\w*|pipe2?|open|mmap|rename|sigtimedwait)$")
    assert not [name for name in undefined if forbidden.match(name)]
    assert [name for name in re.findall(r"U (\w+)", _run(nm, "-u", hot / "main.o")) if forbidden.match(name)]
    symbols = _run(nm, release / "main.o")
    assert not re.search(r"\b(plug|plug_names|hr__\w+)$", symbols, re.M), "the table is folded into direct calls"
    assert len(symbols.splitlines()) < 30

    publish(hot / "libplug.so", (hot / "libplug.so").read_bytes())
    outputs = [_two_lines(directory / "main") for directory in (hot, release)]
    assert outputs[0] == outputs[1] == ["Hello Link (call 1)", "Hello Link (call 2)"]


def _two_lines(program: Path) -> list[str]:
    """What the example prints after its first line, which has its pid; it ends cleanly on SIGTERM."""
    begun = time.monotonic()
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == f"hello: pid {process.pid}\n"
        lines = [process.stdout.readline().rstrip("\n") for _ in range(2)]
        assert time.monotonic() - begun > 0.9, "once a second"
        process.terminate()
        assert process.wait(30) == 0
    return lines


def test_the_example_waits_says_so_and_reloads_at_once(tmp_path: Path) -> None:
    """Before the first build it waits and says so once; a bad generation is told and does not end it."""
    tmp_path.chmod(0o755)
    gcc = need("gcc")
    library = tmp_path / "libplug.so"
    _run(gcc, "-std=c99", f"-I{SOURCES}", "-fPIC", "-shared", HELLO / "plug.c", "-o", library)
    _run(gcc, "-std=c99", f"-I{SOURCES}", HELLO / "main.c", "-o", tmp_path / "main", "-ldl", "-pthread")
    data = library.read_bytes()
    with subprocess.Popen(
        [tmp_path / "main"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=1, text=True
    ) as process:
        assert process.stdout
        said = sorted(process.stdout.readline() for _ in range(2))
        assert said[0].endswith("is not published yet: run scons, or scons watch\n") and "pid" in said[1]
        publish(library, data)
        process.send_signal(signal.SIGURG)
        assert process.stdout.readline() == "Hello Link (call 1)\n"
        publish(library, b"no library")
        process.send_signal(signal.SIGURG)
        while (line := process.stdout.readline()).startswith("Hello"):
            pass
        assert "not an ELF file" in line
        publish(library, data.replace(b"Hello Link", b"Good Night"))
        process.send_signal(signal.SIGURG)
        while (line := process.stdout.readline()).startswith("Hello"):
            pass
        assert line.startswith("Good Night (call ")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not [path for path in (tmp_path / ".hotreload").iterdir() if ".host." in path.name]
