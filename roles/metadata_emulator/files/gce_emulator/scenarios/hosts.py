# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host maintenance of nodes and of reserved hosts, which reaches the VMs on them."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ..state.hosts import Host
from ..state.instance import Instance, Playing
from ..state.upcoming import UpcomingMaintenance
from . import maintenance
from .maintenance import performable_window
from .runs import MEMBERS, START, BadOption, Option, Refused, Run, Script, Step, check_options, play

HostRun = Run[Host]
HostStep = Step[Host]


@dataclasses.dataclass(frozen=True)
class HostScenario:
    """`options` has the defaults for a host, platform seconds or booleans."""

    summary: str
    options: Callable[[Host], dict[str, Option]]
    steps: Callable[[Host], tuple[HostStep, ...]]


def start_on_hosts(hosts: Iterable[Host], name: str, options: Mapping[str, Any] | None = None) -> list[HostRun]:
    """Play a scenario on each host. Raises Refused and BadOption, before anything has begun."""
    scenario = HOST_SCENARIOS.get(name)
    if scenario is None:
        raise BadOption(f"there is no scenario {name!r} for hosts; there is {', '.join(HOST_SCENARIOS)}")
    targets = list(hosts)
    chosen = [check_options(name, scenario.options(host), options or {}) for host in targets]
    for host in targets:
        _refuse_second_run(host)
    return [play(host, Script(name, "window", scenario.steps(host), each)) for host, each in zip(targets, chosen)]


def describe(host: Host) -> dict[str, Any]:
    """The summary of every scenario, and its default options for this host."""
    return {
        name: {"summary": scenario.summary, "options": scenario.options(host)}
        for name, scenario in HOST_SCENARIOS.items()
    }


def simulate_maintenance(hosts: Iterable[Host]) -> list[HostRun]:
    """What `nodeGroups.simulateMaintenanceEvent` does. Raises Refused."""
    return start_on_hosts(hosts, "host-maintenance")


def perform_maintenance(hosts: Iterable[Host], start_time: datetime.datetime | None = None) -> list[HostRun]:
    """Begin announced maintenance now, or at `start_time`. Raises Refused, before anything has begun."""
    targets = [(host, performable_window(host)) for host in hosts]
    runs = []
    for host, window in targets:
        _end(host)
        moved = window if start_time is None else window.moved(start_time - window.window_start_time)
        host.upcoming_maintenance = dataclasses.replace(moved, can_reschedule=False)
        maintain = _maintain(host, _begin_now if start_time is None else _begin)
        steps = maintain if start_time is None else (Step("wait for the start", _prepare, START), *maintain)
        runs.append(play(host, Script("perform-maintenance", "window", steps, _event_options(host))))
    return runs


def withdraw(host: Host) -> None:
    """End the host's runs and take back the announcement, on its VMs as well."""
    for run in list(host.runs.values()):
        members = run.members if isinstance(run, Run) else []
        run.end()
        for member in members:
            if not member.done.done():
                maintenance.withdraw(member.target, member)
    host.upcoming_maintenance = None


def _refuse_second_run(host: Host) -> None:
    for run in host.runs.values():
        raise Refused(f"{host.name} is already in {run.name}, at the step {run.step!r}")


def _end(host: Host) -> None:
    for run in list(host.runs.values()):
        for member in run.members if isinstance(run, Run) else []:
            member.end()
        run.end()


# Options


def _event_options(host: Host) -> dict[str, Option]:
    return {"maintenance": host.project.fleet.durations.down}


def _window_options(host: Host) -> dict[str, Option]:
    durations = host.project.fleet.durations
    return {
        "starts_in": durations.window_starts_in,
        "length": durations.window_length,
        "can_reschedule": True,
        **_event_options(host),
    }


# Steps


def _window_steps(host: Host) -> tuple[HostStep, ...]:
    return (Step("announce the window", _announce_and_prepare, START), *_maintain(host, _begin))


def _moved_window_steps(host: Host) -> tuple[HostStep, ...]:
    return (
        Step("announce the window", _announce, "after"),
        Step("move the window", _move_and_prepare, START),
        *_maintain(host, _begin),
    )


def _cancelled_window_steps(host: Host) -> tuple[HostStep, ...]:
    return (Step("announce the window", _announce, "after"), Step("cancel the window", _finish))


def _maintain(host: Host, begin: Callable[[HostRun], None]) -> tuple[HostStep, ...]:
    return (
        Step("maintain the host", begin, MEMBERS if host.instances else "maintenance"),
        Step("finish", _finish),
    )


def _announce(run: HostRun) -> None:
    run.target.upcoming_maintenance = UpcomingMaintenance.after(
        run.target.clock, run.seconds("starts_in"), run.seconds("length"), bool(run.options["can_reschedule"])
    )


def _announce_and_prepare(run: HostRun) -> None:
    _announce(run)
    _prepare(run)


def _move_and_prepare(run: HostRun) -> None:
    host = run.target
    if host.upcoming_maintenance is not None:
        by = datetime.timedelta(seconds=host.clock.real_seconds(run.seconds("move_by")))
        host.upcoming_maintenance = host.upcoming_maintenance.moved(by)
    _prepare(run)


def _prepare(run: HostRun) -> None:
    """Give each VM the notice that its policy has, before the window."""
    _add_members(run, lambda instance: maintenance.begin_in_window(instance, run.target))


def _begin(run: HostRun) -> None:
    # A VM that booted since the announcement is not a member yet. Its notice is over.
    _prepare(run)
    run.target.begin()


def _begin_now(run: HostRun) -> None:
    run.target.begin()
    _add_members(run, maintenance.maintain)


def _finish(run: HostRun) -> None:
    run.target.upcoming_maintenance = None


def _add_members(run: HostRun, begin: Callable[[Instance], Run[Instance]]) -> None:
    for instance in run.target.instances:
        is_member = any(member.target is instance and not member.done.done() for member in run.members)
        # Whatever else happens to a VM goes on.
        if instance.is_up and not is_member and not _has_event(instance.runs.values()):
            run.members.append(begin(instance))


def _has_event(runs: Iterable[Playing]) -> bool:
    return any(run.signal in ("event", "window", "host", "stop", "preempted") for run in runs)


HOST_SCENARIOS: Mapping[str, HostScenario] = {
    "host-maintenance": HostScenario(
        "the VMs on the host migrate or stop now, by their policies; a host without VMs takes `maintenance` seconds",
        _event_options,
        lambda host: _maintain(host, _begin_now),
    ),
    "window-announced": HostScenario(
        "the host has a window, in which its VMs migrate or stop, by their policies",
        _window_options,
        _window_steps,
    ),
    "window-moved": HostScenario(
        "window-announced, but after `after` seconds the window moves by `move_by` seconds",
        lambda host: {**_window_options(host), "after": 3600.0, "move_by": 86400.0},
        _moved_window_steps,
    ),
    "window-cancelled": HostScenario(
        "the host has a window, which is cancelled after `after` seconds",
        lambda host: {**_window_options(host), "after": 3600.0},
        _cancelled_window_steps,
    ),
}
