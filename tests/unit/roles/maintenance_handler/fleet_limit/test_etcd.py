# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A limit in a real etcd."""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from client.http import request
from fleet_limit.deadline import Deadline
from fleet_limit.etcd import Etcd as Store
from fleet_limit.options import validated
from support.emulator import eventually
from support.etcd import MISSING, Etcd
from support.fleet_limit import Vm, ended
from support.guides import blocks
from support.json_service import Certificate
from support.ports import free_port
from support.raw_server import Peer, RawServer, refusing_host
from support.recipes import PATIENCE

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")

PASSWORD = "s3cret-of-etcd"
_groups = itertools.count(1)

MakeVm = Callable[..., Vm]


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("etcd") / "data") as daemon:
        yield daemon


@pytest.fixture
def make_vm(etcd: Etcd) -> MakeVm:
    """Makes VMs of one group, which no other test uses."""
    group = f"group-{next(_groups)}"

    def make(number: int = 1, **options: Any) -> Vm:
        limit = {"backend": "etcd", "group": group, "slots": 1, "endpoints": [etcd.url], **options}
        return Vm(f"europe-west1-b/web-{number}/{1000 + number}", limit)

    return make


def test_a_slot_is_taken_denied_to_others_and_given_back(make_vm: MakeVm) -> None:
    one, two = make_vm(1), make_vm(2)

    taken = one.asks("acquire")
    assert (taken["outcome"], taken["slots"], taken["state"]) == ("held", 1, {})
    [holder] = taken["holders"]
    assert (holder["id"], holder["reason"]) == (one.id, "terminate")
    denied = two.asks("acquire")
    assert (denied["outcome"], denied["holders"]) == ("denied", [holder])
    assert one.id in denied["detail"]
    assert two.does("renew") == "denied"
    assert two.does("release") == "released"
    assert one.holders == [one.id]
    assert one.does("release") == "released"
    assert one.does("release") == "released"
    assert two.does("acquire") == "held"
    assert one.holders == [two.id]


def test_the_same_id_takes_its_slot_as_often_as_it_likes(make_vm: MakeVm) -> None:
    vm = make_vm()

    first = vm.asks("acquire")
    again = [vm.asks("acquire", reason="stop"), vm.asks("renew"), vm.asks("renew", state={"of": "another boot"})]

    assert [answer["outcome"] for answer in again] == ["held"] * 3
    # The time of the first one, and the latest reason.
    since = first["holders"][0]["since"]
    assert vm.asks("holders")["holders"] == [{"id": vm.id, "reason": "stop", "since": since}]


def test_groups_and_prefixes_are_separate(make_vm: MakeVm) -> None:
    vm = make_vm()
    others = [make_vm(2, group=f"{vm.limit['group']}0"), make_vm(3, prefix="/elsewhere/")]

    assert [each.does("acquire") for each in (vm, *others)] == ["held"] * 3
    assert vm.holders == [vm.id]


def test_a_holder_that_does_not_renew_loses_its_slot(make_vm: MakeVm) -> None:
    dead, waiting = make_vm(1, ttl=2), make_vm(2)

    assert dead.does("acquire") == "held"
    eventually(lambda: waiting.does("acquire") == "held", within=PATIENCE, what="the end of the lease")

    assert dead.does("renew") == "denied"
    assert waiting.does("release") == "released"
    assert dead.does("renew") == "held"
    assert dead.does("release") == "released"


def test_renewing_keeps_the_lease(make_vm: MakeVm, etcd: Etcd) -> None:
    vm = make_vm(ttl=60)
    vm.asks("acquire")
    [lease] = {one["lease"] for one in pairs(etcd, vm)}

    def left() -> int:
        return int(post(etcd, "/v3/lease/timetolive", {"ID": lease})["TTL"])

    def renewed() -> int:
        assert vm.does("renew") == "held"
        return left()

    eventually(lambda: left() <= 58, within=PATIENCE, what="a lease that has become shorter")
    # If the program takes longer than a second to end, the lease has become shorter again.
    eventually(lambda: renewed() > 58, within=PATIENCE, what="a lease that has become longer")
    assert {one["lease"] for one in pairs(etcd, vm)} == {lease}
    assert vm.does("release") == "released"


