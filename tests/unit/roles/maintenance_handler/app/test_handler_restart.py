# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts without notice: a host error, a crash, a reset."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.handler import UNTIL_RELEASED, HandlerProcess, steps, task
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]
LINES = ["drain resync", "restore resync"]


@pytest.fixture
def handler(vm: Vm, make_handler: MakeHandler) -> HandlerProcess:
    """A handler that knows which instance it is on."""
    return until_settled(make_handler(task("resync", "restart"), task("lb", "migrate")).start())


def until_settled(handler: HandlerProcess) -> HandlerProcess:
    """Wait until its journal names the instance."""
    boot_id = (handler.folder / "boot_id").read_text().strip()

    def is_settled() -> bool:
        entry = handler.journal()
        is_known = entry.get("instance_id") is not None
        return is_known and entry["boot_id"] == boot_id and entry["stopped"] is False

    handler.until(is_settled, "the instance in the journal")
    return handler


def crash(handler: HandlerProcess, boot_id: str = "boot-2") -> None:
    """Cut the power, and boot."""
    handler.kill()
    handler.boot(boot_id)


def test_tasks_run_once_a_boot(handler: HandlerProcess) -> None:
    crash(handler)
    incident = handler.start().until_over()
    assert handler.trace() == LINES
    assert steps(incident) == [("drain", "resync", "ok"), ("restore", "resync", "ok")]
    assert [past["event"] for past in incident["past"]] == ["restart"]
    handler.until_logged("restarted without an orderly stop")
    handler.kill()
    until_settled(handler.start())
    handler.stop()
    until_settled(handler.start())
    assert handler.trace() == LINES
    crash(handler, "boot-3")
    handler.start().until_over(2)
    assert handler.trace() == LINES * 2


def test_orderly_stop_is_ignored(handler: HandlerProcess) -> None:
    for boot_id in ("boot-2", "boot-3"):
        handler.stop()
        assert handler.journal()["stopped"] is True
        handler.boot(boot_id)
        until_settled(handler.start())
        assert handler.journal()["stopped"] is False
    assert (handler.trace(), handler.history()) == ([], [])


def test_power_cut_during_a_shutdown_is_ignored(vm: Vm, make_handler: MakeHandler) -> None:
    """On a Spot VM, the checks for a preemption may take the whole 30 s of its shutdown."""
    vm.set("scheduling/preemptible", "TRUE")
    tasks = task("resync", "restart"), task("lb", "preempt")
    handler = until_settled(make_handler(*tasks, stop_timeout=300).start(module="support.shutting_down"))
    handler.running.terminate()
    handler.until_logged("checking for a preemption")
    handler.until(lambda: handler.process_ended() or handler.journal()["stopped"], "the orderly stop in the journal")
    looks = len(vm.requests("preempted"))
    # It was recorded while it still looks.
    handler.until(lambda: handler.process_ended() or len(vm.requests("preempted")) > looks + 2, "more looks")
    crash(handler)
    until_settled(handler.start())
    assert (handler.trace(), handler.history()) == ([], [])


def test_crash_of_the_handler_is_ignored(handler: HandlerProcess) -> None:
    handler.kill()
    until_settled(handler.start())
    assert (handler.trace(), handler.history()) == ([], [])


def test_first_boot_and_image_of_another_instance_are_ignored(
    vm: Vm, make_vm: Callable[[], Vm], make_handler: MakeHandler
) -> None:
    handler = until_settled(make_handler(task("resync", "restart")).start())
    assert handler.history() == []
    handler.kill()
    handler.boot("boot-2")
    handler.configure(metadata_host=make_vm().host)
    until_settled(handler.start())
    assert (handler.trace(), handler.history()) == ([], [])


def test_journal_of_an_earlier_version_is_ignored(handler: HandlerProcess) -> None:
    crash(handler)
    path = handler.state_dir / "journal.json"
    path.write_bytes(path.read_bytes().replace(b'"stopped": false, ', b""))
    until_settled(handler.start())
    assert (handler.trace(), handler.history()) == ([], [])


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n"], ids=["empty", "not text"])
def test_empty_boot_id_is_an_error(make_handler: MakeHandler, content: bytes) -> None:
    handler = make_handler(task("resync", "restart"))
    (handler.folder / "boot_id").write_bytes(content)
    done = handler.command("status")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert content or f"{handler.folder / 'boot_id'}: is empty" in done.stderr


def test_open_incident_is_only_restored(vm: Vm, handler: HandlerProcess) -> None:
    vm.announce("migrate")
    handler.until_state("drained")
    crash(handler)
    vm.withdraw("migrate")
    incident = handler.start().until_over()
    assert handler.trace() == ["drain lb", "restore lb"]
    assert [past["event"] for past in incident["past"]] == ["migrate"]


def test_waits_for_the_metadata_server_to_confirm_the_instance(vm: Vm, handler: HandlerProcess) -> None:
    """Until it answers, the disk might be another instance's."""
    crash(handler)
    fault = vm.fault("503")
    handler.start(ready=False)
    handler.until_blind()
    handler.stop()
    handler.start(ready=False)
    handler.until_blind()
    assert handler.trace() == []
    vm.heal(fault)
    handler.until_over()
    assert handler.trace() == LINES


def test_crash_during_the_tasks_restores_without_running_them_again(vm: Vm, make_handler: MakeHandler) -> None:
    handler = until_settled(make_handler(task("resync", "restart", drain=UNTIL_RELEASED)).start())
    crash(handler)
    handler.start().until_traced("drain resync")
    handler.kill()
    handler.start().until_traced("drain resync", "drain resync")
    crash(handler, "boot-3")
    handler.start().until_over()
    assert handler.trace() == ["drain resync", "drain resync", "restore resync"]
