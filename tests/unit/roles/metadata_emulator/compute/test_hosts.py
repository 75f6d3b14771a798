# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node groups, reservations with their blocks, and faulty hosts, by the Compute API."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gce_emulator.scenarios import hosts
from gce_emulator.state.faults import Fault
from gce_emulator.state.hosts import Hosts
from support.compute_api import SERVICE, ComputeApi, compute_api

ZONE = "zones/us-central1-a"
GROUP, TRAIN = f"{ZONE}/nodeGroups/licensed", f"{ZONE}/reservations/train"
BLOCK = f"{TRAIN}/reservationBlocks/train-block-0001"
SUB_BLOCK = f"{BLOCK}/reservationSubBlocks/train-block-0001-subblock-0001"
GPU = {"accelerators": [{"type": "nvidia-h100-mega-80gb", "count": 8}], "machine_type": "a3-megagpu-8g"}
FLEET: dict[str, Any] = {
    "speed": 1e6,
    "instances": [
        {"name": "db-1"},
        {"name": "web-1", "zone": "europe-west1-b"},
        {"name": "gpu-1", **GPU},
        {"name": "gpu-2", **GPU},
    ],
    "node_groups": [
        {"name": "licensed", "nodes": [{"instances": ["db-1"]}, {}]},
        {"name": "far", "zone": "europe-west1-b", "nodes": [{}]},
    ],
    "reservations": [
        {
            "name": "train",
            "blocks": [{"sub_blocks": [{"count": 2, "instances": ["gpu-1"]}, {"count": 3}]}, {"instances": ["gpu-2"]}],
        },
        {"name": "plain", "count": 5},
    ],
}


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


def announce(group: Hosts, **options: Any) -> None:
    """Windows that begin in ten platform years."""
    hosts.start_on_hosts(group.hosts, "window-announced", {"starts_in": 3e8, **options})


async def counts(api: ComputeApi, path: str, *keys: str) -> tuple[int, int]:
    shown = (await api.get(path))[1]
    for key in keys:
        shown = shown[key]
    return shown["maintenancePendingCount"], shown["maintenanceOngoingCount"]


# Node groups


async def test_node_groups_are_listed_and_found(api: ComputeApi) -> None:
    _status, aggregated = await api.get("aggregated/nodeGroups")
    assert {
        scope: [group["name"] for group in content.get("nodeGroups", [])]
        for scope, content in aggregated["items"].items()
    } == {ZONE: ["licensed"], "zones/europe-west1-b": ["far"]}
    assert aggregated["kind"] == "compute#nodeGroupAggregatedList"
    _status, listed = await api.get(f"{ZONE}/nodeGroups")
    assert (listed["kind"], [group["name"] for group in listed["items"]]) == ("compute#nodeGroupList", ["licensed"])
    _status, group = await api.get(GROUP)
    assert group == listed["items"][0]
    assert (group["size"], group["status"], group["maintenancePolicy"]) == (2, "READY", "DEFAULT")
    assert (await api.get(f"{ZONE}/nodeGroups/far"))[0] == 404


async def test_nodes_show_their_vms_and_windows(api: ComputeApi) -> None:
    announce(api.project.node_groups["licensed"])
    _status, listed = await api.post(f"{GROUP}/listNodes")
    used, spare = listed["items"]
    assert (used["name"], spare["name"]) == ("licensed-1", "licensed-2")
    assert used["instances"] == [f"{SERVICE}projects/emulated-project/{ZONE}/instances/db-1"]
    assert spare["instances"] == []
    assert (used["upcomingMaintenance"]["maintenanceStatus"], used["upcomingMaintenance"]["canReschedule"]) == (
        "PENDING",
        True,
    )
    _status, vm = await api.get(f"{ZONE}/instances/db-1")
    assert vm["resourceStatus"]["upcomingMaintenance"] == used["upcomingMaintenance"]
    assert vm["scheduling"]["nodeAffinities"][0]["values"] == ["licensed"]


