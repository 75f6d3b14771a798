# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the control face that injects faults."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ..state import faults
from ..state.project import Project
from .messages import ControlError, json_response, read_object

_KEYS = ("kind", "face", "instance", "path", "count", "seconds", "delay", "zone", "permission")


class FaultControl:
    def __init__(self, project: Project) -> None:
        self._project = project

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/faults", self.faults),
            web.post("/faults", self.inject),
            web.delete("/faults", self.clear_faults),
            web.delete("/faults/{id}", self.remove_fault),
        ]

    async def faults(self, request: web.Request) -> web.Response:
        return json_response(
            {"faults": [fault.to_json() for fault in self._project.faults.all()], "kinds": faults.KINDS}
        )

    async def inject(self, request: web.Request) -> web.Response:
        body = await read_object(request, *_KEYS)
        given = {key: value for key, value in body.items() if value is not None}
        self._check_fault(given)
        return json_response(self._project.faults.inject(faults.Fault(**given)).to_json(), 201)

    async def clear_faults(self, request: web.Request) -> web.Response:
        self._project.faults.clear()
        return json_response({"faults": []})

    async def remove_fault(self, request: web.Request) -> web.Response:
        if not self._project.faults.remove(request.match_info["id"]):
            raise ControlError(404, f"there is no fault {request.match_info['id']}")
        return json_response({"removed": request.match_info["id"]})

    def _check_fault(self, given: dict[str, Any]) -> None:
        for key in ("face", "kind", "instance", "zone", "path", "permission"):
            if not isinstance(given.get(key, ""), str):
                raise ControlError(400, f"{key} is {given[key]!r}; it must be a string")
        face = given.get("face", "metadata")
        if face not in faults.KINDS:
            raise ControlError(400, f"face is {face!r}; it can be {', '.join(faults.KINDS)}")
        if given.get("kind") not in faults.KINDS[face]:
            raise ControlError(
                400, f"kind is {given.get('kind')!r}; on this face it can be {', '.join(faults.KINDS[face])}"
            )
        if given.get("instance") is not None and given["instance"] not in self._project.instances:
            raise ControlError(404, f"there is no instance {given['instance']}")
        if given.get("zone") is not None and given["zone"] not in self._project.zones():
            raise ControlError(404, f"there is no instance in the zone {given['zone']}")
        count = given.get("count", 1)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ControlError(400, f"count is {count!r}; it must be a whole number, 1 or more")
        for key in ("seconds", "delay"):
            value = given.get(key, 0)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e9:
                raise ControlError(400, f"{key} is {value!r}; it must be a number of seconds")
