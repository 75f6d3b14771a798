# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events, from the value of a metadata key to drain and restore."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.handler import UNTIL_RELEASED, HandlerProcess, steps, task
from support.proof import Verdict, judged
from support.vm import SIGNALS, Vm

MakeHandler = Callable[..., HandlerProcess]

DUMP = 'env > "$FOLDER/env-$GCE_EVENT_PHASE"; cat > "$FOLDER/input-$GCE_EVENT_PHASE"'


def in_seconds(seconds: float) -> str:
    """A time from now, as the metadata server writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def window(starts_in: float, **fields: Any) -> dict[str, Any]:
    return {"window_start_time": in_seconds(starts_in), **fields}


@pytest.mark.parametrize("event", SIGNALS)
def test_drains_for_an_event_and_restores_after_it(event: str, vm: Vm, make_handler: MakeHandler) -> None:
    others = [other for other in SIGNALS if other != event]
    handler = make_handler(task("lb", event), task("not for this", *others)).start()
    vm.announce(event)
    handler.until_state("drained")
    assert handler.status()["incident"]["held"] == ["lb"]
    vm.withdraw(event)
    incident = handler.until_over()
    assert handler.trace() == ["drain lb", "restore lb"]
    assert steps(incident) == [("drain", "lb", "ok"), ("restore", "lb", "ok")]
    assert [past["event"] for past in incident["past"]] == [event]
    assert handler.journal()["incident"] is None


@pytest.mark.parametrize("event,notice", [("migrate", 60), ("terminate", 3600), ("preempt", 30)])
def test_task_gets_the_event_and_its_time(event: str, notice: float, vm: Vm, make_handler: MakeHandler) -> None:
    environ = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "60000000"}
    handler = make_handler(task("lb", drain=DUMP, stage=7, env={"REGION": "here"}), environ=environ).start()
    vm.announce(event)
    handler.until_state("drained")
    env = dict(line.split("=", 1) for line in (handler.folder / "env-drain").read_text().splitlines() if "=" in line)
    document = json.loads((handler.folder / "input-drain").read_text())
    incident = handler.status()["incident"]["id"]

    assert env["GCE_EVENT"] == event
    assert env["GCE_EVENT_PHASE"] == "drain"
    assert env["GCE_EVENT_TASK"] == "lb"
    assert env["GCE_EVENT_INCIDENT"] == incident
    assert env["REGION"] == "here"
    assert 0 < float(env["GCE_EVENT_DEADLINE_SECONDS"]) <= notice
    assert 0 < float(env["GCE_TASK_TIMEOUT_SECONDS"]) <= 5
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & env.keys()

    assert document["task"] == {"name": "lb", "stage": 7}
    told = document["event"]
    assert (told["name"], told["incident"], told["phase"], told["attempt"]) == (event, incident, "drain", 1)
    assert told["source"] == f"instance/{SIGNALS[event][0]}"
    assert told["notice_seconds"] == notice
    assert told["deadline_seconds"] == pytest.approx(float(env["GCE_EVENT_DEADLINE_SECONDS"]))
    assert datetime.fromisoformat(told["deadline_at"]) > datetime.now(UTC) - timedelta(seconds=1)
    assert told["rehearsal"] is False


def test_task_gets_the_fields_of_a_window(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", "window", drain=DUMP, restore=DUMP)).start()
    start, latest, end = in_seconds(3600), in_seconds(5400), in_seconds(7200)
    vm.set(
        "upcoming-maintenance",
        {
            "window_start_time": start,
            "latest_window_start_time": latest,
            "window_end_time": end,
            "can_reschedule": False,
            "type": "UNSCHEDULED",
        },
    )
    handler.until_state("drained")
    told = json.loads((handler.folder / "input-drain").read_text())["event"]
    assert (told["window_start_time"], told["latest_window_start_time"], told["window_end_time"]) == (
        start,
        latest,
        end,
    )
    assert told["can_reschedule"] is False
    assert told["type"] == "UNSCHEDULED"
    assert told["status"] == "PENDING"
    assert 3500 < told["deadline_seconds"] <= 3600
    vm.withdraw("window")
    handler.until_over()
    told = json.loads((handler.folder / "input-restore").read_text())["event"]
    assert (told["phase"], told["deadline_seconds"], told["window_start_time"]) == ("restore", None, start)
    assert "GCE_EVENT_DEADLINE_SECONDS" not in (handler.folder / "env-restore").read_text()


def test_drains_stages_in_ascending_and_restores_them_in_descending_order(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(
        task("database", stage=30), task("lb", stage=10), task("queue", stage=20), task("flag", stage=20, restore=None)
    ).start()
    vm.announce("terminate")
    handler.until_state("drained")
    vm.withdraw("terminate")
    handler.until_over()
    trace = handler.trace()
    assert trace[0] == "drain lb"
    assert set(trace[1:3]) == {"drain queue", "drain flag"}
    assert trace[3:] == ["drain database", "restore database", "restore queue", "restore lb"]


def test_handles_an_event_announced_before_its_start(vm: Vm, make_handler: MakeHandler) -> None:
    vm.announce("migrate")
    handler = make_handler(task("lb")).start()
    handler.until_state("drained")
    assert handler.trace() == ["drain lb"]


def test_restores_started_tasks_if_the_event_is_cancelled_during_the_drain(vm: Vm, make_handler: MakeHandler) -> None:
    """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
    handler = make_handler(
        task("lb", stage=10), task("queue", stage=20, drain=UNTIL_RELEASED), task("database", stage=30)
    ).start()
    vm.announce("terminate")
    handler.until_traced("drain lb", "drain queue")
    vm.withdraw("terminate")
    incident = handler.until_over()
    # A task that was not started is not restored.
    assert handler.trace() == ["drain lb", "drain queue", "restore queue", "restore lb"]
    assert ("drain", "queue", "cancelled") in steps(incident)


