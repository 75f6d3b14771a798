# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module scheduling, with an emulated Compute API."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest
from ansible_collections.gce.guest.plugins.module_utils._compute.scheduling import checked, plan, refusals
from ansible_collections.gce.guest.plugins.modules import scheduling

from support.emulator import EmulatorProcess
from support.modules import Result, run_module
from support.playbook import examples, run_play

FLEET = {
    "project": "acme",
    "speed": 1000,
    "instances": [
        {"name": "web-1", "labels": {"env": "prod"}},
        {"name": "web-2", "labels": {"env": "prod"}},
        {"name": "gpu-1", "accelerators": [{"type": "nvidia-l4"}]},
        {"name": "spot-1", "scheduling": {"preemptible": True}},
        {"name": "db-1"},
    ],
}
WEB = "projects/acme/zones/us-central1-a/instances/web-1"


def run(*, check: bool = False, diff: bool = True, **parameters: Any) -> Result:
    return run_module(scheduling, parameters, check=check, diff=diff)


def scheduling_of(emulator: EmulatorProcess, name: str) -> dict[str, Any]:
    """As the API returns it."""
    url = f"{emulator.compute}/compute/v1/projects/acme/zones/us-central1-a/instances/{name}"
    found: dict[str, Any] = requests.get(url, timeout=10).json()["scheduling"]
    return found


def writes(emulator: EmulatorProcess) -> list[dict[str, Any]]:
    return [
        request
        for request in emulator.control.journal(face="compute")
        if request["method"] != "GET" and not request["path"].endswith("/wait")
    ]


