# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's runtime API: `set server … state drain`, until neither a session nor a queued request is left.

https://docs.haproxy.org/2.8/management.html#9.3
"""

from __future__ import annotations

import csv
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from recipes import health
from recipes.run import Refusal, Run, counted
from recipes.sockets import Unreachable, connected

_TIMEOUT = 3.0

# Of srv_admin_state in `show servers state`. Maintenance: by an operator, inherited, by the configuration, by DNS, by
# the host's name. Drain: by an operator, inherited.
_MAINTENANCE = 0x01 | 0x02 | 0x04 | 0x20 | 0x40
_DRAIN = 0x08 | 0x10


@dataclass(frozen=True)
class Server:
    """A server in one backend of one HAProxy."""

    address: str
    backend: str
    name: str

    def __str__(self) -> str:
        return f"{self.backend}/{self.name} at {self.address}"


@dataclass(frozen=True)
class Standing:
    """HAProxy's state of a server."""

    admin: int
    status: str
    sessions: int
    queued: int

    def __str__(self) -> str:
        return f"{self.status} with {self.open}"

    @property
    def open(self) -> str:
        return f"{counted(self.sessions, 'session')} and {counted(self.queued, 'queued request')}"

    @property
    def in_maintenance(self) -> bool:
        return bool(self.admin & _MAINTENANCE)

    @property
    def drains(self) -> bool:
        return bool(self.admin & _DRAIN)


def check(run: Run) -> None:
    health.checked(run["health"])
    for server in _servers(run):
        standing = _standing(server, run)
        # HAProxy checks the access level before it rejects this invalid state.
        said = _ask(server.address, f"set server {server.backend}/{server.name} state nothing", run)
        if "ermission denied" in said:
            raise Refusal(f"{server.address} does not allow changes: add 'level admin' to its 'stats socket' line")
        run.say(f"{server} is {standing}")


def drain(run: Run) -> None:
    servers = list(_servers(run))
    run.wait_until(lambda: _still_open(servers, run))
    run.say(f"no session left on {', '.join(map(str, servers))}")


def restore(run: Run) -> None:
    servers = [server for server in _servers(run) if str(server) in run.record]
    if not servers:
        run.say("nothing to restore: this recipe has not drained the server")
        return
    health.wait_until_healthy(run, run["health"])
    run.wait_until(lambda: _still_away(servers, run))


def state(run: Run) -> None:
    for server in _servers(run):
        ours = ", drained by this recipe" if str(server) in run.record else ""
        run.say(f"{server} is {_standing(server, run)}{ours}")


def _servers(run: Run) -> Iterator[Server]:
    name = run["server"] or socket.gethostname().partition(".")[0]
    for address in run["sockets"]:
        for backend in run["backend"]:
            yield Server(address, backend, name)


def _still_open(servers: list[Server], run: Run) -> str:
    found = []
    for server in servers:
        try:
            standing = _drained(server, run)
        except Unreachable as exc:
            # It may be restarting. The others are drained in the meantime.
            found.append(f"{server}: {exc}")
            continue
        if standing.sessions or standing.queued:
            found.append(f"{server} has {standing.open}")
    return "; ".join(found)


def _drained(server: Server, run: Run) -> Standing:
    """Set a server to drain, unless it drains or is in maintenance. Repeated, because a reload of HAProxy loses it."""
    standing = _standing(server, run)
    if standing.in_maintenance or standing.drains:
        return standing
    run.record.note(str(server), standing.status)
    _set(server, "drain", run)
    return _standing(server, run)


def _still_away(servers: list[Server], run: Run) -> str:
    found = []
    for server in servers:
        if str(server) not in run.record:
            continue
        try:
            problem = _put_back(server, run)
        except Unreachable as exc:
            problem = f"{server}: {exc}"
        if problem:
            found.append(problem)
        else:
            run.record.forget(str(server))
    return "; ".join(found)


def _put_back(server: Server, run: Run) -> str:
    """Put a server back, as far as possible now. Returns what is still missing."""
    standing = _standing(server, run)
    if standing.in_maintenance:
        run.say(f"{server} was put into maintenance by someone else in the meantime; left as is")
        return ""
    if standing.drains:
        _set(server, "ready", run)
        standing = _standing(server, run)
    # "UP 1/3" is about to go down, and still gets requests.
    if standing.status.startswith("UP") or standing.status == "no check":
        run.say(f"{server} is {standing}")
        return ""
    return f"{server} is {standing.status}"


def _set(server: Server, state: str, run: Run) -> None:
    said = _ask(server.address, f"set server {server.backend}/{server.name} state {state}", run).strip()
    if said:
        raise Refusal(f"{server} cannot be set to {state}: {said}")


def _standing(server: Server, run: Run) -> Standing:
    said = _ask(server.address, f"show servers state {server.backend}", run)
    # The version of the format, the names of the columns after a '#', and a line for each server.
    lines = [line.lstrip("# ").split() for line in said.splitlines() if len(line.split()) > 10]
    rows = [dict(zip(lines[0], line)) for line in lines[1:]]
    admin = next((row["srv_admin_state"] for row in rows if row["srv_name"] == server.name), None)
    if admin is None:
        known = (
            f"it has {', '.join(row['srv_name'] for row in rows)}" if rows else said.strip() or "nothing is known of it"
        )
        raise Refusal(f"there is no server {server.name!r} in backend {server.backend!r} at {server.address}: {known}")
    for row in csv.DictReader(_ask(server.address, "show stat", run).lstrip("# ").splitlines()):
        if (row["pxname"], row["svname"]) == (server.backend, server.name):
            return Standing(int(admin), row["status"], int(row["scur"] or 0), int(row["qcur"] or 0))
    raise Refusal(f"{server.address} lists no server {server.backend}/{server.name} in 'show stat'")


def _ask(address: str, command: str, run: Run) -> str:
    with connected(address, run.bounded(_TIMEOUT)) as channel:
        try:
            channel.sendall(f"{command}\n".encode())
            said = b""
            while True:
                more = channel.recv(65536)
                if not more:
                    return said.decode("utf-8", "replace")
                said += more
        except OSError as exc:
            raise Unreachable(f"{address} does not answer {command!r}: {exc.strerror or 'no answer in time'}") from None
