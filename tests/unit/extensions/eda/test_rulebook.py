# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rulebooks, such as the guide's, run by ansible-rulebook against the emulator: `make eda`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from maintenance_handler._vm.notification import FIELDS
from maintenance_handler.app import config
from notifier import web
from notifier.outcome import Unavailable
from support.emulator import EmulatorProcess, eventually
from support.guides import blocks
from support.handler import HandlerProcess, task
from support.json_service import Certificate
from support.playbook import CHECKOUT
from support.ports import free_port
from support.receiver import Receiver

# With ANSIBLE_RULEBOOK, nothing is skipped.
REQUIRED = os.environ.get("ANSIBLE_RULEBOOK")
RULEBOOK = REQUIRED or shutil.which("ansible-rulebook")
RULEBOOKS = CHECKOUT / "extensions/eda/rulebooks"
# Java and the rules start slowly on a busy machine.
PATIENCE = 180.0

GUIDE = [block for block in blocks() if block.is_yaml and block.path.endswith("guide_event_driven.rst")]

needs = pytest.mark.skipif(
    not REQUIRED and (RULEBOOK is None or shutil.which("java") is None),
    reason="ansible-rulebook or Java is missing: `make eda` installs the former",
)


@needs
def test_the_rulebook_of_the_guide_reacts_to_an_emulated_window(tmp_path: Path, collections_path: Path) -> None:
    fleet, rulebook_of_guide = (block for block in GUIDE if "api_endpoint:" in block.text or "instances:" in block.text)
    assert (fleet.data["compute_port"], fleet.data["control_port"]) == (18080, 18081)
    (tmp_path / "inventory").write_text("web-1 ansible_connection=local\n")
    with EmulatorProcess({**fleet.data, "compute_port": 0, "control_port": 0}) as emulator:
        text = rulebook_of_guide.text.replace("http://127.0.0.1:18080", emulator.compute)
        (tmp_path / "window.yml").write_text(text)
        with Running(tmp_path, collections_path, "window.yml") as rulebook:
            emulator.control.scenario("web-1", "window-announced")
            rulebook.until_it_prints("web-1 has maintenance from")


MIGRATION = """
- name: React to migrations
  hosts: all
  sources:
    - gce.guest.guest:
        metadata_host: {host}
        state_file: {state}
  rules:
    - name: Note a migration
      condition: event.change == "announced" and event.event == "migrate"
      action:
        debug:
          msg: "{{{{ event.instance }}}} migrates"
"""


@needs
def test_a_rulebook_reacts_to_a_migration_and_ends_in_order(tmp_path: Path, collections_path: Path) -> None:
    state = tmp_path / "state.json"
    (tmp_path / "inventory").write_text("web-1 ansible_connection=local\n")
    with EmulatorProcess({"instances": [{"name": "web-1"}]}) as emulator:
        text = MIGRATION.format(host=emulator.metadata["web-1"], state=state)
        (tmp_path / "migration.yml").write_text(text)
        with Running(tmp_path, collections_path, "migration.yml") as rulebook:
            # A VM that has not queried the key gets no notice.
            eventually(lambda: emulator.control.instance("web-1")["asked_directly"], within=PATIENCE, what="a request")
            emulator.control.scenario("web-1", "live-migration")
            rulebook.until_it_prints("web-1 migrates")
            assert rulebook.terminated() == 0

    assert json.loads(state.read_text())["was_stopped"] is True


TOKEN = "correct-horse-battery"
# The second is a template for Ansible, and ansible-rulebook makes one of the third.
SUMMARIES = ("db-1: a restore has failed", "{{ 6 * 7 }}", "'\\x7b\\x7b 6 * 7 }}'")


@needs
def test_a_ticket_is_opened_for_a_vm_that_cannot_be_reached(tmp_path: Path, collections_path: Path) -> None:
    """By the handler's own request, to the target of the guide. The VM is not in the inventory."""
    port, certificate, tickets = free_port(), Certificate(tmp_path), Receiver()
    tickets.answers = [(503, "not now"), (201, {})]
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "inventory").write_text("localhost ansible_connection=local\n")
    variables = {
        "handler_port": port,
        "handler_token_file": str(tmp_path / "token"),
        "handler_certificate": str(certificate.file),
        "handler_private_key": str(certificate.key_file),
        "ticket_url": f"{tickets.url}/tickets",
    }
    rulebook_text = (RULEBOOKS / "restore_failed.yml").read_text()
    assert "delay: 30" in rulebook_text
    (tmp_path / "tickets.yml").write_text(rulebook_text.replace("delay: 30", "delay: 0"))
    try:
        with Running(tmp_path, collections_path, "tickets.yml", variables) as rulebook:
            target = target_of_guide(port, certificate)
            rulebook.until(lambda: is_sent(target, notice("1-failed", "failed", "db-0")))
            for number, summary in enumerate(SUMMARIES):
                web.send(target, notice(f"{number}-restore_failed", "restore_failed", "db-1", summary))
            rulebook.until(lambda: len(tickets.calls) == 1 + len(SUMMARIES))
    finally:
        tickets.stop()

    assert {body["instance"] for body in tickets.bodies} == {"db-1"}
    titles = [body["title"] for body in tickets.bodies]
    assert titles[:2] == [SUMMARIES[0]] * 2
    assert "42" not in "".join(map(str, titles))
    assert tickets.calls[0].path == "/tickets"


