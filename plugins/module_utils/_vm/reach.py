# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which events can ever reach a VM, and why. Pure.

Private to the collection: it may change at any time. Standard library only.

The VM's own policy outranks every table of machine types: a table only explains. What neither of them knows is None
with a reason, never False; some of it cannot be seen from inside a VM.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .machine_families import ALWAYS, GPUS, TPUS, WITH_GPUS, family_of
from .maintenance import MIGRATE, PREEMPT, RESTART, STOP, TERMINATE, WINDOW, Scheduling
from .records import dataclass


@dataclass(frozen=True)
class Applicability:
    """Whether an event can ever reach a VM (None: unknown), and why."""

    possible: bool | None
    reason: str


@dataclass(frozen=True)
class Traits:
    """The properties of a VM that its maintenance depends on; None is unknown."""

    gpu: bool | None = None
    tpu: bool | None = None
    bare_metal: bool | None = None
    spot: bool | None = None
    confidential_vm: bool | None = None
    # Cannot be seen from inside a VM.
    sole_tenant: bool | None = None


def traits_of(machine_type: str, spot: bool | None, hardware: Mapping[str, bool | None]) -> Traits:
    """The traits of a VM. ``machine_type`` may be a resource name, ``hardware`` is what `hardware.seen` returns."""
    name = _name(machine_type)
    accelerators = family_of(name).accelerators
    return Traits(
        gpu=True if accelerators == GPUS else hardware.get("gpu"),
        tpu=True if accelerators == TPUS else hardware.get("tpu"),
        bare_metal=name.endswith("-metal") if name else None,
        spot=spot,
        confidential_vm=hardware.get("confidential_vm"),
    )


def applicability(
    machine_type: str, scheduling: Scheduling, traits: Traits, announced: Collection[str] = ()
) -> dict[str, Applicability]:
    """For each event, whether it can reach a VM. An event in ``announced``, which is announced now, evidently can."""
    name, policy = _name(machine_type), scheduling.on_host_maintenance
    found = {
        MIGRATE: _migrate(name, policy, traits),
        TERMINATE: _terminate(name, policy, traits),
        PREEMPT: _preempt(scheduling, traits),
        WINDOW: _window(name, traits),
        STOP: Applicability(None, "a stop is announced if graceful shutdown is on, which cannot be seen from inside"),
        RESTART: _restart(scheduling),
    }
    return {event: was_announced() if event in announced else one for event, one in found.items()}


def was_announced() -> Applicability:
    """The applicability of an event that was announced to the VM."""
    return Applicability(True, "it was announced")


def obstacle_to_migration(machine_type: str, traits: Traits) -> str:
    """Why a VM is documented never to migrate, whatever its policy: a sentence without its full stop, else ""."""
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
        return Applicability(None, "a Confidential VM is stopped; whether it gets a notice depends on its technology")
    stays = family_of(name).stays
    if stays:
        return Applicability(None, f"the notice is given if it has {stays}, which cannot be seen from inside")
    # Documented: the key is populated if the policy is MIGRATE, if GPUs are attached, and for what cannot migrate.
    if traits.gpu is None:
        return Applicability(None, "the notice is given if GPUs are attached, which cannot be seen from inside")
    return Applicability(None, "it is stopped for host maintenance, but no notice is documented for VMs without GPUs")


def _preempt(scheduling: Scheduling, traits: Traits) -> Applicability:
    if traits.spot is None:
        return Applicability(None, "the metadata server does not show whether it is preemptible")
    if not traits.spot:
        return Applicability(False, "preemptible is FALSE")
    seconds = scheduling.preemption_notice
    return Applicability(True, "preemptible is TRUE" + (f", with {seconds:g} s of notice" if seconds else ""))


def _window(name: str, traits: Traits) -> Applicability:
    windows = family_of(name).windows
    if traits.tpu:
        return Applicability(True, "windows are announced for TPUs")
    if windows == ALWAYS or (windows == WITH_GPUS and traits.gpu):
        with_gpus = " with GPUs" if windows == WITH_GPUS else ""
        return Applicability(True, f"windows are announced for machine type {name}{with_gpus}")
    if windows == WITH_GPUS and traits.gpu is None:
        return Applicability(None, f"windows are announced for machine type {name} if GPUs are attached")
    if not name:
        return Applicability(None, "the metadata server does not show the machine type")
    return Applicability(None, f"no windows are documented for machine type {name}")


def _restart(scheduling: Scheduling) -> Applicability:
    cause = "a host error or a crash can stop any VM without notice"
    if scheduling.automatic_restart is None:
        return Applicability(True, cause)
    word = "TRUE" if scheduling.automatic_restart else "FALSE, so that it stays stopped until someone starts it"
    return Applicability(True, f"{cause}; automatic-restart is {word}")


def _obstacle(name: str, traits: Traits) -> str:
    """What never migrates whatever its policy, as the subject of a sentence; else empty."""
    if traits.bare_metal:
        return f"bare metal machine type {name}"
    machine_type = f"machine type {name}" if name else "a machine type"
    if traits.tpu:
        return f"{machine_type} with TPUs"
    if traits.gpu:
        return f"{machine_type} with GPUs"
    return machine_type if family_of(name).stays == ALWAYS else ""


def _unknown_policy(policy: str) -> str:
    if not policy:
        return "the metadata server does not show on-host-maintenance"
    return f"on-host-maintenance is {policy[:40]}, which is not a known policy"


def _name(machine_type: str) -> str:
    return machine_type.rsplit("/", 1)[-1].strip().lower()[:100]
