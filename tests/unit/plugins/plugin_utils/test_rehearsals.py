# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdicts on rehearsals, and their table."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.plugin_utils._rehearsals import fleet_rehearsal, rehearsal


def step(task: str, phase: str = "drain", outcome: str = "ok", seconds: float | None = 1.25, detail: str = "") -> Any:
    return {"task": task, "phase": phase, "outcome": outcome, "seconds": seconds, "detail": detail, "output": ""}


def result(*steps: Any, rc: int = 0, **further: Any) -> dict[str, Any]:
    document = {"event": "migrate", "executed": True, "steps": steps, "skipped": [], "not_restored": [], **further}
    return {"rc": rc, "stdout": json.dumps(document), "stderr": ""}


class TestVerdict:
    def test_well(self) -> None:
        found = rehearsal(result(step("lb"), step("lb", "restore")), "migrate")
        assert (found["event"], found["verdict"], found["why"], found["seconds"]) == ("migrate", "well", "", 2.5)
        assert [(each["phase"], each["task"]) for each in found["steps"]] == [("drain", "lb"), ("restore", "lb")]

    def test_failed_steps_and_what_is_not_restored_are_named(self) -> None:
        failed = step("lb", "restore", "failed", detail="exit status 6")
        found = rehearsal(result(step("lb"), failed, rc=1, not_restored=["lb"]), "migrate")
        assert found["verdict"] == "NOT WELL"
        assert found["why"] == "restore lb: failed, exit status 6; not restored: lb"

    def test_a_retry_that_succeeds_is_not_hidden(self) -> None:
        found = rehearsal(result(step("lb", outcome="timeout"), step("lb"), rc=1), "migrate")
        assert found["verdict"] == "NOT WELL"

    def test_a_dry_rehearsal(self) -> None:
        document = {"event": "stop", "executed": False, "steps": [{"task": "lb", "phase": "drain"}], "skipped": []}
        found = rehearsal({"rc": 0, "stdout": json.dumps(document)}, "stop")
        assert (found["verdict"], found["seconds"]) == ("not executed", None)
        document = {**document, "steps": [], "skipped": [{"task": "lb", "reason": "when"}]}
        found = rehearsal({"rc": 0, "stdout": json.dumps(document)}, "stop")
        assert (found["verdict"], found["skipped"]) == ("no task", ["lb"])

    @pytest.mark.parametrize(
        "given, words",
        [
            ({"unreachable": True, "msg": "timed out"}, "The VM does not answer: timed out"),
            ({"rc": 2, "stderr": "usage: x\nx: error: unrecognized arguments: --json"}, "unrecognized arguments"),
            ({"msg": "No such file or directory"}, "It was not rehearsed: No such file or directory"),
            ({"rc": 1, "stdout": "", "stderr": "gce-maintenance-handler: the handler is drained"}, "is drained"),
            ({"rc": 0, "stdout": "[]"}, "It was not rehearsed"),
            ({"rc": 0, "stdout": '{"steps": [{}], "executed": true, "skipped": []}'}, "It was not rehearsed"),
            ({}, "no output"),
            ({**result(), "rc": 1}, "exit status 1"),
        ],
    )
    def test_everything_else_is_not_well(self, given: dict[str, Any], words: str) -> None:
        found = rehearsal(given, "migrate")
        assert found["verdict"] == "NOT WELL"
        assert words in found["why"]


class TestFleet:
    def test_table(self) -> None:
        well = rehearsal(result(step("Leave the pool"), step("Leave the pool", "restore", seconds=0.5)), "terminate")
        nothing = rehearsal(result(), "stop")
        failed = rehearsal(result(step("lb", outcome="failed", detail="exit status 6"), rc=1), "terminate")
        records: dict[str, Any] = {
            "web-1": {"rehearsals": [well, nothing]},
            "web-2": {"rehearsals": [failed], "problem": ""},
        }
        found = fleet_rehearsal(["web-1", "web-2", "web-3"], records)
        assert (found["well"], found["not_well"], found["not_reached"]) == (False, ["web-2"], ["web-3"])
        assert [row["verdict"] for row in found["hosts"]] == ["well", "NOT WELL", "not reached"]
        assert found["lines"] == [
            "HOST   EVENT      STEP                    SECONDS  VERDICT",
            "web-1  terminate  drain Leave the pool    1.2      well",
            "                  restore Leave the pool  0.5",
            "web-1  stop                                        no task",
            "web-2  terminate  drain lb                1.2      NOT WELL",
            "Hosts: 2 of 3 rehearsed, 1 not well.",
            "Not well: 1: web-2.",
            "  web-2: terminate: drain lb: failed, exit status 6",
            "Not reached: 1: web-3.",
        ]

    def test_a_health_check_that_fails_counts(self) -> None:
        well = rehearsal(result(step("lb")), "migrate")
        found = fleet_rehearsal(["web-1"], {"web-1": {"rehearsals": [well], "problem": "Health check: HTTP 503"}})
        assert (found["hosts"][0]["verdict"], found["hosts"][0]["why"]) == ("NOT WELL", "Health check: HTTP 503")

    def test_hosts_without_a_task_are_named(self) -> None:
        found = fleet_rehearsal(["web-1"], {"web-1": {"rehearsals": [rehearsal(result(), "stop")]}})
        assert found["well"]
        assert "Without a task for these events: 1: web-1." in found["lines"]
