# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for the handler: `timeout` is a deadline on the clock, not a number of attempts."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from maintenance_handler.app.waiting import GOALS, is_reached, wait_until
from support.handler import UNTIL_RELEASED, HandlerProcess, task
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]

WELL = {"running": True, "version": "1.0.0", "healthy": True, "state": "idle", "config_digest": "abc", "problems": []}
# Its status has another form, so that little of it can be read.
OF_ANOTHER_VERSION = {"running": True, "version": "0.9.0", "healthy": False, "state": "idle", "problems": ["is of"]}
SILENT = {"running": True, "healthy": False, "state": "idle", "problems": ["has not written its status yet"]}
GONE = {"running": False, "healthy": False, "state": "idle", "problems": ["is not running"]}


@pytest.mark.parametrize(
    "now, reached",
    [
        (WELL, {"running", "well", "settled", "idle"}),
        ({**WELL, "healthy": False}, {"running", "settled", "idle"}),
        ({**WELL, "state": "announced"}, {"running", "well", "settled", "idle"}),
        ({**WELL, "state": "draining"}, {"running", "well"}),
        ({**WELL, "state": "restoring"}, {"running", "well"}),
        ({**WELL, "state": "drained"}, {"running", "well", "settled", "drained"}),
        (SILENT, set()),
        (OF_ANOTHER_VERSION, {"running", "settled", "idle"}),
        ({**OF_ANOTHER_VERSION, "state": "draining"}, {"running"}),
        ({**OF_ANOTHER_VERSION, "state": "unknown"}, set()),
        (GONE, {"settled", "idle"}),
        ({**GONE, "state": "drained"}, {"settled", "drained"}),
    ],
)
def test_goals(now: Mapping[str, Any], reached: set[str]) -> None:
    assert {goal for goal in GOALS if is_reached(goal, "", now)} == reached


def test_waits_for_a_configuration() -> None:
    assert is_reached("well", "abcdef", WELL)
    assert not is_reached("well", "fedcba", WELL)
    assert not is_reached("settled", "abcdef", GONE)
    assert not is_reached("running", "abcdef", OF_ANOTHER_VERSION)
    assert not is_reached("well", "abcdef", {**WELL, "config_refused": ["task 'lb' has no drain"]})


def test_slow_read_does_not_extend_the_timeout() -> None:
    """wait_timeout: 60 took 240 s on a busy machine."""
    clock = 0.0

    def look() -> Mapping[str, Any]:
        nonlocal clock
        clock += 4.0
        return SILENT

    def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds

    reached, now = wait_until("well", "", 60.0, look, clock=lambda: clock, sleep=sleep)
    assert (reached, now) == (False, SILENT)
    # One look may be under way when the time is over.
    assert 60.0 <= clock <= 68.0


def test_command_waits(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", drain=UNTIL_RELEASED))
    result = handler.command("wait", "--until", "well", "--timeout", "0")
    assert (result.returncode, result.stderr) == (
        1,
        "gce-maintenance-handler: not well, but idle: is not running\n",
    )
    waiting = handler.start_command("wait", "--until", "well", "--json")
    handler.start()
    assert json.loads(waiting.communicate(timeout=30)[0])["healthy"]
    assert waiting.returncode == 0

    vm.announce("migrate")
    handler.until_traced("drain lb")
    handler.until_state("draining")
    result = handler.command("wait", "--until", "settled", "--timeout", "0.1")
    assert (result.returncode, result.stderr) == (
        1,
        "gce-maintenance-handler: not settled within 0.1 s, but draining\n",
    )
    waiting = handler.start_command("wait", "--until", "drained")
    handler.release()
    waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    vm.withdraw("migrate")
    assert handler.command("wait", "--until", "idle").returncode == 0


def test_exit_status_shows_whether_the_configuration_is_active(make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()

    def wait(timeout: str = "0") -> int:
        digest = hashlib.sha256(handler.config_path.read_bytes()).hexdigest()
        return handler.command("wait", "--until", "running", "--configuration", digest, "--timeout", timeout).returncode

    assert wait() == 0
    handler.configure(tasks=[task("lb"), task("database")])
    assert wait() == 1
    handler.send(signal.SIGHUP)
    assert wait("30") == 0
    handler.configure(poll_timeout=1)
    handler.send(signal.SIGHUP)
    assert wait("30") == 4
    handler.stop()
    assert wait() == 1


def test_state_is_unknown_without_a_status(make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()
    # It may be writing its status.
    handler.send(signal.SIGSTOP)
    os.waitid(os.P_PID, handler.running.pid, os.WSTOPPED)
    (handler.folder / "run" / "status.json").unlink()
    result = handler.command("wait", "--until", "idle", "--timeout", "0")
    handler.send(signal.SIGCONT)
    assert result.returncode == 1
    assert "not idle: " in result.stderr
    assert "status.json" in result.stderr


def test_reason_is_shown_once(make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb"), metadata_host="127.0.0.1:9").start(ready=False)
    handler.until(lambda: handler.status().get("last_failure"), "a try that failed")
    result = handler.command("wait", "--until", "well", "--timeout", "0")
    assert result.returncode == 1
    assert result.stderr.count("refused") == 1


def test_status_shows_the_number_of_tasks(make_handler: MakeHandler) -> None:
    for tasks, words in (([], "with NO task"), ([task("lb")], "with 1 task"), ([task("a"), task("b")], "with 2 tasks")):
        handler = make_handler(*tasks).start()
        assert words in handler.command("status").stdout
        handler.stop()


def test_check_queries_the_metadata_server_on_request(make_handler: MakeHandler) -> None:
    assert make_handler(task("lb")).command("check", "--probe", "5").returncode == 0
    handler = make_handler(task("lb"), metadata_host="127.0.0.1:9")
    assert handler.command("check").returncode == 0
    result = handler.command("check", "--probe", "0.1")
    assert result.returncode == 1
    assert "127.0.0.1:9" in result.stderr


def test_unpublish_deletes_the_guest_attribute(vm: Vm, make_handler: MakeHandler) -> None:
    vm.set("attributes/enable-guest-attributes", "TRUE")
    handler = make_handler(task("lb"), guest_attributes=True).start()
    handler.until(lambda: handler.status()["guest_attribute"] == "ok", "the guest attribute")
    handler.stop()
    assert handler.command("unpublish").returncode == 0
    again = handler.command("unpublish")
    assert again.returncode == 0
    assert "does not exist" in again.stdout
