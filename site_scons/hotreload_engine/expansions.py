"""Command lines and their signatures: expanded once for each target, not three to six times a pass.

SCons expands a link of a thousand objects anew for its signature, for its implicit dependencies (the linker itself) and
to run it, and forgets all of it with ``Node.clear``. None of it depends on what is *in* the files, so a session keeps
it. What functions in construction variables make of the world outside may change: ``recheck`` finds out when idle.

Files that no scanner reads (the objects of a library) are passed over when a target's sources are scanned again, which
SCons does whenever one of them was built.

Which program a command runs is told by its first word; SCons expands the whole line for that. Where the line begins
with a variable that is a plain string, this word is known without. The Python in ``${…}`` is compiled once.

``$SOURCES`` is a list that SCons builds anew for every index; without an ``__iter__`` of its own (SCons up to 4.11) a
loop over it is quadratic.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import SCons.Action
import SCons.Builder
import SCons.Executor
import SCons.Node.FS
import SCons.Subst

_BEGINS_WITH_VARIABLE = re.compile(r"\$(?:(\w+)|{(\w+)}) [^\n]*")
_IS_VARIABLE = re.compile(r"\$(?:(\w+)|{(\w+)})")
_PLAIN = re.compile(r"([\w./+-]+)( [^$\n]*)?")
_VARYING = ("_get_changed_sources", "_get_changed_targets", "_get_unchanged_sources", "_get_unchanged_targets")
"""What an executor has memoised when a command asks for $CHANGED_SOURCES and the like: other in every pass."""


class Expansions:
    """Replaces five methods of SCons, and what it evaluates with, for the life of the process. Used from SCons's
    threads, each executor by one."""

    def __init__(self) -> None:
        self._contents: dict[Any, Any] = {}
        self._tools: dict[Any, Any] = {}
        self._lines: dict[Any, dict[int, Any]] = {}
        self._suffixes: dict[Any, str] = {}
        self._of_one_line = threading.local()
        self._to_check: deque[Any] = deque()
        self._install()

    def recheck(self) -> list[Any]:
        """Expand one target's command again, of those used lately; nodes to build if it is another one now.

        Call it until it answers None.
        """
        executor = self._to_check.popleft()
        kept = self._contents.pop(executor, None)
        executor._memo.pop("get_contents", None)
        now = executor.get_contents()
        if kept is None or now == kept:
            return []
        self._forget(executor)
        return list(executor.get_all_targets())

    def forget(self, nodes: Iterable[Any]) -> None:
        """The commands of these targets: files that they name came or went, and with them paths and tools."""
        for node in nodes:
            if (executor := getattr(node, "executor", None)) is not None:
                self._contents.pop(executor, None)
                self._forget(executor)

    def _forget(self, executor: Any) -> None:
        self._tools.pop(executor, None)
        self._lines.pop(executor, None)

    @property
    def to_check(self) -> bool:
        """Whether ``recheck`` has something left to do."""
        return bool(self._to_check)

    def _install(self) -> None:
        get_contents = SCons.Executor.Executor.get_contents
        get_implicit_deps = SCons.Executor.Executor.get_implicit_deps
        scan = SCons.Executor.Executor.scan
        process = SCons.Action.CommandAction.process
        lightweight = SCons.Action.CommandAction._get_implicit_deps_lightweight

        def kept_contents(executor: Any) -> Any:
            if executor not in self._contents:
                self._contents[executor] = get_contents(executor)
            return self._contents[executor]

        def kept_tools(executor: Any) -> Any:
            if executor not in self._tools:
                self._of_one_line.now = _is_plain(executor) and b"\n" not in executor.get_contents()
                try:
                    self._tools[executor] = get_implicit_deps(executor)
                finally:
                    self._of_one_line.now = False
            return list(self._tools[executor])

        def first_word(action: Any, target: Any, source: Any, env: Any, *executor: Any) -> Any:
            if getattr(self._of_one_line, "now", False) and (word := _first_word(action.cmd_list, env)):
                program = env.WhereIs(word)
                return [env.fs.File(program)] if program else []
            return lightweight(action, target, source, env, *executor)

        def kept_line(
            action: Any, target: Any, source: Any, env: Any, executor: Any = None, *more: Any, **named: Any
        ) -> Any:
            # `more`: overrides, which 4.4 does not have
            if executor is None or any(more) or any(named.values()) or len(executor.batches) != 1:
                return process(action, target, source, env, executor, *more, **named)
            lines, key = self._lines.setdefault(executor, {}), id(action)  # 4.4's actions have no hash
            if key not in lines:
                found = process(action, target, source, env, executor)
                if any(name in executor._memo for name in _VARYING) or _has_response_file(found[0]):
                    return found
                lines[key] = *found, action  # held: an id is used again
            self._to_check.append(executor)
            words, ignore, silent, _ = lines[key]
            return [list(line) for line in words], ignore, silent

        def scan_what_is_read(executor: Any, scanner: Any, nodes: Any) -> None:
            scan(executor, scanner, nodes if scanner else self._with_scanner(nodes, executor.get_build_env()))

        SCons.Executor.Executor.get_contents = kept_contents
        SCons.Executor.Executor.get_implicit_deps = kept_tools
        SCons.Executor.Executor.scan = scan_what_is_read
        SCons.Action.CommandAction._get_implicit_deps_lightweight = first_word
        SCons.Action.CommandAction.process = kept_line
        SCons.Subst.eval = _evaluate
        SCons.Executor.TSList.__iter__ = lambda each: iter(each.func())

    def _with_scanner(self, nodes: Iterable[Any], environment: Any) -> list[Any]:
        """As ``Node._get_scanner`` finds it when the builder names none: by the suffix."""
        suffixes, found, left = self._suffixes, {}, []
        for node in nodes:
            if type(node) is SCons.Node.FS.File:
                suffix = suffixes.get(node)
                if suffix is None:
                    suffix = suffixes[node] = node.scanner_key()
                if suffix not in found:
                    found[suffix] = bool(environment.get_scanner(suffix))
                if not found[suffix]:
                    continue
            left.append(node)
        return left


def _is_plain(executor: Any) -> bool:
    """Whether what it runs is a command line in variables, chosen by no function of the project's."""
    actions = executor.get_action_list()
    if len(actions) != 1:
        return False
    by_suffix = isinstance(getattr(actions[0], "generator", None), SCons.Builder.DictCmdGenerator)
    return by_suffix or type(actions[0]) in (SCons.Action.CommandAction, SCons.Action.LazyAction)


@lru_cache(maxsize=10_000)
def _compiled(expression: str) -> Any:
    return compile(expression.lstrip(" \t"), "<string>", "eval")


def _evaluate(expression: Any, *names: Any) -> Any:
    return eval(_compiled(expression) if type(expression) is str else expression, *names)


def _first_word(line: Any, env: Any) -> str:
    """The first word of a command line of one line; "" when only an expansion tells."""
    for _ in range(9):  # ${SHCCCOM} is $SHCC -o …, $SHCC is $CC, $CC is gcc
        if type(line) is not str:
            return ""
        if plain := _PLAIN.fullmatch(line):
            return plain[1]
        found = _IS_VARIABLE.fullmatch(line) or _BEGINS_WITH_VARIABLE.fullmatch(line)
        line = env.get(found[1] or found[2]) if found else None
    return ""


def _has_response_file(lines: Any) -> bool:
    """TEMPFILE writes one while the line is expanded, and it is gone after the command."""
    return any(str(word).startswith("@") for line in lines for word in line)
