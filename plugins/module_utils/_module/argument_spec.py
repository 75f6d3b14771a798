# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules share: argument specifications, secret patterns, and library errors as failures.

Private to the collection: it may change at any time. It imports neither of the two clients, so that a module ships only
its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._metadata.secrets import SECRET_PATTERNS
from .numbers import NumberError, check_numbers

LEAST_PYTHON = (3, 9)


class ArgumentSpec:
    """Options with the conditions between them, so that a module that borrows options cannot forget the conditions."""

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
        """Add options and conditions; the conditions have AnsibleModule's names."""
        self.options.update(options or {})
        self.required_by.update(required_by or {})
        for name, condition in conditions.items():
            self.conditions[name].extend(condition)
        return self

    def create_module(
        self, *, supports_check_mode: bool = True, kind: Callable[..., AnsibleModule] = AnsibleModule
    ) -> AnsibleModule:
        """Create the module. Fails it if Python is too old, or if a number is refused."""
        module = kind(
            argument_spec=self.options,
            required_by=self.required_by,
            supports_check_mode=supports_check_mode,
            **self.conditions,
        )
        # ansible-core 2.19 still supports 3.8, on which something newer would end in a traceback.
        if sys.version_info < LEAST_PYTHON:
            module.fail_json(msg=old_python(sys.executable, sys.version.split()[0]))
        with failing(module, NumberError):
            check_numbers(module.params)
        return module


def old_python(python: str, version: str) -> str:
    """The message for an interpreter on the target that is older than ``LEAST_PYTHON``."""
    return (
        f"This module needs Python {LEAST_PYTHON[0]}.{LEAST_PYTHON[1]} or newer on its target, but {python} is Python "
        f"{version}. Install a newer one, such as the package python3.12 on RHEL 8 or python311 on SLES 15, and set "
        "ansible_python_interpreter to it, such as /usr/bin/python3.12."
    )


SECRETS_ARGSPEC: dict[str, Mapping[str, Any]] = {
    "show_secrets": {"type": "bool", "default": False},
    "secret_patterns": {"type": "list", "elements": "str", "default": list(SECRET_PATTERNS), "no_log": False},
}


def secret_patterns(module: AnsibleModule) -> Sequence[str | re.Pattern[str]]:
    """The parameter of that name, compiled unless it is the default. Fails the module if one is invalid."""
    if tuple(module.params["secret_patterns"]) == SECRET_PATTERNS:
        return SECRET_PATTERNS  # the same object, which is_secret knows
    return [compiled_pattern(module, pattern, "secret_patterns") for pattern in module.params["secret_patterns"]]


def compiled_pattern(module: AnsibleModule, pattern: str, option: str) -> re.Pattern[str]:
    """A regular expression, compiled. Fails the module if it is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        module.fail_json(msg=f"{option}: {pattern!r} is not a regular expression: {error}.")
        raise


@contextmanager
def failing(module: AnsibleModule, *errors: type[Exception]) -> Iterator[None]:
    """Fail the module with the text of these errors, and with their `result` if they have one. Others are bugs."""
    try:
        yield
    except errors as error:
        module.fail_json(msg=str(error), **getattr(error, "result", {}))
