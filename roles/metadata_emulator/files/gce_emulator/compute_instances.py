# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of instances that only read: get, list, aggregatedList, getGuestAttributes."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from .compute_calls import INSTANCE, PROJECT, ZONE, Answer, Calls, Routes
from .compute_errors import ApiError
from .list_filter import Resource
from .list_query import parse_list_query, select
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
        ]

    async def get(self, request: web.Request) -> Answer:
        return instance_resource(self._calls.instance_of(request))

    async def list_zone(self, request: web.Request) -> Answer:
        zone = self._calls.zone_of(request)
        query = parse_list_query(request.query)
        page = select([instance_resource(each) for each in self._project.in_zone(zone)], query, lambda resource: zone)
        return self._calls.list_of(f"zones/{zone}/instances", "compute#instanceList", page)

    async def aggregated_list(self, request: web.Request) -> Answer:
        self._calls.project_of(request)
        query = parse_list_query(request.query)
        unreachable = self._unreachable_zones(request)
        resources = [
            instance_resource(each) for each in self._project.instances.values() if each.zone not in unreachable
        ]
        page = select(resources, query, _scope_of)
        zones = self._calls.zones() if query.include_all_scopes else self._project.zones()
        scopes: dict[str, dict[str, Any]] = {f"zones/{zone}": {} for zone in zones}
        for resource in page.items:
            scopes[_scope_of(resource)].setdefault("instances", []).append(resource)
        lacking = [f"zones/{zone}" for zone in unreachable]
        for scope, content in scopes.items():
            if scope in lacking:
                content["warning"] = _unreachable(scope)
            elif not content:
                content["warning"] = _no_results(scope)
        answer = self._calls.list_of("aggregated/instances", "compute#instanceAggregatedList", page)
        partial = {"unreachables": lacking, "warning": _unreachable(", ".join(lacking))} if lacking else {}
        return {**answer, "items": scopes, **partial}

    async def get_guest_attributes(self, request: web.Request) -> Answer:
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
            # Never an empty list, even when nothing was ever written.
            raise ApiError(
                404, "notFound", f"The resource '{variable or query_path}' of type 'Guest Attribute' was not found."
            )
        if variable:
            return {**answer, "variableKey": variable, "variableValue": items[0]["value"]}
        return {**answer, "queryPath": query_path, "queryValue": {"items": items}}

    def _unreachable_zones(self, request: web.Request) -> list[str]:
        fault = self._calls.take_fault(request, ["unreachable"])
        if fault is None:
            return []
        return [fault.zone] if fault.zone is not None else self._project.zones()


def _scope_of(resource: Resource) -> str:
    return "zones/" + str(resource["zone"]).rpartition("/")[2]


def _no_results(scope: str) -> dict[str, Any]:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope '{scope}' on this page.",
        "data": [{"key": "scope", "value": scope}],
    }


def _unreachable(scope: str) -> dict[str, Any]:
    return {
        "code": "UNREACHABLE",
        "message": f"The scope '{scope}' is not reachable at this time.",
        "data": [{"key": "scope", "value": scope}],
    }
