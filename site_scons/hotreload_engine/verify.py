"""Images and contract → Verdict, with all findings at once. Pure: no disk, no process; publishes nothing.

What the builder can see will fail in a host is refused here, before it is published. ``_PLUGIN_CHECKS`` is the list of
what is looked at: a check is a function from the case to its findings, and knows nothing of the others.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from . import preflight
from .model import Company, Finding, Image, Verdict
from .preflight import base, listed

_LINKERS_OWN = frozenset({"_init", "_fini", "_edata", "_end", "__bss_start"})
"""Symbols that older linkers define in every file."""

_NEAR = 0.8
"""difflib's ratio above which a name may be a renamed one; a prefix shared by all of a plugin's names reaches 0.7."""


@dataclass(frozen=True)
class _Case:
    """All that a check may look at."""

    image: Image
    functions: tuple[str, ...]
    companies: tuple[Company, ...]
    siblings: tuple[Image, ...]
    target: tuple[str, int] | None
    """Machine and bits that the library must be for; None when nobody knows."""
    target_name: str


def plugin(
    image: Image,
    functions: Iterable[str],
    host: Image | None = None,
    companies: Iterable[Company] = (),
    machine: tuple[str, int] | None = None,
    siblings: Iterable[Image] = (),
) -> Verdict:
    """Whether hosts can take ``image``.

    ``functions``: what running hosts look up by name. ``host``: the program that loads it, if known. ``companies``:
    what it finds in each running host, or in ``host`` where none runs. ``machine``: (machine, bits) of this computer as
    in ``Image``, used when no host is known. ``siblings``: the other plugins of the project.
    """
    case = _Case(
        image,
        tuple(dict.fromkeys(functions)),
        tuple(companies),
        tuple(siblings),
        (host.machine, host.bits) if host else machine,
        "the host" if host else "this computer",
    )
    return Verdict(
        tuple(finding for check in _PLUGIN_CHECKS for finding in check(case)), bool(preflight.dangling(image))
    )


def host(image: Image, plugins: Iterable[Image]) -> Verdict:
    """Whether a linked hot host keeps its plugins out of DT_NEEDED.

    With DT_NEEDED the plugin's first copy is in the global scope of symbols, and every later generation's own calls to
    its non-static functions and data bind to that old copy: old and new code mixed, and no error (dlsym(3), ld.so(8)).
    """
    needed = {base(name) for name in image.needed}
    return Verdict(
        tuple(
            Finding(
                f"the host is linked to {base(library.path)} after all, so that new generations would call old code: "
                + _pulled(image, library),
                image.path,
                "call the plugin only through its table of function pointers (HR_TABLE), and link it behind "
                "-Wl,--as-needed; release=1 links it for good",
            )
            for library in plugins
            if needed & {base(library.path), library.soname}
        )
    )


def _pulled(image: Image, library: Image) -> str:
    """Why the linker kept the library. Data that the host uses directly is *defined* in it too (a copy relocation)."""
    used = sorted(image.imports & library.exports)
    if used:
        return f"it uses {listed(used)} directly"
    both = sorted((image.exports & library.exports) - _LINKERS_OWN)
    if both:
        return f"no function of it is used, but both have {listed(both)}: a variable that the host uses directly?"
    return "it uses nothing of it, so it was linked without -Wl,--as-needed before it"


# --- the checks of a plugin ---------------------------------------------------------------------------------


def _is_program(image: Image) -> bool:
    return image.kind == "EXEC" or "PIE" in image.flags


def _is_library(case: _Case) -> Iterator[Finding]:
    if _is_program(case.image):
        yield Finding(
            "this is a program, not a shared library", case.image.path, "link it with -shared (SharedLibrary)"
        )
    elif "NOOPEN" in case.image.flags:
        yield Finding("this library forbids being opened", case.image.path, "link it without -z nodlopen")


def _is_for_target(case: _Case) -> Iterator[Finding]:
    image = case.image
    if case.target and (image.machine, image.bits) != case.target:
        yield Finding(
            f"the library is for {_machine(image.machine, image.bits)}, {case.target_name} is {_machine(*case.target)}",
            image.path,
            "build both with the same compiler for the same machine",
        )


def _has_functions(case: _Case) -> Iterator[Finding]:
    image = case.image
    if _is_program(image):
        return  # it exports nothing: to say so of each function would hide the one reason
    others = image.exports.difference(case.functions)
    for name in case.functions:
        if name in image.exports:
            continue
        mangled = sorted(other for other in others if other.startswith(f"_Z{len(name)}{name}"))
        near = difflib.get_close_matches(name, sorted(others), 1, _NEAR)
        if name in image.imports:
            hint, remedy = " but uses it", "add the source file that defines it to the library"
        elif mangled:
            hint, remedy = f" (it has the C++ function {mangled[0]})", 'declare it extern "C"'
        elif near:
            hint = f" (renamed? it has {near[0]})"
            remedy = f"name it {name} again, or change the list and build and start the host again"
        else:
            hint = ""
            remedy = (
                "define it, with C linkage, not static and not hidden; "
                "or take it out of the list and build and start the host again"
            )
        yield Finding(
            f"the host's list has the function {name}, the library does not define it{hint}", image.path, remedy
        )


def _has_no_loose_ends(case: _Case) -> Iterator[Finding]:
    told = preflight.sanitizer_symbols(case.image) | frozenset(case.functions)
    for company in case.companies:
        for name in sorted((company.undefined or frozenset()) - told):
            if "@" not in name:  # a version in the name: the loader's business
                yield Finding(
                    f"undefined symbol {name}: neither the library, nor the host, nor a library that they load "
                    "defines it",
                    case.image.path,
                    "define it, link the library that defines it, or export it from the host (-rdynamic)",
                    "error" if company.runs else "warning",
                )
        told |= company.undefined or frozenset()


def _stands_alone(case: _Case) -> Iterator[Finding]:
    """A plugin that is linked to another keeps the copy of it that it was loaded with, whatever is reloaded."""
    needed = {base(name) for name in case.image.needed}
    for other in case.siblings:
        if needed & {base(other.path), other.soname}:
            used = sorted(case.image.imports & other.exports)
            yield Finding(
                f"the library is linked to another plugin, {base(other.path)}"
                + (f" (it uses {listed(used)})" if used else "")
                + ": it would go on with the old code of that one",
                case.image.path,
                "let the host hand it that plugin's table of functions (see hotreload.h, SEVERAL PLUGINS), and link "
                "without it",
            )


def _fits_into_hosts(case: _Case) -> Iterator[Finding]:
    if _is_program(case.image):
        return
    for check in (
        preflight.needs,
        preflight.sanitizers,
        preflight.undefined_behaviour,
        preflight.interposed,
        preflight.mistaken,
    ):
        yield from check(case.image, case.companies)
    for look in (preflight.static_thread_storage, preflight.pages, preflight.outlives, preflight.stays):
        yield from look(case.image)


_PLUGIN_CHECKS: tuple[Callable[[_Case], Iterator[Finding]], ...] = (
    _is_library,
    _is_for_target,
    _has_functions,
    _has_no_loose_ends,
    _stands_alone,
    _fits_into_hosts,
)


# --- words --------------------------------------------------------------------------------------------------


def _machine(machine: str, bits: int) -> str:
    return f"{machine.removeprefix('EM_').lower().replace('_', '-')} ({bits} bit)"
