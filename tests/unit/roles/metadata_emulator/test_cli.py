# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command: output, signals, exit status."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from support.emulator import PACKAGE_FOLDER, EmulatorProcess
from support.ports import free_port
from support.vm_python import VM_PYTHON
from support.wire import ask


def run(config: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [VM_PYTHON, "-m", "gce_emulator", "--config", str(config), *arguments],
        cwd=PACKAGE_FOLDER,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_prints_one_line_when_ready_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    config = tmp_path / "fleet.yml"
    config.write_text("instances: [{name: web-1}, {name: web-2}]", encoding="utf-8")
    with run(config) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert sorted(ready) == ["compute", "control", "metadata"]
        assert sorted(ready["metadata"]) == ["web-1", "web-2"]
        assert ask(ready["metadata"]["web-2"], "instance/name").text == "web-2"
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (0, "", "")


def test_a_bad_fleet_file_ends_with_status_2_and_one_line(tmp_path: Path) -> None:
    config = tmp_path / "fleet.yml"
    config.write_text("instances: [{name: web-1, zone: 7}]", encoding="utf-8")
    with run(config) as process:
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (2, "")
    assert stderr == f"{config}: instances[0].zone: is 7; it must be a string\n"


def test_an_address_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "fleet.yml"
        config.write_text(f"instances: [{{name: web-1, port: {port}}}]", encoding="utf-8")
        with run(config) as process:
            stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.count("\n") == 1
    assert "the metadata server of web-1 cannot listen: " in stderr
    assert str(port) in stderr


def test_instances_listen_at_the_addresses_of_the_fleet_file() -> None:
    port = free_port()
    instances = [{"name": "web-1", "port": port}, {"name": "web-2", "address": "127.0.0.2"}]
    with EmulatorProcess({"instances": instances}) as emulator:
        assert emulator.metadata["web-1"] == f"127.0.0.1:{port}"
        assert emulator.metadata["web-2"].startswith("127.0.0.2:")
        assert ask(emulator.metadata["web-2"], "instance/name").text == "web-2"


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_notified_when_it_is_ready(tmp_path: Path, abstract: bool) -> None:
    config = tmp_path / "fleet.yml"
    config.write_text("instances: [{name: web-1}]", encoding="utf-8")
    ready_file = tmp_path / "ready.json"
    address = f"@gce-emulator-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(20)
        channel.bind("\0" + address[1:] if abstract else address)
        with run(config, "--ready-file", str(ready_file), NOTIFY_SOCKET=address) as process:
            assert channel.recv(100) == b"READY=1"
            ready = json.loads(ready_file.read_text(encoding="utf-8"))
            assert ask(ready["metadata"]["web-1"], "instance/name").text == "web-1"
            process.terminate()
            process.communicate(timeout=20)
    assert process.returncode == 0
