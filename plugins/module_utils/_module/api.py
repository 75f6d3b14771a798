# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules for the Compute API share: options, client, exceptions as failures.

Private to the collection: it may change at any time. Apart from guest.py, so that modules for the guest do not ship the
client of the API.

The options are described in plugins/doc_fragments/_api.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleFallbackNotFound, AnsibleModule, env_fallback, missing_required_lib

from .._compute.api import (
    DEFAULT_CONCURRENCY,
    REAL_TIME,
    ComputeApi,
    MissingLibrary,
    Time,
    connect,
)
from .._compute.errors import ComputeError
from .._compute.options import API_OPTIONS, ApiOption
from .._metadata.custom import CustomMetadataError
from .credential_secrets import private_parts
from .progress_file import progress_reporter


def _first_set(*names: str) -> str:
    """The first of these environment variables that is not empty: CI jobs set unset variables to an empty text."""
    for name in names:
        if os.environ.get(name):
            return env_fallback(name)  # type: ignore[no-any-return] # Ansible has no types
    raise AnsibleFallbackNotFound


def _argument(option: ApiOption) -> dict[str, Any]:
    argument: dict[str, Any] = {"type": option.type}
    if option.type == "list":
        argument["elements"] = "str"
    if option.choices:
        argument["choices"] = list(option.choices)
    if option.is_secret:
        argument["no_log"] = True
    if option.default is not None:
        argument["default"] = option.default
    if option.environment:
        argument["fallback"] = (_first_set, list(option.environment))
    return argument


API_ARGSPEC: dict[str, Mapping[str, Any]] = {name: _argument(option) for name, option in API_OPTIONS.items()}


class ApiModule(AnsibleModule):  # type: ignore[misc] # Ansible has no types
    """A module that hides the private parts of a service account's key, and nothing else.

    With no_log, Ansible hides each string of a structure wherever it occurs. For a key that includes the project and
    the email address, so that gs://acme-artifacts becomes gs://********-artifacts. As text, the key is one string.
    """

    def _load_params(self) -> None:
        super()._load_params()
        # The options that are null. Later, these look the same as omitted ones.
        self.nulls = {name for name, value in self.params.items() if value is None}
        # Before structures become text.
        self.no_log_values.update(private_parts(self.params))
        for name, option in self.argument_spec.items():
            value = self.params.get(name)
            if option.get("no_log") and isinstance(value, (Mapping, list)):
                self.params[name] = json.dumps(value)
            elif option.get("no_log") and isinstance(value, str):
                # Ansible strips JSON, and then does not recognize the unstripped text as a secret.
                self.params[name] = value.strip()

    def exit_json(self, **result: Any) -> None:
        self.no_log_values.update(private_parts(self.params))
        super().exit_json(**result)

    def fail_json(self, msg: str, **result: Any) -> None:
        # The options may be wrong, with a key in an option for something else.
        self.no_log_values.update(private_parts(self.params))
        super().fail_json(msg, **result)


class PartialFailure(Exception):
    """Some of many resources failed. `result` is the module's result, with all of them."""

    def __init__(self, msg: str, result: dict[str, Any]) -> None:
        super().__init__(msg)
        self.result = result


# What `failing` turns into failures of a module.
API_ERRORS = (ComputeError, CustomMetadataError, PartialFailure)


@contextmanager
def compute_api(module: AnsibleModule, time: Time = REAL_TIME) -> Iterator[ComputeApi]:
    """The client for a module's parameters. The module warns of incomplete lists."""
    params = module.params
    concurrency = params.get("concurrency", DEFAULT_CONCURRENCY)
    try:
        api = connect(params.__getitem__, concurrency=concurrency, time=time, on_warning=module.warn)
    except MissingLibrary as error:
        raise ComputeError(missing_required_lib(str(error), reason="for the Compute API")) from None
    try:
        with progress_reporter() as api.on_progress:
            yield api
    finally:
        api.close()
