# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single SSH keys in the module custom_metadata, on an emulated project."""

from __future__ import annotations

import json
import threading
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.api import Time
from ansible_collections.gce.guest.plugins.modules import custom_metadata

from support.emulator import EmulatorProcess
from support.modules import Result, run_module
from support.playbook import run_play
from support.shared_time import SharedTime

A, B = "europe-west1-b", "europe-west1-c"
K1 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9AX5xkfQ3IDuvWj5bM8VfoTZVhS1a0jQ2nZk0pYr7B"
K2 = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY="
ALICE, BOB = f"alice:{K1} alice@planted-laptop", f"bob:{K2}"
ALICE_SHOWN = "alice ssh-ed25519 SHA256:+jmrI8gw8Vi8BXj/Hs0ilwlkbNAUfR2LsuvP86d9FNY"
FLEET: dict[str, Any] = {
    "project": "acme",
    "speed": 1000,
    "attributes": {"ssh-keys": BOB},
    "instances": [
        {"name": "web-1", "zone": A, "attributes": {"ssh-keys": f"{BOB}\n", "role": "web"}},
        {"name": "web-2", "zone": B},
        {"name": "old-1", "zone": B, "attributes": {"sshKeys": ALICE}},
        {"name": "closed-1", "zone": A, "attributes": {"block-project-ssh-keys": "TRUE", "ssh-keys": BOB}},
    ],
}


def run(emulator: EmulatorProcess, *, check: bool = False, **parameters: Any) -> Result:
    defaults = {"project": "acme", "api_endpoint": emulator.compute, "access_token": "x", "retry_for": 0}
    result = run_module(custom_metadata, {**defaults, **parameters}, check=check, diff=True)
    assert "planted" not in result.printed
    return result


def keys(emulator: EmulatorProcess, instance: str, path: str = "instance/attributes/ssh-keys") -> str:
    return str(emulator.control.get(instance, path))


def keys_of_all(emulator: EmulatorProcess, instance: str) -> dict[str, str]:
    attributes: dict[str, str] = emulator.control.get(instance, "instance/attributes/")
    return attributes


def test_many_instances_and_a_second_run(emulator: EmulatorProcess) -> None:
    wanted: dict[str, Any] = {"filter": "name = web-*", "ssh_keys": {"present": [ALICE], "absent": ["bob"]}}
    planned = run(emulator, check=True, **wanted)
    assert keys(emulator, "web-1") == f"{BOB}\n"
    done = run(emulator, **wanted)
    assert dict(planned) == dict(done)
    assert done["changed"]
    assert done["ssh_keys_added"] == [ALICE_SHOWN]
    assert [line.split()[0] for line in done["ssh_keys_removed"]] == ["bob"]
    assert done["ssh_keys_ignored"] == []
    assert keys(emulator, "web-1").strip() == keys(emulator, "web-2") == ALICE
    assert emulator.control.get("web-1", "instance/attributes/role") == "web"
    [diff] = [diff for diff in done["diff"] if "web-2" in diff["after_header"]]
    assert diff["after"] == {"ssh-keys": f"{ALICE_SHOWN}\n"}
    again = run(emulator, **wanted)
    assert not again["changed"]
    assert again["diff"] == again["ssh_keys_added"] == []


def test_the_project(emulator: EmulatorProcess) -> None:
    result = run(emulator, ssh_keys={"present": [ALICE]})
    assert keys(emulator, "web-2", "project/attributes/ssh-keys") == f"{BOB}\n{ALICE}"
    assert [(each["name"], each["zone"]) for each in result["ssh_keys_ignored"]] == [("closed-1", A), ("old-1", B)]
    assert "The SSH keys are ignored by 2 instances" in json.dumps(result["warnings"])
    assert not run(emulator, ssh_keys={"present": [ALICE]})["changed"]
    run(emulator, ssh_keys={"absent": ["alice", "bob"]})
    assert "ssh-keys" not in emulator.control.get("web-2", "project/attributes/")


def test_a_zone(emulator: EmulatorProcess) -> None:
    result = run(emulator, scope="zonal", zone=A, ssh_keys={"present": [ALICE]})
    assert result["written"] == ["ssh-keys"]
    assert [each["name"] for each in result["ssh_keys_ignored"]] == ["closed-1"]


def test_os_login_causes_a_warning(emulator: EmulatorProcess) -> None:
    emulator.control.set("web-1", "project/attributes/enable-oslogin", "TRUE")
    result = run(emulator, check=True, instance="web-1", ssh_keys={"present": [ALICE]})
    assert "enable-oslogin is TRUE" in result["ssh_keys_ignored"][0]["reason"]


