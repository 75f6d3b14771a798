# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A limit in Consul, with an HTTP server that implements the documented API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_limit.consul import Consul as Store
from fleet_limit.deadline import Deadline
from fleet_limit.options import validated
from support.consul import Consul
from support.fleet_limit import Vm, ended
from support.json_service import Certificate
from support.recipes import PATIENCE

TOKEN = "t0ken-of-consul"
RIGHTS = {"key:read", "key:write", "session:write"}

MakeVm = Callable[..., Vm]


@pytest.fixture
def consul() -> Iterator[Consul]:
    service = Consul()
    yield service
    service.stop()


@pytest.fixture
def make_vm(consul: Consul) -> MakeVm:
    def make(number: int = 1, **options: Any) -> Vm:
        limit = {"backend": "consul", "group": "web", "slots": 1, "address": consul.url, **options}
        return Vm(f"europe-west1-b/web-{number}/{1000 + number}", limit)

    return make


def test_a_slot_is_taken_denied_to_others_and_given_back(make_vm: MakeVm, consul: Consul) -> None:
    one, two = make_vm(1), make_vm(2)

    taken = one.asks("acquire")
    assert (taken["outcome"], taken["slots"]) == ("held", 1)
    [holder] = taken["holders"]
    assert (holder["id"], holder["reason"]) == (one.id, "terminate")
    denied = two.asks("acquire")
    assert (denied["outcome"], denied["holders"]) == ("denied", [holder])
    assert two.does("renew") == "denied"
    assert two.does("release") == "released"
    assert one.holders == [one.id]
    assert one.does("release") == "released"
    assert consul.sessions == {}
    assert two.does("acquire") == "held"
    assert one.does("release") == "released"
    assert one.holders == [two.id]


def test_sessions_survive_a_reboot_and_end_with_their_ttl(make_vm: MakeVm, consul: Consul) -> None:
    make_vm(ttl=20).asks("acquire")

    [session] = consul.sessions.values()
    wanted = {"TTL": "20s", "Behavior": "delete", "Checks": [], "NodeChecks": []}
    assert {name: session[name] for name in wanted} == wanted


def test_the_same_id_takes_its_slot_as_often_as_it_likes(make_vm: MakeVm, consul: Consul) -> None:
    vm = make_vm()
    first = vm.asks("acquire")

    assert [vm.does("acquire", reason="stop"), vm.does("renew")] == ["held"] * 2

    since = first["holders"][0]["since"]
    assert vm.asks("holders")["holders"] == [{"id": vm.id, "reason": "stop", "since": since}]
    assert len(consul.sessions) == 1


def test_a_holder_that_does_not_renew_loses_its_slot(make_vm: MakeVm, consul: Consul) -> None:
    dead, waiting = make_vm(1), make_vm(2)
    dead.asks("acquire")

    [session] = consul.sessions
    consul.expire(session)

    assert waiting.does("acquire") == "held"
    assert dead.does("renew") == "denied"
    waiting.asks("release")
    assert dead.does("renew") == "held"


def test_20_processes_take_2_slots(make_vm: MakeVm, consul: Consul) -> None:
    vms = [make_vm(number, slots=2) for number in range(20)]

    outcomes = [ended(process, 60)["outcome"] for process in [vm.starts("acquire", timeout=60) for vm in vms]]
    winners = [vm for vm, outcome in zip(vms, outcomes, strict=True) if outcome == "held"]
    racing = [vm.starts("release" if vm in winners else "acquire", timeout=60) for vm in vms]

    assert sorted(outcomes) == ["denied"] * 18 + ["held"] * 2
    assert {ended(process, 60)["outcome"] for process in racing} <= {"released", "held", "denied"}
    assert max(consul.counts) == 2


def test_a_lower_limit_holds_also_if_others_have_the_old_one(make_vm: MakeVm) -> None:
    one, two, lower = make_vm(1, slots=2), make_vm(2, slots=2), make_vm(3, slots=1)
    assert [one.does("acquire"), two.does("acquire")] == ["held", "held"]

    assert f"{one.id} has 2" in lower.asks("acquire")["detail"]
    assert one.does("release") == "released"
    assert lower.does("acquire") == "denied"


def test_a_slot_that_another_took_since_the_count_is_not_taken(make_vm: MakeVm) -> None:
    slow, fast = make_vm(1), make_vm(2)
    store = Store(validated(slow.limit), slow.limit["address"], None, Deadline(PATIENCE))
    seen = store.read()

    fast.asks("acquire")
    assert store.add(slow.id, "{}", seen) is False
    # Also if the other has given it back: only what was read counts.
    fast.asks("release")
    assert store.add(slow.id, "{}", seen) is False
    assert store.add(slow.id, "{}", store.read()) is True


