# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send an HTTP request. Without proxies and redirects; any status is an answer."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from client.errors import Unreachable
from client.received import MOST, received

_LONGEST_MESSAGE = 300


@dataclass(frozen=True)
class Answer:
    """The answer to a request. Names of headers are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace").strip()

    def json(self) -> Any:
        """The value of the body; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def message(self) -> str:
        """The error message of an API, on one line."""
        value = self.json()
        text: Any = None
        if isinstance(value, dict):
            # The last is FleetLock's.
            text = value.get("message") or value.get("error") or value.get("value")
            if isinstance(text, dict):
                text = text.get("reason") or text.get("message")
        line = " ".join(str(text or self.text or "no message").split()).rstrip(".")
        return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}..."


def request(
    url: str,
    *,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float,
) -> Answer:
    """Send one request. Raises `Unreachable` if there is no whole answer in `timeout` seconds.

    `body` is sent as JSON, bytes as they are. `context` is for https; without it, the certificate is verified with the
    VM's certificate authorities.
    """
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Connection": "close", **({} if body is None else {"Content-Type": "application/json"}), **(headers or {})}
    try:
        parts = urlsplit(url)
        connection = _connection(parts, context, timeout)
        try:
            connection.request(method, urlunsplit(("", "", parts.path or "/", parts.query, "")), data, sent)
            with HTTPResponse(connection.sock, method=method) as answer:
                answer.fp.close()
                answer.fp = received(connection.sock, time.monotonic() + timeout)
                answer.begin()
                names = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, answer.read(MOST), names)
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise Unreachable(f"{shown(url)} does not answer: {reason or type(exc).__name__}") from None


def _connection(parts: SplitResult, context: ssl.SSLContext | None, timeout: float) -> HTTPConnection:
    host = parts.hostname
    if not host:
        raise ValueError("it names no host")
    if parts.scheme == "https":
        context = context or ssl.create_default_context()
        return HTTPSConnection(host, parts.port, timeout=timeout, context=context)
    return HTTPConnection(host, parts.port, timeout=timeout)


def shown(url: str) -> str:
    """The URL for messages: without a user, a password or a query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the URL"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
