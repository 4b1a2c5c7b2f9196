"""Images and contract → Verdict, with all findings at once. Pure: no disk, no process.

What the builder can see will fail in a host is refused here, before it is published.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from .model import Finding, Image, Verdict


def plugin(
    image: Image, functions: Iterable[str], host: Image | None = None, available: frozenset[str] | None = None
) -> Verdict:
    """Whether hosts can take ``image``.

    ``functions``: what running hosts look up by name. ``host``: the program that loads it, if known. ``available``:
    every name that the hosts and their libraries define; None when that cannot be told, and then nothing is said of it.
    """
    return Verdict(
        (
            *_kind(image),
            *_machine(image, host),
            *_missing_functions(image, functions),
            *_undefined(image, available),
        )
    )


def host(image: Image, plugins: Iterable[Image]) -> Verdict:
    """Whether a linked hot host keeps its plugins out of DT_NEEDED.

    With DT_NEEDED the plugin's first copy is in the global scope of symbols, and every later generation's own calls to
    its non-static functions and data bind to that old copy: old and new code mixed, and no error (dlsym(3), ld.so(8)).
    """
    findings = []
    for library in plugins:
        name = library.path.rpartition("/")[2]
        if {name, library.soname} & set(image.needed):
            pulled = sorted(image.imports & library.exports)
            used = ", ".join(pulled) if pulled else "no symbol: it is linked without -Wl,--as-needed"
            findings.append(
                Finding(
                    f"the host is linked to {name} after all, so later generations would run old code; it uses {used}",
                    image.path,
                    "call the plugin only through its table of function pointers (HR_TABLE); release=1 links for good",
                )
            )
    return Verdict(tuple(findings))


def _kind(image: Image) -> list[Finding]:
    if image.kind == "DYN":
        return []
    return [Finding(f"this is not a shared library (ELF type {image.kind})", image.path, "link it with -shared")]


def _machine(image: Image, host: Image | None) -> list[Finding]:
    if host is None or (image.machine, image.bits) == (host.machine, host.bits):
        return []
    return [
        Finding(
            f"the library is for {image.machine}, {image.bits} bit; the host is for {host.machine}, {host.bits} bit",
            image.path,
            "build both with the same compiler",
        )
    ]


def _missing_functions(image: Image, functions: Iterable[str]) -> list[Finding]:
    findings = []
    wanted = list(functions)
    for name in wanted:
        if name not in image.exports:
            others = image.exports.difference(wanted)
            near = difflib.get_close_matches(name, others, 1)
            hint = f" (renamed? it has {near[0]})" if near else ""
            findings.append(
                Finding(
                    f"the host's list has the function {name}, the library does not define it{hint}",
                    image.path,
                    "define it, with C linkage and not static; or take it out of the list and build the host again",
                )
            )
    return findings


def _undefined(image: Image, available: frozenset[str] | None) -> list[Finding]:
    if available is None:
        return []
    return [
        Finding(
            f"undefined symbol {name}: neither the library, nor the host, nor a library that they load defines it",
            image.path,
            "define it, link the library that does, or export it from the host (-rdynamic)",
        )
        for name in sorted(image.imports - available - image.exports)
    ]
