# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control face."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.emulator import ControlError, EmulatorProcess, eventually
from support.wire import Connection, ask

SCENARIOS = [
    "live-migration",
    "host-termination",
    "gpu-termination",
    "preemption",
    "spot-notice",
    "host-error",
    "stop",
    "graceful-stop",
    "graceful-delete",
    "graceful-stop-cancelled",
    "window-announced",
    "window-moved",
    "window-cancelled",
    "back-to-back",
    "missed-notice",
]


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    instances = [{"name": "web-1"}, {"name": "gpu-1", "accelerators": [{"type": "nvidia-l4"}]}]
    with EmulatorProcess({"project": "shop", "instances": instances, "speed": 2}) as process:
        yield process


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    process.control.reset()
    return process


def test_the_overview_has_the_addresses_of_the_fleet(emulator: EmulatorProcess) -> None:
    overview = emulator.control.request("GET", "/")
    assert {key: overview[key] for key in emulator.ready} == emulator.ready
    assert overview["project"] == "shop"
    assert overview["clock"]["speed"] == 2


def test_the_summary_of_an_instance(emulator: EmulatorProcess) -> None:
    summary = emulator.control.instance("web-1")
    assert (summary["status"], summary["boot_count"], summary["maintenance_event"]) == ("RUNNING", 1, "NONE")


@pytest.mark.parametrize(
    "path, value, text",
    [
        ("instance/maintenance-event", "MIGRATE_ON_HOST_MAINTENANCE", "MIGRATE_ON_HOST_MAINTENANCE"),
        ("instance/maintenance-event", "SOMETHING_NEW", "SOMETHING_NEW"),
        ("instance/preempted", True, "TRUE"),
        ("instance/attributes/foo", "bar", "bar"),
        ("instance/id", 2**63 - 1, str(2**63 - 1)),
        ("instance/tags", ["a", "b"], '["a","b"]'),
        ("instance/scheduling/provisioning-model", "SPOT", "SPOT"),
        ("project/attributes/foo", "", ""),
    ],
)
def test_any_value_can_be_set_and_removed(emulator: EmulatorProcess, path: str, value: Any, text: str) -> None:
    emulator.control.set("web-1", path, value)
    assert ask(emulator.metadata["web-1"], path).text == text
    assert emulator.control.get("web-1", path) == ("TRUE" if value is True else value)
    emulator.control.remove("web-1", path)
    assert ask(emulator.metadata["web-1"], path).status == 404
    emulator.control.reset()


def test_a_window_is_set_with_an_object_and_removed_with_null(emulator: EmulatorProcess) -> None:
    path = "instance/upcoming-maintenance"
    emulator.control.set("web-1", path, {"windowStartTime": "2026-12-01T10:00:00Z", "canReschedule": False})
    assert "window_start_time 2026-12-01T10:00:00+00:00" in ask(emulator.metadata["web-1"], path).text
    assert emulator.control.get("web-1", path)["canReschedule"] is False
    emulator.control.set("web-1", path, None)
    assert ask(emulator.metadata["web-1"], path).status == 503


