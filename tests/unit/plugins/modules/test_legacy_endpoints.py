# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module legacy_endpoints, on an emulated project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.modules import legacy_endpoints

from support.emulator import EmulatorProcess
from support.modules import Result, run_module
from support.playbook import examples, run_play

KEY = "disable-legacy-endpoints"
PATH = f"instance/attributes/{KEY}"
ZONE = "us-central1-a"
FLEET: dict[str, Any] = {
    "project": "acme",
    "speed": 1000,
    "attributes": {"motd": "hello"},
    "instances": [
        {"name": "plain", "labels": {"env": "test"}, "attributes": {"password": "hunter2"}},
        {"name": "off", "attributes": {KEY: "yes"}},
        {"name": "on", "labels": {"env": "test"}, "attributes": {KEY: "FALSE", "role": "build"}},
        {"name": "odd", "zone": "europe-west1-b", "attributes": {KEY: "perhaps"}},
    ],
}
CALLS = "#!/bin/sh\nPASSWORD=hunter2 curl 'http://metadata/computeMetadata/v1beta1/instance/id?x=hunter2'\n"


def run(emulator: EmulatorProcess, *, check: bool = False, diff: bool = False, **parameters: Any) -> Result:
    defaults = {"project": "acme", "api_endpoint": emulator.compute, "access_token": "ya29.planted", "retry_for": 0}
    result = run_module(legacy_endpoints, {**defaults, **parameters}, check=check, diff=diff)
    assert "hunter2" not in result.printed
    assert "ya29.planted" not in result.printed
    return result


def writes(emulator: EmulatorProcess) -> list[str]:
    requests = [request for request in emulator.control.journal() if request["face"] == "compute"]
    return [request["path"].split("/acme/")[1] for request in requests if request["path"].lower().endswith("metadata")]


def value(emulator: EmulatorProcess, instance: str) -> Any:
    return emulator.control.get(instance, PATH)


def test_the_project_is_disabled_once(emulator: EmulatorProcess) -> None:
    result = run(emulator)
    assert result["changed"] is True
    assert result["project"] == {"name": "acme", "value": "TRUE", "state": "disabled", "changed": True}
    assert emulator.control.get("plain", f"project/attributes/{KEY}") == "TRUE"
    assert emulator.control.get("plain", "project/attributes/motd") == "hello"
    assert writes(emulator) == ["setCommonInstanceMetadata"]
    assert run(emulator)["changed"] is False
    assert len(writes(emulator)) == 1


def test_overriding_instances_are_reported(emulator: EmulatorProcess) -> None:
    result = run(emulator)
    assert result["instances"] == []
    assert result["overrides"] == [
        {"name": "odd", "zone": "europe-west1-b", "value": "perhaps", "state": "unclear"},
        {"name": "on", "zone": ZONE, "value": "FALSE", "state": "enabled"},
    ]
    assert value(emulator, "on") == "FALSE"


def test_enforcing_removes_only_overrides(emulator: EmulatorProcess) -> None:
    result = run(emulator, enforce=True)
    assert result["overrides"] == []
    assert [(each["name"], each["changed"], each["value"], each["state"]) for each in result["instances"]] == [
        ("odd", True, None, "disabled"),
        ("on", True, None, "disabled"),
    ]
    assert emulator.control.instance("on")
    assert emulator.control.get("on", "instance/attributes/role") == "build"
    assert value(emulator, "off") == "yes"
    assert writes(emulator)[0] == "setCommonInstanceMetadata"
    assert len(writes(emulator)) == 3
    assert run(emulator, enforce=True)["changed"] is False
    assert len(writes(emulator)) == 3


def test_a_project_can_be_enabled_again(emulator: EmulatorProcess) -> None:
    assert run(emulator, state="enabled")["changed"] is False
    run(emulator)
    result = run(emulator, state="enabled")
    assert result["project"] == {"name": "acme", "value": "FALSE", "state": "enabled", "changed": True}
    assert [each["name"] for each in result["overrides"]] == ["odd", "off"]


@pytest.mark.parametrize(
    "selection, changed",
    [
        ({"instance": "plain"}, {"plain"}),
        ({"instances": ["plain", "off", f"{ZONE}/on"]}, {"plain", "on"}),
        ({"filter": "labels.env = test"}, {"plain", "on"}),
        ({"filter": "labels.env = test", "zone": "europe-west1-b"}, set()),
    ],
)
def test_single_instances_are_disabled(emulator: EmulatorProcess, selection: dict[str, Any], changed: set[str]) -> None:
    result = run(emulator, **selection)
    assert {each["name"] for each in result["instances"] if each["changed"]} == changed
    assert all(each["state"] == "disabled" and each["failed"] is False for each in result["instances"])
    assert {path.split("/")[-2] for path in writes(emulator)} == changed
    assert result["project"] == {"name": "acme", "value": None, "state": "enabled", "changed": False}
    assert {each["name"] for each in result["overrides"]} == {each["name"] for each in result["instances"]}
    assert run(emulator, **selection)["changed"] is False
    assert len(writes(emulator)) == len(changed)


