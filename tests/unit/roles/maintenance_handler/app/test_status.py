# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status as commands read it; it is never healthy without answers of the metadata server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler import __version__
from maintenance_handler._vm.maintenance import MIGRATE
from maintenance_handler.app import status
from maintenance_handler.app.config import Config
from maintenance_handler.app.status import SILENT_AFTER, in_flight, status_path
from maintenance_handler.app.waiting import SETTLED, is_reached
from maintenance_handler.core.incident import Incident, Moment, Signal, Step
from maintenance_handler.core.tasks import Task
from maintenance_handler.io.journal import Entry, Journal
from maintenance_handler.io.lock import Lock, lock_paths
from support import documents
from support.incidents import Drive, task

NOW = 1000.0
BOOT = "boot-1"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "state").mkdir()
    (tmp_path / "run").mkdir()
    return Config(tmp_path / "state", tmp_path / "run")


@pytest.fixture
def running(config: Config) -> Iterator[Config]:
    """As long as a handler runs, it holds its lock."""
    lock = Lock(lock_paths(config.state_dir, config.runtime_dir)[0])
    yield config
    lock.release()


def written(config: Config, **changes: Any) -> dict[str, Any]:
    answers = {"a": NOW - 5.0, "b": NOW - 1.0}
    status.write(config, documents.status(**{"boot_id": BOOT, "last_good_answer": answers, **changes}))
    return status.read(config, NOW, BOOT)


def test_healthy(running: Config) -> None:
    found = written(running)
    assert (found["running"], found["healthy"], found["problems"], found["state"]) == (True, True, [], "idle")
    assert found["last_good_answer_age"] == 5.0
    assert found["last_good_answer_ages"] == {"a": 5.0, "b": 1.0}
    assert found["pid"] == 42


def test_without_an_answer_for_too_long(running: Config) -> None:
    """Others always report that they are healthy."""
    limit = 60 + SILENT_AFTER
    assert written(running, last_good_answer={"a": NOW - limit, "b": NOW})["healthy"]
    found = written(running, last_good_answer={"a": NOW - limit - 1, "b": NOW})
    assert not found["healthy"]
    assert found["problems"] == ["no answer for a for 76 s"]
    assert found["last_good_answer_age"] == limit + 1


def test_without_any_answer_for_one_key(running: Config) -> None:
    """Others always report that they are healthy."""
    found = written(running, last_good_answer={"a": None, "b": NOW})
    assert (found["healthy"], found["problems"]) == (False, ["no answer for a yet"])
    assert found["last_good_answer_age"] is None


def test_with_a_problem_of_the_handler(running: Config) -> None:
    found = written(running, problems=["the journal cannot be written"])
    assert (found["healthy"], found["problems"]) == (False, ["the journal cannot be written"])


def open_incident(config: Config, boot: str = BOOT) -> Incident:
    """Have the journal hold an incident whose drain was under way."""
    noticed = Moment(NOW - 10.0, 1_780_000_000.0)
    incident = Incident(
        id="1-migrate",
        opened=noticed,
        tasks=(Task("lb", ("migrate",), drain=("/drain",), env={"TOKEN": "hunter2"}),),
        signals=(Signal("instance/maintenance-event", "migrate", "MIGRATE", noticed, NOW + 50.0, {}),),
        steps=(Step(1, "lb", "drain", "migrate", 1, noticed, NOW + 10.0, 60.0),),
        phase="draining",
    )
    Journal(config.state_dir).write(Entry("4711", boot, incident))
    return incident


