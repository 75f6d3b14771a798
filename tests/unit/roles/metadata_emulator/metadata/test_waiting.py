# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which waiters a change wakes, and how often an answer is rendered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gce_emulator.metadata.waiting import Question, Waiter, Waiting
from gce_emulator.metadata.wire import TEXT, Answer
from gce_emulator.state import tree
from gce_emulator.state.instance import Instance
from gce_emulator.state.project import Project


class Desk:
    """Waiting for an instance, with a count of rendered answers."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.made: list[Question] = []
        self.told: list[str] = []
        self.waiting = Waiting(instance.find, self.answer)
        instance.on_change(self.waiting.changed)

    def answer(self, question: Question) -> Answer:
        self.made.append(question)
        node = self.instance.find(question.path)
        if node is None:
            return Answer(404, b"", TEXT)
        rendered = tree.render(node, question.path, recursive=question.recursive, alt=question.alt)
        return Answer(200, rendered.body, TEXT, rendered.etag)

    def hold(self, path: str, *, recursive: bool = False, alt: str | None = None) -> Callable[[], None]:
        question = Question(path, recursive, alt)
        etag = str(self.answer(question).etag)
        self.made.clear()
        return self.waiting.add(question, Waiter(etag, lambda answer: self.told.append(path)), None)


@pytest.fixture
def desk(make_project: Callable[..., Project]) -> Desk:
    project = make_project({"name": "web-1", "attributes": {"colour": "blue", "size": "9"}})
    return Desk(project.instances["web-1"])


def test_equal_questions_share_one_answer(desk: Desk) -> None:
    for _unused in range(100):
        desk.hold("instance/attributes/colour")
    desk.instance.set("instance/attributes/colour", "red")
    assert len(desk.made) == 1
    assert len(desk.told) == 100
    assert len(desk.waiting) == 0


def test_a_change_affects_only_matching_questions(desk: Desk) -> None:
    for path in ("instance/attributes/size", "instance/name", "instance/attributes/colour"):
        desk.hold(path)
    for path in ("", "instance", "instance/attributes", "instance/disks", "project"):
        desk.hold(path, recursive=True)
    desk.instance.set("instance/attributes/colour", "red")
    concerned = ["instance/attributes/colour", "instance/attributes", "instance", ""]
    assert [question.path for question in desk.made] == concerned
    assert desk.told == concerned


def test_each_format_is_rendered_separately(desk: Desk) -> None:
    desk.hold("instance/attributes", recursive=True)
    desk.hold("instance/attributes", recursive=True, alt="text")
    desk.instance.set("instance/attributes/colour", "red")
    assert [question.alt for question in desk.made] == [None, "text"]


def test_released_waiter_gets_no_answer(desk: Desk) -> None:
    let_go = desk.hold("instance/attributes/colour")
    let_go()
    let_go()
    desk.instance.set("instance/attributes/colour", "red")
    assert (desk.told, desk.made) == ([], [])


def test_unchanged_attributes_wake_no_waiter(desk: Desk) -> None:
    desk.hold("instance/attributes/size")
    desk.hold("instance/attributes", recursive=True)
    desk.instance.metadata.write({"colour": "blue", "size": "9"})
    assert desk.told == []
    desk.instance.metadata.write({"colour": "blue", "size": "10", "new": "x"})
    assert sorted(desk.told) == ["instance/attributes", "instance/attributes/size"]


def test_omitted_attributes_are_removed(desk: Desk) -> None:
    desk.hold("instance/attributes/size")
    desk.instance.metadata.write({"colour": "blue"})
    assert desk.told == ["instance/attributes/size"]
    assert desk.instance.attributes == {"colour": "blue"}


def test_project_metadata_wakes_the_guests_of_all_instances(make_project: Callable[..., Project]) -> None:
    project = make_project({"name": "web-1"}, {"name": "web-2"})
    desks = [Desk(instance) for instance in project.instances.values()]
    for desk in desks:
        desk.hold("project/attributes", recursive=True)
    project.metadata.write({"season": "winter"})
    assert [desk.told for desk in desks] == [["project/attributes"]] * 2
