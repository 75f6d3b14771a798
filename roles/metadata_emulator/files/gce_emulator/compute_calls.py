# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the methods of the Compute API have in common: what a URL names, replayed requests, operations, lists."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Collection, Mapping
from typing import Any, Callable

from aiohttp import web

from . import compute_errors as errors
from .compute_errors import ApiError
from .faults import Fault
from .list_query import Page
from .operations import GLOBAL, Operation, OperationError, Operations, Work, is_request_id
from .resources import SERVICE_URL, instance_path
from .state import Instance, Project

PREFIX = "/compute/v1/"

# Below PREFIX, as aiohttp's routes have it.
PROJECT = "projects/{project}"
ZONE = PROJECT + "/zones/{zone}"
INSTANCE = ZONE + "/instances/{instance}"

# Zones of a real project beside those of the fleet: for includeAllScopes, and for requests about an empty zone.
COMMON_ZONES = (
    *(f"asia-east1-{letter}" for letter in "abc"),
    *(f"europe-west1-{letter}" for letter in "bcd"),
    *(f"us-central1-{letter}" for letter in "abcf"),
    *(f"us-east1-{letter}" for letter in "bcd"),
    *(f"us-west1-{letter}" for letter in "abc"),
)

# By the last segment of a URL.
_PERMISSIONS = {"setCommonInstanceMetadata": "projects.setCommonInstanceMetadata", "instances": "instances.list"}

Answer = Mapping[str, Any]
Method = Callable[[web.Request], Awaitable[Answer]]
Routes = list[tuple[str, str, Method]]


def needed_permission(request: web.Request) -> tuple[str, str]:
    """The permission that a request takes, and the resource that it takes it for."""
    path = request.path[len(PREFIX) :].strip("/")
    parent, _unused, last = path.rpartition("/")
    if "instance" in request.match_info and last != request.match_info["instance"]:
        return f"compute.instances.{last}", parent
    if last in _PERMISSIONS:
        return f"compute.{_PERMISSIONS[last]}", parent
    if last == "instanceSettings":
        return f"compute.instanceSettings.{'get' if request.method == 'GET' else 'update'}", path
    if "operation" in request.match_info:
        return f"compute.{'zone' if 'zone' in request.match_info else 'global'}Operations.get", path
    return f"compute.{'instances' if 'instance' in request.match_info else 'projects'}.get", path


class Calls:
    """Requests to one project's API."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.operations = Operations(
            project.name,
            project.clock,
            user=f"{project.number}-compute@developer.gserviceaccount.com",
            duration=project.fleet.durations.operation,
        )
        project.on_system_event(self._record)
        project.on_reset(self.operations.reset)

    def _record(self, instance: Instance, event: str) -> None:
        self.operations.record(f"zones/{instance.zone}", event, instance_path(instance), instance.id)

    # What a URL names

    def project_of(self, request: web.Request) -> Project:
        name = request.match_info["project"]
        if name not in (self.project.name, str(self.project.number)):
            raise ApiError(404, "notFound", f"Failed to find project {name}")
        return self.project

    def zone_of(self, request: web.Request) -> str:
        self.project_of(request)
        zone = request.match_info["zone"]
        if zone not in self.zones():
            raise errors.invalid("zone", zone, "Unknown zone.")
        return zone

    def zones(self) -> list[str]:
        return sorted({*self.project.zones(), *COMMON_ZONES})

    def instance_of(self, request: web.Request) -> Instance:
        zone, name = self.zone_of(request), request.match_info["instance"]
        instance = self.project.find(zone, name)
        if instance is None:
            raise errors.not_found(f"projects/{self.project.name}/zones/{zone}/instances/{name}")
        return instance

    def instance_name(self, request: web.Request) -> str | None:
        """The name of the instance that a URL is about, which may name it by its id."""
        named = request.match_info.get("instance")
        instance = self.project.find(request.match_info["zone"], named) if named is not None else None
        return instance.name if instance is not None else named

    def scope_of_operations(self, request: web.Request) -> str:
        if "zone" in request.match_info:
            return f"zones/{self.zone_of(request)}"
        self.project_of(request)
        return GLOBAL

    def operation_of(self, request: web.Request) -> Operation:
        scope, name = self.scope_of_operations(request), request.match_info["operation"]
        operation = self.operations.find(scope, name)
        if operation is None:
            raise errors.not_found(f"projects/{self.project.name}/{scope}/operations/{name}")
        return operation

    # Faults

    def take_fault(self, request: web.Request, kinds: Collection[str]) -> Fault | None:
        path = request.path[len(PREFIX) :] if request.path.startswith(PREFIX) else request.path
        return self.project.faults.take("compute", self.instance_name(request), path, kinds)

    # Answers

    def replayed(self, request: web.Request, operation_type: str, target: str) -> Answer | None:
        """The operation of an earlier request with the same requestId; raises ApiError for what is no requestId."""
        request_id = request.query.get("requestId")
        if request_id is None:
            return None
        if not is_request_id(request_id):
            raise errors.invalid("requestId", request_id, "Must be a UUID, and not the zero UUID.")
        operation = self.operations.replayed(request_id, operation_type, target)
        return operation.to_api() if operation is not None else None

    def start_on(self, instance: Instance, request: web.Request, operation_type: str, work: Work) -> Answer:
        scope = f"zones/{instance.zone}"
        return self.start(request, scope, operation_type, instance_path(instance), instance.id, work)

    def start(
        self, request: web.Request, scope: str, operation_type: str, target: str, target_id: int, work: Work
    ) -> Answer:
        request_id = request.query.get("requestId")
        return self.operations.start(scope, operation_type, target, target_id, work, request_id).to_api()

    def list_of(self, path: str, kind: str, page: Page) -> dict[str, Any]:
        resource = f"projects/{self.project.name}/{path}"
        answer: dict[str, Any] = {"kind": kind, "id": resource}
        if page.items:
            answer["items"] = page.items
        if page.next_page_token is not None:
            answer["nextPageToken"] = page.next_page_token
        return {**answer, "selfLink": f"{SERVICE_URL}/{resource}"}


async def read_body(request: web.Request) -> Mapping[str, Any]:
    text = await request.read()
    try:
        body = json.loads(text or b"{}")
    except ValueError as error:
        raise ApiError(400, "parseError", f"Invalid JSON payload received. {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "parseError", "Invalid JSON payload received. The root has to be an object.")
    return body


def failing(error: OperationError) -> Work:
    """The work of an operation that does nothing but end in an error."""

    async def fail() -> OperationError:
        return error

    return fail
