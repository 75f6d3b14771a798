# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nomad: drain the node with a deadline (https://developer.hashicorp.com/nomad/api-docs/nodes#drain-node)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from client import secret_file, tls
from client.errors import Unreachable
from recipes import health
from recipes.api import Api, NotFound, Rejected, Unavailable
from recipes.run import Refusal, Run, counted

_EVERY = 1.0
# The recipe recognizes its own drain by this.
_MARK = "(gce-maintenance-handler)"
_ELIGIBLE = "eligible"
_OVER = ("complete", "failed", "lost")
_SYSTEM = ("system", "sysbatch")
# The part of the time left, and the maximum in seconds, that allocations have to stop after the deadline.
_STOPPING = 0.2
_MOST_STOPPING = 30.0
_SHOWN = 5
_NOBODY = "00000000-0000-0000-0000-000000000000"
_REMEDY = "give the recipe a token_file with the rights in the documentation of nomad_node"


def check(run: Run) -> None:
    health.checked(run["health"])
    if (run["cert_file"] is None) != (run["key_file"] is None):
        raise Refusal("cert_file and key_file must be given together")
    api = _api(run)
    node = _node(api, _node_id(api, run))
    _refuse_without_right(api)
    run.say(f"{_described(node)}; {counted(len(_running(api, node['ID'], run)), 'allocation')}")


def drain(run: Run) -> None:
    api = _api(run)
    run.wait_until(lambda: _still_open(api, run), every=_EVERY)
    run.say("the node is drained and has no allocations")


def restore(run: Run) -> None:
    nodes = run.record.keys()
    if not nodes:
        run.say("nothing to restore: this recipe has not drained the node")
        return
    health.wait_until_healthy(run, run["health"])
    api = _api(run)
    run.wait_until(lambda: "; ".join(filter(None, (_still_out(api, run, node) for node in nodes))), every=_EVERY)


def state(run: Run) -> None:
    api = _api(run)
    node = _node(api, _node_id(api, run))
    ours = ", drained by this recipe" if node["ID"] in run.record else ""
    run.say(f"{_described(node)}{ours}; {counted(len(_running(api, node['ID'], run)), 'allocation')}")


def _api(run: Run) -> Api:
    headers = {} if run["token_file"] is None else {"X-Nomad-Token": secret_file.read(run["token_file"])}
    https = run["url"].startswith("https://")
    context = tls.context(run["ca_file"], run["cert_file"], run["key_file"]) if https else None
    return Api(run["url"], run, _REMEDY, headers, context)


def _node_id(api: Api, run: Run) -> str:
    if run["node"]:
        return str(run["node"])
    stats = api.object("/v1/agent/self").get("stats")
    client = stats.get("client") if isinstance(stats, dict) else None
    node = client.get("node_id") if isinstance(client, dict) else None
    if not node:
        raise Refusal(f"the agent at {api.url} is not a client of Nomad: set 'node', or the URL of a client")
    return str(node)


def _path(node: str, what: str = "") -> str:
    return f"/v1/node/{quote(node, safe='')}{what}"


def _node(api: Api, node: str) -> dict[str, Any]:
    try:
        found = api.object(_path(node))
    except NotFound:
        raise Refusal(f"Nomad has no node {node}") from None
    if found.get("ID") != node or "SchedulingEligibility" not in found:
        raise Refusal(f"{api.url} does not answer like Nomad about the node {node}")
    return found


def _described(node: dict[str, Any]) -> str:
    drains = ", draining" if _drains(node) else ""
    return f"node {node.get('Name', node['ID'])} is {node.get('Status')}, {node['SchedulingEligibility']}{drains}"


def _drains(node: dict[str, Any]) -> bool:
    return bool(node.get("DrainStrategy"))


def _is_eligible(node: dict[str, Any]) -> bool:
    return bool(node["SchedulingEligibility"] == _ELIGIBLE)


def _is_ours(node: dict[str, Any]) -> bool:
    """Whether the last drain of the node is one of ours. Nomad before 1.1 does not show it."""
    last = node.get("LastDrain")
    if not isinstance(last, dict):
        return True
    return _MARK in str((last.get("Meta") or {}).get("message", ""))


