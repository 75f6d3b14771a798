# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulated project, held once for all faces: instances, clock, journal, faults and shared metadata.

All of it runs in one event loop and never waits. What the platform does over time is in `gce_emulator.scenarios`.
"""

from __future__ import annotations

import dataclasses
from typing import Callable

from .addresses import EPHEMERAL, ExternalAddresses
from .clock import Clock
from .faults import Faults
from .fleet import Disk, Fleet, InstanceSpec
from .guest_metadata import GuestMetadata
from .hosts import Host, make_node_group, make_reservation
from .instance import Instance
from .journal import Journal
from .load_balancing import LoadBalancing
from .project_metadata import ProjectMetadata


class Project(ProjectMetadata):
    """`instances` by name, in the order of the fleet file, without deleted ones."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        super().__init__(fleet, clock)
        self.name = fleet.project
        self.number = fleet.numeric_project_id
        self.journal = Journal()
        self.faults = Faults(clock)
        self.created = clock.now()
        self._event_listeners: list[Callable[[Instance, str], None]] = []
        self._reset_listeners: list[Callable[[], None]] = []
        self._machine_listeners: list[Callable[[Instance, str], None]] = []
        self.external_addresses = ExternalAddresses(
            interface.external_ip
            for spec in fleet.instances
            for interface in spec.network_interfaces
            if interface.external_ip not in (None, EPHEMERAL)
        )
        self._all_instances = {spec.name: Instance(self, spec) for spec in fleet.instances}
        self.instances = dict(self._all_instances)
        self.node_groups = {spec.name: make_node_group(self, spec) for spec in fleet.node_groups}
        self.reservations = {spec.name: make_reservation(self, spec) for spec in fleet.reservations}
        self._hosts = {name: host for host in self.hosts() for name in host.instance_names}
        zones = {spec.zone for spec in fleet.instances}
        zones |= {spec.zone for spec in fleet.node_groups} | {spec.zone for spec in fleet.reservations}
        zones |= {spec.zone for spec in fleet.network_endpoint_groups} | {spec.zone for spec in fleet.instance_groups}
        self._zones = sorted(zones)
        self.load_balancing = LoadBalancing(self)

    def guests(self) -> list[GuestMetadata]:
        return list(self.instances.values())

    def zones(self) -> list[str]:
        """Zones of the fleet file's instances, node groups, reservations and groups of load balancers, sorted."""
        return list(self._zones)

    def in_zone(self, zone: str) -> list[Instance]:
        """Instances of a zone, sorted by name."""
        return sorted((each for each in self.instances.values() if each.zone == zone), key=lambda each: each.name)

    def find(self, zone: str, name_or_id: str) -> Instance | None:
        """The instance that a URL of the Compute API names, or None."""
        instance = self.instances.get(name_or_id)
        if instance is None and name_or_id.isdigit():
            instance = next((each for each in self.instances.values() if str(each.id) == name_or_id), None)
        return instance if instance is not None and instance.zone == zone else None

    def hosts(self) -> list[Host]:
        """All nodes and reserved hosts."""
        groups = (*self.node_groups.values(), *self.reservations.values())
        return [host for group in groups for host in group.hosts]

    def host_of(self, instance: Instance) -> Host | None:
        """The node or reserved host that an instance runs on, if the fleet file names one."""
        return self._hosts.get(instance.name)

    def delete(self, instance: Instance) -> None:
        """Delete an instance and its metadata server until the next reset."""
        for run in list(instance.runs.values()):
            run.end()
        self.instances.pop(instance.name, None)
        instance.vanish()

    def disks(self) -> list[AttachedDisk]:
        """The persistent disks, in the order of the fleet file. A deleted VM loses only its boot disk."""
        return [
            AttachedDisk(instance, disk)
            for instance in self._all_instances.values()
            for disk in instance.spec.disks
            if not disk.is_local and (instance.exists or not disk.boot)
        ]

    def on_system_event(self, listener: Callable[[Instance, str], None]) -> None:
        """Call `listener` with each of the platform's own actions on an instance: `migrateOnHostMaintenance`, …"""
        self._event_listeners.append(listener)

    def system_event(self, instance: Instance, event: str) -> None:
        """Report one of the platform's own actions."""
        for listener in self._event_listeners:
            listener(instance, event)

    def on_machine_event(self, listener: Callable[[Instance, str], None]) -> None:
        """Call `listener` when a blackout begins or ends, and when the power goes off or on."""
        self._machine_listeners.append(listener)

    def machine_event(self, instance: Instance, event: str) -> None:
        """Report what happens to the machine behind an instance, such as POWER_OFF."""
        for listener in self._machine_listeners:
            listener(instance, event)

    def on_reset(self, listener: Callable[[], None]) -> None:
        """Call `listener` at the beginning of each reset."""
        self._reset_listeners.append(listener)

    def reset(self) -> None:
        """Go back to the fleet file's description, as after the start: for the next test of a suite."""
        for listener in self._reset_listeners:
            listener()
        self.faults.clear()
        self.journal.clear()
        self.clock.speed = self.fleet.speed
        self.reset_metadata()
        self.external_addresses.reset()
        self.instances = dict(self._all_instances)
        for host in self.hosts():
            host.reset()
        self.load_balancing.reset()
        for instance in self.instances.values():
            instance.reset()


@dataclasses.dataclass(frozen=True)
class AttachedDisk:
    """A persistent disk and the instance that it was created with."""

    instance: Instance
    disk: Disk

    @property
    def name(self) -> str:
        return disk_name(self.instance.spec, self.disk)


def disk_name(spec: InstanceSpec, disk: Disk) -> str:
    """A name that is unique in the zone; a device name is unique on its VM only."""
    if disk.boot:
        return spec.name
    return disk.device_name if disk.device_name.startswith(f"{spec.name}-") else f"{spec.name}-{disk.device_name}"
