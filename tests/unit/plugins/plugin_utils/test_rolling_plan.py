# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a rolling maintenance: which hosts, what is done on them, in which order."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.plugin_utils._handler_verdict import Verdict, reason_of, verdict_of
from ansible_collections.gce.guest.plugins.plugin_utils._rolling_hosts import (
    BadPlan,
    Place,
    hosts_of,
    order_of,
    place_of,
)
from ansible_collections.gce.guest.plugins.plugin_utils._rolling_plan import Plan, Turn, Wish, ordered, turns_of

NOW = 1_795_000_000.0
WELL = Verdict(running=True, healthy=True, state="idle")
MAINTENANCE = reason_of("maintenance", "")
REBOOT = reason_of("reboot", "6.1.119")


def window(name: str, zone: str = "us-central1-a", **more: Any) -> dict[str, Any]:
    known = {
        "name": name,
        "zone": zone,
        "id": "",
        "status": "PENDING",
        "can_reschedule": True,
        "instance_status": "RUNNING",
        "on_host_maintenance": "MIGRATE",
        "window_start_time": "2026-12-01T02:00:00Z",
    }
    return {**known, **more}


def last(reason: str, *, ended_at: float = NOW, outcome: str = "ok", ended_by: str = "root") -> dict[str, Any]:
    """The last incident of a handler: a drain by hand."""
    order = {"by": "root", "as_event": "migrate", "reason": reason, "until": None}
    return {
        "opened_at": ended_at - 240,
        "past": [
            {
                "event": "manual",
                "order": order,
                "noticed_at": ended_at - 240,
                "ended_at": ended_at - 20,
                "ended_by": ended_by,
            }
        ],
        "steps": [
            {"task": "lb", "phase": "drain", "outcome": outcome, "started_at": ended_at - 240, "seconds": 1.0},
            {"task": "lb", "phase": "restore", "outcome": "ok", "started_at": ended_at - 10, "seconds": 10.0},
        ],
    }


class TestHosts:
    @pytest.mark.parametrize(
        "host, variables, host_by",
        [
            ("web-1", {}, None),
            ("web-1.c.acme.internal", {}, None),
            ("10.0.0.1", {"name": "web-1"}, None),
            ("10.0.0.1", {"name": "web-1", "zone": "https://www.googleapis.com/x/zones/us-central1-a"}, None),
            ("10.0.0.1", {"id": 5946112923145563472}, None),
            ("blue", {"own": "web-1"}, "own"),
            ("blue", {"own": "us-central1-a/web-1"}, "own"),
            ("blue", {"own": "5946112923145563472"}, "own"),
            ("blue", {"own": "https://x/compute/v1/projects/acme/zones/us-central1-a/instances/web-1"}, "own"),
        ],
    )
    def test_are_found(self, host: str, variables: dict[str, Any], host_by: str | None) -> None:
        wanted = window("web-1", id="5946112923145563472")
        assert hosts_of([place_of(host, variables, host_by)], [wanted]) == ({host: wanted}, [])

    @pytest.mark.parametrize(
        "host, variables, host_by",
        [
            ("web-10", {}, None),
            ("web-1", {"zone": "europe-west1-b"}, None),
            ("web-1", {"id": "42"}, None),
            ("web-1", {"own": "europe-west1-b/web-1"}, "own"),
            ("web-1", {"own": "https://x/zones/europe-west1-b/instances/web-1"}, "own"),
            ("blue", {}, "own"),
        ],
    )
    def test_of_other_instances_are_not(self, host: str, variables: dict[str, Any], host_by: str | None) -> None:
        place = place_of(host, variables, host_by)
        assert hosts_of([place], [window("web-1", id="5946112923145563472")]) == ({}, ["us-central1-a/web-1"])

    def test_that_cannot_be_told_apart_are_refused(self) -> None:
        with pytest.raises(BadPlan, match="gce_host_by"):
            hosts_of([Place("web-1")], [window("web-1"), window("web-1", "europe-west1-b")])
        with pytest.raises(BadPlan, match=r"web-1, web-1\.internal"):
            hosts_of([Place("web-1"), Place("web-1.internal")], [window("web-1")])


