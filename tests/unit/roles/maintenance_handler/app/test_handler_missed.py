# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations without notice, detected by the handler."""

from __future__ import annotations

import json
from collections.abc import Callable

from support.handler import HandlerProcess, steps, task
from support.vm import Vm

TOKEN = "virtual-clock/drift-token"


def test_migration_without_a_notice_is_counted_logged_and_handled(
    vm: Vm, make_handler: Callable[..., HandlerProcess]
) -> None:
    handler = make_handler(task("resync", "missed"), task("lb", "migrate")).start()
    vm.set(TOKEN, "4711")
    incident = handler.until_over()
    assert handler.trace() == ["drain resync", "restore resync"]
    assert steps(incident) == [("drain", "resync", "ok"), ("restore", "resync", "ok")]
    assert [(past["event"], past["value"]) for past in incident["past"]] == [("missed", "drift-token changed")]
    handler.until_logged("the VM was live-migrated without notice")
    assert handler.status()["missed_migrations"] == 1
    assert "migrations without a notice since the handler started: 1" in handler.command("status").stdout


def test_migration_between_two_handlers_is_detected(vm: Vm, make_handler: Callable[..., HandlerProcess]) -> None:
    handler = make_handler(task("lb", "migrate")).start()
    handler.until((handler.state_dir / "drift-token.json").exists, "the token on disk")
    handler.kill()
    vm.set(TOKEN, "4712")
    handler.start()
    incident = handler.until_over()
    assert [past["event"] for past in incident["past"]] == ["missed"]
    assert handler.trace() == []
    assert json.loads((handler.state_dir / "drift-token.json").read_text())["token"] == "4712"


def test_announced_migration_is_not_counted(vm: Vm, make_handler: Callable[..., HandlerProcess]) -> None:
    handler = make_handler(task("lb", "migrate")).start()
    vm.announce("migrate")
    handler.until_state("drained")
    vm.set(TOKEN, "4713")
    vm.withdraw("migrate")
    incident = handler.until_over()
    assert [past["event"] for past in incident["past"]] == ["migrate"]
    handler.until(lambda: json.loads((handler.state_dir / "drift-token.json").read_text())["token"] == "4713", "it")
    assert handler.status()["missed_migrations"] == 0
