# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the list methods of the Compute API take as query: filter, orderBy, maxResults, pageToken, and the fields mask.

Pure functions over JSON-like dictionaries; nothing here knows about HTTP or about the fleet.
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable, NoReturn

Resource = Mapping[str, Any]
Predicate = Callable[[Resource], bool]
Mask = dict[str, Any]
"""Name of a field -> the mask of what is below it; an empty mask takes everything."""

DEFAULT_PAGE_SIZE = 500
LARGEST_PAGE_SIZE = 500

_TRUE_WORDS = {"true", "1", "yes", "on"}


class BadQuery(ValueError):
    """A query parameter that the API refuses; str() is the API's own sentence."""

    def __init__(self, parameter: str, value: str, why: str) -> None:
        super().__init__(f"Invalid value for field '{parameter}': '{value}'. {why}")
        self.parameter = parameter


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
    """One page of resources, and the token of the next page if there is more."""

    items: list[Resource]
    next_page_token: str | None


def parse_list_query(query: Mapping[str, str]) -> ListQuery:
    """Read the parameters that all list methods share; raises BadQuery."""
    order_by = query.get("orderBy", "")
    if order_by not in ("", "name", "creationTimestamp desc"):
        raise BadQuery("orderBy", order_by, "Only 'name' and 'creationTimestamp desc' are supported.")
    newest_first = order_by == "creationTimestamp desc"
    filter_text = query.get("filter", "")
    return ListQuery(
        matches=parse_filter(filter_text) if filter_text.strip() else lambda resource: True,
        newest_first=newest_first,
        max_results=_page_size(query.get("maxResults")),
        after=_decode_token(query["pageToken"], newest_first) if query.get("pageToken") else None,
        include_all_scopes=query.get("includeAllScopes", "").lower() in _TRUE_WORDS,
    )


def select(resources: Sequence[Resource], query: ListQuery, scope_of: Callable[[Resource], str]) -> Page:
    """The page of `resources` that `query` asks for, ordered by scope and then as the query says.

    The token holds the place of the last resource given and not a number, so that a resource that comes or goes
    between two pages neither hides another one nor shows it twice.
    """
    keyed = [
        (_place(resource, scope_of(resource), query.newest_first), resource)
        for resource in resources
        if query.matches(resource)
    ]
    keyed.sort(key=lambda pair: pair[0])
    if query.after is not None:
        keyed = [pair for pair in keyed if pair[0] > query.after]
    given = keyed[: query.max_results]
    more = bool(given) and len(keyed) > len(given)
    token = _encode_token(given[-1][0], query.newest_first) if more else None
    return Page([resource for _unused, resource in given], token)


def parse_filter(text: str) -> Predicate:
    """A predicate for one of the two kinds of filter expressions: AIP-160, or `field eq regex`; raises BadQuery.

    https://google.aip.dev/160, and the description of `filter` in the API's discovery document.
    """
    if _REGEX_FILTER.search(_without_quoted(text)):
        return _parse_regex_filter(text)
    return _AipParser(text).parse()


def parse_fields(text: str) -> Mask:
    """The tree of a `fields` mask such as `items/*/instances(name,zone),nextPageToken`; raises BadQuery."""
    return _FieldsParser(text).parse()


def apply_mask(mask: Mask, document: Any) -> Any:
    """`document` with the fields of the mask only; a list is masked element by element."""
    if not mask:
        return document
    if isinstance(document, list):
        return [apply_mask(mask, element) for element in document]
    if not isinstance(document, Mapping):
        return document
    return {
        key: apply_mask(below, value)
        for key, value in document.items()
        if (below := _mask_for_key(mask, key)) is not None
    }


