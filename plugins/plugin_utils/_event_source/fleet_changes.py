# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has changed in a project between two polls. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...module_utils._compute.fleet_maintenance import Announcement
from ...module_utils._vm.maintenance import Window, format_time
from .guest_signals import REACHABLE, UNKNOWN, UNREACHABLE
from .new_operations import NewOperations
from .options import meta_of
from .poll import Poll
from .window_changes import current, window_changes

OPERATION = "operation"
WINDOW = "window"
# The lists that have announcements of a kind. The others are in that of reservations.
_KINDS = {"instance": "instance", "node": "node_group"}


class FleetChanges:
    """Compares each poll with the last one. Keeps announcements, but no instance without one.

    `hosts_of`: from name, zone and project to hosts. Without `report_initial`, windows of the first poll are not
    reported.
    """

    def __init__(
        self, project: str, hosts_of: Callable[[str, str | None, str | None], list[str]], *, report_initial: bool
    ) -> None:
        self._project = project
        self._hosts_of = hosts_of
        self._report_initial = report_initial
        self._is_first = True
        self._known: dict[tuple[Any, ...], tuple[Announcement, bool]] = {}
        self._missing: dict[str, str] = {}
        self._new_operations = NewOperations()

    def failed(self, reason: str, now: float) -> list[dict[str, Any]]:
        """The events for a poll that failed as a whole."""
        return self._scopes({**self._missing, "project": reason}, now)

    def polled(self, poll: Poll, now: float) -> list[dict[str, Any]]:
        """The events for a poll. `now` is in epoch seconds."""
        events = self._scopes(poll.missing, now)
        found = {_key(one): one for one in poll.announcements if current(one.window, now) is not None}
        for key in [key for key in self._known if key not in found]:
            one, is_begun = self._known[key]
            if poll.lacks(_KINDS.get(one.kind, "reservation"), one.zone):
                continue
            del self._known[key]
            events += self._changes(one, None, is_begun, now)
        for key, one in found.items():
            before, is_begun = self._known.get(key, (None, False))
            changes = self._changes(before, one, is_begun, now)
            self._known[key] = one, one.window.has_begun(now)
            if not self._is_first or self._report_initial:
                events += changes
        events += [self._operation(row, now) for row in self._new_operations.polled(poll, now)]
        self._is_first = False
        return events

    def _changes(
        self, before: Announcement | None, after: Announcement | None, is_begun: bool, now: float
    ) -> list[dict[str, Any]]:
        # Of the two, at least one is an announcement, of the same resource.
        one = after or before
        if one is None:
            return []
        changes = window_changes(_window(before), _window(after), is_begun, now)
        names = one.details.get("instances") or ([one.name] if one.kind == "instance" else [])
        hosts = [host for name in names for host in self._hosts_of(name, one.zone, self._project)]
        return [
            self._event(
                change,
                WINDOW,
                now,
                {**Announcement(one.kind, one.name, one.zone, window, one.details).row(now), "initial": self._is_first},
                hosts,
            )
            for change, window in changes
        ]

    def _operation(self, row: Mapping[str, Any], now: float) -> dict[str, Any]:
        fields = {"name": row["name"], "zone": row["zone"], "at": row["time"], "message": row["message"]}
        return self._event(
            OPERATION, row["event"], now, fields, self._hosts_of(row["name"], row["zone"], self._project)
        )

    def _scopes(self, missing: Mapping[str, str], now: float) -> list[dict[str, Any]]:
        """Events for scopes that became unreachable, and for those that are reachable again."""
        events = [
            self._event(UNREACHABLE, UNKNOWN, now, {"scope": scope, "zone": _zone(scope), "reason": reason}, [])
            for scope, reason in missing.items()
            if scope not in self._missing
        ]
        events += [
            self._event(REACHABLE, UNKNOWN, now, {"scope": scope, "zone": _zone(scope), "reason": None}, [])
            for scope in self._missing
            if scope not in missing
        ]
        self._missing = dict(missing)
        return events

    def _event(
        self, change: str, event: str, now: float, fields: Mapping[str, Any], hosts: list[str]
    ) -> dict[str, Any]:
        return {
            "change": change,
            "event": event,
            "project": self._project,
            **fields,
            "time": format_time(now),
            "meta": meta_of(hosts),
        }


def _window(one: Announcement | None) -> Window | None:
    return None if one is None else one.window


def _key(one: Announcement) -> tuple[Any, ...]:
    # With the ID, an instance that is created anew under the same name is another one.
    return one.kind, one.zone, one.name, one.details.get("id"), one.details.get("reservation"), one.details.get("block")


def _zone(scope: str) -> str | None:
    kind, _slash, name = scope.partition("/")
    return name if kind == "zones" else None
