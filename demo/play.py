# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The play itself: events are triggered, power goes and comes back, and at the end there is evidence."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import evidence, processes
from .cloud import Cloud
from .evidence import Evidence
from .fates import FATES, Fate, notice
from .hosts import Host
from .playbooks import run_playbook
from .scenes import Scene, is_quiet, scene

# Seconds after which it is not waited for any longer; the longest fate takes about 18.
GIVE_UP_AFTER = 60.0
LOOK_EVERY = 0.05
# An idle handler's history is a process to start, so it is asked for less often.
ASK_HISTORY_EVERY = 0.25

OnScenes = Callable[[Mapping[str, Scene]], None]


class Play:
    """`hosts` by name, each with the role applied; one use of each method, from top to bottom."""

    def __init__(self, cloud: Cloud, hosts: Mapping[str, Host]) -> None:
        self._cloud = cloud
        self._hosts = hosts
        self._notice = notice()
        self._tasks = {fate.host: evidence.tasks_for(fate.event, hosts[fate.host].tasks()) for fate in FATES}
        self._before = {name: host.in_service() for name, host in hosts.items()}
        self._next_ask = 0.0

    def start_handlers(self) -> None:
        for name, host in self._hosts.items():
            host.boot(self._cloud.instance(name)["boot_id"])
        for host in self._hosts.values():
            host.wait_until_well()

    def trigger(self, root: Path) -> None:
        """Have the platform do it: maintain the hosts as an operator would, and take the Spot VM away."""
        maintained = [fate.host for fate in FATES if fate.event != "preempt"]
        variables = {"emulator": self._cloud.ready, "emulator_project": self._cloud.project, "maintained": maintained}
        run_playbook(root, "maintain", variables)
        for fate in FATES:
            if fate.host not in maintained:
                self._cloud.preempt(fate.host)

    def follow(self, on_scenes: OnScenes) -> None:
        """Be the power supply of each VM, until all of them are back in service or it has taken too long."""
        give_up_at = time.monotonic() + GIVE_UP_AFTER
        open_fates = list(FATES)
        while open_fates and time.monotonic() < give_up_at:
            instances = {name: self._cloud.instance(name) for name in self._hosts}
            for name, instance in instances.items():
                self._power(self._hosts[name], instance)
            statuses = {name: host.status() for name, host in self._hosts.items()}
            on_scenes(
                {
                    fate.host: scene(
                        instances[fate.host],
                        statuses[fate.host],
                        is_in_service=self._hosts[fate.host].in_service() == self._before[fate.host],
                        count=len(self._tasks[fate.host]),
                        notice=self._notice[fate.event],
                    )
                    for fate in FATES
                }
            )
            quiet = [fate for fate in open_fates if is_quiet(instances[fate.host], statuses[fate.host])]
            if quiet and time.monotonic() >= self._next_ask:
                self._next_ask = time.monotonic() + ASK_HISTORY_EVERY
                open_fates = [fate for fate in open_fates if fate not in quiet or not self._is_over(fate)]
            time.sleep(LOOK_EVERY)

    def evidence(self) -> list[Evidence]:
        """Stop the handlers, and gather what is known."""
        for host in self._hosts.values():
            host.shut_down()
        return [self._evidence(fate) for fate in FATES]

    def _power(self, host: Host, instance: Mapping[str, Any]) -> None:
        if instance["status"] == "TERMINATED":
            if host.is_on:
                host.lose_power()
        elif not host.is_on:
            host.boot(instance["boot_id"])

    def _is_over(self, fate: Fate) -> bool:
        return bool(self._hosts[fate.host].history())

    def _evidence(self, fate: Fate) -> Evidence:
        host = self._hosts[fate.host]
        incidents = host.history()
        stopped_at, booted_at = self._cloud.power_times(fate.host)
        return Evidence(
            fate=fate,
            notice=self._notice[fate.event],
            tasks=self._tasks[fate.host],
            raised_at=evidence.raised_at(self._cloud.journal(fate.host), fate.signal, incidents),
            stopped_at=stopped_at,
            booted_at=booted_at,
            incidents=incidents,
            notes=evidence.parse_notes(host.notes()),
            before=self._before[fate.host],
            after=host.in_service(),
            cut_off=tuple(host.cut_off),
            left_running=tuple(one.command for one in processes.belonging_to(host.folder)),
            exit_statuses=tuple(host.exit_statuses),
        )


def keep(evidences: list[Evidence], root: Path) -> None:
    """Write down what the handlers' histories say, beside the logs."""
    for one in evidences:
        path = root / "logs" / f"{one.fate.host}-history.json"
        path.write_text(json.dumps(one.incidents, indent=2), encoding="utf-8")
