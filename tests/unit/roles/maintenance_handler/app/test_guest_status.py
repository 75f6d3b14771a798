# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest attribute over time: it is written again at regular intervals, and has the last incident."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maintenance_handler.app import config as configuration
from maintenance_handler.app.report import Reporter
from maintenance_handler.core.incident import Moment
from maintenance_handler.io.log import Log
from support import documents
from support.emulator import eventually
from support.handler import HandlerProcess, task
from support.incidents import CLOCK, WALL, Drive
from support.incidents import task as task_of
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]

BEGAN = 1_780_000_000.0


def published(vm: Vm) -> dict[str, Any]:
    space = vm.control.instance(vm.name)["guest_attributes"].get("maintenance-handler", {})
    return dict(json.loads(space.get("status", "{}")))


def reporter_of(vm: Vm, folder: Path, every: float) -> Reporter:
    config = configuration.Config(
        state_dir=folder, runtime_dir=folder, metadata_host=vm.host, guest_attributes_every=every
    )
    return Reporter(config, Log(stream=io.StringIO()), "boot-1", lambda _result: None, lambda _shown: None)


def test_is_written_again_although_nothing_changes(vm: Vm, tmp_path: Path) -> None:
    vm.set("attributes/enable-guest-attributes", "TRUE")
    reporter = reporter_of(vm, tmp_path, every=600.0)
    reporter.report(None, Moment(100.0, BEGAN))
    reporter.start()
    eventually(lambda: published(vm).get("at") == "2026-05-28T20:26:40Z")
    assert published(vm)["every"] == 600.0
    assert reporter.next_time() == 700.0
    reporter.report(None, Moment(699.0, BEGAN + 599))
    assert reporter.next_time() == 700.0
    reporter.report(None, Moment(700.0, BEGAN + 600))
    eventually(lambda: published(vm)["at"] == "2026-05-28T20:36:40Z")
    assert reporter.next_time() == 1300.0
    assert len([one for one in vm.requests("guest-attributes") if one["method"] == "PUT"]) == 2


class TestDeadlines:
    def test_are_those_of_events_whose_time_is_known(self, vm: Vm, tmp_path: Path) -> None:
        vm.set("attributes/enable-guest-attributes", "TRUE")
        reporter = reporter_of(vm, tmp_path, every=600.0)
        drive = Drive(task_of("lb", "window", lead=600.0))
        drive.window(86400)
        drive.on("terminate")
        drive.drain()
        reporter.report(drive.state.incident, drive.now)
        reporter.start()
        eventually(lambda: published(vm).get("deadlines"))
        assert published(vm)["events"] == ["window", "terminate", "manual"]
        assert published(vm)["deadlines"] == {"window": WALL + 86400, "terminate": WALL + 3600}

    def test_are_written_again_when_an_event_is_moved(self, vm: Vm, tmp_path: Path) -> None:
        vm.set("attributes/enable-guest-attributes", "TRUE")
        reporter = reporter_of(vm, tmp_path, every=600.0)
        reporter.start()
        drive = Drive(task_of("lb", "window", lead=600.0))
        drive.window(86400)
        reporter.report(drive.state.incident, drive.now)
        eventually(lambda: published(vm).get("deadlines") == {"window": WALL + 86400})
        drive.window(172800)
        reporter.report(drive.state.incident, drive.now)
        eventually(lambda: published(vm).get("deadlines") == {"window": WALL + 172800})

    def test_are_not_written_again_when_the_same_announcement_is_read_later(self, vm: Vm, tmp_path: Path) -> None:
        """The clocks drift, and the query limit is shared."""
        reporter = reporter_of(vm, tmp_path, every=600.0)
        drive = Drive(task_of("lb", "window", lead=600.0))
        drive.window(86400)
        reporter.report(drive.state.incident, drive.now)
        due_at = reporter.next_time()
        drive.now = Moment(CLOCK + 60, WALL + 61)
        drive.window(86400 - 61)
        reporter.report(drive.state.incident, drive.now)
        assert reporter.next_time() == due_at == CLOCK + 600

    def test_are_not_those_of_rehearsals(self, vm: Vm, tmp_path: Path) -> None:
        vm.set("attributes/enable-guest-attributes", "TRUE")
        reporter = reporter_of(vm, tmp_path, every=600.0)
        drive = Drive(task_of("lb", "migrate"))
        drive.rehearse("migrate")
        reporter.report(drive.state.incident, drive.now)
        reporter.start()
        eventually(lambda: published(vm).get("rehearsal"))
        assert published(vm)["deadlines"] == {}