def todo(verdict: Verdict, *, action: str = "maintenance", note: str = "", is_named: bool = False, **more: Any) -> Any:
    """What is done on a host, and the problem; or why it is left alone."""
    windows = more.pop("windows", {"web-1": window("web-1")} if action == "maintenance" else {})
    wish = Wish(action, reason_of(action, note), ["web-1"], is_named, NOW - 3600, **more)
    plan = turns_of(wish, windows, {"web-1": verdict}, {})
    if not plan.turns:
        return plan.left_alone.get("web-1")
    return plan.turns[0].todo, plan.turns[0].problem


def drained(reason: str, by: str = "root") -> Verdict:
    return Verdict(running=True, healthy=True, state="drained", drained_by=by, drained_for=reason)


def verdict_by(incident: dict[str, Any] | None, **more: Any) -> Verdict:
    """The verdict of a handler that shows this incident."""
    status = {"running": True, "healthy": True, "state": "announced", "problems": [], "incident": incident, **more}
    return verdict_of({"stdout": json.dumps(status)})


class TestTurns:
    def test_of_what_is_announced(self) -> None:
        assert todo(WELL) == ("whole", "")
        assert todo(WELL, windows={}) is None
        assert todo(WELL, windows={}, is_named=True) == "no maintenance is announced for it"

    @pytest.mark.parametrize(
        "changes, word",
        [
            ({"can_reschedule": False}, "rescheduled"),
            ({"can_reschedule": None}, "rescheduled"),
            ({"status": "ONGOING"}, "under way"),
            ({"instance_status": "TERMINATED"}, "TERMINATED"),
        ],
    )
    def test_leave_alone_what_cannot_be_performed(self, changes: dict[str, Any], word: str) -> None:
        assert word in todo(WELL, windows={"web-1": window("web-1", **changes)})

    def test_check_the_verdict_and_not_only_the_state(self) -> None:
        kind, problem = todo(Verdict(running=True, healthy=False, state="idle", problems=("a restore failed",)))
        assert (kind, "a restore failed" in problem) == ("whole", True)

    def test_continue_what_was_begun(self) -> None:
        assert todo(drained(MAINTENANCE)) == ("continue", "")
        # Performed, so that it is not announced any more.
        assert todo(drained(MAINTENANCE), windows={}) == ("continue", "")
        # With another note.
        assert todo(drained(reason_of("reboot", "old")), action="reboot", note="new") == ("continue", "")

    def test_leave_drains_of_others_alone(self) -> None:
        assert todo(drained("mine", "alice")) == ("whole", "drained by alice: mine")
        assert todo(drained("mine", "alice"), windows={}) is None
        assert "gce_action" in todo(drained(REBOOT))[1]

    def test_restore_what_an_earlier_run_could_not(self) -> None:
        failed = Verdict(
            running=True, state="not restored", reasons=(MAINTENANCE,), not_restored=("lb (exit status 1)",)
        )
        assert todo(failed, windows={}) == ("restore", "not restored: lb (exit status 1)")
        # It is not of this playbook, but not well either.
        other = Verdict(running=True, state="not restored", not_restored=("lb",))
        assert todo(other, windows={}) is None
        assert todo(other) == ("whole", "not restored: lb")

    def test_check_what_an_earlier_run_has_done(self) -> None:
        done = Verdict(running=True, healthy=True, state="idle", incidents=[last(MAINTENANCE)])
        assert todo(done, windows={}) == ("check", "")
        # Announced again.
        assert todo(done) == ("whole", "")
        done = Verdict(running=True, healthy=True, state="idle", incidents=[last(REBOOT)])
        assert todo(done, action="reboot", note="6.1.119") == ("check", "")
        assert todo(done, action="reboot", note="6.1.120") == ("whole", "")

    @pytest.mark.parametrize("changes", [{"ended_at": NOW - 7200}, {"outcome": "failed"}, {"ended_by": ""}])
    def test_repeat_what_was_long_ago_or_not_done(self, changes: dict[str, Any]) -> None:
        verdict = Verdict(running=True, healthy=True, state="idle", incidents=[last(REBOOT, **changes)])
        assert todo(verdict, action="reboot", note="6.1.119") == ("whole", "")

    def test_know_each_drain_of_an_incident_that_a_window_keeps_open(self) -> None:
        """Days ago, another drain failed."""
        failed = last("mine", ended_at=NOW - 200_000, outcome="failed")
        done = last(REBOOT)
        incident = {
            "opened_at": NOW - 300_000,
            "signals": [{"event": "window", "order": None}],
            "past": failed["past"] + done["past"],
            "steps": failed["steps"] + done["steps"],
        }
        verdict = verdict_by(incident)
        assert not verdict.drain_failed
        assert todo(verdict, action="reboot", note="6.1.119") == ("check", "")
        assert verdict.seconds() == 240
        once_more = {**incident, "steps": [*failed["steps"], *last(REBOOT, outcome="failed")["steps"]]}
        assert todo(verdict_by(once_more), action="reboot", note="6.1.119") == ("whole", "")
        assert todo(verdict_by(None, last_incident=incident), action="reboot", note="6.1.119") == ("check", "")

    @pytest.mark.parametrize("is_restored", [False, True])
    def test_begin_anew_what_has_failed_in_this_drain(self, is_restored: bool) -> None:
        steps = last(REBOOT, outcome="failed")["steps"]
        order = {"event": "manual", "order": {"by": "root", "reason": REBOOT}}
        incident = {"opened_at": NOW, "signals": [order], "steps": steps if is_restored else steps[:1]}
        wish = Wish("reboot", REBOOT, ["web-1"], False, NOW)
        [turn] = turns_of(wish, {}, {"web-1": verdict_by(incident, state="drained")}, {}).turns
        assert (turn.todo, turn.is_anew) == ("continue", not is_restored)

    def test_count_vms_that_do_not_answer(self) -> None:
        silent = Verdict("the VM does not answer: timed out")
        assert todo(silent) == ("whole", silent.problem)
        # It may be the one that did not come back.
        assert todo(silent, windows={}, maintained=frozenset(["web-1"])) == ("restore", silent.problem)
        assert todo(silent, windows={}, is_named=True) == ("restore", silent.problem)
        # One of a whole inventory, about which nothing is known.
        assert "timed out" in todo(silent, windows={})

    def test_have_an_event_and_a_time(self) -> None:
        stops = window("web-1", on_host_maintenance="TERMINATE")
        wish = Wish("maintenance", MAINTENANCE, ["web-1"], False, NOW)
        [turn] = turns_of(wish, {"web-1": stops}, {"web-1": WELL}, {}).turns
        assert (turn.as_event, turn.minutes, turn.is_measured) == ("terminate", 75.0, False)
        measured = Verdict(running=True, healthy=True, state="idle", incidents=[last(REBOOT)])
        [turn] = turns_of(wish, {"web-1": window("web-1")}, {"web-1": measured}, {}).turns
        assert (turn.as_event, turn.minutes, turn.is_measured) == ("migrate", 4.0, True)


