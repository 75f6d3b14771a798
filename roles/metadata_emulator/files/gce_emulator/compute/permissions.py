# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The permissions that calls need, and those that testIamPermissions asks for. Pure."""

from __future__ import annotations

from ..state import errors
from .request import PREFIX, ApiRequest

# Permissions that are not named like the last segment of the URL.
_PERMISSIONS = {
    "setCommonInstanceMetadata": "projects.setCommonInstanceMetadata",
    "serialPort": "instances.getSerialPortOutput",
    "listNodes": "nodeGroups.get",
    "listNetworkEndpoints": "networkEndpointGroups.get",
    "listInstances": "instanceGroups.get",
    "addInstances": "instanceGroups.update",
    "removeInstances": "instanceGroups.update",
}
_COLLECTIONS = (
    "instances",
    "disks",
    "zones",
    "regions",
    "operations",
    "nodeGroups",
    "reservations",
    "reservationBlocks",
    "reservationSubBlocks",
    "networkEndpointGroups",
    "instanceGroups",
    "instanceGroupManagers",
    "targetPools",
    "backendServices",
)
# Placeholders of routes and the resources of their permissions, the innermost first.
_RESOURCES = {
    "sub_block": "reservationSubBlocks",
    "block": "reservationBlocks",
    "reservation": "reservations",
    "node_group": "nodeGroups",
    "endpoint_group": "networkEndpointGroups",
    "instance_group": "instanceGroups",
    "instance_group_manager": "instanceGroupManagers",
    "target_pool": "targetPools",
    "backend_service": "backendServices",
    "instance": "instances",
    "disk": "disks",
    "zone": "zones",
    "region": "regions",
}


def needed_permission(request: ApiRequest) -> tuple[str, str]:
    """The permission that a request needs, "" for none, and the resource that it needs it on."""
    path, named = request.path[len(PREFIX) :].strip("/"), request.named
    parent, _unused, last = path.rpartition("/")
    operations = f"{'zone' if 'zone' in named else 'region' if 'region' in named else 'global'}Operations"
    if last == "testIamPermissions":
        return "", parent
    if "backendServices" in path and "region" in named:
        return f"compute.regionBackendServices.{_action(request, last)}", parent
    if last in _PERMISSIONS:
        return f"compute.{_PERMISSIONS[last]}", parent
    if last == "instanceSettings":
        return f"compute.instanceSettings.{'get' if request.method == 'GET' else 'update'}", path
    if "operation" in named:
        return f"compute.{operations}.get", path
    if last in _COLLECTIONS:
        return f"compute.{operations if last == 'operations' else last}.list", parent
    for kind, resource in _RESOURCES.items():
        if kind in named:
            action = last if last not in (named[kind], "getHealth") else _action(request, last)
            return f"compute.{resource}.{action}", path if last == named[kind] else parent
    return "compute.projects.get", path


def _action(request: ApiRequest, last: str) -> str:
    if last in _COLLECTIONS:
        return "list"
    return "delete" if request.method == "DELETE" else "get"


def asked_permissions(request: ApiRequest) -> list[str]:
    """The permissions in a TestPermissionsRequest. Raises ApiError."""
    asked = request.read_object().get("permissions") or []
    if not isinstance(asked, list) or not all(isinstance(each, str) for each in asked):
        raise errors.invalid("permissions", str(asked), "Must be a list of permissions.")
    return asked
