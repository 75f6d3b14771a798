# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenarios that the control face plays on an instance, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Callable

from ..state.guest_metadata import MIGRATE, TERMINATE
from ..state.instance import Instance
from . import maintenance, power
from .power import InstanceRun, InstanceStep
from .runs import BadOption, Option, Refused, Script, check_options, play


@dataclasses.dataclass(frozen=True)
class Scenario:
    """`options` has the defaults for an instance, platform seconds or booleans."""

    summary: str
    signal: str
    options: Callable[[Instance], dict[str, Option]]
    steps: Callable[[Instance, Mapping[str, Option]], tuple[InstanceStep, ...]]


def start(instance: Instance, name: str, options: Mapping[str, Any] | None = None) -> InstanceRun:
    """Play a scenario. Raises Refused and BadOption."""
    scenario = SCENARIOS.get(name)
    if scenario is None:
        raise BadOption(f"there is no scenario {name!r}; there is {', '.join(SCENARIOS)}")
    if name == "gpu-termination" and not instance.spec.has_accelerators:
        raise Refused(f"{instance.name} has no accelerators: add some in the fleet file, or play host-termination")
    chosen = check_options(name, scenario.options(instance), options or {})
    return play(instance, Script(name, scenario.signal, scenario.steps(instance, chosen), chosen))


def describe(instance: Instance) -> dict[str, Any]:
    """The summary of every scenario, and its default options for this instance."""
    return {
        name: {"summary": scenario.summary, "options": scenario.options(instance)}
        for name, scenario in SCENARIOS.items()
    }


SCENARIOS: Mapping[str, Scenario] = {
    "live-migration": Scenario(
        f"{MIGRATE} for `notice` seconds if the guest queried the key since its last event, and during the migration",
        "event",
        maintenance.migration_options,
        maintenance.migration_steps,
    ),
    "host-termination": Scenario(
        f"{TERMINATE} for `notice` seconds, then the VM is off for `down` seconds and boots",
        "event",
        maintenance.termination_options,
        maintenance.termination_steps,
    ),
    "gpu-termination": Scenario(
        "host-termination of a VM with accelerators",
        "event",
        maintenance.termination_options,
        maintenance.termination_steps,
    ),
    "preemption": Scenario(
        "preempted is TRUE for `notice` seconds after the ACPI signal, and `ahead` seconds before it where the VM has"
        " a preemptionNoticeDuration; then the VM is off for `down` seconds and boots",
        "preempted",
        power.preemption_options,
        power.preemption_steps,
    ),
    "spot-notice": Scenario(
        "preempted is TRUE `ahead` seconds before the ACPI signal, and for `notice` seconds after it;"
        " then the VM is off for `down` seconds and boots",
        "preempted",
        power.spot_notice_options,
        power.preemption_steps,
    ),
    "host-error": Scenario(
        "the power fails without notice; the VM is off for `down` seconds and boots",
        "host",
        power.host_error_options,
        power.host_error_steps,
    ),
    "stop": Scenario(
        "what instances.stop does: PENDING_STOP for `graceful` seconds (by default as the VM's scheduling says),"
        " STOPPING for `shutdown` seconds, then the VM is off",
        "stop",
        power.stop_options,
        lambda instance, options: power.stop_steps(options, "STOPPED"),
    ),
    "graceful-stop": Scenario(
        "stop-state is PENDING_STOP for `graceful` seconds, STOPPING for `shutdown` seconds, then the VM is off",
        "stop",
        power.graceful_stop_options,
        lambda instance, options: power.stop_steps(options, "STOPPED"),
    ),
    "graceful-delete": Scenario(
        "graceful-stop with the target-state DELETED; at its end the VM is deleted",
        "stop",
        power.graceful_stop_options,
        lambda instance, options: power.stop_steps(options, "DELETED"),
    ),
    "graceful-stop-cancelled": Scenario(
        "graceful-stop, but after `after` seconds a second stop ends the wait for the guest",
        "stop",
        lambda instance: {**power.graceful_stop_options(instance), "after": 60.0},
        lambda instance, options: power.stop_steps(options, "STOPPED", until="after"),
    ),
    "window-announced": Scenario(
        "upcoming-maintenance shows a window, in which the VM migrates or stops, by its policy",
        "window",
        maintenance.window_options,
        maintenance.window_steps,
    ),
    "window-moved": Scenario(
        "window-announced, but after `after` seconds the window moves by `move_by` seconds",
        "window",
        lambda instance: {**maintenance.window_options(instance), "after": 3600.0, "move_by": 86400.0},
        maintenance.moved_window_steps,
    ),
    "window-cancelled": Scenario(
        "upcoming-maintenance shows a window, which is cancelled after `after` seconds",
        "window",
        lambda instance: {**maintenance.window_options(instance), "after": 3600.0},
        maintenance.cancelled_window_steps,
    ),
    "back-to-back": Scenario(
        "live-migration, and another one `gap` seconds after its end",
        "event",
        lambda instance: {**maintenance.migration_options(instance), "gap": 10.0},
        maintenance.two_migrations_steps,
    ),
    "missed-notice": Scenario(
        f"live-migration without notice: {MIGRATE} appears when the migration begins",
        "event",
        lambda instance: {**maintenance.migration_options(instance), "notice": 0.0},
        maintenance.migration_steps,
    ),
}
