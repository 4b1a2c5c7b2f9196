"""The fenced blocks of README.md and docs/*.md, for tests that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness import ROOT

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    page: str
    heading: str
    """The nearest one above it."""
    language: str
    text: str

    @property
    def name(self) -> str:
        """For a test's id: its place and its beginning."""
        return f"{self.page}: {self.heading}: {self.language}: {next(iter(self.text.split()), '')}"


def blocks() -> list[Block]:
    return [block for page in PAGES for block in _blocks(page)]


def block(page: str, language: str, contains: str = "") -> str:
    """The text of the only such block."""
    (found,) = (each.text for each in _blocks(page) if each.language == language and contains in each.text)
    return found


def example() -> dict[str, str]:
    """The files of the README's example."""
    return {
        "SConstruct": block("README.md", "python", 'HotLibrary("build/plug"'),
        "src/plug.h": block("README.md", "c", "HR_FUNCTIONS(plug"),
        "src/plug.c": block("README.md", "c", "HR_STATE(plug"),
        "src/main.c": block("README.md", "c", "HOTRELOAD_IMPLEMENTATION"),
    }


def shows(text: str, output: str, only: str = "") -> None:
    """Each line of a console block is one that was really printed, but for numbers, places and what "…" leaves out.

    Lines that are typed (``$ ``) or tell the reader something (``… ``) are none of ours. ``only``: those that match this.
    """
    printed = {shape(line) for line in output.splitlines()}
    lines = [line for line in text.splitlines() if line.strip() and not re.match(r"\$ | *… ", line) and re.match(only, line)]
    assert lines
    for line in lines:
        like = ".*".join(re.escape(part) for part in shape(line).split("…"))
        assert any(re.fullmatch(like, each) for each in printed), f"nothing like\n{shape(line)}\nin\n" + "\n".join(sorted(printed))


def shape(line: str) -> str:
    """What stays of a line of output from one run to the next."""
    line = re.sub(r"/\S*/build/", "/…/build/", line.rstrip())
    line = re.sub(r"(?<=crashed\.)[0-9a-f]+", "N", line).replace("short int", "short")
    line = re.sub(r"\d+([.,]\d+)*", "N", line)
    return re.sub(r"\bN s\b", "N ms", re.sub(r"\b(object|line|block)\b", r"\1s", line))


def _blocks(page: str) -> Iterator[Block]:
    heading = ""
    for match in re.finditer(r"^#+ ([^\n]*)$|^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S):
        if match[1] is not None:
            heading = match[1]
        else:
            yield Block(page, heading, match[2], match[3])
