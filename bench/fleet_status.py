# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report the status of a fleet: `python -m bench.fleet_status`.

The playbook as a whole, its module's process, and a process that only sends the same requests through a pool of threads
take turns, without a limit of requests a minute, against an emulator that answers after 100 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from support.emulator import EmulatorProcess

from .conditions import conditions
from .turns import BenchFailed, Turn, median_ratio, one_turn, verdict

BENCH = Path(__file__).resolve().parent
CHECKOUT = BENCH.parent
PROJECT = "acme"
ANSWERS_AFTER = 0.1
ZONES = ("europe-west1-b", "us-central1-a", "asia-east1-c")
STATUS = "instance/guest-attributes/maintenance-handler/status"

PLAYBOOK, MODULE, POOL = "playbook", "module", "pool"
TITLES = {
    PLAYBOOK: "the playbook fleet_status",
    MODULE: "fleet_status_info",
    POOL: "requests and a pool of threads",
}

GOAL = 1.3


@dataclass(frozen=True)
class Measured:
    turns: dict[str, list[Turn]]
    # Bytes.
    page: int
    json: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.fleet_status", description=__doc__)
    parser.add_argument("--instances", type=int, default=3000, metavar="N", help="default: %(default)s")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="of each process, default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        measured = measure(options.instances, options.turns)
    except BenchFailed as exc:
        print(f"bench.fleet_status: {exc}", file=sys.stderr)
        return 1
    console = Console()
    console.print(table(measured, options.instances))
    for line in verdicts(measured):
        console.print(line)
    how = f"{options.turns} turns, interleaved; medians; the server answers after {1000 * ANSWERS_AFTER:g} ms"
    console.print(f"{how}; {conditions()}", highlight=False)
    return 0


def measure(instances: int, turns: int) -> Measured:
    fleet = {"project": PROJECT, "instances": [instance(number) for number in range(instances)]}
    with tempfile.TemporaryDirectory(prefix="gce-guest-bench-") as name, EmulatorProcess(fleet) as emulator:
        folder = Path(name)
        link = folder / "ansible_collections" / "gce" / "guest"
        link.parent.mkdir(parents=True)
        link.symlink_to(CHECKOUT, target_is_directory=True)
        for number in range(instances):
            emulator.control.set(f"vm-{number}", STATUS, json.dumps(report(number)))
        emulator.control.fault("delay", face="compute", delay=ANSWERS_AFTER)
        measured: dict[str, list[Turn]] = {kind: [] for kind in TITLES}
        command, environment = playbook(folder, emulator)
        bare = [sys.executable, str(BENCH / "bare_fleet.py"), emulator.compute, PROJECT]
        for _turn in range(turns):
            measured[PLAYBOOK].append(one_turn(emulator, command, environment))
            file = next((folder / "remote").glob("*/AnsiballZ_fleet_status_info.py"))
            measured[MODULE].append(one_turn(emulator, [sys.executable, str(file)], environment))
            measured[POOL].append(one_turn(emulator, bare))
        return Measured(measured, (folder / "page.html").stat().st_size, (folder / "fleet.json").stat().st_size)


def instance(number: int) -> dict[str, Any]:
    attributes = {"enable-guest-attributes": "TRUE"}
    return {"name": f"vm-{number}", "zone": ZONES[number % len(ZONES)], "attributes": attributes}


def report(number: int) -> dict[str, Any]:
    """The status of a handler; each fiftieth is drained."""
    # Ahead of the start of the emulated VM.
    at = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    is_drained = number % 50 == 0
    return {
        "state": "drained" if is_drained else "idle",
        "rehearsal": False,
        "events": ["terminate"] if is_drained else [],
        "deadlines": {"terminate": 1_795_717_200} if is_drained else {},
        "held": ["Leave the load balancer"] if is_drained else [],
        "not_restored": [],
        "incident": "20261120-031200-migrate" if is_drained else None,
        "last_incident": {
            "id": "20261120-031200-migrate",
            "event": "migrate",
            "rehearsal": False,
            "opened_at": "2026-11-20T03:12:00Z",
            "ended_at": "2026-11-20T03:13:00Z",
            "outcome": "ok",
        },
        "at": at,
        "every": 3600.0,
        "version": "0.1.0",
    }


def playbook(folder: Path, emulator: EmulatorProcess) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of the playbook. Its module's process is left in the folder."""
    variables = {
        "ansible_python_interpreter": sys.executable,
        "gce_project": PROJECT,
        "gce_requests_per_minute": 0,
        "gce_report_file": str(folder / "page.html"),
        "gce_json_file": str(folder / "fleet.json"),
    }
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": str(folder),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_KEEP_REMOTE_FILES": "1",
        "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute,
        "GCP_ACCESS_TOKEN": "bench",
        "LC_ALL": "C.UTF-8",
    }
    options = ["-i", "localhost,", "-e", json.dumps(variables), "gce.guest.fleet_status"]
    return [sys.executable, "-m", "ansible", "playbook", *options], environment


def table(measured: Measured, instances: int) -> Table:
    result = Table(title=f"The status of {instances} instances")
    result.add_column("")
    for heading in ("process, s", "CPU, s", "peak memory, MiB", "requests"):
        result.add_column(heading, justify="right")
    for kind, title in TITLES.items():
        turns = measured.turns[kind]
        result.add_row(
            title,
            f"{statistics.median(turn.seconds for turn in turns):.2f}",
            f"{statistics.median(turn.cpu_seconds for turn in turns):.2f}",
            f"{statistics.median(turn.peak_mib for turn in turns):.0f}",
            f"{statistics.median(turn.requests for turn in turns):.0f}",
        )
    return result


def verdicts(measured: Measured) -> list[str]:
    """A line for each goal."""
    whole = median_ratio(measured.turns[PLAYBOOK], measured.turns[POOL])
    module = median_ratio(measured.turns[MODULE], measured.turns[POOL])
    goal = f"times as long as the bare requests; the goal is at most {GOAL:g}."
    return [
        f"{verdict(whole <= GOAL)}: the playbook takes {whole:.2f} {goal}",
        f"{verdict(module <= GOAL)}: its module takes {module:.2f} {goal}",
        f"no goal: the page has {measured.page / 1000:.0f} kB, the JSON {measured.json / 1000:.0f} kB.",
    ]


if __name__ == "__main__":
    sys.exit(main())
