# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources of node groups and reservations, made from the project's state. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..state.geography import region_of
from ..state.hosts import Block, Host, Hosts, NodeGroup, Reservation
from ..state.project import Project
from ..state.upcoming import UpcomingMaintenance
from .resources import SERVICE_URL, fingerprint, instance_path, resource_id
from .timestamps import pacific_time


def node_group_path(project: Project, group: NodeGroup) -> str:
    """projects/P/zones/Z/nodeGroups/G"""
    return f"projects/{project.name}/zones/{group.spec.zone}/nodeGroups/{group.name}"


def reservation_path(project: Project, reservation: Reservation) -> str:
    """projects/P/zones/Z/reservations/R"""
    return f"projects/{project.name}/zones/{reservation.spec.zone}/reservations/{reservation.name}"


def block_path(project: Project, reservation: Reservation, block: str) -> str:
    """projects/P/zones/Z/reservations/R/reservationBlocks/B"""
    return f"{reservation_path(project, reservation)}/reservationBlocks/{block}"


def sub_block_path(project: Project, reservation: Reservation, block: str, part: str) -> str:
    """projects/P/zones/Z/reservations/R/reservationBlocks/B/reservationSubBlocks/S"""
    return f"{block_path(project, reservation, block)}/reservationSubBlocks/{part}"


def node_group_resource(project: Project, group: NodeGroup) -> dict[str, Any]:
    """The NodeGroup resource."""
    zone = f"{SERVICE_URL}/projects/{project.name}/zones/{group.spec.zone}"
    region = f"{SERVICE_URL}/projects/{project.name}/regions/{region_of(group.spec.zone)}"
    return {
        "kind": "compute#nodeGroup",
        "id": str(resource_id(node_group_path(project, group))),
        "creationTimestamp": pacific_time(project.created),
        "name": group.name,
        "nodeTemplate": f"{region}/nodeTemplates/{group.name}-template",
        "zone": zone,
        "selfLink": f"{SERVICE_URL}/{node_group_path(project, group)}",
        "status": "READY",
        "size": len(group.hosts),
        "fingerprint": fingerprint(group.name),
        "maintenancePolicy": group.spec.maintenance_policy,
        "maintenanceInterval": "AS_NEEDED",
        "shareSettings": {"shareType": "LOCAL"},
    }


def node_resource(project: Project, group: NodeGroup, node: Host) -> dict[str, Any]:
    """The NodeGroupNode resource, as nodeGroups.listNodes shows it."""
    zone = f"{SERVICE_URL}/projects/{project.name}/zones/{group.spec.zone}"
    shown: dict[str, Any] = {
        "name": node.name,
        "status": "READY",
        "nodeType": f"{zone}/nodeTypes/{group.spec.node_type}",
        "instances": [f"{SERVICE_URL}/{instance_path(each)}" for each in node.instances],
        "serverId": f"{resource_id(f'{group.name}/{node.name}'):016x}",
        "serverBinding": {"type": "RESTART_NODE_ON_ANY_SERVER"},
        "cpuOvercommitType": "NONE",
    }
    if node.upcoming_maintenance is not None:
        shown["upcomingMaintenance"] = node.upcoming_maintenance.to_api()
    return shown


def reservation_resource(project: Project, reservation: Reservation) -> dict[str, Any]:
    """The Reservation resource."""
    spec, path = reservation.spec, reservation_path(project, reservation)
    status: dict[str, Any] = {"reservationBlockCount": len(reservation.blocks)}
    if reservation.blocks:
        blocks = len(reservation.blocks)
        status["healthInfo"] = {"healthStatus": "HEALTHY", "healthyBlockCount": blocks, "degradedBlockCount": 0}
        status["reservationMaintenance"] = _group_maintenance(reservation, spec.scheduling_type)
    return {
        "kind": "compute#reservation",
        "id": str(resource_id(path)),
        "creationTimestamp": pacific_time(project.created),
        "name": reservation.name,
        "zone": f"{SERVICE_URL}/projects/{project.name}/zones/{spec.zone}",
        "selfLink": f"{SERVICE_URL}/{path}",
        "status": "READY",
        "specificReservation": {
            "instanceProperties": {"machineType": spec.machine_type},
            "count": str(len(reservation.hosts)),
            "inUseCount": str(_in_use(reservation.hosts)),
            "assuredCount": str(len(reservation.hosts)),
        },
        "specificReservationRequired": True,
        "shareSettings": {"shareType": "LOCAL"},
        "schedulingType": spec.scheduling_type,
        "enableEmergentMaintenance": False,
        "resourceStatus": status,
        **({"deploymentType": "DENSE"} if reservation.blocks else {}),
    }


