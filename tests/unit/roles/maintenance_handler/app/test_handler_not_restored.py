# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failed restore is unhealthy, and retried until it succeeds or is acknowledged."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from support.handler import UNTIL_RELEASED, HandlerProcess, task
from support.metrics import parsed_metrics
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]

# For the shell in a task: fails until the test lets it succeed.
NEEDS_API = 'test -e "$FOLDER/api"'
PREFIX = "gce_maintenance_handler_"


def unrestored(vm: Vm, handler: HandlerProcess) -> HandlerProcess:
    """Start a handler, and have an event come and go, after which a restore fails."""
    handler.start()
    vm.announce("terminate")
    handler.until_state("drained")
    vm.withdraw("terminate")
    handler.until_state("not restored")
    return handler


def status_of(handler: HandlerProcess) -> tuple[int, dict[str, Any]]:
    result = handler.command("status", "--json")
    return result.returncode, json.loads(result.stdout)


def last_step(handler: HandlerProcess) -> dict[str, Any]:
    return dict(handler.history()[-1]["steps"][-1])


def test_is_unhealthy_and_retried_until_it_succeeds(vm: Vm, make_handler: MakeHandler) -> None:
    metrics = "metrics.prom"
    handler = make_handler(task("lb", stage=10), task("app", stage=20, restore=NEEDS_API), restore_retry_every=1)
    handler.configure(metrics_textfile=str(handler.folder / metrics))
    unrestored(vm, handler)

    def between_two_tries() -> tuple[int, dict[str, Any]] | None:
        found = status_of(handler)
        return found if found[1]["state"] == "not restored" else None

    code, now = handler.until(between_two_tries, "the state between two tries")
    assert (code, now["healthy"], now["incident"]["held"]) == (1, False, ["app"])
    (problem,) = now["problems"]
    assert problem.startswith("could not restore 'app' in ")
    assert "exit status 1" in problem

    def told() -> bool:
        values = parsed_metrics(handler.folder / metrics)
        return (values.get(f"{PREFIX}healthy"), values.get(f"{PREFIX}not_restored_tasks")) == (0, 1)

    handler.until(told, "the metrics of a task that is not restored")
    handler.until(lambda: handler.trace().count("restore app") > 2, "two more tries")
    assert handler.history() == []
    (handler.folder / "api").touch()
    incident = handler.until_over()
    assert (incident["phase"], incident["held"]) == ("closed", [])
    assert status_of(handler)[0] == 0
    assert handler.trace().count("restore lb") == 1
    handler.until(lambda: parsed_metrics(handler.folder / metrics).get(f"{PREFIX}healthy") == 1, "a good word")


