# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that connect while a metadata server goes away are not left waiting."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gce_emulator.metadata.face import MetadataFace
from gce_emulator.state.clock import Clock
from gce_emulator.state.fleet_file import parse
from gce_emulator.state.project import Project
from gce_emulator.web.listening import Ports


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_is_reset_whenever_the_vm_is_deleted(turns: int) -> None:
    """Deleted within the right turn, asyncio has accepted the connection but not yet attached it to the server."""
    project = Project(parse({"instances": [{"name": "web-1"}]}), Clock())
    instance = project.instances["web-1"]
    face = MetadataFace(instance, Ports())
    await face.start()
    host, _unused, port = face.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        for _turn in range(turns):
            await asyncio.sleep(0)
        project.delete(instance)
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().run_in_executor(None, client.recv, 1)
    await face.stop()


async def test_nobody_gets_the_port_of_a_deleted_vm_before_a_reset() -> None:
    project = Project(parse({"instances": [{"name": "web-1"}]}), Clock())
    face = MetadataFace(project.instances["web-1"], Ports())
    await face.start()
    host, _unused, port = face.address.rpartition(":")
    project.delete(project.instances["web-1"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    # The old socket is closed in the next turn.
    await asyncio.sleep(0)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((host, int(port)))
    project.reset()
    for _turn in range(10):
        await asyncio.sleep(0)
    with socket.create_connection((host, int(port)), timeout=5):
        pass
    await face.stop()
