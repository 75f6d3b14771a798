# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The target of the modules: an emulated VM, unless a file defines its own FLEET."""

from __future__ import annotations

from typing import Any

import pytest

from support.emulator import EmulatorProcess

FLEET: dict[str, Any] = {
    "project": "acme",
    "attributes": {"rollout": "canary"},
    "instances": [
        {
            "name": "web-1",
            "id": 9007199254740993,
            "attributes": {
                "role": "web",
                "enabled": "TRUE",
                "enable-guest-attributes": "TRUE",
                "ssh-keys": "alice:hunter2",
                "startup-script": "echo hunter2",
                "db-password": "hunter2",
            },
            "guest_attributes_over_budget": "allow",
        }
    ],
}


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest) -> dict[str, Any]:
    return getattr(request.module, "FLEET", FLEET)


@pytest.fixture
def emulator(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> EmulatorProcess:
    """Modules run on the first of its VMs, and find its Compute API."""
    monkeypatch.setenv("GCE_METADATA_HOST", next(iter(emulator.metadata.values())))
    monkeypatch.setenv("GCP_PROJECT", "acme")
    monkeypatch.setenv("GCP_ACCESS_TOKEN", "ya29.planted")
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", emulator.compute)
    return emulator
