# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest attribute: the newest text, within the query limits, with the server's response checked."""

from __future__ import annotations

import operator
import threading

from maintenance_handler._vm.guest_attributes import QUERIES_PER_MINUTE, QUERIES_PER_SECOND
from maintenance_handler.io.publish import DISABLED_PAUSE, FAILED_PAUSE, LEAST_PAUSE, Publisher
from support.raw_server import PATIENCE, RawServer, Script, answering, http_answer

WRITTEN = http_answer("200 OK")
UNAVAILABLE = http_answer("503 Service Unavailable")
DISABLED = http_answer("403 Forbidden", b"Guest attributes endpoint access is disabled.")


class Publishing:
    """A publisher against a script, whose clock only its own sleeping moves."""

    def __init__(self, *scripts: Script) -> None:
        self.server = RawServer(*scripts)
        self.now = 1000.0
        self.slept: list[float] = []
        self.results: list[str] = []
        # What to offer while it sleeps.
        self.meanwhile: list[str] = []
        self.publisher = Publisher(self.server.host, self.results.append, clock=lambda: self.now, sleep=self._sleep)

    def __enter__(self) -> Publishing:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()
        self.server.close()

    def close(self) -> None:
        """A publisher never ends by itself."""
        self.publisher._server.close()

    def publish(self, *texts: str) -> float:
        for text in texts:
            self.publisher.offer(text)
        return self.publisher.turn()

    def written(self) -> list[str]:
        return [request.partition(b"\r\n\r\n")[2].decode() for request in self.server.requests]

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        while self.meanwhile:
            self.publisher.offer(self.meanwhile.pop(0))


def test_offered_text_is_written() -> None:
    with Publishing(answering(WRITTEN)) as publishing:
        assert publishing.publish("idle") == LEAST_PAUSE
        assert publishing.results == ["ok"]
        assert publishing.written() == ["idle"]
        head = publishing.server.requests[0]
        assert head.startswith(b"PUT /computeMetadata/v1/instance/guest-attributes/maintenance-handler/status HTTP/1.1")


def test_superseded_text_is_not_sent() -> None:
    with Publishing(answering(WRITTEN)) as publishing:
        publishing.publish("draining", "drained", "restoring")
        assert publishing.written() == ["restoring"]


def test_response_of_the_server_is_checked() -> None:
    """Guest attributes return 403 for a while after they are enabled (GoogleCloudPlatform/osconfig#411)."""
    with Publishing(answering(DISABLED, WRITTEN)) as publishing:
        assert publishing.publish("idle") == DISABLED_PAUSE
        assert "Guest attributes endpoint access is disabled" in publishing.results[0]
        assert publishing.publisher.turn() == LEAST_PAUSE
        assert publishing.results[1:] == ["ok"]
        assert publishing.written() == ["idle", "idle"]


def test_failed_write_is_retried_with_the_newest_text() -> None:
    """A notification was lost (aws/aws-node-termination-handler#534)."""
    with Publishing(answering(UNAVAILABLE, WRITTEN)) as publishing:
        assert publishing.publish("draining") == FAILED_PAUSE
        assert "503" in publishing.results[0]
        publishing.publish("drained")
        assert publishing.results[1:] == ["ok"]
        assert publishing.written() == ["draining", "drained"]


def test_text_that_reverted_during_a_failure_is_not_written() -> None:
    with Publishing(answering(WRITTEN, UNAVAILABLE, WRITTEN)) as publishing:
        publishing.publish("idle")
        publishing.publish("draining")
        publishing.publish("idle", "announced")
        assert publishing.written() == ["idle", "draining", "announced"]


def test_waits_for_the_budget_and_sends_the_newest_text() -> None:
    with Publishing(answering(*[WRITTEN] * 20)) as publishing:
        for number in range(QUERIES_PER_SECOND):
            publishing.publish(f"text {number}")
        assert publishing.slept == []
        publishing.meanwhile = ["newer"]
        publishing.publish("text")
        assert publishing.slept == [1.0]
        assert publishing.written()[-1] == "newer"


def test_limits_writes_to_ten_a_minute() -> None:
    with Publishing(answering(*[WRITTEN] * 40)) as publishing:
        times = []
        for number in range(30):
            publishing.publish(str(number))
            times.append(publishing.now)
        ten_later = times[QUERIES_PER_MINUTE:]
        assert min(map(operator.sub, ten_later, times)) >= 60.0


def test_offer_does_not_block_and_wakes_the_writer() -> None:
    """A notification was lost (aws/aws-node-termination-handler#534). It must not delay a drain either."""
    with Publishing(answering(WRITTEN, WRITTEN)) as publishing:
        publishing.publish("idle")

        def one_turn() -> None:
            publishing.publisher.turn()
            publishing.close()

        thread = threading.Thread(target=one_turn, daemon=True)
        thread.start()
        publishing.publisher.offer("idle")
        publishing.publisher.offer("draining")
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert publishing.written() == ["idle", "draining"]
