# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules, the event source fleet and the emulator with up to ten thousand instances: `python -m bench.large_fleet`.

For each size of the fleet, the processes of modules and processes that only send the same requests take turns, without
a limit of requests a minute. No VM has a handler. While the event source polls, a tenth of the VMs has a maintenance
window. With --plot, the times are written as a plot.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from support.emulator import EmulatorProcess

from .conditions import conditions
from .growth import plot
from .hanging import ATTRIBUTE, allow_files, hanging_seconds
from .polls import POLLS, SETTLED, Polls, measure_polls
from .resident import resident_kib
from .turns import BenchFailed, Turn, median_ratio, one_turn, verdict

BENCH = Path(__file__).resolve().parent
CHECKOUT = BENCH.parent
PROJECT, ZONE, KEY, VALUE = "acme", "europe-west1-b", "wave", "2"
# Operations take 20 ms instead of 2 s, so that the clients dominate the measurement.
SPEED = 100
SIZES = (10, 100, 1000, 10000)

LIST, STATUS, WRITE = "fleet_maintenance_info", "fleet_status_info", "custom_metadata"
POLL = "a poll of EDA's fleet"
GOALS = {LIST: 1.2, STATUS: 1.3, WRITE: 1.3}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    LIST: {"kinds": ["instance"]},
    STATUS: {},
    WRITE: {"filter": "name = vm-*", "zone": ZONE, "metadata": {KEY: VALUE}},
}
# Of polls of the event source: its time as for the module that sends the same requests, its memory to be flat.
GOAL_POLL, GOAL_GROWTH = 1.2, 1024.0
GOAL_START, GOAL_KIB = 5.0, 25.0


@dataclass(frozen=True)
class Size:
    """What was measured with this many instances. Seconds and KiB."""

    instances: int
    # For each module, its turns and those of the bare requests.
    modules: Mapping[str, tuple[list[Turn], list[Turn]]]
    polls: Polls
    start: float
    memory: float
    # Of how many VMs, until they hang, and until they are answered.
    hanging: int
    hang: float
    wake: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.large_fleet", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="default: 10 to 10000")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="of each process, default: %(default)s")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the times as SVG")
    options = parser.parse_args(arguments)
    try:
        sizes = measure(sorted(options.sizes), options.turns)
    except BenchFailed as exc:
        print(f"bench.large_fleet: {exc}", file=sys.stderr)
        return 1
    console = Console()
    console.print(table(sizes))
    for line in verdicts(sizes):
        console.print(line, soft_wrap=True)
    how = f"{options.turns} turns, interleaved; medians; {conditions()}"
    console.print(how, highlight=False, soft_wrap=True)
    if options.plot is not None:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        options.plot.write_text(plot(series(sizes), how), encoding="utf-8")
    return 0


def measure(sizes: Sequence[int], turns: int) -> list[Size]:
    most = allow_files(max(sizes))
    with tempfile.TemporaryDirectory(prefix="gce-guest-bench-") as name:
        folder = Path(name)
        files = module_files(folder)
        return [measure_size(instances, turns, folder, files, most) for instances in sizes]


