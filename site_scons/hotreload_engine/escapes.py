"""Escape sequences in text: a terminal's colours (ECMA-48), titles and links (OSC 8, gcc's -fdiagnostics-urls)."""

from __future__ import annotations

import re

_SEQUENCE = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"


def plain(text: str) -> str:
    """Without them."""
    return re.sub(_SEQUENCE, "", text)