def test_an_instance_that_inherits_the_state_is_unchanged(emulator: EmulatorProcess) -> None:
    run(emulator)
    assert run(emulator, instance="plain")["changed"] is False
    result = run(emulator, instance="plain", state="enabled")
    assert result["instances"][0]["value"] == "FALSE"
    assert [each["name"] for each in result["overrides"]] == ["plain"]


@pytest.mark.parametrize("parameters", [{}, {"enforce": True}, {"filter": "labels.env = test"}, {"state": "enabled"}])
def test_check_mode_predicts_the_run(emulator: EmulatorProcess, parameters: dict[str, Any]) -> None:
    planned = run(emulator, check=True, diff=True, audit=True, **parameters)
    assert writes(emulator) == []
    done = run(emulator, diff=True, audit=True, **parameters)
    assert dict(planned) == dict(done)
    assert bool(done["diff"]) == done["changed"]


def test_the_diff_only_has_the_key(emulator: EmulatorProcess) -> None:
    result = run(emulator, enforce=True, diff=True)
    assert {entry["before_header"]: (entry["before"], entry["after"]) for entry in result["diff"]} == {
        "projects/acme": ({}, {KEY: "TRUE"}),
        "projects/acme/zones/europe-west1-b/instances/odd": ({KEY: "perhaps"}, {}),
        f"projects/acme/zones/{ZONE}/instances/on": ({KEY: "FALSE"}, {}),
    }


def test_the_audit_has_places_but_no_text(emulator: EmulatorProcess) -> None:
    emulator.control.set("plain", "project/attributes/tool", "url: $HOST/0.1/meta-data/zone")
    emulator.control.set("plain", "instance/attributes/startup-script", CALLS)
    emulator.control.set("odd", "instance/attributes/startup-script-url", "gs://hunter2/start.sh")
    result = run(emulator, check=True, audit=True)
    assert result["legacy_calls"] == [
        {"instance": None, "zone": None, "key": "tool", "line": 1, "endpoint": "/0.1/"},
        {
            "instance": "plain",
            "zone": ZONE,
            "key": "startup-script",
            "line": 2,
            "endpoint": "/computeMetadata/v1beta1/",
        },
    ]
    assert result["scripts_elsewhere"] == [
        {"instance": "odd", "zone": "europe-west1-b", "key": "startup-script-url"},
    ]
    assert "2 found, see legacy_calls." in json.dumps(result["warnings"])
    selected = run(emulator, check=True, audit=True, instance="off")
    assert [call["instance"] for call in selected["legacy_calls"]] == [None]
    assert run(emulator, check=True)["legacy_calls"] is None


def test_concurrent_writes_are_not_lost(emulator: EmulatorProcess) -> None:
    emulator.control.fault("conflict", face="compute", count=1)
    emulator.control.fault("operation-conflict", face="compute", count=1)
    result = run_module(
        legacy_endpoints,
        {"project": "acme", "api_endpoint": emulator.compute, "access_token": "t", "instance": "on"},
    )
    assert result["changed"] is True
    assert len(writes(emulator)) == 3
    assert emulator.control.get("on", "instance/attributes/role") == "build"


def test_failures_of_some_are_reported_with_all_successes(emulator: EmulatorProcess) -> None:
    path = f"projects/acme/zones/{ZONE}/instances/on/setMetadata"
    emulator.control.fault("503", face="compute", instance="on", path=path)
    result = run(emulator, instances=["plain", "on", "lost"])
    assert result.failed
    assert result["changed"] is True
    assert result["msg"].startswith("2 of 3 instances failed.")
    by_name = {each["name"]: each for each in result["instances"]}
    assert {name for name, each in by_name.items() if each["failed"]} == {"on", "lost"}
    assert by_name["plain"]["state"] == "disabled"
    # The value that it still has.
    assert by_name["on"]["value"] == "FALSE"
    assert by_name["lost"]["msg"] == "There is no instance lost in any zone of the project acme."
    assert run(emulator, instance="lost")["msg"].startswith("There is no instance lost")


def test_nothing_is_enforced_when_the_project_cannot_be_changed(emulator: EmulatorProcess) -> None:
    emulator.control.fault("503", face="compute", path="projects/acme/setCommonInstanceMetadata")
    result = run(emulator, enforce=True)
    assert result.failed
    assert "projects/acme" in result["msg"]
    assert value(emulator, "on") == "FALSE"


def test_unreachable_zones_are_reported(emulator: EmulatorProcess) -> None:
    emulator.control.fault("unreachable", face="compute", path="projects/acme/aggregated/instances")
    result = run(emulator, check=True)
    assert result["unreachables"]
    assert "is not complete" in json.dumps(result["warnings"])


