# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What salrashid123/gce_metadata_server and aws/amazon-ec2-metadata-mock lack, each with a client that would notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import (
    Limits,
    MetadataServer,
    MetadataUnavailable,
)

from support.emulator import EmulatorProcess, eventually


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    vm = {"attributes": {"enable-guest-attributes": "TRUE", "color": "red"}, "upcoming_maintenance_none": "NONE"}
    fleet = {"speed": 600, "instances": [{"name": "vm", **vm}, {"name": "faulty", **vm}]}
    with EmulatorProcess(fleet) as process:
        yield process


@pytest.fixture
def ask(emulator: EmulatorProcess) -> Iterator[Callable[[str], MetadataServer]]:
    servers: list[MetadataServer] = []

    def make(instance: str) -> MetadataServer:
        servers.append(MetadataServer(emulator.metadata[instance], limits=Limits(retry_for=0)))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def test_a_change_between_two_requests_is_not_lost(
    emulator: EmulatorProcess, ask: Callable[[str], MetadataServer]
) -> None:
    """Elsewhere last_etag is parsed, but not used."""
    server = ask("vm")
    before = server.get("instance/maintenance-event")
    emulator.control.set("vm", "instance/maintenance-event", "MIGRATE_ON_HOST_MAINTENANCE")
    assert server.wait("instance/maintenance-event", before.etag, 60).value == "MIGRATE_ON_HOST_MAINTENANCE"
    emulator.control.set("vm", "instance/maintenance-event", "NONE")


@pytest.mark.parametrize(
    "path, value",
    [
        ("instance/attributes/color", "blue"),
        ("instance/tags", ["blue"]),
        ("instance/scheduling/on-host-maintenance", "TERMINATE"),
        ("project/attributes/anything", "new"),
    ],
)
def test_any_key_and_the_trees_above_it_can_be_waited_for(
    path: str, value: object, emulator: EmulatorProcess, ask: Callable[[str], MetadataServer]
) -> None:
    """Elsewhere only two keys can be waited for."""
    server = ask("vm")
    above = path.split("/")[0] + "/"
    before = server.get(above, recursive=True)
    assert server.wait(above, before.etag, 0, recursive=True).etag == before.etag
    emulator.control.set("vm", path, value)
    assert server.wait(above, before.etag, 60, recursive=True).etag != before.etag


def test_guest_attributes(ask: Callable[[str], MetadataServer]) -> None:
    server = ask("vm")
    server.put("instance/guest-attributes/ns/key", "value")
    assert server.get("instance/guest-attributes/ns/", recursive=True).value == {"key": "value"}


def test_faults(emulator: EmulatorProcess, ask: Callable[[str], MetadataServer]) -> None:
    emulator.control.fault("503", instance="faulty", count=1)
    server = ask("faulty")
    with pytest.raises(MetadataUnavailable):
        server.get("instance/name")
    assert server.get("instance/name").value == "faulty"


def test_scenarios_run_and_can_be_cancelled(emulator: EmulatorProcess, ask: Callable[[str], MetadataServer]) -> None:
    server = ask("vm")
    server.get("instance/maintenance-event")
    emulator.control.scenario("vm", "live-migration", blackout=0)
    eventually(lambda: emulator.control.instance("vm")["maintenance_event"] == "NONE", what="the end of the migration")

    emulator.control.scenario("vm", "window-announced")
    assert "window_start_time" in server.get("instance/upcoming-maintenance", alt="json").value
    emulator.control.request("DELETE", "instances/vm/scenarios")
    assert server.get("instance/upcoming-maintenance").value == "NONE"