class TestChange:
    def test_only_differences_are_sent(self, emulator: EmulatorProcess) -> None:
        result = run(instance="web-1", on_host_maintenance="TERMINATE", automatic_restart=True, host_error_timeout=90)
        assert not result.failed
        assert result["instances"][0]["changes"] == ["on_host_maintenance", "host_error_timeout"]
        assert result["instances"][0]["scheduling"]["host_error_timeout"] == 90
        assert emulator.control.get("web-1", "instance/scheduling/on-host-maintenance") == "TERMINATE"

    def test_a_second_run_changes_nothing_and_sends_no_write(self, emulator: EmulatorProcess) -> None:
        wanted: dict[str, Any] = {
            "filter": "labels.env = prod",
            "on_host_maintenance": "TERMINATE",
            "local_ssd_recovery_timeout": 3600,
        }
        assert run(**wanted)["changed"]
        emulator.control.clear_journal()
        second = run(**wanted)
        assert not second["changed"]
        assert second["diff"] == []
        assert writes(emulator) == []

    def test_check_mode_shows_what_the_real_run_does(self, emulator: EmulatorProcess) -> None:
        wanted: dict[str, Any] = {
            "instances": ["web-1", "web-2", "db-1"],
            "automatic_restart": False,
            "host_error_timeout": 120,
        }
        run(instance="web-2", automatic_restart=False, host_error_timeout=120)
        emulator.control.clear_journal()
        predicted = run(check=True, **wanted)
        assert writes(emulator) == []
        done = run(**wanted)
        assert dict(predicted) == dict(done)
        assert [each["changed"] for each in done["instances"]] == [True, False, True]
        assert len(done["diff"]) == len(writes(emulator)) == 2
        assert done["diff"][0]["before_header"] == WEB
        assert (done["diff"][0]["before"]["automatic_restart"], done["diff"][0]["after"]["automatic_restart"]) == (
            True,
            False,
        )

    def test_0_clears_a_timeout(self, emulator: EmulatorProcess) -> None:
        run(instance="web-1", host_error_timeout=90)
        result = run(instance="web-1", host_error_timeout=0)
        assert result["changed"]
        assert result["instances"][0]["scheduling"]["host_error_timeout"] is None
        assert not run(instance="web-1", host_error_timeout=0)["changed"]

    def test_a_stopped_instance_becomes_a_spot_vm_and_back(self, emulator: EmulatorProcess) -> None:
        emulator.control.request("POST", "instances/web-1/stop")
        spot: dict[str, Any] = {
            "provisioning_model": "SPOT",
            "automatic_restart": False,
            "on_host_maintenance": "TERMINATE",
            "instance_termination_action": "DELETE",
        }
        assert not run(instance="web-1", **spot).failed
        assert not run(instance="web-1", **spot)["changed"]
        back = run(instance="web-1", provisioning_model="STANDARD")
        assert not back.failed
        assert back["instances"][0]["changes"] == ["provisioning_model", "instance_termination_action"]

    def test_graceful_shutdown_is_enabled_and_disabled(self, emulator: EmulatorProcess) -> None:
        enabled: dict[str, Any] = {"instance": "web-1", "graceful_shutdown": {"enabled": True, "max_duration": 300}}
        predicted = run(check=True, **enabled)
        assert writes(emulator) == []
        done = run(**enabled)
        assert dict(predicted) == dict(done)
        assert done["instances"][0]["changes"] == ["graceful_shutdown"]
        assert scheduling_of(emulator, "web-1")["gracefulShutdown"] == {
            "enabled": True,
            "maxDuration": {"seconds": "300"},
        }
        assert not run(**enabled)["changed"]
        assert not run(instance="web-1", graceful_shutdown={"enabled": True})["changed"]
        off = run(instance="web-1", graceful_shutdown={"enabled": False})
        assert off["instances"][0]["scheduling"]["graceful_shutdown"]["enabled"] is False
        assert scheduling_of(emulator, "web-1")["gracefulShutdown"]["enabled"] is False

    def test_disabled_graceful_shutdown_is_the_default(self, emulator: EmulatorProcess) -> None:
        assert not run(instance="web-1", graceful_shutdown={"enabled": False})["changed"]

    def test_the_notice_of_a_preemption_is_set_and_cleared(self, emulator: EmulatorProcess) -> None:
        assert run(instance="spot-1", preemption_notice_duration=120)["changed"]
        assert not run(instance="spot-1", preemption_notice_duration=120)["changed"]
        assert scheduling_of(emulator, "spot-1")["preemptionNoticeDuration"] == {"seconds": "120"}
        assert run(instance="spot-1", preemption_notice_duration=0)["changed"]
        assert "preemptionNoticeDuration" not in scheduling_of(emulator, "spot-1")

    def test_the_notice_of_a_preemption_goes_with_the_provisioning_model(self) -> None:
        scheduling = {"provisioningModel": "SPOT", "preemptionNoticeDuration": {"seconds": "120"}}
        change = plan({"status": "TERMINATED", "scheduling": scheduling}, {"provisioning_model": "STANDARD"})
        assert change.body == {"provisioningModel": "STANDARD", "preemptionNoticeDuration": None}

    def test_a_termination_time_is_set_and_cleared(self, emulator: EmulatorProcess) -> None:
        emulator.control.request("POST", "instances/web-1/stop")
        wanted: dict[str, Any] = {"instance": "web-1", "termination_time": "2099-01-31T23:00:00+01:00"}
        result = run(**wanted)
        assert result["instances"][0]["scheduling"]["termination_time"] == "2099-01-31T22:00:00Z"
        assert scheduling_of(emulator, "web-1")["terminationTime"] == "2099-01-31T22:00:00Z"
        assert not run(**wanted)["changed"]
        assert not run(instance="web-1", termination_time="2099-01-31T22:00:00Z")["changed"]
        assert "exclude each other" in run(instance="web-1", max_run_duration=60)["msg"]
        assert run(instance="web-1", max_run_duration=60, termination_time="")["changed"]
        scheduling = scheduling_of(emulator, "web-1")
        assert "terminationTime" not in scheduling
        assert scheduling["maxRunDuration"] == {"seconds": "60"}

    def test_a_limited_run_duration_needs_a_stopped_instance(self, emulator: EmulatorProcess) -> None:
        assert "the instance has to be stopped, and it is RUNNING" in run(instance="web-1", max_run_duration=60)["msg"]
        emulator.control.request("POST", "instances/web-1/stop")
        wanted: dict[str, Any] = {"instance": "web-1", "max_run_duration": 60, "instance_termination_action": "STOP"}
        assert run(**wanted)["changed"]
        assert not run(**wanted)["changed"]


