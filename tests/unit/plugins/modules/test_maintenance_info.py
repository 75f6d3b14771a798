# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module maintenance_info, on emulated VMs with a root directory of the test's own."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.modules import maintenance_info

from support.emulator import EmulatorProcess, eventually
from support.modules import Result, run_module
from support.playbook import examples, run_play

SPOT = {"provisioning_model": "SPOT"}
STAYS = {"on_host_maintenance": "TERMINATE"}
FLEET: dict[str, Any] = {
    "instances": [
        {"name": "plain", "machine_type": "n2-standard-4", "attributes": {"db-password": "hunter2"}},
        {"name": "camel", "machine_type": "c3-standard-8", "upcoming_maintenance_style": "camel"},
        {
            "name": "strings",
            "machine_type": "a3-highgpu-8g",
            "scheduling": STAYS,
            "upcoming_maintenance_style": "strings",
        },
        {"name": "spot", "scheduling": SPOT},
        {"name": "terminated", "machine_type": "n1-standard-4", "scheduling": STAYS},
        *(
            {"name": f"none-{style.strip('{}') or 'empty'}".lower(), "upcoming_maintenance_none": style}
            for style in ("503", "NONE", "404", "{}")
        ),
    ]
}
WINDOW = {
    "window_start_time": "2026-12-01T02:00:00+00:00",
    "window_end_time": "2026-12-01T06:00:00Z",
    "latest_window_start_time": "2026-12-01T04:00:00+01:00",
    "maintenance_status": "PENDING",
    "type": "SCHEDULED",
    "can_reschedule": True,
    "maintenance_reasons": ["PLANNED_UPDATE"],
}


@pytest.fixture
def look(emulator: EmulatorProcess, tmp_path: Path) -> Any:
    """`look("plain")`: the module's result on that VM, whose root directory is `tmp_path`."""
    module = ModuleType("maintenance_info")
    module.__dict__["main"] = lambda: maintenance_info.main(tmp_path)

    def run(name: str, *, check: bool = False, **parameters: Any) -> Result:
        return run_module(module, {"metadata_host": emulator.metadata[name], **parameters}, check=check)

    return run


def paths(emulator: EmulatorProcess) -> list[str]:
    return [request["path"].removeprefix("/computeMetadata/v1/") for request in emulator.control.journal()]


class TestEvents:
    @pytest.mark.parametrize(
        "value, event",
        [
            ("NONE", None),
            ("MIGRATE_ON_HOST_MAINTENANCE", "migrate"),
            ("TERMINATE_ON_HOST_MAINTENANCE", "terminate"),
            ("SOMETHING_NEW", "unknown"),
        ],
    )
    @pytest.mark.parametrize("arm_notice", [True, False])
    def test_have_names(
        self, emulator: EmulatorProcess, look: Any, value: str, event: str | None, arm_notice: bool
    ) -> None:
        """Scripts that compare with values that never occur, such as `TERMINATE`, never fire."""
        emulator.control.set("plain", "instance/maintenance-event", value)
        result = look("plain", arm_notice=arm_notice)
        assert (result["maintenance_event"], result["event"]) == (value, event)
        assert result["changed"] is False

    def test_preemption_is_reported(self, emulator: EmulatorProcess, look: Any) -> None:
        assert look("spot")["preempted"] is False
        emulator.control.set("spot", "instance/preempted", "TRUE")
        assert look("spot")["preempted"] is True

    @pytest.mark.parametrize("check", [True, False])
    def test_notice_is_armed_by_a_direct_request(self, emulator: EmulatorProcess, look: Any, check: bool) -> None:
        look("plain", check=check)
        assert sorted(paths(emulator)) == ["instance/", "instance/maintenance-event", "instance/upcoming-maintenance"]
        emulator.control.scenario("plain", "live-migration")
        assert eventually(lambda: look("plain")["event"]) == "migrate"

    def test_notice_is_not_armed_if_not_wanted(self, emulator: EmulatorProcess, look: Any) -> None:
        look("plain", arm_notice=False)
        assert sorted(paths(emulator)) == ["instance/", "instance/upcoming-maintenance"]


class TestStop:
    def test_of_a_vm_with_graceful_shutdown(self, emulator: EmulatorProcess, look: Any) -> None:
        assert look("plain")["stop"] is None
        for key, value in {
            "max-duration": "600s",
            "request-timestamp": "2026-12-01T02:00:00Z",
            "stop-state": "PENDING_STOP",
            "target-state": "DELETED",
        }.items():
            emulator.control.set("plain", f"instance/shutdown-details/{key}", value)
        result = look("plain")
        assert result["stop"] == {
            "state": "PENDING_STOP",
            "target_state": "DELETED",
            "request_time": "2026-12-01T02:00:00Z",
            "max_duration": 600.0,
        }
        assert result["reach"]["stop"] == {"possible": True, "reason": "it was announced"}

    def test_of_a_server_without_the_key(self, emulator: EmulatorProcess, look: Any) -> None:
        emulator.control.remove("plain", "instance/shutdown-details")
        result = look("plain")
        assert (result["stop"], result["reach"]["stop"]["possible"]) == (None, None)

    def test_the_notice_of_a_preemption(self, emulator: EmulatorProcess, look: Any) -> None:
        emulator.control.set("spot", "instance/scheduling/preemption-notice-duration", "120s")
        result = look("spot")
        assert result["scheduling"]["preemption_notice_duration"] == 120.0
        assert "120 s of notice" in result["reach"]["preempt"]["reason"]


