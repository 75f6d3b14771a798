# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weeks of a handler in a minute: its memory and descriptors do not grow."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from maintenance_handler.io.history import MOST
from support.handler import HandlerProcess, task
from support.proof import Table, Verdict, judged
from support.vm import Vm

pytestmark = pytest.mark.proof

SECTION = "Long runs"
ROW = "10,000 polls and 500 incidents, with pauses a hundredth as long"
METRIC = 'gce_maintenance_handler_incidents_total{event="migrate",rehearsal="false"}'
POLLS = 10_000
INCIDENTS = 500
# By then the history is full, and what Python keeps for later is kept.
WARM = 250

# Memory that Python's allocator may keep, which is not a leak.
SLACK_KIB = 1024


@dataclass(frozen=True)
class Usage:
    threads: int
    descriptors: int
    memory_kib: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        return cls(int(status["Threads"]), descriptors, int(status["VmRSS"].split()[0]))


def polls(handler: HandlerProcess) -> float:
    lines = Path(handler.config["metrics_textfile"]).read_text(encoding="utf-8").splitlines()
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if line.startswith("gce_maintenance_handler_polls_total")
    )


def test_memory_and_descriptors_are_constant(vm: Vm, make_handler: Callable[..., HandlerProcess], table: Table) -> None:
    """Memory leaked over days (aws/aws-node-termination-handler#121)."""
    table.tried(SECTION, ROW, METRIC)
    settings = {"environ": {"TIME": "hurry"}, "log_level": "warning", "flap_limit": INCIDENTS}
    handler = make_handler(task("a", stage=10), task("b", stage=20), **settings)
    handler.start(module="support.steered")
    # Every answer comes at once, as the etag is new each time.
    vm.fault("etag-flap")
    usages = {}
    for number in range(1, INCIDENTS + 1):
        vm.announce("migrate")
        handler.until_state("drained")
        vm.withdraw("migrate")
        until_incidents(handler, number)
        if number in (WARM, INCIDENTS):
            # Between two incidents, no descriptor of a task is open.
            usages[number] = Usage.of(handler.running.pid)
    handler.until(lambda: polls(handler) >= POLLS, f"{POLLS} polls", within=120)
    # A watcher between two connections has one descriptor fewer. With a leak, the number never returns to that before.
    handler.until(
        lambda: Usage.of(handler.running.pid).descriptors == usages[WARM].descriptors, "as many descriptors as before"
    )
    usages[-1] = Usage.of(handler.running.pid)
    assert handler.trace() == ["drain a", "drain b", "restore b", "restore a"] * INCIDENTS
    assert len(handler.history()) == MOST
    for after in (usages[INCIDENTS], usages[-1]):
        assert after.threads == usages[WARM].threads
        assert after.memory_kib <= usages[WARM].memory_kib + SLACK_KIB, usages
    verdict = judged(handler, ["migrate"] * MOST)
    assert verdict == Verdict(), verdict
    table.survived(SECTION, ROW, verdict)


def until_incidents(handler: HandlerProcess, number: int) -> None:
    def are_over() -> bool:
        return f"{METRIC} {number}" in Path(handler.config["metrics_textfile"]).read_text(encoding="utf-8").splitlines()

    handler.until(are_over, f"the end of incident {number}")
