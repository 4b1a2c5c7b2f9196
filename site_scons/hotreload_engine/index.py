"""From files and names to nodes, and from nodes to those that depend on them: what a change concerns.

The map is always as wide as the truth or wider: evaluating a node too many costs time, one too few a stale target.
Knows nodes only through ``scons_internals``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from . import scons_internals as scons

_JUNK = re.compile(r"(4913|.*~|\.#.*|#.*#|\..*\.sw.|.*\.sw[a-p]x?|\.sconsign.*)$")
"""Names of editors' probes, backups, locks and swap files, and SCons's own."""


class Index:
    """Owned by one thread; ``knows`` may be called from others."""

    def __init__(self, places: scons.Places, hooks: scons.Hooks, tops: Iterable[Any]) -> None:
        self.objects = 0
        self.timestamps_matter = False
        """Some target is rebuilt for another time of a file though its content is the same."""
        self.always: set[Any] = set()
        """Targets that scons builds every time."""
        self.there: dict[str, bool] = {}
        """Whether a path existed when it was last looked at. Not of those that a later pass finds: a name that is new
        then may be news to others that looked for it, until its event has come."""
        self._learning = True
        """Until the first build is indexed."""
        self._places = places
        self._hooks = hooks
        self.tops = set(tops)
        self._parents: dict[Any, list[Any]] = {}
        self._later: dict[Any, list[Any]] = {}
        """Node → those that want it built before them, and no more (Requires)."""
        self._dependencies: dict[Any, tuple[list[Any], list[Any]]] = {}
        self._last_asked: tuple[Any, set[Any] | None] = None, None
        self._paths: set[str] = set()
        self._held: dict[str, set[Any]] = {}
        """Directory that something real depends on → its nodes."""
        self._new_directories: set[str] = set()
        self._new_inputs: set[str] = set()
        self._directories: frozenset[str] = frozenset()
        self._inputs: frozenset[str] = frozenset()

    # --- learning --------------------------------------------------------------------------------------------------

    def add(self, nodes: Collection[Any]) -> list[Any]:
        """Index these nodes again and all that is new below them. Returns those that are new."""
        fresh: list[Any] = []
        stack = list(nodes)
        again = set(nodes)
        while stack:
            node = stack.pop()
            if node in self._dependencies:
                if node not in again:
                    continue
                again.discard(node)
            else:
                fresh.append(node)
                self._place(node)
            stack.extend(self._connect(node))
        self._learning = False
        return fresh

    def _connect(self, node: Any) -> list[Any]:
        """Bring the edges to the node's dependencies up to date; those that are new to it."""
        now = scons.dependencies(node), list(scons.prerequisites(node))
        before = self._dependencies.get(node, ((), ()))
        self._dependencies[node] = now
        self._last_asked = None, None
        if before == now:
            return []
        added = []
        for kind, edges in enumerate((self._parents, self._later)):
            old, new = set(before[kind]), set(now[kind])
            for child in old - new:
                edges[child].remove(node)
            for child in new - old:
                self._join(edges, child, node)
                added.append(child)
        return added + [other for other in scons.made_together(node) if other not in self._dependencies]

    def _join(self, edges: dict[Any, list[Any]], child: Any, parent: Any) -> None:
        """The one place where an edge comes into the map."""
        edges.setdefault(child, []).append(parent)
        if scons.is_directory(child) and not scons.is_transparent(parent):
            self._held.setdefault(child.get_abspath(), set()).add(child)

    def _place(self, node: Any) -> None:
        if scons.is_always_built(node):
            self.always.add(node)
        if scons.is_object(node):
            self.objects += 1
        if scons.has_own_decider(node) or (scons.is_derived(node) and not scons.decides_by_content(node)):
            self.timestamps_matter = True
        if scons.is_directory(node):
            self._new_directories.add(node.get_abspath())
            return
        if not scons.is_file(node):
            return
        own = node.get_abspath()
        paths = [own] if scons.is_derived(node) else [own, *self._places.sources_of(own)]
        for path in paths:
            self._paths.add(path)
            self._new_directories.add(os.path.dirname(path))
            if self._learning:
                self.there[path] = os.path.lexists(path)
            if not scons.is_derived(node) and (path != own or len(paths) == 1 or not node.duplicate):
                self._new_inputs.add(path)

    # --- what is known ---------------------------------------------------------------------------------------------

    def directories(self) -> frozenset[str]:
        """Every directory in which a change may matter. Never shrinks: what was looked at once may be again."""
        new = (self._new_directories | self._hooks.searched_paths) - self._directories
        self._new_directories = set()
        if new:
            self._directories |= new
        return self._directories

    def inputs(self) -> frozenset[str]:
        if self._new_inputs:
            self._inputs |= self._new_inputs
            self._new_inputs = set()
        return self._inputs

    def knows(self, path: str) -> bool:
        """Whether a change of this name may matter. Any thread."""
        if path in self._paths:
            return True
        name = os.path.basename(path)
        if name in self._hooks.seekers:
            return True
        return bool(self._held) and not _JUNK.match(name) and bool(self.holders(path))

    def holders(self, path: str) -> set[Any]:
        """Directories that something depends on and that have the path in them."""
        found: set[Any] = set()
        above = os.path.dirname(path)
        while above != "/":
            if above in self._held:
                found |= self._held[above]
            above = os.path.dirname(above)
        return found

    def parents(self, node: Any) -> list[Any]:
        return self._parents.get(node, [])

    def is_known(self, node: Any) -> bool:
        return node in self._dependencies

    def of(self, node: Any) -> list[Any]:
        """What the node depends on, as indexed."""
        return self._dependencies.get(node, ([], []))[0]

    def is_new_to(self, target: Any, node: Any) -> bool:
        """Whether a known target did not depend on the node when it was indexed."""
        if self._last_asked[0] is not target:
            known = self._dependencies.get(target)
            self._last_asked = target, set(known[0]) if known else None
        before = self._last_asked[1]
        return before is not None and node not in before

    # --- what a change concerns ------------------------------------------------------------------------------------

    def closure(self, changed: Iterable[Any]) -> set[Any]:
        closure: set[Any] = set()
        stack = list(changed)
        while stack:
            node = stack.pop()
            if node in closure:
                continue
            closure.add(node)
            stack.extend(self._parents.get(node, ()))
            stack.extend(scons.made_together(node))
        return closure

    def reduced(self, closure: set[Any]) -> tuple[set[Any], list[Any]]:
        """Without the nodes that only stand for others and that nothing real depends on; and where the Taskmaster is to
        begin: what was asked for, directly or through such nodes."""
        wanted = self._wanted(closure)
        needed = {node for node in closure if wanted(node)}
        tops = [
            node
            for node in needed
            if node in self.tops
            or (scons.is_derived(node) and (node in self._later or not needed.issuperset(self.parents(node))))
        ]
        return needed, sorted(tops, key=str)

    def _wanted(self, closure: set[Any]) -> Callable[[Any], bool]:
        answers: dict[Any, bool] = {}

        def wanted(node: Any) -> bool:
            if not scons.is_transparent(node):
                return True
            if node not in answers:
                answers[node] = False  # a cycle of directories adds nothing
                answers[node] = any(parent in closure and wanted(parent) for parent in self.parents(node))
            return answers[node]

        return wanted
