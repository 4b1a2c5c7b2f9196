"""A session's events → what its page tells: its last results, in order, and sums of all.

Plain values throughout, as JSON has them, so that a session after a re-exec can go on with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .model import Event

ROWS = 500
"""What happened longer ago than this many results is counted, not shown."""
_OUTPUT = 6000
"""Characters of a compiler's messages that are kept."""

Row = dict[str, Any]
"""A result: ``id`` (from 1 on), ``kind``, ``at`` (Unix seconds), ``iteration``; most have ``plugin``, ``generation``,
``pid``, ``text``, and ``lane``: the index of the plugin in that host. What took time has ``total`` and its ``parts``,
milliseconds."""


class Chronicle:
    """What is kept of a session: its last ROWS results, sums of the rest. ``kept``: from ``keep``, to go on with."""

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        empty: dict[str, Any] = {
            "rows": [], "number": 0, "began": 0.0, "until": 0.0, "counts": {}, "files": {}, "lanes": [], "ended": [],
            "passes": [], "checks": {}, "stopped": "",
        }  # fmt: skip
        self._kept: dict[str, Any] = {**empty, **(kept or {})}

    def keep(self) -> dict[str, Any]:
        """All of it, of what JSON knows."""
        return self._kept

    def add(self, event: Event) -> None:
        kept = self._kept
        kept["began"] = kept["began"] or event.time
        kept["until"] = event.time
        if handler := _HANDLERS.get(event.event):
            handler(self, event, event.fields)
            del kept["rows"][:-ROWS]

    # --- one function an event ------------------------------------------------------------------------------

    def _ready(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._kept["stopped"] = ""

    def _build(self, event: Event, fields: Mapping[str, Any]) -> None:
        steps = fields.get("steps", ())
        compiling = [(step["at_ms"], step["at_ms"] + step["ms"]) for step in steps if step["kind"] == "compile"]
        linking = [(step["at_ms"], step["at_ms"] + step["ms"]) for step in steps if step["kind"] == "link"]
        compile_ms = _covered(compiling)
        link_ms = _covered(compiling + linking) - compile_ms
        if steps:
            self._kept["passes"] = [*self._kept["passes"][-7:], [fields["ms"], compile_ms, link_ms]]
        for step in steps:
            if step["kind"] == "compile":
                file = self._kept["files"].setdefault(step["target"], {"times": 0, "total": 0.0, "longest": 0.0})
                file["times"] += 1
                file["total"] += step["ms"]
                file["longest"] = max(file["longest"], step["ms"])
        if fields["ok"] and steps and not fields["delivers"]:
            parts = {"compile": compile_ms, "link": link_ms}
            count = len(fields["targets"])
            text = f"{count} target{'' if count == 1 else 's'}"
            self._row(event, "built", lane=self._lane(""), total=fields["ms"], parts=parts, text=text)

    def _published(self, event: Event, fields: Mapping[str, Any]) -> None:
        ms = fields["check_ms"] + fields["publish_ms"]
        self._kept["checks"][fields["plugin"]] = [fields["generation"], ms, fields["restores"]]
        fresh = [finding for finding in fields["findings"] if not finding.get("again")]
        if fresh:
            self._row(event, "warned", plugin=fields["plugin"], generation=fields["generation"], findings=fresh)

    def _reload(self, event: Event, fields: Mapping[str, Any]) -> None:
        plugin, generation, pid = fields["plugin"], fields["generation"], fields["host"]
        kind = "waiting" if fields["pending"] else "reload" if fields["ok"] else "not"
        waited = self._last(plugin, generation, pid, "waiting")
        if waited:
            self._drop(waited)
        if kind == "not" and self._last(plugin, generation, pid, "crash"):
            return  # which tells more
        number, check_ms, restores = self._kept["checks"].get(plugin, [0, 0.0, 0])
        work = self._work(fields)
        parts = {**work, "check": check_ms if number == generation else 0.0, "host": fields["host_ms"]}
        total = fields["save_to_reload_ms"]
        if waited and total is not None:  # it was the host that let us wait
            parts["host"] = max(0.0, total - sum(parts.values()))
        undo = f"undo: #{restores} again" if restores and number == generation else ""
        text = " · ".join(filter(None, (undo, fields["reason"], fields["state"])))
        lane = self._lane(plugin, pid)
        done = self._row(
            event, kind, plugin=plugin, generation=generation, pid=pid, lane=lane, total=total, parts=parts, text=text
        )
        done["pause"], done["load"] = fields["pause_us"], fields["load_us"]
        if work:
            done["noticing"] = fields.get("settle_ms", 0.0)
            done["graph"] = max(0.0, fields["build_ms"] - sum(work.values()))

    def _sent(self, event: Event, fields: Mapping[str, Any]) -> None:
        lane = self._lane(fields["plugin"], fields["host"], fields["name"])
        self._row(
            event,
            "sent" if fields["ok"] else "not",
            plugin=fields["plugin"],
            pid=fields["host"],
            lane=lane,
            total=fields["save_to_sent_ms"],
            parts=self._work(fields),
            text=f"{fields['signal']} for {fields['name']}" + (f": {fields['reason']}" if fields["reason"] else ""),
            remedy=fields["remedy"],
        )

    def _refused(self, event: Event, fields: Mapping[str, Any]) -> None:
        if not any(lane["plugin"] == fields["plugin"] for lane in self._kept["lanes"]):
            self._lane(fields["plugin"])
        self._row(event, "refused", plugin=fields["plugin"], findings=list(fields["findings"]))

    def _crash(self, event: Event, fields: Mapping[str, Any]) -> None:
        plugin, generation, pid = fields["plugin"], fields["generation"], fields["host"]
        if known := self._last(plugin, generation, pid, "not"):
            self._drop(known)
        now = next((each["generation"] for each in fields["running"] if each["pid"] == pid), 0)
        fate = "the process has ended" if fields["fate"] == "ended" else "taken back"
        goes_on = f"; it goes on with #{now}" if now and fields["fate"] != "ended" else ""
        reason = f": {fields['reason']}" if fields["reason"] else ""
        self._row(
            event,
            "crash",
            plugin=plugin,
            generation=generation,
            pid=pid,
            lane=self._lane(plugin, pid),
            text=f"{fields['what']}: {fate}{goes_on}{reason}",
            where=fields["where"],
        )

    def _error(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._row(
            event,
            "error",
            plugin=fields.get("plugin", ""),
            text=fields["what"],
            where=fields["where"],
            remedy=fields["remedy"],
            first=_first_error(fields["output"]),
            output=_cut(fields["output"]),
        )

    def _host(self, event: Event, fields: Mapping[str, Any]) -> None:
        pid, before = fields["pid"], fields.get("before", 0)
        for lane in self._kept["lanes"] if before else ():
            if before in lane["pids"] and pid not in lane["pids"]:
                lane["pids"].append(pid)
        if fields.get("plugin"):
            self._lane(fields["plugin"], pid)
        gone = [pid] if fields["state"].startswith("ended") else [before] if before else []
        self._kept["ended"] = [*self._kept["ended"], *gone][-50:]
        carried = [f"{part['plugin']}: {part['state'] or part['reason']}" for part in fields.get("carried", ())]
        text = " · ".join([fields["state"], *carried])
        self._row(event, "host", plugin=fields.get("plugin", ""), pid=pid, text=text)

    def _stopped(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._kept["stopped"] = fields["reason"]

    # --- what they have in common ---------------------------------------------------------------------------

    def _row(self, event: Event, kind: str, **fields: Any) -> Row:
        kept = self._kept
        kept["number"] += 1
        kept["counts"][kind] = kept["counts"].get(kind, 0) + 1
        parts = {name: round(max(0.0, ms), 3) for name, ms in fields.pop("parts", {}).items()}
        total = fields.pop("total", None)
        if parts and kind not in ("not", "waiting"):
            known = sum(parts.values())
            fields["from_save"] = total is not None and kind != "built"
            fields["total"] = max(known, total or 0.0)
            fields["parts"] = {**parts, "rest": fields["total"] - known}
        row = {"id": kept["number"], "kind": kind, "at": event.time, "iteration": event.iteration, **fields}
        kept["rows"].append(row)
        return row

    def _drop(self, row: Row) -> None:
        """Something else is told in its place."""
        self._kept["rows"].remove(row)
        self._kept["counts"][row["kind"]] -= 1

    def _last(self, plugin: str, generation: int, pid: int, kind: str) -> Row | None:
        wanted = (kind, plugin, generation, pid)
        rows: list[Row] = self._kept["rows"]
        for row in reversed(rows[-40:]):
            if (row["kind"], row.get("plugin"), row.get("generation"), row.get("pid")) == wanted:
                return row
        return None

    def _lane(self, plugin: str, pid: int = 0, name: str = "") -> int:
        """The index of the lane of this plugin in this host, or in one whose place it has taken."""
        lanes = self._kept["lanes"]
        ended = set(self._kept["ended"])
        same = [lane for lane in lanes if (lane["plugin"], lane["name"]) == (plugin, name)]
        found = next((lane for lane in same if pid in lane["pids"]), None)
        found = found or next((each for each in same if name or set(each["pids"]) <= ended), None)
        if found is None:
            found = {"plugin": plugin, "name": name, "pids": []}
            lanes.append(found)
        if pid and pid not in found["pids"]:
            found["pids"].append(pid)
        index: int = lanes.index(found)
        return index

    def _work(self, fields: Mapping[str, Any]) -> dict[str, float]:
        """Compiling and linking as the clock saw it: commands that ran side by side count once."""
        if "build_ms" not in fields:
            return {}
        for ms, compile_ms, link_ms in reversed(self._kept["passes"]):
            if abs(ms - fields["build_ms"]) < 0.01:
                return {"compile": compile_ms, "link": link_ms}
        return {"compile": fields["compile_ms"], "link": fields["link_ms"]}


_HANDLERS = {
    "ready": Chronicle._ready,
    "build": Chronicle._build,
    "published": Chronicle._published,
    "reload": Chronicle._reload,
    "sent": Chronicle._sent,
    "refused": Chronicle._refused,
    "crash": Chronicle._crash,
    "error": Chronicle._error,
    "host": Chronicle._host,
    "stopped": Chronicle._stopped,
}


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of their union."""
    total, end = 0.0, float("-inf")
    for begin, until in sorted(spans):
        total += max(0.0, until - max(begin, end))
        end = max(end, until)
    return total


def _cut(output: str) -> str:
    return output if len(output) <= _OUTPUT else output[:_OUTPUT] + f"\n… {len(output) - _OUTPUT:,} characters more"


def _first_error(output: str) -> str:
    """The line that a compiler begins its first error with; "" when there is none."""
    return next((line[:300] for line in output.splitlines() if re.search(r"\berror: ", line)), "")
