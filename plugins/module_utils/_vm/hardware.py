# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM's kernel shows of its hardware. The metadata server shows none of it.

Private to the collection: it may change at any time. Standard library only.

Each function takes the root of the file system and returns None for unknown.
"""

from __future__ import annotations

from pathlib import Path

from .machine_families import DISPLAY_CLASS, GOOGLE, NVIDIA, TPU_DEVICES

_PCI_DEVICES = "sys/bus/pci/devices"

# Created by the kernel's attestation drivers, in guests only.
_CONFIDENTIAL_DEVICES = ("dev/sev-guest", "dev/tdx_guest")


def seen(root: Path = Path("/")) -> dict[str, bool | None]:
    """GPUs, TPUs and Confidential VM, as `reach.traits_of` takes them."""
    return {"gpu": has_gpu(root), "tpu": has_tpu(root), "confidential_vm": is_confidential(root)}


def has_gpu(root: Path) -> bool | None:
    devices = _pci_devices(root)
    if devices is None:
        return None
    return any(vendor == NVIDIA and kind.startswith(DISPLAY_CLASS) for vendor, device, kind in devices)


def has_tpu(root: Path) -> bool | None:
    devices = _pci_devices(root)
    if devices is None:
        return None
    return any(vendor == GOOGLE and device in TPU_DEVICES for vendor, device, kind in devices)


def is_confidential(root: Path) -> bool | None:
    """True or None: a Confidential VM with plain AMD SEV or an old kernel may show nothing."""
    if any((root / device).exists() for device in _CONFIDENTIAL_DEVICES):
        return True
    for line in _text(root / "proc/cpuinfo").splitlines():
        if line.startswith("flags"):
            return True if "tdx_guest" in line.split() else None
    return None


def _pci_devices(root: Path) -> list[tuple[str, str, str]] | None:
    """Vendor, device and class of each; None if PCI is not visible, as in some containers."""
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
