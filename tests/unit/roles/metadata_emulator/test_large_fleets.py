# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that is shared or avoided, for thousands of VMs and hanging GETs."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from typing import Any

import pytest

from gce_emulator.metadata.answers import MetadataAnswers
from gce_emulator.metadata.waiting import Question
from gce_emulator.state.instance import Instance
from gce_emulator.state.project import Project
from gce_emulator.web.listening import Ports
from support.emulator import EmulatorProcess
from support.wire import ask

TREE = Question("", True, None)
INSTANCES = 3000


@pytest.fixture
def web(make_project: Callable[..., Project]) -> Instance:
    return make_project({"name": "web-1"}, {"name": "web-2"}).instances["web-1"]


def test_answer_is_rendered_once_until_a_change(web: Instance) -> None:
    answers = MetadataAnswers(web)
    first = answers.current(TREE)
    assert answers.current(TREE) is first
    for change in (
        lambda: web.set("instance/attributes/a", "1"),
        lambda: web.project.set("project/attributes/a", "1"),
        lambda: web.project.zonal_metadata(web.zone).write({"b": "2"}),
        web.project.reset,
    ):
        before = answers.current(TREE)
        change()
        assert answers.current(TREE).etag != before.etag
    assert answers.current(TREE).etag == first.etag


def test_changes_of_other_instances_keep_the_answer(web: Instance) -> None:
    answers = MetadataAnswers(web)
    first = answers.current(TREE)
    web.project.instances["web-2"].set("instance/attributes/a", "1")
    assert answers.current(TREE) is first


def test_cached_answers_are_limited(web: Instance) -> None:
    answers = MetadataAnswers(web)
    for number in range(1000):
        answers.current(Question(f"instance/attributes/{number}", False, None))
    assert len(answers.kept) <= 32


def test_each_instance_has_its_own_port() -> None:
    ports = Ports()
    opened: list[socket.socket] = []
    try:
        opened += [ports.listen("127.0.0.1", 0) for _unused in range(50)]
        numbers = [each.getsockname()[1] for each in opened]
        assert len(set(numbers)) == 50
        with pytest.raises(OSError, match=f"127.0.0.1 port {numbers[7]}"):
            ports.listen("127.0.0.1", numbers[7])
    finally:
        for each in opened:
            each.close()


def test_thousands_of_vms_are_served() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < INSTANCES + 100:
        pytest.skip(f"this user may open {hard} files only; {INSTANCES} listening sockets need more: see ulimit -Hn")
    fleet: dict[str, Any] = {"instances": [{"name": f"vm-{number}"} for number in range(INSTANCES)]}
    with EmulatorProcess(fleet) as emulator:
        assert len(set(emulator.metadata.values())) == INSTANCES
        for number in (0, INSTANCES // 2, INSTANCES - 1):
            assert ask(emulator.metadata[f"vm-{number}"], "instance/name").text == f"vm-{number}"
