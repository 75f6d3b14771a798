# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which events can ever reach a VM, and why. Pure.

Private to the collection: it may change at any time. Standard library only.

The VM's own policy comes first. Tables of machine types say more, and never otherwise. What neither of them tells is
None, and is not guessed: some of it cannot be seen from inside a VM.
"""

from __future__ import annotations

from collections.abc import Collection

from .machine_families import ALWAYS, FAMILIES, GPUS, TPUS, WITH_GPUS, Family
from .maintenance import MIGRATE, PREEMPT, TERMINATE, WINDOW
from .records import dataclass

_YES = ("TRUE", "YES", "Y", "1")
_NO = ("FALSE", "NO", "N", "0")


@dataclass(frozen=True)
class Applicability:
    """Whether an event can ever reach a VM (None: that is not known), and why."""

    possible: bool | None
    reason: str


@dataclass(frozen=True)
class Traits:
    """What a VM is that bears on its maintenance; None is what is not known."""

    gpu: bool | None = None
    tpu: bool | None = None
    bare_metal: bool | None = None
    spot: bool | None = None
    confidential_vm: bool | None = None
    # Nothing inside a VM tells that it has its host to itself.
    sole_tenant: bool | None = None


def traits_of(
    machine_type: str,
    preemptible: str,
    *,
    gpu: bool | None = None,
    tpu: bool | None = None,
    confidential_vm: bool | None = None,
) -> Traits:
    """The traits of a VM by its machine type, by `scheduling/preemptible`, and by what was seen of its hardware."""
    name = _name(machine_type)
    family = _family(name)
    word = preemptible.strip().upper()
    return Traits(
        gpu=True if family.accelerators == GPUS else gpu,
        tpu=True if family.accelerators == TPUS else tpu,
        bare_metal=name.endswith("-metal") if name else None,
        spot=True if word in _YES else False if word in _NO else None,
        confidential_vm=confidential_vm,
    )


def applicability(
    machine_type: str, on_host_maintenance: str, traits: Traits, announced: Collection[str] = ()
) -> dict[str, Applicability]:
    """For each event, whether it can reach a VM, and why.

    `machine_type` may be the full resource name. `on_host_maintenance` is empty where the metadata server does not
    have it, as GKE's does not. `announced` are events that are announced now, which shows that they can.
    """
    name, policy = _name(machine_type), on_host_maintenance.strip().upper()
    found = {
        MIGRATE: _migrate(name, policy, traits),
        TERMINATE: _terminate(name, policy, traits),
        PREEMPT: _preempt(traits),
        WINDOW: _window(name, traits),
    }
    return {event: was_announced() if event in announced else one for event, one in found.items()}


def was_announced() -> Applicability:
    """What is known of an event that was announced to the VM."""
    return Applicability(True, "it was announced")


def obstacle_to_migration(machine_type: str, traits: Traits) -> str:
    """Why a VM is documented never to be migrated whatever its policy, as a sentence without its full stop; else ""."""
    if traits.spot:
        return "preemptible and Spot VMs are not migrated"
    obstacle = _obstacle(_name(machine_type), traits)
    return f"{obstacle} cannot be migrated" if obstacle else ""


def _migrate(name: str, policy: str, traits: Traits) -> Applicability:
    if policy == "MIGRATE" and not traits.spot:
        return Applicability(True, "on-host-maintenance is MIGRATE; on a sole-tenant node it is not announced")
    if policy == "TERMINATE":
        return Applicability(False, "on-host-maintenance is TERMINATE")
    obstacle = obstacle_to_migration(name, traits)
    if obstacle:
        return Applicability(False, obstacle)
    return Applicability(None, _unknown_policy(policy))


def _terminate(name: str, policy: str, traits: Traits) -> Applicability:
    if policy == "MIGRATE" and not traits.spot:
        return Applicability(False, "on-host-maintenance is MIGRATE")
    obstacle = _obstacle(name, traits)
    if obstacle:
        return Applicability(True, f"{obstacle} is stopped for host maintenance")
    if policy not in ("MIGRATE", "TERMINATE"):
        return Applicability(None, _unknown_policy(policy))
    if traits.confidential_vm:
        # https://cloud.google.com/confidential-computing/confidential-vm/docs/troubleshoot-live-migration
        return Applicability(None, "a Confidential VM is stopped; its technology decides whether there is a notice")
    stays = _family(name).stays
    if stays:
        return Applicability(None, f"the notice is given if it has {stays}, which cannot be seen from inside")
    # Documented: the key is populated if the policy is MIGRATE, if GPUs are attached, and for what cannot migrate.
    if traits.gpu is None:
        return Applicability(None, "the notice is given if GPUs are attached, which cannot be seen from inside")
    return Applicability(None, "it is stopped for host maintenance, but without GPUs no notice is documented")


def _preempt(traits: Traits) -> Applicability:
    if traits.spot is None:
        return Applicability(None, "the metadata server does not say whether it is preemptible")
    return Applicability(traits.spot, f"preemptible is {'TRUE' if traits.spot else 'FALSE'}")


def _window(name: str, traits: Traits) -> Applicability:
    windows = _family(name).windows
    if traits.tpu:
        return Applicability(True, "windows are announced for TPUs")
    if windows == ALWAYS or (windows == WITH_GPUS and traits.gpu):
        with_gpus = " with GPUs" if windows == WITH_GPUS else ""
        return Applicability(True, f"windows are announced for machine type {name}{with_gpus}")
    if windows == WITH_GPUS and traits.gpu is None:
        return Applicability(None, f"windows are announced for machine type {name} if GPUs are attached")
    if not name:
        return Applicability(None, "the metadata server does not say what machine type it is")
    return Applicability(None, f"no windows are documented for machine type {name}")


def _obstacle(name: str, traits: Traits) -> str:
    """What cannot be migrated whatever its policy, as the beginning of a sentence; else empty."""
    if traits.bare_metal:
        return f"bare metal machine type {name}"
    machine_type = f"machine type {name}" if name else "a machine type"
    if traits.tpu:
        return f"{machine_type} with TPUs"
    if traits.gpu:
        return f"{machine_type} with GPUs"
    return machine_type if _family(name).stays == ALWAYS else ""


def _unknown_policy(policy: str) -> str:
    if not policy:
        return "the metadata server does not say what on-host-maintenance is"
    return f"on-host-maintenance is {policy[:40]}, of which nothing is known here"


def _family(name: str) -> Family:
    return FAMILIES.get(name.split("-", 1)[0], Family())


def _name(machine_type: str) -> str:
    return machine_type.rsplit("/", 1)[-1].strip().lower()[:100]
