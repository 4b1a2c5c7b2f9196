"""$HOTRELOAD_PCH: a header that the sources of plugins include first, compiled once for all of them.

It lies beside the library, ``heavy.h.c.pch/heavy.h.gch`` (gcc) or ``.pch`` (clang), or in ``heavy.h.c++.pch/``, and
sources are compiled with ``-include …/heavy.h.c.pch/heavy.h``. That file is empty, and it is what is compiled, with an
``-include`` of the header itself: both compilers look for the precompiled one beside it. gcc takes the empty one where
the other does not fit its flags, and the source's own ``#include`` does the work.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import SCons.Action
import SCons.Errors
import SCons.Tool
import SCons.Util
from SCons.Tool.cxx import CXXSuffixes

_SUFFIXES = {"gcc": ".gch", "clang": ".pch"}
"""Compiler → what it looks for beside a header."""
_BY_CONTENT = "-fpch-validate-input-files-content"
"""clang, making and using: else a header that was only touched, which is no news to scons, is an error."""
_LANGUAGES = {"c": ("SHCC", "SHCCCOM"), "c++": ("SHCXX", "SHCXXCOM")}


class PrecompiledHeaders:
    """Those of a process: libraries of one directory whose sources are compiled alike share one."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[Any, str], list[tuple[Any, str]]] = {}
        """Directory, name and language → headers of that name, each with how it is compiled, in the order of use."""
        self._made: dict[Any, tuple[Any, Any]] = {}  # its directory → header, precompiled

    def use(self, env: Any, target: Any, overrides: dict[str, Any]) -> Use | None:
        """For a library that ``env`` is going to build; None where no header is asked for. Changes ``overrides``."""
        wanted = overrides.pop("HOTRELOAD_PCH", env.get("HOTRELOAD_PCH"))
        header = _header(env, wanted)
        if header is None:
            return None
        places = {}
        settled, directory = env.Override(overrides), _directory(env, target)
        for language, (_, command) in _LANGUAGES.items():
            name = f"{header.name}.{language}"
            known = self._kinds.setdefault((directory, name), [])
            kind = (header, settled.subst(settled.get(command, "")))
            if kind not in known:
                known.append(kind)
            number = known.index(kind)
            places[language] = directory.Dir(f"{name}-{number + 1}.pch" if number else f"{name}.pch")
        return Use(self._made, env, header, places, overrides)

    def missing(self) -> Iterator[str]:
        """Headers that neither exist nor are made by anything."""
        for header, _ in self._made.values():
            if not (header.has_builder() or header.srcnode().rexists()):
                yield str(header.srcnode())


class Use:
    """A header for one library."""

    def __init__(
        self, made: dict[Any, tuple[Any, Any]], env: Any, header: Any, places: dict[str, Any], overrides: dict[str, Any]
    ) -> None:
        self._made = made
        self._env = env
        self._header = header
        self._places = places
        self._overrides = {name: value for name, value in overrides.items() if name not in ("chdir", "srcdir")}
        for language, variable in (("c", "SHCFLAGS"), ("c++", "SHCXXFLAGS")):
            path = places[language].File(header.name).get_path(env.fs.Top)
            flags = SCons.Util.CLVar(overrides.get(variable, env.get(variable, [])))
            ours = [_BY_CONTENT] if self._compiler(language)[1] == "clang" else []
            overrides[variable] = [*flags, *ours, "-include", path]

    def by(self, library: Any, source: Any) -> None:
        """What is compiled for ``library``, which was declared with ``source``, depends on the header."""
        given = {each for each in self._env.Flatten([source]) if not SCons.Util.is_String(each)}
        for target in library:
            for compiled in target.sources:
                if compiled not in given and compiled.sources:
                    language = self._language(compiled.sources[0])
                    if language:
                        self._env.Depends(compiled, self._precompiled(language))

    def _compiler(self, language: str) -> tuple[str, str]:
        """As it is called; gcc, clang, or nothing where its name does not tell."""
        command = self._env.Override(self._overrides).subst(f"${_LANGUAGES[language][0]}")
        names = program_names(command)
        if any("clang" in name for name in names):
            return command, "clang"
        return command, "gcc" if any("gcc" in name or "g++" in name for name in names) else ""

    def _language(self, source: Any) -> str:
        suffix = source.get_suffix()
        if suffix in (".m", ".mm"):
            raise _error(f"{source} is Objective-C: precompiled headers are made for C and C++")
        return "c" if suffix == ".c" else "c++" if suffix in CXXSuffixes else ""

    def _precompiled(self, language: str) -> Any:
        place = self._places[language]
        if place not in self._made:
            self._made[place] = (self._header, self._make(language, place))
        return self._made[place][1]

    def _make(self, language: str, place: Any) -> Any:
        env, settled = self._env, self._env.Override(self._overrides)
        variable = _LANGUAGES[language][1]
        compiler, kind = self._compiler(language)
        if not kind:
            raise _error(f"the compiler {compiler!r} is neither gcc nor clang, whose precompiled headers are known")
        as_header = "c++" if any("++" in name for name in program_names(compiler)) else language
        flags = f"{_BY_CONTENT} " if kind == "clang" else ""
        files = f"{flags}-x {as_header}-header -include ${{SOURCES[0]}} ${{TARGETS[1]}}"
        command = re.sub(r"\$\{?SOURCES?\b\}?", lambda match: files, settled[variable])
        made = env.Command(
            [place.File(self._header.name + _SUFFIXES[kind]), place.File(self._header.name)],
            self._header,
            [SCons.Action.Action(_write_empty, None), SCons.Action.Action(command, f"${variable}STR")],
            source_scanner=SCons.Tool.CScanner,
            **self._overrides,
        )
        env.NoCache(made)  # of this compiler in this place
        env.Clean(made, place)
        return made[0]


def program_names(command: str) -> list[str]:
    """The names that the programs of a command line go by: a compiler's behind ccache, behind a link."""
    words = [word for word in SCons.Util.CLVar(command) if not word.startswith("-")]
    return [os.path.basename(name) for word in words for name in (word, os.path.realpath(shutil.which(word) or word))]


def _header(env: Any, wanted: Any) -> Any:
    names = [each for each in env.Flatten([wanted]) if each]
    if len(names) > 1:
        raise _error(f"{' and '.join(map(str, names))}: there can be one, so make one header that includes them")
    if not names:
        return None
    try:
        return env.File(env.subst(names[0]) if SCons.Util.is_String(names[0]) else names[0])
    except TypeError:
        raise _error(f"{names[0]} is not a file") from None


def _directory(env: Any, target: Any) -> Any:
    first = env.Flatten([target])[0]
    if not SCons.Util.is_String(first):
        return first.get_dir()
    path = env.subst(first)
    return env.Dir(os.path.dirname(path) or ("#" if path.startswith("#") else "."))


def _write_empty(target: Any, source: Any, env: Any) -> None:
    with open(target[1].get_abspath(), "w", encoding="utf-8") as file:
        file.write(f"/* {source[0].name} is precompiled beside this */\n")


def _error(text: str) -> Exception:
    error: Exception = SCons.Errors.UserError(f"HOTRELOAD_PCH: {text}")
    return error
