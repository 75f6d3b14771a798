# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that Ansible sends to a target for each module: only those that it imports."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml

from support.playbook import CHECKOUT, run_play

GROUPS = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]
# Their action plugin does everything, on the control node; the module is its documentation.
ACTIONS = {"fleet_status_report", "rolling_maintenance"}
MODULES = sorted({path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py")} - ACTIONS)


@pytest.fixture(scope="module")
def payloads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """For each module, the files of this collection that Ansible sends, such as `_vm/metadata_server`."""
    folder = tmp_path_factory.mktemp("payloads")
    tasks: list[dict[str, Any]] = [
        # Refused for its options; it is sent all the same.
        {f"gce.guest.{name}": {"nonsense": 1}, "ignore_errors": True}
        for name in MODULES
    ]
    environment = {"ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_REMOTE_TMP": str(folder)}
    status, output = run_play(tasks, environment=environment)
    assert status == 0, output
    found = {}
    for payload in folder.rglob("AnsiballZ_*.py"):
        subprocess.run([sys.executable, str(payload), "explode"], check=True, capture_output=True)
        unpacked = payload.parent / "debug_dir/ansible_collections/gce/guest/plugins/module_utils"
        name = payload.stem.removeprefix("AnsiballZ_")
        found[name] = {
            str(path.relative_to(unpacked).with_suffix("")) for path in unpacked.rglob("*.py") if path.stat().st_size
        }
    return found


def test_each_module_has_a_payload(payloads: dict[str, set[str]]) -> None:
    assert sorted(payloads) == MODULES
    assert all(payloads.values())


@pytest.mark.parametrize("name", sorted(set(GROUPS["api"]) - ACTIONS))
def test_a_module_for_the_api_ships_no_client_of_the_metadata_server(payloads: dict[str, set[str]], name: str) -> None:
    assert "_compute/api" in payloads[name]
    assert not payloads[name] & {"_vm/metadata_server", "_vm/http_exchange", "_vm/addresses", "_module/guest"}


@pytest.mark.parametrize("name", sorted(set(GROUPS["guest"]) - ACTIONS))
def test_a_module_for_the_guest_ships_nothing_of_the_api(payloads: dict[str, set[str]], name: str) -> None:
    assert "_vm/metadata_server" in payloads[name]
    assert not {file for file in payloads[name] if file.startswith("_compute/") or file == "_module/api"}
