# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that is an emulated VM, unless a file describes a FLEET of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.templating import TemplateProcess

FLEET: dict[str, Any] = {
    "project": "acme",
    "attributes": {"rollout": "canary"},
    "instances": [
        {
            "name": "web-1",
            "id": 9007199254740993,
            "zone": "europe-west1-b",
            "attributes": {
                "role": "web",
                "enabled": "TRUE",
                "enable-guest-attributes": "TRUE",
                "app-port": "8080",
                "created-by": "projects/1/zones/z/instanceGroupManagers/web",
                "ssh-keys": "alice:hunter2",
                "db-password": "hunter2",
            },
        },
        {"name": "web-2"},
    ],
}


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest) -> dict[str, Any]:
    return getattr(request.module, "FLEET", FLEET)


@pytest.fixture(scope="module")
def worker(running_emulator: EmulatorProcess, collections_path: Path) -> Iterator[TemplateProcess]:
    """Ansible on the VM `web-1`, with nothing cached from one template to the next."""
    environment = {"GCE_METADATA_HOST": running_emulator.metadata["web-1"], "GCE_GUEST_CACHE_SECONDS": "0"}
    with TemplateProcess(collections_path, environment) as process:
        yield process
