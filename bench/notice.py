# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The time from a change of `maintenance-event` to the first line of the drain task: `python -m bench.notice`.

Each round sends one event to each rival in turn, so that other load on the machine affects all of them. The time starts
just before the request that changes the value. Only the handler writes to the disk before it starts the task, so each
round also measures a synced write.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from .conditions import conditions
from .rivals import DISK, EVENT_KEY, Curl, DidNotReact, Handler, Poller, Rival, Sample, running

EVENT = "MIGRATE_ON_HOST_MAINTENANCE"

# A poller takes part in every sixth round only: its time is about half its period, and is not compared.
POLLER_EVERY = 6
# Seconds before each event, so that a rival's work after the last one does not count.
QUIET = 0.1

GOAL = 1.0

Times = dict[str, list[float]]


class Disk:
    """A file that is written like the handler's journal."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(dir=DISK)  # noqa: SIM115 - open until `close`
        self._write()
        self.times: list[float] = []

    def measure(self) -> None:
        """Record the milliseconds of one synced write."""
        began = time.monotonic_ns()
        self._write()
        self.times.append((time.monotonic_ns() - began) / 1e6)

    def close(self) -> None:
        self._file.close()

    def _write(self) -> None:
        os.pwrite(self._file.fileno(), os.urandom(2048), 0)
        os.fdatasync(self._file.fileno())


class Trigger:
    """Changes values through one kept-alive connection."""

    def __init__(self, control: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(control).netloc)

    def fire(self, rival: Rival) -> float:
        """Announce an event. Returns the milliseconds until the rival's task began."""
        path = f"/instances/{rival.name}/values/{EVENT_KEY}"
        body = json.dumps({"value": EVENT})
        began = time.monotonic_ns()
        self._connection.request("PUT", path, body, {"Content-Type": "application/json"})
        milliseconds = (rival.task_began() - began) / 1e6
        with self._connection.getresponse() as answer:
            answer.read()
            if answer.status != 200:
                raise DidNotReact(f"The emulator answered {answer.status} to PUT {path}.")
        return milliseconds

    def close(self) -> None:
        self._connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.notice", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, metavar="N", help="default: %(default)s")
    parser.add_argument("--threaded", action="store_true", help="use a threaded server instead of the emulator")
    options = parser.parse_args(arguments)
    try:
        times, titles, synced_write = measured(options.rounds, threaded=options.threaded)
    except DidNotReact as exc:
        print(f"bench.notice: {exc}", file=sys.stderr)
        return 1
    console = Console()
    console.print(table(times, titles))
    for line in verdicts(times):
        console.print(line, soft_wrap=True)
    server = "a threaded server of the standard library" if options.threaded else "the emulator"
    console.print(
        f"{server}; {options.rounds} rounds, interleaved; a synced write takes {synced_write:.2f} ms; {conditions()}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def measured(rounds: int, *, threaded: bool = False) -> tuple[Times, dict[str, str], float]:
    """The milliseconds of each rival, by name; the rivals' titles; and the median of a synced write."""
    with ExitStack() as stack:
        emulator, rivals = stack.enter_context(running(threaded=threaded))
        trigger = stack.enter_context(closing(Trigger(emulator.control.url)))
        disk = stack.enter_context(closing(Disk()))
        times: Times = {rival.name: [] for rival in rivals}
        for number in range(rounds):
            disk.measure()
            for rival in rivals:
                if isinstance(rival, Poller):
                    if number % POLLER_EVERY:
                        continue
                    # The poller asks at regular times; the event must not.
                    time.sleep(random.uniform(0, 2))
                time.sleep(QUIET)
                times[rival.name].append(trigger.fire(rival))
                rival.rearm()
        return times, {rival.name: rival.title for rival in rivals}, statistics.median(disk.times)


def table(times: Times, titles: dict[str, str]) -> Table:
    result = Table(title="From the value's change to the task's first line, in ms")
    result.add_column("")
    for heading in ("median", "p95", "least", "rounds", "÷ curl", "÷ sample"):
        result.add_column(heading, justify="right")
    for name, own in times.items():
        result.add_row(
            titles[name],
            f"{statistics.median(own):.2f}",
            f"{percentile(own, 95):.2f}",
            f"{min(own):.2f}",
            str(len(own)),
            _ratio_text(times, name, Curl.name),
            _ratio_text(times, name, Sample.name),
        )
    return result


def verdicts(times: Times) -> list[str]:
    """One line for each goal."""
    lines = []
    for base, title in ((Curl.name, "curl and exec"), (Sample.name, "the sample")):
        ratio = paired_ratio(times, Handler.name, base)
        if ratio is None:
            lines.append(f"[yellow]not measured[/]: the handler against {title}; curl is not installed here.")
            continue
        verdict = "[green]met[/]" if ratio <= GOAL else "[red]missed[/]"
        lines.append(f"{verdict}: the handler takes {ratio:.2f} × the time of {title}; the goal is at most {GOAL:.2f}.")
    return lines


def paired_ratio(times: Times, name: str, base: str) -> float | None:
    """The median of each round's ratio; None if the two did not run in the same rounds."""
    if base not in times or len(times[name]) != len(times[base]):
        return None
    return statistics.median(own / other for own, other in zip(times[name], times[base], strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least this percentage of the values does not exceed."""
    ranked = sorted(values)
    return ranked[max(1, math.ceil(len(ranked) * percent / 100)) - 1]


def _ratio_text(times: Times, name: str, base: str) -> str:
    ratio = paired_ratio(times, name, base)
    return "" if ratio is None else f"{ratio:.2f}"


if __name__ == "__main__":
    sys.exit(main())
