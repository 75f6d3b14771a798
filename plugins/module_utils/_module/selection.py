# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters that say which instances a module is about.

Private to the collection: it may change at any time.

The options are described in plugins/doc_fragments/_api.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._compute.api import DEFAULT_CONCURRENCY, ComputeApi
from .._compute.instances import Selection, select

INSTANCES_ARGSPEC: dict[str, Mapping[str, Any]] = {
    "zone": {"type": "str"},
    "instance": {"type": "str"},
    "instances": {"type": "list", "elements": "str"},
    "filter": {"type": "str"},
    "concurrency": {"type": "int", "default": DEFAULT_CONCURRENCY},
}

_SELECTIONS = ("instance", "instances", "filter")
# Conditions to go with these options. Null is not the same as left out: a variable that came to nothing must not
# mean the whole project. Once options have their defaults the two look alike, so that it is told here: one that is null
# requires another, and of them there is to be one only.
ONE_SELECTION: dict[str, Any] = {
    "mutually_exclusive": [_SELECTIONS],
    "required_if": [(name, None, [other for other in _SELECTIONS if other != name], True) for name in _SELECTIONS],
}
# The same where there have to be some.
SOME_SELECTION: dict[str, Any] = {**ONE_SELECTION, "required_one_of": [_SELECTIONS]}


def refuse_empty(module: AnsibleModule) -> None:
    """A template that came to nothing must not mean all zones, or every instance."""
    for name in ("instance", "filter", "zone"):
        if module.params.get(name) == "":
            module.fail_json(msg=f"{name} is empty. Leave it out if it does not matter.")


def selections(params: Mapping[str, Any]) -> list[str]:
    """The names of the parameters that say which instances; none if these are not what it is about."""
    return [name for name in _SELECTIONS if params[name] is not None]


def selected(params: Mapping[str, Any], api: ComputeApi, fields: str) -> Selection:
    """The instances, with these fields, and why others were not found."""
    return select(
        api,
        names=[params["instance"]] if params["instance"] is not None else params["instances"],
        expression=params["filter"],
        zone=params["zone"],
        fields=fields,
    )
