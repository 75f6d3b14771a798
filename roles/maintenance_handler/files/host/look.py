# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role has to know of a host, in one look. `python3 -I -c look.py`; JSON on standard input and output.

In: `lib`, `files` (paths by name), `user`, `group`. Out: see `main`. Changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def main(asked: dict[str, Any]) -> dict[str, Any]:
    lib = Path(asked["lib"])
    return {
        "system": platform.system(),
        "uid": os.geteuid(),
        "user": _name_of(os.geteuid()),
        # Not the fact service_mgr: Ansible may have gathered it as another user, or for an image's builder.
        "systemd_version": _systemd_version(),
        "systemd_runs": os.path.isdir("/run/systemd/system"),
        "has_user": _is_known("passwd", asked["user"]),
        "has_group": _is_known("group", asked["group"]),
        # SHA-1 of each file by its name, and of the code by its path below the directory of the code.
        "files": {name: _sha1(Path(path)) for name, path in asked["files"].items() if os.path.isfile(path)},
        "code": {str(path.relative_to(lib)): _sha1(path) for path in sorted(lib.rglob("*")) if _is_code(path)},
        "settings": _settings(Path(asked["files"]["config"])),
    }


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_known(database: str, name: str) -> bool:
    # Also what only getent knows of, from LDAP or OS Login; systemd takes numbers as well.
    if name.isdigit():
        return True
    try:
        return subprocess.run(["getent", database, name], check=False, stdout=subprocess.DEVNULL).returncode == 0
    except OSError:
        return True


def _systemd_version() -> int | None:
    """None where there is no systemctl."""
    if shutil.which("systemctl") is None:
        return None
    said = subprocess.run(["systemctl", "--version"], check=False, stdout=subprocess.PIPE, text=True).stdout
    # "systemd 252 (252.39-1~deb12u1)"
    number = "".join(character for character in [*said.split(), "", ""][1].split(".")[0] if character.isdigit())
    return int(number) if number else 0


def _is_code(path: Path) -> bool:
    return path.suffix in (".py", ".sh", ".json") and path.is_file()


def _sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def _settings(path: Path) -> dict[str, Any]:
    """What of the configuration in place leaves something behind when it is changed. Never what may be secret."""
    if not path.exists():
        return {}
    try:
        config = json.loads(path.read_bytes())
        settings = {name: config[name] for name in ("metrics_textfile", "guest_attributes") if name in config}
        entries = [*config.get("tasks", []), *config.get("recipes", [])]
        return {**settings, "has_env": any("env" in entry for entry in entries)}
    except (OSError, ValueError, TypeError, AttributeError):
        # Whatever it is, it may hold what a task's environment held.
        return {"has_env": True}


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
