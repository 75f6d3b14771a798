# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endless values of one key do not delay events of other keys."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from maintenance_handler._vm.maintenance import (
    DRIFT_TOKEN_KEY,
    MAINTENANCE_EVENT_KEY,
    PREEMPTED_KEY,
    UPCOMING_MAINTENANCE_KEY,
)
from maintenance_handler.io.instance import INSTANCE_ID_KEY
from support.handler import HandlerProcess, task
from support.raw_server import PATIENCE, Peer, RawServer, http_answer

MakeHandler = Callable[..., HandlerProcess]
Flood = Callable[[Peer], None]

HEAD = b"HTTP/1.1 200 OK\r\nmetadata-flavor: Google\r\netag: x\r\n"


class Flooded:
    """A metadata server that answers some keys with a flood, and `preempted` as a metadata server does."""

    def __init__(self, floods: Mapping[str, Flood]) -> None:
        self.preempted = threading.Event()
        self.closing = threading.Event()
        self.asked: dict[str, int] = {}
        self._floods = floods

    def script(self, peer: Peer) -> None:
        while request := peer.read_request():
            target = request.split(b" ", 2)[1].decode()
            key = target.partition("?")[0].removeprefix("/computeMetadata/v1/")
            self.asked[key] = self.asked.get(key, 0) + 1
            if key in self._floods:
                self._floods[key](peer)
            elif key == PREEMPTED_KEY and "last_etag=NONE" in target:
                peer.send(http_answer("200 OK", b"FALSE", etag="not-yet"))
            elif key == PREEMPTED_KEY and "last_etag=not-yet" in target:
                self.preempted.wait(PATIENCE)
                peer.send(http_answer("200 OK", b"TRUE", etag="now"))
            elif "wait_for_change" not in target:
                peer.send(http_answer("404 Not Found"))
            elif "last_etag=NONE" in target:
                peer.send(http_answer("200 OK", b"NONE", etag="none"))
            else:
                peer.hang()


@contextmanager
def flooded(floods: Mapping[str, Flood]) -> Iterator[tuple[Flooded, str]]:
    server = Flooded(floods)
    with RawServer(server.script) as raw:
        yield server, raw.host


def lines_by_the_hundred_thousand(peer: Peer) -> None:
    body = b"".join(b"maintenance_reasons/%d FAILURE_DISK_OF_HOST\n" % number for number in range(400_000))
    peer.send(http_answer("200 OK", body, etag="x"))


def as_many_lines_as_are_taken(peer: Peer) -> None:
    body = b"maintenance_status PENDING\n" + b"".join(b"maintenance_reasons/%d A\n" % number for number in range(2300))
    peer.send(http_answer("200 OK", body, etag=f"x-{time.monotonic_ns()}"))


def deep_json(peer: Peer) -> None:
    peer.send(http_answer("200 OK", b'{"a":' * 12_000, etag="x", content_type="application/json"))


def deep_text(peer: Peer) -> None:
    peer.send(http_answer("200 OK", b'{"a":' * 12_000, etag="x"))


def endless(peer: Peer) -> None:
    peer.send(HEAD + b"\r\n")
    while True:
        peer.send(b"x" * 65536)


def endless_chunks(peer: Peer) -> None:
    peer.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    while True:
        peer.send(b"1\r\nx\r\n" * 1000)


def endless_head(peer: Peer) -> None:
    peer.send(HEAD)
    while True:
        peer.send(b"x: y\r\n" * 1000)


def endless_error(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 503 Not now\r\ncontent-type: text/html\r\n\r\n")
    while True:
        peer.send(b"<b" * 1000)


def drips(peer: Peer) -> None:
    peer.send(HEAD + b"content-length: 60000\r\n\r\n")
    while True:
        peer.send(b"x")
        time.sleep(0.02)


def peak(handler: HandlerProcess) -> int:
    """The most memory that the handler has had, in KiB."""
    status = Path(f"/proc/{handler.running.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]


@pytest.mark.parametrize(
    "flood",
    [
        lines_by_the_hundred_thousand,
        as_many_lines_as_are_taken,
        deep_json,
        deep_text,
        endless,
        endless_chunks,
        endless_head,
        endless_error,
        drips,
    ],
)
def test_endless_window_does_not_delay_a_preemption(flood: Flood, make_handler: MakeHandler) -> None:
    """A long value must not block the loop (patroni/patroni#1331)."""
    with flooded({UPCOMING_MAINTENANCE_KEY: flood}) as (server, host):
        handler = make_handler(task("lb"), metadata_host=host, poll_timeout=5).start(ready=False)
        handler.until(lambda: handler.status().get("last_good_answer", {}).get(PREEMPTED_KEY), "an answer")
        handler.until(lambda: UPCOMING_MAINTENANCE_KEY in server.asked, "the flood")
        server.preempted.set()
        handler.until_state("drained")
        assert handler.trace() == ["drain lb"]
        handler.kill()


def test_endless_values_of_all_other_keys_at_once(make_handler: MakeHandler) -> None:
    """Four endless bodies led to 328 MB of resident memory."""
    floods: dict[str, Flood] = {
        MAINTENANCE_EVENT_KEY: endless,
        UPCOMING_MAINTENANCE_KEY: endless_chunks,
        DRIFT_TOKEN_KEY: lines_by_the_hundred_thousand,
        INSTANCE_ID_KEY: endless,
    }
    with flooded({}) as (_unused, host):
        calm = make_handler(task("lb"), metadata_host=host, poll_timeout=5).start()
        usual = peak(calm)
        calm.kill()
    with flooded(floods) as (server, host):
        handler = make_handler(task("lb"), metadata_host=host, poll_timeout=1).start(ready=False)
        handler.until(lambda: server.asked.get(MAINTENANCE_EVENT_KEY, 0) > 3, "four questions")
        server.preempted.set()
        handler.until_state("drained")
        assert peak(handler) < usual + 4096
        # Calmly: each is read again in vain as long as it is there.
        handler.until(lambda: handler.log().count("larger than 65536 bytes") >= len(floods), "a line for each key")
        assert handler.log().count("larger than 65536 bytes") == len(floods)
        handler.kill()


def test_long_window_is_truncated(make_handler: MakeHandler) -> None:
    """The status of a window has no limit, and the history grew by 8 MB an incident."""
    lines = [
        "maintenance_status " + "P" * 30_000,
        "type " + "S" * 20_000,
        "window_start_time 2026-12-01T02:00:00+00:00",
    ]
    answers = [
        http_answer("200 OK", "\n".join(lines).encode(), etag="window"),
        http_answer("200 OK", b"{}", etag="none"),
    ]

    def window(peer: Peer) -> None:
        if answers:
            peer.send(answers.pop(0))
        else:
            peer.hang()

    with flooded({UPCOMING_MAINTENANCE_KEY: window}) as (_unused, host):
        handler = make_handler(task("lb", "window"), metadata_host=host, poll_timeout=5)
        handler.start(ready=False)
        incident = handler.until_over()
        assert len(json.dumps(incident)) < 5000
        assert len((handler.state_dir / "journal.json").read_bytes().rstrip()) < 10_000
        handler.kill()
