# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a key, on an emulated VM. Time is real where GETs hang, and the test's own where outages last."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import (
    REAL_TIME,
    Limits,
    MetadataForbidden,
    MetadataServer,
    MetadataUnavailable,
    Time,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.waiting import Changed, Outcome, Seen, wait_until

from support.emulator import EmulatorProcess, eventually
from support.raw_server import Peer, RawServer, Script, answering, http_answer

GUEST_ATTRIBUTES = "instance/guest-attributes/"
APP = f"{GUEST_ATTRIBUTES}app/"
STATE = f"{APP}state"
NO_RETRIES = Limits(retry_for=0)
PHASE = "instance/attributes/phase"
LATE = "instance/attributes/late"
FLEET = {
    "instances": [
        {"name": "vm", "attributes": {"phase": "one", "enable-guest-attributes": "TRUE"}},
        {"name": "silent", "attributes": {"phase": "one"}},
        {
            "name": "generous",
            "attributes": {"enable-guest-attributes": "TRUE"},
            "guest_attributes_over_budget": "allow",
        },
    ]
}


class Clock:
    """Time that passes only while someone sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    @property
    def time(self) -> Time:
        return Time(lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[Outcome]]]:
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def wait(
    emulator: EmulatorProcess,
    path: str,
    condition: Callable[[Seen], bool],
    *,
    instance: str = "vm",
    time: Time = REAL_TIME,
    **limits: float,
) -> Outcome:
    with closing(MetadataServer(emulator.metadata[instance], limits=NO_RETRIES)) as server:
        return wait_until(server, path, condition, time=time, **{"timeout": 20, "retry_for": 0, **limits})


def wait_on(server: RawServer, *, clock: Clock, timeout: float) -> Outcome:
    """For servers that behave unlike the emulator."""
    with closing(MetadataServer(server.host, limits=NO_RETRIES, time=clock.time)) as client:
        return wait_until(client, PHASE, never, timeout=timeout, retry_for=0, time=clock.time)


def silent(clock: Clock) -> Script:
    """Gets a request, and is not done with its answer when the client's patience is over."""

    def script(peer: Peer) -> None:
        peer.read_request()
        clock.now += 60
        peer.send(b"HTTP/1.1")
        peer.hang()

    return script


def paths(emulator: EmulatorProcess) -> list[str]:
    return [request["path"].removeprefix("/computeMetadata/v1/") for request in emulator.control.journal()]


def is_present(seen: Seen) -> bool:
    return seen.found


def never(seen: Seen) -> bool:
    return False


def hanging(emulator: EmulatorProcess, path: str, *, instance: str = "vm") -> Callable[[], bool]:
    """Whether a GET with an etag has come for exactly this path, which then hangs."""

    def has_come() -> bool:
        return any(
            request["path"] == f"/computeMetadata/v1/{path}"
            and "last_etag=" in request["query"]
            and "last_etag=NONE" not in request["query"]
            for request in emulator.control.journal(instance=instance)
        )

    return has_come


class TestExistingKey:
    def test_returns_as_soon_as_it_changes(
        self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]
    ) -> None:
        waiting = in_background(wait, emulator, PHASE, lambda seen: seen.value == "two")
        eventually(hanging(emulator, PHASE))
        emulator.control.set("vm", PHASE, "two")
        outcome = waiting.result(timeout=30)
        assert outcome.met
        assert outcome.seen is not None
        assert outcome.seen.value == "two"
        assert len(emulator.control.journal()) == 2

    def test_sends_its_etag(self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]) -> None:
        """GoogleCloudPlatform/python-docs-samples#332: without `last_etag`, a change between two requests is lost."""
        seen: list[Seen] = []

        def change_meanwhile(latest: Seen) -> bool:
            seen.append(latest)
            if len(seen) == 1:
                emulator.control.set("vm", PHASE, "two")
            return bool(latest.value == "two")

        assert wait(emulator, PHASE, change_meanwhile).met
        assert f"last_etag={seen[0].etag}" in emulator.control.journal()[1]["query"]

    def test_returns_when_it_is_removed(
        self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]
    ) -> None:
        waiting = in_background(wait, emulator, PHASE, lambda seen: not seen.found)
        eventually(hanging(emulator, PHASE))
        emulator.control.remove("vm", PHASE)
        assert waiting.result(timeout=30).met

    def test_can_be_a_directory(self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]) -> None:
        waiting = in_background(wait, emulator, "instance/attributes", lambda seen: seen.value.get("late") == "x")
        eventually(hanging(emulator, "instance/attributes/"))
        emulator.control.set("vm", LATE, "x")
        assert waiting.result(timeout=30).met


