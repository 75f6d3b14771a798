# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's runtime API: `set server … state drain`, until neither a session nor a queued request is left.

https://docs.haproxy.org/2.8/management.html#9.3
"""

from __future__ import annotations

import csv
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable

from client.errors import Unreachable
from client.received import MOST, received
from recipes import health
from recipes.run import Refusal, Run, counted
from recipes.sockets import connected

_TIMEOUT = 3.0

# Of srv_admin_state in `show servers state`. Not an operator's: 0x20, which HAProxy sets while DNS has no address.
# https://docs.haproxy.org/2.8/management.html#show%20servers%20state
_MAINTENANCE, _INHERITED_MAINTENANCE, _CONFIGURED_MAINTENANCE = 0x01, 0x02, 0x04
_DRAIN, _INHERITED_DRAIN = 0x08, 0x10


@dataclass(frozen=True)
class Server:
    """A server in one backend of one HAProxy."""

    address: str
    backend: str
    name: str

    @classmethod
    def recorded(cls, key: str) -> Server:
        """The server of an entry in the record, which is the server as a string."""
        server, _at, address = key.partition(" at ")
        backend, _slash, name = server.partition("/")
        return cls(address, backend, name)

    def __str__(self) -> str:
        return f"{self.path} at {self.address}"

    @property
    def path(self) -> str:
        """As HAProxy's commands call it."""
        return f"{self.backend}/{self.name}"


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
    def in_operator_maintenance(self) -> bool:
        return bool(self.admin & (_MAINTENANCE | _CONFIGURED_MAINTENANCE))

    @property
    def is_out(self) -> bool:
        """Whether the server stays without new requests until somebody changes that."""
        return self.in_operator_maintenance or bool(self.admin & (_INHERITED_MAINTENANCE | _DRAIN | _INHERITED_DRAIN))

    @property
    def drains(self) -> bool:
        return bool(self.admin & _DRAIN)

    @property
    def fails_checks(self) -> bool:
        """Whether it may still be found down. Then, HAProxy would end the requests that it has sent meanwhile.

        After a short power loss, the last check that fails may end after the boot.
        """
        return self.status.startswith("DRAIN ") and "/" in self.status


def check(run: Run) -> None:
    health.checked(run["health"])
    for server in _servers(run):
        standing = _standing(server, run)
        # HAProxy checks the access level before it rejects this invalid state.
        said = _ask(server.address, f"set server {server.path} state nothing", run)
        if "ermission denied" in said:
            raise Refusal(f"{server.address} does not allow changes: add 'level admin' to its 'stats socket' line")
        run.say(f"{server} is {standing}")


def drain(run: Run) -> None:
    servers = list(_servers(run))
    kept = [server for server in servers if run["keep_last"] and _is_last(server, run)]
    drained = [server for server in servers if server not in kept]
    for server in kept:
        run.say(f"{server} is left in service, because no other server of {server.backend} is")
    try:
        _finish(drained, _still_open, run)
    finally:
        for server in drained:
            _close_idle_connections(server, run)
    if drained:
        run.say(f"no session left on {', '.join(map(str, drained))}")


def restore(run: Run) -> None:
    # The parameters may have changed since the drain.
    servers = _recorded(run)
    if not servers:
        run.say("nothing to restore: this recipe has not drained the server")
        return
    health.wait_until_healthy(run, run["health"])
    _finish(servers, _still_away, run)


def state(run: Run) -> None:
    drained = _recorded(run)
    # A dictionary keeps the order.
    for server in dict.fromkeys([*_servers(run), *drained]):
        ours = ", drained by this recipe" if server in drained else ""
        run.say(f"{server} is {_standing(server, run)}{ours}")


def _servers(run: Run) -> Iterator[Server]:
    name = run["server"] or socket.gethostname().partition(".")[0]
    for address in run["socket"]:
        for backend in run["backend"]:
            yield Server(address, backend, name)


def _recorded(run: Run) -> list[Server]:
    return list(map(Server.recorded, run.record.keys()))


def _finish(servers: list[Server], step: Callable[[Server, Run], str], run: Run) -> None:
    """Repeat a step for each server until none returns what is still missing.

    One server that HAProxy refuses does not hold up the others: `Refusal` is raised once they are finished.
    """
    refused: dict[Server, str] = {}

    def still_missing() -> str:
        found = []
        all_answer = True
        for server in servers:
            if server in refused:
                continue
            try:
                missing = step(server, run)
            except Unreachable as exc:
                # It may be restarting.
                missing = f"{server}: {exc}"
                all_answer = False
            except Refusal as exc:
                refused[server] = str(exc)
                continue
            if missing:
                found.append(missing)
        problem = "; ".join([*found, *refused.values()]) if found else ""
        return problem if all_answer else run.unanswered(problem)

    run.wait_until(still_missing)
    if refused:
        raise Refusal("; ".join(refused.values()))