def test_temporarily_missing_program_is_retried(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb"), restore_retry_every=1)
    program = handler.folder / "mount" / "restore"
    handler.configure(tasks=[{**task("lb"), "restore": [str(program)]}])
    unrestored(vm, handler)

    def not_started() -> bool:
        # Between two tries.
        return str(handler.status()["incident"]["steps"][-1]["outcome"]) == "not started"

    handler.until(not_started, "a try that could not be started")
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    assert handler.until_over()["steps"][-1]["outcome"] == "ok"


def test_is_kept_across_a_restart(vm: Vm, make_handler: MakeHandler) -> None:
    handler = unrestored(vm, make_handler(task("lb", restore=NEEDS_API)))
    handler.kill()
    code, now = status_of(handler)
    assert (code, now["state"], now["incident"]["held"]) == (1, "not restored", ["lb"])
    tries = handler.trace().count("restore lb")
    handler.start()
    handler.until(lambda: handler.trace().count("restore lb") > tries, "another try")
    handler.until_state("not restored")
    # Nothing runs, so it stops at once.
    assert handler.stop() == 0
    (handler.folder / "api").touch()
    handler.start()
    handler.until_over()
    assert handler.trace().count("drain lb") == 1


def test_is_kept_across_a_reboot(vm: Vm, make_handler: MakeHandler) -> None:
    handler = unrestored(vm, make_handler(task("lb", restore=NEEDS_API)))
    handler.kill()
    handler.boot("boot-2")
    (handler.folder / "api").touch()
    handler.start()
    assert handler.until_over()["held"] == []
    assert handler.trace().count("drain lb") == 1


def test_reload_with_a_fixed_command_restores_it(vm: Vm, make_handler: MakeHandler) -> None:
    handler = unrestored(vm, make_handler(task("lb", restore="exit 3")))
    handler.configure(tasks=[task("lb", restore='touch "$FOLDER/mended"')])
    handler.send(signal.SIGHUP)
    assert handler.until_over()["steps"][-1]["outcome"] == "ok"
    assert (handler.folder / "mended").exists()


def test_restore_retries_now_and_shows_the_result(vm: Vm, make_handler: MakeHandler) -> None:
    refused = task("lb", restore=f"{NEEDS_API} || {{ echo no API; exit 4; }}")
    # By itself the handler retries after 600 s only.
    handler = unrestored(vm, make_handler(refused, restore_retry_for=0))
    tries = handler.trace().count("restore lb")
    result = handler.command("restore", "lb")
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.startswith("restore 'lb': failed in ")
    assert "exit status 4" in result.stdout
    assert handler.trace().count("restore lb") == tries + 1
    (handler.folder / "api").touch()
    result = handler.command("restore")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("restore 'lb': ok in ")
    handler.until_over()
    handler.until_logged("asks to restore 'lb'")


def test_restore_waits_for_a_running_attempt(vm: Vm, make_handler: MakeHandler) -> None:
    slow = f'test -e "$FOLDER/slow" || exit 3; touch "$FOLDER/runs"; {UNTIL_RELEASED}'
    handler = unrestored(vm, make_handler(task("lb", restore=slow, restore_timeout=60), restore_retry_every=1))
    (handler.folder / "slow").touch()
    handler.until((handler.folder / "runs").exists, "a running attempt")
    command = handler.start_command("restore", "lb")
    handler.until_logged("asks to restore 'lb'")
    handler.release()
    out, err = command.communicate(timeout=60)
    assert (command.returncode, err) == (0, "")
    assert out.startswith("restore 'lb': ok in ")


def test_acknowledge_closes_it_and_records_the_user(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", restore="exit 3"), environ={"SUDO_USER": "ann"}, restore_retry_for=0)
    unrestored(vm, handler)
    result = handler.command("acknowledge", "lb")
    assert (result.returncode, result.stdout, result.stderr) == (0, "acknowledged: lb\n", "")
    incident = handler.until_over()
    (acknowledged,) = incident["acknowledged"]
    assert (acknowledged["task"], acknowledged["by"]) == ("lb", "ann")
    handler.until_logged("ann acknowledges that 'lb' is not restored")
    assert "acknowledged lb as not restored" in handler.command("history").stdout
    assert status_of(handler)[0] == 0


@pytest.mark.parametrize("command", ["restore", "acknowledge"])
def test_commands_fail_if_all_tasks_are_restored(vm: Vm, make_handler: MakeHandler, command: str) -> None:
    # Retried after 600 s, so that nothing runs meanwhile.
    handler = make_handler(task("lb", restore="exit 3"), restore_retry_for=0)
    result = handler.command(command)
    assert (result.returncode, result.stdout) == (1, "")
    assert "all tasks are restored" in result.stderr
    handler.start()
    vm.announce("terminate")
    handler.until_state("drained")
    assert "terminate is announced" in handler.command(command, "lb").stderr
    vm.withdraw("terminate")
    handler.until_state("not restored")
    result = handler.command(command, "db")
    assert result.returncode == 1
    assert result.stderr == "gce-maintenance-handler: 'db' is not among what is not restored: 'lb'\n"
    handler.kill()
    stderr = handler.command(command, "lb").stderr
    assert "the handler is not running: start it to continue the incident in its journal" in stderr


def test_invalid_request_is_logged(vm: Vm, make_handler: MakeHandler) -> None:
    handler = unrestored(vm, make_handler(task("lb", restore="exit 3"), restore_retry_for=0))
    for text in ("", "[1]", '{"name": 3, "by": "", "tasks": []}', '{"name": "x", "by": "y", "tasks": 3}'):
        logged = handler.log().count("Reading a request of user")
        handler.request(text.encode())
        handler.until(lambda: handler.log().count("Reading a request of user") > logged, "an error")  # noqa: B023
    assert handler.state() == "not restored"


def test_rehearsal_reports_a_failed_restore(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", restore="exit 3"), restore_retry_for=0).start()
    result = handler.command("rehearse", "migrate", "--execute")
    assert result.returncode == 1
    assert "lb is NOT RESTORED" in result.stdout
    assert handler.state() == "not restored"


def test_rehearsal_without_a_handler_leaves_it_to_the_next_one(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", restore=NEEDS_API))
    result = handler.command("rehearse", "migrate", "--execute")
    assert result.returncode == 1
    assert "lb is NOT RESTORED" in result.stdout
    (handler.folder / "api").touch()
    handler.start()
    handler.until_over()
    assert handler.trace() == ["drain lb", "restore lb", "restore lb"]
