"""``--hot-notify``: a bell or a desktop's message when good turns to bad, and back; never for more of the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable

from .model import Event

_TROUBLE = {
    "error": lambda fields: f"{fields['where']}: {fields['what']}".removeprefix(": "),
    "refused": lambda fields: f"{fields['plugin']} was refused: {fields['findings'][0]['what']}",
    "crash": lambda fields: f"{fields['plugin']} #{fields['generation']} crashed: {fields['what']}",
}
"""Event → what is bad, in a few words."""


class Notifier:
    """Is given every event, and told after each step of the session how things stand."""

    def __init__(self, bell: Callable[[], None] | None, bad: bool = False, desktop: str | None = None) -> None:
        """``bell``: rings the terminal's, None where there is none. ``desktop``: the program that shows a message; by
        itself notify-send, where it is installed and has a desktop to show it on."""
        self._bell = bell
        self._desktop = _desktop() if desktop is None else desktop
        self._bad = bad
        self._why = ""
        self._children: list[subprocess.Popen[bytes]] = []

    def __call__(self, event: Event) -> None:
        if event.event in _TROUBLE:
            self._why = _TROUBLE[event.event](event.fields)

    def stands(self, bad: bool) -> None:
        """How things stand now."""
        self._children = [child for child in self._children if child.poll() is None]
        if bad == self._bad:
            return
        self._bad = bad
        if self._desktop:
            title, text = ("hotreload: trouble", self._why) if bad else ("hotreload: all is well again", "")
            with contextlib.suppress(OSError):  # then it is only the bell
                command = [self._desktop, "--app-name=hotreload", title, *([text] if text else [])]
                quiet = subprocess.DEVNULL
                # A session of its own: neither our Ctrl-C nor the end of a build's commands concerns it.
                self._children.append(
                    subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
                )
                return
        if self._bell:
            self._bell()


def _desktop() -> str:
    if any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS")):
        return shutil.which("notify-send") or ""
    return ""
