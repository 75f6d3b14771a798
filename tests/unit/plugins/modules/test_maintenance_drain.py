# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module maintenance_drain, with a handler that runs on an emulated VM."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.modules import maintenance_drain

from support.emulator import EmulatorProcess
from support.guides import blocks
from support.handler import PACKAGE_FOLDER, UNTIL_RELEASED, HandlerProcess, task
from support.modules import Result, run_module
from support.playbook import examples, run_play
from support.vm import Vm

FLEET: dict[str, Any] = {
    "project": "acme",
    "instances": [{"name": f"vm-{number}", "upcoming_maintenance_none": "NONE"} for number in range(40)],
}

MakeHandler = Callable[..., HandlerProcess]
_numbers = iter(range(40))


@pytest.fixture
def vm(emulator: EmulatorProcess) -> Vm:
    return Vm(emulator, f"vm-{next(_numbers)}")


@pytest.fixture
def make_handler(vm: Vm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHandler]:
    made: list[HandlerProcess] = []
    monkeypatch.setenv("SUDO_USER", "alice")

    def make(*tasks: dict[str, Any]) -> HandlerProcess:
        handler = HandlerProcess(tmp_path, vm.host, tasks)
        program = tmp_path / "gce-maintenance-handler"
        words = [sys.executable, "-I", str(PACKAGE_FOLDER)]
        program.write_text(
            f'#!/bin/sh\nexec {shlex.join(words)} "$@" --config {shlex.quote(str(handler.config_path))}\n'
        )
        program.chmod(0o755)
        made.append(handler)
        return handler

    yield make
    for handler in made:
        handler.close()


def drain(handler: HandlerProcess, *, check: bool = False, **parameters: Any) -> Result:
    program = str(handler.folder / "gce-maintenance-handler")
    result = run_module(maintenance_drain, {"executable": program, "timeout": 60, **parameters}, check=check)
    # Modules in this process share their warnings, and this one has none.
    result.pop("warnings", None)
    return result


def names(result: Result) -> list[tuple[str, str, str]]:
    return [(step["phase"], step["task"], step["outcome"]) for step in result["steps"]]


LB = task("lb", "terminate", stage=10)
DB = task("db", "manual", stage=20)


class TestDrain:
    def test_drains_once_and_restores_once(self, make_handler: MakeHandler) -> None:
        handler = make_handler(LB, DB).start()
        parameters: dict[str, Any] = {"reason": "new kernel", "for": "2h"}
        result = drain(handler, **parameters)
        assert result["changed"], result
        assert names(result) == [("drain", "lb", "ok"), ("drain", "db", "ok")]
        assert all(step["seconds"] >= 0 and step["started_at"].endswith("Z") for step in result["steps"])
        order = result["order"]
        assert (order["by"], order["as_event"], order["reason"]) == ("alice", "terminate", "new kernel")
        assert order["since"] < order["until"]
        again = drain(handler, reason="another")
        assert (again["changed"], again["steps"], again["order"]) == (False, result["steps"], order)
        restored = drain(handler, state="restored")
        assert (restored["changed"], restored["order"]) == (True, None)
        assert names(restored) == [("restore", "db", "ok"), ("restore", "lb", "ok")]
        assert restored["incident"] == result["incident"]
        again = drain(handler, state="restored")
        assert (again["changed"], again["steps"], again["incident"]) == (False, [], None)
        assert handler.trace() == ["drain lb", "drain db", "restore db", "restore lb"]

    def test_check_mode_says_what_would_run(self, make_handler: MakeHandler) -> None:
        handler = make_handler(DB, LB, task("other", "migrate")).start()
        assert drain(handler, check=True) == {"changed": True, "would_run": ["lb", "db"]}
        assert drain(handler, check=True, state="restored") == {"changed": False, "would_run": []}
        assert (handler.trace(), handler.state()) == ([], "idle")
        drain(handler)
        assert drain(handler, check=True) == {"changed": False, "would_run": []}
        assert drain(handler, check=True, state="restored") == {"changed": True, "would_run": ["lb", "db"]}
        assert handler.state() == "drained"

    def test_waits_for_a_drain_that_is_on(self, make_handler: MakeHandler) -> None:
        handler = make_handler(task("lb", "terminate", drain=UNTIL_RELEASED, timeout=60)).start()
        assert handler.command("drain").returncode == 0
        handler.until(lambda: (handler.status()["incident"] or {}).get("steps"), "the step in the status")
        late = drain(handler, timeout=0.5)
        assert late.failed
        assert "has not ended within 0.5 s" in late["msg"]
        assert names(late) == [("drain", "lb", "")]
        handler.release()
        result = drain(handler)
        assert (result["changed"], names(result)) == (False, [("drain", "lb", "ok")])

    def test_fails_with_the_output_of_what_failed(self, make_handler: MakeHandler) -> None:
        handler = make_handler(task("lb", "terminate", drain="echo no route; exit 6"), DB).start()
        for is_changed in (True, False):
            result = drain(handler)
            assert result.failed
            assert "lb: failed: exit status 6: no route" in result["msg"]
            assert result["changed"] is is_changed
            assert sorted(names(result)) == [("drain", "db", "ok"), ("drain", "lb", "failed")]

    def test_fails_if_no_slot_of_the_fleet_limit_is_free(self, make_handler: MakeHandler, tmp_path: Path) -> None:
        store, free = tmp_path / "store.json", tmp_path / "free.json"
        store.write_text(json.dumps({"holders": {"us-central1-a/other/7": "terminate"}}))
        free.write_text(json.dumps({"holders": {}}))
        handler = make_handler(LB)
        handler.configure(fleet_limit={"backend": "etcd", "group": "web", "slots": 1, "file": str(store)})
        handler.start(module="support.limited")
        result = drain(handler, timeout=6)
        assert (bool(result.failed), result["changed"]) == (True, False)
        assert "us-central1-a/other/7" in result["msg"]
        assert handler.trace() == []
        # A question that is still being answered does not write the holder back.
        free.replace(store)
        assert names(drain(handler)) == [("drain", "lb", "ok")]

    def test_counts_nothing_of_an_earlier_drain_of_the_incident(self, vm: Vm, make_handler: MakeHandler) -> None:
        """An announced window keeps the incident open for days."""
        breaks = 'test -e "$FOLDER/mended" || { touch "$FOLDER/mended"; echo no route; exit 6; }'
        handler = make_handler(task("lb", "terminate", drain=breaks), task("db", "preempt")).start()
        vm.announce("window")
        handler.until_state("announced")
        result = drain(handler)
        assert (bool(result.failed), names(result)) == (True, [("drain", "lb", "failed")])
        assert names(drain(handler, state="restored")) == [("restore", "lb", "ok")]
        other = drain(handler, as_event="preempt")
        assert (bool(other.failed), names(other)) == (False, [("drain", "db", "ok")])
        assert other["incident"] == result["incident"]
        assert names(drain(handler, state="restored")) == [("restore", "db", "ok")]
        assert names(drain(handler)) == [("drain", "lb", "ok")]

    def test_counts_what_an_event_has_drained(self, vm: Vm, make_handler: MakeHandler) -> None:
        """It is not drained again, so that it stays as it is."""
        handler = make_handler(task("lb", "terminate", drain="exit 6"), DB).start()
        vm.announce("terminate")
        handler.until_state("drained")
        result = drain(handler)
        assert (bool(result.failed), names(result)) == (True, [("drain", "lb", "failed"), ("drain", "db", "ok")])

    def test_drained_as_for_another_event_it_is_refused(self, make_handler: MakeHandler) -> None:
        handler = make_handler(LB, DB).start()
        drain(handler, as_event="migrate")
        for check in (False, True):
            result = drain(handler, check=check)
            assert result.failed
            assert "drained by alice, as for migrate and not for terminate" in result["msg"]
        assert handler.trace() == ["drain db"]

    @pytest.mark.parametrize("parameters", [{"for": "soon"}, {"reason": "a\nb"}, {"reason": "x" * 201}], ids=str)
    def test_what_cannot_be_is_refused(self, make_handler: MakeHandler, parameters: dict[str, Any]) -> None:
        handler = make_handler(LB).start()
        result = drain(handler, **parameters)
        assert result.failed
        assert "The VM was not drained" in result["msg"]
        assert handler.state() == "idle"


