# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of targetPools."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Callable

from ..state import errors
from ..state.load_balancing import TargetPool
from .calls import PROJECT, REGION, Calls
from .group_calls import change, delete, instance_in, instances_in
from .list_query import Entry, parse_list_query, select
from .load_balancing_resources import instance_health, target_pool_resource
from .request import Answer, ApiRequest, Routes
from .resources import SERVICE_URL, instance_path

_POOL = REGION + "/targetPools/{target_pool}"


class TargetPoolMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._project = calls.project

    def routes(self) -> Routes:
        return [
            ("GET", PROJECT + "/aggregated/targetPools", self.aggregated_list),
            ("GET", REGION + "/targetPools", self.list_region),
            ("GET", _POOL, self.get),
            ("DELETE", _POOL, self.delete),
            ("POST", _POOL + "/addInstance", self.add),
            ("POST", _POOL + "/removeInstance", self.remove),
            ("POST", _POOL + "/getHealth", self.get_health),
            ("POST", _POOL + "/testIamPermissions", self.test_permissions),
        ]

    async def aggregated_list(self, request: ApiRequest) -> Answer:
        return self._calls.regional_list(request, "targetPools", self._entries())

    async def list_region(self, request: ApiRequest) -> Answer:
        region = self._calls.region_of(request)
        entries = (entry for entry in self._entries() if entry.scope == f"regions/{region}")
        page = select(entries, parse_list_query(request.query))
        return self._calls.list_of(f"regions/{region}/targetPools", "compute#targetPoolList", page)

    async def get(self, request: ApiRequest) -> Answer:
        return target_pool_resource(self._project, self._pool(request))

    async def delete(self, request: ApiRequest) -> Answer:
        return delete(self._calls, request, self._pool(request).path)

    async def add(self, request: ApiRequest) -> Answer:
        """Succeeds also for instances that are in the pool."""
        pool = self._pool(request)

        def prepare() -> Callable[[], None]:
            names = instances_in(self._project, request.read_object(), f"regions/{pool.spec.region}")
            return lambda: pool.add(names)

        return change(self._calls, request, pool.path, "AddInstance", prepare)

    async def remove(self, request: ApiRequest) -> Answer:
        pool = self._pool(request)

        def prepare() -> Callable[[], None]:
            names = instances_in(self._project, request.read_object(), f"regions/{pool.spec.region}")
            for name in names:
                self._refuse_stranger(pool, name)
            return lambda: pool.remove(names)

        return change(self._calls, request, pool.path, "RemoveInstance", prepare)

    async def get_health(self, request: ApiRequest) -> Answer:
        pool = self._pool(request)
        name = instance_in(self._project, request.read_object(), f"regions/{pool.spec.region}")
        self._refuse_stranger(pool, name)
        return {"kind": "compute#targetPoolInstanceHealth", "healthStatus": [instance_health(pool, name)]}

    async def test_permissions(self, request: ApiRequest) -> Answer:
        self._pool(request)
        return self._calls.granted_permissions(request)

    def _refuse_stranger(self, pool: TargetPool, name: str) -> None:
        if name not in pool.members:
            url = f"{SERVICE_URL}/{instance_path(self._project.instances[name])}"
            raise errors.invalid("resource.instance", url, "Instance is not currently attached to this target pool.")

    def _entries(self) -> Iterable[Entry]:
        for pool in self._project.load_balancing.target_pools.values():
            resource = functools.partial(target_pool_resource, self._project, pool)
            yield Entry(f"regions/{pool.spec.region}", pool.name, self._project.created, resource)

    def _pool(self, request: ApiRequest) -> TargetPool:
        path = f"regions/{self._calls.region_of(request)}/targetPools/{request.named['target_pool']}"
        pool = self._project.load_balancing.target_pools.get(path)
        if pool is None:
            raise errors.not_found(f"projects/{self._project.name}/{path}")
        return pool
