"""VS Code's background problem matcher, by its own rules (problemCollectors.ts and problemMatcher.ts of microsoft/vscode)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Problem:
    file: str
    """Absolute."""
    line: int
    column: int
    """1 where the line has none."""
    severity: str
    message: str


class Collector:
    """Takes a task's lines, one by one, and has the problems that the Problems view would show.

    A begin counts while no build is under way, an end while one is; neither is looked at for a problem. What a build
    says about a file takes the place of what was said before; files that it says nothing about are cleared when it
    ends. Markers are handed on when another file's come, or a build begins or ends.
    """

    def __init__(self, matcher: dict[str, Any], folder: Path) -> None:
        self._pattern: dict[str, Any] = matcher["pattern"]
        self._regexp = re.compile(self._pattern["regexp"])
        self._begins, self._ends = (re.compile(matcher["background"][key]) for key in ("beginsPattern", "endsPattern"))
        self._kind, prefix = matcher["fileLocation"]
        self._prefix = Path(prefix.replace("${workspaceFolder}", str(folder)))
        self.active: bool = matcher["background"]["activeOnStart"]
        self._shown: dict[str, list[Problem]] = {}
        self._found: dict[str, list[Problem]] = {}
        self._to_clean: set[str] = set()
        self._current = ""
        self.builds = 0
        """That have ended."""

    @property
    def problems(self) -> list[Problem]:
        return [problem for problems in self._shown.values() for problem in problems]

    def take(self, line: str) -> None:
        if not self.active and self._begins.search(line):
            self.active = True
            self._found.clear()
            self._current = ""
            self._to_clean |= self._shown.keys()
        elif self.active and self._ends.search(line):
            self.active = False
            self.builds += 1
            self._hand_on()
            self._current = ""
            for file in self._to_clean:
                del self._shown[file]
            self._to_clean.clear()
            self._found.clear()
        elif problem := self._problem(line):
            self._to_clean.discard(problem.file)
            found = self._found.setdefault(problem.file, [])
            if problem not in found:
                found.append(problem)
            if problem.file != self._current:
                self._hand_on()
                self._current = problem.file

    def _hand_on(self) -> None:
        if self._current:
            self._shown[self._current] = list(self._found[self._current])

    def _problem(self, line: str) -> Problem | None:
        match = self._regexp.search(line)
        if match is None:
            return None
        file, row, column, severity, message = (
            match[self._pattern[key]] for key in ("file", "line", "column", "severity", "message")
        )
        return Problem(self._place(file), int(row), int(column or 1), severity or "error", message.strip())

    def _place(self, file: str) -> str:
        """autoDetect: relative to the folder if there is such a file, else as it is."""
        assert self._kind == "autoDetect"
        beside = Path(f"{self._prefix}/{file}")
        return str(beside if beside.is_file() else Path(file))
