# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of `fleet_status` as text, for a table. Pure.

Private to the collection: it may change at any time. A template would take seconds for a large fleet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .fleet_status import GROUPS

COLUMNS = (
    "INSTANCE",
    "ZONE",
    "STATE",
    "SERVICE",
    "SINCE",
    "HANDLER",
    "NEXT EVENT",
    "NOTICE",
    "WINDOW",
    "LAST INCIDENT",
    "DETAIL",
)

_SERVICE = {True: "in", False: "out", None: "unknown"}
# The largest unit of which there are at least two.
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns, and the rows of each group that has any. `rows` are sorted."""
    groups: dict[str, list[list[str]]] = {group: [] for group in GROUPS}
    for row in rows:
        groups[row["group"]].append(cells(row))
    return {
        "columns": list(COLUMNS),
        "groups": [{"name": name, "rows": lines} for name, lines in groups.items() if lines],
    }


def cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of a row, in the order of COLUMNS. Empty if there is nothing to show. Without control characters."""
    found = [
        row["name"],
        row["zone"],
        row["state"],
        _SERVICE[row["in_service"]],
        minute(row["since"]),
        row["handler"]["version"] if row["handler"] else "",
        *_next_event(row["next_event"]),
        _window(row["window"]),
        _last_incident(row["last_incident"], row["last_host_event"]),
        row["reason"],
    ]
    return ["".join(each if each >= " " else " " for each in cell) for cell in found]


def minute(time: str | None) -> str:
    """An RFC 3339 time in UTC, to the minute: it sorts by time."""
    return "" if time is None else time[:16].replace("T", " ")


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are at least two, such as "60 s", "36 h" or "5 d"."""
    size, unit = next((one for one in _UNITS if seconds >= 2 * one[0]), _UNITS[-1])
    return f"{int(seconds // size)} {unit}"


def _next_event(event: Mapping[str, Any] | None) -> tuple[str, str]:
    if event is None:
        return "", ""
    suffix = ", announced" if event["announced"] else "" if event["possible"] else "?"
    return f"{event['event']}{suffix}", "" if event["notice"] is None else duration(event["notice"])


def _window(window: Mapping[str, Any] | None) -> str:
    if window is None:
        return ""
    start = minute(window["window_start_time"]) or "time unknown"
    return f"{start}, ongoing" if window["status"] == "ONGOING" else start


def _last_incident(incident: Mapping[str, Any] | None, host_event: Mapping[str, Any] | None) -> str:
    """The handler's last incident, or an event of the platform that came after it."""
    # Times of this form sort as text.
    ended = (incident or {}).get("ended_at") or ""
    if host_event is not None and host_event["time"] > ended:
        return f"{minute(host_event['time'])} {host_event['event']}"
    if incident is None:
        return ""
    kind = "rehearsal of " if incident["rehearsal"] else ""
    return f"{minute(incident['opened_at'])} {kind}{incident['event']}, {incident['outcome']}".strip()
