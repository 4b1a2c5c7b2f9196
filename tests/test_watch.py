"""The watcher on a real directory: editors, git, links, directories that come and go, limits of the system, polling."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import editors
from harness import ROOT, until
from hotreload_engine import watch as module
from hotreload_engine.model import ChangeSet
from hotreload_engine.watch import Watcher

LIMIT = 30.0


class Place:
    """A directory, and a watcher of the .c files, hidden ones apart, in it and in those named to ``watch``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.open: list[Watcher] = []

    def watch(self, *directories: Path, poll: bool = False) -> Watcher:
        self.watcher = Watcher(lambda path: path.endswith(".c") and "/." not in path, poll)
        self.open.append(self.watcher)
        self.again(*directories)
        return self.watcher

    def again(self, *directories: Path) -> None:
        found = directories or (self.root,)
        assert self.watcher.watch(map(str, found)) == []
        files = {str(path) for directory in found if directory.is_dir() for path in directory.glob("*.c")}
        self.watcher.inputs(frozenset(files))

    def write(self, name: str, text: str = "old\n") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def next(self) -> ChangeSet:
        found = self.watcher.next(LIMIT)
        assert found is not None, "no set within the limit"
        return found

    def names(self, *wanted: Path) -> set[str]:
        """Sets until all of these names have come; every name that came."""
        seen: set[str] = set()
        while not seen >= {str(path) for path in wanted}:
            seen |= self.next().files
        return seen

    def rest(self) -> None:
        """Takes what is still to come, until nothing has come for a while."""
        while self.watcher.next(0.2):
            pass

    def is_quiet(self) -> None:
        """A later save comes alone: nothing was left of what went before."""
        mark = self.write("mark.c", str(time.monotonic()))
        assert self.next().files == {str(mark)}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    for watcher in found.open:
        watcher.close()


