# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""instances.setScheduling of the emulated Compute API: what it changes, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from support.compute_api import ComputeApi, compute_api

FLEET = {
    "instances": [
        {"name": "web-1"},
        {"name": "gpu-1", "accelerators": [{"type": "nvidia-l4"}]},
        {"name": "spot-1", "scheduling": {"preemptible": True}},
    ],
}
ZONE = "zones/us-central1-a"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


async def schedule(api: ComputeApi, name: str, body: Any) -> tuple[int, Any]:
    status, operation = await api.post(f"{ZONE}/instances/{name}/setScheduling", body)
    return status, await api.done(operation) if status == 200 else operation


async def scheduling(api: ComputeApi, name: str) -> Any:
    return (await api.get(f"{ZONE}/instances/{name}"))[1]["scheduling"]


async def test_what_is_named_changes_and_all_else_stays(api: ComputeApi) -> None:
    status, operation = await schedule(api, "web-1", {"onHostMaintenance": "TERMINATE", "hostErrorTimeoutSeconds": 120})
    assert (status, operation["operationType"]) == (200, "setScheduling")
    assert await scheduling(api, "web-1") == {
        "onHostMaintenance": "TERMINATE",
        "automaticRestart": True,
        "preemptible": False,
        "provisioningModel": "STANDARD",
        "hostErrorTimeoutSeconds": 120,
    }


async def test_the_guest_sees_it(api: ComputeApi) -> None:
    told: list[str] = []
    instance = api.project.instances["web-1"]
    instance.on_change(told.append)
    await schedule(api, "web-1", {"automaticRestart": False})
    assert instance.get("instance/scheduling/automatic-restart") == "FALSE"
    assert "instance/scheduling/automatic-restart" in told


async def test_null_takes_a_field_back(api: ComputeApi) -> None:
    await schedule(api, "web-1", {"onHostMaintenance": "TERMINATE", "hostErrorTimeoutSeconds": 120})
    await schedule(api, "web-1", {"onHostMaintenance": None, "hostErrorTimeoutSeconds": None})
    after = await scheduling(api, "web-1")
    assert after["onHostMaintenance"] == "MIGRATE"
    assert "hostErrorTimeoutSeconds" not in after


async def test_a_stopped_instance_takes_another_provisioning_model(api: ComputeApi) -> None:
    api.project.instances["web-1"].stop()
    body = {"provisioningModel": "SPOT", "automaticRestart": False, "onHostMaintenance": "TERMINATE"}
    status, _operation = await schedule(api, "web-1", {**body, "instanceTerminationAction": "DELETE"})
    assert status == 200
    assert await scheduling(api, "web-1") == {**body, "preemptible": True, "instanceTerminationAction": "DELETE"}
    assert api.project.instances["web-1"].get("instance/scheduling/preemptible") == "TRUE"


async def test_a_reset_takes_it_back(api: ComputeApi) -> None:
    before = await scheduling(api, "web-1")
    await schedule(api, "web-1", {"hostErrorTimeoutSeconds": 120, "automaticRestart": False})
    api.project.reset()
    assert await scheduling(api, "web-1") == before


@pytest.mark.parametrize(
    "name, body, words",
    [
        (
            "spot-1",
            {"automaticRestart": True},
            "Scheduling must have preemptible be false when AutomaticRestart is true.",
        ),
        ("spot-1", {"onHostMaintenance": "MIGRATE"}, "when OnHostMaintenance isn't TERMINATE."),
        ("gpu-1", {"onHostMaintenance": "MIGRATE"}, "Instances with guest accelerators do not support live migration."),
        ("web-1", {"maxRunDuration": {"seconds": "60"}}, "can only be changed on a stopped instance"),
        ("web-1", {"onHostMaintenance": "SLEEP"}, "Must be one of MIGRATE, TERMINATE."),
        ("web-1", {"hostErrorTimeoutSeconds": 100}, "Must be one of 90, 120"),
        ("web-1", {"automaticRestart": 1}, "Must be one of True, False"),
        ("web-1", {"maintenanceInterval": "PERIODIC"}, "Unknown name 'maintenanceInterval'"),
        ("web-1", {"instanceTerminationAction": "STOP"}, "You can only set it for Spot VMs"),
    ],
)
async def test_what_cannot_be_is_refused(api: ComputeApi, name: str, body: Any, words: str) -> None:
    before = await scheduling(api, name)
    status, error = await schedule(api, name, body)
    assert status == 400
    assert words in error["error"]["message"]
    assert await scheduling(api, name) == before
