# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath for `when`. Only this module uses jmespath, which a VM needs only if a task has a `when`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..core.tasks import Task
    from ..io.log import Log

    Predicate = Callable[[Mapping[str, Any]], Any]


class ExpressionError(Exception):
    """The expression is invalid, or jmespath is missing."""


class Conditions:
    """Evaluates `when` of tasks. Each expression is compiled once."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._predicates: dict[str, Predicate] = {}

    def applies(self, task: Task, event: Mapping[str, Any]) -> bool:
        """Whether a task is run for an event. It is run if its `when` cannot be evaluated."""
        if task.when is None:
            return True
        try:
            if task.when not in self._predicates:
                self._predicates[task.when] = compiled(task.when)
            return bool(self._predicates[task.when]({"event": event}))
        except ExpressionError as exc:
            self._log.error(f"task {task.name!r}, field 'when': {exc}. The task is run.")
            return True

    def clear(self) -> None:
        """Forget the expressions of an earlier configuration."""
        self._predicates = {}


def tree(expression: str) -> Mapping[str, Any]:
    """The syntax tree of a valid expression."""
    import jmespath

    parsed: Mapping[str, Any] = jmespath.compile(expression).parsed
    return parsed


def compiled(expression: str) -> Predicate:
    """A function that evaluates the expression on a document. Raises `ExpressionError`."""
    try:
        # Imported only if a task has a `when`.
        import jmespath
        from jmespath.exceptions import JMESPathError, JMESPathTypeError
    except ImportError:
        raise ExpressionError(
            "needs jmespath, which this Python does not have: install the package python3-jmespath, or leave 'when' out"
        ) from None
    try:
        search = jmespath.compile(expression).search
        # Unknown functions are only detected by a call. The types of the arguments are not known yet.
        with suppress(JMESPathTypeError):
            search({})
    except JMESPathError as exc:
        raise ExpressionError(f"is not JMESPath: {str(exc).splitlines()[0]}") from None

    def evaluate(document: Mapping[str, Any]) -> Any:
        try:
            return search(document)
        except Exception as exc:
            # Not only JMESPathError: a slice with the step 0, for example, raises ValueError.
            raise ExpressionError(f"cannot be evaluated: {str(exc).splitlines()[0]}") from None

    return evaluate