def block_resource(project: Project, reservation: Reservation, block: Block) -> dict[str, Any]:
    """The ReservationBlock resource."""
    path = block_path(project, reservation, block.name)
    used = sum(_in_use(each.hosts) > 0 for each in block.sub_blocks)
    return {
        "kind": "compute#reservationBlock",
        **_part(project, reservation, path, block),
        "reservationSubBlockCount": len(block.sub_blocks),
        "reservationSubBlockInUseCount": used,
        "physicalTopology": {"cluster": f"{reservation.name}-cluster", "block": block.name},
        "reservationMaintenance": _group_maintenance(block, reservation.spec.scheduling_type),
    }


def sub_block_resource(project: Project, reservation: Reservation, block: Block, part: Hosts) -> dict[str, Any]:
    """The ReservationSubBlock resource."""
    path = sub_block_path(project, reservation, block.name, part.name)
    return {
        "kind": "compute#reservationSubBlock",
        **_part(project, reservation, path, part),
        "physicalTopology": {
            "cluster": f"{reservation.name}-cluster",
            "block": block.name,
            "subBlock": part.name,
        },
        "reservationSubBlockMaintenance": _group_maintenance(part, reservation.spec.scheduling_type),
    }


def _part(project: Project, reservation: Reservation, path: str, part: Hosts) -> dict[str, Any]:
    """What blocks and sub-blocks have in common."""
    used = _in_use(part.hosts)
    return {
        "id": str(resource_id(path)),
        "creationTimestamp": pacific_time(project.created),
        "name": part.name,
        "zone": f"{SERVICE_URL}/projects/{project.name}/zones/{reservation.spec.zone}",
        "selfLink": f"{SERVICE_URL}/{path}",
        "selfLinkWithId": f"{SERVICE_URL}/{path.rpartition('/')[0]}/{resource_id(path)}",
        "status": "READY",
        "count": len(part.hosts),
        "inUseCount": used,
        "inUseHostCount": used,
    }


def _group_maintenance(part: Hosts, scheduling_type: str) -> dict[str, Any]:
    """The GroupMaintenanceInfo resource: hosts and VMs with maintenance, and the earliest window of the group."""
    pending, ongoing = ([host for host in part.hosts if _status(host) == status] for status in ("PENDING", "ONGOING"))
    shown: dict[str, Any] = {
        "schedulingType": scheduling_type,
        "maintenancePendingCount": len(pending),
        "maintenanceOngoingCount": len(ongoing),
        "instanceMaintenancePendingCount": _in_use(pending),
        "instanceMaintenanceOngoingCount": _in_use(ongoing),
    }
    window = _earliest(part.hosts)
    if window is not None and scheduling_type == "GROUPED":
        shown["upcomingGroupMaintenance"] = window.to_api()
    return shown


def _earliest(hosts: Iterable[Host]) -> UpcomingMaintenance | None:
    windows = [host.upcoming_maintenance for host in hosts if host.upcoming_maintenance is not None]
    return min(windows, key=lambda window: window.window_start_time, default=None)


def _status(host: Host) -> str | None:
    return host.upcoming_maintenance.maintenance_status if host.upcoming_maintenance is not None else None


def _in_use(hosts: Iterable[Host]) -> int:
    return sum(len(host.instances) for host in hosts)
