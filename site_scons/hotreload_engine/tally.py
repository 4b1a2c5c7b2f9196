"""What becomes of the fields of one object, counted and put in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

_KINDS = (
    "new", "gone", "renamed", "migrated", "widened", "narrowed", "converted", "re-mapped", "grown", "shrunk",
    "replaced", "anew",
)  # fmt: skip
"""In the order in which they are told."""


@dataclass
class Tally:
    kept: int = 0
    moved: int = 0
    kinds: dict[str, list[str]] = field(default_factory=dict)
    """``1 widened (hp: short → int)`` is made of these: kind → details."""

    def count(self, from_: int, to: int) -> None:
        """One field that goes over as it is."""
        if from_ == to:
            self.kept += 1
        else:
            self.moved += 1

    def note(self, kind: str, detail: str) -> None:
        details = self.kinds.setdefault(kind, [])
        if detail not in details:
            details.append(detail)

    def take(self, inner: Tally, titled: Callable[[str], str]) -> None:
        """Notes of an object within this one, each as it is called from here."""
        for kind, details in inner.kinds.items():
            for detail in details:
                self.note(kind, titled(detail))

    def words(self) -> str:
        parts = [f"{self.kept} kept"] if self.kept else []
        if self.moved:
            parts.append(f"{self.moved} moved")
        for kind in _KINDS:
            details = self.kinds.get(kind, [])
            if details:
                shown = ", ".join(details[:4]) + (f", … {len(details) - 4} more" if len(details) > 4 else "")
                parts.append(f"{len(details)} {kind} ({shown})")
        return ", ".join(parts)
