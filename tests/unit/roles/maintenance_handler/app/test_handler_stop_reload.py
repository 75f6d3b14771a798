# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGTERM and SIGHUP, while idle and during a drain."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from support.handler import UNTIL_RELEASED, HandlerProcess, steps, task
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_at_once_while_idle(number: signal.Signals, vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()
    handler.send(number)
    assert handler.wait() == 0
    assert handler.log().rstrip().endswith("stopped")
    assert handler.command("status").stdout.startswith("NOT WELL, idle\n  problem: is not running")


def test_stops_while_drained_and_leaves_the_restore_to_the_next(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()
    vm.announce("terminate")
    handler.until_state("drained")
    assert handler.stop() == 0
    assert handler.trace() == ["drain lb"]
    vm.withdraw("terminate")
    handler.start()
    handler.until_over()
    assert handler.trace() == ["drain lb", "restore lb"]


def test_finishes_a_drain_before_it_stops(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", stage=10, drain=UNTIL_RELEASED), task("queue", stage=20)).start()
    vm.announce("terminate")
    handler.until_traced("drain lb")
    handler.send(signal.SIGTERM)
    handler.until_logged("stopping after the running steps")
    assert handler.running.poll() is None
    handler.release()
    assert handler.wait() == 0
    assert handler.trace() == ["drain lb", "drain queue"]
    handler.start()
    handler.until_state("drained")
    assert handler.trace() == ["drain lb", "drain queue"]


def test_second_sigterm_hands_over_through_the_journal(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", stage=10), task("queue", stage=20, drain=UNTIL_RELEASED)).start()
    vm.announce("terminate")
    handler.until_traced("drain lb", "drain queue")
    handler.send(signal.SIGTERM)
    handler.until_logged("stopping after the running steps")
    handler.send(signal.SIGTERM)
    assert handler.wait() == 0
    # They are killed, and nothing else would end them.
    handler.until(lambda: handler.descendants() == [], "no process is left")
    assert [step["outcome"] for step in handler.journal()["incident"]["steps"]] == ["ok", ""]

    handler.release()
    handler.start()
    handler.until_state("drained")
    assert handler.trace() == ["drain lb", "drain queue", "drain queue"]
    vm.withdraw("terminate")
    assert steps(handler.until_over())[1] == ("drain", "queue", "interrupted")


def test_limits_a_drain_to_the_stop_timeout(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", "terminate", drain=UNTIL_RELEASED, timeout=60), stop_timeout=1).start()
    vm.announce("terminate")
    handler.until_traced("drain lb")
    assert handler.stop() == 0
    assert handler.journal()["incident"]["steps"][0]["outcome"] == ""


def test_handles_a_preemption_that_stops_it(vm: Vm, make_handler: MakeHandler) -> None:
    """A preemption shuts the system down: SIGTERM may be faster than the answer of the metadata server."""
    handler = make_handler(task("lb"), poll_timeout=30).start()
    until_a_question_hangs(vm, handler)
    vm.announce("preempt")
    assert handler.stop() == 0
    assert handler.trace() == ["drain lb"]
    assert handler.journal()["incident"]["signals"][0]["event"] == "preempt"


def until_a_question_hangs(vm: Vm, handler: HandlerProcess) -> None:
    """Have the handler's own question for a preemption hang, so that only a look can find it."""
    handler.until(lambda: vm.hanging_gets() == len(handler.watched_keys()), "a hanging GET for each key")
    vm.fault("hang", path="instance/preempted", count=1)
    # Answered once more, so that the next question is the one that hangs.
    vm.set("preempted", "FALSE ")
    handler.until(lambda: any(one["status"] == 0 for one in vm.requests("preempted")), "a question that hangs")


def looks(vm: Vm) -> int:
    """The number of requests for `preempted` without waiting."""
    return sum("wait_for_change" not in one["query"] for one in vm.requests("preempted"))


def on_spot(vm: Vm, handler: HandlerProcess, module: str = "maintenance_handler") -> HandlerProcess:
    vm.set("scheduling/preemptible", "TRUE")
    handler.start(module=module)
    handler.until(lambda: handler.status()["reach"], "which events can reach this VM")
    return handler


def test_checks_for_a_preemption_while_it_stops(vm: Vm, make_handler: MakeHandler) -> None:
    """`preempted` can become TRUE half a second after SIGTERM."""
    handler = on_spot(vm, make_handler(task("lb"), poll_timeout=30))
    until_a_question_hangs(vm, handler)
    # The first look fails, so that it takes another one.
    vm.fault("503", path="instance/preempted", count=1)
    vm.announce("preempt")
    assert handler.stop() == 0
    assert looks(vm) > 1
    assert handler.trace() == ["drain lb"]


def test_checks_for_a_preemption_during_its_whole_notice_at_a_shutdown(vm: Vm, make_handler: MakeHandler) -> None:
    handler = on_spot(vm, make_handler(task("lb")), module="support.shutting_down")
    handler.send(signal.SIGTERM)
    handler.until_logged("the machine is shutting down: checking for a preemption for 30 s")
    # More looks than the second has in which a handler looks that is merely restarted.
    handler.until(lambda: looks(vm) > 15, "many looks")
    vm.announce("preempt")
    assert handler.wait() == 0
    assert handler.trace() == ["drain lb"]


def test_waits_for_the_answer_of_a_busy_systemd(vm: Vm, make_handler: MakeHandler) -> None:
    handler = on_spot(vm, make_handler(task("lb")), module="support.shutting_down_slowly")
    handler.send(signal.SIGTERM)
    # More looks than the second has in which a handler looks that is merely restarted.
    handler.until(lambda: handler.process_ended() or looks(vm) > 15, "many looks")
    handler.release()
    handler.until_logged("the machine is shutting down: checking for a preemption for 30 s")
    vm.announce("preempt")
    assert handler.wait() == 0
    assert handler.trace() == ["drain lb"]


def test_limits_the_checks_to_the_stop_timeout(vm: Vm, make_handler: MakeHandler) -> None:
    handler = on_spot(vm, make_handler(task("lb"), stop_timeout=2), module="support.shutting_down")
    assert handler.stop() == 0
    assert "checking for a preemption for 2 s" in handler.log()


def test_second_sigterm_ends_the_checks(vm: Vm, make_handler: MakeHandler) -> None:
    handler = on_spot(vm, make_handler(task("lb")), module="support.shutting_down")
    handler.send(signal.SIGTERM)
    handler.until_logged("the machine is shutting down")
    assert handler.stop() == 0


@pytest.fixture
def fake_systemctl(tmp_path: Path) -> str:
    """A program of that name, which waits like it: the first lines of a task's script."""
    folder = tmp_path / "bin"
    folder.mkdir()
    # A shell whose first argument is its script.
    shutil.copy(shutil.which("bash") or "/bin/bash", folder / "systemctl")
    for verb in ("stop", "--no-block"):
        (folder / verb).write_text(UNTIL_RELEASED)
    return f"PATH={folder}:$PATH; cd {folder};"


def test_warns_of_a_systemctl_that_waits_for_the_shutdown(
    fake_systemctl: str, vm: Vm, make_handler: MakeHandler
) -> None:
    """`systemctl stop` in a drain waited for a systemd that waited for the drain."""
    waits = f"{fake_systemctl} systemctl stop db.service; :"
    does_not = f"{fake_systemctl} systemctl -- --no-block stop lb.service; :"
    handler = make_handler(
        task("db", "terminate", drain=waits, timeout=60), task("lb", "terminate", drain=does_not, timeout=60)
    ).start(module="support.shutting_down")
    vm.announce("terminate")
    handler.until(lambda: len(handler.trace()) == 2, "both drains")
    handler.send(signal.SIGTERM)
    handler.until_logged(
        "drain 'db': `systemctl stop db.service` waits for systemd, which is shutting the machine down"
    )
    assert "Use `systemctl --no-block`" in handler.log()
    handler.release()
    assert handler.wait() == 0
    assert handler.log().count("waits for systemd") == 1


def test_does_not_warn_of_a_systemctl_if_only_the_handler_stops(
    fake_systemctl: str, vm: Vm, make_handler: MakeHandler
) -> None:
    handler = make_handler(task("db", "terminate", drain=f"{fake_systemctl} systemctl stop db.service; :")).start()
    vm.announce("terminate")
    handler.until_traced("drain db")
    handler.send(signal.SIGTERM)
    handler.until_logged("stopping after the running steps")
    handler.release()
    assert handler.wait() == 0
    assert "waits for systemd" not in handler.log()


def test_does_not_check_for_a_preemption_without_a_task_for_it(vm: Vm, make_handler: MakeHandler) -> None:
    handler = on_spot(vm, make_handler(task("lb", "migrate")))
    assert handler.stop() == 0
    assert looks(vm) == 0


def test_sighup_loads_a_new_configuration(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb"), log_level="warning").start()
    before = handler.status()["config_digest"]
    handler.configure(tasks=[task("queue")], log_level="info")
    handler.send(signal.SIGHUP)
    handler.until(lambda: handler.status()["config_digest"] != before, "the new configuration")
    assert handler.status()["restart_required"] is False
    handler.until_logged("with 1 tasks is in force")
    vm.announce("migrate")
    handler.until_state("drained")
    assert handler.trace() == ["drain queue"]


REFUSED = (
    ("{", "does not parse as JSON"),
    ('{"state_dir": "/tmp", "runtime_dir": "/tmp", "task": []}', "field 'task': is unknown"),
    (
        '{"state_dir": "/tmp", "runtime_dir": "/tmp", "tasks": [{"name": "x", "on": ["migrate"], "drain": ["/no"]}]}',
        "field 'drain': program '/no' does not exist",
    ),
)


def test_rejects_an_invalid_configuration_and_keeps_the_current_one(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()
    digest = handler.status()["config_digest"]

    def until_refused(problem: str) -> None:
        handler.send(signal.SIGHUP)
        handler.until(lambda: problem in "".join(handler.status()["config_refused"]), f"the refusal: {problem}")

    for new, problem in REFUSED:
        handler.config_path.write_text(new)
        until_refused(problem)
    handler.config_path.unlink()
    until_refused("cannot be read")
    refusal = "configuration rejected; keeping the current one: "
    handler.until(lambda: handler.log().count(refusal) > len(REFUSED), "a line for each refusal")
    assert handler.log().count(refusal) == len(REFUSED) + 1
    vm.announce("migrate")
    handler.until_state("drained")
    assert handler.trace() == ["drain lb"]

    handler.configure()
    handler.send(signal.SIGHUP)
    handler.until(lambda: not handler.status()["config_refused"], "the good configuration")
    assert handler.status()["config_digest"] == digest


def test_reload_during_a_drain_keeps_started_tasks(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(
        task("lb", stage=10), task("queue", stage=20, drain=UNTIL_RELEASED), task("database", stage=30)
    ).start()
    vm.announce("terminate")
    handler.until_traced("drain lb", "drain queue")
    before = handler.status()["config_digest"]
    handler.configure(
        tasks=[
            task("lb", stage=10, restore='echo "with the new command" >> "$FOLDER/trace"'),
            task("cache", stage=40),
        ]
    )
    handler.send(signal.SIGHUP)
    handler.until(lambda: handler.status()["config_digest"] != before, "the new configuration")
    handler.release()
    handler.until_state("drained")
    vm.withdraw("terminate")
    handler.until_over()
    # `queue` was drained and is removed from the configuration; `database` was not started and is removed.
    assert handler.trace() == [
        "drain lb",
        "drain queue",
        "drain cache",
        "restore cache",
        "restore queue",
        "restore lb",
    ]


def test_reports_changes_that_require_a_restart(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    handler = make_handler(task("lb")).start()
    status_path = Path(handler.config["runtime_dir"]) / "status.json"

    def reload() -> None:
        before = handler.status()["config_digest"]
        handler.configure(tasks=[*handler.config["tasks"], task(f"task {len(handler.config['tasks'])}")])
        handler.send(signal.SIGHUP)
        handler.until(lambda: handler.status()["config_digest"] != before, "the new configuration")

    handler.config["poll_timeout"] = 1
    reload()
    assert handler.status()["restart_required"] is True
    handler.until_logged("poll_timeout: the change requires a restart")
    # Readers of the status see the effective settings of the handler.
    assert handler.status()["poll_timeout"] == 60
    reload()
    assert handler.status()["restart_required"] is True
    handler.config["poll_timeout"] = 60
    reload()
    assert handler.status()["restart_required"] is False

    handler.config_path.write_text(handler.config_path.read_text().replace(str(status_path.parent), str(tmp_path)))
    handler.send(signal.SIGHUP)
    handler.until(lambda: handler.status()["restart_required"], "the need for a restart, in the status")
    assert not (tmp_path / "status.json").exists()
