# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the platform does to a VM over time: the named scenarios, and the maintenance that the Compute API asks for.

A scenario is a table of steps. A step does one thing to the instance and names what is waited for before the next step:
one of the scenario's options (platform seconds, divided by the clock's speed) or a moment promised to the guest.

`start(instance, name, options)` plays one; `simulate_maintenance(instance)` and `perform_maintenance(instance)` are
what the Compute API's methods of these names do. Each gives a `Run`, whose `done` is a future that ends with it.
Refusals are `Refused` (the state forbids it) and `BadOption` (the request is wrong); both texts are sentences.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import itertools
from collections.abc import Mapping
from typing import Any, Callable, Union

from . import scheduling
from .clock import Timer
from .shutdown import Shutdown
from .state import MIGRATE, NO_EVENT, TERMINATE, Instance, Playing
from .upcoming import UpcomingMaintenance


class Refused(Exception):
    """The instance's state forbids it."""


class BadOption(Exception):
    """There is no such scenario, or an option of it is wrong."""


@dataclasses.dataclass(frozen=True)
class Step:
    """`until` names an option, or is WINDOW or START; the last step's is empty."""

    name: str
    act: Callable[[Run], None]
    until: str = ""


# Moments that were promised to the guest: the announcement of the event ahead of the window, and the window's start.
WINDOW, START = "the notice of the window", "the start of the window"

Option = Union[float, bool]


@dataclasses.dataclass(frozen=True)
class Scenario:
    summary: str
    signal: str
    options: Callable[[Instance], dict[str, Option]]
    steps: Callable[[Instance, Mapping[str, Option]], tuple[Step, ...]]


class Run:
    """A scenario that is being played on an instance."""

    _numbers = itertools.count(1)

    def __init__(
        self, instance: Instance, name: str, signal: str, steps: tuple[Step, ...], options: dict[str, Option]
    ) -> None:
        self.id = str(next(self._numbers))
        self.instance = instance
        self.name = name
        self.signal = signal
        self.options = options
        self.steps = steps
        self.step = ""
        # Set by a step that leaves out the wait for the next one.
        self.at_once = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._position = 0
        self._timer: Timer | asyncio.TimerHandle | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "instance": self.instance.name,
            "step": self.step,
            "steps": [step.name for step in self.steps],
            "options": self.options,
            "speed": self.instance.clock.speed,
        }

    def seconds(self, option: str) -> float:
        return float(self.options[option])

    def play(self) -> None:
        """Do the next step, and all that follow it without a wait."""
        while True:
            step = self.steps[self._position]
            self._position += 1
            self.step = step.name
            self.at_once = False
            step.act(self)
            if self._position == len(self.steps):
                self.end()
                return
            if self.at_once:
                continue
            if step.until in (WINDOW, START):
                self._timer = self.instance.clock.call_at(self._promised(step.until), self.play)
                return
            if self.seconds(step.until) > 0:
                self._timer = self.instance.clock.call_later(self.seconds(step.until), self.play)
                return

    def skip(self) -> None:
        """Do the next step now instead of waiting for it."""
        if self._timer is not None:
            self._timer.cancel()
        self.play()

    def end(self) -> None:
        """Leave everything as it is now."""
        if self._timer is not None:
            self._timer.cancel()
        self.instance.runs.pop(self.id, None)
        if not self.done.done():
            self.done.set_result(None)

    def _promised(self, moment: str) -> datetime.datetime:
        clock, window = self.instance.clock, self.instance.upcoming_maintenance
        if window is None:
            # Somebody took the announcement back by hand; what was going to happen happens now.
            return clock.now()
        ahead = clock.real_seconds(self.seconds("notice")) if moment == WINDOW else 0.0
        return window.window_start_time - datetime.timedelta(seconds=ahead)


def start(instance: Instance, name: str, options: Mapping[str, Any] | None = None) -> Run:
    """Play a named scenario. Raises Refused and BadOption."""
    scenario = SCENARIOS.get(name)
    if scenario is None:
        raise BadOption(f"there is no scenario {name!r}; there is {', '.join(SCENARIOS)}")
    if name == "gpu-termination" and not instance.spec.accelerators:
        raise Refused(f"{instance.name} has no accelerators: give it some in the fleet file, or play host-termination")
    chosen = _options(name, scenario.options(instance), options or {})
    return _play(instance, name, scenario.signal, scenario.steps(instance, chosen), chosen)


