# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten thousand hanging GETs on one key of one instance."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator

import pytest

from support.emulator import EmulatorProcess

WAITERS = 10_000
STEP = 500
KEY = "instance/attributes/colour"


@pytest.fixture(autouse=True)
def _many_open_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < WAITERS + 100:
        pytest.skip(f"this user may open {hard} files only; {WAITERS} connections need more: see ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_ten_thousand_hanging_gets_are_held_and_answered() -> None:
    """The real server refuses above about 500 (googleapis/google-cloud-go#11035); tests may need more."""
    with EmulatorProcess({"instances": [{"name": "web-1", "attributes": {"colour": "blue"}}]}) as emulator:
        host, _unused, port = emulator.metadata["web-1"].partition(":")

        async def hang() -> bytes:
            reader, writer = await asyncio.open_connection(host, int(port))
            request = (
                f"GET /computeMetadata/v1/{KEY}?wait_for_change=true HTTP/1.1\r\n"
                f"Host: {host}\r\nMetadata-Flavor: Google\r\n\r\n"
            )
            writer.write(request.encode())
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(3)
            writer.transport.abort()
            return head.split(b"\r\n", 1)[0] + b" " + body

        waiters: list[asyncio.Future[bytes]] = []
        while len(waiters) < WAITERS:
            # Step by step: the emulator answers the control face only between them.
            waiters += [asyncio.ensure_future(hang()) for _unused in range(STEP)]
            await _until_held(emulator, len(waiters))
        assert not any(waiter.done() for waiter in waiters)
        emulator.control.set("web-1", KEY, "red")
        answers = await asyncio.wait_for(asyncio.gather(*waiters), 300)
        assert set(answers) == {b"HTTP/1.1 200 OK red"}


async def _until_held(emulator: EmulatorProcess, count: int) -> None:
    deadline = asyncio.get_running_loop().time() + 60
    while emulator.control.instance("web-1")["hanging_gets"] < count:
        assert asyncio.get_running_loop().time() < deadline, "not all GETs came to hang"
        await asyncio.sleep(0.05)
