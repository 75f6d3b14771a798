# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module legacy_endpoints_info, on VMs with, without and after legacy endpoints."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.gce.guest.plugins.modules import legacy_endpoints_info

from support.emulator import EmulatorProcess
from support.modules import Result, run_module
from support.playbook import examples, run_play
from support.raw_server import Peer, RawServer

FLEET = {
    "instances": [
        {"name": "answers"},
        {"name": "refused", "attributes": {"disable-legacy-endpoints": "TRUE"}},
        {"name": "gone", "legacy_endpoints": "gone"},
    ]
}


def look(emulator: EmulatorProcess, instance: str, **parameters: Any) -> Result:
    return run_module(legacy_endpoints_info, {"metadata_host": emulator.metadata[instance], **parameters})


@pytest.mark.parametrize("state, status", [("answers", 200), ("refused", 403), ("gone", 404)])
def test_both_endpoints_are_reported(emulator: EmulatorProcess, state: str, status: int) -> None:
    result = look(emulator, state)
    assert result["answers"] is (state == "answers")
    assert result["changed"] is False
    assert [(endpoint["path"], endpoint["state"], endpoint["status"]) for endpoint in result["endpoints"]] == [
        ("/0.1/meta-data/", state, status),
        ("/computeMetadata/v1beta1/", state, status),
    ]


def test_the_text_of_a_refusal_is_returned(emulator: EmulatorProcess) -> None:
    texts = [endpoint["text"] for endpoint in look(emulator, "refused")["endpoints"]]
    assert "Legacy metadata endpoint accessed: /0.1/meta-data/" in texts[0]
    assert "Legacy metadata endpoints are disabled. Please use the /v1/ endpoint." in texts[1]


def test_the_documented_sample_is_a_real_text(emulator: EmulatorProcess) -> None:
    fields = yaml.safe_load(legacy_endpoints_info.RETURN)["endpoints"]["contains"]
    sample = {name: field["sample"] for name, field in fields.items()}
    assert sample in look(emulator, "refused")["endpoints"]


def test_outages_are_survived(emulator: EmulatorProcess) -> None:
    emulator.control.reset()
    emulator.control.clear_journal()
    emulator.control.fault("503", instance="gone", path="/0.1", count=1)
    parameters = {"metadata_host": emulator.metadata["gone"]}
    assert run_module(legacy_endpoints_info, parameters)["endpoints"][0]["state"] == "gone"
    assert [request["status"] for request in emulator.control.journal(path="/0.1")] == [503, 404]
    emulator.control.fault("503", instance="gone", path="/computeMetadata/v1beta1")
    result = run_module(legacy_endpoints_info, {**parameters, "retry_for": 0})
    assert result.failed
    assert "Cannot probe /computeMetadata/v1beta1/" in result["msg"]


def test_another_server_is_refused(emulator: EmulatorProcess) -> None:
    result = run_module(
        legacy_endpoints_info, {"metadata_host": emulator.compute.removeprefix("http://"), "retry_for": 0}
    )
    assert result.failed
    assert "is not the metadata server" in result["msg"]


def test_the_endpoints_are_requested_without_the_header() -> None:
    def answer(peer: Peer) -> None:
        while peer.read_request():
            peer.send(b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nContent-Length: 1\r\n\r\n1")

    with RawServer(answer) as server:
        result = run_module(legacy_endpoints_info, {"metadata_host": server.host})
    assert result["answers"] is True
    assert [b"Metadata-Flavor: Google" in request for request in server.requests] == [True, False, False]


def test_the_examples_run(emulator: EmulatorProcess) -> None:
    tasks = examples("modules", "legacy_endpoints_info")
    status, output = run_play(tasks, environment={"GCE_METADATA_HOST": emulator.metadata["refused"]})
    assert status == 0, output
    status, output = run_play(tasks, environment={"GCE_METADATA_HOST": emulator.metadata["answers"]})
    assert status == 2
    assert "Set disable-legacy-endpoints to TRUE" in output
