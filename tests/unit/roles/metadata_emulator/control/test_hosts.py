# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steering node groups and reservations by the control face."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.emulator import ControlError, EmulatorProcess, eventually

FLEET = {
    "speed": 2,
    "instances": [{"name": "db-1"}, {"name": "gpu-1", "accelerators": [{"type": "nvidia-h100-80gb"}]}],
    "node_groups": [{"name": "licensed", "nodes": [{"instances": ["db-1"]}, {}]}],
    "reservations": [{"name": "train", "blocks": [{"sub_blocks": [{"instances": ["gpu-1"]}, {"count": 2}]}]}],
}
GROUP, TRAIN = "node-groups/licensed", "reservations/train"
WINDOW = {"window_start_time": "2099-01-01T00:00:00Z"}
PLACE = {"block": "train-block-0001", "sub_block": "train-block-0001-subblock-0002"}


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(FLEET) as running:
        yield running


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    process.control.reset()
    return process


def with_window(shown: Any) -> list[str]:
    return [host["name"] for host in shown["hosts"] if host["upcoming_maintenance"] is not None]


def test_hosts_are_shown_with_their_place_and_vms(emulator: EmulatorProcess) -> None:
    group = emulator.control.request("GET", GROUP)
    assert [(host["name"], host["instances"]) for host in group["hosts"]] == [
        ("licensed-1", ["db-1"]),
        ("licensed-2", []),
    ]
    hosts = emulator.control.request("GET", TRAIN)["hosts"]
    assert [host["sub_block"] for host in hosts] == [
        "train-block-0001-subblock-0001",
        "train-block-0001-subblock-0002",
        "train-block-0001-subblock-0002",
    ]


def test_a_window_is_set_on_the_hosts_that_are_selected(emulator: EmulatorProcess) -> None:
    control = emulator.control
    shown = control.request("PUT", f"{GROUP}/upcoming-maintenance", {"value": WINDOW, "nodes": ["licensed-1"]})
    assert with_window(shown) == ["licensed-1"]
    assert control.instance("db-1")["upcoming_maintenance"]["windowStartTime"] == "2099-01-01T00:00:00Z"
    shown = control.request("PUT", f"{TRAIN}/upcoming-maintenance", {"value": WINDOW, **PLACE})
    assert len(with_window(shown)) == 2
    assert with_window(control.request("PUT", f"{TRAIN}/upcoming-maintenance", {"value": None})) == []


def test_the_maintenance_of_a_node_is_played(emulator: EmulatorProcess) -> None:
    control = emulator.control
    control.speed(1000)
    body = {"name": "host-maintenance", "nodes": ["licensed-1"]}
    (started,) = control.request("POST", f"{GROUP}/scenarios", body)["started"]
    assert (started["host"], started["name"]) == ("licensed-1", "host-maintenance")
    eventually(lambda: not control.request("GET", f"{GROUP}/scenarios")["running"], what="the maintenance ends")
    assert control.get("db-1", "instance/virtual-clock/drift-token") != "0"


@pytest.mark.parametrize("scenario", ["window-announced", "window-moved", "window-cancelled"])
def test_an_announcement_is_withdrawn(emulator: EmulatorProcess, scenario: str) -> None:
    control = emulator.control
    control.request("POST", f"{TRAIN}/scenarios", {"name": scenario})
    assert len(with_window(control.request("GET", TRAIN))) == 3
    assert len(control.request("DELETE", f"{TRAIN}/scenarios")["cancelled"]) == 3
    assert with_window(control.request("GET", TRAIN)) == []
    assert control.instance("gpu-1")["upcoming_maintenance"] is None


@pytest.mark.parametrize(
    "method, path, body, status, problem",
    [
        ("GET", "node-groups/none", None, 404, "there is no node group none; there is licensed"),
        ("GET", "reservations/none", None, 404, "there is no reservation none; there is train"),
        ("PUT", f"{GROUP}/upcoming-maintenance", {}, 400, 'the body must be {"value": …}'),
        ("PUT", f"{GROUP}/upcoming-maintenance", {"value": 3}, 400, "the value is 3; it must be an object or null"),
        ("PUT", f"{GROUP}/upcoming-maintenance", {"value": {}}, 400, "an upcoming maintenance needs window_start_time"),
        ("PUT", f"{GROUP}/upcoming-maintenance", {"value": None, "nodes": ["x"]}, 404, "licensed has no x"),
        ("PUT", f"{GROUP}/upcoming-maintenance", {"value": None, "nodes": "x"}, 400, "nodes is 'x'"),
        ("PUT", f"{GROUP}/upcoming-maintenance", {"value": None, "block": "x"}, 400, "licensed has no block"),
        ("PUT", f"{TRAIN}/upcoming-maintenance", {"value": None, "block": "x"}, 404, "train has no x"),
        ("PUT", f"{TRAIN}/upcoming-maintenance", {"value": None, "sub_block": "x"}, 400, "sub_block needs block"),
        ("POST", f"{GROUP}/scenarios", {}, 400, "name is missing; it can be host-maintenance"),
        ("POST", f"{GROUP}/scenarios", {"name": "x"}, 400, "there is no scenario 'x' for hosts"),
        ("POST", f"{GROUP}/scenarios", {"name": "host-maintenance", "x": 1}, 400, "host-maintenance has no option 'x'"),
    ],
)
def test_wrong_requests_are_refused(
    emulator: EmulatorProcess, method: str, path: str, body: Any, status: int, problem: str
) -> None:
    with pytest.raises(ControlError) as raised:
        emulator.control.request(method, path, body)
    assert raised.value.status == status
    assert str(raised.value).startswith(problem)


def test_a_second_scenario_is_refused(emulator: EmulatorProcess) -> None:
    emulator.control.request("POST", f"{GROUP}/scenarios", {"name": "window-announced"})
    with pytest.raises(ControlError, match="licensed-1 is already in window-announced"):
        emulator.control.request("POST", f"{GROUP}/scenarios", {"name": "host-maintenance"})
