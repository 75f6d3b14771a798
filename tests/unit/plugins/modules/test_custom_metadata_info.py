# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module custom_metadata_info, on an emulated project."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.modules import custom_metadata, custom_metadata_info

from support.emulator import EmulatorProcess
from support.modules import Result, run_module
from support.playbook import examples, run_play

A, B = "europe-west1-b", "europe-west1-c"
FLEET: dict[str, Any] = {
    "project": "acme",
    "speed": 1000,
    "attributes": {"release": "1.4.2", "mirror": "far", "ssh-keys": "alice:hunter2"},
    "instances": [
        {
            "name": "web-1",
            "zone": A,
            "labels": {"env": "prod"},
            "attributes": {"release": "1.5.0", "db-password": "hunter2"},
        },
        {"name": "web-2", "zone": B, "labels": {"env": "prod"}},
    ],
}


@pytest.fixture
def emulator(emulator: EmulatorProcess) -> EmulatorProcess:
    """With zonal metadata in the first zone."""
    zonal = {"scope": "zonal", "zone": A, "metadata": {"mirror": "near"}}
    assert not run_module(custom_metadata, {**options(emulator), **zonal}).failed
    emulator.control.clear_journal()
    return emulator


def options(emulator: EmulatorProcess) -> dict[str, Any]:
    return {"project": "acme", "api_endpoint": emulator.compute, "access_token": "ya29.planted", "retry_for": 0}


def read(emulator: EmulatorProcess, *, check: bool = False, **parameters: Any) -> Result:
    result = run_module(custom_metadata_info, {**options(emulator), **parameters}, check=check)
    assert "ya29.planted" not in result.printed
    return result


def asked(emulator: EmulatorProcess) -> list[str]:
    return [entry["path"].split("projects/")[1] for entry in emulator.control.journal(face="compute")]


def test_effective_values_have_the_right_source(emulator: EmulatorProcess) -> None:
    result = read(emulator, instance="web-1", zone=A)
    [web] = result["instances"]
    assert web["metadata"] == {"release": "1.5.0", "db-password": "[redacted]"}
    assert web["effective"] == {
        "db-password": {"value": "[redacted]", "source": "instance"},
        "mirror": {"value": "near", "source": "zonal"},
        "release": {"value": "1.5.0", "source": "instance"},
        "ssh-keys": {"value": "[redacted]", "source": "project"},
    }
    assert result["zonal_metadata"] == {A: {"mirror": "near"}}
    assert result["project_metadata"]["mirror"] == "far"
    assert "hunter2" not in result.printed
    assert len(asked(emulator)) == 3


def test_many_instances_need_one_request_for_each_zone(emulator: EmulatorProcess) -> None:
    result = read(emulator, filter="labels.env = prod")
    assert {each["name"]: each["effective"]["mirror"] for each in result["instances"]} == {
        "web-1": {"value": "near", "source": "zonal"},
        "web-2": {"value": "far", "source": "project"},
    }
    assert sorted(asked(emulator)) == [
        "acme",
        "acme/aggregated/instances",
        f"acme/zones/{A}/instanceSettings",
        f"acme/zones/{B}/instanceSettings",
    ]


def test_without_effective_values(emulator: EmulatorProcess) -> None:
    result = read(emulator, instances=["web-2", "web-1"], effective=False, only=["rel*"])
    assert [(each["name"], each["metadata"], each["effective"]) for each in result["instances"]] == [
        ("web-2", {}, {}),
        ("web-1", {"release": "1.5.0"}, {}),
    ]
    assert (result["project_metadata"], result["zonal_metadata"]) == (None, {})
    assert asked(emulator) == ["acme/aggregated/instances"]


def test_the_project_alone(emulator: EmulatorProcess) -> None:
    result = read(emulator)
    assert result["project_metadata"] == {"release": "1.4.2", "mirror": "far", "ssh-keys": "[redacted]"}
    assert (result["instances"], result["zonal_metadata"]) == ([], {})
    assert read(emulator, zone=A)["zonal_metadata"] == {A: {"mirror": "near"}}


def test_an_empty_list_is_not_the_project(emulator: EmulatorProcess) -> None:
    result = read(emulator, instances=[], effective=False)
    assert (result["instances"], result["project_metadata"]) == ([], None)
    assert asked(emulator) == []


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"filter": ""}, "filter is empty."),
        ({"instance": ""}, "instance is empty."),
        ({"instances": None}, "instances is None"),
    ],
)
def test_empty_options_are_refused(emulator: EmulatorProcess, parameters: dict[str, Any], words: str) -> None:
    result = read(emulator, **parameters)
    assert result.failed
    assert words in result["msg"]
    assert asked(emulator) == []


def test_secrets_are_shown_with_show_secrets(emulator: EmulatorProcess) -> None:
    assert read(emulator, show_secrets=True)["project_metadata"]["ssh-keys"] == "alice:hunter2"


def test_check_mode_makes_no_difference(emulator: EmulatorProcess) -> None:
    assert read(emulator, instance="web-1", check=True) == read(emulator, instance="web-1")


def test_a_missing_instance_does_not_stop_the_others(emulator: EmulatorProcess) -> None:
    result = read(emulator, instances=["web-1", "web-9"])
    assert result.failed
    assert result["msg"] == (
        "1 of 2 instances failed. web-9: There is no instance web-9 in any zone of the project acme."
    )
    assert [(each["name"], each["failed"]) for each in result["instances"]] == [("web-1", False), ("web-9", True)]


def test_zonal_metadata_that_cannot_be_read_fails(emulator: EmulatorProcess) -> None:
    emulator.control.fault("503", face="compute", path=f"projects/acme/zones/{A}/instanceSettings")
    result = read(emulator, instance="web-1")
    assert result.failed
    assert f"Cannot read the metadata of projects/acme/zones/{A}/instanceSettings" in result["msg"]


def test_the_examples_run(emulator: EmulatorProcess) -> None:
    environment = {"GCP_ACCESS_TOKEN": "x", "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute}
    status, output = run_play(examples("modules", "custom_metadata_info"), environment=environment)
    assert status == 0, output
    assert "1.5.0 is set by the instance" in output
    assert "web-2: none" in output
