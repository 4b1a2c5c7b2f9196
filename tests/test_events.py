"""docs/events.schema.json: what every event that the tests see is held against (``harness.Watch.events``)."""

from __future__ import annotations

import fastjsonschema
import pytest

import events_schema
from harness import ROOT
from hotreload_engine import report

HOST = {"event": "host", "time": 1.5, "iteration": 0, "pid": 1, "state": "ended"}


def test_it_is_a_schema_and_names_every_event() -> None:
    """Also as a whole, as a reader of events would use it; and the README leads to it."""
    validate = fastjsonschema.compile(events_schema.read())
    assert validate(HOST) == HOST
    assert events_schema.names() == set(report._LINES)
    assert "docs/events.schema.json" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_readers_take_what_is_added_later() -> None:
    fastjsonschema.compile(events_schema.read())({**HOST, "colour": "red"})


@pytest.mark.parametrize("wrong", [{"colour": "red"}, {"pid": "1"}, {"state": None}, {"event": "hosts"}], ids=str)
def test_events_of_tests_are_held_against_it_closed(wrong: dict[str, object]) -> None:
    events_schema.check(HOST)
    with pytest.raises((ValueError, KeyError)):
        events_schema.check({**HOST, **wrong})