@pytest.mark.parametrize("boot", [BOOT, "boot-2"])
def test_status_of_a_stopped_handler_is_that_of_its_journal(config: Config, boot: str) -> None:
    """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
    open_incident(config, boot)
    found = written(config, state="idle")
    assert (found["running"], found["healthy"], found["state"]) == (False, False, "draining")
    assert found["problems"] == [
        "is not running",
        "an incident is open, with lb drained: the next handler continues it",
    ]
    assert (found["incident"]["id"], found["incident"]["held"]) == ("1-migrate", ["lb"])
    assert "hunter2" not in json.dumps(found)
    # No handler is running, so there is nothing to wait for.
    assert not in_flight(found)


def test_unreadable_journal_of_a_stopped_handler_is_reported(config: Config) -> None:
    Journal(config.state_dir).path.write_bytes(b"{")
    found = status.read(config, NOW, BOOT)
    assert (found["running"], found["state"], found["incident"]) == (False, "unknown", None)
    assert found["problems"][1].startswith("Reading the journal ")


def test_handler_with_the_lock_of_last_resort_is_running(config: Config) -> None:
    lock = Lock(lock_paths(config.state_dir, config.runtime_dir)[-1])
    assert written(config)["running"]
    lock.release()


def test_status_file_of_a_stopped_handler_is_ignored(config: Config) -> None:
    """Others always report that they are healthy."""
    found = written(config, state="draining")
    assert (found["running"], found["healthy"], found["state"]) == (False, False, "idle")
    assert found["problems"] == ["is not running"]
    assert not in_flight(found)


@pytest.mark.parametrize("text", [None, b"", b"{", b"[]", b"null", b"\xff"])
def test_running_handler_without_a_status(running: Config, text: bytes | None) -> None:
    if text is not None:
        status_path(running).write_bytes(text)
    found = status.read(running, NOW, BOOT)
    assert (found["running"], found["healthy"]) == (True, False)
    assert found["problems"] == [f"has not written its status {status_path(running)} yet"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"last_good_answer": [1.0]}, id="something else"),
        pytest.param({"poll_timeout": None}, id="nothing"),
        pytest.param({"reach": {"migrate": {"possible": "maybe"}}}, id="something less"),
        pytest.param({"incident": {"id": "1-migrate"}}, id="an incident"),
    ],
)
def test_running_handler_of_another_version(running: Config, changes: dict[str, Any]) -> None:
    """New code does not restart a handler in the middle of a drain, and has to see that it is in one."""
    found = written(running, state="draining", **changes)
    assert (found["running"], found["healthy"], found["state"]) == (True, False, "draining")
    assert found["problems"] == [
        f"runs version {__version__}, whose status this command cannot read: restart it when nothing is drained"
    ]
    assert in_flight(found)
    assert not is_reached(SETTLED, "", found)
    # Otherwise the role would never restart it.
    assert is_reached(SETTLED, "", written(running, state="drained", **changes))


def test_running_handler_with_an_invalid_status(running: Config) -> None:
    found = written(running, state=7)
    assert (found["state"], in_flight(found)) == ("unknown", False)


def test_status_file_of_an_earlier_boot_is_ignored(running: Config) -> None:
    written(running)
    assert status.read(running, NOW, "boot-2")["problems"][0].startswith("has not written its status")


def test_reading_the_status_creates_no_files(config: Config) -> None:
    status.read(config, NOW, BOOT)
    assert not lock_paths(config.state_dir, config.runtime_dir)[0].exists()


@pytest.mark.parametrize(
    "state, busy", [("idle", False), ("announced", False), ("draining", True), ("drained", False), ("restoring", True)]
)
def test_in_flight(running: Config, state: str, busy: bool) -> None:
    assert in_flight(written(running, state=state)) == busy


def test_all_users_can_read_it(config: Config) -> None:
    written(config)
    assert status_path(config).stat().st_mode & 0o777 == 0o644
    assert json.loads(status_path(config).read_bytes())["pid"] == 42


def test_status_of_a_handler_that_cannot_write_it_is_that_of_its_journal(running: Config) -> None:
    """A full /run: the earlier content is outdated."""
    drive = Drive(task("lb"))
    drive.on(MIGRATE)
    Journal(running.state_dir).write(Entry("4711", BOOT, drive.incident))
    status_path(running).mkdir()
    with pytest.raises(OSError, match=str(status_path(running))):
        status.write(running, {"state": "draining"})
    status_path(running).rmdir()
    found = status.read(running, NOW, BOOT)
    assert (found["running"], found["healthy"], found["state"]) == (True, False, "draining")
    assert found["incident"]["held"] == ["lb"]
    assert in_flight(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts are for root")
def test_status_that_cannot_be_updated_is_deleted(running: Config) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(running.runtime_dir)], check=True)
    try:
        status.write(running, {"state": "idle"})
        with pytest.raises(OSError, match="No space left"):
            status.write(running, {"state": "draining", "long": "x" * 100_000})
        assert not status_path(running).exists()
    finally:
        subprocess.run(["umount", "--lazy", str(running.runtime_dir)], check=True)


def test_deleted_runtime_directory_is_created_again(running: Config) -> None:
    shutil.rmtree(running.runtime_dir)
    status.write(running, {"state": "idle"})
    assert json.loads(status_path(running).read_bytes()) == {"state": "idle"}
