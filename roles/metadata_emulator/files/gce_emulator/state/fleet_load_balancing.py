# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load balancing in the fleet file: network endpoint groups, instance groups, target pools and backend services."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from .fleet_section import NAME, FleetError, Section, field_names, refuse_same_names
from .geography import region_of

ENDPOINT_TYPES = ("GCE_VM_IP_PORT", "GCE_VM_IP")
GLOBAL = "global"
_DEFAULT_ZONE = "us-central1-a"


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An endpoint of a network endpoint group. `port` is 0 in groups of the type GCE_VM_IP."""

    instance: str
    ip: str
    port: int


@dataclasses.dataclass(frozen=True)
class EndpointGroupSpec:
    """`default_port` is 0 if there is none."""

    name: str
    zone: str
    type: str
    default_port: int
    endpoints: tuple[Endpoint, ...]


@dataclasses.dataclass(frozen=True)
class InstanceGroupSpec:
    name: str
    zone: str
    managed: bool
    named_ports: Mapping[str, int]
    instances: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class TargetPoolSpec:
    name: str
    region: str
    instances: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class BackendServiceSpec:
    """`region` is "global" for a global one. `groups` are ZONE/NAME. Without `health_checked`, it reports no health."""

    name: str
    region: str
    protocol: str
    load_balancing_scheme: str
    draining_timeout: int
    health_checked: bool
    groups: tuple[str, ...]


class LoadBalancingReader:
    """Reads the four sections. `zones` and primary `addresses` of the instances, by their names."""

    def __init__(self, zones: Mapping[str, str], addresses: Mapping[str, str]) -> None:
        self._zones = zones
        self._addresses = addresses

    def endpoint_groups(self, section: Section) -> tuple[EndpointGroupSpec, ...]:
        """Raises FleetError."""
        entries = section.sections("network_endpoint_groups", field_names(EndpointGroupSpec))
        specs = tuple(map(self._endpoint_group, entries))
        refuse_same_names("network_endpoint_groups", [f"{spec.zone}/{spec.name}" for spec in specs])
        return specs

    def instance_groups(self, section: Section, others: Sequence[EndpointGroupSpec]) -> tuple[InstanceGroupSpec, ...]:
        """`others` must have other names, for the groups of backend services. Raises FleetError."""
        entries = section.sections("instance_groups", field_names(InstanceGroupSpec))
        specs = tuple(map(self._instance_group, entries))
        refuse_same_names("instance_groups", [f"{spec.zone}/{spec.name}" for spec in specs])
        taken = {(other.zone, other.name) for other in others}
        for entry, spec in zip(entries, specs):
            if (spec.zone, spec.name) in taken:
                raise FleetError(entry.at("name"), f"is {spec.name!r}, as of a network endpoint group in {spec.zone}")
        return specs

    def target_pools(self, section: Section) -> tuple[TargetPoolSpec, ...]:
        """Raises FleetError."""
        entries = section.sections("target_pools", field_names(TargetPoolSpec))
        specs = tuple(map(self._target_pool, entries))
        refuse_same_names("target_pools", [f"{spec.region}/{spec.name}" for spec in specs])
        return specs

    def backend_services(
        self, section: Section, groups: Sequence[EndpointGroupSpec | InstanceGroupSpec]
    ) -> tuple[BackendServiceSpec, ...]:
        """Raises FleetError."""
        entries = section.sections("backend_services", field_names(BackendServiceSpec))
        known = [f"{group.zone}/{group.name}" for group in groups]
        specs = tuple(_backend_service(entry, known) for entry in entries)
        refuse_same_names("backend_services", [f"{spec.region}/{spec.name}" for spec in specs])
        return specs

    def _endpoint_group(self, entry: Section) -> EndpointGroupSpec:
        kind = entry.choice("type", ENDPOINT_TYPES[0], ENDPOINT_TYPES)
        port = entry.port("default_port")
        sections = entry.sections("endpoints", field_names(Endpoint))
        zone = self._zone(entry, [each.text("instance", None) for each in sections])
        endpoints = tuple(self._endpoint(each, zone, port if kind == ENDPOINT_TYPES[0] else None) for each in sections)
        for number, endpoint in enumerate(endpoints):
            if endpoint in endpoints[:number]:
                raise FleetError(sections[number].place, "is listed twice")
        return EndpointGroupSpec(entry.text("name", None, NAME), zone, kind, port, endpoints)

    def _endpoint(self, entry: Section, zone: str, default_port: int | None) -> Endpoint:
        """`default_port` is None in a group whose endpoints have no ports."""
        [instance] = self._instances(entry.at("instance"), [entry.text("instance", None)], zone)
        if default_port is None and entry.has("port"):
            raise FleetError(entry.at("port"), "is given, but endpoints of the type GCE_VM_IP have no port")
        port = entry.integer("port", default_port, 1, 65535) if default_port is not None else 0
        if default_port == port == 0:
            raise FleetError(entry.at("port"), "is missing; give it here, or a default_port of the group")
        if not entry.has("ip") and not self._addresses[instance]:
            raise FleetError(entry.at("ip"), f"is missing, and {instance!r} has no network interface")
        return Endpoint(instance, entry.text("ip", self._addresses[instance]), port)

    def _instance_group(self, entry: Section) -> InstanceGroupSpec:
        given = entry.strings("instances", ())
        zone = self._zone(entry, given)
        ports = entry.integers_by_name("named_ports", 1, 65535)
        instances = self._instances(entry.at("instances"), given, zone)
        return InstanceGroupSpec(entry.text("name", None, NAME), zone, entry.flag("managed", False), ports, instances)

    def _target_pool(self, entry: Section) -> TargetPoolSpec:
        given = entry.strings("instances", ())
        region = entry.text("region", region_of(self._zone_of(given)), NAME)
        instances = self._instances(entry.at("instances"), given, region)
        return TargetPoolSpec(entry.text("name", None, NAME), region, instances)

    def _zone(self, entry: Section, instances: Sequence[str]) -> str:
        return entry.text("zone", self._zone_of(instances), NAME)

    def _zone_of(self, instances: Sequence[str]) -> str:
        return next((self._zones[name] for name in instances if name in self._zones), _DEFAULT_ZONE)

    def _instances(self, place: str, names: Sequence[str], location: str) -> tuple[str, ...]:
        """The names, all of VMs in a zone or region."""
        for number, name in enumerate(names):
            if name not in self._zones:
                raise FleetError(place, f"has {name!r}, but the fleet has no such instance")
            if location not in (self._zones[name], region_of(self._zones[name])):
                raise FleetError(place, f"has {name!r}, which is in {self._zones[name]} and not in {location}")
            if name in names[:number]:
                raise FleetError(place, f"has {name!r} twice")
        return tuple(names)


def _backend_service(entry: Section, known: Sequence[str]) -> BackendServiceSpec:
    region = entry.text("region", GLOBAL, NAME)
    groups = [_group(entry.at("groups"), each, known) for each in entry.strings("groups", ())]
    for group in groups:
        if region != GLOBAL and region_of(group.partition("/")[0]) != region:
            raise FleetError(entry.at("groups"), f"has {group!r}, which is not in {region}")
    return BackendServiceSpec(
        name=entry.text("name", None, NAME),
        region=region,
        protocol=entry.text("protocol", "HTTP"),
        load_balancing_scheme=entry.text("load_balancing_scheme", "EXTERNAL_MANAGED"),
        draining_timeout=entry.integer("draining_timeout", 0, 0, 3600),
        health_checked=entry.flag("health_checked", True),
        groups=tuple(dict.fromkeys(groups)),
    )


def _group(place: str, name: str, known: Sequence[str]) -> str:
    """ZONE/NAME of a group, which may be given without the zone if there is only one of the name."""
    found = [each for each in known if name in (each, each.partition("/")[2])]
    if not found:
        raise FleetError(place, f"has {name!r}, but there is no such network endpoint group or instance group")
    if len(found) > 1:
        raise FleetError(place, f"has {name!r}, which can be {' or '.join(found)}")
    return found[0]
