# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of tests of the handler, judged by the trace of its tasks, and the table of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .handler import HandlerProcess

# (phase, task)
Run = tuple[str, str]


@dataclass(frozen=True)
class Verdict:
    """The verdict on one test. All its fields list errors."""

    missed: tuple[str, ...] = ()
    left_drained: tuple[str, ...] = ()
    run_twice: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        return not (self.missed or self.left_drained or self.run_twice)


def judged(handler: HandlerProcess, announced: Sequence[str], interrupted: Collection[Run] = ()) -> Verdict:
    """What came of a handler whose incidents are over: of the events that were announced, and of its tasks' pairs.

    `interrupted` are the steps that the journal had as running when the handler was killed: such a step is run again,
    or its task is restored, whether or not its process had come as far as to note anything. So is a step that the
    handler cancelled because its event was over.
    """
    interrupted = [*interrupted, *_cancelled(handler)]
    heard = [past["event"] for incident in handler.history() for past in incident["past"]]
    missed = list(announced)
    for event in heard:
        if event in missed:
            missed.remove(event)
    left, twice = [], []
    for entry in handler.config["tasks"]:
        name, has_restore = entry["name"], "restore" in entry
        phases = [line.split(" ", 1)[0] for line in handler.trace() if line.split(" ", 1)[1] == name]
        excused = {phase for phase, task in interrupted if task == name}
        before = "restore"
        for phase in phases:
            if phase != before:
                before = phase
            elif phase in excused:
                excused.remove(phase)
            elif not (phase == "restore" and "drain" in excused) and has_restore:
                twice.append(f"{phase} {name}")
        if has_restore and before == "drain":
            left.append(name)
    left += [name for incident in handler.history() for name in incident["held"] if _can_restore(handler, name)]
    return Verdict(tuple(missed), tuple(left), tuple(twice))


def _cancelled(handler: HandlerProcess) -> list[Run]:
    steps = [step for incident in handler.history() for step in incident.get("steps", ())]
    return [(step["phase"], step["task"]) for step in steps if step["outcome"] == "cancelled"]


def _can_restore(handler: HandlerProcess, name: str) -> bool:
    return any(entry["name"] == name and "restore" in entry for entry in handler.config["tasks"])


@dataclass
class Row:
    tried: int = 0
    survived: int = 0
    missed: int = 0
    left_drained: int = 0
    run_twice: int = 0
    seen_by: str = ""


class Table:
    """Rows by section and name, in the order of their first test."""

    def __init__(self) -> None:
        self._sections: dict[str, dict[str, Row]] = {}

    def tried(self, section: str, name: str, seen_by: str = "") -> None:
        row = self._sections.setdefault(section, {}).setdefault(name, Row(seen_by=seen_by))
        row.tried += 1

    def survived(self, section: str, name: str, verdict: Verdict) -> None:
        row = self._sections[section][name]
        row.survived += 1
        row.missed += len(verdict.missed)
        row.left_drained += len(verdict.left_drained)
        row.run_twice += len(verdict.run_twice)

    def write(self, path: Path, introduction: str) -> None:
        parts = [introduction]
        for title, rows in self._sections.items():
            parts += [f"{title}\n{'-' * len(title)}\n", "\n".join(_list_table(rows)) + "\n"]
        path.write_text("\n".join(parts), encoding="utf-8")


_HEAD = ("What happens", "Tried", "Survived", "Events missed", "Tasks left drained", "Tasks run twice", "Metric")


def _list_table(rows: dict[str, Row]) -> Iterable[str]:
    has_metric = any(row.seen_by for row in rows.values())
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield ""
    yield from _cells(_HEAD if has_metric else _HEAD[:-1])
    for name, row in rows.items():
        counts = (row.tried, row.survived, row.missed, row.left_drained, row.run_twice)
        yield from _cells((name, *map(str, counts), *([f"``{row.seen_by}``"] if has_metric else [])))


def _cells(cells: Sequence[str]) -> Iterable[str]:
    for index, cell in enumerate(cells):
        yield f"   {'* ' if index == 0 else '  '}- {cell}"
