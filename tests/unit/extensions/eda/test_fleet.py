# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source fleet, on a real event loop and against the emulator, and its comparison of polls."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.fleet_maintenance import Announcement
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import Window, parse_time
from ansible_collections.gce.guest.plugins.plugin_utils._event_source.fleet_changes import FleetChanges
from ansible_collections.gce.guest.plugins.plugin_utils._event_source.poll import Poll

from support.emulator import EmulatorProcess, eventually
from support.event_source import PATIENCE, refusal, source
from support.raw_server import Peer, RawServer, json_answer

FLEET: dict[str, Any] = {
    "project": "acme",
    "instances": [
        {"name": "web-1", "zone": "us-central1-a", "labels": {"env": "prod"}},
        {"name": "web-2", "zone": "europe-west1-c"},
    ],
}
NOW = 2_000_000_000.0


@pytest.fixture(scope="module")
def emulator():
    with EmulatorProcess(FLEET) as emulator:
        yield emulator


@pytest.fixture
def args(emulator):
    emulator.control.reset()
    return {"project": "acme", "access_token": "ya29.planted", "api_endpoint": emulator.compute, "interval": 1}


async def test_a_window_is_announced_and_cancelled(collections_path, emulator, args) -> None:
    emulator.control.scenario("web-1", "window-announced", starts_in=86400)
    async with source(collections_path, "fleet", args) as rulebook:
        announced = await rulebook.event()
        emulator.control.reset()
        cancelled = await rulebook.event()

    assert (announced["change"], announced["event"], announced["initial"]) == ("announced", "window", True)
    assert (announced["name"], announced["zone"], announced["can_reschedule"]) == ("web-1", "us-central1-a", True)
    assert announced["meta"] == {"hosts": ["web-1"]}
    assert (cancelled["change"], cancelled["initial"]) == ("cancelled", False)


async def test_the_preemption_of_a_spot_vm_that_is_deleted_matches_the_filter(collections_path) -> None:
    spot = {"name": "spot-1", "labels": {"pool": "spot"}}
    spot["scheduling"] = {"preemptible": True, "instance_termination_action": "DELETE"}
    with EmulatorProcess({"project": "acme", "speed": 1000, "instances": [spot, {"name": "web-1"}]}) as emulator:
        args = {"project": "acme", "access_token": "ya29.planted", "api_endpoint": emulator.compute, "interval": 1}
        async with source(collections_path, "fleet", {**args, "filter": "labels.pool = spot"}) as rulebook:
            await asyncio.to_thread(eventually, lambda: operations_were_read(emulator), what="a poll")
            emulator.control.scenario("spot-1", "preemption")
            event = await rulebook.event()

    assert (event["change"], event["event"], event["name"]) == ("operation", "preempted", "spot-1")


def operations_were_read(emulator: EmulatorProcess) -> bool:
    return any("operations" in entry["path"] and entry["status"] for entry in emulator.control.journal(face="compute"))


def test_a_poll_that_outlives_the_rulebook_ends_in_silence(collections_path) -> None:
    asked, answer = threading.Event(), threading.Event()

    def late(peer: Peer) -> None:
        while peer.read_request():
            asked.set()
            answer.wait(PATIENCE)
            peer.send(json_answer({}))

    async def run(url: str) -> None:
        async with source(collections_path, "fleet", {"project": "acme", "access_token": "ya29", "api_endpoint": url}):
            await asyncio.to_thread(asked.wait, PATIENCE)

    with RawServer(late) as api:
        asyncio.run(run(f"http://{api.host}"))
        polling = [thread for thread in threading.enumerate() if thread.name == "gce.guest fleet"]
        answer.set()
        for thread in polling:
            thread.join(PATIENCE)

    assert polling
    assert not any(thread.is_alive() for thread in polling)
    # A coroutine that was never awaited would be a warning now, which fails this test.
    gc.collect()


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"kinds": ["vm"]}, "node_group"),
        ({"interval": 0}, "interval"),
        ({"interval": "nan"}, "interval"),
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"access_token": "a b"}, "access_token"),
        ({"api_endpoint": "ftp://x"}, "api_endpoint"),
        ({"filter": "labels.env = ("}, "filter"),
        ({"windows": True}, "windows"),
        ({"project": "no such project"}, "project"),
    ],
)
async def test_a_misconfiguration_is_refused(collections_path, args, wrong, words) -> None:
    sentence = await refusal(collections_path, "fleet", {**args, **wrong})

    assert words in sentence
    assert "ya29" not in sentence


def changes(*, report_initial: bool = True) -> FleetChanges:
    return FleetChanges("acme", lambda name, _zone, _project: [name], report_initial=report_initial)


def announcement(name: str = "web-1", start: float = NOW + 3600, zone: str = "us-central1-a") -> Announcement:
    return Announcement("instance", name, zone, Window(start, start + 3600, status="PENDING"), {"id": "1"})


def poll(
    *found: Announcement, missing: dict[str, str] | None = None, partial: bool = False, done=(), instances=None
) -> Poll:
    return Poll(list(found), missing or {}, partial, list(done), instances)


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["change"], one["event"]) for one in events]


def test_a_window_begins_by_its_time_and_is_over() -> None:
    fleet = changes()
    assert told(fleet.polled(poll(announcement()), NOW)) == [("announced", "window")]
    assert fleet.polled(poll(announcement()), NOW + 1) == []
    assert told(fleet.polled(poll(announcement()), NOW + 3600)) == [("begun", "window")]
    assert told(fleet.polled(poll(), NOW + 4000)) == [("over", "window")]


def test_without_report_the_first_poll_is_known_already() -> None:
    fleet = changes(report_initial=False)
    assert fleet.polled(poll(announcement()), NOW) == []
    assert told(fleet.polled(poll(announcement(start=NOW + 7200)), NOW)) == [("moved", "window")]


