# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rulebooks, such as the guide's, run by ansible-rulebook against the emulator: `make eda`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.emulator import EmulatorProcess, eventually
from support.guides import blocks
from support.playbook import CHECKOUT

RULEBOOK = os.environ.get("ANSIBLE_RULEBOOK") or shutil.which("ansible-rulebook")
# Java and the rules start slowly on a busy machine.
PATIENCE = 180.0

needs = pytest.mark.skipif(
    RULEBOOK is None or shutil.which("java") is None,
    reason="ansible-rulebook or Java is missing: `make eda` installs the former",
)


@needs
def test_the_rulebook_of_the_guide_reacts_to_an_emulated_window(tmp_path: Path, collections_path: Path) -> None:
    guide = [block for block in blocks() if block.path.endswith("guide_event_driven.rst")]
    fleet, rulebook_of_guide = (block for block in guide if block.is_yaml)
    assert (fleet.data["compute_port"], fleet.data["control_port"]) == (18080, 18081)
    (tmp_path / "inventory").write_text("web-1 ansible_connection=local\n")
    with EmulatorProcess({**fleet.data, "compute_port": 0, "control_port": 0}) as emulator:
        text = rulebook_of_guide.text.replace("http://127.0.0.1:18080", emulator.compute)
        (tmp_path / "window.yml").write_text(text)
        with Running(tmp_path, collections_path, "window.yml") as rulebook:
            emulator.control.scenario("web-1", "window-announced")
            rulebook.until_it_prints("web-1 has maintenance from")


MIGRATION = """
- name: React to migrations
  hosts: all
  sources:
    - gce.guest.guest:
        metadata_host: {host}
        state_file: {state}
  rules:
    - name: Note a migration
      condition: event.change == "announced" and event.event == "migrate"
      action:
        debug:
          msg: "{{{{ event.instance }}}} migrates"
"""


@needs
def test_a_rulebook_reacts_to_a_migration_and_ends_in_order(tmp_path: Path, collections_path: Path) -> None:
    state = tmp_path / "state.json"
    (tmp_path / "inventory").write_text("web-1 ansible_connection=local\n")
    with EmulatorProcess({"instances": [{"name": "web-1"}]}) as emulator:
        text = MIGRATION.format(host=emulator.metadata["web-1"], state=state)
        (tmp_path / "migration.yml").write_text(text)
        with Running(tmp_path, collections_path, "migration.yml") as rulebook:
            # A VM that has not queried the key gets no notice.
            eventually(lambda: emulator.control.instance("web-1")["asked_directly"], within=PATIENCE, what="a request")
            emulator.control.scenario("web-1", "live-migration")
            rulebook.until_it_prints("web-1 migrates")
            assert rulebook.terminated() == 0

    assert json.loads(state.read_text())["was_stopped"] is True


class Running:
    """ansible-rulebook in a folder with an `inventory`, as a context manager."""

    def __init__(self, folder: Path, collections_path: Path, rulebook: str) -> None:
        program = str(Path(str(RULEBOOK)).absolute())
        environment = {
            **os.environ,
            "PATH": f"{Path(program).parent}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(collections_path),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "PYTHONUNBUFFERED": "1",
        }
        self._output = folder / "output"
        with self._output.open("wb") as output:
            command = [program, "--rulebook", rulebook, "--inventory", "inventory"]
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def until_it_prints(self, text: str) -> None:
        def has_printed() -> bool:
            assert self._process.poll() is None, self._output.read_text()
            return text in self._output.read_text()

        eventually(has_printed, within=PATIENCE, what="the reaction of the rulebook")

    def terminated(self) -> int:
        """The exit status after SIGTERM."""
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *error: object) -> None:
        self.terminated()


@pytest.mark.parametrize(
    "path", sorted((CHECKOUT / "extensions/eda/rulebooks").glob("*.yml")), ids=lambda path: path.stem
)
def test_rulebooks_use_sources_of_the_collection(path: Path) -> None:
    names = re.findall(r"^ +gce\.guest\.(\w+):$", path.read_text(), re.MULTILINE)

    assert names
    for name in names:
        assert (CHECKOUT / f"extensions/eda/plugins/event_source/{name}.py").exists()
