"""What a library brings into a host beside its functions: what stays behind, what runs out, what binds elsewhere.

Each function here looks at one such thing and returns its findings; ``verify`` calls them all. Pure. What is an error
ends the host or makes its dlopen fail for sure; everything else is a warning, and the library is published. The claims
about hosts are tried in real ones by ``tests/test_preflight.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .model import Company, Finding, Image, Severity

# --- what outlives a generation -------------------------------------------------------------------------------------

_DANGLING = {
    "starts threads": (
        "pthread_create", "thrd_create", "timer_create", "_ZNSt6thread15_M_start_threadE*",
        "g_thread_new", "g_thread_try_new", "SDL_CreateThread*", "SDL_AddTimer",
    ),
    "sets signal handlers": (
        "signal", "sigaction", "__sysv_signal", "sysv_signal", "bsd_signal", "sigset", "sigvec", "sigaltstack",
    ),
    "has functions called at the end of a thread or of the process": (
        "pthread_key_create", "__pthread_key_create", "tss_create", "on_exit", "_ZSt13set_terminatePFvvE",
        "_ZSt15set_new_handlerPFvvE", "_ZSt14set_unexpectedPFvvE",
    ),
    "hands memory of its own to the C library": ("putenv", "setvbuf", "setbuf", "setbuffer", "openlog"),
    "switches stacks": ("makecontext",),
}  # fmt: skip
"""What a function of another library may keep for ever, and its names ("*": any end). Not atexit, at_quick_exit and
pthread_atfork: those know the library that calls them, and are undone with it (__cxa_atexit's dso_handle)."""


def dangling(image: Image) -> dict[str, list[str]]:
    """Imports that leave something outside that points into the library: unloading it would be a crash later."""
    found: dict[str, list[str]] = {}
    for what, patterns in _DANGLING.items():
        names = image.imports.intersection(patterns)
        if starts := tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*")):
            names |= {name for name in image.imports if name.startswith(starts)}
        if names:
            found[what] = sorted(names)
    return found


def outlives(image: Image) -> Iterator[Finding]:
    """A thread, a signal handler, a buffer: such a generation is kept mapped (``Verdict.keep``)."""
    found = dangling(image)
    if found:
        what = "; ".join(f"{what} ({listed(names)})" for what, names in found.items())
        yield Finding(
            f"the library {what}: hosts keep every generation of it mapped, about {_size(image)} more a reload",
            image.path,
            "nothing needs to be done; to have old ones unloaded, do that in the host, through its table of functions",
            "warning",
        )


def stays(image: Image) -> Iterator[Finding]:
    """What the C library itself does not unload."""
    more = f"about {_size(image)} more a reload"
    unique = sorted(name for name in image.unique if not name.startswith("_ZGV"))  # guards come with their variables
    if unique:
        variables = "variable that is" if len(unique) == 1 else "variables that are"
        yield Finding(
            f"the library has {len(unique)} {variables} one in the whole process (STB_GNU_UNIQUE: "
            f"{listed(unique, 3)}): new code goes on with the first generation's, and none is unloaded, {more}",
            image.path,
            "compile with -fno-gnu-unique (g++; HotLibrary does)",
            "warning",
        )
    if "NODELETE" in image.flags:
        yield Finding(
            f"no generation of this library is ever unloaded (-z nodelete), {more}",
            image.path,
            "link it without -z nodelete",
            "warning",
        )
    if image.imports & {"__cxa_thread_atexit", "__cxa_thread_atexit_impl"}:
        yield Finding(
            "the library has thread-local objects with destructors: a generation whose objects a thread has used stays "
            f"mapped until that thread ends, {more}",
            image.path,
            "keep such objects in the state or in the host",
            "warning",
        )


# --- what runs out, what the loader does to the process -------------------------------------------------------------

_SURPLUS = 1664
"""Bytes of static TLS that glibc sets aside for libraries opened later (elf/dl-tls.c: by default for 4 namespaces, plus
rtld.optional_static_tls, 512). A generation's share comes back only if it was the last one given."""


def static_thread_storage(image: Image) -> Iterator[Finding]:
    if "STATIC_TLS" not in image.flags or not image.thread_bytes:
        return
    remedy = (
        "compile without -ftls-model=initial-exec or that attribute, with -fPIC; or start the host with "
        "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=BYTES"
    )
    what = f"{image.thread_bytes} bytes of thread-local variables in static storage (initial-exec)"
    loads = _SURPLUS // image.thread_bytes
    if loads < 1:
        yield Finding(
            f"{what}: more than a running process has left for that, about {_SURPLUS}", image.path, remedy, "warning"
        )
    else:
        yield Finding(
            f"{what}: they are not given back, so a host takes about {loads} generations and refuses the rest",
            image.path,
            remedy,
            "warning",
        )


def pages(image: Image) -> Iterator[Finding]:
    if "TEXTREL" in image.flags:
        yield Finding(
            "the library has text relocations: its code is written to at every load, which hardened systems forbid",
            image.path,
            "compile all of it with -fPIC; assembler sources too must not hold absolute addresses",
            "warning",
        )
    if image.executable_stack:
        yield Finding(
            "the library asks for an executable stack: the loader makes the host's stacks executable, or (glibc 2.41 "
            "and newer) refuses to open it",
            image.path,
            "link with -Wl,-z,noexecstack; in C avoid pointers to nested functions, give assembler sources a "
            ".note.GNU-stack section",
            "warning",
        )


# --- what binds elsewhere -------------------------------------------------------------------------------------------


def interposed(image: Image, companies: Iterable[Company]) -> Iterator[Finding]:
    """Own definitions that a host has too: the loader looks there first (ld.so(8)), so own calls go there."""
    told: set[str] = set()
    for company in companies:
        for other in company.images:
            both = sorted((image.open_calls & other.exports) - told)
            copy = _is_copy(image, other)
            if not both or not (copy or other in company.first):
                continue
            told.update(both)
            uses = f"the library's own uses of {'it' if len(both) == 1 else 'them'}"
            if not copy:
                what = f"{base(other.path)} has {listed(both)} too, and is asked first: {uses} go there, to other code"
            elif other in company.first:
                what = f"{base(company.where)} has a copy of the library, {other.path}, from its start: {uses} go there"
            else:
                what = (
                    f"{base(company.where)} has opened a copy of the library by itself, {other.path}: with RTLD_GLOBAL "
                    f"{uses} ({listed(both)}) go there"
                )
            yield Finding(what, image.path, _BIND, "warning")


_BIND = "link with -Wl,-Bsymbolic (HotLibrary does), make them static or hidden, or name them otherwise"


def _is_copy(image: Image, other: Image) -> bool:
    return base(other.path) == base(image.path) or bool(image.soname and other.soname == image.soname)


def mistaken(image: Image, companies: Iterable[Company]) -> Iterator[Finding]:
    """A library that is needed by a name which this one has as its SONAME: who is loaded first answers to it."""
    told: set[str] = set()
    for company in companies:
        for other in (image, *company.images[1:]):
            if image.soname and image.soname not in told and image.soname in map(base, other.needed):
                told.add(image.soname)
                yield Finding(
                    f"its SONAME is {image.soname}, by which {base(other.path)} needs a library: one of the two is "
                    "taken for the other",
                    image.path,
                    "give it a SONAME of its own (-Wl,-soname,NAME), or none",
                    "warning",
                )


# --- libraries that it needs ----------------------------------------------------------------------------------------


def needs(image: Image, companies: Iterable[Company]) -> Iterator[Finding]:
    told: set[str] = set()
    for company in companies:
        for need in company.needs:
            right = need.path and need.beside in ("", need.path)
            if right or need.name in told:
                continue
            told.add(need.name)
            if need.path:
                yield Finding(
                    f"hosts take {need.name} from {need.path}, not from {need.beside}: {_ELSEWHERE}",
                    image.path,
                    _RUN_PATH,
                    "warning",
                )
            elif need.beside:
                yield Finding(
                    f"it needs {need.name}, which hosts do not find, though it is {need.beside}: {_ELSEWHERE}",
                    image.path,
                    _RUN_PATH,
                )
            else:
                yield Finding(
                    f"it needs {need.name}, which the loader does not find for {base(company.where)}",
                    image.path,
                    "build or install it, give its directory as run path (-Wl,-rpath,DIR), or start the host with "
                    "LD_LIBRARY_PATH",
                    "error" if company.runs else "warning",
                )


_ELSEWHERE = "they open the library in a directory below its own, which is what $ORIGIN is then"
_RUN_PATH = "add -Wl,-rpath,'$ORIGIN/..' to its linker flags (HotLibrary does so for each $ORIGIN in RPATH)"


# --- sanitizers -----------------------------------------------------------------------------------------------------

_SANITIZERS = {
    # name: (flag, symbol that instrumented code imports, its runtime's library: libasan.so.8, libclang_rt.asan-x86_64)
    "AddressSanitizer": ("address", "__asan_init", ("libasan.so", "libclang_rt.asan")),
    "HWAddressSanitizer": ("hwaddress", "__hwasan_init", ("libhwasan.so", "libclang_rt.hwasan")),
    "ThreadSanitizer": ("thread", "__tsan_init", ("libtsan.so", "libclang_rt.tsan")),
    "MemorySanitizer": ("memory", "__msan_init", ("libmsan.so", "libclang_rt.msan")),
    "LeakSanitizer": ("leak", "__lsan_init", ("liblsan.so", "libclang_rt.lsan")),
}
_UBSAN = ("libubsan.so", "libclang_rt.ubsan")
_UBSAN_HANDLERS = "__ubsan_handle_"


def sanitizers(image: Image, companies: Iterable[Company]) -> Iterator[Finding]:
    """A sanitizer's runtime must be in the process from its start, once: otherwise it *ends* the host."""
    told: set[str] = set()
    for company in companies:
        host = base(company.where)
        around = {name for other in company.images for name in _names(other)}
        for name, (flag, symbol, files) in _SANITIZERS.items():
            brought, loaded = _runtime(_names(image), files), _runtime(around, files)
            ours = bool(brought) or symbol in image.imports or symbol in image.exports
            theirs = bool(loaded) or any(symbol in other.imports or symbol in other.exports for other in company.images)
            severity: Severity = "error"
            what, remedy = "", f"build both with -fsanitize={flag}, or neither"
            if ours and theirs and brought and brought != loaded:
                what = (
                    f"the library brings {brought} along, and {host} has another runtime of {name}: two end the process"
                )
                remedy = "build both with the same compiler"
            elif ours and not theirs:
                what = f"the library is built with {name} and {host} is not: opening it fails, or ends the host"
            elif theirs and not ours:
                severity = "warning"
                what = f"{host} is built with {name} and the library is not: {_UNSEEN.get(flag, _NOT_SEEN)}"
            if what and name not in told:
                told.add(name)
                yield Finding(what, image.path, remedy, severity)


def undefined_behaviour(image: Image, companies: Iterable[Company]) -> Iterator[Finding]:
    """Its runtime may come at any time, and code without it may be called; it must only be there."""
    if not _has_handlers(image.imports) or _runtime(image.needed, _UBSAN):
        return
    for company in companies:
        if not any(_has_handlers(names) for other in company.images for names in (other.imports, other.exports)):
            yield Finding(
                "the library is built with UndefinedBehaviorSanitizer, whose runtime neither it nor "
                f"{base(company.where)} brings: opening it fails",
                image.path,
                "build both with -fsanitize=undefined, or neither; -fsanitize-trap=undefined needs no runtime",
            )
            return


_NOT_SEEN = "errors in it are not seen"
_UNSEEN = {
    "thread": "its locks and accesses are not seen, so that reports may be false or missing",
    "memory": "what it writes counts as uninitialised, so that reports may be false",
}


def sanitizer_symbols(image: Image) -> frozenset[str]:
    """Imports that a sanitizer's runtime must give: the findings above speak for all of them."""
    prefixes = tuple(symbol.removesuffix("init") for _, symbol, _ in _SANITIZERS.values())
    return frozenset(name for name in image.imports if name.startswith((*prefixes, _UBSAN_HANDLERS)))


def _has_handlers(names: Iterable[str]) -> bool:
    return any(name.startswith(_UBSAN_HANDLERS) for name in names)


def _names(image: Image) -> tuple[str, ...]:
    return (*map(base, image.needed), image.soname, base(image.path))


def _runtime(names: Iterable[str], files: tuple[str, ...]) -> str:
    return min((name for name in names if name.startswith(files)), default="")


# --- words ----------------------------------------------------------------------------------------------------------


def listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def base(path: str) -> str:
    return path.rpartition("/")[2]


def _size(image: Image) -> str:
    return f"{max(1, image.size // 1024):,} KiB"
