"""Tiny real libraries and programs for the tests of elf.py and verify.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness import need
from hotreload_engine import elf
from hotreload_engine.model import Image

PLUGIN = """
#include <stdio.h>
int plug_count;
static int hidden_by_static;
__attribute__((visibility("hidden"))) int plug_hidden(void) { return hidden_by_static++; }
__attribute__((visibility("protected"))) int plug_protected(void) { return 2; }
__attribute__((weak)) int plug_weak(void) { return 3; }
__attribute__((weak)) int perhaps(void);
void plug_hello(void) { printf("Hello Link %d\\n", plug_count + plug_hidden()); }
void plug_bye(void) { plug_hello(); if (perhaps) perhaps(); }
"""


def build(directory: Path, name: str, source: str, *flags: str, compiler: str = "gcc") -> Path:
    """Compile one source (C, or C++ where flags say so) to ``name``; fails the test with the compiler's words."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    text = path.with_name(path.name + ".c")
    text.write_text(source, encoding="utf-8")
    command = [need(compiler), str(text), "-o", str(path), *flags]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return path


def library(directory: Path, name: str, source: str, *flags: str, compiler: str = "gcc") -> Path:
    return build(directory, name, source, "-g", "-fPIC", "-shared", *flags, compiler=compiler)


def read(path: Path) -> Image:
    return elf.read(path.read_bytes(), str(path))
