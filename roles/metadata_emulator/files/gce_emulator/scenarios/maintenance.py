# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host maintenance of a VM: migrations, terminations and announced windows."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Callable

from ..state.guest_metadata import MIGRATE, NO_EVENT, TERMINATE
from ..state.instance import Instance, Playing
from ..state.upcoming import UpcomingMaintenance
from .power import InstanceRun, InstanceStep, outage_steps, preemption_options, preemption_steps
from .runs import START, WINDOW, Option, Refused, Script, Step, Target, end_runs, play

# operationType in the list of operations, and methodName in the audit log.
_SYSTEM_EVENTS = {MIGRATE: "migrateOnHostMaintenance", TERMINATE: "terminateOnHostMaintenance"}


def simulate_maintenance(instance: Instance) -> InstanceRun:
    """What `instances.simulateMaintenanceEvent` does: migrate, or stop and restart, by the VM's policy. Raises Refused.

    A preemptible or Spot VM is preempted, as Google's guide to them describes it.
    """
    if migrates(instance):
        options = migration_options(instance)
        return play(instance, Script("live-migration", "event", migration_steps(instance, options), options))
    if instance.scheduling.preemptible:
        options = {**preemption_options(instance), "restart": False}
        return play(instance, Script("preemption", "preempted", preemption_steps(instance, options), options))
    options = _event_options(instance)
    return play(instance, Script("host-termination", "event", termination_steps(instance, options), options))


def perform_maintenance(instance: Instance) -> InstanceRun:
    """What `instances.performMaintenance` does: begin the announced maintenance before its window. Raises Refused."""
    window = performable_window(instance)
    end_runs(instance, "window")
    instance.upcoming_maintenance = dataclasses.replace(window, can_reschedule=False)
    options = _event_options(instance)
    steps = migration_steps if migrates(instance) else termination_steps
    return play(instance, Script("perform-maintenance", "window", steps(instance, options), options))


def performable_window(target: Target) -> UpcomingMaintenance:
    """The announced window, if the customer may begin its maintenance. Raises Refused."""
    window = target.upcoming_maintenance
    if window is None:
        raise Refused(f"{target.name} has no pending maintenance")
    if window.maintenance_status != "PENDING":
        raise Refused(f"the maintenance of {target.name} is {window.maintenance_status}, not PENDING")
    if not window.can_reschedule:
        raise Refused(f"the maintenance of {target.name} cannot be rescheduled (canReschedule is false)")
    return window


def maintain(instance: Instance) -> InstanceRun:
    """Have the VM migrate, or stop and restart, as a part of the maintenance of its host. Raises Refused."""
    options = _event_options(instance)
    steps = migration_steps if migrates(instance) else termination_steps
    return play(instance, Script("host-maintenance", "window", steps(instance, options), options))


def begin_in_window(instance: Instance, host: Target) -> InstanceRun:
    """Have the VM maintained in the window of its host. Raises Refused."""
    options = _event_options(instance)
    waiting: InstanceStep = Step("wait for the host's window", lambda run: None, WINDOW)
    steps = (waiting, *event_in_window_steps(instance, options))
    return play(instance, Script("host-maintenance", "window", steps, options), host)


def report_faulty_host(instance: Instance, *, immediately: bool) -> InstanceRun:
    """What `instances.reportHostAsFaulty` does. Raises Refused.

    `immediately`, the VM is stopped without notice and boots on another host. Otherwise a window is announced, whose
    maintenance the customer can begin.
    """
    options = window_options(instance)
    options["restart"] = instance.scheduling.automatic_restart
    if immediately:
        return play(instance, Script("report-host-as-faulty", "host", outage_steps(options, _terminate), options))
    steps = (Step("announce the window", _announce_repair, WINDOW), *event_in_window_steps(instance, options))
    return play(instance, Script("report-host-as-faulty", "window", steps, options))


def withdraw(instance: Instance, run: Playing) -> None:
    """End a run and take back its announcement, as if the platform had changed its mind; a stopped VM boots."""
    run.end()
    instance.thaw()
    if not instance.is_up:
        instance.start()
        return
    with instance.changing():
        if run.signal in ("preempted", "stop"):
            instance.status = "RUNNING"
        if run.signal == "preempted":
            instance.preempted = False
        if run.signal == "stop":
            instance.show_shutdown(None)
        if run.signal == "window":
            instance.upcoming_maintenance = None
        if run.signal in ("event", "window"):
            _end_event(instance)


def migrates(instance: Instance) -> bool:
    """Whether the VM's policy is to migrate."""
    return instance.scheduling.on_host_maintenance == "MIGRATE"


# Options


def migration_options(instance: Instance) -> dict[str, Option]:
    fleet = instance.project.fleet
    return {
        "notice": fleet.notice.migrate,
        "migration": fleet.durations.migration,
        "blackout": fleet.durations.blackout,
    }


def termination_options(instance: Instance) -> dict[str, Option]:
    fleet = instance.project.fleet
    return {"notice": fleet.notice.terminate, "down": fleet.durations.down, "restart": True}


def window_options(instance: Instance) -> dict[str, Option]:
    durations = instance.project.fleet.durations
    return {
        "starts_in": durations.window_starts_in,
        "length": durations.window_length,
        "can_reschedule": True,
        **(migration_options(instance) if migrates(instance) else termination_options(instance)),
    }


