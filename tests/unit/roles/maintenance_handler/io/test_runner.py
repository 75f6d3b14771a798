# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps as real processes: their input, their output, and how they end."""

from __future__ import annotations

import io
import itertools
import json
import os
import queue
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maintenance_handler._vm.maintenance import MIGRATE
from maintenance_handler._vm.records import replace
from maintenance_handler.core.actions import Start
from maintenance_handler.core.incident import FAILED, INTERRUPTED, NOT_STARTED, OK, TIMEOUT, Incident, Moment, Step
from maintenance_handler.core.observations import Finished
from maintenance_handler.core.tasks import DRAIN, RESTORE, Task
from maintenance_handler.io import account
from maintenance_handler.io.launch import Launched, task_document
from maintenance_handler.io.leftovers import input_name
from maintenance_handler.io.log import Log
from maintenance_handler.io.pool import Pool
from maintenance_handler.io.runner import Runner
from support.descriptors import open_files, until_only
from support.emulator import eventually
from support.incidents import Drive
from support.processes import has_ended
from support.raw_server import PATIENCE
from support.vm_python import VM_PYTHON

if TYPE_CHECKING:
    from maintenance_handler.io.launch import LookUp

NOW = 1000.0
AT = 1_780_000_000.0
EVENT = {"name": "migrate", "rehearsal": False}
# Each bench has an incident of its own: a late sweep of one must not end the processes of the next, nor those of
# another run of the tests.
_numbers = itertools.count(1)


def start(script: str, number: int = 1, phase: str = DRAIN, left: float | None = 60.0, **fields: Any) -> Start:
    task = Task(
        **{"name": "lb", "on": (MIGRATE,), "stage": 10, "drain": ("/bin/sh", "-c", script), **fields},
        restore=("/bin/sh", "-c", script),
    )
    step = Step(number, task.name, phase, MIGRATE, 2, Moment(NOW, AT), NOW + 20.0, left)
    return Start(step, task, EVENT)


class Bench:
    """A runner, and a loop around it whose clock stands still."""

    def __init__(self, look_up: LookUp = account.look_up) -> None:
        self.selector = selectors.DefaultSelector()
        self.stream = io.StringIO()
        self.posted: queue.SimpleQueue[Launched] = queue.SimpleQueue()
        self.now = Moment(NOW, AT)
        self.incident = Incident(f"incident-{os.getpid()}-{next(_numbers)}", self.now, ())
        self.runner = Runner(
            self.selector,
            Log("info", self.stream),
            self.posted.put,
            pool=Pool("test"),
            now=lambda: self.now,
            look_up=look_up,
        )

    def run(self, *starts: Start) -> list[Finished]:
        for one in starts:
            self.request(one)
        return self.finish(len(starts))

    def request(self, one: Start, incident: Incident | None = None, journal: Callable[[float], bool] = bool) -> None:
        """Have a step started, and do not wait for that."""
        self.runner.start(one, incident or self.incident, journal)

    def launched(self) -> Launched:
        """What came of the next start."""
        return self.posted.get(timeout=PATIENCE)

    def begin(self, one: Start) -> Finished | None:
        self.request(one)
        return self.runner.launched(self.launched())

    def finish(self, count: int, now: float = NOW) -> list[Finished]:
        """Turn the loop until so many steps have ended."""
        finished: list[Finished] = []
        give_up_at = time.monotonic() + PATIENCE
        while len(finished) < count:
            assert time.monotonic() < give_up_at, "the steps do not end"
            self.turn()
            while not self.posted.empty():
                failed = self.runner.launched(self.posted.get())
                finished += [failed] if failed else []
            finished += self.runner.poll(now)
        return finished

    def wait_for(self, text: str) -> None:
        give_up_at = time.monotonic() + PATIENCE
        while text not in self.stream.getvalue():
            assert time.monotonic() < give_up_at, f"{text!r} is not logged"
            self.turn()

    def turn(self) -> None:
        for key, _unused in self.selector.select(0.01):
            self.runner.read(key.data)

    @property
    def lines(self) -> list[str]:
        """The log lines, without time and level."""
        return [line.split(" ", 2)[2] for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    made = Bench()
    yield made
    made.runner.hand_over()
    made.selector.close()


def test_successful_step_is_reported(bench: Bench) -> None:
    assert bench.run(start("echo done")) == [Finished(1, OK, "")]
    assert bench.lines == ["drain 'lb': done"]
    assert bench.runner.next_time() is None
    assert not bench.selector.get_map()


def test_failed_step_is_reported_with_its_last_line(bench: Bench) -> None:
    assert bench.run(start("echo begins; echo no such pool >&2; exit 4")) == [
        Finished(1, FAILED, "exit status 4", "no such pool")
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhY21lIn0.c2lnbmF0dXJl",
        "curl -u admin:hunter2hunter2 https://lb/drain",
        "PGPASSWORD=hunter2hunter2 pg_ctl",
    ],
)
def test_secret_in_the_output_is_redacted(bench: Bench, line: str) -> None:
    (finished,) = bench.run(start(f"echo '{line}'; exit 4"))
    assert (finished.detail, finished.output) == ("exit status 4", "[redacted]")
    assert bench.lines == ["drain 'lb': [redacted]"]