def test_a_zone_that_cannot_be_reached_cancels_nothing() -> None:
    fleet = changes()
    fleet.polled(poll(announcement()), NOW)
    lost = fleet.polled(poll(missing={"zones/us-central1-a": "down"}), NOW)
    assert told(lost) == [("unreachable", "unknown")]
    assert (lost[0]["zone"], lost[0]["reason"]) == ("us-central1-a", "down")
    assert fleet.polled(poll(missing={"zones/us-central1-a": "down"}), NOW) == []
    assert told(fleet.polled(poll(announcement()), NOW)) == [("reachable", "unknown")]


def test_a_partial_list_cancels_nothing() -> None:
    fleet = changes()
    fleet.polled(poll(announcement()), NOW)
    assert told(fleet.polled(poll(missing={"list": "odd"}, partial=True), NOW)) == [("unreachable", "unknown")]
    assert told(fleet.polled(poll(), NOW)) == [("reachable", "unknown"), ("cancelled", "window")]


def test_an_outage_is_reported_once_and_cancels_nothing() -> None:
    fleet = changes()
    fleet.polled(poll(announcement()), NOW)
    assert told(fleet.failed("503", NOW)) == [("unreachable", "unknown")]
    assert fleet.failed("503", NOW) == []
    assert told(fleet.polled(poll(announcement()), NOW)) == [("reachable", "unknown")]


def row(time: str, name: str, zone: str = "z") -> dict[str, Any]:
    return {"time": f"2026-11-27T{time}:00Z", "event": "hostError", "name": name, "zone": zone, "message": None}


def at(time: str) -> float:
    return parse_time(f"2026-11-27T{time}:00Z") or 0.0


def names(events: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in events if one["change"] == "operation"]


def test_operations_are_reported_once_and_not_those_before_the_start() -> None:
    fleet = changes()
    old, new, late = row("02:00", "a"), row("02:10", "b"), row("02:05", "c")
    assert fleet.polled(poll(done=[old]), NOW) == []
    [event] = fleet.polled(poll(done=[new, old]), NOW)
    assert (event["change"], event["event"], event["name"], event["meta"]) == (
        "operation",
        "hostError",
        "b",
        {"hosts": ["b"]},
    )
    assert [one["name"] for one in fleet.polled(poll(done=[new, late, old]), NOW)] == ["c"]
    assert fleet.polled(poll(done=[new, late, old]), NOW) == []
    assert fleet.polled(poll(), NOW) == []
    assert fleet.polled(poll(done=[new, late, old]), NOW) == []


def test_operations_between_two_polls_are_reported_in_their_order_however_long_ago() -> None:
    fleet = changes()
    fleet.polled(poll(), at("02:00"))
    rows = [row("02:50", "c"), row("02:50", "b"), row("02:01", "a")]
    assert names(fleet.polled(poll(done=rows), at("03:00"))) == ["a", "b", "c"]


def test_operations_of_a_zone_that_was_away_are_reported_once() -> None:
    fleet = changes()
    fleet.polled(poll(done=[row("01:00", "a", "y")]), at("02:00"))
    others = [row("02:30", "b", "x")]
    assert names(fleet.polled(poll(done=others, missing={"zones/y": "down"}), at("02:30"))) == ["b"]
    late = [*others, row("02:10", "c", "y"), row("02:01", "d", "y"), row("01:00", "a", "y")]
    assert names(fleet.polled(poll(done=late), at("02:40"))) == ["d", "c"]
    assert names(fleet.polled(poll(done=others, missing={"zones/y": "down"}), at("02:41"))) == []
    assert names(fleet.polled(poll(done=late), at("02:42"))) == []


def test_a_zone_that_is_away_at_the_start_brings_no_operations_from_before() -> None:
    fleet = changes()
    fleet.polled(poll(missing={"zones/z": "down"}), at("02:00"))
    assert names(fleet.polled(poll(done=[row("02:20", "b"), row("01:00", "a")]), at("02:30"))) == ["b"]


def test_operations_of_a_filter_are_those_of_instances_that_a_recent_poll_had() -> None:
    fleet = changes()
    fleet.polled(poll(instances=["z/spot", "z/other"]), at("02:00"))
    # After a long interval, one is deleted, and one does not match.
    rows = [row("02:59", "spot"), row("02:58", "test")]
    assert names(fleet.polled(poll(done=rows, instances=["z/other"]), at("03:00"))) == ["spot"]
    rows.insert(0, row("03:20", "spot"))
    assert names(fleet.polled(poll(done=rows, instances=["z/other"]), at("03:20"))) == []


@pytest.mark.parametrize(
    "away", [{"missing": {"zones/z": "down"}}, {"missing": {"instance": "denied"}}, {"partial": True}]
)
def test_operations_of_a_filter_wait_until_the_instances_can_be_read(away: dict[str, Any]) -> None:
    fleet = changes()
    fleet.polled(poll(instances=["z/known"]), at("02:00"))
    fleet.polled(poll(instances=[], **away), at("02:20"))
    rows = [row("02:31", "new"), row("02:30", "known"), row("02:29", "test")]
    assert names(fleet.polled(poll(done=rows, instances=[], **away), at("02:32"))) == ["known"]
    rows.insert(0, row("03:00", "known"))
    assert names(fleet.polled(poll(done=rows, instances=[], **away), at("03:00"))) == ["known"]
    assert names(fleet.polled(poll(done=rows, instances=["z/new"]), at("03:10"))) == ["new"]
    assert names(fleet.polled(poll(done=rows, instances=["z/new", "z/test"]), at("03:11"))) == []
