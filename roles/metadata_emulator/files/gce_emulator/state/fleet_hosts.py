# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node groups and reservations of the fleet file: the hosts that the fleet's VMs run on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .fleet_section import NAME, FleetError, Section, field_names, refuse_same_names

MAINTENANCE_POLICIES = ("DEFAULT", "RESTART_IN_PLACE", "MIGRATE_WITHIN_NODE_GROUP")
SCHEDULING_TYPES = ("GROUPED", "INDEPENDENT")


@dataclasses.dataclass(frozen=True)
class HostsSpec:
    """`count` hosts of a reservation: one for each of `instances`, the others unused."""

    name: str
    count: int
    instances: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class NodeSpec:
    name: str
    instances: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class NodeGroupSpec:
    """`windows_shown_to_guests`: its VMs show their node's window as `upcoming-maintenance`."""

    name: str
    zone: str
    node_type: str
    maintenance_policy: str
    windows_shown_to_guests: bool
    nodes: tuple[NodeSpec, ...]


@dataclasses.dataclass(frozen=True)
class BlockSpec:
    """Either hosts of its own or sub-blocks."""

    name: str
    hosts: HostsSpec | None
    sub_blocks: tuple[HostsSpec, ...]


@dataclasses.dataclass(frozen=True)
class ReservationSpec:
    """Without blocks, `hosts` are its own; only reservations with blocks can be maintained."""

    name: str
    zone: str
    machine_type: str
    scheduling_type: str
    windows_shown_to_guests: bool
    hosts: HostsSpec | None
    blocks: tuple[BlockSpec, ...]


class HostsReader:
    """Reads both sections. `zones` and `machine_types` of the instances, by their names."""

    def __init__(self, zones: Mapping[str, str], machine_types: Mapping[str, str]) -> None:
        self._zones = zones
        self._machine_types = machine_types
        self._placed: dict[str, str] = {}

    def node_groups(self, section: Section) -> tuple[NodeGroupSpec, ...]:
        """Raises FleetError."""
        entries = section.sections("node_groups", field_names(NodeGroupSpec))
        return _unique("node_groups", tuple(map(self._node_group, entries)))

    def reservations(self, section: Section) -> tuple[ReservationSpec, ...]:
        """Raises FleetError."""
        keys = (*field_names(ReservationSpec), "count", "instances")
        entries = section.sections("reservations", tuple(key for key in keys if key != "hosts"))
        return _unique("reservations", tuple(map(self._reservation, entries)))

    def _node_group(self, entry: Section) -> NodeGroupSpec:
        name = entry.text("name", None, NAME)
        sections = entry.sections("nodes", field_names(NodeSpec))
        if not sections:
            raise FleetError(entry.at("nodes"), "has no node; nodes: [{}] is enough")
        zone = self._zone(entry, sections)
        nodes = tuple(
            NodeSpec(each.text("name", f"{name}-{number}", NAME), self._instances(each, zone))
            for number, each in enumerate(sections, 1)
        )
        return NodeGroupSpec(
            name=name,
            zone=zone,
            node_type=entry.text("node_type", "n1-node-96-624"),
            maintenance_policy=entry.choice("maintenance_policy", "DEFAULT", MAINTENANCE_POLICIES),
            windows_shown_to_guests=entry.flag("windows_shown_to_guests", True),
            nodes=_unique(entry.at("nodes"), nodes),
        )

    def _reservation(self, entry: Section) -> ReservationSpec:
        name = entry.text("name", None, NAME)
        sections = entry.sections("blocks", ("name", "count", "instances", "sub_blocks"))
        nested = [sub for block in sections for sub in block.sections("sub_blocks", field_names(HostsSpec))]
        zone = self._zone(entry, [entry, *sections, *nested])
        blocks = tuple(self._block(each, f"{name}-block-{number:04}", zone) for number, each in enumerate(sections, 1))
        hosts = None if blocks else self._hosts(entry, name, zone)
        members = [member for each in [entry, *sections, *nested] for member in each.strings("instances", ())]
        if blocks and (entry.has("count") or entry.has("instances")):
            raise FleetError(entry.at("blocks"), "is given beside count or instances: put these into a block")
        default_type = self._machine_types[members[0]] if members else "a3-megagpu-8g"
        return ReservationSpec(
            name=name,
            zone=zone,
            machine_type=entry.text("machine_type", default_type),
            scheduling_type=entry.choice("scheduling_type", "GROUPED", SCHEDULING_TYPES),
            windows_shown_to_guests=entry.flag("windows_shown_to_guests", True),
            hosts=hosts,
            blocks=_unique(entry.at("blocks"), blocks),
        )

    def _block(self, entry: Section, default_name: str, zone: str) -> BlockSpec:
        name = entry.text("name", default_name, NAME)
        sections = entry.sections("sub_blocks", field_names(HostsSpec))
        if not sections:
            return BlockSpec(name, self._hosts(entry, name, zone), ())
        if entry.has("count") or entry.has("instances"):
            raise FleetError(entry.at("sub_blocks"), "is given beside count or instances: put these into a sub-block")
        sub_blocks = tuple(
            self._hosts(each, each.text("name", f"{name}-subblock-{number:04}", NAME), zone)
            for number, each in enumerate(sections, 1)
        )
        return BlockSpec(name, None, _unique(entry.at("sub_blocks"), sub_blocks))

    def _hosts(self, entry: Section, name: str, zone: str) -> HostsSpec:
        instances = self._instances(entry, zone)
        count = entry.integer("count", max(1, len(instances)), 1, 10_000)
        if count < len(instances):
            raise FleetError(entry.at("count"), f"is {count}, but there are {len(instances)} instances")
        return HostsSpec(name, count, instances)

    def _zone(self, entry: Section, sections: list[Section]) -> str:
        members = [member for each in sections for member in each.strings("instances", ())]
        known = next((self._zones[member] for member in members if member in self._zones), "us-central1-a")
        return entry.text("zone", known, NAME)

    def _instances(self, entry: Section, zone: str) -> tuple[str, ...]:
        instances = entry.strings("instances", ())
        for number, name in enumerate(instances):
            place = f"{entry.at('instances')}[{number}]"
            if name not in self._zones:
                raise FleetError(place, f"is {name!r}, but the fleet has no such instance")
            if self._zones[name] != zone:
                raise FleetError(place, f"is {name!r}, which is in {self._zones[name]} and not in {zone}")
            first = self._placed.setdefault(name, place)
            if first != place:
                raise FleetError(place, f"is {name!r}, as in {first}")
        return instances


def _unique(place: str, specs: tuple[Any, ...]) -> tuple[Any, ...]:
    refuse_same_names(place, [spec.name for spec in specs])
    return specs