def simulate_maintenance(instance: Instance) -> Run:
    """What `instances.simulateMaintenanceEvent` does: by the instance's policy, migrate it or stop and restart it.

    A preemptible or Spot VM is preempted, which is how Google's guide to them lets people try out a preemption.
    """
    if instance.scheduling.on_host_maintenance == "MIGRATE":
        return start(instance, "live-migration")
    name = "preemption" if instance.scheduling.preemptible else "host-termination"
    return start(instance, name, {"restart": instance.scheduling.automatic_restart})


def stop(instance: Instance, *, graceful: bool = True, target: str = "STOPPED") -> Run:
    """What `instances.stop` does, and `instances.delete` (`target` DELETED).

    A stop that is under way goes on; without `graceful`, it no longer waits for the guest.
    """
    for run in list(instance.runs.values()):
        if run.signal == "stop" and isinstance(run, Run):
            if target == "DELETED" and instance.shutdown is not None:
                instance.show_shutdown(dataclasses.replace(instance.shutdown, target=target))
            if not graceful and instance.status == "PENDING_STOP":
                run.skip()
            return run
    name = "stop" if target == "STOPPED" else "delete"
    options = SCENARIOS["stop"].options(instance)
    if not graceful:
        options["graceful"] = 0.0
    return _play(instance, name, "stop", _stop_steps(options, target), options)


def shut_down_by_guest(instance: Instance) -> None:
    """What `systemctl poweroff` in the guest does.

    It completes a stop or a preemption that is under way. Otherwise the platform records `guestTerminate`.
    """
    for run in list(instance.runs.values()):
        if run.signal in ("stop", "preempted") and isinstance(run, Run):
            while instance.is_up and not run.done.done():
                run.skip()
            return
    for run in list(instance.runs.values()):
        run.end()
    instance.project.system_event(instance, "guestTerminate")
    instance.stop()


def perform_maintenance(instance: Instance) -> Run:
    """What `instances.performMaintenance` does: begin the announced maintenance now instead of in its window."""
    window = performable_window(instance)
    for run in list(instance.runs.values()):
        if run.signal == "window":
            run.end()
    instance.upcoming_maintenance = dataclasses.replace(window, can_reschedule=False)
    migrates = instance.scheduling.on_host_maintenance == "MIGRATE"
    name = "live-migration" if migrates else "host-termination"
    options = SCENARIOS[name].options(instance)
    if not migrates:
        options["restart"] = instance.scheduling.automatic_restart
    return _play(instance, "perform-maintenance", "window", SCENARIOS[name].steps(instance, options), options)


def performable_window(instance: Instance) -> UpcomingMaintenance:
    """The announced window, if its maintenance can be begun at the customer's will; else raises Refused."""
    window = instance.upcoming_maintenance
    if window is None:
        raise Refused(f"{instance.name} has no pending maintenance")
    if window.maintenance_status != "PENDING":
        raise Refused(f"the maintenance of {instance.name} is {window.maintenance_status}, not PENDING")
    if not window.can_reschedule:
        raise Refused(f"the maintenance of {instance.name} cannot be rescheduled (canReschedule is false)")
    return window


def cancel(run: Playing) -> None:
    """Take back what the run has announced, as if the platform had changed its mind; a VM that it stopped boots."""
    run.end()
    instance = run.instance
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
            _end_event(run)


def catalogue(instance: Instance) -> dict[str, Any]:
    """Every scenario with what it does and what its options are by default on this instance."""
    return {
        name: {"summary": scenario.summary, "options": scenario.options(instance)}
        for name, scenario in SCENARIOS.items()
    }


def _play(instance: Instance, name: str, signal: str, steps: tuple[Step, ...], options: dict[str, Option]) -> Run:
    if not instance.is_up:
        raise Refused(f"{instance.name} is {instance.status}")
    for other in instance.runs.values():
        if other.signal == signal:
            raise Refused(f"{instance.name} is already in {other.name}, at the step {other.step!r}")
    run = Run(instance, name, signal, steps, options)
    instance.runs[run.id] = run
    run.play()
    return run


