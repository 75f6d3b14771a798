# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the control face that steers instances: values, scenarios, power, serial ports."""

from __future__ import annotations

from typing import Any, Callable

from aiohttp import web

from ..scenarios import catalogue, maintenance, power, runs
from ..state import tree
from ..state.guest_metadata import UPCOMING_MAINTENANCE
from ..state.instance import Instance
from ..state.project import Project
from ..state.serial_console import PORTS
from ..state.values import BadValue
from .messages import ControlError, json_response, read_object


class InstanceControl:
    """`hanging` returns the number of hanging GETs of an instance, by its name."""

    def __init__(self, project: Project, hanging: Callable[[str], int]) -> None:
        self._project = project
        self._hanging = hanging

    def routes(self) -> list[web.RouteDef]:
        instance = "/instances/{name}"
        value = instance + "/values/{path:.*}"
        return [
            web.get(instance, self.show),
            web.get(value, self.get_value),
            web.put(value, self.set_value),
            web.delete(value, self.remove_value),
            web.get(f"{instance}/scenarios", self.scenarios),
            web.post(f"{instance}/scenarios", self.start_scenario),
            web.delete(f"{instance}/scenarios", self.cancel_scenarios),
            web.delete(instance + "/scenarios/{id}", self.cancel_scenarios),
            web.post(f"{instance}/stop", self.stop),
            web.post(f"{instance}/start", self.start),
            web.post(f"{instance}/guest-shutdown", self.shut_down_by_guest),
            web.post(f"{instance}/serial", self.write_serial),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return json_response(self._summary(self._named(request)))

    async def get_value(self, request: web.Request) -> web.Response:
        instance, path = self._named(request), _path(request)
        node = instance.find(path)
        if node is None:
            raise ControlError(404, f"{instance.name} has no {path}")
        if path == UPCOMING_MAINTENANCE:
            window = instance.upcoming_maintenance
            return json_response({"value": None if window is None else window.to_api()})
        return json_response({"value": tree.dump(node)})

    async def set_value(self, request: web.Request) -> web.Response:
        instance, path = self._named(request), _path(request)
        body = await read_object(request, "value")
        if "value" not in body:
            raise ControlError(400, 'the body must be {"value": …}')
        try:
            instance.set(path, body["value"])
        except BadValue as error:
            raise ControlError(400, str(error)) from None
        return json_response({"instance": instance.name, "path": path})

    async def remove_value(self, request: web.Request) -> web.Response:
        instance, path = self._named(request), _path(request)
        if not instance.remove(path):
            raise ControlError(404, f"{instance.name} has no {path}")
        return json_response({"instance": instance.name, "path": path})

    async def scenarios(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        return json_response(
            {
                "running": [run.to_json() for run in instance.runs.values()],
                "available": catalogue.describe(instance),
            }
        )

    async def start_scenario(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        body = await read_object(request)
        name = body.pop("name", None)
        if not isinstance(name, str):
            raise ControlError(400, f"name is missing; it can be {', '.join(catalogue.SCENARIOS)}")
        try:
            run = catalogue.start(instance, name, body)
        except runs.BadOption as error:
            raise ControlError(400, str(error)) from None
        except runs.Refused as error:
            raise ControlError(409, str(error)) from None
        return json_response(run.to_json(), 202)

    async def cancel_scenarios(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        wanted = request.match_info.get("id")
        chosen = [run for run in instance.runs.values() if wanted in (None, run.id)]
        if wanted is not None and not chosen:
            raise ControlError(404, f"{instance.name} plays no scenario {wanted}")
        for run in chosen:
            maintenance.withdraw(instance, run)
        return json_response({"cancelled": [run.id for run in chosen]})

    async def stop(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        if instance.status == "TERMINATED":
            raise ControlError(409, f"{instance.name} is TERMINATED already")
        runs.end_runs(instance)
        instance.stop()
        return json_response(self._summary(instance))

    async def start(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        if instance.is_up:
            raise ControlError(409, f"{instance.name} is {instance.status} already")
        runs.end_runs(instance)
        instance.start()
        return json_response(self._summary(instance))

    async def shut_down_by_guest(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        if not instance.is_up:
            raise ControlError(409, f"{instance.name} is {instance.status} already")
        power.shut_down_by_guest(instance)
        if not instance.exists:
            return json_response({"name": instance.name, "status": "DELETED"})
        return json_response(self._summary(instance))

    async def write_serial(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        body = await read_object(request, "text", "port")
        text, port = body.get("text"), body.get("port", 1)
        if not isinstance(text, str):
            raise ControlError(400, f"text is {text!r}; it must be a string")
        if isinstance(port, bool) or port not in PORTS:
            raise ControlError(400, f"port is {port!r}; it can be {PORTS[0]} to {PORTS[-1]}")
        instance.serial(port).write(text)
        return json_response({"instance": instance.name, "port": port, "end": instance.serial(port).end})

    def _named(self, request: web.Request) -> Instance:
        name = request.match_info["name"]
        instance = self._project.instances.get(name)
        if instance is None:
            raise ControlError(404, f"there is no instance {name}; there is {', '.join(self._project.instances)}")
        return instance

    def _summary(self, instance: Instance) -> dict[str, Any]:
        window = instance.upcoming_maintenance
        return {
            "name": instance.name,
            "id": str(instance.id),
            "zone": instance.zone,
            "status": instance.status,
            "boot_count": instance.boot_count,
            "boot_id": instance.boot_id,
            "maintenance_event": instance.maintenance_event,
            "preempted": instance.preempted,
            "upcoming_maintenance": None if window is None else window.to_api(),
            "asked_directly": instance.asked_directly,
            "hanging_gets": self._hanging(instance.name),
            "attributes": instance.attributes,
            "guest_attributes": instance.guest_attributes,
            "scenarios": [run.to_json() for run in instance.runs.values()],
        }


def _path(request: web.Request) -> str:
    return "/".join(tree.split(request.match_info["path"]))
