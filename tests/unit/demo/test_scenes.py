# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The activity of a VM, as the demo shows it."""

from __future__ import annotations

from typing import Any

import pytest

from demo.scenes import is_quiet, scene

UP = {"status": "RUNNING", "boot_id": "b1", "maintenance_event": "NONE", "preempted": False}
SIGNAL = {"noticed_at": 1000.0}


def running(task: str, phase: str = "drain") -> dict[str, Any]:
    return {"task": task, "phase": phase, "outcome": ""}


def done(task: str, phase: str = "drain") -> dict[str, Any]:
    return {"task": task, "phase": phase, "outcome": "ok"}


def words(instance: dict[str, Any], incident: dict[str, Any] | None, is_in_service: bool = True) -> str:
    status = {"boot_id": "b1", "incident": incident}
    return scene(instance, status, is_in_service=is_in_service, count=2, notice=10.0).text


@pytest.mark.parametrize(
    "steps, text",
    [
        ([running("A")], "drain: A"),
        ([running("A"), running("B")], "drain: A, B"),
        ([done("A")], "1 of 2 tasks drained"),
        ([done("A"), done("B")], "drained"),
    ],
)
def test_while_an_event_is_on(steps, text):
    assert words(UP, {"signals": [SIGNAL], "steps": steps}) == text


def test_after_the_event():
    steps = [done("A"), done("B")]
    assert words(UP, {"signals": [], "steps": steps}) == "event over"
    assert words(UP, {"signals": [], "steps": [*steps, running("B", "restore")]}) == "restore: B"


def test_without_an_incident_the_files_show_whether_it_is_in_service():
    assert words(UP, None) == "in service"
    assert words(UP, None, is_in_service=False) == "running, not yet in service"


def test_a_vm_that_is_off_or_booting():
    assert words({**UP, "status": "TERMINATED"}, None) == "off, handler killed"
    assert words({**UP, "boot_id": "b2"}, None) == "booting"


def test_the_notice_ends_with_the_event_that_comes_first():
    status = {"boot_id": "b1", "incident": {"signals": [SIGNAL, {"noticed_at": 1001.0}], "steps": []}}
    assert scene(UP, status, is_in_service=True, count=2, notice=10.0).ends_at == 1010.0


@pytest.mark.parametrize(
    "change",
    [
        {"status": "TERMINATED"},
        {"status": "STOPPING"},
        {"preempted": True},
        {"maintenance_event": "MIGRATE_ON_HOST_MAINTENANCE"},
        {"boot_id": "b2"},
    ],
)
def test_a_vm_with_an_event_or_an_incident_is_not_quiet(change):
    assert is_quiet(UP, {"boot_id": "b1", "incident": None})
    assert not is_quiet({**UP, **change}, {"boot_id": "b1", "incident": None})
    assert not is_quiet(UP, {"boot_id": "b1", "incident": {"signals": [], "steps": []}})