def test_20_processes_take_2_slots(make_vm: MakeVm, etcd: Etcd) -> None:
    vms = [make_vm(number, slots=2) for number in range(20)]

    outcomes = [ended(process, 60)["outcome"] for process in [vm.starts("acquire", timeout=60) for vm in vms]]
    assert sorted(outcomes) == ["denied"] * 18 + ["held"] * 2
    winners = [vm for vm, outcome in zip(vms, outcomes, strict=True) if outcome == "held"]
    # The others try while these give back.
    racing = [vm.starts("release" if vm in winners else "acquire", timeout=60) for vm in vms]
    assert {ended(process, 60)["outcome"] for process in racing} <= {"released", "held", "denied"}

    last = int(post(etcd, "/v3/kv/range", {"key": encoded("x")})["header"]["revision"])
    counts = {len(pairs(etcd, vms[0], revision)) for revision in range(1, last + 1)}
    assert max(counts) == 2


def test_a_lower_limit_holds_also_if_others_have_the_old_one(make_vm: MakeVm) -> None:
    one, two, lower = make_vm(1, slots=2), make_vm(2, slots=2), make_vm(3, slots=1)
    assert [one.does("acquire"), two.does("acquire")] == ["held", "held"]

    denied = lower.asks("acquire")
    assert denied["outcome"] == "denied"
    assert f"{one.id} has 2" in denied["detail"]
    assert one.does("release") == "released"
    assert lower.does("acquire") == "denied"
    assert make_vm(2, slots=1).does("renew") == "held"
    assert two.does("release") == "released"
    assert lower.does("acquire") == "held"


def test_a_slot_that_another_took_since_the_count_is_not_taken(make_vm: MakeVm) -> None:
    slow, fast = make_vm(1), make_vm(2)
    store = store_of(slow)
    seen = store.read()

    fast.asks("acquire")
    assert store.add(slow.id, "{}", seen) is False
    assert slow.holders == [fast.id]
    fast.asks("release")
    assert store.add(slow.id, "{}", store.read()) is True


def test_a_lease_that_expires_while_it_takes_a_slot_is_replaced(make_vm: MakeVm, etcd: Etcd) -> None:
    vm = make_vm()
    store = store_of(vm)
    stale, before = store.read(), leases(etcd)
    make_vm(2).asks("acquire")
    assert store.add(vm.id, "{}", stale) is False
    make_vm(2).asks("release")
    [spare] = leases(etcd) - before
    post(etcd, "/v3/lease/revoke", {"ID": spare})

    assert store.add(vm.id, "{}", store.read()) is False
    assert store.add(vm.id, "{}", store.read()) is True


def test_a_late_release_frees_no_slot_that_was_taken_since(make_vm: MakeVm) -> None:
    vm = make_vm()
    vm.asks("acquire")
    late = store_of(vm)
    own = late.read().by(vm.id)
    assert own is not None

    vm.asks("acquire")

    assert late.remove(own) is False
    assert vm.holders == [vm.id]


def test_an_operator_frees_the_slot_of_a_ghost(make_vm: MakeVm) -> None:
    ghost, operator = make_vm(1), make_vm(2)
    ghost.asks("acquire")

    freed = operator.asks("unlock", id=ghost.id)

    assert freed["outcome"] == "released"
    assert f"{ghost.id} (terminate, since" in freed["detail"]
    assert operator.holders == []
    assert "holds no slot" in operator.asks("unlock", id=ghost.id)["detail"]


