# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of waiting for an event: `python -m bench.footprint`.

Memory is that of a rival's processes at the end of an idle spell, CPU time what they spent during it, and requests are
counted by the emulator. The rivals wait side by side, so pages that their interpreters share are divided among them.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .conditions import conditions
from .limited import IS_AVAILABLE, LimitedHandler
from .rivals import DidNotReact, Handler, Rival, Sample, running

# The first answers come at once; what a rival does until it hangs is not idle.
SETTLE = 5.0

GOAL_PSS = 0.65
# MiB that a limit in etcd adds.
GOAL_LIMIT = 1.5
# Seconds, at the least, from one request for a key to the next.
GOAL_PERIOD = 60.0


@dataclass(frozen=True)
class Footprint:
    """Memory in KiB; requests during the spell, by key."""

    title: str
    pss: int
    rss: int
    cpu_seconds: float
    requests: Counter[str]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.footprint", description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, metavar="N", help="the idle spell, default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        footprints = measured(options.seconds)
    except DidNotReact as exc:
        print(f"bench.footprint: {exc}", file=sys.stderr)
        return 1
    console = Console()
    console.print(table(footprints, options.seconds))
    for line in verdicts(footprints, options.seconds):
        console.print(line, soft_wrap=True)
    console.print(conditions(), highlight=False, soft_wrap=True)
    return 0


def measured(seconds: float) -> dict[str, Footprint]:
    with running(more=[LimitedHandler] if IS_AVAILABLE else []) as (emulator, rivals):
        time.sleep(SETTLE)
        emulator.control.clear_journal()
        before = {rival.name: sum(map(cpu_seconds, family(rival.pid))) for rival in rivals}
        time.sleep(seconds)
        return {
            rival.name: _footprint(rival, before[rival.name], emulator.control.journal(instance=rival.name))
            for rival in rivals
        }


def _footprint(rival: Rival, cpu_before: float, journal: Sequence[dict[str, str]]) -> Footprint:
    processes = list(family(rival.pid))
    memory = [memory_of(pid) for pid in processes]
    return Footprint(
        title=rival.title,
        pss=sum(one["Pss"] for one in memory),
        rss=sum(one["Rss"] for one in memory),
        cpu_seconds=sum(map(cpu_seconds, processes)) - cpu_before,
        requests=Counter(entry["path"].removeprefix("/computeMetadata/v1/") for entry in journal),
    )


def family(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text(encoding="ascii").split():
            yield from family(int(child))


def memory_of(pid: int) -> dict[str, int]:
    """The sizes that the kernel sums up for a process, by name."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return {name.rstrip(":"): int(size) for name, size, unit in map(str.split, lines[1:]) if unit == "kB"}


def cpu_seconds(pid: int) -> float:
    """What a process has spent, in its own code and in the kernel, with the children that it has waited for."""
    # The name in parentheses may hold anything; the fields behind it count from 3 (proc_pid_stat(5)).
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return sum(int(fields[number - 3]) for number in (14, 15, 16, 17)) / os.sysconf("SC_CLK_TCK")


def most_requests(seconds: float) -> int:
    """How many requests for one key keep to the goal."""
    return math.ceil(seconds / GOAL_PERIOD)


def table(footprints: dict[str, Footprint], seconds: int) -> Table:
    result = Table(title=f"An idle spell of {seconds} s")
    result.add_column("")
    for heading in ("PSS, MiB", "RSS, MiB", "÷ sample", "CPU, ms", "requests", "for one key"):
        result.add_column(heading, justify="right")
    for own in footprints.values():
        result.add_row(
            own.title,
            f"{own.pss / 1024:.1f}",
            f"{own.rss / 1024:.1f}",
            f"{own.pss / footprints[Sample.name].pss:.2f}",
            f"{own.cpu_seconds * 1000:.0f}",
            str(own.requests.total()),
            str(max(own.requests.values(), default=0)),
        )
    return result


def verdicts(footprints: dict[str, Footprint], seconds: float) -> list[str]:
    """A line for each goal."""
    handler = footprints[Handler.name]
    ratio = handler.pss / footprints[Sample.name].pss
    busiest = max(handler.requests.values(), default=0)
    lines = [
        f"{_verdict(ratio <= GOAL_PSS)}: the handler's PSS is {ratio:.2f} × the sample's; "
        f"the goal is at most {GOAL_PSS:.2f}.",
        f"{_verdict(busiest <= most_requests(seconds))}: the handler asks for no key more than {busiest} times; "
        f"the goal is at most {most_requests(seconds)}, one a minute.",
    ]
    if LimitedHandler.name not in footprints:
        return [*lines, "not measured: the handler with a limit in etcd. Install etcd-server and etcd-client."]
    added = (footprints[LimitedHandler.name].pss - handler.pss) / 1024
    return [
        *lines,
        f"{_verdict(added <= GOAL_LIMIT)}: a limit in etcd adds {added:.1f} MiB to the handler's PSS; "
        f"the goal is at most {GOAL_LIMIT:.1f}.",
    ]


def _verdict(is_met: bool) -> str:
    return "[green]met[/]" if is_met else "[red]missed[/]"


if __name__ == "__main__":
    sys.exit(main())
