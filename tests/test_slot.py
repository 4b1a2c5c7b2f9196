"""The run directory: publishing, the pointer, garbage; and what is believed of it."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from hotreload_engine import hosts
from hotreload_engine.model import HotReloadError, Image
from hotreload_engine.slot import KEPT, Slot, parse_record


def image(data: bytes) -> Image:
    return Image("lib", len(data), data.hex().ljust(32, "0")[:32], "", "DYN", "EM_X86_64", 64)


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    tmp_path.chmod(0o700)
    return Slot(str(tmp_path / "libplug.so"))


def publish(slot: Slot, data: bytes) -> int:
    return slot.publish(image(data), data).number


def test_generations_are_numbered_and_immutable(slot: Slot) -> None:
    """Each new content is a new file; the pointer names the newest."""
    assert [publish(slot, b"one"), publish(slot, b"two"), publish(slot, b"three")] == [1, 2, 3]
    newest = slot.newest()
    assert newest and newest.number == 3 and Path(newest.path).read_bytes() == b"three"
    assert len([name for name in os.listdir(slot.directory) if name.endswith(".so")]) == 3


def test_equal_bytes_are_not_published_again(slot: Slot) -> None:
    """The newest generation's bytes again are that generation; an older one's are a new generation."""
    assert [publish(slot, b"one"), publish(slot, b"one"), publish(slot, b"two"), publish(slot, b"one")] == [1, 1, 2, 3]


def test_a_published_file_that_is_gone_or_cut_is_published_again(slot: Slot) -> None:
    """The pointer alone is not believed."""
    publish(slot, b"one")
    generation = slot.newest()
    assert generation
    Path(generation.path).write_bytes(b"o")
    assert publish(slot, b"one") == 2


@pytest.mark.parametrize(
    "damage", [b"", b"garbage", b"hotreload-generation 1\nnumber 7\nsum 00000000\n", b"\xff" * 4096]
)
def test_a_damaged_pointer_counts_as_none(slot: Slot, damage: bytes) -> None:
    """Numbers go on from the files that are there: a name is never used twice."""
    publish(slot, b"one")
    Path(slot.directory, "libplug.so.newest").write_bytes(damage)
    assert slot.newest() is None
    assert publish(slot, b"two") == 2


def test_a_fifo_holds_nobody_up(slot: Slot) -> None:
    """What is no regular file is not read, and the next publication takes its place."""
    publish(slot, b"one")
    pointer = Path(slot.directory, "libplug.so.newest")
    pointer.unlink()
    os.mkfifo(pointer)
    os.mkfifo(Path(slot.directory, "libplug.so.host.1.1"))
    assert slot.newest() is None
    with pytest.raises(HotReloadError):
        slot.read_record(os.path.join(slot.directory, "libplug.so.host.1.1"))
    assert hosts.census(slot).hosts == ()
    assert publish(slot, b"two") == 2


@pytest.mark.parametrize("place", ["directory", "parent"])
def test_places_that_others_can_write_are_refused(slot: Slot, place: str) -> None:
    """The text names the place and what to do."""
    publish(slot, b"one")
    path = Path(slot.directory) if place == "directory" else Path(slot.directory).parent
    path.chmod(0o777)
    with pytest.raises(HotReloadError) as error:
        publish(slot, b"two")
    assert error.value.where == str(path) and "chmod" in error.value.remedy
    newest = slot.newest()
    assert newest and newest.number == 1


def test_a_private_group_is_accepted(slot: Slot) -> None:
    """umask 002 with a group of one's own is Debian's default."""
    Path(slot.directory).parent.chmod(0o775)
    assert Path(slot.directory).parent.stat().st_uid == Path(slot.directory).parent.stat().st_gid
    assert publish(slot, b"one") == 1


def test_garbage_is_collected_but_not_what_hosts_use(slot: Slot) -> None:
    """KEPT generations stay, and those that are in use."""
    for number in range(KEPT + 10):
        publish(slot, b"%d" % number)
    files = sorted(name for name in os.listdir(slot.directory) if name.endswith(".so"))
    used = next(name for name in files if name.startswith("libplug.so.2-"))
    slot.collect([used])
    left = [name for name in os.listdir(slot.directory) if name.endswith(".so")]
    assert len(left) == KEPT + 1 and used in left


def _publish_many(library: str, start: int) -> None:
    slot = Slot(library)
    for number in range(start, start + 40):
        publish(slot, b"content %d" % number)


def test_two_publishers_at_once(slot: Slot) -> None:
    """No number and no name is used twice, and the pointer is whole."""
    workers = [
        multiprocessing.get_context("spawn").Process(target=_publish_many, args=(slot.library, n)) for n in (0, 100)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    numbers = sorted(
        int(name.split(".")[2].split("-")[0]) for name in os.listdir(slot.directory) if name.endswith(".so")
    )
    assert numbers == list(range(1, 81))
    newest = slot.newest()
    assert newest and newest.number == 80


def test_trouble_is_kept_until_the_next_good_build(slot: Slot) -> None:
    """Whoever asks later is told why the newest edit does not run."""
    slot.set_trouble("it does not compile")
    assert slot.trouble() == "it does not compile"
    publish(slot, b"one")
    assert slot.trouble() == ""


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 4096, b"hotreload-host 2\nsum 00000000\n", b"hotreload-host 1\npid x\nsum 0\n"]
)
def test_what_is_no_record(data: bytes) -> None:
    """Garbage, other versions and wrong sums get one clear text."""
    with pytest.raises(HotReloadError) as error:
        parse_record(data, "/run/x")
    assert "not a control record" in error.value.what and error.value.where == "/run/x"
