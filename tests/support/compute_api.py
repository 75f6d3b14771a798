# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulated Compute API on a real socket in the test's process, with access to its state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from gce_emulator.compute.face import make_app
from gce_emulator.state.clock import Clock
from gce_emulator.state.fleet_file import parse
from gce_emulator.state.project import Project

PROJECT = "emulated-project"
SERVICE = "https://www.googleapis.com/compute/v1/"


class ComputeApi:
    """Requests below /compute/v1/projects/PROJECT/, each answering with (status, JSON)."""

    def __init__(self, client: TestClient[Any, Any], project: Project) -> None:
        self.client = client
        self.project = project

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        return await self.request("GET", path, query)

    async def post(self, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        return await self.request("POST", path, query, body)

    async def request(self, method: str, path: str, query: dict[str, str], body: Any = None) -> tuple[int, Any]:
        url = f"/compute/v1/projects/{PROJECT}/{path}".rstrip("/")
        async with self.client.request(method, url, params=query, json=body) as response:
            return response.status, await response.json()

    async def done(self, operation: Any) -> Any:
        """The operation once it is DONE, by its `wait` method."""
        scope = operation["selfLink"].split(f"/projects/{PROJECT}/")[1]
        while operation["status"] != "DONE":
            status, operation = await self.post(f"{scope}/wait")
            if status != 200:
                raise AssertionError(f"wait for {scope} was answered with {status}: {operation}")
        return operation


@asynccontextmanager
async def compute_api(fleet: dict[str, Any], *, require_auth: bool = False) -> AsyncIterator[ComputeApi]:
    """Serve a fleet's Compute API; time is compressed unless the fleet file sets the speed."""
    description = parse({"speed": 1000, **fleet})
    project = Project(description, Clock(speed=description.speed))
    async with TestClient(TestServer(make_app(project, require_auth=require_auth))) as client:
        yield ComputeApi(client, project)
