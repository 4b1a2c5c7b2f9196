"""What the SConscript phase read: files opened, directories listed, globs.

A session is right only as long as reading the SConscripts again would give the same graph. An audit hook (PEP 578) sees
every open and every listing, hand-made ones too; SCons's own listings while it looks for files are not such an input.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import sys
import sysconfig
from typing import Any

import SCons.Node
import SCons.Node.FS

from .files import changed_since


def _places(*directories: str) -> tuple[str, ...]:
    """Beginnings of paths below these directories, as they are named and as they really are: a .venv may be a link."""
    named = {os.path.abspath(each) for each in directories} | {os.path.realpath(each) for each in directories}
    return tuple(place + os.sep for place in named if place != "/usr")


_SCONS = _places(os.path.dirname(os.path.dirname(SCons.Node.FS.__file__)))
_PLACES = _places(*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix) + _SCONS
_NOT_INPUTS = ("/proc/", "/dev/", "/sys/", "/usr/lib/python", *_PLACES)
_SCONS_FILES = (".sconsign", ".sconf_temp", "config.log")


class Reads:
    """Recorder of the SConscript phase. After ``stop``: what it read, and whether a change concerns it."""

    def __init__(self) -> None:
        self._active = True
        self._opened: dict[str, str] = {}
        """File → its content when it was first opened for reading."""
        self._written: set[str] = set()
        self._listed: set[str] = set()
        self._globs: set[str] = set()
        self._contents: dict[str, str] = {}
        self._names: dict[str, frozenset[str]] = {}
        self.outdated: frozenset[str] = frozenset()
        """Files that somebody else changed after they were read, before ``stop``."""
        for module in [*sys.modules.values()]:  # imported before we were there: site_init.py, what the SConstruct needs
            if isinstance(path := getattr(module, "__file__", None), str):
                self._note_open(path, "r")
        sys.addaudithook(self._hook)  # hooks cannot be taken away: it does nothing once stopped
        self._scons_glob = SCons.Node.FS.FS.Glob
        recorder = self

        def glob(fs: Any, pathname: Any, *arguments: Any, **keywords: Any) -> Any:
            if recorder._active:
                recorder._note_glob(fs, pathname, arguments, keywords)
            return recorder._scons_glob(fs, pathname, *arguments, **keywords)

        SCons.Node.FS.FS.Glob = glob

    def stop(self, scripts: tuple[str, ...] = (), since: float | None = None) -> None:
        """The phase is over. ``scripts``: files beside SConscripts that were read before the recorder was there, though
        not before ``since`` (Unix seconds). None: what lies there now is to be believed, though somebody changed it."""
        if not self._active:
            return
        self._active = False
        SCons.Node.FS.FS.Glob = self._scons_glob
        read = self._opened
        early = {path: _changed(path, since) for path in scripts}
        for script in SCons.Node.SConscriptNodes:
            place = script.get_abspath()
            source = script.srcnode().rfile().get_abspath()  # of one in a variant directory a copy may have been read
            if place in read:
                read[source] = read.pop(place)
            elif source not in read:  # before the recorder was there
                early[source] = _changed(source, since, place)
        read.update((path, "another") for path, changed in early.items() if changed)
        self._contents = {path: content for path in {*read, *early} if (content := _content(path))}
        if since is not None:
            found = {path for path, content in read.items() if content and content != self._contents.get(path)}
            self.outdated = frozenset(found - self._written)
            self._contents.update((path, read[path]) for path in self.outdated)
        directories = self._listed | {os.path.dirname(pattern) for pattern in self._globs}
        self._names = {directory: self._matching(directory) for directory in directories if "*" not in directory}

    @property
    def files(self) -> frozenset[str]:
        return frozenset(self._contents)

    @property
    def directories(self) -> frozenset[str]:
        """Directories in which a name that comes or goes may matter."""
        return frozenset(self._names)

    def concerns(self, path: str) -> bool:
        """Whether a change of this file may be a reason to read the SConscripts again. Any thread."""
        directory = os.path.dirname(path)
        return path in self._contents or (directory in self._names and self._counts(path))

    def reason(self, path: str) -> str:
        """Why the SConscripts are to be read again because of this file; "" when they are not."""
        if path in self._contents and _content(path) != self._contents[path]:
            return f"{path} changed"
        directory, name = os.path.split(path)
        if directory in self._names and self._counts(path):
            there = os.path.lexists(path)
            if there != (name in self._names[directory]):
                return f"{path} is new where the SConscripts look" if there else f"{path} is gone"
        return ""

    # --- recording -----------------------------------------------------------------------------------------------

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active or event not in ("open", "os.rename", "os.listdir", "os.scandir"):
            return
        try:
            if event == "open":
                self._note_open(*arguments[:2])
            elif event == "os.rename":
                self._written.add(os.path.abspath(os.fsdecode(arguments[1])))
            elif not _caller_is_scons():
                self._note_listing(arguments[0])
        except Exception:  # an audit hook that raises would break the caller's open
            return

    def _note_open(self, path: Any, mode: Any) -> None:
        if isinstance(path, int):
            return
        place = os.path.abspath(os.fsdecode(path))
        if isinstance(mode, str) and any(letter in mode for letter in "wax+"):
            self._written.add(place)
            return
        if place.endswith(".pyc") and os.path.basename(os.path.dirname(place)) == "__pycache__":
            stem = os.path.basename(place).split(".")[0]
            place = os.path.join(os.path.dirname(os.path.dirname(place)), stem + ".py")
        name = os.path.basename(place)
        if place not in self._opened and not place.startswith(_NOT_INPUTS) and not name.startswith(_SCONS_FILES):
            self._opened[place] = ""  # what reading it opens is not new
            self._opened[place] = _content(place)

    def _note_listing(self, path: Any) -> None:
        if isinstance(path, int):
            return
        place = os.path.abspath(os.fsdecode(path) if path is not None else ".")
        if not (place + os.sep).startswith(_NOT_INPUTS):
            self._listed.add(place)

    def _note_glob(self, fs: Any, pathname: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        here = keywords.get("cwd") or (arguments[4] if len(arguments) > 4 else None) or fs.getcwd()
        text = str(pathname)
        for directory in {here, here.srcnode()}:
            place = fs.Top.get_abspath() if text.startswith("#") else directory.get_abspath()
            self._globs.add(
                os.path.normpath(os.path.join(place, text.lstrip("#").lstrip("/") if text[:1] == "#" else text))
            )

    # --- matching ------------------------------------------------------------------------------------------------

    def _counts(self, path: str) -> bool:
        return os.path.dirname(path) in self._listed or any(_matches(path, pattern) for pattern in self._globs)

    def _matching(self, directory: str) -> frozenset[str]:
        try:
            return frozenset(name for name in os.listdir(directory) if self._counts(os.path.join(directory, name)))
        except OSError:
            return frozenset()


def _changed(path: str, since: float | None, copy: str = "") -> bool:
    """Whether it is another file by now than the one that was read after ``since``, maybe by a copy of it."""
    if since is None:
        return False
    if copy in ("", path) or not os.path.lexists(copy):  # duplicate=0 makes none
        return changed_since(path, since, 0.0)
    try:  # making the copy, a hard link, has changed the change time
        return os.stat(path).st_mtime >= since or _content(path) != _content(copy)
    except OSError:
        return True


def install() -> Reads:
    return Reads()


def _matches(path: str, pattern: str) -> bool:
    parts, patterns = path.split(os.sep), pattern.split(os.sep)
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def _caller_is_scons() -> bool:
    """Whether the listing is SCons's own look for a file: its nearest caller outside the library is SCons."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_SCONS):
            return True
        if not name.startswith(("<frozen", *_PLACES)):
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _content(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.blake2b(file.read(), digest_size=16).hexdigest()
    except OSError:
        return ""
