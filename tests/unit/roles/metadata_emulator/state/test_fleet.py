# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet file: defaults, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gce_emulator.cli import main
from gce_emulator.state.fleet import Fleet, Scheduling
from gce_emulator.state.fleet_file import load, parse
from gce_emulator.state.fleet_section import FleetError

WEB = {"name": "web-1"}


def of_one(**instance: Any) -> Fleet:
    return parse({"instances": [{**WEB, **instance}]})


def test_name_of_an_instance_is_enough() -> None:
    fleet = parse({"instances": [WEB]})
    (instance,) = fleet.instances
    assert instance.name == "web-1"
    assert instance.zone == "us-central1-a"
    assert instance.hostname == "web-1.us-central1-a.c.emulated-project.internal"
    assert instance.scheduling == Scheduling(True, "MIGRATE", False, "STANDARD")
    assert [disk.device_name for disk in instance.disks] == ["web-1"]
    assert [account.email for account in instance.service_accounts] == [
        "314159265358-compute@developer.gserviceaccount.com"
    ]
    assert (fleet.speed, fleet.notice.migrate, fleet.notice.terminate, fleet.notice.preempt) == (1, 60, 3600, 30)


def test_ids_are_stable_and_exceed_2_53() -> None:
    first, second = parse({"instances": [WEB, {"name": "web-2"}]}).instances
    assert 2**53 < first.id < 2**63
    assert int(float(first.id)) != first.id
    assert first.id != second.id
    assert parse({"instances": [WEB]}).instances[0].id == first.id


@pytest.mark.parametrize(
    "instance, scheduling",
    [
        ({"accelerators": [{"type": "nvidia-l4"}]}, Scheduling(True, "TERMINATE", False, "STANDARD")),
        ({"scheduling": {"preemptible": True}}, Scheduling(False, "TERMINATE", True, "SPOT")),
        ({"scheduling": {"provisioning_model": "SPOT"}}, Scheduling(False, "TERMINATE", True, "SPOT")),
        ({"scheduling": {"on_host_maintenance": "TERMINATE"}}, Scheduling(True, "TERMINATE", False, "STANDARD")),
    ],
)
def test_defaults_of_scheduling_depend_on_the_vm(instance: dict[str, Any], scheduling: Scheduling) -> None:
    assert of_one(**instance).instances[0].scheduling == scheduling


def test_empty_lists_stay_empty() -> None:
    (instance,) = of_one(service_accounts=[], disks=[], network_interfaces=[]).instances
    assert (instance.service_accounts, instance.disks, instance.network_interfaces) == ((), (), ())


def test_the_answer_503_may_be_written_as_a_number() -> None:
    assert of_one(upcoming_maintenance_none=503).instances[0].upcoming_maintenance_none == "503"
    assert of_one(upcoming_maintenance_none={}).instances[0].upcoming_maintenance_none == "{}"


def test_a_domain_scoped_project_has_its_domain_in_host_names() -> None:
    fleet = parse({"project": "example.com:shop", "instances": [WEB]})
    assert fleet.instances[0].hostname == "web-1.us-central1-a.c.shop.example.com.internal"