@pytest.mark.parametrize(
    "method, path, body, status, problem",
    [
        ("GET", "instances/web-9", None, 404, "there is no instance web-9; there is web-1, gpu-1"),
        ("GET", "nowhere", None, 404, "GET /nowhere: Not Found"),
        ("PUT", "instances/web-1/values/instance/x", {}, 400, 'the body must be {"value": …}'),
        ("PUT", "instances/web-1/values/instance/x", {"v": 1}, 400, "the body has the unknown key v"),
        ("PUT", "instances/web-1/values/instance/x", [], 400, "the body must be a JSON object"),
        ("PUT", "instances/web-1/values/x", {"value": "y"}, 400, "x: a path starts with instance/ or project/"),
        ("PUT", "instances/web-1/values/instance/disks", {"value": "y"}, 400, "instance/disks: is a directory"),
        (
            "PUT",
            "instances/web-1/values/instance/name/x",
            {"value": "y"},
            400,
            "instance/name/x: a part of the path is a value",
        ),
        ("PUT", "instances/web-1/values/instance/x", {"value": 1.5}, 400, "instance/x: 1.5 is not a string"),
        ("PUT", "instances/web-1/values/instance/upcoming-maintenance", {"value": {}}, 400, "instance/upcoming-"),
        (
            "PUT",
            "instances/web-1/values/instance/attributes/a%20b",
            {"value": "x"},
            400,
            "instance/attributes/a b: 'a b' does not match [a-zA-Z0-9-_]{1,128}",
        ),
        (
            "PUT",
            "instances/web-1/values/project/attributes/a/b",
            {"value": "x"},
            400,
            "project/attributes/a/b: 'a/b' does not match",
        ),
        (
            "PUT",
            "instances/web-1/values/instance/attributes/big",
            {"value": "x" * 262145},
            400,
            "instance/attributes/big: the value has 262145 bytes; the limit is 262144",
        ),
        ("PUT", "instances/web-1/values/instance/attributes/n", {"value": 7}, 400, "instance/attributes/n: 7 is not a"),
        (
            "PUT",
            "instances/web-1/values/instance/guest-attributes/only",
            {"value": "x"},
            400,
            "instance/guest-attributes/only: A guest attribute",
        ),
        ("DELETE", "instances/web-1/values/instance/x", None, 404, "web-1 has no instance/x"),
        ("GET", "instances/web-1/values/instance/x", None, 404, "web-1 has no instance/x"),
        ("POST", "instances/web-1/scenarios", {}, 400, "name is missing; it can be live-migration, "),
        ("POST", "instances/web-1/scenarios", {"name": "x"}, 400, "there is no scenario 'x'; there is "),
        ("POST", "instances/web-1/scenarios", {"name": "preemption", "x": 1}, 400, "preemption has no option 'x'"),
        ("POST", "instances/web-1/scenarios", {"name": "gpu-termination"}, 409, "web-1 has no accelerators"),
        ("DELETE", "instances/web-1/scenarios/77", None, 404, "web-1 plays no scenario 77"),
        ("POST", "instances/web-1/start", None, 409, "web-1 is RUNNING already"),
        ("PUT", "clock", {"speed": 0}, 400, "speed is 0; it must be a number, 0.001 to 1e9"),
        ("PUT", "clock", {"speed": True}, 400, "speed is True"),
        ("POST", "faults", {"kind": "flood"}, 400, "kind is 'flood'; on this face it can be 503, "),
        ("POST", "faults", {"kind": "503", "face": "x"}, 400, "face is 'x'; it can be metadata, compute"),
        ("POST", "faults", {"kind": "503", "instance": "x"}, 404, "there is no instance x"),
        ("POST", "faults", {"kind": "503", "count": 0}, 400, "count is 0; it must be a whole number, 1 or more"),
        ("POST", "faults", {"kind": "503", "seconds": "x"}, 400, "seconds is 'x'; it must be a number of seconds"),
        ("POST", "faults", {"kind": "503", "path": 5}, 400, "path is 5; it must be a string"),
        ("POST", "faults", {"kind": ["503"]}, 400, "kind is ['503']; it must be a string"),
        ("POST", "faults", {"kind": "503", "instance": {}}, 400, "instance is {}; it must be a string"),
        ("DELETE", "faults/99", None, 404, "there is no fault 99"),
        ("GET", "journal?since=yesterday", None, 400, "since is 'yesterday'; it must be a number"),
        ("GET", "journal?after=1.5", None, 400, "after is '1.5'; it must be a number"),
        ("GET", "journal?wait=601", None, 400, "wait is '601'; it must be a number, 0 to 600"),
        ("GET", "journal?status=ok", None, 400, "status is 'ok'; it must be a number"),
    ],
)
def test_wrong_requests_are_refused(
    emulator: EmulatorProcess, method: str, path: str, body: Any, status: int, problem: str
) -> None:
    with pytest.raises(ControlError) as raised:
        emulator.control.request(method, path, body)
    assert raised.value.status == status
    assert str(raised.value).startswith(problem)


def test_every_named_scenario_is_there(emulator: EmulatorProcess) -> None:
    shown = emulator.control.request("GET", "instances/web-1/scenarios")
    assert list(shown["available"]) == SCENARIOS
    assert shown["running"] == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_plays_to_its_end_over_the_wire(emulator: EmulatorProcess, scenario: str) -> None:
    emulator.control.speed(1e7)
    started = emulator.control.scenario("gpu-1", scenario)
    assert started["name"] == scenario
    if scenario == "graceful-delete":
        eventually(lambda: "gpu-1" not in emulator.control.request("GET", "/")["metadata"], what="the VM is deleted")
        return
    eventually(lambda: not emulator.control.instance("gpu-1")["scenarios"], what=f"{scenario} ends")
    summary = emulator.control.instance("gpu-1")
    assert (summary["maintenance_event"], summary["preempted"], summary["upcoming_maintenance"]) == (
        "NONE",
        False,
        None,
    )