def _event_options(instance: Instance) -> dict[str, Option]:
    if migrates(instance):
        return migration_options(instance)
    return {**termination_options(instance), "restart": instance.scheduling.automatic_restart}


# Tables of steps


def migration_steps(instance: Instance, options: Mapping[str, Option]) -> tuple[InstanceStep, ...]:
    return (
        Step(f"announce {MIGRATE}", _announce_event(MIGRATE), "notice"),
        Step("migrate", _begin(MIGRATE), "migration"),
        Step("finish", _finish),
    )


def two_migrations_steps(instance: Instance, options: Mapping[str, Option]) -> tuple[InstanceStep, ...]:
    *first, finish = migration_steps(instance, options)
    return (
        *first,
        dataclasses.replace(finish, until="gap"),
        *(dataclasses.replace(step, name=f"{step.name} again") for step in migration_steps(instance, options)),
    )


def termination_steps(instance: Instance, options: Mapping[str, Option]) -> tuple[InstanceStep, ...]:
    announcement: InstanceStep = Step(f"announce {TERMINATE}", _announce_event(TERMINATE), "notice")
    return (announcement, *outage_steps(options, _begin(TERMINATE)))


def window_steps(instance: Instance, options: Mapping[str, Option]) -> tuple[InstanceStep, ...]:
    return (Step("announce the window", _announce_window, WINDOW), *event_in_window_steps(instance, options))


def moved_window_steps(instance: Instance, options: Mapping[str, Option]) -> tuple[InstanceStep, ...]:
    return (
        Step("announce the window", _announce_window, "after"),
        Step("move the window", _move_window, WINDOW),
        *event_in_window_steps(instance, options),
    )


def cancelled_window_steps(instance: Instance, options: Mapping[str, Option]) -> tuple[InstanceStep, ...]:
    return (Step("announce the window", _announce_window, "after"), Step("cancel the window", _cancel_window))


def event_in_window_steps(instance: Instance, options: Mapping[str, Option]) -> tuple[InstanceStep, ...]:
    event = MIGRATE if migrates(instance) else TERMINATE
    steps = migration_steps if event == MIGRATE else termination_steps
    return (Step(f"announce {event}", _announce_event_of_window(event), START), *steps(instance, options)[1:])


# What a step does


def _announce_event(event: str) -> Callable[[InstanceRun], None]:
    def act(run: InstanceRun) -> None:
        # Only a guest that queried the key directly since its last event gets the notice of a migration.
        run.at_once = event == MIGRATE and not run.target.asked_directly
        _show_event(run.target, event)

    return act


def _announce_event_of_window(event: str) -> Callable[[InstanceRun], None]:
    def act(run: InstanceRun) -> None:
        if event == TERMINATE or run.target.asked_directly:
            _show_event(run.target, event)

    return act


def _begin(event: str) -> Callable[[InstanceRun], None]:
    def act(run: InstanceRun) -> None:
        instance = run.target
        with instance.changing():
            if instance.upcoming_maintenance is not None and run.signal == "window":
                instance.upcoming_maintenance = instance.upcoming_maintenance.ongoing()
            if instance.maintenance_event == NO_EVENT:
                _show_event(instance, event)
            if event == MIGRATE:
                instance.drift_clock()
        instance.project.system_event(instance, _SYSTEM_EVENTS[event])
        if run.options.get("blackout"):
            instance.freeze(instance.clock.real_seconds(run.seconds("blackout")))

    return act


def _finish(run: InstanceRun) -> None:
    with run.target.changing():
        window = run.target.upcoming_maintenance
        if window is not None and window.maintenance_status == "ONGOING":
            run.target.upcoming_maintenance = None
        _end_event(run.target)


def _announce_window(run: InstanceRun) -> None:
    run.target.upcoming_maintenance = UpcomingMaintenance.after(
        run.target.clock, run.seconds("starts_in"), run.seconds("length"), bool(run.options["can_reschedule"])
    )


def _announce_repair(run: InstanceRun) -> None:
    _announce_window(run)
    window = run.target.upcoming_maintenance
    if window is not None:
        run.target.upcoming_maintenance = dataclasses.replace(
            window, type="UNSCHEDULED", maintenance_reasons=("FAILURE_CUSTOMER_REPORTED",)
        )


def _terminate(run: InstanceRun) -> None:
    run.target.project.system_event(run.target, _SYSTEM_EVENTS[TERMINATE])


def _move_window(run: InstanceRun) -> None:
    window, clock = run.target.upcoming_maintenance, run.target.clock
    if window is not None:
        by = datetime.timedelta(seconds=clock.real_seconds(run.seconds("move_by")))
        run.target.upcoming_maintenance = window.moved(by)


def _cancel_window(run: InstanceRun) -> None:
    run.target.upcoming_maintenance = None


def _show_event(instance: Instance, event: str) -> None:
    # Sole-tenant VMs keep NONE.
    if not instance.spec.sole_tenant:
        instance.maintenance_event = event


def _end_event(instance: Instance) -> None:
    instance.asked_directly = False
    instance.maintenance_event = NO_EVENT
