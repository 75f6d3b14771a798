# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source fleet, on a real event loop and against the emulator, and its comparison of polls."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.fleet_maintenance import Announcement
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import Window
from ansible_collections.gce.guest.plugins.plugin_utils._event_source.fleet_changes import FleetChanges, Poll

from support.emulator import EmulatorProcess
from support.event_source import refusal, source

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


def poll(*found: Announcement, missing: dict[str, str] | None = None, partial: bool = False, done=()) -> Poll:
    return Poll(list(found), missing or {}, partial, list(done))


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


def test_operations_are_reported_once_and_not_those_before_the_start() -> None:
    def row(time: str, name: str) -> dict[str, Any]:
        return {"time": time, "event": "hostError", "name": name, "zone": "z", "message": None}

    fleet = changes()
    old, new, late = (
        row("2026-11-27T02:00:00Z", "a"),
        row("2026-11-27T02:10:00Z", "b"),
        row("2026-11-27T02:05:00Z", "c"),
    )
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
