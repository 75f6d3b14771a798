# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compute API, v1, of the emulated project: https://cloud.google.com/compute/docs/reference/rest/v1.

Here are the checks that all requests pass, and the form of answers. The methods are in the files beside this one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Mapping
from typing import Callable

from aiohttp import web

from ..state import custom_metadata, errors
from ..state.errors import ApiError
from ..state.faults import COMPUTE_KINDS
from ..state.journal import Asked
from ..state.project import Project
from ..web import web_pages
from ..web.connection import nobody, reset
from . import batch as compute_batch
from .backend_services import BackendServiceMethods
from .calls import Calls
from .endpoint_groups import EndpointGroupMethods
from .fields_mask import apply_mask, parse_fields
from .hosts import HostMethods
from .instance_groups import InstanceGroupMethods
from .instances import InstanceMethods
from .maintenance import MaintenanceMethods
from .marks import MarkMethods
from .metadata import MetadataMethods
from .operation_calls import OperationMethods
from .permissions import needed_permission
from .places import PlaceMethods
from .power import PowerMethods
from .request import ApiRequest, Method, Reply, Router, json_reply
from .target_pools import TargetPoolMethods

# Faults that hit any request; the methods check for the others.
_REQUEST_FAULTS = COMPUTE_KINDS.keys() - {
    "lost-answer",
    "conflict",
    "operation-conflict",
    "operation-error",
    "propagation-delay",
    "unreachable",
}

_REFUSALS: Mapping[str, Callable[[ApiRequest, Project], ApiError]] = {
    "503": lambda request, project: ApiError(503, "backendError", "The service is currently unavailable."),
    "429": lambda request, project: ApiError(
        429, "rateLimitExceeded", "Resource has been exhausted (e.g. check quota)."
    ),
    "rate-limit": lambda request, project: errors.over_quota(project.number),
    "quota": lambda request, project: errors.quota_exceeded(),
    "unauthenticated": lambda request, project: errors.refused_credentials(),
    "forbidden": lambda request, project: errors.forbidden(*needed_permission(request)),
    "disabled": lambda request, project: errors.api_disabled(project.number),
    "constraint": lambda request, project: errors.constraint_violated(project.number),
}

# Bytes of all replies of a batch.
_LARGEST_BATCH_REPLY = 64 * 2**20

_BAD_GATEWAY = b"<html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1></html>\n"


def make_app(project: Project, *, require_auth: bool = False) -> web.Application:
    """`require_auth` refuses requests without an Authorization header."""
    face = _ComputeFace(project, require_auth)
    app = web.Application(client_max_size=8 * custom_metadata.LARGEST_TOTAL)
    app.router.add_route("*", "/{path:.*}", face.handle)
    app.on_shutdown.append(face.close)
    return app


class _Unanswered(Exception):
    """The connection ends instead of an answer."""