class TestMissingKey:
    @pytest.mark.parametrize(
        "path, around, value",
        [
            (LATE, "instance/attributes/", "x"),
            (STATE, GUEST_ATTRIBUTES, "x"),
            ("instance/upcoming-maintenance", "instance/", {"window_start_time": "2026-12-01T03:00:00Z"}),
        ],
    )
    def test_returns_as_soon_as_it_appears(
        self,
        emulator: EmulatorProcess,
        in_background: Callable[..., Future[Outcome]],
        path: str,
        around: str,
        value: Any,
    ) -> None:
        waiting = in_background(wait, emulator, path, is_present)
        eventually(hanging(emulator, around))
        emulator.control.set("vm", path, value)
        outcome = waiting.result(timeout=30)
        assert outcome.met
        assert not outcome.trouble

    def test_is_requested_again_after_an_outage(
        self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]
    ) -> None:
        waiting = in_background(wait, emulator, LATE, is_present)
        eventually(hanging(emulator, "instance/attributes/"))
        emulator.control.fault("503", instance="vm", path=LATE, count=2)
        emulator.control.set("vm", LATE, "x")
        assert waiting.result(timeout=30).met

    def test_is_found_if_it_appears_between_two_requests(self, emulator: EmulatorProcess) -> None:
        def come_meanwhile(seen: Seen) -> bool:
            if not seen.found:
                emulator.control.set("vm", LATE, "x")
            return seen.found

        assert wait(emulator, LATE, come_meanwhile).met
        assert not hanging(emulator, "instance/attributes/")()

    @pytest.mark.parametrize(
        "path, around",
        [
            ("instance/nothing/at/all", "instance/"),
            ("instance/disks/7/mode", "instance/disks/"),
            ("nothing/at/all", ""),
            ("nothing", ""),
        ],
    )
    def test_can_be_in_a_missing_directory(
        self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]], path: str, around: str
    ) -> None:
        looks: list[Seen] = []

        def is_second_look(seen: Seen) -> bool:
            looks.append(seen)
            return len(looks) == 2

        waiting = in_background(wait, emulator, path, is_second_look)
        eventually(hanging(emulator, around))
        emulator.control.set("vm", "instance/disks/0/type", "PERSISTENT-SSD")
        assert waiting.result(timeout=30).met
        assert looks == [Seen(False), Seen(False)]

    def test_that_is_denied_is_an_error(self, emulator: EmulatorProcess) -> None:
        with pytest.raises(MetadataForbidden, match="enable-guest-attributes"):
            wait(emulator, STATE, is_present, instance="silent")


