# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hanging requests to many emulated VMs at once, one for each."""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
import time
import urllib.request

from support.emulator import EmulatorProcess

from .turns import BenchFailed

# An attribute of the project: one change answers the requests of all VMs.
ATTRIBUTE = "release"
PATH = f"project/attributes/{ATTRIBUTE}"
# Seconds until all requests hang, and until all are answered.
PATIENCE = 300.0
# Of the emulator for each VM: the socket that listens, and that of the request. Some more for the rest.
FILES, MORE_FILES = 2, 1000


def allow_files(instances: int) -> int:
    """Raise the limit of open files, which the emulator inherits. Returns how many of the VMs a request may hang on."""
    needed = FILES * instances + MORE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))
        except (OSError, ValueError):
            # Only some systems let root raise it.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    allowed = min(needed, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if allowed < instances + MORE_FILES:
        raise BenchFailed(
            f"{instances} instances need {needed} open files, and the limit is {hard}. Raise it with ulimit -n."
        )
    return allowed - instances - MORE_FILES


def hanging_seconds(emulator: EmulatorProcess, project: str, most: int) -> tuple[float, float]:
    """Seconds until requests to that many VMs hang, and from a change until all are answered. Raises BenchFailed."""
    addresses = list(emulator.metadata.values())[:most]
    instances = len(addresses)
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        began = time.monotonic()
        for address in addresses:
            connection = stack.enter_context(contextlib.closing(_asked(address)))
            selector.register(connection, selectors.EVENT_READ)
        while _hanging(emulator) < instances:
            if time.monotonic() - began > PATIENCE:
                raise BenchFailed(f"{_hanging(emulator)} of {instances} requests hang after {PATIENCE:g} s.")
            time.sleep(0.1)
        hang = time.monotonic() - began
        began = time.monotonic()
        _change(emulator.compute, project, f"changed at {began}")
        _take_answers(selector)
        return hang, time.monotonic() - began


def _asked(address: str) -> socket.socket:
    host, _colon, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
    head = f"GET /computeMetadata/v1/{PATH}?wait_for_change=true HTTP/1.1\r\nHost: {address}\r\n"
    connection.sendall(f"{head}Metadata-Flavor: Google\r\nConnection: close\r\n\r\n".encode())
    return connection


def _hanging(emulator: EmulatorProcess) -> int:
    return sum(entry["status"] is None for entry in emulator.control.journal(path=PATH))


def _change(compute: str, project: str, value: str) -> None:
    """By the Compute API, as a user does. The emulator accepts any token."""
    url = f"{compute}/compute/v1/projects/{project}"
    headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as answer:
        before = json.load(answer)["commonInstanceMetadata"]
    body = {"fingerprint": before["fingerprint"], "items": [{"key": ATTRIBUTE, "value": value}]}
    request = urllib.request.Request(f"{url}/setCommonInstanceMetadata", json.dumps(body).encode(), headers)
    with opener.open(request, timeout=PATIENCE) as answer:
        answer.read()


def _take_answers(selector: selectors.BaseSelector) -> None:
    deadline = time.monotonic() + PATIENCE
    while selector.get_map():
        ready = selector.select(max(0.0, deadline - time.monotonic()))
        if not ready:
            raise BenchFailed(f"{len(selector.get_map())} requests were not answered within {PATIENCE:g} s.")
        for key, _events in ready:
            connection = key.fileobj
            if not isinstance(connection, socket.socket):
                continue
            status = connection.recv(65536).partition(b"\r\n")[0]
            if b" 200 " not in status:
                raise BenchFailed(f"A hanging request was answered with {status!r}.")
            selector.unregister(connection)
