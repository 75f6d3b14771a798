# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""With an invalid configuration, the handler restores the drained tasks of the journal."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from maintenance_handler.app.config import without_file
from support.handler import HandlerProcess, task
from support.receiver import Receiver
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]


def as_service(vm: Vm, make_handler: MakeHandler, tmp_path: Path, *tasks: object) -> HandlerProcess:
    """A handler whose directories are known without its configuration."""
    folder = tmp_path / "handler-0"
    # As systemd passes directories to a service.
    environ = {"STATE_DIRECTORY": str(folder / "state"), "RUNTIME_DIRECTORY": str(folder / "run")}
    handler = make_handler(*(tasks or (task("lb"),)), environ={**environ, "GCE_METADATA_HOST": vm.host})
    # Without a configuration, the path of another file is unknown.
    handler.configure(boot_id_file="/proc/sys/kernel/random/boot_id")
    return handler


def drained(vm: Vm, make_handler: MakeHandler, tmp_path: Path, *tasks: object) -> HandlerProcess:
    """A handler that was killed while its VM was drained, and whose configuration then became an empty file."""
    handler = as_service(vm, make_handler, tmp_path, *tasks).start()
    vm.announce("terminate")
    handler.until_state("drained")
    handler.kill()
    handler.config_path.write_bytes(b"")
    return handler


def test_drained_tasks_are_restored_from_the_journal(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    """A power cut can leave an empty file."""
    handler = drained(vm, make_handler, tmp_path)
    vm.withdraw("terminate")
    handler.start(ready=False)
    # systemd is to try again.
    assert handler.wait() == 1
    assert handler.trace() == ["drain lb", "restore lb"]
    assert len(handler.history()) == 1
    assert "does not parse as JSON" in handler.log()
    # Then there is nothing left to do for it.
    handler.start(ready=False)
    assert handler.wait() == 2


def test_stays_drained_and_unhealthy_during_the_event(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    handler = drained(vm, make_handler, tmp_path, task("lb"), task("spot", "preempt"))
    handler.start()
    result = handler.command("status", "--json")
    now = json.loads(result.stdout)
    assert (result.returncode, now["healthy"], now["state"]) == (1, False, "drained")
    assert any("the configuration is invalid: " in problem for problem in now["problems"])
    # Nothing new is drained.
    vm.announce("preempt")
    handler.until(lambda: len(handler.signals()) == 2, "both signals")
    vm.withdraw("preempt")
    vm.withdraw("terminate")
    assert handler.wait() == 1
    assert handler.trace() == ["drain lb", "restore lb"]


def test_valid_targets_are_notified(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    receiver = Receiver()
    handler = drained(vm, make_handler, tmp_path)
    targets = [{"name": "chat", "url": receiver.url}, {"name": "pager", "url": receiver.url, "colour": 1}]
    handler.configure(notify=targets, colour=1)
    handler.start()
    vm.withdraw("terminate")
    assert handler.wait() == 1
    handler.until(lambda: "restored" in receiver.kinds(), "the notification")
    receiver.stop()
    assert handler.trace() == ["drain lb", "restore lb"]
    assert receiver.kinds().count("restored") == 1


def test_stop_in_the_meantime_is_not_a_failure(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    handler = drained(vm, make_handler, tmp_path).start()
    assert handler.stop() == 0
    assert handler.trace() == ["drain lb"]


def test_corrected_configuration_is_loaded(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    handler = drained(vm, make_handler, tmp_path).start()
    handler.configure()
    handler.send(signal.SIGHUP)
    handler.until_logged("is in force")
    vm.withdraw("terminate")
    handler.until_over()
    assert handler.command("status").returncode == 0


def test_a_running_handler_is_asked_all_the_same(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    """It has the last valid configuration, whatever becomes of the file."""
    handler = as_service(vm, make_handler, tmp_path).start()
    handler.config_path.write_bytes(b"")
    assert json.loads(handler.command("status", "--json").stdout)["running"]
    for command in ("drain", "restore"):
        result = handler.command(command, "--wait")
        assert result.returncode == 0, result.stderr
    assert handler.trace() == ["drain lb", "restore lb"]
    # What would be drained after a change is in the file.
    assert "does not parse as JSON" in handler.command("drain", "--dry-run").stderr


@pytest.mark.parametrize("text", [b"", b"\0" * 400, b'{"tasks": [', b'{"colour": 1}'])
def test_fails_without_an_incident(make_handler: MakeHandler, text: bytes) -> None:
    handler = make_handler(task("lb"))
    handler.config_path.write_bytes(text)
    handler.start(ready=False)
    assert handler.wait() == 2


def test_directories_are_those_of_the_role() -> None:
    found = without_file(Path("/opt/x/etc/gce-maintenance-handler/config.json"), {})
    assert found is not None
    assert str(found.state_dir) == "/opt/x/var/lib/gce-maintenance-handler"
    assert str(found.runtime_dir) == "/opt/x/run/gce-maintenance-handler"
    found = without_file(Path("/etc/gce-maintenance-handler/config.json"), {"STATE_DIRECTORY": "/a:/b"})
    assert found is not None
    assert (str(found.state_dir), str(found.runtime_dir)) == ("/a", "/run/gce-maintenance-handler")
    assert without_file(Path("/tmp/config.json"), {}) is None
