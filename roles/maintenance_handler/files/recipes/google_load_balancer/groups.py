# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups of load balancers that this VM is in, and the backend services that send to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from recipes.api import NotFound
from recipes.google_load_balancer.cloud import Cloud
from recipes.run import Refusal

# An endpoint of a network endpoint group, or a reference to this VM: what the API takes to join.
Member = dict[str, Any]

_ENDPOINT_GROUP, _INSTANCE_GROUP, _TARGET_POOL = "networkEndpointGroups", "instanceGroups", "targetPools"
HEALTHY, _DRAINING = "HEALTHY", "DRAINING"
_SERVICE_FIELDS = "items(selfLink,backends/group,connectionDraining),nextPageToken"


@dataclass(frozen=True)
class Service:
    """A backend service. `groups` are the URLs of its groups, by their paths."""

    path: str
    draining_timeout: float
    groups: dict[str, str]


class Group:
    """A group at a path such as /zones/Z/networkEndpointGroups/N. `services` send to it."""

    permissions: Sequence[str] = ()
    leaving, joining, key = "", "", ""

    def __init__(self, cloud: Cloud, path: str, services: Sequence[Service]) -> None:
        self.path = path
        self.services = services
        self._cloud = cloud

    def __str__(self) -> str:
        return self.path.lstrip("/")

    def draining_seconds(self, settle: float) -> float:
        """Seconds until connections have ended after this VM has left. Of several backend services, the slowest counts.

        `settle` is the time until all proxies know that it has left.
        """
        return max((service.draining_timeout + settle for service in self.services), default=0.0)

    def members(self) -> list[Member]:
        """This VM's members."""
        raise NotImplementedError

    def draining(self) -> int:
        """How many of this VM's former members are draining, as far as the API shows it."""
        return 0

    def is_managed(self) -> bool:
        return False

    def identity(self, member: Member) -> str:
        """What tells members of this VM apart."""
        return str(member.get("instance", "")).rpartition("/")[2]

    def leave(self, members: Sequence[Member], request_id: str) -> str:
        """Begin to leave. Returns the path of the operation."""
        return self._cloud.begin(self.path + self.leaving, {self.key: list(members)}, request_id)

    def join(self, members: Sequence[Member], request_id: str) -> str:
        """Begin to join. Returns the path of the operation."""
        return self._cloud.begin(self.path + self.joining, {self.key: list(members)}, request_id)

    def begun(self, request_id: str) -> str | None:
        """The path of the operation of an earlier request, which may have been interrupted; None if there is none."""
        return self._cloud.begun(self.path, request_id)

    def finish(self, operation: str) -> None:
        """Wait for the end of an operation. Raises `OperationFailed`."""
        self._cloud.finish(operation)

    def health_of_former(self, members: Sequence[Member]) -> dict[str, list[str]]:
        """As `health`, of members that have left."""
        return self.health(members)

    def health(self, members: Sequence[Member]) -> dict[str, list[str]]:
        """For each backend service (or the target pool itself), the health of each member that it reports."""
        wanted = {self.identity(member) for member in members}
        found: dict[str, list[str]] = {}
        for service in self.services:
            # It may have been deleted.
            with suppress(NotFound):
                answer = self._cloud.post(f"{service.path}/getHealth", {"group": service.groups[self.path]})
                found[service.path] = [
                    str(one.get("healthState", "UNKNOWN"))
                    for one in answer.get("healthStatus", [])
                    if _is_of(one, self._cloud) and self.identity(one) in wanted
                ]
        return found

    def lacking_permissions(self) -> list[str]:
        """Permissions to leave and to join that the service account does not have."""
        return lacking(self._cloud, self.path, self.permissions)


class EndpointGroup(Group):
    permissions = (
        "compute.networkEndpointGroups.attachNetworkEndpoints",
        "compute.networkEndpointGroups.detachNetworkEndpoints",
    )
    leaving, joining, key = "/detachNetworkEndpoints", "/attachNetworkEndpoints", "networkEndpoints"

    def members(self) -> list[Member]:
        return [endpoint for endpoint, states in self._listed() if _DRAINING not in states]

    def draining(self) -> int:
        return sum(_DRAINING in states for _endpoint, states in self._listed())

    def identity(self, member: Member) -> str:
        addresses = (member.get("ipAddress") or "", member.get("ipv6Address") or "")
        return f"{' '.join(filter(None, addresses))}:{member.get('port') or ''}"

    def _listed(self) -> list[tuple[Member, set[str]]]:
        """This VM's endpoints, and their health for the backend services."""
        path = f"{self.path}/listNetworkEndpoints"
        items = self._cloud.items("POST", path, {"healthStatus": "SHOW"}, maxResults="500")
        return [
            (item["networkEndpoint"], {str(one.get("healthState")) for one in item.get("healths", [])})
            for item in items
            if _is_of(item.get("networkEndpoint", {}), self._cloud)
        ]


