# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest attribute of a handler, as a reader takes it, whoever wrote it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.handler_status import (
    LONGEST_TEXT,
    MOST_ENTRIES,
    STATES,
    STOPPED,
    UnreadableStatus,
    parse_handler_status,
)

from maintenance_handler.app import config as configuration
from maintenance_handler.app import guest_status
from maintenance_handler.app.report import Reporter
from maintenance_handler.core.incident import CLOSED, PHASES, Moment
from maintenance_handler.io.log import Log
from support import documents
from support.emulator import EmulatorProcess, eventually

PAST = {
    "event": "migrate",
    "value": "X",
    "rehearsal": False,
    "noticed_at": 1_780_000_000.0,
    "ended_at": 1_780_000_060.0,
}
VALID = {"state": "idle", "at": "2026-11-26T18:20:00Z", "version": "0.1.0"}


def parsed(**changes: Any) -> dict[str, Any]:
    return vars(parse_handler_status(json.dumps({**VALID, **changes})))


def test_knows_all_states_of_the_handler() -> None:
    assert set(STATES) == {*PHASES, guest_status.STOPPED} - {CLOSED}
    assert guest_status.STOPPED == STOPPED


def test_reads_what_a_handler_writes(tmp_path: Path) -> None:
    with EmulatorProcess(
        {"instances": [{"name": "web-1", "attributes": {"enable-guest-attributes": "TRUE"}}]}
    ) as emulator:
        host = emulator.metadata["web-1"]
        config = configuration.Config(state_dir=tmp_path, runtime_dir=tmp_path, metadata_host=host)
        reporter = Reporter(config, Log(stream=io.StringIO()), "boot-1", lambda _result: None, lambda _shown: None)
        reporter.closed(documents.incident("one", past=[PAST]))
        reporter.report(None, Moment(100.0, 1_780_000_000.0))
        reporter.start()
        eventually(lambda: emulator.control.instance("web-1")["guest_attributes"])
        text = emulator.control.instance("web-1")["guest_attributes"]["maintenance-handler"]["status"]
    status = parse_handler_status(text)
    assert (status.state, status.at, status.every, status.is_running) == ("idle", 1_780_000_000.0, 3600.0, True)
    assert status.last_incident == json.loads(text)["last_incident"]
    assert status.last_incident is not None
    assert status.last_incident["outcome"] == "nothing run"


def test_a_handler_of_an_earlier_version_has_fewer_fields() -> None:
    status = parse_handler_status(json.dumps(VALID))
    assert (status.every, status.last_incident, status.held, status.deadlines) == (None, None, (), {})


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("9" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", "no time"),
        (json.dumps({**VALID, "at": "soon"}), "no time"),
        (json.dumps({**VALID, "at": 1e300}), "no time"),
        (json.dumps({**VALID, "state": "fine"}), "unknown state 'fine'"),
        (json.dumps({**VALID, "state": ["idle"]}), "unknown state ''"),
        (json.dumps({**VALID, "state": "x" * 1000}), "unknown state"),
    ],
)
def test_what_no_handler_writes_is_refused(text: str, words: str) -> None:
    with pytest.raises(UnreadableStatus) as caught:
        parse_handler_status(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < LONGEST_TEXT + 100


@pytest.mark.parametrize("every", [True, "3600", -1, 0, 1e300, None, [1]])
def test_an_odd_interval_is_none(every: Any) -> None:
    assert parsed(every=every)["every"] is None


@pytest.mark.parametrize("raw", [None, "soon", [1], {}, {"terminate": "soon", "window": True, "migrate": 1e300}])
def test_odd_deadlines_are_left_out(raw: Any) -> None:
    assert parsed(deadlines=raw)["deadlines"] == {}


def test_deadlines_are_those_of_events() -> None:
    at = 1_780_000_000
    invented = {f"event {number}": at for number in range(1000)}
    status = parse_handler_status(json.dumps({**VALID, "deadlines": {**invented, "terminate": at, "manual": at}}))
    assert status.deadlines == {"terminate": at}
    assert status.document()["deadlines"] == {"terminate": "2026-05-28T20:26:40Z"}


def test_texts_are_bounded_and_in_one_line() -> None:
    held = parsed(held=["a\nb\x1b[31m\u202e", "x" * 10_000, 7, None] + ["task"] * 1000)["held"]
    assert held[0] == "a b [31m "
    assert len(held[1]) == LONGEST_TEXT
    assert len(held) <= MOST_ENTRIES
    assert parsed(held="task")["held"] == ()
    assert parsed(version={"a": 1})["version"] == ""


@pytest.mark.parametrize("raw", ["x", [], {}, {"event": "migrate"}, {"event": 7, "outcome": "ok"}])
def test_an_incident_without_event_and_outcome_is_none(raw: Any) -> None:
    assert parsed(last_incident=raw)["last_incident"] is None
