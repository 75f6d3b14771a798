# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd. Nothing here waits for a job: while systemd shuts down, that may wait for the handler itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Callable

from recipes.commands import output
from recipes.run import Refusal, Run

HANDLER = "gce-maintenance-handler.service"

# Units that the handler depends on without a Requires=.
_VITAL = (
    "dbus.service",
    "dbus.socket",
    "dbus-broker.service",
    "networking.service",
    "NetworkManager.service",
    "systemd-journald.service",
    "systemd-networkd.service",
)
# Units that go down with one (systemd.unit(5)).
_STOP_WITH_IT = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf")
# A socket refuses to start once its service runs: what triggers others starts first.
_TRIGGERS = (".socket", ".path", ".timer", ".automount")
_TIMEOUT = 5.0
# systemd counts a service of these types as active before it has executed its program (systemd.service(5)).
_ACTIVE_UNSEEN = ("simple", "idle")
# Seconds that such a service has to stay active: one that cannot work ends within them.
_SETTLED = 0.5


def show(unit: str, *properties: str, timeout: float = _TIMEOUT) -> dict[str, str]:
    """Properties of a unit. Raises `Refusal`."""
    said = output(["systemctl", "show", f"--property={','.join(properties)}", "--", unit], timeout=timeout)
    return dict(line.partition("=")[::2] for line in said.splitlines())


def known(unit: str) -> str:
    """The full name of a unit that can be started and stopped. Raises `Refusal` with the reason if it cannot."""
    found = show(unit, "Id", "LoadState", "RefuseManualStart", "RefuseManualStop")
    if found.get("LoadState") != "loaded":
        raise Refusal(f"systemd cannot use the unit {unit}: it is {found.get('LoadState', 'unknown')}")
    if "yes" in (found["RefuseManualStart"], found["RefuseManualStop"]):
        raise Refusal(f"{found['Id']} refuses to be started or stopped by hand")
    return found["Id"]


def companions(unit: str) -> list[str]:
    """The unit, all that is stopped with it, and the active sockets and timers that would start it again."""
    found: list[str] = []
    ahead = [unit]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.append(name)
        properties = show(name, *_STOP_WITH_IT, "TriggeredBy")
        ahead += [one for value in properties.values() for one in value.split()]
    return found


def refuse_vital(units: Sequence[str]) -> None:
    """Raises `Refusal` if the handler would be stopped with them, or depends on them."""
    first = units[0]
    for unit in units:
        if unit == HANDLER or unit in _VITAL:
            how = "is" if unit == first else f"stops {unit}, which is"
            what = "the maintenance handler itself" if unit == HANDLER else "what the maintenance handler needs"
            raise Refusal(f"{first} {how} {what}: it cannot be stopped before maintenance")


def refuse_without_permission(unit: str) -> None:
    """Raises `Refusal` if we may not start and stop units."""
    if os.geteuid() == 0:
        return
    action = ["--action-id", "org.freedesktop.systemd1.manage-units", "--process", str(os.getpid())]
    for verb in ("stop", "start"):
        details = ["--detail", "unit", unit, "--detail", "verb", verb]
        try:
            done = subprocess.run(["pkcheck", *action, *details], capture_output=True, timeout=_TIMEOUT, check=False)
            allowed = done.returncode == 0
        except (OSError, subprocess.SubprocessError):
            allowed = False
        if not allowed:
            raise Refusal(f"user {os.geteuid()} may not {verb} {unit}: run the task as root, or add a rule for polkit")


def shuts_down() -> bool:
    """Whether systemd is shutting the machine down."""
    done = subprocess.run(
        ["systemctl", "is-system-running"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False
    )
    return done.stdout.strip() == b"stopping"


def begin(verb: str, units: Sequence[str]) -> None:
    """Have systemd start or stop units, and do not wait. Raises `Refusal`."""
    # In a shutdown, the job to stop a unit may wait until the handler has stopped, but this one must run now.
    mode = ["--job-mode=ignore-dependencies"] if verb == "stop" and shuts_down() else []
    output(["systemctl", "--no-block", "--no-ask-password", *mode, verb, "--", *units], timeout=_TIMEOUT)


def is_active(unit: str) -> bool:
    """Whether a unit is running or starting."""
    return show(unit, "ActiveState")["ActiveState"] in ("active", "activating", "reloading", "refreshing")


def stop_and_wait(units: Sequence[str], run: Run) -> None:
    """Have units stopped, and wait until none of them runs."""
    begin("stop", units)
    run.wait_until(lambda: "; ".join(filter(None, map(_still_runs, units))))


def start_and_wait(units: Sequence[str], run: Run) -> None:
    """Have units started, and wait until all of them run and go on doing so. Raises `Refusal` if one fails."""
    if shuts_down():
        raise Refusal("the machine is shutting down: nothing can be started now")
    missing = [unit for unit in units if show(unit, "ActiveState")["ActiveState"] != "active"]
    if missing:
        begin("start", sorted(missing, key=lambda unit: not unit.endswith(_TRIGGERS)))
    run.wait_until(lambda: "; ".join(filter(None, (_starts_still(unit, run.clock) for unit in units))))


def _still_runs(unit: str) -> str:
    state = show(unit, "ActiveState", "SubState")
    return (
        ""
        if state["ActiveState"] in ("inactive", "failed")
        else f"{unit} is {state['ActiveState']} ({state['SubState']})"
    )


def _starts_still(unit: str, clock: Callable[[], float]) -> str:
    state = show(unit, "ActiveState", "SubState", "Result", "Job", "Type", "ActiveEnterTimestampMonotonic")
    if state["ActiveState"] == "active":
        since = int(state["ActiveEnterTimestampMonotonic"]) / 1e6
        settled = state.get("Type") not in _ACTIVE_UNSEEN or clock() - since >= _SETTLED
        return "" if settled else f"{unit} has only just started"
    if not state.get("Job") or state["Job"] == "0":
        if state["ActiveState"] == "failed":
            raise Refusal(f"{unit} does not start ({state.get('Result')}): see journalctl --unit {unit}")
        if state["ActiveState"] == "inactive" and state.get("Type") == "oneshot":
            # It has done its work.
            return ""
    return f"{unit} is {state['ActiveState']} ({state['SubState']})"
