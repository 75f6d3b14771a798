# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni: POST /switchover, verified by GET /cluster (https://patroni.readthedocs.io/en/latest/rest_api.html)."""

from __future__ import annotations

import socket
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

from client import secret_file, tls
from client.errors import Unreachable
from client.http import Answer, request
from recipes import pgbouncer
from recipes.run import Refusal, Run

_TIMEOUT = 5.0
# Patroni answers when the switchover has ended or failed.
_SWITCHOVER = 60.0

_LEADERS = ("leader", "standby_leader")
_RUNNING = ("running", "streaming")
# In the record: the leader before the switchover.
_LEADER = "leader"


def check(run: Run) -> None:
    own = _own_name(run)
    members = _members(run)
    if own not in members:
        raise Refusal(f"{run['rest_api']} is {own}, which is not a member of its cluster: {', '.join(members)}")
    if run["candidate"] not in (None, *members):
        raise Refusal(f"the candidate {run['candidate']} is not a member of the cluster: {', '.join(members)}")
    if members[own]["role"] in _LEADERS:
        _refuse_without_candidate(own, members, run)
    # An invalid request: Patroni checks the credentials first.
    answer = _ask(run, "/switchover", method="POST", body={"leader": ""})
    if answer.status in (401, 403):
        raise Refusal(
            f"{run['rest_api']} does not let us switch over (status {answer.status}): give the recipe an auth_file"
        )
    pgbouncer.check(run)
    run.say(f"{own} is {members[own]['role']}, {members[own]['state']}")


def drain(run: Run) -> None:
    own = _own_name(run)
    members = _members(run)
    if members[own]["role"] in _LEADERS:
        _refuse_without_candidate(own, members, run)
        run.record.note(_LEADER, own)
        with pgbouncer.paused(run):
            _switch_over(own, run)
            run.wait_until(lambda: _still_leader(own, run))
    else:
        # An interrupted run may have left them paused.
        pgbouncer.resume_all(run)
    run.say(f"{own} is not the leader")


def restore(run: Run) -> None:
    if not run.record.keys():
        run.say("nothing to restore: this recipe has not switched over")
        return
    # First of all, so that clients do not wait.
    pgbouncer.resume_all(run)
    run.wait_until(lambda: _still_down(run))
    run.record.forget(_LEADER)
    run.say("this VM's PostgreSQL runs as a member of the cluster")


def state(run: Run) -> None:
    own = _own_name(run)
    member = _members(run).get(own, {"role": "unknown", "state": "unknown"})
    ours = ", switched over by this recipe" if _LEADER in run.record else ""
    run.say(f"{own} is {member['role']}, {member['state']}{ours}")


def _ask(run: Run, path: str, *, method: str = "GET", body: Any = None, timeout: float = _TIMEOUT) -> Answer:
    headers = {}
    if run["auth_file"] is not None:
        headers["Authorization"] = f"Basic {b64encode(secret_file.read(run['auth_file']).encode()).decode()}"
    url = run["rest_api"].rstrip("/") + path
    context = tls.context(run["ca_file"]) if url.startswith("https:") else None
    return request(url, method=method, body=body, headers=headers, context=context, timeout=run.bounded(timeout))


def _own_name(run: Run) -> str:
    """The name of this VM's member, which the API shows since Patroni 3.3."""
    # The status is 503 while PostgreSQL is not running, with the same body.
    raw = _ask(run, "/patroni").json()
    if not isinstance(raw, dict) or not isinstance(raw.get("patroni"), dict):
        raise Refusal(f"{run['rest_api']} does not answer as Patroni does")
    name = run["member"] or raw["patroni"].get("name")
    if name:
        return str(name)
    members = _members(run)
    address = urlsplit(run["rest_api"]).netloc
    names = [one for one, member in members.items() if urlsplit(str(member.get("api_url"))).netloc == address]
    host = socket.gethostname()
    names += [one for one in members if one in (host, host.partition(".")[0])]
    if not names:
        raise Refusal(f"cannot tell which of {', '.join(members)} is this VM: set 'member'")
    return names[0]


def _members(run: Run) -> dict[str, dict[str, Any]]:
    raw = _ask(run, "/cluster").json()
    try:
        return {str(one["name"]): one for one in raw["members"]}
    except (KeyError, TypeError):
        raise Refusal(f"{run['rest_api']}/cluster lists no members") from None


def _refuse_without_candidate(own: str, members: dict[str, dict[str, Any]], run: Run) -> None:
    others = [one for name, one in members.items() if name != own and run["candidate"] in (None, name)]
    able = [one for one in others if one.get("state") in _RUNNING and not one.get("tags", {}).get("nofailover")]
    if not able:
        seen = ", ".join(f"{one['name']} is {one.get('state')}" for one in others) or "there is no other member"
        raise Refusal(f"no member can take over from {own}: {seen}")


def _switch_over(own: str, run: Run) -> None:
    body = {"leader": own, **({} if run["candidate"] is None else {"candidate": run["candidate"]})}
    try:
        answer = _ask(run, "/switchover", method="POST", body=body, timeout=_SWITCHOVER)
    except Unreachable:
        # The switchover may continue anyway.
        return
    # After 500 and 503, the switchover may still take place.
    if answer.status not in (200, 202, 500, 503) and not _still_leader(own, run):
        return
    if answer.status not in (200, 202, 500, 503):
        raise Refusal(f"Patroni does not switch over (status {answer.status}): {answer.text}")


def _still_leader(own: str, run: Run) -> str:
    try:
        members = _members(run)
    except Unreachable as exc:
        return str(exc)
    leaders = [name for name, one in members.items() if one["role"] in _LEADERS and one["state"] in _RUNNING]
    if own in leaders:
        return f"{own} is still the leader"
    if not leaders:
        return "there is no leader yet"
    if run["primary"]:
        try:
            pgbouncer.leads_to_a_primary(run)
        except Refusal as exc:
            return str(exc)
    return ""


def _still_down(run: Run) -> str:
    try:
        own = _own_name(run)
        member = _members(run).get(own)
    except Refusal as exc:
        # After a boot, Patroni answers before its member is in the cluster again, and before it knows the members.
        return str(exc)
    if member is None:
        return f"{own} is not back in the cluster"
    return "" if member["state"] in _RUNNING else f"{own} is {member['state']}"
