# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of the Compute API, by itself or in a batch, and its reply. Pure."""

from __future__ import annotations

import dataclasses
import json
import re
import urllib.parse
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Callable

from ..state.errors import ApiError
from ..web.json_text import parse_json

PREFIX = "/compute/v1/"

# gcloud encodes the slashes of the parameter `parentName`.
_ENCODED_PARENT = re.compile(r"reservations%2F([^/%]+)%2FreservationBlocks%2F([^/%]+)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclasses.dataclass(frozen=True)
class ApiRequest:
    """`raw_path` and `raw_query` are as sent, `path` and `query` decoded. `headers` is case-insensitive.

    `named` has the segments of the path, by the placeholders of the method's route.
    """

    method: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]
    body: bytes = b""
    named: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def path(self) -> str:
        return urllib.parse.unquote(self.raw_path, errors="replace")

    @property
    def query(self) -> dict[str, str]:
        """The first value of each parameter."""
        pairs = urllib.parse.parse_qsl(self.raw_query, keep_blank_values=True, errors="replace")
        return dict(reversed(pairs))

    def read_object(self) -> Mapping[str, Any]:
        """The body, a JSON object; empty without a body. Raises ApiError."""
        try:
            document = parse_json(self.body or b"{}")
        except ValueError as error:
            raise ApiError(400, "parseError", f"Invalid JSON payload received. {error}") from None
        if not isinstance(document, dict):
            raise ApiError(400, "parseError", "Invalid JSON payload received. The root must be an object.")
        return document


@dataclasses.dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    content_type: str = "application/json; charset=UTF-8"


Answer = Mapping[str, Any]
Method = Callable[[ApiRequest], Awaitable[Answer]]
Routes = Sequence[tuple[str, str, Method]]


class Router:
    """Finds the method for a request. A route is (verb, path below PREFIX with {placeholders}, method)."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Method]] = []

    def add(self, routes: Routes) -> None:
        for verb, path, method in routes:
            pattern = _PLACEHOLDER.sub(r"(?P<\1>[^/]+)", PREFIX + path)
            self._routes.append((verb, re.compile(pattern), method))

    def find(self, request: ApiRequest) -> tuple[Method | None, ApiRequest]:
        """The method, or None, and the request with `named`."""
        named: Mapping[str, str] = {}
        raw_path = _ENCODED_PARENT.sub(r"reservations/\1/reservationBlocks/\2", request.raw_path)
        for verb, pattern, method in self._routes:
            match = pattern.fullmatch(raw_path)
            if match is None:
                continue
            named = {name: urllib.parse.unquote(value, errors="replace") for name, value in match.groupdict().items()}
            if verb == request.method:
                return method, dataclasses.replace(request, named=named)
        return None, dataclasses.replace(request, named=named)


def json_reply(request: ApiRequest, document: Any, status: int = 200) -> Reply:
    is_pretty = request.query.get("prettyPrint", "true").lower() != "false"
    text = json.dumps(document, indent=2 if is_pretty else None, ensure_ascii=False) + "\n"
    # Values of guest attributes need not be UTF-8.
    return Reply(status, text.encode("utf-8", "replace"))
