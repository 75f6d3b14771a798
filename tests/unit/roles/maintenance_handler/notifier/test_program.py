# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that get notices."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.core.notice_document import document
from maintenance_handler.core.notices import Notice
from notifier import program
from notifier.outcome import Unavailable
from support.emulator import eventually

VM = {"instance": "web-1", "instance_id": "123", "zone": "z", "project": "p"}
DOCUMENT = document(Notice(id="a", kind="drained", text="x" * 900, at=0.0, opened_at=0.0).to_dict(), VM)


def target(*command: str, timeout: float = 10.0) -> dict[str, Any]:
    return {"name": "run", "command": list(command), "timeout": timeout}


def shell(script: str, *arguments: str, timeout: float = 10.0) -> dict[str, Any]:
    return target("sh", "-c", script, "sh", *arguments, timeout=timeout)


def test_command_gets_the_document_on_standard_input(tmp_path: Path) -> None:
    said = program.send(shell('cat > "$1"; echo done', str(tmp_path / "got")), DOCUMENT)
    assert json.loads((tmp_path / "got").read_text()) == DOCUMENT
    assert "status 0 (done)" in said


def test_command_that_reads_nothing_succeeds() -> None:
    program.send(target("true"), DOCUMENT)


def test_command_that_fails_is_tried_again() -> None:
    with pytest.raises(Unavailable, match=r"sh ended with status 3 \(no route\)"):
        program.send(shell("echo first; echo no route >&2; exit 3"), DOCUMENT)


def test_last_line_is_shown_without_its_secret() -> None:
    with pytest.raises(Unavailable) as caught:
        program.send(shell("echo 'password=hunter2'; exit 1"), DOCUMENT)
    assert "hunter2" not in str(caught.value)


def test_command_that_is_missing_is_tried_again() -> None:
    with pytest.raises(Unavailable, match="cannot be run"):
        program.send(target("/no/such/program"), DOCUMENT)


def test_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(Unavailable, match="did not end within"):
            program.send(shell('exec > "$1"; sleep 60 & sleep 60', str(pipe), timeout=0.3), DOCUMENT)
        eventually(lambda: has_no_writer(reader), what="the end of the children")
    finally:
        os.close(reader)


def has_no_writer(reader: int) -> bool:
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False


def test_process_that_a_command_leaves_behind_is_not_waited_for() -> None:
    program.send(shell("sleep 5 & echo started"), DOCUMENT)
