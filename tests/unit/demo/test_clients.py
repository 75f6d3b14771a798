# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's servers, balancer and clients, as real processes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.clients import Clients
from demo.hosts import start_server
from support.emulator import eventually


@pytest.fixture
def vm(tmp_path: Path) -> Path:
    """A VM that is in service."""
    (tmp_path / "logs").mkdir()
    folder = tmp_path / "vms" / "web-1"
    (folder / "service").mkdir(parents=True)
    (folder / "service" / "load-balancer").write_text("in service\n", encoding="utf-8")
    return folder


@pytest.fixture
def server(vm: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = start_server(vm, tmp_path / "logs" / "web-1.log")
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def sending(vm: Path, tmp_path: Path, server: subprocess.Popen[bytes]) -> Iterator[Clients]:
    started = Clients({"web-1": vm}, tmp_path)
    yield started
    started.finish()


def until_sent(sending: Clients, more: int) -> None:
    enough = sending.sent() + more
    eventually(lambda: sending.sent() >= enough, within=60)


def until_answered(sending: Clients) -> None:
    """Wait until what was sent before is answered: each client has sent another request, and has its answer."""
    before = sending.rounds()
    eventually(lambda: all(now >= one + 2 for one, now in zip(before, sending.rounds(), strict=True)), within=60)


def test_no_request_is_lost_while_the_servers_run(sending: Clients) -> None:
    until_sent(sending, 20)
    assert sending.lost("web-1") == (0, 0)


def test_vm_that_has_left_the_balancers_loses_no_request(
    sending: Clients, vm: Path, server: subprocess.Popen[bytes]
) -> None:
    (vm / "service" / "load-balancer").write_text("out of service\n", encoding="utf-8")
    until_answered(sending)
    server.kill()
    eventually(lambda: sending.lost("web-1")[1] > 1, within=60)
    assert sending.lost("web-1")[0] == 0
    assert sending.lost_elsewhere() == 0


def test_a_vm_that_fails_without_leaving_loses_requests(sending: Clients, server: subprocess.Popen[bytes]) -> None:
    until_sent(sending, 4)
    server.kill()
    eventually(lambda: min(sending.lost("web-1")) > 1, within=60)
