# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the control face that steers the hosts of node groups and reservations."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ..scenarios import hosts, runs
from ..state.hosts import Block, Host, Hosts, NodeGroup, Reservation
from ..state.project import Project
from ..state.upcoming import UpcomingMaintenance
from .messages import ControlError, json_response, read_object


class HostControl:
    """A request is about all hosts of a group, or those that its body selects: `nodes`, `block`, `sub_block`."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def routes(self) -> list[web.RouteDef]:
        routes: list[web.RouteDef] = []
        for path in ("/node-groups/{group}", "/reservations/{reservation}"):
            routes += [
                web.get(path, self.show),
                web.put(f"{path}/upcoming-maintenance", self.set_window),
                web.get(f"{path}/scenarios", self.scenarios),
                web.post(f"{path}/scenarios", self.start_scenario),
                web.delete(f"{path}/scenarios", self.cancel_scenarios),
            ]
        return routes

    async def show(self, request: web.Request) -> web.Response:
        group = self._group(request)
        return json_response(
            {"name": group.name, "zone": group.spec.zone, "hosts": [_summary(group, host) for host in group.hosts]}
        )

    async def set_window(self, request: web.Request) -> web.Response:
        """The value stays until it is set again; no scenario is played."""
        group = self._group(request)
        body = await read_object(request, "value", "nodes", "block", "sub_block")
        if "value" not in body:
            raise ControlError(400, 'the body must be {"value": …}')
        try:
            window = None if body["value"] is None else UpcomingMaintenance.from_mapping(_mapping(body["value"]))
        except ValueError as error:
            raise ControlError(400, str(error)) from None
        for host in _selected(group, body):
            host.upcoming_maintenance = window
        return await self.show(request)

    async def scenarios(self, request: web.Request) -> web.Response:
        group = self._group(request)
        running = [run.to_json() for host in group.hosts for run in host.runs.values()]
        return json_response({"running": running, "available": hosts.describe(group.hosts[0])})

    async def start_scenario(self, request: web.Request) -> web.Response:
        group = self._group(request)
        body = await read_object(request)
        targets = _selected(group, body)
        options = {key: value for key, value in body.items() if key not in ("name", "nodes", "block", "sub_block")}
        if not isinstance(body.get("name"), str):
            raise ControlError(400, f"name is missing; it can be {', '.join(hosts.HOST_SCENARIOS)}")
        try:
            begun = hosts.start_on_hosts(targets, body["name"], options)
        except runs.BadOption as error:
            raise ControlError(400, str(error)) from None
        except runs.Refused as error:
            raise ControlError(409, str(error)) from None
        return json_response({"started": [run.to_json() for run in begun]}, 202)

    async def cancel_scenarios(self, request: web.Request) -> web.Response:
        group = self._group(request)
        cancelled = [run.id for host in group.hosts for run in host.runs.values()]
        for host in group.hosts:
            hosts.withdraw(host)
        return json_response({"cancelled": cancelled})

    def _group(self, request: web.Request) -> NodeGroup | Reservation:
        kind, name = next(iter(request.match_info.items()))
        groups: dict[str, NodeGroup] | dict[str, Reservation]
        groups = self._project.node_groups if kind == "group" else self._project.reservations
        words = "node group" if kind == "group" else "reservation"
        if name not in groups:
            raise ControlError(404, f"there is no {words} {name}; there is {', '.join(groups) or 'none'}")
        return groups[name]


def _selected(group: NodeGroup | Reservation, body: dict[str, Any]) -> list[Host]:
    known = ("nodes",) if isinstance(group, NodeGroup) else ("block", "sub_block")
    for key in ("nodes", "block", "sub_block"):
        if key in body and key not in known:
            raise ControlError(400, f"{group.name} has no {key}; hosts are selected by {' and '.join(known)}")
    if isinstance(group, NodeGroup):
        return [_named(group.name, group.hosts, name) for name in _names(body.get("nodes"))] or list(group.hosts)
    part: Hosts = group
    if "block" in body:
        part = _named(group.name, group.blocks, body["block"])
    if "sub_block" in body:
        if not isinstance(part, Block):
            raise ControlError(400, "sub_block needs block")
        part = _named(part.name, part.sub_blocks, body["sub_block"])
    return list(part.hosts)


def _named(owner: str, parts: Any, name: Any) -> Any:
    for part in parts:
        if part.name == name:
            return part
    raise ControlError(404, f"{owner} has no {name}; it has {', '.join(part.name for part in parts) or 'none'}")


def _names(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ControlError(400, f"nodes is {value!r}; it must be a list of names")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"the value is {value!r}; it must be an object or null")
    return value


def _summary(group: NodeGroup | Reservation, host: Host) -> dict[str, Any]:
    place: dict[str, str] = {}
    if isinstance(group, Reservation):
        for block in group.blocks:
            if host in block.hosts:
                place["block"] = block.name
                for part in block.sub_blocks:
                    if host in part.hosts:
                        place["sub_block"] = part.name
    window = host.upcoming_maintenance
    return {
        "name": host.name,
        **place,
        "instances": [instance.name for instance in host.instances],
        "upcoming_maintenance": None if window is None else window.to_api(),
        "scenarios": [run.to_json() for run in host.runs.values()],
    }
