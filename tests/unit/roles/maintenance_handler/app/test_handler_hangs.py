# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hanging dependency only delays the tasks that need it: other tasks and the next stage run.

A log that is not read blocked the main loop (patroni/patroni#1331).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from support.handler import HandlerProcess, steps, task
from support.hanging import UnreadLog, hung_mount, path_with_slow_groups
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and run a task as another user")

# In the stage of what hangs, and in the next one.
BESIDE = (task("beside", stage=10), task("next", stage=60))


def hanging(**fields: Any) -> dict[str, Any]:
    return {**task("bad", stage=10, timeout=3, restore=None), **fields}


def outcomes(handler: HandlerProcess) -> dict[str, str]:
    incident = handler.status()["incident"]
    return {name: outcome for phase, name, outcome in steps(incident) if phase == "drain"}


def detail_of(handler: HandlerProcess, name: str) -> str:
    return next(str(step["detail"]) for step in handler.status()["incident"]["steps"] if step["task"] == name)


def drained_without_the_bad_one(handler: HandlerProcess, vm: Vm) -> None:
    vm.announce("migrate")
    handler.until_state("drained")
    assert handler.trace() == ["drain beside", "drain next"]
    assert outcomes(handler) == {"bad": "not started", "beside": "ok", "next": "ok"}


def test_stalled_disk(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(*BESIDE, journal_wait=1).start(module="support.stalling")
    handler.until(lambda: handler.journal().get("instance_id"), "the journal")
    stalled = handler.folder / "stalled"
    stalled.touch()
    vm.announce("migrate")
    handler.until_state("drained")
    assert handler.trace() == ["drain beside", "drain next"]
    handler.until_logged("Writing the journal")
    assert "no response from the disk for 1 s" in handler.log()
    assert handler.command("status").returncode == 1
    stalled.unlink()
    handler.until(lambda: len(steps(handler.journal()["incident"] or {"steps": []})) == 2, "the journal of the drain")
    handler.until(lambda: handler.command("status").returncode == 0, "a healthy status")
    vm.withdraw("migrate")
    handler.until_over()
    assert handler.trace() == ["drain beside", "drain next", "restore next", "restore beside"]
    handler.until_logged("the journal is writable again")
    assert handler.log().count("Writing the journal") == 1


def test_unread_log(vm: Vm, make_handler: MakeHandler) -> None:
    prints = 'i=0; while [ $i -lt 150 ]; do i=$((i+1)); printf "line $i %0900d\\n" 0; done'
    handler = make_handler(task("bad", stage=10, drain=prints), *BESIDE)
    log = UnreadLog(handler.folder)
    handler.launch_by(log.launcher)
    handler.start()
    vm.announce("migrate")
    handler.until_state("drained")
    assert sorted(handler.trace()[:2]) == ["drain bad", "drain beside"]
    assert outcomes(handler) == {"bad": "ok", "beside": "ok", "next": "ok"}
    vm.withdraw("migrate")
    handler.until_over()
    assert handler.log() == ""
    log.read()
    handler.until_logged("drain 'bad': line 150 ")


@needs_root
def test_user_database_without_a_response(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(hanging(user="nobody", drain=["true"]), *BESIDE)
    handler.configure(path=path_with_slow_groups(handler.folder))
    handler.start()
    drained_without_the_bad_one(handler, vm)
    assert "the groups of the user 'nobody'" in detail_of(handler, "bad") or "looking up" in detail_of(handler, "bad")
    handler.release()
    vm.withdraw("migrate")
    handler.until_over()


@needs_root
def test_program_on_a_hanging_file_system(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(*BESIDE)
    with hung_mount(handler.folder / "share") as share:
        handler.configure(tasks=[hanging(drain=[str(share / "program")]), *BESIDE])
        handler.start()
        drained_without_the_bad_one(handler, vm)
        assert detail_of(handler, "bad") == f"could not be started in time: reading {share}/program"
        vm.withdraw("migrate")
        handler.until_over()
        assert handler.stop() == 0
