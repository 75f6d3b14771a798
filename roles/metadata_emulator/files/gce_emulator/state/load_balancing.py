# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of a load balancer, who is in them, and whether health checks succeed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Callable, Generic, TypeVar

from .clock import Timer
from .fleet_load_balancing import BackendServiceSpec, Endpoint, EndpointGroupSpec, InstanceGroupSpec, TargetPoolSpec

if TYPE_CHECKING:
    from .instance import Instance
    from .project import Project

_Member = TypeVar("_Member", str, Endpoint)

HEALTHY, UNHEALTHY = "HEALTHY", "UNHEALTHY"


class _Group(Generic[_Member]):
    """A group with members: names of instances, or endpoints."""

    def __init__(self, project: Project, initial: tuple[_Member, ...]) -> None:
        self._project: Project = project
        self._clock = project.clock
        # When each member joined (wall clock); those of the fleet file have been in it for long.
        self._joined: dict[_Member, float] = dict.fromkeys(initial, 0.0)

    @property
    def members(self) -> list[_Member]:
        """Without those on deleted VMs."""
        return [member for member in self._joined if _instance_of(member) in self._project.instances]

    def instance(self, member: _Member) -> Instance:
        """The VM of a member."""
        return self._project.instances[_instance_of(member)]

    def add(self, members: Iterable[_Member]) -> None:
        for member in members:
            self._joined.setdefault(member, self._clock.time())

    def remove(self, members: Iterable[_Member]) -> None:
        for member in members:
            self._joined.pop(member, None)

    def health(self, member: _Member) -> str:
        """HEALTHY if the VM is up, and has been for `durations.health` since it joined and booted."""
        instance = self.instance(member)
        if not instance.is_up:
            return UNHEALTHY
        booted = instance.started.timestamp() if instance.boot_count > 1 else 0.0
        checks = self._clock.real_seconds(self._project.fleet.durations.health)
        return HEALTHY if self._clock.time() >= max(self._joined[member], booted) + checks else UNHEALTHY


class InstanceGroup(_Group[str]):
    """Unmanaged, or that of a managed instance group, whose members do not change here."""

    def __init__(self, project: Project, spec: InstanceGroupSpec) -> None:
        super().__init__(project, spec.instances)
        self.spec = spec
        self.name = spec.name

    @property
    def path(self) -> str:
        """zones/Z/instanceGroups/G"""
        return f"zones/{self.spec.zone}/instanceGroups/{self.name}"

    @property
    def manager_path(self) -> str:
        """zones/Z/instanceGroupManagers/G"""
        return f"zones/{self.spec.zone}/instanceGroupManagers/{self.name}"


class TargetPool(_Group[str]):
    def __init__(self, project: Project, spec: TargetPoolSpec) -> None:
        super().__init__(project, spec.instances)
        self.spec = spec
        self.name = spec.name

    @property
    def path(self) -> str:
        """regions/R/targetPools/T"""
        return f"regions/{self.spec.region}/targetPools/{self.name}"


class EndpointGroup(_Group[Endpoint]):
    """A zonal network endpoint group. Removed endpoints drain as long as the backend services say."""

    def __init__(
        self, project: Project, spec: EndpointGroupSpec, draining_timeout: Callable[[EndpointGroup], float]
    ) -> None:
        super().__init__(project, spec.endpoints)
        self.spec = spec
        self.name = spec.name
        self._draining_timeout = draining_timeout
        self._draining: dict[Endpoint, Timer] = {}

    @property
    def path(self) -> str:
        """zones/Z/networkEndpointGroups/N"""
        return f"zones/{self.spec.zone}/networkEndpointGroups/{self.name}"

    @property
    def draining(self) -> list[Endpoint]:
        """Endpoints that were removed, and may still have connections."""
        return [each for each in self._draining if each.instance in self._project.instances]

    def add(self, members: Iterable[Endpoint]) -> None:
        members = list(members)
        super().add(members)
        for member in members:
            self._end_draining(member)

    def remove(self, members: Iterable[Endpoint]) -> None:
        members = list(members)
        super().remove(members)
        timeout = self._draining_timeout(self)
        for member in members:
            self._end_draining(member)
            if timeout > 0:
                self._draining[member] = self._clock.call_later(timeout, self._end_draining, member)

    def _end_draining(self, member: Endpoint) -> None:
        timer = self._draining.pop(member, None)
        if timer is not None:
            timer.cancel()


class BackendService:
    """`groups` are those that exist."""

    def __init__(self, spec: BackendServiceSpec, groups: Callable[[], list[EndpointGroup | InstanceGroup]]) -> None:
        self.spec = spec
        self._groups = groups

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def groups(self) -> list[EndpointGroup | InstanceGroup]:
        return [each for each in self._groups() if f"{each.spec.zone}/{each.name}" in self.spec.groups]

    @property
    def path(self) -> str:
        """global/backendServices/B, or regions/R/backendServices/B"""
        region = self.spec.region
        return f"{region if region == 'global' else f'regions/{region}'}/backendServices/{self.name}"


class LoadBalancing:
    """All groups and backend services of a project, by their paths and without deleted ones."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.reset()

    def reset(self) -> None:
        """Go back to the fleet file's description."""
        project, fleet = self._project, self._project.fleet
        endpoint_groups = [
            EndpointGroup(project, each, self._draining_timeout) for each in fleet.network_endpoint_groups
        ]
        instance_groups = [InstanceGroup(project, each) for each in fleet.instance_groups]
        target_pools = [TargetPool(project, each) for each in fleet.target_pools]
        services = [BackendService(each, self._all_groups) for each in fleet.backend_services]
        self.endpoint_groups = {each.path: each for each in endpoint_groups}
        self.instance_groups = {each.path: each for each in instance_groups}
        self.target_pools = {each.path: each for each in target_pools}
        self.backend_services = {each.path: each for each in services}

    def services_of(self, group: EndpointGroup | InstanceGroup) -> list[BackendService]:
        """The backend services that send to a group."""
        return [service for service in self.backend_services.values() if group in service.groups]

    def delete(self, path: str) -> None:
        """Delete a group or backend service until the next reset."""
        self.endpoint_groups.pop(path, None)
        self.instance_groups.pop(path, None)
        self.target_pools.pop(path, None)
        self.backend_services.pop(path, None)

    def _all_groups(self) -> list[EndpointGroup | InstanceGroup]:
        return [*self.endpoint_groups.values(), *self.instance_groups.values()]

    def _draining_timeout(self, group: EndpointGroup) -> float:
        """Platform seconds: of several backend services, the longest counts."""
        return max((service.spec.draining_timeout for service in self.services_of(group)), default=0)


def _instance_of(member: str | Endpoint) -> str:
    return member if isinstance(member, str) else member.instance
