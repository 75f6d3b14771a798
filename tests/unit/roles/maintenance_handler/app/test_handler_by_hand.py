# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators drain, restore and hold a VM by hand, through the handler that runs."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from support.handler import UNTIL_RELEASED, HandlerProcess, steps, task
from support.metrics import parsed_metrics
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]

PREFIX = "gce_maintenance_handler_"


@pytest.fixture
def make_handler(make_handler: MakeHandler) -> MakeHandler:
    return partial(make_handler, environ={"SUDO_USER": "alice"})


def lb_and_db(**fields: Any) -> tuple[dict[str, Any], ...]:
    return task("lb", "terminate", stage=10, **fields), task("db", "manual", "migrate", stage=20)


def order(handler: HandlerProcess) -> dict[str, Any]:
    (signal,) = (one for one in handler.signals() if one["order"])
    return dict(signal["order"])


def waiting_for_lb(handler: HandlerProcess, command: str) -> subprocess.Popen[str]:
    """A command with `--wait` that has shown the start of a step of the task lb, and waits for its end."""
    process = handler.start_command(command, "--wait")
    assert process.stdout is not None
    assert process.stdout.readline() == f"{command} 'lb' starts\n"
    return process


class TestDrain:
    def test_drains_waits_and_restores(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db()).start()
        result = handler.command("drain", "--wait", "--reason", "a new kernel")
        assert (result.returncode, result.stderr) == (0, "")
        assert [line.partition(":")[0] for line in result.stdout.splitlines()] == [
            "drain 'lb' starts",
            "drain 'lb'",
            "drain 'db' starts",
            "drain 'db'",
            "drained",
        ]
        assert handler.journal()["incident"]["signals"][0]["order"]["reason"] == "a new kernel"
        result = handler.command("restore", "--wait")
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.splitlines()[-1] == "restored"
        assert handler.trace() == ["drain lb", "drain db", "restore db", "restore lb"]
        (past,) = handler.until_over()["past"]
        assert (past["event"], past["order"]["reason"], past["ended_by"]) == ("manual", "a new kernel", "alice")
        assert "by alice: a new kernel" in handler.command("history").stdout

    def test_is_in_the_journal_before_anything_runs(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(task("lb", "terminate", drain='cp "$FOLDER/state/journal.json" "$FOLDER/seen"')).start()
        assert handler.command("drain", "--wait").returncode == 0
        lines = (handler.folder / "seen").read_bytes().rstrip().splitlines()
        incident = json.loads(lines[-1])["incident"]
        assert incident["signals"][0]["order"]["as_event"] == "terminate"
        assert [step["task"] for step in incident["steps"]] == ["lb"]

    def test_does_not_wait_unless_told_to(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(task("lb", "terminate", drain=UNTIL_RELEASED)).start()
        result = handler.command("drain")
        assert (result.returncode, result.stdout) == (0, "draining as for terminate, until it is restored\n")
        handler.release()
        handler.until_state("drained")

    def test_as_another_event(self, vm: Vm, make_handler: MakeHandler) -> None:
        told = task("lb", "migrate", drain='echo "$GCE_EVENT" > "$FOLDER/told"')
        handler = make_handler(told, task("db", "terminate")).start()
        assert handler.command("drain", "--as", "migrate", "--wait").returncode == 0
        assert (handler.folder / "told").read_text() == "migrate\n"
        assert handler.trace() == ["drain lb"]

    def test_is_shown_everywhere(self, vm: Vm, make_handler: MakeHandler) -> None:
        vm.set("attributes/enable-guest-attributes", "TRUE")
        handler = make_handler(*lb_and_db())
        handler.configure(metrics_textfile=str(handler.folder / "metrics.prom"), guest_attributes=True)
        handler.start()
        assert handler.command("drain", "--wait", "--for", "2h", "--reason", "why").returncode == 0
        shown = handler.command("status")
        assert shown.returncode == 0
        assert "  drained by hand as for terminate since " in shown.stdout
        assert "by alice: why" in shown.stdout
        assert order(handler)["until"] is not None

        def metrics() -> bool:
            values = parsed_metrics(handler.folder / "metrics.prom")
            return (
                values.get(f'{PREFIX}event{{event="manual",rehearsal="false"}}'),
                values.get(f"{PREFIX}healthy"),
            ) == (
                1,
                1,
            )

        handler.until(metrics, "the metrics of a healthy handler that is drained by hand")

        def attribute() -> Any:
            held = vm.control.instance(vm.name)["guest_attributes"]
            text = held.get("maintenance-handler", {}).get("status")
            return text and json.loads(text).get("order")

        assert handler.until(attribute, "the guest attribute")["reason"] == "why"

    def test_a_task_that_fails(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db(drain="echo no route; exit 6")).start()
        result = handler.command("drain", "--wait")
        assert result.returncode == 1
        assert "exit status 6" in result.stdout
        assert result.stdout.endswith("drained, but these tasks failed: lb\n")
        assert handler.state() == "drained"
        (lb, _db) = json.loads(handler.command("status", "--json", "--output").stdout)["incident"]["steps"]
        assert lb["output"] == "no route"
        assert "output" not in handler.status()["incident"]["steps"][0]

    def test_a_task_without_restore_is_over_with_its_drain(self, vm: Vm, make_handler: MakeHandler) -> None:
        mail = task("mail", "migrate", drain="false", restore=None)
        handler = make_handler(mail, task("lb", "terminate"), task("db", "preempt")).start()
        vm.announce("window")
        handler.until_state("announced")
        assert handler.command("drain", "--as", "migrate", "--wait").returncode == 1
        assert handler.command("restore", "--wait").returncode == 0
        result = handler.command("drain", "--wait")
        assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "drained")

    def test_shows_nothing_of_an_earlier_drain_of_the_incident(self, vm: Vm, make_handler: MakeHandler) -> None:
        breaks = 'test -e "$FOLDER/mended" || { touch "$FOLDER/mended"; exit 6; }'
        handler = make_handler(task("lb", "terminate", drain=breaks), task("db", "preempt")).start()
        vm.announce("window")
        handler.until_state("announced")
        assert handler.command("drain", "--wait").returncode == 1
        assert handler.command("restore", "--wait").returncode == 0
        result = handler.command("drain", "--wait", "--as", "preempt")
        assert (result.returncode, "lb" in result.stdout, "drain 'db' starts" in result.stdout) == (0, False, True)
        assert handler.command("restore", "--wait").returncode == 0
        assert handler.command("drain", "--wait").returncode == 0

    def test_twice_the_second_is_refused(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db()).start()
        assert handler.command("drain", "--reason", "mine").returncode == 0
        result = handler.command("drain", "--for", "1s")
        assert result.returncode == 1
        assert "alice (mine) has drained the VM since" in result.stderr
        handler.until_state("drained")
        assert order(handler)["reason"] == "mine"

    def test_of_two_at_once_one_is_accepted(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(task("lb", "terminate", drain=UNTIL_RELEASED)).start()
        both = [handler.start_command("drain", "--reason", name) for name in ("one", "other")]
        results = [(command.communicate(timeout=60)[1], command.returncode) for command in both]
        assert sorted(code for _unused, code in results) == [0, 1]
        assert any("has drained the VM since" in err for err, _unused in results)
        handler.release()
        handler.until_state("drained")
        assert handler.trace() == ["drain lb"]

    def test_what_cannot_be_is_refused(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(task("lb", "migrate"))
        for command in ("drain", "hold", "unhold"):
            result = handler.command(command)
            assert result.stderr == "gce-maintenance-handler: the handler is not running: start it first\n"
        handler.start()
        assert "no task is for manual or terminate" in handler.command("drain").stderr
        for arguments in (
            ["--as", "manual"],
            ["--for", "soon"],
            ["--for", "0"],
            ["--reason", "a\nb"],
            ["--reason", "x" * 201],
        ):
            result = handler.command("drain", *arguments)
            assert (result.returncode, result.stdout) == (2, ""), arguments
        for seconds in ("-1", "inf", "nan", "soon"):
            result = handler.command("drain", "--wait", "--timeout", seconds)
            assert result.returncode == 2
            assert f"argument --timeout: {seconds!r} is not a number of seconds\n" in result.stderr
        assert handler.state() == "idle"

    def test_help_says_that_the_timeout_is_also_for_a_slot(self, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db())
        for command, is_for_a_slot in (("drain", True), ("restore", False)):
            _unused, _unused, timeout = handler.command(command, "--help").stdout.rpartition("--timeout SECONDS")
            assert ("slot" in timeout) is is_for_a_slot

    def test_a_dry_run_shows_what_would_run(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db(), task("app", "terminate", when="event.name == 'window'"))
        shown = json.loads(handler.command("drain", "--dry-run", "--json").stdout)
        assert [(one["task"], one["as_event"]) for one in shown] == [("lb", "terminate"), ("db", "manual")]
        assert "stage 20   drain    db" in handler.command("drain", "--dry-run").stdout
        assert handler.trace() == []

    def test_the_plan_has_it(self, make_handler: MakeHandler) -> None:
        plan = make_handler(*lb_and_db()).command("plan").stdout
        _unused, _unused, manual = plan.partition("manual (ordered by an operator")
        assert "drain    lb" in manual
        assert "drain    db" in manual


class TestAfterTheHandler:
    def test_killed_in_the_middle_the_next_one_finishes_it(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(
            task("lb", "terminate", stage=10), task("db", "terminate", stage=20, drain=UNTIL_RELEASED)
        )
        handler.start()
        assert handler.command("drain", "--reason", "why").returncode == 0
        handler.until_traced("drain lb", "drain db")
        handler.kill()
        assert "an incident is open" in handler.command("status").stdout
        handler.release()
        handler.start()
        handler.until_state("drained")
        assert handler.trace() == ["drain lb", "drain db", "drain db"]
        assert order(handler)["reason"] == "why"
        assert handler.command("restore", "--wait").returncode == 0
        assert handler.trace()[3:] == ["restore db", "restore lb"]

    def test_who_waits_is_told_that_the_next_one_continues(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(task("lb", "terminate", drain=UNTIL_RELEASED)).start()
        command = waiting_for_lb(handler, "drain")
        handler.kill()
        out, err = command.communicate(timeout=60)
        assert (command.returncode, "failed" in out) == (1, False)
        told = err + "".join(json.loads(handler.command("status", "--json").stdout)["problems"])
        assert "the handler stopped in the meantime; the next one continues" in told
        assert "an incident is open, with lb drained" in told
        assert "restores what was drained" not in told
        handler.release()

    def test_a_restore_that_goes_on_in_the_next_one_is_not_called_restored(
        self, vm: Vm, make_handler: MakeHandler
    ) -> None:
        handler = make_handler(task("lb", "terminate", restore=UNTIL_RELEASED)).start()
        assert handler.command("drain", "--wait").returncode == 0
        command = waiting_for_lb(handler, "restore")
        handler.kill()
        out, err = command.communicate(timeout=60)
        assert (command.returncode, "restored" in out) == (1, False)
        assert "the handler stopped in the meantime; the next one continues" in err

    @pytest.mark.parametrize("command", ["drain", "restore"])
    def test_one_that_stops_at_the_end_has_done_it(self, vm: Vm, make_handler: MakeHandler, command: str) -> None:
        handler = make_handler(task("lb", "terminate", **{command: UNTIL_RELEASED})).start()
        if command == "restore":
            assert handler.command("drain", "--wait").returncode == 0
        waiting = waiting_for_lb(handler, command)
        waiting.send_signal(signal.SIGSTOP)
        handler.send(signal.SIGTERM)
        handler.until_logged("stopping after the running steps")
        handler.release()
        assert handler.wait() == 0
        waiting.send_signal(signal.SIGCONT)
        out, err = waiting.communicate(timeout=60)
        assert (waiting.returncode, err) == (0, "")
        assert out.splitlines()[-1] == {"drain": "drained", "restore": "restored"}[command]

    def test_a_reboot_in_the_middle(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(
            task("lb", "terminate", stage=10), task("db", "terminate", stage=20, drain=UNTIL_RELEASED)
        )
        handler.start()
        assert handler.command("drain").returncode == 0
        handler.until_traced("drain lb", "drain db")
        handler.kill()
        handler.boot("boot-2")
        handler.release()
        handler.start()
        handler.until_state("drained")
        # A poll of each key has said that nothing is announced.
        handler.until(handler.has_heard_all, "an answer for each key")
        assert handler.state() == "drained"
        assert handler.trace() == ["drain lb", "drain db", "drain db"]
        assert handler.command("restore", "--wait").returncode == 0
        assert handler.until_over()["held"] == []

    def test_stopped_and_started_it_stays_drained(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db()).start()
        assert handler.command("drain", "--wait").returncode == 0
        assert handler.stop() == 0
        handler.boot("boot-2")
        handler.start()
        handler.until_state("drained")
        assert handler.trace() == ["drain lb", "drain db"]

    def test_an_image_of_a_drained_vm_starts_clean(
        self, vm: Vm, make_vm: Callable[[], Vm], make_handler: MakeHandler
    ) -> None:
        handler = make_handler(*lb_and_db()).start()
        handler.until(lambda: handler.journal().get("instance_id"), "the instance in the journal")
        assert handler.command("drain", "--wait").returncode == 0
        handler.stop()
        handler.boot("boot-2")
        handler.configure(metadata_host=make_vm().host)
        handler.start()
        handler.until_logged("the journal belongs to instance")
        handler.until_state("idle")
        assert handler.trace() == ["drain lb", "drain db"]

    def test_its_time_is_over(self, vm: Vm, make_handler: MakeHandler) -> None:
        """The handler is away meanwhile, so that no test has to wait."""
        handler = make_handler(*lb_and_db()).start()
        assert handler.command("drain", "--wait", "--for", "1h").returncode == 0
        handler.kill()
        journal = handler.state_dir / "journal.json"
        entry = handler.journal()
        (signal,) = entry["incident"]["signals"]
        signal["order"]["ends"] = signal["noticed"]["clock"]
        journal.write_text(json.dumps(entry))
        handler.start()
        (past,) = handler.until_over()["past"]
        assert past["ended_by"] == ""
        assert handler.trace()[2:] == ["restore db", "restore lb"]
        assert "its time is over" in handler.command("history").stdout


class TestWithThePlatform:
    def test_an_event_on_top_drains_nothing_twice(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db()).start()
        assert handler.command("drain", "--wait").returncode == 0
        vm.announce("terminate")
        handler.until(lambda: len(handler.signals()) == 2, "the event")
        assert handler.trace() == ["drain lb", "drain db"]
        result = handler.command("restore", "--wait")
        assert result.returncode == 1
        assert "terminate is announced: what is drained for it is restored when it is over" in result.stdout
        # Nothing but the operator kept it.
        assert handler.trace() == ["drain lb", "drain db", "restore db"]
        vm.withdraw("terminate")
        incident = handler.until_over()
        assert handler.trace()[3:] == ["restore lb"]
        assert [past["event"] for past in incident["past"]] == ["manual", "terminate"]

    def test_over_before_the_operator_restores(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db()).start()
        assert handler.command("drain", "--wait").returncode == 0
        vm.announce("terminate")
        handler.until(lambda: len(handler.signals()) == 2, "the event")
        vm.withdraw("terminate")
        handler.until(lambda: len(handler.signals()) == 1, "its end")
        assert handler.state() == "drained"
        assert handler.command("restore", "--wait").returncode == 0
        assert handler.trace() == ["drain lb", "drain db", "restore db", "restore lb"]

    def test_ordered_during_an_event(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db()).start()
        vm.announce("migrate")
        handler.until_state("drained")
        assert handler.command("drain", "--wait").returncode == 0
        assert handler.trace() == ["drain db", "drain lb"]
        vm.withdraw("migrate")
        handler.until(lambda: len(handler.signals()) == 1, "its end")
        assert handler.trace() == ["drain db", "drain lb"]
        assert handler.command("restore", "--wait").returncode == 0
        assert len(steps(handler.until_over())) == 4

    def test_without_a_drain_by_hand_restore_says_what_keeps_it(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db()).start()
        vm.announce("terminate")
        handler.until_state("drained")
        result = handler.command("restore")
        assert result.returncode == 1
        assert "terminate is announced" in result.stderr

    def test_a_rehearsal_is_refused_meanwhile(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db()).start()
        assert handler.command("drain", "--wait").returncode == 0
        assert "rehearse when nothing is drained" in handler.command("rehearse", "migrate", "--execute").stderr


class TestHold:
    def test_stays_drained_after_the_event_until_it_is_released(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db()).start()
        vm.announce("terminate")
        handler.until_state("drained")
        result = handler.command("hold", "--reason", "looking at it")
        assert (result.returncode, result.stderr) == (0, "")
        vm.withdraw("terminate")
        handler.until(lambda: handler.signals() == [], "the end of the event")
        assert handler.state() == "drained"
        assert "held since" in handler.command("status").stdout
        assert "held by alice: looking at it: use unhold" in handler.command("restore").stderr
        assert "alice (looking at it) holds what is drained" in handler.command("hold").stderr
        handler.kill()
        handler.boot("boot-2")
        handler.start()
        handler.until_state("drained")
        result = handler.command("unhold", "--wait")
        assert (result.returncode, result.stderr) == (0, "")
        incident = handler.until_over()
        assert (incident["hold"]["reason"], incident["hold"]["released_by"]) == ("looking at it", "alice")
        assert handler.trace() == ["drain lb", "restore lb"]

    def test_a_restore_by_hand_does_not_release_it(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db()).start()
        assert handler.command("drain", "--wait").returncode == 0
        assert handler.command("hold").returncode == 0
        result = handler.command("restore", "--wait")
        assert result.returncode == 1
        assert "held by alice: use unhold" in result.stdout
        assert handler.trace() == ["drain lb", "drain db"]
        assert handler.command("unhold", "--wait").returncode == 0
        assert handler.trace()[2:] == ["restore db", "restore lb"]

    @pytest.mark.parametrize("command", ["restore", "acknowledge"])
    def test_what_is_held_is_not_called_restored(self, vm: Vm, make_handler: MakeHandler, command: str) -> None:
        handler = make_handler(*lb_and_db()).start()
        assert handler.command("drain", "--wait").returncode == 0
        assert handler.command("hold").returncode == 0
        assert handler.command("restore", "--wait").returncode == 1
        result = handler.command(command)
        assert result.returncode == 1
        assert "held by alice: use unhold" in result.stderr
        assert "restored" not in result.stderr

    def test_what_is_being_restored_is_not_called_restored(self, vm: Vm, make_handler: MakeHandler) -> None:
        handler = make_handler(*lb_and_db(restore=UNTIL_RELEASED)).start()
        assert handler.command("drain", "--wait").returncode == 0
        assert handler.command("restore").returncode == 0
        handler.until_traced("drain lb", "drain db", "restore db", "restore lb")
        result = handler.command("restore")
        assert (result.returncode, "restoring" in result.stderr, "restored" in result.stderr) == (1, True, False)
        handler.release()
        handler.until_over()

    @pytest.mark.parametrize("command", ["hold", "unhold"])
    def test_with_nothing_to_hold_it_is_refused(self, vm: Vm, make_handler: MakeHandler, command: str) -> None:
        result = make_handler(*lb_and_db()).start().command(command)
        assert result.returncode == 1
        assert "nothing is" in result.stderr
