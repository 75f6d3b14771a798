# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a rolling maintenance: what is done on which host, in which batches, and about when. Pure.

Private to the collection: it may change at any time.

A run goes on where an earlier one stopped. What that one did is known to the VMs' handlers and to the platform:
maintenance that was performed is no longer announced, a handler keeps its drain with the reason, and knows its last
incident.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from ._handler_verdict import MARK, Verdict, is_of
from ._rolling_hosts import BadPlan, Order

MAINTENANCE, REBOOT, COMMAND, NOTHING = "maintenance", "reboot", "command", "none"
ACTIONS = (MAINTENANCE, REBOOT, COMMAND, NOTHING)

# What is done on a host: everything; everything from the drain on, which an earlier run has begun; only the restore and
# the checks; only the check of its health, because an earlier run has finished it.
WHOLE, CONTINUE, RESTORE, CHECK = "whole", "continue", "restore", "check"
TITLES = {WHOLE: "all steps", CONTINUE: "continue", RESTORE: "restore", CHECK: "check"}

# Assumed minutes for a host. Google gives a VM that is stopped for maintenance an hour's notice.
MINUTES = {MAINTENANCE: 10.0, REBOOT: 10.0, COMMAND: 10.0, NOTHING: 2.0}
MINUTES_IF_STOPPED = 75.0
MINUTES_TO = {RESTORE: 5.0, CHECK: 1.0}

Serial = Union[int, str]
_NOT_ASKED = Verdict(running=True, healthy=True, state="idle")


