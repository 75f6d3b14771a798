# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that keep tasks drained: `drain`, `hold`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from .._vm.drains import standing_drains, unsuccessful
from .._vm.maintenance import MANUAL
from .._vm.records import replace
from ..core.announcements import by_hand
from ..core.incident import Moment, Order
from ..core.plan import by_hand as tasks_by_hand
from ..core.slot_lines import given_up
from ..core.timeline import news, plan_lines
from ..io.request import DRAIN, HOLD, Request
from . import status
from .asking import ask, unique, user, watch
from .cli_common import (
    EXIT_FAILED,
    EXIT_OK,
    CommandError,
    print_lines,
    public_settings,
    read_status,
    runs_for,
    settings_of,
)

# Seconds for the handler to say that it has given up to wait for a slot.
GIVES_UP_WITHIN = 5.0


def drain(options: argparse.Namespace) -> int:
    if options.dry_run:
        return _show(options)
    settings = settings_of(options, public_settings)
    wish = Request(DRAIN, unique(DRAIN), user(), event=options.as_event, reason=options.reason, seconds=options.seconds)
    wish = replace(wish, slot_within=options.timeout)
    now = read_status(settings)
    # Steps that are over are no news.
    shown: set[str] = set()
    news(shown, now["incident"] or {"steps": []})
    asked_at = time.time()
    now = ask(settings, now, wish)
    if not options.wait:
        state = "waits for a slot of the fleet limit to drain" if status.waits_by_hand(now) else now["state"]
        print_lines([f"{state} as for {options.as_event}, until it is restored"])
        return EXIT_OK

    def see(current: dict[str, Any]) -> bool:
        nonlocal now
        now = current
        print_lines(news(shown, now["incident"] or {"steps": []}))
        sys.stdout.flush()
        return not status.in_flight(now) and not status.waits_by_hand(now)

    opened = now["incident"] and now["incident"]["id"]
    watch(settings, options.timeout + (GIVES_UP_WITHIN if status.waits_by_hand(now) else 0), see)
    if not status.by_hand(now):
        last = now.get("last_incident")
        closed = last if last and last["id"] == opened else None
        reason = given_up(now["incident"], asked_at) or given_up(closed, asked_at)
        raise CommandError(
            f"not drained within {options.timeout:g} s: {reason}"
            if reason
            else "the drain was ended in the meantime: see the history"
        )
    failed = [step["task"] for step in unsuccessful(standing_drains(now["incident"]["steps"]))]
    print_lines([f"{now['state']}, but these tasks failed: {', '.join(failed)}" if failed else now["state"]])
    return EXIT_FAILED if failed else EXIT_OK


def hold(options: argparse.Namespace) -> int:
    settings = settings_of(options, public_settings)
    ask(settings, read_status(settings), Request(HOLD, unique(HOLD), user(), reason=options.reason))
    print_lines(["what is drained stays drained until unhold"])
    return EXIT_OK


def _show(options: argparse.Namespace) -> int:
    """Show what would be drained, with each `when` evaluated."""
    settings = settings_of(options)
    now = read_status(settings)
    held = now["incident"]["held"] if now["incident"] else []
    order = Order(user(), options.as_event)
    document = by_hand(order, Moment(time.monotonic(), time.time())).signal.document
    events = {task.name: task.event_for(MANUAL, options.as_event) for task in settings.tasks}
    tasks = [
        task
        for task in settings.tasks
        if events[task.name] and task.name not in held and runs_for(task, {**document, "name": events[task.name]})
    ]
    if options.json:
        in_order = sorted(tasks, key=lambda task: task.stage)
        print(
            json.dumps([{"task": task.name, "stage": task.stage, "as_event": events[task.name]} for task in in_order])
        )
        return EXIT_OK
    print_lines(plan_lines(MANUAL, tasks_by_hand(tasks, options.as_event), settings.assumed_notice(), {}))
    print("Nothing was run.")
    return EXIT_OK
