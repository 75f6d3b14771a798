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
import datetime
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable

from . import default_tree, tree
from .clock import Clock
from .faults import Faults
from .fleet import Fleet, InstanceSpec, Scheduling
from .guest_attributes import Budget
from .journal import Journal
from .upcoming import UpcomingMaintenance

if TYPE_CHECKING:
    from .scenarios import Run

MAINTENANCE_EVENT = "instance/maintenance-event"
UPCOMING_MAINTENANCE = "instance/upcoming-maintenance"
PREEMPTED = "instance/preempted"
DRIFT_TOKEN = "instance/virtual-clock/drift-token"
ATTRIBUTES = "instance/attributes"
GUEST_ATTRIBUTES = "instance/guest-attributes"
PROJECT_ATTRIBUTES = "project/attributes"

MIGRATE, TERMINATE, NO_EVENT = "MIGRATE_ON_HOST_MAINTENANCE", "TERMINATE_ON_HOST_MAINTENANCE", "NONE"


class BadValue(Exception):
    """A value or a path that cannot be set; the text is a sentence."""


class Project:
    """`Project(fleet, clock)`; `instances` by name, in the order of the fleet file."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self.fleet = fleet
        self.clock = clock
        self.name = fleet.project
        self.number = fleet.numeric_project_id
        self.journal = Journal()
        self.faults = Faults(clock)
        self.created = clock.now()
        self.metadata_writes = 0
        self.tree = default_tree.project(fleet)
        self._root = tree.directory({"project": self.tree})
        self.instances = {spec.name: Instance(self, spec) for spec in fleet.instances}

    def zones(self) -> list[str]:
        """Zones that have an instance, sorted."""
        return sorted({instance.zone for instance in self.instances.values()})

    def in_zone(self, zone: str) -> list[Instance]:
        """Instances of a zone, sorted by name."""
        return sorted((each for each in self.instances.values() if each.zone == zone), key=lambda each: each.name)

    def find(self, zone: str, name_or_id: str) -> Instance | None:
        """As in a URL of the Compute API; None when there is none."""
        for instance in self.in_zone(zone):
            if name_or_id in (instance.name, str(instance.id)):
                return instance
        return None

    @property
    def attributes(self) -> dict[str, str]:
        """A copy of the project's custom metadata."""
        return _texts(self.tree.entries.get("attributes"))

    def replace_attributes(self, attributes: Mapping[str, str]) -> None:
        """Make the project's custom metadata exactly `attributes`, and wake whoever waits for what changed."""
        self.metadata_writes += 1
        with self.changing():
            for key in self.attributes.keys() - attributes.keys():
                self.remove(f"{PROJECT_ATTRIBUTES}/{key}")
            for key, value in attributes.items():
                self.set(f"{PROJECT_ATTRIBUTES}/{key}", value)

    def reset(self) -> None:
        """Everything as the fleet file says it, as after the start: for the next test of a suite."""
        self.faults.clear()
        self.journal.clear()
        self.clock.speed = self.fleet.speed
        self.tree.entries = default_tree.project(self.fleet).entries
        for instance in self.instances.values():
            instance.reset()

    def set(self, path: str, value: Any) -> None:
        _write(self._root, path, value)
        self._changed(path)

    def remove(self, path: str) -> bool:
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

    def _changed(self, path: str) -> None:
        for instance in self.instances.values():
            instance._changed(path)


class Instance:
    """One VM.

    `status` is RUNNING, STOPPING or TERMINATED (a subset of the API's). `asked_directly` says whether the
    guest has queried `instance/maintenance-event` itself since its last event; only then is it given the notice of a
    migration.
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
        self.asked_directly = False
        self.metadata_writes = 0
        self.root = default_tree.instance(spec, project.fleet, project.tree)
        # Real time: it is the guest that asks.
        self.guest_attribute_queries = Budget(time.monotonic)
        self._change_listeners: list[Callable[[str], None]] = []
        self._power_listeners: list[Callable[[], None]] = []
        # What the platform is doing to it, by the run's id.
        self.runs: dict[str, Run] = {}
        self._batch: dict[str, None] | None = None

    # What it is

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
            provisioning_model=self.spec.scheduling.provisioning_model,
        )

    @property
    def attributes(self) -> dict[str, str]:
        """A copy of the instance's custom metadata."""
        return _texts(tree.find(self.root, ATTRIBUTES))

    def replace_attributes(self, attributes: Mapping[str, str]) -> None:
        """Make the instance's custom metadata exactly `attributes`, and wake whoever waits for what changed."""
        self.metadata_writes += 1
        with self.changing():
            for key in self.attributes.keys() - attributes.keys():
                self.remove(f"{ATTRIBUTES}/{key}")
            for key, value in attributes.items():
                self.set(f"{ATTRIBUTES}/{key}", value)

    def effective_attribute(self, key: str) -> str | None:
        """The instance's value, else the project's."""
        own = self.attributes
        return own[key] if key in own else self.project.attributes.get(key)

    def is_enabled(self, key: str) -> bool:
        """Whether a boolean attribute is on: TRUE, Y, Yes and 1 count, in any case."""
        return (self.effective_attribute(key) or "").lower() in ("true", "y", "yes", "1")

    @property
    def guest_attributes(self) -> dict[str, dict[str, str]]:
        """A copy, by namespace and key."""
        node = tree.find(self.root, GUEST_ATTRIBUTES)
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
        return self.status in ("RUNNING", "STOPPING")

    def stop(self) -> None:
        """Power off at once: TERMINATED, and the metadata server is gone."""
        self.status = "TERMINATED"
        self.stopped = self.clock.now()
        self._power_changed()

    def start(self) -> None:
        """Boot: RUNNING, with the next boot count, a new boot id, and nothing announced."""
        with self.changing():
            self.status = "RUNNING"
            self.started = self.clock.now()
            self.boot_count += 1
            self.boot_id = str(uuid.uuid4())
            self.maintenance_event = NO_EVENT
            self.preempted = False
            self.upcoming_maintenance = None
            self.asked_directly = False
        self._power_changed()

    def reset(self) -> None:
        """As the fleet file says it; whoever waits for what changes by that hears of it."""
        for run in list(self.runs.values()):
            run.end()
        was_up = self.is_up
        self.status, self.boot_count, self.boot_id = "RUNNING", 1, str(uuid.uuid4())
        self.asked_directly = False
        self.guest_attribute_queries = Budget(time.monotonic)
        self.root.entries = default_tree.instance(self.spec, self.project.fleet, self.project.tree).entries
        if not was_up:
            self._power_changed()
        self._changed("")

    def on_power(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after each stop and start."""
        self._power_listeners.append(listener)

    # Any value

    def get(self, path: str) -> Any:
        """The value of a leaf, None when there is none."""
        node = tree.find(self.root, path)
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
        _write(self.root, path, value)
        self._changed(path)

    def remove(self, path: str) -> bool:
        """Remove a leaf or a directory; False when there is none."""
        if path.startswith("project/"):
            return self.project.remove(path)
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

    def _changed(self, path: str) -> None:
        if self._batch is not None:
            self._batch[path] = None
            return
        for listener in self._change_listeners:
            listener(path)

    def _power_changed(self) -> None:
        for listener in self._power_listeners:
            listener()


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