def test_migration_that_becomes_a_termination_is_one_incident(vm: Vm, make_handler: MakeHandler) -> None:
    """A second event crashed the handler or was lost (aws/aws-node-termination-handler#307)."""
    handler = make_handler(task("lb"), task("database", "terminate", stage=60)).start()
    vm.announce("migrate")
    handler.until_state("drained")
    vm.announce("terminate")
    handler.until_traced("drain lb", "drain database")
    handler.until_state("drained")
    vm.withdraw("terminate")
    incident = handler.until_over()
    assert handler.trace() == ["drain lb", "drain database", "restore database", "restore lb"]
    assert [past["event"] for past in incident["past"]] == ["migrate", "terminate"]
    assert len(handler.history()) == 1


def test_preemption_during_an_event_is_the_same_incident(vm: Vm, make_handler: MakeHandler) -> None:
    """A second event crashed the handler or was lost (aws/aws-node-termination-handler#307)."""
    handler = make_handler(task("lb", stage=10), task("database", "terminate", stage=20, drain="sleep 60")).start()
    vm.announce("terminate")
    handler.until_traced("drain lb", "drain database")
    vm.announce("preempt")
    handler.until(lambda: len(handler.signals()) == 2, "both events at once")
    vm.withdraw("terminate")
    # Not for a preemption: it is ended and taken back. The other is, and stays drained.
    handler.until_traced("drain lb", "drain database", "restore database")
    handler.until_state("drained")
    vm.withdraw("preempt")
    incident = handler.until_over()
    assert handler.trace() == ["drain lb", "drain database", "restore database", "restore lb"]
    assert sorted(past["event"] for past in incident["past"]) == ["preempt", "terminate"]


def test_nearer_deadline_ends_a_task_and_runs_the_next_stage(vm: Vm, make_handler: MakeHandler) -> None:
    """Others have no deadline, or one for all events."""
    # All get the same share of their time, that is 4 s, 11 s and what is left.
    handler = make_handler(
        task("slow", "terminate", stage=10, drain="sleep 60", timeout=20),
        task("flush", "terminate", stage=20, timeout=60),
        task("seconds matter", "preempt", stage=30, timeout=20),
        notice={"preempt": 20},
    ).start()
    vm.announce("terminate")
    handler.until_traced("drain slow")
    vm.announce("preempt")
    handler.until_traced("drain slow", "drain flush", "drain seconds matter")
    handler.until_state("drained")
    done = {step["task"]: step for step in handler.status()["incident"]["steps"]}
    assert done["slow"]["outcome"] == "timeout"
    assert done["flush"]["outcome"] == done["seconds matter"]["outcome"] == "ok"
    assert done["slow"]["limit"] < 20
    assert done["seconds matter"]["seconds_left"] > 0


