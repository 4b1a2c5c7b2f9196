"""The pre-flight: each finding provoked by a library built for it, beside one that must not; its claims in real hosts."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from elf_kit import PLUGIN, build, library, read
from harness import Project, need, until
from hotreload_engine import elf, loader, verify
from hotreload_engine.model import Finding, HotReloadError, Image, Verdict
from hotreload_engine.slot import Slot
from runtime_kit import ASKED_FOR, PLUSPLUS, REFUSED, RUNNING, Kit, Obedient, publish
from ticker import lay, runs, set_number

Start = Callable[..., Obedient]
PROGRAM = "int main(void) { return 0; }\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the linker would put the library."""
    directory = tmp_path / "build"
    directory.mkdir(mode=0o755)
    return directory / "libplug.so"


@pytest.fixture
def start(kit: Kit, place: Path) -> Iterator[Start]:
    started: list[Obedient] = []

    def begin(program: Path | None = None, environment: dict[str, str] | None = None) -> Obedient:
        before = dict(os.environ)
        os.environ.update(environment or {})
        try:
            started.append(Obedient(program or kit.compile("host.c"), place))
        finally:
            os.environ.clear()
            os.environ.update(before)
        return started[-1]

    yield begin
    for host in started:
        host.kill()


def extra(tmp_path: Path, source: str, name: str = "extra.c") -> str:
    """A further source file for the plugin of the runtime's tests."""
    path = tmp_path / name
    path.write_text(source, encoding="utf-8")
    return str(path)


def alone(image: Image) -> Verdict:
    """The verdict without any host."""
    return verify.plugin(image, ())


def beside(image: Image, program: Image, *loaded: Image, runs: bool = True) -> Verdict:
    """The verdict for a host that runs ``program`` and has ``loaded`` mapped."""
    here = os.path.dirname(image.path)
    company = loader.company(
        image, image.path, os.path.join(here, ".hotreload"), program, loaded if runs else None, "", _image
    )
    return verify.plugin(image, (), program, [company])


def _image(path: str) -> Image | None:
    try:
        return read(Path(path))
    except (HotReloadError, OSError):
        return None


def told(verdict: Verdict, *words: str, severity: str = "warning") -> Finding:
    """The one finding that has the first word; it has the others too, and a remedy."""
    (finding,) = [f for f in verdict.findings if words[0] in f.what]
    assert finding.severity == severity
    assert finding.where and finding.remedy
    for word in words[1:]:
        assert word in finding.what + "\n" + finding.remedy
    return finding


def deliver(place: Path, data: bytes) -> int:
    """Judged and published as the builder does; the generation's number."""
    image = elf.read(data, str(place))
    verdict = alone(image)
    assert verdict.ok, verdict
    return Slot(str(place)).publish(image, data, verdict.keep).number


def takes(host: Obedient, data: bytes) -> None:
    number = deliver(host.library, data)
    host.signal()
    assert host.until(RUNNING, number).changed


# --- each finding and its twin --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Twin:
    """Two libraries of one source, or of two: the first has the finding, the second none at all."""

    words: tuple[str, ...]
    source: str
    flags: tuple[str, ...] = ()
    good: str = ""
    good_flags: tuple[str, ...] = ()
    keep: bool = False
    plusplus: bool = False
    only: str = ""
    """The compiler that can make it."""


INLINE = 'inline int &one() { static int value; return value; }\nextern "C" int plug(void) { return ++one(); }\n'
DESTROYED = (
    "struct Thing { int n; Thing(); ~Thing(); };\nThing::Thing() : n(1) {}\nThing::~Thing() { n = 0; }\n"
    'thread_local Thing thing;\nextern "C" int plug(void) { return thing.n; }\n'
)
NO_DESTRUCTOR = DESTROYED.replace("thread_local Thing thing;", "static Thing thing;")
THREAD = """\
#include <pthread.h>
static void *run(void *nothing) { return nothing; }
int plug(void) { pthread_t thread; return pthread_create(&thread, 0, run, 0); }
"""
HANDLER = """\
#include <signal.h>
static void handler(int number) { (void)number; }
void plug(void) { signal(SIGUSR2, handler); }
"""
KEY = """\
#include <pthread.h>
static pthread_key_t key;
static void drop(void *value) { (void)value; }
int plug(void) { return pthread_key_create(&key, drop); }
"""
INITIAL_EXEC = (
    '__thread char own[256] __attribute__((tls_model("initial-exec")));\nint plug(void) { return ++own[0]; }\n'
)
CALLED = "int number;\nint plug(void) { return number; }\n"

