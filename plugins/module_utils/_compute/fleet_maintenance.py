# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance windows of many instances, from what the Compute API's lists say. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .._vm.maintenance import Window, window_document
from .errors import ComputeBadRequest
from .host_maintenance import announced
from .instances import zone_of

# What is asked for of each instance, which is a small part of it.
FIELDS = "name,zone,status,scheduling(onHostMaintenance),resourceStatus(upcomingMaintenance)"

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*")


def seconds_of(duration: str) -> float:
    """The seconds that "90m", "36h", "7d", or a bare number are; raises ComputeBadRequest."""
    match = _DURATION.fullmatch(duration)
    if not match:
        raise ComputeBadRequest(
            f"within is {duration!r}, and not a duration such as 90m, 36h, 7d or 2w, or a number of seconds."
        )
    return float(match[1]) * _UNITS[match[2]]


def windows_of(instances: Iterable[Mapping[str, Any]], *, now: float) -> list[dict[str, Any]]:
    """A row for each instance that has a window announced, the next one first.

    A window of which nobody said when it begins is last.
    """
    found = [(window, instance) for instance in instances if (window := announced(instance)) is not None]
    found.sort(key=lambda each: (each[0].start is None, each[0].start or 0.0, zone_of(each[1]), each[1]["name"]))
    return [_row(window, instance, now) for window, instance in found]


def is_near(row: Mapping[str, Any], within: float | None) -> bool:
    """Whether a window has begun, begins in so many seconds, or may do so, since nobody said when."""
    return within is None or row["starts_in"] is None or bool(row["starts_in"] <= within)


def _row(window: Window, instance: Mapping[str, Any], now: float) -> dict[str, Any]:
    left = window.seconds_until_start(now)
    return {
        "name": instance["name"],
        "zone": zone_of(instance),
        "instance_status": instance.get("status"),
        "on_host_maintenance": instance.get("scheduling", {}).get("onHostMaintenance"),
        **window_document(window),
        "starts_in": None if left is None else int(left),
    }
