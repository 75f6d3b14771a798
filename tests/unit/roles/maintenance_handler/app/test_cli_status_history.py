# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands `status` and `history`: text, JSON and exit status."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from maintenance_handler.app.cli import main
from maintenance_handler.io.history import History
from support.documents import incident
from support.handler import UNTIL_RELEASED, HandlerProcess, task
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]


def status(handler: HandlerProcess) -> tuple[int, dict[str, Any]]:
    result = handler.command("status", "--json")
    return result.returncode, json.loads(result.stdout)


def test_exit_status_shows_the_health(vm: Vm, make_handler: MakeHandler) -> None:
    """Others always report that they are healthy."""
    handler = make_handler(
        task("lb", drain=UNTIL_RELEASED, restore='until [ -e "$FOLDER/go on" ]; do sleep 0.02; done', timeout=25)
    )
    code, now = status(handler)
    assert (code, now["state"], now["healthy"], now["running"]) == (1, "idle", False, False)
    assert now["problems"] == ["is not running"]

    handler.start()
    code, now = status(handler)
    assert (code, now["state"], now["healthy"], now["running"]) == (0, "idle", True, True)
    assert now["last_good_answer_age"] >= 0
    assert now["pid"] == handler.running.pid

    vm.announce("migrate")
    handler.until_traced("drain lb")
    handler.until_state("draining")
    code, now = status(handler)
    assert (code, now["state"], now["healthy"]) == (3, "draining", True)
    handler.release()
    handler.until_state("drained")
    code, now = status(handler)
    assert (code, now["state"], now["incident"]["held"]) == (0, "drained", ["lb"])

    vm.withdraw("migrate")
    handler.until_traced("drain lb", "restore lb")
    handler.until_state("restoring")
    code, now = status(handler)
    assert (code, now["state"]) == (3, "restoring")
    (handler.folder / "go on").touch()
    handler.until_over()
    code, now = status(handler)
    assert (code, now["state"], now["incident"]) == (0, "idle", None)

    vm.announce("terminate")
    handler.until_state("drained")
    handler.kill()
    code, now = status(handler)
    assert (code, now["state"], now["incident"]["held"]) == (1, "drained", ["lb"])
    assert now["problems"] == [
        "is not running",
        "an incident is open, with lb drained: the next handler continues it",
    ]
    lines = handler.command("status").stdout.splitlines()
    assert lines[0] == "NOT WELL, drained"
    assert any("drain    lb" in line for line in lines)


def test_text_shows_the_same_as_json(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()
    handler.until(lambda: handler.status()["reach"], "which events can reach this VM")
    vm.announce("migrate")
    handler.until_state("drained")
    result = handler.command("status")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "well, drained"
    assert any(line.startswith("  instance/maintenance-event") and "last answer" in line for line in lines)
    assert f"  configuration {handler.status()['config_digest']}, with 1 task" in lines
    assert "  can preempt reach this VM: no, preemptible is FALSE" in lines
    assert any("drain    lb" in line and "ok in" in line and "s left at its start" in line for line in lines)


def test_status_and_history_show_no_secrets(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", drain=": hunter2", env={"TOKEN": "hunter2"})).start()
    vm.announce("migrate")
    handler.until_state("drained")
    shown = handler.command("status", "--json").stdout + handler.command("status").stdout
    vm.withdraw("migrate")
    handler.until_over()
    shown += handler.command("history", "--json").stdout + handler.command("history").stdout
    assert "lb" in shown
    assert "hunter2" not in shown + handler.log()


def test_history_shows_closed_incidents(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb"), task("db", drain="exit 3")).start()
    assert handler.command("history").stdout == "No incident yet.\n"
    assert json.loads(handler.command("history", "--json").stdout) == []
    for event in ("migrate", "preempt"):
        vm.announce(event)
        handler.until_state("drained")
        vm.withdraw(event)
        handler.until_state("idle")
    handler.until_over(incidents=2)
    incidents = json.loads(handler.command("history", "--json").stdout)
    assert [past["event"] for incident in incidents for past in incident["past"]] == ["migrate", "preempt"]
    result = handler.command("history")
    assert result.returncode == 0
    # In order of time, and counted from the notice.
    first = result.stdout.split("Incident ")[1].splitlines()
    assert "+0.000 s  notice   migrate (MIGRATE_ON_HOST_MAINTENANCE)" in first[1]
    assert [line.split(" s  ")[1].split()[0] for line in first[1:]] == [
        "notice",
        "drain",
        "drain",
        "migrate",
        "restore",
        "restore",
    ]
    assert any("drain    db" in line and "failed in" in line and "exit status 3" in line for line in first)


def test_history_is_limited_by_its_options(make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb"))
    history = History(handler.state_dir)
    handler.state_dir.mkdir()
    ages = {"old": 40 * 86400, "week": 7 * 86400 + 60, "yesterday": 86400 - 60, "now": 0}
    for name, age in ages.items():
        history.add({**incident(name), "opened_at": time.time() - age, "past": [], "steps": []})

    def shown(*arguments: str) -> list[str]:
        result = handler.command("history", "--json", *arguments)
        assert (result.returncode, result.stderr) == (0, "")
        return [one["id"] for one in json.loads(result.stdout)]

    assert shown() == list(ages)
    assert shown("--last", "2") == ["yesterday", "now"]
    assert shown("--last", "10") == list(ages)
    assert shown("--since", "1d") == ["yesterday", "now"]
    assert shown("--since", "8d", "--last", "1") == ["now"]
    day = time.strftime("%Y-%m-%d", time.localtime(time.time() - 10 * 86400))
    assert shown("--since", day) == shown("--since", f"{day}T00:00:00Z") == ["week", "yesterday", "now"]
    assert handler.command("history", "--since", "2999-01-01").stdout == "No such incident.\n"


@pytest.mark.parametrize(
    "arguments", [["--last", "0"], ["--last", "-1"], ["--last", "x"], ["--since", "soon"], ["--since", "2026-13-01"]]
)
def test_history_rejects_invalid_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["history", *arguments])
    err = capsys.readouterr().err
    assert "is not a number" in err or "is not a time" in err or "expected one argument" in err


def test_status_starts_with_the_incident(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()
    vm.announce("migrate")
    handler.until_state("drained")
    lines = handler.command("status").stdout.splitlines()
    assert lines[0] == "well, drained"
    assert lines[1].startswith("Incident ")


def test_output_of_a_task_cannot_control_the_terminal(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", drain="printf '\\033[2Jgone'; exit 1")).start()
    vm.announce("migrate")
    handler.until_state("drained")
    shown = handler.command("status").stdout
    vm.withdraw("migrate")
    handler.until_over()
    assert "gone" not in shown
    handler.until_logged(r"\x1b[2Jgone")
    for text in (handler.command("history").stdout, handler.log()):
        assert r"\x1b[2Jgone" in text
        assert "\x1b" not in text


def test_closed_pipe_is_not_reported(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()
    handler.stop()
    history = History(handler.state_dir)
    # More than fits into a pipe.
    history.add(incident("x" * 200_000))
    command = handler.start_command("history", "--json")
    if command.stdout is None or command.stderr is None:
        raise AssertionError("no pipes")
    command.stdout.read(10)
    command.stdout.close()
    assert command.stderr.read() == ""
    command.stderr.close()
    assert command.wait() == 1


@pytest.mark.parametrize("arguments", [[], ["fly"], ["rehearse"], ["rehearse", "reboot"], ["status", "--yaml"]])
def test_wrong_command_line_lists_the_choices(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: gce-maintenance-handler" in capsys.readouterr().err
