# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of notices on disk, and the thread that fills it."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.core.notices import Notice
from maintenance_handler.io.newest import Shown
from maintenance_handler.io.notice_queue import MOST_FILES, NAMES, NoticeQueue
from maintenance_handler.io.notified import Notified, QueueRead
from maintenance_handler.io.outbox import MOST_WAITING, Outbox
from support.emulator import eventually


def notice(identity: str) -> dict[str, Any]:
    found = Notice(id=identity, kind="drained", text="x", at=1_780_000_000.0, opened_at=1_780_000_000.0).to_dict()
    return {**found, "instance_id": None}


def settings(*names: str) -> dict[str, Any]:
    """Targets that are not interested in any of these notices."""
    return {"targets": [{"name": name, "url": "http://x/", "on": ["blind"], "timeout": 1} for name in names]}


class Started:
    """An outbox, and what it has posted."""

    def __init__(self, folder: Path) -> None:
        self.posted: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.messages: list[Any] = []
        self.queue = NoticeQueue(folder)
        self.outbox = Outbox(folder, self.posted.put)

    def until(self, condition: Callable[[], object], what: str) -> None:
        def holds() -> object:
            while not self.posted.empty():
                self.messages.append(self.posted.get())
            return condition()

        eventually(holds, within=60, what=what)

    def ids(self) -> list[str]:
        return [identity for _number, identity in self.queue.entries()]

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    def close(self) -> None:
        self.outbox.stop()
        assert self.outbox.wait(60)


def test_notices_are_numbered_in_order_also_by_the_next_handler(tmp_path: Path) -> None:
    first = Started(tmp_path)
    first.outbox.configure(settings("chat"))
    for identity in ("c", "a", "b"):
        first.outbox.put(notice(identity))
    first.close()
    second = Started(tmp_path)
    second.outbox.configure(settings("chat"))
    second.outbox.put(notice("d"))
    second.outbox.put(notice("a"), lambda known: "a" not in known)
    second.close()
    assert second.ids() == ["c", "a", "b", "d"]
    second.until(lambda: second.of(QueueRead), "the queue of the first")
    assert second.of(QueueRead)[0].known == ["c", "a", "b"]


def test_lost_notices_are_logged(tmp_path: Path) -> None:
    started = Started(tmp_path)
    for number in range(MOST_WAITING):
        started.outbox.put(notice(f"n{number}"))
    for number in range(3):
        started.outbox.put(notice(f"lost{number}"))
    # Without settings, nothing is written yet, nor is anything logged.
    started.outbox.configure(settings("chat"))
    started.until(lambda: len(started.ids()) == MOST_WAITING, "all that fit")
    started.until(lambda: "3 notices are lost" in str(started.of(Notified)), "the log")
    started.close()


def test_problem_of_writing_is_posted_once(tmp_path: Path) -> None:
    started = Started(tmp_path)
    (tmp_path / "notices").touch()
    started.outbox.configure(settings("chat"))
    started.outbox.put(notice("a"))
    started.until(lambda: started.of(Shown), "the problem")
    (tmp_path / "notices").unlink()
    started.until(lambda: len(started.of(Shown)) == 2, "its end")
    assert [bool(one.problem) for one in started.of(Shown)] == [True, False]
    started.close()
    assert started.ids() == ["a"]


def test_notice_that_is_put_just_before_the_stop_is_queued(tmp_path: Path) -> None:
    """Here after the thread has written all that there was, and while no notifier runs."""
    found = NoticeQueue(tmp_path)
    found.make()
    (found.folder / NAMES).touch()

    def post(message: Any) -> None:
        if "1 notices are lost" in str(message):
            outbox.put(notice("last"))
            outbox.stop()

    outbox = Outbox(tmp_path, post)
    for number in range(MOST_WAITING + 1):
        outbox.put(notice(f"n{number}"), lambda _known: False)
    outbox.configure(settings("chat"))
    assert outbox.wait(60)
    assert [identity for _number, identity in found.entries()] == ["last"]


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    started = Started(tmp_path)
    started.outbox.configure(settings("chat"))
    started.outbox.put(notice("a"))
    started.close()
    paths = [tmp_path / "notices", *(tmp_path / "notices").iterdir()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)


def test_target_that_is_removed_is_forgotten(tmp_path: Path) -> None:
    started = Started(tmp_path)
    started.outbox.configure(settings("chat", "mail"))
    started.outbox.put(notice("a"))
    started.until(lambda: started.queue.done("mail") == 1, "the end of its queue")
    started.outbox.configure(settings("chat"))
    started.until(lambda: started.queue.done("mail") is None, "its end")
    started.close()


def test_queue_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    found = NoticeQueue(tmp_path)
    found.make()
    for number in range(1, MOST_FILES + 6):
        (found.folder / f"{number:010d}.n{number}.json").write_text(json.dumps(notice(f"n{number}")))
    assert found.trim(MOST_FILES + 5, MOST_FILES) == MOST_FILES
    assert found.entries()[0] == (6, "n6")
    # What a target still waits for is kept.
    assert found.trim(3) == MOST_FILES
    assert found.trim(50, kept=10) == MOST_FILES - 45


@pytest.mark.parametrize("identity", ["../x", "a/b", "", "a b", "x" * 200])
def test_id_that_is_no_file_name_is_refused(tmp_path: Path, identity: str) -> None:
    found = NoticeQueue(tmp_path)
    found.make()
    with pytest.raises(OSError, match="id of a notice"):
        found.add(1, notice(identity))
    assert list(found.folder.iterdir()) == []


def test_what_a_crash_has_left_is_deleted(tmp_path: Path) -> None:
    found = NoticeQueue(tmp_path)
    found.make()
    (found.folder / ".0000000001.a.json.0123abcd.new").touch()
    found.make()
    assert list(found.folder.iterdir()) == []
