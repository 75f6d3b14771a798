# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of the metadata server and a cache of their answers, for all lookups of a process.

Private to the collection: it may change at any time.

A template creates a new lookup object for each call, so that the cache has to be outside of it. Ansible templates each
task in a forked worker, so that workers do not share their caches.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ..module_utils._vm.metadata_server import Answer, Limits, MetadataNotFound, MetadataServer


class AnswerCache:
    """Answers by server, path and form. Missing keys are cached as well, other errors are not."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._servers: dict[tuple[str | None, Limits, str], MetadataServer] = {}
        self._answers: dict[tuple[str, str, bool], tuple[float, Answer | MetadataNotFound]] = {}
        # A forked process must not use an inherited connection: both processes would read each other's answers.
        os.register_at_fork(after_in_child=self._servers.clear)

    def server(
        self, host: str | None, limits: Limits, *, host_origin: str = "the option metadata_host"
    ) -> MetadataServer:
        """A client, with its connection if it is open."""
        key = (host, limits, host_origin)
        if key not in self._servers:
            self._servers[key] = MetadataServer(host, host_origin=host_origin, limits=limits)
        return self._servers[key]

    def get(self, server: MetadataServer, path: str, *, recursive: bool, max_age: float) -> Answer:
        """The server's answer, from the cache if it is younger than ``max_age`` seconds."""
        now = self._clock()
        self._answers = {key: kept for key, kept in self._answers.items() if now - kept[0] < max_age}
        key = (server.host, path, recursive)
        if key not in self._answers:
            self._answers[key] = (now, _asked(server, path, recursive))
        _unused, answer = self._answers[key]
        if isinstance(answer, MetadataNotFound):
            raise answer.with_traceback(None)
        return answer


def _asked(server: MetadataServer, path: str, recursive: bool) -> Answer | MetadataNotFound:
    try:
        return server.get(path, recursive=recursive, alt="json")
    except MetadataNotFound as error:
        return error
