# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results hide the private parts of a service account's key, and nothing else."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.emulator import EmulatorProcess
from support.modules import run_module
from support.playbook import CHECKOUT, run_play

FLEET: dict[str, Any] = {
    "project": "acme",
    "attributes": {"bucket": "gs://acme-artifacts", "owner": "deploy@acme.iam.gserviceaccount.com"},
    "instances": [{"name": "web-1"}],
}
# Only documentation: its action plugin runs fleet_status_info.
ACTION = "fleet_status_report"
GROUP = [
    name
    for name in yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]["api"]
    if name != ACTION
]
SELECTION = {"instance": "web-1", "zone": "us-central1-a"}
PARAMETERS: dict[str, dict[str, Any]] = {
    "custom_metadata": {"metadata": {"a": "b"}},
    "custom_metadata_info": {},
    "fleet_maintenance_info": {},
    "fleet_status_info": {},
    "guest_attributes_info": SELECTION,
    "host_maintenance": {**SELECTION, "action": "simulate"},
    "legacy_endpoints": {},
    "scheduling": {**SELECTION, "automatic_restart": True},
}


@pytest.fixture(scope="module")
def key() -> dict[str, str]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "0123456789abcdef",
        "private_key": pem,
        "client_email": "deploy@acme.iam.gserviceaccount.com",
        "client_id": "123",
        # Nothing listens here, so that each module fails with this address.
        "token_uri": "http://127.0.0.1:9/token",
    }


def private_lines(key: dict[str, str]) -> list[str]:
    return [line for line in key["private_key"].splitlines() if "-" not in line]


def shown(module: str, parameters: dict[str, Any]) -> str:
    """The whole output of the module, with its invocation."""
    found = importlib.import_module(f"ansible_collections.gce.guest.plugins.modules.{module}")
    return run_module(found, parameters).printed


@pytest.mark.parametrize("module", GROUP)
def test_a_key_can_be_a_structure_or_text(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, key: dict[str, str], module: str
) -> None:
    monkeypatch.delenv("GCP_ACCESS_TOKEN")
    common = {**PARAMETERS[module], "project": "acme", "retry_for": 0, "api_endpoint": emulator.compute}
    text = json.dumps(key)
    results = []
    for given in (key, text, f"{text}\n", [key]):
        printed = shown(module, {**common, "service_account_contents": given})
        assert not [line for line in private_lines(key) if line in printed]
        result = json.loads(printed)
        assert result["invocation"]["module_args"]["project"] == "acme"
        assert result["invocation"]["module_args"]["service_account_contents"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
        results.append(result)
    assert results[0] == results[1] == results[2]
    assert "renews the credentials" in results[0]["msg"]


@pytest.mark.parametrize("module", GROUP)
@pytest.mark.parametrize(
    "option", ["service_account_contents", "service_account_file", "service_account_content", "project"]
)
@pytest.mark.parametrize("as_text", [False, True])
def test_refused_options_show_nothing_private(
    emulator: EmulatorProcess, key: dict[str, str], module: str, option: str, as_text: bool
) -> None:
    given = json.dumps(key, indent=1) + "\n" if as_text else key
    common = {**PARAMETERS[module], "no_such_option": "acme-artifacts"}
    printed = shown(module, {**common, option: given})
    assert json.loads(printed)["failed"]
    assert not [line for line in private_lines(key) if line in printed]
    assert "acme-artifacts" in printed or module == "custom_metadata"


def test_a_result_shows_the_project(emulator: EmulatorProcess, key: dict[str, str]) -> None:
    """The token is used, and the key is not."""
    common: dict[str, Any] = {
        "access_token": "ya29.planted",
        "auth_kind": "accesstoken",
        "api_endpoint": emulator.compute,
    }
    printed = shown("custom_metadata_info", {**common, "service_account_contents": key})
    assert json.loads(printed)["project_metadata"] == FLEET["attributes"]
    common["access_token"] = {"access_token": "ya29.planted", "token_type": "Bearer", "note": "acme"}
    printed = shown("custom_metadata_info", {**common, "service_account_contents": key})
    assert "ya29" not in printed
    assert json.loads(printed)["invocation"]["module_args"]["project"] == "acme"


@pytest.mark.parametrize("as_text", [False, True])
def test_a_report_shows_nothing_private(
    emulator: EmulatorProcess, key: dict[str, str], tmp_path: Path, as_text: bool
) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key), encoding="utf-8")
    contents = "{{ lookup('ansible.builtin.file', file)" + (" | trim }}" if as_text else " | from_json }}")
    page = {"page": str(tmp_path / "page.html")}
    given: list[dict[str, Any]] = [
        {"service_account_contents": contents, "auth_kind": "serviceaccount", "retry_for": 0},
        {"service_account_contents": contents, "no_such_option": True},
        {"service_account_contents": contents, "rows": "many"},
        {"service_account_file": contents, "auth_kind": "serviceaccount", "retry_for": 0},
        {"service_account_content": contents},
        {"project": contents},
        {"access_token": "ya29.planted", "auth_kind": "accesstoken", "service_account_contents": contents},
    ]
    tasks = [{"name": "Report", f"gce.guest.{ACTION}": {**page, **one}, "ignore_errors": True} for one in given]
    status, output = run_play(
        tasks,
        "-vvvv",
        environment={
            "GCP_PROJECT": "acme",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute,
            "GCP_ACCESS_TOKEN": "",
        },
        vars={"file": str(file)},
    )
    assert status == 0, output
    assert output.count("...ignoring") == len(given) - 1
    assert "ya29" not in output
    assert not [line for line in private_lines(key) if line in output]
    assert "web-1" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_play_shows_nothing_private(emulator: EmulatorProcess, key: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key), encoding="utf-8")
    contents = "{{ lookup('ansible.builtin.file', file) | from_json }}"
    status, output = run_play(
        [
            {
                "gce.guest.custom_metadata_info": {
                    "auth_kind": "accesstoken",
                    "access_token": "ya29.planted",
                    "service_account_contents": contents,
                }
            },
            {
                "gce.guest.custom_metadata_info": {"service_account_contents": contents, "no_such_option": True},
                "ignore_errors": True,
            },
            {
                "ansible.builtin.debug": {
                    "msg": "{{ lookup('gce.guest.custom_metadata', 'bucket', service_account_contents=contents, "
                    "auth_kind='accesstoken', access_token='ya29.planted') }}"
                },
                "vars": {"contents": contents},
            },
            {
                "ansible.builtin.debug": {
                    "msg": "{{ lookup('gce.guest.custom_metadata', 'bucket', service_account_contents=contents, "
                    "auth_kind='serviceaccount', retry_for=0) }}"
                },
                "vars": {"contents": contents},
                "ignore_errors": True,
            },
        ],
        "-vvvv",
        environment={
            "GCP_PROJECT": "acme",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute,
            "GCP_ACCESS_TOKEN": "",
        },
        vars={"file": str(file)},
    )
    assert status == 0, output
    assert "gs://acme-artifacts" in output
    assert not [line for line in private_lines(key) if line in output]
