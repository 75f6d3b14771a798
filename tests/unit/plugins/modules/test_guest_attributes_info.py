# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module guest_attributes_info, with an emulated Compute API."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.modules import guest_attributes_info

from support.emulator import EmulatorProcess
from support.modules import Result, run_module
from support.playbook import examples, run_play

ENABLED = {"enable-guest-attributes": "TRUE"}
FLEET = {
    "project": "acme",
    "speed": 1000,
    "instances": [
        {"name": "web-1", "attributes": ENABLED, "labels": {"env": "prod"}},
        {"name": "web-2", "attributes": ENABLED, "labels": {"env": "prod"}},
        {"name": "off-1"},
    ],
}
WEB = "projects/acme/zones/us-central1-a/instances/web-1"
VALUES = {
    "deployment/version": "1.4.2",
    "deployment/db-password": "hunter2",
    "maintenance-handler/status": '{"healthy": true}',
}


@pytest.fixture
def emulator(emulator: EmulatorProcess) -> EmulatorProcess:
    """With guest attributes of one instance."""
    for path, value in VALUES.items():
        emulator.control.set("web-1", f"instance/guest-attributes/{path}", value)
    emulator.control.clear_journal()
    return emulator


def run(*, check: bool = False, **parameters: Any) -> Result:
    return run_module(guest_attributes_info, parameters, check=check)


class TestFound:
    def test_are_those_of_all_namespaces(self, emulator: EmulatorProcess) -> None:
        result = run(instance="web-1")
        assert result["attributes"] == {
            "deployment": {"version": "1.4.2", "db-password": "[redacted]"},
            "maintenance-handler": {"status": '{"healthy": true}'},
        }
        only = result["instances"][0]
        assert (only["name"], only["state"], only["enabled"]) == ("web-1", "found", True)
        assert not result["changed"]

    def test_are_those_of_a_namespace(self, emulator: EmulatorProcess) -> None:
        assert run(instance="web-1", namespace="maintenance-handler")["attributes"] == {
            "maintenance-handler": {"status": '{"healthy": true}'}
        }

    def test_are_those_of_a_key(self, emulator: EmulatorProcess) -> None:
        result = run(instance="web-1", namespace="deployment", key="version")
        assert result["attributes"] == {"deployment": {"version": "1.4.2"}}

    def test_are_redacted_without_show_secrets(self, emulator: EmulatorProcess) -> None:
        assert "hunter2" not in run(instance="web-1").printed
        assert run(instance="web-1", show_secrets=True)["attributes"]["deployment"]["db-password"] == "hunter2"
        assert run(instance="web-1", secret_patterns=[])["attributes"]["deployment"]["db-password"] == "hunter2"

    def test_check_mode_makes_no_difference(self, emulator: EmulatorProcess) -> None:
        assert dict(run(instance="web-1", check=True)) == dict(run(instance="web-1"))

    def test_need_no_write(self, emulator: EmulatorProcess) -> None:
        run(filter="labels.env = prod")
        assert {request["method"] for request in emulator.control.journal(face="compute")} == {"GET"}


class TestNothing:
    """The API answers 404, which looks like an error."""

    def test_an_empty_namespace_is_an_empty_result(self, emulator: EmulatorProcess) -> None:
        cases: tuple[dict[str, Any], ...] = ({"instance": "web-1", "namespace": "ci"}, {"instance": "web-2"})
        for parameters in cases:
            result = run(**parameters)
            assert not result.failed
            assert result["attributes"] == {}
            assert result["instances"][0]["state"] == "empty"

    def test_an_instance_without_the_feature_is_distinguished(self, emulator: EmulatorProcess) -> None:
        result = run(instance="off-1")
        assert not result.failed
        assert (result["instances"][0]["state"], result["instances"][0]["enabled"]) == ("disabled", False)
        assert "Guest attributes are not enabled for off-1. Set enable-guest-attributes=TRUE" in result.printed

    def test_a_missing_instance_is_an_error(self, emulator: EmulatorProcess) -> None:
        result = run(instance="nobody", zone="us-central1-a")
        assert result.failed
        assert "instances/nobody' was not found" in result["msg"]

    def test_other_failures_are_errors(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("disabled", face="compute", path=f"{WEB}/getGuestAttributes")
        result = run(instance="web-1")
        assert result.failed
        assert result["instances"][0]["state"] == "failed"


class TestDenied:
    def test_by_an_organization_policy(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("constraint", face="compute", path=f"{WEB}/getGuestAttributes")
        result = run(instance="web-1")
        assert result.failed
        assert result["instances"][0]["state"] == "constrained"
        assert f"Cannot read the guest attributes of {WEB}: " in result["msg"]
        assert "Constraint constraints/compute.disableGuestAttributesAccess violated" in result["msg"]
        assert "organization policy administrator" in result["msg"]

    def test_by_a_missing_permission(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("forbidden", face="compute", path=f"{WEB}/getGuestAttributes")
        result = run(instance="web-1")
        assert result["instances"][0]["state"] == "denied"
        assert "Grant the permission compute.instances.getGuestAttributes" in result["msg"]
        assert "ya29.planted" not in result.printed

    def test_of_some_does_not_stop_the_others(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("forbidden", face="compute", path=f"{WEB}/getGuestAttributes")
        result = run(instances=["web-1", "web-2", "off-1"])
        assert result.failed
        assert result["msg"].startswith("1 of 3 instances failed. web-1: Cannot read the guest attributes of")
        assert [each["state"] for each in result["instances"]] == ["denied", "empty", "disabled"]


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"namespace": "a b"}, "a b"),
        ({"namespace": ""}, "namespace"),
        ({"namespace": "ns", "key": "a/b"}, "a/b"),
        ({"key": "version"}, "missing parameter(s) required by 'key': namespace"),
        ({"secret_patterns": ["("]}, "is not a regular expression"),
        ({"instance": ""}, "instance is empty"),
        ({"instance": None}, "instance is None"),
    ],
)
def test_wrong_options_are_refused_before_any_request(emulator: EmulatorProcess, parameters: Any, words: str) -> None:
    result = run(**{"instance": "web-1", **parameters})
    assert words in result["msg"]
    assert emulator.control.journal(face="compute") == []


def test_the_examples_run_and_show_no_secrets(emulator: EmulatorProcess) -> None:
    status, output = run_play(examples("modules", "guest_attributes_info"), "-vvvv", environment={})
    assert status == 0, output
    assert "1.4.2" in output
    assert "ya29.planted" not in output
    assert "hunter2" not in output
