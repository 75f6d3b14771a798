# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of the announcement. The tests of the action plugin check that it is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.plugin_utils._announcement import announcement

MANY = {f"key-{number:02}": "text" for number in range(30)}
FEW = dict(list(MANY.items())[:8])
RATE = "at the 10 requests a minute that the metadata server allows"


@pytest.mark.parametrize(
    "count, time", [(9, "1 min 0 s"), (12, "1 min 1 s"), (18, "1 min 3 s"), (30, "3 min 0 s"), (100, "10 min 0 s")]
)
def test_it_has_the_longest_possible_time(count: int, time: str) -> None:
    attributes = {f"key-{number}": number for number in range(count)}
    assert announcement("web-1", {"attributes": attributes}) == (
        f"guest_attributes on web-1: {count} attributes take up to {time} {RATE}"
    )


@pytest.mark.parametrize("purge", [True, "yes"])
def test_it_mentions_purge(purge: Any) -> None:
    said = announcement("web-1", {"attributes": MANY, "purge": purge})
    assert (
        said
        == f"guest_attributes on web-1: 30 attributes take up to 3 min 0 s {RATE}, and more for those that it purges"
    )


@pytest.mark.parametrize(
    "attributes", [json.dumps(MANY), str(MANY), " ".join(f"{key}={text}" for key, text in MANY.items())]
)
def test_it_accepts_attributes_in_all_forms_of_the_module(attributes: str) -> None:
    assert str(announcement("web-1", {"attributes": attributes})).startswith("guest_attributes on web-1: 30 attr")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        *({"attributes": value} for value in (None, {}, FEW, "", "text", "{", "a=b c", "{1}", ["x"] * 30, 30, True)),
    ],
)
def test_short_or_invalid_tasks_are_not_announced(arguments: dict[str, Any]) -> None:
    assert announcement("web-1", arguments) is None
