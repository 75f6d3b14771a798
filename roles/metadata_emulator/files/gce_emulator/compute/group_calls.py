# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the methods of load balancing share: references to instances, changes as operations, deletions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ..state import errors
from ..state.errors import ApiError
from ..state.geography import region_of
from ..state.project import Project
from .calls import Calls, failing
from .operations import OperationError
from .request import Answer, ApiRequest
from .resources import resource_id


def change(
    calls: Calls, request: ApiRequest, path: str, operation_type: str, prepare: Callable[[], Callable[[], None]]
) -> Answer:
    """Change the resource at `path`, below the project, by an operation.

    `prepare` checks the request, and returns what the operation does. It is not called for a repeated request.
    """
    target = f"projects/{calls.project.name}/{path}"
    replayed = calls.replayed(request, operation_type, target)
    if replayed is not None:
        return replayed
    apply = prepare()
    scope = path.rsplit("/", 2)[0]

    async def work() -> OperationError | None:
        if not exists(calls.project, path):
            return OperationError("RESOURCE_NOT_FOUND", str(errors.not_found(target)), 404, "NOT FOUND")
        apply()
        return None

    not_ready = OperationError("RESOURCE_NOT_READY", str(errors.not_ready(target)))
    fails = calls.take_fault(request, ["operation-error"]) is not None
    return calls.start(
        request, scope, operation_type, target, resource_id(target), failing(not_ready) if fails else work
    )


def delete(calls: Calls, request: ApiRequest, path: str, users: Sequence[str] = ()) -> Answer:
    """Delete the resource at `path`, unless others use it."""

    def prepare() -> Callable[[], None]:
        if users:
            used = f"The resource 'projects/{calls.project.name}/{path}' is already being used by '{users[0]}'"
            raise ApiError(400, "resourceInUseByAnotherResource", used)
        return lambda: calls.project.load_balancing.delete(path)

    return change(calls, request, path, "delete", prepare)


def exists(project: Project, path: str) -> bool:
    """Whether a group or backend service has not been deleted."""
    balancing = project.load_balancing
    kinds = (balancing.endpoint_groups, balancing.instance_groups, balancing.target_pools, balancing.backend_services)
    return any(path in kind for kind in kinds)


def instances_in(project: Project, body: Mapping[str, Any], location: str) -> list[str]:
    """The names in a list of InstanceReference, of VMs in a zone or region. Raises ApiError."""
    given = body.get("instances")
    if not isinstance(given, list) or not given:
        raise errors.invalid("instances", str(given or ""), "Must have at least one instance.")
    return [instance_in(project, each, location) for each in given]


def instance_in(project: Project, reference: Any, location: str) -> str:
    """The name in an InstanceReference, of a VM in `location`: zones/Z or regions/R. Raises ApiError."""
    url = str(reference.get("instance") or "") if isinstance(reference, Mapping) else ""
    parts = url.split("/")[-6:]
    if len(parts) != 6 or parts[0::2] != ["projects", "zones", "instances"]:
        raise errors.invalid("instance", url, "The URL is malformed.")
    zone, name = parts[3], parts[5]
    place, _unused, where = location.partition("/")
    if where != (zone if place == "zones" else region_of(zone)):
        raise errors.invalid("resource.instance", url, f"The instance must be in {location}.")
    if project.find(zone, name) is None:
        raise errors.not_found(f"projects/{project.name}/zones/{zone}/instances/{name}")
    return name
