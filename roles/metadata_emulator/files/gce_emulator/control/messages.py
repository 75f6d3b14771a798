# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies of requests to the control face, and its answers."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ..web.json_text import parse_json


class ControlError(Exception):
    """A refusal, answered with `status` and `{"error": str(self)}`."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def read_object(request: web.Request, *known: str) -> dict[str, Any]:
    """The body, a JSON object with no keys but `known` (any, if none are named). Raises ControlError."""
    try:
        body = parse_json(await request.read() or b"{}")
    except ValueError as error:
        raise ControlError(400, f"the body cannot be read: {error}") from None
    if not isinstance(body, dict):
        raise ControlError(400, "the body must be a JSON object")
    for key in body:
        if known and key not in known:
            raise ControlError(400, f"the body has the unknown key {key}; it can have {', '.join(known)}")
    return body


def json_response(content: Any, status: int = 200) -> web.Response:
    return web.json_response(content, status=status)
