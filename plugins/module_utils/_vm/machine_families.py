# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google documents of machine families and PCI devices, as data, with the source of each row.

Private to the collection: it may change at any time. Standard library only.

There is a new family every few months. What is not in here is unknown, which is not "no".
"""

from __future__ import annotations

from collections.abc import Mapping

from .records import dataclass

_LIVE_MIGRATION = "https://cloud.google.com/compute/docs/instances/live-migration-process#limitations"
_WINDOWS = "https://cloud.google.com/compute/docs/instances/monitor-plan-host-maintenance-event"
_GPUS = "https://cloud.google.com/compute/docs/gpus"
_TPU_MACHINES = "https://cloud.google.com/compute/docs/tpus/tpu-machines"
_TPUS_OF_GKE = "https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus"
_TPU_DEVICE_IDS = "https://github.com/jax-ml/jax/blob/main/jax/_src/hardware_utils.py"

GPUS = "GPUs"
TPUS = "TPUs"

ALWAYS = "always"
WITH_GPUS = "with GPUs"


@dataclass(frozen=True)
class Family:
    """`accelerators`: that every machine type of it has. `stays`: what of it is never migrated, "" for nothing that is
    documented, ALWAYS for all of it, else which, as the end of a sentence with "if it has". `windows`: what of it has
    windows announced, "" for nothing that is documented.
    """

    accelerators: str = ""
    stays: str = ""
    windows: str = ""
    sources: tuple[str, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "a2": Family(GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS)),
    "a3": Family(GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS)),
    "a4": Family(GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS)),
    "a4x": Family(GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS)),
    "g2": Family(GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS)),
    "g4": Family(GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS)),
    "n1": Family("", "", WITH_GPUS, (_WINDOWS,)),
    "ct3": Family(TPUS, ALWAYS, ALWAYS, (_TPUS_OF_GKE, _LIVE_MIGRATION, _WINDOWS)),
    "ct3p": Family(TPUS, ALWAYS, ALWAYS, (_TPUS_OF_GKE, _LIVE_MIGRATION, _WINDOWS)),
    "ct4p": Family(TPUS, ALWAYS, ALWAYS, (_TPUS_OF_GKE, _LIVE_MIGRATION, _WINDOWS)),
    "ct5l": Family(TPUS, ALWAYS, ALWAYS, (_TPUS_OF_GKE, _LIVE_MIGRATION, _WINDOWS)),
    "ct5lp": Family(TPUS, ALWAYS, ALWAYS, (_TPUS_OF_GKE, _LIVE_MIGRATION, _WINDOWS)),
    "ct5p": Family(TPUS, ALWAYS, ALWAYS, (_TPU_MACHINES, _LIVE_MIGRATION, _WINDOWS)),
    "ct6e": Family(TPUS, ALWAYS, ALWAYS, (_TPU_MACHINES, _LIVE_MIGRATION, _WINDOWS)),
    "tpu7x": Family(TPUS, ALWAYS, ALWAYS, (_TPU_MACHINES, _LIVE_MIGRATION, _WINDOWS)),
    "c3": Family("", "", ALWAYS, (_WINDOWS,)),
    "c3d": Family("", "", ALWAYS, (_WINDOWS,)),
    "c4": Family("", "", ALWAYS, (_WINDOWS,)),
    "c4a": Family("", "", ALWAYS, (_WINDOWS,)),
    "c4d": Family("", "", ALWAYS, (_WINDOWS,)),
    "h3": Family("", "", ALWAYS, (_WINDOWS,)),
    "h4d": Family("", ALWAYS, ALWAYS, (_LIVE_MIGRATION, _WINDOWS)),
    "m1": Family("", "", ALWAYS, (_WINDOWS,)),
    "m2": Family("", "", ALWAYS, (_WINDOWS,)),
    "m3": Family("", "", ALWAYS, (_WINDOWS,)),
    "m4": Family("", "", ALWAYS, (_WINDOWS,)),
    "m4n": Family("", "", ALWAYS, (_WINDOWS,)),
    "x4": Family("", "", ALWAYS, (_WINDOWS,)),
    "z3": Family("", "more than 18,000 GiB of Titanium SSD", ALWAYS, (_LIVE_MIGRATION, _WINDOWS)),
    "z4d": Family("", "more than 42,000 GiB of Titanium SSD", "", (_LIVE_MIGRATION,)),
    "z4m": Family("", "more than 42,000 GiB of Titanium SSD", "", (_LIVE_MIGRATION,)),
}

NVIDIA = "0x10de"
DISPLAY_CLASS = "0x03"

GOOGLE = "0x1ae0"
# By device id; all from _TPU_DEVICE_IDS.
TPU_DEVICES: Mapping[str, str] = {
    "0x0027": "v2 and v3",
    "0x0056": "without a public name",
    "0x005e": "v4",
    "0x0062": "v5p",
    "0x0063": "v5e",
    "0x006f": "v6e",
    "0x0076": "TPU7x",
}