def test_last_line_is_truncated(bench: Bench) -> None:
    (finished,) = bench.run(start("printf 'x%.0s' $(seq 900); exit 4"))
    assert (finished.detail, finished.output) == ("exit status 4", 200 * "x")


def test_steps_run_in_parallel(bench: Bench) -> None:
    finished = bench.run(start("exit 0", 1), start("exit 1", 2), start("exit 0", 3))
    assert sorted((one.number, one.outcome) for one in finished) == [(1, OK), (2, FAILED), (3, OK)]


def test_step_that_cannot_start_fails_at_once(bench: Bench) -> None:
    finished = bench.begin(start("", drain=("/no/such/program",)))
    assert finished is not None
    assert (finished.number, finished.outcome) == (1, NOT_STARTED)
    assert finished.detail.startswith("/no/such/program cannot be started: ")
    assert not bench.selector.get_map()


def test_step_that_closes_its_output_continues(bench: Bench) -> None:
    assert bench.begin(start("exec > /dev/null 2>&1; read line; exec sleep 60")) is None
    give_up_at = time.monotonic() + PATIENCE
    while bench.selector.get_map():
        assert time.monotonic() < give_up_at
        bench.turn()
    assert bench.runner.poll(NOW) == []
    bench.runner.end(1, NOW)
    assert bench.finish(1) == [Finished(1, FAILED, "ended by SIGTERM")]


def test_step_is_ended_at_its_limit(bench: Bench) -> None:
    bench.begin(start("echo ready; exec sleep 60"))
    bench.wait_for("ready")
    assert bench.runner.next_time() == NOW + 18.0
    bench.runner.limit(1, NOW, NOW + 10.0)
    assert bench.runner.next_time() == NOW + 8.0
    assert bench.finish(1, NOW + 8.0) == [Finished(1, TIMEOUT, "timed out", "ready")]


def test_next_poll_is_the_earliest_of_all_steps(bench: Bench) -> None:
    bench.begin(start("exec sleep 60", 1))
    bench.begin(start("exec sleep 60", 2))
    bench.runner.limit(2, NOW, NOW + 10.0)
    assert bench.runner.next_time() == NOW + 8.0


def test_ended_step_cannot_be_ended_again(bench: Bench) -> None:
    bench.run(start("exit 0"))
    bench.runner.end(1, NOW)
    bench.runner.limit(1, NOW, NOW)
    assert bench.runner.poll(NOW) == []


