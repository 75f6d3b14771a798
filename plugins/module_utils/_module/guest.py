# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that run in a VM share: their options, the client, and queries.

Private to the collection: it may change at any time.

The options are described in plugins/doc_fragments/_guest.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .._vm.metadata_server import REAL_TIME, Limits, MetadataError, MetadataServer, Time

GUEST_ARGSPEC: dict[str, Mapping[str, Any]] = {
    # No default, so that the client takes it from the environment, as google-auth does.
    "metadata_host": {"type": "str"},
    "retry_for": {"type": "float", "default": 10.0},
    # Not `timeout`, which modules that wait have; module_defaults set both for the whole action group.
    "request_timeout": {"type": "float", "default": 5.0},
}


def metadata_server(
    module: AnsibleModule,
    *,
    retry: bool = True,
    time: Time = REAL_TIME,
    on_retry: Callable[[MetadataError, float], None] | None = None,
) -> MetadataServer:
    """The client for a module's parameters, which retries unless ``retry`` is false."""
    retry_for = module.params["retry_for"] if retry else 0.0
    return MetadataServer(
        module.params["metadata_host"],
        host_origin="the option metadata_host",
        limits=Limits(None if retry_for == math.inf else retry_for, module.params["request_timeout"]),
        time=time,
        on_retry=on_retry,
    )


def compiled_query(module: AnsibleModule, expression: str) -> Callable[[Any], Any]:
    """A JMESPath expression as a function of data. Fails the module if it is invalid or does not fit the data."""
    from .._metadata.query import QueryError  # here, to save the import in the many runs without a query

    search = checked_query(module, expression)

    def search_or_fail(data: Any) -> Any:
        try:
            return search(data)
        except QueryError as error:
            return module.fail_json(msg=str(error))

    return search_or_fail


def checked_query(module: AnsibleModule, expression: str) -> Callable[[Any], Any]:
    """The same, but the function raises QueryError for data that the expression does not fit."""
    from .._metadata import query as _query

    try:
        return _query.compiled_query(expression)
    except ImportError:
        module.fail_json(msg=missing_required_lib("jmespath", reason="for the option query"))
        raise
    except _query.QueryError as error:
        module.fail_json(msg=str(error))
        raise
