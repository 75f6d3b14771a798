# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instances do not take the SSH keys that are in metadata.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._compute.api import ComputeApi
from .._compute.errors import ComputeError
from .._compute.instances import select, zone_of
from .._compute.metadata_store import ProjectStore, ZonalStore, snapshot_of
from .._metadata import ssh_keys as _ssh_keys
from .api import each

Values = Mapping[str, str]


@dataclass(frozen=True)
class Ignoring:
    """An instance that does not take the keys, and why."""

    name: str
    zone: str
    reason: str


def of_instances(api: ComputeApi, instances: Sequence[tuple[str, str, Values]]) -> list[Ignoring]:
    """Of these instances, each with its name, its zone and its metadata, those that ignore their own keys."""
    if not instances:
        return []
    return _ignoring(api, instances, "instance", {}, None)


def of_zone(api: ComputeApi, zone: str, values: Values) -> list[Ignoring]:
    """Of the instances in a zone, those that ignore its keys."""
    return _ignoring(api, _found(api, zone), "zonal", {zone: values}, None)


def of_project(api: ComputeApi, values: Values) -> list[Ignoring]:
    """Of all instances, those that ignore the project's keys."""
    return _ignoring(api, _found(api, None), "project", {}, values)


def _found(api: ComputeApi, zone: str | None) -> list[tuple[str, str, Values]]:
    return [
        (str(instance["name"]), zone_of(instance), snapshot_of(instance.get("metadata", {})).values)
        for instance in select(api, zone=zone, fields="metadata(items)").instances
    ]


def _ignoring(
    api: ComputeApi,
    instances: Sequence[tuple[str, str, Values]],
    scope: str,
    zonal: Mapping[str, Values],
    project: Values | None,
) -> list[Ignoring]:
    zones = sorted({zone for _name, zone, _values in instances} - zonal.keys())
    found = dict(zonal)
    for zone, read in zip(zones, each(api, zones, lambda zone: ZonalStore(api, zone).read().values)):
        if isinstance(read, ComputeError):
            raise read
        found[zone] = read
    project = ProjectStore(api).read().values if project is None else project
    ignoring = []
    for name, zone, values in instances:
        layers = {"instance": values, "zonal": found[zone], "project": project}
        reason = _ssh_keys.ignored(layers, scope)
        if reason is not None:
            ignoring.append(Ignoring(name, zone, reason))
    return ignoring
