# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The thread that watches one key: its requests, its messages, and its pauses."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from maintenance_handler._vm.maintenance import (
    DRIFT_TOKEN_KEY,
    MAINTENANCE_EVENT_KEY,
    PREEMPTED_KEY,
    STOP_STATE_KEY,
    UPCOMING_MAINTENANCE_KEY,
    Stop,
    Window,
)
from maintenance_handler._vm.watch import ABSENT_PAUSE, LEAST_TURN, NEWS_PAUSE, TOO_LARGE_PAUSE, Failed, Heard, Watcher
from support.descriptors import open_files, until_only
from support.handler import PACKAGE_FOLDER
from support.raw_server import RawServer, Script, answering, http_answer, json_answer
from support.vm_python import VM_PYTHON

MIGRATE = http_answer("200 OK", b"MIGRATE_ON_HOST_MAINTENANCE", etag="etag-migrate")
NONE = http_answer("200 OK", b"NONE", etag="etag-none")
ABSENT = http_answer("404 Not Found")
UNAVAILABLE = http_answer("503 Service Unavailable")
FORBIDDEN = http_answer("403 Forbidden", b"no")
WEB_PAGE = http_answer("200 OK", b"<html>Sign in</html>", content_type="text/html", etag="x")
CUT = b"HTTP/1.1 200 OK\r\nmetadata-flavor: Google\r\ncontent-length: 100\r\n\r\nMIGR"
NO_NOTIFICATIONS = http_answer(
    "503 Service Unavailable",
    b'{ "error": "no notifications have been received yet, try again later" }',
    content_type="application/json",
)


class Watch:
    """A watcher whose clock only its own sleeping moves, and all that it posted."""

    def __init__(self, server: RawServer, key: str) -> None:
        self.now = 1000.0
        self.posted: list[Heard | Failed] = []
        self.server = server
        self.watcher = Watcher(key, server.host, self.posted.append, 60, clock=lambda: self.now, sleep=self.sleep)

    def turn(self) -> float:
        return self.watcher.turn()

    def until_heard(self) -> None:
        """Take turns, with the pauses between them, until one has an answer."""
        self.sleep(self.turn())
        while isinstance(self.posted[-1], Failed):
            self.sleep(self.turn())

    def heard(self) -> list[object]:
        return [one.value if isinstance(one, Heard) else "failed" for one in self.posted]

    def asked(self) -> list[dict[str, str]]:
        """What each request had in its query."""
        targets = [request.split(b" ", 2)[1].decode() for request in self.server.requests]
        return [{name: values[0] for name, values in parse_qs(urlsplit(target).query).items()} for target in targets]

    def close(self) -> None:
        """A watcher never ends by itself."""
        self.watcher._server.close()

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@contextmanager
def watching(*scripts: Script, key: str = MAINTENANCE_EVENT_KEY) -> Iterator[Watch]:
    with RawServer(*scripts) as server:
        watch = Watch(server, key)
        try:
            yield watch
        finally:
            watch.close()


def test_first_request_is_answered_at_once_and_later_ones_on_change() -> None:
    """A change between two polls was lost (GoogleCloudPlatform/python-docs-samples#270)."""
    with watching(answering(NONE, MIGRATE, NONE, MIGRATE)) as watch:
        assert [watch.turn() for _unused in range(4)] == [NEWS_PAUSE] * 4
        assert watch.heard() == ["NONE", "MIGRATE_ON_HOST_MAINTENANCE", "NONE", "MIGRATE_ON_HOST_MAINTENANCE"]
        assert [one["last_etag"] for one in watch.asked()] == ["NONE", "etag-none", "etag-migrate", "etag-none"]
        assert {(one["wait_for_change"], one["timeout_sec"]) for one in watch.asked()} == {("true", "60")}
        assert watch.server.requests[0].startswith(b"GET /computeMetadata/v1/instance/maintenance-event?")


