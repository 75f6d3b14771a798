# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath expressions, for modules and lookups.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

# JMESPath's errors quote the offending value.
LONGEST_ERROR = 300


class QueryError(Exception):
    """An invalid expression, or one that does not fit the data; str() is a sentence."""


def compiled_query(expression: str) -> Callable[[Any], Any]:
    """An expression as a function from data to its result. Raises QueryError, and ImportError without jmespath.

    Calls of unknown functions, or with a wrong number of arguments, are rejected here, before data is requested.
    """
    import jmespath  # here, since only queries need it

    try:
        compiled = jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        raise QueryError(f"The query {expression!r} is not a JMESPath expression: {_one_line(error)}") from error
    # The library looks a function up only when it is called.
    for problem in _misused_functions(compiled.parsed, jmespath.functions.Functions.FUNCTION_TABLE):
        raise QueryError(f"The query {expression!r} {problem}.")

    def search(data: Any) -> Any:
        try:
            return compiled.search(data)
        except Exception as error:
            # Not only JMESPathError: a slice's step of 0, for example, raises Python's own.
            raise QueryError(f"The query {expression!r} does not fit the data: {_one_line(error)}") from error

    return search


def _misused_functions(node: Any, table: Mapping[str, Any]) -> Iterator[str]:
    """The problems of the calls in a parsed expression, as predicates for a sentence."""
    # The children of a slice are numbers.
    if not isinstance(node, dict):
        return
    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        if name not in table:
            yield f"calls {name}, which is not a function of JMESPath"
            return
        signature = table[name]["signature"]
        is_variadic = bool(signature and signature[-1].get("variadic"))
        if given < len(signature) or (given > len(signature) and not is_variadic):
            yield (
                f"gives {name} {given} argument{'' if given == 1 else 's'}, "
                f"but it takes {len(signature)}{' or more' if is_variadic else ''}"
            )
    for child in node["children"]:
        yield from _misused_functions(child, table)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST_ERROR]
