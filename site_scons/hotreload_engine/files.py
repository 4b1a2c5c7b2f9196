"""What tells one state of a file from another."""

from __future__ import annotations

import os

Sig = tuple[int, int, int]
"""mtime in ns, size, inode. Not ctime: making a hard link changes it. Not the inode alone: its number is used again."""


def signature(path: str) -> Sig | None:
    """Of the file, through symbolic links; None when there is none."""
    try:
        return signed(os.stat(path))
    except OSError:
        return None


def signed(status: os.stat_result) -> Sig:
    return status.st_mtime_ns, status.st_size, status.st_ino


def changed_since(path: str, when: float, doubt: float) -> bool:
    """Whether the file, or the link that leads to it, changed after ``when`` (Unix seconds) or is not there.

    By the inode's change time, which a rename does not carry over. ``doubt``: seconds by which that may be wrong.
    """
    try:
        return max(os.lstat(path).st_ctime, os.stat(path).st_ctime) >= when - doubt
    except OSError:
        return True
