# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Announced and past maintenance in a project, from the lists of the Compute API.

Private to the collection: it may change at any time.

Announced for instances, for nodes of sole-tenant node groups, and for reservations with their blocks and sub-blocks:
https://cloud.google.com/compute/docs/instances/monitor-plan-host-maintenance-event
https://cloud.google.com/compute/docs/nodes/monitor-plan-host-maintenance-event
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._vm.maintenance import Window, format_time, parse_time, window_document
from .api import ComputeApi
from .errors import ComputeBadRequest, ComputeError, PermissionDenied
from .host_groups import Node, group_maintenance, nodes_of
from .host_maintenance import announced
from .instances import listed, zone_of

_INSTANCE = "name,id,zone,status,scheduling(onHostMaintenance),resourceStatus(upcomingMaintenance)"
_RESERVATION = "name,zone,resourceStatus(reservationBlockCount,reservationMaintenance)"
_BLOCK = "name,reservationSubBlockCount,reservationMaintenance"
_SUB_BLOCK = "name,reservationSubBlockMaintenance"

KINDS = ("instance", "node_group", "reservation")

# Operations of the platform itself. https://cloud.google.com/compute/docs/instances/system-events
SYSTEM_EVENTS = (
    "migrateOnHostMaintenance",
    "terminateOnHostMaintenance",
    "hostError",
    "preempted",
    "automaticRestart",
    "guestTerminate",
)
_PREFIX = "compute.instances."
_OPERATION = "operationType,targetLink,insertTime,statusMessage"

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*")


# What a row has that depends on its kind.
_DETAILS: Mapping[str, Any] = {
    "node_group": None,
    "reservation": None,
    "block": None,
    "sub_block": None,
    "id": None,
    "instance_status": None,
    "on_host_maintenance": None,
    "instances": None,
    "pending_count": None,
    "ongoing_count": None,
}


@dataclass(frozen=True)
class Announcement:
    """Maintenance that is announced for a resource. `details` are those of its kind."""

    kind: str
    name: str
    zone: str
    window: Window
    details: Mapping[str, Any]

    def order(self) -> tuple[bool, float, str, str]:
        """By start, windows without one last."""
        return self.window.start is None, self.window.start or 0.0, self.zone, self.name

    def row(self, now: float) -> dict[str, Any]:
        left = self.window.seconds_until_start(now)
        return {
            "kind": self.kind,
            "name": self.name,
            "zone": self.zone,
            **_DETAILS,
            **self.details,
            **window_document(self.window),
            "starts_in": None if left is None else int(left),
        }


@dataclass
class Fleet:
    """What was read. `denied` are the kinds that the caller may not read, and why."""

    announcements: list[Announcement] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    denied: dict[str, PermissionDenied] = field(default_factory=dict)

    def rows(self, now: float) -> list[dict[str, Any]]:
        return [each.row(now) for each in sorted(self.announcements, key=Announcement.order)]


def seconds_of(duration: str, option: str = "within") -> float:
    """The seconds of "90m", "36h", "7d", or of a plain number. Raises ComputeBadRequest."""
    match = _DURATION.fullmatch(duration)
    if not match:
        raise ComputeBadRequest(
            f"{option} is {duration!r}, which is not a duration such as 90m, 36h, 7d or 2w, or a number of seconds."
        )
    return float(match[1]) * _UNITS[match[2]]


def is_near(row: Mapping[str, Any], within: float | None) -> bool:
    """Whether a window has started, starts within these seconds, or has no known start."""
    return within is None or row["starts_in"] is None or bool(row["starts_in"] <= within)


def read_fleet(api: ComputeApi, kinds: Iterable[str], zone: str | None, expression: str | None) -> Fleet:
    """The announcements for these kinds. `expression` filters instances.

    Raises the first PermissionDenied if all kinds are denied, and every other ComputeError.
    """
    fleet = Fleet()

    def instances() -> Iterator[Announcement]:
        for instance in listed(api, zone, _INSTANCE, expression):
            fleet.instances.append(f"{zone_of(instance)}/{instance['name']}")
            yield from of_instance(instance)

    readers: dict[str, Callable[[], Iterator[Announcement]]] = {
        "instance": instances,
        "node_group": lambda: _nodes(api, zone, fleet.denied),
        "reservation": lambda: _reservations(api, zone, fleet.denied),
    }
    wanted = list(dict.fromkeys(kinds))
    unread = []
    for kind in wanted:
        try:
            fleet.announcements.extend(readers[kind]())
        except PermissionDenied as error:  # noqa: PERF203 - each kind is denied by itself
            fleet.denied[kind] = error
            unread.append(error)
    if wanted and len(unread) == len(wanted):
        raise unread[0]
    return fleet


