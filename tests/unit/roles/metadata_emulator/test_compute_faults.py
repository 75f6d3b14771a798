# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the Compute API: unreachable zones, refusals, propagation delays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gce_emulator.state.faults import Fault
from gce_emulator.state.project import Project
from gce_emulator.state.propagation import PropagatedMetadata
from support.compute_api import ComputeApi, compute_api
from support.manual_time import ManualTime

FLEET = {
    "instances": [{"name": "web-1", "attributes": {"role": "web"}}, {"name": "far-1", "zone": "europe-west1-b"}],
}
WEB = "zones/us-central1-a/instances/web-1"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


def names(listed: Any) -> list[str]:
    return [each["name"] for content in listed["items"].values() for each in content.get("instances", [])]


async def test_an_aggregated_list_can_lack_a_zone_with_a_warning(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("unreachable", face="compute", zone="europe-west1-b", count=1))
    status, listed = await api.get("aggregated/instances")
    assert status == 200
    assert names(listed) == ["web-1"]
    assert listed["unreachables"] == ["zones/europe-west1-b"]
    assert listed["warning"]["code"] == "UNREACHABLE"
    assert listed["items"]["zones/europe-west1-b"]["warning"]["code"] == "UNREACHABLE"
    assert sorted(names((await api.get("aggregated/instances"))[1])) == ["far-1", "web-1"]


async def test_an_aggregated_list_can_lack_all_zones(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("unreachable", face="compute"))
    _status, listed = await api.get("aggregated/instances")
    assert names(listed) == []
    assert sorted(listed["unreachables"]) == ["zones/europe-west1-b", "zones/us-central1-a"]


@pytest.mark.parametrize(
    "kind, status, reason, words",
    [
        ("unauthenticated", 401, "authError", "invalid authentication credentials"),
        ("disabled", 403, "accessNotConfigured", "has not been used in project"),
        ("quota", 403, "quotaExceeded", "exceeded"),
        ("constraint", 412, "conditionNotMet", "Constraint constraints/compute.disableGuestAttributesAccess violated"),
    ],
)
async def test_a_request_can_be_refused(api: ComputeApi, kind: str, status: int, reason: str, words: str) -> None:
    api.project.faults.inject(Fault(kind, face="compute", count=1))
    answer, error = await api.get(WEB)
    assert answer == status
    assert error["error"]["errors"][0]["reason"] == reason
    assert words in error["error"]["message"]


@pytest.mark.parametrize(
    "method, path, permission",
    [
        ("GET", WEB, "compute.instances.get"),
        ("GET", f"{WEB}/getGuestAttributes", "compute.instances.getGuestAttributes"),
        ("POST", f"{WEB}/setScheduling", "compute.instances.setScheduling"),
        ("GET", "zones/us-central1-a/instances", "compute.instances.list"),
        ("GET", "aggregated/instances", "compute.instances.list"),
        ("GET", "", "compute.projects.get"),
        ("POST", "setCommonInstanceMetadata", "compute.projects.setCommonInstanceMetadata"),
        ("GET", "zones/us-central1-a/instanceSettings", "compute.instanceSettings.get"),
        ("PATCH", "zones/us-central1-a/instanceSettings", "compute.instanceSettings.update"),
        ("POST", "zones/us-central1-a/operations/x/wait", "compute.zoneOperations.get"),
        ("GET", "global/operations/x", "compute.globalOperations.get"),
        ("GET", "aggregated/operations", "compute.globalOperations.list"),
        ("GET", "zones/us-central1-a/operations", "compute.zoneOperations.list"),
        ("POST", f"{WEB}/stop", "compute.instances.stop"),
        ("DELETE", WEB, "compute.instances.delete"),
        ("GET", f"{WEB}/serialPort", "compute.instances.getSerialPortOutput"),
        ("GET", "zones", "compute.zones.list"),
        ("GET", "regions/us-central1", "compute.regions.get"),
        ("GET", "zones/us-central1-a/disks/web-1", "compute.disks.get"),
    ],
)
async def test_a_missing_permission_is_named(api: ComputeApi, method: str, path: str, permission: str) -> None:
    api.project.faults.inject(Fault("forbidden", face="compute"))
    status, error = await api.request(method, path, {})
    assert status == 403
    assert f"Required '{permission}' permission for 'projects/emulated-project" in error["error"]["message"]


async def test_propagation_of_a_write_can_be_delayed(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("propagation-delay", face="compute", delay=3600))
    instance = api.project.instances["web-1"]
    metadata = (await api.get(WEB))[1]["metadata"]
    body = {"fingerprint": metadata["fingerprint"], "items": [{"key": "role", "value": "db"}]}
    await api.done((await api.post(f"{WEB}/setMetadata", body))[1])
    assert (await api.get(WEB))[1]["metadata"]["items"] == body["items"]
    assert instance.get("instance/attributes/role") == "web"
    instance.metadata.settle()
    assert instance.get("instance/attributes/role") == "db"


@pytest.fixture
def delayed(make_project: Any) -> Project:
    project: Project = make_project({"name": "web-1", "attributes": {"role": "web"}})
    return project


class TestDelay:
    def role(self, project: Project) -> Any:
        return project.instances["web-1"].get("instance/attributes/role")

    def metadata(self, project: Project) -> PropagatedMetadata:
        return project.instances["web-1"].metadata

    def test_ends(self, delayed: Project, manual_time: ManualTime) -> None:
        self.metadata(delayed).write({"role": "db"}, 5)
        assert (self.metadata(delayed).attributes, self.role(delayed)) == ({"role": "db"}, "web")
        manual_time.advance(4)
        assert self.role(delayed) == "web"
        manual_time.advance(2)
        assert self.role(delayed) == "db"

    def test_ends_with_the_next_write(self, delayed: Project, manual_time: ManualTime) -> None:
        self.metadata(delayed).write({"role": "db"}, 5)
        self.metadata(delayed).write({"role": "cache"}, 5)
        assert self.role(delayed) == "db"
        manual_time.advance(6)
        assert self.role(delayed) == "cache"

    def test_ends_when_a_value_is_set_by_hand(self, delayed: Project) -> None:
        self.metadata(delayed).write({"role": "db", "size": "9"}, 5)
        delayed.instances["web-1"].set("instance/attributes/role", "mine")
        assert self.metadata(delayed).attributes == {"role": "mine", "size": "9"}

    def test_is_over_after_a_reset(self, delayed: Project, manual_time: ManualTime) -> None:
        self.metadata(delayed).write({"role": "db"}, 5)
        delayed.reset()
        manual_time.advance(6)
        assert self.role(delayed) == "web"


def test_the_fleet_file_sets_the_propagation_delay(make_project: Any) -> None:
    assert make_project(durations={"propagation": 3}).fleet.durations.propagation == 3
