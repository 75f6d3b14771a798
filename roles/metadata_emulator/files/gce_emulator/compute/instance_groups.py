# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of zonal instanceGroups, and of instanceGroupManagers, which show the managed ones."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Callable

from ..state import errors
from ..state.errors import ApiError
from ..state.load_balancing import InstanceGroup
from ..state.project import Project
from .calls import PROJECT, ZONE, Calls
from .group_calls import change, delete, instances_in
from .list_query import Entry, parse_list_query, select
from .load_balancing_resources import instance_group_manager_resource, instance_group_resource, member_resource
from .request import Answer, ApiRequest, Routes

_GROUP = ZONE + "/instanceGroups/{instance_group}"
_MANAGER = ZONE + "/instanceGroupManagers/{instance_group_manager}"


class InstanceGroupMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._project = calls.project

    def routes(self) -> Routes:
        return [
            ("GET", PROJECT + "/aggregated/instanceGroups", self.aggregated_list),
            ("GET", ZONE + "/instanceGroups", self.list_zone),
            ("GET", _GROUP, self.get),
            ("DELETE", _GROUP, self.delete),
            ("POST", _GROUP + "/listInstances", self.list_instances),
            ("POST", _GROUP + "/addInstances", self.add),
            ("POST", _GROUP + "/removeInstances", self.remove),
            ("POST", _GROUP + "/testIamPermissions", self.test_permissions),
            ("GET", PROJECT + "/aggregated/instanceGroupManagers", self.aggregated_managers),
            ("GET", ZONE + "/instanceGroupManagers", self.list_managers),
            ("GET", _MANAGER, self.get_manager),
        ]

    async def aggregated_list(self, request: ApiRequest) -> Answer:
        return self._calls.aggregated_list(request, "instanceGroups", self._entries(instance_group_resource))

    async def list_zone(self, request: ApiRequest) -> Answer:
        return self._list(request, "instanceGroup", self._entries(instance_group_resource))

    async def get(self, request: ApiRequest) -> Answer:
        return instance_group_resource(self._project, self._group(request))

    async def delete(self, request: ApiRequest) -> Answer:
        group = self._group(request)
        users = [each.path for each in self._project.load_balancing.services_of(group)]
        if group.spec.managed:
            users = [group.manager_path]
        return delete(self._calls, request, group.path, [f"projects/{self._project.name}/{user}" for user in users])

    async def list_instances(self, request: ApiRequest) -> Answer:
        group = self._group(request)
        state = request.read_object().get("instanceState", "ALL")
        if state not in ("ALL", "RUNNING"):
            raise errors.invalid("instanceState", str(state), "Must be one of ALL, RUNNING.")
        members = [each for each in group.members if state == "ALL" or group.instance(each).status == "RUNNING"]
        entries = (Entry("", each, None, functools.partial(member_resource, group, each)) for each in members)
        page = select(entries, parse_list_query(request.query))
        return self._calls.list_of(f"{group.path}/listInstances", "compute#instanceGroupsListInstances", page)

    async def add(self, request: ApiRequest) -> Answer:
        group = self._group(request)

        def prepare() -> Callable[[], None]:
            names = self._instances(request, group)
            for name in names:
                if name in group.members:
                    what = f"Resource '{self._path(group, name)}' is already a member of '{self._path(group)}'."
                    raise ApiError(400, "memberAlreadyExists", what)
            return lambda: group.add(names)

        return change(self._calls, request, group.path, "addInstances", prepare)

    async def remove(self, request: ApiRequest) -> Answer:
        group = self._group(request)

        def prepare() -> Callable[[], None]:
            names = self._instances(request, group)
            for name in names:
                if name not in group.members:
                    what = f"Resource '{self._path(group, name)}' is not a member of '{self._path(group)}'."
                    raise ApiError(400, "invalid", what)
            return lambda: group.remove(names)

        return change(self._calls, request, group.path, "removeInstances", prepare)

    async def test_permissions(self, request: ApiRequest) -> Answer:
        self._group(request)
        return self._calls.granted_permissions(request)

    async def aggregated_managers(self, request: ApiRequest) -> Answer:
        entries = self._entries(instance_group_manager_resource, only_managed=True)
        return self._calls.aggregated_list(request, "instanceGroupManagers", entries)

    async def list_managers(self, request: ApiRequest) -> Answer:
        entries = self._entries(instance_group_manager_resource, only_managed=True)
        return self._list(request, "instanceGroupManager", entries)

    async def get_manager(self, request: ApiRequest) -> Answer:
        path = f"zones/{self._calls.zone_of(request)}/instanceGroupManagers/{request.named['instance_group_manager']}"
        for group in self._project.load_balancing.instance_groups.values():
            if group.spec.managed and group.manager_path == path:
                return instance_group_manager_resource(self._project, group)
        raise errors.not_found(f"projects/{self._project.name}/{path}")

    def _list(self, request: ApiRequest, kind: str, entries: Iterable[Entry]) -> Answer:
        zone = self._calls.zone_of(request)
        page = select((each for each in entries if each.scope == f"zones/{zone}"), parse_list_query(request.query))
        return self._calls.list_of(f"zones/{zone}/{kind}s", f"compute#{kind}List", page)

    def _entries(
        self, show: Callable[[Project, InstanceGroup], dict[str, Any]], *, only_managed: bool = False
    ) -> Iterable[Entry]:
        for group in self._project.load_balancing.instance_groups.values():
            if group.spec.managed or not only_managed:
                resource = functools.partial(show, self._project, group)
                yield Entry(f"zones/{group.spec.zone}", group.name, self._project.created, resource)

    def _group(self, request: ApiRequest) -> InstanceGroup:
        path = f"zones/{self._calls.zone_of(request)}/instanceGroups/{request.named['instance_group']}"
        group = self._project.load_balancing.instance_groups.get(path)
        if group is None:
            raise errors.not_found(f"projects/{self._project.name}/{path}")
        return group

    def _instances(self, request: ApiRequest, group: InstanceGroup) -> list[str]:
        if group.spec.managed:
            why = "The instance group is managed by an instance group manager."
            raise errors.invalid("instanceGroup", group.name, why)
        return instances_in(self._project, request.read_object(), f"zones/{group.spec.zone}")

    def _path(self, group: InstanceGroup, instance: str | None = None) -> str:
        path = group.path if instance is None else f"zones/{group.spec.zone}/instances/{instance}"
        return f"projects/{self._project.name}/{path}"
