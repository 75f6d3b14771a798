# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of hosts, with resolvers that answer, fail, and hang."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.addresses import Addresses, NotResolved
from ansible_collections.gce.guest.plugins.module_utils._vm.http_exchange import (
    CannotConnect,
    Deadline,
    NameNotResolved,
    connect,
)

from support.emulator import eventually
from support.raw_server import PATIENCE, Peer, RawServer, refusing_host


class Resolver:
    """Knows one name, with an address of this machine; hangs until it is released."""

    def __init__(self, name: str, found: Any) -> None:
        self.asked = 0
        self.may_answer = threading.Event()
        self._name = name.encode()
        self._found = found

    def look_up(self, host: bytes, port: int, **options: Any) -> Any:
        if options["flags"] or host != self._name:
            return socket.getaddrinfo(host, port, **options)
        self.asked += 1
        self.may_answer.wait(PATIENCE)
        if isinstance(self._found, Exception):
            raise self._found
        return socket.getaddrinfo(self._found, port, **options)


@pytest.fixture
def make_resolver() -> Iterator[Callable[[Any], Resolver]]:
    made: list[Resolver] = []

    def make(found: Any, *, hangs: bool = True) -> Resolver:
        made.append(Resolver("vm.test", found))
        if not hangs:
            made[-1].may_answer.set()
        return made[-1]

    yield make
    for resolver in made:
        resolver.may_answer.set()


MakeResolver = Callable[..., Resolver]


def soon() -> Deadline:
    return Deadline(PATIENCE, time.monotonic)


def patient(seconds: float) -> Deadline:
    """A deadline that passes only while something is waited for, however late this thread is scheduled."""
    return Deadline(seconds, lambda: 0.0)


def started_since(before: set[threading.Thread]) -> set[threading.Thread]:
    """Threads of other tests may end at any time."""
    return set(threading.enumerate()) - before


class TestResolve:
    @pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "fd20:ce::254"])
    def test_address_is_used_without_a_lookup(self, host: str) -> None:
        threads = set(threading.enumerate())
        found = Addresses().resolve(host, 80, 0)
        assert (found[0][3][:2], started_since(threads)) == ((host, 80), set())

    def test_name_has_the_addresses_of_the_resolver(self, make_resolver: MakeResolver) -> None:
        addresses = Addresses(make_resolver("127.0.0.1", hangs=False).look_up)
        assert [one[3] for one in addresses.resolve("vm.test", 80, PATIENCE)] == [("127.0.0.1", 80)]

    def test_hanging_lookup_times_out_and_is_shared(self, make_resolver: MakeResolver) -> None:
        """Name resolution can fail or hang although the address answers."""
        resolver = make_resolver("127.0.0.1")
        addresses = Addresses(resolver.look_up)
        threads = set(threading.enumerate())
        for _unused in range(20):
            with pytest.raises(NotResolved, match=r"no answer within 0\.001 s"):
                addresses.resolve("vm.test", 80, 0.001)
        # The lookup may begin late.
        eventually(lambda: resolver.asked)
        assert (resolver.asked, len(started_since(threads))) == (1, 1)
        resolver.may_answer.set()
        assert addresses.resolve("vm.test", 80, PATIENCE)

    def test_failed_lookup_has_a_reason_and_is_repeated(self, make_resolver: MakeResolver) -> None:
        resolver = make_resolver(socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), hangs=False)
        addresses = Addresses(resolver.look_up)
        for _unused in range(2):
            with pytest.raises(NotResolved, match="Temporary failure"):
                addresses.resolve("vm.test", 80, PATIENCE)
        assert resolver.asked == 2


class TestConnect:
    def test_tries_other_addresses_while_the_resolver_hangs(self, make_resolver: MakeResolver) -> None:
        addresses = Addresses(make_resolver("127.0.0.1").look_up)
        with RawServer(Peer.hang) as server:
            connect("vm.test", server.port, patient(1.0), others=("127.0.0.1",), addresses=addresses).close()

    def test_tries_other_addresses_if_those_of_the_name_fail(self, make_resolver: MakeResolver) -> None:
        addresses = Addresses(make_resolver("127.0.0.2", hangs=False).look_up)
        with RawServer(Peer.hang) as server:
            connect("vm.test", server.port, soon(), others=("127.0.0.1",), addresses=addresses).close()

    def test_keeps_the_time_limit_while_the_resolver_hangs(self, make_resolver: MakeResolver) -> None:
        addresses = Addresses(make_resolver("127.0.0.1").look_up)
        with pytest.raises(
            NameNotResolved, match=r"vm\.test could not be resolved \(there was no answer within 0\.\d+ s"
        ):
            connect("vm.test", 80, patient(0.05), addresses=addresses)

    def test_remembers_the_last_working_address(self, make_resolver: MakeResolver) -> None:
        """And needs no further lookup, which might hang."""
        resolver = make_resolver("127.0.0.1", hangs=False)
        addresses = Addresses(resolver.look_up)
        with RawServer(Peer.hang) as server:
            for _unused in range(3):
                connect("vm.test", server.port, soon(), addresses=addresses).close()
        assert resolver.asked == 1

    def test_resolves_again_if_the_address_fails(self, make_resolver: MakeResolver) -> None:
        addresses = Addresses(make_resolver("127.0.0.1", hangs=False).look_up)
        with RawServer(Peer.hang) as server, refusing_host() as gone:
            port = int(gone.rpartition(":")[2])
            [stale] = addresses.literal("127.0.0.1", port)
            addresses.keep("vm.test", server.port, stale)
            connect("vm.test", server.port, soon(), addresses=addresses).close()
            assert addresses.kept("vm.test", server.port) == addresses.literal("127.0.0.1", server.port)[0]

    def test_does_not_try_a_failed_address_twice(self, make_resolver: MakeResolver) -> None:
        addresses = Addresses(make_resolver("127.0.0.1", hangs=False).look_up)
        with refusing_host() as host:
            port = int(host.rpartition(":")[2])
            addresses.keep("vm.test", port, addresses.literal("127.0.0.1", port)[0])
            with pytest.raises(CannotConnect, match="refused"):
                connect("vm.test", port, soon(), addresses=addresses)
