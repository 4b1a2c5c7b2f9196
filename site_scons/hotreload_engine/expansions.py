"""Command lines and their signatures: expanded once for each target, not three to six times a pass.

SCons expands a link of a thousand objects anew for its signature, for its implicit dependencies (the linker itself) and
to run it, and forgets all of it with ``Node.clear``. None of it depends on what is *in* the files, so a session keeps
it. What functions in construction variables make of the world outside may change: ``recheck`` finds out when idle.

``$SOURCES`` is a list that SCons builds anew for every index; without an ``__iter__`` of its own (SCons up to 4.11) a
loop over it is quadratic.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import SCons.Action
import SCons.Executor

_VARYING = ("_get_changed_sources", "_get_changed_targets", "_get_unchanged_sources", "_get_unchanged_targets")
"""What an executor has memoised when a command asks for $CHANGED_SOURCES and the like: other in every pass."""


class Expansions:
    """Replaces three methods of SCons for the life of the process. Used from SCons's threads, each executor by one."""

    def __init__(self) -> None:
        self._contents: dict[Any, Any] = {}
        self._tools: dict[Any, Any] = {}
        self._lines: dict[Any, dict[int, Any]] = {}
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
        process = SCons.Action.CommandAction.process

        def kept_contents(executor: Any) -> Any:
            if executor not in self._contents:
                self._contents[executor] = get_contents(executor)
            return self._contents[executor]

        def kept_tools(executor: Any) -> Any:
            if executor not in self._tools:
                self._tools[executor] = get_implicit_deps(executor)
            return list(self._tools[executor])

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

        SCons.Executor.Executor.get_contents = kept_contents
        SCons.Executor.Executor.get_implicit_deps = kept_tools
        SCons.Action.CommandAction.process = kept_line
        SCons.Executor.TSList.__iter__ = lambda each: iter(each.func())


def _has_response_file(lines: Any) -> bool:
    """TEMPFILE writes one while the line is expanded, and it is gone after the command."""
    return any(str(word).startswith("@") for line in lines for word in line)
