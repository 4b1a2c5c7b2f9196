"""File events → settled sets: the rule as a pure function, and real editors' ways to save on a real directory."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import need
from hotreload_engine.model import ChangeSet
from hotreload_engine.watch import GIT_LONGEST, GONE, LONGEST, QUIET_MANY, QUIET_ONE, Sighting, Watcher, due

NEVER = float("inf")


def content(first: float, last: float | None = None) -> Sighting:
    return Sighting(first, first if last is None else last, "content")


def gone(at: float) -> Sighting:
    return Sighting(at, at, "gone")


@pytest.mark.parametrize(
    "sightings,git,quiet,when",
    [
        ({}, False, 0, NEVER),
        ({}, True, 0, NEVER),
        ({"a": content(1)}, False, 0, 1 + QUIET_ONE),
        ({"a": content(1, 1.001)}, False, 0, 1.001 + QUIET_ONE),
        ({"a": content(1), "b": content(1.01)}, False, 0, 1.01 + QUIET_MANY),
        ({"a": content(1), "b": content(1.2, 1.249)}, False, 0, 1 + LONGEST),
        ({"a": content(1, 9), "b": content(8)}, False, 0, 1 + LONGEST),
        ({"a": content(1, 9)}, False, 0, 9 + QUIET_ONE),
        ({"a": gone(1)}, False, 0, 1 + GONE),
        ({"a": gone(1), "b": content(1)}, False, 0, 1 + GONE),
        ({"a": gone(1), "b": content(1), "c": content(1.3)}, False, 0, 1 + LONGEST),
        ({"a": content(1)}, True, 0, 1 + GIT_LONGEST),
        ({"a": content(1), "b": content(5)}, True, 0, 1 + GIT_LONGEST),
        ({"a": content(1)}, False, 0.05, 1.05),
        ({"a": content(1), "b": content(1)}, False, 0.05, 1.05),
    ],
)
def test_when_a_set_is_settled(sightings: dict[str, Sighting], git: bool, quiet: float, when: float) -> None:
    """Two milliseconds for one name, fifteen for several, never held beyond the limits, held while git is at work."""
    assert due(sightings, git, quiet) == pytest.approx(when)


# --- on a real directory ------------------------------------------------------------------------------------------


class Place:
    """A directory that is watched for .c and .h files."""

    def __init__(self, root: Path, poll: bool = False) -> None:
        self.root = root
        self.watcher = Watcher(lambda path: path.endswith((".c", ".h")) and "/." not in path, poll)
        self.inputs: set[str] = set()

    def watch(self, *directories: Path) -> None:
        assert self.watcher.watch(map(str, directories or (self.root,))) == []
        self.known()

    def known(self) -> None:
        self.inputs |= {str(path) for path in self.root.rglob("*.[ch]")}
        self.watcher.inputs(frozenset(self.inputs))

    def after(self, action: Callable[[], object], nothing: bool = False) -> list[ChangeSet]:
        """Every set that comes of an action: waits for one (unless ``nothing`` is to come), then until it is quiet."""
        thread = threading.Thread(target=action)
        thread.start()
        sets: list[ChangeSet] = []
        end = time.monotonic() + 30
        while time.monotonic() < end:
            over = not thread.is_alive()
            found = self.watcher.next(0.5 if over else 0.05)
            if found:
                sets.append(found)
            elif over and (sets or nothing):
                break
        thread.join()
        return sets


@pytest.fixture(params=["events", "polling"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path, request.param == "polling")
    (tmp_path / "x.c").write_text("old\n")
    found.watch()
    yield found
    found.watcher.close()


def truncate_and_write(path: Path, text: str) -> None:
    path.write_text(text)


def temporary_and_rename(path: Path, text: str) -> None:
    other = path.with_name(path.name + "___jb_tmp___")
    other.write_text(text)
    os.rename(other, path)


def vim_backup(path: Path, text: str) -> None:
    probe, backup = path.with_name("4913"), path.with_name(path.name + "~")
    probe.write_text("")
    probe.unlink()
    os.rename(path, backup)
    time.sleep(0.003)  # the name is away for some milliseconds
    path.write_text(text)
    backup.unlink()


def emacs(path: Path, text: str) -> None:
    lock = path.with_name(".#" + path.name)
    lock.symlink_to("someone@host.1:2")
    os.rename(path, path.with_name(path.name + "~"))
    path.write_text(text)
    lock.unlink()


def two_writes(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text[:2])
        file.flush()
        time.sleep(0.01)
        file.write(text[2:])


def real_sed(path: Path, text: str) -> None:
    subprocess.run(["sed", "-i", f"s/.*/{text.strip()}/", path], check=True)


def real_vim(path: Path, text: str) -> None:
    vim = need("vim")
    subprocess.run(
        [vim, "-u", "NONE", "-es", "-c", f"%s/.*/{text.strip()}/", "-c", "wq", path],
        check=True,
        stdin=subprocess.DEVNULL,
    )


def real_vim_backup(path: Path, text: str) -> None:
    vim = need("vim")
    command = ["-c", "set backup backupcopy=no", "-c", f"%s/.*/{text.strip()}/", "-c", "wq"]
    subprocess.run([vim, "-u", "NONE", "-es", *command, path], check=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "save",
    [truncate_and_write, temporary_and_rename, vim_backup, emacs, two_writes, real_sed, real_vim, real_vim_backup],
    ids=lambda save: save.__name__,
)
def test_a_save_is_one_set(place: Place, save: Callable[[Path, str], None]) -> None:
    """However an editor saves: one set, the real name alone, and the file is complete when it comes."""
    for name in ("vim",) if save in (real_vim, real_vim_backup) else ():
        need(name)
    path = place.root / "x.c"
    seen: list[str] = []
    thread = threading.Thread(target=save, args=(path, "new text\n"))
    thread.start()
    first = place.watcher.next(30)
    seen.append(path.read_text())
    thread.join()
    rest = place.after(lambda: None, nothing=True)
    assert first is not None and first.files == {str(path)}
    assert seen == ["new text\n"] and [found.files for found in rest] == []


def test_a_vanished_name(place: Place) -> None:
    """A deletion is told, but not the blink in which an editor replaces a file."""
    path = place.root / "x.c"
    assert [found.files for found in place.after(path.unlink)] == [{str(path)}]


def test_a_rename_is_one_set(place: Place) -> None:
    """What goes and what comes is told together."""
    old, new = place.root / "x.c", place.root / "y.c"
    place.inputs.add(str(new))
    place.known()
    (found,) = place.after(lambda: os.rename(old, new))
    assert found.files == {str(old), str(new)}


def test_a_time_is_a_change(place: Place) -> None:
    """touch -d changes nothing but the time: SCons's timestamp deciders want to know."""
    assert [found.files for found in place.after(lambda: os.utime(place.root / "x.c", (5, 5)))] == [
        {str(place.root / "x.c")}
    ]


