# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""wait_for_change, last_etag and timeout_sec."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.emulator import EmulatorProcess, eventually
from support.wire import Connection, Reply, ask

EVENT = "instance/maintenance-event"


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    with EmulatorProcess({"instances": [{"name": "web-1", "upcoming_maintenance_none": "NONE"}]}) as process:
        yield process


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    eventually(lambda: hanging_gets(process) == 0, what="the end of the last test's connections")
    process.control.reset()
    return process


class Hanging:
    """A GET, once it hangs."""

    def __init__(self, emulator: EmulatorProcess, target: str) -> None:
        before = emulator.control.instance("web-1")["hanging_gets"]
        self.connection = Connection(emulator.metadata["web-1"])
        self.connection.send(target)
        eventually(lambda: emulator.control.instance("web-1")["hanging_gets"] == before + 1, what="the GET hangs")

    def answer(self) -> Reply:
        with self.connection:
            return self.connection.receive()


def hanging_gets(emulator: EmulatorProcess) -> int:
    count: int = emulator.control.instance("web-1")["hanging_gets"]
    return count


@pytest.mark.parametrize("wish", ["true", "True", "1", "yes", "on"])
def test_a_change_is_answered_with_the_new_value(emulator: EmulatorProcess, wish: str) -> None:
    get = Hanging(emulator, f"{EVENT}?wait_for_change={wish}")
    emulator.control.set("web-1", EVENT, "MIGRATE_ON_HOST_MAINTENANCE")
    reply = get.answer()
    assert (reply.status, reply.text) == (200, "MIGRATE_ON_HOST_MAINTENANCE")
    assert reply.etag == ask(emulator.metadata["web-1"], EVENT).etag


@pytest.mark.parametrize("last_etag", ["0", "NONE", "", "411261ca6c9e654e"])
def test_another_last_etag_is_answered_at_once(emulator: EmulatorProcess, last_etag: str) -> None:
    reply = ask(emulator.metadata["web-1"], f"{EVENT}?wait_for_change=true&last_etag={last_etag}")
    assert (reply.status, reply.text) == (200, "NONE")


def test_last_etag_catches_a_change_between_two_requests(emulator: EmulatorProcess) -> None:
    """Without last_etag the change is lost (GoogleCloudPlatform/python-docs-samples#270, #332)."""
    address = emulator.metadata["web-1"]
    etag = ask(address, EVENT).etag
    emulator.control.set("web-1", EVENT, "MIGRATE_ON_HOST_MAINTENANCE")
    reply = ask(address, f"{EVENT}?wait_for_change=true&last_etag={etag}")
    assert reply.text == "MIGRATE_ON_HOST_MAINTENANCE"
    get = Hanging(emulator, f"{EVENT}?wait_for_change=true&last_etag={reply.etag}")
    emulator.control.set("web-1", EVENT, "NONE")
    back = get.answer()
    assert (back.text, back.etag) == ("NONE", etag)


def test_hanging_get_returns_a_value_that_reverts_at_once(emulator: EmulatorProcess) -> None:
    get = Hanging(emulator, f"{EVENT}?wait_for_change=true")
    emulator.control.set("web-1", EVENT, "MIGRATE_ON_HOST_MAINTENANCE")
    emulator.control.set("web-1", EVENT, "NONE")
    assert get.answer().text == "MIGRATE_ON_HOST_MAINTENANCE"


@pytest.mark.parametrize("timeout", ["0", "1"])
def test_the_timeout_answers_200_with_the_same_value(emulator: EmulatorProcess, timeout: str) -> None:
    address = emulator.metadata["web-1"]
    etag = ask(address, EVENT).etag
    reply = ask(address, f"{EVENT}?wait_for_change=true&last_etag={etag}&timeout_sec={timeout}")
    assert (reply.status, reply.text, reply.etag) == (200, "NONE", etag)
    assert hanging_gets(emulator) == 0


def test_compressed_time_does_not_shorten_timeout_sec(emulator: EmulatorProcess) -> None:
    emulator.control.speed(1e6)
    get = Hanging(emulator, f"{EVENT}?wait_for_change=true&timeout_sec=3600")
    emulator.control.set("web-1", "instance/attributes/other", "x")
    assert hanging_gets(emulator) == 1
    get.connection.close()


def test_a_key_removed_during_a_wait_is_answered_404(emulator: EmulatorProcess) -> None:
    emulator.control.set("web-1", "instance/attributes/gone", "x")
    get = Hanging(emulator, "instance/attributes/gone?wait_for_change=true")
    emulator.control.remove("web-1", "instance/attributes/gone")
    assert get.answer().status == 404


