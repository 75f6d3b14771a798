# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply the role to the VMs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .cases import notice
from .playbooks import run_playbook

_TASK = re.compile(r"TASK \[(?:gce\.guest\.maintenance_handler : )?(.+?)\]")
_RECAP = re.compile(r"(\S+) +: ok=(\d+) +changed=(\d+)")


def install(root: Path, emulator: Mapping[str, Any], on_task: Callable[[str], None]) -> dict[str, str]:
    """Run the playbook, and call `on_task` for each task. Return the recap of each host."""
    recap = {}

    def on_line(line: str) -> None:
        if task := _TASK.match(line):
            on_task(task[1])
        if counts := _RECAP.match(line):
            recap[counts[1]] = f"ok={counts[2]} changed={counts[3]}"

    variables = {"emulator": emulator, "vms": str(root / "vms"), "notice": notice()}
    run_playbook(root, "install", variables, on_line)
    return recap