def test_whatever_is_at_a_holders_key_counts(make_vm: MakeVm, etcd: Etcd) -> None:
    vm = make_vm()
    etcd.control("put", f"/gce.guest/limit/{vm.limit['group']}/holders/by hand\x1b[2J", "{" * 100_000)

    denied = vm.asks("acquire")

    assert denied["outcome"] == "denied"
    assert denied["holders"] == [{"id": "by hand?[2J", "reason": None, "since": None}]


def test_takes_over_its_own_key_without_a_lease(make_vm: MakeVm, etcd: Etcd) -> None:
    vm = make_vm()
    etcd.control("put", f"/gce.guest/limit/{vm.limit['group']}/holders/{vm.id}", "")

    assert vm.does("renew") == "held"
    assert [one["lease"] for one in pairs(etcd, vm)] != ["0"]


def test_leaves_no_leases_behind(make_vm: MakeVm, etcd: Etcd) -> None:
    before = leases(etcd)
    one, two = make_vm(1), make_vm(2)
    for verb in ("check", "acquire", "acquire", "renew"):
        one.asks(verb)
    two.asks("acquire")
    assert len(leases(etcd) - before) == 1

    one.asks("release")

    assert leases(etcd) == before


def test_check_says_who_holds_and_changes_nothing(make_vm: MakeVm, etcd: Etcd) -> None:
    vm = make_vm()
    vm.asks("acquire")
    before = pairs(etcd, vm)

    answer = make_vm(2).asks("check", id="")

    assert (answer["outcome"], answer["slots"]) == ("ok", 1)
    assert vm.id in answer["detail"]
    assert pairs(etcd, vm) == before


def test_tries_the_next_endpoint(make_vm: MakeVm, etcd: Etcd) -> None:
    with refusing_host() as refusing, RawServer(Peer.hang) as hanging:
        # Each gets an equal share of the time that is left: those that refuse leave theirs to the last one.
        away = [f"http://{hanging.host}", *(f"http://{refusing}/{number}" for number in range(5))]
        vm = make_vm(endpoints=[*away, etcd.url])

        assert vm.does("acquire", timeout=15) == "held"
        eventually(lambda: hanging.connections == 1)


def test_an_answer_that_is_lost_takes_one_slot(make_vm: MakeVm, etcd: Etcd) -> None:
    with RawServer(losing_transactions(etcd)) as proxy:
        vm = make_vm(slots=2, endpoints=[f"http://{proxy.host}"])

        answer = vm.asks("acquire")

        assert answer["outcome"] == "unreachable"
        assert make_vm(slots=2, endpoints=[f"http://{proxy.host}", etcd.url]).does("acquire") == "held"
        assert make_vm().holders == [vm.id]


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngarbage", id="garbage"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>hi</html>", id="HTML"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="empty object"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]", id="array"),
        pytest.param(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"header": 1}', id="other types"),
        pytest.param(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops", id="500"),
        pytest.param(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", id="404"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", id="redirect"),
        pytest.param(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"header":', id="half an answer"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="not HTTP"),
        pytest.param(b"", id="closed"),
    ],
)
def test_a_store_that_lies_is_unreachable(make_vm: MakeVm, lie: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(lie)

    with RawServer(script) as liar:
        vm = make_vm(endpoints=[f"http://{liar.host}"])
        answer = vm.asks("acquire", timeout=5)

    assert (answer["outcome"], answer["holders"]) == ("unreachable", None)
    assert liar.host in answer["detail"]


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"], ids=["hung", "slow"])
def test_a_store_that_does_not_finish_is_unreachable(make_vm: MakeVm, begin: bytes) -> None:
    def hang(peer: Peer) -> None:
        peer.read_request()
        peer.send(begin)
        peer.hang()

    with RawServer(hang) as server:
        answer = make_vm(endpoints=[f"http://{server.host}"]).asks("acquire", timeout=0.5)

    assert answer["outcome"] == "unreachable"
    assert server.host in answer["detail"]
    assert "in time" in answer["detail"] or "timed out" in answer["detail"]


def test_a_store_that_is_killed_or_stopped_is_unreachable_until_it_is_back(tmp_path: Path) -> None:
    with Etcd(tmp_path / "data") as daemon:
        vm = Vm("z/a/1", {"backend": "etcd", "group": "web", "slots": 1, "endpoints": [daemon.url]})
        assert vm.does("acquire") == "held"

        daemon.process.send_signal(signal.SIGSTOP)
        # Until all its threads have stopped.
        os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED)
        assert vm.does("renew", timeout=0.5) == "unreachable"
        daemon.process.send_signal(signal.SIGCONT)
        assert vm.does("renew") == "held"

        daemon.kill()
        assert vm.does("renew") == "unreachable"
        daemon.start()
        assert vm.does("renew") == "held"
        assert vm.holders == [vm.id]


