# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of lookups for the Compute API: clients and a cache of answers.

Private to the collection: it may change at any time.

A template creates a new lookup object for each call, so that the cache has to be outside of it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ansible.errors import AnsibleLookupError
from ansible.utils.display import Display

from ..module_utils._compute.api import ComputeApi, MissingLibrary, connect
from ..module_utils._compute.errors import ComputeError
from ..module_utils._compute.instances import Selection, select
from ._lookup_base import TermLookup

try:
    from ansible.module_utils.secrets import register_secrets
except ImportError:
    # Before 2.22, ansible-core masks nothing in its output.
    def register_secrets(values: Iterable[str]) -> None:
        """Mask nothing."""


_Value = TypeVar("_Value")

_OPTIONS = (
    "project",
    "auth_kind",
    "service_account_email",
    "service_account_file",
    "service_account_contents",
    "access_token",
    "impersonate_service_account",
    "scopes",
    "api_endpoint",
    "universe_domain",
    "retry_for",
    "request_timeout",
    "requests_per_minute",
)

# `secret` in the documentation would do the same, but ansible-core before 2.19 refuses it there.
_SECRET_OPTIONS = ("access_token", "service_account_contents")

_display = Display()
_clients: dict[str, ComputeApi] = {}
_answers: dict[tuple[str, str], tuple[float, Any]] = {}

# A forked process must not use an inherited connection: both processes would read each other's answers.
os.register_at_fork(after_in_child=_clients.clear)


class ComputeLookup(TermLookup):
    """A lookup with the options of plugins/doc_fragments/_api.py, and `cache_seconds`."""

    errors = (ComputeError,)

    def api(self) -> ComputeApi:
        """The client for the options, with its open connections."""
        secrets = map(self._plain, _SECRET_OPTIONS)
        register_secrets([secret for secret in secrets if isinstance(secret, str) and secret])
        identity = self._identity()
        if identity not in _clients:
            try:
                _clients[identity] = connect(self._plain, on_warning=_display.warning)
            except MissingLibrary as error:
                raise AnsibleLookupError(
                    f"The Compute API requires the Python library {error} for {sys.executable} on the controller"
                ) from error
        return _clients[identity]

    def cached(self, what: str, ask: Callable[[], _Value]) -> _Value:
        """The result of `ask`, from the cache under the name `what` if it is younger than `cache_seconds`."""
        now, max_age = time.monotonic(), float(self.get_option("cache_seconds"))
        for key in [key for key, (at, _value) in _answers.items() if now - at >= max_age]:
            del _answers[key]
        key = (self._identity(), what)
        if key not in _answers:
            _answers[key] = (now, ask())
        value: _Value = _answers[key][1]
        return value

    def instance(self, api: ComputeApi, name: str, zone: str | None, fields: str) -> dict[str, Any]:
        """The instance with this name, in this zone or in any, with these fields, `name` and `zone`."""

        def ask() -> Selection:
            return select(api, names=[name], zone=zone, fields=fields)

        selection = self.cached(f"instance {zone}/{name} {fields}", ask)
        for error in selection.failures.values():
            raise error
        return selection.instances[0]

    def _plain(self, option: str) -> Any:
        """An option without the tags of Ansible's own data."""
        value = self.get_option(option)
        return str(value) if isinstance(value, str) else value

    def _identity(self) -> str:
        return repr([self._plain(option) for option in _OPTIONS])
