# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the metadata server, and VMs that are off."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gce_emulator.state.faults import Fault
from gce_emulator.state.project import Project
from support.emulator import EmulatorProcess, eventually
from support.manual_time import ManualTime
from support.wire import Connection, Reply, ask

EVENT = "instance/maintenance-event"


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    instances = [{"name": "web-1"}, {"name": "web-2", "while_down": "refuse"}]
    with EmulatorProcess({"instances": instances, "speed": 1000}) as process:
        yield process


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    process.control.reset()
    return process


def name_of(emulator: EmulatorProcess, instance: str = "web-1") -> Reply:
    return ask(emulator.metadata[instance], "instance/name")


@pytest.mark.parametrize("kind, status", [("503", 503), ("429", 429)])
def test_a_burst_ends_after_its_count(emulator: EmulatorProcess, kind: str, status: int) -> None:
    emulator.control.fault(kind, count=2)
    assert [name_of(emulator).status for _unused in range(3)] == [status, status, 200]
    assert emulator.control.request("GET", "faults")["faults"] == []


def test_a_fault_is_for_one_instance_and_one_path(emulator: EmulatorProcess) -> None:
    emulator.control.fault("503", instance="web-1", path="instance/maintenance")
    assert ask(emulator.metadata["web-1"], EVENT).status == 503
    assert name_of(emulator).status == 200
    assert ask(emulator.metadata["web-2"], EVENT).status == 200
    emulator.control.clear_faults()
    assert ask(emulator.metadata["web-1"], EVENT).status == 200


def test_a_single_fault_is_removed_by_its_id(emulator: EmulatorProcess) -> None:
    fault = emulator.control.fault("503")
    emulator.control.request("DELETE", f"faults/{fault}")
    assert name_of(emulator).status == 200


def test_seconds_are_real_seconds(make_project: Callable[..., Project], manual_time: ManualTime) -> None:
    project = make_project({"name": "web-1"}, speed=100)
    project.faults.inject(Fault("503", seconds=5))
    manual_time.advance(4.9)
    assert project.faults.take("metadata", "web-1", EVENT) is not None
    manual_time.advance(0.2)
    assert project.faults.take("metadata", "web-1", EVENT) is None


def test_reset_ends_the_connection_without_an_answer(emulator: EmulatorProcess) -> None:
    emulator.control.fault("reset", count=1)
    with pytest.raises(ConnectionError):
        name_of(emulator)
    assert name_of(emulator).status == 200


def test_refuse_lasts_until_it_is_removed(emulator: EmulatorProcess) -> None:
    address = emulator.metadata["web-1"]
    with Connection(address) as held:
        held.send(f"{EVENT}?wait_for_change=true")
        eventually(lambda: emulator.control.instance("web-1")["hanging_gets"] == 1)
        emulator.control.fault("refuse", instance="web-1")
        assert held.is_closed_by_peer()
    with pytest.raises(ConnectionRefusedError):
        name_of(emulator)
    assert name_of(emulator, "web-2").status == 200
    emulator.control.clear_faults()
    assert eventually(lambda: _is_reachable(address))
    assert name_of(emulator).text == "web-1"


def test_hang_never_answers(emulator: EmulatorProcess) -> None:
    """As over a half-open connection (GoogleCloudPlatform/compute-image-packages#94)."""
    emulator.control.fault("hang", count=1)
    with Connection(emulator.metadata["web-1"], timeout=0.3) as connection:
        connection.send("instance/name")
        with pytest.raises(socket.timeout):
            connection.receive()
    (entry,) = emulator.control.journal()
    assert entry["status"] == 0


def test_html_with_status_200(emulator: EmulatorProcess) -> None:
    """GoogleCloudPlatform/guest-agent#320, #364"""
    emulator.control.fault("html", count=1)
    reply = name_of(emulator)
    assert (reply.status, reply.header("Metadata-Flavor")) == (200, None)
    assert reply.text.startswith("<html>")


def test_truncated_json(emulator: EmulatorProcess) -> None:
    """GoogleCloudPlatform/guest-agent#320, #364"""
    emulator.control.fault("truncate", count=1)
    with pytest.raises(ConnectionError, match=r"^\d+ of \d+ bytes came$"):
        ask(emulator.metadata["web-1"], "instance/?recursive=true")


