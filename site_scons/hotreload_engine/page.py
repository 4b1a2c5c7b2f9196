"""What is known of a session → one HTML page about it: values in, text out.

The page needs nothing beside itself: no script, no font, no picture. What users and their compilers wrote is only ever
text in it. Times in it are milliseconds and local times of day.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from .chronicle import Chronicle, Row
from .escapes import plain

TROUBLES = 100
"""Of the results, the refusals, crashes and errors whose texts are shown."""
_SLOWEST = 8

_ABOVE, _HIGH, _BELOW = 10, 112, 14
"""Pixels: over the bars, the tallest bar, the marks under it."""
_BASE = _ABOVE + _HIGH
"""Where the bars stand."""

PHASES = {
    "compile": "compile",
    "link": "link",
    "check": "check, publish",
    "host": "host",
    "rest": "the rest",
}
"""The parts of a bar, from the bottom, and their names."""

_MARKS = {
    "error": ("error", "M-4 4L0 -4L4 4Z"),
    "refused": ("refused", "M-4 -4L4 4M-4 4L4 -4"),
    "not": ("not reloaded", "M-4 0L4 0"),
    "crash": ("crashed", "M0 -5L4.5 0L0 5L-4.5 0Z"),
    "waiting": ("waiting for the host", "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0"),
}
"""What is marked under the bars: its word, and a shape around (0, 0), so that nobody needs the colour."""

_GOOD = (("reload", "reloads"), ("built", "builds"), ("sent", "signals sent"))
_TROUBLE = (("refused", "refused"), ("crash", "crashed"), ("not", "not reloaded"), ("error", "errors"))
_TOLD = frozenset({"refused", "crash", "error", "not", "warned"})
"""What has a place of its own, with its texts."""
_DONE = {"reload": "reloaded", "sent": "sent", "built": "built"}


def pieces(chronicle: Chronicle, directory: str) -> Iterator[str]:
    """The page, in pieces that take a millisecond or so each. ``directory``: the top of the project."""
    kept = chronicle.keep()
    rows: list[Row] = kept["rows"]
    text = _Text(directory)
    name = text(directory.rstrip("/").rpartition("/")[2] or directory)
    yield _HEAD.format(name=name, style=_STYLE)
    yield from _summary(kept, rows, text, name)
    yield from _timeline(kept, rows, text)
    yield from _files(kept["files"], text)
    yield from _troubles(rows, text)
    yield from _figures(kept, rows, text)
    yield "</main></body></html>\n"


# --- the parts of the page ----------------------------------------------------------------------------------


def _summary(kept: Mapping[str, Any], rows: list[Row], text: _Text, name: str) -> Iterator[str]:
    counts = kept["counts"]
    bars = _totals(rows)
    span = f"{_clock(kept['began'])} to {_clock(kept['until'])}" if kept["began"] else "nothing yet"
    ended = f", {text(kept['stopped'])}" if kept["stopped"] else ""
    yield f"<header><h1>{name}</h1><p class=dim>scons watch, {_day(kept['began'])}{span}{ended}</p></header>\n<main>"
    tiles = [(counts[kind], word, "") for kind, word in _GOOD if counts.get(kind)] or [(0, "reloads", "")]
    if len(bars) == 1:
        tiles.append((_ms(bars[0]), "it took", ""))
    elif bars:
        tiles += [(_ms(_at(bars, 0.5)), "median", ""), (_ms(bars[-1]), "longest", "")]
    for kind, word in _TROUBLE:
        if counts.get(kind):
            tiles.append((counts[kind], word, " class=bad"))
    yield "<dl class=tiles>"
    for value, word, kind in tiles:
        yield f"<div{kind}><dt>{word[:-1] if value == 1 and word.endswith('s') else word}</dt><dd>{value}</dd></div>"
    yield "</dl>\n"
    if rows:
        last = rows[-1]
        yield f"<p>Last, at {_clock(last['at'])}: {_title(last, text)}{_total(last)}.</p>\n"


def _timeline(kept: Mapping[str, Any], rows: list[Row], text: _Text) -> Iterator[str]:
    yield "<section><h2>Timeline</h2>"
    slots = _slots(rows)
    if not slots:
        yield "<p class=dim>Nothing has been reloaded yet: save a file, and load this page again.</p></section>\n"
        return
    top, cut = _scale(_totals(rows))
    width = 100 / max(len(slots), 30)
    yield "<p class=dim>Milliseconds from a save to the host's answer; later is further right.</p>"
    yield '<ul class=legend aria-label="What the colours and marks mean">'
    phases = {name for row in rows for name, ms in row.get("parts", {}).items() if ms > 0}
    for name, words in PHASES.items():
        if name in phases:
            values = sorted(row["parts"][name] for row in rows if name in row.get("parts", {}))
            yield f'<li><span class="key {name}"></span>{words} <span class=dim>{_ms(_at(values, 0.5))}</span></li>'
    for kind in dict.fromkeys(row["kind"] for row in rows if row["kind"] in _MARKS):
        yield f"<li>{_shape(kind)}{_MARKS[kind][0]}</li>"
    yield "</ul>"
    lanes = kept["lanes"] or [{"plugin": "", "name": "", "pids": []}]
    there = {row["lane"] for slot in slots for row in slot if row.get("lane") is not None}
    named = {row["plugin"] for slot in slots for row in slot if row.get("lane") is None and row.get("plugin")}
    shown = [index for index, lane in enumerate(lanes) if index in there or lane["plugin"] in named] or [0]
    for index in shown:
        yield from _lane(lanes, index, slots, top, width, text)
    yield "<div class=plot><span></span><svg class=times height=16 aria-hidden=true>"
    ticks = {0, len(slots) - 1} | ({len(slots) // 3, 2 * len(slots) // 3} if len(slots) >= 30 else set())
    for tick in sorted(ticks):
        ends = tick == len(slots) - 1 and len(slots) >= 30
        if tick == 0 or len(slots) >= 12:
            place = f"{(tick + ends) * width:.2f}%"
            yield f"<text x={place} y=12 text-anchor={'end' if ends else 'start'}>{_clock(slots[tick][0]['at'])}</text>"
    yield "</svg></div>"
    notes = ["Medians beside the names.", "The rest: noticing the save, working out what to build, other commands."]
    if cut:
        notes.append(f"{cut} longer than {_ms(top)}: cut off at the top, the figure is in the table.")
    if kept["number"] > len(rows):
        notes.append(f"The last {len(rows)} results of {kept['number']:,}.")
    yield f"<p class=dim>{' '.join(notes)}</p></section>\n"


def _lane(
    lanes: list[dict[str, Any]], index: int, slots: list[list[Row]], top: float, width: float, text: _Text
) -> Iterator[str]:
    name = text(_lane_name(lanes[index]))
    mine = _concerning(slots, lanes, index)
    totals = _totals(row for _, row in mine)
    spoken = f"{len(totals)} bars" + (f", median {_ms(_at(totals, 0.5))}" if totals else "")
    label = f"{name}: {spoken}; figures in the table below"
    lines = [(_ABOVE + _HIGH * (1 - share), _ms(top * share)) for share in (0.5, 1)]
    yield f"<h3>{name}</h3><div class=plot><svg class=axis height={_BASE + _BELOW} aria-hidden=true>"
    for y, words in lines:
        yield f"<text x=100% dx=-4 y={y + 4:.0f} text-anchor=end>{words}</text>"
    yield f'</svg><svg class=bars height={_BASE + _BELOW} role=group aria-label="{label}">'
    for y, _ in lines:
        yield f"<line x1=0 x2=100% y1={y:.0f} y2={y:.0f} class=grid />"
    apart = len(slots) <= 120
    for number, row in mine:
        yield _column(row, number * width, width, apart, top, text)
    yield f"<line x1=0 x2=100% y1={_BASE} y2={_BASE} class=base /></svg></div>\n"


def _column(row: Row, left: float, width: float, apart: bool, top: float, text: _Text) -> str:
    """A result: its bar, its mark below the line, and what hovering shows. ``left``, ``width``: in per cent."""
    x, bar = (left + 0.11 * width, 0.78 * width) if apart else (left, width)
    middle = left + width / 2
    begin = 0 if "total" in row else _BASE
    out = [
        f'<a href="#r{row["id"]}" tabindex=-1><title>{_hover(row, text)}</title>',
        f"<rect class=hit x={left:.3f}% y={begin} width={width:.3f}% height={_BASE + _BELOW - begin} />",
    ]
    floor = float(_BASE)
    for phase in PHASES:
        tall = min(row.get("parts", {}).get(phase, 0.0) * _HIGH / top, floor - _ABOVE)
        if tall > 0:
            floor -= tall
            out.append(f"<rect class={phase} x={x:.3f}% y={floor:.2f} width={bar:.3f}% height={tall:.2f} />")
    if row.get("total", 0.0) > top:
        out.append(f'<svg x={middle:.3f}% y={_ABOVE - 2} class=over><path d="M-4 0L0 -5L4 0"/></svg>')
    if row["kind"] in _MARKS:
        shape = _MARKS[row["kind"]][1]
        out.append(f'<svg x={middle:.3f}% y={_BASE + 8} class=mark><path d="{shape}"/></svg>')
    return "".join(out) + "</a>"


def _files(files: Mapping[str, Mapping[str, float]], text: _Text) -> Iterator[str]:
    if not files:
        return
    yield "<section><h2>Slowest to compile</h2><div class=pair>"
    for key, heading in (("total", "added up"), ("longest", "longest single time")):
        first = sorted(files, key=lambda target: (-files[target][key], target))[:_SLOWEST]
        most = files[first[0]][key] or 1.0
        yield f"<table class=slow><caption>{heading}</caption><thead>"
        yield f"<tr><th>object</th><th>times</th><th>{key}</th></tr></thead><tbody>"
        for target in first:
            file = files[target]
            yield (
                f'<tr><td class=path>{text(target)}<span class=meter style="width:{100 * file[key] / most:.0f}%">'
                f"</span></td><td>{file['times']:.0f}</td><td>{_ms(file[key])}</td></tr>"
            )
        yield "</tbody></table>"
    yield "</div></section>\n"


def _troubles(rows: list[Row], text: _Text) -> Iterator[str]:
    found = _told(rows)
    if not found:
        return
    yield "<section><h2>Trouble</h2><p class=dim>The newest first.</p>"
    for index, row in enumerate(found):
        opened = " open" if index < 3 else ""
        yield (
            f'<details id=t{row["id"]}{opened}><summary>{_shape(row["kind"])}{_title(row, text)} '
            f'<span class=dim>{_clock(row["at"])}</span></summary>'
        )
        if where := row.get("where"):
            what = f": {text(row['text'])}" if row.get("first") else ""
            yield f"<p><span class=path>{text(where)}</span>{what}</p>"
        if remedy := row.get("remedy"):
            yield f"<p>{text(remedy)}</p>"
        if findings := row.get("findings"):
            yield "<ul>"
            for finding in findings:
                where = f'<span class=path>{text(finding["where"])}</span>: ' if finding["where"] else ""
                remedy = f"<br><span class=dim>{text(finding['remedy'])}</span>" if finding["remedy"] else ""
                yield f"<li><b>{text(finding['severity'])}</b> {where}{text(finding['what'])}{remedy}</li>"
            yield "</ul>"
        if output := row.get("output"):
            yield f"<pre tabindex=0>{text(output)}</pre>"
        yield "</details>"
    yield "</section>\n"


def _figures(kept: Mapping[str, Any], rows: list[Row], text: _Text) -> Iterator[str]:
    if not rows:
        return
    yield "<section><h2>Figures</h2><p class=dim>Milliseconds; the newest first.</p>"
    newest = rows[::-1]
    told = {row["id"] for row in _told(rows)}
    open_, rest = newest[:40], newest[40:]
    for part, heading in ((open_, ""), (rest, f"{len(rest)} before")):
        if not part:
            continue
        yield f"<details><summary>{heading}</summary>" if heading else ""
        yield '<div class=wide tabindex=0 role=region aria-label="Figures"><table class=figures>'
        yield "<thead><tr><th>at</th><th>what</th><th>total</th>"
        yield "".join(f"<th>{words}</th>" for words in PHASES.values()) + "</tr></thead><tbody>"
        for row in part:
            yield _figure(row, row["id"] in told, text)
        yield "</tbody></table></div>" + ("</details>" if heading else "")
    yield "</section>\n"


def _figure(row: Row, told: bool, text: _Text) -> str:
    title = f"<a href=#t{row['id']}>{_title(row, text)}</a>" if told else _title(row, text)
    more = text(row["text"]) if row["kind"] in ("reload", "sent", "built", "waiting") and row.get("text") else ""
    if row.get("pause"):
        more += f"{' · ' if more else ''}stood still for {_us(row['pause'])}, loaded in {_us(row['load'])}"
    words = f"<div class=dim>{more}</div>" if more else ""
    if "parts" in row:
        rest = _number(row["parts"]["rest"])
        note = "" if row["from_save"] or row["kind"] == "built" else "<div class=dim>no save</div>"
        cells = f"<td><b>{_number(row['total'])}</b>{note}</td>"
        cells += "".join(f"<td>{_number(row['parts'].get(name, 0.0))}</td>" for name in PHASES if name != "rest")
        cells += f'<td title="{_rest(row)}">{rest}</td>'
    else:
        cells = f"<td colspan={len(PHASES) + 1}></td>"
    what = f"{_shape(row['kind'])}{title}{words}"
    return f"<tr id=r{row['id']}><td>{_clock(row['at'])}</td><td>{what}</td>{cells}</tr>\n"


# --- values and words ---------------------------------------------------------------------------------------


def _told(rows: list[Row]) -> list[Row]:
    return [row for row in reversed(rows) if row["kind"] in _TOLD][:TROUBLES]


def _slots(rows: list[Row]) -> list[list[Row]]:
    """What stands in one column: one iteration, each lane's bar once."""
    slots: list[list[Row]] = []
    for row in rows:
        if row["kind"] not in _MARKS and row["kind"] not in _DONE:
            continue
        before = slots[-1] if slots else []
        lane = row.get("lane")
        taken = any(other["iteration"] != row["iteration"] for other in before)
        taken |= "total" in row and any("total" in other and other.get("lane") == lane for other in before)
        if taken or not before:
            slots.append([row])
        else:
            before.append(row)
    return slots


