# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a VM, from its handler's report and what the API shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeUnavailable, PermissionDenied
from ansible_collections.gce.guest.plugins.module_utils._compute.fleet_status import (
    GROUP_OF,
    LATE,
    counts,
    may_have_status,
    order,
    row_of,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.fleet_table import COLUMNS, cells, duration, table

# 2026-11-26T18:20:00Z
NOW = 1_795_717_200.0
ENABLED = {"effectiveInstanceMetadata": {"enableGuestAttributesMetadataValue": True}}


def instance(**changes: Any) -> dict[str, Any]:
    return {
        "name": "web-1",
        "zone": "https://compute/zones/us-central1-a",
        "status": "RUNNING",
        "machineType": "https://compute/machineTypes/n2-standard-4",
        "lastStartTimestamp": "2026-11-01T00:00:00.000-08:00",
        "scheduling": {"onHostMaintenance": "MIGRATE", "automaticRestart": True, "preemptible": False},
        "resourceStatus": ENABLED,
        **changes,
    }


def reported(state: str = "idle", ago: float = 60.0, **changes: Any) -> dict[str, dict[str, str]]:
    """Guest attributes with a status from so many seconds ago."""
    status = {"state": state, "at": NOW - ago, "every": 3600.0, "version": "0.1.0", **changes}
    return {"maintenance-handler": {"status": json.dumps(status)}}


def row(outcome: Any = None, host_event: Any = None, **changes: Any) -> dict[str, Any]:
    return row_of(instance(**changes), reported() if outcome is None else outcome, host_event, NOW)


def summary(found: dict[str, Any]) -> tuple[str, Any, str]:
    return found["state"], found["in_service"], found["group"]


@pytest.mark.parametrize(
    "outcome, expected",
    [
        (reported(), ("idle", True, "in service")),
        (reported("announced", events=["window"]), ("announced", True, "announced")),
        (reported("draining"), ("draining", False, "out of service")),
        (reported("drained", held=["lb"]), ("drained", False, "out of service")),
        (reported("restoring", held=["lb"]), ("restoring", False, "out of service")),
        (reported("not restored", not_restored=["lb"]), ("not restored", False, "attention")),
        (reported("stopped"), ("stopped", True, "attention")),
        (reported("stopped", held=["lb"]), ("stopped", False, "attention")),
        ({}, ("no handler", None, "no status")),
        ({"maintenance-handler": {"other": "1"}}, ("no handler", None, "no status")),
        ({"maintenance-handler": {"status": "hello"}}, ("unreadable", None, "attention")),
        (PermissionDenied("no permission", status=403), ("denied", None, "no status")),
        (ComputeUnavailable("no answer"), ("failed", None, "no status")),
    ],
)
def test_states(outcome: Any, expected: tuple[str, Any, str]) -> None:
    assert summary(row(outcome)) == expected


def test_guest_attributes_that_are_disabled_are_not_a_missing_handler() -> None:
    disabled = {"effectiveInstanceMetadata": {"enableGuestAttributesMetadataValue": False}}
    assert summary(row({}, resourceStatus=disabled)) == ("guest attributes disabled", None, "no status")
    assert not may_have_status(instance(resourceStatus=disabled))
    # The API may not show it.
    assert may_have_status(instance(resourceStatus={}))
    assert row({}, resourceStatus={})["state"] == "no handler"


@pytest.mark.parametrize("status", ["TERMINATED", "STOPPING", "SUSPENDED", "STAGING", "REPAIRING"])
def test_a_vm_that_does_not_run_is_out_of_service_whatever_its_handler_wrote(status: str) -> None:
    found = row(status=status)
    assert summary(found) == ("not running", False, "not running")
    assert (found["reason"], found["next_event"]) == (status, None)
    assert not may_have_status(instance(status=status))


class TestStale:
    def test_from_before_the_last_start(self) -> None:
        found = row(reported("drained", held=["lb"]), lastStartTimestamp="2026-11-26T10:20:00.000-08:00")
        assert summary(found) == ("stale", None, "attention")
        assert found["since"] == "2026-11-26T18:20:00Z"
        # What it was remains visible.
        assert (found["handler"]["state"], found["handler"]["held"]) == ("drained", ["lb"])

    @pytest.mark.parametrize("ago, state", [(3600 + LATE, "idle"), (3601 + LATE, "stale")])
    def test_overdue(self, ago: float, state: str) -> None:
        assert row(reported(ago=ago))["state"] == state

    def test_since_its_last_report(self) -> None:
        assert row(reported(ago=86400))["since"] == "2026-11-25T18:20:00Z"

    def test_but_not_if_it_has_stopped_or_never_repeats_it(self) -> None:
        """A handler of an earlier version only reports changes."""
        assert row(reported("stopped", ago=86400))["state"] == "stopped"
        assert row(reported(ago=86400, every=None))["state"] == "idle"

    def test_not_because_the_clock_of_the_vm_is_ahead(self) -> None:
        assert row(reported(ago=-600))["state"] == "idle"


WINDOW = {"windowStartTime": "2026-11-28T18:20:00Z", "canReschedule": True, "type": "SCHEDULED"}


class TestNextEvent:
    @pytest.mark.parametrize(
        "changes, expected",
        [
            ({}, ("migrate", True, 60)),
            ({"scheduling": {"onHostMaintenance": "TERMINATE"}}, ("terminate", None, 3600)),
            (
                {"machineType": "a3-highgpu-8g", "scheduling": {"onHostMaintenance": "TERMINATE"}},
                ("terminate", True, 3600),
            ),
            (
                {"guestAccelerators": [{"acceleratorCount": 1}], "scheduling": {"onHostMaintenance": "TERMINATE"}},
                ("terminate", True, 3600),
            ),
            ({"scheduling": {"provisioningModel": "SPOT", "onHostMaintenance": "TERMINATE"}}, ("preempt", True, 30)),
            (
                {"scheduling": {"preemptible": True, "preemptionNoticeDuration": {"seconds": "120"}}},
                ("preempt", True, 120),
            ),
            ({"scheduling": {}}, ("migrate", None, 60)),
        ],
    )
    def test_is_the_one_with_the_shortest_notice(self, changes: dict[str, Any], expected: tuple[Any, ...]) -> None:
        event = row(**changes)["next_event"]
        assert (event["event"], event["possible"], event["notice"]) == expected
        assert event["announced"] is False
        assert event["reason"]

    def test_is_an_announced_window(self) -> None:
        found = row(resourceStatus={**ENABLED, "upcomingMaintenance": WINDOW})
        event = found["next_event"]
        assert (event["event"], event["announced"], event["notice"]) == ("window", True, 172800)
        assert (found["window"]["starts_in"], found["window"]["can_reschedule"]) == (172800, True)

    def test_is_what_the_handler_was_told(self) -> None:
        drained = reported("drained", events=["terminate"], held=["lb"])
        event = row(drained, resourceStatus={**ENABLED, "upcomingMaintenance": WINDOW})["next_event"]
        assert (event["event"], event["announced"], event["notice"]) == ("terminate", True, None)

    @pytest.mark.parametrize("left, notice", [(1800, 1800), (-60, 0)])
    def test_has_the_time_that_the_handler_knows(self, left: float, notice: int) -> None:
        drained = reported("drained", events=["terminate"], held=["lb"], deadlines={"terminate": NOW + left})
        assert row(drained)["next_event"] == {
            "event": "terminate",
            "announced": True,
            "possible": True,
            "reason": "it is announced",
            "notice": notice,
        }

    @pytest.mark.parametrize("changes", [{}, {"deadlines": {"window": NOW + 7}}])
    def test_is_a_window_as_the_api_shows_it(self, changes: dict[str, Any]) -> None:
        found = row(
            reported("announced", events=["window"], **changes),
            resourceStatus={**ENABLED, "upcomingMaintenance": WINDOW},
        )
        assert (found["next_event"]["event"], found["next_event"]["notice"]) == ("window", 172800)

    def test_is_a_window_that_only_the_handler_knows(self) -> None:
        announced = reported("announced", events=["window"], deadlines={"window": NOW + 7200})
        assert row(announced)["next_event"]["notice"] == 7200
        without_start = {**ENABLED, "upcomingMaintenance": {"type": "SCHEDULED"}}
        assert row(announced, resourceStatus=without_start)["next_event"]["notice"] == 7200
        assert row(reported("announced", events=["window"]))["next_event"]["notice"] is None

    @pytest.mark.parametrize("events", [["window", "migrate"], ["migrate", "window"], ["manual", "window", "migrate"]])
    @pytest.mark.parametrize("deadlines, notice", [({"migrate": NOW + 40}, 40), ({}, None)])
    def test_is_the_nearest_of_several(self, events: list[str], deadlines: dict[str, float], notice: int) -> None:
        """A handler of an earlier version only reports their names."""
        found = row(
            reported("drained", events=events, held=["lb"], deadlines=deadlines),
            resourceStatus={**ENABLED, "upcomingMaintenance": WINDOW},
        )
        assert (found["next_event"]["event"], found["next_event"]["notice"]) == ("migrate", notice)

    @pytest.mark.parametrize("changes", [{"rehearsal": True}, {"ago": 86400.0}, {"state": "stopped"}])
    def test_is_not_a_rehearsal_or_an_old_one(self, changes: dict[str, Any]) -> None:
        assert (
            row(reported(**{"state": "drained", "events": ["terminate"], **changes}))["next_event"]["event"]
            == "migrate"
        )


def test_those_that_need_attention_come_first() -> None:
    found = [
        row(),
        row(reported("drained")),
        row({}),
        row(name="web-0"),
        row(status="TERMINATED"),
        row(reported("stopped")),
        row(reported("not restored", not_restored=["lb"])),
        row(reported("announced")),
    ]
    states = [each["state"] for each in sorted(found, key=order)]
    assert states == ["not restored", "stopped", "drained", "announced", "no handler", "idle", "idle", "not running"]
    assert next(each["name"] for each in sorted(found, key=order) if each["state"] == "idle") == "web-0"
    assert counts(found) == {
        "instances": 8,
        "in_service": 4,
        "out_of_service": 3,
        "unknown": 1,
        "windows": 0,
        "groups": {
            "attention": 2,
            "out of service": 1,
            "announced": 1,
            "no status": 1,
            "in service": 2,
            "not running": 1,
        },
        "states": {
            "not restored": 1,
            "stopped": 1,
            "drained": 1,
            "announced": 1,
            "no handler": 1,
            "idle": 2,
            "not running": 1,
        },
    }


class TestTable:
    def cell(self, found: dict[str, Any], column: str) -> str:
        return cells(found)[COLUMNS.index(column)]

    def test_has_the_rows_of_groups_that_are_not_empty(self) -> None:
        made = table(sorted([row(), row(name="web-2"), row({})], key=order))
        assert [(group["name"], len(group["rows"])) for group in made["groups"]] == [
            ("no status", 1),
            ("in service", 2),
        ]
        assert {len(line) for group in made["groups"] for line in group["rows"]} == {len(made["columns"])}
        assert table([])["groups"] == []

    def test_all_cells_are_text(self) -> None:
        for state in GROUP_OF:
            found = {**row(), "state": state}
            assert all(isinstance(cell, str) for cell in cells(found))

    def test_service_and_events(self) -> None:
        assert self.cell(row(), "SERVICE") == "in"
        assert self.cell(row({}), "SERVICE") == "unknown"
        drained = row(reported("drained", events=["terminate"], held=["lb", "db"]))
        assert (self.cell(drained, "SERVICE"), self.cell(drained, "NEXT EVENT")) == ("out", "terminate, announced")
        assert self.cell(drained, "DETAIL") == "terminate; drained: lb, db"
        rehearsed = row(reported("draining", events=["terminate"], rehearsal=True))
        assert self.cell(rehearsed, "DETAIL") == "rehearsal of terminate"
        unsure = row(scheduling={"onHostMaintenance": "TERMINATE"})
        assert (self.cell(unsure, "NEXT EVENT"), self.cell(unsure, "NOTICE")) == ("terminate?", "60 min")

    def test_cells_have_no_control_characters(self) -> None:
        assert self.cell(row(ComputeUnavailable("a\x1fb\x1e\nc")), "DETAIL") == "a b  c"

    def test_who_has_drained_it_and_why(self) -> None:
        order = {"by": "alice", "as_event": "terminate", "reason": "new kernel", "until": NOW + 3600}
        drained = row(reported("drained", events=["manual"], held=["lb"], order=order))
        assert self.cell(drained, "DETAIL") == "drained by alice: new kernel; drained: lb"
        # The platform has not announced it.
        assert self.cell(drained, "NEXT EVENT") == "migrate"
        assert drained["handler"]["order"] == {**order, "until": "2026-11-26T19:20:00Z"}
        held = row(reported("drained", held=["lb"], hold={"by": "bob", "reason": "", "at": NOW}))
        assert self.cell(held, "DETAIL") == "held by bob; drained: lb"
        odd = row(reported("drained", events=["manual"], order={"by": 7}, hold="x"))
        assert self.cell(odd, "DETAIL") == "drained by an operator"

    def test_windows(self) -> None:
        found = row(resourceStatus={**ENABLED, "upcomingMaintenance": WINDOW})
        assert (self.cell(found, "WINDOW"), self.cell(found, "NOTICE")) == ("2026-11-28 18:20", "2 d")
        ongoing = row(resourceStatus={**ENABLED, "upcomingMaintenance": {**WINDOW, "maintenanceStatus": "ONGOING"}})
        assert (self.cell(ongoing, "WINDOW"), self.cell(ongoing, "NOTICE")) == ("2026-11-28 18:20, ongoing", "0 s")
        unknown = row(resourceStatus={**ENABLED, "upcomingMaintenance": {"type": "SCHEDULED"}})
        assert (self.cell(unknown, "WINDOW"), self.cell(unknown, "NOTICE")) == ("time unknown", "")

    def test_the_last_incident_is_the_handler_s_or_a_later_one_of_the_platform_s(self) -> None:
        incident = {
            "id": "one",
            "event": "migrate",
            "rehearsal": False,
            "opened_at": "2026-11-20T03:12:00Z",
            "ended_at": "2026-11-20T03:20:00Z",
            "outcome": "drain failed",
        }
        during = {"time": "2026-11-20T03:14:00Z", "event": "migrateOnHostMaintenance", "message": None}
        after = {**during, "time": "2026-11-21T00:00:00Z", "event": "hostError"}
        known = reported(last_incident=incident)
        assert self.cell(row(known), "LAST INCIDENT") == "2026-11-20 03:12 migrate, drain failed"
        assert self.cell(row(known, during), "LAST INCIDENT") == "2026-11-20 03:12 migrate, drain failed"
        assert self.cell(row(known, after), "LAST INCIDENT") == "2026-11-21 00:00 hostError"
        assert self.cell(row({}, after), "LAST INCIDENT") == "2026-11-21 00:00 hostError"
        assert self.cell(row(), "LAST INCIDENT") == ""
        rehearsed = reported(last_incident={**incident, "rehearsal": True, "outcome": "ok"})
        assert self.cell(row(rehearsed), "LAST INCIDENT") == "2026-11-20 03:12 rehearsal of migrate, ok"
        # Of a lying guest.
        assert self.cell(row(reported(last_incident={})), "LAST INCIDENT") == ""


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0 s"), (30, "30 s"), (60, "60 s"), (120, "2 min"), (3600, "60 min"), (7200, "2 h"), (172800, "2 d")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
