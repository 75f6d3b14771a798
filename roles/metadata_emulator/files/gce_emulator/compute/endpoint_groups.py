# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of zonal networkEndpointGroups."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ..state import errors
from ..state.errors import ApiError
from ..state.fleet_load_balancing import Endpoint
from ..state.load_balancing import EndpointGroup
from .calls import PROJECT, ZONE, Calls
from .group_calls import change, delete
from .list_query import Entry, parse_list_query, select
from .load_balancing_resources import endpoint_group_resource, endpoint_resource
from .request import Answer, ApiRequest, Routes

_GROUP = ZONE + "/networkEndpointGroups/{endpoint_group}"
_MOST = 500


class EndpointGroupMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._project = calls.project

    def routes(self) -> Routes:
        return [
            ("GET", PROJECT + "/aggregated/networkEndpointGroups", self.aggregated_list),
            ("GET", ZONE + "/networkEndpointGroups", self.list_zone),
            ("GET", _GROUP, self.get),
            ("DELETE", _GROUP, self.delete),
            ("POST", _GROUP + "/listNetworkEndpoints", self.list_endpoints),
            ("POST", _GROUP + "/attachNetworkEndpoints", self.attach),
            ("POST", _GROUP + "/detachNetworkEndpoints", self.detach),
            ("POST", _GROUP + "/testIamPermissions", self.test_permissions),
        ]

    async def aggregated_list(self, request: ApiRequest) -> Answer:
        return self._calls.aggregated_list(request, "networkEndpointGroups", self._entries())

    async def list_zone(self, request: ApiRequest) -> Answer:
        zone = self._calls.zone_of(request)
        entries = (entry for entry in self._entries() if entry.scope == f"zones/{zone}")
        page = select(entries, parse_list_query(request.query))
        return self._calls.list_of(f"zones/{zone}/networkEndpointGroups", "compute#networkEndpointGroupList", page)

    async def get(self, request: ApiRequest) -> Answer:
        return endpoint_group_resource(self._project, self._group(request))

    async def delete(self, request: ApiRequest) -> Answer:
        group = self._group(request)
        users = [
            f"projects/{self._project.name}/{each.path}" for each in self._project.load_balancing.services_of(group)
        ]
        return delete(self._calls, request, group.path, users)

    async def list_endpoints(self, request: ApiRequest) -> Answer:
        """Endpoints that drain are listed only together with the health."""
        group = self._group(request)
        wanted = request.read_object().get("healthStatus", "SKIP")
        if wanted not in ("SHOW", "SKIP"):
            raise errors.invalid("healthStatus", str(wanted), "Must be one of SHOW, SKIP.")
        endpoints = [*group.members, *(group.draining if wanted == "SHOW" else [])]
        show = functools.partial(endpoint_resource, self._project, group, with_health=wanted == "SHOW")
        entries = (
            Entry("", f"{each.instance} {each.ip} {each.port:05}", None, functools.partial(show, each))
            for each in endpoints
        )
        page = select(entries, parse_list_query(request.query))
        kind = "compute#networkEndpointGroupsListNetworkEndpoints"
        return self._calls.list_of(f"{group.path}/listNetworkEndpoints", kind, page)

    async def attach(self, request: ApiRequest) -> Answer:
        group = self._group(request)

        def prepare() -> Callable[[], None]:
            endpoints = self._endpoints(request, group)
            for number, endpoint in enumerate(endpoints):
                if endpoint in group.members:
                    raise _invalid(number, endpoint, "The endpoint already exists in the network endpoint group.")
            return lambda: group.add(endpoints)

        return change(self._calls, request, group.path, "attachNetworkEndpoints", prepare)

    async def detach(self, request: ApiRequest) -> Answer:
        group = self._group(request)

        def prepare() -> Callable[[], None]:
            endpoints = self._endpoints(request, group)
            for number, endpoint in enumerate(endpoints):
                if endpoint not in group.members:
                    raise _invalid(number, endpoint, "The endpoint does not exist in the network endpoint group.")
            return lambda: group.remove(endpoints)

        return change(self._calls, request, group.path, "detachNetworkEndpoints", prepare)

    async def test_permissions(self, request: ApiRequest) -> Answer:
        self._group(request)
        return self._calls.granted_permissions(request)

    def _entries(self) -> Iterable[Entry]:
        for group in self._project.load_balancing.endpoint_groups.values():
            resource = functools.partial(endpoint_group_resource, self._project, group)
            yield Entry(f"zones/{group.spec.zone}", group.name, self._project.created, resource)

    def _group(self, request: ApiRequest) -> EndpointGroup:
        path = f"zones/{self._calls.zone_of(request)}/networkEndpointGroups/{request.named['endpoint_group']}"
        group = self._project.load_balancing.endpoint_groups.get(path)
        if group is None:
            raise errors.not_found(f"projects/{self._project.name}/{path}")
        return group

    def _endpoints(self, request: ApiRequest, group: EndpointGroup) -> list[Endpoint]:
        given = request.read_object().get("networkEndpoints")
        if not isinstance(given, list) or not 0 < len(given) <= _MOST:
            raise errors.invalid("networkEndpoints", "", f"Must have 1 to {_MOST} endpoints.")
        return [self._endpoint(each, number, group) for number, each in enumerate(given)]

    def _endpoint(self, given: Any, number: int, group: EndpointGroup) -> Endpoint:
        """The endpoint with its defaults: the VM's primary address, and the group's port."""
        field = f"resource.networkEndpoints[{number}]"
        if not isinstance(given, Mapping):
            raise errors.invalid(field, str(given), "Must be an endpoint.")
        name = str(given.get("instance") or "").rpartition("/")[2]
        if not name:
            raise errors.invalid(f"{field}.instance", "", "An instance is required for this type of endpoint.")
        instance = self._project.find(group.spec.zone, name)
        if instance is None:
            raise errors.not_found(f"projects/{self._project.name}/zones/{group.spec.zone}/instances/{name}")
        own = [interface.ip for interface in instance.spec.network_interfaces]
        ip = given.get("ipAddress") or next(iter(own), "")
        listed = [each.ip for each in group.spec.endpoints if each.instance == instance.name]
        if ip not in (*own, *listed):
            why = f"Specified IP address {ip} doesn't belong to the (sub)network default or to the instance {name}."
            raise errors.invalid("resource.ipAddress", str(ip), why)
        return Endpoint(instance.name, ip, _port(given, f"{field}.port", group))


def _port(given: Mapping[str, Any], field: str, group: EndpointGroup) -> int:
    port = given.get("port", group.spec.default_port)
    if group.spec.type == "GCE_VM_IP":
        if port:
            raise errors.invalid(field, str(port), "Endpoints of the type GCE_VM_IP have no port.")
        return 0
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise errors.invalid(field, str(port), "Must be a port from 1 to 65535.")
    return port


def _invalid(number: int, endpoint: Endpoint, why: str) -> ApiError:
    shown = f"{endpoint.instance} {endpoint.ip}:{endpoint.port}"
    return errors.invalid(f"resource.networkEndpoints[{number}]", shown, why)
