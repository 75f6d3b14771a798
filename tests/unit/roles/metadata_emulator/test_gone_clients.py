# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that disconnect in the middle of a request: no effect and no output, on any face."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from support.emulator import EmulatorProcess, eventually


@pytest.mark.parametrize(
    "face, target",
    [
        ("compute", "POST /compute/v1/{zone}/instances/vm/setMetadata"),
        ("metadata", "PUT /computeMetadata/v1/instance/guest-attributes/ns/key"),
        ("control", "PUT /instances/vm/values/instance/tags"),
    ],
)
@pytest.mark.parametrize("reset", [False, True])
def test_an_incomplete_body(face: str, target: str, reset: bool) -> None:
    vm = {"name": "vm", "attributes": {"enable-guest-attributes": "TRUE"}}
    # Closing it fails after any output.
    with EmulatorProcess({"instances": [vm]}) as emulator:
        overview = emulator.control.request("GET", "")
        zone = f"projects/{overview['project']}/zones/{emulator.control.instance('vm')['zone']}"
        addresses = {
            "compute": urlsplit(emulator.compute).netloc,
            "control": urlsplit(emulator.ready["control"]).netloc,
            "metadata": emulator.metadata["vm"],
        }
        host, port = addresses[face].split(":")
        with socket.create_connection((host, int(port))) as client:
            head = f"{target.format(zone=zone)} HTTP/1.1\r\nHost: {host}\r\nMetadata-Flavor: Google\r\n"
            client.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
            if face != "control":
                eventually(lambda: emulator.control.journal(face=face), what="the request in the journal")
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert emulator.control.instance("vm")["name"] == "vm"
