# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call of the metadata server's client ends at once when another thread aborts it, and none starts after that."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import (
    Limits,
    MetadataAborted,
    MetadataServer,
    MetadataUnavailable,
    Time,
)

from support.raw_server import Peer, RawServer, answering, http_answer

KEY = "instance/maintenance-event"


class Call:
    """A wait for a change in a thread, and the error that it ends with."""

    def __init__(self, server: MetadataServer) -> None:
        self.errors: list[BaseException] = []
        self._server = server
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._server.wait(KEY, "etag-none", 600)
        except Exception as error:
            self.errors.append(error)

    def ended(self) -> bool:
        self._thread.join(20)
        return not self._thread.is_alive()


def test_a_hanging_get_ends_when_it_is_aborted() -> None:
    asked = threading.Event()

    def hang(peer: Peer) -> None:
        peer.read_request()
        asked.set()
        peer.hang()

    with RawServer(hang) as raw:
        server = MetadataServer(raw.host, limits=Limits(retry_for=None))
        call = Call(server)
        assert asked.wait(20)
        server.abort()

        assert call.ended()
        [error] = call.errors
        assert isinstance(error, MetadataAborted)
        assert KEY in str(error)
        # The server sees the end of the connection, so that no hanging GET is left behind there.
        assert raw.ends.get(timeout=20) in ("FIN", "RST")


def test_all_threads_of_a_client_are_aborted() -> None:
    asked = threading.Semaphore(0)

    def hang(peer: Peer) -> None:
        peer.read_request()
        asked.release()
        peer.hang()

    with RawServer(hang) as raw:
        server = MetadataServer(raw.host, limits=Limits(retry_for=0))
        calls = [Call(server) for _number in range(3)]
        assert all(asked.acquire(timeout=20) for _call in calls)
        server.abort()

        assert all(call.ended() for call in calls)
        assert [type(error) for call in calls for error in call.errors] == [MetadataAborted] * 3


def test_no_call_starts_after_an_abort() -> None:
    with RawServer(answering(http_answer("200 OK", b"NONE", etag="e"))) as raw:
        server = MetadataServer(raw.host)
        server.abort()
        server.abort()

        with pytest.raises(MetadataAborted):
            server.get(KEY)
        assert raw.requests == []


def test_an_abort_between_two_tries_ends_the_retries() -> None:
    with RawServer(answering(*[http_answer("503 Service Unavailable")] * 3)) as raw:
        server = MetadataServer(
            raw.host, limits=Limits(retry_for=None), time=Time(sleep=lambda _seconds: server.abort())
        )

        with pytest.raises(MetadataAborted):
            server.get(KEY)
        server.close()
        assert len(raw.requests) == 1


def test_an_abort_is_no_outage() -> None:
    assert not issubclass(MetadataAborted, MetadataUnavailable)