def during(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


# --- saves --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [*editors.IMITATED, *editors.REAL], ids=lambda save: save.__name__)
@pytest.mark.parametrize("poll", [False, True], ids=["events", "polling"])
def test_a_save_is_one_set(place: Place, save: editors.Save, poll: bool) -> None:
    """However it is saved: one set with the real name, the file complete when it comes, nothing after it."""
    editors.need_for(save)
    path = place.write("größe 1.c")
    place.watch(poll=poll)
    saving = during(lambda: save(path, "brand new text\n"))
    found = place.next()
    content = path.read_text()
    saving.join()
    assert found.files == {str(path)}
    assert content == "brand new text\n"
    assert place.watcher.next(0.3) is None
    assert not place.watcher.pending()
    place.is_quiet()


def test_two_saves_within_five_milliseconds(place: Place) -> None:
    """The second is never lost: what is read at the last set is what was saved last."""
    path = place.write("x.c")
    place.watch()
    for number in range(40):

        def twice(number: int = number) -> None:
            path.write_text(f"first {number}")
            time.sleep(0.0001 * number)
            path.write_text(f"second {number}")

        saving = during(twice)
        content = ""
        while content != f"second {number}":
            assert place.next().files == {str(path)}
            content = path.read_text()
        saving.join()
        while (more := place.watcher.next(0.02)) is not None:
            assert more.files == {str(path)}


def test_a_save_during_the_build_is_pending(place: Place) -> None:
    """What comes after a delivery is told at once to who asks, and delivered when it is waited for."""
    path = place.write("x.c")
    watcher = place.watch()
    path.write_text("one")
    assert place.next().files == {str(path)}
    assert not watcher.pending()
    path.write_text("two")  # as if while the compiler runs
    until(watcher.pending, "the second save is pending")
    found = place.next()
    assert found.files == {str(path)} and not watcher.pending()
    assert found.first_at <= found.last_at <= time.monotonic()


def test_a_save_that_takes_its_time(place: Place) -> None:
    """The name is away, then there and growing for longer than a deletion takes to be believed: told when complete."""
    path = place.write("x.c")
    watcher = place.watch()
    os.rename(path, place.root / "x.c~")
    file = path.open("w")
    file.write("half")
    file.flush()
    assert watcher.next(4 * module.GONE) is None, "neither gone nor complete"
    file.write(" and half")
    file.close()
    assert place.next().files == {str(path)}
    assert path.read_text() == "half and half"


def test_a_mode_that_is_set_in_the_middle(place: Place) -> None:
    """fchmod on a new file that is not closed yet is no end of a save."""
    place.write("x.c")
    watcher = place.watch()
    file = (place.root / "y.c").open("w")
    os.fchmod(file.fileno(), 0o600)
    assert watcher.next(3 * module.GONE) is None
    file.write("text")
    file.close()
    assert place.next().files == {str(place.root / "y.c")}


def test_a_mode_that_is_set_afterwards(place: Place) -> None:
    """chmod of what was just delivered is no change; a new time is."""
    path = place.write("x.c")
    watcher = place.watch()
    path.write_text("new")
    place.next()
    path.chmod(0o600)
    assert watcher.next(3 * module.GONE) is None and not watcher.pending()
    os.utime(path, (5, 5))
    assert place.next().files == {str(path)}


@pytest.mark.parametrize("words", [[], ["-d", "2001-02-03"], ["-m"]])
def test_touch(place: Place, words: list[str]) -> None:
    """touch(1), however it is called, is a change."""
    path = place.write("x.c")
    place.watch()
    subprocess.run(["touch", *words, path], check=True)
    assert place.next().files == {str(path)}


@pytest.mark.parametrize("name", ["with space.c", "größer.c", "new\nline.c", "\udcff.c", "'$(x)`.c", "-.c", "#7.c"])
@pytest.mark.parametrize("poll", [False, True], ids=["events", "polling"])
def test_any_name(place: Place, name: str, poll: bool) -> None:
    """Every name that the file system bears is told as it is, undecodable bytes in Python's way."""
    place.write("x.c")
    place.watch(poll=poll)
    path = place.write(name)
    assert place.next().files == {str(path)}


@pytest.mark.parametrize("poll", [False, True], ids=["events", "polling"])
def test_a_name_that_goes(place: Place, poll: bool) -> None:
    """A deletion is told; of a rename both names, together."""
    path, other = place.write("x.c"), place.write("y.c")
    place.watch(poll=poll)
    path.unlink()
    assert place.next().files == {str(path)}
    os.rename(other, path)
    assert place.next().files == {str(path), str(other)}


def test_what_does_not_matter(place: Place) -> None:
    """Swap files, probes, backups, logs and directories make no set."""
    place.watch()
    for name in (".x.c.swp", "4913", "x.c~", "log.txt"):
        place.write(name)
    (place.root / "dir").mkdir()
    place.is_quiet()


def test_a_new_link_is_complete_at_once(place: Place) -> None:
    """Symbolic and hard links have no CLOSE_WRITE."""
    path = place.write("x.c")
    place.watch()
    (place.root / "s.c").symlink_to("x.c")
    assert place.next().files == {str(place.root / "s.c")}
    os.link(path, place.root / "h.c")
    assert str(place.root / "h.c") in place.names(place.root / "h.c")


def test_a_wait_that_is_ended(place: Place) -> None:
    """``wake`` makes ``next`` return without a set; who asks for other names has nothing pending."""
    path = place.write("x.c")
    watcher = place.watch()
    waking = threading.Timer(0.05, watcher.wake)
    waking.start()
    assert watcher.next(None) is None
    waking.join()
    path.write_text("new")
    until(watcher.pending, "the save is pending")
    assert not watcher.pending(lambda name: False)


# --- git ----------------------------------------------------------------------------------------------------------


def branches(root: Path, number: int) -> None:
    """A repository with two branches: in "other" the files differ and sub/ does not exist."""
    for index in range(number):
        (root / f"f{index}.c").write_text("main")
    (root / "sub").mkdir()
    (root / "sub" / "y.c").write_text("main")
    editors.git(root, "init", "-q")
    editors.git(root, "add", "-A")
    editors.git(root, "commit", "-qm", "one")
    editors.git(root, "checkout", "-qb", "other")
    for index in range(number):
        (root / f"f{index}.c").write_text("other")
    shutil.rmtree(root / "sub")
    editors.git(root, "commit", "-qam", "two")
    editors.git(root, "checkout", "-q", "main")


def test_a_checkout_takes_a_directory_away_and_brings_it_back(place: Place) -> None:
    """Branches with and without a directory: all 300 files are one set, those in the directory are told both ways, and
    it is watched again."""
    branches(place.root, 300)
    lone = place.root / "sub" / "y.c"
    place.watch(place.root, place.root / "sub")
    editors.git(place.root, "checkout", "-q", "other")
    many = place.next().files
    assert {str(place.root / f"f{index}.c") for index in range(300)} <= many
    if str(lone) not in many:
        assert str(lone) in place.names(lone)
    editors.git(place.root, "checkout", "-q", "main")
    assert str(lone) in place.names(lone, place.root / "f0.c")
    place.rest()
    lone.write_text("edited")
    assert place.next().files == {str(lone)}


def test_a_lock_that_was_left_behind_is_waited_for_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed git leaves index.lock: the first save waits and says so, the next ones do not."""
    monkeypatch.setattr(module, "GIT_LONGEST", 1.0)
    path = place.write("x.c")
    (place.root / ".git").mkdir()
    watcher = place.watch()
    lock = place.root / ".git" / "index.lock"
    lock.write_text("")
    os.utime(lock, (time.time() + 3600,) * 2)  # a clock that is off, as on another machine's file system
    path.write_text("one")
    assert watcher.next(0.3) is None, "git is at work"
    found = place.next()
    assert str(lock) in found.note
    path.write_text("two")
    began = time.monotonic()
    found = place.next()
    assert found.note == "" and time.monotonic() - began < 1.0


def test_a_lock_that_is_old_is_not_waited_for(place: Place) -> None:
    """git commit -a holds its lock while the message is written: saves go on, with one word about it."""
    path = place.write("x.c")
    (place.root / ".git").mkdir()
    lock = place.root / ".git" / "index.lock"
    lock.write_text("")
    os.utime(lock, (time.time() - 60,) * 2)
    watcher = place.watch()
    path.write_text("one")
    found = watcher.next(module.GIT_LONGEST / 2)
    assert found and str(lock) in found.note


def test_the_lock_of_a_linked_work_tree(place: Place) -> None:
    """git worktree: .git is a file that says where the lock is; so it is in the submodule's."""
    branches(place.root, 1)
    tree = place.root / "a place" / "tree"
    editors.git(place.root, "worktree", "add", "-q", str(tree), "other")
    (place.root / "link").symlink_to(tree)
    watcher = place.watch(place.root / "link")
    lock = place.root / ".git" / "worktrees" / "tree" / "index.lock"
    lock.write_text("")
    (tree / "f0.c").write_text("new")
    assert watcher.next(0.3) is None and watcher.pending()
    lock.unlink()
    assert place.next().files == {str(place.root / "link" / "f0.c")}


# --- links --------------------------------------------------------------------------------------------------------


def test_a_directory_reached_under_several_names(place: Place) -> None:
    """Two links and the directory itself: every name that was given is told, and the silence is that of one save."""
    path = place.write("real/x.c")
    for name in ("one", "two"):
        (place.root / name).symlink_to("real")
    place.watch(place.root / "real", place.root / "one", place.root / "two")
    path.write_text("new")
    assert place.next().files == {str(place.root / name / "x.c") for name in ("real", "one", "two")}


def test_a_link_to_a_directory_is_turned(place: Place) -> None:
    """A "current" link moves from one release to the next: its files are told, the new directory is watched, the old
    one is not."""
    old, new = place.write("v1/x.c"), place.write("v2/x.c", "other\n")
    link = place.root / "deep" / "current"
    link.parent.mkdir()
    link.symlink_to("../v1")
    place.watch(link)
    (place.root / "deep" / "temporary").symlink_to("../v2")
    os.rename(place.root / "deep" / "temporary", link)
    assert place.next().files == {str(link / "x.c")}
    new.write_text("new")
    assert place.next().files == {str(link / "x.c")}
    old.write_text("not ours any more")
    assert place.watcher.next(0.3) is None


def test_a_link_to_a_file_is_turned(place: Place) -> None:
    """Then it is the new target that counts, wherever it is."""
    place.write("a/x.c")
    new = place.write("b/x.c")
    link = place.root / "link.c"
    link.symlink_to("a/x.c")
    place.watch()
    link.unlink()
    link.symlink_to("b/x.c")
    assert place.next().files == {str(link)}
    new.write_text("new")
    assert place.next().files == {str(link)}
    link.unlink()
    link.write_text("a file now")
    assert place.next().files == {str(link)}
    new.write_text("nobody's")
    assert place.watcher.next(0.3) is None


def test_a_chain_of_links(place: Place) -> None:
    """A link to a link in another directory: an edit of the file and a turn of the middle one are told."""
    target, other = place.write("c/x.c"), place.write("c/y.c")
    middle, link = place.root / "b" / "middle", place.root / "link.c"
    middle.parent.mkdir()
    middle.symlink_to(target)
    link.symlink_to("b/middle")
    place.watch()
    target.write_text("new")
    assert place.next().files == {str(link)}
    middle.unlink()
    middle.symlink_to(other)
    assert place.next().files == {str(link)}
    other.write_text("new")
    assert place.next().files == {str(link)}


def test_a_broken_link_is_repaired_with_its_directory(place: Place) -> None:
    """The link leads to a directory that is made only later."""
    link = place.root / "link.c"
    link.symlink_to("far/away/x.c")
    place.watch()
    made = place.write("far/away/x.c")
    assert str(link) in place.names(link)
    place.rest()
    made.write_text("new")
    assert place.next().files == {str(link)}
    shutil.rmtree(place.root / "far")
    assert place.next().files == {str(link)}


def test_links_that_lead_nowhere(place: Place) -> None:
    """A loop of links, as a file and as a directory, disturbs nobody."""
    (place.root / "loop.c").symlink_to("loop.c")
    (place.root / "round").symlink_to("round")
    path = place.write("x.c")
    place.watch(place.root, place.root / "round")
    path.write_text("new")
    assert place.next().files == {str(path)}


def test_hard_links(place: Place) -> None:
    """A write through one name changes them all; both written at once are one set."""
    one = place.write("a/x.c")
    two = place.root / "b" / "y.c"
    two.parent.mkdir()
    os.link(one, two)
    place.watch(one.parent, two.parent)
    one.write_text("new")
    assert place.next().files == {str(one), str(two)}
    one.write_text("newer")
    two.write_text("newest")
    assert place.next().files == {str(one), str(two)}
    two.unlink()
    assert place.names(two)
    place.rest()
    two.write_text("a file of its own")
    place.again(one.parent, two.parent)
    assert place.next().files == {str(two)}
    one.write_text("alone")
    assert place.next().files == {str(one)}


# --- directories ----------------------------------------------------------------------------------------------------


def test_a_project_in_a_public_place_is_replaced(place: Place) -> None:
    """rm -rf and a new clone in a directory like /tmp: it is found again."""
    place.root.chmod(0o1777)
    top = place.root / "project"
    path = place.write("project/src/x.c")
    place.watch(top / "src")
    shutil.rmtree(top)
    assert str(path) in place.names(path)
    place.write("project/src/x.c", "cloned")
    assert str(path) in place.names(path)
    place.rest()
    path.write_text("edited")
    assert place.next().files == {str(path)}


def test_two_trees_change_places(place: Place) -> None:
    """A directory far above is moved away and another takes its name: every file there counts as changed."""
    path = place.write("a/b/c/x.c")
    place.write("new/b/c/x.c", "other")
    watcher = place.watch(path.parent)
    os.rename(place.root / "a", place.root / "old")
    os.rename(place.root / "new", place.root / "a")
    until(watcher.pending, "the files that went are pending before anybody waits")
    assert str(path) in place.names(path)
    while watcher.next(0.2):
        pass
    path.write_text("edited")
    assert place.next().files == {str(path)}
    (place.root / "old/b/c/x.c").write_text("nobody's")
    assert watcher.next(0.3) is None


def test_a_directory_that_is_filled_at_once(place: Place) -> None:
    """Five hundred files copied into a directory that did not exist: all are told, though most were closed before it
    was watched."""
    source = place.root / "source"
    source.mkdir()
    for number in range(500):
        (source / f"{number}.c").write_text("x")
    made = place.root / "deep" / "er"
    place.watch(made)
    shutil.copytree(source, made)
    place.names(*(made / f"{number}.c" for number in range(500)))


def test_a_directory_that_is_moved_in(place: Place) -> None:
    """Renamed into place, complete: its files are told, and their edits afterwards."""
    place.write("prepared/x.c")
    made = place.root / "made"
    place.watch(made)
    os.rename(place.root / "prepared", made)
    assert place.next().files == {str(made / "x.c")}
    (made / "x.c").write_text("new")
    assert place.next().files == {str(made / "x.c")}


def test_a_directory_that_is_moved_away_and_back(place: Place) -> None:
    """Its files go, and are there again, changed or not."""
    path = place.write("sub/y.c")
    place.watch(place.root, path.parent)
    os.rename(path.parent, place.root / "other")
    assert place.next().files == {str(path)}
    os.rename(place.root / "other", path.parent)
    assert str(path) in place.names(path)
    place.rest()
    path.write_text("new")
    assert place.next().files == {str(path)}


@pytest.mark.parametrize("name", ["new", "link.c", "moved.c"])
def test_what_changed_before_the_watch(place: Place, name: str) -> None:
    """A directory that is new to the watch is looked through for what changed since the pass began: written, linked or
    moved there; what was there before is not told."""
    late = place.write("late/old.c").parent
    outside = place.write("outside/moved.c")
    until(lambda: time.time() - outside.stat().st_ctime > 0.2, "the old files are old")
    place.watch()
    since = time.time()
    changed = late / name
    if name == "new":
        changed = place.write("late/new.c")
    elif name == "link.c":
        changed.symlink_to(outside)
    else:
        os.rename(outside, changed)
    assert place.watcher.watch([str(late)], since) == []
    assert place.next().files == {str(changed)}
    assert place.watcher.missed(since) == {str(changed)}


def test_a_directory_becomes_a_file_and_back(place: Place) -> None:
    """Nothing breaks, and it is watched again."""
    path = place.write("sub/x.c")
    place.watch(place.root, path.parent)
    shutil.rmtree(path.parent)
    path.parent.write_text("a file")
    assert str(path) in place.names(path)
    path.parent.unlink()
    place.write("sub/x.c", "back")
    assert str(path) in place.names(path)
    place.rest()
    path.write_text("edited")
    assert place.next().files == {str(path)}


def test_a_listing_is_the_predicates_to_judge(place: Place) -> None:
    """Files that come and go in a watched directory are reported by their path, even if no input is called so; so is
    a directory in it."""
    watcher = Watcher(lambda path: True)
    place.open.append(watcher)
    assert watcher.watch([str(place.root)]) == []
    new = place.root / "data.txt"
    new.write_text("x")
    found = watcher.next(LIMIT)
    assert found and found.files == {str(new)}
    new.unlink()
    found = watcher.next(LIMIT)
    assert found and found.files == {str(new)}
    (place.root / "dir").mkdir()
    found = watcher.next(LIMIT)
    assert found and found.files == {str(place.root / "dir")}
    (place.root / "dir").rmdir()
    found = watcher.next(LIMIT)
    assert found and found.files == {str(place.root / "dir")}


def inotify_watches() -> int:
    """Watches of this process, as the kernel counts them (proc(5), fdinfo)."""
    total = 0
    for info in Path("/proc/self/fdinfo").iterdir():
        try:
            total += info.read_text().count("inotify wd:")
        except OSError:
            continue
    return total


def test_the_set_of_directories_changes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is new is watched, what is not wanted any more is let go, one watch a directory."""
    for number in range(30):
        place.write(f"d{number}/x.c")
    paths = [place.root / f"d{number}" for number in range(30)]
    before = inotify_watches()
    watcher = place.watch(*paths[:29])
    made: list[str] = []
    schedule = module._Events.watch

    def counted(self: module._Events, directory: str, depth: module._Depth) -> object:
        made.append(directory)
        return schedule(self, directory, depth)

    monkeypatch.setattr(module._Events, "watch", counted)
    first = inotify_watches() - before
    assert 29 <= first <= 29 + len(place.root.parts), "the directories above, each once"
    place.again(*paths[1:])
    assert made == [str(paths[29])]
    assert inotify_watches() - before == first
    (paths[0] / "x.c").write_text("nobody's")
    assert watcher.next(0.2) is None
    (paths[29] / "x.c").write_text("new")
    assert place.next().files == {str(paths[29] / "x.c")}


def test_nothing_is_done_while_nothing_happens(place: Place) -> None:
    """No timer and no wake-up: no thread of ours runs at all while one waits."""
    place.write("x.c")
    place.watch()
    assert place.watcher.next(0.2) is None

    def switches() -> int:
        total = 0
        for task in Path("/proc/self/task").iterdir():
            status = (task / "status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt"))
        return total

    before = switches()
    assert place.watcher.next(1.0) is None
    assert switches() - before <= 4, "a wait in the main thread, and no other"


def test_what_happens_beside_us_wakes_nobody(place: Place) -> None:
    """Files that come and go in the directories above (a home, /tmp) make no event at all, while ours is there."""
    path = place.write("project/x.c")
    place.watch(path.parent)
    events: list[str] = []
    assert place.watcher._events
    fd = place.watcher._events._observer._inotify_fd
    handle = fd.handle_event
    fd.handle_event = lambda event: (events.append(os.fsdecode(event.name)), handle(event))
    for number in range(50):
        (place.root / f"{number}.txt").write_text("x")
        (place.root / f"d{number}").mkdir()
    path.write_text("new")
    until(lambda: events, "the event that does concern us")
    assert place.next().files == {str(path)}
    assert set(events) == {path.name}


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_queue_that_really_overflows(place: Place) -> None:
    """More events than the kernel keeps: everything is suspect, and watching goes on."""
    path = place.write("x.c")
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip("this system keeps too many events to provoke it quickly")
    watcher = place.watch()
    script = f"import os, sys\nfor n in range({limit + 5000}): os.close(os.open(sys.argv[1] + str(n % 7), os.O_WRONLY | os.O_CREAT))"
    child = subprocess.Popen([sys.executable, "-c", script, str(place.root / "f")])
    usleep = ctypes.PyDLL(None).usleep  # a call that keeps the interpreter's lock: nobody reads the queue meanwhile
    while child.poll() is None:
        usleep(200_000)
    sets = [place.next()]
    while not sets[-1].everything:
        sets.append(place.next())
    assert sets[-1].note
    while watcher.next(0.3):
        pass
    path.write_text("new")
    assert place.next().files == {str(path)}


def test_an_overflow_that_hid_a_move(place: Place) -> None:
    """With the lost events a directory may have been replaced: after it the new one is watched."""
    path = place.write("sub/x.c")
    watcher = place.watch(path.parent)
    os.rename(path.parent, place.root / "away")
    place.write("sub/x.c", "other")
    with watcher._changed:
        watcher._shaken.clear()  # as if no event had come
    logging.getLogger("watchdog").warning("Inotify queue overflowed; filesystem events were lost")
    while not place.next().everything:
        pass
    while watcher.next(0.2):
        pass
    path.write_text("edited")
    assert place.next().files == {str(path)}


def test_an_overflow_is_heard_though_warnings_are_off(place: Place) -> None:
    """A program that silences all loggers below ERROR silences its terminal, not us."""
    root = logging.getLogger()
    level, own = root.level, logging.getLogger("watchdog").level
    root.setLevel(logging.ERROR)
    try:
        watcher = place.watch()
        logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; events were lost")
        assert watcher.pending()
        assert place.next().everything
    finally:
        root.setLevel(level)
        logging.getLogger("watchdog").setLevel(own)


LIMITED = """
import ctypes, errno, os, sys, time
sys.path.insert(0, sys.argv[1])
from hotreload_engine.watch import Watcher
if sys.argv[2] == "pretend":
    from watchdog.observers import inotify_c
    real, left = inotify_c.inotify_add_watch, [14]
    def limited(*words):
        left[0] -= 1
        if left[0] >= 0:
            return real(*words)
        ctypes.set_errno(errno.ENOSPC)
        return -1
    inotify_c.inotify_add_watch = limited
top = sys.argv[3]
directories = [f"{top}/d{n}" for n in range(20)]
for directory in directories:
    os.makedirs(directory)
    open(directory + "/x.c", "w").close()
watcher = Watcher(lambda path: path.endswith(".c"))
problems = watcher.watch(directories)
watcher.inputs(frozenset(d + "/x.c" for d in directories))
assert problems, "no problem was told"
assert all("max_user_watches" in problem.remedy and problem.where in directories for problem in problems), problems
assert 0 < len(problems) < 20, len(problems)
assert watcher.watch(directories) == [], "told twice"
blind = {problem.where for problem in problems}
for directory in (min(blind), min(set(directories) - blind)):
    with open(directory + "/x.c", "w") as file:
        file.write("new")
    found = watcher.next(30)
    assert found and found.files == {directory + "/x.c"}, found
watcher.close()
print("as it should be")
"""


@pytest.mark.parametrize("way", ["real", "pretend"])
def test_the_limit_of_watches(tmp_path: Path, way: str) -> None:
    """fs.inotify.max_user_watches is reached: said with its remedy, and what could not be watched is polled. For real in
    a user namespace with a limit of its own, where that may be made; by a kernel that says so otherwise."""
    command = [sys.executable, "-c", LIMITED, str(ROOT / "site_scons"), way, str(tmp_path / "tree")]
    if way == "real":
        inner = 'echo 14 >/proc/sys/user/max_inotify_watches && exec "$@"'
        namespace = ["unshare", "-Ur", "sh", "-c"]
        allowed = subprocess.run([*namespace, inner, "sh", "true"], capture_output=True).returncode == 0
        command = [*namespace, inner, "sh", *command] if allowed else [*command[:4], "pretend", command[5]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "as it should be\n", done.stderr


def test_no_inotify_at_all(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """max_user_instances is reached: said once, everything is polled."""
    from watchdog.observers import inotify_c

    def none_left(*words: object) -> int:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(inotify_c.InotifyFD, "_create_inotify_fd", none_left)
    path = place.write("x.c")
    watcher = Watcher(lambda path: path.endswith(".c"))
    place.open.append(watcher)
    (problem,) = watcher.watch([str(place.root)])
    assert "max_user_instances" in problem.remedy
    watcher.inputs(frozenset([str(path)]))
    path.write_text("new")
    found = watcher.next(LIMIT)
    assert found and found.files == {str(path)}


def test_a_directory_that_may_not_be_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """watchdog passes over EACCES in silence; we say it, and look at the files instead."""
    path = place.write("closed/x.c")
    access = os.access
    monkeypatch.setattr(module.os, "access", lambda name, mode: name != str(path.parent) and access(name, mode))
    watcher = Watcher(lambda path: path.endswith(".c"))
    place.open.append(watcher)
    (problem,) = watcher.watch([str(path.parent)])
    assert problem.where == str(path.parent) and problem.remedy
    watcher.inputs(frozenset([str(path)]))
    path.write_text("new")
    found = watcher.next(LIMIT)
    assert found and found.files == {str(path)}


def test_a_predicate_that_fails_is_not_silence(place: Place) -> None:
    """Its error comes out of next, in the thread that waits; the watcher lives on."""
    trouble = [True]

    def relevant(path: str) -> bool:
        if trouble:
            trouble.clear()
            raise LookupError(path)
        return True

    path = place.write("x.c")
    watcher = Watcher(relevant)
    place.open.append(watcher)
    assert watcher.watch([str(place.root)]) == []
    path.write_text("new")
    with pytest.raises(LookupError):
        watcher.next(LIMIT)
    path.write_text("newer")
    found = watcher.next(LIMIT)
    assert found and found.files == {str(path)}


def test_the_private_delay_of_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is where we set it; a watchdog that renamed it makes saves late, not an error."""
    from watchdog.observers import inotify_move_event_grouper as grouper

    assert "delay" in vars(grouper.InotifyMoveEventGrouper)
    assert module._do_not_wait_for_pairs()
    assert grouper.InotifyMoveEventGrouper()._queue.delay == 0.0
    monkeypatch.delattr(grouper.InotifyMoveEventGrouper, "delay")
    assert not module._do_not_wait_for_pairs()
    monkeypatch.delitem(sys.modules, grouper.__name__)
    monkeypatch.setitem(sys.modules, grouper.__name__, None)
    assert not module._do_not_wait_for_pairs()


WAITING = """
import signal, sys
sys.path.insert(0, sys.argv[1])
from hotreload_engine.watch import Watcher
def end(number, frame):
    raise SystemExit(42)
signal.signal(signal.SIGTERM, end)
watcher = Watcher(lambda path: False)
watcher.watch([sys.argv[2]])
try:
    print("waiting", flush=True)
    watcher.next(None)
except KeyboardInterrupt:
    sys.exit(43)
finally:
    watcher.close()
"""


@pytest.mark.parametrize("number,status", [(signal.SIGTERM, 42), (signal.SIGINT, 43)])
def test_signals_come_through(tmp_path: Path, number: int, status: int) -> None:
    """A wait without end is ended by what a handler raises, and everything is closed after it."""
    command = [sys.executable, "-c", WAITING, str(ROOT / "site_scons"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout and child.stdout.readline() == "waiting\n"
        child.send_signal(number)
        assert child.wait(LIMIT) == status


def test_closing_leaves_nothing(place: Place) -> None:
    """No thread, no descriptor, no logging handler is left; closing twice is fine."""

    def held() -> tuple[int, int, int]:
        descriptors = sum(os.path.exists(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))
        return threading.active_count(), descriptors, len(logging.getLogger("watchdog").handlers)

    Watcher(lambda path: True).close()  # imports and the like are done
    before = held()
    for number in range(20):
        place.write(f"d{number}/x.c")
    watcher = place.watch(*(place.root / f"d{number}" for number in range(20)))
    assert held() > before
    watcher.close()
    watcher.close()
    assert held() == before


# --- polling ----------------------------------------------------------------------------------------------------------


def test_polling_waits_for_a_file_that_grows(place: Place) -> None:
    """Between two looks it has grown: it is not told until it rests."""
    path = place.write("x.c")
    watcher = place.watch(poll=True)
    stop = threading.Event()

    def grow() -> None:
        with path.open("a") as file:
            while not stop.wait(0.005):
                file.write("more\n")
                file.flush()

    growing = during(grow)
    assert watcher.next(1.0) is None
    stop.set()
    growing.join()
    assert place.next().files == {str(path)}


def test_polling_sees_an_edit_during_the_build(place: Place) -> None:
    """Nobody waits in next: who asks whether something is pending makes the watcher look."""
    path = place.write("x.c")
    watcher = place.watch(poll=True)
    assert not watcher.pending()
    path.write_text("new")
    until(watcher.pending, "the edit is seen")
    assert place.next().files == {str(path)}


def test_polling_sees_what_comes_and_goes(place: Place) -> None:
    """New files, directories that are made, deleted, and replaced, links that are turned."""
    place.write("x.c")
    sub = place.root / "sub"
    link = place.root / "link.c"
    link.symlink_to("x.c")
    place.watch(place.root, sub, poll=True)
    new = place.write("y.c")
    assert place.next().files == {str(new)}
    made = place.write("sub/z.c")
    assert place.next().files == {str(made)}
    place.again(place.root, sub)
    shutil.rmtree(sub)
    assert place.next().files == {str(made)}
    link.unlink()
    link.symlink_to("y.c")
    place.again(place.root, sub)
    new.write_text("longer than before")
    assert place.names(link, new)


def test_polling_does_not_look_at_the_tree(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the known inputs and the listings of their directories are looked at."""
    path = place.write("x.c")
    for number in range(300):
        place.write(f"data/{number}.c")
        place.write(f"{number}.txt")
    watcher = place.watch(poll=True)
    looked: list[str] = []
    look = module.signature
    monkeypatch.setattr(module, "signature", lambda name: (looked.append(name), look(name))[1])
    path.write_text("new")
    found = watcher.next(LIMIT)
    assert found and set(looked) == {str(path)}


# --- file systems -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path,silent",
    [
        ("/", False),
        ("/home/me/project", False),
        ("/mnt/c", True),
        ("/mnt/c/project", True),
        ("/mnt/cd", False),
        ("/mnt/c/linux/x", False),
        ("/net/a disk/x", True),
        ("/net/größe/x", True),
        ("/ssh/x", True),
    ],
)
def test_file_systems_without_events(path: str, silent: bool) -> None:
    """The innermost mount decides; fuse.sshfs is FUSE."""
    mounts = {
        "/": "ext4", "/mnt/c": "9p", "/mnt/c/linux": "ext4", "/net/a disk": "nfs4", "/net/größe": "cifs", "/ssh": "fuse.sshfs",
    }  # fmt: skip
    assert module._is_silent(path, mounts) == silent


def test_the_table_of_mounts() -> None:
    """All that the kernel lists is in it, the root too (which a chroot has not); each place has a type."""
    mounts = module._mounts()
    listed = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    assert {place for place in listed if "\\" not in place} <= mounts.keys()
    assert all(mounts.values()) and mounts["/proc"] == "proc"


def test_a_silent_file_system_is_polled(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory on it is looked at; one beside it is not; a link that leads there is."""
    far, near = place.write("far/x.c"), place.write("near/x.c")
    link = place.root / "near" / "link.c"
    link.symlink_to("../far/x.c")
    monkeypatch.setattr(module, "_mounts", lambda: {"/": "ext4", str(place.root / "far"): "virtiofs"})
    watcher = place.watch(far.parent, near.parent)
    assert watcher._polled == {str(far.parent)} and watcher._polled_links == {str(link)}
    far.write_text("new")
    assert place.names(far, link)
    near.write_text("new")
    assert place.names(near)


def test_a_single_save_may_be_had_before_it_has_settled(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes at once, with the time at which it will have settled; given back, it comes again with what came since."""
    x, y = place.write("x.c"), place.write("y.c")
    watcher = place.watch()
    with monkeypatch.context() as patch:
        patch.setattr(module, "QUIET_ONE", LIMIT)
        x.write_text("new")
        early = watcher.next(LIMIT, early=True)
        assert early and early.files == {str(x)}
        assert early.settled_at == pytest.approx(early.last_at + LIMIT)
    y.write_text("new too")
    until(watcher.pending, "the second save is heard of")
    watcher.put_back(early)
    both = place.next()
    assert both.files == {str(x), str(y)} and both.first_at == early.first_at and not both.settled_at
    place.is_quiet()


def test_what_more_is_to_be_expected_of_is_not_had_early(place: Place) -> None:
    """A name that went may come back; the end of the silence is waited for."""
    x = place.write("x.c")
    watcher = place.watch()
    x.unlink()
    gone = watcher.next(LIMIT, early=True)
    assert gone and not gone.settled_at
    assert time.monotonic() >= gone.last_at + module.GONE
