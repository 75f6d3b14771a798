# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instances that ignore SSH keys in metadata.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._metadata.ssh_keys import ignored
from .api import ComputeApi
from .instances import select, zone_of
from .metadata_store import ProjectStore, read_zones, snapshot_of

Values = Mapping[str, str]
# Name, zone and metadata.
Instance = tuple[str, str, Values]


@dataclass(frozen=True)
class Ignoring:
    """An instance that ignores the keys, and why."""

    name: str
    zone: str
    reason: str


def of_instances(api: ComputeApi, instances: Sequence[Instance]) -> list[Ignoring]:
    """The instances that ignore their own keys."""
    return _ignoring(api, instances, "instance", {}, None) if instances else []


def of_zone(api: ComputeApi, zone: str, values: Values) -> list[Ignoring]:
    """The instances of a zone that ignore the keys in its metadata."""
    return _ignoring(api, _instances(api, zone), "zonal", {zone: values}, None)


def of_project(api: ComputeApi, values: Values) -> list[Ignoring]:
    """The project's instances that ignore the keys in its metadata."""
    return _ignoring(api, _instances(api, None), "project", {}, values)


def _instances(api: ComputeApi, zone: str | None) -> list[Instance]:
    return [
        (str(instance["name"]), zone_of(instance), snapshot_of(instance.get("metadata", {})).values)
        for instance in select(api, zone=zone, fields="metadata(items)").instances
    ]


def _ignoring(
    api: ComputeApi,
    instances: Sequence[Instance],
    scope: str,
    zonal: Mapping[str, Values],
    project: Values | None,
) -> list[Ignoring]:
    unread = {zone for _name, zone, _values in instances} - zonal.keys()
    zones = {**zonal, **{zone: snapshot.values for zone, snapshot in read_zones(api, unread).items()}}
    project = ProjectStore(api).read().values if project is None else project
    found = []
    for name, zone, values in instances:
        reason = ignored({"instance": values, "zonal": zones[zone], "project": project}, scope)
        if reason is not None:
            found.append(Ignoring(name, zone, reason))
    return found
