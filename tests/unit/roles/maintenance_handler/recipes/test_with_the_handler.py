# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recipe in a running handler: drained by an event, restored after it, also by the next handler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.handler import HandlerProcess
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lame_duck"


@pytest.fixture
def handler(make_handler: MakeHandler, file: Path) -> HandlerProcess:
    parameters = {"file": str(file), "drain_seconds": 0}
    return make_handler(recipes=[{"lame_duck": parameters, "name": "leave", "on": ["migrate"]}])


def test_event_drains_and_restores(handler: HandlerProcess, vm: Vm, file: Path) -> None:
    assert handler.command("check").returncode == 0
    handler.start()
    vm.announce("migrate")
    handler.until_state("drained")
    assert file.exists()
    vm.withdraw("migrate")
    incident = handler.until_over()
    assert not file.exists()
    assert [(step["phase"], step["outcome"]) for step in incident["steps"]] == [("drain", "ok"), ("restore", "ok")]
    assert "drain 'leave': the health check fails" in handler.log()


def test_next_handler_restores(handler: HandlerProcess, vm: Vm, file: Path) -> None:
    handler.start()
    vm.announce("migrate")
    handler.until_state("drained")
    handler.kill()
    vm.withdraw("migrate")
    handler.start()
    handler.until_over()
    assert not file.exists()


def test_operator_s_earlier_change_is_kept(handler: HandlerProcess, vm: Vm, file: Path) -> None:
    file.touch()
    handler.start()
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    handler.until_over()
    assert file.exists()


def test_failing_check_is_a_problem_of_the_handler(handler: HandlerProcess, file: Path) -> None:
    handler.configure(recipes=[{"lame_duck": {"file": "/no/such/folder/file"}, "name": "leave", "on": ["migrate"]}])
    handler.start()
    handler.until(lambda: any("/no/such/folder does not exist" in one for one in handler.status()["problems"]), "it")