def test_a_member_without_a_majority_is_unreachable(tmp_path: Path) -> None:
    peers = {name: f"http://127.0.0.1:{free_port()}" for name in ("a", "b", "c")}
    with ExitStack() as stack:
        members = [stack.enter_context(Etcd(tmp_path / name, members=peers)) for name in peers]
        for member in members:
            member.wait()
        limit = {"backend": "etcd", "group": "web", "slots": 1, "endpoints": [member.url for member in members]}
        one, two = Vm("z/a/1", limit), Vm("z/b/2", limit)
        assert elected(lambda: one.does("acquire", timeout=30)) == "held"

        members[0].kill()
        assert elected(lambda: two.does("acquire", timeout=30)) == "denied"
        assert elected(lambda: one.does("renew", timeout=30)) == "held"
        members[1].kill()
        assert two.does("acquire", timeout=2) == "unreachable"
        members[0].start()
        assert elected(lambda: two.does("acquire", timeout=30)) == "denied"


def test_a_user_with_a_password(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n", encoding="utf-8")
    with Etcd(tmp_path / "data") as daemon:
        limit = {"backend": "etcd", "group": "web", "slots": 1, "endpoints": [daemon.url]}
        user = {"username": "gce-limit", "password_file": str(secret)}
        vm = Vm("z/a/1", {**limit, **user})
        assert vm.does("acquire") == "held", "users exist only as of now"
        as_documented(daemon)

        assert [vm.does(verb) for verb in ("check", "acquire", "renew", "release")] == [
            "ok",
            "held",
            "held",
            "released",
        ]
        refused = [
            Vm("z/a/1", limit),
            Vm("z/a/1", {**limit, **user, "username": "nobody"}),
            Vm("z/a/1", {**limit, **user, "prefix": "/other"}),
            Vm("z/a/1", {**limit, **user, "username": "reader"}),
        ]
        for each in refused:
            answer = each.asks("check")
            assert answer["outcome"] == "invalid", answer
            assert "password_file" in answer["detail"]
            assert PASSWORD not in str(answer)

        secret.write_text("wrong", encoding="utf-8")
        answer = vm.asks("acquire")
        assert answer["outcome"] == "invalid"
        assert "authentication failed" in answer["detail"]
        secret.unlink()
        answer = vm.asks("acquire")
        assert answer["outcome"] == "invalid"
        assert f"{secret} cannot be read" in answer["detail"]


@pytest.mark.parametrize("padding", [0, 260], ids=["whole", "cut off"])
@pytest.mark.parametrize("password", [PASSWORD, 'hunter2-"quoted"-\\-end'], ids=["plain", "quoted"])
def test_no_secret_comes_back_with_an_error(make_vm: MakeVm, tmp_path: Path, padding: int, password: str) -> None:
    def repeat(peer: Peer) -> None:
        body = b"x" * padding + peer.read_request().partition(b"\r\n\r\n")[2]
        peer.send(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    secret = tmp_path / "password"
    secret.write_text(password, encoding="utf-8")
    with RawServer(repeat) as server:
        user = {"username": "gce", "password_file": str(secret)}
        answer = make_vm(endpoints=[f"http://{server.host}"], **user).asks("acquire")

    assert "status 500" in answer["detail"]
    assert password[:7] not in str(answer)


def test_tls_with_a_client_certificate(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with Etcd(tmp_path / "data", certificate) as daemon:
        files = {"client_cert": str(certificate.file), "client_key": str(certificate.key_file)}
        limit = {"backend": "etcd", "group": "web", "slots": 1, "endpoints": [daemon.url], **files}
        vm = Vm("z/a/1", {**limit, "ca_file": str(certificate.file)})

        assert [vm.does(verb) for verb in ("check", "acquire", "release")] == ["ok", "held", "released"]
        untrusted = Vm("z/a/1", {**limit, "ca_file": str(Certificate(other).file)}).asks("check")
        assert untrusted["outcome"] == "unreachable"
        assert "certificate verify failed" in untrusted["detail"]
        missing = Vm("z/a/1", {**vm.limit, "ca_file": "/nonexistent.pem"}).asks("check")
        assert missing["outcome"] == "invalid"
        assert "/nonexistent.pem cannot be read" in missing["detail"]


def elected(outcome: Callable[[], str]) -> str:
    """The first outcome with a leader. All members refuse requests while they elect one, or when they have."""
    found: str = eventually(
        lambda: (said := outcome()) != "unreachable" and said, within=3 * PATIENCE, what="a member with a leader"
    )
    return found


def store_of(vm: Vm) -> Store:
    return Store(validated(vm.limit), vm.limit["endpoints"][0], None, Deadline(PATIENCE))


def as_documented(daemon: Etcd) -> None:
    """Set up users and rights with the commands of the guide, and a user without the right to write."""
    found = [
        block for block in blocks() if block.path.endswith("guide_fleet_limit.rst") and "etcdctl user" in block.text
    ]
    for line in "".join(block.text for block in found).splitlines():
        command = shlex.split(line.removeprefix("$ etcdctl "))
        if command[:2] == ["auth", "enable"]:
            daemon.control("role", "add", "reader")
            daemon.control("role", "grant-permission", "reader", "--prefix=true", "read", "/gce.guest/limit/")
            daemon.control("user", "add", f"reader:{PASSWORD}")
            daemon.control("user", "grant-role", "reader", "reader")
        if command[:2] == ["user", "add"]:
            command[2:] = [f"{command[2]}:{PASSWORD}"]
        daemon.control(*command)


def losing_transactions(etcd: Etcd) -> Callable[[Peer], None]:
    """A proxy that passes everything on, but not the answers to transactions."""
    where = urlsplit(etcd.url)

    def forward(peer: Peer) -> None:
        data = peer.read_request()
        with socket.create_connection((str(where.hostname), int(where.port or 0))) as channel:
            channel.sendall(data)
            answer = b"".join(iter(lambda: channel.recv(65536), b""))
        if b"/v3/kv/txn" not in data:
            peer.send(answer)

    return forward


def post(etcd: Etcd, path: str, body: Any) -> Any:
    return request(f"{etcd.url}{path}", method="POST", body=body, timeout=PATIENCE).json()


def pairs(etcd: Etcd, vm: Vm, revision: int = 0) -> list[dict[str, Any]]:
    """The holders' keys of the VM's group, as etcd has them, now or at a revision."""
    prefix = f"/gce.guest/limit/{vm.limit['group']}/holders"
    body = {"key": encoded(f"{prefix}/"), "range_end": encoded(f"{prefix}0"), "revision": str(revision)}
    found: list[dict[str, Any]] = post(etcd, "/v3/kv/range", body).get("kvs", [])
    return found


def leases(etcd: Etcd) -> set[str]:
    return {one["ID"] for one in post(etcd, "/v3/lease/leases", {}).get("leases", [])}


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
