# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module host_maintenance, with an emulated Compute API and its instances."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.api import Time
from ansible_collections.gce.guest.plugins.modules import host_maintenance

from support.emulator import EmulatorProcess
from support.modules import Result, run_module
from support.playbook import examples, run_play

FLEET = {
    "project": "acme",
    "speed": 1000,
    "notice": {"terminate": 60},
    "instances": [
        {"name": "web-1", "labels": {"env": "prod"}},
        {"name": "gpu-1", "accelerators": [{"type": "nvidia-l4"}]},
        {"name": "spot-1", "scheduling": {"preemptible": True}},
        {"name": "db-1", "zone": "europe-west1-b", "labels": {"env": "prod"}},
        {"name": "ledger-1"},
        {"name": "train-1", "machine_type": "a4-highgpu-8g"},
        {"name": "train-2", "machine_type": "a4-highgpu-8g"},
    ],
    "node_groups": [{"name": "licensed", "nodes": [{"instances": ["ledger-1"]}, {}, {}]}],
    "reservations": [
        {
            "name": "train",
            "blocks": [
                {
                    "name": "train-block-0001",
                    "sub_blocks": [{"name": "s1", "count": 2, "instances": ["train-1"]}, {"name": "s2"}],
                },
                {"name": "b2", "instances": ["train-2"]},
            ],
        },
        {"name": "alone", "scheduling_type": "INDEPENDENT", "blocks": [{"name": "b3", "count": 2}]},
    ],
}
EVENT = "instance/maintenance-event"
UPCOMING = "instance/upcoming-maintenance"
WINDOW = {
    "window_start_time": "2099-12-01T10:00:00Z",
    "can_reschedule": True,
    "maintenance_reasons": ["PLANNED_UPDATE"],
}
WEB = "projects/acme/zones/us-central1-a/instances/web-1"


def run(
    action: str = "simulate", *, check: bool = False, slept: list[float] | None = None, **parameters: Any
) -> Result:
    """The module's result. Time passes only by its pauses, which take no real time and are not shortened at random."""
    passed = [] if slept is None else slept
    module = ModuleType("host_maintenance")
    clock = Time(lambda: sum(passed), passed.append, lambda: 0.0)
    module.__dict__["main"] = lambda: host_maintenance.main(clock)
    return run_module(module, {"action": action, **parameters}, check=check)


def writes(emulator: EmulatorProcess) -> list[str]:
    return [
        request["path"].rpartition("/")[2]
        for request in emulator.control.journal(face="compute")
        if request["method"] != "GET" and not request["path"].endswith("/wait")
    ]


def booted(emulator: EmulatorProcess, name: str) -> bool:
    return bool(emulator.control.instance(name)["boot_count"] > 1)


