# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs of the drill, and the emulator's fleet file for them."""

from __future__ import annotations

from typing import Any

from .machine import GATEWAY, File, Machine

BALANCER = Machine(
    "balancer",
    "10.87.0.10",
    files=(
        File("haproxy.cfg", "/etc/haproxy/haproxy.cfg"),
        File("pgbouncer.ini", "/etc/pgbouncer/pgbouncer.ini", "640", "postgres"),
        File("userlist.txt", "/etc/pgbouncer/userlist.txt", "640", "postgres"),
    ),
    units=("haproxy", "pgbouncer"),
)
CLIENT = Machine("client", "10.87.0.5", setup=("mkdir /drill",))
# Keeps the slots of the fleet limit.
STORE = Machine("store", "10.87.0.11", files=(File("store.conf", "/etc/default/etcd"),), units=("etcd",))


def _web_server(name: str, address: str) -> Machine:
    return Machine(
        name,
        address,
        files=(
            File("app.py", "/usr/local/lib/app.py"),
            File("app.service", "/etc/systemd/system/app.service"),
            File("nginx.conf", "/etc/nginx/nginx.conf"),
        ),
        units=("app", "nginx"),
    )


WEB = tuple(_web_server(f"web-{number}", f"10.87.0.2{number}") for number in (1, 2, 3))
# All backends of a service, which are maintained at the same time.
PAIR = tuple(_web_server(f"pair-{number}", f"10.87.0.5{number}") for number in (1, 2))
# The first one is the master at the beginning.
CACHE = tuple(
    Machine(
        f"cache-{number}",
        f"10.87.0.4{number}",
        files=(
            File("redis.conf", "/etc/redis/redis.conf", "640", "redis"),
            File("sentinel.conf", "/etc/redis/sentinel.conf", "640", "redis"),
        ),
        setup=() if number == 1 else ("echo replicaof 10.87.0.41 6379 >>/etc/redis/redis.conf",),
        units=("redis-server", "redis-sentinel"),
    )
    for number in (1, 2, 3)
)
DATABASE = tuple(
    Machine(
        f"db-{number}",
        f"10.87.0.3{number}",
        files=(
            File("etcd.conf", "/etc/default/etcd"),
            File("patroni.yml", "/etc/patroni/config.yml", "640", "postgres"),
        ),
        # etcd waits for the other members.
        units=("--no-block etcd", "patroni"),
    )
    for number in (1, 2, 3)
)

_FIRST_PORT = 8100


def metadata_server(machine: Machine) -> str:
    """HOST:PORT of a VM's metadata server."""
    return f"{GATEWAY}:{_FIRST_PORT + int(machine.address.rpartition('.')[2])}"


def fleet_file(machines: tuple[Machine, ...]) -> dict[str, Any]:
    """The emulated fleet. Its hooks do to the containers what the platform does to the VMs."""
    return {"project": "zero-loss", "instances": [_instance(machine) for machine in machines]}


def _instance(machine: Machine) -> dict[str, Any]:
    host, _colon, port = metadata_server(machine).partition(":")
    name = machine.container
    return {
        "name": machine.name,
        "address": host,
        "port": int(port),
        "on_blackout": [
            "sh",
            "-c",
            f'if [ "$GCE_EMULATOR_PHASE" = begin ]; then podman pause {name}; else podman unpause {name}; fi',
        ],
        # What makes systemd power off, as the ACPI signal does.
        "on_shutdown": ["podman", "kill", "--signal=SIGRTMIN+4", name],
        "on_power_off": ["podman", "stop", "--time=0", name],
        "on_boot": ["podman", "start", name],
    }
