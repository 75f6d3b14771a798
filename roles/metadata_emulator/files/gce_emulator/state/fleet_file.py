# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet file: reads YAML into a `Fleet`, and reports every mistake with its place in the file.

`instances: [{name: web-1}]` is a whole fleet. A mistake is a FleetError whose text starts with the place:
`instances[0].zone: …`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

import yaml

from .addresses import EPHEMERAL, InternalAddresses, gateway_of, mac_of
from .fleet import (
    DEFAULT_SCOPES,
    Accelerator,
    Disk,
    Durations,
    Fleet,
    InstanceSpec,
    NetworkInterface,
    Notice,
    Scheduling,
    ServiceAccount,
)
from .fleet_hosts import HostsReader, NodeGroupSpec
from .fleet_load_balancing import InstanceGroupSpec, LoadBalancingReader
from .fleet_section import NAME, FleetError, Section, field_names
from .geography import region_of
from .machine_types import can_migrate
from .upcoming import NONE_ANSWERS, STYLES

PROJECT = re.compile(
    r"(?:(?:[-a-z0-9]{1,63}\.)*[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?:)?[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
)


def load(path: str | Path) -> Fleet:
    """Read a fleet file. Raises FleetError; its text does not name the file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise FleetError("", f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise FleetError("", f"is not UTF-8: {error}") from None
    return parse(_document(text))


def _document(text: str) -> Any:
    if text.lstrip().startswith("{"):
        # Far faster than as YAML, which also does not join surrogate escapes.
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
    try:
        try:
            # PyYAML with libyaml is ten times as fast.
            return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.YAMLError:
            # PyYAML's own parser reports mistakes better.
            return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FleetError("", f"is not YAML: {_on_one_line(error)}") from None
    except RecursionError:
        raise FleetError("", "is nested too deeply") from None


def parse(document: Any) -> Fleet:
    """Read a parsed document. Raises FleetError."""
    section = Section({} if document is None else document, "", _FLEET_KEYS)
    project = section.text("project", "emulated-project", PROJECT)
    numeric = section.integer("numeric_project_id", 314159265358, 1, 2**63 - 1)
    listen = section.text("listen", "127.0.0.1")
    entries = section.sections("instances", _INSTANCE_KEYS)
    if not entries:
        raise FleetError("instances", "has no instance; instances: [{name: web-1}] is enough")
    addresses = _internal_addresses(entries)
    notice = section.section("notice", field_names(Notice))
    durations = section.section("durations", field_names(Durations))
    instances = tuple(_instance(entry, addresses, project=project, numeric=numeric, listen=listen) for entry in entries)
    zones = {spec.name: spec.zone for spec in instances}
    reader = HostsReader(zones, {spec.name: spec.machine_type for spec in instances})
    node_groups = reader.node_groups(section)
    balancing = LoadBalancingReader(zones, {spec.name: _primary_address(spec) for spec in instances})
    endpoint_groups = balancing.endpoint_groups(section)
    instance_groups = balancing.instance_groups(section, endpoint_groups)
    fleet = Fleet(
        project=project,
        numeric_project_id=numeric,
        attributes=section.attributes("attributes"),
        zonal_attributes=section.attributes_by_name("zonal_attributes"),
        listen=listen,
        hosts=section.strings("hosts", ()),
        compute_port=section.port("compute_port"),
        control_port=section.port("control_port"),
        require_auth=section.flag("require_auth", False),
        speed=section.seconds("speed", 1.0, least=0.001),
        universe_domain=section.text("universe_domain", "googleapis.com"),
        notice=Notice(**{name: notice.seconds(name, getattr(Notice, name)) for name in field_names(Notice)}),
        durations=Durations(
            **{name: durations.seconds(name, getattr(Durations, name)) for name in field_names(Durations)}
        ),
        instances=_in_managed_groups(_on_nodes(instances, node_groups), instance_groups, numeric),
        node_groups=node_groups,
        reservations=reader.reservations(section),
        network_endpoint_groups=endpoint_groups,
        instance_groups=instance_groups,
        target_pools=balancing.target_pools(section),
        backend_services=balancing.backend_services(section, (*endpoint_groups, *instance_groups)),
    )
    _refuse_twins(fleet)
    return fleet


_FLEET_KEYS = field_names(Fleet)
_INSTANCE_KEYS = tuple(name for name in field_names(InstanceSpec) if name != "node_group")
_INTERFACE_KEYS = field_names(NetworkInterface)


def _instance(entry: Section, addresses: InternalAddresses, *, project: str, numeric: int, listen: str) -> InstanceSpec:
    name = entry.text("name", None, NAME)
    zone = _zone(entry)
    machine_type = entry.text("machine_type", "e2-medium")
    accelerators = tuple(
        Accelerator(type=each.text("type", None), count=each.integer("count", 1, 1, 64))
        for each in entry.sections("accelerators", field_names(Accelerator))
    )
    return InstanceSpec(
        name=name,
        id=entry.integer("id", _default_id(project, zone, name), 1, 2**64 - 1),
        zone=zone,
        machine_type=machine_type,
        hostname=entry.text("hostname", _default_hostname(project, zone, name)),
        accelerators=accelerators,
        scheduling=_scheduling(
            entry.section("scheduling", field_names(Scheduling)),
            _fixed_to_host(machine_type, bool(accelerators)),
        ),
        disks=_disks(entry, name),
        network_interfaces=_network_interfaces(entry, addresses, region_of(zone)),
        service_accounts=_service_accounts(entry, numeric),
        attributes=entry.attributes("attributes"),
        labels=entry.strings_by_name("labels"),
        tags=entry.strings("tags", ()),
        description=entry.text("description", "", empty=True),
        cpu_platform=entry.text("cpu_platform", "Intel Broadwell"),
        image=entry.text("image", "projects/debian-cloud/global/images/debian-12-bookworm-v20260114"),
        sole_tenant=entry.flag("sole_tenant", False),
        address=entry.text("address", listen),
        port=entry.port("port"),
        upcoming_maintenance_none=entry.choice("upcoming_maintenance_none", "503", NONE_ANSWERS),
        upcoming_maintenance_style=entry.choice("upcoming_maintenance_style", "snake", STYLES),
        shutdown_details=entry.choice("shutdown_details", "UNSPECIFIED", ("UNSPECIFIED", "UNKNOWN", "404")),
        duration_style=entry.choice("duration_style", "seconds", ("seconds", "suffix", "object")),
        preemption_notice_shown=entry.flag("preemption_notice_shown", False),
        while_down=entry.choice("while_down", "503", ("503", "refuse")),
        legacy_endpoints=entry.choice("legacy_endpoints", "served", ("served", "gone")),
        guest_attributes_over_budget=entry.choice("guest_attributes_over_budget", "429", ("429", "drop", "allow")),
        on_blackout=entry.command("on_blackout"),
        on_shutdown=entry.command("on_shutdown"),
        on_power_off=entry.command("on_power_off"),
        on_boot=entry.command("on_boot"),
    )


def _on_nodes(instances: tuple[InstanceSpec, ...], groups: tuple[NodeGroupSpec, ...]) -> tuple[InstanceSpec, ...]:
    """The instances; those on nodes become sole tenants."""
    placed = {name: group.name for group in groups for node in group.nodes for name in node.instances}
    return tuple(
        dataclasses.replace(spec, sole_tenant=True, node_group=placed[spec.name]) if spec.name in placed else spec
        for spec in instances
    )


def _in_managed_groups(
    instances: tuple[InstanceSpec, ...], groups: Sequence[InstanceGroupSpec], project: int
) -> tuple[InstanceSpec, ...]:
    """The instances; members of managed groups have the attribute by which a guest knows its group."""
    created_by = {
        name: f"projects/{project}/zones/{group.zone}/instanceGroupManagers/{group.name}"
        for group in groups
        if group.managed
        for name in group.instances
    }
    return tuple(
        dataclasses.replace(spec, attributes={"created-by": created_by[spec.name], **spec.attributes})
        if spec.name in created_by
        else spec
        for spec in instances
    )


def _primary_address(spec: InstanceSpec) -> str:
    return spec.network_interfaces[0].ip if spec.network_interfaces else ""


def _fixed_to_host(machine_type: str, has_accelerators: bool) -> str | None:
    """Why the VM cannot migrate, or None."""
    if has_accelerators:
        return "a VM with accelerators"
    return None if can_migrate(machine_type) else f"a VM of the type {machine_type}"


def _scheduling(section: Section, fixed: str | None) -> Scheduling:
    preemptible = section.flag("preemptible", False)
    model = section.choice("provisioning_model", "SPOT" if preemptible else "STANDARD", ("STANDARD", "SPOT"))
    preemptible = preemptible or model == "SPOT"
    fixed = "a preemptible or Spot VM" if preemptible else fixed
    policy = section.choice("on_host_maintenance", "TERMINATE" if fixed else "MIGRATE", ("MIGRATE", "TERMINATE"))
    restart = section.flag("automatic_restart", not preemptible)
    if policy == "MIGRATE" and fixed:
        raise FleetError(section.at("on_host_maintenance"), f"is MIGRATE, but {fixed} cannot migrate: use TERMINATE")
    if restart and preemptible:
        raise FleetError(section.at("automatic_restart"), "is true, but a preemptible or Spot VM is not restarted")
    action = section.choice("instance_termination_action", Scheduling.instance_termination_action, ("STOP", "DELETE"))
    notice = section.integer("preemption_notice", 0, 0, 3600)
    for key, given in (("instance_termination_action", action == "DELETE"), ("preemption_notice", notice)):
        if given and not preemptible:
            raise FleetError(section.at(key), "is set, but the VM is not a Spot VM: add provisioning_model: SPOT")
    return Scheduling(
        automatic_restart=restart,
        on_host_maintenance=policy,
        preemptible=preemptible,
        provisioning_model=model,
        instance_termination_action=action,
        graceful_shutdown=section.integer("graceful_shutdown", 0, 0, 3600),
        preemption_notice=notice,
    )


def _disks(entry: Section, name: str) -> tuple[Disk, ...]:
    if not entry.has("disks"):
        return (Disk(device_name=name, boot=True),)
    return tuple(
        Disk(
            device_name=each.text("device_name", name if number == 0 else f"persistent-disk-{number}"),
            type=each.text("type", Disk.type),
            mode=each.choice("mode", Disk.mode, ("READ_WRITE", "READ_ONLY")),
            interface=each.choice("interface", Disk.interface, ("SCSI", "NVME")),
            size_gb=each.integer("size_gb", Disk.size_gb, 1, 65536),
            boot=each.flag("boot", number == 0),
        )
        for number, each in enumerate(entry.sections("disks", field_names(Disk)))
    )


def _zone(entry: Section) -> str:
    return entry.text("zone", "us-central1-a", NAME)


def _internal_addresses(entries: Sequence[Section]) -> InternalAddresses:
    named, wanted = [], []
    for entry in entries:
        for interface in _interface_sections(entry):
            if interface.has("ip"):
                named.append(interface.text("ip", None))
            else:
                wanted.append(region_of(_zone(entry)))
    return InternalAddresses(wanted, named)


def _interface_sections(entry: Section) -> list[Section]:
    if not entry.has("network_interfaces"):
        return [Section({"external_ip": EPHEMERAL}, entry.at("network_interfaces"), _INTERFACE_KEYS)]
    return entry.sections("network_interfaces", _INTERFACE_KEYS)


def _network_interfaces(entry: Section, addresses: InternalAddresses, region: str) -> tuple[NetworkInterface, ...]:
    return tuple(_network_interface(each, addresses, region) for each in _interface_sections(entry))


def _network_interface(section: Section, addresses: InternalAddresses, region: str) -> NetworkInterface:
    subnet = addresses.subnet(region)
    ip = section.text("ip", None) if section.has("ip") else addresses.take(region)
    if ip is None:
        raise FleetError(section.at("ip"), f"is needed: {region} has no address left in {subnet}")
    subnetmask = section.text("subnetmask", str(subnet.netmask))
    try:
        gateway, mac = gateway_of(ip, subnetmask), mac_of(ip)
    except ValueError:
        raise FleetError(section.at("ip"), f"is {ip!r} with the subnetmask {subnetmask!r}; both must be IPv4") from None
    return NetworkInterface(
        ip=ip,
        gateway=section.text("gateway", gateway),
        subnetmask=subnetmask,
        network=section.text("network", NetworkInterface.network),
        subnetwork=section.text("subnetwork", NetworkInterface.subnetwork),
        external_ip=section.text("external_ip", "", empty=True) or None,
        mac=section.text("mac", mac),
        mtu=section.integer("mtu", NetworkInterface.mtu, 1280, 8896),
        dns_servers=section.strings("dns_servers", NetworkInterface.dns_servers),
    )


def _service_accounts(entry: Section, numeric: int) -> tuple[ServiceAccount, ...]:
    email = f"{numeric}-compute@developer.gserviceaccount.com"
    if not entry.has("service_accounts"):
        return (ServiceAccount(email),)
    return tuple(
        ServiceAccount(email=each.text("email", email), scopes=each.strings("scopes", DEFAULT_SCOPES))
        for each in entry.sections("service_accounts", field_names(ServiceAccount))
    )


def _default_id(project: str, zone: str, name: str) -> int:
    # The same at each start, and above 2^53 as real ids are: reading it as a float loses digits.
    digest = hashlib.blake2b(f"{project}/{zone}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 2**62 | 2**61 | 1


def _default_hostname(project: str, zone: str, name: str) -> str:
    domain, _unused, short = project.rpartition(":")
    return f"{name}.{zone}.c.{short}.{domain}.internal" if domain else f"{name}.{zone}.c.{project}.internal"


def _refuse_twins(fleet: Fleet) -> None:
    # Names are unique across zones: only the Compute API distinguishes instances by zone.
    facts: tuple[tuple[str, Callable[[InstanceSpec], Any]], ...] = (
        ("name", lambda spec: spec.name),
        ("id", lambda spec: spec.id),
        ("port", lambda spec: (spec.address, spec.port) if spec.port else object()),
    )
    for key, fact in facts:
        seen: dict[Any, int] = {}
        for number, spec in enumerate(fleet.instances):
            first = seen.setdefault(fact(spec), number)
            if first != number:
                raise FleetError(
                    f"instances[{number}].{key}", f"is {getattr(spec, key)!r}, as in instances[{first}].{key}"
                )


def _on_one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None or problem is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
