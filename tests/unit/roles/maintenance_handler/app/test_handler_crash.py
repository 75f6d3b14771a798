# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery after a killed handler, a reboot, and with a damaged journal."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.io.journal import Journal, JournalError
from maintenance_handler.io.lock import Lock, is_locked
from support.emulator import eventually
from support.handler import UNTIL_RELEASED, HandlerProcess, newest_entry, steps, task
from support.processes import has_ended
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]


def drained(vm: Vm, handler: HandlerProcess) -> HandlerProcess:
    """Start a handler and have it drain for a termination."""
    handler.start()
    vm.announce("terminate")
    handler.until_state("drained")
    return handler


def test_resumes_an_interrupted_drain_after_a_kill(vm: Vm, make_handler: MakeHandler) -> None:
    """A node was drained twice (aws/aws-node-termination-handler#146)."""
    # The second task has a child in its own session, as if started with nohup or by another tool.
    held = f'setsid sh -c \'echo $$ >> "$FOLDER/pids"; exec sleep 600\' & echo $$ >> "$FOLDER/pids"; {UNTIL_RELEASED}'
    handler = make_handler(task("lb", stage=10), task("queue", stage=20, drain=held), task("database", stage=30))
    handler.start()
    vm.announce("terminate")
    pids = handler.folder / "pids"
    handler.until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "both processes")
    left_over = [int(pid) for pid in pids.read_text().split()]
    handler.kill()
    assert not any(has_ended(pid) for pid in left_over)

    handler.start()
    handler.until_traced("drain lb", "drain queue", "drain queue")
    eventually(lambda: all(has_ended(pid) for pid in left_over), what="the end of the leftover processes")
    handler.release()
    handler.until_state("drained")
    vm.withdraw("terminate")
    incident = handler.until_over()
    assert handler.trace() == [
        "drain lb",
        "drain queue",
        "drain queue",
        "drain database",
        "restore database",
        "restore queue",
        "restore lb",
    ]
    assert steps(incident)[1] == ("drain", "queue", "interrupted")


def test_resumes_an_interrupted_restore_after_a_kill(vm: Vm, make_handler: MakeHandler) -> None:
    """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
    handler = make_handler(task("lb", stage=10), task("queue", stage=20, restore=UNTIL_RELEASED), task("db", stage=30))
    drained(vm, handler)
    vm.withdraw("terminate")
    before = ["drain lb", "drain queue", "drain db", "restore db", "restore queue"]
    handler.until_traced(*before)
    handler.kill()
    handler.start()
    handler.until_traced(*before, "restore queue")
    handler.release()
    handler.until_over()
    assert handler.trace() == [*before, "restore queue", "restore lb"]


def test_restores_if_started_after_the_event(vm: Vm, make_handler: MakeHandler) -> None:
    """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
    handler = drained(vm, make_handler(task("lb", stage=10), task("queue", stage=20)))
    handler.kill()
    vm.withdraw("terminate")
    handler.start()
    handler.until_over()
    assert handler.trace() == ["drain lb", "drain queue", "restore queue", "restore lb"]
    # Once: not again by the next one.
    handler.kill()
    handler.start()
    assert handler.trace().count("restore lb") == 1
    assert len(handler.history()) == 1


def test_does_not_drain_again_after_a_kill_while_drained(vm: Vm, make_handler: MakeHandler) -> None:
    """A node was drained twice (aws/aws-node-termination-handler#146)."""
    handler = drained(vm, make_handler(task("lb")))
    for _unused in range(2):
        handler.kill()
        handler.start()
        handler.until_state("drained")
    vm.withdraw("terminate")
    handler.until_over()
    assert handler.trace() == ["drain lb", "restore lb"]


