"""The settle rule on simulated timelines: what is delivered, and when, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotreload_engine.watch import GIT_LONGEST, GONE, LONGEST, QUIET_MANY, QUIET_ONE, Kind, Sighting, due, sight


class Seen(NamedTuple):
    ms: float
    name: str
    kind: Kind = "content"
    alias: bool = False


Delivery = tuple[float, str]


def play(events: Sequence[Seen], locks: Sequence[tuple[float, float]] = (), quiet: float = 0.0) -> list[Delivery]:
    """What the watcher does with events at these times, the clock being ours: (ms, names) of each delivery.

    ``locks``: from when to when git's lock exists.
    """
    pending: dict[str, Sighting] = {}
    deliveries: list[Delivery] = []
    edges = sorted({edge for lock in locks for edge in lock})
    times = sorted([*(event.ms for event in events), *edges])
    left = sorted(events, key=lambda event: event.ms)
    for index, at in enumerate(times):
        while left and left[0].ms <= at:
            event = left.pop(0)
            pending[event.name] = sight(pending.get(event.name), event.ms / 1000, event.kind, event.alias)
        until = times[index + 1] if index + 1 < len(times) else float("inf")
        locked = any(start <= at < end for start, end in locks)
        when = 1000 * due(pending, locked, quiet)
        if pending and when < until:
            deliveries.append((round(max(when, at), 3), " ".join(sorted(pending))))
            pending.clear()
    return deliveries


ONE, MANY, LONG, AWAY, GIT = (1000 * seconds for seconds in (QUIET_ONE, QUIET_MANY, LONGEST, GONE, GIT_LONGEST))

TIMELINES: dict[str, tuple[list[Seen], list[Delivery]]] = {
    "nothing": ([], []),
    "one save": ([Seen(0, "a")], [(ONE, "a")]),
    "two saves of one file within the silence": ([Seen(0, "a"), Seen(1.5, "a")], [(1.5 + ONE, "a")]),
    "two saves of one file, 5 ms apart": ([Seen(0, "a"), Seen(5, "a")], [(ONE, "a"), (5 + ONE, "a")]),
    "a file that is written without a pause": ([Seen(t, "a") for t in range(400)], [(399 + ONE, "a")]),
    "save all: two files at once": ([Seen(0, "a"), Seen(1, "b")], [(1 + MANY, "a b")]),
    "save all: slower than one name's silence": ([Seen(0, "a"), Seen(3, "b")], [(ONE, "a"), (3 + ONE, "b")]),
    "save all: the third comes late": ([Seen(0, "a"), Seen(1, "b"), Seen(14, "c")], [(14 + MANY, "a b c")]),
    "a stream of names has an end": (
        [Seen(t, f"f{t % 7}") for t in range(0, 300)],
        [(LONG, "f0 f1 f2 f3 f4 f5 f6"), (299 + MANY, "f0 f1 f2 f3 f4 f5 f6")],
    ),
    "a generator that pauses longer": (
        [Seen(0, "a"), Seen(1, "b"), Seen(30, "c"), Seen(31, "d")],
        [(1 + MANY, "a b"), (31 + MANY, "c d")],
    ),
    "deleted": ([Seen(0, "a", "gone")], [(AWAY, "a")]),
    "deleted, and made again at once": ([Seen(0, "a", "gone"), Seen(4, "a")], [(4 + ONE, "a")]),
    "deleted, and made again just in time": ([Seen(0, "a", "gone"), Seen(AWAY - 1, "a")], [(AWAY - 1 + ONE, "a")]),
    "deleted, and made again later": ([Seen(0, "a", "gone"), Seen(90, "a")], [(AWAY, "a"), (90 + ONE, "a")]),
    "saved, then deleted": ([Seen(0, "a"), Seen(1, "a", "gone")], [(1 + AWAY, "a")]),
    "renamed: the two names are one set": ([Seen(0, "a", "gone"), Seen(0.1, "b")], [(AWAY, "a b")]),
    "renamed and back": (
        [Seen(0, "a", "gone"), Seen(0.1, "b"), Seen(1, "b", "gone"), Seen(1.1, "a")],
        [(1 + AWAY, "a b")],
    ),
    "two names swapped through a third": (
        [Seen(0, "a", "gone"), Seen(0.1, "t"), Seen(0.2, "b", "gone"), Seen(0.3, "a"), Seen(0.4, "t", "gone"), Seen(0.5, "b")],
        [(0.4 + AWAY, "a b t")],
    ),
    "a directory of files is deleted": ([Seen(t, f"f{t}", "gone") for t in range(3)], [(2 + AWAY, "f0 f1 f2")]),
    "one is deleted, another is saved long after": (
        [Seen(0, "a", "gone"), Seen(50, "b"), Seen(55, "b")],
        [(AWAY, "a b")],
    ),
    "a time is set": ([Seen(0, "a", "touched")], [(AWAY, "a")]),
    "a mode is set in the middle of a save": ([Seen(0, "a", "touched"), Seen(40, "a")], [(40 + ONE, "a")]),
    "a mode is set after a save": ([Seen(0, "a"), Seen(1, "a", "touched")], [(ONE, "a")]),
    "a time is set, then it is deleted": ([Seen(0, "a", "touched"), Seen(5, "a", "gone")], [(5 + AWAY, "a")]),
    "times of a tree are set": ([Seen(t, f"f{t}", "touched") for t in range(3)], [(2 + AWAY, "f0 f1 f2")]),
    "two names of one file are one save": ([Seen(0, "a"), Seen(0, "l", "content", True)], [(ONE, "a l")]),
    "two names of one file, and another file": (
        [Seen(0, "a"), Seen(0, "l", "content", True), Seen(1, "b")],
        [(1 + MANY, "a b l")],
    ),
    "a name that was an alias is saved itself": (
        [Seen(0, "a"), Seen(0, "l", "content", True), Seen(1, "l")],
        [(1 + MANY, "a l")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TIMELINES)
def test_timeline(name: str) -> None:
    """Each timeline is delivered in these sets at these times."""
    events, expected = TIMELINES[name]
    assert play(events) == [(pytest.approx(ms), names) for ms, names in expected]


CHECKOUT = [Seen(10 + t * 0.4, f"f{t:03}") for t in range(300)]
EVERY = " ".join(sorted({event.name for event in CHECKOUT}))

GIT_TIMELINES: dict[str, tuple[list[Seen], list[tuple[float, float]], list[Delivery]]] = {
    "a checkout is one set, as soon as the lock is gone": (CHECKOUT, [(0, 200)], [(200, EVERY)]),
    "the lock goes with the last file: the silence still counts": (CHECKOUT, [(0, 130)], [(CHECKOUT[-1].ms + MANY, EVERY)]),
    "a slow checkout: longer than a stream may take": (
        [Seen(0, "a"), Seen(400, "b"), Seen(3000, "c")],
        [(0, 3100)],
        [(3100, "a b c")],
    ),
    "one file while git is at work": ([Seen(5, "a")], [(0, 50)], [(50, "a")]),
    "a lock that never goes": ([Seen(5, "a")], [(0, 60_000)], [(5 + GIT, "a")]),
    "a lock that comes after the save": ([Seen(0, "a")], [(1, 30)], [(30, "a")]),
    "a lock that comes after the delivery": ([Seen(0, "a")], [(10, 30)], [(ONE, "a")]),
    "two steps of a rebase": (
        [Seen(5, "a"), Seen(6, "b"), Seen(45, "a"), Seen(46, "c")],
        [(0, 10), (12, 50)],
        [(46 + MANY, "a b c")],
    ),
    "a file that git takes away is away long enough when the lock goes": ([Seen(5, "a", "gone")], [(0, 300)], [(300, "a")]),
    "a file that git takes away at the end": ([Seen(5, "a"), Seen(295, "b", "gone")], [(0, 300)], [(295 + AWAY, "a b")]),
    "a file that git replaces": ([Seen(5, "a", "gone"), Seen(80, "a")], [(0, 100)], [(100, "a")]),
}  # fmt: skip


@pytest.mark.parametrize("name", GIT_TIMELINES)
def test_git_timeline(name: str) -> None:
    """Nothing is delivered while git holds its lock, but no longer than it may."""
    events, locks, expected = GIT_TIMELINES[name]
    assert play(events, locks) == [(pytest.approx(ms), names) for ms, names in expected]


@pytest.mark.parametrize(
    "events,expected",
    [
        ([Seen(0, "a")], [(50, "a")]),
        ([Seen(0, "a"), Seen(0, "b")], [(50, "a b")]),
        ([Seen(0, "a"), Seen(49, "a")], [(99, "a")]),
        ([Seen(0, "a", "gone")], [(AWAY, "a")]),
        ([Seen(t, "ab"[t // 40 % 2]) for t in range(0, 400, 40)], [(250, "a b"), (410, "a b")]),
    ],
)
def test_polled_timeline(events: list[Seen], expected: list[Delivery]) -> None:
    """With polling the silence is as long as the time between two looks."""
    assert play(events, quiet=0.05) == [(pytest.approx(ms), names) for ms, names in expected]


@pytest.mark.parametrize(
    "sightings,lost,when",
    [
        ({}, Sighting(1, 1, "content"), 1 + QUIET_MANY),
        ({}, Sighting(1, 1.2, "content"), 1.2 + QUIET_MANY),
        ({}, Sighting(1, 1.249, "content"), 1 + LONGEST),
        ({"a": Sighting(1.01, 1.01, "content")}, Sighting(1, 1, "content"), 1.01 + QUIET_MANY),
    ],
)
def test_lost_events_settle_too(sightings: dict[str, Sighting], lost: Sighting, when: float) -> None:
    """A queue overflows in the middle of something big: it is waited for, as for several names."""
    assert due(sightings, False, lost=lost) == pytest.approx(when)


SEEN = st.builds(
    Seen,
    st.integers(0, 600).map(float),
    st.sampled_from("abc"),
    st.sampled_from(["content", "gone", "touched"]),
)


@given(
    st.lists(SEEN, max_size=40), st.lists(st.tuples(st.integers(0, 600), st.integers(0, 600)).map(sorted), max_size=2)
)
def test_nothing_is_lost_and_nothing_comes_early(events: list[Seen], locks: list[list[int]]) -> None:
    """Whatever happens: the last event of each name is delivered, no name while it may be in the middle of a save."""
    spans = [(float(start), float(end)) for start, end in locks]
    deliveries = play(events, spans)
    for name in {event.name for event in events}:
        last = max(event.ms for event in events if event.name == name)
        delivered = [ms for ms, names in deliveries if name in names.split()]
        assert delivered and max(delivered) >= last
    for ms, names in deliveries:
        assert not any(start <= ms < end for start, end in spans), "no lock is held for ten seconds here"
        for name in names.split():
            before = [event for event in events if event.name == name and event.ms <= ms]
            newest = max(before, key=lambda event: event.ms, default=None)
            same = [event for event in before if newest and event.ms == newest.ms]
            if newest and all(event.kind == "gone" for event in same):
                assert ms >= newest.ms + AWAY - 0.01
    assert [ms for ms, _ in deliveries] == sorted(ms for ms, _ in deliveries)
