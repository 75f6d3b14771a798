# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zonal metadata: instanceSettings of the Compute API, and the guest's view."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gce_emulator.state.faults import Fault
from gce_emulator.state.fleet_file import parse
from gce_emulator.state.fleet_section import FleetError
from support.compute_api import SERVICE, ComputeApi, compute_api

FLEET = {
    "attributes": {"owner": "platform", "tier": "one"},
    "zonal_attributes": {"us-central1-a": {"tier": "two"}},
    "instances": [
        {"name": "web-1", "attributes": {"role": "web"}},
        {"name": "far-1", "zone": "europe-west1-b"},
    ],
}
SETTINGS = "zones/us-central1-a/instanceSettings"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


async def patch(api: ComputeApi, body: Any, **query: str) -> tuple[int, Any]:
    status, operation = await api.request("PATCH", SETTINGS, query, body)
    return status, await api.done(operation) if status == 200 else operation


async def items(api: ComputeApi) -> Any:
    status, settings = await api.get(SETTINGS)
    assert status == 200
    return settings.get("metadata", {}).get("items")


def items_body(**values: str) -> dict[str, Any]:
    return {"metadata": {"items": values}}


async def test_the_fleet_file_sets_it(api: ComputeApi) -> None:
    status, settings = await api.get(SETTINGS)
    assert status == 200
    assert settings["kind"] == "compute#instanceSettings"
    assert settings["metadata"]["items"] == {"tier": "two"}
    assert settings["zone"] == f"{SERVICE}projects/emulated-project/zones/us-central1-a"


async def test_a_zone_without_any_has_no_metadata(api: ComputeApi) -> None:
    """gcloud fails on `metadata` that has no `items`."""
    status, settings = await api.get("zones/europe-west1-b/instanceSettings")
    assert status == 200
    assert "metadata" not in settings
    assert settings["fingerprint"]


async def test_takes_precedence_over_the_project_s_metadata(api: ComputeApi) -> None:
    near, far = api.project.instances["web-1"], api.project.instances["far-1"]
    assert near.get("project/attributes/tier") == near.effective_attribute("tier") == "two"
    assert near.get("project/attributes/owner") == "platform"
    assert far.get("project/attributes/tier") == "one"
    assert api.project.attributes["tier"] == "one"


async def test_instance_s_metadata_takes_precedence(api: ComputeApi) -> None:
    await patch(api, items_body(role="zonal"), updateMask="metadata.items.role")
    assert api.project.instances["web-1"].effective_attribute("role") == "web"


async def test_a_change_wakes_only_guests_of_the_zone(api: ComputeApi) -> None:
    told: dict[str, list[str]] = {"web-1": [], "far-1": []}
    for name, paths in told.items():
        api.project.instances[name].on_change(paths.append)
    await patch(api, items_body(shelf="top"), updateMask="metadata.items.shelf")
    assert "project/attributes/shelf" in told["web-1"]
    assert told["far-1"] == []


async def test_the_mask_selects_keys_to_set_and_to_delete(api: ComputeApi) -> None:
    status, operation = await patch(
        api, items_body(a="1", b="2", ignored="3"), updateMask="metadata.items.a,metadata.items.b,metadata.items.tier"
    )
    assert status == 200
    assert operation["targetLink"].endswith(SETTINGS)
    assert await items(api) == {"a": "1", "b": "2"}
    assert api.project.instances["web-1"].get("project/attributes/tier") == "one"


async def test_without_a_mask_all_keys_of_the_body_are_set(api: ComputeApi) -> None:
    await patch(api, items_body(a="1"))
    assert await items(api) == {"a": "1", "tier": "two"}


async def test_the_mask_can_select_all_items(api: ComputeApi) -> None:
    await patch(api, items_body(a="1"), updateMask="metadata.items")
    assert await items(api) == {"a": "1"}


async def test_the_fingerprint_changes_with_each_write_and_is_compared(api: ComputeApi) -> None:
    before = (await api.get(SETTINGS))[1]["fingerprint"]
    status, _operation = await patch(api, {**items_body(a="1"), "fingerprint": before})
    assert status == 200
    assert (await api.get(SETTINGS))[1]["fingerprint"] != before
    status, error = await patch(api, {**items_body(a="2"), "fingerprint": before})
    assert (status, error["error"]["errors"][0]["reason"]) == (412, "conditionNotMet")
    assert (await items(api))["a"] == "1"


async def test_a_conflict_can_come_with_the_operation(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("operation-conflict", face="compute", count=1))
    _status, operation = await patch(api, items_body(a="1"))
    assert operation["error"]["errors"][0]["code"] == "CONDITION_NOT_MET"
    assert await items(api) == {"tier": "two"}


async def test_repeated_request_is_applied_once(api: ComputeApi) -> None:
    request_id = str(uuid.uuid4())
    _status, first = await patch(api, items_body(a="1"), requestId=request_id)
    _status, second = await patch(api, items_body(a="1"), requestId=request_id)
    assert first["name"] == second["name"]


@pytest.mark.parametrize(
    "body, mask, words",
    [
        ({"metadata": {"items": [{"key": "a", "value": "1"}]}}, "metadata.items.a", "Must be a map"),
        ({"metadata": {"items": {"a b": "1"}}}, "metadata.items", "Must be a match of regex"),
        ({"metadata": {"items": {"a": 1}}}, "metadata.items.a", "Must be a string"),
        ({}, "labels", "Must name metadata.items"),
        ({}, "metadata.items.a b", "Must name metadata.items"),
    ],
)
async def test_invalid_zonal_metadata_is_refused(api: ComputeApi, body: Any, mask: str, words: str) -> None:
    status, error = await patch(api, body, updateMask=mask)
    assert status == 400
    assert words in error["error"]["message"]


async def test_too_large_metadata_is_rejected(api: ComputeApi) -> None:
    half = "x" * 262_144
    assert (await patch(api, items_body(a=half)))[0] == 200
    status, error = await patch(api, items_body(b=half))
    assert (status, error["error"]["errors"][0]["reason"]) == (413, "fieldSizeTooLarge")


async def test_a_reset_restores_the_fleet_file(api: ComputeApi) -> None:
    await patch(api, items_body(tier="nine"))
    api.project.reset()
    assert await items(api) == {"tier": "two"}
    assert api.project.instances["web-1"].get("project/attributes/tier") == "two"


@pytest.mark.parametrize(
    "zones, words",
    [
        ([], "zonal_attributes: is a list; it must be a mapping"),
        ({"No Zone": {}}, "zonal_attributes: has 'No Zone', which is not a zone's name"),
        ({"us-central1-a": {"a": 1}}, "zonal_attributes.us-central1-a.a: is 1; it must be a string"),
    ],
)
def test_a_mistake_in_the_fleet_file_is_reported_with_its_place(zones: Any, words: str) -> None:
    with pytest.raises(FleetError) as mistake:
        parse({"zonal_attributes": zones, "instances": [{"name": "web-1"}]})
    assert words in str(mistake.value)


async def test_a_zone_without_vms_has_metadata(api: ComputeApi) -> None:
    path = "zones/asia-east1-a/instanceSettings"
    _status, operation = await api.request("PATCH", path, {"updateMask": "metadata.items.a"}, items_body(a="1"))
    assert "error" not in await api.done(operation)
    assert (await api.get(path))[1]["metadata"]["items"] == {"a": "1"}