def _concerning(slots: list[list[Row]], lanes: list[dict[str, Any]], index: int) -> list[tuple[int, Row]]:
    """(column, row) of a lane: its own rows, those of its plugin, and those of no plugin at all."""
    own = lanes[index]["plugin"]

    def concerns(row: Row) -> bool:
        if row.get("lane") is not None:
            return bool(row["lane"] == index)
        return not row.get("plugin") or row["plugin"] == own or len(lanes) == 1

    return [(number, row) for number, slot in enumerate(slots) for row in slot if concerns(row)]


def _scale(totals: list[float]) -> tuple[float, int]:
    """The top of the picture in ms, and how many bars go beyond: a few long ones do not flatten all others."""
    if not totals:
        return 100.0, 0
    most, usual = totals[-1], _at(totals, 0.9)
    most = most if most <= 2 * usual else 1.3 * usual
    power = 1.0
    while power * 10 < most:
        power *= 10
    while power > most:
        power /= 10
    top = next(power * step for step in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if power * step >= most * 0.999)
    return top, sum(1 for total in totals if total > top)


def _totals(rows: Iterable[Row]) -> list[float]:
    return sorted(row["total"] for row in rows if "total" in row)


def _at(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed; ``values`` in order."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def _lane_name(lane: Mapping[str, Any]) -> str:
    if not lane["plugin"]:
        return "builds"
    pids = [str(pid) for pid in lane["pids"]]
    shown = pids if len(pids) <= 4 else [pids[0], "…", *pids[-2:]]
    named = f" · {lane['name']}" if lane["name"] else ""
    return f"{lane['plugin']}{named}" + (f" in pid {', then '.join(shown)}" if shown else "")


def _title(row: Row, text: _Text) -> str:
    """What it is, in a few words, as HTML."""
    plugin = text(row.get("plugin", ""))
    if row.get("generation"):
        plugin += f" #{row['generation']}"
    pid = f" in pid {row['pid']}" if row.get("pid") else ""
    kind, said = row["kind"], text(row.get("text", ""))
    if kind == "host":
        return f"host pid {row['pid']} {said}"
    if kind == "error":
        where = f" {text(row['where'])}" if row["where"] else ""
        return text(row["first"]) if row["first"] else f"error{where}: {said}"
    if kind == "refused":
        findings = [finding for finding in row["findings"] if finding["severity"] == "error"] or row["findings"]
        return f"refused {plugin}: {text(findings[0]['what'])}" if findings else f"refused {plugin}"
    if kind == "warned":
        return f"warning of {plugin}: {text(row['findings'][0]['what'])}"
    if kind in ("crash", "not"):
        return f"{_MARKS[kind][0]} {plugin}{pid}: {said}"
    if kind == "built":
        return f"built {said}"
    return f"{_DONE.get(kind) or _MARKS[kind][0]} {plugin}{pid}"


def _total(row: Row) -> str:
    if "total" not in row:
        return ""
    return f", {_ms(row['total'])}" + (" from save" if row["from_save"] else "")


def _hover(row: Row, text: _Text) -> str:
    out = [f"{_clock(row['at'])}  {_title(row, text)}{_total(row)}"]
    out += [f"{words}: {_ms(row['parts'][name])}" for name, words in PHASES.items() if row.get("parts", {}).get(name)]
    if "parts" in row and _rest(row):
        out[-1] += f" ({_rest(row)})"
    if row["kind"] == "reload" and row.get("text"):
        out.append(text(row["text"]))
    if row.get("where"):
        out.append(text(row["where"]))
    return "\n".join(out)


def _rest(row: Row) -> str:
    """What is known of the part that has no colour of its own."""
    if "graph" not in row:
        return ""
    return f"{_ms(row['noticing'])} until the build began, {_ms(row['graph'])} in it beside its commands"


def _shape(kind: str) -> str:
    if kind not in _MARKS:
        return ""
    path = _MARKS[kind][1]
    return f'<svg class=mark width=12 height=12 aria-hidden=true><path transform="translate(6 6)" d="{path}"/></svg>'


class _Text:
    """Any text as HTML's: nothing in it is markup, no terminal's colours, paths as from the top of the project."""

    def __init__(self, directory: str) -> None:
        self._prefix = directory.rstrip("/") + "/"

    def __call__(self, text: str) -> str:
        words = plain(text.replace(self._prefix, ""))
        return escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", words))


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d, ", time.localtime(seconds)) if seconds else ""


def _ms(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.1f} ms" if value < 9.95 else f"{value:,.0f} ms"


def _us(value: float) -> str:
    return f"{value:.0f} µs" if value < 1000 else f"{value / 1000:.1f} ms"


def _number(value: float) -> str:
    return "–" if not value else f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


_HEAD = """\
<!DOCTYPE html>
<html lang=en><head><meta charset=utf-8>
<meta http-equiv=Content-Security-Policy content="default-src 'none'; style-src 'unsafe-inline'">
<meta name=viewport content="width=device-width, initial-scale=1">
<meta name=color-scheme content="light dark">
<title>{name} · hotreload</title>
<style>{style}</style></head><body>
"""

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --dim: #5d6670; --paper: #fcfcfb; --card: #f1f2f3; --line: #d9dcdf;
  --bad: #b3370a; --compile: #0069a8; --link: #e79f1c; --check: #35b08c; --host: #b0508a; --rest: #aab1b8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --dim: #9ba4ad; --paper: #16191c; --card: #20252a; --line: #353c43;
    --bad: #ff9266; --compile: #4aa3df; --link: #edb84a; --check: #3fbf9b; --host: #d98bbb; --rest: #6d7680 }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.2rem 1.1rem 3rem; max-width: 54rem; background: var(--paper); color: var(--ink);
  font: 14px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif }
