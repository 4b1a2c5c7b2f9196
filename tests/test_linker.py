"""HOTRELOAD_LINKER chooses who links plugins, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ticker
from harness import Project, need, project


def laid(made: Project, linker: str, path: str = "") -> None:
    ticker.lay(made)
    setting = f"tools=['default', 'hotreload'], HOTRELOAD_LINKER={linker!r}, "
    made.edit("SConstruct", 'tools=["default", "hotreload"], ', setting)
    if path:
        made.edit("SConstruct", "plug = ", f"env['ENV']['PATH'] = {path!r}\nplug = ")


def linked_by(library: Path) -> str:
    """lld and mold leave their names in .comment; GNU ld leaves none."""
    found = re.search(rb"Linker: [^\0]*LLD|mold [0-9]", library.read_bytes())
    return {b"L": "lld", b"m": "mold"}[found[0][:1]] if found else ""


@pytest.mark.parametrize("linker", ["mold", "lld"])
def test_a_plugin_is_linked_by_the_linker_that_is_named_and_reloads(tmp_path: Path, linker: str) -> None:
    """The plugin, not its host; running code is replaced as ever."""
    need(f"ld.{linker}", linker)
    with project(tmp_path / "project") as made:
        laid(made, linker)
        watch = made.watch()
        assert linked_by(made.path("build/libplug.so")) == linker
        assert linked_by(made.path("build/main")) == ""
        host = made.host()
        ticker.runs(host, 1)
        ticker.set_number(made, 2)
        watch.reloaded()
        ticker.runs(host, 2)


def test_the_default_is_the_projects_own_linker(tmp_path: Path) -> None:
    """Nothing is chosen for anybody who has not asked."""
    with project(tmp_path / "project") as made:
        laid(made, "")
        made.scons("-Q")
        assert linked_by(made.path("build/libplug.so")) == ""


def test_auto_takes_what_is_installed(tmp_path: Path) -> None:
    """lld before mold; neither, and the project's own it is."""
    with project(tmp_path / "project") as made:
        tools = tmp_path / "bin"
        tools.mkdir()
        for name in ("gcc", "ld", "as"):
            (tools / name).symlink_to(need(name))
        laid(made, "auto", str(tools))
        assert "-fuse-ld" not in made.scons("-n")
        (tools / "ld.mold").symlink_to("/bin/true")
        assert "-fuse-ld=mold" in made.scons("-n")
        (tools / "ld.lld").symlink_to("/bin/true")
        assert "-fuse-ld=lld" in made.scons("-n")


@pytest.mark.parametrize(("linker", "words"), [("gold", "'mold', 'lld'"), ("mold", "install mold")])
def test_a_linker_that_cannot_be_had_is_an_error_with_its_remedy(tmp_path: Path, linker: str, words: str) -> None:
    """Not a link that fails later, nor another linker than the one asked for."""
    with project(tmp_path / "project") as made:
        (tmp_path / "empty").mkdir()
        laid(made, linker, str(tmp_path / "empty"))
        assert words in made.scons("-n", code=2)
