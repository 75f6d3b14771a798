# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compute API, v1, of the emulated project: https://cloud.google.com/compute/docs/reference/rest/v1.

Here are the checks that all requests go through, and how answers are written. The methods are in
`compute_instances.py`, `compute_metadata.py`, `compute_maintenance.py` and `compute_operations.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any, Callable

from aiohttp import web

from . import compute_errors as errors
from . import custom_metadata
from .bad_query import BadQuery
from .compute_calls import PREFIX, Calls, Method, needed_permission
from .compute_errors import ApiError
from .compute_instances import InstanceMethods
from .compute_maintenance import MaintenanceMethods
from .compute_metadata import MetadataMethods
from .compute_operations import OperationMethods
from .connection import nobody, reset
from .faults import COMPUTE_KINDS
from .fields_mask import apply_mask, parse_fields
from .state import Project

# Those that hit a request as such; the methods ask for the others themselves.
_REQUEST_FAULTS = COMPUTE_KINDS.keys() - {
    "lost-answer",
    "conflict",
    "operation-conflict",
    "operation-error",
    "propagation-delay",
    "unreachable",
}

_REFUSALS: Mapping[str, Callable[[web.Request, Project], ApiError]] = {
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

_BAD_GATEWAY = "<html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1></html>\n"


def make_app(project: Project, *, require_auth: bool = False) -> web.Application:
    """The API as an application; `require_auth` refuses requests without an Authorization header."""
    face = _ComputeFace(project, require_auth)
    app = web.Application(middlewares=[face.serve], client_max_size=8 * custom_metadata.LARGEST_TOTAL)
    face.add_routes(app.router)
    app.on_shutdown.append(face.close)
    return app


class _ComputeFace:
    def __init__(self, project: Project, require_auth: bool) -> None:
        self._project = project
        self._require_auth = require_auth
        self._calls = Calls(project)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for methods in (
            InstanceMethods(self._calls),
            MaintenanceMethods(self._calls),
            MetadataMethods(self._calls),
            OperationMethods(self._calls),
        ):
            for verb, path, method in methods.routes():
                router.add_route(verb, PREFIX + path, _handler(method))

    @web.middleware
    async def serve(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Journal, faults, authorization and error envelopes, for whatever was asked."""
        clock = self._project.clock
        entry = self._project.journal.record(
            clock.time(),
            "compute",
            self._calls.instance_name(request),
            request.method,
            request.rel_url.raw_path,
            request.rel_url.raw_query_string,
        )
        try:
            response = await self._answer(request, handler)
            entry.status = 0 if request.transport is None or request.transport.is_closing() else response.status
            return response
        except asyncio.CancelledError:
            entry.status = 0
            raise
        except Exception:
            entry.status = 500
            raise
        finally:
            entry.answered_at = clock.time()

    async def close(self, app: web.Application) -> None:
        await self._calls.operations.close()

    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            faulty = await self._play_fault(request)
            if faulty is not None:
                return faulty
            if self._require_auth and not request.headers.get("Authorization", "").strip():
                raise errors.unauthenticated()
            response = await handler(request)
            if self._calls.take_fault(request, ["lost-answer"]) is not None:
                reset(request.transport)
            return response
        except ConnectionResetError:
            return nobody()
        except ApiError as error:
            return _json_response(request, error.to_api(), error.code)
        except BadQuery as error:
            return _json_response(request, ApiError(400, "invalid", str(error)).to_api(), 400)
        except web.HTTPRequestEntityTooLarge:
            too_large = ApiError(413, "uploadTooLarge", "Request payload size exceeds the limit.")
            return _json_response(request, too_large.to_api(), 413)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            unknown = ApiError(404, "notFound", f"The Compute API has no method {request.method} {request.path}.")
            return _json_response(request, unknown.to_api(), 404)

    async def _play_fault(self, request: web.Request) -> web.StreamResponse | None:
        """The answer of an injected fault that hits this request; None without one, or once its delay is over."""
        fault = self._calls.take_fault(request, _REQUEST_FAULTS)
        if fault is None:
            return None
        if fault.kind in _REFUSALS:
            raise _REFUSALS[fault.kind](request, self._project)
        if fault.kind == "html":
            return web.Response(status=502, text=_BAD_GATEWAY, content_type="text/html")
        if fault.kind == "delay":
            await asyncio.sleep(fault.delay)
            return None
        if fault.kind == "hang":
            await _closed_by_peer(request)
        reset(request.transport)
        return web.Response()


def _handler(method: Method) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        mask = parse_fields(request.query["fields"]) if request.query.get("fields") else {}
        return _json_response(request, apply_mask(mask, await method(request)))

    return handle


def _json_response(request: web.Request, document: Any, status: int = 200) -> web.Response:
    is_pretty = request.query.get("prettyPrint", "true").lower() != "false"
    text = json.dumps(document, indent=2 if is_pretty else None, ensure_ascii=False) + "\n"
    # Values that a guest wrote need not be UTF-8.
    body = text.encode("utf-8", "replace")
    headers = {"Content-Type": "application/json; charset=UTF-8", "Server": "ESF"}
    return web.Response(status=status, body=body, headers=headers)


async def _closed_by_peer(request: web.Request) -> None:
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(0.1)