h1 { font-size: 1.35rem; margin: 0 }
h2 { font-size: 1.05rem; margin: 2rem 0 .3rem }
h3 { font-size: .85rem; font-weight: 600; margin: .9rem 0 .1rem }
p { margin: .2rem 0 .5rem }
a { color: inherit; text-underline-offset: 2px }
.dim { color: var(--dim); font-size: .85rem }
header p { margin: 0 }
.tiles { display: flex; flex-wrap: wrap; gap: .5rem; margin: .9rem 0 }
.tiles div { background: var(--card); border-radius: 6px; padding: .35rem .75rem }
.tiles dt { color: var(--dim); font-size: .78rem }
.tiles dd { margin: 0; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums }
.tiles .bad dd, .tiles .bad dt { color: var(--bad) }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1rem; padding: 0; margin: .2rem 0;
  font-size: .85rem }
.legend li { display: flex; align-items: center; gap: .35rem }
.key { width: 12px; height: 12px; border-radius: 2px; background: var(--of) }
.compile { --of: var(--compile) }
.link { --of: var(--link) }
.check { --of: var(--check) }
.host { --of: var(--host) }
.rest { --of: var(--rest) }
.plot { display: grid; grid-template-columns: 4rem 1fr }
.plot svg { display: block; width: 100%; overflow: visible }
.plot text { fill: var(--dim); font-size: 11px; font-variant-numeric: tabular-nums }
.bars rect { fill: var(--of) }
.bars rect.hit { fill: transparent }
.bars a:hover rect.hit { fill: var(--line) }
.grid { stroke: var(--line); stroke-dasharray: 2 3 }
.base { stroke: var(--dim) }
.bars a { cursor: pointer }
.mark path { fill: var(--bad); stroke: var(--bad); stroke-width: 2 }
.over path { fill: none; stroke: var(--ink); stroke-width: 1.5 }
svg.mark[width] { vertical-align: -1px; margin-right: .35rem; flex: none }
.legend svg.mark { margin: 0 }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: .5rem 2rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--dim); font-size: .85rem }
th { font-weight: 500; color: var(--dim); font-size: .78rem; text-align: right; padding: .2rem .4rem;
  vertical-align: bottom; border-bottom: 1px solid var(--line) }