def test_garbage_is_not_http(emulator: EmulatorProcess) -> None:
    emulator.control.fault("garbage", count=1)
    with pytest.raises(ConnectionError, match="SSH"):
        name_of(emulator)


def test_dribble_and_delay_bring_the_whole_answer_late(emulator: EmulatorProcess) -> None:
    emulator.control.fault("dribble", count=1, delay=0.0)
    assert name_of(emulator).text == "web-1"
    emulator.control.fault("delay", count=1, delay=0.01)
    assert name_of(emulator).text == "web-1"


def test_a_flapping_etag_answers_waits_without_a_change(emulator: EmulatorProcess) -> None:
    address = emulator.metadata["web-1"]
    etag = ask(address, EVENT).etag
    emulator.control.fault("etag-flap", path=EVENT)
    first = ask(address, f"{EVENT}?wait_for_change=true&last_etag={etag}")
    second = ask(address, f"{EVENT}?wait_for_change=true&last_etag={first.etag}")
    assert (first.text, second.text) == ("NONE", "NONE")
    assert len({etag, first.etag, second.etag}) == 3


def test_a_truncated_answer_to_a_hanging_get(emulator: EmulatorProcess) -> None:
    emulator.control.fault("truncate", path=EVENT, count=1)
    with Connection(emulator.metadata["web-1"]) as connection:
        connection.send(f"{EVENT}?wait_for_change=true")
        eventually(lambda: emulator.control.instance("web-1")["hanging_gets"] == 1)
        emulator.control.set("web-1", EVENT, "MIGRATE_ON_HOST_MAINTENANCE")
        with pytest.raises(ConnectionError, match=r"^\d+ of \d+ bytes came$"):
            connection.receive()


def test_stopped_vm_answers_503_and_ends_its_waits(emulator: EmulatorProcess) -> None:
    """aws/aws-node-termination-handler#916"""
    with Connection(emulator.metadata["web-1"]) as connection:
        connection.send(f"{EVENT}?wait_for_change=true")
        eventually(lambda: emulator.control.instance("web-1")["hanging_gets"] == 1)
        emulator.control.request("POST", "instances/web-1/stop")
        assert connection.receive().status == 503
    assert name_of(emulator).status == 503
    assert emulator.control.request("POST", "instances/web-1/start")["boot_count"] == 2
    assert name_of(emulator).status == 200


def test_stopped_vm_can_refuse_connections(emulator: EmulatorProcess) -> None:
    emulator.control.scenario("web-2", "host-termination", notice=0, down=1e6)
    with pytest.raises(ConnectionRefusedError):
        name_of(emulator, "web-2")
    emulator.control.request("DELETE", "instances/web-2/scenarios")
    assert eventually(lambda: _is_reachable(emulator.metadata["web-2"]))
    summary = emulator.control.instance("web-2")
    assert (summary["status"], summary["boot_count"]) == ("RUNNING", 2)


@pytest.mark.parametrize("scenario", ["host-termination", "preemption"])
def test_no_event_is_announced_after_an_outage(emulator: EmulatorProcess, scenario: str) -> None:
    emulator.control.scenario("web-1", scenario, notice=20, down=20)
    summary: dict[str, Any] = eventually(
        lambda: (now := emulator.control.instance("web-1"))["boot_count"] == 2 and now, what="the VM boots"
    )
    assert summary["status"] == "RUNNING"
    assert ask(emulator.metadata["web-1"], EVENT).text == "NONE"
    assert ask(emulator.metadata["web-1"], "instance/preempted").text == "FALSE"


def _is_reachable(address: str) -> bool:
    try:
        Connection(address).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("scenario, options", [("host-error", {}), ("graceful-stop", {"graceful": 0, "shutdown": 0})])
def test_while_down_sets_the_behaviour_of_a_stopped_vm_s_server(
    emulator: EmulatorProcess, scenario: str, options: dict[str, float]
) -> None:
    emulator.control.speed(1)
    for name in ("web-1", "web-2"):
        emulator.control.scenario(name, scenario, **options)
        assert emulator.control.instance(name)["status"] == "TERMINATED"
    assert name_of(emulator).status == 503
    with pytest.raises(ConnectionRefusedError):
        name_of(emulator, "web-2")
