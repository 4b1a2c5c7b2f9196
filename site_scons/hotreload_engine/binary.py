"""An ELF file's bytes, opened once for all who read it: that is a third of what reading a small one takes."""

from __future__ import annotations

import io
from functools import cached_property
from typing import Any


class Binary:
    """Bytes in memory; pyelftools looks at them when first asked, and raises whatever its parsing stumbles on then.

    Not for several threads: what is opened has one reading position.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    @classmethod
    def of(cls, data: bytes | Binary) -> Binary:
        return data if isinstance(data, Binary) else cls(data)

    @cached_property
    def file(self) -> Any:
        from elftools.elf.elffile import ELFFile

        return ELFFile(io.BytesIO(self.data))

    @cached_property
    def sections(self) -> list[Any]:
        """In their order; each look-up by name would walk them again."""
        return list(self.file.iter_sections())

    @cached_property
    def named(self) -> dict[str, Any]:
        """The last section of each name."""
        return {section.name: section for section in self.sections}
