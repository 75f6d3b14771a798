# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields masks of the emulated Compute API."""

from __future__ import annotations

from typing import Any

import pytest

from gce_emulator.compute.fields_mask import apply_mask, parse_fields
from gce_emulator.state.errors import ApiError

AGGREGATED: dict[str, Any] = {
    "kind": "compute#instanceAggregatedList",
    "items": {
        "zones/us-east1-b": {"instances": [{"name": "web-1", "zone": "b", "disks": [{"index": 0, "mode": "RW"}]}]},
        "zones/us-east1-c": {"warning": {"code": "NO_RESULTS_ON_PAGE"}},
    },
    "nextPageToken": "next",
}
NAME_AND_ZONE: dict[str, Any] = {
    "items": {"zones/us-east1-b": {"instances": [{"name": "web-1", "zone": "b"}]}, "zones/us-east1-c": {}},
    "nextPageToken": "next",
}


@pytest.mark.parametrize(
    "fields, expected",
    [
        ("items.zones.instances(name,zone),nextPageToken", NAME_AND_ZONE),
        ("items/*/instances(name,zone),nextPageToken", NAME_AND_ZONE),
        ("items/*/instances/name, items/*/instances/zone, nextPageToken", NAME_AND_ZONE),
        ("items(*(instances(name,zone))),nextPageToken", NAME_AND_ZONE),
        ("kind", {"kind": "compute#instanceAggregatedList"}),
        ("nothing", {}),
        ("*", AGGREGATED),
        ("items,items/*/warning,kind,nextPageToken", AGGREGATED),
        (
            "items/*/instances/disks/mode,items/*/warning",
            {
                "items": {
                    "zones/us-east1-b": {"instances": [{"disks": [{"mode": "RW"}]}]},
                    "zones/us-east1-c": {"warning": {"code": "NO_RESULTS_ON_PAGE"}},
                }
            },
        ),
    ],
)
def test_fields_mask(fields: str, expected: dict[str, Any]) -> None:
    assert apply_mask(parse_fields(fields), AGGREGATED) == expected


def test_a_mask_can_be_reused() -> None:
    mask = parse_fields("items/*/instances/name,items/zones/instances/zone")
    assert apply_mask(mask, AGGREGATED) == apply_mask(mask, AGGREGATED)


@pytest.mark.parametrize(
    "fields", ["", ",", "items(", "items()", "items)", "a,,b", "items/", "items(name", "a b", "a;b"]
)
def test_an_invalid_fields_mask_is_refused(fields: str) -> None:
    with pytest.raises(ApiError, match=r"Invalid field selection\.$"):
        parse_fields(fields)
