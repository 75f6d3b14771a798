# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM of the fleet, as all faces share it. What happens to it over time is in `gce_emulator.scenarios`."""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, Protocol

from . import default_tree, tree
from .addresses import EPHEMERAL
from .faults import Fault
from .fleet import InstanceSpec, Scheduling
from .guest_attributes import Budget
from .guest_metadata import NO_EVENT, GuestMetadata
from .scheduling import Shutdown, seconds_of
from .serial_console import SerialOutput

if TYPE_CHECKING:
    from .clock import Timer
    from .project import Project

# What happens to the machine behind an instance.
BLACKOUT_BEGINS, BLACKOUT_ENDS = "blackout begins", "blackout ends"
SHUTDOWN, POWER_OFF, BOOT = "shutdown", "power off", "boot"

SHUTDOWN_DETAILS = "instance/shutdown-details"
PREEMPTION_NOTICE = "instance/scheduling/preemption-notice-duration"


class Playing(Protocol):
    """A running scenario, as far as the state needs to know it."""

    id: str
    name: str
    signal: str
    step: str

    def end(self) -> None:
        """Stop playing; what was changed stays."""

    def to_json(self) -> dict[str, Any]:
        """The run as the control face shows it."""


class Instance(GuestMetadata):
    """One VM: its metadata, its scheduling and its power.

    `status` is RUNNING, PENDING_STOP, STOPPING or TERMINATED (a subset of the API's). `asked_directly` is true if the
    guest queried `instance/maintenance-event` itself since its last event; otherwise a migration comes without notice.
    `exists` is false after a deletion.
    """

    def __init__(self, project: Project, spec: InstanceSpec) -> None:
        super().__init__(project, spec)
        self.clock = project.clock
        self.created = project.clock.now()
        self.started = self.created
        self.stopped: datetime.datetime | None = None
        self.status = "RUNNING"
        self.boot_count = 1
        self.boot_id = str(uuid.uuid4())
        self.exists = True
        self.asked_directly = False
        # The stop in progress, if any.
        self.shutdown: Shutdown | None = None
        self.labels = dict(spec.labels)
        self._first_external_ips = self._take_external_ips()
        # Fields of the API's Scheduling that a guest does not see.
        self.more_scheduling = _more_scheduling(spec)
        # Guests ask in real time, whatever the speed of the platform's clock.
        self.guest_attribute_queries = Budget(time.monotonic)
        self._power_listeners: list[Callable[[], None]] = []
        # The blackout in progress, real seconds; 0 without one.
        self.blackout = 0.0
        self._blackout_fault = ""
        self._blackout_timer: Timer | None = None
        # Scenarios that run on it, by their id.
        self.runs: dict[str, Playing] = {}
        self._serial: dict[int, SerialOutput] = {}

    def make_tree(self) -> tree.Directory:
        root = default_tree.instance(
            self.spec, self.project.fleet, self.project.view(self.zone), self._first_external_ips
        )
        self._place_preemption_notice(root)
        return root

    @property
    def kind(self) -> str:
        return "instance"

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def id(self) -> int:
        return self.spec.id

    @property
    def zone(self) -> str:
        return self.spec.zone

    @property
    def scheduling(self) -> Scheduling:
        """The current scheduling, as the guest sees it."""
        return Scheduling(
            automatic_restart=self.get("instance/scheduling/automatic-restart") == "TRUE",
            on_host_maintenance=str(self.get("instance/scheduling/on-host-maintenance")),
            preemptible=self.get("instance/scheduling/preemptible") == "TRUE",
            provisioning_model=str(self.more_scheduling["provisioningModel"]),
        )

    def schedule(self, wanted: Mapping[str, Any]) -> None:
        """Apply a complete Scheduling resource."""
        more = dict(wanted)
        with self.changing():
            self.set("instance/scheduling/automatic-restart", more.pop("automaticRestart"))
            self.set("instance/scheduling/on-host-maintenance", more.pop("onHostMaintenance"))
            self.set("instance/scheduling/preemptible", more.pop("preemptible"))
        self.more_scheduling = more
        self._place_preemption_notice(self.root)
        self.changed(PREEMPTION_NOTICE)

    def _place_preemption_notice(self, root: tree.Directory) -> None:
        notice = seconds_of(self.more_scheduling.get("preemptionNoticeDuration"))
        if notice and self.spec.preemption_notice_shown:
            tree.write(root, PREEMPTION_NOTICE, default_tree.duration(self.spec, self.clock.real_seconds(notice)))
        else:
            tree.remove(root, PREEMPTION_NOTICE)

    def external_ip(self, interface: int) -> str | None:
        """The current external address of an interface."""
        address = self.get(_external_ip_path(interface))
        return None if address is None else str(address)

    def serial(self, port: int) -> SerialOutput:
        """The output of a serial port. The emulator logs boots to the first."""
        if port not in self._serial:
            self._serial[port] = SerialOutput()
            if port == 1:
                self._log(f"boot 1 at {self.created:%Y-%m-%dT%H:%M:%SZ}")
        return self._serial[port]

    # Power

    @property
    def is_up(self) -> bool:
        """Whether its metadata server answers."""
        return self.status in ("RUNNING", "PENDING_STOP", "STOPPING")

    def stop(self) -> None:
        """Power off at once: TERMINATED, without metadata server and ephemeral addresses."""
        self.thaw()
        self.status = "TERMINATED"
        self.stopped = self.clock.now()
        self._log(f"power off at {self.stopped:%Y-%m-%dT%H:%M:%SZ}")
        for number in self._ephemeral_interfaces():
            address = self.external_ip(number)
            if address is not None:
                self.project.external_addresses.give_back(address)
                self.remove(_external_ip_path(number))
        self._power_changed()
        self.project.machine_event(self, POWER_OFF)

    def start(self) -> None:
        """Boot: RUNNING, with the next boot count, a new boot id and no announcement."""
        with self.changing():
            self.status = "RUNNING"
            self.started = self.clock.now()
            self._boot()
            self.maintenance_event = NO_EVENT
            self.preempted = False
            host = self.project.host_of(self)
            self.upcoming_maintenance = host.window_of_guests if host is not None else None
            self.show_shutdown(None)
            self.asked_directly = False
            for number in self._ephemeral_interfaces():
                if self.external_ip(number) is None:
                    self.set(_external_ip_path(number), self.project.external_addresses.take())
        self._power_changed()
        self.project.machine_event(self, BOOT)

    def reboot(self) -> None:
        """Press the reset button: the guest boots at once; announcements stay."""
        self.thaw()
        self._boot()
        self._power_changed()
        self.project.machine_event(self, POWER_OFF)
        self.project.machine_event(self, BOOT)

    def freeze(self, seconds: float) -> None:
        """Stand still for real seconds, as in the blackout of a migration: its metadata server answers 503."""
        self.thaw()
        self.blackout = seconds
        self._blackout_fault = self.project.faults.inject(Fault("503", instance=self.name, seconds=seconds)).id
        # Whatever the speed, which the timer divides by.
        self._blackout_timer = self.clock.call_later(seconds * self.clock.speed, self.thaw)
        self.project.machine_event(self, BLACKOUT_BEGINS)

    def thaw(self) -> None:
        """End the blackout, if there is one."""
        if self._blackout_timer is None:
            return
        self._blackout_timer.cancel()
        self._blackout_timer = None
        self.project.faults.remove(self._blackout_fault)
        self.project.machine_event(self, BLACKOUT_ENDS)
        self.blackout = 0.0

    def vanish(self) -> None:
        """Power off and disappear, as after a deletion."""
        if self.is_up:
            self.stop()
        self.exists = False
        self._power_changed()

    def _boot(self) -> None:
        self.boot_count += 1
        self.boot_id = str(uuid.uuid4())
        self._log(f"boot {self.boot_count} at {self.clock.now():%Y-%m-%dT%H:%M:%SZ}")

    def _log(self, event: str) -> None:
        self.serial(1).write(f"{self.name}: {event}\n")

    def _ephemeral_interfaces(self) -> list[int]:
        interfaces = self.spec.network_interfaces
        return [number for number, each in enumerate(interfaces) if each.external_ip == EPHEMERAL]

    def _take_external_ips(self) -> list[str | None]:
        """The external address of each interface, with new ephemeral ones."""
        take = self.project.external_addresses.take
        return [take() if each.external_ip == EPHEMERAL else each.external_ip for each in self.spec.network_interfaces]

    def show_shutdown(self, shutdown: Shutdown | None) -> None:
        """Show a requested stop, or that there is none, to the API and to a guest that has `shutdown-details`."""
        self.shutdown = shutdown
        if self.find(SHUTDOWN_DETAILS) is None:
            return
        shown = default_tree.shutdown_details(self.spec, shutdown)
        with self.changing():
            for name, value in shown.items():
                tree.write(self.root, f"{SHUTDOWN_DETAILS}/{name}", value)
                self.changed(f"{SHUTDOWN_DETAILS}/{name}")

    def reset(self) -> None:
        """Go back to the fleet file's description, and wake every waiter for whom that is a change."""
        for run in list(self.runs.values()):
            run.end()
        self.thaw()
        was_up = self.is_up and self.exists
        self.exists = True
        self.labels = dict(self.spec.labels)
        self._serial.clear()
        self.status, self.boot_count, self.boot_id = "RUNNING", 1, str(uuid.uuid4())
        self.asked_directly = False
        self.shutdown = None
        self.guest_attribute_queries = Budget(time.monotonic)
        self.more_scheduling = _more_scheduling(self.spec)
        self._first_external_ips = self._take_external_ips()
        self.forget_tree()
        if not was_up:
            self._power_changed()
            self.project.machine_event(self, BOOT)
        self.changed("")

    def on_power(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each stop and start."""
        self._power_listeners.append(listener)

    def _power_changed(self) -> None:
        for listener in self._power_listeners:
            listener()


def _external_ip_path(interface: int) -> str:
    return f"instance/network-interfaces/{interface}/access-configs/0/external-ip"


def _more_scheduling(spec: InstanceSpec) -> dict[str, Any]:
    given = spec.scheduling
    shown: dict[str, Any] = {"provisioningModel": given.provisioning_model}
    if given.provisioning_model == "SPOT":
        shown["instanceTerminationAction"] = given.instance_termination_action
    if given.graceful_shutdown:
        shown["gracefulShutdown"] = {"enabled": True, "maxDuration": {"seconds": str(given.graceful_shutdown)}}
    if given.preemption_notice:
        shown["preemptionNoticeDuration"] = {"seconds": str(given.preemption_notice)}
    if spec.node_group:
        key = "compute.googleapis.com/node-group-name"
        shown["nodeAffinities"] = [{"key": key, "operator": "IN", "values": [spec.node_group]}]
    return shown
