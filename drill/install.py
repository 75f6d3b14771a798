# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the handler: the role on one VM of each service, and a copy of its files on the others."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence

from .errors import DrillError
from .fleet import metadata_server
from .machine import FOLDER, Machine, podman

_CONFIG = "etc/gce-maintenance-handler/config.json"
# The configuration with the fleet limit, while it is not in force.
_WITH_LIMIT = "etc/gce-maintenance-handler/config.with-limit.json"
_LAUNCHER = "usr/local/bin/gce-maintenance-handler"
_FILES = (
    _CONFIG,
    _LAUNCHER,
    "usr/local/lib/gce-maintenance-handler",
    "etc/systemd/system/gce-maintenance-handler.service",
)


def install(tiers: Sequence[Sequence[Machine]]) -> None:
    """Install it on all VMs of these services, unless it is. Raises DrillError with the output of the role."""
    first = [machines[0] for machines in tiers if not _is_installed(machines[0])]
    if first:
        _apply_role(first)
    for machines in tiers:
        for machine in machines[1:]:
            if not _is_installed(machine):
                _copy(machines[0], machine)


def set_limit(machine: Machine, on: bool) -> None:
    """Have the handler start with the fleet limit and `keep_last` of the inventory next time, or without them."""
    machine.sh(f"[ -e /{_WITH_LIMIT} ] || cp /{_CONFIG} /{_WITH_LIMIT}")
    config = json.loads(machine.sh(f"cat /{_WITH_LIMIT}"))
    if not on:
        del config["fleet_limit"]
        for entry in config["recipes"]:
            entry["haproxy_server"]["keep_last"] = False
    _write(machine, json.dumps(config))


def _is_installed(machine: Machine) -> bool:
    return machine.ask(f"[ -e /{_LAUNCHER} ] && echo yes") == "yes"


def _apply_role(machines: Sequence[Machine]) -> None:
    variables = {"metadata_servers": {machine.name: metadata_server(machine) for machine in machines}}
    done = subprocess.run(
        [
            "ansible-playbook",
            f"--inventory={FOLDER / 'inventory.yml'}",
            f"--limit={','.join(machine.name for machine in machines)}",
            f"--extra-vars={json.dumps(variables)}",
            str(FOLDER / "install.yml"),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
    )
    if done.returncode:
        raise DrillError(f"the role failed:\n{done.stdout}{done.stderr}")


def _copy(source: Machine, target: Machine) -> None:
    """Copy the installed files, with the target's name and metadata server in the configuration."""
    archive = subprocess.run(
        ["podman", "exec", source.container, "tar", "-C", "/", "-cf", "-", *_FILES],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    subprocess.run(["podman", "exec", "-i", target.container, "tar", "-C", "/", "-xf", "-"], check=True, input=archive)
    config = podman("exec", source.container, "cat", f"/{_CONFIG}")
    for old, new in ((metadata_server(source), metadata_server(target)), (source.name, target.name)):
        config = config.replace(json.dumps(old), json.dumps(new))
    _write(target, config)
    target.sh("systemctl daemon-reload")


def _write(machine: Machine, config: str) -> None:
    podman("exec", "-i", machine.container, "sh", "-c", f"cat > /{_CONFIG}", text=config)