class TestRestore:
    def test_fails_while_an_event_keeps_it_drained(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(LB, DB).start()
        drain(handler)
        vm.announce("terminate")
        handler.until(lambda: len(handler.signals()) == 2, "the event")
        result = drain(handler, state="restored")
        assert result.failed
        assert "terminate is announced" in result["msg"]
        assert (result["changed"], names(result)) == (True, [("restore", "db", "ok")])
        again = drain(handler, state="restored")
        assert again.failed
        assert "terminate is announced" in again["msg"]
        assert not again["changed"]
        vm.withdraw("terminate")
        handler.until_over()

    def test_fails_while_it_is_held(self, make_handler: MakeHandler) -> None:
        handler = make_handler(LB).start()
        drain(handler)
        assert handler.command("hold", "--reason", "evidence").returncode == 0
        result = drain(handler, state="restored")
        assert result.failed
        assert "held by alice: evidence" in result["msg"]

    def test_fails_with_the_output_of_a_restore_that_failed_and_retries_it(self, make_handler: MakeHandler) -> None:
        needs = 'test -e "$FOLDER/api" || { echo no API; exit 4; }'
        handler = make_handler(task("lb", "terminate", restore=needs)).start()
        drain(handler)
        result = drain(handler, state="restored")
        assert result.failed
        assert "lb: failed: exit status 4: no API" in result["msg"]
        (handler.folder / "api").touch()
        result = drain(handler, state="restored")
        assert not result.failed, result
        assert result["changed"]
        assert names(result)[-1] == ("restore", "lb", "ok")


def test_without_a_handler(tmp_path: Path, make_handler: MakeHandler) -> None:
    handler = make_handler(LB)
    result = drain(handler, executable=str(tmp_path / "none"))
    assert result.failed
    assert "Install it with the role gce.guest.maintenance_handler" in result["msg"]
    for state in ("drained", "restored"):
        result = drain(handler, state=state)
        assert result.failed
        assert "not running" in result["msg"]


def test_a_program_that_is_something_else(tmp_path: Path) -> None:
    result = run_module(maintenance_drain, {"executable": "/bin/echo"})
    assert result.failed
    assert "does not show its status" in result["msg"]


def test_the_examples_run(make_handler: MakeHandler) -> None:
    handler = make_handler(LB, task("app", "migrate")).start()
    [guide] = [block for block in blocks() if block.title == "guide_maintenance_handler.rst: Drain the VM"]
    tasks = [*guide.data, *examples("modules", "maintenance_drain")]
    tasks = [one for one in tasks if "ansible.builtin.reboot" not in one]
    for one in tasks:
        one.pop("become", None)
    defaults = {"gce.guest.maintenance_drain": {"executable": str(handler.folder / "gce-maintenance-handler")}}
    code, output = run_play(tasks, environment={}, module_defaults=defaults)
    assert code == 0, output
    assert "app: ok in " in output
