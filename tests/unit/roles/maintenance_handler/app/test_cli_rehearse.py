# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `rehearse`: shown or executed, by itself or by the running handler."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

from support.handler import EVENTS, UNTIL_RELEASED, HandlerProcess, steps, task
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]


def test_shows_the_plan_and_runs_nothing(make_handler: MakeHandler) -> None:
    """How to try it out was asked in aws/aws-node-termination-handler#110."""
    handler = make_handler(
        task("lb", stage=10), task("db", stage=20, when="event.rehearsal == `false`"), task("other", "window")
    )
    result = handler.command("rehearse", "migrate")
    assert (result.returncode, result.stderr) == (0, "")
    assert "stage 10   drain    lb" in result.stdout
    assert "skipped: db, its 'when' is false for a rehearsal" in result.stdout
    assert "other" not in result.stdout
    assert result.stdout.endswith("Nothing was run. Use --execute to drain and restore.\n")
    assert not handler.state_dir.exists()


def test_as_json(make_handler: MakeHandler) -> None:
    later = task("db", stage=20, restore="echo no route; exit 6")
    handler = make_handler(later, task("lb", stage=10), task("off", when="event.rehearsal == `false`"))
    skipped = [{"task": "off", "reason": "its 'when' is false for a rehearsal"}]
    result = handler.command("rehearse", "migrate", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert [(step["phase"], step["task"]) for step in shown.pop("steps")] == [
        ("drain", "lb"),
        ("drain", "db"),
        ("restore", "db"),
        ("restore", "lb"),
    ]
    assert shown == {"event": "migrate", "executed": False, "skipped": skipped}
    handler.start()
    result = handler.command("rehearse", "migrate", "--execute", "--json")
    assert result.returncode == 1
    done = json.loads(result.stdout)
    assert (done["event"], done["executed"], done["not_restored"]) == ("migrate", True, ["db"])
    assert [(step["phase"], step["task"], step["outcome"]) for step in done["steps"]] == [
        ("drain", "lb", "ok"),
        ("drain", "db", "ok"),
        ("restore", "db", "failed"),
        ("restore", "lb", "ok"),
    ]
    assert all(step["seconds"] >= 0 for step in done["steps"])
    assert [step["task"] for step in done["skipped"]] == ["off"]


def test_drains_and_restores_without_a_running_handler(make_handler: MakeHandler) -> None:
    for event in EVENTS:
        handler = make_handler(task("lb", stage=10), task("db", stage=20), metadata_host="127.0.0.1:9")
        result = handler.command("rehearse", event, "--execute")
        assert result.returncode == 0, result.stderr
        assert handler.trace() == ["drain lb", "drain db", "restore db", "restore lb"]
        assert f"notice   rehearsal of {event} (rehearsal " in result.stdout
        assert result.stdout.index("drain    lb") < result.stdout.index("restore  lb")
        (incident,) = handler.history()
        assert [(past["event"], past["rehearsal"]) for past in incident["past"]] == [(event, True)]
        assert handler.journal()["incident"] is None


def test_marks_the_event_as_a_rehearsal(make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", "terminate", drain='cat > "$FOLDER/told"', lead=600))
    assert handler.command("rehearse", "terminate", "--execute").returncode == 0
    told = json.loads((handler.folder / "told").read_text())["event"]
    assert (told["rehearsal"], told["name"], told["source"]) == (True, "terminate", "rehearsal")


def test_fails_with_a_task_and_restores_anyway(make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", drain="echo no route; exit 6"))
    result = handler.command("rehearse", "migrate", "--execute")
    assert result.returncode == 1
    assert "exit status 6: no route" in result.stdout
    assert handler.trace() == ["drain lb", "restore lb"]


def test_rejects_an_invalid_configuration(make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", user="no-such-user"))
    result = handler.command("rehearse", "migrate", "--execute")
    assert result.returncode == 2
    assert "task 'lb', field 'user'" in result.stderr
    assert handler.trace() == []


def test_running_handler_executes_it(vm: Vm, make_handler: MakeHandler) -> None:
    """How to try it out was asked in aws/aws-node-termination-handler#110."""
    handler = make_handler(task("lb", stage=10), task("db", stage=20)).start()
    result = handler.command("rehearse", "preempt", "--execute")
    assert result.returncode == 0, result.stderr
    assert "notice   rehearsal of preempt" in result.stdout
    assert handler.trace() == ["drain lb", "drain db", "restore db", "restore lb"]
    handler.until_logged("preempt is rehearsed")
    handler.configure(tasks=[task("lb", drain="exit 3")])
    handler.send(signal.SIGHUP)
    handler.until_logged("with 1 tasks is in force")
    assert handler.command("rehearse", "preempt", "--execute").returncode == 1


def test_prints_steps_as_they_happen(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", stage=10), task("db", stage=20, drain=UNTIL_RELEASED)).start()
    rehearsal = handler.start_command("rehearse", "migrate", "--execute")
    assert rehearsal.stdout is not None
    lines = [rehearsal.stdout.readline() for _unused in range(3)]
    assert lines[0] == "drain 'lb' starts\n"
    assert lines[1].startswith("drain 'lb': ok in ")
    # It still runs.
    assert lines[2] == "drain 'db' starts\n"
    handler.release()
    rest, err = rehearsal.communicate(timeout=60)
    assert (rehearsal.returncode, err) == (0, "")
    shown = [line.partition(":")[0] for line in rest.splitlines()[:5]]
    assert shown == ["drain 'db'", "restore 'db' starts", "restore 'db'", "restore 'lb' starts", "restore 'lb'"]
    assert "Incident " in rest


def test_real_event_during_a_rehearsal_keeps_the_vm_drained(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", stage=10), task("db", stage=20, drain=UNTIL_RELEASED)).start()
    rehearsal = handler.start_command("rehearse", "terminate", "--execute")
    handler.until_traced("drain lb", "drain db")
    vm.announce("terminate")
    handler.until(lambda: len(handler.signals()) == 2, "the real event")
    handler.release()
    handler.until_state("drained")
    out, err = rehearsal.communicate(timeout=60)
    assert rehearsal.returncode == 0, err
    assert "rehearsal of terminate" in out
    assert handler.trace() == ["drain lb", "drain db"]
    vm.withdraw("terminate")
    assert len(steps(handler.until_over())) == 4


def test_works_while_a_window_is_announced_days_ahead(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", "migrate"), task("db", "window", "terminate", lead=600)).start()
    vm.announce("window")
    handler.until_state("announced")
    for _unused in range(2):
        result = handler.command("rehearse", "migrate", "--execute")
        assert result.returncode == 0, result.stderr
        # Each shows its own steps only.
        assert result.stdout.count("drain    lb") == 1
    assert handler.trace() == ["drain lb", "restore lb"] * 2
    assert handler.state() == "announced"


def test_is_rejected_while_an_event_is_handled(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", stage=10), task("db", stage=20, drain=UNTIL_RELEASED)).start()
    vm.announce("terminate")
    handler.until_traced("drain lb", "drain db")
    handler.until_state("draining")
    result = handler.command("rehearse", "migrate", "--execute")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == ("gce-maintenance-handler: the handler is draining: rehearse when nothing is drained\n")
    handler.release()
    handler.until_state("drained")
    assert handler.command("rehearse", "migrate", "--execute").returncode == 1
    assert handler.trace() == ["drain lb", "drain db"]


def test_leaves_an_open_incident_to_the_handler(vm: Vm, make_handler: MakeHandler) -> None:
    for boot in ("boot-1", "boot-2"):
        handler = make_handler(task("lb", drain=UNTIL_RELEASED)).start()
        vm.announce("terminate")
        handler.until_traced("drain lb")
        handler.kill()
        handler.boot(boot)
        before = (handler.state_dir / "journal.json").read_bytes()
        result = handler.command("rehearse", "migrate", "--execute")
        assert result.returncode == 1
        assert "an incident is open: start the handler, which closes it, before a rehearsal" in result.stderr
        assert (handler.state_dir / "journal.json").read_bytes() == before
        assert handler.trace() == ["drain lb"]
        vm.withdraw("terminate")


def test_next_handler_restores_an_interrupted_rehearsal(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", stage=10), task("db", stage=20, drain=UNTIL_RELEASED))
    rehearsal = handler.start_command("rehearse", "terminate", "--execute")
    handler.until_traced("drain lb", "drain db")
    rehearsal.kill()
    rehearsal.communicate()
    handler.start()
    handler.until_over()
    assert handler.trace() == ["drain lb", "drain db", "restore db", "restore lb"]


def test_ctrl_c_restores_and_a_second_one_leaves_it_to_the_next_handler(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", stage=10), task("db", stage=20, drain=UNTIL_RELEASED))
    rehearsal = handler.start_command("rehearse", "terminate", "--execute")
    handler.until_traced("drain lb", "drain db")
    rehearsal.send_signal(signal.SIGINT)
    rehearsal.send_signal(signal.SIGTERM)
    _unused, err = rehearsal.communicate(timeout=60)
    assert rehearsal.returncode == 1
    assert "the rehearsal was interrupted; the next handler restores what it drained" in err
    handler.start()
    handler.until_over()
    assert handler.trace() == ["drain lb", "drain db", "restore db", "restore lb"]


def test_reports_that_the_handler_stopped(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", drain=UNTIL_RELEASED)).start()
    rehearsal = handler.start_command("rehearse", "terminate", "--execute")
    handler.until_traced("drain lb")
    handler.kill()
    _unused, err = rehearsal.communicate(timeout=60)
    assert rehearsal.returncode == 1
    assert "handler stopped" in err
    assert "restores" in err
