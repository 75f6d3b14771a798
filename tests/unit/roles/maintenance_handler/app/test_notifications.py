# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real handler notifies real receivers, also across crashes and reboots."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.core.notices import KINDS
from support.emulator import eventually
from support.handler import HandlerProcess, task
from support.raw_server import RawServer
from support.receiver import Receiver
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def target(receiver: Receiver, name: str = "chat", **fields: Any) -> dict[str, Any]:
    return {"name": name, "url": f"{receiver.url}/hunter2", "on": list(KINDS), **fields}


def shown(handler: HandlerProcess, name: str = "chat") -> dict[str, Any]:
    return dict(handler.status().get("notifications", {}).get(name, {}))


def until_kinds(handler: HandlerProcess, receiver: Receiver, *kinds: str) -> None:
    handler.until(lambda: receiver.kinds() == list(kinds), f"the notifications {kinds}")


def until_frozen(*pids: int) -> None:
    """Stop processes, which the end of the test kills."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    threads = [path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    eventually(lambda: all(" T " in path.read_text() for path in threads), what="the end of all threads' turns")


def notifiers(handler: HandlerProcess) -> list[int]:
    """The notifiers that this handler or an earlier one has started."""
    found = []
    for pid in handler.descendants():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"/notifier") for word in command):
            found.append(pid)
    return found


def test_receiver_is_notified_of_an_event_in_order(vm: Vm, make_handler: MakeHandler, receiver: Receiver) -> None:
    handler = make_handler(task("lb"), notify=[target(receiver)]).start()
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    incident = handler.until_over()
    until_kinds(handler, receiver, "noticed", "draining", "drained", "restored")
    assert {body["incident"] for body in receiver.bodies} == {incident["id"]}
    first = receiver.bodies[0]
    assert (first["instance"], first["event"], first["rehearsal"]) == (vm.name, "migrate", False)
    assert [body["resolves"] for body in receiver.bodies] == [False, False, False, True]
    assert len({body["id"] for body in receiver.bodies}) == 4
    handler.until(lambda: shown(handler).get("sent") == 4, "the status")
    assert shown(handler) == {"queued": 0, "sent": 4, "failed": 0, "problem": ""}
    assert "notify chat: 4 sent, 0 queued" in handler.command("status").stdout
    # It ends when there is nothing left to send.
    handler.until(lambda: not notifiers(handler), "the end of the notifier")


def test_failures_are_notified(vm: Vm, make_handler: MakeHandler, receiver: Receiver) -> None:
    broken = task("db", drain="exit 3", restore="exit 4", on_failure="continue")
    # Retried after 600 s, so that nothing runs meanwhile.
    handler = make_handler(broken, notify=[target(receiver)], restore_retry_for=0).start()
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    handler.until_state("not restored")
    assert handler.command("acknowledge").returncode == 0
    handler.until_over()
    until_kinds(handler, receiver, "noticed", "draining", "failed", "drained", "restore_failed", "restored")
    texts = {body["kind"]: body["text"] for body in receiver.bodies}
    assert "'db'" in texts["failed"]
    assert "acknowledged" in texts["restored"]


def test_receiver_that_is_down_gets_all_after_a_reboot(vm: Vm, make_handler: MakeHandler, receiver: Receiver) -> None:
    other = Receiver()
    receiver.stop()
    handler = make_handler(task("lb"), notify=[target(receiver), target(other, "other")]).start()
    vm.announce("migrate")
    handler.until_state("drained")
    # It delays neither the drain nor the other target.
    until_kinds(handler, other, "noticed", "draining", "drained")
    handler.until(lambda: shown(handler).get("queued") == 3, "three that wait")
    handler.until(lambda: "refused" in shown(handler)["problem"], "a try")
    assert "hunter2" not in json.dumps(handler.status())
    assert handler.status()["problems"] == []
    handler.stop()
    handler.until(lambda: not notifiers(handler), "the end of the notifier")
    vm.withdraw("migrate")
    handler.boot("boot-2")
    receiver.start()
    handler.start()
    handler.until_over()
    until_kinds(handler, receiver, "noticed", "draining", "drained", "restored")
    until_kinds(handler, other, "noticed", "draining", "drained", "restored")
    assert [body["id"] for body in receiver.bodies] == [body["id"] for body in other.bodies]
    other.stop()


def test_stop_tries_once_more(vm: Vm, make_handler: MakeHandler, receiver: Receiver) -> None:
    """The receiver asks to wait for ten minutes, which a shutdown does not."""
    receiver.answers = [(503, "busy")]
    handler = make_handler(task("lb"), notify=[target(receiver, on=["drained"])])
    handler.start()
    vm.announce("migrate")
    handler.until(lambda: len(receiver.calls) == 1, "the first try")
    receiver.answers = []
    handler.stop()
    # The handler waits for it, but not for ever.
    handler.until(lambda: len(receiver.calls) == 2, "the last try")
    assert receiver.bodies[0] == receiver.bodies[1]


def test_receiver_that_hangs_does_not_keep_the_handler_from_stopping(vm: Vm, make_handler: MakeHandler) -> None:
    with RawServer(*[lambda peer: peer.hang()] * 5) as server:
        hanging = {"name": "chat", "url": f"http://{server.host}/", "timeout": 60}
        handler = make_handler(task("lb"), notify=[hanging]).start()
        vm.announce("migrate")
        handler.until_state("drained")
        assert handler.stop() == 0
        handler.until(lambda: not notifiers(handler), "the end of the notifier")


@pytest.mark.parametrize("victim", ["handler", "notifier", "both"])
def test_nothing_is_lost_by_a_kill(vm: Vm, make_handler: MakeHandler, receiver: Receiver, victim: str) -> None:
    receiver.stop()
    handler = make_handler(task("lb"), notify=[target(receiver)]).start()
    vm.announce("migrate")
    handler.until_state("drained")
    handler.until(lambda: shown(handler).get("queued") == 3, "three that wait")
    if victim != "handler":
        for pid in notifiers(handler):
            os.kill(pid, signal.SIGKILL)
    if victim != "notifier":
        handler.kill()
        handler.start()
    receiver.start()
    vm.withdraw("migrate")
    handler.until_over()
    handler.until(lambda: "restored" in receiver.kinds(), "the last notification")
    # At least once, in order.
    assert list(dict.fromkeys(receiver.kinds())) == ["noticed", "draining", "drained", "restored"]
    assert len({body["id"] for body in receiver.bodies}) == 4


def test_end_of_an_incident_is_notified_by_the_next_handler(
    vm: Vm, make_handler: MakeHandler, receiver: Receiver
) -> None:
    """As if the handler had been killed after it wrote the history, and before it queued the notice."""
    receiver.stop()
    handler = make_handler(task("lb"), notify=[target(receiver)]).start()
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    handler.until_over()
    notices = handler.state_dir / "notices"
    handler.until(lambda: list(notices.glob("*-restored.json")), "the last notice")
    handler.kill()
    handler.until(lambda: not notifiers(handler), "the end of the notifier")
    for path in notices.glob("*-restored.json"):
        path.unlink()
    receiver.start()
    handler.start()
    until_kinds(handler, receiver, "noticed", "draining", "drained", "restored")


def test_refusal_is_shown_and_not_repeated(vm: Vm, make_handler: MakeHandler, receiver: Receiver) -> None:
    receiver.answers = [(404, "no_service")]
    textfile = Path(make_handler().folder.parent, "metrics.prom")
    handler = make_handler(task("lb"), notify=[target(receiver)], metrics_textfile=str(textfile)).start()
    vm.announce("migrate")
    handler.until(lambda: shown(handler).get("sent") == 2, "two that are sent")
    assert shown(handler)["failed"] == 1
    assert len({body["id"] for body in receiver.bodies}) == len(receiver.bodies) == 3
    handler.until_logged("gave up")
    assert "status 404 (no_service)" in handler.log()
    assert "hunter2" not in handler.log()
    metrics = {"failed_total": 1, "sent_total": 2, "queued": 0}
    lines = [f'notifications_{name}{{target="chat"}} {value}' for name, value in metrics.items()]
    handler.until(lambda: all(line in textfile.read_text() for line in lines), "the metrics")


def test_queue_that_cannot_be_written_does_not_stop_a_drain(
    vm: Vm, make_handler: MakeHandler, receiver: Receiver
) -> None:
    handler = make_handler(task("lb"), notify=[target(receiver)])
    handler.state_dir.mkdir()
    # Not a directory, like a disk that takes no new file.
    (handler.state_dir / "notices").touch()
    handler.start()
    vm.announce("migrate")
    handler.until_state("drained")
    handler.until(lambda: "queue of notices" in str(handler.status()["problems"]), "the problem")
    assert handler.trace() == ["drain lb"]
    (handler.state_dir / "notices").unlink()
    until_kinds(handler, receiver, "noticed", "draining", "drained")
    handler.until(lambda: handler.status()["problems"] == [], "the end of the problem")


def test_metadata_server_that_does_not_answer_is_notified(
    vm: Vm, make_handler: MakeHandler, receiver: Receiver
) -> None:
    handler = make_handler(task("lb"), notify=[target(receiver)], poll_timeout=1).start()
    handler.until((handler.state_dir / "notices" / "vm.json").exists, "the names of the VM")
    fault = vm.fault("503")
    until_kinds(handler, receiver, "blind")
    handler.kill()
    # The next handler knows that the receivers wait for the end of it.
    vm.heal(fault)
    handler.start()
    until_kinds(handler, receiver, "blind", "blind")
    assert [body["resolves"] for body in receiver.bodies] == [False, True]
    # Otherwise, the second would not resolve what the first has opened.
    for name in ("instance_id", "instance", "zone", "project"):
        assert receiver.bodies[0][name] == receiver.bodies[1][name] != ""


def test_new_target_gets_only_what_happens_from_now_on(vm: Vm, make_handler: MakeHandler, receiver: Receiver) -> None:
    other = Receiver()
    handler = make_handler(task("lb"), notify=[target(receiver)]).start()
    vm.announce("migrate")
    until_kinds(handler, receiver, "noticed", "draining", "drained")
    handler.configure(notify=[target(receiver), target(other, "other")])
    handler.send(signal.SIGHUP)
    handler.until_logged("is in force")
    vm.withdraw("migrate")
    handler.until_over()
    until_kinds(handler, receiver, "noticed", "draining", "drained", "restored")
    until_kinds(handler, other, "restored")
    other.stop()


def test_notifier_has_no_secret_in_its_arguments_and_variables(vm: Vm, make_handler: MakeHandler) -> None:
    with RawServer(*[lambda peer: peer.hang()] * 5) as server:
        secret = {"Authorization": "Bearer hunter2"}
        hanging = {"name": "chat", "url": f"http://{server.host}/hunter2", "headers": secret, "timeout": 60}
        handler = make_handler(task("lb"), notify=[hanging], log_level="debug").start()
        vm.announce("migrate")
        handler.until(lambda: notifiers(handler), "the notifier")
        (pid,) = notifiers(handler)
        # No file comes or goes while they are read.
        until_frozen(handler.running.pid, pid)
        for name in ("cmdline", "environ"):
            assert b"hunter2" not in Path(f"/proc/{pid}/{name}").read_bytes()
        readable = [path for path in handler.folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o044]
        for path in readable:
            if path != handler.config_path:
                assert b"hunter2" not in path.read_bytes(), path
        assert (handler.state_dir / "notices").stat().st_mode & 0o077 == 0


def test_rehearsal_is_notified_as_one(make_handler: MakeHandler, receiver: Receiver) -> None:
    handler = make_handler(task("lb"), notify=[target(receiver)])
    assert handler.command("rehearse", "migrate", "--execute").returncode == 0
    # The command waits for the notifier, but not for ever.
    until_kinds(handler, receiver, "noticed", "draining", "restored")
    assert all(body["rehearsal"] and "rehearsal" in body["summary"] for body in receiver.bodies)


def test_targets_can_be_tried(make_handler: MakeHandler, receiver: Receiver) -> None:
    pager = {"name": "pager", "preset": "pagerduty", "routing_key": "hunter2", "url": receiver.url}
    handler = make_handler(task("lb"), notify=[target(receiver), pager])
    done = handler.command("notify-test")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["chat", "pager", "pager"]
    assert "status 200 (ok)" in done.stdout
    assert [body.get("kind") or body["event_action"] for body in receiver.bodies] == ["test", "trigger", "resolve"]
    receiver.answers = [(403, "invalid_token")]
    done = handler.command("notify-test", "chat")
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "status 403 (invalid_token)" in done.stdout
    assert "hunter2" not in done.stdout
    done = handler.command("notify-test", "chta")
    assert (done.returncode, "did you mean 'chat'" in done.stderr) == (1, True)


def test_there_is_nothing_to_try_without_targets(make_handler: MakeHandler) -> None:
    done = make_handler(task("lb")).command("notify-test")
    assert (done.returncode, "maintenance_handler_notify" in done.stderr) == (1, True)
