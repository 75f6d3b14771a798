# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send an HTTP request. Without proxies and redirects; any status is an answer."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from recipes.sockets import Unreachable

# No answer that a recipe needs is longer.
_MOST = 16 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace").strip()

    def json(self) -> Any:
        """The value of the body; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def request(
    url: str,
    *,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float,
) -> Answer:
    """Send one request, with `body` as JSON. Raises `Unreachable` if there is no answer.

    `context` is for https; without it, the certificate is verified with the VM's certificate authorities.
    """
    data = None if body is None else json.dumps(body).encode()
    sent = {**({} if body is None else {"Content-Type": "application/json"}), **(headers or {})}
    try:
        if context is None and url.startswith("https:"):
            context = ssl.create_default_context()
        # Without an empty ProxyHandler, `build_opener` would use proxies of the environment.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirects()
        )
        with opener.open(urllib.request.Request(url, data, sent, method=method), timeout=timeout) as answer:
            return Answer(answer.status, answer.read(_MOST))
    except urllib.error.HTTPError as exc:
        with exc:
            return Answer(exc.code, exc.read(_MOST))
    except urllib.error.URLError as exc:
        reason = exc.reason.strerror if isinstance(exc.reason, OSError) and exc.reason.strerror else exc.reason
        raise Unreachable(f"{shown(url)} does not answer: {reason}") from None
    except (OSError, HTTPException, ValueError) as exc:
        raise Unreachable(f"{shown(url)} does not answer: {exc or type(exc).__name__}") from None


def shown(url: str) -> str:
    """The URL for messages: without a user, a password or a query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the URL"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
