# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler with a limit across the fleet, whose store is a file."""

from __future__ import annotations

import fcntl
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.handler import UNTIL_RELEASED, HandlerProcess, steps, task
from support.metrics import parsed_metrics
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]

OTHER = "us-central1-a/other/7"
PREFIX = "gce_maintenance_handler_"
MODULE = "support.limited"


class Store:
    """The file. Changes are atomic for the programs that read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set()

    def set(self, *holders: str, mode: str = "") -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"holders": dict.fromkeys(holders, "terminate"), "mode": mode}))
        new.replace(self.path)

    def read(self) -> dict[str, Any]:
        with self.path.open("rb") as file:
            # Not while a program writes to it.
            fcntl.flock(file, fcntl.LOCK_SH)
            return dict(json.load(file))

    def holders(self) -> list[str]:
        return list(self.read()["holders"])

    def verbs(self) -> list[str]:
        return [verb for verb, _id, _reason in self.read().get("asked", [])]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.json")


@pytest.fixture
def make_handler(make_handler: MakeHandler, store: Store) -> MakeHandler:
    def make(*tasks: Any, **settings: Any) -> HandlerProcess:
        base = {"backend": "etcd", "group": "web", "slots": 1, "reserve": 0, "file": str(store.path)}
        more = settings.pop("limit", {})
        environ = {"SUDO_USER": "alice", "PACE": "20", **settings.pop("environ", {})}
        return make_handler(*tasks, environ=environ, fleet_limit=more if more is None else {**base, **more}, **settings)

    return make


def start(handler: HandlerProcess) -> HandlerProcess:
    return handler.start(module=MODULE)


def slot(handler: HandlerProcess) -> dict[str, Any]:
    return dict((handler.status().get("incident") or {}).get("slot") or {})


def whats(incident: dict[str, Any]) -> list[str]:
    return [entry["what"] for entry in incident["slot"]["entries"]]


def own_id(handler: HandlerProcess) -> str:
    return str(handler.until(lambda: handler.status().get("fleet_limit", {}).get("id"), "its id"))


class TestASlot:
    def test_is_taken_before_a_drain_and_given_back_after_the_restore(
        self, vm: Vm, make_handler: MakeHandler, store: Store
    ) -> None:
        held = 'cp "$FOLDER/../store.json" "$FOLDER/seen-$GCE_EVENT_PHASE"'
        handler = start(make_handler(task("lb", "migrate", drain=held, restore=held)))
        vm.announce("migrate")
        handler.until_traced("drain lb")
        handler.until_state("drained")
        handler.until(lambda: slot(handler).get("held"), "the slot")
        me = own_id(handler)
        assert me.split("/")[1] == vm.name
        assert store.holders() == [me]
        vm.withdraw("migrate")
        incident = handler.until_over()
        for phase in ("drain", "restore"):
            assert me in json.loads((handler.folder / f"seen-{phase}").read_bytes())["holders"]
        handler.until(lambda: store.holders() == [], "the end of the slot")
        assert whats(incident) == ["slot taken", "slot given back"]
        handler.until(lambda: not (handler.state_dir / "fleet_limit.json").exists(), "the end of its record")
        assert [verb for verb in store.verbs() if verb != "renew"] == ["acquire", "release"]

    def test_is_renewed_while_it_is_held(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        handler = start(make_handler(task("lb", "migrate"), limit={"ttl": 2}))
        vm.announce("migrate")
        handler.until(lambda: store.verbs().count("renew") >= 2, "two renewals")

    def test_stays_with_a_failed_restore(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        # Retried after 600 s, so that the command is the first to retry it.
        lb = task("lb", "migrate", restore='[ -e "$FOLDER/released" ]')
        handler = start(make_handler(lb, restore_retry_for=0))
        vm.announce("migrate")
        handler.until_state("drained")
        vm.withdraw("migrate")
        handler.until_state("not restored")
        assert store.holders() == [own_id(handler)]
        handler.release()
        assert handler.command("restore").returncode == 0
        handler.until_over()
        handler.until(lambda: store.holders() == [], "the end of the slot")

    def test_is_lost_to_another(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        handler = make_handler(task("lb", "migrate"), limit={"ttl": 2})
        handler.configure(metrics_textfile=str(handler.folder / "metrics.prom"))
        start(handler)
        vm.announce("migrate")
        handler.until_state("drained")
        store.set(OTHER)
        handler.until(lambda: slot(handler).get("exceeded"), "the loss")
        assert handler.state() == "drained"
        assert "slot lost" in handler.command("status").stdout
        store.set()
        handler.until(lambda: slot(handler).get("held"), "the slot")
        vm.withdraw("migrate")
        handler.until_over()


class TestDenied:
    def test_a_migration_is_not_drained(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        store.set(OTHER)
        handler = start(make_handler(task("lb", "migrate")))
        vm.announce("migrate")
        handler.until(lambda: (handler.status().get("incident") or {}).get("skips"), "the decision")
        vm.withdraw("migrate")
        incident = handler.until_over()
        assert incident["steps"] == []
        assert OTHER in incident["skips"][0]["reason"]
        assert store.holders() == [OTHER]

    def test_a_termination_waits_for_a_slot(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        store.set(OTHER)
        handler = make_handler(task("lb", "terminate"))
        handler.configure(metrics_textfile=str(handler.folder / "metrics.prom"))
        start(handler)
        vm.announce("terminate")
        handler.until(lambda: slot(handler).get("outcome") == "denied", "the answer")
        shown = handler.command("status").stdout
        assert "waits for a slot of the fleet limit (etcd, group web)" in shown
        assert OTHER in shown
        assert "goes ahead without" in shown

        def waits() -> bool:
            values = parsed_metrics(handler.folder / "metrics.prom")
            return values.get(f"{PREFIX}fleet_limit_waiting_tasks") == 1

        handler.until(waits, "the metric")
        assert handler.trace() == []
        store.set()
        handler.until_traced("drain lb")
        handler.until(lambda: slot(handler).get("held"), "the slot")

    def test_it_goes_ahead_at_the_last_moment(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        store.set(OTHER)
        # That is after 6 s, and the task has 4 s.
        handler = make_handler(task("lb", "terminate", timeout=4), notice={"terminate": 12})
        handler.configure(metrics_textfile=str(handler.folder / "metrics.prom"))
        start(handler)
        vm.announce("terminate")
        handler.until_traced("drain lb")
        handler.until(lambda: slot(handler).get("exceeded"), "the status")
        assert store.holders() == [OTHER]
        handler.until_logged("goes ahead without a slot")

        def counted() -> bool:
            values = parsed_metrics(handler.folder / "metrics.prom")
            return values.get(f'{PREFIX}fleet_limit_exceeded_total{{event="terminate"}}') == 1

        handler.until(counted, "the metric")
        vm.withdraw("terminate")
        incident = handler.until_over()
        assert whats(incident)[:2] == ["no slot is free", "goes ahead without a slot"]
        assert "goes ahead without a slot" in handler.command("history").stdout
        assert store.holders() == [OTHER]

    def test_a_preemption_does_not_ask(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        store.set(OTHER)
        handler = start(make_handler(task("lb", "preempt")))
        vm.announce("preempt")
        handler.until_traced("drain lb")
        assert store.verbs() == []


class TestByHand:
    def test_it_waits_and_fails_after_its_timeout(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        store.set(OTHER)
        handler = start(make_handler(task("lb", "manual")))
        # Time for a question and its answer.
        result = handler.command("drain", "--wait", "--timeout", "5")
        assert result.returncode == 1
        assert OTHER in result.stderr
        handler.until_state("idle")
        assert handler.trace() == []

    def test_an_earlier_one_that_got_no_slot_is_not_blamed(
        self, vm: Vm, make_handler: MakeHandler, store: Store
    ) -> None:
        store.set(OTHER)
        handler = start(make_handler(task("lb", "manual", drain=UNTIL_RELEASED)))
        vm.announce("window")
        handler.until_state("announced")
        assert OTHER in handler.command("drain", "--wait", "--timeout", "5").stderr
        store.set()
        command = handler.start_command("drain", "--wait")
        handler.until_traced("drain lb")
        assert handler.command("restore").returncode == 0
        _out, err = command.communicate(timeout=60)
        assert (command.returncode, "ended in the meantime" in err, OTHER in err) == (1, True, False)

    def test_it_drains_once_a_slot_is_free(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        store.set(OTHER)
        handler = start(make_handler(task("lb", "manual")))
        command = handler.start_command("drain", "--wait")
        handler.until(lambda: slot(handler).get("outcome") == "denied", "the answer")
        assert command.poll() is None
        store.set()
        out, err = command.communicate(timeout=60)
        assert (command.returncode, err) == (0, "")
        assert out.splitlines()[-1] == "drained"

    def test_another_vm_is_unlocked(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        store.set(OTHER)
        handler = start(make_handler(task("lb", "terminate")))
        vm.announce("terminate")
        handler.until(lambda: slot(handler).get("outcome") == "denied", "the answer")
        result = handler.command("unlock", OTHER)
        assert (result.returncode, result.stderr) == (0, "")
        handler.until_traced("drain lb")
        handler.until_logged(f"alice frees the slot of {OTHER}")
        result = handler.command("unlock", own_id(handler))
        assert result.returncode == 1
        assert "this VM is that holder" in result.stderr

    def test_nothing_is_unlocked_without_a_limit(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        handler = make_handler(task("lb", "terminate"), limit=None).start()
        result = handler.command("unlock", OTHER)
        assert (result.returncode, "no fleet limit is configured" in result.stderr) == (1, True)


class TestAStoreThatDoesNotAnswer:
    @pytest.mark.parametrize("mode", ["away", "hang", "silent"])
    def test_a_migration_is_drained(self, mode: str, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        store.set(OTHER, mode=mode)
        handler = start(make_handler(task("lb", "migrate"), notice={"migrate": 20}))
        vm.announce("migrate")
        handler.until_traced("drain lb")
        handler.until_state("drained")
        handler.until(lambda: slot(handler).get("exceeded"), "the status")
        vm.withdraw("migrate")
        assert steps(handler.until_over()) == [("drain", "lb", "ok"), ("restore", "lb", "ok")]

    def test_a_slot_that_may_have_been_taken_is_given_back(
        self, vm: Vm, make_handler: MakeHandler, store: Store
    ) -> None:
        store.set(mode="silent")
        handler = start(make_handler(task("lb", "migrate")))
        vm.announce("migrate")
        handler.until_traced("drain lb")
        vm.withdraw("migrate")
        handler.until_over()
        store.set(own_id(handler))
        handler.until(lambda: store.holders() == [], "the end of the slot")


class TestAfterTheHandler:
    def test_killed_while_it_waits(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        store.set(OTHER)
        handler = start(make_handler(task("lb", "terminate")))
        vm.announce("terminate")
        handler.until(lambda: slot(handler).get("outcome") == "denied", "the answer")
        handler.kill()
        start(handler)
        handler.until(lambda: slot(handler).get("outcome") == "denied", "the answer")
        assert handler.trace() == []
        store.set()
        handler.until_traced("drain lb")

    @pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
    def test_killed_while_it_drains(self, boot: str, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        handler = start(make_handler(task("lb", "terminate", drain=UNTIL_RELEASED)))
        vm.announce("terminate")
        handler.until_traced("drain lb")
        handler.kill()
        handler.boot(boot)
        # Another VM has taken the slot meanwhile.
        store.set(OTHER)
        handler.release()
        start(handler)
        handler.until(lambda: slot(handler).get("outcome") == "denied", "the answer")
        handler.until_state("drained")
        vm.withdraw("terminate")
        handler.until_over()
        assert handler.trace()[-1] == "restore lb"
        assert store.holders() == [OTHER]

    def test_killed_before_it_could_give_the_slot_back(self, vm: Vm, make_handler: MakeHandler, store: Store) -> None:
        handler = start(make_handler(task("lb", "migrate")))
        vm.announce("migrate")
        handler.until_state("drained")
        me = own_id(handler)
        store.set(me, mode="away")
        vm.withdraw("migrate")
        handler.until_over()
        handler.kill()
        assert store.holders() == [me]
        store.set(me)
        start(handler)
        handler.until(lambda: store.holders() == [], "the end of the slot")

    def test_an_image_does_not_give_back_the_slot_of_its_original(
        self, vm: Vm, make_vm: Callable[[], Vm], make_handler: MakeHandler, store: Store
    ) -> None:
        handler = start(make_handler(task("lb", "manual")))
        me = own_id(handler)
        assert handler.command("drain", "--wait").returncode == 0
        handler.stop()
        handler.boot("boot-2")
        handler.configure(metadata_host=make_vm().host)
        start(handler)
        handler.until_logged(f"the slot of {me} is not that of this VM")
        handler.until_state("idle")
        assert store.holders() == [me]


def test_the_limit_can_be_added_and_removed(vm: Vm, make_handler: MakeHandler, store: Store) -> None:
    handler = start(make_handler(task("lb", "migrate"), limit=None))
    assert "fleet_limit" not in handler.status()
    # A reload checks the options of the real store, which need not answer.
    limit = {"backend": "etcd", "group": "web", "slots": 1, "endpoints": ["http://127.0.0.1:1"]}
    handler.configure(fleet_limit=limit)
    handler.send(signal.SIGHUP)
    handler.until(lambda: "fleet_limit" in handler.status(), "the limit")
    handler.configure(fleet_limit={})
    handler.send(signal.SIGHUP)
    handler.until(lambda: "fleet_limit" not in handler.status(), "the end of the limit")


def test_nothing_of_it_is_imported_without_a_limit(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", "migrate"), environ={"PYTHONPROFILEIMPORTTIME": "1"}, limit=None).start()
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    handler.until_over()
    imported = re.findall(r"import time: .* (\S+)\n", handler.log())
    assert "maintenance_handler.app.handler" in imported
    assert [name for name in imported if "fleet_limit" in name or "slot" in name] == []
