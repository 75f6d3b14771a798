# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Aggregated lists of the Compute API: a page of resources, by scope. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from .list_filter import Resource


def scope_of(resource: Resource) -> str:
    """`zones/us-east1-b`, `regions/us-east1` or `global`."""
    for kind in ("zone", "region"):
        if kind in resource:
            return f"{kind}s/{str(resource[kind]).rpartition('/')[2]}"
    return "global"


def by_scope(
    name: str, resources: Sequence[Resource], scopes: Sequence[str], unreachable: Collection[str] = ()
) -> dict[str, Any]:
    """The fields `items`, and `unreachables` and `warning` if scopes are unreachable.

    `name` is the key of the resources in a scope, such as `instances`. An empty scope has a warning.
    """
    items: dict[str, dict[str, Any]] = {scope: {} for scope in scopes}
    for resource in resources:
        items.setdefault(scope_of(resource), {}).setdefault(name, []).append(resource)
    for scope, content in items.items():
        if scope in unreachable:
            content["warning"] = _unreachable(scope)
        elif not content:
            content["warning"] = _no_results(scope)
    lacking = list(unreachable)
    partial = {"unreachables": lacking, "warning": _unreachable(", ".join(lacking))} if lacking else {}
    return {"items": items, **partial}


def _no_results(scope: str) -> dict[str, Any]:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope '{scope}' on this page.",
        "data": [{"key": "scope", "value": scope}],
    }


def _unreachable(scope: str) -> dict[str, Any]:
    return {
        "code": "UNREACHABLE",
        "message": f"The scope '{scope}' is not reachable at this time.",
        "data": [{"key": "scope", "value": scope}],
    }
