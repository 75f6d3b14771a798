# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of nodeGroups, reservations, reservationBlocks and reservationSubBlocks."""

from __future__ import annotations

import asyncio
import datetime
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable

from ..scenarios import hosts, maintenance, runs
from ..state import errors
from ..state.errors import ApiError
from ..state.hosts import Block, Host, Hosts, NodeGroup, Reservation
from ..state.upcoming import parse_time
from .calls import PROJECT, ZONE, Calls, failing
from .host_resources import (
    block_path,
    block_resource,
    node_group_path,
    node_group_resource,
    node_resource,
    reservation_path,
    reservation_resource,
    sub_block_path,
    sub_block_resource,
)
from .list_query import Entry, parse_list_query, select
from .maintenance import UNAVAILABLE
from .operations import OperationError
from .request import Answer, ApiRequest, Routes
from .resources import resource_id

_GROUP = ZONE + "/nodeGroups/{node_group}"
_RESERVATION = ZONE + "/reservations/{reservation}"
_BLOCK = _RESERVATION + "/reservationBlocks/{block}"
_SUB_BLOCK = _BLOCK + "/reservationSubBlocks/{sub_block}"

_SCOPES: Mapping[str, Callable[[Host], bool]] = {
    "ALL": lambda host: True,
    "RUNNING_VMS": lambda host: bool(host.instances),
    "UNUSED_CAPACITY": lambda host: not host.instances,
}


class HostMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._project = calls.project

    def routes(self) -> Routes:
        return [
            ("GET", PROJECT + "/aggregated/nodeGroups", self.aggregated_node_groups),
            ("GET", ZONE + "/nodeGroups", self.list_node_groups),
            ("GET", _GROUP, self.get_node_group),
            ("POST", _GROUP + "/listNodes", self.list_nodes),
            ("POST", _GROUP + "/performMaintenance", self.perform_on_nodes),
            ("POST", _GROUP + "/simulateMaintenanceEvent", self.simulate_on_nodes),
            ("GET", PROJECT + "/aggregated/reservations", self.aggregated_reservations),
            ("GET", ZONE + "/reservations", self.list_reservations),
            ("GET", _RESERVATION, self.get_reservation),
            ("POST", _RESERVATION + "/performMaintenance", self.perform_on_reservation),
            ("GET", _RESERVATION + "/reservationBlocks", self.list_blocks),
            ("GET", _BLOCK, self.get_block),
            ("POST", _BLOCK + "/performMaintenance", self.perform_on_block),
            ("GET", _BLOCK + "/reservationSubBlocks", self.list_sub_blocks),
            ("GET", _SUB_BLOCK, self.get_sub_block),
            ("POST", _SUB_BLOCK + "/performMaintenance", self.perform_on_sub_block),
        ]

    # Node groups

    async def aggregated_node_groups(self, request: ApiRequest) -> Answer:
        return self._calls.aggregated_list(request, "nodeGroups", self._node_group_entries())

    async def list_node_groups(self, request: ApiRequest) -> Answer:
        return self._list(request, "nodeGroups", self._node_group_entries())

    async def get_node_group(self, request: ApiRequest) -> Answer:
        return node_group_resource(self._project, self._node_group(request))

    async def list_nodes(self, request: ApiRequest) -> Answer:
        group = self._node_group(request)
        path = node_group_path(self._project, group) + "/listNodes"
        show = functools.partial(node_resource, self._project, group)
        return self._list_parts(request, path, "compute#nodeGroupsListNodes", group.hosts, show)

    async def perform_on_nodes(self, request: ApiRequest) -> Answer:
        """At `startTime`, or else now."""
        group, body = self._node_group(request), request.read_object()
        nodes = _nodes(group, body)
        if not nodes:
            raise errors.invalid("nodes", "", "Must name at least one node of the group.")
        start_time = _start_time(body)
        return self._maintain(
            request, node_group_path(self._project, group), nodes, functools.partial(_perform, start_time=start_time)
        )

    async def simulate_on_nodes(self, request: ApiRequest) -> Answer:
        """On the nodes that the body names; without names, on all."""
        group = self._node_group(request)
        nodes = _nodes(group, request.read_object()) or list(group.hosts)
        return self._maintain(request, node_group_path(self._project, group), nodes, hosts.simulate_maintenance)

    # Reservations

    async def aggregated_reservations(self, request: ApiRequest) -> Answer:
        return self._calls.aggregated_list(request, "reservations", self._reservation_entries())

    async def list_reservations(self, request: ApiRequest) -> Answer:
        return self._list(request, "reservations", self._reservation_entries())

    async def get_reservation(self, request: ApiRequest) -> Answer:
        return reservation_resource(self._project, self._reservation(request))

    async def list_blocks(self, request: ApiRequest) -> Answer:
        reservation = self._reservation(request)
        path = reservation_path(self._project, reservation) + "/reservationBlocks"
        show = functools.partial(block_resource, self._project, reservation)
        return self._list_parts(request, path, "compute#reservationBlock", reservation.blocks, show)

    async def get_block(self, request: ApiRequest) -> Answer:
        reservation = self._reservation(request)
        return {"resource": block_resource(self._project, reservation, self._block(request, reservation))}

    async def list_sub_blocks(self, request: ApiRequest) -> Answer:
        reservation = self._reservation(request)
        block = self._block(request, reservation)
        path = block_path(self._project, reservation, block.name) + "/reservationSubBlocks"
        show = functools.partial(sub_block_resource, self._project, reservation, block)
        return self._list_parts(request, path, "compute#reservationSubBlock", block.sub_blocks, show)

    async def get_sub_block(self, request: ApiRequest) -> Answer:
        reservation = self._reservation(request)
        block = self._block(request, reservation)
        part = self._sub_block(request, reservation, block)
        return {"resource": sub_block_resource(self._project, reservation, block, part)}

    async def perform_on_reservation(self, request: ApiRequest) -> Answer:
        reservation = self._reservation(request)
        path = reservation_path(self._project, reservation)
        if not reservation.blocks:
            why = f"The reservation '{path}' has no blocks, so that its maintenance cannot be performed."
            raise ApiError(400, "failedPrecondition", why)
        return self._maintain(request, path, _in_scope(request, reservation), _perform)

    async def perform_on_block(self, request: ApiRequest) -> Answer:
        reservation = self._reservation(request)
        block = self._block(request, reservation)
        path = block_path(self._project, reservation, block.name)
        return self._maintain(request, path, _in_scope(request, block), _perform)

    async def perform_on_sub_block(self, request: ApiRequest) -> Answer:
        reservation = self._reservation(request)
        block = self._block(request, reservation)
        part = self._sub_block(request, reservation, block)
        path = sub_block_path(self._project, reservation, block.name, part.name)
        return self._maintain(request, path, list(part.hosts), _perform)

    # What the methods share

    def _maintain(
        self,
        request: ApiRequest,
        path: str,
        targets: Sequence[Host],
        begin: Callable[[Sequence[Host]], list[hosts.HostRun]],
    ) -> Answer:
        operation_type = request.path.rpartition("/")[2]
        replayed = self._calls.replayed(request, operation_type, path)
        if replayed is not None:
            return replayed
        if operation_type == "performMaintenance":
            _refuse_unless_performable(path, targets)
        is_scheduled = operation_type == "performMaintenance" and request.read_object().get("startTime") is not None

        async def work() -> OperationError | None:
            try:
                begun = begin(targets)
            except runs.Refused as refusal:
                return OperationError("FAILED_PRECONDITION", f"{refusal}.")
            if not is_scheduled:
                await asyncio.gather(*(run.done for run in begun))
            return None

        is_failing = self._calls.take_fault(request, ["operation-error"]) is not None
        zone = f"zones/{request.named['zone']}"
        return self._calls.start(
            request, zone, operation_type, path, resource_id(path), failing(UNAVAILABLE) if is_failing else work
        )

    def _list(self, request: ApiRequest, name: str, entries: Sequence[Entry]) -> Answer:
        zone = self._calls.zone_of(request)
        page = select((entry for entry in entries if entry.scope == f"zones/{zone}"), parse_list_query(request.query))
        return self._calls.list_of(f"zones/{zone}/{name}", f"compute#{name[:-1]}List", page)

    def _list_parts(
        self, request: ApiRequest, path: str, kind: str, parts: Iterable[Any], show: Callable[[Any], dict[str, Any]]
    ) -> Answer:
        """The nodes of a group, or the parts of a reservation. `show` makes the resource of one."""
        entries = (Entry("", part.name, None, functools.partial(show, part)) for part in parts)
        page = select(entries, parse_list_query(request.query))
        return self._calls.list_of(path.removeprefix(f"projects/{self._project.name}/"), kind, page)

    def _node_group_entries(self) -> list[Entry]:
        project = self._project
        return [
            Entry(
                f"zones/{group.spec.zone}",
                group.name,
                project.created,
                functools.partial(node_group_resource, project, group),
            )
            for group in project.node_groups.values()
        ]

    def _reservation_entries(self) -> list[Entry]:
        project = self._project
        return [
            Entry(
                f"zones/{each.spec.zone}",
                each.name,
                project.created,
                functools.partial(reservation_resource, project, each),
            )
            for each in project.reservations.values()
        ]

    def _node_group(self, request: ApiRequest) -> NodeGroup:
        zone, name = self._calls.zone_of(request), request.named["node_group"]
        group = self._project.node_groups.get(name)
        if group is None or group.spec.zone != zone:
            raise errors.not_found(f"projects/{self._project.name}/zones/{zone}/nodeGroups/{name}")
        return group

    def _reservation(self, request: ApiRequest) -> Reservation:
        zone, name = self._calls.zone_of(request), request.named["reservation"]
        reservation = self._project.reservations.get(name)
        if reservation is None or reservation.spec.zone != zone:
            raise errors.not_found(f"projects/{self._project.name}/zones/{zone}/reservations/{name}")
        return reservation

    def _block(self, request: ApiRequest, reservation: Reservation) -> Block:
        name = request.named["block"]
        for block in reservation.blocks:
            if block.name == name:
                return block
        raise errors.not_found(block_path(self._project, reservation, name))

    def _sub_block(self, request: ApiRequest, reservation: Reservation, block: Block) -> Hosts:
        name = request.named["sub_block"]
        for part in block.sub_blocks:
            if part.name == name:
                return part
        raise errors.not_found(sub_block_path(self._project, reservation, block.name, name))


