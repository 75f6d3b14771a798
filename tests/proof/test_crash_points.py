# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`kill -9` at every write of the journal, from the first of a drain to the last of its restore.

The writes are counted in a run without a kill. Then each of them is the last of a handler: before it, half way
through it, and after it. Another handler takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.io.journal import Journal
from support.crashing import AFTER, WAYS
from support.handler import HandlerProcess, task
from support.proof import Run, Table, Verdict, judged
from support.vm import Vm

SECTION = "kill -9 at every write of the journal"

SCENARIOS: Mapping[str, list[dict[str, Any]]] = {
    "one task": [task("a")],
    "three tasks in three stages": [task("a", stage=10), task("b", stage=20), task("c", stage=30)],
    "eight tasks in three stages": [task(name, stage=10 * (1 + "abcdefgh".index(name) // 3)) for name in "abcdefgh"],
    "a graceful shutdown": [task("a", "stop", stage=10), task("b", "stop", stage=20)],
    "a preemption": [task("a", "preempt", stage=10), task("b", "preempt", stage=20)],
}

# The event of a scenario, where it is not a termination.
EVENTS: Mapping[str, str] = {"a graceful shutdown": "stop", "a preemption": "preempt"}

# What happens before the next handler starts.
AT_ONCE, OVER, REBOOT = "the next handler starts at once", "the event ends in the meantime", "the VM reboots"

# They wait for processes more than they keep a core busy.
AT_A_TIME = 4


@dataclass(frozen=True)
class Point:
    write: int
    way: str
    in_drain: bool


@dataclass(frozen=True)
class Try:
    """A folder and a VM for one handler after the other."""

    vm: Vm
    folder: Path
    tasks: list[dict[str, Any]]
    event: str = "terminate"

    def handler(self, point: Point | None) -> HandlerProcess:
        self.folder.mkdir()
        crash = {"CRASH_AT": str(point.write if point else 0), "CRASH_HOW": point.way if point else AFTER}
        return HandlerProcess(self.folder, self.vm.host, self.tasks, environ=crash)

    def counted(self) -> tuple[int, int]:
        """The number of writes up to the end of the drain, and up to the end of the restore."""
        handler = self.handler(None)
        try:
            start(handler)
            self.vm.announce(self.event)
            handler.until_state("drained")
            drain = writes(handler)
            self.vm.withdraw(self.event)
            handler.until_over()
            return drain, writes(handler)
        finally:
            handler.close()

    def crashed(self, point: Point, meanwhile: str) -> Verdict:
        """Kill the handler at this point, and have another one finish."""
        handler = self.handler(point)
        try:
            announced = self.until_dead(handler, point)
            entry = Journal(handler.state_dir).read()
            incident = entry.incident if entry is not None else None
            if meanwhile == OVER:
                self.vm.withdraw(self.event)
            elif meanwhile == REBOOT:
                handler.boot("boot-2")
            handler.start()
            is_over = announced and (meanwhile == OVER or not point.in_drain)
            if not announced:
                self.vm.announce(self.event)
            if not is_over:
                handler.until_state("drained")
                self.vm.withdraw(self.event)
            # An event that ended before it was written to the journal has started nothing.
            unheard = is_over and incident is None and not handler.history()
            if not unheard:
                handler.until_over()
            interrupted = [(step.phase, step.task) for step in incident.steps if step.open] if incident else []
            verdict = judged(handler, [] if unheard else [self.event], interrupted)
            check_order(handler, interrupted)
            if not is_over:
                check_all_drained(handler)
            return verdict
        finally:
            handler.close()

    def until_dead(self, handler: HandlerProcess, point: Point) -> bool:
        """Run the handler up to the point where it is killed. Returns whether the event was announced by then."""
        handler.start(ready=False, module="support.crashing")

        def is_dead() -> bool:
            return handler.running.poll() is not None

        handler.until(lambda: is_dead() or is_started(handler), "its start or its end")
        if is_dead():
            return False
        self.vm.announce(self.event)
        if not point.in_drain:
            # On a busy machine tasks end one by one, which takes more writes: then it is killed during the drain.
            handler.until(lambda: is_dead() or handler.state() == "drained", "its end, or all drained")
            self.vm.withdraw(self.event)
        handler.until(is_dead, f"its end at {point}")
        return True


def start(handler: HandlerProcess) -> None:
    handler.start(ready=False, module="support.crashing")
    handler.until(lambda: is_started(handler), "its start")


def is_started(handler: HandlerProcess) -> bool:
    # It has identified the VM, which is another write.
    return handler.has_heard_all() and bool(handler.journal().get("instance_id"))


def writes(handler: HandlerProcess) -> int:
    return int((handler.folder / "writes").read_text(encoding="ascii"))


def check_order(handler: HandlerProcess, interrupted: list[Run]) -> None:
    """Drain stages ascend and restore stages descend, across handlers."""
    stages = {entry["name"]: entry.get("stage", 50) for entry in handler.config["tasks"]}
    for phase, sign in (("drain", 1), ("restore", -1)):
        # An interrupted step runs a second time, in its order.
        names = [line.split(" ", 1)[1] for line in handler.trace() if line.startswith(f"{phase} ")]
        ran = [sign * stages[name] for name in dict.fromkeys(reversed(names))][::-1]
        assert ran == sorted(ran), (phase, handler.trace(), interrupted)


def check_all_drained(handler: HandlerProcess) -> None:
    missing = [entry["name"] for entry in handler.config["tasks"] if f"drain {entry['name']}" not in handler.trace()]
    assert not missing, handler.trace()


@pytest.mark.parametrize(
    "scenario, meanwhile, ways",
    [
        pytest.param(
            scenario,
            meanwhile,
            WAYS if meanwhile != REBOOT else (AFTER,),
            # Some of it wherever tests are run; the rest takes minutes.
            marks=[] if (meanwhile, len(SCENARIOS[scenario])) == (OVER, 3) else pytest.mark.proof,
        )
        for scenario in SCENARIOS
        for meanwhile in (AT_ONCE, OVER, REBOOT)
    ],
)
def test_each_step_runs_and_is_restored_once(
    scenario: str, meanwhile: str, ways: tuple[str, ...], make_vm: Callable[[], Vm], tmp_path: Path, table: Table
) -> None:
    """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
    tasks, event = SCENARIOS[scenario], EVENTS.get(scenario, "terminate")
    drain, total = Try(make_vm(), tmp_path / "counted", tasks, event).counted()
    assert drain >= 2 + len(tasks)
    assert total >= drain + 1 + len(tasks)
    last = drain if meanwhile == OVER else total
    points = [Point(write, way, write <= drain) for write in range(1, last + 1) for way in ways]
    rows = {point: f"{'Drain' if point.in_drain else 'Restore'} of {scenario}, {meanwhile}" for point in points}
    tries = {point: Try(make_vm(), tmp_path / f"{point.write}-{point.way}", tasks, event) for point in points}
    for point in points:
        table.tried(SECTION, rows[point])
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        verdicts = pool.map(lambda point: (point, tries[point].crashed(point, meanwhile)), points)
        for point, verdict in verdicts:
            assert verdict.is_clean, (point, verdict, (tries[point].folder / "trace").read_text())
            table.survived(SECTION, rows[point], verdict)


@pytest.mark.proof
@pytest.mark.parametrize("meanwhile", [AT_ONCE, REBOOT])
def test_restart_is_handled_once(meanwhile: str, make_vm: Callable[[], Vm], tmp_path: Path, table: Table) -> None:
    """Cut the power, boot, and kill the handler at each write while it handles the restart."""
    tasks = [task("a", "restart", stage=10), task("b", "restart", stage=20)]
    handler = Restart(make_vm(), tmp_path / "counted", tasks).restarted(None)
    handler.until_over()
    total = writes(handler)
    handler.close()
    assert total >= 1 + 2 * len(tasks)
    row = f"A restart without notice, {meanwhile}"
    ways = WAYS if meanwhile == AT_ONCE else (AFTER,)
    points = [Point(write, way, True) for write in range(1, total + 1) for way in ways]
    tries = {point: Restart(make_vm(), tmp_path / f"{point.write}-{point.way}", tasks) for point in points}
    for _unused in points:
        table.tried(SECTION, row)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for point, verdict in pool.map(lambda point: (point, tries[point].crashed(point, meanwhile)), points):
            assert verdict.is_clean, (point, verdict, (tries[point].folder / "trace").read_text())
            table.survived(SECTION, row, verdict)


class Restart(Try):
    """A VM whose power is cut while nothing is drained."""

    def restarted(self, point: Point | None) -> HandlerProcess:
        """The handler after the boot. It is killed at this point."""
        handler = self.handler(point)
        handler.start()
        handler.until(lambda: is_started(handler), "its start")
        handler.kill()
        handler.boot("boot-2")
        return handler.start(ready=False, module="support.crashing")

    def crashed(self, point: Point, meanwhile: str) -> Verdict:
        handler = self.restarted(point)
        try:
            handler.until(lambda: handler.running.poll() is not None, f"its end at {point}")
            entry = Journal(handler.state_dir).read()
            incident = entry.incident if entry is not None else None
            if meanwhile == REBOOT:
                handler.boot("boot-3")
            handler.start().until_over()
            interrupted = [(step.phase, step.task) for step in incident.steps if step.open] if incident else []
            return judged(handler, ["restart"], interrupted)
        finally:
            handler.close()
