# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that speak to the Compute API have in common: their options, their client, its errors as failures.

Private to the collection: it may change at any time. Apart from _module.py, so that what runs in the guest does not
carry the client of the API along.

The options are described in plugins/doc_fragments/_api.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from ansible.module_utils.basic import AnsibleFallbackNotFound, AnsibleModule, env_fallback, missing_required_lib

from .._compute.api import DEFAULT_CONCURRENCY, DEFAULT_REQUESTS_PER_MINUTE, ComputeApi, MissingLibrary, connect
from .._compute.errors import ComputeError
from .._metadata.custom import CustomMetadataError
from .credential_secrets import private_parts

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _first_set(*names: str) -> str:
    """The first of these environment variables that is not empty: an empty one is how a CI job has an unset one."""
    for name in names:
        if os.environ.get(name):
            return env_fallback(name)  # type: ignore[no-any-return] # Ansible has no types
    raise AnsibleFallbackNotFound


def _from(*names: str) -> tuple[Callable[..., Any], list[str]]:
    return (_first_set, list(names))


API_ARGSPEC: dict[str, Mapping[str, Any]] = {
    "project": {"type": "str", "fallback": _from("GCP_PROJECT")},
    "auth_kind": {
        "type": "str",
        "choices": ["application", "machineaccount", "serviceaccount", "accesstoken"],
        "fallback": _from("GCP_AUTH_KIND"),
    },
    "service_account_email": {"type": "str", "fallback": _from("GCP_SERVICE_ACCOUNT_EMAIL")},
    "service_account_file": {"type": "path", "fallback": _from("GCP_SERVICE_ACCOUNT_FILE")},
    "service_account_contents": {"type": "jsonarg", "no_log": True, "fallback": _from("GCP_SERVICE_ACCOUNT_CONTENTS")},
    "access_token": {"type": "str", "no_log": True, "fallback": _from("GCP_ACCESS_TOKEN")},
    "impersonate_service_account": {
        "type": "list",
        "elements": "str",
        "fallback": _from("CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT"),
    },
    "scopes": {"type": "list", "elements": "str", "fallback": _from("GCP_SCOPES")},
    "api_endpoint": {"type": "str", "fallback": _from("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE")},
    "universe_domain": {
        "type": "str",
        "fallback": _from("CLOUDSDK_CORE_UNIVERSE_DOMAIN", "GOOGLE_CLOUD_UNIVERSE_DOMAIN"),
    },
    "retry_for": {"type": "float", "default": 120.0},
    "request_timeout": {"type": "float", "default": 30.0},
    "requests_per_minute": {"type": "float", "default": DEFAULT_REQUESTS_PER_MINUTE},
}


class ApiModule(AnsibleModule):  # type: ignore[misc] # Ansible has no types
    """A module that hides what is private in a key, and nothing else.

    Ansible hides each string of a structure with no_log wherever it occurs: for a key, the project and the e-mail
    address as well, so that gs://acme-artifacts becomes gs://********-artifacts. As text, the key is one string.
    """

    def _load_params(self) -> None:
        super()._load_params()
        # Before a text is made of what should have been one.
        self.no_log_values.update(private_parts(self.params))
        for name, option in self.argument_spec.items():
            value = self.params.get(name)
            if option.get("no_log") and isinstance(value, (Mapping, list)):
                self.params[name] = json.dumps(value)
            elif option.get("no_log") and isinstance(value, str):
                # Ansible takes the end of the line off JSON, and then does not know it again to hide it.
                self.params[name] = value.strip()

    def exit_json(self, **result: Any) -> NoReturn:
        self.no_log_values.update(private_parts(self.params))
        super().exit_json(**result)
        raise SystemExit  # never, but for those who check types

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        # The options may be wrong, and a key in one that is meant for something else.
        self.no_log_values.update(private_parts(self.params))
        super().fail_json(msg, **result)
        raise SystemExit


@contextmanager
def failing(module: AnsibleModule) -> Iterator[None]:
    """Fail the module with what the library's own exceptions say; every other exception is a defect and passes."""
    try:
        yield
    except MissingLibrary as error:
        module.fail_json(msg=missing_required_lib(str(error), reason="for the Compute API"))
    except (ComputeError, CustomMetadataError) as error:
        module.fail_json(msg=str(error))


@contextmanager
def compute_api(module: AnsibleModule, **changes: Any) -> Iterator[ComputeApi]:
    """The client that a module's parameters describe; `changes` are further arguments of it.

    Of results that are not complete, it warns.
    """
    params = module.params
    for name, is_right, what in (
        ("retry_for", params["retry_for"] >= 0, "seconds to try again for cannot be less than 0"),
        ("request_timeout", params["request_timeout"] > 0, "the seconds of one try have to be more than 0"),
        ("requests_per_minute", params["requests_per_minute"] >= 0, "a rate cannot be less than 0, which is no limit"),
        ("concurrency", params.get("concurrency", 1) >= 1, "at least one request has to be under way"),
        ("timeout", params.get("timeout", 0.0) >= 0, "seconds cannot be less than 0"),
    ):
        if not is_right:
            module.fail_json(msg=f"{name} is {params[name]:g}, but {what}.")
    arguments = {"concurrency": params.get("concurrency", DEFAULT_CONCURRENCY), "on_warning": module.warn, **changes}
    api = connect(params.__getitem__, **arguments)
    try:
        yield api
    finally:
        api.close()


def each(api: ComputeApi, items: Sequence[_Item], do: Callable[[_Item], _Result]) -> list[_Result | ComputeError]:
    """What `do` makes of each item, or the ComputeError that it raises, in the items' order; `concurrency` at once."""

    def attempt(item: _Item) -> _Result | ComputeError:
        try:
            return do(item)
        except ComputeError as error:
            return error

    if len(items) < 2:
        return [attempt(item) for item in items]
    with ThreadPoolExecutor(min(api.concurrency, len(items)), thread_name_prefix="compute") as pool:
        return list(pool.map(attempt, items))


def summary_of_failures(failures: Mapping[str, str], total: int, what: str) -> str:
    """What to say of those of many that failed: the first few with their reasons. Of one, there is no more to say."""
    if total == 1:
        return "".join(failures.values())
    shown = [f"{name}: {text}" for name, text in list(failures.items())[:3]]
    more = f" And {len(failures) - len(shown)} more, see each of the results." if len(failures) > len(shown) else ""
    return f"{len(failures)} of {total} {what} failed. {' '.join(shown)}{more}"