class InstanceGroup(Group):
    permissions = ("compute.instanceGroups.update",)
    leaving, joining, key = "/removeInstances", "/addInstances", "instances"

    def members(self) -> list[Member]:
        body = {"instanceState": "ALL"}
        items = self._cloud.items("POST", f"{self.path}/listInstances", body, maxResults="500")
        return [{"instance": item["instance"]} for item in items if _is_of(item, self._cloud)]

    def is_managed(self) -> bool:
        with suppress(NotFound):
            self._cloud.get(self.path.replace(f"/{_INSTANCE_GROUP}/", "/instanceGroupManagers/"), fields="name")
            return True
        return False


class TargetPool(Group):
    permissions = ("compute.targetPools.addInstance", "compute.targetPools.removeInstance")
    leaving, joining, key = "/removeInstance", "/addInstance", "instances"

    def members(self) -> list[Member]:
        urls = self._cloud.get(self.path).get("instances", [])
        return [{"instance": url} for url in urls if _is_of({"instance": url}, self._cloud)]

    def draining_seconds(self, settle: float) -> float:
        return settle

    def health_of_former(self, members: Sequence[Member]) -> dict[str, list[str]]:
        # The API refuses to tell it.
        return {}

    def health(self, members: Sequence[Member]) -> dict[str, list[str]]:
        states = []
        for member in members:
            answer = self._cloud.post(f"{self.path}/getHealth", {"instance": member["instance"]})
            states += [str(one.get("healthState", "UNKNOWN")) for one in answer.get("healthStatus", [])]
        return {self.path: states}


_KINDS: dict[str, type[Group]] = {
    _ENDPOINT_GROUP: EndpointGroup,
    _INSTANCE_GROUP: InstanceGroup,
    _TARGET_POOL: TargetPool,
}


class Groups:
    """The groups of this VM's zone and region."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        scopes = ("/global", f"/regions/{cloud.region}")
        self._services = [
            _service(item)
            for scope in scopes
            for item in cloud.items("GET", f"{scope}/backendServices", fields=_SERVICE_FIELDS)
        ]

    def at(self, path: str) -> Group:
        """The group at a path."""
        services = [service for service in self._services if path in service.groups]
        return _KINDS[path.split("/")[3]](self._cloud, path, services)

    def of_this_vm(self, wanted: Sequence[str] | None) -> list[Group]:
        """Groups that this VM is in and that a load balancer sends to, or those of the wanted names."""
        found = [self.at(path) for path in (self._paths() if wanted is None else self._wanted(wanted))]
        return [group for group in found if _is_used(group)]

    def _paths(self) -> list[str]:
        zone = f"/zones/{self._cloud.zone}/"
        paths = [path for service in self._services for path in service.groups if path.startswith(zone)]
        pools = self._cloud.items("GET", f"/regions/{self._cloud.region}/{_TARGET_POOL}")
        return [
            *dict.fromkeys(path for path in paths if path.split("/")[3] in _KINDS),
            *(_path(str(pool["selfLink"])) for pool in pools),
        ]

    def _wanted(self, names: Iterable[str]) -> list[str]:
        return [path for name in names for path in self._named(name)]

    def _named(self, name: str) -> list[str]:
        """The paths of the groups of a name: there may be one of each kind."""
        found = []
        for kind in _KINDS:
            place = f"regions/{self._cloud.region}" if kind == _TARGET_POOL else f"zones/{self._cloud.zone}"
            path = f"/{place}/{kind}/{name}"
            with suppress(NotFound):
                self._cloud.get(path, fields="name")
                found.append(path)
        if not found:
            where = f"{self._cloud.zone} or {self._cloud.region}"
            raise Refusal(f"there is no network endpoint group, instance group or target pool {name!r} in {where}")
        return found


def lacking(cloud: Cloud, path: str, permissions: Sequence[str]) -> list[str]:
    """The permissions on a resource that the service account does not have."""
    answer = cloud.post(f"{path}/testIamPermissions", {"permissions": list(permissions)})
    return [each for each in permissions if each not in answer.get("permissions", [])]


def _is_used(group: Group) -> bool:
    """Whether this VM is in a group, which may have been deleted meanwhile."""
    with suppress(NotFound):
        return bool(group.members())
    return False


def _service(item: dict[str, Any]) -> Service:
    urls = [str(backend["group"]) for backend in item.get("backends", []) if "group" in backend]
    timeout = item.get("connectionDraining", {}).get("drainingTimeoutSec") or 0
    return Service(_path(str(item["selfLink"])), float(timeout), {_path(url): url for url in urls})


def _path(url: str) -> str:
    """/zones/Z/… of a URL, below the project."""
    return "/" + url.partition("/projects/")[2].partition("/")[2]


def _is_of(member: dict[str, Any], cloud: Cloud) -> bool:
    """Whether a member is on this VM. The API names a VM by its name or by its URL."""
    parts = str(member.get("instance", "")).split("/")
    return parts[-1] == cloud.instance and (len(parts) < 4 or parts[-3] == cloud.zone)
