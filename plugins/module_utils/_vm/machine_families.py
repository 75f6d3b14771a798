# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google documents about machine families and PCI devices: data, with the source of each row.

Private to the collection: it may change at any time. Standard library only.

A new family, of which there are several a year, is one more line here. What these tables lack is unknown, never "no".
"""

from __future__ import annotations

from collections.abc import Mapping

from .records import dataclass

_LIVE_MIGRATION = "https://cloud.google.com/compute/docs/instances/live-migration-process#limitations"
_WINDOWS = "https://cloud.google.com/compute/docs/instances/monitor-plan-host-maintenance-event"
_SIMULATION = "https://cloud.google.com/compute/docs/instances/simulating-host-maintenance"
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
    """One row of the table.

    ``accelerators``: GPUS or TPUS if every machine type of the family has them. ``stays``: what never migrates: "" for
    nothing that is documented, ALWAYS for all of it, else the condition, to follow "if it has". ``windows``: what has
    maintenance windows announced: "" for nothing that is documented, ALWAYS or WITH_GPUS.
    ``refuses_simulation``: whether the API is documented to refuse simulateMaintenanceEvent.
    """

    accelerators: str = ""
    stays: str = ""
    windows: str = ""
    sources: tuple[str, ...] = ()
    refuses_simulation: bool = False


# By the beginning of a machine type's name: a family, or a series of one, whose row then replaces the family's.
FAMILIES: Mapping[str, Family] = {
    "a2": Family(GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS)),
    "a3": Family(GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS)),
    "a3-ultragpu": Family(
        GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS, _SIMULATION), refuses_simulation=True
    ),
    "a4": Family(GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS, _SIMULATION), refuses_simulation=True),
    "a4x": Family(GPUS, ALWAYS, ALWAYS, (_GPUS, _LIVE_MIGRATION, _WINDOWS, _SIMULATION), refuses_simulation=True),
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
    "h4d": Family("", ALWAYS, ALWAYS, (_LIVE_MIGRATION, _WINDOWS, _SIMULATION), refuses_simulation=True),
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


def family_of(machine_type: str) -> Family:
    """The row of a machine type, such as n2-standard-4: its series' if there is one, else its family's."""
    family, _dash, series = machine_type.partition("-")
    return FAMILIES.get(f"{family}-{series.partition('-')[0]}") or FAMILIES.get(family) or _UNKNOWN


_UNKNOWN = Family()

# PCI ids, as the kernel shows them.
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