def test_event_during_the_restore_drains_again(vm: Vm, make_handler: MakeHandler) -> None:
    """A second event crashed the handler or was lost (aws/aws-node-termination-handler#307)."""
    handler = make_handler(task("lb", stage=10), task("queue", stage=20, restore=UNTIL_RELEASED)).start()
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    handler.until_traced("drain lb", "drain queue", "restore queue")
    vm.announce("terminate")
    handler.until_traced("drain lb", "drain queue", "restore queue", "drain queue")
    handler.until_state("drained")
    handler.release()
    vm.withdraw("terminate")
    incident = handler.until_over()
    # The load balancer was drained all the time.
    assert handler.trace() == ["drain lb", "drain queue", "restore queue", "drain queue", "restore queue", "restore lb"]
    assert ("restore", "queue", "cancelled") in steps(incident)


def test_waits_for_the_lead_and_follows_a_moved_window(vm: Vm, make_handler: MakeHandler) -> None:
    """An event days away was handled at once (aws/aws-node-termination-handler#903), or never (#361)."""
    handler = make_handler(task("database", "window", lead=3600)).start()
    vm.set("upcoming-maintenance", window(2 * 86400))
    handler.until_state("announced")
    vm.set("upcoming-maintenance", window(1800))
    handler.until_state("drained")
    vm.set("upcoming-maintenance", window(3 * 86400))
    handler.until_traced("drain database", "restore database")
    handler.until_state("announced")
    assert handler.history() == []
    vm.set("upcoming-maintenance", window(1800))
    handler.until_traced("drain database", "restore database", "drain database")
    handler.until_state("drained")
    vm.withdraw("window")
    handler.until_over()
    assert handler.trace()[3:] == ["restore database"]


@pytest.mark.parametrize("days", [20, 30, 60_000])
def test_a_window_may_be_announced_however_far_ahead(days: int, vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("database", "window", lead=3600), task("lb", "migrate")).start()
    vm.set("upcoming-maintenance", window(days * 86400))
    handler.until_state("announced")
    vm.announce("migrate")
    handler.until_state("drained")
    assert handler.trace() == ["drain lb"]


def test_starts_a_task_at_its_lead_without_further_answers(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("database", "window", lead=2, timeout=1)).start()
    # Whole seconds on the wire: 2 to 3 s from now, thus up to 1 s before the lead.
    vm.set("upcoming-maintenance", window(3))
    handler.until_state("drained")
    (step,) = handler.status()["incident"]["steps"]
    assert step["seconds_left"] <= 2.0


def test_a_window_that_is_cancelled_before_its_lead_starts_nothing(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("database", "window", lead=3600)).start()
    vm.set("upcoming-maintenance", window(2 * 86400))
    handler.until_state("announced")
    vm.withdraw("window")
    incident = handler.until_over()
    assert handler.trace() == []
    assert incident["steps"] == []


def test_handles_a_started_window_at_once(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("database", "window", lead=3600)).start()
    vm.set("upcoming-maintenance", window(-600, maintenance_status="ONGOING"))
    handler.until_state("drained")
    vm.withdraw("window")
    assert steps(handler.until_over()) == [("drain", "database", "ok"), ("restore", "database", "ok")]


def test_a_window_and_the_event_in_it_are_one_incident(vm: Vm, make_handler: MakeHandler) -> None:
    """A node was drained twice (aws/aws-node-termination-handler#146)."""
    handler = make_handler(task("lb")).start()
    vm.set("upcoming-maintenance", window(1800))
    handler.until_state("drained")
    vm.set("upcoming-maintenance", window(1800, maintenance_status="ONGOING"))
    vm.announce("terminate")
    handler.until(lambda: len(handler.signals()) == 2, "both signals")
    vm.withdraw("window")
    handler.until(lambda: len(handler.signals()) == 1, "one signal")
    vm.withdraw("terminate")
    handler.until_over()
    assert handler.trace() == ["drain lb", "restore lb"]


@pytest.mark.parametrize("settings,event", [({}, "terminate"), ({"unknown_event": "migrate"}, "migrate")])
def test_unknown_value_is_handled_as_the_configured_event(
    settings: dict[str, Any], event: str, vm: Vm, make_handler: MakeHandler
) -> None:
    """Scripts compare with values that never occur, such as `TERMINATE`."""
    handler = make_handler(task("lb", event), **settings).start()
    vm.set("maintenance-event", "TELEPORT_ON_HOST_MAINTENANCE")
    handler.until_state("drained")
    (signal,) = handler.signals()
    assert (signal["event"], signal["value"]) == (event, event)
    line = f"instance/maintenance-event is 'TELEPORT_ON_HOST_MAINTENANCE', which is unknown: handled as {event}"
    handler.until_logged(line)
    assert handler.log().count(line) == 1


