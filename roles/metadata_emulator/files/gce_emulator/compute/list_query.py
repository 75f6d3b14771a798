# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query parameters of list methods: filter, orderBy, maxResults, pageToken. Pure."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Callable, NamedTuple

from ..state.booleans import is_true_parameter
from ..state.errors import invalid
from ..web.json_text import parse_json
from .list_filter import Predicate, Resource, parse_filter

DEFAULT_PAGE_SIZE = 500
LARGEST_PAGE_SIZE = 500


class Entry(NamedTuple):
    """A candidate for a list. `resource` makes its resource; `known` are fields of it that cost nothing."""

    scope: str
    name: str
    created: datetime.datetime | None
    resource: Callable[[], Resource]
    known: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class ListQuery:
    """The parsed query of a list or aggregatedList request."""

    matches: Predicate
    newest_first: bool
    max_results: int
    after: tuple[Any, ...] | None
    include_all_scopes: bool


@dataclass(frozen=True)
class Page:
    """One page of resources, and the token of the next."""

    items: list[Resource]
    next_page_token: str | None


def parse_list_query(query: Mapping[str, str]) -> ListQuery:
    """Read the parameters that all list methods share. Raises ApiError."""
    order_by = query.get("orderBy", "")
    if order_by not in ("", "name", "creationTimestamp desc"):
        raise invalid("orderBy", order_by, "Only 'name' and 'creationTimestamp desc' are supported.")
    newest_first = order_by == "creationTimestamp desc"
    filter_text = query.get("filter", "")
    return ListQuery(
        matches=parse_filter(filter_text) if filter_text.strip() else lambda resource: True,
        newest_first=newest_first,
        max_results=_page_size(query.get("maxResults")),
        after=_decode_token(query["pageToken"], newest_first) if query.get("pageToken") else None,
        include_all_scopes=is_true_parameter(query.get("includeAllScopes", "")),
    )


def select(entries: Iterable[Entry], query: ListQuery) -> Page:
    """The page that `query` asks for, ordered by scope, then as the query says.

    The token has the position of the last resource, not a number: resources that come or go between two pages neither
    hide others nor repeat them. Resources are made only as far as the page and the filter need them.
    """
    placed = sorted(((_place(entry, query.newest_first), entry) for entry in entries), key=lambda pair: pair[0])
    items: list[Resource] = []
    last: tuple[Any, ...] | None = None
    for place, entry in placed:
        if query.max_results == 0:
            break
        if query.after is not None and place <= query.after:
            continue
        candidate = _Candidate(entry)
        if not query.matches(candidate):
            continue
        if last is not None and len(items) == query.max_results:
            return Page(items, _encode_token(last, query.newest_first))
        items.append(candidate.resource)
        last = place
    return Page(items, None)


class _Candidate(Resource):
    """The resource of an entry, made once a field is read that is not known."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    @cached_property
    def resource(self) -> Resource:
        return self._entry.resource()

    def __getitem__(self, field: str) -> Any:
        known = self._entry.known
        return known[field] if field in known else self.resource[field]

    def __contains__(self, field: object) -> bool:
        return field in self._entry.known or field in self.resource

    def __iter__(self) -> Iterator[str]:
        return iter(self.resource)

    def __len__(self) -> int:
        return len(self.resource)


def _page_size(text: str | None) -> int:
    if text is None or text == "":
        return DEFAULT_PAGE_SIZE
    if not re.fullmatch(r"-?\d{1,18}", text):
        raise invalid("maxResults", text, "Must be an integer.")
    number = int(text)
    if not 0 <= number <= LARGEST_PAGE_SIZE:
        raise invalid("maxResults", text, f"Value must be between 0 and {LARGEST_PAGE_SIZE}, inclusive.")
    return number


def _place(entry: Entry, newest_first: bool) -> tuple[Any, ...]:
    return (entry.scope, -entry.created.timestamp() if newest_first and entry.created else 0.0, entry.name)


def _encode_token(place: tuple[Any, ...], newest_first: bool) -> str:
    return base64.urlsafe_b64encode(json.dumps([newest_first, *place]).encode()).decode()


def _decode_token(token: str, newest_first: bool) -> tuple[Any, ...]:
    try:
        parts = parse_json(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        parts = None
    if not isinstance(parts, list) or [type(part) for part in parts] != [bool, str, float, str]:
        raise invalid("pageToken", token, "The token is invalid.")
    if parts[0] != newest_first:
        raise invalid("pageToken", token, "The token belongs to a request with another orderBy.")
    return tuple(parts[1:])