def test_a_late_release_frees_no_slot_that_was_taken_since(make_vm: MakeVm) -> None:
    vm = make_vm()
    vm.asks("acquire")
    late = Store(validated(vm.limit), vm.limit["address"], None, Deadline(PATIENCE))
    own = late.read().by(vm.id)
    assert own is not None

    vm.asks("acquire")

    assert late.remove(own) is False
    assert vm.holders == [vm.id]


def test_a_session_that_expires_while_it_takes_a_slot_is_replaced(make_vm: MakeVm, consul: Consul) -> None:
    vm = make_vm()
    store = Store(validated(vm.limit), vm.limit["address"], None, Deadline(PATIENCE))
    stale = store.read()
    make_vm(2).asks("acquire")
    make_vm(2).asks("release")
    assert store.add(vm.id, "{}", stale) is False
    [session] = consul.sessions
    consul.expire(session)

    assert store.add(vm.id, "{}", store.read()) is False
    assert store.add(vm.id, "{}", store.read()) is True
    assert len(consul.sessions) == 1


def test_an_operator_frees_the_slot_of_a_ghost(make_vm: MakeVm, consul: Consul) -> None:
    ghost, operator = make_vm(1), make_vm(2)
    ghost.asks("acquire")

    assert operator.does("unlock", id=ghost.id) == "released"
    assert operator.holders == []
    assert consul.sessions == {}


def test_check_changes_nothing(make_vm: MakeVm, consul: Consul) -> None:
    vm = make_vm()
    vm.asks("acquire")
    before = dict(consul.keys)

    answer = make_vm(2).asks("check", id="")

    assert answer["outcome"] == "ok"
    assert vm.id in answer["detail"]
    assert consul.keys == before
    assert len(consul.sessions) == 1


def test_the_datacenter_is_part_of_every_request(make_vm: MakeVm, consul: Consul) -> None:
    vm = make_vm(datacenter="dc2", prefix="/limits/of/vms/")
    assert [vm.does(verb) for verb in ("check", "acquire", "renew", "release")] == ["ok", "held", "held", "released"]

    assert {call.query.get("dc") for call in consul.calls} == {"dc2"}
    assert "limits/of/vms/web/taken" in consul.keys


@pytest.mark.parametrize("missing", sorted(RIGHTS))
def test_check_finds_a_missing_right(make_vm: MakeVm, consul: Consul, tmp_path: Path, missing: str) -> None:
    consul.tokens = {TOKEN: RIGHTS - {missing}}
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    vm = make_vm(token_file=str(file))

    answer = vm.asks("check")

    assert answer["outcome"] == "invalid"
    assert "token_file" in answer["detail"]
    assert TOKEN not in str(answer)
    assert consul.sessions == {}
    consul.tokens = {TOKEN: RIGHTS}
    assert [vm.does("check"), vm.does("acquire")] == ["ok", "held"]
    assert make_vm().does("acquire", timeout=2) != "held"


def test_a_token_that_is_repeated_is_not_shown(make_vm: MakeVm, consul: Consul, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN, encoding="utf-8")
    consul.failures["GET /v1/kv/gce.guest/limit/web/"] = (500, f"no leader for {TOKEN}")

    answer = make_vm(token_file=str(file)).asks("acquire")

    assert (answer["outcome"], TOKEN in str(answer)) == ("unreachable", False)
    assert "no leader" in answer["detail"]


@pytest.mark.parametrize(
    "request_line, status, value",
    [
        ("GET /v1/kv/gce.guest/limit/web/", 404, "<html>404 page not found</html>"),
        ("GET /v1/kv/gce.guest/limit/web/", 200, {}),
        ("GET /v1/kv/gce.guest/limit/web/", 200, [{}]),
        ("GET /v1/kv/gce.guest/limit/web/", 301, ""),
        ("PUT /v1/session/create", 200, "<html>"),
        ("PUT /v1/session/create", 500, "No cluster leader"),
        ("PUT /v1/txn", 200, {}),
        ("PUT /v1/txn", 200, []),
        ("PUT /v1/txn", 409, "conflict"),
        ("PUT /v1/txn", 429, "rate limit"),
    ],
)
def test_an_unusable_answer_is_unreachable(
    make_vm: MakeVm, consul: Consul, request_line: str, status: int, value: Any
) -> None:
    consul.failures[request_line] = (status, value)

    assert make_vm().does("acquire") == "unreachable"
    assert consul.sessions == {}


def test_an_agent_that_is_away_is_unreachable_until_it_is_back(make_vm: MakeVm, consul: Consul) -> None:
    vm = make_vm()
    vm.asks("acquire")

    consul.stop()
    assert vm.does("renew") == "unreachable"
    consul.start()
    assert vm.does("renew") == "held"


def test_tls(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    consul = Consul(certificate)
    try:
        limit = {"backend": "consul", "group": "web", "slots": 1, "address": consul.url}
        assert Vm("z/a/1", {**limit, "ca_file": str(certificate.file)}).does("acquire") == "held"
        assert Vm("z/a/1", limit).does("acquire") == "unreachable"
    finally:
        consul.stop()
