# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set a key on many instances: `python -m bench.custom_metadata`.

- The module's process is compared with a process that sends the same requests through a pool of threads. They take
  turns, against an emulator that is reset before each turn.
- A task for all instances is compared with a task that loops over some of them. The loop's time is extrapolated.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from support.emulator import EmulatorProcess

from .conditions import conditions
from .turns import BenchFailed, Turn, median_ratio, one_turn, verdict

BENCH = Path(__file__).resolve().parent
CHECKOUT = BENCH.parent
PROJECT, ZONE, KEY, VALUE = "acme", "europe-west1-b", "release", "1.5.0"
# Operations take 20 ms instead of 2 s, so that the clients dominate the measurement.
SPEED = 100

MODULE, POOL = "module", "pool"
TITLES = {MODULE: "custom_metadata", POOL: "requests and a pool of threads"}
ALL, LOOP = "all", "loop"

GOAL_POOL = 1.3
GOAL_LOOP = 20.0


@dataclass(frozen=True)
class Measured:
    turns: dict[str, list[Turn]]
    # Seconds of the task for all instances, and of the loop.
    task: float
    loop: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.custom_metadata", description=__doc__)
    parser.add_argument("--instances", type=int, default=1000, metavar="N", help="default: %(default)s")
    parser.add_argument("--looped", type=int, default=50, metavar="N", help="of them, default: %(default)s")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="of each process, default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        measured = measure(options.instances, options.looped, options.turns)
    except BenchFailed as exc:
        print(f"bench.custom_metadata: {exc}", file=sys.stderr)
        return 1
    console = Console()
    console.print(table(measured, options.instances))
    for line in verdicts(measured, options.instances, options.looped):
        console.print(line)
    console.print(f"{options.turns} turns, interleaved; medians; {conditions()}", highlight=False)
    return 0


def measure(instances: int, looped: int, turns: int) -> Measured:
    fleet = {
        "project": PROJECT,
        "speed": SPEED,
        "instances": [
            {"name": f"vm-{number}", "zone": ZONE, "attributes": {"role": "web", "enable-oslogin": "TRUE"}}
            for number in range(instances)
        ],
    }
    with tempfile.TemporaryDirectory(prefix="gce-guest-bench-") as name, EmulatorProcess(fleet) as emulator:
        folder = Path(name)
        task, loop = task_durations(folder, emulator, looped)
        file = next((folder / "remote").glob("*/AnsiballZ_custom_metadata.py"))
        commands = {
            MODULE: [sys.executable, str(file)],
            POOL: [sys.executable, str(BENCH / "bare_pool.py"), emulator.compute, PROJECT, ZONE, KEY, VALUE],
        }
        measured: dict[str, list[Turn]] = {kind: [] for kind in commands}
        for _turn in range(turns):
            for kind, command in commands.items():
                emulator.control.reset()
                measured[kind].append(one_turn(emulator, command))
        return Measured(measured, task, loop)


def task_durations(folder: Path, emulator: EmulatorProcess, looped: int) -> tuple[float, float]:
    """The seconds of a task for all, and of a loop over some. What Ansible made for the first is left in the folder."""
    link = folder / "ansible_collections" / "gce" / "guest"
    link.parent.mkdir(parents=True)
    link.symlink_to(CHECKOUT, target_is_directory=True)
    module = "gce.guest.custom_metadata"
    common: dict[str, Any] = {
        "project": PROJECT,
        "zone": ZONE,
        "api_endpoint": emulator.compute,
        "access_token": "bench",
        "requests_per_minute": 0,
        "metadata": {KEY: VALUE},
    }
    one = {**common, "instance": "vm-{{ item }}", "metadata": {KEY: "2.0.0"}}
    tasks: list[dict[str, Any]] = [
        {"name": ALL, module: {**common, "filter": "name = vm-*"}},
        {"name": LOOP, module: one, "loop": list(range(looped))},
    ]
    for task in tasks:
        run_play(folder, task, keep=task["name"] == ALL)
    lines = [json.loads(line) for line in (folder / "durations").read_text(encoding="utf-8").splitlines()]
    seconds = {line["task"]: line["seconds"] for line in lines}
    return seconds[ALL], seconds[LOOP]


def run_play(folder: Path, task: dict[str, Any], *, keep: bool) -> None:
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [task],
    }
    playbook = folder / "play.yml"
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(folder),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_CALLBACK_PLUGINS": str(BENCH / "callbacks"),
        "ANSIBLE_CALLBACKS_ENABLED": "durations",
        # The process is started again from what the first task leaves behind.
        "ANSIBLE_KEEP_REMOTE_FILES": "1" if keep else "0",
        "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
        "DURATIONS": str(folder / "durations"),
        "LC_ALL": "C.UTF-8",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(playbook)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BenchFailed(f"The play ended with exit status {result.returncode}: {result.stdout}{result.stderr}")


def table(measured: Measured, instances: int) -> Table:
    result = Table(title=f"A key for {instances} instances")
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


def verdicts(measured: Measured, instances: int, looped: int) -> list[str]:
    """A line for each goal."""
    pool = pool_ratio(measured.turns)
    loop = loop_ratio(measured, instances, looped)
    return [
        f"{verdict(pool <= GOAL_POOL)}: the module's process takes {pool:.2f} × the time of a bare pool; the goal is "
        f"at most {GOAL_POOL:g}.",
        f"{verdict(loop >= GOAL_LOOP)}: a loop takes {loop:.0f} × the time of one task for {instances} instances, "
        f"extrapolated from {looped} in {measured.loop:.1f} s, and {measured.task:.1f} s; the goal is at least "
        f"{GOAL_LOOP:g}.",
    ]


def pool_ratio(turns: dict[str, list[Turn]]) -> float:
    return median_ratio(turns[MODULE], turns[POOL])


def loop_ratio(measured: Measured, instances: int, looped: int) -> float:
    return measured.loop / looped * instances / measured.task


if __name__ == "__main__":
    sys.exit(main())
