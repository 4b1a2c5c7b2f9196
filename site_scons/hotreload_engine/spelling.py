"""Types, and what objects of them hold, as a person writes them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from .debug import Array, Enum, Function, Opaque, Pointer, Record, Scalar, Type
from .kinds import fields, is_text


def spelt(type_: Type, bits: int = 0) -> str:
    width = f":{bits}" if bits else ""
    if isinstance(type_, Scalar):
        return type_.name + width
    if isinstance(type_, Enum):
        return f"enum {type_.name}".strip() + width
    if isinstance(type_, Pointer):
        return "pointer"
    if isinstance(type_, Array):
        return f"{spelt(type_.of)}[{type_.count}]"
    if isinstance(type_, Record):
        return f"{type_.kind} {type_.name}".strip()
    return "function" if isinstance(type_, Function) else type_.name or "?"


def value(type_: Type, data: bytes) -> str:
    """A number, an enumerator or a text as a person writes it; "" for anything larger."""
    if isinstance(type_, Enum):
        number = int.from_bytes(data, "little", signed=type_.signed)
        return next((name for name, each in type_.values if each == number), str(number))
    if isinstance(type_, Scalar):
        if type_.kind == "float" and type_.size in (4, 8):
            return f"{struct.unpack('<f' if type_.size == 4 else '<d', data)[0]:.7g}"
        if type_.kind in ("signed", "unsigned"):
            return str(int.from_bytes(data, "little", signed=type_.kind == "signed"))
        if type_.kind == "bool":
            return "true" if any(data) else "false"
        return data.hex() if any(data) else "0"  # long double, complex
    if isinstance(type_, Array) and is_text(type_.of):
        text = data.split(b"\0")[0]
        return '"' + text.decode("utf-8", "replace") + '"' if len(text) < 40 else ""
    if isinstance(type_, Pointer):
        return "NULL" if not any(data) else ""
    return ""


def with_value(name: str, type_: Type, read: Callable[[int, int], bytes]) -> str:
    """``vy = 0``: what a new field begins as, where that can be said in a word.

    ``read``: (offset, size) → what is there in a new object of ``type_``.
    """
    at, found = 0, type_
    for part in name.split("."):
        member = next((f for f in fields(found) if f.name == part), None) if isinstance(found, Record) else None
        if member is None or member.bits or (isinstance(found, Record) and found.kind == "union"):
            return name
        at, found = at + member.bits_at // 8, member.type
    begins_as = value(found, read(at, found.size))
    return f"{name} = {begins_as}" if begins_as else name


def why(*types: Type) -> str:
    """Why an object cannot be looked into, of the first of these that tells."""
    return next((type_.why for type_ in types if isinstance(type_, Opaque)), "its type changed")
