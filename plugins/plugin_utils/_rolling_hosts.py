# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host of the inventory an instance is, and in which order hosts come. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ZONE = re.compile(r"[a-z]+-[a-z]+\d+-[a-z]+")
# What sorts hosts that gce_order does not name.
BY_ZONE, BY_WINDOW, BY_NAME, BY_INVENTORY = "zone", "window", "name", "inventory"
KEYWORDS = (BY_ZONE, BY_WINDOW, BY_NAME, BY_INVENTORY)


class BadPlan(ValueError):
    """Variables that do not result in a plan. The text says why, and what to do."""


@dataclass(frozen=True)
class Place:
    """What a host's variables say about its instance. Texts are empty if unknown.

    `given` is the variable that gce_host_by names: a name, ZONE/NAME, an ID, or a URL.
    """

    host: str
    given: str = ""
    name: str = ""
    zone: str = ""
    id: str = ""

    def names(self) -> set[str]:
        """Names and IDs, one of which its instance has."""
        if self.given:
            return {self.given.rstrip("/").rpartition("/")[2]}
        return {self.name, self.host, self.host.partition(".")[0], self.id} - {""}

    def is_instance(self, name: str, zone: str, identity: str) -> bool:
        """Whether the host is this instance."""
        if self.given:
            *above, own = self.given.rstrip("/").split("/")
            in_zone = not above or above[-1] == zone or (above[-1] == "instances" and above[-2:-1] == [zone])
            return in_zone and own in (name, identity)
        if self.id and identity:
            return self.id == identity
        if self.zone and self.zone != zone:
            return False
        return name in (self.name, self.host, self.host.partition(".")[0])


def place_of(host: str, variables: Mapping[str, Any], host_by: str | None) -> Place:
    """The place of a host by its variables: `id`, `name` and `zone` are those of google.cloud.gcp_compute."""
    if host_by:
        return Place(host, given=_text(variables.get(host_by)), zone=_short(variables.get("zone")))
    identity = _text(variables.get("id"))
    return Place(
        host,
        name=_text(variables.get("name")),
        zone=_short(variables.get("zone")),
        id=identity if identity.isdecimal() else "",
    )


def hosts_of(
    places: Iterable[Place], windows: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The window of each host, and the instances without a host as ZONE/NAME.

    Raises BadPlan if an instance is several hosts, or a host several instances.
    """
    by_key: dict[str, list[Place]] = {}
    for place in places:
        for key in place.names():
            by_key.setdefault(key, []).append(place)
    found: dict[str, Mapping[str, Any]] = {}
    homeless = []
    for window in windows:
        name, zone, identity = str(window["name"]), str(window["zone"]), str(window.get("id") or "")
        possible = [place for key in (name, identity) if key for place in by_key.get(key, ())]
        hosts = list(dict.fromkeys(place.host for place in possible if place.is_instance(name, zone, identity)))
        if len(hosts) > 1:
            raise BadPlan(
                f"The instance {zone}/{name} is several hosts of the inventory: {', '.join(hosts)}. Set gce_host_by to "
                "a variable that has ZONE/NAME or the ID of each host's instance, or leave one out of gce_hosts."
            )
        if not hosts:
            homeless.append(f"{zone}/{name}")
            continue
        other = found.get(hosts[0])
        if other is not None:
            raise BadPlan(
                f"The host {hosts[0]} can be {other['zone']}/{other['name']} or {zone}/{name}. Set its variable zone, "
                "or gce_host_by to a variable that has ZONE/NAME or the ID of its instance."
            )
        found[hosts[0]] = window
    return found, homeless


@dataclass(frozen=True)
class Order:
    """The order of hosts: `names` (hosts, groups and zones) come first, then `keywords` sort the rest."""

    names: tuple[frozenset[str], ...]
    zones: tuple[str, ...]
    keywords: tuple[str, ...]
    positions: Mapping[str, int]

    @property
    def has_zones(self) -> bool:
        """Whether one zone comes after the other, so that no batch has hosts of two."""
        return BY_ZONE in self.keywords or bool(self.zones)

    def key(self, host: str, zone: str, window_start: str) -> tuple[Any, ...]:
        """The key by which hosts are sorted."""
        rank = next((number for number, names in enumerate(self.names) if host in names), len(self.names))
        keys: list[Any] = [rank]
        for keyword in self.keywords:
            if keyword == BY_ZONE:
                keys += [self.zones.index(zone) if zone in self.zones else len(self.zones), zone]
            elif keyword == BY_WINDOW:
                keys += [window_start or "~"]
            elif keyword == BY_NAME:
                keys += [host]
        return (*keys, self.positions.get(host, 0), host)


def order_of(wanted: Sequence[str], hosts: Sequence[str], groups: Mapping[str, Iterable[str]]) -> Order:
    """The order of gce_order; `hosts` and `groups` are those of the inventory. Raises BadPlan."""
    names: list[frozenset[str]] = []
    own_zones: list[str] = []
    keywords: list[str] = []
    for each in wanted:
        if each in KEYWORDS:
            keywords.append(each)
        elif each in groups:
            names.append(frozenset(groups[each]))
        elif each in hosts:
            names.append(frozenset([each]))
        elif _ZONE.fullmatch(each):
            own_zones.append(each)
            keywords += [] if BY_ZONE in keywords else [BY_ZONE]
        else:
            raise BadPlan(
                f"gce_order has {each!r}, which is neither a host or a group of the inventory, nor a zone, nor one of "
                f"{', '.join(KEYWORDS)}."
            )
    positions = {host: number for number, host in enumerate(hosts)}
    return Order(tuple(names), tuple(own_zones), tuple(keywords or [BY_WINDOW]), positions)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _short(value: Any) -> str:
    """The zone of a URL."""
    return _text(value).rstrip("/").rpartition("/")[2]
