# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source guest, on a real event loop and against the emulator or a server that lies."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.drift import GRACE
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import Stop
from ansible_collections.gce.guest.plugins.module_utils._vm.watch import Heard
from ansible_collections.gce.guest.plugins.plugin_utils._event_source import guest_source
from ansible_collections.gce.guest.plugins.plugin_utils._event_source.guest_signals import GuestSignals, Known

from support.emulator import Control, EmulatorProcess, eventually
from support.event_source import FOLDER, PATIENCE, refusal, source
from support.raw_server import Peer, RawServer, answering, http_answer

FLEET: dict[str, Any] = {"project": "acme", "instances": [{"name": "web-1", "zone": "us-central1-a"}]}
WINDOW = {
    "type": "SCHEDULED",
    "maintenance_status": "PENDING",
    "can_reschedule": True,
    "window_start_time": "2050-12-01T02:00:00Z",
    "window_end_time": "2050-12-01T06:00:00Z",
}
EVENT = "instance/maintenance-event"
UPCOMING = "instance/upcoming-maintenance"
TOKEN = "instance/virtual-clock/drift-token"


@pytest.fixture(scope="module")
def running():
    with EmulatorProcess(FLEET) as emulator:
        yield emulator


@pytest.fixture
def emulator(running):
    running.control.reset()
    running.control.clear_faults()
    running.control.clear_journal()
    return running


@pytest.fixture
def args(emulator):
    return {"metadata_host": emulator.metadata["web-1"], "poll_timeout": 1}


async def watching(emulator: EmulatorProcess, count: int = len(guest_source.KEYS)) -> None:
    """Wait until so many keys are waited for."""
    for _number in range(3000):
        asked = {one["path"] for one in waits(emulator)}
        if len(asked) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"only these are waited for: {asked}")


def waits(emulator: EmulatorProcess, key: str = "") -> list[dict[str, Any]]:
    """The requests that wait for a change, oldest first."""
    requests = emulator.control.journal(instance="web-1", face="metadata")
    return [one for one in requests if "wait_for_change=true" in one["query"] and one["path"].endswith(key)]


def last_etag(request: dict[str, Any]) -> str:
    return parse_qs(str(request["query"]))["last_etag"][0]


async def test_a_live_migration_is_announced_and_over(collections_path, emulator, args) -> None:
    async with source(collections_path, "guest", args) as rulebook:
        await watching(emulator)
        emulator.control.set("web-1", EVENT, "MIGRATE_ON_HOST_MAINTENANCE")
        announced = await rulebook.change("announced", "migrate")
        emulator.control.set("web-1", EVENT, "NONE")
        await rulebook.change("over", "migrate")

    assert announced["value"] == "MIGRATE_ON_HOST_MAINTENANCE"
    assert announced["meta"] == {"hosts": ["web-1"]}
    assert (announced["instance"], announced["zone"], announced["project"]) == ("web-1", "us-central1-a", "acme")
    assert [one["change"] for one in rulebook.seen] == ["announced", "over"]


async def test_the_life_of_a_window(collections_path, emulator, args) -> None:
    later = {**WINDOW, "window_start_time": "2050-12-01T03:00:00Z"}
    async with source(collections_path, "guest", args) as rulebook:
        await watching(emulator)
        emulator.control.set("web-1", UPCOMING, WINDOW)
        announced = await rulebook.event()
        emulator.control.set("web-1", UPCOMING, later)
        moved = await rulebook.event()
        emulator.control.set("web-1", UPCOMING, {**later, "can_reschedule": False})
        changed = await rulebook.event()
        emulator.control.set("web-1", UPCOMING, {**later, "can_reschedule": False, "maintenance_status": "ONGOING"})
        begun = await rulebook.event()
        emulator.control.remove("web-1", UPCOMING)
        over = await rulebook.event()
        emulator.control.set("web-1", UPCOMING, WINDOW)
        await rulebook.event()
        emulator.control.remove("web-1", UPCOMING)
        cancelled = await rulebook.event()

    assert announced["window"]["window_start_time"] == "2050-12-01T02:00:00Z"
    assert announced["window"]["can_reschedule"] is True
    assert moved["window"]["window_start_time"] == "2050-12-01T03:00:00Z"
    assert changed["window"]["can_reschedule"] is False
    assert begun["value"] == "ONGOING"
    assert over["window"]["window_start_time"] == "2050-12-01T03:00:00Z"
    assert cancelled["window"]["window_start_time"] == "2050-12-01T02:00:00Z"
    changes = [one["change"] for one in rulebook.seen]
    assert changes == ["announced", "moved", "changed", "begun", "over", "announced", "cancelled"]
    assert {one["event"] for one in rulebook.seen} == {"window"}


