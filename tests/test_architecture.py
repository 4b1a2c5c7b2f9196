"""ARCHITECTURE.md's invariants that can be read from the source: who imports whom, and who knows what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ROOT

ENGINE = ROOT / "site_scons" / "hotreload_engine"
TOOL = ROOT / "site_scons" / "site_tools" / "hotreload.py"

IMPORTS: dict[str, set[str]] = {
    "__init__": set(),
    "model": set(),
    "processes": {"model"},
    "journal": {"model"},
    "escapes": set(),
    "diagnostics": {"escapes"},
    "screen": {"escapes"},
    "report": {"model", "diagnostics", "screen"},
    "notify": {"model"},
    "chronicle": {"model"},
    "page": {"escapes", "chronicle"},
    "page_file": {"model", "chronicle", "page"},
    "keys": set(),
    "files": set(),
    "ledger": set(),
    "watch": {"model", "files"},
    "audit": {"model", "files"},
    "commands": {"model"},
    "scons_internals": {"model", "files", "ledger"},
    "precompiled": set(),
    "index": {"scons_internals"},
    "fallback": {"model", "commands", "files"},
    "expansions": set(),
    "graph": {"model", "audit", "commands", "files", "ledger", "scons_internals", "index", "expansions", "fallback"},
    "binary": set(),
    "elf": {"model", "binary"},
    "lines": {"model"},
    "plan": set(),
    "mapped": {"binary"},
    "debug": set(),
    "dwarf_format": set(),
    "dwarf_units": {"binary", "debug", "dwarf_format"},
    "dwarf_sweep": {"debug", "dwarf_format", "dwarf_units"},
    "dwarf_same": {"debug", "dwarf_format", "dwarf_units", "dwarf_sweep"},
    "dwarf": {"model", "binary", "debug", "dwarf_format", "dwarf_units", "dwarf_sweep", "dwarf_same"},
    "kinds": {"debug"},
    "spelling": {"debug", "kinds"},
    "layout": {"binary", "debug", "dwarf", "mapped", "kinds"},
    "tally": set(),
    "compare": {"debug", "kinds", "layout"},
    "numeric": {"debug", "plan", "kinds"},
    "convert": {"debug", "plan", "kinds", "spelling", "layout", "tally", "compare", "numeric"},
    "initialisers": {"debug", "mapped", "kinds", "spelling"},
    "statics": {"debug", "plan", "kinds", "layout", "tally", "convert", "initialisers"},
    "landmarks": {"debug", "plan", "layout", "statics"},
    "blocks": {"debug", "plan", "kinds", "layout", "tally", "compare", "convert"},
    "migrate": {"debug", "plan", "spelling", "layout", "tally", "compare", "convert", "statics", "landmarks", "blocks"},
    "contract": {"debug"},
    "preflight": {"model"},
    "verify": {"model", "preflight"},
    "loader": {"model"},
    "slot": {"model"},
    "carry": {"model", "binary", "dwarf", "layout", "migrate", "plan", "slot"},
    "programs": {"model", "files", "debug", "dwarf", "layout", "contract", "slot"},
    "hosts": {"model", "processes", "slot"},
    "deliver": {"model", "journal", "files", "binary", "elf", "lines", "verify", "loader", "slot", "carry", "plan"}
    | {"programs", "hosts"},
    "foreign": {"model", "processes"},
    "together": {"model", "journal", "slot", "foreign", "deliver"},
    "once": {"model", "journal", "deliver", "slot", "hosts", "foreign", "together"},
    "handover": {"model", "slot", "hosts", "deliver"},
    "runner": {"model"},
    "relaunch": {"model", "processes"},
    "session": {
        "model",
        "journal",
        "elf",
        "files",
        "watch",
        "graph",
        "hosts",
        "deliver",
        "together",
        "handover",
        "runner",
        "relaunch",
        "screen",
        "notify",
        "page_file",
        "keys",
    },
    "tool": {"model", "journal", "report", "audit", "ledger", "graph", "once", "runner", "relaunch", "session"}
    | {"precompiled", "screen", "notify", "page_file"},
}
"""Module → modules of the engine that it may import. An edge is allowed because ARCHITECTURE.md's sentence says so;
names are in the order of the flow: a module may only import ones above it."""

FOR_TYPES_ONLY: set[tuple[str, str]] = set()
"""Imports under ``if TYPE_CHECKING`` that would run the wrong way if they ran."""

SCONS = {"scons_internals", "audit", "expansions", "tool", "precompiled"}
"""Who may import SCons."""

PURE = {"model", "diagnostics", "binary", "elf", "lines", "plan", "mapped", "debug", "dwarf", "layout", "contract", "preflight"}
PURE |= {"dwarf_format", "dwarf_units", "dwarf_sweep", "dwarf_same"}
PURE |= {"kinds", "spelling", "tally", "compare", "numeric", "convert", "initialisers", "statics", "landmarks", "blocks"}
PURE |= {"migrate", "verify", "escapes", "chronicle", "page"}
"""Bytes and values in, values out: no disk, no process, no clock that matters."""

PURE_LIBRARY = {
    "__future__", "bisect", "collections", "dataclasses", "difflib", "elftools", "enum", "functools",
    "hashlib", "html", "io", "itertools", "math", "operator", "re", "struct", "time", "typing", "zlib",
}  # fmt: skip
PURE_PATHS = {("pathlib", "PurePath"), ("pathlib", "PurePosixPath")}
NO_CALLS = {
    "open", "open_code", "FileIO", "exec", "eval", "compile", "__import__", "print", "input", "sleep",
    "load_from_path", "read_text", "read_bytes", "write_text", "write_bytes",
}  # fmt: skip

RUN_DIRECTORY = re.compile(r"\.hotreload(?!\w)|\.(newest|trouble)(?!\w)|\.(host|crashed|save|state)\.")


def sources() -> dict[str, Path]:
    return {path.stem: path for path in sorted(ENGINE.glob("*.py"))} | {"tool": TOOL}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def for_types_only(tree: ast.Module) -> set[ast.AST]:
    """Everything under ``if TYPE_CHECKING:``."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for child in node.body
        for inner in ast.walk(child)
    }


