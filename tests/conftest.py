"""Shared fixtures: a project that is cleaned up, for each SCons and compiler that is supported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Project, need, project
from migration_kit import Workshop
from runtime_kit import Kit

SCONS = {"newest": False, "oldest": True}
"""Name in a test's id → whether it is the oldest supported SCons."""
COMPILERS = ["gcc", "clang"]


@pytest.fixture(params=["newest"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """A project directory; ``both_scons`` runs a test on the oldest SCons too."""
    with project(tmp_path / "project", old_scons=SCONS[request.param]) as found:
        yield found


both_scons = pytest.mark.parametrize("made", list(SCONS), indirect=True)


@pytest.fixture(params=COMPILERS)
def compiler(request: pytest.FixtureRequest) -> str:
    return need(request.param)


@pytest.fixture(scope="module", params=COMPILERS)
def kit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """Plugins and hosts of tests/runtime, compiled once for each compiler and module."""
    need(request.param)
    return Kit(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", params=COMPILERS)
def workshop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Pairs of plugins in C, for each compiler."""
    return Workshop(request.param, tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module", params=COMPILERS)
def plus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The same in C++."""
    flags = ("-g", "-std=c++17", *(["-fno-gnu-unique"] if request.param == "gcc" else []))
    return Workshop(request.param, tmp_path_factory.mktemp("plus"), flags, plusplus=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Where everything is installed (CI), a skip is a failure."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("HOTRELOAD_NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be missing: {report.longrepr}"
