# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Valid and invalid journals, and all operations of a handler on a journal."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from maintenance_handler._vm.maintenance import MAINTENANCE_EVENT_KEY, UPCOMING_MAINTENANCE_KEY, Window
from maintenance_handler.app.config import Config
from maintenance_handler.app.status import read
from maintenance_handler.core.actions import Start
from maintenance_handler.core.event import document
from maintenance_handler.core.incident import Incident, Moment, PastSignal, Signal, Skip, Step
from maintenance_handler.core.machine import State, step
from maintenance_handler.core.narrate import narrate
from maintenance_handler.core.observations import Observation, Reconfigured, Tick, Withdrawn, recovered
from maintenance_handler.core.public import public
from maintenance_handler.core.tasks import Task
from maintenance_handler.core.timeline import incident_lines
from maintenance_handler.io.journal import Entry, Journal, JournalError
from maintenance_handler.io.launch import task_document

from .incidents import CLOCK, WALL, always

NOW = Moment(CLOCK, WALL)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))


MIGRATION = document("migrate", MAINTENANCE_EVENT_KEY, "MIGRATE_ON_HOST_MAINTENANCE", 60.0)
WINDOW_TOLD = document("window", UPCOMING_MAINTENANCE_KEY, "PENDING", None, Window(1_780_000_000.0, status="PENDING"))


def entry(name: str, *, size: int = 0) -> Entry:
    """An entry with a value in every field, of any size."""
    noticed = Moment(1.5, 1_780_000_000.25)
    return Entry(
        "4711",
        "boot-1",
        Incident(
            id=name,
            opened=noticed,
            tasks=(Task("lb", ("migrate",), drain=("/drain", "x" * size), env={"TOKEN": "ä"}, when="rehearsal"),),
            signals=(Signal(MAINTENANCE_EVENT_KEY, "migrate", "MIGRATE", noticed, 61.5, MIGRATION),),
            past=(PastSignal("window", "PENDING", False, 1.0, 2.0, WINDOW_TOLD),),
            steps=(
                Step(1, "lb", "drain", "migrate", 1, noticed, 21.5, 60.0, 61.5),
                Step(2, "db", "drain", "migrate", 1, noticed, 21.5, None, None, Moment(2.0, 3.0), "failed", "why"),
            ),
            skips=(Skip("web", "migrate", 1, "when is false", 4.0),),
        ),
    )


def whole() -> dict[str, Any]:
    """The JSON of an entry."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        journal.write(entry("1-migrate"))
        return dict(json.loads(journal.path.read_bytes()))


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> bytes:
    """JSON with one value replaced or removed, or with some bytes replaced."""
    changed = copy.deepcopy(whole)
    if draw(st.booleans()):
        content = bytearray(json.dumps(changed).encode())
        position, replacement = draw(st.integers(0, len(content))), draw(st.binary(max_size=3))
        content[position : position + len(replacement)] = replacement
        return bytes(content)
    *path, last = draw(st.sampled_from(list(places(whole))))
    inner: Any = changed
    for key in path:
        inner = inner[key]
    if draw(st.booleans()):
        inner[last] = draw(VALUES)
    else:
        del inner[last]
    return json.dumps(changed).encode()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all parts of a JSON value."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def take_up(content: bytes) -> Entry | None:
    """All operations of a handler and its commands on a journal; None if they reject it."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        journal.path.write_bytes(content)
        read(Config(Path(folder), Path(folder)), NOW.clock, "boot-1")
        try:
            found = journal.read()
        except JournalError:
            return None
        if found is None or found.incident is None:
            return found
        for same_boot in (True, False):
            state = State((), recovered(found.incident, NOW, same_boot))
            observations: tuple[Observation, ...] = (
                Reconfigured(found.incident.tasks[:1]),
                Tick(),
                Withdrawn("instance/maintenance-event"),
                Withdrawn("instance/upcoming-maintenance"),
            )
            for observation in observations:
                before = state.incident
                state, actions = step(state, observation, NOW, always)
                for action in actions:
                    if isinstance(action, Start):
                        told = task_document(action, "1", NOW.at)
                        if not action.task.command(action.step.phase, told["event"]):
                            raise AssertionError("nothing to start")
                        json.dumps(told)
                if state.incident is not None:
                    narrate(before, state.incident, NOW)
                    incident_lines(json.loads(json.dumps(public(state.incident, NOW))))
                    journal.write(Entry(found.instance_id, found.boot_id, state.incident))
                    if journal.read() is None:
                        raise AssertionError("the journal that was read cannot be written")
        return found


WHOLE = whole()
