# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step's process: real processes, on a clock that the tests move."""

from __future__ import annotations

import json
import os
import pwd
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from maintenance_handler.core.incident import FAILED, OK, TIMEOUT
from maintenance_handler.core.tasks import GRACE
from maintenance_handler.io.account import look_up
from maintenance_handler.io.process import (
    LOGGED_LINE,
    LOGGED_LINES,
    UNKILLABLE_AFTER,
    CannotStart,
    Command,
    Prepared,
    TaskProcess,
    environment_for,
)
from support.descriptors import open_files, until_only
from support.processes import has_ended
from support.raw_server import PATIENCE

START = 1000.0
UNTIL = 1020.0
TIMES = {"now": START, "until": UNTIL}
IGNORING = "trap '' TERM; echo ready; while :; do sleep 0.01; done"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a task as another user")

Launch = Callable[..., TaskProcess]


class Remembering(TaskProcess):
    """Records its end, so that it can be cleaned up in any state."""

    end_of_it: tuple[str, str] | None = None

    def poll(self, now: float) -> tuple[str, str] | None:
        self.end_of_it = self.end_of_it or super().poll(now)
        return self.end_of_it


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Starts a shell script at START that may run until UNTIL; remaining processes are killed."""
    started: list[Remembering] = []

    def start(script: str, **options: Any) -> TaskProcess:
        user, variables = options.pop("user", None), options.pop("environment", {})
        account = None if user is None else look_up(user, PATIENCE)
        environment = environment_for(account, variables)
        command = Command(["/bin/sh", "-c", script], "/bin/sh", environment, account)
        document = options.pop("document", {})
        started.append(Remembering(prepared(command, document), **{**TIMES, **options}))
        return started[-1]

    yield start
    for process in started:
        if process.poll(START) is None:
            os.killpg(process.pid, signal.SIGKILL)
            result(process)
        process.close()


def prepared(command: Command, document: Mapping[str, Any] | None = None) -> Prepared:
    return Prepared(command, input_name="input", document=document or {})


def eventually(condition: Callable[[], Any]) -> Any:
    """The result of the condition, as soon as it has one."""
    give_up_at = time.monotonic() + PATIENCE
    while time.monotonic() < give_up_at:
        result = condition()
        if result:
            return result
        time.sleep(0.005)
    raise AssertionError("it never happened")


def result(process: TaskProcess, now: float = START) -> tuple[str, str]:
    """The end of a process, by a clock that stands still."""
    found: tuple[str, str] = eventually(lambda: process.poll(now))
    return found


def output(process: TaskProcess, lines: int = 1) -> list[str]:
    found: list[str] = []

    def enough() -> bool:
        found.extend(process.read_lines()[0])
        return len(found) >= lines

    eventually(enough)
    return found


class TestEnd:
    @pytest.mark.parametrize(
        "script, expected",
        [
            ("exit 0", (OK, "")),
            ("exit 3", (FAILED, "exit status 3")),
            ("kill -KILL $$", (FAILED, "ended by SIGKILL")),
            ("no-such-program 2> /dev/null", (FAILED, "exit status 127")),
        ],
    )
    def test_of_its_own_accord(self, launch: Launch, script: str, expected: tuple[str, str]) -> None:
        assert result(launch(script)) == expected

    def test_is_not_reported_before_it(self, launch: Launch) -> None:
        process = launch("echo ready; exec sleep 60")
        output(process)
        assert process.poll(START) is None
        assert process.poll(UNTIL - GRACE - 0.1) is None

    def test_does_not_wait_for_background_processes(self, launch: Launch) -> None:
        """A restore may start a service that stays."""
        process = launch("sleep 60 > /dev/null 2>&1 & echo $!")
        child = int(output(process)[0])
        assert result(process) == (OK, "")
        assert not has_ended(child)
        os.kill(child, 9)


class TestDeadline:
    """Others have no deadline, or one for all events."""

    def test_sigterm_comes_before_the_deadline(self, launch: Launch) -> None:
        process = launch("echo ready; exec sleep 60")
        output(process)
        assert process.next_time() == UNTIL - GRACE
        assert result(process, UNTIL - GRACE) == (TIMEOUT, "timed out")

    def test_success_after_sigterm_counts_as_timeout(self, launch: Launch) -> None:
        process = launch("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done")
        output(process)
        assert result(process, UNTIL - GRACE) == (TIMEOUT, "timed out")

    def test_process_that_ignores_sigterm_is_killed(self, launch: Launch) -> None:
        process = launch(IGNORING)
        output(process)
        assert process.poll(UNTIL - GRACE) is None
        assert process.next_time() == UNTIL
        assert process.poll(UNTIL - 0.01) is None
        assert not has_ended(process.pid)
        process.poll(UNTIL)
        assert process.next_time() == UNTIL + UNKILLABLE_AFTER
        assert result(process, UNTIL) == (TIMEOUT, "timed out")

    def test_jump_past_the_deadline_kills_and_waits(self, launch: Launch) -> None:
        """As after a live migration."""
        process = launch(IGNORING)
        output(process)
        late = UNTIL + 60.0
        process.poll(late)
        assert process.next_time() == late + UNKILLABLE_AFTER
        assert result(process, late) == (TIMEOUT, "timed out")

    def test_whole_process_group_is_ended(self, launch: Launch) -> None:
        process = launch(f"({IGNORING}) & echo $!; wait")
        child = int(next(line for line in output(process, 2) if line != "ready"))
        assert result(process, UNTIL - GRACE)[0] == TIMEOUT
        eventually(lambda: has_ended(child))

    def test_short_limit_has_a_short_grace_period(self, launch: Launch) -> None:
        assert launch("exec sleep 60", until=START + 1.0).next_time() == START + 0.8

    def test_shorter_limit_applies(self, launch: Launch) -> None:
        process = launch("exec sleep 60")
        process.limit(START + 5.0, START + 10.0)
        assert process.next_time() == pytest.approx(START + 9.0)

    def test_longer_limit_is_ignored(self, launch: Launch) -> None:
        process = launch("exec sleep 60")
        process.limit(START, UNTIL + 60)
        assert process.next_time() == UNTIL - GRACE

    def test_past_limit_ends_it_now(self, launch: Launch) -> None:
        process = launch("echo ready; exec sleep 60")
        output(process)
        process.limit(START + 5.0, START + 4.0)
        assert result(process, START + 5.0)[0] == TIMEOUT

    def test_early_end_reports_the_exit_status(self, launch: Launch) -> None:
        process = launch("echo ready; exec sleep 60")
        output(process)
        process.end(START + 1.0)
        assert process.next_time() == START + 1.0
        assert result(process, START + 1.0) == (FAILED, "ended by SIGTERM")

    def test_early_end_kills_a_process_that_ignores_sigterm(self, launch: Launch) -> None:
        process = launch(IGNORING)
        output(process)
        process.end(START + 1.0)
        assert process.poll(START + 1.0) is None
        assert process.next_time() == START + 1.0 + GRACE
        assert result(process, START + 1.0 + GRACE) == (FAILED, "ended by SIGKILL")

    def test_early_end_does_not_extend_its_time(self, launch: Launch) -> None:
        process = launch(IGNORING, until=START + 1.0)
        output(process)
        process.end(START + 0.5)
        process.poll(START + 0.5)
        assert process.next_time() == START + 1.0


class TestInput:
    def test_the_document_is_on_its_standard_input(self, launch: Launch) -> None:
        document = {"event": {"name": "migrate", "text": "ä\n"}}
        assert json.loads(output(launch("cat; echo", document=document))[0]) == document

    def test_unread_input_does_not_block(self, launch: Launch) -> None:
        assert result(launch("exit 0", document={"long": "x" * 1_000_000})) == (OK, "")

    def test_it_has_the_given_environment(self, launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("INHERITED", "yes")
        monkeypatch.setenv("CHANGED", "no")
        process = launch('echo "$INHERITED $CHANGED $NEW"', environment={"CHANGED": "yes", "NEW": "yes"})
        assert output(process) == ["yes yes yes"]

    @pytest.mark.parametrize("name", ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "PYTHONPATH"])
    def test_systemd_s_variables_are_removed(self, launch: Launch, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(name, "1")
        assert output(launch(f'echo "<${name}>"')) == ["<>"]

    def test_it_runs_in_its_own_session_in_the_root_directory(self, launch: Launch) -> None:
        process = launch("pwd; exec sleep 60")
        assert output(process) == ["/"]
        assert os.getsid(process.pid) == process.pid

    @as_root
    def test_it_runs_as_its_user(self, launch: Launch) -> None:
        account = pwd.getpwnam("nobody")
        process = launch('id -un; id -gn; id -G; echo "$USER $LOGNAME $HOME"', user="nobody")
        group = str(account.pw_gid)
        name, group_name, groups, variables = output(process, 4)
        assert (name, variables) == ("nobody", f"nobody nobody {account.pw_dir}")
        assert group_name
        assert group in groups.split()
        assert "0" not in groups.split()

    @pytest.mark.parametrize("user", [pytest.param("nobody", marks=as_root), pwd.getpwuid(os.geteuid()).pw_name])
    def test_task_s_own_environment_takes_precedence(self, launch: Launch, user: str) -> None:
        process = launch('echo "$HOME $USER"', user=user, environment={"HOME": "/srv"})
        assert output(process) == [f"/srv {user}"]


class TestCannotStart:
    @pytest.mark.parametrize("program", ["/no/such/program", "/etc/passwd", "/tmp"])
    def test_reports_a_program_that_cannot_be_executed(self, program: str) -> None:
        with pytest.raises(CannotStart, match=f"^{program} cannot be started: "):
            TaskProcess(prepared(Command([program], program, {})), **TIMES)

    def test_reports_too_long_arguments(self) -> None:
        with pytest.raises(CannotStart, match="too long"):
            TaskProcess(prepared(Command(["/bin/true", "x" * 5_000_000], "/bin/true", {})), **TIMES)

    def test_it_leaks_no_descriptors(self) -> None:
        """Memory leaked over days (aws/aws-node-termination-handler#121)."""
        before = open_files()
        for _unused in range(3):
            with pytest.raises(CannotStart):
                TaskProcess(prepared(Command(["/no"], "/no", {})), **TIMES)
        until_only(before)

    def test_nor_if_it_is_not_started_after_all(self) -> None:
        before = open_files()
        prepared(Command(["/bin/true"], "/bin/true", {})).close()
        until_only(before)

    def test_nor_if_only_the_output_can_be_opened(self) -> None:
        before = open_files()
        free = [os.dup(0) for _unused in range(3)]
        for descriptor in free:
            os.close(descriptor)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(free), hard))
        try:
            with pytest.raises(CannotStart) as raised:
                prepared(Command(["/bin/true"], "/bin/true", {}))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert raised.value.passes
        until_only(before)


