# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP as recipes need it: one request, no proxy, no redirect; every status is an answer."""

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

# An answer is never longer, unless something else answers than was asked.
_MOST = 16 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """A status and a body."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace").strip()

    def json(self) -> Any:
        """The body's value; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
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
    ca_file: str | None = None,
    timeout: float,
) -> Answer:
    """Ask once. `body` is sent as JSON. Raises `Unreachable` where nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    sent = {**({} if body is None else {"Content-Type": "application/json"}), **(headers or {})}
    try:
        # Not with the handlers of `build_opener`, which would use proxies of the environment.
        context = ssl.create_default_context(cafile=ca_file) if url.startswith("https:") else None
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
        raise Unreachable(f"{_shown(url)} does not answer: {reason}") from None
    except (OSError, HTTPException, ValueError) as exc:
        raise Unreachable(f"{_shown(url)} does not answer: {exc or type(exc).__name__}") from None


def _shown(url: str) -> str:
    """A URL without the password that may be in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
