# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An event source as ansible-rulebook runs it: by the path of its file, with a queue of one place."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

FOLDER = Path("ansible_collections/gce/guest/extensions/eda/plugins/event_source")
# A test that waits longer has failed.
PATIENCE = 30.0


class Rulebook:
    """Takes the events of a source, while the source runs."""

    def __init__(self, task: asyncio.Task[None], queue: asyncio.Queue[dict[str, Any]]) -> None:
        self.task = task
        self.seen: list[dict[str, Any]] = []
        self._queue = queue

    async def event(self, is_wanted: Callable[[dict[str, Any]], bool] = lambda _event: True) -> dict[str, Any]:
        """The next event that is wanted. Fails if the source ends."""
        while True:
            getting = asyncio.ensure_future(self._queue.get())
            done, _pending = await asyncio.wait(
                [getting, self.task], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
            if getting not in done:
                getting.cancel()
                if self.task in done:
                    self.task.result()
                raise AssertionError(f"the source sent no such event, but {self.seen}")
            self.seen.append(getting.result())
            if is_wanted(self.seen[-1]):
                return self.seen[-1]

    async def change(self, change: str, event: str) -> dict[str, Any]:
        return await self.event(lambda one: (one["change"], one["event"]) == (change, event))


@asynccontextmanager
async def source(collections: Path, name: str, args: Mapping[str, Any]) -> AsyncIterator[Rulebook]:
    """Run a source, and cancel it at the end."""
    main = runpy.run_path(str(collections / FOLDER / f"{name}.py"))["main"]
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(1)
    task = asyncio.ensure_future(main(queue, {**args, "eda_feedback_queue": None}))
    try:
        yield Rulebook(task, queue)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, PATIENCE)


async def refusal(collections: Path, name: str, args: Mapping[str, Any]) -> str:
    """The sentence with which a source refuses its options."""
    main = runpy.run_path(str(collections / FOLDER / f"{name}.py"))["main"]
    try:
        await asyncio.wait_for(main(asyncio.Queue(1), dict(args)), PATIENCE)
    except Exception as error:
        if type(error).__name__ != "SourceError":
            raise
        return str(error)
    raise AssertionError("the source ended without an error")