def test_task_runs_only_if_its_condition_is_true(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(
        task("move it", "window", when="event.can_reschedule"),
        task("fail over", "window", when="event.can_reschedule == `false`"),
        task("no such thing", "window", when="contains(event.can_reschedule, 'x')"),
    ).start()
    vm.set("upcoming-maintenance", window(1800, can_reschedule=False))
    handler.until_state("drained")
    # A condition that cannot be evaluated must not cost a drain.
    assert sorted(handler.trace()) == ["drain fail over", "drain no such thing"]
    handler.until_logged("field 'when': cannot be evaluated")
    assert [skip["task"] for skip in handler.status()["incident"]["skips"]] == ["move it"]


def test_failed_task_is_retried_and_stops_later_stages(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(
        task("flaky", stage=10, drain='[ -e "$FOLDER/once" ] || { touch "$FOLDER/once"; exit 7; }', retries=1),
        task("broken", stage=20, drain="echo no such volume; exit 3", on_failure="stop"),
        task("after it", stage=30),
    ).start()
    vm.announce("terminate")
    handler.until_state("drained")
    incident = handler.status()["incident"]
    assert steps(incident) == [
        ("drain", "flaky", "failed"),
        ("drain", "flaky", "ok"),
        ("drain", "broken", "failed"),
    ]
    # Its output is not in the status, which all users can read.
    assert incident["steps"][-1]["detail"] == "exit status 3"
    assert "no such volume" not in json.dumps(handler.status())
    assert [(skip["task"], skip["reason"]) for skip in incident["skips"]] == [("after it", "broken failed")]
    vm.withdraw("terminate")
    broken = next(step for step in handler.until_over()["steps"] if step["task"] == "broken")
    assert (broken["detail"], broken["output"]) == ("exit status 3", "no such volume")
    # A drain that failed may have done half of its work.
    assert handler.trace()[-2:] == ["restore broken", "restore flaky"]


def test_gets_the_notice_of_every_migration(vm: Vm, make_handler: MakeHandler) -> None:
    """A VM gets the 60 s notice only if it has requested the key directly since its last event."""
    handler = make_handler(task("lb")).start()
    for number in (1, 2):
        # The second migration would come without notice otherwise.
        handler.until(lambda: vm.control.instance(vm.name)["asked_directly"], "another direct question")
        handler.until(lambda: vm.hanging_gets() == len(handler.watched_keys()), "a hanging GET for each key")
        vm.control.scenario(vm.name, "live-migration", notice=0.3, migration=0.2)
        handler.until_over(incidents=number)
    phases = [[(step["phase"], step["task"]) for step in incident["steps"]] for incident in handler.history()]
    assert phases == [[("drain", "lb"), ("restore", "lb")]] * 2
    # The migration may be over before a busy machine has started the drain, which is cancelled then.
    assert judged(handler, ["migrate"] * 2) == Verdict()
    handler.until(lambda: vm.control.instance(vm.name)["asked_directly"], "another direct question")


def test_brief_announcement_is_one_event_with_an_end(vm: Vm, make_handler: MakeHandler) -> None:
    """A change between two polls was lost (GoogleCloudPlatform/python-docs-samples#270)."""
    handler = make_handler(task("lb")).start()
    for number in range(1, 4):
        handler.until(lambda: vm.hanging_gets() == len(handler.watched_keys()), "a hanging GET for each key")
        vm.announce("migrate")
        vm.withdraw("migrate")
        handler.until_over(incidents=number)
    phases = [[(step["phase"], step["task"]) for step in incident["steps"]] for incident in handler.history()]
    assert phases == [[("drain", "lb"), ("restore", "lb")]] * 3
    # A drain that is cancelled at once may have noted nothing in the trace.
    assert judged(handler, ["migrate"] * 3) == Verdict()
    asked = vm.requests("maintenance-event")
    assert "last_etag=NONE" in asked[0]["query"]
    assert all("last_etag=" in request["query"] and "NONE" not in request["query"] for request in asked[1:])