def test_restores_after_a_reboot_without_the_event(vm: Vm, make_handler: MakeHandler) -> None:
    """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
    handler = make_handler(
        task("lb", stage=10), task("queue", stage=20, drain=UNTIL_RELEASED), task("database", stage=30)
    )
    handler.start()
    vm.announce("terminate")
    handler.until_traced("drain lb", "drain queue")
    handler.kill()
    vm.withdraw("terminate")
    handler.boot("boot-2")
    handler.start()
    handler.until_over()
    # Neither the interrupted drain nor the one that never began is run now that the event is over.
    assert handler.trace() == ["drain lb", "drain queue", "restore queue", "restore lb"]


def test_resumes_after_a_reboot_during_the_event(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(
        task("lb", stage=10), task("queue", stage=20, drain=UNTIL_RELEASED), task("database", stage=30)
    )
    handler.start()
    vm.announce("terminate")
    handler.until_traced("drain lb", "drain queue")
    handler.kill()
    handler.boot("boot-2")
    handler.release()
    handler.start()
    handler.until_state("drained")
    assert handler.trace() == ["drain lb", "drain queue", "drain queue", "drain database"]
    vm.withdraw("terminate")
    handler.until_over()
    assert handler.trace()[4:] == ["restore database", "restore queue", "restore lb"]


def test_waits_for_the_metadata_server_after_a_reboot(vm: Vm, make_handler: MakeHandler) -> None:
    """Only the metadata server knows whether the event is still on."""
    handler = drained(vm, make_handler(task("lb")))
    handler.kill()
    handler.boot("boot-2")
    fault = vm.fault("503")
    handler.start(ready=False)
    handler.until_logged("an incident of an earlier boot is open")
    handler.until(lambda: len(vm.requests("", after=0)) > 8 and handler.status().get("outages"), "tries to ask")
    assert handler.trace() == ["drain lb"]
    vm.withdraw("terminate")
    vm.heal(fault)
    handler.until_over()
    assert handler.trace() == ["drain lb", "restore lb"]


@pytest.mark.parametrize("instance_id", [4242, "../../x", "/etc/passwd", "a\0b", "x" * 300])
def test_an_image_of_a_drained_vm_starts_clean(vm: Vm, make_handler: MakeHandler, instance_id: Any) -> None:
    handler = drained(vm, make_handler(task("lb")))
    # On a busy machine, the event can be known before the instance is.
    original = handler.until(lambda: handler.journal().get("instance_id"), "the instance in the journal")
    handler.kill()
    vm.withdraw("terminate")
    # The clone: another instance, another boot, the same disk.
    vm.set("id", instance_id)
    handler.boot("boot-of-the-clone")
    handler.start()
    handler.until(lambda: handler.journal().get("instance_id") not in (None, original), "a journal of its own")
    assert handler.trace() == ["drain lb"]
    assert handler.history() == []
    assert (handler.state_dir / "journal.json.of-another-instance").exists()
    vm.announce("migrate")
    handler.until_traced("drain lb", "drain lb")


@pytest.mark.parametrize(
    "content",
    [b"", b'{"version": 1, "incid', b'{"version": 99}', b"[]", b"\xff\xfe", b'{"version": 1, "incident": {"id": 7}}'],
)
def test_invalid_journal_is_distinguished_from_an_empty_one(content: bytes, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.read() is None
    journal.path.write_bytes(content)
    with pytest.raises(JournalError, match=r"Reading the journal .*/journal\.json: "):
        journal.read()


def test_unreadable_journal_is_set_aside(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb"))
    handler.state_dir.mkdir()
    (handler.state_dir / "journal.json").write_bytes(b'{"version": 1, "incid')
    vm.announce("migrate")
    handler.start()
    handler.until_state("drained")
    assert (handler.state_dir / "journal.json.unreadable").read_bytes() == b'{"version": 1, "incid'
    handler.until_logged("Reading the journal")
    # It is put aside by a thread.
    handler.until(lambda: handler.status()["problems"] != [], "the problem")
    (problem,) = handler.status()["problems"]
    assert problem.startswith("tasks in a journal that cannot be read may not be restored: look at ")
    # The next handler is unhealthy as well, until the file is deleted.
    handler.kill()
    vm.withdraw("migrate")
    handler.start()
    handler.until_over()
    assert handler.status()["problems"] == [problem]
    (handler.state_dir / "journal.json.unreadable").unlink()
    handler.send(signal.SIGHUP)
    handler.until(lambda: handler.status()["problems"] == [], "a clean bill")


def test_starts_although_an_unreadable_journal_cannot_be_set_aside(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb"))
    handler.state_dir.mkdir()
    (handler.state_dir / "journal.json").write_bytes(b"{")
    in_the_way = handler.state_dir / "journal.json.unreadable"
    in_the_way.mkdir()
    (in_the_way / "file").touch()
    vm.announce("migrate")
    handler.start()
    handler.until_state("drained")


def test_two_handlers_cannot_share_a_state_directory(vm: Vm, make_handler: MakeHandler) -> None:
    handler = drained(vm, make_handler(task("lb")))
    second = handler.command("run")
    assert second.returncode == 1
    assert second.stderr.strip().splitlines()[-1] == (
        f"gce-maintenance-handler: {handler.state_dir}/lock is locked by another process"
    )
    # And the first has not noticed.
    vm.withdraw("terminate")
    handler.until_over()
    assert handler.trace() == ["drain lb", "restore lb"]


def test_checking_the_lock_does_not_block_a_handler(tmp_path: Path) -> None:
    """Two checks do not see each other as a handler: a role queries the status repeatedly while it starts."""
    path = tmp_path / "lock"
    Lock(path).release()
    done = threading.Event()
    seen: list[bool] = []

    def look() -> None:
        while not done.is_set():
            seen.append(is_locked(path))

    lookers = [threading.Thread(target=look) for _unused in range(3)]
    for looker in lookers:
        looker.start()
    eventually(lambda: len(seen) > 3000, within=60, what="three thousand looks")
    assert not any(seen)
    for _unused in range(200):
        Lock(path).release()
    done.set()
    for looker in lookers:
        looker.join()


def test_drains_and_reports_that_the_journal_cannot_be_written(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()
    journal = handler.state_dir / "journal.json"
    handler.until(journal.exists, "the journal")
    journal.unlink()
    journal.mkdir()
    vm.announce("migrate")
    handler.until_state("drained")
    assert handler.trace() == ["drain lb"]
    # The writer tells it after it has given up.
    handler.until(lambda: handler.status()["problems"], "the problem")
    result = handler.command("status", "--json")
    assert result.returncode == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert problem.startswith(f"Writing the journal {journal}: ")
    # It is healthy again as soon as the journal can be written.
    journal.rmdir()
    vm.withdraw("migrate")
    handler.until_over()
    assert handler.trace() == ["drain lb", "restore lb"]
    handler.until(lambda: handler.status()["problems"] == [], "a clean bill")
    assert handler.command("status").returncode == 0


def test_drains_and_restores_if_nothing_can_be_written(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb")).start()
    for name in ("state_dir", "runtime_dir"):
        _replace_by_file(Path(handler.config[name]))
    vm.announce("migrate")
    handler.until_traced("drain lb")
    vm.withdraw("migrate")
    handler.until_traced("drain lb", "restore lb")
    assert handler.running.poll() is None
    for said in ("Writing the journal", "Writing the history", "Writing the status"):
        handler.until_logged(said)


def _replace_by_file(folder: Path) -> None:
    """Have nothing be written to a folder any more, nor a new one be made."""
    for number in itertools.count():
        # Read at once, also during a write.
        folder.rename(folder.with_name(f"{folder.name} {number}"))
        try:
            folder.touch(exist_ok=False)
            return
        except FileExistsError:
            # It was made again in between.
            continue


def test_starts_and_drains_without_a_state_directory(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb"))
    (handler.folder / "file").touch()
    handler.configure(state_dir=str(handler.folder / "file" / "state"))
    handler.start()
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    handler.until_traced("drain lb", "restore lb")
    # It has the lock of last resort.
    second = handler.command("run")
    assert second.stderr.strip().splitlines()[-1].endswith("/run/lock is locked by another process")
    assert json.loads(handler.command("status", "--json").stdout)["running"]
    for said in ("Writing the journal", "Writing the history"):
        handler.until_logged(said)
        assert handler.log().count(said) == 1


def test_starts_and_drains_if_nothing_can_be_written(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb"), metrics_textfile=None)
    (handler.folder / "file").touch()
    handler.configure(state_dir=str(handler.folder / "file" / "a"), runtime_dir=str(handler.folder / "file" / "b"))
    handler.start(ready=False)
    handler.until_logged("the metadata server has answered: ready")
    vm.announce("migrate")
    handler.until_traced("drain lb")
    vm.withdraw("migrate")
    handler.until_traced("drain lb", "restore lb")
    assert handler.log().count("The handler runs without a lock: a second one would not be detected.") == 1
    assert handler.running.poll() is None


def test_handler_with_the_lock_of_last_resort_is_detected(vm: Vm, make_handler: MakeHandler) -> None:
    """Its state directory is writable again, and a second handler is started."""
    handler = make_handler(task("lb"))
    handler.state_dir.mkdir()
    (handler.folder / "run").mkdir()
    lock = Lock(handler.folder / "run" / "lock")
    second = handler.command("run")
    assert second.stderr.strip().splitlines()[-1].endswith("/run/lock is locked by another process")
    lock.release()


def test_step_is_in_the_journal_before_it_runs(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", drain='cp "$FOLDER/state/journal.json" "$FOLDER/seen"')).start()
    handler.until(lambda: handler.journal().get("instance_id"), "the instance's id in the journal")
    vm.announce("migrate")
    handler.until_state("drained")
    seen = newest_entry(handler.folder / "seen")
    assert [(step["task"], step["finished"]) for step in seen["incident"]["steps"]] == [("lb", None)]
    assert (seen["instance_id"], seen["boot_id"]) == (handler.status()["instance_id"], "boot-1")
    # It has the tasks' environments in it.
    assert os.stat(handler.state_dir / "journal.json").st_mode & 0o077 == 0
