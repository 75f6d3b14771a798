# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m demo`: exit status 0 on success, 1 with a sentence for each problem."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from . import processes
from .cases import CASES, REAL_NOTICE, Case, notice
from .cloud import Cloud
from .errors import DemoError
from .evidence import Evidence
from .hosts import Host
from .install import install
from .play import Play, keep
from .show import Screen
from .verdict import problems


def main() -> int:
    screen = Screen()
    if sys.platform != "linux":
        screen.problem(f"The demo needs Linux; this machine runs {sys.platform}. Run it on a Linux machine or VM.")
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        # nohup ignores SIGHUP. Keep it ignored.
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
            screen.problem(f"The logs are in {root / 'logs'}.")
        else:
            shutil.rmtree(root)
    return status


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Stop like on Ctrl-C, so that all processes are ended."""
    raise KeyboardInterrupt


def _played(screen: Screen, root: Path) -> list[Evidence]:
    (root / "logs").mkdir()
    screen.heading("Host maintenance of three VMs of an emulated project")
    for case in CASES:
        screen.line(f"{case.host:<7} {case.name:<17} {_announcement(case)}")
    screen.heading("Setup")
    cloud = Cloud(root)
    try:
        play = _set_up(screen, root, cloud)
        screen.heading("Events")
        with screen.busy("running module gce.guest.host_maintenance"):
            play.trigger(root)
        for case in CASES:
            screen.line(f"{case.host:<7} {case.name:<17} {case.cause}")
        with screen.watching(notice()) as on_scenes:
            play.follow(on_scenes)
        evidences = play.evidence()
        screen.line(f"{play.sent()} requests were sent in the meantime")
    finally:
        cloud.close()
    keep(evidences, root)
    return evidences


def _announcement(case: Case) -> str:
    real = REAL_NOTICE[case.event]
    given = "1 h" if real == 3600 else f"{real} s"
    return f"notice: {given}, {notice()[case.event]:g} s in this demo"


def _set_up(screen: Screen, root: Path, cloud: Cloud) -> Play:
    hosts = {case.host: Host(case.host, root) for case in CASES}
    with screen.busy("applying role gce.guest.maintenance_handler, without root") as on_task:
        recap = install(root, cloud.ready, on_task)
    for host in hosts:
        screen.line(f"{host:<7} role applied: {recap.get(host, 'no result')}")
    play = Play(cloud, hosts)
    with screen.busy("starting the handlers"):
        play.start_handlers()
    screen.line("all three handlers are healthy")
    play.start_clients(root)
    screen.line("clients send requests to the VMs, by two balancers")
    return play


def _judged(screen: Screen, evidences: list[Evidence]) -> int:
    found = {one.case.host: problems(one) for one in evidences}
    for one in evidences:
        screen.timeline(one)
    screen.table(evidences, found)
    for sentences in found.values():
        for sentence in sentences:
            screen.problem(sentence)
    if any(found.values()):
        return 1
    screen.success("All three VMs were drained in time and restored. No process is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
