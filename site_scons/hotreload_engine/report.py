"""Events → what a person reads, or NDJSON. Reads nothing but the model.

A line per result, with counts and times; what less than a reload happened always says why. Text is only ever appended:
no cursor movement, so scrollback stays and a pipe sees the same lines.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from io import RawIOBase
from typing import Any, TextIO

from .diagnostics import errors_first
from .model import Event
from .screen import Screen

Sink = Callable[[Event], None]
_Fields = Mapping[str, Any]

_COLOURS = {"good": "32", "bad": "31;1", "warn": "33", "dim": "2"}


class Style:
    """Marks a text as good, bad, warn or dim: in colour, or not at all. ``verbose``: nothing is left out."""

    def __init__(self, colour: bool, verbose: bool = False) -> None:
        self._colour = colour
        self.verbose = verbose

    def __call__(self, kind: str, text: str) -> str:
        return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if self._colour else text


def wants_colour(stream: TextIO) -> bool:
    """Colour only on a terminal that can, and never against NO_COLOR (no-color.org)."""
    return can_rewrite(stream) and not os.environ.get("NO_COLOR")


def can_rewrite(stream: TextIO) -> bool:
    """Whether it is a terminal whose current line can be written anew."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def terminal(stream: TextIO, quiet: bool = False, screen: Screen | None = None, marks: bool = False) -> Sink:
    """Prints lines for a person; ``quiet`` leaves out all but trouble and its end. ``screen``: they go there.

    ``marks``: also a line where each build begins and ends, for a program that reads them.
    """
    style = Style(wants_colour(stream))
    stream = screen.stream if screen else stream

    def show(event: Event) -> None:
        out = [_MARKS[event.event]] if marks and event.event in _MARKS else []
        if not quiet or event.event not in _CHATTY or not event.fields.get("ok", True) or event.fields.get("fixed"):
            style.verbose = bool(screen and screen.verbose)
            out += lines(event, style)
        if text := "\n".join(out):
            wraps = not marks and not event.fields.get("output")
            try:
                stream.write(screen.framed(text, wraps) if screen else text + "\n")
                stream.flush()
            except BrokenPipeError:
                _unread(stream)

    return show


def ndjson(stream: RawIOBase, failed: Callable[[OSError], None]) -> Sink:
    """Writes one JSON object a line, at once. What cannot be written is kept for the next time; ``failed`` is told when
    that begins."""
    left = b""

    def write(event: Event) -> None:
        nonlocal left
        row = {"event": event.event, "time": event.time, "iteration": event.iteration, **event.fields}
        had_failed = bool(left)
        left += json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            while left and (count := stream.write(left)):
                left = left[count:]
        except BrokenPipeError:
            left = b""
            _unread(stream)
        except OSError as error:
            if not had_failed:
                failed(error)

    return write


