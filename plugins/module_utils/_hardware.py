# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM's own kernel says about its hardware, of which the metadata server says nothing.

Private to the collection: it may change at any time. Standard library only.

Each function takes the root of the file system, and answers None where nothing can be known.
"""

from __future__ import annotations

from pathlib import Path

_PCI_DEVICES = "sys/bus/pci/devices"
_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"
_GOOGLE = "0x1ae0"
# TPU v2 and v3, v4 lite, v4, v5p, v5e, v6e: https://github.com/jax-ml/jax/blob/main/jax/_src/hardware_utils.py
_TPUS = ("0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f")

# Made by the kernel's drivers for attestation, in guests only.
_CONFIDENTIAL_DEVICES = ("dev/sev-guest", "dev/tdx_guest")


def has_gpu(root: Path) -> bool | None:
    devices = _pci_devices(root)
    if devices is None:
        return None
    return any(vendor == _NVIDIA and kind.startswith(_DISPLAY_CLASS) for vendor, device, kind in devices)


def has_tpu(root: Path) -> bool | None:
    devices = _pci_devices(root)
    if devices is None:
        return None
    return any(vendor == _GOOGLE and device in _TPUS for vendor, device, kind in devices)


def is_confidential(root: Path) -> bool | None:
    """True or unknown: a guest of plain AMD SEV, or one with an old kernel, need not show what it is."""
    if any((root / device).exists() for device in _CONFIDENTIAL_DEVICES):
        return True
    for line in _text(root / "proc/cpuinfo").splitlines():
        if line.startswith("flags"):
            return True if "tdx_guest" in line.split() else None
    return None


def _pci_devices(root: Path) -> list[tuple[str, str, str]] | None:
    """Vendor, device and class of each, or None without PCI in sight, as in some containers."""
    try:
        folders = sorted((root / _PCI_DEVICES).iterdir())
    except OSError:
        return None
    return [(_text(folder / "vendor"), _text(folder / "device"), _text(folder / "class")) for folder in folders]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
