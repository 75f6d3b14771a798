# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe nomad_node, with an HTTP server that implements the documented API of Nomad."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.emulator import eventually
from support.json_service import Call, Certificate, JsonService
from support.recipes import PATIENCE, Recipe

ID = "f7476465-4d6e-c0de-26d0-e383c49be941"
TOKEN = "nomad-t0ken"
NODE = f"GET /v1/node/{ID}"


class Nomad(JsonService):
    """An agent with a client, whose allocations stop with a drain, or stay until `finish` if `slow` is set."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        super().__init__(certificate, client_certificates=certificate is not None)
        self.token: str | None = None
        self.may_write = True
        self.healthy = True
        self.slow = False
        self.node: dict[str, Any] = {
            "ID": ID,
            "Name": "vm-1",
            "Status": "ready",
            "SchedulingEligibility": "eligible",
            "Drain": False,
            "DrainStrategy": None,
            "LastDrain": None,
        }
        self.allocations: list[dict[str, Any]] = [
            {"ID": "1", "Name": "web.app[0]", "ClientStatus": "running", "Job": {"Type": "service"}},
            {"ID": "2", "Name": "batch.x[0]", "ClientStatus": "complete", "Job": {"Type": "batch"}},
            {"ID": "3", "Name": "logs.x[0]", "ClientStatus": "running", "Job": {"Type": "system"}},
        ]
        self.drains: list[dict[str, Any]] = []

    @property
    def standing(self) -> tuple[str, bool]:
        return self.node["SchedulingEligibility"], self.node["Drain"]

    def start_drain(self, message: str, system: bool = True) -> None:
        self.node.update(SchedulingEligibility="ineligible", Drain=True, DrainStrategy={"IgnoreSystemJobs": not system})
        self.node["LastDrain"] = {"Status": "draining", "Meta": {"message": message}}
        if not self.slow:
            self.finish()

    def finish(self) -> None:
        with self.lock:
            for one in self.allocations:
                if one["Job"]["Type"] != "system" or not self.node["DrainStrategy"]["IgnoreSystemJobs"]:
                    one["ClientStatus"] = "complete"
            self.node.update(Drain=False, DrainStrategy=None)

    def answer(self, call: Call) -> tuple[int, Any]:
        if self.token is not None and call.headers.get("x-nomad-token") != self.token:
            return 403, "Permission denied"
        if call.path == "/v1/agent/self":
            return 200, {"stats": {"client": {"node_id": ID}}}
        if call.path == "/v1/agent/health":
            return 200, {"client": {"ok": self.healthy, "message": "no heartbeat"}}
        if call.method == "POST" and not self.may_write:
            return 403, "Permission denied"
        if call.path == f"/v1/node/{ID}/allocations":
            return 200, self.allocations
        if call.path == f"/v1/node/{ID}/drain":
            return self._drain(call.body)
        if call.path == f"/v1/node/{ID}/eligibility":
            self.node["SchedulingEligibility"] = call.body["Eligibility"]
            return 200, {"NodeModifyIndex": 5}
        if call.path == f"/v1/node/{ID}":
            return 200, self.node
        return (404 if call.method == "GET" else 500), "node not found"

    def _drain(self, body: dict[str, Any]) -> tuple[int, Any]:
        if body["DrainSpec"] is None:
            self.node.update(Drain=False, DrainStrategy=None)
            self.node["SchedulingEligibility"] = "eligible" if body["MarkEligible"] else "ineligible"
        else:
            self.drains.append(body)
            self.start_drain(body["Meta"]["message"], system=not body["DrainSpec"]["IgnoreSystemJobs"])
        return 200, {"NodeModifyIndex": 5}


@pytest.fixture
def nomad() -> Iterator[Nomad]:
    started = Nomad()
    yield started
    started.stop()


@pytest.fixture
def make(nomad: Nomad, tmp_path: Path) -> Callable[..., Recipe]:
    return lambda **parameters: Recipe("nomad_node", tmp_path / "records", **{"url": nomad.url, **parameters})


def changes(nomad: Nomad) -> list[str]:
    return [change for change in nomad.changes if ID in change]


def test_drains_and_restores_twice_each(make: Callable[..., Recipe], nomad: Nomad) -> None:
    recipe = make()
    assert "vm-1 is ready, eligible; 2 allocations" in recipe.does("check")
    assert changes(nomad) == []
    for _time in range(2):
        recipe.does("drain", timeout=50)
        assert nomad.standing == ("ineligible", False)
        assert len(changes(nomad)) == 1
    [drain] = nomad.drains
    assert drain["Meta"] == {"message": "host maintenance (gce-maintenance-handler)"}
    # In nanoseconds, and before the time limit of 50 s.
    assert 0 < drain["DrainSpec"]["Deadline"] <= 40e9
    assert "drained by this recipe; 0 allocations" in recipe.does("state")
    for _time in range(2):
        recipe.does("restore")
        assert nomad.standing == ("eligible", False)
        assert len(changes(nomad)) == 2
    assert recipe.record == {}


def test_waits_for_allocations_and_names_those_left(make: Callable[..., Recipe], nomad: Nomad) -> None:
    nomad.slow = True
    recipe = make()
    said = recipe.reports("drain", nomad.looks_again(NODE))
    assert "2 allocations left: web.app[0] is running, logs.x[0] is running" in said
    with recipe.start("drain", timeout=60) as drain:
        nomad.finish()
        said, _none = drain.communicate(timeout=PATIENCE)
    assert drain.returncode == 0, said
    assert len(nomad.drains) == 1
    recipe.does("restore")


def test_keeps_system_jobs_running_if_configured(make: Callable[..., Recipe], nomad: Nomad) -> None:
    make(ignore_system_jobs=True).does("drain")
    assert [one["ClientStatus"] for one in nomad.allocations] == ["complete", "complete", "running"]


def test_drain_cancelled_by_an_operator_is_repeated(make: Callable[..., Recipe], nomad: Nomad) -> None:
    nomad.slow = True
    recipe = make()
    recipe.reports("drain", nomad.looks_again(NODE))
    nomad.node.update(SchedulingEligibility="eligible", Drain=False, DrainStrategy=None)
    nomad.slow = False
    recipe.does("drain")
    assert len(nomad.drains) == 2
    recipe.does("restore")
    assert nomad.standing == ("eligible", False)


def test_ineligible_node_stays_ineligible(make: Callable[..., Recipe], nomad: Nomad) -> None:
    nomad.node["SchedulingEligibility"] = "ineligible"
    recipe = make()
    recipe.does("drain")
    assert len(nomad.drains) == 1
    recipe.does("restore")
    assert nomad.standing == ("ineligible", False)
    assert recipe.record == {}


def test_keeps_a_drain_that_it_did_not_start(make: Callable[..., Recipe], nomad: Nomad) -> None:
    nomad.slow = True
    nomad.start_drain("broken disk")
    recipe = make()
    assert "someone else drains the node; 2 allocations left" in recipe.reports("drain", nomad.looks_again(NODE))
    nomad.finish()
    recipe.does("drain")
    recipe.does("restore")
    assert nomad.standing == ("ineligible", False)
    assert changes(nomad) == []
    # Someone drains the node after us.
    nomad.node["SchedulingEligibility"] = "eligible"
    recipe.does("drain")
    nomad.finish() if nomad.node["Drain"] else None
    nomad.slow = False
    nomad.start_drain("broken disk")
    assert "someone else has drained the node since; left as is" in recipe.does("restore")
    assert nomad.standing == ("ineligible", False)
    assert recipe.record == {}


def test_restores_after_a_cut_off_drain_and_a_restart_of_the_client(make: Callable[..., Recipe], nomad: Nomad) -> None:
    nomad.slow = True
    recipe = make()
    with recipe.start("drain", timeout=60) as drain:
        eventually(lambda: nomad.drains, within=PATIENCE)
        drain.send_signal(signal.SIGKILL)
        drain.communicate(timeout=PATIENCE)
    nomad.stop()
    done = recipe.run("restore", timeout=1)
    assert (done.returncode, "does not answer" in done.stdout) == (3, True)
    nomad.start()
    nomad.healthy = False
    said = recipe.reports("restore", nomad.looks_again("GET /v1/agent/health"))
    assert "client is not healthy: no heartbeat" in said
    nomad.healthy = True
    nomad.node["Status"] = "down"
    assert "the node is down" in recipe.reports("restore", nomad.looks_again(NODE))
    assert nomad.standing == ("ineligible", True)
    nomad.node["Status"] = "ready"
    recipe.does("restore")
    assert (nomad.standing, recipe.record) == (("eligible", False), {})


def test_uses_tls_a_client_certificate_and_a_token(make: Callable[..., Recipe], tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    secure = Nomad(certificate)
    secure.token = TOKEN
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n", encoding="ascii")
    try:
        recipe = make(url=secure.url, token_file=str(token), **certificate.parameters)
        for verb in ("check", "drain", "restore"):
            assert TOKEN not in recipe.does(verb)
        assert "Permission denied" in make(url=secure.url, **certificate.parameters).refuses()
    finally:
        secure.stop()


def test_check_reports_invalid_parameters(make: Callable[..., Recipe], nomad: Nomad, tmp_path: Path) -> None:
    for parameters, words in (
        ({"node": "9"}, "Nomad has no node 9"),
        ({"token_file": "/no/such"}, "/no/such cannot be read"),
        ({"key_file": "/no/such"}, "must be given together"),
        ({"health": "web"}, "is not an address"),
    ):
        assert words in make(**parameters).refuses()
    nomad.may_write = False
    assert "Permission denied" in make().refuses()
    nomad.failures["GET /v1/agent/self"] = (200, {"stats": {"nomad": {}}})
    assert "is not a client of Nomad" in make().refuses()
    assert not (tmp_path / "records").exists()
