# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs as containers of podman with systemd, each with an address on one network."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import DrillError, until

IMAGE = "localhost/gce-guest-drill:bookworm"
NETWORK = "gce-guest-drill"
SUBNET = "10.87.0.0/24"
GATEWAY = "10.87.0.1"
FOLDER = Path(__file__).resolve().parent
CHECKOUT = FOLDER.parent
# A container has no boot id of its own, see its unit.
BOOT_UNIT = CHECKOUT / "extensions" / "molecule" / "systemd" / "files" / "vm-boot.service"


@dataclass(frozen=True)
class File:
    """A file of a VM. Fields of the machine in its text, such as @NAME@, are filled in."""

    source: str
    path: str
    mode: str = "644"
    owner: str = "root"


@dataclass(frozen=True)
class Machine:
    """A VM. `setup` are commands that run once, before its units start."""

    name: str
    address: str
    files: Sequence[File] = ()
    units: Sequence[str] = ()
    setup: Sequence[str] = ()

    @property
    def container(self) -> str:
        return f"{NETWORK}-{self.name}"

    def create(self) -> None:
        podman(
            "run",
            "--detach",
            "--replace",
            f"--name={self.container}",
            f"--hostname={self.name}",
            "--systemd=always",
            f"--network={NETWORK}",
            f"--ip={self.address}",
            # A new one at each boot would be unknown to the others for a while.
            f"--mac-address=02:57:00:00:00:{int(self.address.rpartition('.')[2]):02x}",
            "--cap-add=NET_ADMIN,SYS_ADMIN,SYS_NICE,SYS_PTRACE",
            "--ulimit=nofile=16384:16384",
            "--ulimit=nproc=16384:16384",
            IMAGE,
        )
        self.until_booted()
        self._write(File(str(BOOT_UNIT), "/etc/systemd/system/vm-boot.service"))
        for file in self.files:
            self._write(file)
        self.sh("systemctl daemon-reload; systemctl enable --quiet --now vm-boot.service")
        for command in self.setup:
            self.sh(command)
        for unit in self.units:
            self.sh(f"systemctl enable --quiet --now {unit}")

    def until_booted(self) -> None:
        until(lambda: self.ask("systemctl is-system-running") in ("running", "degraded"), f"{self.name} has not booted")

    def sh(self, script: str) -> str:
        """Run a script. Raises DrillError if it fails."""
        return podman("exec", self.container, "sh", "-c", script)

    def ask(self, script: str) -> str:
        """The output of a script, which may fail."""
        done = subprocess.run(
            ["podman", "exec", self.container, "sh", "-c", script],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def _write(self, file: File) -> None:
        text = (FOLDER / "files" / file.source).read_text(encoding="utf-8")
        for key, value in self._fields().items():
            text = text.replace(f"@{key}@", value)
        script = f"mkdir -p $(dirname {file.path}); cat > {file.path}; chmod {file.mode} {file.path}"
        podman(
            "exec", "--interactive", self.container, "sh", "-ec", f"{script}; chown {file.owner} {file.path}", text=text
        )

    def _fields(self) -> Mapping[str, str]:
        return {"NAME": self.name, "ADDRESS": self.address}


def podman(*arguments: str, text: str = "") -> str:
    """Run podman. Raises DrillError."""
    done = subprocess.run(["podman", *arguments], check=False, input=text, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise DrillError(f"podman {' '.join(arguments)} failed with exit status {done.returncode}: {said}")
    return done.stdout.strip()


def make_network() -> None:
    remove_all()
    podman("network", "create", f"--subnet={SUBNET}", f"--gateway={GATEWAY}", NETWORK)


def remove_all() -> None:
    """Remove the network and every container on it, also those of an earlier drill."""
    if NETWORK in podman("network", "ls", "--format={{.Name}}").split():
        podman("network", "rm", "--force", "--time=0", NETWORK)
