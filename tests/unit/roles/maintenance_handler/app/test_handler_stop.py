# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A graceful shutdown: a stop or deletion through the API that leaves the guest time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.handler import UNTIL_RELEASED, HandlerProcess, steps, task
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]
READ_EVENT = 'cat > "$FOLDER/document"'


def announce(vm: Vm, seconds: float = 90, target: str = "STOPPED", state: str = "PENDING_STOP") -> None:
    """Have the platform announce a stop that was requested just now."""
    vm.set("shutdown-details/max-duration", str(seconds))
    vm.set("shutdown-details/request-timestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    vm.set("shutdown-details/target-state", target)
    vm.set("shutdown-details/stop-state", state)


def with_systemctl(folder: Path, script: str = 'echo "systemctl $*" >> "$FOLDER/trace"') -> str:
    """The PATH for a machine with this systemctl."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder / 'bin'}:/usr/bin:/bin"


def test_drains_within_the_duration_and_restores_at_the_next_boot(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", "stop", drain=READ_EVENT)).start()
    announce(vm, 90, "DELETED")
    handler.until_state("drained")
    (signal,) = handler.signals()
    assert (signal["event"], signal["value"]) == ("stop", "PENDING_STOP")
    assert 60 < signal["seconds_left"] <= 90
    event = json.loads((handler.folder / "document").read_text())["event"]
    assert (event["name"], event["target_state"], event["notice_seconds"]) == ("stop", "DELETED", 90)
    handler.stop()
    vm.set("shutdown-details/stop-state", "UNSPECIFIED")
    handler.boot("boot-2")
    handler.start()
    incident = handler.until_over()
    assert handler.trace() == ["drain lb", "restore lb"]
    assert steps(incident) == [("drain", "lb", "ok"), ("restore", "lb", "ok")]


@pytest.mark.parametrize("state", ["UNSPECIFIED", "UNKNOWN", "", "STOPPED_BEFORE"])
def test_idle_state_is_not_an_event(vm: Vm, make_handler: MakeHandler, state: str) -> None:
    handler = make_handler(task("lb")).start()
    asked = len(vm.requests("shutdown-details/stop-state"))
    vm.set("shutdown-details/stop-state", state or "NONE")
    handler.until(lambda: len(vm.requests("shutdown-details/stop-state")) > asked, "another request")
    assert (handler.state(), handler.trace()) == ("idle", [])


def test_missing_key_is_requested_once_a_poll(vm: Vm, make_handler: MakeHandler) -> None:
    vm.control.remove(vm.name, "instance/shutdown-details/stop-state")
    handler = make_handler(task("lb"), log_level="debug").start()
    assert handler.status()["outages"] == []
    assert "shutdown-details" not in handler.log()
    assert len(vm.requests("shutdown-details/stop-state")) == 1


def test_during_another_event_is_one_incident(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", "migrate", "stop"), task("db", "stop")).start()
    vm.announce("migrate")
    handler.until_traced("drain lb")
    announce(vm)
    handler.until_traced("drain lb", "drain db")
    vm.withdraw("migrate")
    vm.withdraw("stop")
    incident = handler.until_over()
    assert sorted(past["event"] for past in incident["past"]) == ["migrate", "stop"]
    assert sorted(handler.trace()) == ["drain db", "drain lb", "restore db", "restore lb"]


def test_second_stop_without_grace_shortens_the_time_left(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", "stop", drain=UNTIL_RELEASED, timeout=300)).start()
    began = time.monotonic()
    announce(vm, 600)
    handler.until_state("draining")
    vm.set("shutdown-details/stop-state", "STOPPING")
    handler.until(lambda: left(handler) <= 30, "a nearer deadline")
    assert_shortened(handler, began)
    handler.release()
    handler.until_state("drained")
    assert handler.trace() == ["drain lb"]


class TestPoweringOff:
    def test_completes_the_stop_after_the_drain(self, vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
        path = with_systemctl(tmp_path)
        handler = make_handler(
            task("lb", "stop", drain=UNTIL_RELEASED),
            task("db", "stop", stage=60),
            stop_when_drained=True,
            path=path,
            poll_timeout=1,
        ).start()
        announce(vm)
        handler.until_traced("drain lb")
        handler.release()
        handler.until_traced("drain lb", "drain db", "systemctl poweroff")
        handler.until_logged("powering off")
        asked = len(vm.requests("shutdown-details/stop-state"))
        handler.until(lambda: len(vm.requests("shutdown-details/stop-state")) > asked + 2, "the stop read again")
        vm.set("shutdown-details/target-state", "DELETED")
        vm.set("shutdown-details/stop-state", "UNSPECIFIED")
        handler.until_over()
        assert handler.trace().count("systemctl poweroff") == 1

    def test_requires_the_setting(self, vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
        handler = make_handler(task("lb", "stop"), path=with_systemctl(tmp_path)).start()
        announce(vm)
        handler.until_state("drained")
        handler.stop()
        assert handler.trace() == ["drain lb"]

    @pytest.mark.parametrize("event", ["migrate", "preempt"])
    def test_does_not_happen_for_other_events(
        self, vm: Vm, make_handler: MakeHandler, tmp_path: Path, event: str
    ) -> None:
        handler = make_handler(task("lb"), stop_when_drained=True, path=with_systemctl(tmp_path)).start()
        vm.announce(event)
        handler.until_state("drained")
        handler.stop()
        assert handler.trace() == ["drain lb"]

    def test_does_not_happen_for_a_task_drained_for_another_event(
        self, vm: Vm, make_handler: MakeHandler, tmp_path: Path
    ) -> None:
        """Without a task for a stop, powering off is not wanted."""
        handler = make_handler(task("lb", "migrate"), stop_when_drained=True, path=with_systemctl(tmp_path)).start()
        vm.announce("migrate")
        handler.until_state("drained")
        announce(vm)
        handler.until(lambda: len(handler.signals()) == 2, "both events")
        handler.stop()
        assert handler.trace() == ["drain lb"]
        assert "powering off" not in handler.log()

    def test_does_not_happen_after_a_failed_drain(self, vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
        """The work that the drain did not finish may still need the time."""
        tasks = task("lb", "stop", drain="exit 1"), task("db", "stop", stage=60)
        handler = make_handler(*tasks, stop_when_drained=True, path=with_systemctl(tmp_path)).start()
        announce(vm)
        handler.until_traced("drain lb", "drain db")
        handler.until_state("drained")
        handler.stop()
        assert handler.trace() == ["drain lb", "drain db"]

    def test_failure_of_systemctl_is_logged(self, vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
        path = with_systemctl(tmp_path, "echo Interactive authentication required. >&2; exit 1")
        handler = make_handler(task("lb", "stop"), stop_when_drained=True, path=path).start()
        announce(vm)
        handler.until_logged("Interactive authentication required")
        handler.until_state("drained")

    def test_check_notes_that_it_has_no_effect(self, vm: Vm, make_handler: MakeHandler) -> None:
        done = make_handler(task("lb", "migrate"), stop_when_drained=True).command("check", "--here")
        assert done.returncode == 0
        assert "stop_when_drained" in done.stdout


def test_plan_and_check_assume_the_same_notice_as_the_handler(vm: Vm, make_handler: MakeHandler) -> None:
    vm.set("scheduling/preemptible", "TRUE")
    vm.set("scheduling/preemption-notice-duration", "120")
    handler = make_handler(task("lb", "preempt")).start()
    handler.until(lambda: handler.status()["notice"]["preempt"]["seconds"] == 120, "the notice")
    for command in (["plan"], ["check", "--here"]):
        done = handler.command(*command)
        assert "120 s of notice, from the VM's scheduling" in done.stdout, command


class TestShutdown:
    """The ACPI signal, by which systemd stops the handler, comes before the assumed deadline."""

    @pytest.mark.parametrize("event", ["preempt", "stop"])
    def test_time_left_is_reduced_to_30_s(self, vm: Vm, make_handler: MakeHandler, event: str) -> None:
        handler = make_handler(
            task("lb", event, drain=UNTIL_RELEASED, timeout=110),
            notice={"preempt": 120.0},
            stop_timeout=300,
        ).start(module="support.shutting_down")
        began = time.monotonic()
        if event == "stop":
            announce(vm, 120)
        else:
            vm.announce(event)
        handler.until_traced("drain lb")
        assert left(handler) > 60
        handler.running.terminate()
        handler.until(lambda: left(handler) <= 30, "a nearer deadline")
        assert_shortened(handler, began)
        handler.release()
        assert handler.wait() == 0
        assert handler.trace() == ["drain lb"]

    def test_preemption_read_after_the_signal_has_30_s_from_the_signal(self, vm: Vm, make_handler: MakeHandler) -> None:
        vm.set("scheduling/preemptible", "TRUE")
        handler = make_handler(
            task("lb", "preempt", drain=UNTIL_RELEASED, timeout=110), notice={"preempt": 120.0}, stop_timeout=300
        ).start(module="support.shutting_down")
        handler.running.terminate()
        handler.until_logged("checking for a preemption")
        vm.announce("preempt")
        handler.until_traced("drain lb")
        assert left(handler) <= 30
        (step,) = handler.status()["incident"]["steps"]
        assert step["seconds_left"] <= 30
        handler.release()
        assert handler.wait() == 0

    def test_waits_for_a_busy_systemd_and_a_later_shutdown(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(task("lb", "stop", drain=UNTIL_RELEASED, timeout=110), stop_timeout=300)
        handler.start(module="support.shutting_down_late")
        announce(vm, 120)
        handler.until_traced("drain lb")
        handler.running.terminate()
        handler.until(lambda: left(handler) <= 30, "a nearer deadline")
        handler.release()
        assert handler.wait() == 0
        assert handler.trace() == ["drain lb"]

    def test_restart_of_the_service_does_not_reduce_the_time(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(task("lb", "stop", drain=UNTIL_RELEASED, timeout=110), stop_timeout=300).start()
        announce(vm, 120)
        handler.until_traced("drain lb")
        handler.running.terminate()
        handler.until_logged("stopping after the running steps")
        assert left(handler) > 60
        handler.release()
        assert handler.wait() == 0


def left(handler: HandlerProcess) -> float:
    signals: list[dict[str, Any]] = handler.until(handler.signals, "an announced event in the status")
    return float(signals[0]["seconds_left"])


def assert_shortened(handler: HandlerProcess, began: float) -> None:
    """The running step, which has started after `began`, ends within 30 s from some moment between then and now."""
    (step,) = handler.status()["incident"]["steps"]
    assert step["limit"] < 30 + time.monotonic() - began
