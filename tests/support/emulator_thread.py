# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator in a thread of the test's process, so that both can share a clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

from gce_emulator.cli import Emulator
from gce_emulator.state.fleet_file import parse
from gce_emulator.state.guest_attributes import Budget
from gce_emulator.state.instance import Instance


class EmulatorThread:
    """A context manager. The budgets of guest attribute queries are counted on `clock`."""

    def __init__(self, fleet: Mapping[str, Any], clock: Callable[[], float]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="emulator")
        self._fleet = parse(fleet)
        self._clock = clock

    def __enter__(self) -> EmulatorThread:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        self.metadata: dict[str, str] = self._emulator.ready()["metadata"]
        return self

    def __exit__(self, *_unused: object) -> None:
        asyncio.run_coroutine_threadsafe(self._emulator.stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def instance(self, name: str) -> Instance:
        return self._emulator.project.instances[name]

    def journal(self) -> list[tuple[str, int | None, str]]:
        """Method, status and path of each request to a metadata server."""
        return [
            (entry.method, entry.status, entry.path.removeprefix("/computeMetadata/v1/"))
            for entry in self._emulator.project.journal.select(face="metadata")
        ]

    async def _start(self) -> None:
        self._emulator = Emulator(self._fleet)
        for instance in self._emulator.project.instances.values():
            instance.guest_attribute_queries = Budget(self._clock)
        await self._emulator.start()
