# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's live state, held once for all faces.

A `Project` has `instances`, a `clock`, a `journal`, `faults` and the project's metadata. An `Instance` has the facts of
its `spec`, a power state (`status`, `boot_count`), and its metadata tree (`root`), which is the single place where
everything is kept that a guest can read: attributes, scheduling, the maintenance event, the announced window, guest
attributes. The properties of this module read and write that tree, so what one face changes the other shows at once.

Paths are as below `/computeMetadata/v1/`: `instance/maintenance-event`, `instance/attributes/foo`,
`project/attributes/foo`. All of it runs in one event loop; nothing here waits. Whoever wants to hear of changes calls
`Instance.on_change`.
What the platform does by itself over time (a maintenance event, a preemption) is in `scenarios.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Protocol

from . import default_tree, tree
from .addresses import EPHEMERAL, ExternalAddresses
from .clock import Clock
from .faults import Faults
from .fleet import Disk, Fleet, InstanceSpec, Scheduling
from .guest_attributes import Budget
from .journal import Journal
from .propagation import CustomMetadata
from .scheduling import seconds_of
from .serial_console import SerialOutput
from .shutdown import Shutdown
from .upcoming import UpcomingMaintenance

MAINTENANCE_EVENT = "instance/maintenance-event"
UPCOMING_MAINTENANCE = "instance/upcoming-maintenance"
PREEMPTED = "instance/preempted"
DRIFT_TOKEN = "instance/virtual-clock/drift-token"
ATTRIBUTES = "instance/attributes"
GUEST_ATTRIBUTES = "instance/guest-attributes"
PROJECT_ATTRIBUTES = "project/attributes"
SHUTDOWN_DETAILS = "instance/shutdown-details"
PREEMPTION_NOTICE = "instance/scheduling/preemption-notice-duration"
TAGS = "instance/tags"

MIGRATE, TERMINATE, NO_EVENT = "MIGRATE_ON_HOST_MAINTENANCE", "TERMINATE_ON_HOST_MAINTENANCE", "NONE"


class BadValue(Exception):
    """A value or a path that cannot be set; the text is a sentence."""


class Project:
    """`Project(fleet, clock)`; `instances` by name, in the order of the fleet file, without those that were deleted."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self.fleet = fleet
        self.clock = clock
        self.name = fleet.project
        self.number = fleet.numeric_project_id
        self.journal = Journal()
        self.faults = Faults(clock)
        self.created = clock.now()
        self._event_listeners: list[Callable[[Instance, str], None]] = []
        self._reset_listeners: list[Callable[[], None]] = []
        self.tree = default_tree.project(fleet)
        self._root = tree.directory({"project": self.tree})
        self.metadata = CustomMetadata(clock, self._seen_attributes, self._show_attributes)
        # Of each zone: its metadata as the guests see it and as the API has it, and its guests' project/.
        self._zonal_attributes: dict[str, Mapping[str, str]] = dict(fleet.zonal_attributes)
        self._zonal_metadata: dict[str, CustomMetadata] = {}
        self._views: dict[str, tree.Directory] = {}
        self.external_addresses = ExternalAddresses(
            interface.external_ip
            for spec in fleet.instances
            for interface in spec.network_interfaces
            if interface.external_ip not in (None, EPHEMERAL)
        )
        # Those of the fleet file, and those of them that are not deleted.
        self._all_instances = {spec.name: Instance(self, spec) for spec in fleet.instances}
        self.instances = dict(self._all_instances)
        self._zones = sorted({spec.zone for spec in fleet.instances})

    def on_system_event(self, listener: Callable[[Instance, str], None]) -> None:
        """Have `listener` called with what the platform does to an instance: `migrateOnHostMaintenance`, …"""
        self._event_listeners.append(listener)

    def system_event(self, instance: Instance, event: str) -> None:
        for listener in self._event_listeners:
            listener(instance, event)

    def zones(self) -> list[str]:
        """Zones of the fleet file's instances, sorted."""
        return list(self._zones)

    def in_zone(self, zone: str) -> list[Instance]:
        """Instances of a zone, sorted by name."""
        return sorted((each for each in self.instances.values() if each.zone == zone), key=lambda each: each.name)

    def find(self, zone: str, name_or_id: str) -> Instance | None:
        """As in a URL of the Compute API; None when there is none."""
        instance = self.instances.get(name_or_id)
        if instance is None and name_or_id.isdigit():
            instance = next((each for each in self.instances.values() if str(each.id) == name_or_id), None)
        return instance if instance is not None and instance.zone == zone else None

    def delete(self, instance: Instance) -> None:
        """Have it go, and its metadata server with it, until everything is reset."""
        for run in list(instance.runs.values()):
            run.end()
        self.instances.pop(instance.name, None)
        instance.vanish()

    def disks(self) -> list[AttachedDisk]:
        """The persistent disks, in the order of the fleet file. Only the boot disk goes with a deleted VM."""
        return [
            AttachedDisk(instance, disk)
            for instance in self._all_instances.values()
            for disk in instance.spec.disks
            if not disk.is_local and (instance.exists or not disk.boot)
        ]

    @property
    def attributes(self) -> dict[str, str]:
        """A copy of the project's custom metadata, as the API has it."""
        return self.metadata.attributes

    def zonal_metadata(self, zone: str) -> CustomMetadata:
        """The custom metadata of a zone."""
        if zone not in self._zonal_metadata:
            self._zonal_metadata[zone] = CustomMetadata(
                self.clock,
                lambda: self._zonal_attributes.get(zone, {}),
                lambda attributes: self._show_zonal_attributes(zone, attributes),
            )
        return self._zonal_metadata[zone]

    def view(self, zone: str) -> tree.Directory:
        """`project/` as the guests of a zone see it. The same node as long as the project lives."""
        if zone not in self._views:
            self._views[zone] = tree.directory({})
            self._refresh_view(zone)
        return self._views[zone]

    def on_reset(self, listener: Callable[[], None]) -> None:
        """Have `listener` called before everything is as after the start again."""
        self._reset_listeners.append(listener)

    def reset(self) -> None:
        """Everything as the fleet file says it, as after the start: for the next test of a suite."""
        for listener in self._reset_listeners:
            listener()
        self.faults.clear()
        self.journal.clear()
        self.clock.speed = self.fleet.speed
        self.metadata.settle()
        for metadata in self._zonal_metadata.values():
            metadata.settle()
        self.tree.entries = default_tree.project(self.fleet).entries
        self._zonal_attributes = dict(self.fleet.zonal_attributes)
        self._refresh_views()
        self.external_addresses.reset()
        self.instances = dict(self._all_instances)
        for instance in self.instances.values():
            instance.reset()

    def set(self, path: str, value: Any) -> None:
        self.metadata.settle()
        _write(self._root, path, value)
        self._changed(path)

    def remove(self, path: str) -> bool:
        self.metadata.settle()
        removed = tree.remove(self._root, path)
        if removed:
            self._changed(path)
        return removed

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Several changes that the guests see as one."""
        with contextlib.ExitStack() as stack:
            for instance in self.instances.values():
                stack.enter_context(instance.changing())
            yield

    def _seen_attributes(self) -> dict[str, str]:
        return _texts(self.tree.entries.get("attributes"))

    def _show_attributes(self, attributes: Mapping[str, str]) -> None:
        with self.changing():
            _replace(self, PROJECT_ATTRIBUTES, self._seen_attributes(), attributes)

    def _show_zonal_attributes(self, zone: str, attributes: Mapping[str, str]) -> None:
        keys = {*self._zonal_attributes.get(zone, {}), *attributes}
        self._zonal_attributes[zone] = attributes
        self._refresh_view(zone)
        for instance in self.in_zone(zone):
            with instance.changing():
                for key in keys:
                    instance._changed(f"{PROJECT_ATTRIBUTES}/{key}")

    def _refresh_views(self) -> None:
        for zone in self._views:
            self._refresh_view(zone)

    def _refresh_view(self, zone: str) -> None:
        # Nobody in the zone has been looked at yet if there is none.
        if zone in self._views:
            default_tree.place_zonal(self._views[zone], self.tree, self._zonal_attributes.get(zone, {}))

    def _changed(self, path: str) -> None:
        self._refresh_views()
        for instance in self.instances.values():
            instance._changed(path)


@dataclasses.dataclass(frozen=True)
class AttachedDisk:
    """A persistent disk, and the instance that it was made with."""

    instance: Instance
    disk: Disk

    @property
    def name(self) -> str:
        return disk_name(self.instance.spec, self.disk)


def disk_name(spec: InstanceSpec, disk: Disk) -> str:
    """Unique in its zone, where a device name is so on its VM only."""
    if disk.boot:
        return spec.name
    return disk.device_name if disk.device_name.startswith(f"{spec.name}-") else f"{spec.name}-{disk.device_name}"


class Playing(Protocol):
    """What the platform is doing to an instance: a scenario that runs, as far as the state has to know it."""

    id: str
    instance: Instance
    name: str
    signal: str
    step: str

    def end(self) -> None:
        """Leave everything as it is now."""

    def to_json(self) -> dict[str, Any]:
        """As the control face shows it."""


class Instance:
    """One VM.

    `status` is RUNNING, PENDING_STOP, STOPPING or TERMINATED (a subset of the API's). `asked_directly` says whether the
    guest has queried `instance/maintenance-event` itself since its last event; only then is it given the notice of a
    migration. `exists` is False once it is deleted.
    """

    def __init__(self, project: Project, spec: InstanceSpec) -> None:
        self.project = project
        self.spec = spec
        self.clock = project.clock
        self.created = project.clock.now()
        self.started = self.created
        self.stopped: datetime.datetime | None = None
        self.status = "RUNNING"
        self.boot_count = 1
        self.boot_id = str(uuid.uuid4())
        self.exists = True
        self.asked_directly = False
        # A stop that was requested and is not over.
        self.shutdown: Shutdown | None = None
        self.labels = dict(spec.labels)
        self._first_external_ips = self._take_external_ips()
        # Made when it is first asked for: of a fleet of thousands, most are never looked at.
        self._root: tree.Directory | None = None
        self.metadata = CustomMetadata(project.clock, self._seen_attributes, self._show_attributes)
        # Fields of the API's Scheduling that a guest does not see.
        self.more_scheduling = _more_scheduling(spec)
        # Real time: it is the guest that asks.
        self.guest_attribute_queries = Budget(time.monotonic)
        self._change_listeners: list[Callable[[str], None]] = []
        self._power_listeners: list[Callable[[], None]] = []
        # What the platform is doing to it, by the run's id.
        self.runs: dict[str, Playing] = {}
        self._batch: dict[str, None] | None = None
        self._serial: dict[int, SerialOutput] = {}

    # What it is

    @property
    def root(self) -> tree.Directory:
        """Its metadata tree; another one after a reset."""
        if self._root is None:
            view = self.project.view(self.zone)
            self._root = default_tree.instance(self.spec, self.project.fleet, view, self._first_external_ips)
            self._place_preemption_notice(self._root)
        return self._root

    def find(self, path: str) -> tree.Node | None:
        """The node at `instance/disks/0`; None when there is none."""
        return tree.find(self.root, path)

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
        """As the guest sees it now."""
        return Scheduling(
            automatic_restart=self.get("instance/scheduling/automatic-restart") == "TRUE",
            on_host_maintenance=str(self.get("instance/scheduling/on-host-maintenance")),
            preemptible=self.get("instance/scheduling/preemptible") == "TRUE",
            provisioning_model=str(self.more_scheduling["provisioningModel"]),
        )

    def schedule(self, wanted: Mapping[str, Any]) -> None:
        """Make its scheduling what this Scheduling resource says, in which nothing is missing."""
        more = dict(wanted)
        with self.changing():
            self.set("instance/scheduling/automatic-restart", more.pop("automaticRestart"))
            self.set("instance/scheduling/on-host-maintenance", more.pop("onHostMaintenance"))
            self.set("instance/scheduling/preemptible", more.pop("preemptible"))
        self.more_scheduling = more
        self._place_preemption_notice(self.root)
        self._changed(PREEMPTION_NOTICE)

    def _place_preemption_notice(self, root: tree.Directory) -> None:
        notice = seconds_of(self.more_scheduling.get("preemptionNoticeDuration"))
        if notice and self.spec.preemption_notice_shown:
            tree.write(root, PREEMPTION_NOTICE, default_tree.duration(self.spec, self.clock.real_seconds(notice)))
        else:
            tree.remove(root, PREEMPTION_NOTICE)

    @property
    def tags(self) -> list[str]:
        """A copy of its network tags."""
        tags = self.get(TAGS)
        return list(tags) if isinstance(tags, list) else []

    @tags.setter
    def tags(self, tags: list[str]) -> None:
        self.set(TAGS, tags)

    def external_ip(self, interface: int) -> str | None:
        """The external address that an interface has now."""
        address = self.get(_external_ip_path(interface))
        return None if address is None else str(address)

    def serial(self, port: int) -> SerialOutput:
        """The output of a serial port; what the emulator has to say is in that of the first."""
        if port not in self._serial:
            self._serial[port] = SerialOutput()
            if port == 1:
                self._log(f"boot 1 at {self.created:%Y-%m-%dT%H:%M:%SZ}")
        return self._serial[port]

    @property
    def attributes(self) -> dict[str, str]:
        """A copy of the instance's custom metadata, as the API has it."""
        return self.metadata.attributes

    def effective_attribute(self, key: str) -> str | None:
        """The instance's value, else the zone's, else the project's, as the guest sees them."""
        for directory in (ATTRIBUTES, PROJECT_ATTRIBUTES):
            value = self.get(f"{directory}/{key}")
            if value is not None:
                return str(value)
        return None

    def is_enabled(self, key: str) -> bool:
        """Whether a boolean attribute is on: TRUE, Y, Yes and 1 count, in any case."""
        return (self.effective_attribute(key) or "").lower() in ("true", "y", "yes", "1")

    @property
    def guest_attributes(self) -> dict[str, dict[str, str]]:
        """A copy, by namespace and key."""
        node = self.find(GUEST_ATTRIBUTES)
        spaces = node.entries if isinstance(node, tree.Directory) else {}
        return {namespace: _texts(entries) for namespace, entries in spaces.items()}

    # What is announced

    @property
    def maintenance_event(self) -> str:
        return str(self.get(MAINTENANCE_EVENT))

    @maintenance_event.setter
    def maintenance_event(self, event: str) -> None:
        self.set(MAINTENANCE_EVENT, event)

    def drift_clock(self) -> None:
        """Change `virtual-clock/drift-token`, as a migration does: the guest's clock may have jumped."""
        self.set(DRIFT_TOKEN, str(secrets.randbelow(2**63)))

    @property
    def preempted(self) -> bool:
        return bool(self.get(PREEMPTED) == "TRUE")

    @preempted.setter
    def preempted(self, preempted: bool) -> None:
        self.set(PREEMPTED, preempted)

    @property
    def upcoming_maintenance(self) -> UpcomingMaintenance | None:
        """The announced window in its normal form, or None."""
        value = self.get(UPCOMING_MAINTENANCE)
        return value.window if isinstance(value, tree.Announcement) else None

    @upcoming_maintenance.setter
    def upcoming_maintenance(self, window: UpcomingMaintenance | None) -> None:
        if window is None:
            default_tree.place_no_upcoming(self.root, self.spec)
        else:
            default_tree.place_upcoming(self.root, tree.Announcement(window, self.spec.upcoming_maintenance_style))
        self._changed(UPCOMING_MAINTENANCE)

    # Power

    @property
    def is_up(self) -> bool:
        """Whether its metadata server answers."""
        return self.status in ("RUNNING", "PENDING_STOP", "STOPPING")

    def stop(self) -> None:
        """Power off at once: TERMINATED, the metadata server is gone, and so are ephemeral addresses."""
        self.status = "TERMINATED"
        self.stopped = self.clock.now()
        self._log(f"power off at {self.stopped:%Y-%m-%dT%H:%M:%SZ}")
        for number in self._ephemeral_interfaces():
            address = self.external_ip(number)
            if address is not None:
                self.project.external_addresses.give_back(address)
                self.remove(_external_ip_path(number))
        self._power_changed()

    def start(self) -> None:
        """Boot: RUNNING, with the next boot count, a new boot id, and nothing announced."""
        with self.changing():
            self.status = "RUNNING"
            self.started = self.clock.now()
            self._boot()
            self.maintenance_event = NO_EVENT
            self.preempted = False
            self.upcoming_maintenance = None
            self.show_shutdown(None)
            self.asked_directly = False
            for number in self._ephemeral_interfaces():
                if self.external_ip(number) is None:
                    self.set(_external_ip_path(number), self.project.external_addresses.take())
        self._power_changed()

    def reboot(self) -> None:
        """Press the reset button: the guest boots at once, and what is announced stays announced."""
        self._boot()
        self._power_changed()

    def vanish(self) -> None:
        """Be deleted."""
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
        """With new ephemeral addresses."""
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
                self._changed(f"{SHUTDOWN_DETAILS}/{name}")

    def reset(self) -> None:
        """As the fleet file says it; whoever waits for what changes by that hears of it."""
        for run in list(self.runs.values()):
            run.end()
        was_up = self.is_up and self.exists
        self.exists = True
        self.labels = dict(self.spec.labels)
        self._serial.clear()
        self.status, self.boot_count, self.boot_id = "RUNNING", 1, str(uuid.uuid4())
        self.asked_directly = False
        self.shutdown = None
        self.guest_attribute_queries = Budget(time.monotonic)
        self.metadata.settle()
        self.more_scheduling = _more_scheduling(self.spec)
        self._first_external_ips = self._take_external_ips()
        self._root = None
        if not was_up:
            self._power_changed()
        self._changed("")

    def on_power(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after each stop and start."""
        self._power_listeners.append(listener)

    # Any value

    def get(self, path: str) -> Any:
        """The value of a leaf, None when there is none."""
        node = self.find(path)
        return node.value if isinstance(node, tree.Leaf) else None

    def set(self, path: str, value: Any) -> None:
        """Set any leaf, making the directories above it. Raises BadValue.

        Strings, whole numbers and lists of strings; a boolean becomes TRUE or FALSE. `instance/upcoming-maintenance`
        takes an object in any of its spellings, or None.
        """
        if path.startswith("project/"):
            self.project.set(path, value)
            return
        if path == UPCOMING_MAINTENANCE and (value is None or isinstance(value, dict)):
            try:
                self.upcoming_maintenance = None if value is None else UpcomingMaintenance.from_mapping(value)
            except ValueError as error:
                raise BadValue(f"{path}: {error}") from None
            return
        self._settle(path)
        _write(self.root, path, value)
        self._changed(path)

    def remove(self, path: str) -> bool:
        """Remove a leaf or a directory; False when there is none."""
        if path.startswith("project/"):
            return self.project.remove(path)
        self._settle(path)
        removed = tree.remove(self.root, path)
        if removed:
            self._changed(path)
        return removed

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Have `listener` called with the path of whatever changes in this tree, project metadata included."""
        self._change_listeners.append(listener)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Several changes that the guest sees as one: listeners are called at the end."""
        if self._batch is not None:
            yield
            return
        self._batch = {}
        try:
            yield
        finally:
            paths, self._batch = self._batch, None
            for path in paths:
                self._changed(path)

    def _seen_attributes(self) -> dict[str, str]:
        return _texts(self.find(ATTRIBUTES))

    def _show_attributes(self, attributes: Mapping[str, str]) -> None:
        with self.changing():
            _replace(self, ATTRIBUTES, self._seen_attributes(), attributes)

    def _settle(self, path: str) -> None:
        # What is set by hand comes after what the API has written before.
        if path.startswith(ATTRIBUTES):
            self.metadata.settle()

    def _changed(self, path: str) -> None:
        if self._batch is not None:
            self._batch[path] = None
            return
        for listener in self._change_listeners:
            listener(path)

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
    return shown


def _replace(owner: Project | Instance, directory: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Make the entries of a directory those of `new`; who waits hears of what was written."""
    for key in old.keys() - new.keys():
        owner.remove(f"{directory}/{key}")
    for key, value in new.items():
        owner.set(f"{directory}/{key}", value)


def _write(root: tree.Directory, path: str, value: Any) -> None:
    if not path.startswith(("instance/", "project/")):
        raise BadValue(f"{path}: a path starts with instance/ or project/")
    try:
        tree.write(root, path, _checked(path, value))
    except tree.NotAllowed as error:
        raise BadValue(f"{path}: {error}") from None


def _checked(path: str, value: Any) -> tree.Value:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise BadValue(
        f"{path}: {value!r} is no value of the metadata server: a string, a whole number or a list of strings is"
    )


def _texts(node: tree.Node | None) -> dict[str, str]:
    entries = node.entries if isinstance(node, tree.Directory) else {}
    return {name: str(entry.value) for name, entry in entries.items() if isinstance(entry, tree.Leaf)}
