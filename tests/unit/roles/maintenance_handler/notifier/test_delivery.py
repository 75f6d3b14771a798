# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery to one target: order, pauses, limits. Time is moved by the tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.core.notices import Notice
from maintenance_handler.io.notice_queue import MOST, NoticeQueue
from notifier.backlog import Backlog
from notifier.delivery import LONGEST_PAUSE, LONGEST_RETRY_AFTER, OLDEST, Clocks, Delivery
from notifier.outcome import Refused, Unavailable
from notifier.vm import Names

VM = Names({"instance": "web-1", "instance_id": "123", "zone": "z", "project": "p"})
WALL = 1_780_000_000.0


class Target:
    """A target that fails as told, and a clock."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.now = 0.0
        self.got: list[str] = []
        self.failures: list[Exception] = []
        self.queue = NoticeQueue(folder)
        self.queue.make()
        self.backlog = Backlog(self.queue)
        self.fields = {"name": "chat", "on": ["noticed", "drained", "restored"], **fields}
        self.count = 0
        self.delivery = self.start()

    def start(self) -> Delivery:
        self.backlog.refresh()
        clocks = Clocks(lambda: self.now, lambda: WALL + self.now, lambda: 0.0)
        return Delivery(self.fields, self.send, VM, self.queue, self.backlog, clocks)

    def send(self, _target: Mapping[str, Any], document: Mapping[str, Any]) -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.got.append(document["id"].removeprefix("123-"))
        return "ok"

    def put(self, identity: str, kind: str = "drained", **fields: Any) -> None:
        self.count += 1
        notice = Notice(id=identity, kind=kind, text="x", at=WALL + self.now, opened_at=WALL).to_dict()
        self.queue.add(self.count, {**notice, "instance_id": None, **fields})
        self.backlog.refresh()

    def steps(self) -> float | None:
        """Steps until it waits. Returns for how long; None if nothing is left."""
        while True:
            pause = self.delivery.step()
            if pause != 0:
                return pause

    def log(self, level: str) -> list[str]:
        return [text for one, text in self.delivery.log if one == level]


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(tmp_path)


def test_notices_are_sent_in_order(target: Target) -> None:
    for identity in ("c", "a", "b"):
        target.put(identity)
    assert target.steps() is None
    assert target.got == ["c", "a", "b"]
    assert (target.delivery.sent, target.delivery.failed, target.delivery.problem) == (3, 0, "")


def test_only_kinds_of_the_target_are_sent(target: Target) -> None:
    target.put("a", "draining")
    target.put("b", "drained")
    target.put("c", "draining")
    assert len(target.delivery.pending()) == 1
    assert target.steps() is None
    assert target.got == ["b"]
    # Files that no target waits for can be deleted.
    assert target.delivery.done == 3


def test_next_process_goes_on_where_the_last_one_ended(target: Target) -> None:
    target.put("a")
    target.put("b")
    target.failures = []
    assert target.delivery.step() == 0
    target.delivery = target.start()
    target.put("c")
    assert target.steps() is None
    assert target.got == ["a", "b", "c"]


def test_unavailable_target_is_tried_again_with_growing_pauses(target: Target) -> None:
    target.put("a")
    target.put("b")
    target.failures = [Unavailable("no answer")] * 9
    pauses = []
    while (pause := target.steps()) is not None:
        pauses.append(pause)
        assert target.delivery.step() == pytest.approx(pause)
        target.now += pause
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert target.got == ["a", "b"]
    assert len(target.log("warning")) == 1
    assert len(target.log("info")) == 1
    assert target.delivery.problem == ""


def test_pauses_differ_by_chance(tmp_path: Path) -> None:
    target = Target(tmp_path)
    target.delivery = Delivery(
        target.fields, target.send, VM, target.queue, target.backlog, Clocks(lambda: 0.0, lambda: WALL, lambda: 1.0)
    )
    target.put("a")
    target.failures = [Unavailable("no answer")]
    assert target.steps() == 0.5


@pytest.mark.parametrize("asked, pause", [(0.0, 1.0), (30.0, 30.0), (1e9, LONGEST_RETRY_AFTER)])
def test_retry_after_is_honoured_within_bounds(target: Target, asked: float, pause: float) -> None:
    target.put("a")
    target.failures = [Unavailable("busy", asked)]
    assert target.steps() == pause


def test_hurry_does_not_wait_for_the_pause(target: Target) -> None:
    target.put("a")
    target.failures = [Unavailable("no answer")]
    assert target.steps() == 1
    assert target.delivery.step(hurry=True) == 0
    assert target.got == ["a"]


def test_refused_notice_is_given_up_at_once_and_the_next_one_is_sent(target: Target) -> None:
    target.put("a")
    target.put("b")
    target.failures = [Refused("status 404")]
    assert target.steps() is None
    assert target.got == ["b"]
    assert (target.delivery.sent, target.delivery.failed) == (1, 1)
    (line,) = target.log("error")
    assert "gave up a: status 404" in line


def test_unexpected_error_is_not_final_and_shows_no_secret(target: Target) -> None:
    target.put("a")
    target.failures = [ValueError("hunter2")]
    assert target.steps() == 1
    assert "ValueError" in target.delivery.problem
    assert "hunter2" not in str(target.delivery.log)


def test_old_notice_is_given_up(target: Target) -> None:
    target.put("a")
    target.failures = [Unavailable("no answer")]
    assert target.steps() == 1
    target.now = OLDEST + 1
    target.put("b")
    assert target.steps() is None
    assert target.got == ["b"]
    (line,) = target.log("error")
    assert "older than 24 hours" in line
    assert "no answer" in line


def test_wall_clock_that_is_set_back_gives_nothing_up(target: Target) -> None:
    target.now = 5 * OLDEST
    target.put("a")
    target.now = 0.0
    assert target.steps() is None
    assert target.got == ["a"]


def test_oldest_are_given_up_if_too_many_wait(target: Target) -> None:
    for number in range(MOST + 2):
        target.put(f"n{number}")
    assert target.steps() is None
    assert len(target.got) == MOST
    assert target.got[0] == "n2"
    assert target.delivery.failed == 2


def test_notice_of_another_vm_on_a_copied_disk_is_not_sent(target: Target) -> None:
    target.put("a", instance_id="999")
    target.put("b", instance_id="123")
    target.put("c")
    assert target.steps() is None
    assert target.got == ["b", "c"]
    assert "copy" in target.log("error")[0]


def test_notice_is_sent_if_it_is_not_certain_which_vm_this_is() -> None:
    """The metadata server does not answer, and the names are those of another VM, or none."""
    known = {"instance": "old", "instance_id": "999", "zone": "z", "project": "p"}
    guessed = Names(known, is_certain=False).of("123")
    assert guessed is not None
    assert (guessed["instance_id"], guessed["zone"]) == ("123", "")
    assert guessed["instance"] not in ("", "old")
    assert Names(known, is_certain=False).of(None) == known
    assert Names(known).of("123") is None


def test_new_target_begins_with_the_next_notice(tmp_path: Path) -> None:
    target = Target(tmp_path)
    target.put("a")
    target.fields = {**target.fields, "name": "other", "after": 1}
    target.delivery = target.start()
    target.put("b")
    assert target.steps() is None
    assert target.got == ["b"]


def test_full_disk_does_not_keep_it_from_sending(target: Target) -> None:
    target.put("a")
    target.put("b")
    (target.queue.folder / "done.chat.json").mkdir()
    assert target.steps() is None
    assert target.got == ["a", "b"]
    assert "recording" in target.log("warning")[0]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "a"}', '{"id": "b", "kind": 7}', "\0\0\0", "[" * 100_000])
def test_damaged_file_is_skipped(target: Target, content: str) -> None:
    (target.queue.folder / "0000000001.a.json").write_text(content)
    target.count = 1
    target.put("b")
    assert target.steps() is None
    assert target.got == ["b"]
    assert target.backlog.unreadable == ("a",)
