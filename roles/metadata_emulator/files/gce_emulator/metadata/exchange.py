# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to a metadata server and its answer."""

from __future__ import annotations

import re
import urllib.parse
from typing import Callable

from aiohttp import web

from ..state.booleans import is_true_parameter
from ..web.connection import reset
from .wire import Answer, Sent


class Exchange:
    """`raw_path` is the path as sent, `path` the decoded one."""

    def __init__(self, request: web.BaseRequest, raw_path: str, query: str, note: Callable[[int], None]) -> None:
        """`note` is called with the status of the answer; 0 if there is none."""
        self.request = request
        self.raw_path = raw_path
        # Repeated slashes count as one. A slash at the end asks for a directory.
        self.path = re.sub("/+", "/", urllib.parse.unquote(raw_path, errors="surrogateescape"))
        self.parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self._query = query
        self.note = note
        self._closes = not request.keep_alive

    def is_on(self, parameter: str) -> bool:
        """Whether a boolean parameter is given and true."""
        return is_true_parameter(self.parameters.get(parameter, ""))

    def redirect(self) -> Answer:
        """A redirect to the directory's URL, on the host of the request."""
        query = f"?{self._query}" if self._query else ""
        location = f"http://{self.request.headers.get('Host', 'metadata.google.internal')}{self.raw_path}/{query}"
        return Answer(301, f"{self.raw_path}/\n".encode(), "text/html", location=location)

    def send(self, answer: Answer) -> Sent:
        self.note(answer.status)
        self._closes = self._closes or answer.close
        return Sent(answer.encode(close=self._closes), close=self._closes)

    def send_bytes(self, status: int, payload: bytes, *, close: bool = False) -> Sent:
        self.note(status)
        return Sent(payload, close=close or self._closes)

    def send_now(self, answer: Answer) -> None:
        """Send without the handler, which must return `sent()`."""
        self.note(answer.status)
        self._closes = self._closes or answer.close
        self.write(answer.encode(close=self._closes))

    def sent(self) -> Sent:
        return Sent(close=self._closes)

    def write(self, payload: bytes) -> bool:
        transport = self.request.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(payload)
        return True

    def abort(self) -> Sent:
        self.note(0)
        reset(self.request.transport)
        return Sent(close=True)


async def read_body(request: web.BaseRequest, limit: int) -> bytes | None:
    """The request's body, or None if it is larger than `limit`."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    too_large = False
    async for chunk in request.content.iter_any():
        too_large = too_large or len(body) + len(chunk) > limit
        if not too_large:
            body += chunk
    return None if too_large else bytes(body)