TWINS = {
    "unique": Twin(("STB_GNU_UNIQUE", "_ZZ3onevE5value", "-fno-gnu-unique"), INLINE, (), INLINE, ("-fno-gnu-unique",),
                   plusplus=True, only="gcc"),
    "nodelete": Twin(("-z nodelete",), CALLED, ("-Wl,-z,nodelete",), CALLED),
    "destructor": Twin(("thread-local objects with destructors",), DESTROYED, (), NO_DESTRUCTOR, plusplus=True),
    "static-tls": Twin(("256 bytes", "about 6 generations", "initial-exec", "optional_static_tls"), INITIAL_EXEC, (),
                       "__thread char own[256];\nint plug(void) { return ++own[0]; }\n"),
    "too-much-static-tls": Twin(("2000 bytes", "more than a running process has"), INITIAL_EXEC.replace("256", "2000")),
    "textrel": Twin(("text relocations", "-fPIC"), '__asm__(".text\\n.quad plug\\n"); int plug(void) { return 1; }\n',
                    ("-Wl,-z,notext",), CALLED, ("-Wl,-z,notext",)),
    "execstack": Twin(("executable stack", "noexecstack"), CALLED, ("-Wl,-z,execstack",), CALLED,
                      ("-Wl,-z,noexecstack",)),
    "thread": Twin(("starts threads (pthread_create)", "keep every generation"), THREAD, (),
                   '__attribute__((weak)) int pthread_create();\nint plug(void) { return pthread_create != 0; }\n',
                   keep=True),
    "c++-thread": Twin(("starts threads",), '#include <thread>\nextern "C" void plug(void) { std::thread([] {}).detach(); }\n',
                       ("-pthread", "-fno-gnu-unique"), keep=True, plusplus=True, only="gcc"),
    "handler": Twin(("sets signal handlers (signal)",), HANDLER, (),
                    "#include <signal.h>\nint plug(void) { return raise(SIGUSR2); }\n", keep=True),
    "strict-handler": Twin(("sets signal handlers (__sysv_signal)",), HANDLER, ("-std=c99",), keep=True),
    "key": Twin(("end of a thread or of the process (pthread_key_create)",), KEY, (),
                "#include <pthread.h>\nint plug(pthread_key_t key) { return pthread_setspecific(key, 0); }\n", keep=True),
    "on_exit": Twin(("end of a thread or of the process (on_exit)",),
                    "#define _DEFAULT_SOURCE\n#include <stdlib.h>\nstatic void bye(int code, void *x) { (void)code, (void)x; }\n"
                    "int plug(void) { return on_exit(bye, 0); }\n", (),
                    "#include <stdlib.h>\n#include <pthread.h>\nstatic void bye(void) {}\n"
                    "int plug(void) { return atexit(bye) + at_quick_exit(bye) + pthread_atfork(bye, bye, bye); }\n",
                    keep=True),
    "putenv": Twin(("hands memory of its own to the C library (putenv)",),
                   '#define _XOPEN_SOURCE 700\n#include <stdlib.h>\nint plug(void) { static char text[] = "A=b"; return putenv(text); }\n', (),
                   '#define _XOPEN_SOURCE 700\n#include <stdlib.h>\nint plug(void) { return setenv("A", "b", 1); }\n', keep=True),
    "setvbuf": Twin(("(setvbuf)",), "#include <stdio.h>\nint plug(void) { static char b[99]; return setvbuf(stdout, b, _IOFBF, 99); }\n",
                    (), '#include <stdio.h>\nint plug(void) { return fputs("x", stdout); }\n', keep=True),
}  # fmt: skip


@pytest.mark.parametrize(
    ("compiler", "name"),
    [(tool, name) for name, twin in TWINS.items() for tool in ("gcc", "clang") if twin.only in ("", tool)],
    indirect=["compiler"],
)
def test_a_library_made_for_a_finding_has_it_and_its_twin_has_none(tmp_path: Path, compiler: str, name: str) -> None:
    """One finding, a warning with its remedy, and the mark that keeps a generation mapped where that is due."""
    twin = TWINS[name]
    tool, flags = compiler, ("-xc",)
    if twin.plusplus:
        tool, flags = need(PLUSPLUS[os.path.basename(compiler)]), ("-xc++", "-std=c++14")
    verdict = alone(read(library(tmp_path, "libplug.so", twin.source, *flags, *twin.flags, compiler=tool)))
    told(verdict, *twin.words)
    assert len(verdict.findings) == 1, verdict.findings
    assert verdict.keep == twin.keep
    if twin.good:
        assert (
            alone(read(library(tmp_path, "libgood.so", twin.good, *flags, *twin.good_flags, compiler=tool)))
            == Verdict()
        )


