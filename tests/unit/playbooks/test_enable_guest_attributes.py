# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the playbook enable_guest_attributes on an emulated project and its VMs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.emulator import EmulatorProcess
from support.playbook import run_playbook

KEY = "enable-guest-attributes"
FLEET: dict[str, Any] = {
    "project": "acme",
    "speed": 1000,
    "instances": [
        {"name": "web-1", "labels": {"env": "prod"}},
        {"name": "web-2", "zone": "europe-west1-b", "attributes": {KEY: "FALSE", "password": "hunter2"}},
    ],
}


def enable(emulator: EmulatorProcess, folder: Path, *arguments: str, **variables: Any) -> tuple[int, str]:
    hosts = {name: {"gce_metadata_host": host} for name, host in emulator.metadata.items()}
    values = json.dumps({"gce_project": "acme", **variables})
    environment = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute, "GCP_ACCESS_TOKEN": "ya29.planted"}
    status, output = run_playbook(
        "enable_guest_attributes", folder, "-e", values, *arguments, environment=environment, hosts=hosts
    )
    assert "hunter2" not in output
    assert "ya29.planted" not in output
    return status, output


def test_enables_a_project_and_then_changes_nothing(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = enable(emulator, tmp_path, gce_hosts="web-1")
        assert status == 0, output
        assert emulator.control.get("web-1", f"project/attributes/{KEY}") == "TRUE"
        assert "europe-west1-b/web-2 has FALSE" in output
        assert emulator.control.get("web-2", f"instance/attributes/{KEY}") == "FALSE"
        # The check on the VMs writes nothing.
        assert not [request for request in emulator.control.journal() if request["method"] == "PUT"]
        status, output = enable(emulator, tmp_path, gce_hosts="web-1")
        assert status == 0, output
        assert output.count("changed=0") == 2


def test_fails_if_the_limit_skips_the_change(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = enable(emulator, tmp_path, "--limit", "web-1", gce_hosts="web-1")
        assert status != 0
        assert "leaves out localhost" in output


def test_reports_why_they_stay_denied(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = enable(emulator, tmp_path, gce_hosts="web-2", gce_timeout=0)
        assert status == 2
        assert "constraints/compute.disableGuestAttributesAccess" in output


def test_enables_some_instances(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = enable(emulator, tmp_path, gce_filter="labels.env = prod", gce_hosts="web-1")
        assert status == 0, output
        # In the form of the metadata server.
        instance = f"{emulator.control.get('web-2', 'instance/zone')}/instances/web-2"
        status, output = enable(emulator, tmp_path, gce_instances=[instance], gce_hosts="web-2")
        assert status == 0, output
        assert emulator.control.get("web-1", f"instance/attributes/{KEY}") == "TRUE"
        assert emulator.control.get("web-2", f"instance/attributes/{KEY}") == "TRUE"
        assert not [request for request in emulator.control.journal() if "setCommon" in request["path"]]


def test_lists_instances_whose_zone_overrides_the_project(tmp_path: Path) -> None:
    zone = "europe-west1-b"
    fleet = {**FLEET, "zonal_attributes": {zone: {KEY: "no"}}}
    fleet["instances"] = [*FLEET["instances"], {"name": "web-3", "zone": zone}]
    with EmulatorProcess(fleet) as emulator:
        status, output = enable(emulator, tmp_path)
        assert status == 0, output
        assert f"{zone}/web-3 has no from its zone" in output
        assert f'{zone}/web-2 has FALSE"' in output
        assert "/web-1 has" not in output
