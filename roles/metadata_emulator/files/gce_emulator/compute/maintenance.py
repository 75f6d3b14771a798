# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of instances about maintenance: simulateMaintenanceEvent, performMaintenance, setScheduling."""

from __future__ import annotations

import dataclasses
from typing import Callable

from ..scenarios import maintenance, power, runs
from ..state import errors, scheduling
from ..state.errors import ApiError
from ..state.instance import Instance
from .calls import INSTANCE, Calls, failing
from .operations import OperationError
from .request import Answer, ApiRequest, Routes
from .resources import instance_path, scheduling_resource

_UNAVAILABLE = OperationError(
    "MIGRATION_TEMPORARILY_UNAVAILABLE",
    "The instance cannot be migrated at this time. Try again later.",
    503,
    "SERVICE UNAVAILABLE",
)


class MaintenanceMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def routes(self) -> Routes:
        return [
            ("POST", INSTANCE + "/simulateMaintenanceEvent", self.simulate_maintenance_event),
            ("POST", INSTANCE + "/performMaintenance", self.perform_maintenance),
            ("POST", INSTANCE + "/setScheduling", self.set_scheduling),
        ]

    async def simulate_maintenance_event(self, request: ApiRequest) -> Answer:
        instance = self._calls.instance_of(request)
        return self._maintain(request, instance, "simulateMaintenanceEvent", maintenance.simulate_maintenance)

    async def perform_maintenance(self, request: ApiRequest) -> Answer:
        instance = self._calls.instance_of(request)
        try:
            maintenance.performable_window(instance)
        except runs.Refused as refusal:
            if self._calls.replayed(request, "performMaintenance", instance_path(instance)) is None:
                what = f"Cannot perform maintenance on the resource '{instance_path(instance)}'"
                raise ApiError(400, "failedPrecondition", f"{what}: {refusal}.") from refusal
        return self._maintain(request, instance, "performMaintenance", maintenance.perform_maintenance)

    async def set_scheduling(self, request: ApiRequest) -> Answer:
        """What the body names is changed, null takes it back to its default, and all else stays."""
        instance = self._calls.instance_of(request)
        replayed = self._calls.replayed(request, "setScheduling", instance_path(instance))
        if replayed is not None:
            return replayed
        wanted = scheduling.merged(
            scheduling_resource(instance),
            request.read_object(),
            has_accelerators=bool(instance.spec.accelerators),
            is_stopped=instance.status == "TERMINATED",
            now=instance.clock.now(),
        )

        async def work() -> OperationError | None:
            instance.schedule(wanted)
            return None

        return self._calls.start_on(instance, request, "setScheduling", work)

    def _maintain(
        self,
        request: ApiRequest,
        instance: Instance,
        operation_type: str,
        begin: Callable[[Instance], power.InstanceRun],
    ) -> Answer:
        replayed = self._calls.replayed(request, operation_type, instance_path(instance))
        if replayed is not None:
            return replayed
        if instance.status != "RUNNING":
            raise errors.not_ready(instance_path(instance))

        async def work() -> OperationError | None:
            try:
                run = begin(instance)
            except runs.Refused as refusal:
                return dataclasses.replace(_UNAVAILABLE, message=f"{refusal}.")
            await run.done
            return None

        if self._calls.take_fault(request, ["operation-error"]) is not None:
            return self._calls.start_on(instance, request, operation_type, failing(_UNAVAILABLE))
        return self._calls.start_on(instance, request, operation_type, work)
