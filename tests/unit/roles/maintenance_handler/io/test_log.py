# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line for each message."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Iterator

import pytest

from maintenance_handler.io.log import MOST_WAITING, Log, PatientStream, visible
from support.raw_server import PATIENCE


@pytest.fixture(autouse=True)
def no_journald(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)


def written(level: str) -> list[str]:
    stream = io.StringIO()
    log = Log(level, stream)
    for each in (log.debug, log.info, log.warning, log.error):
        each(f"at {each.__name__}")
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("level, lines", [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_left_out(level: str, lines: int) -> None:
    found = written(level)
    assert len(found) == lines
    assert found[0].endswith(f" {level} at {level}")


def test_a_line_begins_with_the_time() -> None:
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} error at error$", written("error")[0])


def test_journald_gets_priorities_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
    assert written("debug") == ["<7>at debug", "<6>at info", "<4>at warning", "<3>at error"]


def test_message_of_several_lines_is_one_line() -> None:
    stream = io.StringIO()
    Log("info", stream).info("one\ntwo\r\nthree")
    assert stream.getvalue().endswith(" info one two three\n")


def test_closed_reader_is_ignored() -> None:
    stream = io.StringIO()
    stream.close()
    Log("info", stream).error("nobody")


def test_the_level_can_change() -> None:
    stream = io.StringIO()
    log = Log("error", stream)
    log.level = "debug"
    log.debug("seen")
    assert "seen" in stream.getvalue()


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain – and ünïcode", "plain – and ünïcode"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("50%\r100%\t\x7f", r"50%\r100%\t\x7f"),
        ("\u202egnp.exe\x9b1m", r"\u202egnp.exe\x9b1m"),
        ("\udce9", r"\udce9"),
    ],
)
def test_control_sequences_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_line_has_no_control_characters() -> None:
    stream = io.StringIO()
    Log("info", stream).info("\x1b[31mred\x1b[0m")
    assert stream.getvalue().endswith(r" info \x1b[31mred\x1b[0m" + "\n")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class TestUnreadPipe:
    """systemd#16456: a service that logs to a journal that does not read stands still."""

    def test_does_not_block_and_counts_lost_lines(self, pipe: tuple[int, int]) -> None:
        stream = PatientStream(pipe[1])
        log = Log("info", stream)
        line = "x" * 1000
        # More than the pipe and the queue can hold.
        for _unused in range(2 * MOST_WAITING // len(line)):
            log.info(line)
        assert not stream.finish(0.0)
        lines: list[str] = []
        with os.fdopen(os.dup(pipe[0]), encoding="ascii") as reader:
            reading = threading.Thread(target=lambda: lines.extend(iter(reader.readline, "the end\n")))
            reading.start()
            assert stream.finish(PATIENCE)
            log.info("it is read again")
            stream.write("the end\n")
            reading.join(PATIENCE)
        whole = [one for one in lines if one.endswith(f" info {line}\n")]
        lost = [re.search(r"(\d+) lines were dropped", one) for one in lines]
        assert len(whole) + sum(int(one[1]) for one in lost if one) == 2 * MOST_WAITING // len(line)
        assert len(whole) < 2 * MOST_WAITING // len(line)
        assert lines[-1].endswith(" info it is read again\n")

    def test_closed_by_its_reader_is_ignored(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        stream = PatientStream(writer)
        Log("info", stream).error("nobody")
        assert stream.finish(PATIENCE)
        os.close(writer)

    def test_non_blocking_pipe(self, pipe: tuple[int, int]) -> None:
        os.set_blocking(pipe[1], False)
        stream = PatientStream(pipe[1])
        stream.write("x" * 200_000)
        assert not stream.finish(0.0)
        read = 0
        while read < 200_000:
            read += len(os.read(pipe[0], 65536))
        assert stream.finish(PATIENCE)

    def test_half_a_surrogate_pair(self, pipe: tuple[int, int]) -> None:
        stream = PatientStream(pipe[1])
        stream.write("ä → \ud800\n")
        assert stream.finish(PATIENCE)
        assert os.read(pipe[0], 100).decode() == "ä → \\ud800\n"