def test_names_with_spaces_and_umlauts(place: Place) -> None:
    """Any name is reported as it is."""
    path = place.root / "größer als ü.c"
    (found,) = place.after(lambda: path.write_text("x"))
    assert found.files == {str(path)}


def test_what_does_not_matter(place: Place) -> None:
    """Swap files, logs and directories make no set."""

    def noise() -> None:
        for name in (".x.c.swp", "4913", "x.c~", "log.txt"):
            (place.root / name).write_text("x")
        (place.root / "dir").mkdir()

    assert place.after(noise, nothing=True) == []


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    (tmp_path / "x.c").write_text("old\n")
    yield found
    found.watcher.close()


def test_pending_and_wake(events: Place) -> None:
    """A change is pending until it is delivered; wake ends a wait without one."""
    events.watch()
    (events.root / "x.c").write_text("new")
    end = time.monotonic() + 30
    while not events.watcher.pending() and time.monotonic() < end:
        time.sleep(0.001)
    assert events.watcher.pending() and not events.watcher.pending(lambda name: False)
    assert events.watcher.next(30) and not events.watcher.pending()
    threading.Timer(0.05, events.watcher.wake).start()
    assert events.watcher.next(None) is None


def test_a_checkout_is_one_set(events: Place) -> None:
    """git checkout of 300 files: one set, after git has let go of its lock."""

    def git(*words: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", *words]
        subprocess.run(command, cwd=events.root, check=True, capture_output=True)

    for number in range(300):
        (events.root / f"f{number}.c").write_text("one")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "other")
    for number in range(300):
        (events.root / f"f{number}.c").write_text("two")
    git("commit", "-qam", "two")
    events.watch()
    sets = events.after(lambda: git("checkout", "-q", "main"))
    assert len(sets) == 1 and len(sets[0].files) == 300


