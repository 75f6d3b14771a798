# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether the local service works, before restore sends requests to it again."""

from __future__ import annotations

from client.http import request, shown
from maintenance_handler._vm.web_url import is_web_url
from recipes.run import Refusal, Run
from recipes.sockets import connected, parsed

_TIMEOUT = 3.0


def checked(target: str | None) -> None:
    """Raises `Refusal` if this is neither a URL nor an address."""
    if target is None:
        return
    if not target.startswith(("http://", "https://")):
        parsed(target)
    elif not is_web_url(target):
        raise Refusal("health is not a valid URL: write http://HOST:PORT/PATH, without a user and a password")


def wait_until_healthy(run: Run, target: str | None) -> None:
    """Wait until a URL answers with a status below 400, or an address accepts a connection. None waits for nothing."""
    if target is not None:
        run.wait_until(lambda: _problem(run, target))


def _problem(run: Run, target: str) -> str:
    try:
        if target.startswith(("http://", "https://")):
            status = request(target, timeout=run.bounded(_TIMEOUT)).status
            return "" if status < 400 else f"the local service answers {status} at {shown(target)}"
        connected(target, run.bounded(_TIMEOUT)).close()
    except Refusal as exc:
        return run.unanswered(f"the local service is not up: {exc}")
    return ""
