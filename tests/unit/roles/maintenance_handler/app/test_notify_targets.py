# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of notifications: valid ones, and one message for each invalid one, without secrets."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.app.config import Config, ConfigError, parse
from maintenance_handler.app.preflight import report
from support.handler import PACKAGE_FOLDER
from support.vm_python import VM_PYTHON

URL = "https://hooks.example.com/services/T0/B0/hunter2"
SMTP = {"host": "mail", "from": "vm@example.com", "to": ["ops@example.com"]}


def config(*targets: Any) -> Config:
    return parse(json.dumps({"state_dir": "/var/lib/h", "runtime_dir": "/run/h", "notify": targets}).encode())


def problems(*targets: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(*targets)
    return caught.value.problems


def problem(**fields: Any) -> str:
    (only,) = problems({"name": "chat", **fields})
    return only


def test_targets_have_defaults() -> None:
    chat, pager, alerts, mail = config(
        {"name": "chat", "preset": "slack", "url": URL},
        {"name": "pager", "preset": "pagerduty", "routing_key": "r"},
        {"name": "alerts", "preset": "alertmanager", "url": "http://alertmanager:9093/"},
        {"name": "mail", "smtp": {**SMTP, "security": "tls"}},
    ).notify
    assert chat["timeout"] == 10
    assert "draining" not in chat["on"]
    assert {"noticed", "drained", "restored", "blind", "limit_exceeded"} < set(chat["on"])
    assert pager["url"] == "https://events.pagerduty.com/v2/enqueue"
    assert "restored" in pager["on"]
    assert not {"noticed", "drained"} & set(pager["on"])
    assert alerts["url"] == "http://alertmanager:9093/api/v2/alerts"
    assert mail["smtp"]["port"] == 465


def test_url_of_alertmanager_may_be_whole() -> None:
    url = "https://prometheus/prefix/api/v2/alerts"
    assert config({"name": "a", "preset": "alertmanager", "url": url}).notify[0]["url"] == url


@pytest.mark.parametrize(
    "fields, words",
    [
        ({}, ["url, command, smtp"]),
        ({"url": URL, "command": ["x"]}, ["give one of"]),
        ({"url": "ftp://x/hunter2"}, ["'url'", "https://"]),
        ({"url": "https:///hunter2"}, ["'url'", "host"]),
        ({"url": "https://hunter2:hunter2@x/"}, ["'url'", "'headers'"]),
        ({"url": "https://x:hunter2/"}, ["'url'"]),
        ({"url": "https://x/a b\r\nhunter2"}, ["'url'"]),
        ({"url": 3}, ["'url'", "string"]),
        ({"preset": "slack"}, ["'url'", "missing"]),
        ({"preset": "slak", "url": URL}, ["'preset'", "did you mean 'slack'"]),
        ({"preset": "pagerduty"}, ["'routing_key'", "missing"]),
        ({"url": URL, "routing_key": "hunter2"}, ["'routing_key'", "pagerduty"]),
        ({"preset": "slack", "url": URL, "template": {"a": "$text"}}, ["'template'", "'preset'"]),
        ({"url": URL, "template": {"a": ["${sumary}"]}}, ["'template'", "$sumary", "did you mean 'summary'"]),
        ({"url": URL, "template": "costs $5"}, ["'template'", "$$"]),
        ({"url": URL, "template": {}}, ["'template'"]),
        ({"url": URL, "headers": {"a b": "hunter2"}}, ["'headers'", "'a b'"]),
        ({"url": URL, "headers": {"Authorization": "hunter2\r\nX: y"}}, ["'Authorization'", "single line"]),
        ({"url": URL, "headers": {"Authorization": 7}}, ["'Authorization'"]),
        ({"url": URL, "headers": {"Content-length": "7"}}, ["'Content-length'"]),
        ({"url": URL, "headers": ["hunter2"]}, ["'headers'", "object"]),
        ({"url": URL, "timeout": 0}, ["'timeout'", "1 to 60"]),
        ({"url": URL, "on": []}, ["'on'"]),
        ({"url": URL, "on": ["drain"]}, ["'on'", "did you mean 'drained'"]),
        ({"url": URL, "on": ["drained", "drained"]}, ["'on'", "twice"]),
        ({"url": URL, "key_file": "/k"}, ["'key_file'", "'cert_file'"]),
        ({"url": URL, "ca_file": "k"}, ["'ca_file'", "absolute"]),
        ({"url": URL, "header": {}}, ["'header'", "did you mean 'headers'"]),
        ({"command": "logger x"}, ["'command'", "list of words"]),
        ({"command": ["logger"], "headers": {}}, ["'headers'", "unknown here"]),
        ({"smtp": {**SMTP, "to": "ops@example.com"}}, ["'smtp'", "to:", "list"]),
        ({"smtp": {**SMTP, "to": ["ops@example.com\nBcc: x@y"]}}, ["'smtp'", "to:"]),
        ({"smtp": {**SMTP, "host": "m;x"}}, ["'smtp'", "host:"]),
        ({"smtp": {"host": "m", "from": "a@b"}}, ["'smtp'", "to: is missing"]),
        ({"smtp": {**SMTP, "user": "hunter2"}}, ["'smtp'", "both"]),
        ({"smtp": {**SMTP, "user": "u", "password": "hunter2", "security": "none"}}, ["'smtp'", "encryption"]),
        ({"smtp": {**SMTP, "security": "ssl"}}, ["'smtp'", "security:", "starttls"]),
        ({"smtp": {**SMTP, "security": ["tls"]}}, ["'smtp'", "security:", "starttls"]),
        ({"smtp": {**SMTP, "port": 0}}, ["'smtp'", "port:"]),
        ({"smtp": {**SMTP, "pass": "hunter2"}}, ["'smtp'", "'pass'", "unknown"]),
        ({"smtp": [SMTP]}, ["'smtp'", "object"]),
    ],
)
def test_invalid_target_is_rejected_without_its_secrets(fields: dict[str, Any], words: list[str]) -> None:
    found = problem(**fields)
    assert found.startswith("notify 'chat', ")
    assert "hunter2" not in found
    for word in words:
        assert word in found


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", 3, "x" * 61])
def test_name_is_part_of_a_file_name(name: Any) -> None:
    (found,) = problems({"name": name, "url": URL})
    assert "'name'" in found


def test_names_are_unique_and_problems_are_numbered() -> None:
    assert problems({"name": "a", "url": URL}, {"name": "a", "url": URL}) == [
        "notify 'a', field 'name': is used by more than one target"
    ]
    assert problems({"url": URL}, 7)[1] == "notify 2: must be an object, not a number"
    with pytest.raises(ConfigError, match="must be a list"):
        parse(b'{"state_dir": "/s", "runtime_dir": "/r", "notify": {"a": 1}}')


def test_targets_that_are_rarely_intended_are_noted() -> None:
    cautions = config(
        {"name": "pager", "preset": "pagerduty", "routing_key": "r", "on": ["failed"]},
        {"name": "plain", "url": "http://x.example.com/", "headers": {"Authorization": "hunter2"}},
        {"name": "local", "url": "http://127.0.0.1/", "headers": {"Authorization": "hunter2"}},
    ).cautions
    assert len(cautions) == 2
    assert "restored" in cautions[0]
    assert "without encryption" in cautions[1]
    assert "hunter2" not in str(cautions)


def test_check_finds_what_is_missing_on_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    targets = [
        {"name": "web", "url": URL, "ca_file": "/no/such.pem"},
        {"name": "mail", "smtp": {**SMTP, "ca_file": str(tmp_path / "none.pem")}},
        {"name": "run", "command": ["no-such-program"]},
    ]
    document = {"state_dir": str(tmp_path), "runtime_dir": str(tmp_path), "notify": targets}
    path.write_text(json.dumps(document), encoding="utf-8")
    found = report(path).problems
    assert [line.partition(":")[0] for line in found] == [
        "notify 'web', field 'ca_file'",
        "notify 'mail', field 'ca_file'",
        "notify 'run', field 'command'",
    ]


def test_code_for_notifications_is_not_loaded_without_targets(tmp_path: Path) -> None:
    """They would use the handler's memory."""
    script = (
        "import sys, json, pathlib\n"
        "from maintenance_handler.app import config, handler\n"
        "config.parse(json.dumps({'state_dir': '/s', 'runtime_dir': '/r', 'notify': NOTIFY}).encode())\n"
        "print(*[name for name in sys.modules if 'noti' in name or 'outbox' in name or name in ('ssl', 'http.client')])"
    )

    def loaded(notify: str) -> set[str]:
        command = [
            VM_PYTHON,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(PACKAGE_FOLDER)!r})\nNOTIFY={notify}\n{script}",
        ]
        return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())

    assert loaded("[]") == {
        "maintenance_handler.io.sd_notify",
        "maintenance_handler.io.notified",
        "maintenance_handler.app.notifications",
    }
    assert {"ssl", "http.client"}.isdisjoint(loaded("[{'name': 'a', 'url': 'https://x/'}]"))


def test_role_writes_the_file_for_its_user_only() -> None:
    tasks = (PACKAGE_FOLDER.parent / "tasks" / "install.yml").read_text(encoding="utf-8")
    task = tasks.partition("- name: Write the configuration")[2].partition("- name:")[0]
    assert f"mode: '{stat.S_IRUSR | stat.S_IWUSR:04o}'" in task
    assert "maintenance_handler_notify | length == 0" in task
