# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of an incident, their JSON form, and the public view."""

from __future__ import annotations

import json
from typing import Any

import pytest

from maintenance_handler._vm.maintenance import MIGRATE, PREEMPT, WINDOW
from maintenance_handler.core.incident import FAILED, INTERRUPTED, OK, Incident, Moment, held
from maintenance_handler.core.public import public
from support.incidents import Drive, drained, task

LB = task("lb", MIGRATE, PREEMPT, stage=10, env={"TOKEN": "hunter2"})
APP = task("app", MIGRATE, stage=20)


def eventful() -> Drive:
    """An incident that has something of everything."""
    drive = Drive(LB, APP, task("db", WINDOW, stage=30), applies=lambda task, event: task.name != "app")
    drive.window(600)
    drive.on(MIGRATE)
    drive.ends("lb", after=2.0)
    drive.ends("db", FAILED, detail="exit status 1", after=1.0)
    drive.off(MIGRATE)
    return drive


def test_incident_survives_a_round_trip_through_json() -> None:
    incident = eventful().state.incident
    assert incident is not None
    assert incident.signals
    assert incident.past
    assert incident.skips
    assert any(one.open for one in incident.steps)
    assert Incident.from_dict(json.loads(json.dumps(incident.to_dict()))) == incident


@pytest.mark.parametrize(
    "change",
    [
        {"id": None, "opened": 3},
        {"signals": [{"event": "explode"}]},
        {"signals": None},
        {"tasks": [{"nome": "lb"}]},
        {"steps": [{}]},
        {"past": [{"event": MIGRATE}]},
        {"skips": ["lb"]},
    ],
)
def test_rejects_data_that_is_not_an_incident(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Incident.from_dict({**eventful().incident.to_dict(), **change})


def test_acknowledgement_without_a_time_gets_the_time_of_its_step() -> None:
    raw = json.loads(json.dumps(eventful().incident.to_dict()))
    raw["steps"][0].update(acknowledged_by="ada", acknowledged_at=None)
    incident = Incident.from_dict(raw)
    assert public(incident, Moment(0.0, 0.0))["acknowledged"][0]["at"] == incident.steps[0].started.at


def test_rejects_a_step_of_an_unknown_phase() -> None:
    raw = json.loads(json.dumps(eventful().incident.to_dict()))
    raw["steps"][0]["phase"] = "dance"
    with pytest.raises(ValueError, match="no such phase: 'dance'"):
        Incident.from_dict(raw)


def test_rejects_an_incident_without_an_announcement() -> None:
    """A handler that took it up would not know what to close: it ended, again after each start."""
    raw = {**eventful().incident.to_dict(), "signals": [], "past": [], "steps": []}
    with pytest.raises(ValueError, match="without an announcement"):
        Incident.from_dict(raw)


@pytest.mark.parametrize("missing", ["id", "opened", "tasks", "signals", "past", "steps", "skips", "phase"])
def test_rejects_an_incident_with_a_missing_part(missing: str) -> None:
    raw = eventful().incident.to_dict()
    del raw[missing]
    with pytest.raises(KeyError):
        Incident.from_dict(raw)


def test_held_tasks_are_those_started_and_not_restored() -> None:
    drive = Drive(LB, APP)
    drive.on(MIGRATE)
    assert held(drive.incident) == ("lb",)
    drive.ends("lb")
    assert held(drive.incident) == ("lb", "app")
    drive.ends("app", FAILED)
    drive.off(MIGRATE)
    assert held(drive.incident) == ("lb", "app")
    drive.ends("app")
    assert held(drive.incident) == ("lb",)
    drive.ends("lb")
    assert held(drive.closed[0]) == ()


def test_task_with_an_interrupted_restore_is_held() -> None:
    drive = drained(LB)
    drive.off(MIGRATE)
    drive.restart()
    assert [one.outcome for one in drive.incident.steps] == [OK, INTERRUPTED, ""]
    assert held(drive.incident) == ("lb",)


def test_deadline_is_the_nearest_of_all_events() -> None:
    drive = Drive(LB)
    drive.window(None)
    assert drive.incident.deadline() is None
    drive.on(MIGRATE)
    drive.on(PREEMPT)
    assert drive.incident.deadline() == drive.now.clock + 30.0


def test_public_form_has_no_commands_or_environments() -> None:
    drive = eventful()
    shown = json.dumps(public(drive.incident, drive.now))
    for secret in ("hunter2", "TOKEN", "/drain", "/restore"):
        assert secret not in shown


def test_public_form_has_signals_and_steps() -> None:
    drive = eventful()
    shown = public(drive.incident, Moment(drive.now.clock + 10, drive.now.at + 10))
    assert shown["phase"] == "restoring"
    assert [(one["event"], one["seconds_left"]) for one in shown["signals"]] == [(WINDOW, 587.0)]
    assert [(one["event"], one["ended_at"] - one["noticed_at"]) for one in shown["past"]] == [(MIGRATE, 3.0)]
    assert [(one["task"], one["phase"], one["seconds"], one["outcome"], one["detail"]) for one in shown["steps"]] == [
        ("db", "drain", 3.0, FAILED, "exit status 1"),
        ("lb", "drain", 2.0, OK, ""),
        ("lb", "restore", None, "", ""),
    ]
    assert [(one["task"], one["reason"]) for one in shown["skips"]] == [("app", "when is false")]
    assert shown["held"] == ["db", "lb"]
