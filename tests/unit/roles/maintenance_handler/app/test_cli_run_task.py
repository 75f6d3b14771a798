# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `run-task`: runs one task as the handler would."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from typing import Any

import pytest

from support.handler import UNTIL_RELEASED, HandlerProcess, task
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]


def test_runs_one_phase_of_one_task(make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", drain="echo out it goes"), task("db"))
    result = handler.command("run-task", "lb", "drain")
    assert (result.returncode, result.stdout) == (0, "out it goes\n")
    assert handler.command("run-task", "lb", "restore").returncode == 0
    assert handler.trace() == ["drain lb", "restore lb"]
    # It must not be restored.
    assert not (handler.state_dir / "journal.json").exists()


def test_task_gets_the_same_input_as_from_the_handler(make_handler: MakeHandler) -> None:
    shown = 'echo "$GCE_EVENT $GCE_EVENT_PHASE $GCE_EVENT_TASK $GCE_EVENT_INCIDENT $GCE_TASK_TIMEOUT_SECONDS $A"; cat'
    user = pwd.getpwuid(os.geteuid()).pw_name
    fields: dict[str, Any] = {"timeout": {"migrate": 7, "terminate": 90}, "env": {"A": "b"}, "user": user}
    handler = make_handler(task("lb", "migrate", "terminate", drain=shown, **fields))
    for event, seconds in (("migrate", "7.000"), ("terminate", "90.000")):
        lines = handler.command("run-task", "--event", event, "lb", "drain").stdout.splitlines()
        assert lines[0] == f"{event} drain lb by-hand {seconds} b"
        document = json.loads(lines[1])
        assert (document["event"]["name"], document["event"]["rehearsal"]) == (event, True)
        assert document["task"] == {"name": "lb", "stage": 50}


@pytest.mark.parametrize(
    "drain, timeout, detail", [("echo no such volume; exit 3", 20, "exit"), ("sleep 60", 1, "timeout")]
)
def test_fails_if_the_task_fails(drain: str, timeout: float, detail: str, make_handler: MakeHandler) -> None:
    result = make_handler(task("lb", drain=drain, timeout=timeout)).command("run-task", "lb", "drain")
    assert result.returncode == 1
    assert "drain 'lb': " in result.stderr
    assert detail in result.stderr


def test_reports_wrong_arguments_with_the_choices(make_handler: MakeHandler) -> None:
    handler = make_handler(task("Leave the balancer", "migrate", restore=None), task("db", "migrate", drain="exit 0"))
    for arguments, words in (
        (("Leave the balancr", "drain"), ("there is no task", "'Leave the balancer', 'db'", "did you mean")),
        (("Leave the balancer", "restore"), ("has no restore",)),
        (("--event", "preempt", "db", "drain"), ("is not for preempt, but for migrate",)),
    ):
        result = handler.command("run-task", *arguments)
        assert (result.returncode, handler.trace()) == (1, [])
        assert all(word in result.stderr for word in words), result.stderr


def test_is_rejected_while_the_handler_drains_or_restores(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", "migrate", drain=UNTIL_RELEASED))
    handler.start()
    vm.announce("migrate")
    handler.until_traced("drain lb")
    handler.until_state("draining")
    result = handler.command("run-task", "lb", "restore")
    assert result.returncode == 1
    assert "runs its tasks itself" in result.stderr
    handler.release()


def test_reports_a_missing_program(make_handler: MakeHandler) -> None:
    entry = {**task("lb"), "drain": ["/no/such/program"]}
    result = make_handler(entry).command("run-task", "lb", "drain")
    assert result.returncode == 1
    assert "/no/such/program" in result.stderr
    assert "Traceback" not in result.stderr
