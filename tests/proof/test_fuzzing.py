# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random input to the handler: it is accepted, or rejected with a sentence."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maintenance_handler._vm.maintenance import DEFAULT_NOTICE, SIGNAL_KEYS, UPCOMING_MAINTENANCE_KEY, UnreadableWindow
from maintenance_handler._vm.records import replace
from maintenance_handler._vm.signal_values import essence
from maintenance_handler._vm.watch import Failed, Heard, Watcher
from maintenance_handler.app.cli import main
from maintenance_handler.core.announcements import read
from maintenance_handler.core.incident import Hold, Incident, Order
from maintenance_handler.core.machine import State, step
from maintenance_handler.core.observations import Reading
from maintenance_handler.core.public import public
from maintenance_handler.core.slot import Holder, Slot
from maintenance_handler.core.slot_lines import GIVEN_UP
from maintenance_handler.io.lock import Lock
from support import documents
from support.incidents import always, task
from support.journals import NOW, VALUES, WHOLE, damaged, entry, take_up
from support.proof import Table, Verdict
from support.raw_server import Peer, RawServer, http_answer

pytestmark = pytest.mark.proof

SECTION = "Anything at all"
EXAMPLES = 500

# The same examples in each run, so that the table does not change.
same = settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None)


def tried(table: Table, name: str) -> None:
    for _unused in range(EXAMPLES):
        table.tried(SECTION, name)


def survived(table: Table, name: str) -> None:
    for _unused in range(EXAMPLES):
        table.survived(SECTION, name, Verdict())


STATUS = st.sampled_from(["200 OK", "204 None", "302 Found", "403 No", "404 None", "429 Slow", "500 Oh", "503 No"])
BODY = st.binary(max_size=40) | VALUES.map(json.dumps).map(str.encode)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content_type": st.sampled_from(["application/json", "text/html", "application/text", "", "a/b; charset=x"]),
        "etag": st.sampled_from(["0", "a" * 5000, ""]),
        "content_length": st.sampled_from(["0", "7", "-1", "x", "99999999999999999999"]),
        "metadata_flavor": st.sampled_from(["Google", "Amazon", ""]),
        "transfer_encoding": st.sampled_from(["chunked", "gzip", ""]),
    },
)
ANSWER = st.binary(max_size=60) | st.builds(
    lambda *given: http_answer(given[0], given[1], **given[2]), STATUS, BODY, HEADERS
)


def test_answers_of_the_metadata_server(table: Table) -> None:
    name = "As an answer of the metadata server"
    tried(table, name)

    @same
    @given(st.sampled_from(SIGNAL_KEYS), ANSWER)
    def any_answer(key: str, answer: bytes) -> None:
        said: list[Heard | Failed] = []

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(answer)
            peer.close()

        with RawServer(script) as server:
            watcher = Watcher(key, server.host, said.append, 1, sleep=lambda _unused: None)
            assert watcher.turn() >= 0
            watcher._server.close()
        (one,) = said
        if isinstance(one, Heard):
            react(read(one.key, one.value, NOW, DEFAULT_NOTICE, "terminate"))

    any_answer()
    survived(table, name)


def react(reading: Reading) -> None:
    """Pass a value to the state machine."""
    state, _unused = step(State((task("lb"), task("db", "window", lead=600.0))), reading, NOW, always)
    if state.incident is not None:
        assert Incident.from_dict(json.loads(json.dumps(state.incident.to_dict()))) == state.incident


FIELDS = ("window_start_time", "windowStartTime", "window_end_time", "maintenance_status", "can_reschedule", "type")
TIMES = st.sampled_from(
    ["2199-01-01T00:00:00Z", "0001-01-01T00:00:00-23:59", "9999-12-31T23:59:59+00:00", "soon", "NONE"]
)
WINDOWS = st.dictionaries(st.sampled_from(FIELDS), TIMES | VALUES) | VALUES


def test_upcoming_maintenance(table: Table) -> None:
    name = "As upcoming-maintenance"
    tried(table, name)

    @same
    @given(WINDOWS)
    def any_window(value: Any) -> None:
        key = UPCOMING_MAINTENANCE_KEY
        with contextlib.suppress(UnreadableWindow):
            react(read(key, essence(key, value), NOW, DEFAULT_NOTICE, "terminate"))

    any_window()
    survived(table, name)


TASK_FIELDS = (
    "name",
    "on",
    "stage",
    "drain",
    "restore",
    "playbook",
    "timeout",
    "retries",
    "lead",
    "when",
    "env",
    "user",
)
TASK = st.dictionaries(st.sampled_from(TASK_FIELDS), VALUES).map(
    lambda changes: {"name": "lb", "on": ["migrate"], "drain": ["true"], **changes}
)
SETTINGS = ("state_dir", "runtime_dir", "notice", "poll_timeout", "unknown_event", "log_level", "metrics_textfile")
CONFIGURATION = st.builds(
    lambda tasks, changes: {"tasks": tasks, "state_dir": "/x", "runtime_dir": "/y", **changes},
    st.lists(TASK, max_size=2) | VALUES,
    st.dictionaries(st.sampled_from(SETTINGS), VALUES, max_size=2),
)


def test_configurations(table: Table) -> None:
    name = "As the configuration"
    tried(table, name)

    @same
    @given(st.binary(max_size=60) | CONFIGURATION.map(json.dumps).map(str.encode))
    def any_configuration(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config.json"
            path.write_bytes(content)
            said, wrong = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
                status = main(["check", "--config", str(path)])
        assert (status, bool(wrong.getvalue())) in ((0, False), (2, True))

    any_configuration()
    survived(table, name)


def test_journals(table: Table) -> None:
    name = "As the journal"
    tried(table, name)

    @same
    @given(st.binary(max_size=60) | damaged(WHOLE))
    def any_journal(content: bytes) -> None:
        take_up(content)

    any_journal()
    survived(table, name)


def test_status_and_history(table: Table) -> None:
    name = "As its status, and as a line of its history"
    tried(table, name)
    incident = entry("1-migrate").incident
    assert incident is not None
    past = replace(incident.past[0], order=Order("alice", "terminate", "why"), ended_by="bob")
    slot = Slot(NOW, "migrate", waiting=("lb",), holders=(Holder("a/b/1", "window", "now"),)).noted(NOW, GIVEN_UP)
    shown = public(replace(incident, past=(past,), hold=Hold("carol", NOW.at), slot=slot), NOW)
    limit = {"backend": "etcd", "group": "web", "may_hold": False}
    status = documents.status(incident=shown, last_good_answer={"instance/preempted": None}, fleet_limit=limit)

    @same
    @given(st.binary(max_size=60) | damaged(status), st.binary(max_size=60) | damaged(shown))
    def anything(status: bytes, line: bytes) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "boot_id").write_text(documents.BOOT_ID)
            settings = {"tasks": [], "state_dir": name, "runtime_dir": name, "boot_id_file": f"{name}/boot_id"}
            (folder / "config.json").write_text(json.dumps(settings))
            (folder / "status.json").write_bytes(status)
            (folder / "history.jsonl").write_bytes(line)
            lock = Lock(folder / "lock")
            wrong = io.StringIO()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(wrong):
                for command in (["status"], ["status", "--json"], ["plan"], ["history"], ["history", "--json"]):
                    assert main([*command, "--config", f"{name}/config.json"]) in (0, 1, 3)
            lock.release()
        assert not wrong.getvalue()

    anything()
    survived(table, name)