def test_git_that_never_lets_go(events: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that stays is waited for, but not for ever, and that is said."""
    monkeypatch.setattr("hotreload_engine.watch.GIT_LONGEST", 0.3)
    (events.root / ".git").mkdir()
    events.watch()
    (events.root / ".git/index.lock").write_text("")
    (found,) = events.after(lambda: (events.root / "x.c").write_text("new"))
    assert "index.lock" in found.note


def test_a_directory_that_goes_and_comes_back(events: Place) -> None:
    """rm -rf and a new directory of that name: its files are watched again, and what changed in between is told."""
    place = events.root / "sub"
    place.mkdir()
    (place / "y.c").write_text("old")
    events.watch(events.root, place)

    def again() -> None:
        shutil.rmtree(place)
        place.mkdir()
        (place / "y.c").write_text("new")

    assert str(place / "y.c") in frozenset().union(*(found.files for found in events.after(again)))
    (found,) = events.after(lambda: (place / "y.c").write_text("newer"))
    assert found.files == {str(place / "y.c")}


def test_a_directory_that_is_moved(events: Place) -> None:
    """Its files are gone; moved back they are there again, changed or not."""
    place = events.root / "sub"
    place.mkdir()
    (place / "y.c").write_text("old")
    events.watch(events.root, place)
    sets = events.after(lambda: os.rename(place, events.root / "other"))
    assert {str(place / "y.c")} in [found.files for found in sets]
    os.rename(events.root / "other", place)
    sets = events.after(lambda: (place / "y.c").write_text("new"))
    assert any(str(place / "y.c") in found.files for found in sets)


def test_a_directory_that_does_not_exist_yet(events: Place) -> None:
    """It is watched as soon as it is there, however deep, and what it was made with is told."""
    place = events.root / "a/b"
    events.watch(events.root, place)

    def make() -> None:
        place.mkdir(parents=True)
        (place / "new.c").write_text("x")

    assert {str(place / "new.c")} in [found.files for found in events.after(make)]


def test_symbolic_links(events: Place) -> None:
    """A file or directory that is reached through a link is reported under the name that was given."""
    real = events.root / "real"
    real.mkdir()
    (real / "z.c").write_text("old")
    (events.root / "linked").symlink_to(real)
    (events.root / "link.c").symlink_to(real / "z.c")
    events.watch(events.root, events.root / "linked")
    (found,) = events.after(lambda: (real / "z.c").write_text("new"))
    assert found.files == {str(events.root / "linked/z.c"), str(events.root / "link.c")}


def test_a_broken_link_is_repaired(events: Place) -> None:
    """The link's target appears: the link's name is told."""
    (events.root / "link.c").symlink_to(events.root / "target.c")
    events.inputs.add(str(events.root / "link.c"))
    events.watch()
    sets = events.after(lambda: (events.root / "target.c").write_text("x"))
    assert str(events.root / "link.c") in frozenset().union(*(found.files for found in sets))


def test_a_new_link_is_complete_at_once(events: Place) -> None:
    """Symbolic and hard links have no CLOSE_WRITE."""
    events.watch()
    (found,) = events.after(lambda: (events.root / "s.c").symlink_to("x.c"))
    assert found.files == {str(events.root / "s.c")}
    sets = events.after(lambda: os.link(events.root / "x.c", events.root / "h.c"))
    assert str(events.root / "h.c") in frozenset().union(*(found.files for found in sets))


def test_lost_events(events: Place) -> None:
    """watchdog tells of a queue overflow by its logger alone: then every input is suspect."""
    events.watch()
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; filesystem events were lost")
    found = events.watcher.next(5)
    assert found and found.everything and found.note


def test_a_name_that_is_moved_out_holds_nothing_up(events: Place) -> None:
    """watchdog would wait half a second for the other half of a move: a save behind it must not."""
    events.watch()
    outside = events.root.parent / f"{events.root.name}-outside"
    os.rename(events.root / "x.c", outside)
    started = time.monotonic()
    (events.root / "y.c").write_text("x")
    found = events.watcher.next(30)
    assert found and str(events.root / "y.c") in found.files
    assert time.monotonic() - started < 0.4
    outside.unlink()


def test_nothing_is_done_while_nothing_happens(events: Place) -> None:
    """No timer and no wake-up: not one switch of a thread of ours."""
    events.watch()
    assert events.watcher.next(0.2) is None

    def switches() -> int:
        total = 0
        for task in Path("/proc/self/task").iterdir():
            status = (task / "status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt"))
        return total

    before = switches()
    assert events.watcher.next(1.0) is None
    assert switches() - before <= 4, "a wait in the main thread, and no other"


def test_many_ignored_files_cost_nothing(events: Place) -> None:
    """A tree of 20,000 files beside the watched directory is not looked at."""
    heap = events.root / "heap"
    for number in range(20):
        (heap / str(number)).mkdir(parents=True)
        for file in range(1000):
            (heap / str(number) / f"{file}.txt").touch()
    started = time.process_time()
    events.watch()
    assert time.process_time() - started < 2
    (found,) = events.after(lambda: (events.root / "x.c").write_text("new"))
    assert found.files == {str(events.root / "x.c")}


def test_what_changed_before_the_watch(events: Place) -> None:
    """A directory that is new to the watch is looked through for what changed since the pass began."""
    place = events.root / "late"
    place.mkdir()
    since = time.time()
    (place / "y.c").write_text("x")
    assert events.watcher.watch([str(place)], since) == []
    found = events.watcher.next(30)
    assert found and found.files == {str(place / "y.c")}
