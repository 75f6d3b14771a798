# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide's table of directives that older versions of systemd ignore covers the units of the roles."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from support.playbook import CHECKOUT

DIRECTIVES: dict[str, int] = yaml.safe_load((Path(__file__).parent / "unit_directives.yml").read_text(encoding="utf-8"))
# Of the oldest system in the guide, RHEL 8.
OLDEST_SYSTEMD = 239
GUIDE = (CHECKOUT / "docs/docsite/rst/systems.rst").read_text(encoding="utf-8")


def used(role: str) -> set[str]:
    (unit,) = (CHECKOUT / "roles" / role / "templates").glob("*.service.j2")
    found = re.findall(r"^([A-Z]\w+)=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found).keys() | {f"{name}={value}" for name, value in found if f"{name}={value}" in DIRECTIVES}


def test_each_directive_of_the_units_has_its_version() -> None:
    assert used("maintenance_handler") | used("metadata_emulator") == set(DIRECTIVES)


def test_the_guide_lists_the_directives_that_old_versions_ignore() -> None:
    rows = re.findall(r"^   \* - ``([^`]+)``\n     - ([0-9]+)\n", GUIDE, re.MULTILINE)
    newer = {name for name in used("maintenance_handler") if DIRECTIVES[name] > OLDEST_SYSTEMD}
    assert {name: int(version) for name, version in rows} == {name: DIRECTIVES[name] for name in newer}
    assert len(rows) == len(newer)
    assert [int(version) for _unused, version in rows] == sorted(int(version) for _unused, version in rows)
