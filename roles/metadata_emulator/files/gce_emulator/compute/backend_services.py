# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of backendServices and regionBackendServices."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from ..state import errors
from ..state.load_balancing import BackendService, EndpointGroup, InstanceGroup
from .calls import PROJECT, REGION, Calls
from .group_calls import delete
from .list_query import Entry, parse_list_query, select
from .load_balancing_resources import backend_service_resource, endpoint_health, instance_health
from .operations import GLOBAL
from .request import Answer, ApiRequest, Routes


class BackendServiceMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._project = calls.project

    def routes(self) -> Routes:
        routes = [("GET", PROJECT + "/aggregated/backendServices", self.aggregated_list)]
        for scope in (f"{PROJECT}/{GLOBAL}", REGION):
            service = scope + "/backendServices/{backend_service}"
            routes += [
                ("GET", scope + "/backendServices", self.list),
                ("GET", service, self.get),
                ("DELETE", service, self.delete),
                ("POST", service + "/getHealth", self.get_health),
                ("POST", service + "/testIamPermissions", self.test_permissions),
            ]
        return routes

    async def aggregated_list(self, request: ApiRequest) -> Answer:
        return self._calls.regional_list(request, "backendServices", self._entries())

    async def list(self, request: ApiRequest) -> Answer:
        scope = self._calls.scope_of_operations(request)
        entries = (entry for entry in self._entries() if entry.scope == scope)
        page = select(entries, parse_list_query(request.query))
        return self._calls.list_of(f"{scope}/backendServices", "compute#backendServiceList", page)

    async def get(self, request: ApiRequest) -> Answer:
        return backend_service_resource(self._project, self._service(request))

    async def delete(self, request: ApiRequest) -> Answer:
        return delete(self._calls, request, self._service(request).path)

    async def get_health(self, request: ApiRequest) -> Answer:
        """Of a backend that is not health-checked, nothing is known."""
        service = self._service(request)
        url = str(request.read_object().get("group") or "")
        group = next((each for each in service.groups if url.endswith(f"/{each.path}")), None)
        if group is None:
            raise errors.invalid("group", url, "The group is not a backend of the backend service.")
        health = _health(group) if service.spec.health_checked else []
        return {"kind": "compute#backendServiceGroupHealth", **({"healthStatus": health} if health else {})}

    async def test_permissions(self, request: ApiRequest) -> Answer:
        self._service(request)
        return self._calls.granted_permissions(request)

    def _entries(self) -> Iterable[Entry]:
        for service in self._project.load_balancing.backend_services.values():
            resource = functools.partial(backend_service_resource, self._project, service)
            scope = service.path.partition("/backendServices/")[0]
            yield Entry(scope, service.name, self._project.created, resource)

    def _service(self, request: ApiRequest) -> BackendService:
        path = f"{self._calls.scope_of_operations(request)}/backendServices/{request.named['backend_service']}"
        service = self._project.load_balancing.backend_services.get(path)
        if service is None:
            raise errors.not_found(f"projects/{self._project.name}/{path}")
        return service


def _health(group: EndpointGroup | InstanceGroup) -> list[dict[str, Any]]:
    if isinstance(group, EndpointGroup):
        return [endpoint_health(group, each) for each in group.members]
    return [instance_health(group, each) for each in group.members]
