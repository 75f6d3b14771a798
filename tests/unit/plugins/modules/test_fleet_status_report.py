# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module fleet_status_report, in plays on an emulated project. tests/unit/playbooks tests it in the playbook."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.playbook import examples, run_play

FLEET = {
    "project": "acme",
    "speed": 1000,
    "instances": [
        {"name": "web-1", "labels": {"env": "prod"}, "attributes": {"enable-guest-attributes": "TRUE"}},
        {"name": "db-1"},
    ],
}
TOKEN = "ya29.planted-hunter2"


@pytest.fixture
def emulator(emulator: EmulatorProcess) -> EmulatorProcess:
    """With a handler."""
    report(emulator)
    return emulator


def report(emulator: EmulatorProcess, **changes: Any) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    status = {"state": "idle", "at": at, "every": 3600, "version": "0.1.0", **changes}
    emulator.control.set("web-1", "instance/guest-attributes/maintenance-handler/status", json.dumps(status))


def play(emulator: EmulatorProcess, *tasks: dict[str, Any], arguments: tuple[str, ...] = ()) -> tuple[int, str]:
    defaults = {"group/gce.guest.api": {"project": "acme", "api_endpoint": emulator.compute, "access_token": TOKEN}}
    return run_play(list(tasks), *arguments, environment={}, module_defaults=defaults)


def task(**options: Any) -> dict[str, Any]:
    return {"name": "Report", "gce.guest.fleet_status_report": options, "register": "found"}


def test_the_examples_run_and_show_no_token(emulator: EmulatorProcess, tmp_path: Path) -> None:
    tasks = json.loads(json.dumps(examples("modules", "fleet_status_report")).replace("/tmp/", f"{tmp_path}/"))
    status, output = play(emulator, *tasks, arguments=("-vvvv",))
    assert status == 0, output
    assert "hunter2" not in output
    assert "web-1" in (tmp_path / "fleet_status.html").read_text(encoding="utf-8")
    assert [row["name"] for row in json.loads((tmp_path / "fleet_status.json").read_bytes())["instances"]] == ["web-1"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("fleet_status.*")} == {0o644}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet_status.html", "fleet_status.json"]


def test_without_files_it_returns_the_table(emulator: EmulatorProcess) -> None:
    says = "found.lines[1].startswith('db-1') and found.page is none and found.json is none and found is not changed"
    status, output = play(emulator, task(), {"name": "Check", "ansible.builtin.assert": {"that": says}})
    assert status == 0, output


def test_words_of_a_vm_are_not_templates(emulator: EmulatorProcess, tmp_path: Path) -> None:
    words = "{{ 6 * 7 }}{% raw %}"
    report(emulator, state="drained", held=[words])
    page, twin = tmp_path / "page.html", tmp_path / "fleet.json"
    show = {"name": "Show", "ansible.builtin.debug": {"msg": "{{ found.lines }}"}}
    status, output = play(emulator, task(page=str(page), json=str(twin), title=words), show)
    assert status == 0, output
    assert f"drained: {words}" in output
    assert f"drained: {words}" in page.read_text(encoding="utf-8")
    document = json.loads(twin.read_bytes())
    assert [row["handler"]["held"] for row in document["instances"] if row["handler"]] == [[words]]


def test_check_mode_leaves_files_as_they_are(emulator: EmulatorProcess, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old", encoding="utf-8")
    changed = {"name": "Check", "ansible.builtin.assert": {"that": "found is changed"}}
    status, output = play(emulator, task(page=str(page)), changed, arguments=("--check",))
    assert status == 0, output
    assert page.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_file_keeps_its_mode(emulator: EmulatorProcess, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old", encoding="utf-8")
    page.chmod(0o600)
    status, output = play(emulator, task(page=str(page)))
    assert status == 0, output
    assert "web-1" in page.read_text(encoding="utf-8")
    assert page.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "options, words",
    [
        ({"page": "/nowhere/page.html"}, ("page", "/nowhere/page.html", "does not exist")),
        ({"json": "/tmp"}, ("json", "/tmp is a directory")),
        ({"page": "/tmp/fleet", "json": "/tmp/../tmp/fleet"}, ("page", "json", "the same file")),
        ({"page": "/tmp/" + "a" * 300}, ("page", "File name too long")),
        ({"rows": "many"}, ("rows", "many")),
        ({"rows": -1}, ("rows", "-1")),
        ({"nonsense": 1}, ("nonsense", "Unsupported parameters")),
        ({"filter": ""}, ("filter",)),
    ],
)
def test_bad_options_are_refused_before_requests(
    emulator: EmulatorProcess, options: dict[str, Any], words: tuple[str, ...]
) -> None:
    status, output = play(emulator, task(**options))
    assert status != 0
    assert "Traceback" not in output
    assert all(word in output for word in words)
    assert not emulator.control.journal(face="compute")


def test_a_special_file_is_not_replaced(emulator: EmulatorProcess, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.symlink_to("/dev/null")
    status, output = play(emulator, task(page=str(page)))
    assert status != 0
    assert f"page: {page} is not a regular file" in output
    assert page.is_symlink()
    assert not emulator.control.journal(face="compute")


def test_a_refused_request_fails_the_task_and_writes_nothing(emulator: EmulatorProcess, tmp_path: Path) -> None:
    emulator.control.fault("forbidden", face="compute", path="projects/acme/aggregated/instances")
    status, output = play(emulator, task(page=str(tmp_path / "page.html")))
    assert status != 0
    assert "compute.instances.list" in output
    assert "hunter2" not in output
    assert not list(tmp_path.iterdir())
