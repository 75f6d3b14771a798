# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m drill`: exit status 0 if nothing was lost with the handler, 1 with a sentence for each problem."""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.emulator import Control, ControlError, EmulatorProcess

from . import results, trial
from .errors import DrillError, until
from .fleet import BALANCER, CLIENT, STORE, fleet_file
from .guide import write_guide
from .install import install
from .machine import CHECKOUT, FOLDER, Machine, make_network, podman, remove_all
from .results import Result
from .tiers import TIERS, Tier


def main() -> int:
    options = _parser().parse_args()
    if os.geteuid() != 0:
        print("The drill needs root, for podman with networks.", file=sys.stderr)
        return 1
    tiers = [TIERS[name] for name in options.tier or TIERS]
    try:
        subprocess.run([CHECKOUT / "tools" / "drill_image"], check=True)
        maintained = tuple(machine for tier in tiers for machine in tier.machines)
        if not options.reuse:
            _start(maintained)
        podman("cp", str(FOLDER / "load"), f"{CLIENT.container}:/drill/")
        with EmulatorProcess(fleet_file(maintained)) as emulator:
            for tier in tiers:
                until(tier.is_complete, f"{tier.title} has not started", 180)
            _say("applying the role gce.guest.maintenance_handler")
            install([tier.machines for tier in tiers])
            _say("maintaining VMs under load")
            measured = _all_trials(tiers, options.scenario, emulator.control)
    # AssertionError: the emulator has reported a problem, such as a hook that failed.
    except (DrillError, ControlError, AssertionError, subprocess.CalledProcessError) as exc:
        print(f"The drill was not completed: {exc}", file=sys.stderr)
        return 1
    finally:
        if not (options.keep or options.reuse):
            remove_all()
    if options.guide:
        every = [tier.title for tier in TIERS.values()]
        write_guide(options.guide, every, measured, datetime.date.today().isoformat())
    for tier in tiers:
        print(f"\n{tier.title}\n\n{results.terminal(tier.title, measured)}")
    print()
    found = list(results.problems(measured))
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="drill", description="Maintain VMs under load, with and without the handler.")
    parser.add_argument("--tier", action="append", choices=list(TIERS), help="only these services")
    parser.add_argument("--scenario", action="append", help="only these scenarios of the emulator")
    parser.add_argument("--guide", type=Path, metavar="FILE", help="write the page with the tables to FILE")
    parser.add_argument("--keep", action="store_true", help="keep the containers, to look into them")
    parser.add_argument("--reuse", action="store_true", help="use the containers that were kept")
    return parser


def _start(maintained: tuple[Machine, ...]) -> None:
    _say("starting the VMs")
    make_network()
    with ThreadPoolExecutor(4) as pool:
        # Raises what one of them has raised.
        list(pool.map(Machine.create, (CLIENT, BALANCER, STORE, *maintained)))


def _all_trials(tiers: Sequence[Tier], names: Sequence[str] | None, control: Control) -> list[Result]:
    """The trials of all tiers, which are maintained at the same time, each by itself."""
    with ThreadPoolExecutor(len(tiers)) as pool:
        found = pool.map(lambda tier: list(_trials(tier, names, control)), tiers)
        return [result for results_of_tier in found for result in results_of_tier]


def _trials(tier: Tier, names: Sequence[str] | None, control: Control) -> Iterator[Result]:
    for scenario in tier.scenarios:
        if scenario.vms > tier.spare or (names and scenario.name not in names):
            continue
        for handler in tier.handlers:
            result = trial.run(tier, scenario, control, handler=handler)
            reasons = ", ".join(f"{count} x {reason}" for reason, count in result.reasons.items())
            _say(
                f"{tier.title}: {scenario.title}, handler {handler}: "
                f"{result.requests} requests, {result.failed} failed, {result.lost or 0} lost. {reasons}"
            )
            yield result


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
