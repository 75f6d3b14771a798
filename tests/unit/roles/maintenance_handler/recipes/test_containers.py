# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe containers, with real containers of Podman."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.emulator import eventually
from support.recipes import PATIENCE, ULIMITS, Recipe

IMAGE = "localhost/gce-guest-vm:bookworm"
# Each run of a recipe runs podman a dozen times.
LONG = 60.0
# Before its trap, the first process of a container ignores the signal.
POLITE = "trap 'exit 0' TERM; touch /ready; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; touch /ready; while :; do sleep 0.05; done"


def _podman(*arguments: str) -> str:
    return subprocess.run(["podman", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def _has_image() -> bool:
    if os.geteuid() or shutil.which("podman") is None:
        return False
    return subprocess.run(["podman", "image", "exists", IMAGE], check=False, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not _has_image(), reason=f"needs root, podman and {IMAGE} (tools/vm_image bookworm)")


@pytest.fixture(scope="module", autouse=True)
def runs_containers() -> None:
    """Podman is there, but its runtime may not work on this kernel: crun needs cgroup v2."""
    command = ["podman", "run", "--rm", "--network=none", *ULIMITS, IMAGE, "true"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"podman runs no container here: {done.stderr.strip()}")


def is_ready(name: str) -> bool:
    command = ["podman", "exec", name, "test", "-e", "/ready"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def status(name: str) -> str:
    return _podman("container", "inspect", "--format={{.State.Status}}", name)


@pytest.fixture
def make() -> Iterator[Callable[..., str]]:
    """Starts a container with a shell text and options, and answers its name."""
    names: list[str] = []

    def start(text: str = POLITE, *options: str) -> str:
        names.append(f"gce-guest-recipe-{uuid.uuid4().hex[:8]}")
        given = ("--network=none", *ULIMITS, *options)
        _podman("run", "--detach", f"--name={names[-1]}", *given, IMAGE, "sh", "-c", text)
        eventually(lambda: is_ready(names[-1]), within=LONG, what="the trap")
        return names[-1]

    yield start
    subprocess.run(["podman", "rm", "--force", "--ignore", "--time=0", *names], check=False, capture_output=True)


def recipe_for(tmp_path: Path, *containers: str, **parameters: object) -> Recipe:
    given = {"containers": list(containers)} if containers else {}
    return Recipe("containers", tmp_path / "records", environ=None, **{**given, **parameters})


def test_drains_and_restores_twice_each(make: Callable[..., str], tmp_path: Path) -> None:
    one, two, stopped = make(), make(), make()
    _podman("stop", stopped)
    recipe = recipe_for(tmp_path, one, two, stopped)
    recipe.does("check", LONG)
    for _time in range(2):
        said = recipe.does("drain", LONG)
        assert "killed" not in said
        assert "running" not in (status(one), status(two), status(stopped))
    assert "stopped by this recipe" in recipe.does("state", LONG)
    for _time in range(2):
        recipe.does("restore", LONG)
        assert (status(one), status(two), status(stopped) == "running") == ("running", "running", False)
    assert recipe.record == {}


def test_kills_a_container_after_its_grace_period(make: Callable[..., str], tmp_path: Path) -> None:
    name = make(DEAF)
    assert "killed after the grace period" in recipe_for(tmp_path, name, grace=1).does("drain", timeout=30)
    assert status(name) != "running"


def test_restores_after_a_cut_off_drain(make: Callable[..., str], tmp_path: Path) -> None:
    name = make(DEAF)
    recipe = recipe_for(tmp_path, name)
    with recipe.start("drain", timeout=60) as drain:
        eventually(lambda: any(recipe.records.glob("*.json")) and name in recipe.record, within=LONG)
        drain.send_signal(signal.SIGKILL)
        drain.communicate(timeout=PATIENCE)
    _podman("stop", "--time=0", name)
    recipe.does("restore", LONG)
    assert status(name) == "running"


def test_drains_all_containers_of_a_compose_project(make: Callable[..., str], tmp_path: Path) -> None:
    project = f"shop-{uuid.uuid4().hex[:6]}"
    label = f"--label=com.docker.compose.project={project}"
    one, two, other = make(POLITE, label), make(POLITE, label), make()
    recipe = recipe_for(tmp_path, compose_project=project)
    recipe.does("check", LONG)
    recipe.does("drain", LONG)
    assert ("running" in (status(one), status(two)), status(other)) == (False, "running")
    recipe.does("restore", LONG)
    assert [status(one), status(two)] == ["running", "running"]


def test_check_reports_invalid_parameters(make: Callable[..., str], tmp_path: Path) -> None:
    of_unit, passing = make(POLITE, "--label=PODMAN_SYSTEMD_UNIT=web.service"), make(POLITE, "--rm")
    assert "belongs to web.service" in recipe_for(tmp_path, of_unit).refuses(timeout=LONG)
    assert "was started with --rm" in recipe_for(tmp_path, passing).refuses(timeout=LONG)
    assert "no-such-container" in recipe_for(tmp_path, "no-such-container").refuses(timeout=LONG)
    assert "either 'containers' or 'compose_project'" in recipe_for(tmp_path).refuses(timeout=LONG)
    assert "no container of the Compose project nothing" in recipe_for(tmp_path, compose_project="nothing").refuses(
        timeout=LONG
    )
    assert [status(of_unit), status(passing)] == ["running", "running"]
    if shutil.which("docker") is None:
        assert "docker cannot be run" in recipe_for(tmp_path, of_unit, engine="docker").refuses(timeout=LONG)