def history(api: ComputeApi, zone: str | None, since: float) -> list[dict[str, Any]]:
    """What the platform did to instances since `since` (epoch), the latest first."""
    expression = " OR ".join(f'(operationType = "{_PREFIX}{event}")' for event in SYSTEM_EVENTS)
    found = []
    for operation in api.in_zones("operations", zone, "list", fields=_OPERATION, filter=expression):
        inserted = str(operation.get("insertTime", ""))
        when = parse_time(inserted)
        target = str(operation.get("targetLink", "")).rpartition("/zones/")[2]
        zone_of_target, has_instance, name = target.partition("/instances/")
        if has_instance and when is not None and when >= since:
            row = {
                "time": format_time(when),
                "event": str(operation["operationType"]).rpartition(".")[2],
                "name": name,
                "zone": zone_of_target,
                "message": operation.get("statusMessage"),
            }
            # Within a second, by the API's text, which has milliseconds.
            found.append((when, inserted, row))
    return [row for _when, _inserted, row in sorted(found, key=lambda each: each[:2], reverse=True)]


def of_instance(instance: Mapping[str, Any]) -> Iterator[Announcement]:
    """The announcement for an instance, if there is one."""
    window = announced(instance)
    if window is not None:
        details = {
            "id": None if instance.get("id") is None else str(instance["id"]),
            "instance_status": instance.get("status"),
            "on_host_maintenance": instance.get("scheduling", {}).get("onHostMaintenance"),
        }
        yield Announcement("instance", str(instance["name"]), zone_of(instance), window, details)


def _nodes(api: ComputeApi, zone: str | None, denied: dict[str, PermissionDenied]) -> Iterator[Announcement]:
    groups = list(api.in_zones("nodeGroups", zone, "list", fields="name,zone"))

    def read(group: Mapping[str, Any]) -> list[Node]:
        return nodes_of(api, f"zones/{zone_of(group)}/nodeGroups/{group['name']}")

    for group, nodes in zip(groups, api.each(groups, read)):
        for node in _unless_denied(nodes, "node_group", denied):
            if node.window is not None:
                details = {"node_group": group["name"], "instances": list(node.instances)}
                yield Announcement("node", node.name, zone_of(group), node.window, details)


def _reservations(api: ComputeApi, zone: str | None, denied: dict[str, PermissionDenied]) -> Iterator[Announcement]:
    reservations = list(api.in_zones("reservations", zone, "list", fields=_RESERVATION))
    for reservation in reservations:
        status = reservation.get("resourceStatus", {})
        yield from _group(reservation, "reservation", status.get("reservationMaintenance"), zone_of(reservation), {})
    with_blocks = [each for each in reservations if _may_have_maintenance(each)]

    def read(reservation: Mapping[str, Any]) -> list[Announcement]:
        return list(_blocks(api, reservation))

    for found in api.each(with_blocks, read):
        yield from _unless_denied(found, "reservation", denied)


def _may_have_maintenance(reservation: Mapping[str, Any]) -> bool:
    """Whether it has blocks, and not a summary that says that nothing is announced for any of them."""
    status = reservation.get("resourceStatus", {})
    summary = status.get("reservationMaintenance")
    return int(status.get("reservationBlockCount", 0)) > 0 and (
        summary is None or group_maintenance(summary) is not None
    )


def _blocks(api: ComputeApi, reservation: Mapping[str, Any]) -> Iterator[Announcement]:
    zone, name = zone_of(reservation), reservation["name"]
    path = f"zones/{zone}/reservations/{name}/reservationBlocks"
    for block in api.items(path, "list", fields=_BLOCK):
        above = {"reservation": name, "block": block["name"]}
        summary = block.get("reservationMaintenance")
        yield from _group(block, "reservation_block", summary, zone, above)
        if summary is not None and group_maintenance(summary) is None:
            continue
        if int(block.get("reservationSubBlockCount", 0)) > 0:
            for part in api.items(f"{path}/{block['name']}/reservationSubBlocks", "list", fields=_SUB_BLOCK):
                summary = part.get("reservationSubBlockMaintenance")
                yield from _group(part, "reservation_sub_block", summary, zone, {**above, "sub_block": part["name"]})


def _group(
    resource: Mapping[str, Any], kind: str, summary: Any, zone: str, details: Mapping[str, Any]
) -> Iterator[Announcement]:
    """The announcement in a GroupMaintenanceInfo, if there is one."""
    window = group_maintenance(summary)
    if window is not None:
        name = str(resource["name"])
        counts = {
            "pending_count": summary.get("maintenancePendingCount", 0),
            "ongoing_count": summary.get("maintenanceOngoingCount", 0),
        }
        yield Announcement(kind, name, zone, window, {"reservation": name, **details, **counts})


def _unless_denied(outcome: Any, kind: str, denied: dict[str, PermissionDenied]) -> Any:
    """The outcome of one resource, or nothing, noted in `denied`. Raises every other ComputeError."""
    if isinstance(outcome, PermissionDenied):
        denied.setdefault(kind, outcome)
        return []
    if isinstance(outcome, ComputeError):
        raise outcome
    return outcome
