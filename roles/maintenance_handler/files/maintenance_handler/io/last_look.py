# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A last check for a preemption by a handler that is stopping: the signal may come after the shutdown has begun."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Callable, Union

from .._vm.maintenance import PREEMPTED_KEY, SIGNAL_LIMIT, is_preempted
from .._vm.metadata_server import Limits, MetadataError, MetadataServer
from .._vm.records import dataclass
from .._vm.signal_values import essence
from .._vm.watch import Heard
from .shutdown import is_shutting_down

if TYPE_CHECKING:
    Post = Callable[[Union[Heard, "Looked", "StaysUp", "ShutsDown"]], None]

# Seconds between two checks, and the timeout of one.
EVERY = 0.1
ONE_LOOK = 1.0
# Seconds between two queries of systemd.
ASK_EVERY = 1.0


@dataclass(frozen=True)
class Looked:
    """A check has ended, whatever its result."""


@dataclass(frozen=True)
class StaysUp:
    """The machine is not shutting down yet, or systemd has not answered in time."""


@dataclass(frozen=True)
class ShutsDown:
    """The machine is shutting down."""


def start_looking(host: str | None, post: Post) -> None:
    """Look in a daemon thread until the process ends."""
    threading.Thread(target=look, args=(host, post), name="last look", daemon=True).start()


def look(host: str | None, post: Post) -> None:
    """Post a preemption, and `Looked` after each check, again and again until `post` raises an exception."""
    limits = Limits(retry_for=0, timeout=ONE_LOOK, body_limit=SIGNAL_LIMIT)
    with closing(MetadataServer(host, limits=limits)) as server:
        while True:
            try:
                value = str(server.get(PREEMPTED_KEY).value)
                # Another value may be older than a preemption that the handler has heard of by itself meanwhile.
                if is_preempted(value):
                    post(Heard(PREEMPTED_KEY, essence(PREEMPTED_KEY, value), time.monotonic()))
            except MetadataError:
                # The next check follows at once.
                pass
            post(Looked())
            time.sleep(EVERY)


def start_asking_systemd(post: Post) -> None:
    """Post `StaysUp` after each query, and `ShutsDown` once the machine is shutting down."""
    threading.Thread(target=_ask_systemd, args=(post,), name="shutdown", daemon=True).start()


def _ask_systemd(post: Post) -> None:
    # A shutdown may also begin later, while a handler that is only restarted finishes its steps.
    while not is_shutting_down():
        post(StaysUp())
        time.sleep(ASK_EVERY)
    post(ShutsDown())