MISTAKES = [
    ("[]", "is a list; it must be a mapping"),
    ("", "instances: has no instance; instances: [{name: web-1}] is enough"),
    ("instances: web-1", "instances: is 'web-1'; it must be a list"),
    ("instances: [web-1]", "instances[0]: is 'web-1'; it must be a mapping"),
    ("instances: [{}]", "instances[0].name: is missing"),
    ("instances: [{name: 7}]", "instances[0].name: is 7; it must be a string"),
    (
        "instances: [{name: Web_1}]",
        "instances[0].name: is 'Web_1', which does not match [a-z](?:[-a-z0-9]{0,61}[a-z0-9])?",
    ),
    ("instances: [{name: a, zone: ''}]", "instances[0].zone: is empty"),
    ("instances: [{name: a, zone: [b]}]", "instances[0].zone: is a list; it must be a string"),
    ("instances: [{name: a, zoen: b}]", "instances[0].zoen: is an unknown key; did you mean zone?"),
    ("instances: [{name: a}, {name: a}]", "instances[1].name: is 'a', as in instances[0].name"),
    ("instances: [{name: a, id: 5}, {name: b, id: 5}]", "instances[1].id: is 5, as in instances[0].id"),
    ("instances: [{name: a, port: 80}, {name: b, port: 80}]", "instances[1].port: is 80, as in instances[0].port"),
    ("instances: [{name: a, port: 70000}]", "instances[0].port: is 70000; it can be 0 to 65535"),
    ("instances: [{name: a, port: true}]", "instances[0].port: is true; it must be a whole number"),
    ("instances: [{name: a, id: 0}]", "instances[0].id: is 0; it can be 1 to 18446744073709551615"),
    (
        "instances: [{name: a, sole_tenant: yes please}]",
        "instances[0].sole_tenant: is 'yes please'; it must be true or false",
    ),
    ("instances: [{name: a, tags: web}]", "instances[0].tags: is 'web'; it must be a list of strings"),
    ("instances: [{name: a, tags: [web, 1]}]", "instances[0].tags[1]: is 1; it must be a string"),
    ("instances: [{name: a, labels: [x]}]", "instances[0].labels: is a list; it must be a mapping"),
    (
        "instances: [{name: a, attributes: {on: 'x', enable-guest-attributes: true}}]",
        "instances[0].attributes.True: is 'x'; it must be a string: put it in quotes",
    ),
    (
        "instances: [{name: a, attributes: {enable-guest-attributes: true}}]",
        "instances[0].attributes.enable-guest-attributes: is true; it must be a string: put it in quotes",
    ),
    (
        "instances: [{name: a, attributes: {a.b: c}}]",
        "instances[0].attributes: has the key 'a.b', which does not match [a-zA-Z0-9-_]{1,128}",
    ),
    ("instances: [{name: a, accelerators: [{count: 1}]}]", "instances[0].accelerators[0].type: is missing"),
    (
        "instances: [{name: a, accelerators: [{type: t, count: 0}]}]",
        "instances[0].accelerators[0].count: is 0; it can be 1 to 64",
    ),
    (
        "instances: [{name: a, scheduling: {on_host_maintenance: MOVE}}]",
        "instances[0].scheduling.on_host_maintenance: is 'MOVE'; it can be MIGRATE, TERMINATE",
    ),
    (
        "instances: [{name: a, scheduling: {preemptible: true, on_host_maintenance: MIGRATE}}]",
        "instances[0].scheduling.on_host_maintenance: is MIGRATE, but a preemptible or Spot VM cannot migrate: ",
    ),
    (
        "instances: [{name: a, accelerators: [{type: t}], scheduling: {on_host_maintenance: MIGRATE}}]",
        "instances[0].scheduling.on_host_maintenance: is MIGRATE, but a VM with accelerators cannot migrate: ",
    ),
    (
        "instances: [{name: a, scheduling: {preemptible: true, automatic_restart: true}}]",
        "instances[0].scheduling.automatic_restart: is true, but a preemptible or Spot VM is not restarted",
    ),
    (
        "instances: [{name: a, disks: [{mode: RW}]}]",
        "instances[0].disks[0].mode: is 'RW'; it can be READ_WRITE, READ_ONLY",
    ),
    (
        "instances: [{name: a, network_interfaces: [{mtu: 1}]}]",
        "instances[0].network_interfaces[0].mtu: is 1; it can be 1280 to 8896",
    ),
    (
        "instances: [{name: a, upcoming_maintenance_none: nothing}]",
        "instances[0].upcoming_maintenance_none: is 'nothing'; it can be 503, NONE, 404, {}",
    ),
    ("{instances: [{name: a}], speed: fast}", "speed: is 'fast'; it must be a number"),
    ("{instances: [{name: a}], speed: 0}", "speed: is 0; it can be 0.001 to 1e9"),
    ("{instances: [{name: a}], notice: {migrate: -1}}", "notice.migrate: is -1; it can be 0 to 1e9"),
    (
        "{instances: [{name: a}], notice: {move: 1}}",
        "notice.move: is an unknown key; it can be migrate, terminate, preempt",
    ),
    ("{instances: [{name: a}], project: P}", "project: is 'P', which does not match"),
    ("instances: [", "is not YAML: line 1, column 13: "),
]


@pytest.mark.parametrize("text, problem", MISTAKES, ids=[text[:60] or "empty" for text, _unused in MISTAKES])
def test_a_mistake_is_reported_with_its_place(text: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FleetError) as raised:
        load(file)
    assert str(raised.value).startswith(problem)
    assert "\n" not in str(raised.value)


def test_a_value_of_more_than_256_kib_is_refused() -> None:
    with pytest.raises(FleetError, match=r"^attributes\.big: has 262145 bytes; the limit is 262144$"):
        parse({"attributes": {"big": "x" * 262145}, "instances": [WEB]})


def test_a_mistake_ends_the_command_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fleet.yml"
    file.write_text(yaml.safe_dump({"instances": [{"name": "web-1", "zone": 3}]}), encoding="utf-8")
    assert main(["--config", str(file)]) == 2
    assert capsys.readouterr() == ("", f"{file}: instances[0].zone: is 3; it must be a string\n")


@pytest.mark.parametrize(
    "content, problem", [(None, "cannot be read: No such file or directory"), (b"\xff\xfe\x00", "is not UTF-8: ")]
)
def test_an_unreadable_file_ends_with_status_2(
    content: bytes | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.yml"
    if content is not None:
        file.write_bytes(content)
    assert main(["--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"{file}: {problem}")


def test_check_prints_nothing_for_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fleet.yml"
    file.write_text("instances: [{name: web-1}]", encoding="utf-8")
    assert main(["--config", str(file), "--check"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "machine_type, policy",
    [
        ("a2-highgpu-1g", "TERMINATE"),
        ("a3-megagpu-8g", "TERMINATE"),
        ("a4x-highgpu-4g", "TERMINATE"),
        ("g2-standard-4", "TERMINATE"),
        ("g4-standard-48", "TERMINATE"),
        ("ct5p-hightpu-4t", "TERMINATE"),
        ("tpu7x-standard-4t", "TERMINATE"),
        ("h4d-standard-192", "TERMINATE"),
        ("c3-standard-192-metal", "TERMINATE"),
        ("a2x-unheard-of", "MIGRATE"),
        ("c3-standard-4", "MIGRATE"),
        ("n1-standard-1", "MIGRATE"),
    ],
)
def test_the_machine_type_decides_the_default_policy(machine_type: str, policy: str) -> None:
    (spec,) = parse({"instances": [{"name": "web-1", "machine_type": machine_type}]}).instances
    assert spec.scheduling.on_host_maintenance == policy


def test_a_type_that_cannot_migrate_refuses_the_policy_migrate() -> None:
    entry = {"name": "web-1", "machine_type": "a2-highgpu-1g", "scheduling": {"on_host_maintenance": "MIGRATE"}}
    with pytest.raises(FleetError, match=r"a VM of the type a2-highgpu-1g cannot migrate: use TERMINATE"):
        parse({"instances": [entry]})
