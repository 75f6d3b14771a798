# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elasticsearch and OpenSearch: exclude the node from shard allocation, or delay the allocation when it leaves.

https://www.elastic.co/guide/en/elasticsearch/reference/current/modules-cluster.html#cluster-shard-allocation-filtering
https://www.elastic.co/guide/en/elasticsearch/reference/current/delayed-allocation.html
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from client import secret_file, tls
from client.errors import Unreachable
from recipes import health
from recipes.api import Api
from recipes.elasticsearch_shards import settings
from recipes.run import Refusal, Run, counted

_EVERY = 1.0
_SHOWN = 5
# Of the column node.role: data, and its tiers hot, warm, cold, frozen and content.
_DATA = frozenset("dhwcfs")
_REMEDY = "give the recipe an auth_file or an api_key_file with the rights in the documentation of elasticsearch_shards"


def check(run: Run) -> None:
    health.checked(run["health"])
    if settings.seconds(run["delay"]) is None:
        raise Refusal(f"delay must be a time such as 30m, not {run['delay']!r}")
    api = _api(run)
    name = _name(api, run)
    stuck = _stuck(api, name)
    if stuck and run["mode"] == "exclude":
        raise Refusal(f"shards of {_listed(stuck)} cannot leave {name}: the other nodes have copies already; use delay")
    # A change that changes nothing: a setting without effect, which is not set, is removed.
    api.send("PUT", "/_cluster/settings", {settings.PERSISTENT: {"cluster.metadata.gce_guest_check": None}})
    can = f"shards of {_listed(stuck)} cannot move" if stuck else "all shards can move"
    run.say(f"{name} has {counted(len(_own(_shards(api), name)), 'shard')}; {can}")


def drain(run: Run) -> None:
    api = _api(run)
    run.wait_until(lambda: _still_open(api, run), every=_EVERY)


def restore(run: Run) -> None:
    if not run.record.keys():
        run.say("nothing to restore: this recipe has changed no settings")
        return
    health.wait_until_healthy(run, run["health"])
    api = _api(run)
    run.wait_until(lambda: _still_out(api, run), every=_EVERY)
    run.say("the node is in the cluster, and the settings are as before")


def state(run: Run) -> None:
    api = _api(run)
    name = _name(api, run)
    ours = ", excluded by this recipe" if settings.EXCLUDE in run.record else ""
    ours += ", allocation delayed by this recipe" if settings.DELAY in run.record else ""
    run.say(f"{name} has {counted(len(_own(_shards(api), name)), 'shard')}{ours}")


def _api(run: Run) -> Api:
    headers = {}
    if run["auth_file"] is not None:
        headers["Authorization"] = f"Basic {b64encode(secret_file.read(run['auth_file']).encode()).decode()}"
    elif run["api_key_file"] is not None:
        headers["Authorization"] = f"ApiKey {secret_file.read(run['api_key_file'])}"
    context = tls.context(run["ca_file"]) if run["url"].startswith("https://") else None
    return Api(run["url"], run, _REMEDY, headers, context)


def _name(api: Api, run: Run) -> str:
    if run["node"] is not None:
        if run["node"] not in _nodes(api):
            raise Refusal(f"the cluster at {api.url} has no node {run['node']!r}; it has {_listed(_nodes(api))}")
        return str(run["node"])
    nodes = api.object("/_nodes/_local").get("nodes")
    if not isinstance(nodes, dict) or len(nodes) != 1:
        raise Refusal(f"{api.url} does not answer like Elasticsearch or OpenSearch")
    return str(next(iter(nodes.values()))["name"])


def _nodes(api: Api) -> dict[str, str]:
    """The roles of each node of the cluster, as letters."""
    rows = api.objects("/_cat/nodes?format=json&h=name,node.role")
    return {str(row.get("name")): str(row.get("node.role")) for row in rows}


def _shards(api: Api) -> list[dict[str, Any]]:
    return api.objects("/_cat/shards?format=json&h=index,shard,prirep,state,node")