class _ComputeFace:
    def __init__(self, project: Project, require_auth: bool) -> None:
        self._project = project
        self._require_auth = require_auth
        self._calls = Calls(project)
        self._router = Router()
        for methods in (
            InstanceMethods(self._calls),
            MaintenanceMethods(self._calls),
            MetadataMethods(self._calls),
            OperationMethods(self._calls),
            PowerMethods(self._calls),
            MarkMethods(self._calls),
            PlaceMethods(self._calls),
            HostMethods(self._calls),
            EndpointGroupMethods(self._calls),
            InstanceGroupMethods(self._calls),
            TargetPoolMethods(self._calls),
            BackendServiceMethods(self._calls),
        ):
            self._router.add(methods.routes())

    async def handle(self, request: web.Request) -> web.Response:
        url = request.rel_url
        call = ApiRequest(request.method, url.raw_path, url.raw_query_string, request.headers)

        async def read_body() -> bytes:
            try:
                return await request.read()
            except web.HTTPRequestEntityTooLarge:
                raise ApiError(413, "uploadTooLarge", "Request payload size exceeds the limit.") from None
            except ConnectionResetError:
                raise _Unanswered from None

        why = web_pages.refusal(request.headers, (self._project.fleet.listen, *self._project.fleet.hosts))
        try:
            if why is not None:
                reply = json_reply(call, ApiError(403, "forbidden", f"{why}.").to_api(), 403)
            else:
                reply = await self._serve(call, read_body, _is_closed(request))
        except _Unanswered:
            reset(request.transport)
            return nobody()
        headers = {"Content-Type": reply.content_type, "Server": "ESF"}
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    async def close(self, app: web.Application) -> None:
        await self._calls.operations.close()

    async def _serve(self, request: ApiRequest, read_body: _ReadBody, is_closed: _IsClosed) -> Reply:
        """Serve one call: journal, faults, authorization, errors. Raises _Unanswered."""
        method, request = self._router.find(request)
        journal, clock = self._project.journal, self._project.clock
        asked = Asked(
            "compute", self._calls.instance_name(request), request.method, request.raw_path, request.raw_query
        )
        entry = journal.record(clock.time(), asked)
        # For a request that is cancelled or not answered.
        status = 0
        try:
            reply = await self._reply(request, method, read_body, is_closed)
            status = 0 if is_closed() else reply.status
            return reply
        except Exception as error:
            status = 0 if isinstance(error, _Unanswered) else 500
            raise
        finally:
            journal.answer(entry, status, clock.time())

    async def _reply(
        self, request: ApiRequest, method: Method | None, read_body: _ReadBody, is_closed: _IsClosed
    ) -> Reply:
        try:
            faulty = await self._play_fault(request, is_closed)
            if faulty is not None:
                return faulty
            if self._require_auth and not request.headers.get("Authorization", "").strip():
                raise errors.unauthenticated()
            request = dataclasses.replace(request, body=await read_body())
            if method is None and request.method == "POST" and request.path in compute_batch.PATHS:
                return await self._serve_batch(request, is_closed)
            if method is None:
                unknown = f"The emulator has no method {request.method} {request.path}. Its guide lists the methods."
                raise ApiError(404, "notFound", unknown)
            mask = parse_fields(request.query["fields"]) if request.query.get("fields") else {}
            reply = json_reply(request, apply_mask(mask, await method(request)))
        except ApiError as error:
            return json_reply(request, error.to_api(), error.code)
        if self._calls.take_fault(request, ["lost-answer"]) is not None:
            raise _Unanswered
        return reply

    async def _serve_batch(self, batch: ApiRequest, is_closed: _IsClosed) -> Reply:
        """Serve the calls of a batch concurrently, each as if it had come by itself."""
        parts = compute_batch.read_batch(batch)
        room = _LARGEST_BATCH_REPLY

        async def serve(part: compute_batch.Part) -> tuple[str | None, Reply]:
            nonlocal room

            async def read_body() -> bytes:
                # Nested batches would be parsed repeatedly.
                if part.request.path in compute_batch.PATHS:
                    raise ApiError(400, "badRequest", "A batch cannot have another batch as one of its calls.")
                if room <= 0:
                    raise ApiError(413, "responseTooLarge", "The replies of the batch are too large: ask for less.")
                return part.request.body

            reply = await self._serve(part.request, read_body, is_closed)
            room -= len(reply.body)
            return part.content_id, reply

        tasks = [asyncio.ensure_future(serve(part)) for part in parts]
        try:
            replies = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return compute_batch.write_batch(f"batch_{uuid.uuid4().hex}", replies)

    async def _play_fault(self, request: ApiRequest, is_closed: _IsClosed) -> Reply | None:
        """The answer of an injected fault, or None without one and after a delay. Raises ApiError and _Unanswered."""
        fault = self._calls.take_fault(request, _REQUEST_FAULTS)
        if fault is None:
            return None
        if fault.kind in _REFUSALS:
            raise _REFUSALS[fault.kind](request, self._project)
        if fault.kind == "html":
            return Reply(502, _BAD_GATEWAY, "text/html; charset=utf-8")
        if fault.kind == "delay":
            await asyncio.sleep(fault.delay)
            return None
        if fault.kind == "hang":
            while not is_closed():
                await asyncio.sleep(0.1)
        raise _Unanswered


_IsClosed = Callable[[], bool]
_ReadBody = Callable[[], Awaitable[bytes]]


def _is_closed(request: web.Request) -> _IsClosed:
    return lambda: request.transport is None or request.transport.is_closing()
