# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide's rulebook, run by ansible-rulebook against the guide's emulator: `make eda`."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.emulator import PACKAGE_FOLDER, Control, eventually
from support.guides import blocks
from support.playbook import CHECKOUT

RULEBOOK = os.environ.get("ANSIBLE_RULEBOOK") or shutil.which("ansible-rulebook")
# Java and the rules start slowly on a busy machine.
PATIENCE = 180.0

needs = pytest.mark.skipif(
    RULEBOOK is None or shutil.which("java") is None,
    reason="ansible-rulebook or Java is missing: `make eda` installs the former",
)


def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@needs
def test_the_rulebook_of_the_guide_reacts_to_an_emulated_window(tmp_path: Path, collections_path: Path) -> None:
    compute, control = port(), port()
    guide = [block for block in blocks() if block.path.endswith("guide_event_driven.rst")]
    own = {"18080": str(compute), "18081": str(control)}
    texts = [re.sub("18080|18081", lambda match: own[match[0]], block.text) for block in guide if block.is_yaml]
    for name, text in zip(("fleet.yml", "window.yml"), texts, strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "inventory").write_text("web-1 ansible_connection=local\n")
    program = str(Path(str(RULEBOOK)).absolute())
    environment = {
        **os.environ,
        "PATH": f"{Path(program).parent}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path),
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "PYTHONUNBUFFERED": "1",
    }
    output = tmp_path / "output"
    with ExitStack() as stack:
        emulate = [sys.executable, "-m", "gce_emulator", "--config", str(tmp_path / "fleet.yml")]
        emulator = stack.enter_context(subprocess.Popen(emulate, cwd=PACKAGE_FOLDER, stdout=subprocess.PIPE))
        stack.callback(emulator.terminate)
        assert emulator.stdout is not None
        assert emulator.stdout.readline()
        said = stack.enter_context(output.open("wb"))
        command = [program, "--rulebook", "window.yml", "--inventory", "inventory"]
        rulebook = stack.enter_context(
            subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=said, stderr=subprocess.STDOUT)
        )
        stack.callback(rulebook.terminate)
        Control(f"http://127.0.0.1:{control}").scenario("web-1", "window-announced")

        def has_reacted() -> bool:
            assert rulebook.poll() is None, output.read_text()
            return "web-1 has maintenance from" in output.read_text()

        eventually(has_reacted, within=PATIENCE, what="the reaction of the rulebook")


@pytest.mark.parametrize(
    "path", sorted((CHECKOUT / "extensions/eda/rulebooks").glob("*.yml")), ids=lambda path: path.stem
)
def test_rulebooks_use_sources_of_the_collection(path: Path) -> None:
    names = re.findall(r"^ +gce\.guest\.(\w+):$", path.read_text(), re.MULTILINE)

    assert names
    for name in names:
        assert (CHECKOUT / f"extensions/eda/plugins/event_source/{name}.py").exists()
