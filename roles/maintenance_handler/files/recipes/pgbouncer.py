# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pause PgBouncers while the primary changes. Recipes that use this have `pgbouncers`, `pause_seconds` and `primary`.

https://www.pgbouncer.org/usage.html#admin-console
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recipes.commands import Failed
from recipes.psql import query
from recipes.run import Refusal, Run

_TIMEOUT = 5.0
# A load balancer that distributes connections leads to each of its servers within so many.
_CONNECTIONS = 5
# In the record: the PgBouncers that are paused.
_PAUSED = "paused"


def check(run: Run) -> None:
    """Raises `Refusal` if a console does not answer, or `primary` does not lead to a primary."""
    for pooler in run["pgbouncers"] or []:
        query(pooler, "SHOW VERSION", _TIMEOUT)
    if run["primary"]:
        leads_to_a_primary(run)


def leads_to_a_primary(run: Run) -> None:
    """Raises `Refusal` if the connection string in `primary` leads to a standby, or nowhere.

    For some seconds after a switchover, a load balancer may distribute connections to both servers.
    """
    statement = "select pg_is_in_recovery()"
    answers = query(run["primary"], statement, run.bounded(_TIMEOUT), connections=_CONNECTIONS).split()
    if answers != ["f"] * _CONNECTIONS:
        raise Refusal("'primary' leads to a standby")


@contextmanager
def paused(run: Run) -> Iterator[None]:
    """Have clients of the PgBouncers wait, and resume them whatever happens."""
    poolers = run["pgbouncers"] or []
    if poolers:
        run.record.note(_PAUSED, poolers)
    try:
        for pooler in poolers:
            _pause(pooler, run)
        yield
    finally:
        resume_all(run)


def resume_all(run: Run) -> None:
    """Resume the PgBouncers that this run, or an interrupted one, has paused. Raises `Refusal` if one may still be."""
    problems = [_resume(pooler) for pooler in run.record.get(_PAUSED) or []]
    if any(problems):
        raise Refusal(f"a PgBouncer may still be paused: {'; '.join(filter(None, problems))}")
    run.record.forget(_PAUSED)


def _pause(pooler: str, run: Run) -> None:
    try:
        # PgBouncer answers when the last transaction has ended. If we stop waiting before, the pause still holds.
        query(pooler, "PAUSE", run.bounded(run["pause_seconds"]))
    except Failed as exc:
        if exc.status is not None and "already suspended/paused" not in str(exc):
            raise
        if exc.status is None:
            run.say(f"PgBouncer has transactions open after {run['pause_seconds']:g} s; switching over anyway")


def _resume(pooler: str) -> str:
    """Resume a PgBouncer. Returns why it may still be paused."""
    try:
        query(pooler, "RESUME", _TIMEOUT)
    except Refusal as exc:
        return "" if "not paused" in str(exc) else str(exc)
    return ""
