# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of instances about maintenance: simulate, perform, report a faulty host, setScheduling."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Callable

from ..scenarios import hosts, maintenance, runs
from ..scenarios.run_limits import RunLimits
from ..state import errors, scheduling
from ..state.errors import ApiError
from ..state.instance import Instance
from .calls import INSTANCE, Calls, failing
from .operations import OperationError
from .request import Answer, ApiRequest, Routes
from .resources import instance_path, scheduling_resource

UNAVAILABLE = OperationError(
    "MIGRATION_TEMPORARILY_UNAVAILABLE",
    "The instance cannot be migrated at this time. Try again later.",
    503,
    "SERVICE UNAVAILABLE",
)


_BEHAVIORS = (
    "BEHAVIOR_UNSPECIFIED",
    "CHIP_ERROR",
    "PERFORMANCE",
    "SILENT_DATA_CORRUPTION",
    "UNRECOVERABLE_GPU_ERROR",
)


class MaintenanceMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._limits = RunLimits(calls.project)

    def routes(self) -> Routes:
        return [
            ("POST", INSTANCE + "/simulateMaintenanceEvent", self.simulate_maintenance_event),
            ("POST", INSTANCE + "/performMaintenance", self.perform_maintenance),
            ("POST", INSTANCE + "/reportHostAsFaulty", self.report_host_as_faulty),
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
        return self._maintain(request, instance, "performMaintenance", _perform)

    async def report_host_as_faulty(self, request: ApiRequest) -> Answer:
        """Google documents it for accelerator VMs only."""
        instance = self._calls.instance_of(request)
        immediately = _is_immediate(request.read_object())
        if not instance.spec.has_accelerators:
            what = f"Cannot report the host of the resource '{instance_path(instance)}' as faulty"
            raise ApiError(400, "failedPrecondition", f"{what}: it has no accelerators.")

        def begin(target: Instance) -> runs.Run[Any]:
            return maintenance.report_faulty_host(target, immediately=immediately)

        return self._maintain(request, instance, "reportHostAsFaulty", begin, is_done_at_once=not immediately)

    async def set_scheduling(self, request: ApiRequest) -> Answer:
        """Fields of the body are changed, null resets one to its default, other fields stay."""
        instance = self._calls.instance_of(request)
        replayed = self._calls.replayed(request, "setScheduling", instance_path(instance))
        if replayed is not None:
            return replayed
        wanted = scheduling.merged(
            scheduling_resource(instance),
            request.read_object(),
            has_accelerators=instance.spec.has_accelerators,
            is_stopped=instance.status == "TERMINATED",
            now=instance.clock.now(),
        )

        async def work() -> OperationError | None:
            instance.schedule(wanted)
            self._limits.arrange(instance)
            return None

        return self._calls.start_on(instance, request, "setScheduling", work)

    def _maintain(
        self,
        request: ApiRequest,
        instance: Instance,
        operation_type: str,
        begin: Callable[[Instance], runs.Run[Any]],
        *,
        is_done_at_once: bool = False,
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
                return dataclasses.replace(UNAVAILABLE, message=f"{refusal}.")
            if not is_done_at_once:
                await run.done
            return None

        if self._calls.take_fault(request, ["operation-error"]) is not None:
            return self._calls.start_on(instance, request, operation_type, failing(UNAVAILABLE))
        return self._calls.start_on(instance, request, operation_type, work)


def _perform(instance: Instance) -> runs.Run[Any]:
    """Perform the maintenance of the VM, or of its host if that has the window."""
    host = instance.project.host_of(instance)
    if host is not None and host.upcoming_maintenance is not None:
        return hosts.perform_maintenance([host])[0]
    return maintenance.perform_maintenance(instance)


def _is_immediate(body: Mapping[str, Any]) -> bool:
    """Read an InstancesReportHostAsFaultyRequest. Raises ApiError."""
    schedule, reasons = body.get("disruptionSchedule"), body.get("faultReasons")
    if schedule not in ("IMMEDIATE", "FUTURE"):
        raise errors.invalid("disruptionSchedule", str(schedule or ""), "Must be one of IMMEDIATE, FUTURE.")
    if not isinstance(reasons, list) or not reasons:
        raise errors.invalid("faultReasons", str(reasons or ""), "Must have at least one reason.")
    for number, reason in enumerate(reasons):
        behavior = reason.get("behavior") if isinstance(reason, Mapping) else reason
        if behavior not in _BEHAVIORS:
            why = f"Must be one of {', '.join(_BEHAVIORS)}."
            raise errors.invalid(f"faultReasons[{number}].behavior", str(behavior or ""), why)
    return bool(schedule == "IMMEDIATE")
