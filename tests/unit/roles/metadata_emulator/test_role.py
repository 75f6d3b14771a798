# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role installs the whole package."""

from __future__ import annotations

import yaml

from support.playbook import CHECKOUT

ROLE = CHECKOUT / "roles" / "metadata_emulator"


def test_every_folder_of_the_package_is_copied() -> None:
    variables = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))
    package = ROLE / "files" / "gce_emulator"
    folders = {path.parent.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert {folder or "." for folder in variables["__metadata_emulator_folders"]} == folders
