# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe nginx with a substitute for systemctl, which notices the end of a process as late as a test says."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.recipes import PATIENCE, Recipe

SYSTEMCTL = """#!/bin/sh
echo "$2" >> "{folder}/asked"
for word; do unit=$word; done
cat "{folder}/$unit"
"""


@pytest.fixture
def master() -> Iterator[subprocess.Popen[bytes]]:
    # As nginx does, it ends at SIGQUIT, also where the shell that runs the tests in the background ignores it.
    inherited = signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    try:
        process = subprocess.Popen(["sleep", "infinity"])
    finally:
        signal.signal(signal.SIGQUIT, inherited)
    with process:
        yield process
        process.kill()


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(folder=tmp_path), encoding="utf-8")
    program.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return Recipe("nginx", tmp_path / "records", environ=environ, unit="web.service")


def test_waits_until_systemd_has_noticed_the_end(
    recipe: Recipe, master: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    shown = tmp_path / "web.service"
    shown.write_text(f"MainPID={master.pid}\nActiveState=active\n", encoding="ascii")

    # It asks for both once the process has ended. Until systemd knows that, a restore would not start the unit.
    said = recipe.reports("drain", lambda: asked(tmp_path).count("--property=ActiveState,MainPID") >= 2)
    assert "web.service is active" in said
    assert master.wait(PATIENCE) == -signal.SIGQUIT
    shown.write_text("MainPID=0\nActiveState=inactive\n", encoding="ascii")
    recipe.does("drain")


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text(encoding="ascii").splitlines() if (folder / "asked").exists() else []