def instant(text: str) -> float | None:
    """An RFC 3339 time as seconds since the epoch, or None for any other text."""
    if not _RFC3339.fullmatch(text):
        return None
    try:
        # Python 3.9 takes neither 'Z' nor a fraction that has not 3 or 6 digits.
        moment = datetime.fromisoformat(re.sub(r"\.\d+", "", text.upper().replace("Z", "+00:00")))
    except ValueError:
        return None
    fraction = re.search(r"\.\d+", text)
    return moment.timestamp() + (float(fraction.group()) if fraction else 0.0)


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


# Pages


def _page_size(text: str | None) -> int:
    if text is None or text == "":
        return DEFAULT_PAGE_SIZE
    if not re.fullmatch(r"-?\d{1,18}", text):
        raise BadQuery("maxResults", text, "Must be an integer.")
    number = int(text)
    if not 0 <= number <= LARGEST_PAGE_SIZE:
        raise BadQuery("maxResults", text, f"Value must be between 0 and {LARGEST_PAGE_SIZE}, inclusive.")
    return number


def _place(resource: Resource, scope: str, newest_first: bool) -> tuple[Any, ...]:
    # An operation has an insertTime where other resources have a creationTimestamp.
    created = str(resource.get("creationTimestamp") or resource.get("insertTime") or "")
    return (scope, -(instant(created) or 0.0) if newest_first else 0.0, str(resource["name"]))


def _encode_token(place: tuple[Any, ...], newest_first: bool) -> str:
    return base64.urlsafe_b64encode(json.dumps([newest_first, *place]).encode()).decode()


def _decode_token(token: str, newest_first: bool) -> tuple[Any, ...]:
    try:
        parts = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        parts = None
    if not isinstance(parts, list) or [type(part) for part in parts] != [bool, str, float, str]:
        raise BadQuery("pageToken", token, "The token is not one that this API gave.")
    if parts[0] != newest_first:
        raise BadQuery("pageToken", token, "The token belongs to a request with another orderBy.")
    return tuple(parts[1:])


