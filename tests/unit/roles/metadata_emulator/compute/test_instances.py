# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances of the Compute API, lists and refusals."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from gce_emulator.cli import Emulator
from gce_emulator.state.faults import Fault
from gce_emulator.state.fleet_file import parse
from support.compute_api import PROJECT, SERVICE, ComputeApi, compute_api

FLEET = {
    "numeric_project_id": 708288290784,
    "attributes": {"enable-guest-attributes": "TRUE"},
    "instances": [
        {"name": "web-1", "zone": "us-east1-b", "labels": {"owner": "ops"}, "attributes": {"enable-oslogin": "no"}},
        {"name": "web-2", "zone": "us-east1-b", "tags": ["front"]},
        {"name": "gpu-1", "zone": "us-west4-a", "accelerators": [{"type": "nvidia-l4", "count": 2}]},
        {"name": "spot-1", "zone": "us-east1-c", "scheduling": {"preemptible": True}, "id": 9223372036854775809},
    ],
}


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


def names(answer: Any) -> list[str]:
    return [item["name"] for item in answer.get("items", [])]


def aggregated_names(answer: Any) -> dict[str, list[str]]:
    return {
        scope: [instance["name"] for instance in content.get("instances", [])]
        for scope, content in answer["items"].items()
    }


async def test_instance_has_the_shape_of_the_real_one(api: ComputeApi) -> None:
    status, web = await api.get("zones/us-east1-b/instances/web-1")
    zone = f"{SERVICE}projects/{PROJECT}/zones/us-east1-b"
    assert status == 200
    assert web["kind"] == "compute#instance"
    assert web["id"] == str(api.project.instances["web-1"].id)
    assert (web["name"], web["status"], web["zone"]) == ("web-1", "RUNNING", zone)
    assert web["selfLink"] == f"{zone}/instances/web-1"
    assert web["machineType"] == f"{zone}/machineTypes/e2-medium"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}-0[78]:00", web["creationTimestamp"])
    assert web["labels"] == {"owner": "ops"}
    assert web["metadata"]["items"] == [{"key": "enable-oslogin", "value": "no"}]
    assert re.fullmatch(r"[\w-]{11}=", web["metadata"]["fingerprint"])
    assert web["networkInterfaces"][0]["networkIP"] == "10.142.0.2"
    assert web["disks"][0]["source"] == f"{zone}/disks/web-1"
    assert web["scheduling"] == {
        "onHostMaintenance": "MIGRATE",
        "automaticRestart": True,
        "preemptible": False,
        "provisioningModel": "STANDARD",
    }


async def test_effective_metadata_is_the_instances_over_the_projects(api: ComputeApi) -> None:
    _unused, web = await api.get("zones/us-east1-b/instances/web-1")
    assert web["resourceStatus"]["effectiveInstanceMetadata"] == {
        "enableGuestAttributesMetadataValue": True,
        "enableOsloginMetadataValue": False,
        "vmDnsSettingMetadataValue": "ZonalOnly",
    }


async def test_instance_without_metadata_has_no_items(api: ComputeApi) -> None:
    _unused, web = await api.get("zones/us-east1-b/instances/web-2")
    assert web["metadata"].keys() == {"kind", "fingerprint"}
    assert web["tags"]["items"] == ["front"]


async def test_instance_with_accelerators_and_a_spot_one(api: ComputeApi) -> None:
    _unused, gpu = await api.get("zones/us-west4-a/instances/gpu-1")
    assert gpu["guestAccelerators"] == [
        {
            "acceleratorType": f"{SERVICE}projects/{PROJECT}/zones/us-west4-a/acceleratorTypes/nvidia-l4",
            "acceleratorCount": 2,
        }
    ]
    _unused, spot = await api.get("zones/us-east1-c/instances/spot-1")
    assert spot["scheduling"] == {
        "onHostMaintenance": "TERMINATE",
        "automaticRestart": False,
        "preemptible": True,
        "provisioningModel": "SPOT",
        "instanceTerminationAction": "STOP",
    }


