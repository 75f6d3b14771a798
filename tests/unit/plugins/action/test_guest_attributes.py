# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The announcement of the module guest_attributes, in real plays on an emulated VM.

The attributes are there already, so that nothing has to be written, which takes minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.playbook import run_play

MODULE = "gce.guest.guest_attributes"
MANY = {f"key-{number:02}": "hunter2" for number in range(30)}
FEW = dict(list(MANY.items())[:8])
RATE = "at the 10 requests a minute that the metadata server allows"
THIRTY = f"guest_attributes on localhost: 30 attributes take up to 3 min 0 s {RATE}"


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    fleet = {
        "instances": [
            {
                "name": "web-1",
                "attributes": {"enable-guest-attributes": "TRUE"},
                "guest_attributes_over_budget": "allow",
            }
        ]
    }
    with EmulatorProcess(fleet) as running:
        for key, text in MANY.items():
            running.control.set("web-1", f"instance/guest-attributes/ns/{key}", text)
        yield running


def play(emulator: EmulatorProcess, *tasks: dict[str, Any], arguments: tuple[str, ...] = (), **keys: Any) -> str:
    """The output of a play that succeeds."""
    host = emulator.metadata["web-1"]
    keys.setdefault("module_defaults", {"group/gce.guest.guest": {"metadata_host": host}})
    # Otherwise standard output is buffered, and comes after standard error.
    status, output = run_play(list(tasks), *arguments, environment={"PYTHONUNBUFFERED": "1"}, **keys)
    assert status == 0, output
    return output


def write(attributes: Any, *, task: dict[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    return {"name": "Write", MODULE: {"namespace": "ns", "attributes": attributes, **parameters}, **(task or {})}


def announced(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("guest_attributes on ")]


def test_it_comes_before_the_result(emulator: EmulatorProcess) -> None:
    output = play(emulator, write(MANY))
    assert announced(output) == [THIRTY]
    assert output.index("TASK [Write]") < output.index(THIRTY) < output.index("ok: [localhost]")


def test_short_tasks_and_check_mode_are_not_announced(emulator: EmulatorProcess) -> None:
    assert announced(play(emulator, write(FEW), write({**MANY, "new": "x"}, task={"check_mode": True}))) == []


def test_each_iteration_of_a_loop_has_its_own(emulator: EmulatorProcess) -> None:
    task = {"loop": [MANY, FEW, json.dumps(MANY)], "loop_control": {"label": "some"}}
    output = play(emulator, write("{{ item }}", task=task))
    assert announced(output) == [THIRTY] * 2
    assert output.count("ok: [localhost] => (item=some)") == 3


def test_no_attribute_is_shown_with_or_without_no_log(emulator: EmulatorProcess) -> None:
    output = play(emulator, write(MANY), write(MANY, task={"no_log": True}), arguments=("-vvv",))
    assert announced(output) == [THIRTY] * 2
    assert "hunter2" not in output
    assert output.count("the output has been hidden") == 1


def test_the_module_can_run_in_the_background(emulator: EmulatorProcess) -> None:
    tasks = (
        write(MANY, task={"async": 30, "poll": 1}),
        write(MANY, task={"async": 30, "poll": 0, "register": "job"}),
        {
            "name": "Wait",
            "ansible.builtin.async_status": {"jid": "{{ job.ansible_job_id }}"},
            "register": "job",
            "until": "job is finished",
            "retries": 100,
            "delay": 0.1,
        },
        {"name": "See", "ansible.builtin.assert": {"that": ["job.written == []", "job.requests == 1"]}},
    )
    assert announced(play(emulator, *tasks)) == [THIRTY] * 2


def test_module_defaults_are_used(emulator: EmulatorProcess) -> None:
    defaults = {MODULE: {"metadata_host": emulator.metadata["web-1"], "attributes": MANY}}
    task = {"name": "Write", MODULE: {"namespace": "ns"}}
    assert announced(play(emulator, task, module_defaults=defaults)) == [THIRTY]


def test_announcement_names_the_delegated_host(emulator: EmulatorProcess) -> None:
    task = {"delegate_to": "bastion", "vars": {"ansible_connection": "local"}}
    (line,) = announced(play(emulator, write(MANY, task=task)))
    assert line.startswith("guest_attributes on bastion: 30 attributes")


@pytest.mark.parametrize(
    "attributes, words",
    [
        (["a"] * 30, "unable to convert to dict"),
        (None, "attributes is null"),
        ("{{ nothing | default(omit) }}", "missing: attributes"),
    ],
)
def test_wrong_arguments_are_reported_by_the_module(emulator: EmulatorProcess, attributes: Any, words: str) -> None:
    output = play(emulator, write(attributes, task={"ignore_errors": True}))
    assert announced(output) == []
    assert words in output
    assert "Traceback" not in output


def test_check_and_diff_mode_reach_the_module(emulator: EmulatorProcess) -> None:
    output = play(emulator, write({"new": "text"}), arguments=("--check", "--diff"))
    assert "changed: [localhost]" in output
    assert '+    "new": "text"' in output
