# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of zoneOperations, regionOperations and globalOperations."""

from __future__ import annotations

from .aggregated_list import by_scope
from .calls import PROJECT, REGION, ZONE, Calls
from .list_query import Entry, parse_list_query, select
from .operations import GLOBAL, Operation
from .request import Answer, ApiRequest, Routes


class OperationMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def routes(self) -> Routes:
        routes = [("GET", PROJECT + "/aggregated/operations", self.aggregated_list)]
        for scope in (ZONE, REGION, f"{PROJECT}/{GLOBAL}"):
            routes += [
                ("GET", scope + "/operations", self.list),
                ("GET", scope + "/operations/{operation}", self.get),
                ("POST", scope + "/operations/{operation}/wait", self.wait),
            ]
        return routes

    async def list(self, request: ApiRequest) -> Answer:
        scope = self._calls.scope_of_operations(request)
        query = parse_list_query(request.query)
        page = select(map(_entry, self._calls.operations.in_scope(scope)), query)
        return self._calls.list_of(f"{scope}/operations", "compute#operationList", page)

    async def aggregated_list(self, request: ApiRequest) -> Answer:
        project = self._calls.project_of(request)
        query = parse_list_query(request.query)
        page = select(map(_entry, self._calls.operations.all()), query)
        zones = self._calls.zones() if query.include_all_scopes else project.zones()
        answer = self._calls.list_of("aggregated/operations", "compute#operationAggregatedList", page)
        return {**answer, **by_scope("operations", page.items, [GLOBAL, *(f"zones/{zone}" for zone in zones)])}

    async def get(self, request: ApiRequest) -> Answer:
        return self._calls.operation_of(request).to_api()

    async def wait(self, request: ApiRequest) -> Answer:
        return (await self._calls.operations.wait(self._calls.operation_of(request))).to_api()


def _entry(operation: Operation) -> Entry:
    return Entry(operation.scope, operation.name, operation.insert_time, operation.to_api)