async def test_upcoming_maintenance_is_shown_while_there_is_one(api: ComputeApi) -> None:
    instance = api.project.instances["web-1"]
    assert "upcomingMaintenance" not in (await api.get("zones/us-east1-b/instances/web-1"))[1]["resourceStatus"]
    instance.set("instance/upcoming-maintenance", {"window_start_time": "2026-12-01T10:00:00Z", "can_reschedule": True})
    _unused, web = await api.get("zones/us-east1-b/instances/web-1")
    assert web["resourceStatus"]["upcomingMaintenance"] == {
        "type": "SCHEDULED",
        "canReschedule": True,
        "maintenanceStatus": "PENDING",
        "windowStartTime": "2026-12-01T10:00:00Z",
        "windowEndTime": "2026-12-01T14:00:00Z",
        "latestWindowStartTime": "2026-12-01T10:00:00Z",
    }


async def test_instance_by_numeric_id(api: ComputeApi) -> None:
    status, spot = await api.get("zones/us-east1-c/instances/9223372036854775809")
    assert (status, spot["name"], spot["id"]) == (200, "spot-1", "9223372036854775809")


async def test_project_by_number(api: ComputeApi) -> None:
    async with api.client.get("/compute/v1/projects/708288290784") as response:
        project = await response.json()
    assert (project["kind"], project["id"], project["name"]) == ("compute#project", "708288290784", PROJECT)
    assert project["commonInstanceMetadata"]["items"] == [{"key": "enable-guest-attributes", "value": "TRUE"}]


async def test_list_of_a_zone(api: ComputeApi) -> None:
    status, answer = await api.get("zones/us-east1-b/instances")
    path = f"projects/{PROJECT}/zones/us-east1-b/instances"
    assert (status, answer["kind"], answer["id"]) == (200, "compute#instanceList", path)
    assert answer["selfLink"] == SERVICE + path
    assert names(answer) == ["web-1", "web-2"]


async def test_list_of_a_zone_without_instances_has_no_items(api: ComputeApi) -> None:
    status, answer = await api.get("zones/europe-west1-b/instances")
    assert status == 200
    assert "items" not in answer


async def test_list_is_filtered_and_paged(api: ComputeApi) -> None:
    _unused, first = await api.get("zones/us-east1-b/instances", maxResults="1")
    assert names(first) == ["web-1"]
    _unused, second = await api.get("zones/us-east1-b/instances", maxResults="1", pageToken=first["nextPageToken"])
    assert names(second) == ["web-2"]
    assert "nextPageToken" not in second
    assert names((await api.get("zones/us-east1-b/instances", filter="labels.owner:*"))[1]) == ["web-1"]
    assert names((await api.get("zones/us-east1-b/instances", filter="name eq .*-2"))[1]) == ["web-2"]


async def test_aggregated_list_names_each_zone_of_the_fleet(api: ComputeApi) -> None:
    status, answer = await api.get("aggregated/instances", filter="name:web-*")
    assert (status, answer["kind"]) == (200, "compute#instanceAggregatedList")
    assert aggregated_names(answer) == {
        "zones/us-east1-b": ["web-1", "web-2"],
        "zones/us-east1-c": [],
        "zones/us-west4-a": [],
    }
    assert answer["items"]["zones/us-east1-c"] == {
        "warning": {
            "code": "NO_RESULTS_ON_PAGE",
            "message": "There are no results for scope 'zones/us-east1-c' on this page.",
            "data": [{"key": "scope", "value": "zones/us-east1-c"}],
        }
    }


async def test_aggregated_list_of_all_scopes_includes_empty_zones(api: ComputeApi) -> None:
    _unused, answer = await api.get("aggregated/instances", includeAllScopes="true")
    assert answer["items"]["zones/europe-west1-b"]["warning"]["code"] == "NO_RESULTS_ON_PAGE"
    assert aggregated_names(answer)["zones/us-west4-a"] == ["gpu-1"]