def test_a_guest_shuts_down(emulator: EmulatorProcess) -> None:
    emulator.control.scenario("web-1", "graceful-stop")
    assert emulator.control.request("POST", "instances/web-1/guest-shutdown")["status"] == "TERMINATED"
    with pytest.raises(ControlError, match="web-1 is TERMINATED already"):
        emulator.control.request("POST", "instances/web-1/guest-shutdown")
    emulator.control.request("POST", "instances/web-1/start")
    emulator.control.scenario("web-1", "graceful-delete")
    assert emulator.control.request("POST", "instances/web-1/guest-shutdown")["status"] == "DELETED"


def test_a_running_scenario_is_listed_and_cancelled(emulator: EmulatorProcess) -> None:
    ask(emulator.metadata["web-1"], "instance/maintenance-event")
    started = emulator.control.scenario("web-1", "live-migration", notice=1000)
    (running,) = emulator.control.request("GET", "instances/web-1/scenarios")["running"]
    assert (running["id"], running["options"]["notice"]) == (started["id"], 1000)
    assert emulator.control.request("DELETE", "instances/web-1/scenarios") == {"cancelled": [started["id"]]}
    assert ask(emulator.metadata["web-1"], "instance/maintenance-event").text == "NONE"


def test_the_clock_is_set_at_run_time(emulator: EmulatorProcess) -> None:
    emulator.control.speed(50)
    assert emulator.control.request("GET", "clock")["speed"] == 50
    emulator.control.reset()
    assert emulator.control.request("GET", "clock")["speed"] == 2


def test_the_journal_has_all_requests(emulator: EmulatorProcess) -> None:
    ask(emulator.metadata["web-1"], "instance/name?alt=json")
    ask(emulator.metadata["gpu-1"], "instance/zone", headers={})
    ask(emulator.metadata["gpu-1"], "instance/attributes/x")
    assert [(entry["instance"], entry["path"], entry["status"]) for entry in emulator.control.journal()] == [
        ("web-1", "/computeMetadata/v1/instance/name", 200),
        ("gpu-1", "/computeMetadata/v1/instance/zone", 403),
        ("gpu-1", "/computeMetadata/v1/instance/attributes/x", 404),
    ]
    first, second, _unused = emulator.control.journal()
    assert first["query"] == "alt=json"
    assert len(emulator.control.journal(instance="gpu-1")) == 2
    assert len(emulator.control.journal(path="instance/name")) == 1
    assert len(emulator.control.journal(path="/computeMetadata/v1/instance/zone")) == 1
    assert len(emulator.control.journal(after=second["number"])) == 1
    assert len(emulator.control.journal(since=second["at"])) == 2
    emulator.control.clear_journal()
    assert emulator.control.journal() == []


def test_reset_restores_the_fleet_file(emulator: EmulatorProcess) -> None:
    emulator.control.set("web-1", "instance/attributes/foo", "bar")
    emulator.control.set("web-1", "project/attributes/foo", "bar")
    emulator.control.fault("503", instance="gpu-1")
    emulator.control.scenario("web-1", "window-announced")
    emulator.control.request("POST", "instances/web-1/stop")
    emulator.control.reset()
    assert ask(emulator.metadata["web-1"], "instance/attributes/foo").status == 404
    assert ask(emulator.metadata["gpu-1"], "project/attributes/foo").status == 404
    assert ask(emulator.metadata["web-1"], "instance/upcoming-maintenance").status == 503
    assert emulator.control.instance("web-1")["boot_count"] == 1


def test_a_request_can_wait_for_the_journal(emulator: EmulatorProcess) -> None:
    emulator.control.fault("503", instance="web-1", path="instance/maintenance-event", count=1)
    ask(emulator.metadata["web-1"], "instance/name")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(emulator.control.journal, instance="web-1", status=503, wait=20)
        # An answer with another status does not end the wait.
        ask(emulator.metadata["web-1"], "instance/name")
        ask(emulator.metadata["web-1"], "instance/maintenance-event")
        (entry,) = waiting.result()
    assert (entry["path"], entry["status"]) == ("/computeMetadata/v1/instance/maintenance-event", 503)


def test_the_wait_for_the_journal_is_bounded(emulator: EmulatorProcess) -> None:
    assert emulator.control.journal(status=503, wait=0.05) == []


def test_a_request_that_hangs_is_in_the_journal_without_a_status(emulator: EmulatorProcess) -> None:
    with Connection(emulator.metadata["web-1"]) as connection:
        connection.send("instance/name?wait_for_change=true")
        (entry,) = emulator.control.journal(path="instance/name", wait=20)
        assert (entry["status"], entry["answered_at"]) == (None, None)