def target_of_guide(port: int, certificate: Certificate) -> dict[str, Any]:
    """The target with which the guide points handlers at the source."""
    [block] = [block for block in GUIDE if "maintenance_handler_notify:" in block.text]
    text = block.text.replace("https://eda.example.com:5000", f"https://127.0.0.1:{port}")
    text = text.replace("/etc/ssl/certs/eda.pem", str(certificate.file)).replace("{{ handler_token }}", TOKEN)
    [play] = yaml.safe_load(text)
    # In YAML, `on` without quotes is a boolean.
    entries = [
        {("on" if key is True else key): value for key, value in entry.items()}
        for entry in play["roles"][0]["vars"]["maintenance_handler_notify"]
    ]
    document = {"notify": entries, "state_dir": "/var/lib/x", "runtime_dir": "/run/x"}
    [target] = config.parse(json.dumps(document).encode()).notify
    return dict(target)


def notice(identifier: str, kind: str, instance: str, summary: str = SUMMARIES[0]) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(FIELDS)
    values.update(id=identifier, kind=kind, instance=instance, rehearsal=False, at="2026-11-27T02:00:00Z")
    return {**values, "summary": summary, "incident": "1", "tasks": ["lb"]}


def is_sent(target: dict[str, Any], document: dict[str, Any]) -> bool:
    try:
        web.send(target, document)
    except Unavailable:
        return False
    return True


@needs
def test_the_maintenance_of_an_announced_window_is_performed(tmp_path: Path, collections_path: Path) -> None:
    instance = {"name": "web-1", "machine_type": "c3-standard-8", "upcoming_maintenance_none": "NONE"}
    with EmulatorProcess({"project": "acme", "speed": 200, "instances": [instance]}) as emulator, ExitStack() as stack:
        handler = HandlerProcess(tmp_path, emulator.metadata["web-1"], [task("lb", "migrate")], poll_timeout=1)
        stack.callback(handler.close)
        handler.start()
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "gce_become": False}
        host["gce_executable"] = str(handler.write_program())
        (tmp_path / "inventory").write_text(json.dumps({"all": {"hosts": {"web-1": host}}}))
        environment = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute, "GCP_ACCESS_TOKEN": "ya29.planted"}
        emulator.control.scenario("web-1", "window-announced", starts_in=86400)
        with Running(
            tmp_path, collections_path, "gce.guest.rolling_maintenance", {"gce_project": "acme"}, environment
        ) as rulebook:
            rulebook.until(lambda: handler.trace() == ["drain lb", "restore lb"])


class Running:
    """ansible-rulebook in a folder with an `inventory`, as a context manager."""

    def __init__(
        self,
        folder: Path,
        collections_path: Path,
        rulebook: str,
        variables: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        program = str(Path(str(RULEBOOK)).absolute())
        (folder / "variables").write_text(json.dumps(variables or {}))
        whole = {
            **os.environ,
            **(environment or {}),
            "PATH": f"{Path(program).parent}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(collections_path),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "PYTHONUNBUFFERED": "1",
        }
        self._output = folder / "output"
        with self._output.open("wb") as output:
            command = [program, "--rulebook", rulebook, "--inventory", "inventory", "--vars", "variables"]
            self._process = subprocess.Popen(command, cwd=folder, env=whole, stdout=output, stderr=subprocess.STDOUT)

    def until(self, is_so: Callable[[], bool]) -> None:
        def has_reacted() -> bool:
            assert self._process.poll() is None, self._output.read_text()
            return is_so()

        try:
            eventually(has_reacted, within=PATIENCE, what="the reaction of the rulebook")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._output.read_text()}") from None

    def until_it_prints(self, text: str) -> None:
        self.until(lambda: text in self._output.read_text())

    def terminated(self) -> int:
        """The exit status after SIGTERM."""
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *error: object) -> None:
        self.terminated()


@pytest.mark.parametrize("path", sorted(RULEBOOKS.glob("*.yml")), ids=lambda path: path.stem)
def test_rulebooks_use_sources_of_the_collection(path: Path) -> None:
    names = re.findall(r"^ +gce\.guest\.(\w+):$", path.read_text(), re.MULTILINE)

    assert names
    for name in names:
        assert (CHECKOUT / f"extensions/eda/plugins/event_source/{name}.py").exists()