@pytest.mark.parametrize(
    "parameters, sentence",
    [
        ({"instance": "on", "enforce": True}, "enforce applies to the project."),
        ({"zone": ZONE}, "The project's metadata has no zone."),
        ({"filter": ""}, "filter is empty."),
        ({"instances": None}, "instances is None"),
        ({"timeout": -1}, "timeout is -1"),
        ({"instance": "on", "instances": ["off"]}, "mutually exclusive"),
    ],
)
def test_ambiguous_options_are_refused(emulator: EmulatorProcess, parameters: dict[str, Any], sentence: str) -> None:
    result = run(emulator, **parameters)
    assert result.failed
    assert sentence in result["msg"]
    assert emulator.control.journal() == []


def test_the_examples_run(emulator: EmulatorProcess) -> None:
    emulator.control.set("plain", "instance/attributes/startup-script", CALLS)
    environment = {
        "GCP_PROJECT": "acme",
        "GCP_ACCESS_TOKEN": "ya29.planted",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute,
    }
    status, output = run_play(examples("modules", "legacy_endpoints"), "-vvvv", environment=environment)
    assert status == 0, output
    assert "plain, startup-script, line 2: /computeMetadata/v1beta1/" in output
    assert "hunter2" not in output
    assert "ya29.planted" not in output
    assert emulator.control.get("plain", f"project/attributes/{KEY}") == "TRUE"


class TestZones:
    """Zonal metadata takes precedence over the project's, and an instance's over both."""

    ZONE_B = "europe-west1-b"

    @pytest.fixture
    def zoned(self) -> Iterator[EmulatorProcess]:
        fleet = {
            "project": "acme",
            "speed": 1000,
            "attributes": {KEY: "TRUE"},
            "zonal_attributes": {self.ZONE_B: {KEY: "FALSE", "tool": "$HOST/0.1/meta-data/zone"}},
            "instances": [
                {"name": "a-1"},
                {"name": "b-1", "zone": self.ZONE_B},
                {"name": "b-2", "zone": self.ZONE_B, "attributes": {KEY: "TRUE"}},
            ],
        }
        with EmulatorProcess(fleet) as emulator:
            yield emulator

    def patched(self, emulator: EmulatorProcess) -> list[str]:
        return [request["path"] for request in emulator.control.journal(face="compute") if request["method"] == "PATCH"]

    def test_that_differ_from_the_project_are_reported(self, zoned: EmulatorProcess) -> None:
        result = run(zoned)
        assert result["project"]["state"] == "disabled"
        assert result["changed"] is False
        assert result["overrides"] == [{"name": "b-1", "zone": self.ZONE_B, "value": None, "state": "enabled"}]
        assert result["zones"] == [
            {"name": self.ZONE_B, "value": "FALSE", "state": "enabled", "changed": False, "failed": False}
        ]

    def test_count_for_an_instance(self, zoned: EmulatorProcess) -> None:
        result = run(zoned, instance="b-1", check=True)
        assert result["changed"] is True
        result = run(zoned, instances=["a-1", "b-1", "b-2"])
        assert {each["name"]: each["changed"] for each in result["instances"]} == {
            "a-1": False,
            "b-1": True,
            "b-2": False,
        }
        assert all(each["state"] == "disabled" for each in result["instances"])
        assert zoned.control.get("b-1", PATH) == "TRUE"
        result = run(zoned, instance="b-1", state="enabled")
        assert result["instances"][0]["state"] == "enabled"

    def test_are_enforced(self, zoned: EmulatorProcess) -> None:
        planned = run(zoned, check=True, diff=True, enforce=True)
        assert self.patched(zoned) == []
        result = run(zoned, diff=True, enforce=True)
        assert dict(planned) == dict(result)
        assert result["overrides"] == []
        assert result["zones"] == [
            {"name": self.ZONE_B, "value": None, "state": "disabled", "changed": True, "failed": False}
        ]
        [diff] = result["diff"]
        assert (diff["before"], diff["after"]) == ({KEY: "FALSE"}, {})
        assert zoned.control.get("b-2", PATH) == "TRUE"
        assert run(zoned, enforce=True)["changed"] is False
        assert len(self.patched(zoned)) == 1

    def test_that_cannot_be_changed_are_reported(self, zoned: EmulatorProcess) -> None:
        zoned.control.fault("conflict", face="compute")
        result = run(zoned, enforce=True, timeout=0.4)
        assert result.failed
        assert "instanceSettings" in result["msg"]
        assert result["zones"][0]["failed"] is True
        assert [each["name"] for each in result["overrides"]] == ["b-1"]

    def test_that_cannot_be_read_fail_the_module(self, zoned: EmulatorProcess) -> None:
        zoned.control.fault("503", face="compute", path=f"projects/acme/zones/{self.ZONE_B}/instanceSettings")
        result = run(zoned, instance="b-1")
        assert result.failed
        assert f"zones/{self.ZONE_B}/instanceSettings" in result["msg"]
        assert writes(zoned) == []

    def test_are_audited(self, zoned: EmulatorProcess) -> None:
        result = run(zoned, check=True, audit=True)
        assert result["legacy_calls"] == [
            {"instance": None, "zone": self.ZONE_B, "key": "tool", "line": 1, "endpoint": "/0.1/"}
        ]
