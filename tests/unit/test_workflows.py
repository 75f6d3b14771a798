# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The workflows of GitHub run what the Makefile has, and nox checks all modules."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))

_MAKE = re.compile(r"\bmake ([a-z-]+)")


def targets() -> set[str]:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def commands(workflow: Path) -> str:
    jobs: dict[str, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: str(workflow.name))
def test_workflows_run_targets_of_the_makefile(workflow: Path) -> None:
    assert set(_MAKE.findall(commands(workflow))) - targets() == set()


def test_integration_and_sanity_run_with_each_ansible_core() -> None:
    jobs = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    steps = [step.get("run") for step in jobs["matrix"]["steps"]]
    assert {"make matrix CORES=${{ matrix.core }}", "make sanity CORES=${{ matrix.core }}"} <= set(steps)


def test_github_runs_all_checks_of_ci() -> None:
    local = targets() & set(_MAKE.findall((CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")))
    assert local
    assert local <= set(_MAKE.findall(commands(CHECKOUT / ".github" / "workflows" / "ci.yml")))


def test_nox_checks_the_action_groups_of_all_modules() -> None:
    checks = tomllib.loads((CHECKOUT / "antsibull-nox.toml").read_text(encoding="utf-8"))["sessions"]["extra_checks"]
    groups = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    modules = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))
    checked = {
        group["name"]: [module for module in modules if re.search(group["pattern"], module)]
        for group in checks["action_groups_config"]
    }
    assert checked == groups


def test_everything_names_the_same_versions_of_ansible_core() -> None:
    cores = list(runpy.run_path(str(CHECKOUT / "tools" / "matrix.py"))["CORES"])
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["matrix"]["strategy"]["matrix"]["core"] == cores
    nox = tomllib.loads((CHECKOUT / "antsibull-nox.toml").read_text(encoding="utf-8"))["sessions"]
    sanity = nox["ansible_test_sanity"]
    assert [sanity["min_version"], sanity["max_version"]] == [cores[0], cores[-1]]
    runtime = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert runtime["requires_ansible"] == f">={cores[0]}.0"
    for role in (CHECKOUT / "roles").iterdir():
        about = yaml.safe_load((role / "meta" / "main.yml").read_text(encoding="utf-8"))["galaxy_info"]
        assert str(about["min_ansible_version"]) == f"{cores[0]}.0"
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert f"ansible-core {cores[0]} or newer" in readme
    contributing = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"ansible-core {cores[0]} to {cores[-1]}" in contributing
