# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compute API, v1, of the emulated project: https://cloud.google.com/compute/docs/reference/rest/v1.

What a method answers is made in `resources.py`, `operations.py` and `list_query.py`; here are the routes, the checks
that all requests go through, and what a write does to the project's state.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Collection, Mapping
from typing import Any, Callable

from aiohttp import web

from . import compute_errors as errors
from . import custom_metadata, scenarios
from .compute_errors import ApiError
from .connection import reset
from .faults import COMPUTE_KINDS, Fault
from .list_query import BadQuery, Page, Resource, apply_mask, parse_fields, parse_list_query, select
from .operations import GLOBAL, Operation, OperationError, Operations, Work, is_request_id
from .resources import (
    SERVICE_URL,
    instance_path,
    instance_resource,
    metadata_fingerprint,
    project_metadata_fingerprint,
    project_resource,
)
from .state import Instance, Project

PREFIX = "/compute/v1/"

# Zones of a real project beside those of the fleet: for includeAllScopes, and for requests about an empty zone.
COMMON_ZONES = (
    *(f"asia-east1-{letter}" for letter in "abc"),
    *(f"europe-west1-{letter}" for letter in "bcd"),
    *(f"us-central1-{letter}" for letter in "abcf"),
    *(f"us-east1-{letter}" for letter in "bcd"),
    *(f"us-west1-{letter}" for letter in "abc"),
)

_CONFLICT = OperationError("CONDITION_NOT_MET", errors.CONFLICT, 412, "PRECONDITION FAILED")
_UNAVAILABLE = OperationError(
    "MIGRATION_TEMPORARILY_UNAVAILABLE",
    "The instance cannot be migrated at this time. Try again later.",
    503,
    "SERVICE UNAVAILABLE",
)

# Faults that hit a write when its fingerprint is compared, or its operation, by the operation's type.
_OPERATION_FAULTS: Mapping[str, tuple[str, OperationError]] = {
    "setMetadata": ("operation-conflict", _CONFLICT),
    "simulateMaintenanceEvent": ("operation-error", _UNAVAILABLE),
    "performMaintenance": ("operation-error", _UNAVAILABLE),
}
_REQUEST_FAULTS = COMPUTE_KINDS.keys() - {"lost-answer", "conflict", "operation-conflict", "operation-error"}

_BAD_GATEWAY = "<html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1></html>\n"