def test_ifuncs_and_constructors_are_nobodys_fault(tmp_path: Path, compiler: str) -> None:
    """Both run at every load, and that is what they are for."""
    source = (
        "static int one(void) { return 1; }\nstatic int (*choose(void))(void) { return one; }\n"
        'int plug(void) __attribute__((ifunc("choose")));\nstatic int began;\n'
        "__attribute__((constructor)) static void begin(void) { began++; }\n"
        "__attribute__((destructor)) static void end(void) { began--; }\n"
    )
    assert alone(read(library(tmp_path, "libplug.so", source, compiler=compiler))) == Verdict()


def test_debug_information_is_seen(tmp_path: Path, compiler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """-g, -gz and -gsplit-dwarf leave some; -g0 and strip none."""
    for flags, debug in ((("-g",), True), (("-g", "-gz"), True), (("-g0",), False), (("-g", "-s"), False)):
        assert read(library(tmp_path, "libplug.so", PLUGIN, *flags, compiler=compiler)).debug == debug, flags
    monkeypatch.chdir(tmp_path)  # where .dwo files go
    assert read(library(tmp_path, "libplug.so", PLUGIN, "-gsplit-dwarf", compiler=compiler)).debug


# --- what binds elsewhere ---------------------------------------------------------------------------------------

OPEN = "int helper(void) { return 1; }\nint level = 1;\nint plug(void) { return helper() + level; }\n"
TAKER = "int helper(void) { return 100; }\nint level = 100;\nint main(void) { return 0; }\n"


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ((), "helper, level"),
        (("-Wl,-Bsymbolic",), ""),
        (("-Wl,-Bsymbolic-functions",), "level"),
        (("-fvisibility=hidden",), ""),
        (("-fvisibility=protected",), ""),
    ],
    ids=["open", "symbolic", "functions", "hidden", "protected"],
)
def test_a_definition_that_the_host_has_too_is_told(
    tmp_path: Path, compiler: str, flags: tuple[str, ...], found: str
) -> None:
    """Only where the library's own uses go through the dynamic linker, and only if the host exports it."""
    image = read(library(tmp_path, "libplug.so", OPEN, *flags, compiler=compiler))
    exporting = read(build(tmp_path, "main", TAKER, "-rdynamic", compiler=compiler))
    verdict = beside(image, exporting)
    if found:
        told(verdict, f"main has {found} too", "-Wl,-Bsymbolic")
    assert len(verdict.findings) == bool(found)
    assert beside(image, read(build(tmp_path, "closed", TAKER, compiler=compiler))) == Verdict()


def test_a_name_of_the_c_library_is_told(tmp_path: Path, compiler: str) -> None:
    """A plugin's own index(): its calls go to libc's, which hosts ask first."""
    source = "int index(int a) { return a; }\nint plug(void) { return index(1); }\n"
    image = read(library(tmp_path, "libplug.so", source, "-fno-builtin", "-w", compiler=compiler))
    program = read(build(tmp_path, "main", PROGRAM, compiler=compiler))
    told(beside(image, program, read(_libc())), "has index too", "libc")


def test_own_calls_go_to_the_hosts_function_in_a_real_host(tmp_path: Path, kit: Kit, place: Path, start: Start) -> None:
    """What the finding claims: with -rdynamic the plugin's number comes from the host; -Bsymbolic gives it back."""
    mine = extra(tmp_path, "int number_function(void);\nint number_function(void) { return 77; }\n", "host_too.c")
    host = start(kit.compile("host.c", mine, "-rdynamic"))
    publish(place, kit.plugin(number=1))
    assert host.open().code == RUNNING
    assert host.number_and_calls()[0] == -1, "77 is not the constant of this generation"
    image = elf.read(kit.plugin(number=1), str(place))
    program = read(kit.compile("host.c", mine, "-rdynamic"))
    told(beside(image, program), "number_function", "Bsymbolic")
    bound = kit.plugin("-Wl,-Bsymbolic", number=2)
    assert not [f for f in beside(elf.read(bound, str(place)), program).findings if "number_function" in f.what]
    takes(host, bound)
    assert host.number_and_calls()[0] == 2


def test_a_copy_of_the_library_in_the_host_is_told(tmp_path: Path, kit: Kit, place: Path, start: Start) -> None:
    """Preloaded here, or linked to by a program that still runs: new code's own calls go to the old copy, until bound."""
    place.write_bytes(kit.plugin(number=1))
    host = start(environment={"LD_PRELOAD": str(place)})
    deliver(place, kit.plugin(number=2))
    assert host.open().code == RUNNING
    assert host.number_and_calls()[0] == -1, "a mix of 1 and 2"
    image, program = elf.read(kit.plugin(number=2), str(place)), read(kit.compile("host.c"))
    told(
        beside(image, program, read(place)),
        "has opened a copy of the library by itself",
        "number_function",
        "Bsymbolic",
    )
    old = build(
        tmp_path, "old", "int number_function(void);\nint main(void) { return number_function(); }\n", str(place)
    )
    told(beside(image, read(old), read(place)), "from its start", "Bsymbolic")
    bound = kit.plugin("-Wl,-Bsymbolic", number=3)
    assert beside(elf.read(bound, str(place)), program, read(place)) == Verdict()
    takes(host, bound)
    assert host.number_and_calls()[0] == 3


