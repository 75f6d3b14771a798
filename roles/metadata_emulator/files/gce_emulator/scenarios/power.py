# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power of a VM: stops and deletions, preemptions, host errors, and the outage that ends a host's maintenance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Callable

from ..state import scheduling
from ..state.instance import SHUTDOWN, Instance
from ..state.scheduling import Shutdown
from .runs import Option, Run, Script, Step, end_runs, play

InstanceRun = Run[Instance]
InstanceStep = Step[Instance]


def stop(instance: Instance, *, graceful: bool = True, target: str = "STOPPED") -> InstanceRun:
    """What `instances.stop` does, and `instances.delete` (`target` DELETED). Raises Refused.

    A stop that is under way goes on; without `graceful`, it no longer waits for the guest.
    """
    for run in list(instance.runs.values()):
        if run.signal == "stop" and isinstance(run, Run):
            if target == "DELETED" and instance.shutdown is not None:
                instance.show_shutdown(dataclasses.replace(instance.shutdown, target=target))
            if not graceful and instance.status == "PENDING_STOP":
                run.skip()
            return run
    options = stop_options(instance)
    if not graceful:
        options["graceful"] = 0.0
    name = "stop" if target == "STOPPED" else "delete"
    return play(instance, Script(name, "stop", stop_steps(options, target), options))


def shut_down_by_guest(instance: Instance) -> None:
    """What `systemctl poweroff` in the guest does.

    It completes a stop or a preemption that is under way. Otherwise the platform records `guestTerminate`.
    """
    for run in list(instance.runs.values()):
        if run.signal in ("stop", "preempted") and isinstance(run, Run):
            while instance.is_up and not run.done.done():
                run.skip()
            return
    end_runs(instance)
    instance.project.system_event(instance, "guestTerminate")
    instance.stop()


# Stops


def stop_options(instance: Instance) -> dict[str, Option]:
    wanted = instance.more_scheduling
    return {
        "graceful": scheduling.graceful_shutdown(wanted),
        "shutdown": 0.0 if scheduling.skips_guest_shutdown(wanted) else instance.project.fleet.durations.shutdown,
    }


def graceful_stop_options(instance: Instance) -> dict[str, Option]:
    options = stop_options(instance)
    return {**options, "graceful": options["graceful"] or float(scheduling.GRACEFUL_DEFAULT)}


def stop_steps(options: Mapping[str, Option], target: str, until: str = "graceful") -> tuple[InstanceStep, ...]:
    """`until` is the option that says when the guest's time is over."""
    announcement = (Step("announce the stop", _stop_state("PENDING_STOP", target), until),)
    return (
        *(announcement if options["graceful"] else ()),
        Step("shut down", _stop_state("STOPPING", target), "shutdown"),
        Step("power off", _power_off_for_good),
    )


def _stop_state(state: str, target: str) -> Callable[[InstanceRun], None]:
    """The step in which a stop reaches PENDING_STOP or STOPPING."""

    def act(run: InstanceRun) -> None:
        instance, current = run.target, run.target.shutdown
        instance.status = state
        instance.show_shutdown(
            Shutdown(
                state,
                # A deletion may have followed the stop.
                target if current is None else current.target,
                instance.clock.now() if current is None else current.requested_at,
                instance.clock.real_seconds(run.seconds("graceful")),
            )
        )
        if state == "STOPPING":
            _send_shutdown(run, "shutdown")

    return act


def _power_off_for_good(run: InstanceRun) -> None:
    target = run.target.shutdown.target if run.target.shutdown is not None else "STOPPED"
    power_off(run)
    if target == "DELETED":
        run.target.project.delete(run.target)


# Preemptions


def preemption_options(instance: Instance) -> dict[str, Option]:
    wanted, fleet = instance.more_scheduling, instance.project.fleet
    return {
        "ahead": scheduling.seconds_of(wanted.get("preemptionNoticeDuration")),
        "notice": 0.0 if scheduling.skips_guest_shutdown(wanted) else fleet.notice.preempt,
        "down": fleet.durations.down,
        "restart": wanted.get("instanceTerminationAction") != "DELETE",
    }


def spot_notice_options(instance: Instance) -> dict[str, Option]:
    options = preemption_options(instance)
    return {**options, "ahead": options["ahead"] or instance.project.fleet.notice.spot}


def preemption_steps(instance: Instance, options: Mapping[str, Option]) -> tuple[InstanceStep, ...]:
    announcement = (Step("announce the preemption", _announce_preemption, "ahead"),)
    return (
        *(announcement if options["ahead"] else ()),
        Step("preempt", _preempt, "notice"),
        *outage_steps(options, lambda run: None, _delete_if_configured),
    )


def _announce_preemption(run: InstanceRun) -> None:
    run.target.preempted = True


def _preempt(run: InstanceRun) -> None:
    run.target.status = "STOPPING"
    run.target.preempted = True
    run.target.project.system_event(run.target, "preempted")
    _send_shutdown(run, "notice")


def _send_shutdown(run: InstanceRun, time: str) -> None:
    """Send the ACPI signal, unless the guest has no time to shut down."""
    if run.seconds(time) > 0:
        run.target.project.machine_event(run.target, SHUTDOWN)


def _delete_if_configured(run: InstanceRun) -> None:
    if run.target.more_scheduling.get("instanceTerminationAction") == "DELETE":
        run.target.project.delete(run.target)


# Outages


def host_error_options(instance: Instance) -> dict[str, Option]:
    return {"down": instance.project.fleet.durations.down, "restart": instance.scheduling.automatic_restart}


def host_error_steps(instance: Instance, options: Mapping[str, Option]) -> tuple[InstanceStep, ...]:
    return outage_steps(options, lambda run: run.target.project.system_event(run.target, "hostError"))


def outage_steps(
    options: Mapping[str, Option],
    before: Callable[[InstanceRun], None],
    after: Callable[[InstanceRun], None] = lambda run: None,
) -> tuple[InstanceStep, ...]:
    """`before` is called before the power is off, `after` once it is, if the VM does not boot again."""

    def act(run: InstanceRun) -> None:
        before(run)
        power_off(run)
        if not options["restart"]:
            after(run)

    if not options["restart"]:
        return (Step("power off", act),)
    return (Step("power off", act, "down"), Step("boot", _boot))


def power_off(run: InstanceRun) -> None:
    """End all other runs, and turn the VM off."""
    for other in list(run.target.runs.values()):
        if other is not run:
            other.end()
    run.target.stop()


def _boot(run: InstanceRun) -> None:
    run.target.start()
    if run.target.scheduling.automatic_restart:
        run.target.project.system_event(run.target, "automaticRestart")
