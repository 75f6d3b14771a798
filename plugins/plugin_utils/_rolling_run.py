# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the variables of the playbook rolling_maintenance to its plan, and from its records to its report.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timezone
from typing import Any

from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import format_time

from ._handler_verdict import Verdict, reason_of, verdict_of
from ._opening_hours import closes_at, opens_at, parse_hours
from ._rolling_hosts import BadPlan, Order, Place, hosts_of, order_of, place_of
from ._rolling_plan import Wish, ordered, turns_of
from ._rolling_report import DONE, NOT_REACHED, count, must_stop, plan_lines, summary, summary_lines

# Variables of the playbook: the plan (of localhost), and the status of each host's handler. And the fact that is the
# record of its turn.
PLAN, LOOK, RECORD = "gce_rolling_plan", "gce_rolling_look", "gce_rolling_turn"
LONGEST_NOTE = 120

FINISHED, STOPPED, HOURS_OVER = "finished", "stopped", "hours over"


def made_plan(
    options: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    *,
    now: float,
    is_preview: bool,
) -> dict[str, Any]:
    """The result of the operation `plan`. Raises BadPlan and BadHours."""
    note = options["note"]
    if len(note) > LONGEST_NOTE or not note.isprintable():
        raise BadPlan(f"gce_reason must be one line of at most {LONGEST_NOTE} characters.")
    hours = parse_hours(options["hours"])
    closes = closes_at(hours, now) if hours else None
    opens = opens_at(hours, now) if hours and closes is None else None
    if hours and closes is None and not is_preview:
        when = f" They start again at {format_time(opens)}." if opens is not None else ""
        raise BadPlan(f"It is outside gce_hours, {'; '.join(options['hours'])}.{when} Nothing was changed.")
    # With --limit, not all of them were asked.
    asked = [str(host) for host in options["hosts"] if LOOK in hostvars[host]]
    hosts = asked or [str(host) for host in options["hosts"]]
    places = {host: place_of(host, hostvars[host], options["host_by"]) for host in hosts}
    wish = Wish(
        options["action"],
        reason_of(options["action"], note),
        hosts,
        options["named"],
        now - options["resume_within"],
        options["as_event"],
        options["minutes"],
        frozenset(hosts_named(places.values(), options["history"])),
    )
    windows, homeless = hosts_of(places.values(), options["windows"])
    found = turns_of(wish, windows, _verdicts(hosts, hostvars), {host: place.zone for host, place in places.items()})
    order = _order(options, groups)
    start = now if opens is None else opens
    plan = ordered(found, order, _members(options["canaries"], groups, "gce_canaries"), options["serial"], start)
    zone = hours[0].zone if hours else timezone.utc
    lines = plan_lines(plan, closes_at(hours, start) if hours else None, zone)
    lines += [f"No host of gce_hosts is the instance {name}, whose maintenance is announced." for name in homeless]
    if plan.turns:
        lines.append(f"Times are estimates, in {zone}.")
    return {
        "turns": [turn.document() for turn in plan.turns],
        "hosts": [turn.host for turn in plan.turns],
        "batches": plan.batches,
        "left_alone": plan.left_alone,
        "without_host": homeless,
        "reason": wish.reason,
        "minutes": round(plan.minutes, 1),
        "hours": list(options["hours"]),
        "made_at": format_time(now),
        "lines": lines,
    }


def report(
    plan: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]], percentage: float, *, now: float
) -> dict[str, Any]:
    """The result of the operation `report`. `stop` is why no further batch may start, empty if it may."""
    rows = summary(plan["turns"], records)
    counts = count(rows)
    begun = [row["batch"] for row in rows if row["result"] != NOT_REACHED]
    is_left = counts[NOT_REACHED] > 0
    outcome, stop = FINISHED, ""
    failed = [batch for batch in sorted(set(begun)) if must_stop(rows, batch, percentage)]
    if failed:
        outcome = STOPPED
        stop = f"more than {percentage:g} % of batch {failed[0]} of {len(plan['batches'])} is not well"
    elif is_left and plan["hours"] and closes_at(parse_hours(plan["hours"]), now) is None:
        outcome, stop = HOURS_OVER, f"the hours are over, {'; '.join(plan['hours'])}"
    elif is_left and begun:
        outcome = "running"
    return {
        "rows": rows,
        "counts": counts,
        "stop": stop,
        "outcome": outcome,
        "well": counts[DONE] + counts[NOT_REACHED] == len(rows),
        "batch": max(begun, default=0),
        "time": format_time(now),
        "lines": [*summary_lines(rows), *([f"Stopped: {stop}."] if stop else [])],
    }


def plan_of(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """The plan, for the tasks of any host. Without one, an empty plan."""
    plan: Mapping[str, Any] = variables["hostvars"].get("localhost", {}).get(PLAN, {"turns": [], "made_at": ""})
    return plan


def record_of(variables: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a host's turn: `steps`, `ours` (whether it is drained by us), and at the end `result` and `why`."""
    record = (variables.get("ansible_facts") or {}).get(RECORD) or {}
    # With a cache of facts, there may be the record of an earlier run.
    is_new = record.get("plan") == plan["made_at"]
    return dict(record) if is_new else {"plan": plan["made_at"], "steps": [], "ours": False}


def recorded(record: Mapping[str, Any], facts: Mapping[str, Any] | None = None, **result: Any) -> dict[str, Any]:
    """The result of a task that keeps a record."""
    return {**result, "record": dict(record), "ansible_facts": {**(facts or {}), RECORD: dict(record)}}


def hosts_named(places: Iterable[Place], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The hosts of instances in the history of the platform."""
    every = list(places)
    events = {(str(row["name"]), str(row["zone"])) for row in rows if "OnHostMaintenance" in str(row["event"])}
    return [place.host for place in every if any(place.is_instance(name, zone, "") for name, zone in events)]


def _verdicts(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Verdict]:
    return {host: verdict_of(hostvars[host][LOOK]) for host in hosts if LOOK in hostvars[host]}


def _order(options: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> Order:
    return order_of(options["order"], list(groups.get("all", ())), groups)


def _members(names: Iterable[str], groups: Mapping[str, Sequence[str]], option: str) -> list[str]:
    """The hosts of these hosts and groups. Raises BadPlan."""
    hosts: list[str] = []
    for name in names:
        if name not in groups and name not in groups.get("all", ()):
            raise BadPlan(f"{option} has {name!r}, which is neither a host nor a group of the inventory.")
        hosts += groups.get(name, [name])
    return hosts