def test_a_soname_that_another_library_is_needed_by_is_told(tmp_path: Path, compiler: str) -> None:
    """In a real process: who asks for that name gets the plugin, which lacks the function."""
    soname = "-Wl,-soname,libcommon.so.1"
    (tmp_path / "real").mkdir()
    real = library(tmp_path / "real", "libcommon.so.1", "int common(void) { return 5; }\n", soname, compiler=compiler)
    source = "int common(void);\nint user(void) { return common(); }\n"
    user = library(tmp_path, "libuser.so", source, str(real), f"-Wl,-rpath,{real.parent}", compiler=compiler)
    plug = library(tmp_path, "libplug.so", "int plug(void) { return 1; }\n", soname, compiler=compiler)
    code = "import ctypes, sys\nfor path in sys.argv[1:]: last = ctypes.CDLL(path)\nprint(last.user())\n"
    good = subprocess.run([sys.executable, "-c", code, real, user], capture_output=True, text=True, check=False)
    assert good.stdout == "5\n", good.stderr
    taken = subprocess.run([sys.executable, "-c", code, plug, user], capture_output=True, text=True, check=False)
    assert "undefined symbol: common" in taken.stderr
    program = read(build(tmp_path, "main", PROGRAM, compiler=compiler))
    told(beside(read(plug), program, read(user), read(_libc())), "SONAME is libcommon.so.1", "libuser.so", "-soname")
    assert beside(read(plug), program, read(_libc())) == Verdict()


# --- what outlives a generation, in real hosts --------------------------------------------------------------------

TICKING = """\
#include <pthread.h>
#include <sched.h>
static volatile unsigned long ticks;
static void *run(void *nothing) { for (;;) { ticks = ticks + 1; sched_yield(); } return nothing; }
__attribute__((constructor)) static void begin(void) { pthread_t thread; pthread_create(&thread, 0, run, 0); }
"""
IDLE = TICKING.replace("for (;;) { ticks = ticks + 1; sched_yield(); }", "ticks = 1;")


def test_a_generation_with_a_thread_of_its_own_stays_mapped(
    tmp_path: Path, kit: Kit, place: Path, start: Start
) -> None:
    """Every generation's thread still runs in its code after six reloads; the record counts what is mapped."""
    source = extra(tmp_path, TICKING)
    host = start()
    deliver(place, kit.plugin(source, number=1))
    assert host.open().code == RUNNING
    for number in range(2, 7):
        takes(host, kit.plugin(source, number=number))
        assert host.number_and_calls()[0] == number
    assert len(host.mapped) == 6
    takes(host, kit.plugin(number=7))
    takes(host, kit.plugin(number=8))
    takes(host, kit.plugin(number=9))
    until(lambda: len(host.mapped) == 6 + 2, f"only the plain one being closed: {host.mapped}")
    record = Path(host.records("running", 9).record)
    until(lambda: "\nkept 8\n" in record.read_text(), "the record counting")
    assert host.end() == 0


def test_without_that_mark_such_a_host_dies(tmp_path: Path, kit: Kit, place: Path, start: Start) -> None:
    """Why it is there: a thread in code that is unloaded is signal 11."""
    source = extra(tmp_path, TICKING)
    host = start()
    publish(place, kit.plugin(source, number=1))
    host.open()
    for number in (2, 3):
        publish(place, kit.plugin(source, number=number))
        host.signal()
        host.ask("wait 20000")
        host.tell("poll")
        if number == 2:
            host.hear()
    assert host.process.wait(30) == -11


def test_what_the_c_library_keeps_is_counted_as_kept(tmp_path: Path, kit: Kit, place: Path, start: Start) -> None:
    """-z nodelete: four generations, four mapped; without it two."""
    for flags, mapped in ((("-Wl,-z,nodelete",), 4), ((), 2)):
        host = start()
        deliver(place, kit.plugin(*flags, number=1))
        host.open()
        for number in range(2, 5):
            takes(host, kit.plugin(*flags, number=number))
        until(lambda host=host, mapped=mapped: len(host.mapped) == mapped, f"{flags}: {mapped} generations")  # type: ignore[misc]
        assert host.end() == 0


