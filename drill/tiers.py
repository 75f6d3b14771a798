# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services of the drill: their VMs, their load, and when they are complete."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from .fleet import BALANCER, CACHE, DATABASE, PAIR, WEB
from .machine import Machine
from .results import LIMITED, UNLIMITED, WITH, WITHOUT
from .scenarios import SCENARIOS, TOGETHER, Scenario


class Tier(ABC):
    """A service on several VMs. `load` is the kind of its load, with settings."""

    title: str
    machines: Sequence[Machine]
    load: tuple[str, Mapping[str, Any]]
    # The events that its recipes are for.
    events: Sequence[str]
    # What it is maintained by, each time with and without the handler.
    scenarios: Sequence[Scenario] = SCENARIOS
    handlers: Sequence[str] = (WITHOUT, WITH)
    # How many VMs are maintained at once at most.
    spare: int

    @abstractmethod
    def victims(self, count: int) -> list[Machine]:
        """The VMs to maintain: those whose loss hurts most."""

    @abstractmethod
    def is_complete(self) -> bool:
        """Whether every VM of the tier serves."""


class WebTier(Tier):
    title = "HAProxy and nginx"
    machines: Sequence[Machine] = WEB
    # HAProxy's.
    backend = "web"
    load: tuple[str, Mapping[str, Any]] = ("http", {"address": BALANCER.address})
    events: Sequence[str] = ("migrate", "terminate", "preempt", "stop")
    spare = 2

    def victims(self, count: int) -> list[Machine]:
        return list(self.machines[:count])

    def is_complete(self) -> bool:
        """Whether HAProxy sends requests to every server."""
        show = 'echo "show stat" | python3 -c "import socket,sys; s=socket.socket(socket.AF_UNIX); '
        show += "s.connect('/run/haproxy/admin.sock'); s.sendall(sys.stdin.buffer.read()); print(s.makefile().read())\""
        rows = [line.split(",") for line in BALANCER.ask(show).splitlines()]
        states = {row[1]: row[17] for row in rows if row[0] == self.backend}
        return all(states.get(machine.name) == "UP" for machine in self.machines)


class PairTier(WebTier):
    """Both backends of a service are maintained at once: nobody serves while neither does."""

    title = "Two backends at once"
    machines = PAIR
    backend = "pair"
    load = ("http", {"address": f"{BALANCER.address}:81", "workers": 30})
    events = ("migrate", "terminate", "window", "stop")
    scenarios = TOGETHER
    handlers = (WITHOUT, UNLIMITED, LIMITED)


class CacheTier(Tier):
    title = "Redis and Sentinel"
    machines = CACHE
    load = ("redis", {"sentinels": [machine.address for machine in CACHE]})
    events = ("migrate", "terminate", "preempt", "stop")
    # Sentinels need a majority.
    spare = 1

    def victims(self, count: int) -> list[Machine]:
        """The master first."""
        master = self._master(CACHE[0])
        return sorted(CACHE, key=lambda machine: machine.address != master)[:count]

    def is_complete(self) -> bool:
        """Whether all Sentinels agree on a master that both replicas follow."""
        masters = {self._master(machine) for machine in CACHE}
        leading = [machine for machine in CACHE if {machine.address} == masters]
        if not leading:
            return False
        replication = leading[0].ask("redis-cli info replication")
        return "role:master" in replication and replication.count("state=online") == len(CACHE) - 1

    def _master(self, machine: Machine) -> str:
        lines = machine.ask("redis-cli -p 26379 sentinel get-master-addr-by-name mymaster").splitlines()
        return lines[0] if lines else ""


class DatabaseTier(Tier):
    title = "PostgreSQL, Patroni and PgBouncer"
    machines = DATABASE
    load = (
        "sql",
        {"target": f"host={BALANCER.address} port=6432 user=postgres dbname=postgres"},
    )
    # A switchover is no better than the pause of a migration.
    events = ("terminate", "preempt", "stop")
    # etcd needs a majority.
    spare = 1

    def victims(self, count: int) -> list[Machine]:
        """The leader first."""
        roles = {member["name"]: member["role"] for member in self._members()}
        return sorted(DATABASE, key=lambda machine: roles.get(machine.name) != "leader")[:count]

    def is_complete(self) -> bool:
        """Whether there is a leader, and the others stream from it on its timeline."""
        members = self._members()
        states = sorted((member["role"], member["state"]) for member in members)
        timelines = {member.get("timeline") for member in members}
        return len(timelines) == 1 and states == [("leader", "running"), *[("replica", "running")] * 2]

    def _members(self) -> list[dict[str, Any]]:
        for machine in DATABASE:
            answer = machine.ask(_CLUSTER)
            if answer:
                members: list[dict[str, Any]] = json.loads(answer)["members"]
                return members
        return []


_CLUSTER = (
    "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8008/cluster\").read().decode())'"
)

TIERS: Mapping[str, Tier] = {
    "web": WebTier(),
    "pair": PairTier(),
    "redis": CacheTier(),
    "database": DatabaseTier(),
}
