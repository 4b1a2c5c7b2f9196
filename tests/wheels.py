"""A package index without a network: wheels packed from what is installed where the tests run."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import zipfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

RUNTIME = ("scons", "watchdog", "pyelftools")
"""What hotreload itself asks for."""
BACKEND = "hatchling"
"""What building it from its sources asks for."""


def with_needs(*names: str) -> set[str]:
    """These distributions and all that they ask for here."""
    found: set[str] = set()
    left = list(names)
    while left:
        if (name := canonicalize_name(left.pop())) not in found:
            found.add(name)
            wanted = map(Requirement, importlib.metadata.requires(name) or ())
            left += [each.name for each in wanted if not each.marker or each.marker.evaluate({"extra": ""})]
    return found


def pack(name: str, directory: Path) -> None:
    """Write a wheel of an installed distribution, its scripts and manual pages left out."""
    installed = importlib.metadata.distribution(name)
    root = Path(str(installed.locate_file("")))
    info = next(Path(str(file)).parts[0] for file in installed.files or [] if file.name == "METADATA")
    record = f"{info}/RECORD"
    lines = [f"{record},,"]
    with zipfile.ZipFile(directory / f"{info.removesuffix('.dist-info')}-py3-none-any.whl", "w") as wheel:
        for file in map(str, installed.files or []):
            if file.startswith("..") or file.endswith((".pyc", ".pth", "/RECORD")):
                continue
            data = (root / file).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            wheel.writestr(file, data)
            lines.append(f'"{file}",sha256={digest},{len(data)}')
        wheel.writestr(record, "\n".join(lines) + "\n")
