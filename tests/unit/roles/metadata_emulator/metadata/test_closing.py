# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that connect while a metadata server goes away or comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

import pytest

from gce_emulator.metadata.face import MetadataFace
from gce_emulator.state.clock import Clock
from gce_emulator.state.faults import Fault
from gce_emulator.state.fleet_file import parse
from gce_emulator.state.project import Project
from gce_emulator.web.listening import Ports

NAME_REQUEST = b"GET /computeMetadata/v1/instance/name HTTP/1.1\r\nHost: metadata\r\nMetadata-Flavor: Google\r\n\r\n"


def delete(project: Project) -> None:
    project.delete(project.instances["web-1"])


def stop(project: Project) -> None:
    project.instances["web-1"].stop()


def refuse(project: Project) -> None:
    project.faults.inject(Fault("refuse", face="metadata", instance="web-1"))


def start(project: Project) -> None:
    project.instances["web-1"].start()


AWAY_AND_BACK: Mapping[str, tuple[Callable[[Project], None], Callable[[Project], None]]] = {
    "deleted": (delete, Project.reset),
    "stopped": (stop, start),
    "refusing": (refuse, lambda project: project.faults.clear()),
}


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


async def test_nobody_gets_the_port_of_a_deleted_vm() -> None:
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
    await face.stop()


@pytest.mark.parametrize("away, back", AWAY_AND_BACK.values(), ids=AWAY_AND_BACK)
@pytest.mark.parametrize("turns", range(3))
async def test_connections_are_accepted_as_soon_as_the_vm_is_back(
    turns: int, away: Callable[[Project], None], back: Callable[[Project], None]
) -> None:
    """Whoever started it may connect before the event loop's next turn."""
    project = Project(parse({"instances": [{"name": "web-1", "while_down": "refuse"}]}), Clock())
    face = MetadataFace(project.instances["web-1"], Ports())
    await face.start()
    host, _unused, port = face.address.rpartition(":")
    away(project)
    for _turn in range(turns):
        await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    back(project)
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(NAME_REQUEST)
        answer = await asyncio.get_running_loop().run_in_executor(None, client.recv, 4096)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    await face.stop()


@pytest.mark.parametrize("turns", range(6))
async def test_a_vm_that_is_deleted_again_refuses_connections(turns: int) -> None:
    project = Project(parse({"instances": [{"name": "web-1"}]}), Clock())
    face = MetadataFace(project.instances["web-1"], Ports())
    await face.start()
    host, _unused, port = face.address.rpartition(":")
    delete(project)
    project.reset()
    with socket.create_connection((host, int(port)), timeout=5) as client:
        for _turn in range(turns):
            await asyncio.sleep(0)
        delete(project)
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().run_in_executor(None, client.recv, 1)
    for _turn in range(6):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5)
        await asyncio.sleep(0)
    await face.stop()