def _unread(stream: TextIO | RawIOBase) -> None:
    """Whoever read the stream has ended: what else is written there goes nowhere. That is not what ends a session (see
    SIGPIPE there), so that what is done once is done to its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def both(*sinks: Sink) -> Sink:
    def send(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return send


def lines(event: Event, style: Style) -> list[str]:
    """What a person reads of an event; empty when it is only for programs."""
    render = _LINES.get(event.event)
    return render(event.fields, style) if render else []


# --- one function an event ----------------------------------------------------------------------------------


def _ready(fields: _Fields, style: Style) -> list[str]:
    text = [f"watching {_count(fields['files'], 'file')} in {_count(fields['directories'], 'directory')}"]
    for plugin in fields["plugins"]:
        number = plugin["generation"]
        text.append(f"{plugin['plugin']} #{number}" if number else f"{plugin['plugin']} is not built yet")
    hosts = [f"pid {host['pid']} {host['state']}" for host in fields["hosts"]]
    hosts += [f"pid {host['host']} {host['name']}" for host in fields.get("foreign", ()) if host["host"]]
    if fields["plugins"]:
        text += hosts or ["no host is running"]
    out = [" · ".join(text)]
    if fields.get("edit"):
        keys = "; h lists the keys" if fields.get("keys") else ""
        out.append(style("dim", f"edit {fields['edit']} and save it; Ctrl-C ends{keys}"))
    return out


def _change(fields: _Fields, style: Style) -> list[str]:
    note = [style("dim", fields["note"])] if fields.get("note") else []
    return note + ([style("dim", f"changed: {path}") for path in fields["files"]] if style.verbose else [])


def _key(fields: _Fields, style: Style) -> list[str]:
    return [style("dim", line) for line in fields["said"]]


def _build(fields: _Fields, style: Style) -> list[str]:
    out = []
    if fields.get("note"):
        out.append(style("warn", fields["note"]))
    if fields["output"]:
        out.append(fields["output"].rstrip("\n"))
    out += [style("dim", f"rebuilt {step['target']}: {step['why']}") for step in fields["why"]]
    if not fields["ok"]:
        return out
    fixed = style("good", "fixed") + " · " if fields.get("fixed") else ""
    if fields["unchanged"]:
        out.append(fixed + style("dim", "unchanged: nothing to build"))
    elif not fields["delivers"]:
        count = _count(len(fields["targets"]), "target")
        out.append(fixed + f"built {count} · {_work(fields)}")
    elif fixed:
        out.append(style("good", "fixed"))
    return out


def _error(fields: _Fields, style: Style) -> list[str]:
    out = [errors_first(fields["output"]).rstrip("\n")] if fields["output"] else []
    where = f"{fields['where']}: " if fields["where"] else ""
    out.append(style("bad", "error") + f" {where}{fields['what']}")
    if fields["remedy"]:
        out.append(f"  {fields['remedy']}")
    return out + _going_on(fields, style)


def _refused(fields: _Fields, style: Style) -> list[str]:
    out = [style("bad", f"refused {fields['plugin']}") + ": the new library was not given to any host"]
    for finding in fields["findings"]:
        out += _finding(finding, style)
    return out + _going_on(fields, style)


def _published(fields: _Fields, style: Style) -> list[str]:
    out = [row for finding in fields["findings"] if not finding.get("again") for row in _finding(finding, style)]
    by = f", by {fields['by']}" if fields.get("by") else ""
    if fields.get("restores"):
        out.append(
            style("warn", "undo") + f" {fields['plugin']} #{fields['generation']} is #{fields['restores']} again{by}"
        )
    count = fields["hosts"] + fields.get("foreign", 0)
    if not count or not fields["calls"] or (by and not fields["restores"]):
        name = style("good", "published") + f" {fields['plugin']} #{fields['generation']}{by}"
        hosts = f"{_count(count, 'host')} to be told: scons reload" if count else "no host is running"
        out.append(" · ".join([name, hosts, *([_work(fields)] if fields.get("of") else [])]))
    return out


def _reload(fields: _Fields, style: Style) -> list[str]:
    name = f"{fields['plugin']} #{fields['generation']}"
    if fields["pending"]:
        return [style("warn", "waiting") + f" {name} for pid {fields['host']}: {fields['reason']}"]
    if not fields["ok"]:
        if _ROLLED_BACK.fullmatch(fields["reason"]):
            return []
        goes_on = f"; it goes on with #{fields['running']}" if fields["running"] else ""
        return [style("bad", "not reloaded") + f" {name} in pid {fields['host']}{goes_on}: {fields['reason']}"]
    if fields["reason"]:
        return [f"{name} runs in pid {fields['host']}: {fields['reason']}"]
    parts = [style("good", "reloaded") + f" {name} in pid {fields['host']}"]
    if "of" in fields:
        parts.append(_work(fields))
    if fields["host_ms"]:
        parts.append(f"host {_ms(fields['host_ms'])}")
    if fields["save_to_reload_ms"] is not None:
        parts.append(f"{_ms(fields['save_to_reload_ms'])} from save")
    state = fields.get("state", "")
    dull = not state or (_ONLY_KEPT.fullmatch(state) and not style.verbose)
    return [" · ".join(parts), *([] if dull else [style("dim", "  " + state)])]


def _sent(fields: _Fields, style: Style) -> list[str]:
    if not fields["ok"]:
        remedy = [f"  {fields['remedy']}"] if fields["remedy"] else []
        return [style("warn", "not sent") + f" {fields['signal']} for {fields['plugin']}: {fields['reason']}", *remedy]
    parts = [style("good", "sent") + f" {fields['signal']} to pid {fields['host']} for {fields['plugin']}"]
    if "of" in fields:
        parts.append(_work(fields))
    if fields["save_to_sent_ms"] is not None:
        parts.append(f"{_ms(fields['save_to_sent_ms'])} from save")
    return [" · ".join(parts)]


def _crash(fields: _Fields, style: Style) -> list[str]:
    name = f"{fields['plugin']} #{fields['generation']} in pid {fields['host']}"
    where = f" in {fields['where']}" if fields["where"] else ""
    out = style("bad", "crashed") + f" {name}: {fields['what']}{where}"
    if fields["fate"] == "ended":
        return [f"{out}; it has ended" + (f": {fields['reason']}" if fields["reason"] else "")]
    now = next((host["generation"] for host in fields["running"] if host["pid"] == fields["host"]), None)
    old = fields.get("old_code")
    goes_on = f"; it goes on with #{now}, with the state as it was{'' if old else ' at the reload'}" if now else ""
    remedy = "  change the code" + (f"; or delete {fields['mark']} to try it again" if fields["mark"] else "")
    if old:
        told = fields["cause"].startswith("told")
        remedy = "  " + (
            "change the code: as it is, that function is not called again"
            if told
            else "save again: the next generation is taken without asking it"
        )
    return [out + goes_on, remedy]


def _host(fields: _Fields, style: Style) -> list[str]:
    carried = [part for part in fields.get("carried", ()) if part["state"]]
    several = len(fields.get("carried", ())) > 1
    words = [f"{part['plugin']}: {part['state']}" if several else part["state"] for part in carried]
    return [f"host pid {fields['pid']} {fields['state']}", *(style("dim", "  " + each) for each in words)]


def _stopped(fields: _Fields, style: Style) -> list[str]:
    return [style("dim", fields["reason"])]


_ONLY_KEPT = re.compile(
    r"|\d+ bytes kept|state: (empty|\d+ kept)|statics: \d+ kept|state: \d+ kept · statics: \d+ kept"
)
"""What became of the state when there is nothing to say about it."""

_ROLLED_BACK = re.compile(r"generation \d+ crashed: .*; generation \d+ goes on, with the state as it was: .*")
"""The header's words for a crash just now: the event ``crash`` tells more, with file and line."""

