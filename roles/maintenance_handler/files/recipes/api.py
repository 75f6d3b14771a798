# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A JSON API over HTTP, with its credentials, and errors that say what was requested and what was answered."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from client.errors import Unreachable
from client.http import Answer, request, shown
from recipes.run import Refusal, Run

_TIMEOUT = 10.0


class Unavailable(Unreachable):
    """The API cannot answer now: status 429 or 5xx. `answer` is what it answered."""

    def __init__(self, message: str, answer: Answer) -> None:
        super().__init__(message)
        self.answer = answer


class Rejected(Refusal):
    """The API rejects a request: status 3xx or 4xx. `answer` is what it answered."""

    def __init__(self, message: str, answer: Answer) -> None:
        super().__init__(message)
        self.answer = answer
        self.status = answer.status


class NotFound(Rejected):
    """Status 404."""


@dataclass(frozen=True)
class Api:
    """The API at a URL. `remedy` says what to do if it denies access."""

    url: str
    run: Run
    remedy: str
    # They contain the token.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    context: ssl.SSLContext | None = None

    def object(self, path: str) -> dict[str, Any]:
        """Request a JSON object. Raises `Unreachable`, `Unavailable`, `Rejected`, or `Refusal` for anything else."""
        value = self.send("GET", path)
        if not isinstance(value, dict):
            raise Refusal(f"{shown(self._at(path))} does not answer with a JSON object: is the URL right?")
        return value

    def objects_by_name(self, path: str) -> dict[str, dict[str, Any]]:
        """Request a JSON object whose values are objects. Raises like `object`."""
        value = self.object(path)
        if not all(isinstance(one, dict) for one in value.values()):
            raise Refusal(f"{shown(self._at(path))} does not answer with an object of JSON objects: is the URL right?")
        return value

    def objects(self, path: str) -> list[dict[str, Any]]:
        """Request a JSON array of objects. Raises like `object`."""
        value = self.send("GET", path)
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise Refusal(f"{shown(self._at(path))} does not answer with a JSON array of objects: is the URL right?")
        return value

    def send(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send a request, and return the value of the answer's body; None if it is not JSON."""
        url = self._at(path)
        answer = request(
            url,
            method=method,
            body=body,
            headers={**self.headers, **(headers or {})},
            context=self.context,
            timeout=self.run.bounded(_TIMEOUT),
        )
        if 200 <= answer.status < 300:
            return answer.json()
        failed = f"{method} {shown(url)} failed with status {answer.status}: {answer.message}"
        if answer.status in (401, 403):
            raise Rejected(f"{failed}: {self.remedy}", answer)
        if answer.status == 429 or answer.status >= 500:
            raise Unavailable(failed, answer)
        raise (NotFound if answer.status == 404 else Rejected)(failed, answer)

    def _at(self, path: str) -> str:
        return self.url.rstrip("/") + path
