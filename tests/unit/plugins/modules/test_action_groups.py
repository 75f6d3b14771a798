# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented action groups of modules, against meta/runtime.yml."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[4]
MODULES = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))
GROUPS: dict[str, list[str]] = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8"))[
    "action_groups"
]


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_in_their_documented_groups(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.gce.guest.plugins.modules.{name}")
    fragments = yaml.safe_load(module.DOCUMENTATION)["extends_documentation_fragment"]
    prefix = "gce.guest._attributes.actiongroup_"
    documented = {fragment.removeprefix(prefix) for fragment in fragments if fragment.startswith(prefix)}
    assert documented == {group for group, names in GROUPS.items() if name in names}
    assert documented


def test_each_name_in_a_group_is_a_module() -> None:
    assert {name for names in GROUPS.values() for name in names} <= set(MODULES)
