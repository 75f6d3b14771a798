# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control face: JSON over HTTP for whoever steers the emulator, a test or a person with curl."""

from __future__ import annotations

import functools
from collections.abc import Awaitable
from typing import Any, Callable

from aiohttp import web

from ..scenarios import catalogue, maintenance, power, runs
from ..state import faults, tree
from ..state.guest_metadata import UPCOMING_MAINTENANCE
from ..state.instance import Instance
from ..state.project import Project
from ..state.serial_console import PORTS
from ..state.values import BadValue
from ..web import web_pages
from ..web.connection import nobody
from .hosts import HostControl
from .messages import ControlError, json_response, read_object

# Real seconds for which a request for the journal can wait.
_LONGEST_WAIT = 600.0


def make_app(project: Project, ready: Callable[[], dict[str, Any]], hanging: Callable[[str], int]) -> web.Application:
    """`ready` gives the addresses of all faces, `hanging` the number of hanging GETs of an instance."""
    face = ControlFace(project, ready, hanging)
    app = web.Application(middlewares=[face.serve], client_max_size=2**24)
    app.router.add_get("/", face.overview)
    app.router.add_get("/instances/{name}", face.instance)
    app.router.add_get("/instances/{name}/values/{path:.*}", face.get_value)
    app.router.add_put("/instances/{name}/values/{path:.*}", face.set_value)
    app.router.add_delete("/instances/{name}/values/{path:.*}", face.remove_value)
    app.router.add_get("/instances/{name}/scenarios", face.scenarios)
    app.router.add_post("/instances/{name}/scenarios", face.start_scenario)
    app.router.add_delete("/instances/{name}/scenarios", face.cancel_scenarios)
    app.router.add_delete("/instances/{name}/scenarios/{id}", face.cancel_scenarios)
    app.router.add_post("/instances/{name}/stop", face.stop)
    app.router.add_post("/instances/{name}/start", face.start)
    app.router.add_post("/instances/{name}/guest-shutdown", face.shut_down_by_guest)
    app.router.add_post("/instances/{name}/serial", face.write_serial)
    app.router.add_post("/reset", face.reset)
    app.router.add_routes(HostControl(project).routes())
    app.router.add_put("/clock", face.set_clock)
    app.router.add_get("/clock", face.clock)
    app.router.add_get("/faults", face.faults)
    app.router.add_post("/faults", face.inject)
    app.router.add_delete("/faults", face.clear_faults)
    app.router.add_delete("/faults/{id}", face.remove_fault)
    app.router.add_get("/journal", face.journal)
    app.router.add_delete("/journal", face.clear_journal)
    return app


