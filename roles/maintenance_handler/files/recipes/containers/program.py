# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of Podman or Docker, by the commands that both have."""

from __future__ import annotations

import json
from typing import Any

from recipes import health
from recipes.commands import Failed, output
from recipes.run import Refusal, Run

_TIMEOUT = 5.0
# Seconds that the engine needs besides the grace.
_MARGIN = 1.0
# Labels that `docker compose` and `podman-compose` set on containers.
_PROJECT_LABELS = ("com.docker.compose.project", "io.podman.compose.project")
_UNIT_LABEL = "PODMAN_SYSTEMD_UNIT"


def check(run: Run) -> None:
    if (run["containers"] is None) == (run["compose_project"] is None):
        raise Refusal("give either 'containers' or 'compose_project'")
    health.checked(run["health"])
    for name in _names(run):
        found = _inspected(name, run)
        unit = (found["Config"].get("Labels") or {}).get(_UNIT_LABEL)
        if unit:
            raise Refusal(
                f"the container {name} belongs to {unit}, which may start it again: use the recipe systemd_unit"
            )
        if found.get("HostConfig", {}).get("AutoRemove"):
            raise Refusal(f"the container {name} was started with --rm: it would be deleted when stopped")
        run.say(f"{name} is {found['State']['Status']}")


def drain(run: Run) -> None:
    names = _names(run)
    for name in names:
        if name not in run.record and _status(name, run) == "running":
            run.record.note(name, "running")
    mine = [name for name in names if name in run.record]
    running = [name for name in mine if _status(name, run) == "running"]
    if running:
        _stop(running, run)
    run.wait_until(lambda: "; ".join(filter(None, (_still_runs(name, run) for name in mine))))
    run.say(f"stopped: {', '.join(_ended(name, run) for name in mine)}" if mine else "no container was running")


def restore(run: Run) -> None:
    names = run.record.keys()
    if not names:
        run.say("nothing to restore: this recipe has stopped no container")
        return
    for name in names:
        if _status(name, run) not in ("running", "paused"):
            output([run["engine"], "start", name], timeout=run.bounded(run.left()))
    run.wait_until(lambda: "; ".join(filter(None, (_still_starts(name, run) for name in names))))
    health.wait_until_healthy(run, run["health"])
    for name in names:
        run.record.forget(name)
    run.say(f"running: {', '.join(names)}")


def state(run: Run) -> None:
    for name in _names(run):
        ours = ", stopped by this recipe" if name in run.record else ""
        run.say(f"{name} is {_status(name, run)}{ours}")


def _names(run: Run) -> list[str]:
    if run["containers"] is not None:
        return list(run["containers"])
    found: list[str] = []
    for label in _PROJECT_LABELS:
        # Labels of one command must all fit.
        command = [run["engine"], "ps", "--all", f"--filter=label={label}={run['compose_project']}"]
        said = output([*command, "--format={{.Names}}"], timeout=run.bounded(_TIMEOUT))
        found += [name for name in said.split() if name not in found]
    if not found:
        raise Refusal(f"{run['engine']} has no container of the Compose project {run['compose_project']}")
    # Containers depend on those that were created before them.
    return sorted(found, key=lambda name: str(_inspected(name, run)["Created"]))


def _inspected(name: str, run: Run) -> dict[str, Any]:
    try:
        command = [run["engine"], "container", "inspect", name]
        [found] = json.loads(output(command, timeout=run.bounded(_TIMEOUT)))
    except Failed as exc:
        raise Refusal(f"{run['engine']} cannot inspect the container {name}: {exc}") from None
    except ValueError:
        raise Refusal(f"{run['engine']} has no single container {name}") from None
    return dict(found)


def _status(name: str, run: Run) -> str:
    return str(_inspected(name, run)["State"]["Status"])


def _stop(names: list[str], run: Run) -> None:
    grace = max(1, int(run.left() - _MARGIN))
    if run["grace"] is not None:
        grace = min(grace, run["grace"])
    try:
        output([run["engine"], "stop", f"--time={grace}", *reversed(names)], timeout=run.bounded(grace + 10 * _MARGIN))
    except Failed as exc:
        # Containers that are still running are handled afterwards.
        run.say(str(exc))


def _still_runs(name: str, run: Run) -> str:
    status = _status(name, run)
    return f"{name} is {status}" if status in ("running", "stopping", "restarting") else ""


def _ended(name: str, run: Run) -> str:
    killed = _inspected(name, run)["State"].get("ExitCode") == 137
    return f"{name} (killed after the grace period)" if killed else name


def _still_starts(name: str, run: Run) -> str:
    found = _inspected(name, run)["State"]
    if found["Status"] not in ("running", "paused"):
        return f"{name} is {found['Status']}"
    checked = (found.get("Health") or found.get("Healthcheck") or {}).get("Status")
    return f"{name} is {checked}" if checked in ("starting", "unhealthy") else ""
