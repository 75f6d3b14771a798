# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handlers of several VMs with a limit in a real etcd."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.etcd import MISSING, Etcd
from support.limited_group import Group, MakeHandler
from support.receiver import Receiver
from support.vm import Vm

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("etcd") / "data") as daemon:
        yield daemon


@pytest.fixture
def group(etcd: Etcd, make_vm: Callable[[], Vm], make_handler: MakeHandler, tmp_path: Path) -> Group:
    return Group(etcd, make_vm, make_handler, tmp_path)


def test_never_more_than_two_are_drained_while_the_limit_may_hold(group: Group) -> None:
    group.take_turns(5)


def test_of_two_migrations_at_once_one_is_not_drained(group: Group) -> None:
    members = group.members(2)
    for member in members:
        member.vm.announce("migrate")
    for member in members:
        member.until_decided()
    assert sorted(member.is_drained() for member in members) == [False, True]
    assert group.most_drained() == 1


def test_a_dead_holder_lets_go(group: Group) -> None:
    one, other = group.members(2, limit={"ttl": 6})
    one.vm.announce("terminate")
    one.handler.until_state("drained")
    one.handler.kill()
    other.vm.announce("terminate")
    other.handler.until_state("drained")
    assert other.slot()["held"]
    # It comes back, and finds its slot taken.
    one.handler.start()
    one.handler.until(lambda: one.slot().get("outcome") == "denied", "the answer")
    assert one.handler.state() == "drained"
    assert one.slot()["exceeded"]
    other.vm.withdraw("terminate")
    other.handler.until_over()
    one.vm.withdraw("terminate")
    one.handler.until_over()


def test_an_etcd_that_hangs_or_dies_delays_no_drain_whose_time_has_come(
    tmp_path: Path, make_vm: Callable[[], Vm], make_handler: MakeHandler
) -> None:
    with Etcd(tmp_path / "own") as etcd:
        group = Group(etcd, make_vm, make_handler, tmp_path)
        hung, away = group.members(2, slots=2, notice={"terminate": 12, "migrate": 40})
        etcd.process.send_signal(signal.SIGSTOP)
        hung.vm.announce("terminate")
        hung.handler.until_state("drained")
        etcd.process.send_signal(signal.SIGCONT)
        etcd.kill()
        away.vm.announce("migrate")
        away.handler.until_state("drained")
        for member in (hung, away):
            member.handler.until_logged("goes ahead without a slot")
        etcd.start()
        # Both are counted again.
        for member in (hung, away):
            member.until_held()
        hung.vm.withdraw("terminate")
        away.vm.withdraw("migrate")
        for member in (hung, away):
            assert member.handler.until_over()["held"] == []


def test_a_drain_beyond_the_limit_is_notified(group: Group) -> None:
    receiver = Receiver()
    target = {"name": "chat", "url": receiver.url, "on": ["limit_exceeded", "drained"]}
    (one,) = group.members(1, notify=[target])
    (other,) = group.members(1, notify=[target], notice={"terminate": 15})
    one.vm.announce("terminate")
    one.until_held()
    one.handler.until_state("drained")
    # Each has a notifier of its own.
    one.handler.until(lambda: len(receiver.bodies) == 1, "the first notification")
    other.vm.announce("terminate")
    other.handler.until_state("drained")
    other.handler.until(lambda: len(receiver.bodies) == 3, "the notifications")
    receiver.stop()
    assert [(body["instance"], body["kind"]) for body in receiver.bodies] == [
        (one.vm.name, "drained"),
        (other.vm.name, "limit_exceeded"),
        (other.vm.name, "drained"),
    ]
    # It names the event, and who has the slot.
    exceeded = receiver.bodies[1]
    assert exceeded["event"] == "terminate"
    assert one.vm.name in exceeded["text"]
    assert "beyond the limit" in exceeded["text"]


def test_the_check_shows_the_store_and_rejects_wrong_options(group: Group, make_handler: MakeHandler) -> None:
    (member,) = group.members(1)
    assert "note: fleet limit: 0 of 1" in member.handler.command("check").stdout
    limit = member.handler.config["fleet_limit"]
    member.handler.configure(fleet_limit={**limit, "username": "limit"})
    rejected = member.handler.command("check")
    assert rejected.returncode == 2
    assert "field 'fleet_limit': username and password_file must be given together" in rejected.stderr
    member.handler.configure(fleet_limit={**limit, "endpoints": ["http://127.0.0.1:1"]})
    away = member.handler.command("check")
    assert away.returncode == 0
    assert "note: field 'fleet_limit': the store does not answer" in away.stdout
