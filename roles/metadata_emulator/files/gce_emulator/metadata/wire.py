# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server's answers as bytes: headers in the order of the real server, error pages.

aiohttp reads the requests. It does not write the answers: clients see order, case and number of the headers, and a
hanging GET is answered in the call that changes the value.
"""

from __future__ import annotations

import asyncio
import dataclasses
import email.utils
import functools
import html
import http
import time
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from ..web.connection import reset

SERVER = "Metadata Server for VM"
TEXT, JSON = "application/text", "application/json"
HTML, PLAIN = "text/html; charset=UTF-8", "text/plain; charset=utf-8"


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    content_type: str
    etag: str | None = None
    location: str | None = None
    close: bool = False

    def encode(self, *, close: bool = False) -> bytes:
        """The whole answer, rendered once for all who get the same within a second."""
        return _encode(self, close or self.close, int(time.time()))


@functools.lru_cache(maxsize=16)
def _encode(answer: Answer, close: bool, now: int) -> bytes:
    # In the order of captures of the real server.
    date = f"Date: {email.utils.formatdate(now, usegmt=True)}"
    content_type = f"Content-Type: {answer.content_type}"
    if answer.status == 200:
        lines = [content_type, date]
        if answer.etag is not None:
            lines.insert(1, f"ETag: {answer.etag}")
    else:
        lines = [date, content_type]
        if answer.location is not None:
            lines.append(f"Location: {answer.location}")
    lines.append(f"Server: {SERVER}")
    if close:
        lines.append("Connection: Close")
    head = "\r\n".join(
        [
            f"HTTP/1.1 {answer.status} {_reason(answer.status)}",
            "Metadata-Flavor: Google",
            *lines,
            f"Content-Length: {len(answer.body)}",
            "X-XSS-Protection: 0",
            "X-Frame-Options: SAMEORIGIN",
        ]
    )
    return head.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + answer.body


def page(status: int, text: str, *, close: bool = False) -> Answer:
    """The error page around `text`, which may contain markup."""
    body = (
        "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n"
        '  <meta name=viewport content="initial-scale=1, minimum-scale=1, width=device-width">\n'
        f"  <title>Error {status} ({_reason(status)})!!1</title>\n"
        f"  <p><b>{status}.</b> <ins>That\u2019s an error.</ins>\n"
        f"  <p>{text} <ins>That\u2019s all we know.</ins>\n"
    )
    return Answer(status, body.encode("utf-8", "surrogateescape"), HTML, close=close)


def forbidden(path: str, why: str) -> Answer:
    text = f"Your client does not have permission to get URL <code>{html.escape(path)}</code> from this server. {why}"
    return page(403, text, close=True)


def not_found(path: str) -> Answer:
    return page(404, f"The requested URL <code>{html.escape(path)}</code> was not found on this server. ")


def bad_request(why: str) -> Answer:
    return page(400, f"Your client has issued a malformed or illegal request. {html.escape(why)}", close=True)


def wrong_method(method: str, path: str) -> Answer:
    text = (
        f"The request method <code>{html.escape(method)}</code> is inappropriate"
        f" for the URL <code>{html.escape(path)}</code>."
    )
    return page(405, text, close=True)


def unavailable() -> Answer:
    return page(503, "The service you requested is not available at this time.")


def too_many() -> Answer:
    return page(429, "Your client has sent too many requests.")


class Sent(web.StreamResponse):
    """A response to aiohttp: the bytes to send, or none if the answer was sent already."""

    def __init__(self, payload: bytes = b"", *, close: bool = False) -> None:
        super().__init__()
        self._payload_bytes = payload
        self._closes = close

    @property
    def keep_alive(self) -> bool:
        return not self._closes

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self._payload_bytes and request.transport is not None:
            request.transport.write(self._payload_bytes)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Protocol(web.RequestHandler):
    """aiohttp's connection, with the metadata server's error page for requests that are not HTTP."""

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._metadata_server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._metadata_server.is_refusing and isinstance(transport, asyncio.Transport):
            reset(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            self.log_exception("Error handling a request", exc_info=exc)
        text = "Your client has issued a malformed or illegal request."
        return Sent(page(status, text, close=True).encode(), close=True)


class Server(web.Server):
    """aiohttp's low-level server with connections of the metadata server."""

    is_refusing = False

    def __call__(self) -> web.RequestHandler:
        return Protocol(self, **self._kwargs)

    def refuse_connections(self) -> None:
        """End all connections, and those that are accepted but not yet set up."""
        self.is_refusing = True
        self.abort_connections()

    def abort_connections(self) -> None:
        for connection in self.connections:
            reset(connection.transport)


def _reason(status: int) -> str:
    return http.HTTPStatus(status).phrase
