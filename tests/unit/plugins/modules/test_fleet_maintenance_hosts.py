# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node groups, reservations and the history in the module fleet_maintenance_info, with an emulated Compute API."""

from __future__ import annotations

import datetime
import time
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.modules import fleet_maintenance_info

from support.emulator import EmulatorProcess, eventually
from support.modules import Result, run_module

GPU = {"machine_type": "a3-megagpu-8g", "accelerators": [{"type": "nvidia-h100-mega-80gb", "count": 8}]}
FLEET: dict[str, Any] = {
    "project": "acme",
    "speed": 1000,
    "instances": [
        {"name": "db-1"},
        {"name": "web-1", "labels": {"env": "prod"}},
        {"name": "spot-1", "zone": "europe-west1-b", "scheduling": {"preemptible": True}},
        {"name": "gpu-1", **GPU},
    ],
    "node_groups": [
        {"name": "licensed", "nodes": [{"instances": ["db-1"]}, {}], "windows_shown_to_guests": False},
        {"name": "far", "zone": "europe-west1-b", "nodes": [{}]},
    ],
    "reservations": [
        {
            "name": "train",
            "windows_shown_to_guests": False,
            "blocks": [
                {"name": "b1", "sub_blocks": [{"name": "s1", "count": 2, "instances": ["gpu-1"]}, {"name": "s2"}]},
                {"name": "b2", "count": 3},
            ],
        },
        {"name": "alone", "scheduling_type": "INDEPENDENT", "blocks": [{"name": "b3", "count": 2}]},
        {"name": "plain", "count": 5},
    ],
}
NOW = datetime.datetime(2098, 12, 1, tzinfo=datetime.UTC)


def window(hours: float) -> dict[str, Any]:
    start = NOW + datetime.timedelta(hours=hours)
    return {"window_start_time": start.isoformat(), "can_reschedule": True}


def run(*, now: float = NOW.timestamp(), **parameters: Any) -> Result:
    module = ModuleType("fleet_maintenance_info")
    module.__dict__["main"] = lambda: fleet_maintenance_info.main(lambda: now)
    result = run_module(module, parameters)
    assert "ya29.planted" not in result.printed
    return result


def announce(emulator: EmulatorProcess, group: str, hours: float, **selected: Any) -> None:
    emulator.control.request("PUT", f"{group}/upcoming-maintenance", {"value": window(hours), **selected})


def paths(emulator: EmulatorProcess) -> list[str]:
    return [entry["path"].split("/acme/")[1] for entry in emulator.control.journal(face="compute")]


class TestGroups:
    def test_are_sorted_together_with_instances(self, emulator: EmulatorProcess) -> None:
        emulator.control.set("web-1", "instance/upcoming-maintenance", window(2))
        announce(emulator, "node-groups/licensed", 1, nodes=["licensed-1"])
        announce(emulator, "reservations/train", 3, block="b1", sub_block="s1")
        result = run()
        assert [(each["kind"], each["name"]) for each in result["windows"]] == [
            ("node", "licensed-1"),
            ("instance", "web-1"),
            ("reservation_block", "b1"),
            ("reservation_sub_block", "s1"),
            ("reservation", "train"),
        ]
        assert result["complete"]
        assert result["window_count"] == 5
        assert [each["kind"] for each in run(within="1h")["windows"]] == ["node"]

    def test_a_node_has_its_group_and_its_instances(self, emulator: EmulatorProcess) -> None:
        announce(emulator, "node-groups/licensed", 1, nodes=["licensed-1"])
        [row] = run(kinds=["node_group"])["windows"]
        assert (row["node_group"], row["instances"], row["zone"]) == ("licensed", ["db-1"], "us-central1-a")
        assert (row["window_start_time"], row["can_reschedule"]) == ("2098-12-01T01:00:00Z", True)
        assert row["instance_status"] is None

    def test_part_of_a_reservation_has_its_parents(self, emulator: EmulatorProcess) -> None:
        announce(emulator, "reservations/train", 1, block="b1", sub_block="s1")
        parts = [
            (each["reservation"], each["block"], each["sub_block"], each["pending_count"])
            for each in run(kinds=["reservation"])["windows"]
        ]
        assert sorted(parts, key=str) == sorted(
            [("train", None, None, 2), ("train", "b1", None, 2), ("train", "b1", "s1", 2)], key=str
        )

    def test_hosts_that_are_maintained_independently_are_counted(self, emulator: EmulatorProcess) -> None:
        announce(emulator, "reservations/alone", 1)
        found = run(kinds=["reservation"])["windows"]
        assert {(each["kind"], each["name"], each["pending_count"]) for each in found} == {
            ("reservation", "alone", 2),
            ("reservation_block", "b3", 2),
        }
        assert all(each["window_start_time"] is None and each["status"] == "PENDING" for each in found)

    def test_blocks_are_read_only_if_something_is_announced(self, emulator: EmulatorProcess) -> None:
        assert run(kinds=["reservation"])["windows"] == []
        assert paths(emulator) == ["aggregated/reservations"]
        announce(emulator, "reservations/train", 1, block="b2")
        emulator.control.clear_journal()
        run(kinds=["reservation"])
        assert paths(emulator) == [
            "aggregated/reservations",
            "zones/us-central1-a/reservations/train/reservationBlocks",
        ]

    def test_of_one_zone(self, emulator: EmulatorProcess) -> None:
        for group in ("licensed", "far"):
            announce(emulator, f"node-groups/{group}", 1)
        assert [each["node_group"] for each in run(zone="europe-west1-b")["windows"]] == ["far"]

    def test_filter_applies_to_instances(self, emulator: EmulatorProcess) -> None:
        announce(emulator, "node-groups/licensed", 1)
        assert run(filter="labels.env = prod")["windows"] == []
        found = run(filter="labels.env = prod", kinds=["instance", "node_group"])["windows"]
        assert {each["kind"] for each in found} == {"node"}


