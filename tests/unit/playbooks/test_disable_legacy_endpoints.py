# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the playbook disable_legacy_endpoints on an emulated project and its VMs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.playbook import run_playbook

KEY = "disable-legacy-endpoints"
FLEET: dict[str, Any] = {
    "project": "acme",
    "speed": 1000,
    "instances": [
        {"name": "canary-1"},
        {"name": "web-1"},
        {"name": "build-1", "zone": "europe-west1-b", "attributes": {KEY: "FALSE"}},
    ],
}
CALLS = "#!/bin/sh\nPASSWORD=hunter2 curl http://metadata/computeMetadata/v1beta1/instance/id\n"


def disable(
    emulator: EmulatorProcess, folder: Path, *arguments: str, metadata_of: str = "canary-1", **variables: Any
) -> tuple[int, str]:
    hosts = {"canary.example": {"gce_instance": "canary-1", "gce_metadata_host": emulator.metadata[metadata_of]}}
    values = json.dumps({"gce_project": "acme", "gce_canaries": "canary.example", **variables})
    environment = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute, "GCP_ACCESS_TOKEN": "ya29.planted"}
    status, output = run_playbook(
        "disable_legacy_endpoints", folder, "-e", values, *arguments, environment=environment, hosts=hosts
    )
    assert "hunter2" not in output
    assert "ya29.planted" not in output
    return status, output


def writes(emulator: EmulatorProcess) -> list[str]:
    """The writes, in their order."""
    paths = [request["path"] for request in emulator.control.journal() if request["path"].endswith("Metadata")]
    return [path.split("/")[-2] for path in paths]


def project_value(emulator: EmulatorProcess) -> Any:
    return emulator.control.get("web-1", f"project/attributes/{KEY}")


def test_disables_canaries_then_the_project_then_overrides(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        checked, _output = disable(emulator, tmp_path, "--check")
        assert checked == 0
        assert writes(emulator) == []
        status, output = disable(emulator, tmp_path)
        assert status == 0, output
        assert writes(emulator) == ["canary-1", "acme", "build-1"]
        assert project_value(emulator) == "TRUE"
        assert "No metadata calls legacy endpoints." in output
        assert "europe-west1-b/build-1 has FALSE" in output
        again, output = disable(emulator, tmp_path)
        assert again == 0, output
        assert "changed=0" in output
        assert len(writes(emulator)) == 3


def test_stops_if_metadata_calls_legacy_endpoints(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        emulator.control.set("web-1", "instance/attributes/startup-script", CALLS)
        emulator.control.set("web-1", "project/attributes/startup-script-url", "gs://bucket/start")
        status, output = disable(emulator, tmp_path)
        assert status == 2
        assert "us-central1-a/web-1: startup-script, line 2, calls /computeMetadata/v1beta1/" in output
        assert "project: check the script of startup-script-url" in output
        assert "-e gce_accept_calls=true" in output
        assert writes(emulator) == []
        status, output = disable(emulator, tmp_path, gce_accept_calls=True, gce_keep_overrides=True)
        assert status == 0, output
        assert writes(emulator) == ["canary-1", "acme"]


def test_stops_if_they_answer_on_a_canary(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = disable(emulator, tmp_path, metadata_of="web-1", gce_timeout=0)
        assert status == 2, output
        assert writes(emulator) == ["canary-1"]


def test_stops_if_a_canary_is_not_an_instance(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = disable(emulator, tmp_path, gce_instance="lost")
        assert status == 2
        assert "There is no instance lost in any zone of the project acme." in output
        assert writes(emulator) == []


@pytest.mark.parametrize("canaries", ["", "nobody"])
def test_requires_canaries(tmp_path: Path, canaries: str) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = disable(emulator, tmp_path, gce_canaries=canaries)
        assert status == 2
        assert "with -e gce_canaries=GROUP" in output
        assert emulator.control.journal() == []


def test_a_limit_does_not_skip_the_search(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = disable(emulator, tmp_path, "--limit", "canary.example")
        assert status != 0
        assert "--limit leaves out localhost" in output
        assert writes(emulator) == []


def test_removes_the_override_of_a_zone(tmp_path: Path) -> None:
    zone = "europe-west1-b"
    fleet = {**FLEET, "zonal_attributes": {zone: {KEY: "FALSE"}}, "instances": [*FLEET["instances"]]}
    fleet["instances"].append({"name": "web-2", "zone": zone})
    with EmulatorProcess(fleet) as emulator:
        status, output = disable(emulator, tmp_path)
        assert status == 0, output
        assert f"{zone}/web-2 has FALSE from its zone" in output
        assert f"{zone}/build-1 has FALSE" in output
        patched = [request["path"] for request in emulator.control.journal() if request["method"] == "PATCH"]
        assert [path.split("/acme/")[1] for path in patched] == [f"zones/{zone}/instanceSettings"]
        assert writes(emulator) == ["canary-1", "acme", "build-1"]
