# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the fleet's playbooks, in Ansible's templates. The tests of plugin_utils have all cases."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.handler import PACKAGE_FOLDER, HandlerProcess, task
from support.playbook import examples, run_play
from support.templating import TemplateFailed, TemplateProcess


@pytest.fixture(scope="module")
def template(collections_path: Path) -> Iterator[TemplateProcess]:
    with TemplateProcess(collections_path) as process:
        yield process


def test_rollout_summary_takes_strings_of_the_command_line(template: TemplateProcess) -> None:
    records = {"a": {"result": "done"}, "b": {"result": "failed", "why": "x"}}
    found = template("['a', 'b'] | gce.guest.rollout_summary(['2'], 'a', value, '50')", value=records)
    assert (found["batch"], found["done"], found["failed"], found["stop"]) == (1, ["a"], ["b"], False)


@pytest.mark.parametrize("arguments", ["[1], 'c', {}", "['x'], 'a', {}", "[1], 'a', {}, 'many'"])
def test_rollout_summary_refuses_what_it_cannot_use(template: TemplateProcess, arguments: str) -> None:
    with pytest.raises(TemplateFailed, match="rollout_summary: "):
        template(f"['a', 'b'] | gce.guest.rollout_summary({arguments})")


def test_examples(tmp_path: Path) -> None:
    handler = HandlerProcess(tmp_path, "127.0.0.1:9", [task("lb", "migrate")])
    program = tmp_path / "gce-maintenance-handler"
    words = [sys.executable, "-I", str(PACKAGE_FOLDER)]
    config = shlex.quote(str(handler.config_path))
    program.write_text(f'#!/bin/sh\nexport FOLDER={handler.folder}\nexec {shlex.join(words)} "$@" --config {config}\n')
    program.chmod(0o755)
    names = ("rollout_summary", "rehearsal", "rehearsal_summary")
    tasks = [{**task, "become": False} for name in names for task in examples("filter", name)]
    status, output = run_play(tasks, environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert status == 0, output
    assert output.count('"web-2"') == 2
    assert handler.trace() == ["drain lb", "restore lb"]
