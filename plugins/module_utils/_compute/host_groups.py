# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sole-tenant node groups, and reservations with their blocks and sub-blocks, as resources that are maintained.

Private to the collection: it may change at any time.

https://cloud.google.com/compute/docs/nodes/monitor-plan-host-maintenance-event
https://cloud.google.com/ai-hypercomputer/docs/manage/host-events-reservations
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._vm.maintenance import Window
from .api import ComputeApi
from .errors import ComputeBadRequest
from .host_maintenance import PERFORM, Maintenance, nothing_to_perform, window_of

# From the option's choices to the API's.
SCOPES = {"all": "ALL", "running": "RUNNING_VMS", "unused": "UNUSED_CAPACITY"}


@dataclass(frozen=True)
class Node:
    name: str
    window: Window | None
    # The names of its instances.
    instances: tuple[str, ...]


def nodes_of(api: ComputeApi, path: str) -> list[Node]:
    """The nodes of a node group. The path is below projects/PROJECT/."""
    fields = "name,instances,upcomingMaintenance"
    return [
        Node(
            str(node["name"]),
            window_of(node.get("upcomingMaintenance")),
            tuple(str(link).rpartition("/")[2] for link in node.get("instances", [])),
        )
        for node in api.items(f"{path}/listNodes", "list the nodes of", method="POST", resource=path, fields=fields)
    ]


def plan_nodes(api: ComputeApi, path: str, names: Sequence[str] | None, action: str) -> Maintenance:
    """Maintenance of these nodes of a node group, or with None, of all for which it is possible."""
    nodes = {node.name: node for node in nodes_of(api, path)}
    unknown = [name for name in names or () if name not in nodes]
    if unknown:
        missing, known = ", ".join(name or "''" for name in unknown), ", ".join(nodes) or "no nodes"
        raise ComputeBadRequest(f"There is no node {missing} in {path}. It has {known}.")
    chosen = [nodes[name] for name in dict.fromkeys(nodes if names is None else names)]
    problems: dict[str, str] = {}
    if action == PERFORM:
        reasons = {node.name: nothing_to_perform(node.window) for node in chosen}
        problems = {name: reason for name, reason in reasons.items() if reason is not None}
    due = [node for node in chosen if node.name not in problems]
    problem = None
    if problems and (names or not due):
        problem = " ".join(f"{name}: {reason}" for name, reason in problems.items())
    if not nodes:
        problem = "it has no nodes."
    starts = [node.window for node in due if node.window is not None]
    window = min(starts, key=lambda each: each.start or 0.0, default=None)
    due_names = tuple(node.name for node in due)
    return Maintenance(window, {"nodes": list(due_names)} if due else None, problem, nodes=due_names)


def reservation_path(zone: str, reservation: str, block: str | None, sub_block: str | None) -> str:
    path = f"zones/{zone}/reservations/{reservation}"
    if block is not None:
        path += f"/reservationBlocks/{block}"
    return path if sub_block is None else f"{path}/reservationSubBlocks/{sub_block}"


def plan_reservation(api: ComputeApi, path: str, scope: str) -> Maintenance:
    """Maintenance of the hosts of a reservation, a block or a sub-block."""
    found = api.get(path, "read")
    # Of a block or a sub-block, the answer contains the resource.
    resource = found.get("resource", found)
    status = resource.get("resourceStatus", {})
    summaries = (
        status.get("reservationMaintenance"),
        resource.get("reservationMaintenance"),
        resource.get("reservationSubBlockMaintenance"),
    )
    window = group_maintenance(next((summary for summary in summaries if summary), None))
    problem = nothing_to_perform(window)
    if window is not None and window.start is None and window.status == "PENDING" and window.can_reschedule is None:
        # Its hosts are maintained independently, and have windows of their own.
        problem = None
    body = {} if "/reservationSubBlocks/" in path else {"maintenanceScope": SCOPES[scope]}
    return Maintenance(window, None if problem else body, problem)


def group_maintenance(summary: Mapping[str, Any] | None) -> Window | None:
    """The window in the GroupMaintenanceInfo of a reservation, a block or a sub-block, or None.

    If hosts are maintained independently, there are only counts, and the window has no times.
    """
    if not summary:
        return None
    window = window_of(summary.get("upcomingGroupMaintenance"))
    if window is not None:
        return window
    for status, word in (("ONGOING", "Ongoing"), ("PENDING", "Pending")):
        names = (f"maintenance{word}Count", f"instanceMaintenance{word}Count", f"subblockInfraMaintenance{word}Count")
        if any(int(summary.get(name, 0)) > 0 for name in names):
            return Window(start=None, status=status)
    return None
