"""docs/events.schema.json as tests hold events against it: closed, so that a field that it does not name is an error."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema

PATH = Path(__file__).resolve().parent.parent / "docs" / "events.schema.json"


def read() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return schema


def names() -> set[str]:
    return {each["$ref"].rpartition("/")[2] for each in read()["oneOf"]}


def check(event: dict[str, Any]) -> None:
    """Raises ValueError where the event is not what the schema says."""
    try:
        _validator(event["event"])(event)
    except fastjsonschema.JsonSchemaException as error:
        raise ValueError(f"{PATH.name}: {error.message}: {event}") from None


@functools.cache
def _validator(name: str) -> Callable[[Any], Any]:
    definitions = _closed(read()["definitions"])
    validator: Callable[[Any], Any] = fastjsonschema.compile({**definitions[name], "definitions": definitions})
    return validator


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    return {**closed, "additionalProperties": False} if "properties" in schema else closed
