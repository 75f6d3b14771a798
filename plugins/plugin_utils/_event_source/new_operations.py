# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which operations of the platform are new in a poll. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils._vm.maintenance import parse_time
from .poll import Poll

# Seconds for which operations are compared again: some become visible late.
OVERLAP = 600.0
# How many operations wait until their zone can be read.
MOST_WAITING = 1000

_Row = Mapping[str, Any]


class NewOperations:
    """Compares the operations of each poll with those of the last ones, zone by zone: a zone may be away for hours.

    With a filter, an operation is new if a recent poll had its instance. The operation may have deleted it, as it does
    with Spot VMs. While the zone cannot be read, the operation waits.
    """

    def __init__(self) -> None:
        self._start: float | None = None
        # By zone: the time of the newest operation, and the keys of those that are compared again.
        self._newest: dict[str, float] = {}
        self._compared: dict[str, set[tuple[Any, ...]]] = {}
        # Instances that match the filter, and when a poll had them last.
        self._seen: dict[str, float] = {}
        self._waiting: deque[_Row] = deque(maxlen=MOST_WAITING)

    def polled(self, poll: Poll, now: float) -> list[_Row]:
        """The new operations, oldest first. Those of the first poll are not new. `now` is in epoch seconds."""
        new = self._new(poll.operations)
        if self._start is None:
            self._start = now
            new = []
        if poll.instances is None:
            return new
        self._see(poll, poll.instances, now)
        matching = self._matching([*self._waiting, *new], poll)
        # Only now: after a long interval, the last poll's instances count.
        self._seen = {name: when for name, when in self._seen.items() if when >= now - OVERLAP}
        return matching

    def _new(self, rows: Iterable[_Row]) -> list[_Row]:
        zones: dict[str, dict[tuple[Any, ...], tuple[float, _Row]]] = {}
        for row in rows:
            key = row["time"], row["event"], row["name"]
            zones.setdefault(row["zone"], {})[key] = parse_time(row["time"]) or 0.0, row
        new: list[tuple[float, _Row]] = []
        for zone, found in zones.items():
            last = self._newest.get(zone, self._start or 0.0)
            compared = self._compared.get(zone, set())
            new += [each for key, each in found.items() if each[0] >= last - OVERLAP and key not in compared]
            newest = max([last, *(when for when, _row in found.values())])
            self._newest[zone] = newest
            self._compared[zone] = {key for key, (when, _row) in found.items() if when >= newest - OVERLAP}
        # The rows of a zone are the latest first.
        new.reverse()
        new.sort(key=lambda each: each[0])
        return [row for _when, row in new]

    def _see(self, poll: Poll, instances: Iterable[str], now: float) -> None:
        missing = [name for name in self._seen if poll.lacks("instance", name.partition("/")[0])]
        self._seen.update(dict.fromkeys([*instances, *missing], now))

    def _matching(self, rows: Iterable[_Row], poll: Poll) -> list[_Row]:
        matching = []
        self._waiting.clear()
        for row in rows:
            if f"{row['zone']}/{row['name']}" in self._seen:
                matching.append(row)
            elif poll.lacks("instance", row["zone"]):
                self._waiting.append(row)
        return matching
