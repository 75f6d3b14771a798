# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler's side of requests: the socket, who can send them, and the names of those who do."""

from __future__ import annotations

import grp
import os
import selectors
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from .._vm.records import dataclass, replace
from ..io.account import name_of
from ..io.request import Listener, Request

if TYPE_CHECKING:
    from ..io.log import Log
    from ..io.pool import Pool
    from .config import Config

# Seconds for the name of an operator.
NAME_WITHIN = 2.0


@dataclass(frozen=True)
class Admitted:
    """The group of operators can send requests, or cannot for this reason."""

    problem: str


class Requests:
    """Receives requests, and posts them with the name of their sender.

    What root and the handler's user say who they are is believed. The name of an operator is looked up.
    """

    def __init__(self, selector: selectors.BaseSelector, log: Log, post: Callable[[Any], None], pool: Pool) -> None:
        self._selector = selector
        self._log = log
        self._post = post
        self._pool = pool
        self._listener: Listener | None = None

    def listen(self, config: Config) -> None:
        """Open the socket, anew if it is open: its directory may have been deleted, or the group be another."""
        self.close()
        try:
            config.runtime_dir.mkdir(parents=True, exist_ok=True)
            listener = Listener(config.runtime_dir)
        except OSError as exc:
            self._post(Admitted(f"Opening the socket for commands in {config.runtime_dir}: {exc}."))
            return
        self._selector.register(listener, selectors.EVENT_READ, self)
        self._listener = listener
        self._pool.do(lambda: self._post(Admitted(_admit(listener, config.operators))))

    def take(self) -> None:
        """Post what has come."""
        for wanted in self._listener.take() if self._listener is not None else ():
            if not isinstance(wanted, Request):
                self._log.error(str(wanted))
            elif is_trusted(wanted):
                self._post(wanted)
            else:
                self._pool.do(partial(self._post_named, wanted))

    def close(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _post_named(self, wanted: Request) -> None:
        self._post(replace(wanted, by=name_of(wanted.uid, NAME_WITHIN)))


def is_trusted(wanted: Request) -> bool:
    """Whether a request is from root or from the handler's own user."""
    return wanted.uid in (0, os.geteuid())


def _admit(listener: Listener, group: str | None) -> str:
    """Let a group send requests. The user database may block. Returns the problem, if there is one."""
    try:
        listener.admit(None if group is None else grp.getgrnam(group).gr_gid)
    except KeyError:
        return f"field 'operators': there is no group {group!r} here, so only root can order a drain."
    except OSError as exc:
        return f"field 'operators': giving the socket for commands to the group {group!r}: {exc}."
    return ""
