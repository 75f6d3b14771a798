# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of operations: requests, and the platform's own actions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gce_emulator.scenarios import catalogue
from support.compute_api import ComputeApi, compute_api

FLEET = {
    "instances": [
        {"name": "web-1"},
        {"name": "spot-1", "zone": "europe-west1-b", "scheduling": {"preemptible": True}},
    ],
}
ZONES = ["zones/europe-west1-b", "zones/us-central1-a"]


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    """After a migration, a preemption and a write to the project."""
    async with compute_api(FLEET) as served:
        instances = served.project.instances
        await catalogue.start(instances["web-1"], "live-migration").done
        await catalogue.start(instances["spot-1"], "preemption", {"restart": False}).done
        await served.done((await served.post("setCommonInstanceMetadata", await common_metadata(served)))[1])
        yield served


async def common_metadata(api: ComputeApi) -> Any:
    return (await api.get(""))[1]["commonInstanceMetadata"]


def types(answer: Any) -> dict[str, list[str]]:
    return {
        scope: sorted(each["operationType"] for each in content.get("operations", []))
        for scope, content in answer["items"].items()
    }


async def test_operations_of_all_scopes_are_in_one_list(api: ComputeApi) -> None:
    status, answer = await api.get("aggregated/operations")
    assert (status, answer["kind"]) == (200, "compute#operationAggregatedList")
    assert types(answer) == {
        "global": ["setMetadata"],
        "zones/us-central1-a": ["compute.instances.migrateOnHostMaintenance"],
        "zones/europe-west1-b": ["compute.instances.preempted"],
    }


async def test_a_preemption_is_found_by_its_type(api: ComputeApi) -> None:
    _status, answer = await api.get("aggregated/operations", filter="operationType=compute.instances.preempted")
    (found,) = answer["items"]["zones/europe-west1-b"]["operations"]
    assert found["targetLink"].endswith("/zones/europe-west1-b/instances/spot-1")
    assert found["user"] == "system"
    assert answer["items"]["global"]["warning"]["code"] == "NO_RESULTS_ON_PAGE"


async def test_operations_come_in_pages(api: ComputeApi) -> None:
    found, token = [], ""
    for _unused in range(3):
        _status, answer = await api.get("aggregated/operations", maxResults="1", pageToken=token)
        found += [scope for scope, operations in types(answer).items() if operations]
        token = answer.get("nextPageToken", "")
    assert (sorted(found), token) == (["global", *ZONES], "")


async def test_all_scopes_are_listed_on_request(api: ComputeApi) -> None:
    _status, answer = await api.get("aggregated/operations", includeAllScopes="true")
    assert {"global", *ZONES, "zones/asia-east1-a"} <= answer["items"].keys()


@pytest.mark.parametrize("scope, number", [("global", 1), ("zones/europe-west1-b", 1), ("regions/us-central1", 0)])
async def test_each_scope_has_its_own_list(api: ComputeApi, scope: str, number: int) -> None:
    status, answer = await api.get(f"{scope}/operations")
    assert (status, len(answer.get("items", []))) == (200, number)


async def test_an_unknown_region_is_refused(api: ComputeApi) -> None:
    assert (await api.get("regions/atlantis/operations"))[0] == 400
