# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role installs the whole package, and labels it for SELinux."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from support.playbook import CHECKOUT, changed_tasks, run_play
from support.selinux import selinux_programs

ROLE = CHECKOUT / "roles" / "metadata_emulator"


def test_every_folder_of_the_package_is_copied() -> None:
    variables = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))
    package = ROLE / "files" / "gce_emulator"
    folders = {path.parent.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert {folder or "." for folder in variables["__metadata_emulator_folders"]} == folders


def apply_role(prefix: Path, environment: dict[str, str]) -> str:
    settings = {
        "metadata_emulator_service": False,
        "metadata_emulator_prefix": str(prefix),
        "metadata_emulator_python": sys.executable,
        "metadata_emulator_venv": False,
    }
    tasks = [{"ansible.builtin.include_role": {"name": "gce.guest.metadata_emulator"}, "vars": settings}]
    status, output = run_play(tasks, environment=environment)
    assert status == 0, output
    return output


def test_labels_are_set_once(tmp_path: Path) -> None:
    environment = selinux_programs(tmp_path / "bin", enabled=True)
    prefix = tmp_path / "root"
    apply_role(prefix, environment)
    labeled = (tmp_path / "bin" / "labels").read_text(encoding="utf-8").splitlines()
    for part in (
        "usr/local/lib/gce-metadata-emulator/gce_emulator/__main__.py",
        "usr/local/bin/gce-metadata-emulator",
        "etc/gce-metadata-emulator/fleet.yml",
    ):
        assert f"{prefix}/{part}" in labeled
    output = apply_role(prefix, environment)
    assert changed_tasks(output) == 0, output


def test_labels_are_left_alone_without_selinux(tmp_path: Path) -> None:
    apply_role(tmp_path / "root", selinux_programs(tmp_path / "bin", enabled=False))
    assert not (tmp_path / "bin" / "labels").exists()
