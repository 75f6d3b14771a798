# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath, for `when`. The one place that knows of jmespath, which a VM needs only if a task has a `when`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    Predicate = Callable[[Mapping[str, Any]], Any]


class ExpressionError(Exception):
    """An expression that cannot be used, or jmespath is not there to use it."""


def tree(expression: str) -> Mapping[str, Any]:
    """The syntax tree of an expression that `compiled` has taken, as jmespath makes it."""
    import jmespath

    parsed: Mapping[str, Any] = jmespath.compile(expression).parsed
    return parsed


def compiled(expression: str) -> Predicate:
    """A function that searches a document. Raises `ExpressionError`."""
    try:
        # Not at the top: standard library only, unless a task asks for it.
        import jmespath
        from jmespath.exceptions import JMESPathError, JMESPathTypeError
    except ImportError:
        raise ExpressionError(
            "needs jmespath, which this Python does not have: install the package python3-jmespath, or leave 'when' out"
        ) from None
    try:
        search = jmespath.compile(expression).search
        # Functions are looked up only when they are called. What their arguments are, no event says yet.
        with suppress(JMESPathTypeError):
            search({})
    except JMESPathError as exc:
        raise ExpressionError(f"is not JMESPath: {str(exc).splitlines()[0]}") from None

    def evaluate(document: Mapping[str, Any]) -> Any:
        try:
            return search(document)
        except Exception as exc:
            # Not JMESPathError alone: the library lets a slice's step of 0 through to Python, for one.
            raise ExpressionError(f"cannot be evaluated: {str(exc).splitlines()[0]}") from None

    return evaluate
