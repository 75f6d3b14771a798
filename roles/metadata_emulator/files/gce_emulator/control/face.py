# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control face: JSON over HTTP, with which a test or a person with curl steers the emulator."""

from __future__ import annotations

import functools
from collections.abc import Awaitable
from typing import Any, Callable

from aiohttp import web

from ..scenarios.hooks import Hooks
from ..state.project import Project
from ..web import web_pages
from ..web.connection import nobody
from .faults import FaultControl
from .hosts import HostControl
from .instances import InstanceControl
from .messages import ControlError, json_response, read_object

# The longest wait for an entry of the journal, in real seconds.
_LONGEST_WAIT = 600.0


def make_app(
    project: Project, hooks: Hooks, ready: Callable[[], dict[str, Any]], hanging: Callable[[str], int]
) -> web.Application:
    """`ready` returns the addresses of all faces, `hanging` the number of hanging GETs of an instance."""
    face = ControlFace(project, hooks, ready)
    app = web.Application(middlewares=[face.serve], client_max_size=2**24)
    for part in (face, InstanceControl(project, hanging), HostControl(project), FaultControl(project)):
        app.router.add_routes(part.routes())
    return app


class ControlFace:
    """Checks that all requests pass, and the requests about the emulator as a whole."""

    def __init__(self, project: Project, hooks: Hooks, ready: Callable[[], dict[str, Any]]) -> None:
        self._project = project
        self._hooks = hooks
        self._ready = ready

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.overview),
            web.post("/reset", self.reset),
            web.get("/clock", self.clock),
            web.put("/clock", self.set_clock),
            web.get("/journal", self.journal),
            web.delete("/journal", self.clear_journal),
            web.get("/hooks", self.hooks),
        ]

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
        # A web form cannot send JSON without a preflight request.
        has_type = "Content-Type" in request.headers or request.body_exists
        if request.method not in ("GET", "HEAD") and has_type and request.content_type != "application/json":
            raise ControlError(415, f"the Content-Type is {request.content_type}; it must be application/json")

    async def overview(self, request: web.Request) -> web.Response:
        return json_response({**self._ready(), "project": self._project.name, "clock": self._clock()})

    async def reset(self, request: web.Request) -> web.Response:
        self._project.reset()
        return await self.overview(request)

    async def clock(self, request: web.Request) -> web.Response:
        return json_response(self._clock())

    async def set_clock(self, request: web.Request) -> web.Response:
        body = await read_object(request, "speed")
        speed = body.get("speed")
        if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not 0.001 <= speed <= 1e9:
            raise ControlError(400, f"speed is {speed!r}; it must be a number, 0.001 to 1e9")
        self._project.clock.speed = float(speed)
        return json_response(self._clock())

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

    async def hooks(self, request: web.Request) -> web.Response:
        return json_response({"runs": [run.to_json() for run in self._hooks.runs(request.query.get("instance"))]})

    def _clock(self) -> dict[str, Any]:
        return {"speed": self._project.clock.speed, "now": self._project.clock.time()}


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
