# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role, applied to the VMs as a user of the collection would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import DemoError, end_of
from .fates import FOLDER, notice
from .processes import marked

_TASK = re.compile(r"TASK \[(?:gce\.guest\.maintenance_handler : )?(.+?)\]")
_RECAP = re.compile(r"(\S+) +: ok=(\d+) +changed=(\d+)")


def install(root: Path, emulator: Mapping[str, Any], on_task: Callable[[str], None]) -> dict[str, str]:
    """Run the playbook; `on_task` hears of each task. Answers for each host what the recap says of it."""
    variables = root / "variables.json"
    variables.write_text(json.dumps({"emulator": emulator, "vms": str(root / "vms"), "notice": notice()}))
    log = root / "logs" / "ansible.log"
    recap = {}
    with _started(root, variables) as process, log.open("w", encoding="utf-8") as copy:
        for line in process.stdout or ():
            copy.write(line)
            if task := _TASK.match(line):
                on_task(task[1])
            if counts := _RECAP.match(line):
                recap[counts[1]] = f"ok={counts[2]} changed={counts[3]}"
    if process.returncode != 0:
        raise DemoError(f"ansible-playbook failed, exit status {process.returncode}:\n{end_of(log, 30)}")
    return recap


def _started(root: Path, variables: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_CONFIG": str(FOLDER / "ansible.cfg"),
        "ANSIBLE_HOME": str(root / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(root / "ansible" / "tmp"),
        "ANSIBLE_REMOTE_TEMP": str(root / "ansible" / "tmp"),
        "ANSIBLE_COLLECTIONS_PATH": str(_collections(root)),
        # It insists on a UTF-8 locale, and a bare machine has none set.
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--inventory",
            str(FOLDER / "inventory.yml"),
            "--extra-vars",
            f"@{variables}",
            str(FOLDER / "playbook.yml"),
        ],
        env=marked(environment, root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _collections(root: Path) -> Path:
    """Where Ansible finds this checkout under the collection's name."""
    path = root / "collections"
    (path / "ansible_collections" / "gce").mkdir(parents=True)
    (path / "ansible_collections" / "gce" / "guest").symlink_to(FOLDER.parent)
    return path
