# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API's methods share: resources of a URL, replayed requests, operations, lists, faults."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from ..state import errors
from ..state.errors import ApiError
from ..state.faults import Fault
from ..state.geography import COMMON_ZONES, region_of
from ..state.instance import Instance
from ..state.project import Project
from .aggregated_list import by_scope
from .list_query import Entry, ListQuery, Page, parse_list_query, select
from .operations import GLOBAL, Operation, OperationError, Operations, Work, is_request_id
from .permissions import asked_permissions, needed_permission
from .request import PREFIX, Answer, ApiRequest
from .resources import SERVICE_URL, instance_path

# Parts of routes, below PREFIX.
PROJECT = "projects/{project}"
REGION = PROJECT + "/regions/{region}"
ZONE = PROJECT + "/zones/{zone}"
INSTANCE = ZONE + "/instances/{instance}"


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

    # Resources of a URL

    def project_of(self, request: ApiRequest) -> Project:
        name = request.named["project"]
        if name not in (self.project.name, str(self.project.number)):
            raise ApiError(404, "notFound", f"Failed to find project {name}")
        return self.project

    def zone_of(self, request: ApiRequest) -> str:
        self.project_of(request)
        zone = request.named["zone"]
        if zone not in self.zones():
            raise errors.invalid("zone", zone, "Unknown zone.")
        return zone

    def zones(self) -> list[str]:
        return sorted({*self.project.zones(), *COMMON_ZONES})

    def regions(self) -> list[str]:
        fleet = self.project.fleet
        regions = {region_of(zone) for zone in self.zones()} | {spec.region for spec in fleet.target_pools}
        return sorted(regions | ({spec.region for spec in fleet.backend_services} - {GLOBAL}))

    def region_of(self, request: ApiRequest) -> str:
        self.project_of(request)
        region = request.named["region"]
        if region not in self.regions():
            raise errors.invalid("region", region, "Unknown region.")
        return region

    def instance_of(self, request: ApiRequest) -> Instance:
        zone, name = self.zone_of(request), request.named["instance"]
        instance = self.project.find(zone, name)
        if instance is None:
            raise errors.not_found(f"projects/{self.project.name}/zones/{zone}/instances/{name}")
        return instance

    def instance_name(self, request: ApiRequest) -> str | None:
        """The name of the instance of a URL, which may have its id."""
        named = request.named.get("instance")
        instance = self.project.find(request.named["zone"], named) if named is not None else None
        return instance.name if instance is not None else named

    def scope_of_operations(self, request: ApiRequest) -> str:
        if "zone" in request.named:
            return f"zones/{self.zone_of(request)}"
        if "region" in request.named:
            return f"regions/{self.region_of(request)}"
        self.project_of(request)
        return GLOBAL

    def operation_of(self, request: ApiRequest) -> Operation:
        scope, name = self.scope_of_operations(request), request.named["operation"]
        operation = self.operations.find(scope, name)
        if operation is None:
            raise errors.not_found(f"projects/{self.project.name}/{scope}/operations/{name}")
        return operation

    # Faults

    def take_fault(self, request: ApiRequest, kinds: Collection[str]) -> Fault | None:
        path = request.path[len(PREFIX) :] if request.path.startswith(PREFIX) else request.path
        permission, _resource = needed_permission(request)
        return self.project.faults.take("compute", self.instance_name(request), path, kinds, permission)

    def _unreachable_zones(self, request: ApiRequest) -> list[str]:
        """Zones that an injected fault leaves out of an aggregated list."""
        fault = self.take_fault(request, ["unreachable"])
        if fault is None:
            return []
        return [fault.zone] if fault.zone is not None else self.project.zones()

    # Answers

    def granted_permissions(self, request: ApiRequest) -> Answer:
        """The answer to testIamPermissions: all permissions that are asked for, without those that a fault denies."""
        denied = {fault.permission for fault in self.project.faults.all() if fault.kind == "forbidden"}
        granted = [permission for permission in asked_permissions(request) if permission not in denied]
        return {"permissions": granted} if granted else {}

    def replayed(self, request: ApiRequest, operation_type: str, target: str) -> Answer | None:
        """The operation of an earlier request with the same requestId, or None. Raises ApiError for a bad one."""
        request_id = request.query.get("requestId")
        if request_id is None:
            return None
        if not is_request_id(request_id):
            raise errors.invalid("requestId", request_id, "Must be a UUID, and not the zero UUID.")
        operation = self.operations.replayed(request_id, operation_type, target)
        return operation.to_api() if operation is not None else None

    def start_on(self, instance: Instance, request: ApiRequest, operation_type: str, work: Work) -> Answer:
        scope = f"zones/{instance.zone}"
        return self.start(request, scope, operation_type, instance_path(instance), instance.id, work)

    def start(
        self, request: ApiRequest, scope: str, operation_type: str, target: str, target_id: int, work: Work
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

    def aggregated_list(self, request: ApiRequest, name: str, entries: Iterable[Entry]) -> dict[str, Any]:
        """The page of an aggregated list of zonal resources, such as `instances`, without unreachable zones."""
        query = self._aggregated_query(request)
        unreachable = self._unreachable_zones(request)
        page = select((entry for entry in entries if entry.scope.partition("/")[2] not in unreachable), query)
        zones = self.zones() if query.include_all_scopes else self.project.zones()
        scopes, lacking = ([f"zones/{zone}" for zone in each] for each in (zones, unreachable))
        return {**self._aggregated(name, page), **by_scope(name, page.items, scopes, lacking)}

    def regional_list(self, request: ApiRequest, name: str, entries: Iterable[Entry]) -> dict[str, Any]:
        """The page of an aggregated list of regional and global resources, such as `backendServices`."""
        query = self._aggregated_query(request)
        page = select(entries, query)
        regions = self.regions() if query.include_all_scopes else sorted(map(region_of, self.project.zones()))
        scopes = [GLOBAL, *(f"regions/{region}" for region in dict.fromkeys(regions))]
        return {**self._aggregated(name, page), **by_scope(name, page.items, scopes)}

    def _aggregated_query(self, request: ApiRequest) -> ListQuery:
        self.project_of(request)
        return parse_list_query(request.query)

    def _aggregated(self, name: str, page: Page) -> dict[str, Any]:
        return self.list_of(f"aggregated/{name}", f"compute#{name[:-1]}AggregatedList", page)


def failing(error: OperationError) -> Work:
    """The work of an operation that only fails."""

    async def fail() -> OperationError:
        return error

    return fail