class ControlFace:
    def __init__(self, project: Project, ready: Callable[[], dict[str, Any]], hanging: Callable[[str], int]) -> None:
        self._project = project
        self._ready = ready
        self._hanging = hanging

    @web.middleware
    async def serve(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            self._refuse_web_pages(request)
            return await handler(request)
        except ConnectionResetError:
            return nobody()
        except ControlError as problem:
            return json_response({"error": str(problem)}, problem.status)
        except web.HTTPException as error:
            return json_response({"error": f"{request.method} {request.path}: {error.reason}"}, error.status)

    def _refuse_web_pages(self, request: web.Request) -> None:
        fleet = self._project.fleet
        why = web_pages.refusal(request.headers, (fleet.listen, *fleet.hosts))
        if why is not None:
            raise ControlError(403, why)
        # What a form can send without asking first is not taken.
        is_told = "Content-Type" in request.headers or request.body_exists
        if request.method not in ("GET", "HEAD") and is_told and request.content_type != "application/json":
            raise ControlError(415, f"the Content-Type is {request.content_type}; it has to be application/json")

    async def overview(self, request: web.Request) -> web.Response:
        return json_response({**self._ready(), "project": self._project.name, "clock": self._clock()})

    async def instance(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        window = instance.upcoming_maintenance
        return json_response(
            {
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
        )

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
            raise ControlError(400, 'the body has to be {"value": …}')
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
            raise ControlError(404, f"no scenario {wanted} is being played on {instance.name}")
        for run in chosen:
            maintenance.withdraw(instance, run)
        return json_response({"cancelled": [run.id for run in chosen]})

    async def stop(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        if instance.status == "TERMINATED":
            raise ControlError(409, f"{instance.name} is TERMINATED already")
        runs.end_runs(instance)
        instance.stop()
        return await self.instance(request)

    async def start(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        if instance.is_up:
            raise ControlError(409, f"{instance.name} is {instance.status} already")
        runs.end_runs(instance)
        instance.start()
        return await self.instance(request)

    async def shut_down_by_guest(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        if not instance.is_up:
            raise ControlError(409, f"{instance.name} is {instance.status} already")
        power.shut_down_by_guest(instance)
        return (
            await self.instance(request)
            if instance.exists
            else json_response({"name": instance.name, "status": "DELETED"})
        )

    async def write_serial(self, request: web.Request) -> web.Response:
        instance = self._named(request)
        body = await read_object(request, "text", "port")
        text, port = body.get("text"), body.get("port", 1)
        if not isinstance(text, str):
            raise ControlError(400, f"text is {text!r}; it is what is written to the serial port, a string")
        if isinstance(port, bool) or port not in PORTS:
            raise ControlError(400, f"port is {port!r}; it can be {PORTS[0]} to {PORTS[-1]}")
        instance.serial(port).write(text)
        return json_response({"instance": instance.name, "port": port, "end": instance.serial(port).end})

    async def reset(self, request: web.Request) -> web.Response:
        self._project.reset()
        return await self.overview(request)

    async def clock(self, request: web.Request) -> web.Response:
        return json_response(self._clock())

    async def set_clock(self, request: web.Request) -> web.Response:
        body = await read_object(request, "speed")
        speed = body.get("speed")
        if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not 0.001 <= speed <= 1e9:
            raise ControlError(400, f"speed is {speed!r}; it is a number, 0.001 to 1e9")
        self._project.clock.speed = float(speed)
        return json_response(self._clock())

    async def faults(self, request: web.Request) -> web.Response:
        return json_response(
            {"faults": [fault.to_json() for fault in self._project.faults.all()], "kinds": faults.KINDS}
        )

    async def inject(self, request: web.Request) -> web.Response:
        body = await read_object(request, "kind", "face", "instance", "path", "count", "seconds", "delay", "zone")
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

    async def journal(self, request: web.Request) -> web.Response:
        query, journal = request.query, self._project.journal
        select = functools.partial(
            journal.select,
            instance=query.get("instance"),
            path=query.get("path"),
            face=query.get("face"),
            since=_number(request, "since", 0.0, 1e12),
            after=int(_number(request, "after", 0, 10**12)),
            status=int(_number(request, "status", 0, 999)) if "status" in query else None,
        )
        entries = await journal.wait(select, _number(request, "wait", 0.0, _LONGEST_WAIT))
        return json_response({"requests": [entry.to_json() for entry in entries]})

    async def clear_journal(self, request: web.Request) -> web.Response:
        self._project.journal.clear()
        return json_response({"requests": []})

    def _named(self, request: web.Request) -> Instance:
        name = request.match_info["name"]
        instance = self._project.instances.get(name)
        if instance is None:
            raise ControlError(404, f"there is no instance {name}; there is {', '.join(self._project.instances)}")
        return instance

    def _clock(self) -> dict[str, Any]:
        return {"speed": self._project.clock.speed, "now": self._project.clock.time()}

    def _check_fault(self, given: dict[str, Any]) -> None:
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
            raise ControlError(404, f"there is no instance in a zone {given['zone']}")
        if not isinstance(given.get("path", ""), str):
            raise ControlError(400, f"path is {given['path']!r}; it is a string")
        count = given.get("count", 1)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ControlError(400, f"count is {count!r}; it is a whole number, 1 at least")
        for key in ("seconds", "delay"):
            value = given.get(key, 0)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e9:
                raise ControlError(400, f"{key} is {value!r}; it is a number of seconds")


def _number(request: web.Request, name: str, default: float, most: float) -> float:
    """A number of the query; a whole one if the default is."""
    text = request.query.get(name, str(default))
    try:
        value = float(text) if isinstance(default, float) else int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        raise ControlError(400, f"{name} is {text!r}; it must be a number, 0 to {most:g}")
    return value


def _path(request: web.Request) -> str:
    return "/".join(tree.split(request.match_info["path"]))
