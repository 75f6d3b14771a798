# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the cluster and of indices, which others may change at the same time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from recipes.api import Api, NotFound

EXCLUDE = "cluster.routing.allocation.exclude._name"
DELAY = "index.unassigned.node_left.delayed_timeout"
PERSISTENT, TRANSIENT = "persistent", "transient"

# Elasticsearch accepts request lines of 4096 bytes.
_LONGEST = 2000
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def excluded(api: Api) -> dict[str, str | None]:
    """The names of excluded nodes, separated by commas, by scope. A transient setting hides the persistent one."""
    found = api.object("/_cluster/settings?flat_settings=true")
    return {scope: _text(found.get(scope, {}).get(EXCLUDE)) for scope in (PERSISTENT, TRANSIENT)}


def exclude(api: Api, scope: str, value: str | None) -> None:
    api.send("PUT", "/_cluster/settings", {scope: {EXCLUDE: value}})


def names(value: str | None) -> list[str]:
    return [name.strip() for name in (value or "").split(",") if name.strip()]


def without(value: str | None, name: str) -> str | None:
    """The setting without a name; None if none is left."""
    return ",".join(one for one in names(value) if one != name) or None


def delays(api: Api, indices: Iterable[str]) -> dict[str, str | None]:
    """The delay of each index that exists; None if it is the default."""
    found: dict[str, str | None] = {}
    for path in _paths(indices):
        try:
            answer = api.objects_by_name(f"/{path}/_settings?flat_settings=true&ignore_unavailable=true")
        except NotFound:
            # None of them exists any more.
            continue
        for index, one in answer.items():
            found[index] = _text(one.get("settings", {}).get(DELAY))
    return found


def delay(api: Api, indices: Iterable[str], value: str | None) -> None:
    for path in _paths(indices):
        api.send("PUT", f"/{path}/_settings?ignore_unavailable=true", {DELAY: value})


def seconds(value: str | None) -> float | None:
    """The seconds of a time such as `30m`; None if it is not one."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d)", value or "")
    return None if match is None else int(match.group(1)) * _UNITS[match.group(2)]


def _text(value: Any) -> str | None:
    return ",".join(map(str, value)) if isinstance(value, list) else None if value is None else str(value)


def _paths(indices: Iterable[str]) -> Iterator[str]:
    """Lists of indices for URLs, none of which is too long."""
    path = ""
    for index in sorted(indices):
        name = quote(index, safe="")
        if path and len(path) + len(name) > _LONGEST:
            yield path
            path = ""
        path += f",{name}" if path else name
    if path:
        yield path
