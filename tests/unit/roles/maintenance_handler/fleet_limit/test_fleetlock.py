# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A limit in a server for the FleetLock protocol, with an HTTP server that implements the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fleet_limit import Vm
from support.fleetlock import FULL, FleetLock
from support.json_service import Certificate


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[FleetLock]:
    service = FleetLock(getattr(request, "param", "protocol"))
    yield service
    service.stop()


def vm(server: FleetLock, number: int = 1, **options: Any) -> Vm:
    limit = {"backend": "fleetlock", "group": "web", "url": f"{server.url}/base/", **options}
    return Vm(f"europe-west1-b/web-{number}/{1000 + number}", limit)


@pytest.mark.parametrize(
    "server, value", [(name, value) for name, (_status, value) in FULL.items()], indirect=["server"]
)
def test_a_slot_is_taken_denied_to_others_and_given_back(server: FleetLock, value: dict[str, str]) -> None:
    one, two = vm(server, 1), vm(server, 2)

    taken = one.asks("acquire")
    assert (taken["outcome"], taken["holders"], taken["slots"]) == ("held", None, None)
    denied = two.asks("acquire")
    assert denied["outcome"] == "denied"
    assert denied["detail"] == f"no slot of group web is free: {value['value']}"
    assert two.does("release") == "released"
    assert server.holders == {"web": one.id}
    assert one.does("renew") == "held"
    assert one.does("release") == "released"
    assert two.does("renew") == "held"
    assert server.holders == {"web": two.id}


def test_an_operator_frees_the_slot_of_a_ghost(server: FleetLock) -> None:
    ghost = vm(server, 1)
    ghost.asks("acquire")

    assert vm(server, 2).does("unlock", id=ghost.id) == "released"
    assert server.holders == {}


def test_nobody_knows_the_holders(server: FleetLock) -> None:
    answer = vm(server).asks("holders")

    assert (answer["outcome"], answer["holders"]) == ("ok", None)
    assert server.calls == []


def test_check_takes_and_frees_no_slot(server: FleetLock) -> None:
    one = vm(server)
    one.asks("acquire")

    assert one.does("check") == "ok"
    assert vm(server, 2, group="db").does("check") == "ok"
    assert server.holders == {"web": one.id}
    # The URL of something else.
    assert vm(server, url=server.url).does("check") == "unreachable"


def test_an_unknown_group_is_invalid(server: FleetLock) -> None:
    answer = vm(server, group="other").asks("acquire")

    assert answer["outcome"] == "invalid"
    assert "unknown group 'other'" in answer["detail"]


@pytest.mark.parametrize(
    "status, value",
    [
        (500, {"kind": "error", "value": "An unexpected error"}),
        (503, "<html>"),
        (200, "<!DOCTYPE html>"),
        (302, ""),
        (404, "404 page not found"),
        (423, "locked"),
    ],
)
@pytest.mark.parametrize("verb, path", [("acquire", "pre-reboot"), ("release", "steady-state")])
def test_an_unusable_answer_is_unreachable(server: FleetLock, verb: str, path: str, status: int, value: Any) -> None:
    server.failures[f"POST /base/v1/{path}"] = (status, value)

    assert vm(server).does(verb) == "unreachable"


def test_a_server_that_is_away_is_unreachable_until_it_is_back(server: FleetLock) -> None:
    server.stop()
    assert vm(server).does("acquire") == "unreachable"
    server.start()
    assert vm(server).does("acquire") == "held"


def test_tls(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    server = FleetLock(certificate=certificate)
    try:
        assert vm(server, ca_file=str(certificate.file)).does("acquire") == "held"
        assert vm(server).does("acquire") == "unreachable"
    finally:
        server.stop()
