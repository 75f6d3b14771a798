# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real handler notifies a real receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.handler import HandlerProcess, task
from support.receiver import Receiver
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]

ALL = [
    "noticed",
    "draining",
    "drained",
    "failed",
    "overdue",
    "restored",
    "restore_failed",
    "limit_exceeded",
    "blind",
]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def test_receiver_is_notified_of_an_event_in_order(vm: Vm, make_handler: MakeHandler, receiver: Receiver) -> None:
    handler = make_handler(task("lb"), notify=[{"name": "chat", "url": receiver.url, "on": ALL}]).start()
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    incident = handler.until_over()
    handler.until(lambda: len(receiver.calls) == 4, "four notifications")
    assert receiver.kinds() == ["noticed", "draining", "drained", "restored"]
    assert {body["incident"] for body in receiver.bodies} == {incident["id"]}
    first = receiver.bodies[0]
    assert (first["instance"], first["event"], first["rehearsal"]) == (vm.name, "migrate", False)
    assert [body["resolves"] for body in receiver.bodies] == [False, False, False, True]
    assert len({body["id"] for body in receiver.bodies}) == 4
    handler.until(lambda: handler.status()["notifications"]["chat"]["sent"] == 4, "the status")
    assert handler.status()["notifications"]["chat"] == {"queued": 0, "sent": 4, "failed": 0, "problem": ""}