async def test_a_window_that_moves_and_begins_at_once_is_two_events(collections_path, emulator, args) -> None:
    async with source(collections_path, "guest", args) as rulebook:
        await watching(emulator)
        emulator.control.set("web-1", UPCOMING, WINDOW)
        await rulebook.event()
        earlier = {**WINDOW, "window_start_time": "2050-12-01T01:00:00Z", "maintenance_status": "ONGOING"}
        emulator.control.set("web-1", UPCOMING, earlier)
        both = [await rulebook.event(), await rulebook.event()]

    assert [one["change"] for one in both] == ["moved", "begun"]
    assert {one["window"]["window_start_time"] for one in both} == {"2050-12-01T01:00:00Z"}


async def test_a_preemption(collections_path, emulator, args) -> None:
    async with source(collections_path, "guest", args) as rulebook:
        await watching(emulator)
        emulator.control.set("web-1", "instance/preempted", "TRUE")
        await rulebook.change("announced", "preempt")
        emulator.control.set("web-1", "instance/preempted", "FALSE")
        await rulebook.change("over", "preempt")


async def test_a_graceful_stop_is_announced_and_begins(collections_path, emulator, args) -> None:
    async with source(collections_path, "guest", args) as rulebook:
        await watching(emulator)
        emulator.control.scenario("web-1", "graceful-stop", graceful=600, shutdown=600)
        announced = await rulebook.event()
        api = Control(f"{emulator.compute}/compute/v1", {"Authorization": "Bearer ya29"})
        api.request("POST", "projects/acme/zones/us-central1-a/instances/web-1/stop?noGracefulShutdown=true")
        begun = await rulebook.event()

    assert [(one["change"], one["event"]) for one in rulebook.seen] == [("announced", "stop"), ("begun", "stop")]
    assert (announced["value"], begun["value"]) == ("PENDING_STOP", "STOPPING")
    assert announced["stop"]["target_state"] == "STOPPED"
    assert announced["stop"]["max_duration"] == 600
    assert announced["meta"] == {"hosts": ["web-1"]}


def test_a_stop_that_is_withdrawn_is_cancelled() -> None:
    key = "instance/shutdown-details/stop-state"
    signals = GuestSignals(Known(), report_initial=True)
    told = []
    for value in (None, Stop("PENDING_STOP"), Stop("PENDING_STOP", target_state="DELETED"), None):
        told += [one.change for one in signals.heard(Heard(key, value, 0.0), 0.0)]

    assert told == ["announced", "changed", "cancelled"]


async def test_a_migration_without_notice_is_missed(collections_path, emulator, args) -> None:
    emulator.control.set("web-1", TOKEN, "4711")
    async with source(collections_path, "guest", args) as rulebook:
        await watching(emulator)
        emulator.control.set("web-1", TOKEN, "4712")
        missed = await rulebook.event()

    assert (missed["change"], missed["event"], missed["initial"]) == ("found", "missed", False)
    assert missed["meta"] == {"hosts": ["web-1"]}