def imports(tree: ast.Module) -> Iterator[tuple[ast.AST, str, str]]:
    """(node, module, name): every import, wherever it stands; a relative one as of hotreload_engine."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            assert node.level < 2, "the engine has one level"
            module = ".".join(part for part in ("hotreload_engine" * node.level, node.module or "") if part)
            for alias in node.names:
                yield node, module, alias.name


def engine_imports(tree: ast.Module) -> set[str]:
    skipped = for_types_only(tree)
    found = set()
    for node, module, name in imports(tree):
        top, _, rest = module.partition(".")
        if top == "hotreload_engine" and node not in skipped:
            found.add(rest.partition(".")[0] or name or "__init__")
    return found


def docstrings(tree: ast.Module) -> set[ast.AST]:
    """Strings that stand as statements: documentation, not data."""
    return {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


@pytest.mark.parametrize("module", sources())
def test_imports_go_one_way(module: str) -> None:
    """Each module imports only what the table allows it."""
    assert module in IMPORTS, (
        f"the module {module} is not in the table IMPORTS of tests/test_architecture.py: add what it may import (as "
        "little as it needs), and say in ARCHITECTURE.md what it is for; the table is what keeps the flow one-way"
    )
    beyond = engine_imports(parse(sources()[module])) - IMPORTS[module]
    assert not beyond, (
        f"{module} imports {', '.join(sorted(beyond))}. If that is right, change the sentence in ARCHITECTURE.md first, "
        "then the table; if it is only handy, pass the value in instead"
    )


def test_the_table_itself_goes_one_way() -> None:
    """A module may only import ones that stand above it, so there is no way round in a circle."""
    above: set[str] = set()
    for module, allowed in IMPORTS.items():
        assert allowed <= above, f"{module} may import what is not above it: {sorted(allowed - above)}"
        above.add(module)


def test_imports_for_types_are_the_known_ones() -> None:
    """What is imported under TYPE_CHECKING is listed too: it tells of a dependency the wrong way."""
    found = set()
    for module, path in sources().items():
        tree = parse(path)
        skipped = for_types_only(tree)
        for node, name, _ in imports(tree):
            if node in skipped and name.startswith("hotreload_engine."):
                target = name.split(".")[1]
                if target not in IMPORTS.get(module, set()):
                    found.add((module, target))
    assert found <= FOR_TYPES_ONLY, "pass the type by a protocol instead, or list it with its reason"


@pytest.mark.parametrize("module", sources())
def test_only_the_graph_and_the_tool_know_scons(module: str) -> None:
    """Everything else works without SCons, and is tested without it."""
    named = {name for _, name, _ in imports(parse(sources()[module])) if name.partition(".")[0] == "SCons"}
    assert module in SCONS or not named, f"{module} imports {sorted(named)}: only {sorted(SCONS)} may"


@pytest.mark.parametrize("module", sources())
def test_the_engine_never_imports_the_tool(module: str) -> None:
    """The tool sits in sys.modules as plain "hotreload", or twice: whoever imports it gets another state."""
    for _, name, _ in imports(parse(sources()[module])):
        assert name.partition(".")[0] not in ("hotreload", "site_tools"), f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(PURE & sources().keys()))
def test_the_readers_of_libraries_touch_no_disk_and_no_process(module: str) -> None:
    """Only modules of the standard library that cannot, and no call that would."""
    tree = parse(sources()[module])
    for _, name, what in imports(tree):
        top = name.partition(".")[0]
        assert top in PURE_LIBRARY | {"hotreload_engine"} or (name, what) in PURE_PATHS, (
            f"{module} imports {name}: what touches disks or processes belongs elsewhere, bytes are passed in"
        )
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called not in NO_CALLS, f"{module}, line {node.lineno}: calls {called}"


@pytest.mark.parametrize("module", sorted(sources().keys() - {"slot"}))
def test_only_the_slot_knows_the_names_in_the_run_directory(module: str) -> None:
    """A file name of the run directory in any other module is a second implementer of its format."""
    tree = parse(sources()[module])
    documentation = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            assert not RUN_DIRECTORY.search(node.value), f"{module}, line {node.lineno}: ask slot.py for {node.value!r}"


def test_the_slot_does_know_them() -> None:
    """The pattern of the test above finds them where they are."""
    tree = parse(sources()["slot"])
    strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert any(RUN_DIRECTORY.search(value) for value in strings)


def test_a_host_opens_nothing_but_a_published_generation() -> None:
    """dlopen in our C code: in the runtime only, and only of a generation's path (or to ask if one is still loaded)."""
    runtime = ROOT / "src" / "hotreload.h"
    calls = 0
    for path in sorted((ROOT / "src").rglob("*.[ch]*")):
        code = re.sub(r"/\*.*?\*/|//[^\n]*|\"(\\.|[^\"\\\n])*\"", " ", path.read_text(encoding="utf-8"), flags=re.S) \
            if path.suffix in (".c", ".h", ".cc", ".cpp", ".hpp") else ""  # fmt: skip
        for match in re.finditer(r"\bdlm?open\s*\(([^;]*);", code):
            calls += 1
            assert path == runtime, f"{path.relative_to(ROOT)} opens a library by itself: hr_open does that"
            argument = match[1].partition(",")[0].strip()
            assert argument == "generation->path" or "RTLD_NOLOAD" in match[1], f"the runtime opens {argument}"
    assert calls, "the runtime opens generations somewhere"


@pytest.mark.parametrize("module", sorted(sources().keys() - {"__init__"}))
def test_every_module_is_on_the_map(module: str) -> None:
    """ARCHITECTURE.md names each module and says what it is for."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    map_ = text.partition("## Map")[2].partition("\n## ")[0]
    name = "site_tools/hotreload.py" if module == "tool" else f"{module}.py"
    assert re.search(rf"[/`]{re.escape(name)}`", map_), f"add a line for {name} to the map in ARCHITECTURE.md"