async def test_page_of_an_aggregated_list_splits_a_zone(api: ComputeApi) -> None:
    pages = []
    token = ""
    while token is not None:
        _unused, answer = await api.get("aggregated/instances", maxResults="1", pageToken=token)
        pages.append({scope: found for scope, found in aggregated_names(answer).items() if found})
        token = answer.get("nextPageToken")
    assert pages == [
        {"zones/us-east1-b": ["web-1"]},
        {"zones/us-east1-b": ["web-2"]},
        {"zones/us-east1-c": ["spot-1"]},
        {"zones/us-west4-a": ["gpu-1"]},
    ]


async def test_empty_aggregated_list(api: ComputeApi) -> None:
    status, answer = await api.get("aggregated/instances", maxResults="0")
    assert status == 200
    assert "nextPageToken" not in answer
    assert {content["warning"]["code"] for content in answer["items"].values()} == {"NO_RESULTS_ON_PAGE"}


async def test_fields_mask_as_fleet_tools_send_it(api: ComputeApi) -> None:
    for fields in ("items.zones.instances(name,zone),nextPageToken", "items/*/instances(name,zone),nextPageToken"):
        _unused, answer = await api.get("aggregated/instances", fields=fields, filter="name=gpu-1")
        zone = f"{SERVICE}projects/{PROJECT}/zones/us-west4-a"
        assert answer == {
            "items": {
                "zones/us-east1-b": {},
                "zones/us-east1-c": {},
                "zones/us-west4-a": {"instances": [{"name": "gpu-1", "zone": zone}]},
            }
        }


async def test_answer_is_indented_by_default(api: ComputeApi) -> None:
    url = f"/compute/v1/projects/{PROJECT}/zones/us-east1-b/instances/web-1?fields=name,kind"
    async with api.client.get(url) as response:
        assert response.headers["Content-Type"] == "application/json; charset=UTF-8"
        assert await response.text() == '{\n  "kind": "compute#instance",\n  "name": "web-1"\n}\n'
    async with api.client.get(f"{url}&prettyPrint=false") as response:
        assert await response.text() == '{"kind": "compute#instance", "name": "web-1"}\n'


MISSING = f"The resource 'projects/{PROJECT}/zones/us-east1-b/instances/nosuch' was not found"


@pytest.mark.parametrize(
    "path, query, code, reason, message",
    [
        ("zones/us-east1-b/instances/nosuch", {}, 404, "notFound", MISSING),
        ("zones/mars-a/instances", {}, 400, "invalid", "Invalid value for field 'zone': 'mars-a'. Unknown zone."),
        (
            "zones/us-east1-b/operations/operation-0",
            {},
            404,
            "notFound",
            f"The resource 'projects/{PROJECT}/zones/us-east1-b/operations/operation-0' was not found",
        ),
        (
            "zones/us-east1-b/instances",
            {"filter": "name"},
            400,
            "invalid",
            "Invalid value for field 'filter': 'name'. Invalid list filter expression.",
        ),
        (
            "zones/us-east1-b/instances",
            {"fields": "items("},
            400,
            "invalid",
            "Invalid value for field 'fields': 'items('. Invalid field selection.",
        ),
        (
            "zones/us-east1-b/nosuch",
            {},
            404,
            "notFound",
            f"The emulator has no method GET /compute/v1/projects/{PROJECT}/zones/us-east1-b/nosuch. "
            "Its guide lists the methods.",
        ),
        (
            "setCommonInstanceMetadata",
            {},
            404,
            "notFound",
            f"The emulator has no method GET /compute/v1/projects/{PROJECT}/setCommonInstanceMetadata. "
            "Its guide lists the methods.",
        ),
    ],
)
async def test_refusals_have_the_error_format_of_the_api(
    api: ComputeApi, path: str, query: dict[str, str], code: int, reason: str, message: str
) -> None:
    status, answer = await api.get(path, **query)
    assert status == code
    assert answer["error"]["code"] == code
    assert answer["error"]["message"] == message
    assert answer["error"]["errors"] == [{"message": message, "domain": "global", "reason": reason}]