async def test_nodes_are_listed_page_by_page_and_filtered(api: ComputeApi) -> None:
    _status, page = await api.post(f"{GROUP}/listNodes", maxResults="1")
    _status, rest = await api.post(f"{GROUP}/listNodes", maxResults="1", pageToken=page["nextPageToken"])
    assert [page["items"][0]["name"], rest["items"][0]["name"]] == ["licensed-1", "licensed-2"]
    _status, found = await api.post(f"{GROUP}/listNodes", filter="name=licensed-2")
    assert [node["name"] for node in found["items"]] == ["licensed-2"]


async def test_maintenance_of_a_node_is_simulated(api: ComputeApi) -> None:
    status, operation = await api.post(f"{GROUP}/simulateMaintenanceEvent", {"nodes": ["licensed-1"]})
    assert (status, operation["operationType"]) == (200, "simulateMaintenanceEvent")
    assert "error" not in await api.done(operation)
    _status, listed = await api.get(
        f"{ZONE}/operations", filter="operationType=compute.instances.migrateOnHostMaintenance"
    )
    assert listed["items"][0]["targetLink"].endswith("/instances/db-1")


async def test_maintenance_of_nodes_is_performed(api: ComputeApi) -> None:
    announce(api.project.node_groups["licensed"])
    operation = (await api.post(f"{GROUP}/performMaintenance", {"nodes": ["licensed-1"]}))[1]
    assert "error" not in await api.done(operation)
    used, spare = (await api.post(f"{GROUP}/listNodes"))[1]["items"]
    assert ("upcomingMaintenance" in used, "upcomingMaintenance" in spare) == (False, True)


async def test_maintenance_of_nodes_is_scheduled(api: ComputeApi) -> None:
    announce(api.project.node_groups["licensed"])
    body = {"nodes": ["licensed-1"], "startTime": "2099-01-01T00:00:00.000-08:00"}
    assert "error" not in await api.done((await api.post(f"{GROUP}/performMaintenance", body))[1])
    window = (await api.post(f"{GROUP}/listNodes"))[1]["items"][0]["upcomingMaintenance"]
    assert (window["windowStartTime"], window["canReschedule"], window["maintenanceStatus"]) == (
        "2099-01-01T08:00:00Z",
        False,
        "PENDING",
    )


@pytest.mark.parametrize(
    "method, body, words",
    [
        ("performMaintenance", {}, "Must name at least one node"),
        ("performMaintenance", {"nodes": ["licensed-9"]}, "The node group has licensed-1, licensed-2."),
        ("performMaintenance", {"nodes": "licensed-1"}, "Must be a list of names."),
        ("performMaintenance", {"nodes": ["licensed-1"]}, "no host in scope has pending maintenance"),
        ("performMaintenance", {"nodes": ["licensed-1"], "startTime": "soon"}, "Must be an RFC 3339 timestamp."),
        ("simulateMaintenanceEvent", {"nodes": [1]}, "Must be a list of names."),
    ],
)
async def test_wrong_maintenance_of_nodes_is_refused(api: ComputeApi, method: str, body: Any, words: str) -> None:
    status, answer = await api.post(f"{GROUP}/{method}", body)
    assert (status, words in answer["error"]["message"]) == (400, True), answer


async def test_a_repeated_request_is_performed_once(api: ComputeApi) -> None:
    announce(api.project.node_groups["licensed"])
    request_id, body = str(uuid.uuid4()), {"nodes": ["licensed-1"]}
    first = (await api.post(f"{GROUP}/performMaintenance", body, requestId=request_id))[1]
    await api.done(first)
    assert (await api.post(f"{GROUP}/performMaintenance", body, requestId=request_id))[1]["name"] == first["name"]


async def test_an_unreachable_zone_lacks_its_groups(api: ComputeApi) -> None:
    api.project.faults.inject(
        Fault("unreachable", face="compute", path="projects/emulated-project/aggregated/nodeGroups")
    )
    _status, answer = await api.get("aggregated/nodeGroups")
    assert "licensed" not in str(answer["items"])
    assert answer["warning"]["code"] == "UNREACHABLE"