def test_unchanged_answer_counts_as_an_answer() -> None:
    """Others always report that they are healthy. An answer without news counts as well."""
    with watching(answering(NONE, NONE)) as watch:
        watch.turn()
        watch.now += 60.0
        watch.turn()
        assert watch.posted == [
            Heard(MAINTENANCE_EVENT_KEY, "NONE", 1000.0),
            Heard(MAINTENANCE_EVENT_KEY, "NONE", 1060.0),
        ]
        assert watch.watcher.last_turn == 1060.0


def test_changing_etag_of_an_unchanged_value_makes_no_busy_loop() -> None:
    flapping = [http_answer("200 OK", b"NONE", etag=f"etag-{number}") for number in range(3)]
    with watching(answering(*flapping)) as watch:
        assert [watch.turn() for _unused in flapping] == [NEWS_PAUSE, LEAST_TURN, LEAST_TURN]
        assert [one["last_etag"] for one in watch.asked()] == ["NONE", "etag-0", "etag-1"]


@pytest.mark.parametrize(
    "key, pause",
    [(MAINTENANCE_EVENT_KEY, ABSENT_PAUSE), (PREEMPTED_KEY, ABSENT_PAUSE), (UPCOMING_MAINTENANCE_KEY, 60.0)],
)
def test_missing_key_is_requested_again(key: str, pause: float) -> None:
    with watching(answering(ABSENT, NONE), key=key) as watch:
        assert watch.turn() == pause
        watch.turn()
        assert watch.heard() == [None, None if key == UPCOMING_MAINTENANCE_KEY else "NONE"]
        assert [one["last_etag"] for one in watch.asked()] == ["NONE", "NONE"]


def test_removed_key_is_reported() -> None:
    with watching(answering(MIGRATE, ABSENT)) as watch:
        watch.turn()
        watch.turn()
        assert watch.heard() == ["MIGRATE_ON_HOST_MAINTENANCE", None]


def test_no_notifications_is_an_answer_and_is_requested_again_later() -> None:
    """A 503 with "no notifications have been received yet" means no window."""
    with watching(answering(NO_NOTIFICATIONS), key=UPCOMING_MAINTENANCE_KEY) as watch:
        assert watch.turn() == 60.0
        assert watch.heard() == [None]


@pytest.mark.parametrize(
    "bad", [UNAVAILABLE, WEB_PAGE, http_answer("200 OK", b"NONE")], ids=["503", "web page", "no etag"]
)
def test_failure_is_reported_and_retried(bad: bytes) -> None:
    """503 ended the handler (aws/aws-node-termination-handler#916), HTML the agent (guest-agent#320)."""
    with watching(answering(bad, bad, MIGRATE), answering(bad, MIGRATE), answering(MIGRATE)) as watch:
        watch.until_heard()
        assert watch.heard() == ["failed", "failed", "MIGRATE_ON_HOST_MAINTENANCE"]
        # From the end of an outage to the answer: never longer than the longest pause.
        assert watch.now - 1000.0 < 2.0


def test_another_server_is_reported_with_the_setting_of_its_address() -> None:
    with watching(answering(WEB_PAGE)) as watch:
        watch.turn()
        failed = watch.posted[0]
        assert isinstance(failed, Failed)
        assert failed.reason.endswith("Check the setting metadata_host.")


def test_survives_an_outage_of_an_hour() -> None:
    """503 from the metadata server ended the handler (aws/aws-node-termination-handler#916)."""
    with watching(answering(*[UNAVAILABLE] * 5000, MIGRATE)) as watch:
        watch.until_heard()
        assert watch.now - 1000.0 > 3600.0
        assert watch.heard()[-1] == "MIGRATE_ON_HOST_MAINTENANCE"
        assert watch.heard()[:-1] == ["failed"] * 5000
        assert watch.posted[-1].clock - watch.posted[-2].clock < 2.0


def test_truncated_answer_is_retried() -> None:
    def cutting(peer: object) -> None:
        peer.read_request()  # type: ignore[attr-defined]
        peer.send(CUT)  # type: ignore[attr-defined]

    with watching(cutting, answering(MIGRATE)) as watch:
        watch.until_heard()
        assert watch.heard() == ["failed", "MIGRATE_ON_HOST_MAINTENANCE"]