def test_hand_over_kills_steps_without_reporting_them(bench: Bench) -> None:
    """In the journal the steps stay open, for the next handler."""
    bench.begin(start("echo ready; trap '' TERM; while :; do sleep 0.01; done"))
    bench.begin(start("echo ready too; exec sleep 60", 2))
    bench.wait_for("ready\n")
    bench.wait_for("ready too")
    bench.runner.hand_over()
    assert bench.runner.next_time() is None
    assert bench.runner.poll(NOW) == []


class TestTaskInput:
    def told(self, bench: Bench, one: Start) -> tuple[dict[str, Any], dict[str, str]]:
        bench.run(one)
        document, variables = (line.split(": ", 1)[1] for line in bench.lines)
        return json.loads(document), dict(pair.split("=", 1) for pair in variables.split(" "))

    SCRIPT = "cat; echo; env | grep -E '^G(CE|REETING)' | sort | tr '\\n' ' '"

    def test_of_a_drain(self, bench: Bench) -> None:
        """Times are seconds on the monotonic clock, and also times of day."""
        document, variables = self.told(bench, start(self.SCRIPT, env={"GREETING": "hello", "GCE_EVENT": "mine"}))
        assert document == {
            "event": {
                "name": "migrate",
                "rehearsal": False,
                "incident": bench.incident.id,
                "phase": "drain",
                "attempt": 2,
                "deadline_seconds": 60.0,
                "deadline_at": "2026-05-28T20:27:40Z",
                "timeout_seconds": 18.0,
            },
            "task": {"name": "lb", "stage": 10},
        }
        assert variables == {
            "GCE_EVENT": "migrate",
            "GCE_EVENT_DEADLINE_SECONDS": "60.000",
            "GCE_EVENT_INCIDENT": bench.incident.id,
            "GCE_EVENT_PHASE": "drain",
            "GCE_EVENT_STEP": f"{bench.incident.id}/1",
            "GCE_EVENT_TASK": "lb",
            "GCE_TASK_TIMEOUT_SECONDS": "18.000",
            "GREETING": "hello",
        }

    def test_of_a_restore(self, bench: Bench) -> None:
        document, variables = self.told(bench, start(self.SCRIPT, phase=RESTORE, left=None))
        assert (document["event"]["phase"], document["event"]["deadline_seconds"]) == ("restore", None)
        assert "GCE_EVENT_DEADLINE_SECONDS" not in variables
        assert variables["GCE_EVENT_PHASE"] == "restore"

    def test_without_a_deadline(self) -> None:
        event = task_document(start("", left=None), "incident-1", AT)["event"]
        assert (event["deadline_seconds"], event["deadline_at"]) == (None, None)

    def test_after_the_deadline(self) -> None:
        event = task_document(start("", left=-5.0), "incident-1", AT)["event"]
        assert event["deadline_seconds"] == 0.0


def test_processes_of_a_previous_handler_are_killed(bench: Bench) -> None:
    """A node was drained twice (aws/aws-node-termination-handler#146)."""
    drive = Drive(start("").task)
    drive.on(MIGRATE)
    gone = Bench()
    incident = replace(drive.incident, id=gone.incident.id)
    try:
        gone.request(start("sleep 60 & echo ready; wait"), incident)
        assert gone.runner.launched(gone.launched()) is None
        gone.wait_for("ready")
        bench.runner.end_leftovers(incident)
        assert gone.finish(1) == [Finished(1, FAILED, "ended by SIGKILL", "ready")]
    finally:
        gone.runner.hand_over()
        gone.selector.close()
    bench.wait_for("drain 'lb': killed 2 processes left over")


