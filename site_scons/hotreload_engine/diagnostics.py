"""What compilers print, errors before warnings. Text in, text out: for a person; events keep it as it was printed."""

from __future__ import annotations

import re

from .escapes import plain

_FOUND = r"(?P<place>[^\s:][^:]*:(\d+:)*) (?P<kind>fatal error|error|warning|note|Fehler|Warnung)\b"
_TITLE = r"[^\s:][^:]*: (In |At )|In file included from |\s+from .*[:,]$"
"""What gcc says before a diagnostic: the function, the way of inclusion."""
_OTHERS = r"(\S*/)?(ld|ld\.\w+|collect2|make|scons|clang(\+\+)?|gcc|g\+\+|cc1\w*|\d+ (warning|error)s?)\b"
_FAILED = r"\berror\b|undefined reference"


def errors_first(text: str) -> str:
    """The same lines, those of warnings behind all others. Nothing moves where there are no errors, or no warnings.

    A diagnostic goes with its title (the function), its notes and its lines of source; what has no known form stays
    where it is, before the warnings.
    """
    blocks = _blocks(text.rstrip("\n").split("\n"))
    if not {"error", "warning"} <= {kind for kind, _, _ in blocks}:
        return text
    moved = [block for block in blocks if block[0] != "warning"] + [block for block in blocks if block[0] == "warning"]
    out: list[str] = []
    title: list[str] = []
    for _, its, lines in moved:
        if its != title:
            out += its
        title = its
        out += lines
    return "\n".join(out) + "\n"


def _blocks(lines: list[str]) -> list[tuple[str, list[str], list[str]]]:
    """(error, warning or other; its title; its lines)."""
    blocks: list[tuple[str, list[str], list[str]]] = []
    title: list[str] = []
    fresh = False
    """The last line was one of a title."""
    for line in lines:
        words = plain(line)  # -fdiagnostics-color
        found = re.match(_FOUND, words)
        kind = "warning" if found and found["kind"] in ("warning", "Warnung") else "error" if found else "other"
        if found and found["kind"] == "note" and blocks:
            blocks[-1][2].append(line)
        elif found:
            blocks.append((kind, title, [line]))
        elif re.match(_TITLE, words):
            title = [*title, line] if fresh else [line]
            fresh = True
            continue
        elif re.match(_OTHERS, words) or not blocks:
            title = []
            blocks.append(("error" if re.search(_FAILED, words) else "other", [], [line]))
        else:
            blocks[-1][2].append(line)
        fresh = False
    if fresh:
        blocks.append(("other", title, []))
    return blocks