class TestRefusals:
    @pytest.mark.parametrize(
        "name, parameters, words",
        [
            (
                "spot-1",
                {"automatic_restart": True},
                "A Spot VM is not restarted automatically. Set automatic_restart=false.",
            ),
            (
                "spot-1",
                {"on_host_maintenance": "MIGRATE"},
                "Preemptible and Spot VMs are not migrated. Set on_host_maintenance=TERMINATE.",
            ),
            (
                "gpu-1",
                {"on_host_maintenance": "MIGRATE"},
                "Machine type e2-medium with GPUs cannot be migrated. Set on_host_maintenance=TERMINATE.",
            ),
            (
                "web-1",
                {"provisioning_model": "SPOT", "automatic_restart": False, "on_host_maintenance": "TERMINATE"},
                "To change provisioning_model, the instance has to be stopped, and it is RUNNING. Stop it first.",
            ),
            ("web-1", {"preemption_notice_duration": 120}, "preemption_notice_duration applies only to Spot VMs."),
            (
                "web-1",
                {"termination_time": "2099-01-01T00:00:00Z"},
                "To change termination_time, the instance has to be stopped",
            ),
            ("web-1", {"instance_termination_action": "STOP"}, "instance_termination_action applies only to Spot VMs"),
        ],
    )
    def test_refusals_of_the_api_are_reported_before_any_request(
        self, emulator: EmulatorProcess, name: str, parameters: Any, words: str
    ) -> None:
        for check in (True, False):
            result = run(instance=name, check=check, **parameters)
            assert result.failed
            assert f"Cannot set the scheduling of projects/acme/zones/us-central1-a/instances/{name}: " in result["msg"]
            assert words in result["msg"]
        assert writes(emulator) == []

    def test_the_api_refuses_the_same(self, emulator: EmulatorProcess) -> None:
        """The module must not refuse what the API accepts."""
        url = f"{emulator.compute}/compute/v1/projects/acme/zones/us-central1-a/instances"
        for name, body in (
            ("spot-1", {"automaticRestart": True}),
            ("spot-1", {"onHostMaintenance": "MIGRATE"}),
            ("gpu-1", {"onHostMaintenance": "MIGRATE"}),
            ("web-1", {"provisioningModel": "SPOT", "automaticRestart": False, "onHostMaintenance": "TERMINATE"}),
            ("web-1", {"instanceTerminationAction": "STOP"}),
            ("web-1", {"preemptionNoticeDuration": {"seconds": "120"}}),
            ("web-1", {"terminationTime": "2099-01-01T00:00:00Z"}),
            ("web-1", {"gracefulShutdown": {"enabled": True, "maxDuration": {"seconds": "3601"}}}),
            ("web-1", {"localSsdRecoveryTimeout": {"seconds": "100"}}),
        ):
            answer = requests.post(f"{url}/{name}/setScheduling", json=body, timeout=10)
            assert answer.status_code == 400, answer.text

    def test_a_refusal_does_not_stop_the_others(self, emulator: EmulatorProcess) -> None:
        result = run(instances=["spot-1", "web-1"], automatic_restart=True, host_error_timeout=90)
        assert result.failed
        assert result["msg"].startswith("1 of 2 instances failed. spot-1: Cannot set the scheduling of")
        assert [(each["name"], each["changed"]) for each in result["instances"]] == [("spot-1", False), ("web-1", True)]
        assert result["instances"][0]["scheduling"]["host_error_timeout"] is None
        assert [each["before_header"] for each in result["diff"]] == [WEB]

    @pytest.mark.parametrize(
        "parameters, words",
        [
            (
                {"host_error_timeout": 100},
                "host_error_timeout is 100, but the API takes 90 to 330 seconds in steps of 30",
            ),
            (
                {"local_ssd_recovery_timeout": -1},
                "local_ssd_recovery_timeout is -1, but the API takes 0 to 604800 seconds",
            ),
            ({"max_run_duration": 10}, "max_run_duration is 10, but the API takes 30 to 10368000 seconds"),
            ({"local_ssd_recovery_timeout": 100}, "local_ssd_recovery_timeout is 100, but the API takes 0 to 604800"),
            (
                {"graceful_shutdown": {"enabled": True, "max_duration": 3601}},
                "max_duration is 3601, but",
            ),
            ({"graceful_shutdown": {"max_duration": 60}}, "missing required arguments: enabled"),
            ({"preemption_notice_duration": -1}, "preemption_notice_duration is -1"),
            ({"termination_time": "tomorrow"}, "termination_time is 'tomorrow'. Give a time in RFC 3339"),
            ({"termination_time": "2020-01-01T00:00:00Z"}, "which is in the past"),
            ({}, "There is nothing to do: give one of on_host_maintenance, "),
            ({"instance": None, "automatic_restart": False}, "instance is None"),
        ],
    )
    def test_wrong_values_are_refused_before_any_request(
        self, emulator: EmulatorProcess, parameters: Any, words: str
    ) -> None:
        assert words in run(**{"instance": "web-1", **parameters})["msg"]
        assert emulator.control.journal(face="compute") == []

    @pytest.mark.parametrize(
        "machine_type", ["a3-highgpu-8g", "h4d-standard-192", "c3-standard-192-metal", "ct5p-hightpu-4t"]
    )
    def test_machine_types_that_cannot_be_migrated_are_known(self, machine_type: str) -> None:
        instance = {"status": "RUNNING", "machineType": machine_type, "scheduling": {"onHostMaintenance": "TERMINATE"}}
        [reason] = refusals(instance, plan(instance, {"on_host_maintenance": "MIGRATE"}))
        assert "cannot be migrated. Set on_host_maintenance=TERMINATE." in reason

    @pytest.mark.parametrize("machine_type", ["z3-highmem-14-standardlssd", "z3-highmem-88", "z4d-x-1", "new-1"])
    def test_unknown_machine_types_are_not_refused(self, machine_type: str) -> None:
        """Z3 with up to 18,000 GiB migrates, and only the API knows the size."""
        instance = {"status": "RUNNING", "machineType": machine_type, "scheduling": {"onHostMaintenance": "TERMINATE"}}
        assert refusals(instance, plan(instance, {"on_host_maintenance": "MIGRATE"})) == []

    def test_the_current_policy_outranks_the_table(self) -> None:
        scheduling = {"onHostMaintenance": "MIGRATE", "automaticRestart": True}
        instance = {"status": "RUNNING", "machineType": "h4d-standard-192", "scheduling": scheduling}
        assert refusals(instance, plan(instance, {"automatic_restart": False})) == []

    def test_no_option_is_an_error(self) -> None:
        with pytest.raises(ComputeBadRequest):
            checked(dict.fromkeys(plan({}, {}).before), now=0.0)

    def test_an_unchanged_combination_is_not_refused(self) -> None:
        """An old preemptible VM may have a combination that the API refuses today."""
        instance = {"status": "RUNNING", "scheduling": {"provisioningModel": "SPOT", "automaticRestart": True}}
        assert refusals(instance, plan(instance, {"provisioning_model": "SPOT"})) == []


class TestErrors:
    def test_a_missing_permission_is_named(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault(
            "forbidden", face="compute", path="projects/acme/zones/us-central1-a/instances/web-1/set"
        )
        result = run(instance="web-1", automatic_restart=False)
        assert "Required 'compute.instances.setScheduling' permission" in result["msg"]
        assert "Grant the permission compute.instances.setScheduling" in result["msg"]
        assert not result["changed"]
        assert "ya29.planted" not in result.printed

    def test_a_lost_answer_does_not_repeat_the_write(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault(
            "lost-answer", face="compute", count=1, path="projects/acme/zones/us-central1-a/instances/web-1/set"
        )
        result = run(instance="web-1", automatic_restart=False)
        assert result["changed"]
        assert len({request["query"] for request in writes(emulator)}) == 1


def test_the_examples_run_and_show_no_token(emulator: EmulatorProcess) -> None:
    status, output = run_play(examples("modules", "scheduling"), "-vvvv", environment={})
    assert status == 0, output
    assert "ya29.planted" not in output