class TestWindow:
    @pytest.mark.parametrize("name, reasons", [("plain", []), ("camel", []), ("strings", ["PLANNED_UPDATE"])])
    def test_has_one_form_in_every_spelling(
        self, emulator: EmulatorProcess, look: Any, name: str, reasons: list[str]
    ) -> None:
        emulator.control.set(name, "instance/upcoming-maintenance", WINDOW)
        result = look(name)
        assert result["window"] == {
            "type": "SCHEDULED",
            "reasons": reasons,
            "status": "PENDING",
            "can_reschedule": True,
            "window_start_time": "2026-12-01T02:00:00Z",
            "window_end_time": "2026-12-01T06:00:00Z",
            "latest_window_start_time": "2026-12-01T03:00:00Z",
        }
        assert "2026-12-01" in str(result["upcoming_maintenance"])

    @pytest.mark.parametrize("name", ["none-503", "none-none", "none-404", "none-empty"])
    def test_none_in_every_spelling_of_the_server(self, look: Any, name: str) -> None:
        """The 503 "no notifications have been received yet" on `upcoming-maintenance` is an answer, not an outage."""
        result = look(name, retry_for=0)
        assert not result.failed
        assert result["window"] is None

    def test_that_cannot_be_read_is_a_warning(self, look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        value_of = maintenance_info.value_of
        odd = {"instance/upcoming-maintenance": {"something": "new"}}
        monkeypatch.setattr(maintenance_info, "value_of", lambda server, key: odd.get(key) or value_of(server, key))
        result = look("plain")
        assert (result["window"], result["upcoming_maintenance"]) == (None, {"something": "new"})
        assert "no start and no status in {'something': 'new'}" in result.printed
        assert result["reach"]["window"]["possible"] is True


class TestReach:
    def test_ordinary_vm(self, look: Any) -> None:
        result = look("plain")
        assert result["machine_type"] == "n2-standard-4"
        assert result["scheduling"] == {
            "on_host_maintenance": "MIGRATE",
            "automatic_restart": True,
            "preemptible": False,
            "preemption_notice_duration": None,
        }
        assert {event: one["possible"] for event, one in result["reach"].items()} == {
            "migrate": True,
            "terminate": False,
            "preempt": False,
            "window": None,
            "stop": None,
            "restart": True,
        }
        assert all(one["reason"] for one in result["reach"].values())

    def test_of_a_vm_with_visible_gpus(self, look: Any, tmp_path: Path) -> None:
        device = tmp_path / "sys/bus/pci/devices/0000:00:04.0"
        device.mkdir(parents=True)
        for name, value in {"vendor": "0x10de", "device": "0x1eb8", "class": "0x030200"}.items():
            (device / name).write_text(value)
        result = look("terminated")
        assert result["traits"]["gpu"] is True
        assert result["reach"]["terminate"] == {
            "possible": True,
            "reason": "machine type n1-standard-4 with GPUs is stopped for host maintenance",
        }

    def test_of_a_vm_without_visible_hardware(self, look: Any) -> None:
        result = look("terminated")
        assert set(result["traits"].items()) == {
            ("gpu", None),
            ("tpu", None),
            ("bare_metal", False),
            ("spot", False),
            ("confidential_vm", None),
            ("sole_tenant", None),
        }
        assert result["reach"]["terminate"]["possible"] is None

    def test_of_a_spot_vm(self, look: Any) -> None:
        reach = look("spot")["reach"]
        assert (reach["preempt"]["possible"], reach["migrate"]["possible"]) == (True, False)

    def test_announced_event_can_reach_the_vm(self, emulator: EmulatorProcess, look: Any) -> None:
        emulator.control.set("plain", "instance/upcoming-maintenance", WINDOW)
        emulator.control.set("plain", "instance/maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE")
        emulator.control.set("plain", "instance/preempted", "TRUE")
        reach = look("plain")["reach"]
        assert [event for event, one in reach.items() if one == {"possible": True, "reason": "it was announced"}] == [
            "terminate",
            "preempt",
            "window",
        ]

    def test_of_a_server_without_policy_and_events(self, emulator: EmulatorProcess, look: Any) -> None:
        """GKE's server has neither a policy nor events: both are unknown, and neither false nor default values."""
        for key in ("scheduling", "maintenance-event", "preempted", "upcoming-maintenance", "machine-type"):
            emulator.control.remove("plain", f"instance/{key}")
        result = look("plain", retry_for=0)
        assert not result.failed
        assert set(result["scheduling"].values()) == {None}
        told = ("maintenance_event", "event", "preempted", "window", "upcoming_maintenance", "machine_type")
        assert [result[name] for name in told] == [None] * len(told)
        assert {
            event: one["possible"] for event, one in result["reach"].items() if event != "restart"
        } == dict.fromkeys(("migrate", "terminate", "preempt", "window", "stop"))


def test_secrets_of_the_tree_are_not_returned(look: Any) -> None:
    assert "hunter2" not in look("plain").printed


def test_missing_metadata_server_is_reported_in_a_sentence(look: Any) -> None:
    result = look("plain", metadata_host="127.0.0.1:1", retry_for=0)
    assert result["msg"].startswith("Cannot read instance/: no answer from the metadata server at 127.0.0.1:1")


def test_the_examples_run(emulator: EmulatorProcess) -> None:
    host = emulator.metadata["plain"]
    emulator.control.set("plain", "instance/upcoming-maintenance", WINDOW)
    status, output = run_play(examples("modules", "maintenance_info"), environment={"GCE_METADATA_HOST": host})
    assert status == 0, output
    assert "2026-12-01T02:00:00Z" in output