def test_end_of_an_outage_is_reported_without_a_change() -> None:
    """Others always report that they are healthy. Nor may an outage be reported after its end."""
    with watching(answering(NONE, UNAVAILABLE, NONE, NONE)) as watch:
        watch.turn()
        watch.turn()
        watch.until_heard()
        watch.turn()
        assert watch.heard() == ["NONE", "failed", "NONE", "NONE"]
        assert [one["last_etag"] for one in watch.asked()] == ["NONE", "etag-none", "NONE", "etag-none"]


def test_server_that_only_fails_hanging_requests_is_not_overloaded() -> None:
    with watching(answering(*[NONE, UNAVAILABLE] * 40)) as watch:
        for _unused in range(80):
            watch.sleep(watch.turn())
        assert watch.now - 1000.0 > 20.0


def test_refusal_is_reported_and_retried_later() -> None:
    with watching(answering(MIGRATE, FORBIDDEN, NONE)) as watch:
        watch.turn()
        assert watch.turn() == ABSENT_PAUSE
        watch.turn()
        assert watch.heard() == ["MIGRATE_ON_HOST_MAINTENANCE", "failed", "NONE"]
        assert [one["last_etag"] for one in watch.asked()] == ["NONE", "etag-migrate", "NONE"]
        assert "403" in watch.posted[1].reason  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "key, pause",
    [
        (MAINTENANCE_EVENT_KEY, TOO_LARGE_PAUSE),
        (PREEMPTED_KEY, TOO_LARGE_PAUSE),
        (UPCOMING_MAINTENANCE_KEY, 60.0),
        (DRIFT_TOKEN_KEY, 60.0),
    ],
)
@pytest.mark.parametrize(
    "large",
    [
        http_answer("200 OK", b"reasons/0 X\n" * 6000, etag="x"),
        http_answer("503 Service Unavailable", b"x" * 70_000),
        http_answer("200 OK", b"[" * 6000, content_type="application/json", etag="x"),
    ],
)
def test_too_large_value_is_a_failure_and_is_retried_later(key: str, pause: float, large: bytes) -> None:
    """Four endless bodies led to 328 MB of resident memory."""
    with watching(answering(large, large), answering(large), key=key) as watch:
        assert watch.turn() == pause
        watch.sleep(pause)
        assert watch.turn() == pause
        assert watch.heard() == ["failed", "failed"]
        assert ("larger than 65536" in str(watch.posted[0])) != ("more than 64 levels" in str(watch.posted[0]))


def test_window_is_parsed_in_the_watcher() -> None:
    lines = b"maintenance_status PENDING\nwindow_start_time 2026-12-01T02:00:00+00:00"
    with watching(answering(http_answer("200 OK", lines, etag="a")), key=UPCOMING_MAINTENANCE_KEY) as watch:
        watch.turn()
        assert watch.heard() == [Window(1796090400.0, status="PENDING")]


def test_unreadable_window_is_reported_and_watched() -> None:
    """An HTML body with status 200 broke the agent (GoogleCloudPlatform/guest-agent#320)."""
    odd = [http_answer("200 OK", b"odd", etag=f"etag-{number}") for number in range(3)]
    with watching(answering(*odd, NONE), key=UPCOMING_MAINTENANCE_KEY) as watch:
        assert [watch.turn() for _unused in range(4)] == [NEWS_PAUSE, LEAST_TURN, LEAST_TURN, NEWS_PAUSE]
        assert watch.heard() == ["failed", "failed", "failed", None]
        assert watch.asked()[1]["last_etag"] == "etag-0"


def test_uses_one_connection() -> None:
    """Abandoned hanging GETs added up until the server refused (googleapis/google-cloud-go#11035)."""
    with watching(answering(*[NONE] * 500)) as watch:
        watch.turn()
        before = open_files()
        for _unused in range(499):
            watch.turn()
        assert watch.server.connections == 1
        until_only(before)


