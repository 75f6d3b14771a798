# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which events can reach a VM, by its policy and the documentation of its machine type."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.machine_families import (
    ALWAYS,
    FAMILIES,
    family_of,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import (
    EVENTS,
    MIGRATE,
    PREEMPT,
    RESTART,
    STOP,
    TERMINATE,
    WINDOW,
    Scheduling,
    parse_scheduling,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.reach import (
    Applicability,
    applicability,
    obstacle_to_migration,
    traits_of,
)


def reach(machine_type: str, policy: str, preemptible: str = "FALSE", **seen: Any) -> dict[str, Applicability]:
    scheduling = parse_scheduling({"onHostMaintenance": policy, "preemptible": preemptible})
    return applicability(machine_type, scheduling, traits_of(machine_type, scheduling.preemptible, seen))


def possible(found: dict[str, Applicability]) -> tuple[bool | None, ...]:
    return tuple(found[event].possible for event in (MIGRATE, TERMINATE, PREEMPT, WINDOW))


@pytest.mark.parametrize(
    "machine_type, policy, preemptible, expected",
    [
        # migrate, terminate, preempt, window
        ("n2-standard-4", "MIGRATE", "FALSE", (True, False, False, None)),
        ("n2-standard-4", "TERMINATE", "FALSE", (False, None, False, None)),
        ("n2-standard-4", "TERMINATE", "TRUE", (False, None, True, None)),
        ("n2-standard-4", "MIGRATE", "TRUE", (False, None, True, None)),
        ("custom-2-4096", "MIGRATE", "FALSE", (True, False, False, None)),
        ("c3-standard-8", "MIGRATE", "FALSE", (True, False, False, True)),
        ("c4a-standard-8", "MIGRATE", "FALSE", (True, False, False, True)),
        ("m4-megamem-56", "MIGRATE", "FALSE", (True, False, False, True)),
        ("c3-standard-192-metal", "TERMINATE", "FALSE", (False, True, False, True)),
        ("h4d-standard-192", "TERMINATE", "FALSE", (False, True, False, True)),
        ("g2-standard-4", "TERMINATE", "FALSE", (False, True, False, True)),
        ("a3-highgpu-8g", "TERMINATE", "FALSE", (False, True, False, True)),
        ("ct5p-hightpu-4t", "TERMINATE", "FALSE", (False, True, False, True)),
        ("tpu7x-standard-4t", "TERMINATE", "FALSE", (False, True, False, True)),
        ("projects/1/machineTypes/E2-MEDIUM", "migrate\n", "false", (True, False, False, None)),
    ],
)
def test_by_policy_and_machine_type(
    machine_type: str, policy: str, preemptible: str, expected: tuple[bool | None, ...]
) -> None:
    found = reach(machine_type, policy, preemptible)
    assert tuple(found) == (*EVENTS, RESTART)
    assert possible(found) == expected
    assert all(one.reason for one in found.values())


@pytest.mark.parametrize("machine_type", [*(f"{family}-x-1" for family in FAMILIES), "new-1", "c9-standard-8-metal"])
def test_policy_takes_precedence_over_the_tables(machine_type: str) -> None:
    """Tables change: Z3 was once documented as never migrated, and up to 18,000 GiB of SSD it is."""
    assert possible(reach(machine_type, "MIGRATE"))[:2] == (True, False)
    assert reach(machine_type, "TERMINATE")[MIGRATE].possible is False


@pytest.mark.parametrize(
    "machine_type, seen, expected",
    [
        ("n1-standard-4", {"gpu": True}, (False, True, False, True)),
        ("n1-standard-4", {"gpu": False}, (False, None, False, None)),
        ("n1-standard-4", {}, (False, None, False, None)),
        ("n1-standard-4", {"tpu": True}, (False, True, False, True)),
        ("n2d-standard-4", {"confidential_vm": True}, (False, None, False, None)),
        ("g2-standard-4", {"gpu": False}, (False, True, False, True)),
        ("ct5lp-hightpu-4t", {"tpu": None}, (False, True, False, True)),
    ],
)
def test_detected_hardware_adds_information(
    machine_type: str, seen: dict[str, Any], expected: tuple[bool | None, ...]
) -> None:
    assert possible(reach(machine_type, "TERMINATE", **seen)) == expected


@pytest.mark.parametrize(
    "machine_type, expected, reason",
    [
        # migrate, terminate, preempt, window; why it can be migrated or not
        ("e2-standard-4", (None, None, None, None), "the metadata server does not show on-host-maintenance"),
        ("z3-highmem-88", (None, None, None, True), "the metadata server does not show on-host-maintenance"),
        ("", (None, None, None, None), "the metadata server does not show on-host-maintenance"),
        ("a2-highgpu-1g", (False, True, None, True), "machine type a2-highgpu-1g with GPUs cannot be migrated"),
    ],
)
def test_without_scheduling_most_is_unknown(machine_type: str, expected: tuple[bool | None, ...], reason: str) -> None:
    """As GKE's metadata server, which has no `scheduling`: unknown is unknown, not "no"."""
    found = reach(machine_type, "", "")
    assert possible(found) == expected
    assert found[MIGRATE].reason == reason
    assert found[PREEMPT].reason == "the metadata server does not show whether it is preemptible"


def test_unknown_policy_is_unknown() -> None:
    found = reach("n2-standard-4", "SUSPEND")
    assert possible(found)[:2] == (None, None)
    assert "SUSPEND" in found[MIGRATE].reason


def test_unknown_size_of_local_disks_is_unknown() -> None:
    found = reach("z3-highmem-88", "TERMINATE")[TERMINATE]
    assert found == Applicability(
        None,
        "the notice is given if it has more than 18,000 GiB of Titanium SSD, which cannot be seen from inside",
    )


@pytest.mark.parametrize("event", EVENTS)
def test_announced_event_can_reach_the_vm(event: str) -> None:
    traits = traits_of("n2-standard-4", False, {})
    for policy in ("MIGRATE", "TERMINATE", ""):
        found = applicability("n2-standard-4", Scheduling(policy), traits, {event})
        assert found[event] == Applicability(True, "it was announced")


@pytest.mark.parametrize(
    "machine_type, spot, seen, words",
    [
        ("n2-standard-4", True, {}, "preemptible and Spot VMs are not migrated"),
        ("n1-standard-4", False, {"gpu": True}, "machine type n1-standard-4 with GPUs cannot be migrated"),
        ("h4d-standard-192", False, {}, "machine type h4d-standard-192 cannot be migrated"),
        ("c3-standard-192-metal", False, {}, "bare metal machine type c3-standard-192-metal cannot be migrated"),
        ("z3-highmem-14-standardlssd", False, {}, ""),
        ("z3-highmem-88", False, {}, ""),
        ("new-1", False, {}, ""),
    ],
)
def test_machine_types_documented_never_to_migrate(
    machine_type: str, spot: bool, seen: dict[str, Any], words: str
) -> None:
    assert obstacle_to_migration(machine_type, traits_of(machine_type, spot, seen)) == words


@pytest.mark.parametrize(
    "machine_type, traits",
    [
        ("n2-standard-4", {"bare_metal": False, "gpu": None, "tpu": None}),
        ("projects/1/machineTypes/c3-standard-192-metal", {"bare_metal": True}),
        ("a2-highgpu-1g", {"gpu": True, "tpu": None}),
        ("ct6e-standard-4t", {"tpu": True, "gpu": None}),
        ("", {"bare_metal": None}),
    ],
)
def test_traits(machine_type: str, traits: dict[str, bool | None]) -> None:
    found = traits_of(machine_type, True, {})
    assert {name: getattr(found, name) for name in traits} == traits
    assert (found.spot, found.sole_tenant) == (True, None)


@pytest.mark.parametrize(
    "scheduling, possible, reason",
    [
        (Scheduling(preemptible=True), True, "preemptible is TRUE"),
        (Scheduling(preemptible=True, preemption_notice=120.0), True, "preemptible is TRUE, with 120 s of notice"),
        (Scheduling(preemptible=False), False, "preemptible is FALSE"),
        (Scheduling(), None, "the metadata server does not show whether it is preemptible"),
    ],
)
def test_preemption(scheduling: Scheduling, possible: bool | None, reason: str) -> None:
    found = applicability("n2-standard-4", scheduling, traits_of("n2-standard-4", scheduling.preemptible, {}))
    assert found[PREEMPT] == Applicability(possible, reason)


@pytest.mark.parametrize("automatic_restart", [True, False, None])
def test_restart_without_notice_can_reach_every_vm(automatic_restart: bool | None) -> None:
    found = applicability("n2-standard-4", Scheduling(automatic_restart=automatic_restart), traits_of("", None, {}))
    assert found[RESTART].possible is True
    assert ("someone starts it" in found[RESTART].reason) is (automatic_restart is False)


def test_graceful_shutdown_is_unknown() -> None:
    found = reach("n2-standard-4", "MIGRATE")[STOP]
    assert found.possible is None
    assert "graceful shutdown" in found.reason


@pytest.mark.parametrize(
    "machine_type, refused",
    [
        ("a3-ultragpu-8g", True),
        ("a3-highgpu-8g", False),
        ("a4-highgpu-8g", True),
        ("a4x-highgpu-4g", True),
        ("h4d-standard-192", True),
        ("n2-standard-4", False),
        ("new-1", False),
        ("", False),
    ],
)
def test_machine_types_that_refuse_simulation(machine_type: str, refused: bool) -> None:
    assert family_of(machine_type).refuses_simulation is refused


@pytest.mark.parametrize("name", FAMILIES)
def test_each_row_has_its_source(name: str) -> None:
    family = FAMILIES[name]
    assert family_of(f"{name}-8g") == family
    assert family.sources
    assert all(source.startswith("https://") for source in family.sources)
    assert family.stays == ALWAYS or not family.accelerators
