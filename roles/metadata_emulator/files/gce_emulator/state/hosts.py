# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts: nodes of sole-tenant node groups, and the hosts of reservations, with their announced windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .fleet_hosts import HostsSpec, NodeGroupSpec, ReservationSpec
from .upcoming import UpcomingMaintenance

if TYPE_CHECKING:
    from .instance import Instance, Playing
    from .project import Project


class Host:
    """One physical server. Its VMs show its window as their own, if the fleet file says so."""

    kind = "host"
    is_up = True
    status = "READY"

    def __init__(self, project: Project, name: str, instances: Sequence[str], *, shows_window: bool) -> None:
        self.project = project
        self.clock = project.clock
        self.name = name
        self.instance_names = tuple(instances)
        self.runs: dict[str, Playing] = {}
        self._shows_window = shows_window
        self._window: UpcomingMaintenance | None = None

    @property
    def instances(self) -> list[Instance]:
        """The VMs on it, without deleted ones."""
        return [self.project.instances[name] for name in self.instance_names if name in self.project.instances]

    @property
    def upcoming_maintenance(self) -> UpcomingMaintenance | None:
        """The announced window in its normal form, or None."""
        return self._window

    @upcoming_maintenance.setter
    def upcoming_maintenance(self, window: UpcomingMaintenance | None) -> None:
        self._window = window
        if self._shows_window:
            for instance in self.instances:
                if instance.is_up:
                    instance.upcoming_maintenance = window

    @property
    def window_of_guests(self) -> UpcomingMaintenance | None:
        """The window that a VM shows when it boots here."""
        is_pending = self._window is not None and self._window.maintenance_status == "PENDING"
        return self._window if is_pending and self._shows_window else None

    def begin(self) -> None:
        """Show the window as ONGOING. The VMs' windows follow when it is their turn."""
        self._window = self._window.ongoing() if self._window is not None else None

    def reset(self) -> None:
        """Go back to the state after the start; the VMs are reset on their own."""
        for run in list(self.runs.values()):
            run.end()
        self._window = None


@dataclasses.dataclass(frozen=True)
class Hosts:
    """A part of a reservation, or a whole group of hosts."""

    name: str
    hosts: tuple[Host, ...]


@dataclasses.dataclass(frozen=True)
class NodeGroup(Hosts):
    """The hosts are its nodes."""

    spec: NodeGroupSpec


@dataclasses.dataclass(frozen=True)
class Block(Hosts):
    """`hosts` includes those of the sub-blocks."""

    sub_blocks: tuple[Hosts, ...]


@dataclasses.dataclass(frozen=True)
class Reservation(Hosts):
    """`hosts` includes those of the blocks."""

    spec: ReservationSpec
    blocks: tuple[Block, ...]


def make_node_group(project: Project, spec: NodeGroupSpec) -> NodeGroup:
    nodes = (Host(project, n.name, n.instances, shows_window=spec.windows_shown_to_guests) for n in spec.nodes)
    return NodeGroup(spec.name, tuple(nodes), spec)


def make_reservation(project: Project, spec: ReservationSpec) -> Reservation:
    def hosts_of(part: HostsSpec) -> tuple[Host, ...]:
        members = [*([name] for name in part.instances), *([] for _unused in range(part.count - len(part.instances)))]
        return tuple(
            Host(project, f"{part.name}-host-{number}", each, shows_window=spec.windows_shown_to_guests)
            for number, each in enumerate(members, 1)
        )

    blocks = []
    for block in spec.blocks:
        sub_blocks = tuple(Hosts(each.name, hosts_of(each)) for each in block.sub_blocks)
        own = hosts_of(block.hosts) if block.hosts is not None else ()
        blocks.append(Block(block.name, (*own, *(host for each in sub_blocks for host in each.hosts)), sub_blocks))
    own = hosts_of(spec.hosts) if spec.hosts is not None else ()
    return Reservation(spec.name, (*own, *(host for each in blocks for host in each.hosts)), spec, tuple(blocks))
