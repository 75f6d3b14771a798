# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the demo: trigger the events, switch VMs off and on, and collect the evidence."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import evidence, processes
from .cases import CASES, Case, notice
from .clients import Clients
from .cloud import Cloud
from .errors import DemoError
from .evidence import Evidence
from .hosts import Host
from .playbooks import run_playbook
from .scenes import Scene, is_quiet, scene

# Seconds. The longest case takes about 18.
GIVE_UP_AFTER = 60.0
LOOK_EVERY = 0.05
# Reading the history starts a process, so it is read less often.
ASK_HISTORY_EVERY = 0.25

OnScenes = Callable[[Mapping[str, Scene]], None]


class Play:
    """`hosts` by name, with the role applied. Call the methods once, in their order."""

    def __init__(self, cloud: Cloud, hosts: Mapping[str, Host]) -> None:
        self._cloud = cloud
        self._hosts = hosts
        self._notice = notice()
        self._tasks = {case.host: evidence.tasks_for(case.event, hosts[case.host].tasks()) for case in CASES}
        self._before = {name: host.in_service() for name, host in hosts.items()}
        self._next_ask = 0.0

    def start_handlers(self) -> None:
        for name, host in self._hosts.items():
            host.boot(self._cloud.instance(name)["boot_id"])
        for host in self._hosts.values():
            host.wait_until_well()

    def start_clients(self, root: Path) -> None:
        """Send requests to the VMs from now on."""
        self._clients = Clients({name: host.folder for name, host in self._hosts.items()}, root)

    def trigger(self, root: Path) -> None:
        """Simulate host maintenance, as an operator would, and preempt the Spot VM."""
        maintained = [case.host for case in CASES if case.event != "preempt"]
        variables = {"emulator": self._cloud.ready, "emulator_project": self._cloud.project, "maintained": maintained}
        run_playbook(root, "maintain", variables)
        for case in CASES:
            if case.host not in maintained:
                self._cloud.preempt(case.host)

    def follow(self, on_scenes: OnScenes) -> None:
        """Switch VMs off and on, until all of them are in service again, or the time is over."""
        give_up_at = time.monotonic() + GIVE_UP_AFTER
        open_cases = list(CASES)
        while open_cases and time.monotonic() < give_up_at:
            instances = {name: self._cloud.instance(name) for name in self._hosts}
            for name, instance in instances.items():
                self._power(self._hosts[name], instance)
            statuses = {name: host.status() for name, host in self._hosts.items()}
            on_scenes(
                {
                    case.host: scene(
                        instances[case.host],
                        statuses[case.host],
                        is_in_service=self._hosts[case.host].in_service() == self._before[case.host],
                        count=len(self._tasks[case.host]),
                        notice=self._notice[case.event],
                    )
                    for case in CASES
                }
            )
            quiet = [case for case in open_cases if is_quiet(instances[case.host], statuses[case.host])]
            if quiet and time.monotonic() >= self._next_ask:
                self._next_ask = time.monotonic() + ASK_HISTORY_EVERY
                open_cases = [case for case in open_cases if case not in quiet or not self._is_over(case)]
            time.sleep(LOOK_EVERY)

    def evidence(self) -> list[Evidence]:
        """Stop the clients and the handlers, and collect the evidence."""
        self._clients.finish()
        if elsewhere := self._clients.lost_elsewhere():
            raise DemoError(f"{elsewhere} requests found no VM in service.")
        for host in self._hosts.values():
            host.shut_down()
        return [self._evidence(case) for case in CASES]

    def sent(self) -> int:
        """The requests of all clients."""
        return self._clients.sent()

    def _power(self, host: Host, instance: Mapping[str, Any]) -> None:
        if instance["status"] == "TERMINATED":
            if host.is_on:
                host.lose_power()
        elif not host.is_on:
            host.boot(instance["boot_id"])

    def _is_over(self, case: Case) -> bool:
        return bool(self._hosts[case.host].history())

    def _evidence(self, case: Case) -> Evidence:
        host = self._hosts[case.host]
        incidents = host.history()
        lost_with, lost_without = self._clients.lost(case.host)
        stopped_at, booted_at = self._cloud.power_times(case.host)
        return Evidence(
            case=case,
            notice=self._notice[case.event],
            tasks=self._tasks[case.host],
            raised_at=evidence.raised_at(self._cloud.journal(case.host), case.signal, incidents),
            stopped_at=stopped_at,
            booted_at=booted_at,
            incidents=incidents,
            notes=evidence.parse_notes(host.notes()),
            before=self._before[case.host],
            after=host.in_service(),
            cut_off=tuple(host.cut_off),
            left_running=tuple(one.command for one in processes.belonging_to(host.folder)),
            exit_statuses=tuple(host.exit_statuses),
            lost_with=lost_with,
            lost_without=lost_without,
        )


def keep(evidences: list[Evidence], root: Path) -> None:
    """Write the histories of the handlers to the directory of the logs."""
    for one in evidences:
        path = root / "logs" / f"{one.case.host}-history.json"
        path.write_text(json.dumps(one.incidents, indent=2), encoding="utf-8")
