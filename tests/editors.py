"""How editors and tools save: each function makes ``path`` contain ``text`` with the system calls of the one it is named
for (as strace shows them), or runs the real one. The small pauses are those that a busy disk puts there."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from harness import need

Save = Callable[[Path, str], None]


def vscode(path: Path, text: str) -> None:
    """Truncated, written in pieces, flushed, closed."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    time.sleep(0.002)
    for at in range(0, len(text), 3):
        os.write(descriptor, text[at : at + 3].encode())
    os.fsync(descriptor)
    os.close(descriptor)


def jetbrains(path: Path, text: str) -> None:
    """ "Safe write": the new file beside the old one, the old one out of the way, the new one in its place."""
    new, old = path.with_name(path.name + "___jb_tmp___"), path.with_name(path.name + "___jb_old___")
    new.write_text(text)
    os.rename(path, old)
    time.sleep(0.001)
    os.rename(new, path)
    old.unlink()


def gnome(path: Path, text: str) -> None:
    """GLib's replace: a temporary with the old one's mode, flushed, over the old one by rename."""
    new = path.with_name(".goutputstream-A1B2C3")
    with new.open("w") as file:
        os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)


def vim_default(path: Path, text: str) -> None:
    """Probe file, backup by rename, the name made anew, mode set again after closing, backup removed."""
    probe, backup = path.with_name("4913"), path.with_name(path.name + "~")
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    os.chmod(probe, 0o644)
    probe.unlink()
    mode = path.stat().st_mode & 0o7777
    os.rename(path, backup)
    time.sleep(0.003)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    time.sleep(0.001)
    os.write(descriptor, text.encode())
    os.fsync(descriptor)
    os.close(descriptor)
    time.sleep(0.004)  # longer than one name's silence: the mode comes after the delivery
    os.chmod(path, mode)
    backup.unlink()


def vim_copy(path: Path, text: str) -> None:
    """backupcopy=yes: a copy is the backup, the file itself is overwritten."""
    backup = path.with_name(path.name + "~")
    shutil.copy2(path, backup)
    vscode(path, text)
    backup.unlink()


def emacs(path: Path, text: str) -> None:
    """Lock link, backup by rename, the name made anew with the mode set before anything is written, lock removed."""
    lock = path.with_name(".#" + path.name)
    lock.symlink_to("someone@host.1:2")
    os.rename(path, path.with_name(path.name + "~"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.fchmod(descriptor, 0o644)
    time.sleep(0.004)
    os.write(descriptor, text.encode())
    os.close(descriptor)
    os.chmod(path, 0o644)
    lock.unlink()


def unlinked_first(path: Path, text: str) -> None:
    """patch, git, tar: the old one is removed, the new one made."""
    path.unlink()
    time.sleep(0.002)
    path.write_text(text)


def unnamed(path: Path, text: str) -> None:
    """A file without a name (O_TMPFILE) that gets one before it is closed."""
    path.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    descriptor = os.open(path.parent, os.O_WRONLY | os.O_TMPFILE, 0o644)
    os.write(descriptor, text.encode())
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=directory)  # a directory makes it linkat(2), which follows
    os.close(descriptor)
    os.close(directory)


def linked_in(path: Path, text: str) -> None:
    """ccache and SCons's duplicates: complete under another name, linked to this one."""
    other = path.with_name("cached")
    other.write_text(text)
    path.unlink()
    os.link(other, path)


def install(path: Path, text: str) -> None:
    """install(1): the old one is removed, the new one written, its mode set before and after closing."""
    source = path.with_name("source.txt")
    source.write_text(text)
    subprocess.run(["install", "-m", "644", source, path], check=True)


def copied(path: Path, text: str) -> None:
    """cp -p: overwritten in place, its old time set before it is closed."""
    source = path.with_name("source.txt")
    source.write_text(text)
    os.utime(source, (1_000_000_000, 1_000_000_000))
    subprocess.run(["cp", "-p", source, path], check=True)


def perl(path: Path, text: str) -> None:
    subprocess.run(["perl", "-i", "-pe", f"s/.*/{text.strip()}/", path], check=True)


def real_vim(*settings: str) -> Save:
    def save(path: Path, text: str) -> None:
        words = ["-u", "NONE", "-es", "-c", f"set {' '.join(settings)}", "-c", f"%s/.*/{text.strip()}/", "-c", "wq"]
        subprocess.run(["vim", *words, path], check=True, stdin=subprocess.DEVNULL)

    save.__name__ = "vim_" + "_".join(settings).replace("=", "_")
    return save


VIM = [real_vim("backup", "backupcopy=no"), real_vim("nobackup", "writebackup", "backupcopy=yes"), real_vim("fsync")]
IMITATED: list[Save] = [vscode, jetbrains, gnome, vim_default, vim_copy, emacs, unlinked_first, unnamed, linked_in]
REAL: list[Save] = [install, copied, perl, *VIM]


def need_for(save: Save) -> None:
    """Skips the test where the real editor is missing."""
    if save in VIM:
        need("vim")
    if save is perl:
        need("perl")


def git(directory: Path, *words: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", *words]
    subprocess.run([need("git"), *command[1:]], cwd=directory, check=True, capture_output=True)