class TestBlocking:
    """SSSD#8194, patroni#1331: a lookup, a file system or a disk that does not respond does not affect other steps."""

    def test_a_user_database(self) -> None:
        asked, answers = threading.Event(), threading.Event()

        def look_up(user: str, _within: float) -> account.Account:
            if user == "slow":
                asked.set()
                answers.wait(PATIENCE)
            return account.Account(user, os.geteuid(), os.getegid(), "/", "/bin/sh")

        bench = Bench(look_up)
        try:
            bench.request(start("echo late", 1, user="slow"))
            assert bench.run(start("echo quick", 2, user="quick")) == [Finished(2, OK)]
            assert bench.runner.next_time() == NOW + 20.0
            assert asked.wait(PATIENCE)
            assert bench.finish(1, NOW + 20.0) == [
                Finished(1, NOT_STARTED, "could not be started in time: looking up the user 'slow'")
            ]
            answers.set()
            # It was given up, and is not started any more.
            assert bench.run(start("echo later", 3)) == [Finished(3, OK)]
            assert bench.posted.empty()
            assert "late" not in " ".join(bench.lines).split()
        finally:
            answers.set()
            bench.runner.hand_over()
            bench.selector.close()

    def test_the_journal(self, bench: Bench) -> None:
        """It is waited for, and the step starts without it once the bound is over."""
        bounds = []

        def wait_for_journal(bound: float) -> bool:
            bounds.append(bound)
            return False

        bench.request(start("exit 0", 1, left=None), journal=wait_for_journal)
        bench.request(start("exit 0", 2, left=60.0), journal=wait_for_journal)
        bench.request(start("exit 0", 3, left=4.0), journal=wait_for_journal)
        assert len(bench.finish(3)) == 3
        # Less where the notice is short.
        assert sorted(bounds) == [0.2, 3.0, float("inf")]

    def test_cancelled_start(self, bench: Bench) -> None:
        journal = threading.Event()
        bench.request(start("echo begun"), journal=lambda _bound: journal.wait(PATIENCE))
        bench.runner.end(1, NOW)
        (finished,) = bench.finish(1)
        assert (finished.outcome, finished.detail.split(":")[0]) == (NOT_STARTED, "was not started yet")
        journal.set()
        assert bench.run(start("exit 0", 2)) == [Finished(2, OK)]
        assert "begun" not in " ".join(bench.lines)

    def test_late_step_gets_its_full_time(self, bench: Bench) -> None:
        journal = threading.Event()
        bench.request(
            start(TestTaskInput.SCRIPT + "; echo; exec sleep 60", left=60.0),
            journal=lambda _bound: journal.wait(PATIENCE),
        )
        bench.now = Moment(NOW + 5.0, AT + 5.0)
        journal.set()
        launched = bench.launched()
        assert launched.seconds == 5.0
        assert bench.runner.launched(launched) is None
        assert bench.runner.next_time() == NOW + 5.0 + 18.0
        bench.wait_for("GCE_TASK_TIMEOUT_SECONDS=18.000")
        bench.wait_for("GCE_EVENT_DEADLINE_SECONDS=55.000")

    def test_late_step_ends_before_the_event(self, bench: Bench) -> None:
        journal = threading.Event()
        bench.request(start("exec sleep 60", left=20.0), journal=lambda _bound: journal.wait(PATIENCE))
        bench.now = Moment(NOW + 10.0, AT + 10.0)
        journal.set()
        assert bench.runner.launched(bench.launched()) is None
        assert bench.runner.next_time() == NOW + 18.0

    def test_start_is_retried_while_no_process_can_be_created(
        self, bench: Bench, no_descriptors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        with no_descriptors():
            bench.request(start("exit 0", drain=("/bin/true",)))
            # It keeps trying.
            assert bench.posted.empty()
            launch = bench.runner._launching[1]
            give_up_at = time.monotonic() + PATIENCE
            while "Too many open files" not in launch.stage:
                assert time.monotonic() < give_up_at, launch.stage
                time.sleep(0.01)
        assert bench.finish(1) == [Finished(1, OK)]


class TestLeftoverProcesses:
    def test_daemon_survives_the_end_of_its_step(self, bench: Bench, tmp_path: Path) -> None:
        """A pipe without a reader would kill it at its next line."""
        daemon = f"(until [ -e {tmp_path}/go ]; do sleep 0.01; done; echo daemon speaks; echo $? > {tmp_path}/status) &"
        assert bench.run(start(f"{daemon} echo started")) == [Finished(1, OK)]
        (tmp_path / "go").touch()
        bench.wait_for("drain 'lb': daemon speaks")
        assert eventually(lambda: (tmp_path / "status").exists() and (tmp_path / "status").read_text()) == "0\n"
        # Its end is seen.
        give_up_at = time.monotonic() + PATIENCE
        while bench.selector.get_map():
            assert time.monotonic() < give_up_at
            bench.turn()

    def test_daemon_survives_the_stop_of_the_handler(self, tmp_path: Path) -> None:
        bench = Bench()
        daemon = f"(until [ -e {tmp_path}/go ]; do sleep 0.01; done; echo daemon speaks; echo $? > {tmp_path}/status) &"
        assert bench.run(start(f"{daemon} echo started")) == [Finished(1, OK)]
        bench.runner.hand_over()
        assert not bench.selector.get_map()
        bench.selector.close()
        (tmp_path / "go").touch()
        assert eventually(lambda: (tmp_path / "status").exists() and (tmp_path / "status").read_text()) == "0\n"

    def test_process_that_escaped_an_ended_step_is_found(self, bench: Bench, tmp_path: Path) -> None:
        escaped = f"env -i /usr/bin/setsid /bin/sh -c 'echo $$ > {tmp_path}/pid; exec /bin/sleep 60' <&0 &"
        assert bench.begin(start(f"{escaped} echo ready; exec sleep 60")) is None
        bench.wait_for("ready")
        pid = int(eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
        assert bench.finish(1, NOW + 18.0)[0].outcome == TIMEOUT
        bench.wait_for("killed 1 processes left over")
        eventually(lambda: has_ended(pid), what="its end")

    def test_leftover_processes_are_killed_before_the_task_s_next_step(self, bench: Bench) -> None:
        """Here of a previous handler: a restore must not run in parallel with its drain."""
        name = input_name(bench.incident.id, 1)
        given = os.memfd_create(name)
        left = subprocess.Popen(["sleep", "60"], stdin=given, env={})
        os.close(given)
        gone = replace(start("").step, outcome=INTERRUPTED, finished=Moment(NOW, AT))
        incident = replace(bench.incident, steps=(gone,))
        script = f"[ -d /proc/{left.pid}/fd ] && ls /proc/{left.pid}/fd | wc -l"
        bench.request(start(script, 2, phase=RESTORE), incident)
        bench.finish(1)
        assert left.wait(PATIENCE) == -signal.SIGKILL
        assert "restore 'lb': 1" not in bench.lines


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a task as another user")
def test_task_of_another_user_can_open_its_standard_streams(bench: Bench) -> None:
    script = "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin > /dev/null && echo in"
    assert bench.run(start(script, user="nobody")) == [Finished(1, OK)]
    assert bench.lines == ["drain 'lb': out", "drain 'lb': err", "drain 'lb': in"]


def test_commands_and_variables_are_utf_8_in_any_locale(tmp_path: Path) -> None:
    """freeipa#5334. Under ISO-8859-1 Python cannot even pass an arrow on."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; from maintenance_handler.io.process import environment_for, _encoded;"
        "assert environment_for(None, {'A': '\\u2192'})[b'A'] == _encoded('\\u2192') == b'\\xe2\\x86\\x92'"
    )
    folder = Path(account.__file__).parents[2]
    subprocess.run([VM_PYTHON, "-X", "utf8=0", "-c", code, str(folder)], env={"LC_ALL": "POSIX"}, check=True)


def test_no_descriptors_or_threads_leak(bench: Bench) -> None:
    """Memory leaked over days (aws/aws-node-termination-handler#121)."""
    bench.run(start("exit 0"))
    before = open_files()
    for _unused in range(5):
        bench.run(start("echo x; exit 1"))
    until_only(before)