def _still_open(server: Server, run: Run) -> str:
    """Set a server to drain, unless it is out. Repeated, because a reload of HAProxy loses it."""
    standing = _standing(server, run)
    if not standing.is_out:
        run.record.note(str(server), standing.status)
        run.open = f"{server} has {standing.open}"
        _set(server, "drain", run)
        standing = _standing(server, run)
    return f"{server} has {standing.open}" if standing.sessions or standing.queued else ""


def _close_idle_connections(server: Server, run: Run) -> None:
    """Have HAProxy close the connections that it keeps for the next request, if that ends no session.

    If the VM loses its power, HAProxy does not notice, and sends the first requests after the restore on those that are
    left: it closes half of them every 5 s (`pool-purge-delay`). Maintenance closes all. Both commands are one line, so
    that the server never stays in maintenance.
    """
    maintenance, drain = (f"set server {server.path} state {state}" for state in ("maint", "drain"))
    try:
        if _is_drained(server, run):
            said = _ask(server.address, f"{maintenance}; {drain}", run).strip()
            if said:
                raise Refusal(said)
    except Refusal as exc:
        run.say(f"{server} may keep idle connections: {exc}")


def _is_drained(server: Server, run: Run) -> bool:
    """Whether this recipe drains a server, and neither it nor one that tracks it, and so follows it, has a session."""
    standing = _standing(server, run)
    if str(server) not in run.record or not standing.drains or standing.in_operator_maintenance:
        return False
    rows = [
        row for row in _rows(server.address, run) if server.path in (f"{row['pxname']}/{row['svname']}", row["tracked"])
    ]
    return not any(int(row["scur"] or 0) or int(row["qcur"] or 0) for row in rows)


def _still_away(server: Server, run: Run) -> str:
    """Put a server back, as far as possible now."""
    if str(server) not in run.record:
        return ""
    standing = _standing(server, run)
    if standing.in_operator_maintenance:
        run.say(f"{server} was put into maintenance by someone else in the meantime; left as is")
        run.record.forget(str(server))
        return ""
    if standing.fails_checks:
        return f"{server} is {standing}"
    if standing.drains:
        _set(server, "ready", run)
        standing = _standing(server, run)
    # "UP 1/3" is about to go down, and still gets requests.
    if not standing.status.startswith("UP") and standing.status != "no check":
        return f"{server} is {standing.status}"
    run.say(f"{server} is {standing}")
    run.record.forget(str(server))
    return ""


def _is_last(server: Server, run: Run) -> bool:
    """Whether a server gets requests, and no other one of its backend does."""
    try:
        others = [row for row in _statistics(server, run) if row["svname"] not in ("BACKEND", server.name)]
        is_out = _standing(server, run).is_out
    except (Unreachable, Refusal):
        # The drain tries again, and reports it.
        return False
    return not is_out and not any(row["status"].startswith("UP") or row["status"] == "no check" for row in others)


def _set(server: Server, state: str, run: Run) -> None:
    said = _ask(server.address, f"set server {server.path} state {state}", run).strip()
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
    for row in _statistics(server, run):
        if row["svname"] == server.name:
            return Standing(int(admin), row["status"], int(row["scur"] or 0), int(row["qcur"] or 0))
    raise Refusal(f"{server.address} lists no server {server.path} in 'show stat'")


def _statistics(server: Server, run: Run) -> list[dict[str, str]]:
    """What HAProxy shows of the server's backend: a row for each server, and more."""
    return [row for row in _rows(server.address, run) if row["pxname"] == server.backend]


def _rows(address: str, run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(_ask(address, "show stat", run).lstrip("# ").splitlines()))


def _ask(address: str, command: str, run: Run) -> str:
    timeout = run.bounded(_TIMEOUT)
    with connected(address, timeout) as channel:
        try:
            channel.sendall(f"{command}\n".encode())
            with received(channel, time.monotonic() + timeout) as reader:
                said = reader.read(MOST + 1)
        except OSError as exc:
            raise Unreachable(f"{address} does not answer {command!r}: {exc.strerror or 'no answer in time'}") from None
    if len(said) > MOST:
        raise Refusal(f"{address} does not answer {command!r} like HAProxy: the answer has more than {MOST} bytes")
    return said.decode("utf-8", "replace")
