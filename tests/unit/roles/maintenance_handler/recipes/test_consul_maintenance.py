# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe consul_maintenance, with an HTTP server that implements the documented API of a Consul agent."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.emulator import eventually
from support.json_service import Call, Certificate, JsonService
from support.recipes import PATIENCE, Recipe, service

TOKEN = "consul-t0ken"
NODE = "_node_maintenance"
CATALOG = "GET /v1/health/node/vm-1"
WEB = "_service_maintenance:web-1"
OURS = "host maintenance (gce-maintenance-handler)"


class Consul(JsonService):
    """An agent of the node `vm-1` with the services `web-1` and `db`, and the catalog that it is synchronized with."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        super().__init__(certificate, client_certificates=certificate is not None)
        self.token: str | None = None
        self.services = {"web-1", "db"}
        self.checks: dict[str, dict[str, Any]] = {
            "serfHealth": {"CheckID": "serfHealth", "Status": "passing", "ServiceID": ""},
            "web-http": {"CheckID": "web-http", "Status": "passing", "ServiceID": "web-1"},
            "db-tcp": {"CheckID": "db-tcp", "Status": "passing", "ServiceID": "db"},
        }
        # Whether the servers have what the agent has.
        self.synchronized = True
        self.catalog = dict(self.checks)
        self.may_read_nodes = True

    @property
    def maintenance(self) -> dict[str, str]:
        return {key: one["Notes"] for key, one in self.checks.items() if key.startswith(("_node", "_service"))}

    def operator(self, key: str, reason: str) -> None:
        self._enable(key, reason)

    def answer(self, call: Call) -> tuple[int, Any]:
        if self.token is not None and call.headers.get("x-consul-token") != self.token:
            return 403, "Permission denied: anonymous token lacks permission 'agent:read'"
        agent = {name: one for name, one in self.checks.items() if name != "serfHealth"}
        if self.synchronized:
            self.catalog = dict(self.checks)
        catalog = list(self.catalog.values()) if self.may_read_nodes else []
        simple: dict[str, Any] = {
            "GET /v1/agent/self": {"Config": {"NodeName": "vm-1"}},
            "GET /v1/agent/services": {name: {"ID": name} for name in sorted(self.services)},
            "GET /v1/agent/checks": agent,
            "GET /v1/health/node/vm-1": catalog,
        }
        if str(call) in simple:
            return 200, simple[str(call)]
        if call.method == "PUT" and call.path.startswith(("/v1/agent/maintenance", "/v1/agent/service/maintenance/")):
            return self._switch(call)
        return 404, f"{call.path} not found"

    def _switch(self, call: Call) -> tuple[int, Any]:
        service = call.path.removeprefix("/v1/agent/service/maintenance/")
        if service != call.path and service not in self.services:
            return 404, f"Unknown service ID {service!r}"
        key = NODE if service == call.path else f"_service_maintenance:{service}"
        if call.query["enable"] == "true":
            self._enable(key, call.query["reason"])
        else:
            self.checks.pop(key, None)
        return 200, ""

    def _enable(self, key: str, reason: str) -> None:
        # Like Consul, which ignores the request if the maintenance has been started already.
        self.checks.setdefault(
            key, {"CheckID": key, "Status": "critical", "Notes": reason, "ServiceID": key.partition(":")[2]}
        )


@pytest.fixture
def consul() -> Iterator[Consul]:
    started = Consul()
    yield started
    started.stop()


@pytest.fixture
def make(consul: Consul, tmp_path: Path) -> Callable[..., Recipe]:
    given = {"url": consul.url, "drain_seconds": 0}
    return lambda **parameters: Recipe("consul_maintenance", tmp_path / "records", **{**given, **parameters})


@pytest.mark.parametrize("services, key", [(None, NODE), ("web-1", WEB)])
def test_drains_and_restores_twice_each(
    services: str | None, key: str, make: Callable[..., Recipe], consul: Consul
) -> None:
    recipe = make(services=services)
    assert "not in maintenance" in recipe.does("check")
    assert consul.changes == []
    for _time in range(2):
        recipe.does("drain")
        assert consul.maintenance == {key: OURS}
        assert len(consul.changes) == 1
    assert "started by this recipe" in recipe.does("state")
    for _time in range(2):
        recipe.does("restore")
        assert consul.maintenance == {}
        assert len(consul.changes) == 2
    assert recipe.record == {}


def test_waits_for_the_catalog_and_the_clients(make: Callable[..., Recipe], consul: Consul) -> None:
    consul.synchronized = False
    recipe = make(services=["web-1", "db"], drain_seconds=1)
    said = recipe.reports("drain", consul.looks_again(CATALOG))
    assert "service web-1 is not in maintenance in the catalog; service db is not in" in said
    consul.synchronized = True
    recipe.does("drain")
    recipe.parameters["drain_seconds"] = 3600
    done = recipe.run("drain", timeout=4)
    assert (done.returncode, "s more for the clients of Consul" in done.stdout) == (3, True)
    consul.synchronized = False
    said = recipe.reports("restore", consul.looks_again(CATALOG, each=2))
    assert "still in maintenance in the catalog" in said
    consul.synchronized = True
    recipe.does("restore")
    assert recipe.record == {}


def test_repeated_drain_waits_again_if_the_maintenance_was_ended(make: Callable[..., Recipe], consul: Consul) -> None:
    consul.checks["db-tcp"]["Status"] = "critical"
    recipe = make()
    recipe.does("drain")
    [path] = recipe.records.glob("*.json")
    noted = recipe.record[NODE]["at"]
    path.write_text(path.read_text(encoding="utf-8").replace(str(noted), str(noted - 3600)), encoding="utf-8")
    del consul.checks[NODE]
    consul.checks["web-http"]["Status"] = "critical"
    recipe.parameters["drain_seconds"] = 60
    done = recipe.run("drain", timeout=4)
    assert (done.returncode, "s more for the clients of Consul" in done.stdout) == (3, True)
    assert consul.maintenance == {NODE: OURS}
    assert recipe.record[NODE]["at"] >= noted
    # What failed before the first drain is still known.
    assert recipe.record[NODE]["failing"] == ["db-tcp"]


def test_messages_do_not_have_the_query_of_the_health_url(make: Callable[..., Recipe], consul: Consul) -> None:
    with service() as local:
        local.status = 503
        recipe = make(health=f"http://127.0.0.1:{local.port}/?token=geheim")
        recipe.does("drain")
        said = recipe.reports("restore", local.looks_again())
    assert f"answers 503 at http://127.0.0.1:{local.port}/\n" in said
    assert "geheim" not in said


def test_keeps_maintenance_modes_that_it_did_not_set(make: Callable[..., Recipe], consul: Consul) -> None:
    consul.operator(WEB, "broken disk")
    recipe = make(services=["web-1", "db"])
    recipe.does("drain")
    assert consul.maintenance == {WEB: "broken disk", "_service_maintenance:db": OURS}
    recipe.does("restore")
    assert consul.maintenance == {WEB: "broken disk"}
    # Someone has ended ours, and started another one.
    del consul.checks[WEB]
    recipe.does("drain")
    del consul.checks[WEB]
    consul.operator(WEB, "broken disk")
    assert "for another reason (broken disk); left as is" in recipe.does("restore")
    assert consul.maintenance == {WEB: "broken disk"}
    assert recipe.record == {}


def test_waits_until_the_service_is_healthy(make: Callable[..., Recipe], consul: Consul) -> None:
    consul.checks["db-tcp"]["Status"] = "critical"
    with service() as local:
        local.status = 503
        recipe = make(health=f"http://127.0.0.1:{local.port}/")
        recipe.does("drain")
        assert "answers 503" in recipe.reports("restore", local.looks_again())
        local.status = 200
        consul.checks["web-http"]["Status"] = "critical"
        said = recipe.reports("restore", consul.looks_again("GET /v1/agent/checks", each=2))
        assert "the node is not healthy: web-http" in said
        assert consul.maintenance == {NODE: OURS}
        consul.checks["web-http"]["Status"] = "passing"
        # The check of db failed before the drain.
        recipe.does("restore")
    assert consul.maintenance == {}


def test_restores_after_a_cut_off_drain_and_a_restart_of_the_agent(make: Callable[..., Recipe], consul: Consul) -> None:
    recipe = make(services="web-1", drain_seconds=3600)
    with recipe.start("drain", timeout=60) as drain:
        eventually(lambda: consul.maintenance, within=PATIENCE)
        drain.send_signal(signal.SIGKILL)
        drain.communicate(timeout=PATIENCE)
    consul.stop()
    done = recipe.run("restore", timeout=1)
    assert (done.returncode, "does not answer" in done.stdout) == (3, True)
    consul.services.clear()
    consul.start()
    said = recipe.reports("restore", consul.looks_again("PUT /v1/agent/service/maintenance/web-1"))
    assert "service web-1 is not registered" in said
    consul.services.add("web-1")
    recipe.does("restore")
    assert (consul.maintenance, recipe.record) == ({}, {})


def test_uses_tls_a_client_certificate_and_a_token(make: Callable[..., Recipe], tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    secure = Consul(certificate)
    secure.token = TOKEN
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n", encoding="ascii")
    try:
        recipe = make(url=secure.url, token_file=str(token), **certificate.parameters)
        for verb in ("check", "drain", "restore"):
            assert TOKEN not in recipe.does(verb)
        assert "lacks permission" in make(url=secure.url, **certificate.parameters).refuses()
        assert "does not answer" in make(url=secure.url, ca_file=str(certificate.file)).refuses()
    finally:
        secure.stop()


def test_check_reports_invalid_parameters(make: Callable[..., Recipe], consul: Consul, tmp_path: Path) -> None:
    for parameters, words in (
        ({"services": ["web-9"]}, "no service with the ID 'web-9'; it has db, web-1"),
        ({"token_file": "/no/such"}, "/no/such cannot be read"),
        ({"cert_file": "/no/such"}, "must be given together"),
        ({"health": "web"}, "is not an address"),
    ):
        assert words in make(**parameters).refuses()
    consul.may_read_nodes = False
    assert "node:read" in make().refuses()
    consul.may_read_nodes = True
    consul.failures["GET /v1/agent/checks"] = (200, {"web": "passing"})
    assert "an object of JSON objects" in make().refuses()
    consul.failures["GET /v1/agent/self"] = (200, [])
    assert "is the URL right?" in make().refuses()
    assert not (tmp_path / "records").exists()
