# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outages and faults of the metadata server."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from maintenance_handler._vm.watch import LEAST_TURN, Failed, Heard, Watcher
from support.handler import HandlerProcess, task
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]

PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


def until_polled(handler: HandlerProcess, vm: Vm, times: int) -> None:
    handler.until(lambda: len(vm.requests("preempted")) >= times, f"{times} polls of a key that nothing happens to")


def until_started(handler: HandlerProcess) -> None:
    handler.until(lambda: handler.status()["reach"], "the answers to what it asks at its start")


def until_seeing(handler: HandlerProcess) -> None:
    handler.until(lambda: handler.status()["outages"] == [], "the end of the outage")


def until_one_hanging_get_a_key(handler: HandlerProcess, vm: Vm) -> None:
    handler.until(lambda: vm.hanging_gets() == len(handler.watched_keys()), "one hanging GET a key")


def test_no_announcement_is_an_answer_in_each_form(
    vms_without_window: dict[str, Vm], make_handler: MakeHandler
) -> None:
    """A 503 with "no notifications have been received yet" means no window. Clients take it for an outage
    and retried hard."""
    began = time.monotonic()
    watched = [
        (vm, make_handler(task("lb"), metadata_host=vm.host, poll_timeout=1).start())
        for vm in vms_without_window.values()
    ]
    for vm, handler in watched:
        until_polled(handler, vm, 3)
        # At the same calm pace, which is one a second after the first, and not seen as a failure.
        assert len(vm.requests("upcoming-maintenance")) <= 2 + time.monotonic() - began
        assert handler.command("status").returncode == 0
        assert handler.status()["outages"] == []
        assert " warning " not in handler.log()
        vm.announce("window")
    for vm, handler in watched:
        handler.until_state("drained")
        vm.withdraw("window")
    for _unused, handler in watched:
        handler.until_over()
        assert handler.trace() == ["drain lb", "restore lb"]


def test_survives_all_kinds_of_outages_and_reacts_at_their_end(
    make_vm: Callable[[], Vm], make_handler: MakeHandler
) -> None:
    """503 from the metadata server ended the handler (aws/aws-node-termination-handler#916).

    A hanging GET never ends on a half-open connection (GoogleCloudPlatform/compute-image-packages#94).
    Abandoned hanging GETs added up until the server refused (googleapis/google-cloud-go#11035).
    An HTML body with status 200 broke the agent (GoogleCloudPlatform/guest-agent#320).
    """
    # All at once: the deadline of a GET that hangs is 11 s here, and the others have no need of their own.
    kinds = ("503", "429", "html", "truncate", "garbage", "reset", "refuse", "hang")
    watched = {kind: make_vm() for kind in kinds}
    handlers = {
        kind: make_handler(task("lb"), metadata_host=vm.host, poll_timeout=1).start() for kind, vm in watched.items()
    }
    # None of the questions of their start is left, which would take the place of one that is to hang.
    for handler in handlers.values():
        until_started(handler)
    # The next question for each key hangs for ever; all other faults last until they are healed.
    faults = {
        kind: vm.fault(kind, count=len(handlers[kind].watched_keys()) if kind == "hang" else None)
        for kind, vm in watched.items()
    }
    for kind, vm in watched.items():
        handler = handlers[kind]
        if kind == "hang":
            # Over at the deadline: the next question is answered.
            handler.until_logged("there was no complete answer within 11 s")
        else:
            handler.until_blind()
        vm.announce("migrate")
        if kind != "hang":
            vm.heal(faults[kind])
    for kind, handler in handlers.items():
        handler.until_state("drained")
        # No answer in the meantime was taken as a value.
        (signal,) = handler.signals()
        assert signal["value"] == "MIGRATE_ON_HOST_MAINTENANCE"
        until_seeing(handler)
        handler.until_logged("instance/maintenance-event is answered again, after")
        assert handler.log().count("instance/maintenance-event is answered again, after") == 1
        vm = watched[kind]
        until_one_hanging_get_a_key(handler, watched[kind])


def test_outage_is_logged_once(vm: Vm, make_handler: MakeHandler) -> None:
    vm.fault("503", path="instance/preempted")
    handler = make_handler(task("lb"), poll_timeout=1).start(ready=False)
    handler.until(lambda: len(vm.requests("preempted")) > 3, "four tries")
    handler.until_logged("instance/preempted")
    assert handler.log().count("instance/preempted") == 1


def test_survives_an_outage_at_its_start(vm: Vm, make_handler: MakeHandler) -> None:
    fault = vm.fault("refuse")
    handler = make_handler(task("lb")).start(ready=False)
    handler.until_blind()
    result = handler.command("status")
    assert result.returncode == 1
    assert "no answer for instance/maintenance-event yet" in result.stdout
    vm.announce("terminate")
    vm.heal(fault)
    handler.until_state("drained")


