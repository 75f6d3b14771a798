# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The socket on which the handler takes requests: who can send them, and what hostile senders achieve."""

from __future__ import annotations

import array
import json
import os
import pwd
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.io.request import DRAIN, LONGEST_REASON, MOST, Listener, Request, UnreadableRequest, send
from support.descriptors import open_files, until_only

NOBODY = pwd.getpwnam("nobody")
# Any group that nobody is not in.
GROUP = pwd.getpwnam("daemon").pw_gid
SYSTEM_PYTHON = "/usr/bin/python3"
SENDS = """
import socket, sys
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sender.sendto(sys.argv[2].encode(), sys.argv[1])
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may look into, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="gce-request-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def listener(folder: Path) -> Iterator[Listener]:
    made = Listener(folder)
    yield made
    made.close()


def text(**changes: Any) -> str:
    return json.dumps({"command": DRAIN, "name": "drain 1", "by": "root", "event": "terminate", "tasks": [], **changes})


def sent_by_nobody(folder: Path, data: str, *groups: int) -> bool:
    """Whether nobody, as a member of these groups, can send this."""
    command = [SYSTEM_PYTHON, "-I", "-c", SENDS, str(folder / "requests"), data]
    done = subprocess.run(
        command,
        user=NOBODY.pw_uid,
        group=NOBODY.pw_gid,
        extra_groups=groups,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0 or b"PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


def sent(folder: Path, data: bytes, descriptors: list[int] | None = None) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(folder / "requests"))
        sender.sendmsg([data], rights)


def test_a_request_arrives_with_the_user_who_sent_it(folder: Path, listener: Listener) -> None:
    request = Request(DRAIN, "drain 1", "alice", event="terminate", reason="why", seconds=60.0)
    # What it says of its sender does not count.
    send(folder, Request(**{**vars(request), "uid": 4711}))
    sent(folder, text(uid=4711).encode())
    (first, second) = listener.take()
    assert first == Request(**{**vars(request), "uid": os.getuid()})
    assert isinstance(second, Request)
    assert second.uid == os.getuid()
    assert list(listener.take()) == []


@as_root
def test_only_a_group_that_is_admitted_can_send(folder: Path, listener: Listener) -> None:
    assert (folder / "requests").stat().st_mode & 0o777 == 0o600
    assert not sent_by_nobody(folder, text(), GROUP)
    listener.admit(GROUP)
    assert (folder / "requests").stat().st_mode & 0o777 == 0o660
    assert not sent_by_nobody(folder, text())
    assert sent_by_nobody(folder, text(by="root", uid=0), GROUP)
    (request,) = listener.take()
    assert isinstance(request, Request)
    assert request.uid == NOBODY.pw_uid
    listener.admit(None)
    assert not sent_by_nobody(folder, text(), GROUP)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "nonsense",
        "[" * 10_000,
        text(command="remove"),
        text(command=None),
        text(name="x" * 65),
        text(by="a\nb"),
        text(reason="x" * (LONGEST_REASON + 1)),
        text(reason="\x1b[2J"),
        text(seconds="soon"),
        text(seconds=float("nan")),
        text(tasks="all"),
        text(tasks=[1]),
        text(unknown=1),
        text(tasks=["x" * 100] * (MOST // 100)),
    ],
    ids=lambda data: data[:60],
)
def test_what_is_no_request_is_reported(folder: Path, listener: Listener, data: str) -> None:
    sent(folder, data.encode())
    (found,) = listener.take()
    assert isinstance(found, UnreadableRequest)
    assert f"user {os.getuid()}" in str(found)
    assert len(str(found)) < 400


def test_open_files_that_are_sent_along_are_closed(folder: Path, listener: Listener) -> None:
    before = open_files()
    with tempfile.TemporaryFile() as file:
        sent(folder, text().encode(), [file.fileno()] * 50)
    (request,) = listener.take()
    assert isinstance(request, Request)
    until_only(before)


def test_a_flood_is_read_in_parts(folder: Path, listener: Listener) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        count = 0
        try:
            while count < 10_000:
                sender.sendto(b"{}", str(folder / "requests"))
                count += 1
        except BlockingIOError:
            pass
    parts = []
    while True:
        part = list(listener.take())
        if not part:
            break
        parts.append(len(part))
    assert (sum(parts), max(parts) <= 20) == (count, True)


def test_what_is_in_its_place_is_replaced_and_a_link_not_followed(folder: Path) -> None:
    victim = folder / "victim"
    victim.write_text("precious")
    (folder / "requests").symlink_to(victim)
    first = Listener(folder)
    second = Listener(folder)
    assert victim.read_text() == "precious"
    assert (folder / "requests").is_socket()
    sent(folder, text().encode())
    assert list(first.take()) == []
    assert len(list(second.take())) == 1
    first.close()
    # A closed one changes nothing of its successor.
    first.admit(GROUP)
    assert (folder / "requests").stat().st_mode & 0o777 == 0o600
    second.close()


def test_its_path_may_be_longer_than_an_address(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    listener = Listener(deep)
    send(deep, Request(DRAIN, "drain 1", "alice"))
    assert len(list(listener.take())) == 1
    listener.close()