@pytest.mark.parametrize("kit", ["gcc"], indirect=True)
def test_a_unique_variable_stays_the_first_generations(tmp_path: Path, place: Path, start: Start, kit: Kit) -> None:
    """g++ without -fno-gnu-unique: the new code's own initial value is never seen; with it, it is."""
    need("g++")
    for flags, second in ((("-fgnu-unique",), 1), (("-fno-gnu-unique",), 2)):
        host = start()
        for number in (1, 2):
            source = f"inline int &one() {{ static int value = {number}; return value; }}\n"
            source += '#include "plug.h"\nHR_STATE(plug, plug_state)\nint plug_number(plug_state *) { return one(); }\n'
            source += "unsigned plug_calls(const plug_state *) { return 0; }\nint plug_undefined(void) { return 0; }\n"
            path = extra(tmp_path, source, f"unique{number}{flags[0]}.cc")
            data = kit.compile(path, *flags, shared=True, plusplus=True).read_bytes()
            if number == 1:
                deliver(place, data)
                host.open()
            else:
                takes(host, data)
            assert host.number_and_calls()[0] == (1 if number == 1 else second), flags
        assert host.end() == 0


def test_thread_locals_with_destructors_hold_a_generation_until_their_thread_ends(
    tmp_path: Path, place: Path, start: Start, kit: Kit
) -> None:
    """Used in the main thread, which does not end: all of them stay, none crashes, the end of the host included."""
    need(PLUSPLUS[kit.compiler])
    source = DESTROYED.partition("extern")[0]
    source += (
        '#include "plug.h"\nHR_STATE(plug, plug_state)\nint plug_number(plug_state *) { return thing.n + NUMBER; }\n'
    )
    source += "unsigned plug_calls(const plug_state *) { return 0; }\nint plug_undefined(void) { return 0; }\n"
    host = start()
    for number in range(1, 5):
        path = extra(tmp_path, source, "destroyed.cc")
        data = kit.compile(path, f"-DNUMBER={number}", shared=True, plusplus=True).read_bytes()
        if number == 1:
            deliver(place, data)
            host.open()
        else:
            takes(host, data)
        assert host.number_and_calls()[0] == 1 + number
    assert len(host.mapped) == 4
    assert host.end() == 0


# --- static thread-local storage in a real host ---------------------------------------------------------------


def test_static_thread_storage_lasts_for_as_many_generations_as_was_said(
    tmp_path: Path, kit: Kit, place: Path, start: Start
) -> None:
    """256 bytes: the seventh is refused and the sixth goes on; with the tunable of the remedy it is taken."""
    source = extra(tmp_path, INITIAL_EXEC.replace("int plug(", "int plug_own(void);\nint plug_own("))
    assert "about 6 generations" in told(alone(elf.read(kit.plugin(source), "/x")), "initial-exec").what
    host = start()
    roomy = start(environment={"GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=8192"})
    deliver(place, kit.plugin(source, number=1))
    for each in (host, roomy):
        each.open()
    for number in range(2, 7):
        takes(host, kit.plugin(source, number=number))
        roomy.signal()
        roomy.until(RUNNING, number)
    deliver(place, kit.plugin(source, number=7))
    host.signal()
    now = host.until(REFUSED)
    assert "static TLS" in now.text and now.generation == 6
    assert host.number_and_calls()[0] == 6
    roomy.signal()
    roomy.until(RUNNING, 7)


# --- sanitizers -------------------------------------------------------------------------------------------------


sanitizers = pytest.mark.parametrize(
    ("kit", "flag"),
    [
        (tool, flag)
        for tool in ("gcc", "clang")
        for flag in ("address", "thread", "memory", "undefined")
        if (tool, flag) != ("gcc", "memory")  # gcc has no MemorySanitizer
    ],
    indirect=["kit"],
)


@pytest.mark.skipif(bool(ASKED_FOR), reason="HOTRELOAD_SANITIZE: no host is without one")
@sanitizers
def test_a_sanitizer_in_the_plugin_alone_is_refused(kit: Kit, place: Path, flag: str) -> None:
    """One finding for all its symbols; not for gcc's UBSan, which brings its runtime along; none where both have it."""
    image = elf.read(kit.plugin(f"-fsanitize={flag}"), str(place))
    verdict = beside(image, read(kit.compile("host.c")), runs=False)
    if flag == "undefined" and kit.compiler == "gcc":
        assert verdict == Verdict()
    else:
        told(verdict, "is built with", f"-fsanitize={flag}", severity="error")
        assert len(verdict.findings) == 1, verdict.findings
    both = read(kit.compile("host.c", f"-fsanitize={flag}"))
    assert beside(image, both, runs=False).ok


