# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe elasticsearch_shards, with a server that implements the documented API of Elasticsearch and OpenSearch."""

from __future__ import annotations

import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.emulator import eventually
from support.json_service import Call, Certificate, JsonService
from support.recipes import PATIENCE, Recipe

EXCLUDE = "cluster.routing.allocation.exclude._name"
DELAY = "index.unassigned.node_left.delayed_timeout"


def shard(index: str, node: str, prirep: str = "p") -> dict[str, str]:
    return {"index": index, "shard": "0", "prirep": prirep, "state": "STARTED", "node": node}


class Elasticsearch(JsonService):
    """The node `es-1` of a cluster of three. Shards leave an excluded node, unless `moves` is False."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        super().__init__(certificate)
        self.authorization: str | None = None
        self.nodes = {"es-1": "dim", "es-2": "dim", "es-3": "dim", "es-4": "m"}
        self.shards = [
            shard("web", "es-1"),
            shard("web", "es-2", "r"),
            shard(".ds-logs", "es-1"),
            shard(".kibana", "es-1"),
        ]
        self.shards += [shard("other", "es-3")]
        self.cluster: dict[str, dict[str, Any]] = {"persistent": {}, "transient": {}}
        self.indices: dict[str, dict[str, str]] = {"web": {}, ".ds-logs": {DELAY: "5m"}, ".kibana": {}, "other": {}}
        self.moves = True

    @property
    def delays(self) -> dict[str, str | None]:
        return {index: one.get(DELAY) for index, one in self.indices.items()}

    def move(self) -> None:
        with self.lock:
            away = (self.cluster["transient"].get(EXCLUDE) or self.cluster["persistent"].get(EXCLUDE) or "").split(",")
            for one in self.shards:
                taken = {other["node"] for other in self.shards if other["index"] == one["index"]}
                free = [name for name in ("es-1", "es-2", "es-3") if name not in taken and name not in away]
                if one["node"] in away and free:
                    one["node"] = free[0]

    def answer(self, call: Call) -> tuple[int, Any]:
        if self.authorization is not None and call.headers.get("authorization") != self.authorization:
            return 401, {"error": {"type": "security_exception", "reason": "missing authentication credentials"}}
        if call.path == "/_nodes/_local":
            return 200, {"nodes": {"x1": {"name": "es-1"}}}
        if call.path == "/_cat/nodes":
            return 200, [{"name": name, "node.role": role} for name, role in self.nodes.items()]
        if call.path == "/_cat/shards":
            return 200, self.shards
        if call.path == "/_cluster/settings":
            if call.method == "PUT":
                self._change(call.body)
            return 200, self.cluster
        if call.path.endswith("/_settings"):
            return self._index_settings(call)
        return 404, {"error": {"reason": f"no such path {call.path}"}, "status": 404}

    def _change(self, body: dict[str, dict[str, Any]]) -> None:
        for scope, values in body.items():
            for key, value in values.items():
                self.cluster[scope].pop(key, None) if value is None else self.cluster[scope].update({key: value})
        if self.moves:
            self.move()

    def _index_settings(self, call: Call) -> tuple[int, Any]:
        names = [name for name in call.path.split("/")[1].split(",") if name in self.indices]
        assert call.query["ignore_unavailable"] == "true"
        if call.method == "PUT":
            for name in names:
                [(key, value)] = call.body.items()
                self.indices[name].pop(key, None) if value is None else self.indices[name].update({key: value})
            return 200, {"acknowledged": True}
        return 200, {name: {"settings": self.indices[name]} for name in names}


@pytest.fixture
def cluster() -> Iterator[Elasticsearch]:
    started = Elasticsearch()
    yield started
    started.stop()


@pytest.fixture
def make(cluster: Elasticsearch, tmp_path: Path) -> Callable[..., Recipe]:
    given = {"url": cluster.url, "exclude_seconds": 5}
    return lambda **parameters: Recipe("elasticsearch_shards", tmp_path / "records", **{**given, **parameters})


def on(cluster: Elasticsearch, node: str) -> list[str]:
    return [one["index"] for one in cluster.shards if one["node"] == node]


@pytest.mark.parametrize(
    "scope, before", [("persistent", None), ("persistent", "es-9"), ("persistent", ""), ("transient", "es-8, es-9")]
)
def test_excludes_and_restores_exactly_twice_each(
    scope: str, before: str | None, make: Callable[..., Recipe], cluster: Elasticsearch
) -> None:
    cluster.cluster["persistent"]["cluster.max_shards_per_node"] = "2000"
    if before is not None:
        cluster.cluster[scope][EXCLUDE] = before
    recipe = make()
    assert "es-1 has 3 shards; all shards can move" in recipe.does("check")
    original = {key: dict(value) for key, value in cluster.cluster.items()}
    for _time in range(2):
        recipe.does("drain", timeout=60)
        assert cluster.cluster[scope][EXCLUDE] == (f"{before},es-1" if before else "es-1")
        assert on(cluster, "es-1") == []
    # The check, and the exclusion.
    assert len(cluster.changes) == 2
    assert "es-1 has 0 shards, excluded by this recipe" in recipe.does("state")
    for _time in range(2):
        recipe.does("restore")
        assert cluster.cluster == original
    assert len(cluster.changes) == 3
    assert (recipe.record, set(cluster.delays.values())) == ({}, {None, "5m"})


def test_waits_for_the_shards_and_names_what_is_left(make: Callable[..., Recipe], cluster: Elasticsearch) -> None:
    cluster.moves = False
    recipe = make(mode="exclude")
    said = recipe.reports("drain", cluster.looks_again("GET /_cat/shards"))
    assert "3 shards left on es-1, of .ds-logs, .kibana, web" in said
    # One is on its way.
    cluster.shards[0].update(node="es-1 -> 10.0.0.3 x3 es-3", state="RELOCATING")
    assert "3 shards left" in recipe.reports("drain", cluster.looks_again("GET /_cat/shards"))
    with recipe.start("drain", timeout=60) as drain:
        cluster.shards[0].update(node="es-3", state="STARTED")
        cluster.move()
        said, _none = drain.communicate(timeout=PATIENCE)
    assert drain.returncode == 0, said
    recipe.does("restore")


def test_delays_when_time_is_short_and_restores_exactly(make: Callable[..., Recipe], cluster: Elasticsearch) -> None:
    cluster.indices["web"][DELAY] = "2h"
    before = cluster.delays
    recipe = make(exclude_seconds=100, delay="30m")
    for _time in range(2):
        said = recipe.does("drain")
        # A longer delay is kept, and system indices and those elsewhere are left alone.
        assert cluster.delays == {"web": "2h", ".ds-logs": "30m", ".kibana": None, "other": None}
        assert "for lack of a copy on another node: .ds-logs, .kibana" in said
        assert len(cluster.changes) == 1
    assert "allocation delayed by this recipe" in recipe.does("state")
    for _time in range(2):
        recipe.does("restore")
        assert cluster.delays == before
        assert len(cluster.changes) == 2
    assert (recipe.record, cluster.cluster) == ({}, {"persistent": {}, "transient": {}})


def test_delays_if_a_shard_could_not_move(make: Callable[..., Recipe], cluster: Elasticsearch) -> None:
    del cluster.nodes["es-3"]
    recipe = make()
    assert "shards of web cannot move" in recipe.does("check")
    recipe.does("drain", timeout=60)
    assert cluster.delays["web"] == "30m"
    assert "shards of web cannot leave es-1" in make(mode="exclude").refuses()
    # An index that was deleted in the meantime, and a delay that somebody else has changed.
    del cluster.indices[".ds-logs"]
    cluster.indices["web"][DELAY] = "3h"
    recipe.does("restore")
    assert (cluster.delays["web"], recipe.record) == ("3h", {})


def test_several_nodes_add_and_remove_only_their_own_names(make: Callable[..., Recipe], cluster: Elasticsearch) -> None:
    cluster.shards = [shard("web", "es-1")]
    recipe = make()
    recipe.does("drain", timeout=60)
    persistent = cluster.cluster["persistent"]
    persistent[EXCLUDE] += ",es-2"
    recipe.does("restore")
    assert persistent == {EXCLUDE: "es-2"}
    recipe.does("drain", timeout=60)
    # The other one has written at the same moment, without our name: the drain adds it again.
    persistent[EXCLUDE] = "es-2"
    recipe.does("drain", timeout=60)
    assert persistent == {EXCLUDE: "es-2,es-1"}
    persistent[EXCLUDE] = "es-1"
    recipe.does("restore")
    assert persistent == {}


def test_leaves_a_node_excluded_that_was_excluded_before(make: Callable[..., Recipe], cluster: Elasticsearch) -> None:
    cluster.cluster["persistent"][EXCLUDE] = "es-1"
    cluster.move()
    recipe = make(mode="exclude")
    recipe.does("drain")
    assert "nothing to restore" in recipe.does("restore")
    assert cluster.changes == []


def test_is_restored_after_it_was_cut_off_and_the_node_is_back(
    make: Callable[..., Recipe], cluster: Elasticsearch
) -> None:
    cluster.moves = False
    recipe = make()
    with recipe.start("drain", timeout=60) as drain:
        eventually(lambda: EXCLUDE in cluster.cluster["persistent"], within=PATIENCE)
        drain.send_signal(signal.SIGKILL)
        drain.communicate(timeout=PATIENCE)
    # Another event, with less time.
    cluster.nodes.pop("es-3")
    cluster.stop()
    done = recipe.run("restore", timeout=2)
    assert (done.returncode, "does not answer" in done.stdout) == (3, True)
    del cluster.nodes["es-1"]
    cluster.start()
    assert "es-1 has not joined the cluster" in recipe.reports("restore", cluster.looks_again("GET /_cat/nodes"))
    cluster.nodes["es-1"] = "dim"
    recipe.parameters["health"] = "tcp:127.0.0.1:9"
    done = recipe.run("restore", timeout=2)
    assert (done.returncode, "the local service is not up" in done.stdout) == (3, True)
    recipe.parameters["health"] = None
    recipe.does("restore")
    assert (cluster.cluster["persistent"], recipe.record) == ({}, {})


@pytest.mark.parametrize("parameter, kind", [("auth_file", "Basic"), ("api_key_file", "ApiKey")])
def test_uses_tls_and_credentials(parameter: str, kind: str, make: Callable[..., Recipe], tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    secure = Elasticsearch(certificate)
    secret = tmp_path / "secret"
    secret.write_text("drainer:pass-w0rd\n", encoding="ascii")
    sent = b64encode(b"drainer:pass-w0rd").decode() if kind == "Basic" else "drainer:pass-w0rd"
    secure.authorization = f"{kind} {sent}"
    try:
        recipe = make(url=secure.url, ca_file=str(certificate.file), **{parameter: str(secret)})
        for verb in ("check", "drain", "restore"):
            assert "pass-w0rd" not in recipe.does(verb, timeout=30)
        assert "missing authentication credentials" in make(url=secure.url, ca_file=str(certificate.file)).refuses()
    finally:
        secure.stop()


def test_many_indices_are_changed_by_several_requests(make: Callable[..., Recipe], cluster: Elasticsearch) -> None:
    names = [f"logs-{number:03}-{'x' * 100}" for number in range(50)]
    cluster.shards = [shard(name, "es-1") for name in names]
    cluster.indices = {name: {} for name in names}
    recipe = make(mode="delay")
    recipe.does("drain")
    assert set(cluster.delays.values()) == {"30m"}
    assert len(cluster.changes) > 1
    recipe.does("restore")
    assert set(cluster.delays.values()) == {None}


def test_check_refuses_what_cannot_work(make: Callable[..., Recipe], cluster: Elasticsearch, tmp_path: Path) -> None:
    for parameters, words in (
        ({"node": "es-9"}, "has no node 'es-9'; it has es-1, es-2, es-3, es-4"),
        ({"delay": "soon"}, "delay must be a time such as 30m"),
        ({"auth_file": "/no/such"}, "/no/such cannot be read"),
        ({"health": "web"}, "is not an address"),
    ):
        assert words in make(**parameters).refuses()
    cluster.failures["PUT /_cluster/settings"] = (403, {"error": {"reason": "action is unauthorized for user"}})
    line = make().refuses()
    assert "action is unauthorized" in line
    assert "give the recipe an auth_file" in line
    cluster.failures["GET /_nodes/_local"] = (200, {"name": "not a cluster"})
    assert "does not answer like Elasticsearch or OpenSearch" in make().refuses()
    assert not (tmp_path / "records").exists()