def test_unreadable_zones_are_not_a_failure(emulator: EmulatorProcess) -> None:
    emulator.control.fault("503", face="compute", path=f"projects/acme/zones/{A}/instanceSettings")
    result = run(emulator, instance="web-1", ssh_keys={"present": [ALICE]})
    assert not result.failed
    assert "is unknown" in json.dumps(result["warnings"])


def test_removing_the_older_key_causes_a_warning(emulator: EmulatorProcess) -> None:
    result = run(emulator, instance="old-1", ssh_keys={"absent": ["alice"]})
    assert result["deleted"] == ["sshKeys"]
    assert "set block-project-ssh-keys to TRUE" in json.dumps(result["warnings"])


def test_other_metadata_is_written_at_the_same_time(emulator: EmulatorProcess) -> None:
    result = run(
        emulator, instance="web-1", metadata={"release": "2"}, purge=True, keep=[], ssh_keys={"present": [ALICE]}
    )
    assert (result["written"], result["deleted"]) == (["release", "ssh-keys"], ["role"])
    assert keys(emulator, "web-1") == f"{BOB}\n{ALICE}\n"
    writes = [entry for entry in emulator.control.journal(face="compute") if entry["path"].endswith("setMetadata")]
    assert len(writes) == 1


def test_concurrent_writers_lose_no_line(emulator: EmulatorProcess) -> None:
    emulator.control.fault("operation-conflict", face="compute", count=1)
    problems: list[Any] = []

    def add(number: int) -> None:
        # Each in its own process, like plays.
        common = {"project": "acme", "api_endpoint": emulator.compute, "access_token": "x", "instance": "web-2"}
        task = {**common, "ssh_keys": {"present": [f"user{number}:{K1}"]}}
        status, output = run_play([{"gce.guest.custom_metadata": task}], environment={})
        if status:
            problems.append(output)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems[0]
    assert sorted(keys(emulator, "web-2").split("\n")) == [f"user{number}:{K1}" for number in range(4)]


@pytest.mark.parametrize(
    "instance, wanted, theirs, changes",
    [
        ("web-2", {"present": [ALICE]}, f"{ALICE}\n{BOB}", {}),
        ("web-2", {"present": [ALICE]}, BOB, {"not_kept": ["ssh-keys"]}),
        ("web-1", {"absent": ["bob"]}, ALICE, {}),
        ("web-1", {"absent": ["bob"]}, f"{ALICE}\n{BOB}", {"not_kept": ["ssh-keys"]}),
    ],
)
def test_only_lines_that_others_overwrite_are_reported(
    emulator: EmulatorProcess, instance: str, wanted: dict[str, Any], theirs: str, changes: dict[str, Any]
) -> None:
    before = keys_of_all(emulator, instance)
    passing = SharedTime()

    def clock() -> float:
        """Another program writes between the module's change and its last look."""
        if keys_of_all(emulator, instance) != before:
            emulator.control.set(instance, "instance/attributes/ssh-keys", theirs)
        return passing.clock()

    module = ModuleType("custom_metadata")
    module.__dict__["main"] = lambda: custom_metadata.main(Time(clock, passing.sleep))
    options = {"project": "acme", "api_endpoint": emulator.compute, "access_token": "x"}
    result = run_module(module, {**options, "instance": instance, "ssh_keys": wanted})
    assert result.failed == bool(changes), result["msg"]
    [row] = result["instances"]
    assert {key: row[key] for key in row if key == "not_kept"} == changes
    assert keys(emulator, instance) == theirs


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"ssh_keys": {"present": ["planted"]}}, "entry 1 of ssh_keys.present is not an SSH key"),
        ({"ssh_keys": {"present": [ALICE]}, "metadata": {"ssh-keys": ALICE}}, "also given as a whole"),
        ({"ssh_keys": {"present": [ALICE]}, "metadata": {"sshKeys": ALICE}}, "also given as a whole"),
        ({"ssh_keys": {"added": [ALICE]}}, "Unsupported parameters"),
        ({"ssh_keys": {"present": [ALICE]}, "purge": True}, "{} for none"),
        ({"ssh_keys": {"present": ["-----BEGIN RSA PRIVATE KEY-----\nplanted"]}}, "is a private key"),
    ],
)
def test_wrong_options_are_refused_before_any_request(
    emulator: EmulatorProcess, parameters: dict[str, Any], words: str
) -> None:
    result = run(emulator, **parameters)
    assert result.failed
    assert words in result["msg"]
    assert emulator.control.journal(face="compute") == []


def test_too_many_are_refused(emulator: EmulatorProcess) -> None:
    many = [f"user{number}:{K1} {'c' * 4000}" for number in range(80)]
    result = run(emulator, instance="web-2", ssh_keys={"present": many})
    assert result.failed
    assert "The value of 'ssh-keys' has" in result["msg"]
