"""The same scons again: to try a changed SConstruct before trusting it, then in our place.

A changed SConscript can only be read by a fresh process. It is read in a child first (``trial``), which stops where
building would begin: while that fails the old session goes on. Then ``again`` replaces this process, with the same
arguments, environment and directory, so that hash order, options and our parent's idea of our pid stay.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

TRIAL = "HOTRELOAD_TRIAL"
"""Environment variable: read the SConscripts, build nothing, exit 0."""
CARRIED = "HOTRELOAD_CARRIED"
"""Environment variable: what the session before the re-exec hands on, as JSON."""


class Relaunch:
    def __init__(self, directory: str) -> None:
        """``directory``: where scons was started (before -C)."""
        self._directory = directory

    def trial(self) -> tuple[bool, str]:
        """Whether the SConscripts can be read now, and what scons said."""
        done = subprocess.run(
            _command(),
            cwd=self._directory,
            env={**os.environ, TRIAL: "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return done.returncode == 0, done.stdout

    def again(self, carried: Mapping[str, Any]) -> NoReturn:
        """Become a fresh scons. Children stay children."""
        os.chdir(self._directory)
        sys.stdout.flush()
        sys.stderr.flush()
        os.environ[CARRIED] = json.dumps(carried)
        os.execv(sys.executable, _command())


def is_trial() -> bool:
    return TRIAL in os.environ


def carried() -> dict[str, Any]:
    """What the session before handed on; taken out of the environment, so that no SConscript sees it."""
    text = os.environ.pop(CARRIED, "")
    return dict(json.loads(text)) if text else {}


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]
