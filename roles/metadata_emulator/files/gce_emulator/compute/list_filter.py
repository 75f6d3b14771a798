# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter expressions of the Compute API's list methods, as predicates over JSON-like dictionaries. Pure.

There are two kinds: AIP-160 (https://google.aip.dev/160), and `field eq regex`. The description of `filter` in the
API's discovery document says which parts of them it accepts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NoReturn

from ..state.errors import ApiError, invalid
from .timestamps import instant

Resource = Mapping[str, Any]
Predicate = Callable[[Resource], bool]


def parse_filter(text: str) -> Predicate:
    """A predicate for a filter of either kind. Raises ApiError."""
    if _REGEX_FILTER.search(_without_quoted(text)):
        return _parse_regex_filter(text)
    return _AipParser(text).parse()


# AIP-160. OR binds tighter than AND; adjacent expressions are joined by AND.

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


_DEEPEST = 50


class _AipParser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0

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
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _bad_filter(self._text, "It is nested too deeply.")
        try:
            return self._term_at_depth()
        finally:
            self._depth -= 1

    def _term_at_depth(self) -> Predicate:
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
            # A bare value, such as a time or a URL, may contain operators.
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
    """Every value at `path`; lists contribute each of their elements."""
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
    """-1, 0 or 1 if the value is less, equal or greater; None if they cannot be compared."""
    if isinstance(value, (bool, Mapping)):
        return None
    for convert in (_number, instant):
        left, right = convert(str(value)), convert(wanted)
        if left is not None and right is not None:
            return (left > right) - (left < right)
    return (str(value) > wanted) - (str(value) < wanted)


def _number(text: str) -> int | float | None:
    # As integers: ids exceed 2^53.
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


def _bad_filter(text: str, why: str = "Invalid list filter expression.") -> ApiError:
    return invalid("filter", text, why)


# `field eq regex`

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
    # Backslashes of a regular expression stay, also in quotes.
    pattern = literal[1:-1] if len(literal) > 1 and literal[0] == literal[-1] and literal[0] in "'\"" else literal
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
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
    """The contents of `(a) (b)`; parentheses in a regular expression are balanced."""
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
