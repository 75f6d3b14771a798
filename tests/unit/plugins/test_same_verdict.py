# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler and maintenance_info agree which events can reach a VM, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.modules import maintenance_info

from maintenance_handler._vm.metadata_server import MetadataServer
from maintenance_handler.io.instance import read_instance
from support.emulator import EmulatorProcess
from support.modules import run_module

T4 = {"vendor": "0x10de", "device": "0x1eb8", "class": "0x030200"}
TPU = {"vendor": "0x1ae0", "device": "0x0076", "class": "0x088000"}
STAYS = {"on_host_maintenance": "TERMINATE"}

VMS: Mapping[str, tuple[dict[str, Any], list[dict[str, str]] | None]] = {
    # Its entry in the fleet file; its PCI devices, None if PCI is not visible.
    "plain": ({"machine_type": "n2-standard-4"}, []),
    "n1": ({"machine_type": "n1-standard-4", "scheduling": STAYS}, []),
    "n1-with-gpu": ({"machine_type": "n1-standard-4", "scheduling": STAYS}, [T4]),
    "n1-in-container": ({"machine_type": "n1-standard-4", "scheduling": STAYS}, None),
    "z3": ({"machine_type": "z3-highmem-88", "scheduling": STAYS}, []),
    "c3": ({"machine_type": "c3-standard-8"}, []),
    "a3": ({"machine_type": "a3-highgpu-8g", "scheduling": STAYS}, [T4]),
    "metal": ({"machine_type": "c3-standard-192-metal", "scheduling": STAYS}, []),
    "tpu": ({"machine_type": "new-standard-4t", "scheduling": STAYS}, [TPU]),
    "spot": ({"scheduling": {"provisioning_model": "SPOT"}}, []),
    "no-restart": ({"scheduling": {"automatic_restart": False}}, []),
    "gke": ({"machine_type": "e2-medium"}, []),
}
FLEET = {"instances": [{"name": name, **described} for name, (described, _devices) in VMS.items()]}


@pytest.mark.parametrize("name", VMS)
def test_handler_and_module_report_the_same_events_and_reasons(
    emulator: EmulatorProcess, tmp_path: Path, name: str
) -> None:
    devices = VMS[name][1]
    if devices is not None:
        (tmp_path / "sys/bus/pci/devices").mkdir(parents=True)
    for number, device in enumerate(devices or []):
        folder = tmp_path / f"sys/bus/pci/devices/0000:00:0{number}.0"
        folder.mkdir()
        for file, value in device.items():
            (folder / file).write_text(value)
    if name == "gke":
        emulator.control.remove(name, "instance/scheduling")
    host = emulator.metadata[name]
    module = ModuleType("maintenance_info")
    module.__dict__["main"] = lambda: maintenance_info.main(tmp_path)
    result = run_module(module, {"metadata_host": host})
    server = MetadataServer(host)
    try:
        reach = read_instance(server, tmp_path).reach
    finally:
        server.close()
    assert result["reach"] == reach
    assert all(one["reason"] for one in reach.values())
