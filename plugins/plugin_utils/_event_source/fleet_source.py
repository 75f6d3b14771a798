# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source fleet: a thread that polls the Compute API, and events for a rulebook.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Mapping
from typing import Any, Union

from ...module_utils._compute.api import ComputeApi, MissingLibrary, Time, connect
from ...module_utils._compute.errors import ComputeError
from ...module_utils._compute.fleet_maintenance import KINDS
from ...module_utils._compute.options import API_OPTIONS, ApiOption
from .fleet_changes import FleetChanges
from .fleet_poller import FleetPoller
from .inbox import Inbox, pass_on
from .options import COMMON_OPTIONS, INITIAL, SourceError, host_namer, read_options

OPTIONS: Mapping[str, ApiOption] = {
    **COMMON_OPTIONS,
    **API_OPTIONS,
    "zone": ApiOption(),
    "filter": ApiOption(),
    "kinds": ApiOption("list", default=("instance",)),
    "operations": ApiOption("bool", default=True),
    "interval": ApiOption("float", default=60.0),
    "initial": INITIAL,
}
# The share of an interval by which polls vary, so that many rulebooks do not poll at once.
JITTER = 0.1
_LONGEST_INTERVAL = 86400.0

# The events of a poll, or why there are no more.
_Message = Union[list[dict[str, Any]], Exception]


async def run(queue: Any, args: Mapping[str, Any]) -> None:
    """Poll until cancelled.

    Raises SourceError for invalid options, and if the API refuses the first poll for its options or credentials.
    """
    options = read_options(args, OPTIONS)
    hosts_of = host_namer(options["host_pattern"], limit=options["limit"])
    if not 1 <= options["interval"] <= _LONGEST_INTERVAL:
        raise SourceError(f"interval has to be from 1 to {_LONGEST_INTERVAL:g} seconds.")
    if wrong := [kind for kind in options["kinds"] if kind not in KINDS]:
        raise SourceError(f"kinds has {wrong[0]!r}, but there are only {', '.join(KINDS)}.")
    inbox: Inbox[_Message] = Inbox(asyncio.get_running_loop())
    stopped, taken = threading.Event(), threading.Event()

    def deliver(events: list[dict[str, Any]]) -> None:
        """Give events to the rulebook, and wait until it has taken them: none pile up."""
        taken.clear()
        if not stopped.is_set():
            inbox.post(events)
            taken.wait()

    def work() -> None:
        try:
            api = _connected(options, stopped)
            changes = FleetChanges(api.project, hosts_of, report_initial=options["initial"] == "report")
            poller = FleetPoller(api, options, changes)
            while not stopped.is_set():
                deliver(poller.events())
                stopped.wait(options["interval"] * (1 + JITTER * random.uniform(-1, 1)))
        except _Stopped:
            return
        except Exception as error:
            # Better to end than to be deaf.
            inbox.post(error)

    threading.Thread(target=work, name="gce.guest fleet", daemon=True).start()
    try:
        while True:
            await _pass_next(queue, inbox, taken)
    finally:
        # In this order: the thread waits for `taken` only before the rulebook has ended.
        stopped.set()
        taken.set()


class _Stopped(BaseException):
    """Ends the thread in the middle of its retries."""


def _connected(options: Mapping[str, Any], stopped: threading.Event) -> ComputeApi:
    def sleep(seconds: float) -> None:
        if stopped.wait(seconds):
            raise _Stopped

    try:
        return connect(options.__getitem__, time=Time(sleep=sleep))
    except MissingLibrary as error:
        raise SourceError(f"The source fleet requires {error}: run pip install requests google-auth.") from None
    except ComputeError as error:
        raise SourceError(str(error)) from None


async def _pass_next(queue: Any, inbox: Inbox[_Message], taken: threading.Event) -> None:
    """Wait for a poll, and give its events to the rulebook. Raises what the thread has ended with."""
    message = await inbox.get(_LONGEST_INTERVAL)
    if isinstance(message, Exception):
        raise message
    if message is not None:
        for event in message:
            await pass_on(queue, event)
        taken.set()