def test_requests_keep_the_notice_of_a_migration_armed() -> None:
    """A VM gets the 60 s notice only if it has requested the key itself since its last event.

    A request for the directory, recursive or not, does not count. So whatever is answered, the next request must be for
    the key: https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice
    """

    def cutting(peer: object) -> None:
        peer.read_request()  # type: ignore[attr-defined]
        peer.send(CUT)  # type: ignore[attr-defined]

    answers = [NONE, NONE, MIGRATE, NONE, UNAVAILABLE, NO_NOTIFICATIONS, ABSENT, FORBIDDEN, WEB_PAGE]
    answers += [http_answer("301 Moved Permanently", location="/computeMetadata/v1/instance/"), NONE]
    with watching(answering(*answers), cutting, answering(MIGRATE, NONE)) as watch:
        while len(watch.server.requests) < len(answers) + 3:
            watch.sleep(watch.turn())
        targets = [urlsplit(request.split(b" ", 2)[1].decode()) for request in watch.server.requests]
        assert {target.path for target in targets} == {f"/computeMetadata/v1/{MAINTENANCE_EVENT_KEY}"}
        assert not any("recursive" in target.query for target in targets)


class TestStop:
    """The announcement of a stop, whose time and target are in keys beside its state."""

    STATE = http_answer("200 OK", b"PENDING_STOP", etag="etag-stop")
    IDLE = http_answer("200 OK", b"UNSPECIFIED", etag="etag-idle")

    @staticmethod
    def details(**fields: object) -> bytes:
        return json_answer({"stopState": "PENDING_STOP", **fields})

    @pytest.mark.parametrize("duration", ["600", "600s", 600, {"seconds": "600"}])
    def test_is_read_with_its_details(self, duration: object) -> None:
        details = self.details(maxDuration=duration, requestTimestamp="2026-11-26T12:00:00Z", targetState="DELETED")
        with watching(answering(self.STATE, details, self.IDLE), key=STOP_STATE_KEY) as watch:
            assert watch.turn() == NEWS_PAUSE
            watch.turn()
            assert watch.heard() == [Stop("PENDING_STOP", "DELETED", 1795694400.0, 600.0), None]
            assert watch.asked()[1] == {"recursive": "true"}
            assert watch.asked()[2]["last_etag"] == "etag-stop"

    def test_without_its_details_it_counts_and_they_are_requested_again(self) -> None:
        """A server that fails for a moment must not cost the notice, and is not hammered."""
        answers = [self.STATE, UNAVAILABLE] * 3 + [self.STATE, self.details(targetState="STOPPED")]
        with watching(answering(*answers), key=STOP_STATE_KEY) as watch:
            pauses = [watch.turn() for _unused in range(4)]
            assert watch.heard() == [Stop("PENDING_STOP")] * 3 + [Stop("PENDING_STOP", "STOPPED")]
            assert pauses == [NEWS_PAUSE, LEAST_TURN, LEAST_TURN, NEWS_PAUSE]

    @pytest.mark.parametrize("problem", [UNAVAILABLE, ABSENT, FORBIDDEN])
    def test_known_details_are_kept(self, problem: bytes) -> None:
        """Without them the stop would have another deadline, and `when` another target."""
        details = self.details(maxDuration="90", requestTimestamp="2026-11-26T12:00:00Z", targetState="DELETED")
        stopping = http_answer("200 OK", b"STOPPING", etag="etag-stopping")
        answers = [self.STATE, details, self.STATE, problem, self.STATE, details, stopping, problem]
        with watching(answering(*answers), key=STOP_STATE_KEY) as watch:
            for _unused in range(4):
                watch.turn()
            known = Stop("PENDING_STOP", "DELETED", 1795694400.0, 90.0)
            assert watch.heard() == [known, known, known, Stop("STOPPING", "DELETED", 1795694400.0, 90.0)]


def test_error_page_needs_no_import() -> None:
    """The client imports error_page when it meets one, at which time a disk may hang."""
    code = "import sys, maintenance_handler._vm.watch; print('maintenance_handler._vm.error_page' in sys.modules)"
    environ = {"PYTHONPATH": str(PACKAGE_FOLDER)}
    assert subprocess.run([VM_PYTHON, "-c", code], env=environ, capture_output=True, check=True).stdout == b"True\n"