class TestGuestAttributes:
    """Their queries are ten a minute, of all who read and write them on the VM."""

    @pytest.mark.parametrize("there", [[], ["other/key"], ["app/key"]], ids=str)
    def test_that_are_missing_need_two_requests_until_one_hangs(
        self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]], there: list[str]
    ) -> None:
        for name in there:
            emulator.control.set("vm", GUEST_ATTRIBUTES + name, "x")
        waiting = in_background(wait, emulator, STATE, is_present)
        eventually(hanging(emulator, GUEST_ATTRIBUTES))
        emulator.control.set("vm", STATE, "ready")
        outcome = waiting.result(timeout=30)
        assert outcome.seen is not None
        assert (outcome.seen.value, outcome.seen.etag is None) == ("ready", False)
        assert paths(emulator) == [GUEST_ATTRIBUTES, GUEST_ATTRIBUTES, STATE]

    def test_of_the_same_namespace_are_given_time_to_be_written(
        self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]
    ) -> None:
        clock = Clock()
        waiting = in_background(wait, emulator, STATE, is_present, instance="generous", timeout=300, time=clock.time)
        eventually(hanging(emulator, GUEST_ATTRIBUTES, instance="generous"))
        emulator.control.set("generous", f"{APP}version", "1")
        # From now on, changes of other namespaces are not seen.
        eventually(hanging(emulator, APP, instance="generous"))
        assert clock.now >= 1003
        emulator.control.set("generous", f"{GUEST_ATTRIBUTES}other/key", "x")
        emulator.control.set("generous", STATE, "ready")
        assert waiting.result(timeout=30).met
        assert paths(emulator) == [GUEST_ATTRIBUTES, GUEST_ATTRIBUTES, APP, APP, STATE]

    def test_are_found_after_their_namespace_was_deleted(
        self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]
    ) -> None:
        clock = Clock()
        emulator.control.set("generous", f"{APP}old", "x")
        waiting = in_background(wait, emulator, STATE, is_present, instance="generous", timeout=300, time=clock.time)
        eventually(hanging(emulator, GUEST_ATTRIBUTES, instance="generous"))
        emulator.control.set("generous", f"{APP}new", "x")
        eventually(hanging(emulator, APP, instance="generous"))
        emulator.control.clear_journal()
        emulator.control.remove("generous", APP)
        eventually(hanging(emulator, GUEST_ATTRIBUTES, instance="generous"))
        emulator.control.set("generous", STATE, "ready")
        assert waiting.result(timeout=30).met
        assert paths(emulator) == [GUEST_ATTRIBUTES, GUEST_ATTRIBUTES, STATE]

    def test_that_exist_are_watched_by_a_hanging_get(
        self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]
    ) -> None:
        emulator.control.set("vm", STATE, "starting")
        waiting = in_background(wait, emulator, STATE, lambda seen: seen.value == "ready")
        eventually(hanging(emulator, STATE))
        emulator.control.set("vm", f"{APP}version", "1")
        emulator.control.set("vm", STATE, "ready")
        assert waiting.result(timeout=30).met
        assert paths(emulator) == [GUEST_ATTRIBUTES, STATE, STATE]

    def test_that_are_deleted_and_written_again(
        self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]
    ) -> None:
        clock, looks = Clock(), []

        def has_come_back(seen: Seen) -> bool:
            looks.append(seen.value)
            if len(looks) == 1:
                emulator.control.remove("generous", STATE)
            return looks[1:] != [] and seen.found

        emulator.control.set("generous", STATE, "one")
        waiting = in_background(wait, emulator, STATE, has_come_back, instance="generous", timeout=300, time=clock.time)
        eventually(hanging(emulator, GUEST_ATTRIBUTES, instance="generous"))
        emulator.control.set("generous", STATE, "two")
        assert waiting.result(timeout=30).met
        assert looks[0] == "one"
        assert looks[-1] == "two"

    def test_are_requested_at_most_ten_times_a_minute(self, emulator: EmulatorProcess) -> None:
        clock, times = Clock(), []

        def change_meanwhile(seen: Seen) -> bool:
            times.append(clock.now)
            emulator.control.set("generous", STATE, f"{len(times)}")
            return len(times) == 25

        assert wait(
            emulator,
            STATE,
            change_meanwhile,
            instance="generous",
            timeout=300,
            time=clock.time,
        ).met
        assert all(later - earlier >= 60 for earlier, later in zip(times, times[10:], strict=False))

    def test_are_requested_at_the_allowed_rate_after_a_rejection(self, emulator: EmulatorProcess) -> None:
        clock = Clock()
        emulator.control.fault("429", instance="vm")
        outcome = wait(emulator, STATE, is_present, timeout=60, time=clock.time)
        assert not outcome.met
        assert outcome.seen is None
        assert "limits the rate (429)" in outcome.trouble
        assert outcome.elapsed == pytest.approx(60)
        # At the beginning, at the end, and every six seconds between them.
        assert len(paths(emulator)) == 11

    def test_end_if_only_hanging_requests_are_rejected(
        self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]
    ) -> None:
        waiting = in_background(wait, emulator, STATE, is_present)
        eventually(hanging(emulator, GUEST_ATTRIBUTES))
        emulator.control.fault("429", instance="vm", path=STATE)
        emulator.control.set("vm", STATE, "ready")
        assert waiting.result(timeout=30).seen == Seen(True, "ready", None)

    def test_can_be_a_namespace(self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]) -> None:
        waiting = in_background(wait, emulator, APP, is_present)
        eventually(hanging(emulator, GUEST_ATTRIBUTES))
        emulator.control.set("vm", STATE, "ready")
        outcome = waiting.result(timeout=30)
        assert outcome.seen is not None
        assert outcome.seen.value == {"state": "ready"}

    def test_that_are_missing_time_out(self, emulator: EmulatorProcess) -> None:
        assert wait(emulator, STATE, lambda seen: not seen.found, timeout=0).met
        emulator.control.set("vm", STATE, "ready")
        assert wait(emulator, STATE, is_present, timeout=0).met


