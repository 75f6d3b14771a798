# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The description of a fleet, as the fleet file gives it with every default filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .fleet_hosts import NodeGroupSpec, ReservationSpec
from .fleet_load_balancing import BackendServiceSpec, EndpointGroupSpec, InstanceGroupSpec, TargetPoolSpec
from .machine_types import has_accelerators

DEFAULT_SCOPES = tuple(
    f"https://www.googleapis.com/auth/{scope}"
    for scope in (
        "devstorage.read_only",
        "logging.write",
        "monitoring.write",
        "service.management.readonly",
        "servicecontrol",
        "trace.append",
    )
)


@dataclasses.dataclass(frozen=True)
class Notice:
    """Platform seconds between an announcement and what it announces."""

    migrate: float = 60.0
    terminate: float = 3600.0
    preempt: float = 30.0
    spot: float = 120.0


@dataclasses.dataclass(frozen=True)
class Durations:
    """How long things take, in platform seconds."""

    migration: float = 20.0
    blackout: float = 0.0
    down: float = 60.0
    shutdown: float = 20.0
    window_starts_in: float = 7 * 86400.0
    window_length: float = 4 * 3600.0
    operation: float = 2.0
    propagation: float = 0.0
    # From joining a load balancer, or from a boot, until its health checks succeed.
    health: float = 10.0


@dataclasses.dataclass(frozen=True)
class Scheduling:
    """`graceful_shutdown` and `preemption_notice` are seconds; 0 turns them off."""

    automatic_restart: bool = True
    on_host_maintenance: str = "MIGRATE"
    preemptible: bool = False
    provisioning_model: str = "STANDARD"
    instance_termination_action: str = "STOP"
    graceful_shutdown: int = 0
    preemption_notice: int = 0


@dataclasses.dataclass(frozen=True)
class Accelerator:
    type: str
    count: int = 1


@dataclasses.dataclass(frozen=True)
class Disk:
    device_name: str
    type: str = "PERSISTENT-BALANCED"
    mode: str = "READ_WRITE"
    interface: str = "SCSI"
    size_gb: int = 10
    boot: bool = False

    @property
    def is_local(self) -> bool:
        """Whether it is a local SSD, which is not a resource of its own."""
        return self.type.startswith("LOCAL-SSD")


@dataclasses.dataclass(frozen=True)
class NetworkInterface:
    """`external_ip` is a reserved address, EPHEMERAL, or None."""

    ip: str
    gateway: str
    subnetmask: str
    mac: str
    network: str = "default"
    subnetwork: str = "default"
    external_ip: str | None = None
    mtu: int = 1460
    dns_servers: tuple[str, ...] = ("169.254.169.254",)


@dataclasses.dataclass(frozen=True)
class ServiceAccount:
    email: str
    scopes: tuple[str, ...] = DEFAULT_SCOPES


@dataclasses.dataclass(frozen=True)
class InstanceSpec:
    name: str
    id: int
    zone: str
    machine_type: str
    hostname: str
    accelerators: tuple[Accelerator, ...]
    scheduling: Scheduling
    disks: tuple[Disk, ...]
    network_interfaces: tuple[NetworkInterface, ...]
    service_accounts: tuple[ServiceAccount, ...]
    attributes: Mapping[str, str]
    labels: Mapping[str, str]
    tags: tuple[str, ...]
    description: str
    cpu_platform: str
    image: str
    sole_tenant: bool
    address: str
    port: int
    upcoming_maintenance_none: str
    upcoming_maintenance_style: str
    shutdown_details: str
    duration_style: str
    preemption_notice_shown: bool
    while_down: str
    legacy_endpoints: str
    guest_attributes_over_budget: str
    # Commands for the machine behind the instance, see scenarios/hooks.py; empty without one.
    on_blackout: tuple[str, ...]
    on_shutdown: tuple[str, ...]
    on_power_off: tuple[str, ...]
    on_boot: tuple[str, ...]
    # Not a key of the file: the node group that lists the instance.
    node_group: str = ""

    @property
    def has_accelerators(self) -> bool:
        """Listed ones, or those that come with the machine type."""
        return bool(self.accelerators) or has_accelerators(self.machine_type)


@dataclasses.dataclass(frozen=True)
class Fleet:
    project: str
    numeric_project_id: int
    attributes: Mapping[str, str]
    zonal_attributes: Mapping[str, Mapping[str, str]]
    listen: str
    hosts: tuple[str, ...]
    compute_port: int
    control_port: int
    require_auth: bool
    speed: float
    universe_domain: str
    notice: Notice
    durations: Durations
    instances: tuple[InstanceSpec, ...]
    node_groups: tuple[NodeGroupSpec, ...]
    reservations: tuple[ReservationSpec, ...]
    network_endpoint_groups: tuple[EndpointGroupSpec, ...]
    instance_groups: tuple[InstanceGroupSpec, ...]
    target_pools: tuple[TargetPoolSpec, ...]
    backend_services: tuple[BackendServiceSpec, ...]