def _options(name: str, defaults: dict[str, Option], given: Mapping[str, Any]) -> dict[str, Option]:
    for key, value in given.items():
        if key not in defaults:
            raise BadOption(f"{name} has no option {key!r}; it has {', '.join(defaults)}")
        if isinstance(defaults[key], bool):
            if not isinstance(value, bool):
                raise BadOption(f"{name}: {key} is {value!r}; it can be true or false")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e9:
            raise BadOption(f"{name}: {key} is {value!r}; it is a number of seconds, 0 to 1e9")
    return {**defaults, **given}


# What a step does

_SYSTEM_EVENTS = {MIGRATE: "migrateOnHostMaintenance", TERMINATE: "terminateOnHostMaintenance"}


def _announce_event(event: str) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        # The notice of a migration is for those who ask for it, by a direct query since the last event.
        run.at_once = event == MIGRATE and not run.instance.asked_directly
        _show_event(run.instance, event)

    return act


def _announce_event_of_window(event: str) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        if event == TERMINATE or run.instance.asked_directly:
            _show_event(run.instance, event)

    return act


def _begin(event: str) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        instance = run.instance
        with instance.changing():
            if instance.upcoming_maintenance is not None and run.signal == "window":
                instance.upcoming_maintenance = dataclasses.replace(
                    instance.upcoming_maintenance, maintenance_status="ONGOING", can_reschedule=False
                )
            if instance.maintenance_event == NO_EVENT:
                _show_event(instance, event)
            if event == MIGRATE:
                instance.drift_clock()
        # As they are called in the list of operations, and in the audit log.
        instance.project.system_event(instance, _SYSTEM_EVENTS[event])
        if run.options.get("blackout"):
            seconds = instance.clock.real_seconds(run.seconds("blackout"))
            instance.project.faults.inject("503", instance=instance.name, seconds=seconds)

    return act


def _finish(run: Run) -> None:
    with run.instance.changing():
        window = run.instance.upcoming_maintenance
        if window is not None and window.maintenance_status == "ONGOING":
            run.instance.upcoming_maintenance = None
        _end_event(run)


def _power_off(run: Run) -> None:
    for other in list(run.instance.runs.values()):
        # Whatever else was going on ends with the VM; its boot is this run's.
        if other is not run:
            other.end()
    run.instance.stop()


def _boot(run: Run) -> None:
    run.instance.start()
    if run.instance.scheduling.automatic_restart:
        run.instance.project.system_event(run.instance, "automaticRestart")


def _announce_preemption(run: Run) -> None:
    run.instance.preempted = True


def _preempt(run: Run) -> None:
    run.instance.status = "STOPPING"
    run.instance.preempted = True
    run.instance.project.system_event(run.instance, "preempted")


def _delete_if_asked(run: Run) -> None:
    if run.instance.more_scheduling.get("instanceTerminationAction") == "DELETE":
        run.instance.project.delete(run.instance)


def _fail_host(run: Run) -> None:
    run.instance.project.system_event(run.instance, "hostError")


def _stop_state(state: str, target: str) -> Callable[[Run], None]:
    """The step in which a stop reaches PENDING_STOP or STOPPING."""

    def act(run: Run) -> None:
        instance, current = run.instance, run.instance.shutdown
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

    return act


def _power_off_for_good(run: Run) -> None:
    target = run.instance.shutdown.target if run.instance.shutdown is not None else "STOPPED"
    _power_off(run)
    if target == "DELETED":
        run.instance.project.delete(run.instance)


def _announce_window(run: Run) -> None:
    clock = run.instance.clock
    # Whole seconds, as they are shown to the guest, and never earlier than was said.
    start_time = clock.after(run.seconds("starts_in")).replace(microsecond=0)
    run.instance.upcoming_maintenance = UpcomingMaintenance(
        window_start_time=start_time,
        window_end_time=start_time + datetime.timedelta(seconds=clock.real_seconds(run.seconds("length"))),
        latest_window_start_time=start_time,
        can_reschedule=bool(run.options["can_reschedule"]),
    )


def _move_window(run: Run) -> None:
    window = run.instance.upcoming_maintenance
    if window is None:
        return
    by = datetime.timedelta(seconds=run.instance.clock.real_seconds(run.seconds("move_by")))
    run.instance.upcoming_maintenance = dataclasses.replace(
        window,
        window_start_time=window.window_start_time + by,
        window_end_time=window.window_end_time + by,
        latest_window_start_time=window.latest_window_start_time + by,
    )


def _cancel_window(run: Run) -> None:
    run.instance.upcoming_maintenance = None