Answer = Mapping[str, Any]
Method = Callable[[web.Request], Awaitable[Answer]]


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
        self._operations = Operations(
            project.name,
            project.clock,
            user=f"{project.number}-compute@developer.gserviceaccount.com",
            duration=project.fleet.durations.operation,
        )

    def add_routes(self, router: web.UrlDispatcher) -> None:
        project = PREFIX + "projects/{project}"
        zone = project + "/zones/{zone}"
        instance = zone + "/instances/{instance}"
        routes: list[tuple[str, str, Method]] = [
            ("GET", project, self._get_project),
            ("POST", project + "/setCommonInstanceMetadata", self._set_common_instance_metadata),
            ("GET", project + "/aggregated/instances", self._aggregated_instances),
            ("GET", zone + "/instances", self._list_instances),
            ("GET", instance, self._get_instance),
            ("GET", instance + "/getGuestAttributes", self._get_guest_attributes),
            ("POST", instance + "/setMetadata", self._set_metadata),
            ("POST", instance + "/simulateMaintenanceEvent", self._simulate_maintenance_event),
            ("POST", instance + "/performMaintenance", self._perform_maintenance),
        ]
        for scope in (zone, project + "/" + GLOBAL):
            routes += [
                ("GET", scope + "/operations", self._list_operations),
                ("GET", scope + "/operations/{operation}", self._get_operation),
                ("POST", scope + "/operations/{operation}/wait", self._wait_operation),
            ]
        for verb, path, method in routes:
            router.add_route(verb, path, _handler(method))

    @web.middleware
    async def serve(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Journal, faults, authorization and error envelopes, for whatever was asked."""
        clock = self._project.clock
        entry = self._project.journal.record(
            clock.time(),
            "compute",
            self._instance_name(request),
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
        await self._operations.close()

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
            if self._take_fault(request, ["lost-answer"]) is not None:
                reset(request.transport)
            return response
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
        fault = self._take_fault(request, _REQUEST_FAULTS)
        if fault is None:
            return None
        if fault.kind == "503":
            raise ApiError(503, "backendError", "The service is currently unavailable.")
        if fault.kind == "429":
            raise ApiError(429, "rateLimitExceeded", "Resource has been exhausted (e.g. check quota).")
        if fault.kind == "rate-limit":
            raise errors.over_quota(self._project.number)
        if fault.kind == "html":
            return web.Response(status=502, text=_BAD_GATEWAY, content_type="text/html")
        if fault.kind == "delay":
            await asyncio.sleep(fault.delay)
            return None
        if fault.kind == "hang":
            await _closed_by_peer(request)
        reset(request.transport)
        return web.Response()

    # Reading

    async def _get_project(self, request: web.Request) -> Answer:
        return project_resource(self._project_of(request))

    async def _get_instance(self, request: web.Request) -> Answer:
        return instance_resource(self._instance_of(request))

    async def _list_instances(self, request: web.Request) -> Answer:
        zone = self._zone_of(request)
        query = parse_list_query(request.query)
        page = select([instance_resource(each) for each in self._project.in_zone(zone)], query, lambda resource: zone)
        return self._list(f"zones/{zone}/instances", "compute#instanceList", page)

    async def _aggregated_instances(self, request: web.Request) -> Answer:
        self._project_of(request)
        query = parse_list_query(request.query)
        resources = [instance_resource(each) for each in self._project.instances.values()]
        page = select(resources, query, _scope_of)
        zones = self._zones() if query.include_all_scopes else self._project.zones()
        scopes: dict[str, dict[str, Any]] = {f"zones/{zone}": {} for zone in zones}
        for resource in page.items:
            scopes[_scope_of(resource)].setdefault("instances", []).append(resource)
        for scope, content in scopes.items():
            if not content:
                content["warning"] = _no_results(scope)
        answer = self._list("aggregated/instances", "compute#instanceAggregatedList", page)
        return {**answer, "items": scopes}

    async def _get_guest_attributes(self, request: web.Request) -> Answer:
        instance = self._instance_of(request)
        query_path = request.query.get("queryPath", "")
        variable = request.query.get("variableKey", "")
        answer: dict[str, Any] = {
            "kind": "compute#guestAttributes",
            "selfLink": f"{SERVICE_URL}/{instance_path(instance)}/getGuestAttributes",
        }
        namespace, _unused, key = (variable or query_path).partition("/")
        items = [
            {"namespace": space, "key": name, "value": value}
            for space, values in sorted(instance.guest_attributes.items())
            for name, value in sorted(values.items())
            if namespace in ("", space) and key in ("", name)
        ]
        if not items:
            # Never an empty list, even when nothing was ever written.
            raise ApiError(
                404, "notFound", f"The resource '{variable or query_path}' of type 'Guest Attribute' was not found."
            )
        if variable:
            return {**answer, "variableKey": variable, "variableValue": items[0]["value"]}
        return {**answer, "queryPath": query_path, "queryValue": {"items": items}}

    async def _list_operations(self, request: web.Request) -> Answer:
        scope = self._scope_of_operations(request)
        query = parse_list_query(request.query)
        page = select([each.to_api() for each in self._operations.in_scope(scope)], query, lambda resource: scope)
        return self._list(f"{scope}/operations", "compute#operationList", page)

    async def _get_operation(self, request: web.Request) -> Answer:
        return self._operation_of(request).to_api()

    async def _wait_operation(self, request: web.Request) -> Answer:
        return (await self._operations.wait(self._operation_of(request))).to_api()

    # Writing

    async def _set_metadata(self, request: web.Request) -> Answer:
        instance = self._instance_of(request)
        replayed = self._replayed(request, "setMetadata", instance_path(instance))
        if replayed is not None:
            return replayed
        wanted = custom_metadata.parse_metadata(await _body(request))
        self._refuse_conflict(request, wanted.fingerprint, metadata_fingerprint(instance))

        async def write() -> OperationError | None:
            # Another write may have been faster, so a conflict can come in this form, too.
            if wanted.fingerprint != metadata_fingerprint(instance):
                return _CONFLICT
            instance.replace_attributes(wanted.attributes)
            return None

        return self._start_on(instance, request, "setMetadata", write)

    async def _set_common_instance_metadata(self, request: web.Request) -> Answer:
        project = self._project_of(request)
        target = f"projects/{project.name}"
        replayed = self._replayed(request, "setMetadata", target)
        if replayed is not None:
            return replayed
        wanted = custom_metadata.parse_metadata(await _body(request))
        self._refuse_conflict(request, wanted.fingerprint, project_metadata_fingerprint(project))

        async def write() -> OperationError | None:
            if wanted.fingerprint != project_metadata_fingerprint(project):
                return _CONFLICT
            project.replace_attributes(wanted.attributes)
            return None

        return self._start(request, GLOBAL, "setMetadata", target, project.number, write)

    async def _simulate_maintenance_event(self, request: web.Request) -> Answer:
        begin = scenarios.simulate_maintenance
        return self._maintain(request, self._instance_of(request), "simulateMaintenanceEvent", begin)

    async def _perform_maintenance(self, request: web.Request) -> Answer:
        instance = self._instance_of(request)
        try:
            scenarios.performable_window(instance)
        except scenarios.Refused as refusal:
            if self._replayed(request, "performMaintenance", instance_path(instance)) is None:
                what = f"Cannot perform maintenance on the resource '{instance_path(instance)}'"
                raise ApiError(400, "failedPrecondition", f"{what}: {refusal}.") from refusal
        return self._maintain(request, instance, "performMaintenance", scenarios.perform_maintenance)

    def _maintain(
        self,
        request: web.Request,
        instance: Instance,
        operation_type: str,
        begin: Callable[[Instance], scenarios.Run],
    ) -> Answer:
        replayed = self._replayed(request, operation_type, instance_path(instance))
        if replayed is not None:
            return replayed
        if instance.status != "RUNNING":
            raise errors.not_ready(instance_path(instance))

        async def work() -> OperationError | None:
            try:
                run = begin(instance)
            except scenarios.Refused as refusal:
                return dataclasses.replace(_UNAVAILABLE, message=f"{refusal}.")
            await run.done
            return None

        return self._start_on(instance, request, operation_type, work)

    def _refuse_conflict(self, request: web.Request, wanted: str, current: str) -> None:
        if wanted != current or self._take_fault(request, ["conflict"]) is not None:
            raise errors.conflict()

    def _take_fault(self, request: web.Request, kinds: Collection[str]) -> Fault | None:
        path = request.path[len(PREFIX) :] if request.path.startswith(PREFIX) else request.path
        return self._project.faults.take("compute", self._instance_name(request), path, kinds)

    def _replayed(self, request: web.Request, operation_type: str, target: str) -> Answer | None:
        """The operation of an earlier request with the same requestId; raises ApiError for what is no requestId."""
        request_id = request.query.get("requestId")
        if request_id is None:
            return None
        if not is_request_id(request_id):
            raise errors.invalid("requestId", request_id, "Must be a UUID, and not the zero UUID.")
        operation = self._operations.replayed(request_id, operation_type, target)
        return operation.to_api() if operation is not None else None

    def _start_on(self, instance: Instance, request: web.Request, operation_type: str, work: Work) -> Answer:
        scope = f"zones/{instance.zone}"
        return self._start(request, scope, operation_type, instance_path(instance), instance.id, work)

    def _start(
        self, request: web.Request, scope: str, operation_type: str, target: str, target_id: int, work: Work
    ) -> Answer:
        fault, error = _OPERATION_FAULTS[operation_type]
        if self._take_fault(request, [fault]) is not None:
            work = _failing(error)
        request_id = request.query.get("requestId")
        return self._operations.start(scope, operation_type, target, target_id, work, request_id).to_api()

    # What a URL names

    def _project_of(self, request: web.Request) -> Project:
        name = request.match_info["project"]
        if name not in (self._project.name, str(self._project.number)):
            raise ApiError(404, "notFound", f"Failed to find project {name}")
        return self._project

    def _zone_of(self, request: web.Request) -> str:
        self._project_of(request)
        zone = request.match_info["zone"]
        if zone not in self._zones():
            raise errors.invalid("zone", zone, "Unknown zone.")
        return zone

    def _zones(self) -> list[str]:
        return sorted({*self._project.zones(), *COMMON_ZONES})

    def _instance_of(self, request: web.Request) -> Instance:
        zone, name = self._zone_of(request), request.match_info["instance"]
        instance = self._project.find(zone, name)
        if instance is None:
            raise errors.not_found(f"projects/{self._project.name}/zones/{zone}/instances/{name}")
        return instance

    def _instance_name(self, request: web.Request) -> str | None:
        """The name of the instance that a URL is about, which may name it by its id."""
        named = request.match_info.get("instance")
        instance = self._project.find(request.match_info["zone"], named) if named is not None else None
        return instance.name if instance is not None else named

    def _scope_of_operations(self, request: web.Request) -> str:
        if "zone" in request.match_info:
            return f"zones/{self._zone_of(request)}"
        self._project_of(request)
        return GLOBAL

    def _operation_of(self, request: web.Request) -> Operation:
        scope, name = self._scope_of_operations(request), request.match_info["operation"]
        operation = self._operations.find(scope, name)
        if operation is None:
            raise errors.not_found(f"projects/{self._project.name}/{scope}/operations/{name}")
        return operation

    def _list(self, path: str, kind: str, page: Page) -> dict[str, Any]:
        resource = f"projects/{self._project.name}/{path}"
        answer: dict[str, Any] = {"kind": kind, "id": resource}
        if page.items:
            answer["items"] = page.items
        if page.next_page_token is not None:
            answer["nextPageToken"] = page.next_page_token
        return {**answer, "selfLink": f"{SERVICE_URL}/{resource}"}


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


async def _body(request: web.Request) -> Mapping[str, Any]:
    text = await request.read()
    try:
        body = json.loads(text or b"{}")
    except ValueError as error:
        raise ApiError(400, "parseError", f"Invalid JSON payload received. {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "parseError", "Invalid JSON payload received. The root has to be an object.")
    return body


def _failing(error: OperationError) -> Work:
    async def fail() -> OperationError:
        return error

    return fail


def _scope_of(resource: Resource) -> str:
    return "zones/" + str(resource["zone"]).rpartition("/")[2]


def _no_results(scope: str) -> dict[str, Any]:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope '{scope}' on this page.",
        "data": [{"key": "scope", "value": scope}],
    }


async def _closed_by_peer(request: web.Request) -> None:
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(0.1)