def test_an_announced_migration_is_not_missed() -> None:
    signals = GuestSignals(Known(), report_initial=True)
    announced = "MIGRATE_ON_HOST_MAINTENANCE"
    for clock, key, value in ((0.0, TOKEN, "1"), (0.0, EVENT, "NONE"), (1.0, TOKEN, "2"), (1.2, EVENT, announced)):
        signals.heard(Heard(key, value, clock), 0.0)

    assert signals.due(1.0 + GRACE, 0.0) == []


async def test_an_unknown_value_is_an_event(collections_path, emulator, args) -> None:
    async with source(collections_path, "guest", args) as rulebook:
        await watching(emulator)
        emulator.control.set("web-1", EVENT, "HIBERNATE_ON_HOST_MAINTENANCE")
        event = await rulebook.change("announced", "unknown")

    assert event["value"] == "HIBERNATE_ON_HOST_MAINTENANCE"


@pytest.mark.parametrize("initial", ["report", "changes"])
async def test_what_is_there_at_the_start(collections_path, emulator, args, initial) -> None:
    emulator.control.set("web-1", UPCOMING, WINDOW)
    async with source(collections_path, "guest", {**args, "initial": initial}) as rulebook:
        await watching(emulator)
        if initial == "report":
            assert (await rulebook.change("announced", "window"))["initial"] is True
        emulator.control.remove("web-1", UPCOMING)
        await rulebook.change("cancelled", "window")

    assert len(rulebook.seen) == (2 if initial == "report" else 1)


async def test_etags_and_values_outlive_a_restart(collections_path, emulator, args, tmp_path) -> None:
    path = tmp_path / "state.json"
    args = {**args, "state_file": str(path), "initial": "changes"}
    async with source(collections_path, "guest", args) as rulebook:
        await watching(emulator)
        emulator.control.set("web-1", UPCOMING, WINDOW)
        await rulebook.change("announced", "window")
        await until_state(path, UPCOMING)
        await until_state(path, EVENT)
    state = json.loads(path.read_text())
    emulator.control.clear_journal()
    async with source(collections_path, "guest", args) as rulebook:
        await watching(emulator)
        first = {key: last_etag(waits(emulator, key)[0]) for key in (EVENT, UPCOMING)}
        emulator.control.set("web-1", UPCOMING, {**WINDOW, "window_end_time": "2050-12-01T07:00:00Z"})
        moved = await rulebook.event()

    assert state["was_stopped"] is True
    assert first == {key: state["etags"][key] for key in (EVENT, UPCOMING)}
    assert "NONE" not in first.values()
    assert (moved["change"], moved["initial"], len(rulebook.seen)) == ("moved", False, 1)


async def test_without_a_state_file_the_first_request_has_no_etag(collections_path, emulator, args) -> None:
    async with source(collections_path, "guest", args):
        await watching(emulator)

    assert last_etag(waits(emulator, EVENT)[0]) == "NONE"


async def until_state(path: Path, key: str) -> None:
    for _number in range(3000):
        if path.exists() and json.loads(path.read_text())["values"].get(key) is not None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the state was not written")


async def test_a_change_while_the_rulebook_was_down_is_reported(collections_path, emulator, args, tmp_path) -> None:
    args = {**args, "state_file": str(tmp_path / "state.json"), "initial": "changes"}
    emulator.control.set("web-1", UPCOMING, WINDOW)
    async with source(collections_path, "guest", args):
        await until_state(tmp_path / "state.json", UPCOMING)
    emulator.control.remove("web-1", UPCOMING)
    async with source(collections_path, "guest", args) as rulebook:
        assert (await rulebook.event())["change"] == "cancelled"


async def test_a_boot_without_an_orderly_end_is_a_restart(emulator, args, tmp_path) -> None:
    path = tmp_path / "state.json"
    args = {**args, "state_file": str(path)}
    queue: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.ensure_future(guest_source.run(queue, args, boot_id="boot-1"))
    await until_state(path, EVENT)
    crashed = path.read_text()
    task.cancel()
    await asyncio.wait([task])
    path.write_text(crashed)
    task = asyncio.ensure_future(guest_source.run(queue, args, boot_id="boot-2"))
    event = await asyncio.wait_for(queue.get(), 30)
    task.cancel()
    await asyncio.wait([task])

    assert (event["change"], event["event"]) == ("found", "restart")