@dataclass
class Turn:
    """What is done on one host. `problem` is why it is known not to be well. `minutes` is an estimate.

    With `is_anew`, its drain has failed in an earlier run, so that it is restored before it is drained.
    """

    host: str
    todo: str
    instance: str = ""
    zone: str = ""
    as_event: str = "terminate"
    window_start: str = ""
    problem: str = ""
    is_anew: bool = False
    minutes: float = 0.0
    is_measured: bool = False
    batch: int = 0
    starts_at: float = 0.0

    def document(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Wish:
    """What the variables of the playbook ask for.

    `hosts` are those of gce_hosts, `is_named` whether it was set. `since` (epoch seconds) is when an earlier run may
    have begun. `maintained` are the hosts on which the platform performed maintenance since then.
    """

    action: str
    reason: str
    hosts: Sequence[str]
    is_named: bool
    since: float
    as_event: str | None = None
    minutes: float | None = None
    maintained: frozenset[str] = frozenset()


@dataclass
class Plan:
    """`turns` in their order, the sizes of the batches, and hosts that are left alone with the reason."""

    turns: list[Turn] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    left_alone: dict[str, str] = field(default_factory=dict)

    @property
    def minutes(self) -> float:
        return sum(longest(self.turns, number) for number in range(1, len(self.batches) + 1))


def turns_of(
    wish: Wish, windows: Mapping[str, Mapping[str, Any]], verdicts: Mapping[str, Verdict], zones: Mapping[str, str]
) -> Plan:
    """The turns, in no order yet. `windows`, `verdicts` and `zones` are by host; no verdict counts as well."""
    plan = Plan()
    for host in wish.hosts:
        window = windows.get(host)
        verdict = verdicts.get(host, _NOT_ASKED)
        obstacle = _obstacle(window) if wish.action == MAINTENANCE else ""
        todo, problem = _todo(host, wish, verdict, is_wanted=not obstacle)
        if todo is None:
            if window is not None or wish.is_named or problem:
                plan.left_alone[host] = "; ".join(filter(None, (obstacle, problem)))
            continue
        stops = window is not None and window["on_host_maintenance"] == "TERMINATE"
        turn = Turn(
            host,
            todo,
            instance=f"{window['zone']}/{window['name']}" if window else "",
            zone=str(window["zone"]) if window else zones.get(host, ""),
            as_event=wish.as_event or ("migrate" if window is not None and not stops else "terminate"),
            window_start=str(window["window_start_time"] or "") if window else "",
            problem=problem,
            is_anew=todo == CONTINUE and verdict.drain_failed,
        )
        _estimate(turn, wish, verdict, stops)
        plan.turns.append(turn)
    return plan


def ordered(plan: Plan, order: Order, canaries: Iterable[str], serial: Sequence[Serial], now: float) -> Plan:
    """The plan with its turns in order, in batches, with the time at which each starts if all starts `now`.

    First what an earlier run has begun, and what is not well, because that is out of service; then the canaries, one by
    one; then the rest. Raises BadPlan.
    """
    first = frozenset(canaries)
    whole = sorted(plan.turns, key=lambda turn: order.key(turn.host, turn.zone, turn.window_start))
    begun = [turn for turn in whole if turn.todo != WHOLE]
    unwell = [turn for turn in whole if turn.todo == WHOLE and turn.problem]
    rest = [turn for turn in whole if turn.todo == WHOLE and not turn.problem]
    parts = [[turn] for turn in rest if turn.host in first]
    rest = [turn for turn in rest if turn.host not in first]
    sizes = _sizes(serial, max(1, len(whole)))
    batches = [
        *_cut(begun, [sizes[-1]], False),
        *_cut(unwell, [sizes[-1]], False),
        *parts,
        *_cut(rest, sizes, order.has_zones),
    ]
    turns: list[Turn] = []
    start = now
    for number, batch in enumerate(batches, 1):
        for turn in batch:
            turn.batch, turn.starts_at = number, start
            turns.append(turn)
        start += 60 * longest(batch, number)
    return Plan(turns, [len(batch) for batch in batches], plan.left_alone)


def longest(turns: Iterable[Turn], batch: int) -> float:
    """The minutes that a batch takes, whose hosts have their turns at the same time."""
    return max((turn.minutes for turn in turns if turn.batch == batch), default=0.0)


def longest_left(turns: Sequence[Mapping[str, Any]], batch: int) -> float:
    """The minutes that this batch (of `Turn.document`s) and all later ones take."""
    most: dict[int, float] = {}
    for turn in turns:
        if turn["batch"] >= batch:
            most[turn["batch"]] = max(most.get(turn["batch"], 0.0), turn["minutes"])
    return sum(most.values())


def _obstacle(window: Mapping[str, Any] | None) -> str:
    """Why no maintenance can be performed. Empty if it can."""
    if window is None:
        return "no maintenance is announced for it"
    if window["status"] == "ONGOING":
        return "its maintenance is under way"
    if not window["can_reschedule"]:
        return "its maintenance cannot be rescheduled"
    status = window.get("instance_status")
    return "" if status in (None, "RUNNING") else f"its instance is {status}"


def _todo(host: str, wish: Wish, verdict: Verdict, *, is_wanted: bool) -> tuple[str | None, str]:
    """What is to be done, None for nothing, and why the VM is not well."""
    if verdict.problem:
        if is_wanted:
            return WHOLE, verdict.problem
        # It may be the one that did not come back.
        is_ours = wish.is_named or host in wish.maintained
        return (RESTORE if is_ours else None), verdict.problem
    if verdict.drained_for is not None and is_of(wish.action, verdict.drained_for):
        return CONTINUE, ""
    if verdict.drained_for is not None and verdict.drained_for.startswith(MARK):
        return WHOLE, f"{verdict.unrest()}. Finish that with its gce_action, or restore the VM"
    if verdict.not_restored and any(reason.startswith(MARK) for reason in verdict.reasons):
        return RESTORE, verdict.unrest()
    if is_wanted and not (wish.action != MAINTENANCE and verdict.was_done(wish.reason, wish.since)):
        return WHOLE, verdict.unrest()
    if verdict.was_done(wish.reason, wish.since):
        return CHECK, verdict.unrest()
    return None, ""


def _estimate(turn: Turn, wish: Wish, verdict: Verdict, stops: bool) -> None:
    measured = verdict.seconds()
    if turn.todo in MINUTES_TO:
        turn.minutes = MINUTES_TO[turn.todo]
    elif wish.minutes is not None:
        turn.minutes = wish.minutes
    elif measured is not None:
        turn.minutes, turn.is_measured = max(1.0, measured / 60), True
    else:
        turn.minutes = MINUTES_IF_STOPPED if stops else MINUTES[wish.action]


def _sizes(serial: Sequence[Serial], count: int) -> list[int]:
    """The numbers of hosts of `serial`, in which percentages are of all `count`. Raises BadPlan."""
    sizes = []
    for each in serial:
        match = re.fullmatch(r"\s*(\d+)\s*(%?)\s*", str(each))
        if match is None or int(match[1]) == 0:
            raise BadPlan(f"gce_serial has {each!r}, which is neither a number of hosts nor a percentage such as 10%.")
        sizes.append(max(1, math.floor(count * int(match[1]) / 100)) if match[2] else int(match[1]))
    if not sizes:
        raise BadPlan("gce_serial is empty. Give the number of hosts that have their turns at the same time.")
    return sizes


def _cut(turns: Sequence[Turn], sizes: Sequence[int], by_zone: bool) -> list[list[Turn]]:
    """Batches of these sizes, the last of which is repeated. With `by_zone`, none has turns of two zones."""
    batches: list[list[Turn]] = []
    for turn in turns:
        last = batches[-1] if batches else None
        size = sizes[min(len(batches), len(sizes)) - 1]
        if last is None or len(last) >= size or (by_zone and last[-1].zone != turn.zone):
            batches.append([turn])
        else:
            last.append(turn)
    return batches