class TestOutput:
    def test_both_streams_line_by_line(self, launch: Launch) -> None:
        process = launch("echo one; echo two >&2; printf three")
        result(process)
        assert [*process.read_lines()[0], *process.last_lines()[0]] == ["one", "two", "three"]
        assert process.last_line == "three"

    def test_empty_lines_are_skipped_and_invalid_bytes_are_escaped(self, launch: Launch) -> None:
        process = launch(r"printf '\n  \na\377b  \n'")
        result(process)
        assert process.last_lines()[0] == ["a\ufffdb"]

    def test_more_output_may_follow_until_it_is_closed(self, launch: Launch) -> None:
        process = launch("echo one; exec > /dev/null 2>&1; exec sleep 60")
        output(process)
        eventually(lambda: process.read_lines() == ([], False))
        assert process.poll(START) is None

    def test_is_empty_at_first(self, launch: Launch) -> None:
        assert launch("exec sleep 60").read_lines() == ([], True)

    def test_flood_is_truncated_and_does_not_block_the_task(self, launch: Launch) -> None:
        process = launch("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; echo end")
        lines: list[str] = []

        def is_over() -> bool:
            lines.extend(process.read_lines()[0])
            return process.poll(START) is not None

        eventually(is_over)
        lines += process.last_lines()[0]
        assert lines[0] == "line 1"
        assert lines[-1] == "(more output is not logged)"
        assert len(lines) == LOGGED_LINES + 1

    def test_long_line_is_truncated(self, launch: Launch) -> None:
        process = launch("head -c 300000 /dev/zero | tr '\\0' x; echo; echo end")
        lines: list[str] = []

        def is_over() -> bool:
            lines.extend(process.read_lines()[0])
            return lines[-1:] == ["end"]

        eventually(is_over)
        assert lines == ["x" * LOGGED_LINE, "end"]