# Like ansible-rulebook, whose Java virtual machine replaces the handler that was set before.
ENDS_ON_SIGTERM = """
import asyncio, ctypes, json, runpy, signal, sys

def end(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, end)
ctypes.CDLL(None).signal(signal.SIGTERM, 0)
main = runpy.run_path(sys.argv[1])["main"]
try:
    asyncio.run(main(asyncio.Queue(), json.loads(sys.argv[2])))
except KeyboardInterrupt:
    pass
"""


async def test_a_rulebook_that_is_terminated_ends_in_order(collections_path, emulator, args, tmp_path) -> None:
    path = tmp_path / "state.json"
    arguments = [str(collections_path / FOLDER / "guest.py"), json.dumps({**args, "state_file": str(path)})]
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ENDS_ON_SIGTERM, *arguments)
    await until_state(path, EVENT)
    process.terminate()

    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
    assert json.loads(path.read_text())["was_stopped"] is True


async def test_a_broken_state_file_is_a_first_start(collections_path, emulator, args, tmp_path) -> None:
    (tmp_path / "state.json").write_text('{"format": 1, "values": [')
    args = {**args, "state_file": str(tmp_path / "state.json")}
    async with source(collections_path, "guest", args) as rulebook:
        await watching(emulator)
        emulator.control.set("web-1", EVENT, "MIGRATE_ON_HOST_MAINTENANCE")
        await rulebook.change("announced", "migrate")


async def test_it_ends_at_once_and_leaves_no_request_behind(collections_path) -> None:
    asked = threading.Semaphore(0)

    def hang(peer: Peer) -> None:
        peer.read_request()
        asked.release()
        peer.hang()

    with RawServer(hang) as raw:
        async with source(collections_path, "guest", {"metadata_host": raw.host, "poll_timeout": 3600}):
            await asyncio.to_thread(asked.acquire)
        assert await asyncio.to_thread(raw.ends.get, True, 20) in ("FIN", "RST")


async def test_a_server_that_lies_is_unknown_and_does_not_end_it(collections_path, monkeypatch, caplog) -> None:
    page = http_answer("200 OK", b"<html>Sign in</html>", content_type="text/html", etag="x")
    silence = 0.0
    times = SimpleNamespace(monotonic=lambda: silence, time=time.time)
    monkeypatch.setattr(guest_source, "time", times)
    with RawServer(answering(page, page, page)) as raw:
        args = {"metadata_host": raw.host, "unreachable_after": 0.5}
        async with source(collections_path, "guest", args) as rulebook:
            # Only then is the reason known.
            await asyncio.to_thread(eventually, lambda: "metadata server" in caplog.text, what="the first answer")
            silence = 0.5
            event = await rulebook.change("unreachable", "unknown")
            assert not rulebook.task.done()
    assert "metadata server" in event["reason"]
    assert event["meta"] == {}


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"metadata_hosts": "x"}, "metadata_hosts"),
        ({"metadata_host": "http://user@x/y"}, "metadata_host"),
        ({"poll_timeout": 0}, "poll_timeout"),
        ({"poll_timeout": "often"}, "whole number"),
        ({"poll_timeout": True}, "whole number"),
        ({"initial": "never"}, "report, changes"),
        ({"state_file": "/nonexistent/state.json"}, "state_file"),
        ({"host_pattern": "web-1"}, "host_pattern"),
        ({"host_pattern": "{name}{nme}"}, "host_pattern"),
        ({"unreachable_after": -1}, "unreachable_after"),
        ({"unreachable_after": "nan"}, "unreachable_after"),
    ],
)
async def test_a_misconfiguration_is_refused(collections_path, wrong, words) -> None:
    sentence = await refusal(collections_path, "guest", wrong)

    assert words in sentence
    assert sentence.endswith(".")