def test_removing_a_directory_answers_waits_below_it(emulator: EmulatorProcess) -> None:
    emulator.control.set("web-1", "instance/extra/deep/key", "x")
    leaf = Hanging(emulator, "instance/extra/deep/key?wait_for_change=true")
    tree = Hanging(emulator, "instance/extra/?wait_for_change=true&recursive=true")
    emulator.control.remove("web-1", "instance/extra")
    assert leaf.answer().status == 404
    assert tree.answer().status == 404


@pytest.mark.parametrize("path", ["", "instance/", "instance/attributes/"])
@pytest.mark.parametrize("alt", ["", "&alt=json", "&alt=text"])
def test_a_change_answers_recursive_waits_above_it(emulator: EmulatorProcess, path: str, alt: str) -> None:
    get = Hanging(emulator, f"{path}?wait_for_change=true&recursive=true{alt}")
    emulator.control.set("web-1", "instance/attributes/colour", "blue")
    reply = get.answer()
    assert reply.status == 200
    assert "blue" in reply.text


def test_change_wakes_only_its_waiters(emulator: EmulatorProcess) -> None:
    event = Hanging(emulator, f"{EVENT}?wait_for_change=true")
    project = Hanging(emulator, "project/?wait_for_change=true&recursive=true")
    emulator.control.set("web-1", "instance/attributes/colour", "blue")
    assert hanging_gets(emulator) == 2
    event.connection.close()
    project.connection.close()


def test_setting_the_same_value_wakes_no_waiter(emulator: EmulatorProcess) -> None:
    get = Hanging(emulator, f"{EVENT}?wait_for_change=true")
    emulator.control.set("web-1", EVENT, "NONE")
    assert hanging_gets(emulator) == 1
    get.connection.close()


def test_project_metadata_answers_hanging_gets(emulator: EmulatorProcess) -> None:
    get = Hanging(emulator, "project/attributes/?wait_for_change=true&recursive=true")
    emulator.control.set("web-1", "project/attributes/season", "winter")
    assert get.answer().json == {"season": "winter"}


def test_an_announced_window_answers_hanging_gets(emulator: EmulatorProcess) -> None:
    get = Hanging(emulator, "instance/upcoming-maintenance?wait_for_change=true&alt=json")
    emulator.control.scenario("web-1", "window-announced")
    assert get.answer().json["maintenance_status"] == "PENDING"


def test_a_requested_stop_answers_hanging_gets(emulator: EmulatorProcess) -> None:
    """As Google's guest agent waits for it."""
    path = "instance/shutdown-details/stop-state"
    etag = ask(emulator.metadata["web-1"], path).etag
    get = Hanging(emulator, f"{path}?wait_for_change=true&last_etag={etag}")
    whole = Hanging(emulator, "instance/shutdown-details/?recursive=true&wait_for_change=true")
    emulator.control.scenario("web-1", "graceful-stop", graceful=3600)
    assert get.answer().text == "PENDING_STOP"
    # The keys change together.
    details = whole.answer().json
    assert (details["stopState"], details["targetState"]) == ("PENDING_STOP", "STOPPED")
    assert int(details["maxDuration"]) > 0
    assert details["requestTimestamp"].endswith("Z")


def test_disconnected_client_is_removed(emulator: EmulatorProcess) -> None:
    """Clients that leak hanging GETs are refused in the end (googleapis/google-cloud-go#11035)."""
    get = Hanging(emulator, f"{EVENT}?wait_for_change=true")
    get.connection.close()
    eventually(lambda: hanging_gets(emulator) == 0, what="the GET is let go")


def test_a_connection_is_reusable_after_a_wait(emulator: EmulatorProcess) -> None:
    get = Hanging(emulator, f"{EVENT}?wait_for_change=true")
    for value in ("A", "B", "A"):
        emulator.control.set("web-1", EVENT, value)
        reply = get.connection.receive()
        assert reply.text == value
        get.connection.send(f"{EVENT}?wait_for_change=true&last_etag={reply.etag}")
        eventually(lambda: hanging_gets(emulator) == 1, what="the GET hangs")
    get.connection.close()


def test_a_wait_for_a_missing_key_is_answered_404_at_once(emulator: EmulatorProcess) -> None:
    assert ask(emulator.metadata["web-1"], "instance/attributes/nope?wait_for_change=true").status == 404


def test_journal_shows_hanging_and_answered_requests(emulator: EmulatorProcess) -> None:
    get = Hanging(emulator, f"{EVENT}?wait_for_change=true")
    (entry,) = emulator.control.journal(path=EVENT)
    assert (entry["method"], entry["query"], entry["status"]) == ("GET", "wait_for_change=true", None)
    emulator.control.set("web-1", EVENT, "X")
    get.answer()
    (entry,) = emulator.control.journal(path=EVENT)
    assert entry["status"] == 200
    assert entry["answered_at"] >= entry["at"]
