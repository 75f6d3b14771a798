# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A JSON API over HTTP with one deadline for all its requests."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from client.errors import Refusal, Unreachable
from client.http import Answer, request, shown
from fleet_limit.deadline import Deadline

# What messages have in place of a secret.
_HIDDEN = "…"


@dataclass(frozen=True)
class Api:
    """The API at a URL. `secret` is removed from messages, because a server may repeat what it was sent."""

    url: str
    deadline: Deadline
    context: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The URL for messages."""
        return shown(self.url)

    def send(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request; any status is an answer. Raises `Unreachable`."""
        left = self.deadline.left()
        if left <= 0:
            raise Unreachable(f"{self.shown} has not answered everything in time")
        url = self.url.rstrip("/") + path
        sent = {**self.headers, **(headers or {})}
        return request(url, method=method, body=body, headers=sent, context=self.context, timeout=left)

    def rejected(self, answer: Answer, path: str, remedy: str) -> Refusal:
        """The error for credentials that are not accepted."""
        return Refusal(f"{self._failed(answer, path)}: {remedy}")

    def failed(self, answer: Answer, path: str) -> Unreachable:
        """The error for an answer that cannot be used."""
        return Unreachable(self._failed(answer, path))

    def _failed(self, answer: Answer, path: str) -> str:
        message = answer.message if not self.secret else _without(self.secret, answer)
        return f"{self.shown.rstrip('/')}{path.partition('?')[0]} answers with status {answer.status}: {message}"


def _without(secret: str, answer: Answer) -> str:
    """The message without the secret, which is removed before the message is cut off, also as JSON has it."""
    body = answer.body
    for each in (secret, json.dumps(secret)[1:-1]):
        body = body.replace(each.encode(), _HIDDEN.encode())
    return replace(answer, body=body).message.replace(secret, _HIDDEN)