async def test_another_project_is_not_found(api: ComputeApi) -> None:
    async with api.client.get("/compute/v1/projects/other/aggregated/instances") as response:
        assert response.status == 404
        assert (await response.json())["error"]["message"] == "Failed to find project other"


async def test_authorization_is_optional_by_default() -> None:
    url = f"/compute/v1/projects/{PROJECT}"
    async with compute_api(FLEET, require_auth=True) as api:
        status, answer = await api.get("")
        assert status == 401
        assert answer["error"]["status"] == "UNAUTHENTICATED"
        async with api.client.get(url, headers={"Authorization": "Bearer ya29.x"}) as response:
            assert response.status == 200


async def test_the_fleet_file_can_require_authorization() -> None:
    emulator = Emulator(parse({**FLEET, "require_auth": True}))
    await emulator.start()
    try:
        async with aiohttp.request("GET", f"{emulator.ready()['compute']}/compute/v1/projects/{PROJECT}") as response:
            assert response.status == 401
    finally:
        await emulator.stop()


async def test_requests_are_in_the_journal(api: ComputeApi) -> None:
    await api.get("zones/us-east1-b/instances/web-1", fields="name")
    await api.get("zones/us-east1-b/instances/nosuch")
    entries = api.project.journal.select(face="compute")
    assert [(entry.instance, entry.method, entry.query, entry.status) for entry in entries] == [
        ("web-1", "GET", "fields=name", 200),
        ("nosuch", "GET", "", 404),
    ]


@pytest.mark.parametrize(
    "kind, code, reason",
    [("503", 503, "backendError"), ("429", 429, "rateLimitExceeded"), ("rate-limit", 403, "rateLimitExceeded")],
)
async def test_a_fault_hits_count_times(api: ComputeApi, kind: str, code: int, reason: str) -> None:
    api.project.faults.inject(Fault(kind, face="compute", count=2))
    for _unused in range(2):
        status, answer = await api.get("zones/us-east1-b/instances")
        assert (status, answer["error"]["errors"][0]["reason"]) == (code, reason)
    assert (await api.get("zones/us-east1-b/instances"))[0] == 200


async def test_quota_fault_names_the_project_by_number(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("rate-limit", face="compute", count=1))
    _unused, answer = await api.get("zones/us-east1-b/instances")
    assert answer["error"]["message"].endswith("for consumer 'project_number:708288290784'.")


async def test_fault_on_an_instance_does_not_affect_others(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("503", face="compute", instance="web-1"))
    assert (await api.get("zones/us-east1-b/instances/web-1"))[0] == 503
    assert (await api.get("zones/us-east1-b/instances/web-2"))[0] == 200


async def test_a_fault_on_an_instance_hits_requests_by_id(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("503", face="compute", instance="spot-1"))
    assert (await api.get("zones/us-east1-c/instances/9223372036854775809"))[0] == 503
    assert [entry.instance for entry in api.project.journal.select(face="compute")] == ["spot-1"]


async def test_fault_reset_gives_no_answer(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("reset", face="compute", count=1))
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await api.get("zones/us-east1-b/instances")
    assert [entry.status for entry in api.project.journal.select(face="compute")] == [0]


async def test_fault_html_is_not_json(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("html", face="compute", count=1))
    async with api.client.get(f"/compute/v1/projects/{PROJECT}") as response:
        assert (response.status, response.content_type) == (502, "text/html")


async def test_fault_hang_ends_when_the_client_disconnects(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("hang", face="compute", count=1))
    hanging = asyncio.ensure_future(api.client.get(f"/compute/v1/projects/{PROJECT}"))
    async with asyncio.timeout(60):
        while api.project.faults.all():
            await asyncio.sleep(0)
        hanging.cancel()
        (request,) = api.project.journal.select(face="compute")
        while request.status is None:
            await asyncio.sleep(0)
    assert request.status == 0
    assert (await api.get(""))[0] == 200


async def test_fault_delay_still_answers(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("delay", face="compute", count=1, delay=0.001))
    assert (await api.get(""))[0] == 200