def _own(shards: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The shards on a node. One that leaves it is on `NAME -> ADDRESS ID OTHER`."""
    return [one for one in shards if str(one.get("node")).partition(" -> ")[0] == name]


def _stuck(api: Api, name: str) -> list[str]:
    """The indices with a shard that no other node could take, because each has a copy or is excluded."""
    found = settings.excluded(api)
    away = settings.names(found[settings.TRANSIENT] or found[settings.PERSISTENT])
    others = [one for one, roles in _nodes(api).items() if _DATA.intersection(roles) and one not in (name, *away)]
    shards = _shards(api)
    copies: dict[tuple[str, str], int] = {}
    for one in shards:
        key = (one["index"], one["shard"])
        copies[key] = copies.get(key, 0) + 1
    return sorted({one["index"] for one in _own(shards, name) if copies[one["index"], one["shard"]] > len(others)})


def _listed(words: Iterable[str]) -> str:
    every = list(words)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return f"{', '.join(every[:_SHOWN])}{more}"


def _still_open(api: Api, run: Run) -> str:
    try:
        name = _name(api, run)
        if _excludes(api, run, name):
            return _still_on(api, run, name)
        return _not_delayed(api, run, name)
    except Unreachable as exc:
        return run.unanswered(str(exc))


def _excludes(api: Api, run: Run, name: str) -> bool:
    """Whether the node is to be excluded. A drain that has begun with that goes on with it."""
    if run["mode"] != "auto":
        return bool(run["mode"] == "exclude")
    begun = settings.EXCLUDE in run.record and settings.DELAY not in run.record
    return begun or (run.left() >= run["exclude_seconds"] and not _stuck(api, name))


def _still_on(api: Api, run: Run, name: str) -> str:
    """Exclude the node. Returns which shards are still on it."""
    found = settings.excluded(api)
    scope = settings.PERSISTENT if found[settings.TRANSIENT] is None else settings.TRANSIENT
    before = found[scope]
    # Looked at each time: a node that changes its own entry at the same moment may have overwritten ours.
    if name not in settings.names(before):
        value = f"{before},{name}" if before else name
        run.record.note(settings.EXCLUDE, {"node": name, "scope": scope, "before": before, "set": value})
        settings.exclude(api, scope, value)
    left = _own(_shards(api), name)
    if left:
        indices = _listed(sorted({one["index"] for one in left}))
        return f"{counted(len(left), 'shard')} left on {name}, of {indices}"
    run.say(f"{name} is excluded from allocation, and has no shards")
    return ""


def _not_delayed(api: Api, run: Run, name: str) -> str:
    """Delay the allocation of the shards on the node. Returns which indices do not show that yet."""
    shards = _shards(api)
    indices = {one["index"] for one in _own(shards, name) if _may_change(one["index"])}
    noted = run.record.get(settings.DELAY) or {"node": name, "set": run["delay"], "before": {}}
    wanted = settings.seconds(noted["set"]) or 0.0
    found = settings.delays(api, indices)
    short = {index: one for index, one in found.items() if (settings.seconds(one) or 0.0) < wanted}
    if short:
        run.record.note(settings.DELAY, {**noted, "before": {**short, **noted["before"]}})
        settings.delay(api, short, noted["set"])
        found = settings.delays(api, short)
        short = {index: one for index, one in found.items() if one != noted["set"]}
        if short:
            return f"the allocation of {_listed(sorted(short))} is not delayed"
    alone = _without_copy(shards, name)
    if alone:
        run.say(f"not available while {name} is down, for lack of a copy on another node: {_listed(alone)}")
    run.say(f"the allocation of the shards on {name} is delayed")
    return ""


def _may_change(index: str) -> bool:
    """Whether it is an index of users. Elasticsearch protects system indices, not those of data streams."""
    return not index.startswith(".") or index.startswith(".ds-")


def _without_copy(shards: list[dict[str, Any]], name: str) -> list[str]:
    own = _own(shards, name)
    elsewhere = {(one["index"], one["shard"]) for one in shards if one not in own and one.get("state") == "STARTED"}
    return sorted({one["index"] for one in own if (one["index"], one["shard"]) not in elsewhere})


def _still_out(api: Api, run: Run) -> str:
    """Put the settings back once the node is in the cluster. Returns what is missing."""
    exclusion, delayed = run.record.get(settings.EXCLUDE), run.record.get(settings.DELAY)
    try:
        name = (exclusion or delayed)["node"]
        if name not in _nodes(api):
            return f"{name} has not joined the cluster"
        if exclusion and _include(api, exclusion):
            return f"{name} is still excluded"
        run.record.forget(settings.EXCLUDE)
        if delayed:
            _end_delay(api, delayed)
            run.record.forget(settings.DELAY)
    except Unreachable as exc:
        return run.unanswered(str(exc))
    return ""


def _include(api: Api, noted: dict[str, Any]) -> bool:
    """Remove the node from the setting. Returns whether it was in there, so that it has to be looked at again."""
    name = noted["node"]
    found = {scope: value for scope, value in settings.excluded(api).items() if name in settings.names(value)}
    for scope, value in found.items():
        # Exactly as before, unless others have changed it since.
        same = (scope, value) == (noted["scope"], noted["set"])
        settings.exclude(api, scope, noted["before"] if same else settings.without(value, name))
    return bool(found)


def _end_delay(api: Api, noted: dict[str, Any]) -> None:
    found = settings.delays(api, noted["before"])
    ours = [index for index, value in found.items() if value == noted["set"]]
    for before in {noted["before"][index] for index in ours}:
        settings.delay(api, [index for index in ours if noted["before"][index] == before], before)