def test_drains_for_one_key_during_an_outage_of_another(vm: Vm, make_handler: MakeHandler) -> None:
    vm.fault("503", path="instance/upcoming-maintenance")
    handler = make_handler(task("lb")).start(ready=False)
    handler.until(lambda: vm.hanging_gets() == len(handler.watched_keys()) - 1, "a hanging GET for each other key")
    vm.announce("preempt")
    handler.until_state("drained")
    vm.withdraw("preempt")
    handler.until_over()


def test_missing_key_is_not_an_outage(vm: Vm, make_handler: MakeHandler) -> None:
    vm.control.remove(vm.name, "instance/preempted")
    handler = make_handler(task("lb")).start()
    assert handler.status()["outages"] == []
    assert handler.command("status").returncode == 0


def test_changing_etag_makes_no_busy_loop(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb"), poll_timeout=1).start()
    vm.fault("etag-flap", path="instance/maintenance-event")
    until_polled(handler, vm, len(vm.requests("preempted")) + 2)
    assert len(vm.requests("maintenance-event")) < 12
    # And it is not an event.
    assert handler.state() == "idle"
    vm.announce("migrate")
    handler.until_state("drained")


def test_proxies_of_the_environment_are_not_used(vm: Vm, make_handler: MakeHandler) -> None:
    """Proxies of the environment must not be used for the metadata server."""
    handler = make_handler(task("lb"), environ=dict.fromkeys(PROXIES, "http://127.0.0.1:9")).start()
    vm.announce("migrate")
    handler.until_state("drained")


@pytest.fixture
def make_watcher(vm: Vm) -> Iterator[Callable[..., Watcher]]:
    """Makes watchers that the test turns by hand, and that never sleep."""
    made: list[Watcher] = []

    def make(key: str, post: Callable[[Any], None], clock: Callable[[], float] = time.monotonic) -> Watcher:
        made.append(Watcher(f"instance/{key}", vm.host, post, poll_timeout=1, clock=clock, sleep=lambda _unused: None))
        return made[-1]

    yield make
    for watcher in made:
        # In the handler a watcher's connection ends with the process.
        watcher._server.close()


def test_memory_is_constant_over_ten_thousand_polls(vm: Vm, make_watcher: Callable[..., Watcher]) -> None:
    """Memory leaked over days (aws/aws-node-termination-handler#121)."""
    heard: list[Heard | Failed] = []
    watcher = make_watcher("maintenance-event", heard.append)
    # Every answer comes at once, as the etag is new each time.
    vm.fault("etag-flap", path="instance/maintenance-event")

    def usage(polls: int) -> tuple[int, int, int]:
        for _unused in range(polls):
            watcher.turn()
        answers = sum(isinstance(one, Heard) for one in heard)
        assert answers == polls
        heard.clear()
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(gc.get_objects())

    fds, threads, objects = usage(500)
    fds_after, threads_after, objects_after = usage(9500)
    assert fds_after == fds
    assert threads_after == threads
    assert abs(objects_after - objects) < 100


def test_failures_leak_no_descriptors_or_threads(vm: Vm, make_watcher: Callable[..., Watcher]) -> None:
    """Memory leaked over days (aws/aws-node-termination-handler#121)."""
    failures: list[Heard | Failed] = []
    watcher = make_watcher("maintenance-event", failures.append)
    watcher.turn()
    before = len(os.listdir("/proc/self/fd"))
    vm.fault("garbage", count=100)
    vm.fault("html", count=100)
    for _unused in range(201):
        watcher.turn()
    assert sum(isinstance(one, Failed) for one in failures) == 200
    assert len(os.listdir("/proc/self/fd")) == before


def test_pauses_between_requests_without_news(vm: Vm, make_watcher: Callable[..., Watcher]) -> None:
    watcher = make_watcher("maintenance-event", lambda _unused: None, clock=lambda: 0.0)
    at_news = watcher.turn()
    vm.fault("etag-flap", path="instance/maintenance-event")
    assert watcher.turn() == LEAST_TURN
    vm.announce("migrate")
    # News are followed by the next question soon: more of them may come.
    assert watcher.turn() == at_news < LEAST_TURN


def test_watcher_reports_the_end_of_each_request(vm: Vm, make_watcher: Callable[..., Watcher]) -> None:
    """The watchdog depends on it. A failed request counts as well."""
    times = iter(range(1, 1000))
    messages: list[Any] = []
    watcher = make_watcher("preempted", messages.append, clock=lambda: float(next(times)))
    created = watcher.last_turn
    vm.fault("503", count=2)
    for _unused in range(3):
        watcher.turn()
    assert [type(message) for message in messages] == [Failed, Failed, Heard]
    assert created < messages[0].clock < messages[1].clock < messages[2].clock == watcher.last_turn
