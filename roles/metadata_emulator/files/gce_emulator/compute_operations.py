# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of zoneOperations and globalOperations."""

from __future__ import annotations

from aiohttp import web

from .compute_calls import PROJECT, ZONE, Answer, Calls, Routes
from .list_query import parse_list_query, select
from .operations import GLOBAL


class OperationMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def routes(self) -> Routes:
        routes: Routes = []
        for scope in (ZONE, f"{PROJECT}/{GLOBAL}"):
            routes += [
                ("GET", scope + "/operations", self.list),
                ("GET", scope + "/operations/{operation}", self.get),
                ("POST", scope + "/operations/{operation}/wait", self.wait),
            ]
        return routes

    async def list(self, request: web.Request) -> Answer:
        scope = self._calls.scope_of_operations(request)
        query = parse_list_query(request.query)
        operations = [each.to_api() for each in self._calls.operations.in_scope(scope)]
        page = select(operations, query, lambda resource: scope)
        return self._calls.list_of(f"{scope}/operations", "compute#operationList", page)

    async def get(self, request: web.Request) -> Answer:
        return self._calls.operation_of(request).to_api()

    async def wait(self, request: web.Request) -> Answer:
        return (await self._calls.operations.wait(self._calls.operation_of(request))).to_api()
