# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read metadata in a play, compared with alternatives: `python -m bench.reading`.

One play runs the tasks of each method in turn, for several rounds, against an emulator that answers after 2 ms, like a
metadata server. Each method has its own instance, so that the journal shows which requests are whose.
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
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from support.emulator import EmulatorProcess

from .conditions import conditions

BENCH = Path(__file__).resolve().parent
CHECKOUT = BENCH.parent
ANSWERS_AFTER = 0.002
KEYS = (
    "instance/name",
    "instance/id",
    "instance/zone",
    "instance/machine-type",
    "instance/hostname",
    "instance/cpu-platform",
    "instance/network-interfaces/0/ip",
    "instance/scheduling/preemptible",
    "instance/attributes/role",
    "project/project-id",
)

# Instances, and names of tasks.
NOTHING, MODULE, CRAWL, URI, LOOKUP, URL = "nothing", "module", "crawl", "uri", "lookup", "url"
TITLES = {
    NOTHING: "a module that does nothing",
    MODULE: "metadata_info, the whole tree",
    CRAWL: "a crawl, key by key",
    URI: f"{len(KEYS)} keys by tasks with uri",
    LOOKUP: f"{len(KEYS)} keys by this lookup",
    URL: f"{len(KEYS)} keys by the lookup url",
}

GOAL_REQUESTS = 1
GOAL_CRAWL = 10.0
GOAL_NOTHING = 1.15
GOAL_URL = 5.0


class PlayFailed(Exception):
    """The measured play failed. The message is its output."""


@dataclass
class Measured:
    """Seconds of each method in each round. Processes have separate rounds."""

    requests: dict[str, int]
    # From the first request to the last answer, as seen by the server.
    wire: dict[str, list[float]]
    # Of all lookups in the template together.
    templates: dict[str, list[float]]
    # Of a module's process, started as Ansible starts it.
    processes: dict[str, list[float]]
    # From a task's start to its result, as seen by the controller; the sum, for a method with several tasks.
    tasks: dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.reading", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of the play, default: %(default)s")
    parser.add_argument("--processes", type=int, default=60, metavar="N", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        measured = measure(options.rounds, options.processes)
    except PlayFailed as exc:
        print(f"bench.reading: {exc}", file=sys.stderr)
        return 1
    console = Console()
    console.print(table(measured))
    for line in verdicts(measured):
        console.print(line)
    console.print(
        f"{options.rounds} rounds of the play, {options.processes} of the processes, interleaved; medians; "
        f"the server answers after {1000 * ANSWERS_AFTER:g} ms; {conditions()}",
        highlight=False,
    )
    return 0


def measure(rounds: int, processes: int) -> Measured:
    fleet = {"instances": [{"name": name, "attributes": {"role": "web"}} for name in TITLES]}
    with tempfile.TemporaryDirectory(prefix="gce-guest-bench-") as name, EmulatorProcess(fleet) as emulator:
        folder = Path(name)
        emulator.control.fault("delay", delay=ANSWERS_AFTER)
        run_play(folder, emulator, rounds)
        tasks, templates = durations(folder)
        wire, requests = exchanges(emulator, rounds)
        return Measured(requests, wire, templates, process_durations(folder, processes), tasks)


def run_play(folder: Path, emulator: EmulatorProcess, rounds: int) -> None:
    link = folder / "ansible_collections" / "gce" / "guest"
    link.parent.mkdir(parents=True)
    link.symlink_to(CHECKOUT, target_is_directory=True)
    playbook = folder / "play.yml"
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable, "keys": KEYS},
        "tasks": tasks_of_a_round(emulator) * rounds,
    }
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(folder),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LIBRARY": str(BENCH / "library"),
        "ANSIBLE_CALLBACK_PLUGINS": str(BENCH / "callbacks"),
        "ANSIBLE_CALLBACKS_ENABLED": "durations",
        # The files of the tasks are needed to start the processes later.
        "ANSIBLE_KEEP_REMOTE_FILES": "1",
        "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
        "DURATIONS": str(folder / "durations"),
        "LC_ALL": "C.UTF-8",
    }
    options = ["--inventory", "localhost,", "--connection", "local", str(playbook)]
    command = [sys.executable, "-m", "ansible", "playbook", *options]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise PlayFailed(f"The play ended with exit status {result.returncode}: {result.stdout}{result.stderr}")


def tasks_of_a_round(emulator: EmulatorProcess) -> list[dict[str, Any]]:
    def root(name: str) -> str:
        return f"http://{emulator.metadata[name]}/computeMetadata/v1/"

    flavor = {"Metadata-Flavor": "Google"}
    uri = [
        {"name": URI, "ansible.builtin.uri": {"url": root(URI) + key, "headers": flavor, "return_content": True}}
        for key in KEYS
    ]
    lookup = f"lookup('gce.guest.metadata', key, metadata_host='{emulator.metadata[LOOKUP]}')"
    url = f"lookup('ansible.builtin.url', '{root(URL)}' ~ key, headers={flavor!r})"
    return [
        {"name": NOTHING, "nothing": {}},
        {"name": MODULE, "gce.guest.metadata_info": {"metadata_host": emulator.metadata[MODULE]}},
        {"name": CRAWL, "crawl_metadata": {"url": root(CRAWL)}},
        *uri,
        {"name": LOOKUP, "ansible.builtin.debug": {"msg": timed(lookup)}},
        {"name": URL, "ansible.builtin.debug": {"msg": timed(url)}},
    ]