@pytest.mark.parametrize(
    "method, path, permission",
    [
        ("GET", "aggregated/nodeGroups", "compute.nodeGroups.list"),
        ("GET", GROUP, "compute.nodeGroups.get"),
        ("POST", f"{GROUP}/listNodes", "compute.nodeGroups.get"),
        ("POST", f"{GROUP}/performMaintenance", "compute.nodeGroups.performMaintenance"),
        ("GET", "aggregated/reservations", "compute.reservations.list"),
        ("GET", TRAIN, "compute.reservations.get"),
        ("GET", f"{TRAIN}/reservationBlocks", "compute.reservationBlocks.list"),
        ("POST", f"{BLOCK}/performMaintenance", "compute.reservationBlocks.performMaintenance"),
        ("GET", SUB_BLOCK, "compute.reservationSubBlocks.get"),
    ],
)
async def test_a_missing_permission_is_named(api: ComputeApi, method: str, path: str, permission: str) -> None:
    api.project.faults.inject(Fault("forbidden", face="compute"))
    status, answer = await api.request(method, path, {})
    assert (status, f"'{permission}'" in answer["error"]["message"]) == (403, True), answer


# Reservations


async def test_reservations_are_listed_and_found(api: ComputeApi) -> None:
    _status, aggregated = await api.get("aggregated/reservations")
    names = [each["name"] for content in aggregated["items"].values() for each in content.get("reservations", [])]
    assert names == ["plain", "train"]
    _status, train = await api.get(TRAIN)
    assert train["specificReservation"] == {
        "instanceProperties": {"machineType": "a3-megagpu-8g"},
        "count": "6",
        "inUseCount": "2",
        "assuredCount": "6",
    }
    assert (train["resourceStatus"]["reservationBlockCount"], train["deploymentType"]) == (2, "DENSE")
    _status, plain = await api.get(f"{ZONE}/reservations/plain")
    assert "reservationMaintenance" not in plain["resourceStatus"]
    assert (await api.get("zones/europe-west1-b/reservations/train"))[0] == 404


async def test_blocks_and_sub_blocks_are_listed_and_found(api: ComputeApi) -> None:
    blocks = (await api.get(f"{TRAIN}/reservationBlocks"))[1]["items"]
    assert [(each["name"], each["count"], each["inUseCount"]) for each in blocks] == [
        ("train-block-0001", 5, 1),
        ("train-block-0002", 1, 1),
    ]
    assert (await api.get(BLOCK))[1]["resource"] == blocks[0]
    parts = (await api.get(f"{BLOCK}/reservationSubBlocks"))[1]["items"]
    assert [(each["count"], each["inUseCount"]) for each in parts] == [(2, 1), (3, 0)]
    assert (await api.get(SUB_BLOCK))[1]["resource"] == parts[0]
    encoded = SUB_BLOCK.replace("reservations/train/reservationBlocks/", "reservations%2Ftrain%2FreservationBlocks%2F")
    assert (await api.get(encoded))[1]["resource"] == parts[0]
    assert (await api.get(f"{TRAIN}/reservationBlocks/none"))[0] == 404
    assert (await api.get(f"{BLOCK}/reservationSubBlocks/none"))[0] == 404


async def test_maintenance_is_counted_at_each_level(api: ComputeApi) -> None:
    train = api.project.reservations["train"]
    announce(train.blocks[0].sub_blocks[0])
    assert await counts(api, TRAIN, "resourceStatus", "reservationMaintenance") == (2, 0)
    assert await counts(api, BLOCK, "resource", "reservationMaintenance") == (2, 0)
    assert await counts(api, SUB_BLOCK, "resource", "reservationSubBlockMaintenance") == (2, 0)
    other = f"{TRAIN}/reservationBlocks/train-block-0002"
    assert await counts(api, other, "resource", "reservationMaintenance") == (0, 0)
    shown = (await api.get(TRAIN))[1]["resourceStatus"]["reservationMaintenance"]
    assert (shown["schedulingType"], shown["instanceMaintenancePendingCount"]) == ("GROUPED", 1)
    assert shown["upcomingGroupMaintenance"]["maintenanceStatus"] == "PENDING"