def _show_event(instance: Instance, event: str) -> None:
    # On sole tenancy the value stays NONE throughout.
    if not instance.spec.sole_tenant:
        instance.maintenance_event = event


def _end_event(run: Playing) -> None:
    run.instance.asked_directly = False
    run.instance.maintenance_event = NO_EVENT


# The tables


def _migration(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    return (
        Step(f"announce {MIGRATE}", _announce_event(MIGRATE), "notice"),
        Step("migrate", _begin(MIGRATE), "migration"),
        Step("finish", _finish),
    )


def _two_migrations(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    *first, finish = _migration(instance, options)
    return (
        *first,
        dataclasses.replace(finish, until="gap"),
        *(dataclasses.replace(step, name=f"{step.name} again") for step in _migration(instance, options)),
    )


def _termination(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    return (Step(f"announce {TERMINATE}", _announce_event(TERMINATE), "notice"), *_outage(options, _begin(TERMINATE)))


def _preemption(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    announcement = (Step("announce the preemption", _announce_preemption, "ahead"),) if options["ahead"] else ()
    return (*announcement, Step("preempt", _preempt, "notice"), *_outage(options, lambda run: None, _delete_if_asked))


def _host_error(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    return _outage(options, _fail_host)


def _outage(
    options: Mapping[str, Option],
    last_moment: Callable[[Run], None],
    afterwards: Callable[[Run], None] = lambda run: None,
) -> tuple[Step, ...]:
    """`last_moment` comes before the power is off; `afterwards` follows if the VM does not boot again."""

    def act(run: Run) -> None:
        last_moment(run)
        _power_off(run)
        if not options["restart"]:
            afterwards(run)

    if not options["restart"]:
        return (Step("power off", act),)
    return (Step("power off", act, "down"), Step("boot", _boot))


def _stop_steps(options: Mapping[str, Option], target: str, until: str = "graceful") -> tuple[Step, ...]:
    announcement = (Step("announce the stop", _stop_state("PENDING_STOP", target), until),)
    return (
        *(announcement if options["graceful"] else ()),
        Step("shut down", _stop_state("STOPPING", target), "shutdown"),
        Step("power off", _power_off_for_good),
    )


def _stop(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    return _stop_steps(options, "STOPPED")


def _deletion(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    return _stop_steps(options, "DELETED")


def _cancelled_stop(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    return _stop_steps(options, "STOPPED", until="after")


def _event_in_window(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    if instance.scheduling.on_host_maintenance == "MIGRATE":
        _unused, *rest = _migration(instance, options)
        return (Step(f"announce {MIGRATE}", _announce_event_of_window(MIGRATE), START), *rest)
    _unused, *rest = _termination(instance, options)
    return (Step(f"announce {TERMINATE}", _announce_event_of_window(TERMINATE), START), *rest)


def _window(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    return (Step("announce the window", _announce_window, WINDOW), *_event_in_window(instance, options))


def _moved_window(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    return (
        Step("announce the window", _announce_window, "after"),
        Step("move the window", _move_window, WINDOW),
        *_event_in_window(instance, options),
    )


def _cancelled_window(instance: Instance, options: Mapping[str, Option]) -> tuple[Step, ...]:
    return (Step("announce the window", _announce_window, "after"), Step("cancel the window", _cancel_window))


def _migration_options(instance: Instance) -> dict[str, Option]:
    fleet = instance.project.fleet
    return {
        "notice": fleet.notice.migrate,
        "migration": fleet.durations.migration,
        "blackout": fleet.durations.blackout,
    }


def _termination_options(instance: Instance) -> dict[str, Option]:
    fleet = instance.project.fleet
    return {"notice": fleet.notice.terminate, "down": fleet.durations.down, "restart": True}


def _preemption_options(instance: Instance) -> dict[str, Option]:
    wanted = instance.more_scheduling
    return {
        **_termination_options(instance),
        "ahead": scheduling.seconds_of(wanted.get("preemptionNoticeDuration")),
        "notice": 0.0 if scheduling.skips_guest_shutdown(wanted) else instance.project.fleet.notice.preempt,
        "restart": wanted.get("instanceTerminationAction") != "DELETE",
    }


def _spot_notice_options(instance: Instance) -> dict[str, Option]:
    options = _preemption_options(instance)
    return {**options, "ahead": options["ahead"] or instance.project.fleet.notice.spot}


def _host_error_options(instance: Instance) -> dict[str, Option]:
    return {"down": instance.project.fleet.durations.down, "restart": instance.scheduling.automatic_restart}


def _stop_options(instance: Instance) -> dict[str, Option]:
    wanted = instance.more_scheduling
    return {
        "graceful": scheduling.graceful_shutdown(wanted),
        "shutdown": 0.0 if scheduling.skips_guest_shutdown(wanted) else instance.project.fleet.durations.shutdown,
    }


def _graceful_stop_options(instance: Instance) -> dict[str, Option]:
    options = _stop_options(instance)
    return {**options, "graceful": options["graceful"] or float(scheduling.GRACEFUL_DEFAULT)}


def _window_options(instance: Instance) -> dict[str, Option]:
    durations = instance.project.fleet.durations
    migrates = instance.scheduling.on_host_maintenance == "MIGRATE"
    return {
        "starts_in": durations.window_starts_in,
        "length": durations.window_length,
        "can_reschedule": True,
        **(_migration_options(instance) if migrates else _termination_options(instance)),
    }


SCENARIOS: Mapping[str, Scenario] = {
    "live-migration": Scenario(
        f"{MIGRATE} for `notice` seconds if the guest has asked for it, then for the migration, then NONE",
        "event",
        _migration_options,
        _migration,
    ),
    "host-termination": Scenario(
        f"{TERMINATE} for `notice` seconds, then the VM is off for `down` seconds and boots",
        "event",
        _termination_options,
        _termination,
    ),
    "gpu-termination": Scenario(
        "host-termination of a VM with accelerators",
        "event",
        _termination_options,
        _termination,
    ),
    "preemption": Scenario(
        "preempted is TRUE for `notice` seconds after the ACPI signal, and `ahead` seconds before it where the VM has"
        " a preemptionNoticeDuration; then the VM is off for `down` seconds and boots",
        "preempted",
        _preemption_options,
        _preemption,
    ),
    "spot-notice": Scenario(
        "preempted is TRUE `ahead` seconds before the ACPI signal, and for `notice` seconds after it;"
        " then the VM is off for `down` seconds and boots",
        "preempted",
        _spot_notice_options,
        _preemption,
    ),
    "host-error": Scenario(
        "the power fails without notice; the VM is off for `down` seconds and boots",
        "host",
        _host_error_options,
        _host_error,
    ),
    "stop": Scenario(
        "what instances.stop does: PENDING_STOP for `graceful` seconds (by default as the VM's scheduling says),"
        " STOPPING for `shutdown` seconds, then the VM is off",
        "stop",
        _stop_options,
        _stop,
    ),
    "graceful-stop": Scenario(
        "stop-state is PENDING_STOP for `graceful` seconds, STOPPING for `shutdown` seconds, then the VM is off",
        "stop",
        _graceful_stop_options,
        _stop,
    ),
    "graceful-delete": Scenario(
        "graceful-stop with the target-state DELETED; at its end the VM is deleted",
        "stop",
        _graceful_stop_options,
        _deletion,
    ),
    "graceful-stop-cancelled": Scenario(
        "graceful-stop, and after `after` seconds a second stop without grace ends the wait",
        "stop",
        lambda instance: {**_graceful_stop_options(instance), "after": 60.0},
        _cancelled_stop,
    ),
    "window-announced": Scenario(
        "upcoming-maintenance names a window; in it the VM migrates or stops, by its policy",
        "window",
        _window_options,
        _window,
    ),
    "window-moved": Scenario(
        "as window-announced, but `after` seconds the window moves by `move_by` seconds",
        "window",
        lambda instance: {**_window_options(instance), "after": 3600.0, "move_by": 86400.0},
        _moved_window,
    ),
    "window-cancelled": Scenario(
        "upcoming-maintenance names a window, and `after` seconds it is gone",
        "window",
        lambda instance: {**_window_options(instance), "after": 3600.0},
        _cancelled_window,
    ),
    "back-to-back": Scenario(
        "live-migration, and `gap` seconds after its end another one",
        "event",
        lambda instance: {**_migration_options(instance), "gap": 10.0},
        _two_migrations,
    ),
    "missed-notice": Scenario(
        f"live-migration without any notice: {MIGRATE} appears when the migration begins",
        "event",
        lambda instance: {**_migration_options(instance), "notice": 0.0},
        _migration,
    ),
}
