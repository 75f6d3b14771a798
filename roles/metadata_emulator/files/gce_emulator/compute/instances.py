# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of instances that only read: get, list, aggregatedList, getGuestAttributes."""

from __future__ import annotations

import functools
from typing import Any

from ..state.errors import ApiError
from ..state.instance import Instance
from .calls import INSTANCE, PROJECT, ZONE, Calls
from .list_query import Entry, parse_list_query, select
from .request import Answer, ApiRequest, Routes
from .resources import SERVICE_URL, instance_path, instance_resource


class InstanceMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._project = calls.project

    def routes(self) -> Routes:
        return [
            ("GET", PROJECT + "/aggregated/instances", self.aggregated_list),
            ("GET", ZONE + "/instances", self.list_zone),
            ("GET", INSTANCE, self.get),
            ("GET", INSTANCE + "/getGuestAttributes", self.get_guest_attributes),
            ("POST", INSTANCE + "/testIamPermissions", self.test_permissions),
        ]

    async def get(self, request: ApiRequest) -> Answer:
        return instance_resource(self._calls.instance_of(request))

    async def test_permissions(self, request: ApiRequest) -> Answer:
        self._calls.instance_of(request)
        return self._calls.granted_permissions(request)

    async def list_zone(self, request: ApiRequest) -> Answer:
        zone = self._calls.zone_of(request)
        query = parse_list_query(request.query)
        page = select(map(_entry, self._project.in_zone(zone)), query)
        return self._calls.list_of(f"zones/{zone}/instances", "compute#instanceList", page)

    async def aggregated_list(self, request: ApiRequest) -> Answer:
        return self._calls.aggregated_list(request, "instances", map(_entry, self._project.instances.values()))

    async def get_guest_attributes(self, request: ApiRequest) -> Answer:
        instance = self._calls.instance_of(request)
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
            # As on the real API, never an empty list.
            raise ApiError(
                404, "notFound", f"The resource '{variable or query_path}' of type 'Guest Attribute' was not found."
            )
        if variable:
            return {**answer, "variableKey": variable, "variableValue": items[0]["value"]}
        return {**answer, "queryPath": query_path, "queryValue": {"items": items}}


def _entry(instance: Instance) -> Entry:
    resource = functools.partial(instance_resource, instance)
    return Entry(f"zones/{instance.zone}", instance.name, instance.created, resource, {"name": instance.name})
