# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath expressions, for modules and for what runs on the controller.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

# An error of JMESPath quotes the value that it stumbles over.
LONGEST_ERROR = 300


class QueryError(Exception):
    """An expression is none, or does not fit the data; str() is a sentence for a person."""


def compiled_query(expression: str) -> Callable[[Any], Any]:
    """An expression as a function from data to what it finds. Raises QueryError, and ImportError without jmespath.

    An expression that fits no data at all is refused at once, before anybody asks for data.
    """
    import jmespath  # here, since only those who have a query need to have it, and to wait for it

    try:
        compiled = jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        raise QueryError(f"The query {expression!r} is not a JMESPath expression: {_one_line(error)}") from error
    # The library itself looks a function up when it is called.
    for problem in _misused_functions(compiled.parsed, jmespath.functions.Functions.FUNCTION_TABLE):
        raise QueryError(f"The query {expression!r} {problem}.")

    def search(data: Any) -> Any:
        try:
            return compiled.search(data)
        except Exception as error:
            # Not JMESPathError alone: the library lets a slice's step of 0 through to Python, for one.
            raise QueryError(f"The query {expression!r} does not fit the data: {_one_line(error)}") from error

    return search


def _misused_functions(node: Any, table: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the calls in a parsed expression, as the end of a sentence."""
    # The children of a slice are numbers.
    if not isinstance(node, dict):
        return
    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        if name not in table:
            yield f"calls {name}, which is no function of JMESPath"
            return
        signature = table[name]["signature"]
        is_variadic = bool(signature and signature[-1].get("variadic"))
        if given < len(signature) or (given > len(signature) and not is_variadic):
            yield (
                f"gives {name} {given} argument{'' if given == 1 else 's'}, "
                f"and it takes {len(signature)}{' or more' if is_variadic else ''}"
            )
    for child in node["children"]:
        yield from _misused_functions(child, table)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST_ERROR]