def plan(*turns: Turn, order: list[str] | None = None, canaries: tuple[str, ...] = (), serial: Any = (1,)) -> list[str]:
    """The batches, as text."""
    hosts = ["a", "b", "c", "d", "e", "f"]
    groups = {"all": hosts, "ungrouped": [], "db": ["e", "c"]}
    made = ordered(Plan(list(turns)), order_of(order or [], hosts, groups), canaries, serial, NOW)
    assert sum(made.batches) == len(made.turns)
    names = [turn.host for turn in made.turns]
    cuts = [sum(made.batches[:number]) for number in range(len(made.batches) + 1)]
    return ["".join(names[start:end]) for start, end in pairwise(cuts)]


def turns(hosts: str, **more: Any) -> list[Turn]:
    """Turns in two zones: a, c and e in y, the others in x. The windows come in the opposite order of names."""
    return [
        Turn(host, "whole", zone="y" if host in "ace" else "x", window_start=str(300 - ord(host)), minutes=10.0, **more)
        for host in hosts
    ]


class TestOrder:
    def test_is_that_of_the_windows(self) -> None:
        assert plan(*turns("abcdef"), serial=[2]) == ["fe", "dc", "ba"]

    @pytest.mark.parametrize(
        "order, batches",
        [
            (["inventory"], ["ab", "cd", "ef"]),
            (["b", "db", "name"], ["bc", "ea", "df"]),
            (["zone", "name"], ["bd", "f", "ac", "e"]),
            (["f", "zone", "name"], ["fb", "d", "ac", "e"]),
        ],
    )
    def test_can_be_given(self, order: list[str], batches: list[str]) -> None:
        assert plan(*turns("abcdef"), order=order, serial=[2]) == batches

    def test_of_named_zones(self) -> None:
        in_zones = [Turn(host, "whole", zone=f"europe-west1-{host}") for host in "abc"]
        assert plan(*in_zones, order=["europe-west1-c", "europe-west1-a"], serial=[3]) == ["c", "a", "b"]

    def test_has_canaries_one_by_one(self) -> None:
        assert plan(*turns("abcdef"), canaries=("c", "a"), order=["name"], serial=[4]) == ["a", "c", "bdef"]

    def test_begins_with_what_is_out_of_service(self) -> None:
        begun, unwell = Turn("f", "continue"), Turn("e", "whole", problem="blind")
        assert plan(*turns("ab"), begun, unwell, canaries=("b",), order=["name"]) == ["f", "e", "b", "a"]

    @pytest.mark.parametrize(
        "serial, sizes",
        [([1], [1] * 6), (["50%"], [3, 3]), (["1", "2"], [1, 2, 2, 1]), ([1, "100%"], [1, 5]), (["1%"], [1] * 6)],
    )
    def test_has_batches(self, serial: list[Any], sizes: list[int]) -> None:
        assert [len(batch) for batch in plan(*turns("abcdef"), serial=serial)] == sizes

    @pytest.mark.parametrize("serial", [[0], ["0%"], ["x"], [-1], [1.5], [], [None]])
    def test_refuses_other_batches(self, serial: list[Any]) -> None:
        with pytest.raises(BadPlan, match="gce_serial"):
            plan(*turns("ab"), serial=serial)

    def test_refuses_unknown_names(self) -> None:
        with pytest.raises(BadPlan, match="'wbe'"):
            plan(*turns("ab"), order=["wbe"])

    def test_has_the_times_of_batches(self) -> None:
        made = ordered(Plan(turns("abc")), order_of(["name"], ["a", "b", "c"], {}), (), [2], NOW)
        assert [turn.starts_at - NOW for turn in made.turns] == [0, 0, 600]
        assert made.minutes == 20


class TestVerdicts:
    @pytest.mark.parametrize(
        "result, word",
        [
            ({"unreachable": True, "msg": "Failed to connect\nvia ssh"}, "does not answer: Failed to connect via ssh"),
            ({"rc": 2, "msg": "[Errno 2] No such file"}, "No such file"),
            ({"stdout": "[]"}, "does not show its status"),
            ({"stdout": '{"incident": 1}'}, "does not show its status"),
            ({"stdout": "", "stderr": "", "msg": ""}, "printed nothing"),
        ],
    )
    def test_of_what_is_no_status(self, result: dict[str, Any], word: str) -> None:
        verdict = verdict_of(result)
        assert word in verdict.problem
        assert verdict.unrest() == verdict.problem
        assert not verdict.is_over()

    def test_over_is_not_while_another_event_is_announced(self) -> None:
        assert Verdict(running=True).is_over()
        assert Verdict(running=True, events=("window",)).is_over()
        assert not Verdict(running=True, events=("migrate",)).is_over()
        assert not Verdict(running=False).is_over()