class TestOutages:
    def test_are_survived_once_the_server_has_answered(self, emulator: EmulatorProcess) -> None:
        """aws/aws-node-termination-handler#916: a 503 ends the handler."""
        clock = Clock()

        def break_down(seen: Seen) -> bool:
            if seen.value == "one":
                emulator.control.fault("503", instance="vm", count=20)
                emulator.control.set("vm", PHASE, "two")
            return bool(seen.value == "two")

        outcome = wait(emulator, PHASE, break_down, timeout=300, time=clock.time)
        assert outcome.met
        assert len(clock.slept) == 20
        assert max(clock.slept) <= 1.5

    def test_last_until_the_time_is_over(self, emulator: EmulatorProcess) -> None:
        clock = Clock()

        def break_down(seen: Seen) -> bool:
            emulator.control.fault("reset", instance="vm")
            return False

        outcome = wait(emulator, PHASE, break_down, timeout=60, time=clock.time)
        assert not outcome.met
        assert outcome.elapsed == pytest.approx(60)
        assert outcome.seen is not None
        assert outcome.seen.value == "one"
        assert PHASE in outcome.trouble

    def test_before_the_first_answer_last_for_retry_for(self, emulator: EmulatorProcess) -> None:
        clock = Clock()
        emulator.control.fault("503", instance="vm")
        with pytest.raises(MetadataUnavailable, match="503"):
            wait(emulator, PHASE, never, timeout=300, retry_for=10, time=clock.time)
        assert 10 <= clock.now - 1000 <= 12
        clock = Clock()
        with pytest.raises(MetadataUnavailable, match="503"):
            wait(emulator, PHASE, never, timeout=300, retry_for=0, time=clock.time)
        assert clock.slept == []

    def test_with_a_silent_server_end_with_its_tries(self) -> None:
        clock = Clock()
        with RawServer(silent(clock)) as server, pytest.raises(MetadataUnavailable):
            wait_on(server, clock=clock, timeout=300)
        assert [b"wait_for_change" in request for request in server.requests] == [False]

    def test_with_a_missing_directory_are_survived(self) -> None:
        clock = Clock()
        with RawServer(answering(http_answer("404 Not Found", connection="close")), silent(clock)) as server:
            outcome = wait_on(server, clock=clock, timeout=100)
        assert outcome.seen == Seen(False)
        assert "instance/attributes/" in outcome.trouble
        assert not any(b"wait_for_change" in request for request in server.requests)
        assert len(server.requests) > 1

    def test_that_are_over_are_not_reported(self, emulator: EmulatorProcess) -> None:
        clock = Clock()
        emulator.control.fault("503", instance="vm", count=2)
        outcome = wait(emulator, PHASE, is_present, retry_for=10, time=clock.time)
        assert outcome.met
        assert outcome.trouble == ""


class TestTime:
    def test_of_zero_allows_one_request(self, emulator: EmulatorProcess) -> None:
        assert wait(emulator, PHASE, is_present, timeout=0).met
        assert not wait(emulator, PHASE, never, timeout=0).met
        assert len(emulator.control.journal()) == 2

    def test_left_is_sent_as_timeout_sec(self, emulator: EmulatorProcess) -> None:
        clock = Clock()
        seen: list[Seen] = []

        def take_time(latest: Seen) -> bool:
            seen.append(latest)
            clock.now += 288.5
            emulator.control.set("vm", PHASE, f"{len(seen)}")
            return len(seen) == 2

        wait(emulator, PHASE, take_time, timeout=300, time=clock.time)
        assert ["timeout_sec=12" in request["query"] for request in emulator.control.journal()] == [False, True]

    def test_can_be_unlimited(self, emulator: EmulatorProcess, in_background: Callable[..., Future[Outcome]]) -> None:
        waiting = in_background(wait, emulator, PHASE, lambda seen: seen.value == "two", timeout=math.inf)
        eventually(hanging(emulator, PHASE))
        emulator.control.set("vm", PHASE, "two")
        assert waiting.result(timeout=30).met
        assert "timeout_sec=60" in emulator.control.journal()[1]["query"]

    def test_is_not_spent_in_a_loop_on_a_server_without_etags(self) -> None:
        clock = Clock()
        with RawServer(answering(*[http_answer("200 OK", b'"one"')] * 100)) as server:
            outcome = wait_on(server, clock=clock, timeout=5)
        assert outcome.seen == Seen(True, "one")
        assert "without an ETag" in outcome.trouble

    def test_passes_between_answers_without_news(self, emulator: EmulatorProcess) -> None:
        clock = Clock()
        emulator.control.fault("etag-flap", instance="vm")
        outcome = wait(emulator, PHASE, never, timeout=10, time=clock.time)
        assert not outcome.met
        assert clock.slept == [1.0] * 10
        assert len(emulator.control.journal()) == 12


class TestChanged:
    def test_if_the_value_differs_from_the_first(self) -> None:
        changed = Changed()
        assert not changed(Seen(True, "one", "a"))
        assert not changed(Seen(True, "one", "b"))
        assert changed(Seen(True, "two", "c"))
        assert changed(Seen(False))

    def test_if_the_key_appears(self) -> None:
        changed = Changed()
        assert not changed(Seen(False))
        assert changed(Seen(True, None, "a"))

    def test_if_the_etag_differs_from_last_etag(self) -> None:
        changed = Changed("a")
        assert not changed(Seen(True, "one", "a"))
        assert not changed(Seen(True, "one"))
        assert changed(Seen(True, "one", "b"))
        assert changed(Seen(False))
