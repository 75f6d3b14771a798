# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler's reports: to systemd, status, metrics and guest attribute."""

from __future__ import annotations

import io
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler import __version__
from maintenance_handler._vm.maintenance import DRIFT_TOKEN_KEY, MAINTENANCE_EVENT_KEY, SIGNAL_KEYS
from maintenance_handler._vm.watch import Failed, Heard
from maintenance_handler.app import config as configuration
from maintenance_handler.app import status
from maintenance_handler.app.report import Reporter
from maintenance_handler.core.incident import Moment
from maintenance_handler.io.lock import Lock, lock_paths
from maintenance_handler.io.log import Log
from maintenance_handler.io.publish import DISABLED_PAUSE, FAILED_PAUSE, LEAST_PAUSE, Publisher
from support import documents
from support.handler import HandlerProcess, task
from support.metrics import parsed_metrics
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]

ATTRIBUTE = "instance/guest-attributes/maintenance-handler/status"


class Supervisor:
    """The other end of sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def told(self) -> list[str]:
        """Everything so far."""
        while True:
            try:
                self.received.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self.received

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "notify")
    yield made
    made.close()


def test_is_ready_after_the_first_successful_request(vm: Vm, make_handler: MakeHandler, supervisor: Supervisor) -> None:
    """Others always report that they are healthy."""
    fault = vm.fault("503")
    handler = make_handler(task("lb"), environ={"NOTIFY_SOCKET": str(supervisor.path)}).start(ready=False)
    handler.until_blind()
    outage = "STATUS=idle, the metadata server does not answer"
    handler.until(lambda: outage in supervisor.told(), "the outage as systemd shows it")
    assert "READY=1" not in supervisor.told()
    vm.heal(fault)
    handler.until(lambda: "READY=1" in supervisor.told(), "READY=1")
    handler.until(lambda: supervisor.told()[-1] == "STATUS=idle", "a status without the outage")
    vm.announce("migrate")
    handler.until(lambda: "STATUS=drained" in supervisor.told(), "the state as systemd shows it")
    assert supervisor.told().count("READY=1") == 1
    handler.stop()
    assert "STOPPING=1" in supervisor.told()


def test_feeds_the_watchdog_while_polls_finish(vm: Vm, make_handler: MakeHandler, supervisor: Supervisor) -> None:
    environ = {"NOTIFY_SOCKET": str(supervisor.path), "WATCHDOG_USEC": "400000"}
    handler = make_handler(task("lb"), environ=environ, poll_timeout=1).start()

    def until_fed(times: int) -> None:
        handler.until(lambda: supervisor.told().count("WATCHDOG=1") >= times, f"{times} signs of life")

    until_fed(3)
    # An outage of the metadata server: a restart would not help.
    vm.fault("503")
    handler.until_blind()
    until_fed(supervisor.told().count("WATCHDOG=1") + 3)


def test_ignores_a_watchdog_for_another_process(vm: Vm, make_handler: MakeHandler, supervisor: Supervisor) -> None:
    environ = {"NOTIFY_SOCKET": str(supervisor.path), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    handler = make_handler(task("lb"), environ=environ).start()
    vm.announce("migrate")
    handler.until(lambda: "STATUS=drained" in supervisor.told(), "the drain")
    assert "WATCHDOG=1" not in supervisor.told()


def test_ignores_a_supervisor_that_does_not_listen(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    handler = make_handler(task("lb"), environ={"NOTIFY_SOCKET": str(tmp_path / "nobody")}).start()
    vm.announce("migrate")
    handler.until_state("drained")


# The status, as a reader concludes it


def written_status(folder: Path, **changes: Any) -> configuration.Config:
    """The configuration of a handler that has written this, and whose lock the caller may hold."""
    config = configuration.Config(state_dir=folder, runtime_dir=folder)
    answers = {"instance/maintenance-event": 100.0, "instance/preempted": 110.0, "instance/upcoming-maintenance": 90.0}
    status.write(config, documents.status(**{"last_good_answer": answers, **changes}))
    return config


def test_health_depends_on_the_age_of_the_last_good_answer(tmp_path: Path) -> None:
    """Others always report that they are healthy. Here, health is the age of the last good answer."""
    config = written_status(tmp_path)
    lock = Lock(lock_paths(config.state_dir, config.runtime_dir)[0])
    well = status.read(config, 120.0, "boot-1")
    assert (well["healthy"], well["problems"]) == (True, [])
    # Of the key without an answer for the longest time.
    assert well["last_good_answer_age"] == 30.0
    edge = 90.0 + 60 + status.SILENT_AFTER
    assert status.read(config, edge, "boot-1")["healthy"] is True
    blind = status.read(config, edge + 1, "boot-1")
    assert (blind["healthy"], blind["running"]) == (False, True)
    assert blind["problems"] == ["no answer for instance/upcoming-maintenance for 76 s"]
    lock.release()


@pytest.mark.parametrize("since_last_answer", [0.0, 60 + status.SILENT_AFTER, 60 + status.SILENT_AFTER + 1])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("problem", ["", "Writing the journal: no."])
def test_metric_and_status_agree(since_last_answer: float, fails: bool, problem: str, tmp_path: Path) -> None:
    """One rule: a failed poll is not a problem until there was no answer for too long."""
    config = configuration.Config(state_dir=tmp_path, runtime_dir=tmp_path, guest_attributes=False)
    reporter = Reporter(config, Log(stream=io.StringIO()), "boot-1", lambda _result: None, lambda _shown: None)
    for key in (*SIGNAL_KEYS, DRIFT_TOKEN_KEY):
        reporter.heard(Heard(key, None, 100.0))
    if fails:
        reporter.failed(Failed(MAINTENANCE_EVENT_KEY, "503", 101.0))
    if problem:
        reporter.journal_failed(problem)
    reporter.report(None, Moment(100.0, 1_780_000_000.0))
    now = 100.0 + since_last_answer
    reporter.report(None, Moment(now, 1_780_000_000.0 + since_last_answer))
    reporter.finish(30.0)
    lock = Lock(lock_paths(config.state_dir, config.runtime_dir)[0])
    read = status.read(config, now, "boot-1")
    lock.release()
    is_healthy = since_last_answer <= 60 + status.SILENT_AFTER and not problem
    assert (read["healthy"], reporter.metrics.counted("healthy")) == (is_healthy, float(is_healthy))


def test_metric_changes_when_a_key_becomes_silent(tmp_path: Path) -> None:
    config = configuration.Config(state_dir=tmp_path, runtime_dir=tmp_path, guest_attributes=False)
    reporter = Reporter(config, Log(stream=io.StringIO()), "boot-1", lambda _result: None, lambda _shown: None)
    for key in (*SIGNAL_KEYS, DRIFT_TOKEN_KEY):
        reporter.heard(Heard(key, None, 100.0))
    reporter.report(None, Moment(100.0, 1_780_000_000.0))
    assert reporter.metrics.counted("healthy") == 1
    due = reporter.next_time()
    assert due is not None
    reporter.report(None, Moment(due, 1_780_000_076.0))
    assert reporter.metrics.counted("healthy") == 0
    assert reporter.next_time() is None


def test_key_without_any_answer_is_not_healthy(tmp_path: Path) -> None:
    config = written_status(tmp_path, last_good_answer={"instance/preempted": None, "instance/maintenance-event": 1.0})
    lock = Lock(lock_paths(config.state_dir, config.runtime_dir)[0])
    now = status.read(config, 2.0, "boot-1")
    assert (now["healthy"], now["last_good_answer_age"]) == (False, None)
    assert now["problems"] == ["no answer for instance/preempted yet"]
    lock.release()


def test_handler_with_a_problem_is_not_healthy(tmp_path: Path) -> None:
    config = written_status(tmp_path, problems=["Writing the journal: no."])
    lock = Lock(lock_paths(config.state_dir, config.runtime_dir)[0])
    assert status.read(config, 120.0, "boot-1")["healthy"] is False
    lock.release()


def test_status_of_a_killed_handler_is_not_healthy(tmp_path: Path) -> None:
    config = written_status(tmp_path)
    Lock(lock_paths(config.state_dir, config.runtime_dir)[0]).release()
    gone = status.read(config, 120.0, "boot-1")
    assert (gone["running"], gone["healthy"], gone["problems"]) == (False, False, ["is not running"])
    # Times of another boot's clock mean nothing.
    lock = Lock(lock_paths(config.state_dir, config.runtime_dir)[0])
    other = status.read(config, 120.0, "boot-2")
    assert (other["running"], other["healthy"]) == (True, False)
    lock.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_unreadable_status_is_not_healthy(content: bytes, tmp_path: Path) -> None:
    config = written_status(tmp_path)
    lock = Lock(lock_paths(config.state_dir, config.runtime_dir)[0])
    status.status_path(config).write_bytes(content)
    now = status.read(config, 120.0, "boot-1")
    assert now["healthy"] is False
    assert now["problems"] == [f"has not written its status {status.status_path(config)} yet"]
    lock.release()


def test_status_of_the_previous_handler_is_not_used(vm: Vm, make_handler: MakeHandler) -> None:
    """After a restart, a role waits until this handler, not the previous one, has an answer."""
    handler = make_handler(task("lb")).start()
    handler.kill()
    before = handler.status()["pid"]
    vm.fault("hang")
    handler.start(ready=False)
    handler.until(lambda: handler.status().get("pid", before) != before, "its status")
    result = handler.command("status")
    assert result.returncode == 1
    assert "no answer for instance/preempted yet" in result.stdout


def test_reports_which_events_can_reach_this_vm(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()
    handler.until(lambda: handler.status()["reach"], "which events can reach this VM")
    # Also when nothing about the VM is new, as after each restart.
    handler.kill()
    handler.start()
    handler.until(lambda: handler.status()["reach"], "which events can reach this VM")
    assert handler.status()["reach"]["preempt"] == {"possible": False, "reason": "preemptible is FALSE"}
    assert handler.status()["instance_id"] == str(vm.control.get(vm.name, "instance/id"))
    assert handler.status()["reach"]["window"]["possible"] is None
    # From then on, an announced event can reach it.
    vm.announce("window")
    handler.until_state("drained")
    vm.withdraw("window")
    handler.until_over()
    assert handler.status()["reach"]["window"] == {"possible": True, "reason": "it was announced"}


def test_instance_id_is_sanitized(vm: Vm, make_handler: MakeHandler) -> None:
    """An id such as `../../x` must not become part of a path."""
    vm.control.set(vm.name, "instance/id", "../../x{{ 1 }}" + "7" * 100)
    handler = make_handler(task("lb")).start()
    handler.until(lambda: handler.status()["reach"], "which events can reach this VM")
    assert handler.status()["instance_id"] == "x1" + "7" * 62


# Metrics


def test_writes_metrics_that_a_collector_can_read(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    path = tmp_path / "maintenance.prom"
    handler = make_handler(task("lb"), task("queue", drain="exit 1"), metrics_textfile=str(path), poll_timeout=1)
    handler.start()
    prefix = "gce_maintenance_handler_"
    handler.until(lambda: parsed_metrics(path).get(f"{prefix}healthy") == 1, "the metrics of a healthy handler")
    vm.announce("migrate")
    handler.until_state("drained")
    handler.until(lambda: parsed_metrics(path).get(f"{prefix}held_tasks") == 2, "two held tasks")
    assert parsed_metrics(path)[f'{prefix}event{{event="migrate",rehearsal="false"}}'] == 1
    assert parsed_metrics(path)[f'{prefix}event{{event="migrate",rehearsal="true"}}'] == 0
    deadline = parsed_metrics(path)[f'{prefix}event_deadline_timestamp_seconds{{event="migrate",rehearsal="false"}}']
    assert 0 < deadline - time.time() <= 60
    vm.withdraw("migrate")
    handler.until_over()
    handler.until(lambda: parsed_metrics(path).get(f"{prefix}held_tasks") == 0, "no held task")
    metrics = parsed_metrics(path)
    of = 'event="migrate"'
    real = 'rehearsal="false"'
    assert metrics[f"{prefix}incidents_total{{{of},{real}}}"] == 1
    assert metrics[f'{prefix}steps_total{{{of},outcome="ok",phase="drain",{real}}}'] == 1
    assert metrics[f'{prefix}steps_total{{{of},outcome="failed",phase="drain",{real}}}'] == 1
    assert metrics[f'{prefix}steps_total{{{of},outcome="ok",phase="restore",{real}}}'] == 2
    assert 0 <= metrics[f'{prefix}step_seconds_total{{{of},outcome="ok",phase="drain",{real}}}'] < 5
    assert 0 <= metrics[f"{prefix}last_drain_seconds{{{of},{real}}}"] < 60
    assert 0 < metrics[f"{prefix}last_drain_notice_left_seconds{{{of},{real}}}"] <= 60
    assert not any("event_deadline" in name for name in metrics)
    digest = handler.status()["config_digest"]
    assert metrics[f'{prefix}info{{config_digest="{digest}",version="{__version__}"}}'] == 1
    assert metrics[f'{prefix}event{{event="migrate",rehearsal="false"}}'] == 0
    assert metrics[f'{prefix}polls_total{{key="instance/preempted",result="answer"}}'] >= 1

    handler.stop()
    # They are not updated any more.
    assert parsed_metrics(path)[f"{prefix}healthy"] == 0


# The guest attribute


def test_publishes_its_state_as_a_guest_attribute(vm: Vm, make_handler: MakeHandler) -> None:
    vm.set("attributes/enable-guest-attributes", "TRUE")
    began = time.monotonic()
    handler = make_handler(task("lb"), guest_attributes=True).start()

    def published() -> dict[str, Any]:
        space = vm.control.instance(vm.name)["guest_attributes"].get("maintenance-handler", {})
        return dict(json.loads(space.get("status", "{}")))

    handler.until(lambda: published().get("state") == "idle", "the idle state")
    vm.announce("terminate")
    handler.until(lambda: published().get("state") == "drained", "the drained state")
    now = published()
    assert (now["events"], now["held"]) == (["terminate"], ["lb"])
    assert now["incident"] == handler.status()["incident"]["id"]
    handler.until(lambda: handler.status()["guest_attribute"] == "ok", "the result of the write")
    # Announced, draining and drained within milliseconds: superseded states are not sent.
    writes = len([one for one in vm.requests("guest-attributes") if one["method"] == "PUT"])
    assert 2 <= writes <= 1 + (time.monotonic() - began) / LEAST_PAUSE


def test_rejected_guest_attribute_does_not_delay_a_drain(vm: Vm, make_handler: MakeHandler) -> None:
    """A notification was lost (aws/aws-node-termination-handler#534)."""
    vm.fault("hang", path="instance/guest-attributes")
    handler = make_handler(task("lb"), guest_attributes=True).start()
    handler.until(lambda: vm.requests("guest-attributes"), "a write that hangs")
    vm.announce("preempt")
    handler.until_state("drained")
    vm.withdraw("preempt")
    handler.until_over()
    assert handler.trace() == ["drain lb", "restore lb"]
    assert len(vm.requests("guest-attributes")) == 1


def test_logs_once_that_guest_attributes_are_disabled(vm: Vm, make_handler: MakeHandler) -> None:
    """Guest attributes return 403 for a while after they are enabled (GoogleCloudPlatform/osconfig#411)."""
    handler = make_handler(task("lb"), guest_attributes=True).start()
    handler.until_logged("cannot publish the status as a guest attribute")
    # The log has it first.
    handler.until(lambda: "access is disabled" in handler.status()["guest_attribute"], "the reason in the status")
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    handler.until_over()
    assert handler.log().count("cannot publish the status as a guest attribute") == 1
    assert len(vm.requests("guest-attributes")) == 1


class Publishing:
    """A publisher that the test turns by hand, with a clock that only sleeping moves."""

    def __init__(self, vm: Vm) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.results: list[str] = []
        self.publisher = Publisher(vm.host, self.results.append, clock=lambda: self.now, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def turn(self) -> None:
        self._sleep(self.publisher.turn())


@pytest.fixture
def publishing(vm: Vm) -> Iterator[Publishing]:
    made = Publishing(vm)
    yield made
    # In the handler its connection ends with the process.
    made.publisher._server.close()


def test_disabled_guest_attribute_is_retried_later(vm: Vm, publishing: Publishing) -> None:
    """Guest attributes return 403 for a while after they are enabled (GoogleCloudPlatform/osconfig#411)."""
    publishing.publisher.offer("first")
    publishing.turn()
    publishing.turn()
    assert publishing.slept == [DISABLED_PAUSE, DISABLED_PAUSE]
    vm.set("attributes/enable-guest-attributes", "TRUE")
    # Then the newest state is written.
    publishing.publisher.offer("second")
    publishing.turn()
    assert vm.control.get(vm.name, ATTRIBUTE) == "second"
    assert len(publishing.results) == 3
    assert publishing.results[-1] == "ok"


def test_failed_write_is_retried(vm: Vm, publishing: Publishing) -> None:
    vm.set("attributes/enable-guest-attributes", "TRUE")
    vm.fault("503", path="instance/guest-attributes", count=1)
    publishing.publisher.offer("text")
    publishing.turn()
    assert publishing.slept == [FAILED_PAUSE]
    publishing.turn()
    assert vm.control.get(vm.name, ATTRIBUTE) == "text"


def test_writes_at_most_ten_times_a_minute(vm: Vm, publishing: Publishing) -> None:
    vm.set("attributes/enable-guest-attributes", "TRUE")
    start = publishing.now
    for number in range(25):
        publishing.publisher.offer(str(number))
        publishing.turn()
    assert publishing.now - start >= 2 * 60
    assert min(pause for pause in publishing.slept if pause) >= LEAST_PAUSE
    assert len(vm.requests("guest-attributes")) == 25


def test_offer_does_not_block_and_superseded_text_is_not_written(vm: Vm, publishing: Publishing) -> None:
    vm.set("attributes/enable-guest-attributes", "TRUE")
    for number in range(1000):
        publishing.publisher.offer(str(number))
    publishing.turn()
    assert vm.control.get(vm.name, ATTRIBUTE) == "999"

    # Nothing new: the next turn waits for the next offer.
    def turn() -> None:
        publishing.publisher.turn()
        publishing.publisher._server.close()

    waiting = threading.Thread(target=turn, daemon=True)
    waiting.start()
    publishing.publisher.offer("new")
    waiting.join(timeout=10)
    assert vm.control.get(vm.name, ATTRIBUTE) == "new"
    assert len(vm.requests("guest-attributes")) == 2


def test_rehearsal_is_distinguished_from_an_event(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    path = tmp_path / "maintenance.prom"
    handler = make_handler(task("lb"), metrics_textfile=str(path)).start()
    assert handler.command("rehearse", "migrate", "--execute").returncode == 0
    prefix = "gce_maintenance_handler_"
    name = f'{prefix}incidents_total{{event="migrate",rehearsal="true"}}'
    handler.until(lambda: parsed_metrics(path).get(name) == 1, "the rehearsal among the metrics")
    steps = [name for name in parsed_metrics(path) if name.startswith(f"{prefix}steps_total")]
    assert all('rehearsal="true"' in name for name in steps)


class TestTextfile:
    """Stale metrics would be shown for ever."""

    def test_is_removed_if_the_path_changes(self, vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
        first, second = tmp_path / "first.prom", tmp_path / "second.prom"
        handler = make_handler(task("lb"), metrics_textfile=str(first)).start()
        handler.until(first.exists, "the metrics")
        handler.configure(metrics_textfile=str(second))
        handler.send(signal.SIGHUP)
        handler.until(second.exists, "the metrics in their new place")
        assert not first.exists()
        # Also by a handler that was not there when that changed.
        handler.stop()
        handler.configure(metrics_textfile=None)
        handler.start()
        handler.until(lambda: not second.exists(), "the end of the metrics")

    def test_file_of_another_program_is_kept(self, vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
        path = tmp_path / "mine"
        handler = make_handler(task("lb"), metrics_textfile=str(path)).start()
        handler.stop()
        path.write_text("something else")
        handler.configure(metrics_textfile=None)
        handler.start()
        assert path.read_text() == "something else"

    def test_missing_directory_is_a_problem(self, vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
        folder = tmp_path / "node"
        handler = make_handler(task("lb"), metrics_textfile=str(folder / "h.prom"), poll_timeout=1).start()
        handler.until(lambda: any("metrics" in one for one in handler.status()["problems"]), "the problem")
        result = handler.command("check")
        assert result.returncode == 2
        assert f"field 'metrics_textfile': the directory '{folder}' does not exist" in result.stderr

    def test_removed_directory_is_a_problem_until_it_exists_again(
        self, vm: Vm, make_handler: MakeHandler, tmp_path: Path
    ) -> None:
        folder = tmp_path / "node"
        folder.mkdir()
        # A task's check runs after the look at the directory.
        examined = task("lb", check=["sh", "-c", f"touch '{tmp_path}/examined'"])
        handler = make_handler(examined, metrics_textfile=str(folder / "h.prom"), poll_timeout=1).start()
        handler.until((tmp_path / "examined").exists, "the check after the start")
        # In one step: the handler writes there.
        folder.rename(tmp_path / "gone")
        handler.until(lambda: any("Writing the metrics" in one for one in handler.status()["problems"]), "the problem")
        folder.mkdir()
        handler.until(lambda: handler.status()["problems"] == [], "a clean bill")


def test_guest_attribute_of_a_stopped_handler_is_stopped(vm: Vm, make_handler: MakeHandler) -> None:
    vm.set("attributes/enable-guest-attributes", "TRUE")
    handler = make_handler(task("lb"), guest_attributes=True).start()
    handler.until(lambda: handler.status()["guest_attribute"] == "ok", "the first guest attribute")
    assert handler.stop() == 0
    published = json.loads(vm.control.instance(vm.name)["guest_attributes"]["maintenance-handler"]["status"])
    assert (published["state"], published["rehearsal"], published["held"]) == ("stopped", False, [])
