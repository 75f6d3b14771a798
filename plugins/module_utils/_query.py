# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath expressions, for modules and for what runs on the controller.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# An error of JMESPath quotes the value that it stumbles over.
LONGEST_ERROR = 300


class QueryError(Exception):
    """An expression is none, or does not fit the data; str() is a sentence for a person."""


def compiled_query(expression: str) -> Callable[[Any], Any]:
    """An expression as a function from data to what it finds. Raises QueryError, and ImportError without jmespath."""
    import jmespath  # here, since only those who have a query need to have it, and to wait for it

    try:
        compiled = jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        raise QueryError(f"The query {expression!r} is not a JMESPath expression: {_one_line(error)}") from error

    def search(data: Any) -> Any:
        try:
            return compiled.search(data)
        except jmespath.exceptions.JMESPathError as error:
            raise QueryError(f"The query {expression!r} does not fit the data: {_one_line(error)}") from error

    return search


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST_ERROR]