def test_the_interval_of_a_new_configuration_applies_at_once(vm: Vm, tmp_path: Path) -> None:
    reporter = reporter_of(vm, tmp_path, every=86400.0)
    reporter.report(None, Moment(100.0, BEGAN))
    config = configuration.Config(state_dir=tmp_path, runtime_dir=tmp_path, guest_attributes_every=60.0)
    reporter.configured(config, restart_required=False)
    assert reporter.next_time() == 160.0


def test_an_incident_of_the_history_is_shown_unless_a_newer_one_is_known(vm: Vm, tmp_path: Path) -> None:
    vm.set("attributes/enable-guest-attributes", "TRUE")
    reporter = reporter_of(vm, tmp_path, every=600.0)
    reporter.report(None, Moment(100.0, BEGAN))
    reporter.start()
    eventually(lambda: published(vm).get("at"))
    assert published(vm)["last_incident"] is None
    reporter.closed_earlier(documents.incident("older"))
    # It is not delayed by an hour.
    assert reporter.next_time() == 100.0
    reporter.report(None, Moment(101.0, BEGAN + 1))
    eventually(lambda: published(vm)["last_incident"])
    assert published(vm)["last_incident"]["id"] == "older"
    reporter.closed(documents.incident("newer"))
    reporter.closed_earlier(documents.incident("older"))
    reporter.report(None, Moment(701.0, BEGAN + 601))
    eventually(lambda: published(vm)["last_incident"]["id"] == "newer")


def test_the_last_incident_survives_a_restart(vm: Vm, make_handler: MakeHandler) -> None:
    vm.set("attributes/enable-guest-attributes", "TRUE")
    handler = make_handler(task("lb", drain="exit 3"), guest_attributes=True).start()
    vm.announce("terminate")
    handler.until_state("drained")
    vm.withdraw("terminate")
    incident = handler.until_over()
    handler.until(lambda: published(vm).get("last_incident"), "the last incident")
    now = published(vm)
    assert now["state"] == "idle"
    assert now["last_incident"]["id"] == incident["id"]
    assert (now["last_incident"]["event"], now["last_incident"]["outcome"]) == ("terminate", "drain failed")
    assert handler.stop() == 0
    handler.start()
    handler.until(lambda: published(vm)["state"] == "idle" and published(vm)["last_incident"], "it after the restart")
    assert published(vm)["last_incident"]["id"] == incident["id"]


def test_the_status_has_the_last_incident_after_a_reboot(vm: Vm, make_handler: MakeHandler) -> None:
    """Rolling maintenance reads it to find out what was done."""
    handler = make_handler(task("lb", drain="echo secret")).start()
    assert handler.command("drain", "--wait", "--reason", "a new kernel", "--as", "migrate").returncode == 0
    assert handler.command("restore", "--wait").returncode == 0
    incident = handler.until_over()
    before = handler.status()["last_incident"]
    assert handler.stop() == 0
    handler.boot("another")
    handler.start()
    handler.until(lambda: handler.status().get("last_incident"), "it after the reboot")
    assert handler.status()["last_incident"] == {**before, "instance_id": incident["instance_id"]}
    # Everybody can read the status.
    assert "secret" not in json.dumps(handler.status())


def test_incidents_of_another_instance_are_not_shown(vm: Vm, make_handler: MakeHandler) -> None:
    """The disk may be a copy of another VM's."""
    vm.set("attributes/enable-guest-attributes", "TRUE")
    handler = make_handler(task("lb"), guest_attributes=True).start()
    # On a busy machine, the event can be known before the instance is.
    handler.until(lambda: handler.journal().get("instance_id"), "the instance in the journal")
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    handler.until_over()
    assert handler.stop() == 0
    vm.set("id", 4711)
    handler.boot("another")
    handler.start()
    handler.until_logged("the history contained incidents of another instance")
    handler.until(lambda: published(vm)["state"] == "idle", "its state")
    assert published(vm)["last_incident"] is None
    assert handler.status()["last_incident"] is None
