# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: a scenario on VMs of a tier under load, with or without the handler."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

from support.emulator import Control

from .errors import DrillError, until
from .fleet import CLIENT
from .install import set_limit
from .machine import Machine
from .results import LIMITED, UNLIMITED, WITHOUT, Result
from .scenarios import Scenario
from .tiers import Tier

HANDLER = "gce-maintenance-handler"
# Seconds of load before the scenario and after it.
_BEFORE, _AFTER = 3.0, 3.0
# What a handler does about its slot if the limit does not hold, or the store does not answer.
_NO_LIMIT = ("goes ahead without a slot", "slot lost", "the store of the fleet limit does not answer")


def run(tier: Tier, scenario: Scenario, control: Control, *, handler: str) -> Result:
    """Play the scenario under load. `handler` is one of those in `results`.

    Raises DrillError if the fleet does not come back.
    """
    # A former leader of the database may have to be rewound first.
    until(tier.is_complete, f"{tier.title} is not complete before the run", 180)
    for machine in tier.machines:
        _switch_handler(machine, handler)
    victims = tier.victims(scenario.vms)
    acts = handler != WITHOUT and scenario.event in tier.events
    known = {machine: len(_history(machine)) for machine in victims} if acts else {}
    with subprocess.Popen(
        ["podman", "exec", "--interactive", "--workdir=/drill", CLIENT.container, *_load(tier)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as load:
        time.sleep(_BEFORE)
        _play(scenario, victims, control)
        for machine in victims:
            machine.until_booted()
        until(tier.is_complete, f"{tier.title} is not complete after {scenario.title}")
        for machine, before in known.items():
            _until_idle(machine, before)
        time.sleep(_AFTER)
        output, _none = load.communicate(timeout=120)
    if load.returncode:
        raise DrillError(f"the load ended with exit status {load.returncode}")
    counts = json.loads(output)
    mistakes = [mistake for machine in known for mistake in _mistakes(machine, known[machine], scenario)]
    return Result(
        tier.title,
        scenario.title,
        scenario.notice,
        handler,
        mistakes=tuple(mistakes),
        takes_turns=scenario.takes_turns,
        **counts,
    )


def _load(tier: Tier) -> list[str]:
    kind, settings = tier.load
    return ["python3", "-B", "-m", "load", kind, json.dumps(settings)]


def _switch_handler(machine: Machine, handler: str) -> None:
    if handler in (UNLIMITED, LIMITED):
        machine.sh(f"systemctl stop {HANDLER}")
        set_limit(machine, handler == LIMITED)
    machine.sh(f"systemctl {'disable' if handler == WITHOUT else 'enable'} --quiet --now {HANDLER}")
    if handler != WITHOUT:
        machine.sh(f"{HANDLER} wait --until well --timeout 60")


def _play(scenario: Scenario, victims: Sequence[Machine], control: Control) -> None:
    for number, machine in enumerate(victims):
        if number:
            time.sleep(scenario.lag)
        control.scenario(machine.name, scenario.name, **scenario.options_of(number))
    for machine in victims:
        _until_over(machine, scenario, control)


def _until_over(machine: Machine, scenario: Scenario, control: Control) -> None:
    """Wait until the platform has done with the VM, and its container is in the same state."""
    until(lambda: not control.instance(machine.name)["scenarios"], f"{scenario.title} goes on", 180)
    if scenario.stays_off:
        control.request("POST", f"instances/{machine.name}/start")
    until(lambda: _has_run_hooks(machine, control), f"a hook of {machine.name} goes on")


def _has_run_hooks(machine: Machine, control: Control) -> bool:
    runs: list[dict[str, Any]] = control.request("GET", f"hooks?instance={machine.name}")["runs"]
    return all(run["ended_at"] is not None for run in runs)


def _history(machine: Machine) -> list[dict[str, Any]]:
    """The incidents of a handler, the oldest first."""
    incidents: list[dict[str, Any]] = json.loads(machine.sh(f"{HANDLER} history --json"))
    return incidents


def _until_idle(machine: Machine, known: int) -> None:
    """Wait until the handler has restored the VM."""
    until(
        lambda: (
            json.loads(machine.ask(f"{HANDLER} status --json") or "{}").get("state") == "idle"
            and len(_history(machine)) > known
        ),
        f"the handler of {machine.name} has not restored it",
        180,
    )


def _mistakes(machine: Machine, known: int, scenario: Scenario) -> Iterator[str]:
    new = _history(machine)[known:]
    # A live migration without the handler is missed, and noticed when the handler starts again.
    events = [past["event"] for incident in new for past in incident["past"] if past["event"] != "missed"]
    expected = [scenario.event, *scenario.then]
    if events != expected:
        yield f"the handler of {machine.name} noticed {', '.join(events) or 'nothing'} instead of {', '.join(expected)}"
    entries = (entry for incident in new for entry in (incident.get("slot") or {}).get("entries", ()))
    if scenario.takes_turns:
        yield from (
            f"{machine.name} {entry['what']}: {entry['detail']}" for entry in entries if entry["what"] in _NO_LIMIT
        )
    for step in (step for incident in new for step in incident["steps"]):
        if step["outcome"] != "ok":
            outcome = f"{step['outcome']} {step['detail']}".strip()
            yield f"the {step['phase']} of '{step['task']}' on {machine.name}: {outcome}"
