"""A terminal's keyboard: raw bytes → named keys, and the terminal's settings while keys are read.

Keys are read only while we are the terminal's foreground job, and nobody has to press one. Only the terminal's line
buffer and echo are off meanwhile: Ctrl-C and Ctrl-Z stay the terminal's, and output is as ever. Its settings are put
back on every way out: the end, Ctrl-Z, a quit signal, before another program takes our place.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import termios
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

QUIT = "q"
KEYS = {
    "r": "reload: the newest generation again, for hosts that do not run it",
    "R": "restart the host that --hot-run started",
    "p": "pause: changes are collected, and built at the next p",
    "u": "undo: hosts go back to the generation before",
    "b": "build all: every input is looked at again",
    "e": "explain why the last targets were rebuilt",
    "v": "verbose on or off: the files of each change, why each target was rebuilt, the state in full",
    "h": "help: these lines",
    QUIT: "quit (as does Ctrl-C; a second Ctrl-C kills what does not end)",
}
"""Every key that does something, and what."""

_PASTE = 4
"""So many characters at once were not typed: text in the wrong window is no command."""
_FOREGROUND_AGAIN = 0.5
"""Seconds between looks whether a shell's ``fg`` has made us the foreground job: that sends no signal to what runs."""

_SEQUENCE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|O[ -~]|[^\[O])")
"""A function key, an arrow, Alt with a key; their letters are no keys of ours."""
_UNFINISHED = re.compile(rb"\x1b(\[[0-?]*[ -/]*|O)\Z")


class Decoder:
    """Bytes as a terminal sends them → keys, in order. Whatever is no key of ours is dropped."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        data = _SEQUENCE.sub(b"", self._rest + data)
        unfinished = _UNFINISHED.search(data)
        self._rest = unfinished[0] if unfinished else b""
        text = data[: unfinished.start() if unfinished else None].decode("utf-8", "replace")
        return [] if len(text) >= _PASTE else [letter for letter in text if letter in KEYS]


class Keyboard:
    """The keys of the terminal at ``descriptor``. ``open`` and ``close`` belong to the main thread.

    ``wake``: a key is there to be taken (any thread). ``quit``: the key for it was pressed; at once, since the main
    thread may be building (any thread). In the main thread, ``stopping`` and ``going_on``: around Ctrl-Z; ``aborting``:
    before a quit signal has its way.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        quit: Callable[[], None],
        stopping: Callable[[], None],
        going_on: Callable[[], None],
        aborting: Callable[[], None],
        descriptor: int = 0,
    ) -> None:
        self._wake = wake
        self._quit = quit
        self._stopping = stopping
        self._going_on = going_on
        self._aborting = aborting
        self._descriptor = descriptor
        self._lock = threading.RLock()
        """Held while settings change. Reentrant: a signal's handler runs in the middle of the main thread's own."""
        self._keys: list[str] = []
        self._cooked: list[Any] | None = None
        """The terminal's settings as they were; None while they are not ours."""
        self._thread: threading.Thread | None = None
        self._closed = False
        self._bell = -1, -1
        self._handlers: dict[int, Any] = {}

    def open(self) -> None:
        """Take keys from now on, or from when we are in the foreground."""
        self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._take()
        for number, handler in ((signal.SIGTSTP, self._stop), (signal.SIGCONT, self._continue)):
            self._handlers[number] = signal.signal(number, handler)
        self._handlers[signal.SIGQUIT] = signal.signal(signal.SIGQUIT, self._abort)
        self._thread = threading.Thread(target=self._read, name="keys", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """The terminal is as it was. May be called twice, and without ``open``."""
        if self._thread is None:
            return
        self._closed = True
        self._ring()
        self._thread.join()
        self._thread = None
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for descriptor in self._bell:
            os.close(descriptor)

    def taken(self) -> list[str]:
        """Keys since the last call."""
        with self._lock:
            keys, self._keys = self._keys, []
        return keys

    # --- reading (its own thread) ------------------------------------------------------------------------------

    def _read(self) -> None:
        decoder = Decoder()
        while not self._closed:
            ours = self._take()
            wanted = [self._bell[0], *([self._descriptor] if ours else [])]
            ready, _, _ = select.select(wanted, [], [], None if ours else _FOREGROUND_AGAIN)
            if self._bell[0] in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._bell[0], 64)
            elif ready and self._in_foreground():  # in the background a read would stop us
                try:
                    data = os.read(self._descriptor, 1024)
                except OSError:
                    data = b""
                if not data:
                    return  # the terminal is gone; SIGHUP says the rest
                for key in decoder.feed(data):
                    if key == QUIT:
                        self._quit()
                    else:
                        with self._lock:
                            self._keys.append(key)
                        self._wake()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._bell[1], b".")

    # --- the terminal's settings -------------------------------------------------------------------------------

    def _in_foreground(self) -> bool:
        return in_foreground(self._descriptor)

    def _take(self) -> bool:
        """Line buffer and echo off, where we are in the foreground; whether we are."""
        with self._lock:
            if self._closed or not self._in_foreground():
                return False
            if self._cooked is None:
                with contextlib.suppress(termios.error):
                    cooked = termios.tcgetattr(self._descriptor)
                    _set(self._descriptor, _raw(cooked))
                    self._cooked = cooked
            return True

    def _give_back(self) -> None:
        with self._lock:
            if self._cooked is not None and self._in_foreground():  # else they are the shell's by now
                _set(self._descriptor, self._cooked)
            self._cooked = None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: the terminal goes back to the shell before we stop."""
        self._give_back()
        self._stopping()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # returns after SIGCONT
        signal.signal(signal.SIGTSTP, self._stop)
        self._continue(number, frame)

    def _continue(self, number: int, frame: FrameType | None) -> None:
        with self._lock:
            self._cooked = None  # a shell has been at it meanwhile
            self._take()
        self._going_on()
        self._ring()

    def _abort(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-backslash: what the user wants is that all of it is gone."""
        self._give_back()
        self._aborting()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def usable(descriptor: int) -> bool:
    """Whether keys can be had of it: our terminal, and one that a person types at (Emacs' shells say "dumb")."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) >= 0 and os.environ.get("TERM") != "dumb"
    except OSError:
        return False


def in_foreground(descriptor: int) -> bool:
    """Whether it is our terminal, and we are its foreground job."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


def _raw(cooked: list[Any]) -> list[Any]:
    """Keys one by one and unseen; signals and output as before (termios(3), as cbreak in curses)."""
    settings = [*cooked[:6], list(cooked[6])]
    settings[3] &= ~(termios.ECHO | termios.ICANON)
    settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
    return settings


def _set(descriptor: int, settings: list[Any]) -> None:
    """At once, and without being stopped where we are in the background after all."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSANOW, settings)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
