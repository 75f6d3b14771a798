# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consul's maintenance mode, of the node or of services (https://developer.hashicorp.com/consul/api-docs/agent)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

from client import secret_file, tls
from client.errors import Unreachable
from recipes import health
from recipes.api import Api, NotFound
from recipes.run import Refusal, Run
from recipes.waits import wait_since

_EVERY = 0.5
# The recipe recognizes its own maintenance by this.
_MARK = "(gce-maintenance-handler)"
_NODE = "_node_maintenance"
_SERVICE = "_service_maintenance:"
_CRITICAL = "critical"
_REMEDY = "give the recipe a token_file with the rights in the documentation of consul_maintenance"


def check(run: Run) -> None:
    health.checked(run["health"])
    api = _api(run)
    if (run["cert_file"] is None) != (run["key_file"] is None):
        raise Refusal("cert_file and key_file must be given together")
    known = api.object("/v1/agent/services")
    for service in run["services"] or []:
        if service not in known:
            raise Refusal(f"{run['url']} has no service with the ID {service!r}; it has {', '.join(known) or 'none'}")
    name = _node_name(api)
    # Without a right, Consul answers with an empty list; every node has at least the check serfHealth.
    if not _catalog(api, name):
        raise Refusal(f"{run['url']} shows no checks of the node {name}: {_REMEDY} (node:read)")
    own = _maintenance(api)
    run.say("; ".join(_described(key, own) for key in _keys(run)))


def drain(run: Run) -> None:
    api = _api(run)
    run.wait_until(lambda: _still_in(api, run), every=_EVERY)
    times = [float(run.record.get(key)["at"]) for key in _keys(run) if key in run.record]
    if times:
        wait_since(run, max(times), float(run["drain_seconds"]), "the clients of Consul")
    run.say(f"{', '.join(map(_title, _keys(run)))} in maintenance, also in the catalog")


def restore(run: Run) -> None:
    keys = run.record.keys()
    if not keys:
        run.say("nothing to restore: this recipe has not started a maintenance")
        return
    health.wait_until_healthy(run, run["health"])
    api = _api(run)
    run.wait_until(lambda: "; ".join(filter(None, (_still_out(api, run, key) for key in keys))), every=_EVERY)


def state(run: Run) -> None:
    own = _maintenance(_api(run))
    for key in _keys(run):
        run.say(f"{_described(key, own)}{', started by this recipe' if key in run.record else ''}")


def _api(run: Run) -> Api:
    headers = {} if run["token_file"] is None else {"X-Consul-Token": secret_file.read(run["token_file"])}
    https = run["url"].startswith("https://")
    context = tls.context(run["ca_file"], run["cert_file"], run["key_file"]) if https else None
    return Api(run["url"], run, _REMEDY, headers, context)


def _keys(run: Run) -> list[str]:
    """The IDs of the checks by which Consul shows the maintenance."""
    return [_NODE] if run["services"] is None else [f"{_SERVICE}{service}" for service in run["services"]]


def _title(key: str) -> str:
    return "the node is" if key == _NODE else f"service {key[len(_SERVICE) :]} is"


def _described(key: str, own: dict[str, str]) -> str:
    return f"{_title(key)} in maintenance ({own[key]})" if key in own else f"{_title(key)} not in maintenance"


def _node_name(api: Api) -> str:
    config = api.object("/v1/agent/self").get("Config")
    name = config.get("NodeName") if isinstance(config, dict) else None
    if not name:
        raise Refusal(f"{api.url} does not answer like an agent of Consul")
    return str(name)


def _maintenance(api: Api) -> dict[str, str]:
    """The reason of each maintenance of this agent, by the ID of its check."""
    checks = api.objects_by_name("/v1/agent/checks")
    return {key: str(one.get("Notes", "")) for key, one in checks.items() if key.startswith((_NODE, _SERVICE))}


def _catalog(api: Api, node: str) -> list[dict[str, Any]]:
    """The node's checks, according to the servers."""
    return api.objects(f"/v1/health/node/{quote(node, safe='')}")


def _switch(api: Api, key: str, query: dict[str, str]) -> None:
    service = quote(key[len(_SERVICE) :], safe="")
    path = "/v1/agent/maintenance" if key == _NODE else f"/v1/agent/service/maintenance/{service}"
    api.send("PUT", f"{path}?{urlencode(query)}")


def _still_in(api: Api, run: Run) -> str:
    """Start each maintenance. Returns what the catalog does not show yet."""
    try:
        own = _maintenance(api)
        for key in _keys(run):
            if key not in own:
                _note(api, run, key)
                _switch(api, key, {"enable": "true", "reason": f"{run['reason']} {_MARK}"})
        shown = _ids(_catalog(api, _node_name(api)))
    except Unreachable as exc:
        return run.unanswered(str(exc))
    missing = [key for key in _keys(run) if key not in shown]
    return "; ".join(f"{_title(key)} not in maintenance in the catalog" for key in missing)


def _note(api: Api, run: Run, key: str) -> None:
    """Record a maintenance before it starts, also if the agent has lost it: the clients have to notice it anew."""
    before = run.record.get(key)
    failing = _failing(api, key) if before is None else before["failing"]
    run.record.note(key, {"at": time.time(), "failing": failing})


def _still_out(api: Api, run: Run, key: str) -> str:
    """End a maintenance. Returns why the node or service is not in service yet."""
    before = run.record.get(key)
    if before is None:
        return ""
    try:
        own = _maintenance(api)
        if key in own and _MARK not in own[key]:
            run.say(f"{_title(key)} in maintenance for another reason ({own[key]}); left as is")
            run.record.forget(key)
            return ""
        failing = [one for one in _failing(api, key) if one not in before["failing"]]
        if failing:
            return f"{_title(key)} not healthy: {', '.join(failing)}"
        if key in own:
            _switch(api, key, {"enable": "false"})
        if key in _ids(_catalog(api, _node_name(api))):
            return f"{_title(key)} still in maintenance in the catalog"
    except NotFound:
        return f"{_title(key)} not registered"
    except Unreachable as exc:
        return run.unanswered(str(exc))
    run.record.forget(key)
    run.say(f"{_title(key)} not in maintenance")
    return ""


def _failing(api: Api, key: str) -> list[str]:
    """The IDs of the checks that fail, of the service, or of the node and all its services."""
    checks = api.objects_by_name("/v1/agent/checks")
    found = []
    for name, one in checks.items():
        ours = key == _NODE or one.get("ServiceID") == key[len(_SERVICE) :]
        if ours and not name.startswith((_NODE, _SERVICE)) and one.get("Status") == _CRITICAL:
            found.append(name)
    return sorted(found)


def _ids(checks: Iterable[dict[str, Any]]) -> set[str]:
    return {str(one.get("CheckID")) for one in checks}
