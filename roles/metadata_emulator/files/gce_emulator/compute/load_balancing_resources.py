# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources of load balancing, made from the project's state. Pure."""

from __future__ import annotations

from typing import Any

from ..state.fleet_load_balancing import Endpoint
from ..state.load_balancing import BackendService, EndpointGroup, InstanceGroup, TargetPool
from ..state.project import Project
from .resources import SERVICE_URL, fingerprint, instance_path, resource_id
from .timestamps import pacific_time


def endpoint_group_resource(project: Project, group: EndpointGroup) -> dict[str, Any]:
    """The NetworkEndpointGroup resource."""
    spec = group.spec
    return {
        **_header(project, "networkEndpointGroup", group.path, "zone"),
        "networkEndpointType": spec.type,
        "size": len(group.members),
        "network": f"{_project_url(project)}/global/networks/default",
        **({"defaultPort": spec.default_port} if spec.default_port else {}),
    }


def endpoint_resource(
    project: Project, group: EndpointGroup, endpoint: Endpoint, *, with_health: bool
) -> dict[str, Any]:
    """The NetworkEndpointWithHealthStatus resource."""
    shown = {"instance": endpoint.instance, "ipAddress": endpoint.ip}
    services = [each for each in project.load_balancing.services_of(group) if each.spec.health_checked]
    health = group.health(endpoint) if endpoint in group.members else "DRAINING"
    healths = [
        {"backendService": {"backendService": f"{_project_url(project)}/{each.path}"}, "healthState": health}
        for each in services
    ]
    return {
        "networkEndpoint": {**shown, **({"port": endpoint.port} if endpoint.port else {})},
        **({"healths": healths} if healths and with_health else {}),
    }


def instance_group_resource(project: Project, group: InstanceGroup) -> dict[str, Any]:
    """The InstanceGroup resource. It does not show whether the group is managed."""
    ports = _named_ports(group)
    return {
        **_header(project, "instanceGroup", group.path, "zone"),
        **({"namedPorts": ports} if ports else {}),
        "network": f"{_project_url(project)}/global/networks/default",
        "fingerprint": fingerprint([group.path, ports]),
        "size": len(group.members),
    }


def instance_group_manager_resource(project: Project, group: InstanceGroup) -> dict[str, Any]:
    """The InstanceGroupManager resource."""
    return {
        **_header(project, "instanceGroupManager", group.manager_path, "zone"),
        "baseInstanceName": group.name,
        "instanceGroup": f"{_project_url(project)}/{group.path}",
        "instanceTemplate": f"{_project_url(project)}/global/instanceTemplates/{group.name}",
        "targetSize": len(group.members),
        "fingerprint": fingerprint(group.manager_path),
        "status": {"isStable": True},
    }


def member_resource(group: InstanceGroup, member: str) -> dict[str, Any]:
    """The InstanceWithNamedPorts resource."""
    instance, ports = group.instance(member), _named_ports(group)
    return {
        "instance": f"{SERVICE_URL}/{instance_path(instance)}",
        "status": instance.status,
        **({"namedPorts": ports} if ports else {}),
    }


def target_pool_resource(project: Project, pool: TargetPool) -> dict[str, Any]:
    """The TargetPool resource."""
    instances = [f"{SERVICE_URL}/{instance_path(pool.instance(member))}" for member in pool.members]
    return {
        **_header(project, "targetPool", pool.path, "region"),
        **({"instances": instances} if instances else {}),
        "sessionAffinity": "NONE",
    }


def backend_service_resource(project: Project, service: BackendService) -> dict[str, Any]:
    """The BackendService resource."""
    spec = service.spec
    backends = [{"group": f"{_project_url(project)}/{group.path}"} for group in service.groups]
    checks = f"{_project_url(project)}/global/healthChecks/{service.name}"
    return {
        **_header(project, "backendService", service.path, "region"),
        **({"backends": backends} if backends else {}),
        "connectionDraining": {"drainingTimeoutSec": spec.draining_timeout},
        "fingerprint": fingerprint(service.path),
        "healthChecks": [checks],
        "loadBalancingScheme": spec.load_balancing_scheme,
        "protocol": spec.protocol,
        "timeoutSec": 30,
    }


def endpoint_health(group: EndpointGroup, endpoint: Endpoint) -> dict[str, Any]:
    """The HealthStatus resource of an endpoint."""
    return {
        "healthState": group.health(endpoint),
        "instance": f"{SERVICE_URL}/{instance_path(group.instance(endpoint))}",
        "ipAddress": endpoint.ip,
        **({"port": endpoint.port} if endpoint.port else {}),
    }


def instance_health(group: InstanceGroup | TargetPool, member: str) -> dict[str, Any]:
    """The HealthStatus resource of an instance."""
    instance = group.instance(member)
    interfaces = instance.spec.network_interfaces
    port = next(iter(group.spec.named_ports.values()), 0) if isinstance(group, InstanceGroup) else 0
    return {
        "healthState": group.health(member),
        "instance": f"{SERVICE_URL}/{instance_path(instance)}",
        **({"ipAddress": interfaces[0].ip} if interfaces else {}),
        **({"port": port} if port else {}),
    }


def _header(project: Project, kind: str, path: str, location: str) -> dict[str, Any]:
    """What all of them have. `location` is the key of the zone or region of a path that has one."""
    resource = f"projects/{project.name}/{path}"
    parts = path.split("/")
    place = {location: f"{_project_url(project)}/{parts[0]}/{parts[1]}"} if parts[0] == f"{location}s" else {}
    return {
        "kind": f"compute#{kind}",
        "id": str(resource_id(resource)),
        "creationTimestamp": pacific_time(project.created),
        "name": parts[-1],
        **place,
        "selfLink": f"{SERVICE_URL}/{resource}",
    }


def _named_ports(group: InstanceGroup) -> list[dict[str, Any]]:
    return [{"name": name, "port": port} for name, port in group.spec.named_ports.items()]


def _project_url(project: Project) -> str:
    return f"{SERVICE_URL}/projects/{project.name}"
