# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inspect a host for the role. `python3 -I -c inspect_host.py`; JSON on standard input and output.

In: `name` (of the host), `lib`, `files` (paths by name), `user`, `group`, `service` and `start` (booleans).
Out: see `main`. Changes nothing.
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
    systemd_version = _systemd_version()
    systemd_runs = os.path.isdir("/run/systemd/system")
    return {
        "problems": _problems(asked, systemd_version, systemd_runs),
        "systemd_version": systemd_version,
        "systemd_runs": systemd_runs,
        # SHA-1 of each file by its name, and of the code by its path below `lib`.
        "files": {name: _sha1(Path(path)) for name, path in asked["files"].items() if os.path.isfile(path)},
        "code": {str(path.relative_to(lib)): _sha1(path) for path in sorted(lib.rglob("*")) if _is_code(path)},
        "settings": _settings(Path(asked["files"]["config"])),
        # The program that sets SELinux labels. None where SELinux is not enabled, as in most chroots.
        "restorecon": _restorecon(),
    }


def _problems(asked: dict[str, Any], systemd_version: int | None, systemd_runs: bool) -> list[str]:
    """Why the handler cannot be installed here, a sentence each."""
    name = asked["name"]
    if platform.system() != "Linux":
        return [f"The maintenance handler runs on Linux; {name} runs {platform.system()}."]
    if not asked["service"]:
        return []
    problems = []
    if systemd_version is None:
        problems.append(
            f"The service needs systemd, and {name} has no systemctl. Set maintenance_handler_service to false, and"
            ' have another supervisor run "gce-maintenance-handler run".'
        )
    elif asked["start"] and not systemd_runs:
        problems.append(
            f"systemd is not running on {name}. To install the handler into an image, set maintenance_handler_start to"
            " false: it starts when the image boots."
        )
    if os.geteuid() != 0:
        problems.append(
            f'Only root can install the service; this play runs as {_name_of(os.geteuid())}. Set "become: true", or set'
            " maintenance_handler_service to false and maintenance_handler_prefix to a directory of that user."
        )
    problems += [
        f"There is no {kind} {asked[kind]} on {name}. Create it first, or change maintenance_handler_{kind}."
        for kind, database in (("user", "passwd"), ("group", "group"))
        if not _is_known(database, asked[kind])
    ]
    return problems


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_known(database: str, name: str) -> bool:
    # getent also finds users of LDAP and OS Login. systemd accepts numbers as well.
    if name.isdigit():
        return True
    try:
        return subprocess.run(["getent", database, name], check=False, stdout=subprocess.DEVNULL).returncode == 0
    except OSError:
        return True


def _systemd_version() -> int | None:
    """None without systemctl. Ansible's fact `service_mgr` may have been gathered as another user."""
    if shutil.which("systemctl") is None:
        return None
    output = subprocess.run(["systemctl", "--version"], check=False, stdout=subprocess.PIPE, text=True).stdout
    # "systemd 252 (252.39-1~deb12u1)"
    number = "".join(character for character in [*output.split(), "", ""][1].split(".")[0] if character.isdigit())
    return int(number) if number else 0


def _restorecon() -> str | None:
    # A login shell's PATH may not contain the directories of administrators.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    enabled, restorecon = (shutil.which(name, path=path) for name in ("selinuxenabled", "restorecon"))
    if enabled is None or restorecon is None:
        return None
    return restorecon if subprocess.run([enabled], check=False).returncode == 0 else None


def _is_code(path: Path) -> bool:
    return path.suffix in (".py", ".sh", ".json") and path.is_file()


def _sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def _settings(path: Path) -> dict[str, Any]:
    """The settings of the current configuration that leave something behind when they change. No secrets."""
    if not path.exists():
        return {}
    try:
        config = json.loads(path.read_bytes())
        settings = {name: config[name] for name in ("metrics_textfile", "guest_attributes") if name in config}
        entries = [*config.get("tasks", []), *config.get("recipes", [])]
        return {**settings, "has_secrets": "notify" in config or any("env" in entry for entry in entries)}
    except (OSError, ValueError, TypeError, AttributeError):
        # It may still contain the environment of a task.
        return {"has_secrets": True}


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
