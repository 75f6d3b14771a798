# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the playbooks of the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .cases import FOLDER
from .errors import DemoError, end_of
from .processes import marked


def run_playbook(
    root: Path, name: str, variables: Mapping[str, Any], on_line: Callable[[str], None] = lambda line: None
) -> None:
    """Run NAME.yml of the demo. Keep its log below `root`, and call `on_line` for each line."""
    given = root / f"{name}-variables.json"
    given.write_text(json.dumps(variables), encoding="utf-8")
    log = root / "logs" / f"{name}.log"
    with _started(root, name, given) as process, log.open("w", encoding="utf-8") as copy:
        for line in process.stdout or ():
            copy.write(line)
            on_line(line)
    if process.returncode != 0:
        raise DemoError(f"ansible-playbook {name}.yml failed, exit status {process.returncode}:\n{end_of(log, 30)}")


def _started(root: Path, name: str, variables: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_CONFIG": str(FOLDER / "ansible.cfg"),
        "ANSIBLE_HOME": str(root / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(root / "ansible" / "tmp"),
        "ANSIBLE_REMOTE_TEMP": str(root / "ansible" / "tmp"),
        "ANSIBLE_COLLECTIONS_PATH": str(_collections(root)),
        # Ansible requires a UTF-8 locale.
        "LC_ALL": "C.UTF-8",
        # Ignore proxy settings: the emulator is on the loopback interface.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--inventory",
            str(FOLDER / "inventory.yml"),
            "--extra-vars",
            f"@{variables}",
            str(FOLDER / f"{name}.yml"),
        ],
        env=marked(environment, root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _collections(root: Path) -> Path:
    """A collections path that contains this checkout."""
    path = root / "collections"
    namespace = path / "ansible_collections" / "gce"
    namespace.mkdir(parents=True, exist_ok=True)
    if not (namespace / "guest").is_symlink():
        (namespace / "guest").symlink_to(FOLDER.parent)
    return path