def _perform(targets: Sequence[Host], start_time: datetime.datetime | None = None) -> list[hosts.HostRun]:
    return hosts.perform_maintenance(_with_window(targets), start_time)


def _with_window(targets: Sequence[Host]) -> list[Host]:
    return [host for host in targets if host.upcoming_maintenance is not None]


def _refuse_unless_performable(path: str, targets: Sequence[Host]) -> None:
    """Hosts without announced maintenance are left alone, as long as one in scope has any."""
    try:
        if not _with_window(targets):
            raise runs.Refused("no host in scope has pending maintenance")
        for host in _with_window(targets):
            maintenance.performable_window(host)
    except runs.Refused as refusal:
        what = f"Cannot perform maintenance on the resource '{path}'"
        raise ApiError(400, "failedPrecondition", f"{what}: {refusal}.") from refusal


def _in_scope(request: ApiRequest, part: Hosts) -> list[Host]:
    scope = request.read_object().get("maintenanceScope", "ALL")
    if scope not in _SCOPES:
        raise errors.invalid("maintenanceScope", str(scope), f"Must be one of {', '.join(_SCOPES)}.")
    return [host for host in part.hosts if _SCOPES[scope](host)]


def _nodes(group: NodeGroup, body: Mapping[str, Any]) -> list[Host]:
    names = body.get("nodes") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise errors.invalid("nodes", str(names), "Must be a list of names.")
    nodes = {node.name: node for node in group.hosts}
    for name in names:
        if name not in nodes:
            raise errors.invalid("nodes", name, f"The node group has {', '.join(nodes)}.")
    return [nodes[name] for name in dict.fromkeys(names)]


def _start_time(body: Mapping[str, Any]) -> datetime.datetime | None:
    if body.get("startTime") is None:
        return None
    try:
        return parse_time(body["startTime"], "startTime")
    except ValueError:
        raise errors.invalid("startTime", str(body["startTime"]), "Must be an RFC 3339 timestamp.") from None