class TestPermissions:
    @pytest.mark.parametrize(
        "path, kind, permission",
        [
            ("aggregated/instances", "instance", "compute.instances.list"),
            ("aggregated/nodeGroups", "node_group", "compute.nodeGroups.list"),
            ("zones/us-central1-a/nodeGroups/licensed/listNodes", "node_group", "compute.nodeGroups.get"),
            ("aggregated/reservations", "reservation", "compute.reservations.list"),
            (
                "zones/us-central1-a/reservations/train/reservationBlocks",
                "reservation",
                "compute.reservationBlocks.list",
            ),
        ],
    )
    def test_missing_permission_is_a_warning(
        self, emulator: EmulatorProcess, path: str, kind: str, permission: str
    ) -> None:
        for group in ("node-groups/licensed", "reservations/train"):
            announce(emulator, group, 1)
        emulator.control.set("web-1", "instance/upcoming-maintenance", window(2))
        emulator.control.fault("forbidden", face="compute", path=f"projects/acme/{path}")
        result = run()
        assert not result.failed
        assert not result["complete"]
        assert list(result["denied"]) == [kind]
        assert permission in result["denied"][kind]
        assert f"Grant the permission {permission}" in str(result["warnings"])
        others = {"instance": "instance", "node_group": "node", "reservation": "reservation"}
        found = {each["kind"].partition("_")[0] for each in result["windows"]}
        assert {each for name, each in others.items() if name != kind} <= found

    def test_reservations_without_their_blocks_are_incomplete(self, emulator: EmulatorProcess) -> None:
        announce(emulator, "reservations/train", 1)
        path = "projects/acme/zones/us-central1-a/reservations/train/reservationBlocks"
        emulator.control.fault("forbidden", face="compute", path=path)
        for kinds in (["instance", "reservation"], ["reservation"]):
            result = run(kinds=kinds)
            assert [each["kind"] for each in result["windows"]] == ["reservation"]
            assert not result["complete"]
            assert "The list of reservations is incomplete." in str(result["warnings"])

    def test_missing_all_permissions_is_a_failure(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("forbidden", face="compute")
        result = run()
        assert result.failed
        assert "Grant the permission compute.instances.list" in result["msg"]

    def test_another_error_is_a_failure(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("503", face="compute", path="projects/acme/aggregated/nodeGroups")
        assert run(retry_for=0).failed


class TestHistory:
    def test_has_actions_of_the_platform_with_the_latest_first(self, emulator: EmulatorProcess) -> None:
        emulator.control.scenario("web-1", "live-migration")
        eventually(lambda: run(now=time.time(), history="7d")["history"], what="the migration")
        emulator.control.scenario("spot-1", "preemption", restart=False)
        eventually(lambda: len(run(now=time.time(), history="7d")["history"]) > 1, what="the preemption")
        found = run(now=time.time(), history="7d")["history"]
        assert [(each["event"], each["name"], each["zone"]) for each in found] == [
            ("preempted", "spot-1", "europe-west1-b"),
            ("migrateOnHostMaintenance", "web-1", "us-central1-a"),
        ]
        assert found[0]["time"] >= found[1]["time"]
        one = run(now=time.time(), history="7d", zone="europe-west1-b")["history"]
        assert [each["name"] for each in one] == ["spot-1"]
        few = run(now=time.time(), history="7d", filter="labels.env = prod")["history"]
        assert [each["name"] for each in few] == ["web-1"]
        assert run(now=time.time() + 30 * 86400, history="7d")["history"] == []

    def test_is_only_read_if_wanted(self, emulator: EmulatorProcess) -> None:
        assert run()["history"] is None
        assert not [path for path in paths(emulator) if "operations" in path]

    def test_omits_actions_of_users(self, emulator: EmulatorProcess) -> None:
        emulator.control.request("POST", "instances/web-1/stop")
        assert run(now=time.time(), history="7d")["history"] == []

    def test_without_the_permission_is_a_warning(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("forbidden", face="compute", path="projects/acme/aggregated/operations")
        result = run(now=time.time(), history="7d")
        assert not result.failed
        assert result["history"] == []
        assert not result["complete"]
        assert "perations.list" in result["denied"]["history"]

    def test_requires_a_duration(self, emulator: EmulatorProcess) -> None:
        assert "history is 'soon', which is not a duration" in run(history="soon")["msg"]
        assert "Add instance to kinds" in run(history="7d", filter="a = b", kinds=["node_group"])["msg"]
        assert emulator.control.journal(face="compute") == []