@pytest.mark.parametrize(
    "path, body, left",
    [
        (TRAIN, {"maintenanceScope": "ALL"}, 0),
        (TRAIN, {"maintenanceScope": "RUNNING_VMS"}, 4),
        (TRAIN, {"maintenanceScope": "UNUSED_CAPACITY"}, 2),
        (BLOCK, {"maintenanceScope": "ALL"}, 1),
        (SUB_BLOCK, None, 4),
    ],
)
async def test_maintenance_in_scope_is_performed(api: ComputeApi, path: str, body: Any, left: int) -> None:
    announce(api.project.reservations["train"])
    assert "error" not in await api.done((await api.post(f"{path}/performMaintenance", body))[1])
    assert await counts(api, TRAIN, "resourceStatus", "reservationMaintenance") == (left, 0)


async def test_maintenance_of_one_vm_is_that_of_its_reserved_host(api: ComputeApi) -> None:
    announce(api.project.reservations["train"])
    assert "error" not in await api.done((await api.post(f"{ZONE}/instances/gpu-1/performMaintenance"))[1])
    assert await counts(api, TRAIN, "resourceStatus", "reservationMaintenance") == (5, 0)
    assert api.project.instances["gpu-1"].boot_count == 2


@pytest.mark.parametrize(
    "path, body, words",
    [
        (TRAIN, {"maintenanceScope": "SOME"}, "Must be one of ALL, RUNNING_VMS, UNUSED_CAPACITY."),
        (TRAIN, {}, "no host in scope has pending maintenance"),
        (f"{ZONE}/reservations/plain", {}, "has no blocks"),
    ],
)
async def test_wrong_maintenance_of_a_reservation_is_refused(api: ComputeApi, path: str, body: Any, words: str) -> None:
    status, answer = await api.post(f"{path}/performMaintenance", body)
    assert (status, words in answer["error"]["message"]) == (400, True), answer


async def test_maintenance_that_cannot_be_rescheduled_is_refused(api: ComputeApi) -> None:
    announce(api.project.reservations["train"], can_reschedule=False)
    status, answer = await api.post(f"{TRAIN}/performMaintenance")
    assert (status, "cannot be rescheduled" in answer["error"]["message"]) == (400, True)


# Faulty hosts

REPORT = {"disruptionSchedule": "IMMEDIATE", "faultReasons": [{"behavior": "PERFORMANCE", "description": "slow"}]}
REPORTED = f"{ZONE}/instances/gpu-1/reportHostAsFaulty"


async def test_a_vm_is_moved_from_a_faulty_host_at_once(api: ComputeApi) -> None:
    operation = (await api.post(REPORTED, REPORT))[1]
    assert operation["operationType"] == "reportHostAsFaulty"
    assert "error" not in await api.done(operation)
    assert (api.project.instances["gpu-1"].status, api.project.instances["gpu-1"].boot_count) == ("RUNNING", 2)


async def test_a_report_for_later_announces_the_repair() -> None:
    async with compute_api({**FLEET, "speed": 100}) as api:
        await api.done((await api.post(REPORTED, {**REPORT, "disruptionSchedule": "FUTURE"}))[1])
        window = (await api.get(f"{ZONE}/instances/gpu-1"))[1]["resourceStatus"]["upcomingMaintenance"]
        assert (window["type"], window["maintenanceReasons"], window["canReschedule"]) == (
            "UNSCHEDULED",
            ["FAILURE_CUSTOMER_REPORTED"],
            True,
        )


@pytest.mark.parametrize(
    "instance, body, words",
    [
        ("db-1", REPORT, "it has no accelerators"),
        ("gpu-1", {}, "Must be one of IMMEDIATE, FUTURE."),
        ("gpu-1", {"disruptionSchedule": "IMMEDIATE"}, "Must have at least one reason."),
        ("gpu-1", {**REPORT, "faultReasons": [{"behavior": "UGLY"}]}, "faultReasons[0].behavior"),
        ("gpu-1", {**REPORT, "faultReasons": ["PERFORMANCE", 1]}, "faultReasons[1].behavior"),
    ],
)
async def test_wrong_reports_are_refused(api: ComputeApi, instance: str, body: Any, words: str) -> None:
    status, answer = await api.post(f"{ZONE}/instances/{instance}/reportHostAsFaulty", body)
    assert (status, words in answer["error"]["message"]) == (400, True), answer