def timed(lookup: str) -> str:
    """A template that looks up each key, and renders to the seconds that it took."""
    return (
        "{% set began = now() %}"
        f"{{% for key in keys %}}{{% set value = {lookup} %}}{{% endfor %}}"
        "{{ (now() - began).total_seconds() }}"
    )


def durations(folder: Path) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """The seconds of the tasks and of the templates of each method in each round."""
    tasks: dict[str, list[float]] = defaultdict(list)
    templates: dict[str, list[float]] = defaultdict(list)
    for text in (folder / "durations").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        tasks[line["task"]].append(line["seconds"])
        if line["task"] in (LOOKUP, URL):
            templates[line["task"]].append(float(line["msg"]))
    tasks[URI] = [sum(few) for few in evenly(tasks[URI], len(tasks[URI]) // len(KEYS))]
    return tasks, templates


def exchanges(emulator: EmulatorProcess, rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """The seconds from the first request to the last answer of each method and round, and the requests per round."""
    wire: dict[str, list[float]] = {}
    requests: dict[str, int] = {}
    for name in (MODULE, CRAWL, URI, LOOKUP, URL):
        own = emulator.control.journal(instance=name)
        requests[name] = len(own) // rounds
        wire[name] = [few[-1]["answered_at"] - few[0]["at"] for few in evenly(own, rounds)]
    return wire, requests


def evenly(values: list[Any], parts: int) -> list[list[Any]]:
    length = len(values) // parts
    return [values[start : start + length] for start in range(0, len(values), length)]


def process_durations(folder: Path, rounds: int) -> dict[str, list[float]]:
    """The seconds of the processes that Ansible starts on the target, without the time to start them."""
    files = {
        name: next((folder / "remote").glob(f"*/AnsiballZ_{module}.py"))
        for name, module in ((NOTHING, "nothing"), (MODULE, "metadata_info"))
    }
    result: dict[str, list[float]] = {name: [] for name in files}
    for number in range(rounds):
        # Alternate, so that the order does not affect the ratio.
        for name in sorted(files, reverse=number % 2 == 1):
            began = time.perf_counter()
            subprocess.run([sys.executable, files[name]], stdout=subprocess.DEVNULL, check=True)
            result[name].append(time.perf_counter() - began)
    return result


def table(measured: Measured) -> Table:
    result = Table(title="Reading metadata, in ms")
    result.add_column("", no_wrap=True)
    # In the order of Measured: on the wire, in the template, in the process, for the task as a whole.
    for heading in ("requests", "wire", "template", "process", "task"):
        result.add_column(heading, justify="right")
    for name, title in TITLES.items():
        result.add_row(
            title,
            str(measured.requests.get(name, 0)),
            *(
                milliseconds(column.get(name))
                for column in (measured.wire, measured.templates, measured.processes, measured.tasks)
            ),
        )
    return result


def verdicts(measured: Measured) -> list[str]:
    """A line for each goal."""
    crawl = paired_ratio(measured.wire[CRAWL], measured.wire[MODULE])
    uri = paired_ratio(measured.tasks[URI], measured.tasks[MODULE])
    nothing = paired_ratio(measured.processes[MODULE], measured.processes[NOTHING])
    url = paired_ratio(measured.templates[URL], measured.templates[LOOKUP])
    requests = measured.requests[MODULE]
    return [
        f"{verdict(requests <= GOAL_REQUESTS)}: metadata_info reads the whole tree with {requests} request, the crawl "
        f"with {measured.requests[CRAWL]}; the goal is {GOAL_REQUESTS}.",
        f"{verdict(crawl >= GOAL_CRAWL)}: from the first to the last byte, the crawl takes {crawl:.0f} × the time; the "
        f"goal is at least {GOAL_CRAWL:g}.",
        f"{verdict(nothing <= GOAL_NOTHING)}: the module's process takes {nothing:.2f} × the time of one that does "
        f"nothing; the goal is at most {GOAL_NOTHING:.2f}.",
        f"{verdict(url >= GOAL_URL)}: {len(KEYS)} url lookups take {url:.1f} × the time of ours; the goal is at least "
        f"{GOAL_URL:g}.",
        f"no goal: {len(KEYS)} uri tasks take {uri:.0f} × the time of one metadata_info task.",
    ]


def verdict(is_met: bool) -> str:
    return "[green]met[/]" if is_met else "[red]missed[/]"


def paired_ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """The median of the ratios of each round, so that other load on the machine affects both values alike."""
    return statistics.median(value / other for value, other in zip(values, base, strict=True))


def milliseconds(values: Sequence[float] | None) -> str:
    return f"{1000 * statistics.median(values):.1f}" if values else ""


if __name__ == "__main__":
    sys.exit(main())
