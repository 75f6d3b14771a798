# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m demo`: exit status 0 if all went well, 1 with a sentence for each thing that did not."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from . import processes
from .cloud import Cloud
from .errors import DemoError
from .evidence import Evidence
from .fates import FATES, REAL_NOTICE, Fate, notice
from .hosts import Host
from .install import install
from .play import Play, keep
from .show import Screen
from .verdict import problems


def main() -> int:
    screen = Screen()
    if sys.platform != "linux":
        screen.problem("The maintenance handler runs on Linux, and so does this demo: use a Linux machine or a VM.")
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup, SIGHUP is ignored, and stays so.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    root = Path(tempfile.mkdtemp(prefix="gce-guest-demo-"))
    keeps_logs = True
    try:
        status = _judged(screen, _played(screen, root))
        keeps_logs = status != 0
    except DemoError as exc:
        screen.problem(str(exc))
        status = 1
    except KeyboardInterrupt:
        screen.problem("Interrupted.")
        keeps_logs = False
        status = 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        processes.end(root)
        if keeps_logs:
            screen.problem(f"The logs are kept in {root / 'logs'}")
        else:
            shutil.rmtree(root)
    return status


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """So that whatever runs is ended, as on Ctrl-C."""
    raise KeyboardInterrupt


def _played(screen: Screen, root: Path) -> list[Evidence]:
    (root / "logs").mkdir()
    screen.heading("Three VMs of an emulated project are about to lose their hosts")
    for fate in FATES:
        screen.line(f"{fate.host:<7} {fate.name:<17} {_announcement(fate)}")
    screen.heading("Setting up")
    cloud = Cloud(root)
    try:
        play = _set_up(screen, root, cloud)
        screen.heading("Now it happens")
        with screen.busy("running gce.guest.host_maintenance"):
            play.trigger(root)
        for fate in FATES:
            screen.line(f"{fate.host:<7} {fate.name:<17} {fate.cause}")
        with screen.watching(notice()) as on_scenes:
            play.follow(on_scenes)
        evidences = play.evidence()
    finally:
        cloud.close()
    keep(evidences, root)
    return evidences


def _announcement(fate: Fate) -> str:
    real = REAL_NOTICE[fate.event]
    given = "an hour" if real == 3600 else f"{real} s"
    return f"{given} of notice, shown as {notice()[fate.event]:g} s"


def _set_up(screen: Screen, root: Path, cloud: Cloud) -> Play:
    hosts = {fate.host: Host(fate.host, root) for fate in FATES}
    with screen.busy("applying gce.guest.maintenance_handler, without root") as on_task:
        recap = install(root, cloud.ready, on_task)
    for host in hosts:
        screen.line(f"{host:<7} role applied: {recap.get(host, 'not at all')}")
    play = Play(cloud, hosts)
    with screen.busy("starting the handlers it has installed"):
        play.start_handlers()
    screen.line("all three handlers run and have heard from their metadata servers")
    return play


def _judged(screen: Screen, evidences: list[Evidence]) -> int:
    found = {one.fate.host: problems(one) for one in evidences}
    for one in evidences:
        screen.timeline(one)
    screen.table(evidences, found)
    for sentences in found.values():
        for sentence in sentences:
            screen.problem(sentence)
    if any(found.values()):
        return 1
    screen.success("All three were drained in time, and are as they were before. Nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
