# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware that a VM's kernel shows, read from a test directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.hardware import has_gpu, has_tpu, is_confidential

GVNIC = ("0x1ae0", "0x0042", "0x020000")
T4 = ("0x10de", "0x1eb8", "0x030200")
NVSWITCH = ("0x10de", "0x22a3", "0x068000")
TPU7X = ("0x1ae0", "0x0076", "0x088000")
TPU_V4 = ("0x1ae0", "0x005e", "0x088000")


def add_devices(root: Path, *devices: tuple[str, str, str]) -> None:
    folder = root / "sys/bus/pci/devices"
    folder.mkdir(parents=True)
    for number, device in enumerate(devices):
        (folder / f"0000:00:0{number}.0").mkdir()
        for name, value in zip(("vendor", "device", "class"), device, strict=True):
            (folder / f"0000:00:0{number}.0" / name).write_text(f"{value}\n")


@pytest.mark.parametrize(
    "devices, gpu, tpu",
    [
        ((), False, False),
        ((GVNIC,), False, False),
        ((GVNIC, T4), True, False),
        ((NVSWITCH,), False, False),
        ((GVNIC, TPU_V4), False, True),
        ((GVNIC, TPU7X), False, True),
    ],
)
def test_accelerators(tmp_path: Path, devices: tuple[tuple[str, str, str], ...], gpu: bool, tpu: bool) -> None:
    add_devices(tmp_path, *devices)
    assert (has_gpu(tmp_path), has_tpu(tmp_path)) == (gpu, tpu)


def test_unknown_without_pci(tmp_path: Path) -> None:
    assert (has_gpu(tmp_path), has_tpu(tmp_path)) == (None, None)


def test_a_device_without_ids_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "sys/bus/pci/devices/0000:00:00.0").mkdir(parents=True)
    assert (has_gpu(tmp_path), has_tpu(tmp_path)) == (False, False)


@pytest.mark.parametrize("name, content", [("dev/sev-guest", ""), ("dev/tdx_guest", "")])
def test_confidential_by_its_device(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / name).write_text(content)
    assert is_confidential(tmp_path) is True


@pytest.mark.parametrize("flags, confidential", [("fpu vme tdx_guest de", True), ("fpu vme hypervisor", None)])
def test_confidential_by_its_processor(tmp_path: Path, flags: str, confidential: bool | None) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    assert is_confidential(tmp_path) is confidential


def test_vm_without_signs_may_be_confidential(tmp_path: Path) -> None:
    assert is_confidential(tmp_path) is None