# Filters of the kind AIP-160: OR binds tighter than AND, and two expressions side by side are joined by AND.

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<open>\() | (?P<close>\)) |
        (?P<operator><=|>=|!=|=|<|>|:) |
        (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*') |
        (?P<word>[^\s()=!<>:"']+)
    )""",
    re.VERBOSE,
)
_BARE_VALUE = re.compile(r"[^\s()\"'=<>!][^\s()\"']*")
_FIELD = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")


class _AipParser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def parse(self) -> Predicate:
        predicate = self._expression()
        if self._peek() != ("end", ""):
            self._refuse()
        return predicate

    def _expression(self) -> Predicate:
        parts = [self._factor()]
        while True:
            kind, token = self._peek()
            if (kind, token) == ("word", "AND"):
                self._take()
            elif kind in ("end", "close"):
                return _all_of(parts)
            parts.append(self._factor())

    def _factor(self) -> Predicate:
        parts = [self._term()]
        while self._peek() == ("word", "OR"):
            self._take()
            parts.append(self._term())
        return _any_of(parts)

    def _term(self) -> Predicate:
        kind, token = self._peek()
        if (kind, token) == ("word", "NOT") or (kind == "word" and token == "-"):
            self._take()
            return _negated(self._term())
        if kind == "word" and token.startswith("-"):
            self._position = self._text.index("-", self._position) + 1
            return _negated(self._term())
        if kind == "open":
            self._take()
            inside = self._expression()
            if self._take()[0] != "close":
                self._refuse()
            return inside
        return self._comparison()

    def _comparison(self) -> Predicate:
        kind, field = self._take()
        if kind != "word" or not _FIELD.fullmatch(field):
            self._refuse()
        kind, operator = self._take()
        if kind != "operator":
            self._refuse()
        return _comparison(tuple(field.split(".")), operator, self._value())

    def _value(self) -> str:
        while self._position < len(self._text) and self._text[self._position].isspace():
            self._position += 1
        bare = _BARE_VALUE.match(self._text, self._position)
        if bare:
            # A bare value may hold what is an operator elsewhere: a time, a URL.
            self._position = bare.end()
            return bare.group()
        kind, token = self._take()
        if kind != "quoted":
            self._refuse()
        return _unquote(token)

    def _peek(self) -> tuple[str, str]:
        before = self._position
        token = self._take()
        self._position = before
        return token

    def _take(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            if self._text[self._position :].strip():
                self._refuse()
            return "end", ""
        self._position = match.end()
        kind = str(match.lastgroup)
        return kind, match.group(kind)

    def _refuse(self) -> NoReturn:
        raise _bad_filter(self._text)


def _comparison(path: tuple[str, ...], operator: str, wanted: str) -> Predicate:
    def matches(resource: Resource) -> bool:
        values = _values(resource, path)
        if operator == "!=":
            return not any(_equal(value, wanted) for value in values)
        test = _TESTS[operator]
        return any(test(value, wanted) for value in values)

    return matches


def _values(document: Any, path: Sequence[str]) -> list[Any]:
    """Every value at `path`; a list on the way or at the end contributes each of its elements."""
    if isinstance(document, list):
        return [value for element in document for value in _values(element, path)]
    if not path:
        return [] if document is None else [document]
    if not isinstance(document, Mapping) or path[0] not in document:
        return []
    return _values(document[path[0]], path[1:])


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted.lower() == ("true" if value else "false")
    if isinstance(value, Mapping):
        return False
    if "*" in wanted:
        return _glob(wanted).fullmatch(str(value)) is not None
    return str(value) == wanted or _ordered(value, wanted) == 0


def _has(value: Any, wanted: str) -> bool:
    if wanted == "*":
        return True
    if isinstance(value, Mapping):
        return wanted in value
    if isinstance(value, str) and "*" not in wanted:
        return wanted.lower() in value.lower()
    return _equal(value, wanted)


def _ordered(value: Any, wanted: str) -> int | None:
    """-1, 0 or 1 as value is before, at or after what is wanted; None if the two do not compare."""
    if isinstance(value, (bool, Mapping)):
        return None
    for convert in (_number, instant):
        left, right = convert(str(value)), convert(wanted)
        if left is not None and right is not None:
            return (left > right) - (left < right)
    return (str(value) > wanted) - (str(value) < wanted)


def _number(text: str) -> int | float | None:
    # Integers stay integers: ids exceed 2^53.
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"-?\d+\.\d+", text):
        return float(text)
    return None


_TESTS: Mapping[str, Callable[[Any, str], bool]] = {
    "=": _equal,
    ":": _has,
    "<": lambda value, wanted: _ordered(value, wanted) == -1,
    ">": lambda value, wanted: _ordered(value, wanted) == 1,
    "<=": lambda value, wanted: _ordered(value, wanted) in (-1, 0),
    ">=": lambda value, wanted: _ordered(value, wanted) in (0, 1),
}


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)


def _all_of(parts: list[Predicate]) -> Predicate:
    return parts[0] if len(parts) == 1 else lambda resource: all(part(resource) for part in parts)


def _any_of(parts: list[Predicate]) -> Predicate:
    return parts[0] if len(parts) == 1 else lambda resource: any(part(resource) for part in parts)


def _negated(predicate: Predicate) -> Predicate:
    return lambda resource: not predicate(resource)


def _unquote(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1])


def _bad_filter(text: str, why: str = "Invalid list filter expression.") -> BadQuery:
    return BadQuery("filter", text, why)


# Filters of the kind `field eq regex`

_REGEX_FILTER = re.compile(r"(?:^|\()\s*[\w.-]+\s+(?:eq|ne)(?:\s|$)")
_REGEX_EXPRESSION = re.compile(r"\s*([\w.-]+)\s+(eq|ne)\s+(.+?)\s*", re.DOTALL)


def _parse_regex_filter(text: str) -> Predicate:
    expressions = _parenthesized(text) if text.lstrip().startswith("(") else [text]
    fields = set()
    parts = []
    for expression in expressions:
        match = _REGEX_EXPRESSION.fullmatch(expression)
        if match is None:
            raise _bad_filter(text)
        if re.search(r"\s(AND|OR)\s", _without_quoted(expression)):
            raise _bad_filter(text, "Regular expressions and AND or OR cannot be mixed.")
        field, operator, literal = match.groups()
        fields.add(field)
        parts.append(_regex_test(text, tuple(field.split(".")), operator, literal))
    if len(fields) > 1:
        raise _bad_filter(text, "Constraints on several fields cannot be combined with regular expressions.")
    return _all_of(parts)


def _regex_test(text: str, path: tuple[str, ...], operator: str, literal: str) -> Predicate:
    # What a regular expression escapes with a backslash stays as it is, in quotes too.
    pattern = literal[1:-1] if len(literal) > 1 and literal[0] == literal[-1] and literal[0] in "'\"" else literal
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise _bad_filter(text, f"Invalid regular expression: {error}.") from error

    def matches(resource: Resource) -> bool:
        found = any(compiled.fullmatch(_as_text(value)) for value in _values(resource, path))
        return found if operator == "eq" else not found

    return matches


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _parenthesized(text: str) -> list[str]:
    """The insides of `(a) (b)`; parentheses of a regular expression within are balanced."""
    parts: list[str] = []
    depth = 0
    start = 0
    for position, character in enumerate(text):
        if character == "(" and (depth := depth + 1) == 1:
            start = position + 1
        elif character == ")" and (depth := depth - 1) == 0:
            parts.append(text[start:position])
        elif depth == 0 and not character.isspace():
            raise _bad_filter(text)
        if depth < 0:
            raise _bad_filter(text)
    if depth:
        raise _bad_filter(text)
    return parts


def _without_quoted(text: str) -> str:
    return re.sub(r"\"[^\"]*\"|'[^']*'", "''", text)


# Fields masks


_MASK_TOKEN = re.compile(r"\s*(?:(?P<name>[\w*-]+)|(?P<mark>[(),/.]))\s*")


class _FieldsParser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split(text)

    def parse(self) -> Mask:
        mask = self._selection()
        if self._tokens:
            self._refuse()
        return mask

    def _split(self, text: str) -> list[str]:
        tokens = []
        position = 0
        while position < len(text):
            match = _MASK_TOKEN.match(text, position)
            if match is None:
                self._refuse()
            tokens.append(match.group("name") or match.group("mark"))
            position = match.end()
        return tokens

    def _selection(self) -> Mask:
        mask: Mask = {}
        while True:
            self._path(mask)
            if not self._tokens or self._tokens[0] != ",":
                return mask
            self._tokens.pop(0)

    def _path(self, mask: Mask) -> None:
        if not self._tokens or self._tokens[0] in "(),/.":
            self._refuse()
        name = self._tokens.pop(0)
        following = self._tokens[0] if self._tokens else ""
        below: Mask = {}
        if following in ("/", "."):
            self._tokens.pop(0)
            self._path(below)
        elif following == "(":
            self._tokens.pop(0)
            below = self._selection()
            if not self._tokens or self._tokens.pop(0) != ")":
                self._refuse()
        _merge(mask, name, below)

    def _refuse(self) -> NoReturn:
        raise BadQuery("fields", self._text, "Invalid field selection.")


def _merge(mask: Mask, name: str, below: Mask) -> None:
    if name not in mask:
        mask[name] = below
    elif not below or not mask[name]:
        mask[name] = {}
    else:
        for key, deeper in below.items():
            _merge(mask[name], key, deeper)


def _mask_for_key(mask: Mask, key: str) -> Mask | None:
    """What to take at `key`: asked for by name, by `*`, or by the key's collection (`zones` for zones/us-east1-b)."""
    merged: Mask = {}
    for name in dict.fromkeys((key, "*", key.partition("/")[0])):
        if name in mask:
            _merge(merged, key, copy.deepcopy(mask[name]))
    return merged.get(key)
