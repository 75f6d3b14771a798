# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest attributes on the metadata server: values, limits, budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gce_emulator.state.guest_attributes import Budget
from support.emulator import EmulatorProcess
from support.emulator_thread import EmulatorThread
from support.wire import Connection, Reply, ask

ROOT = "instance/guest-attributes/"
ENABLED = {"enable-guest-attributes": "TRUE"}
FLEET: dict[str, Any] = {
    "instances": [
        {"name": "free", "attributes": ENABLED, "guest_attributes_over_budget": "allow"},
        {"name": "strict", "attributes": ENABLED},
        {"name": "lossy", "attributes": ENABLED, "guest_attributes_over_budget": "drop"},
        {"name": "off"},
    ]
}


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(FLEET) as process:
        yield process


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    process.control.reset()
    return process


@pytest.fixture
def within_a_second() -> Iterator[EmulatorThread]:
    """An emulator that counts all queries as of the same moment, however long they take."""
    with EmulatorThread(FLEET, lambda: 1000.0) as emulator:
        yield emulator


def put(emulator: EmulatorProcess | EmulatorThread, instance: str, path: str, value: bytes) -> Reply:
    return ask(emulator.metadata[instance], ROOT + path, method="PUT", body=value)


def get(emulator: EmulatorProcess | EmulatorThread, instance: str, path: str) -> Reply:
    return ask(emulator.metadata[instance], ROOT + path)


def delete(emulator: EmulatorProcess, instance: str, path: str) -> Reply:
    return ask(emulator.metadata[instance], ROOT + path, method="DELETE")


def test_a_value_is_written_read_and_deleted(emulator: EmulatorProcess) -> None:
    reply = put(emulator, "free", "ns/key", "wärts\n".encode())
    assert (reply.status, reply.body) == (200, b"")
    assert get(emulator, "free", "ns/key").text == "wärts\n"
    assert get(emulator, "free", "").text == "ns/\n"
    assert get(emulator, "free", "ns/").text == "key\n"
    assert get(emulator, "free", "ns/?recursive=true").json == {"key": "wärts\n"}
    assert delete(emulator, "free", "ns/key").status == 200
    assert get(emulator, "free", "ns/key").status == 404
    assert get(emulator, "free", "").text == ""
    assert delete(emulator, "free", "ns/key").status == 404


def test_bytes_that_are_not_text_are_kept(emulator: EmulatorProcess) -> None:
    value = bytes(range(256))
    assert put(emulator, "free", "ns/bytes", value).status == 200
    assert get(emulator, "free", "ns/bytes").body == value


def test_names_of_users_are_kept_in_json(emulator: EmulatorProcess) -> None:
    put(emulator, "free", "my-ns/my-key", b"x")
    content = ask(emulator.metadata["free"], "instance/?recursive=true").json
    assert content["guestAttributes"] == {"my-ns": {"my-key": "x"}}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_disabled_is_403_with_the_documented_text(emulator: EmulatorProcess, method: str) -> None:
    """Writers have to check the status: 403 also comes right after enabling (GoogleCloudPlatform/osconfig#411)."""
    reply = ask(emulator.metadata["off"], ROOT + "ns/key", method=method, body=b"x" if method == "PUT" else b"")
    assert (reply.status, reply.text) == (403, "Guest attributes endpoint access is disabled.")
    assert reply.header("Metadata-Flavor") == "Google"


@pytest.mark.parametrize(
    "project, instance, status",
    [("TRUE", None, 200), ("true", None, 200), ("TRUE", "FALSE", 403), ("FALSE", "TRUE", 200), (None, "yes", 200)],
)
def test_the_instance_overrides_the_project(
    emulator: EmulatorProcess, project: str | None, instance: str | None, status: int
) -> None:
    key = "attributes/enable-guest-attributes"
    if project is not None:
        emulator.control.set("off", f"project/{key}", project)
    if instance is not None:
        emulator.control.set("off", f"instance/{key}", instance)
    assert put(emulator, "off", "ns/key", b"x").status == status


@pytest.mark.parametrize("path", ["ns", "ns/", "ns/a/b", "n.s/key", "ns/k%20y", "ns/" + "k" * 129])
def test_invalid_names_are_refused(emulator: EmulatorProcess, path: str) -> None:
    assert put(emulator, "free", path, b"x").status == 400


def test_a_value_has_at_most_256_kib(emulator: EmulatorProcess) -> None:
    assert put(emulator, "free", "ns/big", b"x" * 262144).status == 200
    assert put(emulator, "free", "ns/bigger", b"x" * 262145).status == 400
    assert get(emulator, "free", "ns/bigger").status == 404


def test_other_methods_and_a_missing_header_are_refused(emulator: EmulatorProcess) -> None:
    assert ask(emulator.metadata["free"], ROOT + "ns/key", method="POST").status == 405
    assert ask(emulator.metadata["free"], ROOT + "ns/key", method="PUT", headers={}, body=b"x").status == 403


def test_queries_over_the_budget_are_answered_429(within_a_second: EmulatorThread) -> None:
    statuses = [put(within_a_second, "strict", f"ns/key{number}", b"x").status for number in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert get(within_a_second, "strict", "ns/key0").status == 429
    assert sorted(within_a_second.instance("strict").guest_attributes["ns"]) == ["key0", "key1", "key2"]


def test_queries_over_the_budget_may_be_dropped_silently(within_a_second: EmulatorThread) -> None:
    statuses = [put(within_a_second, "lossy", f"ns/key{number}", b"x").status for number in range(4)]
    assert statuses == [200, 200, 200, 200]
    assert sorted(within_a_second.instance("lossy").guest_attributes["ns"]) == ["key0", "key1", "key2"]


def test_the_budget_is_3_in_a_second_and_10_in_a_minute() -> None:
    now = 0.0
    budget = Budget(lambda: now)
    allowed = 0
    for _unused in range(20):
        allowed += sum(budget.spend() for _unused in range(5))
        now += 1.0
    assert allowed == 10
    now = 61.5
    assert [budget.spend() for _unused in range(4)] == [True, True, True, False]


def test_a_chunked_body_is_accepted(emulator: EmulatorProcess) -> None:
    with Connection(emulator.metadata["free"]) as connection:
        connection.send_raw(
            b"PUT /computeMetadata/v1/instance/guest-attributes/ns/key HTTP/1.1\r\nHost: x\r\n"
            b"Metadata-Flavor: Google\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert connection.receive().status == 200
    assert get(emulator, "free", "ns/key").text == "abcde"


def test_a_guest_attribute_answers_hanging_gets(emulator: EmulatorProcess) -> None:
    put(emulator, "free", "ns/key", b"a")
    etag = get(emulator, "free", "ns/key").etag
    put(emulator, "free", "ns/key", b"b")
    reply = ask(emulator.metadata["free"], f"{ROOT}ns/key?wait_for_change=true&last_etag={etag}")
    assert reply.text == "b"


def test_expect_100_continue(emulator: EmulatorProcess) -> None:
    with Connection(emulator.metadata["free"]) as connection:
        connection.send_raw(
            b"PUT /computeMetadata/v1/instance/guest-attributes/ns/key HTTP/1.1\r\nHost: x\r\n"
            b"Metadata-Flavor: Google\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.read_line() == "HTTP/1.1 100 Continue"
        assert connection.read_line() == ""
        connection.send_raw(b"abc")
        assert connection.receive().status == 200
    assert get(emulator, "free", "ns/key").text == "abc"
