# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the inventory apply to the keywords of plays, too, of which Ansible only gives them those of `-e`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.playbook import run_playbook

# No task runs, but the plays choose their hosts.
NO_TASKS = ("--tags", "no_such_tag")


def plays(name: str, folder: Path, variables: dict[str, Any]) -> str:
    hosts = {"localhost": variables, "web-1": variables, "web-2": variables, "db-1": variables}
    status, output = run_playbook(name, folder, *NO_TASKS, environment={}, hosts=hosts)
    assert status == 0, output
    return output


@pytest.mark.parametrize(
    "name, variable",
    [
        ("rollout", "gce_hosts"),
        ("fleet_rehearse", "gce_hosts"),
        ("guest_report", "gce_hosts"),
        ("enable_guest_attributes", "gce_hosts"),
        ("rolling_maintenance", "gce_hosts"),
        ("disable_legacy_endpoints", "gce_canaries"),
    ],
)
def test_hosts_are_chosen(name: str, variable: str, tmp_path: Path) -> None:
    assert "no hosts matched" not in plays(name, tmp_path, {variable: "web-*"})
    # The variable is read: this one matches no host.
    assert "no hosts matched" in plays(name, tmp_path, {variable: "nobody-*"})


@pytest.mark.parametrize(
    "name, variable, play", [("rollout", "gce_batches", "Install"), ("fleet_rehearse", "gce_serial", "Rehearse")]
)
@pytest.mark.parametrize("size, batches", [(1, 2), (2, 1)])
def test_batches_are_made(name: str, variable: str, play: str, size: int, batches: int, tmp_path: Path) -> None:
    output = plays(name, tmp_path, {"gce_hosts": "web-*", variable: [size]})
    assert output.count(f"PLAY [{play}") == batches
