# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding instances by name, in one zone or in all, or by a filter expression of the API.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .api import ComputeApi
from .errors import ComputeBadRequest, ComputeError, ComputeNotFound
from .resource_names import parse_instance, parse_zone

# A filter with this many names, of up to 63 characters each, fits into a URL.
NAMES_IN_A_FILTER = 250
LONGEST_FILTER = 6000


@dataclass(frozen=True)
class Name:
    """An instance as the user writes it: its name or ID, and its zone if that is given."""

    written: str
    name: str
    zone: str | None


@dataclass
class Selection:
    """The instances as the API returns them, with `name` and `zone`, and why others were not found, by name."""

    instances: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, ComputeError] = field(default_factory=dict)


def path_of(instance: Mapping[str, Any]) -> str:
    """The path of an instance, below projects/PROJECT/."""
    return f"zones/{zone_of(instance)}/instances/{instance['name']}"


def zone_of(instance: Mapping[str, Any]) -> str:
    return str(instance["zone"]).rpartition("/")[2]


def select(
    api: ComputeApi,
    *,
    names: Sequence[str] | None = None,
    expression: str | None = None,
    zone: str | None = None,
    fields: str = "",
) -> Selection:
    """The instances with these names, in their order, or those that match a filter expression, by zone and name.

    `zone` applies to names without a zone of their own, and to the filter. By default, all zones are searched.
    `fields` are read in addition to id, name and zone.
    """
    zone = zone_named(api, zone) if zone is not None else None
    mask = f"id,name,zone,{fields}".rstrip(",")
    if names is None:
        found = listed(api, zone, mask, expression)
        return Selection(sorted(found, key=lambda instance: (zone_of(instance), instance["name"])))
    return _named(api, list(dict.fromkeys(instance_named(api, name, zone) for name in names)), mask)


def listed(api: ComputeApi, zone: str | None, fields: str, expression: str | None) -> Iterator[dict[str, Any]]:
    """The instances of a zone, in any form, or of all zones, that match a filter expression."""
    query = {"filter": expression} if expression else {}
    zone = None if zone is None else zone_named(api, zone)
    return api.in_zones("instances", zone, "list", fields=fields, **query)


def instance_named(api: ComputeApi, written: str, zone: str | None = None) -> Name:
    """Parse an instance in any form; `zone` is for a name without one.

    Raises ComputeBadRequest if it belongs to another project.
    """
    instance = parse_instance(written)
    _check_project(api, f"The instance {written!r}", instance.project)
    return Name(written, instance.name, instance.zone or zone)


def zone_named(api: ComputeApi, written: str) -> str:
    """The name of a zone in any form. Raises ComputeBadRequest if it belongs to another project."""
    zone = parse_zone(written)
    _check_project(api, f"The zone {written!r}", zone.project)
    return zone.zone


def _check_project(api: ComputeApi, what: str, project: str | None) -> None:
    if project is None:
        return
    try:
        is_same = api.is_project(project)
    except ComputeError as error:
        raise ComputeBadRequest(
            f"{what} has the number of a project, and whether that is {api.project} cannot be read: {error} Write it "
            "without the project, or with the project's ID."
        ) from None
    if not is_same:
        raise ComputeBadRequest(f"{what} is not in the project {api.project}. Set the option project to its project.")


def _named(api: ComputeApi, names: Sequence[Name], mask: str) -> Selection:
    if len(names) == 1 and names[0].zone:
        # This does not need the permission to list instances.
        [name] = names
        try:
            return Selection([api.get(f"zones/{name.zone}/instances/{name.name}", "read", fields=mask)])
        except ComputeNotFound as error:
            return Selection(failures={name.written: error})
    # By zone and name or ID, then by path, since an instance may be selected by both.
    found: dict[tuple[str | None, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for zone, expression in _filters(names):
        for instance in listed(api, zone, mask, expression):
            for key in (str(instance["name"]), str(instance["id"])):
                found[zone, key][path_of(instance)] = instance
    selection = Selection()
    taken = set()
    for name in names:
        try:
            instance = _only(api, name, list(found[name.zone, name.name].values()))
        except ComputeError as error:  # noqa: PERF203 - each name fails by itself
            selection.failures[name.written] = error
        else:
            # Once, even if selected by both name and ID.
            if path_of(instance) not in taken:
                taken.add(path_of(instance))
                selection.instances.append(instance)
    return selection


def _filters(names: Iterable[Name]) -> Iterator[tuple[str | None, str]]:
    """Filter expressions that match these names, each with its zone."""
    by_zone: dict[tuple[str | None, bool], list[str]] = defaultdict(list)
    for name in names:
        by_zone[name.zone, name.name.isdigit()].append(name.name)
    for (zone, are_ids), alike in by_zone.items():
        longest = max(map(len, alike))
        size = min(NAMES_IN_A_FILTER, LONGEST_FILTER // (longest + len("(id = ) OR ")))
        for start in range(0, len(alike), size):
            end = start + size
            few = alike[start:end]
            # A regular expression is shorter, but only works for one field.
            yield zone, " OR ".join(f"(id = {each})" for each in few) if are_ids else f'name eq "({"|".join(few)})"'


def _only(api: ComputeApi, name: Name, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(found) == 1:
        return dict(found[0])
    where = f"the zone {name.zone}" if name.zone else "any zone"
    if not found:
        unreached = f" These could not be reached: {', '.join(api.unreachables)}." if api.unreachables else ""
        raise ComputeNotFound(
            f"There is no instance {name.name} in {where} of the project {api.project}.{unreached}", status=404
        )
    zones = ", ".join(sorted(zone_of(instance) for instance in found))
    raise ComputeBadRequest(
        f"The instance {name.name} is in more than one zone: {zones}. Set the option zone, or write ZONE/NAME."
    )
