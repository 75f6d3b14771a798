# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods about custom metadata of instances, zones and the project."""

from __future__ import annotations

from ..state import custom_metadata, errors
from .calls import INSTANCE, PROJECT, ZONE, Calls, failing
from .operations import GLOBAL, OperationError, Work
from .request import Answer, ApiRequest, Routes
from .resources import (
    instance_path,
    metadata_fingerprint,
    project_metadata_fingerprint,
    project_resource,
    resource_id,
    zonal_fingerprint,
    zonal_settings_resource,
)

_CONFLICT = OperationError("CONDITION_NOT_MET", errors.CONFLICT, 412, "PRECONDITION FAILED")


class MetadataMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def routes(self) -> Routes:
        return [
            ("GET", PROJECT, self.get_project),
            ("POST", PROJECT + "/setCommonInstanceMetadata", self.set_common_instance_metadata),
            ("GET", ZONE + "/instanceSettings", self.get_instance_settings),
            ("PATCH", ZONE + "/instanceSettings", self.patch_instance_settings),
            ("POST", INSTANCE + "/setMetadata", self.set_metadata),
        ]

    async def get_project(self, request: ApiRequest) -> Answer:
        return project_resource(self._calls.project_of(request))

    async def get_instance_settings(self, request: ApiRequest) -> Answer:
        return zonal_settings_resource(self._calls.project, self._calls.zone_of(request))

    async def set_metadata(self, request: ApiRequest) -> Answer:
        instance = self._calls.instance_of(request)
        replayed = self._calls.replayed(request, "setMetadata", instance_path(instance))
        if replayed is not None:
            return replayed
        wanted = custom_metadata.parse_metadata(request.read_object())
        self._refuse_conflict(request, wanted.fingerprint, metadata_fingerprint(instance))
        delay = self._delay(request)

        async def write() -> OperationError | None:
            # Another write may have been faster: then the operation reports the conflict.
            if wanted.fingerprint != metadata_fingerprint(instance):
                return _CONFLICT
            instance.metadata.write(wanted.attributes, delay)
            return None

        return self._calls.start_on(instance, request, "setMetadata", self._or_conflict(request, write))

    async def set_common_instance_metadata(self, request: ApiRequest) -> Answer:
        project = self._calls.project_of(request)
        target = f"projects/{project.name}"
        replayed = self._calls.replayed(request, "setMetadata", target)
        if replayed is not None:
            return replayed
        wanted = custom_metadata.parse_metadata(request.read_object())
        self._refuse_conflict(request, wanted.fingerprint, project_metadata_fingerprint(project))
        delay = self._delay(request)

        async def write() -> OperationError | None:
            if wanted.fingerprint != project_metadata_fingerprint(project):
                return _CONFLICT
            project.metadata.write(wanted.attributes, delay)
            return None

        work = self._or_conflict(request, write)
        return self._calls.start(request, GLOBAL, "setMetadata", target, project.number, work)

    async def patch_instance_settings(self, request: ApiRequest) -> Answer:
        project, zone = self._calls.project, self._calls.zone_of(request)
        target = f"projects/{project.name}/zones/{zone}/instanceSettings"
        replayed = self._calls.replayed(request, "patch", target)
        if replayed is not None:
            return replayed
        patch = custom_metadata.parse_patch(request.read_object(), request.query.get("updateMask"))
        # Without a fingerprint, the last write of each key wins.
        if patch.fingerprint is not None:
            self._refuse_conflict(request, patch.fingerprint, zonal_fingerprint(project, zone))
        metadata = project.zonal_metadata(zone)
        custom_metadata.refuse_oversize(patch.applied_to(metadata.attributes))
        delay = self._delay(request)

        async def write() -> OperationError | None:
            if patch.fingerprint not in (None, zonal_fingerprint(project, zone)):
                return _CONFLICT
            metadata.write(patch.applied_to(metadata.attributes), delay)
            return None

        work = self._or_conflict(request, write)
        return self._calls.start(request, f"zones/{zone}", "patch", target, resource_id(zone), work)

    def _refuse_conflict(self, request: ApiRequest, wanted: str, current: str) -> None:
        if wanted != current or self._calls.take_fault(request, ["conflict"]) is not None:
            raise errors.conflict()

    def _or_conflict(self, request: ApiRequest, write: Work) -> Work:
        return failing(_CONFLICT) if self._calls.take_fault(request, ["operation-conflict"]) is not None else write

    def _delay(self, request: ApiRequest) -> float:
        """Platform seconds until guests see the write."""
        project = self._calls.project
        fault = self._calls.take_fault(request, ["propagation-delay"])
        # A fault delays in real seconds, whatever the speed.
        return project.fleet.durations.propagation if fault is None else fault.delay * project.clock.speed