@sanitizers
def test_a_sanitizer_in_the_host_alone_is_a_warning(kit: Kit, place: Path, flag: str) -> None:
    """It runs, but is blind there; UBSan loses nothing else by it."""
    host = read(kit.compile("host.c", f"-fsanitize={flag}"))
    image = elf.read(kit.plugin("-Wl,-Bsymbolic"), str(place))
    verdict = beside(image, host, runs=False)
    if flag == "undefined":
        assert verdict == Verdict()
    else:
        told(verdict, "and the library is not", f"-fsanitize={flag}")
        assert len(verdict.findings) == 1, verdict.findings


def test_an_asan_plugin_ends_a_plain_host(place: Path, tmp_path: Path) -> None:
    """What gcc's finding claims, in a real host: it is gone, with ASan's words and without ours."""
    kit = Kit("gcc", tmp_path)
    data = kit.plugin("-fsanitize=address", number=2)
    publish(place, kit.plugin(number=1))
    host = Obedient(kit.compile("host.c"), place)
    try:
        host.open()
        publish(place, data)
        host.signal()
        assert host.process.wait(30) == 1
        assert host.process.stdout is not None and b"ASan runtime does not come first" in host.process.stdout.read()
    finally:
        host.kill()


def test_two_asan_runtimes_end_a_host(place: Path, tmp_path: Path) -> None:
    """gcc's plugin in clang's host: refused as two runtimes, and in a real host it is the end of it."""
    need("clang")
    gcc, clang = Kit("gcc", tmp_path / "gcc"), Kit("clang", tmp_path / "clang")
    for each in ("gcc", "clang"):
        (tmp_path / each).mkdir()
    data = gcc.plugin("-fsanitize=address")
    program = clang.compile("host.c", "-fsanitize=address")
    told(beside(elf.read(data, str(place)), read(program), runs=False), "another runtime", severity="error")
    publish(place, data)
    host = Obedient(program, place)
    try:
        host.tell("open")
        assert host.process.wait(30) == 1
        assert host.process.stdout is not None and b"incompatible ASan runtimes" in host.process.stdout.read()
    finally:
        host.kill()


# --- libraries that it needs ------------------------------------------------------------------------------------

ORIGIN = "-Wl,-rpath,$ORIGIN"


def with_helper(directory: Path, compiler: str, *flags: str) -> Image:
    library(directory, "libhelper.so", "int helper(void) { return 5; }\n", compiler=compiler)
    source = "int helper(void);\nint plug(void) { return helper(); }\n"
    search = ("-L" + str(directory), "-lhelper")
    return read(library(directory, "libplug.so", source, *search, *flags, compiler=compiler))


@pytest.mark.parametrize(
    ("flags", "words", "severity"),
    [
        ((ORIGIN,), "$ORIGIN is then", "error"),
        ((ORIGIN, "-Wl,--disable-new-dtags"), "$ORIGIN is then", "error"),
        (("-Wl,-rpath,$ORIGIN/..",), "", ""),
        (("-Wl,-rpath,$ORIGIN:$ORIGIN/..",), "", ""),
        ((), "the loader does not find", "error"),
        (("-Wl,-rpath,build",), "", ""),
        (("-Wl,-rpath,$LIB/elsewhere",), "", ""),
    ],
    ids=["origin", "rpath", "above", "both", "nowhere", "relative", "unknown"],
)
def test_a_library_that_hosts_will_not_find_is_told(
    tmp_path: Path, compiler: str, flags: tuple[str, ...], words: str, severity: str
) -> None:
    """Hosts open .hotreload/…: $ORIGIN is another one there. What nobody can tell from here is not guessed."""
    image = with_helper(tmp_path, compiler, *flags)
    program = read(build(tmp_path, "main", PROGRAM, compiler=compiler))
    verdict = beside(image, program, read(_libc()))
    if words:
        assert "libhelper.so" in told(verdict, words, "-rpath", severity=severity).what
    assert len(verdict.findings) == bool(words), verdict.findings
    if severity == "error" and not flags:
        assert beside(image, program, runs=False).ok, "it may be started with LD_LIBRARY_PATH"


def test_a_library_that_the_host_has_already_is_found(tmp_path: Path, compiler: str) -> None:
    """By its file name or SONAME, wherever it lies; and through LD_LIBRARY_PATH and the program's own DT_RPATH."""
    image = with_helper(tmp_path, compiler, ORIGIN)
    program = read(build(tmp_path, "main", PROGRAM, compiler=compiler))
    assert beside(image, program, read(_libc()), read(tmp_path / "libhelper.so")) == Verdict()
    place = str(tmp_path / ".hotreload")
    company = loader.company(image, image.path, place, program, [read(_libc())], str(tmp_path), _image)
    assert verify.plugin(image, (), program, [company]) == Verdict()
    old = with_helper(tmp_path, compiler, "-Wl,--disable-new-dtags,-rpath,/nowhere")
    carrying = read(
        build(tmp_path, "carrying", PROGRAM, f"-Wl,--disable-new-dtags,-rpath,{tmp_path}", compiler=compiler)
    )
    assert beside(old, carrying, read(_libc())) == Verdict()


