# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulated VM for the modules to run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.emulator import EmulatorProcess

FLEET = {
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
def running_emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(FLEET) as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> EmulatorProcess:
    """The emulator as FLEET says it, with the VM `web-1` as the one that the modules run on."""
    running_emulator.control.reset()
    running_emulator.control.clear_journal()
    monkeypatch.setenv("GCE_METADATA_HOST", running_emulator.metadata["web-1"])
    return running_emulator