def _refuse_without_right(api: Api) -> None:
    """Raises `Refusal` if the token does not permit changes. Nomad checks that before it looks for the node."""
    try:
        api.send("POST", _path(_NOBODY, "/eligibility"), {"NodeID": _NOBODY, "Eligibility": _ELIGIBLE})
    except Unavailable:
        # Some versions answer with status 500 that there is no such node.
        return
    except Rejected as exc:
        if exc.status in (401, 403):
            raise


def _running(api: Api, node: str, run: Run) -> list[str]:
    """The allocations on the node that have to go: the name and the status of each."""
    found = []
    for one in api.objects(_path(node, "/allocations")):
        kind = one.get("JobType") or (one.get("Job") or {}).get("Type")
        if one.get("ClientStatus") in _OVER or (run["ignore_system_jobs"] and kind in _SYSTEM):
            continue
        found.append(f"{one.get('Name') or one.get('ID')} is {one.get('ClientStatus')}")
    return found


def _still_open(api: Api, run: Run) -> str:
    """Have the node drained. Returns which allocations are left."""
    try:
        node = _node(api, _node_id(api, run))
        left = _running(api, node["ID"], run)
        if not _drains(node) and (left or _is_eligible(node)):
            _begin(api, node, run)
            left = _running(api, node["ID"], run)
        elif node["ID"] not in run.record and _drains(node):
            return f"someone else drains the node; {_listed(left)}" if left else ""
    except Unreachable as exc:
        return run.unanswered(str(exc))
    return _listed(left) if left else ""


def _listed(left: list[str]) -> str:
    more = f", and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    return f"{counted(len(left), 'allocation')} left: {', '.join(left[:_SHOWN])}{more}"


def _begin(api: Api, node: dict[str, Any], run: Run) -> None:
    if node["ID"] not in run.record:
        run.record.note(node["ID"], node["SchedulingEligibility"])
    seconds = run.left() - min(_MOST_STOPPING, _STOPPING * run.left())
    body = {
        "NodeID": node["ID"],
        # In nanoseconds. 0 would be no deadline, and -1 would stop everything at once.
        "DrainSpec": {"Deadline": max(1, int(seconds * 1e9)), "IgnoreSystemJobs": run["ignore_system_jobs"]},
        "MarkEligible": False,
        "Meta": {"message": f"{run['reason']} {_MARK}"},
    }
    api.send("POST", _path(node["ID"], "/drain"), body)


def _still_out(api: Api, run: Run, name: str) -> str:
    """Make a node as eligible as it was before. Returns why it does not take allocations yet."""
    before = run.record.get(name)
    if before is None:
        return ""
    try:
        problem = _client_problem(api)
        if problem:
            return problem
        node = _node(api, name)
        if node.get("Status") != "ready":
            return f"the node is {node.get('Status')}"
        if not _is_eligible(node) and not _is_ours(node):
            run.say("someone else has drained the node since; left as is")
        elif _drains(node) or (before == _ELIGIBLE and not _is_eligible(node)):
            _put_back(api, node, eligible=before == _ELIGIBLE)
            node = _node(api, name)
            if _drains(node) or _is_eligible(node) != (before == _ELIGIBLE):
                return _described(node)
    except Unreachable as exc:
        return run.unanswered(str(exc))
    run.record.forget(name)
    run.say(_described(node))
    return ""


def _put_back(api: Api, node: dict[str, Any], *, eligible: bool) -> None:
    if _drains(node):
        body: dict[str, Any] = {"NodeID": node["ID"], "DrainSpec": None, "MarkEligible": eligible}
        api.send("POST", _path(node["ID"], "/drain"), body)
    else:
        api.send("POST", _path(node["ID"], "/eligibility"), {"NodeID": node["ID"], "Eligibility": _ELIGIBLE})


def _client_problem(api: Api) -> str:
    """Why the agent's own client does not work: the servers may still have its status from before a reboot."""
    client = api.object("/v1/agent/health").get("client")
    if isinstance(client, dict) and client.get("ok") is not True:
        return f"the agent's client is not healthy: {client.get('message', 'no reason given')}"
    return ""
