# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report of a fleet has: the variables of its page, its JSON, and its lines. Pure.

Private to the collection: it may change at any time. Takes the result of the module fleet_status_info. As variables of
tasks, thousands of rows would take seconds in each task that uses them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

# Separators that no cell contains, so that all cells are escaped at once.
_CELL, _ROW = "\x1f", "\x1e"
# The fields of the result that the JSON has, besides project and filter.
_FIELDS = ("counts", "instances", "windows", "complete", "unreachables", "denied")


def selection(zone: str | None, expression: str | None) -> str:
    """The zone and the filter, or empty for all instances."""
    return ", ".join(part for part in (zone, expression) if part)


def page_variables(found: Mapping[str, Any], heading: str, selected: str) -> dict[str, Any]:
    """The variables of the template fleet_status.html.j2."""
    table = found["table"]
    return {
        "gce_status_found": {
            **{name: found[name] for name in ("counts", "windows", "unreachables", "denied")},
            "table": {"columns": table["columns"], "groups": [_group(group) for group in table["groups"]]},
        },
        "gce_status_heading": heading,
        "gce_status_filter": selected,
        "gce_status_time": found["time"],
    }


def json_text(found: Mapping[str, Any], project: str, selected: str) -> str:
    """The report as JSON, in one line."""
    head = {"time": found["time"], "project": project, "filter": selected}
    return f"{json.dumps({**head, **{name: found[name] for name in _FIELDS}})}\n"


def lines(found: Mapping[str, Any], most: int, selected: str) -> list[str]:
    """A table of at most so many instances, and the figures of all."""
    counts = found["counts"]
    rows = [row for group in found["table"]["groups"] for row in group["rows"]][:most]
    result = _table([found["table"]["columns"], *([cell or "-" for cell in row] for row in rows)])
    if len(rows) < counts["instances"]:
        result.append(f"Shown: {len(rows)} of {counts['instances']} instances, those that need attention first.")
    only = f", only those that match {selected}" if selected else ""
    result.append(f"Instances: {counts['instances'] or 'none'}{only}.")
    result.append(f"Service: {counts['in_service']} in, {counts['out_of_service']} out, {counts['unknown']} unknown.")
    if counts["states"]:
        result.append(f"States: {', '.join(f'{number} {state}' for state, number in counts['states'].items())}.")
    result.append(f"Windows: {counts['windows'] or 'none'} announced.")
    if found["unreachables"]:
        result.append(f"This report is incomplete. The API could not reach {', '.join(found['unreachables'])}.")
    result += [f"Past events are missing. {message}" for message in found["denied"].values()]
    return result


def _group(group: Mapping[str, Any]) -> dict[str, Any]:
    cells = escape(_ROW.join(_CELL.join(row) for row in group["rows"]))
    body = cells.replace(_CELL, "<td>").replace(_ROW, "</td></tr>\n<tr><td>")
    return {"name": group["name"], "count": len(group["rows"]), "body": f"<tr><td>{body}</td></tr>"}


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