_LINES: dict[str, Callable[[_Fields, Style], list[str]]] = {
    "ready": _ready,
    "change": _change,
    "key": _key,
    "build": _build,
    "done": lambda fields, style: [],
    "error": _error,
    "refused": _refused,
    "published": _published,
    "reload": _reload,
    "sent": _sent,
    "crash": _crash,
    "host": _host,
    "stopped": _stopped,
}
_MARKS = {"change": "build begins", "done": "build ends"}
_CHATTY = frozenset({"ready", "change", "build", "published", "reload", "sent", "host", "stopped"})


# --- words --------------------------------------------------------------------------------------------------


def _finding(finding: Mapping[str, Any], style: Style) -> list[str]:
    kind = style("bad", "error") if finding["severity"] == "error" else style("warn", "warning")
    where = f"{finding['where']}: " if finding["where"] else ""
    return [f"  {kind} {where}{finding['what']}", *([f"    {finding['remedy']}"] if finding["remedy"] else [])]


def _going_on(fields: _Fields, style: Style) -> list[str]:
    running = [f"pid {host['pid']} goes on with #{host['generation']}" for host in fields.get("running", ())]
    return [style("dim", "  " + " · ".join(running))] if running else []


def _work(fields: _Fields) -> str:
    parts = [f"{fields['compiled']} of {_count(fields['of'], 'object')}"]
    if fields["compile_ms"]:
        parts.append(f"cc {_ms(fields['compile_ms'])}")
    if fields["link_ms"]:
        parts.append(f"link {_ms(fields['link_ms'])}")
    return " · ".join(parts)


def _count(number: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number} {noun if number == 1 else plural}"


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def stdout_for_events() -> RawIOBase:
    """Standard output for events alone: whatever else prints from now on, commands too, goes to standard error."""
    sys.stdout.flush()
    events = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return events
