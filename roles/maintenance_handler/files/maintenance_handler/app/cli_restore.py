# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that end what keeps tasks drained: `restore`, `acknowledge`, `unhold`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any

from ..core.incident import ANNOUNCED, DRAINED, NOT_RESTORED, OK
from ..core.timeline import by_whom, news, step_end
from ..io.history import History
from ..io.request import ACKNOWLEDGE, RESTORE, UNHOLD, Request
from .asking import ENDED, LOOK_EVERY, MOST_LOOKS_IN_VAIN, ask, patience, unique, user, watch
from .cli_common import (
    EXIT_FAILED,
    EXIT_OK,
    CommandError,
    known_settings,
    print_lines,
    public_settings,
    read_status,
    settings_of,
)
from .config import Config
from .status import UNKNOWN, by_hand, in_flight


def restore(options: argparse.Namespace) -> int:
    settings = settings_of(options, public_settings)
    now = read_status(settings)
    if options.task is None and by_hand(now):
        return _end(settings, now, Request(RESTORE, unique(RESTORE), user()), options)
    tasks = _unrestored(now, options.task)
    incident = now["incident"]
    # An attempt that is already running counts as well.
    over = {step["task"]: step.get("number", 0) for step in incident["steps"] if step["outcome"]}
    ask(settings, now, Request(RESTORE, unique(RESTORE), user(), tasks=tasks))
    code = EXIT_OK
    for task in tasks:
        step = _next_step(settings, incident["id"], task, over.get(task, 0))
        print_lines([f"{step['phase']} {task!r}: {step_end(step)}"])
        code = code if step["phase"] == RESTORE and step["outcome"] == OK else EXIT_FAILED
    return code


def unhold(options: argparse.Namespace) -> int:
    settings = settings_of(options, public_settings)
    return _end(settings, read_status(settings), Request(UNHOLD, unique(UNHOLD), user()), options)


def acknowledge(options: argparse.Namespace) -> int:
    settings = settings_of(options, known_settings)
    now = read_status(settings)
    tasks = _unrestored(now, options.task)
    ask(settings, now, Request(ACKNOWLEDGE, unique(ACKNOWLEDGE), user(), tasks=tasks))
    print_lines([f"acknowledged: {', '.join(tasks)}"])
    return EXIT_OK


def kept_by(now: Mapping[str, Any]) -> list[str]:
    """A line for each reason why something stays drained."""
    incident = now["incident"]
    if not incident or not incident["held"]:
        return []
    lines = []
    for one in incident["signals"]:
        if one.get("order"):
            lines.append(f"drained {by_whom(one['order'])}")
        else:
            lines.append(f"{one['event']} is announced: what is drained for it is restored when it is over")
    hold = incident.get("hold")
    if hold and hold["released_at"] is None:
        lines.append(f"held {by_whom(hold)}: use unhold")
    return lines


def _end(settings: Config, now: dict[str, Any], wish: Request, options: argparse.Namespace) -> int:
    """End a drain by hand, or a hold. The exit status is 1 if it waits, and something stays drained."""
    # Steps that are over are no news.
    shown: set[str] = set()
    news(shown, now["incident"] or {"steps": []})
    opened = now["incident"] and now["incident"]["id"]
    now = ask(settings, now, wish)
    if not options.wait:
        print_lines([f"{wish.command}: accepted", *kept_by(now)])
        return EXIT_OK

    def see(current: dict[str, Any]) -> bool:
        nonlocal now
        now = current
        known = (now["incident"], now.get("last_incident"))
        print_lines(line for one in known if one and one["id"] == opened for line in news(shown, one))
        sys.stdout.flush()
        return not in_flight(now)

    watch(settings, options.timeout, see)
    reasons = kept_by(now)
    if now["state"] == NOT_RESTORED:
        reasons.append(
            f"not restored, and retried: {', '.join(one['task'] for one in now['incident']['not_restored'])}"
        )
    print_lines(reasons or ["restored"])
    return EXIT_FAILED if reasons else EXIT_OK


def _unrestored(now: dict[str, Any], task: str | None) -> tuple[str, ...]:
    """The tasks that are not restored, or the requested one of them."""
    names = tuple(one["task"] for one in (now["incident"] or {}).get("not_restored", ()))
    if not names and not now["running"] and now["state"] == UNKNOWN:
        raise CommandError("the handler is not running, and only root can read its journal")
    if not names:
        if now["incident"] and now["incident"]["held"]:
            keeps = kept_by(now) or [f"no restore has failed: the handler is {now['state']}, see its status"]
            raise CommandError("; ".join(keeps))
        raise CommandError("all tasks are restored: there is nothing to do")
    if task is None:
        return names
    if task not in names:
        raise CommandError(f"{task!r} is not among what is not restored: {', '.join(map(repr, names))}")
    return (task,)


def _next_step(settings: Config, incident_id: str, task: str, before: int) -> dict[str, Any]:
    """The result of a task's next step. Waits for its end."""
    looks_in_vain = 0
    give_up_at = time.monotonic() + patience(settings)
    while time.monotonic() < give_up_at:
        now = read_status(settings)
        here = now["incident"] and now["incident"]["id"] == incident_id
        known = [now["incident"]] if here else History(settings.state_dir).read()
        steps = [step for one in known if one["id"] == incident_id for step in one["steps"]]
        for step in steps:
            if step["task"] == task and step.get("number", 0) > before and step["outcome"]:
                return dict(step)
        if not now["running"]:
            raise CommandError(ENDED)
        is_idle = not here or now["state"] in (NOT_RESTORED, DRAINED, ANNOUNCED)
        looks_in_vain = looks_in_vain + 1 if is_idle else 0
        if looks_in_vain > MOST_LOOKS_IN_VAIN // 5:
            raise CommandError(f"the handler does not retry {task!r} now: it is {now['state']}, see its status")
        time.sleep(LOOK_EVERY)
    raise CommandError(f"the restore of {task!r} exceeds its timeout: see the handler's status")