def module_files(folder: Path) -> dict[str, Path]:
    """What Ansible sends to a host for each module, with its options. They are started without Ansible."""
    link = folder / "ansible_collections" / "gce" / "guest"
    link.parent.mkdir(parents=True)
    link.symlink_to(CHECKOUT, target_is_directory=True)
    tasks = [
        {f"gce.guest.{name}": {"project": PROJECT, "requests_per_minute": 0, **options}}
        for name, options in OPTIONS.items()
    ]
    playbook = folder / "play.yml"
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(playbook)]
    variables = ["-e", json.dumps({"ansible_python_interpreter": sys.executable})]
    with EmulatorProcess(fleet(1)) as emulator:
        settings = {
            "ANSIBLE_COLLECTIONS_PATH": str(folder),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_KEEP_REMOTE_FILES": "1",
            "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
            "LC_ALL": "C.UTF-8",
        }
        environment = {**os.environ, **settings, **api(emulator)}
        result = subprocess.run([*command, *variables], env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BenchFailed(f"The play ended with exit status {result.returncode}: {result.stdout}{result.stderr}")
    return {name: next((folder / "remote").glob(f"*/AnsiballZ_{name}.py")) for name in OPTIONS}


def fleet(instances: int) -> dict[str, Any]:
    attributes = {"enable-guest-attributes": "TRUE"}
    return {
        "project": PROJECT,
        "speed": SPEED,
        "attributes": {ATTRIBUTE: "1"},
        "instances": [{"name": f"vm-{number}", "zone": ZONE, "attributes": attributes} for number in range(instances)],
    }


def api(emulator: EmulatorProcess) -> dict[str, str]:
    """The environment of modules."""
    return {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute, "GCP_ACCESS_TOKEN": "bench"}


def measure_size(instances: int, turns: int, folder: Path, files: Mapping[str, Path], most: int) -> Size:
    """`folder` contains ansible_collections, and is that of `files`."""
    with EmulatorProcess(fleet(1)) as small:
        least = resident_kib(small.process.pid)
    began = time.monotonic()
    with EmulatorProcess(fleet(instances)) as emulator:
        start = time.monotonic() - began
        memory = (resident_kib(emulator.process.pid) - least) / max(1, instances - 1)
        hang, wake = hanging_seconds(emulator, PROJECT, most)
        bare = {
            LIST: ["bare_list.py", emulator.compute, PROJECT],
            STATUS: ["bare_fleet.py", emulator.compute, PROJECT],
            WRITE: ["bare_pool.py", emulator.compute, PROJECT, ZONE, KEY, VALUE],
        }
        measured: dict[str, tuple[list[Turn], list[Turn]]] = {name: ([], []) for name in OPTIONS}
        for _turn in range(turns):
            for name, (own, others) in measured.items():
                emulator.control.reset()
                own.append(one_turn(emulator, [sys.executable, str(files[name])], api(emulator)))
                # Both write to the same fleet.
                emulator.control.reset()
                script, *rest = bare[name]
                others.append(one_turn(emulator, [sys.executable, str(BENCH / script), *rest]))
        polls = measure_polls(emulator, PROJECT, turns, folder)
        return Size(instances, measured, polls, start, memory, min(instances, most), hang, wake)


def seconds(turns: Sequence[Turn]) -> float:
    return statistics.median(turn.seconds for turn in turns)


def table(sizes: Sequence[Size]) -> Table:
    result = Table(title="Seconds by the number of instances, and ÷ bare requests")
    result.add_column("")
    for size in sizes:
        result.add_column(str(size.instances), justify="right")
    for name in OPTIONS:
        pairs = [size.modules[name] for size in sizes]
        result.add_row(name, *(f"{seconds(own):.2f} (÷ {median_ratio(own, bare):.2f})" for own, bare in pairs))
        peaks = [statistics.median(turn.peak_mib for turn in own) for own, _bare in pairs]
        result.add_row("  peak memory, MiB", *(f"{peak:.0f}" for peak in peaks))
    ratios = [median_ratio(size.polls.own, size.polls.bare) for size in sizes]
    result.add_row(
        POLL, *(f"{size.polls.seconds:.2f} (÷ {ratio:.2f})" for size, ratio in zip(sizes, ratios, strict=True))
    )
    result.add_row("  peak memory, MiB", *(f"{size.polls.peak_mib:.0f}" for size in sizes))
    result.add_row(
        f"  growth by polls {SETTLED + 1} to {POLLS}, KiB", *(f"{size.polls.growth_kib:.0f}" for size in sizes)
    )
    result.add_row("start of the emulator", *(f"{size.start:.2f}" for size in sizes))
    result.add_row("  KiB an instance", *(f"{size.memory:.1f}" for size in sizes))
    # Fewer than all VMs where the limit of open files does not allow more.
    result.add_row("hanging requests, one a VM", *(f"{size.hanging}" for size in sizes))
    result.add_row("  until all hang", *(f"{size.hang:.2f}" for size in sizes))
    result.add_row("  until all are answered", *(f"{size.wake:.2f}" for size in sizes))
    return result


def verdicts(sizes: Sequence[Size]) -> list[str]:
    """A line for each goal. They are for the largest fleet."""
    largest = sizes[-1]
    lines = []
    for name, goal in GOALS.items():
        ratio = median_ratio(*largest.modules[name])
        words = f"{name} takes {ratio:.2f} × the time of the bare requests; the goal is at most {goal:g}."
        lines.append(f"{verdict(ratio <= goal)}: {words}")
    ratio = median_ratio(largest.polls.own, largest.polls.bare)
    poll = f"{POLL} takes {ratio:.2f} × the time of the bare requests; the goal is at most {GOAL_POLL:g}."
    growth = largest.polls.growth_kib
    flat = (
        f"its memory grows by {growth:.0f} KiB in polls {SETTLED + 1} to {POLLS}; the goal is at most {GOAL_GROWTH:g}."
    )
    start = f"the emulator starts in {largest.start:.2f} s; the goal is at most {GOAL_START:g} s."
    memory = f"an instance takes {largest.memory:.1f} KiB; the goal is at most {GOAL_KIB:g} KiB."
    return [
        *lines,
        f"{verdict(ratio <= GOAL_POLL)}: {poll}",
        f"{verdict(growth <= GOAL_GROWTH)}: {flat}",
        f"{verdict(largest.start <= GOAL_START)}: {start}",
        f"{verdict(largest.memory <= GOAL_KIB)}: {memory}",
    ]


def series(sizes: Sequence[Size]) -> dict[str, list[tuple[int, float]]]:
    """The points of the plot's lines."""
    lines = {name: [(size.instances, seconds(size.modules[name][0])) for size in sizes] for name in OPTIONS}
    return {
        **lines,
        POLL: [(size.instances, size.polls.seconds) for size in sizes],
        "start of the emulator": [(size.instances, size.start) for size in sizes],
        "hanging requests, one a VM": [(size.hanging, size.hang) for size in sizes],
    }


if __name__ == "__main__":
    sys.exit(main())