td { padding: .25rem .4rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--line) }
.slow th:first-child, .slow td:first-child { text-align: left; white-space: normal; padding-left: 0; width: 99% }
.figures th:nth-child(-n+2), .figures td:nth-child(-n+2) { text-align: left }
.figures td:first-child, .figures th:first-child { padding-left: 0 }
.figures td:nth-child(2) { white-space: normal; overflow-wrap: anywhere; min-width: 13rem; width: 99% }
@media (max-width: 40rem) {
  .figures td { font-size: .8rem; padding: .25rem .2rem }
  .figures th { font-size: .72rem; padding: .2rem }
  .figures td:nth-child(2) { min-width: 10rem }
  .figures .dim { font-size: .76rem }
}
.figures tr:target { background: var(--card) }
.wide { overflow-x: auto }
.meter { display: block; height: 3px; background: var(--compile); border-radius: 2px; margin-top: 2px }
.path, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, monospace; font-size: .8rem }
.path { overflow-wrap: anywhere }
pre { background: var(--card); border-radius: 6px; padding: .6rem .8rem; overflow: auto; max-height: 24rem;
  margin: .4rem 0 }
details { border-bottom: 1px solid var(--line); padding: .35rem 0 }
summary { cursor: pointer; overflow-wrap: anywhere }
details ul { margin: .3rem 0; padding-left: 1.2rem }
"""