class TestSimulate:
    def test_migrates_and_waits_for_the_end(self, emulator: EmulatorProcess) -> None:
        result = run(instance="web-1", zone="us-central1-a")
        assert not result.failed
        assert result["changed"]
        only = result["instances"][0]
        assert (only["name"], only["zone"], only["event"]) == ("web-1", "us-central1-a", "migrate")
        assert only["operation"].startswith("operation-")
        assert only["window"] is None
        assert emulator.control.get("web-1", EVENT) == "NONE"
        assert emulator.control.get("web-1", "instance/virtual-clock/drift-token") != "0"
        assert writes(emulator) == ["simulateMaintenanceEvent"]

    def test_waits_without_limit_on_request(self, emulator: EmulatorProcess) -> None:
        assert not run(instance="web-1", timeout=float("inf")).failed

    @pytest.mark.parametrize("name, event", [("gpu-1", "terminate"), ("spot-1", "preempt")])
    def test_stops_and_restarts_instances_that_cannot_migrate(
        self, emulator: EmulatorProcess, name: str, event: str
    ) -> None:
        result = run(instance=name)
        assert result["instances"][0]["event"] == event
        assert emulator.control.instance(name)["status"] == ("RUNNING" if name == "gpu-1" else "TERMINATED")

    def test_many_at_once(self, emulator: EmulatorProcess) -> None:
        result = run(filter="labels.env = prod")
        assert [each["name"] for each in result["instances"]] == ["db-1", "web-1"]
        assert all(each["changed"] for each in result["instances"])
        assert len(writes(emulator)) == 2

    def test_does_not_wait_with_wait_false(self, emulator: EmulatorProcess) -> None:
        result = run(instance="web-1", zone="us-central1-a", wait=False)
        assert result["changed"]
        assert not [each for each in emulator.control.journal(face="compute") if each["path"].endswith("/wait")]

    def test_sends_nothing_in_check_mode(self, emulator: EmulatorProcess) -> None:
        predicted = run(instance="web-1", check=True)
        assert writes(emulator) == []
        done = run(instance="web-1")
        assert predicted["instances"][0].pop("operation") is None
        done["instances"][0].pop("operation")
        assert predicted["instances"] == done["instances"]

    def test_retries_while_there_is_no_host_to_migrate_to(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("operation-error", face="compute", count=2)
        slept: list[float] = []
        result = run(instance="web-1", slept=slept)
        assert result["instances"][0]["retries"] == 2
        assert len(slept) == 2
        assert emulator.control.get("web-1", "instance/virtual-clock/drift-token") != "0"

    def test_stops_retrying_after_the_timeout(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("operation-error", face="compute")
        slept: list[float] = []
        result = run(instance="web-1", timeout=60, slept=slept)
        assert result.failed
        assert not result["changed"]
        assert f"Cannot simulate host maintenance of {WEB}: its operation" in result["msg"]
        assert "ended in MIGRATION_TEMPORARILY_UNAVAILABLE" in result["msg"]
        # The last try has 8.5 s of real time for its answers.
        assert slept == [0.5, 1, 2, 4, 8, 16, 20]

    def test_reports_an_unfinished_operation(self, emulator: EmulatorProcess) -> None:
        result = run(instance="web-1", timeout=0)
        assert result.failed
        assert "may yet succeed" in result["msg"]

    def test_a_stopped_instance_has_no_host(self, emulator: EmulatorProcess) -> None:
        emulator.control.request("POST", "instances/web-1/stop")
        result = run(instance="web-1", check=True)
        assert f"Cannot simulate host maintenance of {WEB}: it is TERMINATED" in result["msg"]

    def test_failures_do_not_stop_the_others(self, emulator: EmulatorProcess) -> None:
        emulator.control.request("POST", "instances/gpu-1/stop")
        result = run(instances=["web-1", "gpu-1", "nobody"])
        assert result.failed
        assert result["msg"].startswith("2 of 3 instances failed.")
        assert "There is no instance nobody in any zone of the project acme." in result["msg"]
        assert {each["name"]: (each["changed"], each["failed"]) for each in result["instances"]} == {
            "web-1": (True, False),
            "gpu-1": (False, True),
            "nobody": (False, True),
        }
        assert writes(emulator) == ["simulateMaintenanceEvent"]


class TestPerform:
    def test_starts_announced_maintenance(self, emulator: EmulatorProcess) -> None:
        emulator.control.set("web-1", UPCOMING, WINDOW)
        result = run("perform", instance="web-1")
        assert result["changed"]
        window = result["instances"][0]["window"]
        assert (window["window_start_time"], window["status"]) == ("2099-12-01T10:00:00Z", "PENDING")
        assert (window["can_reschedule"], window["reasons"]) == (True, ["PLANNED_UPDATE"])
        assert writes(emulator) == ["performMaintenance"]

    @pytest.mark.parametrize(
        "window, words",
        [
            (None, "no maintenance is announced for it."),
            (
                {**WINDOW, "can_reschedule": False},
                "its maintenance cannot be rescheduled (canReschedule is not true), and",
            ),
            ({**WINDOW, "maintenance_status": "ONGOING"}, "its maintenance is already in progress."),
        ],
    )
    def test_refuses_impossible_maintenance(self, emulator: EmulatorProcess, window: Any, words: str) -> None:
        if window is not None:
            emulator.control.set("web-1", UPCOMING, window)
        for check in (True, False):
            result = run("perform", instance="web-1", check=check)
            assert result.failed
            assert f"Cannot perform the host maintenance of {WEB}: {words}" in result["msg"]
        assert writes(emulator) == []

    def test_a_second_run_changes_nothing(self, emulator: EmulatorProcess) -> None:
        emulator.control.set("web-1", UPCOMING, WINDOW)
        first = run("perform", filter="labels.env = prod", on_missing="skip")
        assert [each["name"] for each in first["instances"] if each["changed"]] == ["web-1"]
        second = run("perform", filter="labels.env = prod", on_missing="skip")
        assert not second["changed"]
        assert not second.failed
        assert "no maintenance is announced for it" in second["instances"][0]["msg"]
        assert writes(emulator) == ["performMaintenance"]

    def test_instances_left_alone_cause_a_warning(self, emulator: EmulatorProcess) -> None:
        result = run("perform", instance="web-1", on_missing="warn")
        assert not result.failed
        assert f"Cannot perform the host maintenance of {WEB}: no maintenance is announced for it." in result.printed


class TestMachineTypes:
    def test_that_cannot_be_simulated_cause_a_warning(self, emulator: EmulatorProcess) -> None:
        # Warnings stay until the process ends.
        assert "cannot be simulated" not in run(instance="web-1", check=True).printed
        result = run(instance="train-1", check=True)
        assert not result.failed
        assert "a4-highgpu-8g" in str(result["warnings"])
        assert "cannot be simulated" in str(result["warnings"])


def announce(emulator: EmulatorProcess, group: str, **selected: Any) -> None:
    emulator.control.request("PUT", f"{group}/upcoming-maintenance", {"value": WINDOW, **selected})


def announced_hosts(emulator: EmulatorProcess, group: str) -> list[str]:
    """The hosts that still have a window."""
    hosts = emulator.control.request("GET", group)["hosts"]
    return [host["name"] for host in hosts if host["upcoming_maintenance"]]


class TestNodeGroups:
    def test_all_nodes_are_simulated(self, emulator: EmulatorProcess) -> None:
        result = run(node_group="licensed", zone="us-central1-a")
        assert not result.failed
        assert result["changed"]
        assert result["instances"] == []
        group = result["group"]
        assert (group["kind"], group["name"]) == ("node_group", "licensed")
        assert group["nodes"] == ["licensed-1", "licensed-2", "licensed-3"]
        assert group["operation"].startswith("operation-")
        assert emulator.control.get("ledger-1", "instance/virtual-clock/drift-token") != "0"

    def test_announced_maintenance_is_performed_once(self, emulator: EmulatorProcess) -> None:
        announce(emulator, "node-groups/licensed", nodes=["licensed-1", "licensed-3"])
        wanted: dict[str, Any] = {"node_group": "licensed", "zone": "us-central1-a", "on_missing": "skip"}
        predicted = run("perform", check=True, **wanted)
        assert "performMaintenance" not in writes(emulator)
        done = run("perform", **wanted)
        assert done["group"].pop("operation").startswith("operation-")
        assert predicted["group"].pop("operation") is None
        assert dict(predicted) == dict(done)
        assert done["group"]["nodes"] == ["licensed-1", "licensed-3"]
        assert done["group"]["window"]["window_start_time"] == "2099-12-01T10:00:00Z"
        again = run("perform", **wanted)
        assert (again["changed"], again.failed) == (False, False)
        assert "no maintenance is announced for it" in again["group"]["msg"]
        assert writes(emulator).count("performMaintenance") == 1

    def test_a_node_without_announced_maintenance_is_an_error_if_it_is_named(self, emulator: EmulatorProcess) -> None:
        announce(emulator, "node-groups/licensed", nodes=["licensed-1"])
        wanted: dict[str, Any] = {
            "node_group": "licensed",
            "zone": "us-central1-a",
            "nodes": ["licensed-1", "licensed-2"],
        }
        result = run("perform", **wanted)
        assert result.failed
        assert "licensed-2: no maintenance is announced for it." in result["msg"]
        assert "performMaintenance" not in writes(emulator)
        rest = run("perform", on_missing="warn", **wanted)
        assert rest["group"]["nodes"] == ["licensed-1"]
        assert "licensed-2: no maintenance is announced for it." in str(rest["warnings"])

    def test_an_empty_list_of_nodes_selects_none(self, emulator: EmulatorProcess) -> None:
        announce(emulator, "node-groups/licensed")
        for action in ("simulate", "perform"):
            result = run(action, node_group="licensed", zone="us-central1-a", nodes=[])
            assert (result["changed"], result.failed) == (False, False)
            assert result["group"]["nodes"] == []
        assert "performMaintenance" not in writes(emulator)
        assert "simulateMaintenanceEvent" not in writes(emulator)

    def test_nothing_announced_is_an_error(self, emulator: EmulatorProcess) -> None:
        result = run("perform", node_group="licensed", zone="us-central1-a")
        assert result.failed
        assert "no maintenance is announced for it" in result["msg"]

    @pytest.mark.parametrize(
        "parameters, words",
        [
            ({"nodes": ["licensed-9"]}, "There is no node licensed-9"),
            ({"nodes": [""]}, "There is no node '' in"),
            ({"node_group": "nobody"}, "404"),
            ({"node_group": "a/../b"}, "node_group is 'a/../b', which is not the name or ID of a resource"),
            ({"node_group": ""}, "node_group is empty"),
            ({"nodes": None}, "nodes is null. Omit it to maintain all hosts"),
            ({"zone": None}, "zone"),
            ({"instance": "web-1"}, "mutually exclusive"),
            ({"scope": "unused"}, "scope applies to reservations and blocks"),
        ],
    )
    def test_wrong_options_are_refused(self, emulator: EmulatorProcess, parameters: Any, words: str) -> None:
        result = run(**{"node_group": "licensed", "zone": "us-central1-a", **parameters})
        assert result.failed
        assert words in result["msg"]
        assert "simulateMaintenanceEvent" not in writes(emulator)


class TestReservations:
    @pytest.mark.parametrize(
        "selected, scope, left",
        [
            ({}, "all", 0),
            ({"block": "train-block-0001"}, "all", 1),
            ({"block": "train-block-0001", "sub_block": "s1"}, "all", 2),
            ({}, "running", 2),
            ({"block": "train-block-0001"}, "unused", 2),
        ],
    )
    def test_are_performed(self, emulator: EmulatorProcess, selected: Any, scope: str, left: int) -> None:
        announce(emulator, "reservations/train")
        wanted: dict[str, Any] = {"reservation": "train", "zone": "us-central1-a", "scope": scope, **selected}
        result = run("perform", **wanted)
        assert not result.failed, result["msg"]
        assert result["changed"]
        assert result["group"]["window"]["can_reschedule"] is True
        assert len(announced_hosts(emulator, "reservations/train")) == left

    def test_a_second_run_changes_nothing(self, emulator: EmulatorProcess) -> None:
        announce(emulator, "reservations/train", block="b2")
        wanted: dict[str, Any] = {"reservation": "train", "block": "b2", "zone": "us-central1-a", "on_missing": "skip"}
        assert run("perform", **wanted)["changed"]
        again = run("perform", **wanted)
        assert (again["changed"], again.failed) == (False, False)
        assert writes(emulator).count("performMaintenance") == 1

    def test_with_independent_hosts_are_left_to_the_api(self, emulator: EmulatorProcess) -> None:
        announce(emulator, "reservations/alone")
        result = run("perform", reservation="alone", zone="us-central1-a")
        assert not result.failed, result["msg"]
        assert announced_hosts(emulator, "reservations/alone") == []

    def test_without_anything_announced_are_an_error(self, emulator: EmulatorProcess) -> None:
        result = run("perform", reservation="train", zone="us-central1-a", check=True)
        assert "projects/acme/zones/us-central1-a/reservations/train: no maintenance is announced" in result["msg"]

    @pytest.mark.parametrize(
        "action, parameters, words",
        [
            ("simulate", {}, "action=simulate is not possible for a reservation"),
            ("perform", {"sub_block": "s1"}, "block"),
            ("perform", {"block": "b2", "sub_block": "s1", "scope": "unused"}, "Omit it for a sub_block"),
            ("perform", {"nodes": ["licensed-1"]}, "node_group"),
            ("perform", {"block": "../x"}, "block is '../x'"),
            ("perform", {"block": None}, "block is null"),
            ("perform", {"disruption": "future"}, "are for action=report_faulty"),
            ("perform", {"block": "b2", "sub_block": None}, "sub_block is null"),
        ],
    )
    def test_wrong_options_are_refused(
        self, emulator: EmulatorProcess, action: str, parameters: Any, words: str
    ) -> None:
        result = run(action, reservation="train", zone="us-central1-a", **parameters)
        assert result.failed
        assert words in result["msg"]
        assert emulator.control.journal(face="compute") == []


REPORT: dict[str, Any] = {
    "instance": "gpu-1",
    "disruption": "immediate",
    "faults": [{"behavior": "chip_error", "description": "XID 79"}],
    "confirm": True,
}


class TestFaultyHosts:
    def test_are_reported(self, emulator: EmulatorProcess) -> None:
        result = run("report_faulty", **REPORT)
        assert not result.failed, result["msg"]
        assert result["instances"][0]["event"] == "terminate"
        assert writes(emulator) == ["reportHostAsFaulty"]

    def test_with_a_later_disruption_have_a_window(self, emulator: EmulatorProcess) -> None:
        result = run("report_faulty", **{**REPORT, "disruption": "future"})
        assert result["instances"][0]["event"] == "window"
        assert emulator.control.get("gpu-1", UPCOMING) is not None

    def test_are_not_reported_in_check_mode(self, emulator: EmulatorProcess) -> None:
        assert run("report_faulty", check=True, **REPORT)["changed"]
        assert writes(emulator) == []

    def test_without_accelerators_are_refused_by_the_api(self, emulator: EmulatorProcess) -> None:
        result = run("report_faulty", **{**REPORT, "instance": "web-1"})
        assert f"Cannot report as faulty the host of {WEB}: the Compute API answers 400" in result["msg"]

    @pytest.mark.parametrize(
        "parameters, words",
        [
            ({"confirm": False}, "set confirm=true"),
            ({"faults": []}, "faults is empty"),
            ({"faults": None}, "faults"),
            ({"disruption": None}, "disruption"),
            ({"faults": [{"behavior": "smells"}]}, "smells"),
            ({"instance": None, "node_group": "licensed", "zone": "us-central1-a"}, "node group"),
        ],
    )
    def test_with_wrong_options_are_refused(self, emulator: EmulatorProcess, parameters: Any, words: str) -> None:
        wanted = {name: value for name, value in {**REPORT, **parameters}.items() if value is not None}
        result = run("report_faulty", **wanted)
        assert result.failed
        assert words in result["msg"]
        assert emulator.control.journal(face="compute") == []


class TestErrors:
    def test_a_missing_permission_is_named(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault(
            "forbidden", face="compute", path="projects/acme/zones/us-central1-a/instances/web-1/simul"
        )
        result = run(instance="web-1")
        assert result["msg"].startswith(
            f"Cannot simulate host maintenance of {WEB}: the Compute API answers 403 forbidden: Required "
            f"'compute.instances.simulateMaintenanceEvent' permission for '{WEB}'."
        )
        assert "Grant the permission compute.instances.simulateMaintenanceEvent" in result["msg"]
        assert "ya29.planted" not in result.printed

    def test_a_lost_answer_does_not_repeat_the_maintenance(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault(
            "lost-answer", face="compute", count=1, path="projects/acme/zones/us-central1-a/instances/web-1/simulate"
        )
        result = run(instance="web-1")
        assert not result.failed
        ids = {
            request["query"]
            for request in emulator.control.journal(face="compute")
            if request["path"].endswith("/simulateMaintenanceEvent")
        }
        assert len(ids) == 1

    @pytest.mark.parametrize(
        "parameters, words",
        [
            ({}, "one of the following is required: instance, instances, filter"),
            ({"filter": ""}, "filter is empty."),
            ({"instances": None}, "instances is None"),
            ({"instance": None}, "instance is None"),
            ({"filter": None}, "filter is None"),
            ({"instance": "a b"}, "'a b' is not an instance"),
            ({"instance": "web-1", "timeout": -1}, "timeout is -1"),
            ({"instance": "web-1", "scope": "unused"}, "scope applies to reservations and blocks"),
        ],
    )
    def test_wrong_options_are_refused_before_any_request(
        self, emulator: EmulatorProcess, parameters: Any, words: str
    ) -> None:
        result = run(**parameters)
        assert words in result["msg"]
        assert emulator.control.journal(face="compute") == []


def test_the_examples_run_and_show_no_token(emulator: EmulatorProcess) -> None:
    announce(emulator, "node-groups/licensed")
    announce(emulator, "reservations/train", block="train-block-0001")
    status, output = run_play(examples("modules", "host_maintenance"), "-vvvv", environment={})
    assert status == 0, output
    assert "ya29.planted" not in output