def test_symbols_of_libraries_that_come_along_are_known(tmp_path: Path, compiler: str) -> None:
    """Without a running host too: through the program's libraries and the plugin's, as far as needed."""
    image = with_helper(tmp_path, compiler, "-Wl,-rpath,$ORIGIN/..")
    program = read(build(tmp_path, "main", PROGRAM, compiler=compiler))
    assert beside(image, program, runs=False) == Verdict()
    library(tmp_path, "libhelper.so", "int other(void) { return 5; }\n", compiler=compiler)
    told(beside(image, program, runs=False), "undefined symbol helper", severity="warning")
    told(beside(image, program, read(_libc())), "undefined symbol helper", severity="error")


def test_the_search_agrees_with_the_loader(tmp_path: Path) -> None:
    """ldd of this Python: every library is where ldd says."""
    done = subprocess.run([need("ldd"), sys.executable], capture_output=True, text=True, check=True)
    wanted = {words[0]: words[2] for line in done.stdout.splitlines() if len(words := line.split()) == 4}
    program = read(Path(sys.executable).resolve())
    search = loader._Search(os.environ.get("LD_LIBRARY_PATH", ""), program, _image)
    found = {name: search.find(name, program, os.path.dirname(program.path)) for name in program.needed}
    assert found, "this Python needs no library"
    for name, path in found.items():
        assert path and os.path.samefile(path, wanted[name])


def _libc() -> Path:
    words = Path("/proc/self/maps").read_text(encoding="utf-8").split()
    return next(Path(word) for word in words if Path(word).name.startswith(("libc.so", "libc-")))


# --- the whole way ------------------------------------------------------------------------------------------------


def test_a_hot_library_with_origin_in_its_run_path_works(made: Project) -> None:
    """HotLibrary adds the directory above; the host runs code that needs a library beside the plugin."""
    lay(made)
    made.write("src/side.c", "int side(void);\nint side(void) { return 0; }\n")
    made.write(
        "SConstruct",
        'env = Environment(tools=["default", "hotreload"], CCFLAGS=["-O0"])\n'
        'side = env.SharedLibrary("build/side", ["src/side.c"])\n'
        'plug = env.HotLibrary("build/plug", ["src/plug.c", "src/number.c"], LIBS=["side"], LIBPATH=["build"])\n'
        'main = env.HotProgram("build/main", ["src/main.c"], plugins=[plug])\n',
    )
    made.edit("SConstruct", "side = ", 'env.Append(RPATH=[env.Literal("\\\\$$ORIGIN")])\nside = ')
    made.edit("src/number.c", "return NUMBER;", "return NUMBER + side();")
    made.edit("src/number.c", '#include "number.h"\n', '#include "number.h"\nint side(void);\n')
    made.scons()
    host = made.host()
    runs(host, 1)
    set_number(made, 2)
    assert "reloaded plug" in made.scons("reload")
    runs(host, 2)


@pytest.mark.parametrize(
    ("command", "knows"), [("g++", True), ("c++", True), ("env g++", True), ("clang++", False)], ids=str
)
def test_a_hot_library_in_cpp_has_no_unique_symbols(made: Project, command: str, knows: bool) -> None:
    """-fno-gnu-unique goes to g++ by whatever name, and not to clang++, which would not know it."""
    need(command.split()[-1])
    made.write("src/plug.cc", INLINE)
    made.write(
        "SConstruct",
        f'env = Environment(tools=["default", "hotreload"], CXX="{command}")\nenv.HotLibrary("build/plug", ["src/plug.cc"])\n',
    )
    assert ("-fno-gnu-unique" in made.scons()) == knows
    assert not read(made.path("build/libplug.so")).unique


def test_an_existing_library_with_origin_is_refused_in_time(made: Project) -> None:
    """HotReload builds nothing in another way: it says what to add, and nothing is published."""
    lay(made)
    made.write("src/side.c", "int side(void);\nint side(void) { return 0; }\n")
    made.write("src/number.c", '#include "plug.h"\n#include "number.h"\nint side(void);\nint number_variable = NUMBER;\n'
               "int number_function(void) { return NUMBER + side(); }\n")  # fmt: skip
    made.write(
        "SConstruct",
        'env = Environment(tools=["default", "hotreload"], CPPPATH=["src"])\n'
        'side = env.SharedLibrary("build/side", ["src/side.c"])\n'
        'plug = env.SharedLibrary("build/plug", ["src/plug.c", "src/number.c"], LIBS=["side"], LIBPATH=["build"],\n'
        '    RPATH=[env.Literal("\\\\$$ORIGIN")], SHLINKFLAGS=["-shared", "-Wl,-Bsymbolic"])\n'
        'main = env.Program("build/main", ["src/main.c"], LIBS=["dl", "pthread"])\n'
        "env.HotReload(host=main, plugins=[plug])\n",
    )
    text = made.scons(code=2)
    assert "libside.so" in text and "$ORIGIN/.." in text
    assert Slot(str(made.path("build/libplug.so"))).newest() is None
    made.edit("SConstruct", "$$ORIGIN", "$$ORIGIN/..")
    made.scons()
    runs(made.host(), 1)


