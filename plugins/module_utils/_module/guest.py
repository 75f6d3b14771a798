# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules have in common: argument specifications, queries, and the library's errors as failures.

Private to the collection: it may change at any time.

The options that every guest module has are described in plugins/doc_fragments/_guest.py.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .._metadata.secrets import SECRET_PATTERNS
from .._vm.metadata_server import MetadataError, MetadataServer

LEAST_PYTHON = (3, 9)


class ArgumentSpec:
    """Options together with the conditions between them, so that a module which borrows options cannot forget those."""

    _CONDITIONS = ("mutually_exclusive", "required_together", "required_one_of", "required_if")

    def __init__(self, options: Mapping[str, Mapping[str, Any]] | None = None, **conditions: Any) -> None:
        self.options: dict[str, Mapping[str, Any]] = {}
        self.conditions: dict[str, list[Sequence[Any]]] = {name: [] for name in self._CONDITIONS}
        self.required_by: dict[str, Sequence[str]] = {}
        self.update(options, **conditions)

    def update(
        self,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        required_by: Mapping[str, Sequence[str]] | None = None,
        **conditions: Sequence[Sequence[Any]],
    ) -> ArgumentSpec:
        """Add options, and conditions under AnsibleModule's names for them."""
        self.options.update(options or {})
        self.required_by.update(required_by or {})
        for name, condition in conditions.items():
            self.conditions[name].extend(condition)
        return self

    def create_module(
        self, *, supports_check_mode: bool = True, kind: Callable[..., AnsibleModule] = AnsibleModule
    ) -> AnsibleModule:
        module = kind(
            argument_spec=self.options,
            required_by=self.required_by,
            supports_check_mode=supports_check_mode,
            **self.conditions,
        )
        # ansible-core 2.19 still takes 3.8, on which the first call of something newer would end in a traceback.
        if sys.version_info < LEAST_PYTHON:
            module.fail_json(
                msg=f"This needs Python {LEAST_PYTHON[0]}.{LEAST_PYTHON[1]} or newer where it runs, and "
                f"{sys.executable} is Python {sys.version.split()[0]}. Set ansible_python_interpreter to a newer one."
            )
        return module


GUEST_ARGSPEC: dict[str, Mapping[str, Any]] = {
    # Without a default, so that the client finds it in the environment by itself, as google-auth does.
    "metadata_host": {"type": "str"},
    "retry_for": {"type": "float", "default": 10.0},
    # Not `timeout`: modules that wait have one of their own, and module_defaults set both for the whole action group.
    "request_timeout": {"type": "float", "default": 5.0},
}

SECRETS_ARGSPEC: dict[str, Mapping[str, Any]] = {
    "show_secrets": {"type": "bool", "default": False},
    "secret_patterns": {"type": "list", "elements": "str", "default": list(SECRET_PATTERNS), "no_log": False},
}


def metadata_server(module: AnsibleModule, **changes: Any) -> MetadataServer:
    """The client that a module's parameters describe; ``changes`` are further arguments of it."""
    retry_for, timeout = module.params["retry_for"], module.params["request_timeout"]
    # Written so that nan is refused as well.
    if not retry_for >= 0:
        module.fail_json(msg=f"retry_for is {retry_for:g}, but seconds to try again for cannot be less than 0.")
    if not 0 < timeout < math.inf:
        module.fail_json(msg=f"request_timeout is {timeout:g}, but the seconds of one try are a finite number above 0.")
    return MetadataServer(
        module.params["metadata_host"],
        host_origin="the option metadata_host",
        **{"retry_for": None if retry_for == math.inf else retry_for, "timeout": timeout, **changes},
    )


def secret_patterns(module: AnsibleModule) -> Sequence[str | re.Pattern[str]]:
    """The parameter of that name, compiled unless it is the default; what is no regular expression fails the module."""
    if tuple(module.params["secret_patterns"]) == SECRET_PATTERNS:
        return SECRET_PATTERNS  # the same object, which is_secret knows
    return [compiled_pattern(module, pattern, "secret_patterns") for pattern in module.params["secret_patterns"]]


def compiled_pattern(module: AnsibleModule, pattern: str, option: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        module.fail_json(msg=f"{option}: {pattern!r} is not a regular expression: {error}.")
        raise


@contextmanager
def failing(module: AnsibleModule, *others: type[Exception]) -> Iterator[None]:
    """Fail the module with what the client's own exceptions and `others` say; every other is a defect and passes."""
    try:
        yield
    except (MetadataError, *others) as error:  # type: ignore[misc] # mypy loses the types of a starred tuple
        module.fail_json(msg=str(error))


def compiled_query(module: AnsibleModule, expression: str) -> Callable[[Any], Any]:
    """A JMESPath expression as a function from data to what it finds; what does not fit fails the module, too."""
    from .._metadata.query import QueryError  # here, since most runs have no query, and would only wait for it

    search = checked_query(module, expression)

    def search_or_fail(data: Any) -> Any:
        try:
            return search(data)
        except QueryError as error:
            return module.fail_json(msg=str(error))

    return search_or_fail


def checked_query(module: AnsibleModule, expression: str) -> Callable[[Any], Any]:
    """The same, raising QueryError for data that do not fit; an expression that is none fails the module at once."""
    from .._metadata import query as _query

    try:
        return _query.compiled_query(expression)
    except ImportError:
        module.fail_json(msg=missing_required_lib("jmespath", reason="for the option query"))
        raise
    except _query.QueryError as error:
        module.fail_json(msg=str(error))
        raise