def test_a_sanitizer_that_would_end_the_host_is_refused_before_it_is_published(made: Project) -> None:
    """The host goes on with what it has; the text says why; back without it, it reloads."""
    lay(made)
    made.edit("SConstruct", 'plug = env.HotLibrary("build/plug", ["src/plug.c", "src/number.c"])',
              'plug = env.HotLibrary("build/plug", ["src/plug.c", "src/number.c"], **({} if 1 else ASAN))')  # fmt: skip
    made.edit("SConstruct", "env = ", 'ASAN = {"SHLINKFLAGS": ["-shared", "-fsanitize=address"], '
              '"SHCCFLAGS": ["-fPIC", "-fsanitize=address"]}\nenv = ')  # fmt: skip
    made.scons()
    host = made.host()
    runs(host, 1)
    set_number(made, 2)
    made.edit("SConstruct", "{} if 1 else", "{} if 0 else")
    text = made.scons("reload", code=2)
    assert "AddressSanitizer" in text and "-fsanitize=address" in text
    made.edit("SConstruct", "{} if 0 else", "{} if 1 else")
    made.scons("reload")
    runs(host, 2)


def test_a_host_whose_program_was_built_again_is_still_judged(made: Project) -> None:
    """Its executable is "(deleted)" in /proc: what it defines is read through the process itself."""
    lay(made)
    made.scons()
    host = made.host()
    runs(host, 1)
    program = made.path("build/main")
    data = program.read_bytes()
    program.unlink()
    program.write_bytes(data)
    program.chmod(0o755)
    assert os.readlink(f"/proc/{host.pid}/exe").endswith("(deleted)")
    text = made.path("src/number.c").read_text(encoding="utf-8")
    made.write("src/number.c", text + "int nowhere(void);\nint loose(void);\nint loose(void) { return nowhere(); }\n")
    text = made.scons("reload", code=2)
    assert "refused plug" in text and "error" in text and "undefined symbol nowhere" in text


def test_a_warning_is_said_once_and_not_at_every_reload(made: Project) -> None:
    """In a session: the first time it is printed; the events say it each time, as "again"; once it goes, it may come."""
    lay(made)
    watch = made.watch()
    thread = "#include <pthread.h>\nint start(void);\nint start(void) { return pthread_create(0, 0, 0, 0); }\n"
    text = made.path("src/number.c").read_text(encoding="utf-8")
    host = made.host()
    runs(host, 1)
    made.write("src/number.c", text + thread)
    one = watch.wait("published")
    assert [(f["severity"], f["again"]) for f in one["findings"]] == [("warning", False)]
    watch.reloaded()
    set_number(made, 3)
    two = watch.wait("published")
    assert [(f["severity"], f["again"]) for f in two["findings"]] == [("warning", True)]
    watch.reloaded()
    runs(host, 3)
    assert watch.output.count("starts threads") == 1
    made.write("src/number.c", text)
    assert watch.wait("published")["findings"] == []
    made.write("src/number.c", text + thread)
    assert [f["again"] for f in watch.wait("published")["findings"]] == [False]


# --- no false alarms ---------------------------------------------------------------------------------------------


def test_the_systems_own_libraries_are_judged_without_nonsense() -> None:
    """Every library of this system of up to 1 MB: no exception, hardly a refusal, and each finding has what, where and remedy."""
    paths = sorted({os.path.realpath(path) for path in glob.glob("/usr/lib/*/lib*.so*")})
    program = read(Path(sys.executable).resolve())
    judged = 0
    errors: dict[str, list[str]] = {}
    for path in paths:
        if os.path.getsize(path) > 1 << 20 or (image := _image(path)) is None:
            continue
        judged += 1
        verdict = beside(image, program, runs=False)
        for finding in verdict.findings:
            assert finding.what and finding.where == path and finding.remedy
            if finding.severity == "error":
                errors.setdefault(os.path.basename(path), []).append(finding.what)
    if judged < 20:
        pytest.skip("needs a system with libraries in /usr/lib/*/ (any Debian package of a library)")
    runtimes = ("libasan", "libtsan", "liblsan", "libhwasan", "libclang_rt")
    assert not {name: what for name, what in errors.items() if not name.startswith(runtimes)}
