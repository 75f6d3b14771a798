# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the client for the Compute API, with their defaults and environment variables.

Private to the collection: it may change at any time. Imports nothing from ansible, so that event sources can use it.

The options are described in plugins/doc_fragments/_api.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .api import DEFAULT_REQUESTS_PER_MINUTE


@dataclass(frozen=True)
class ApiOption:
    """`type` is one of Ansible. The first environment variable that is not empty counts if the option is not set."""

    type: str = "str"
    environment: tuple[str, ...] = ()
    default: Any = None
    choices: tuple[str, ...] = ()
    is_secret: bool = False


API_OPTIONS: Mapping[str, ApiOption] = {
    "project": ApiOption(environment=("GCP_PROJECT",)),
    "auth_kind": ApiOption(
        environment=("GCP_AUTH_KIND",), choices=("application", "machineaccount", "serviceaccount", "accesstoken")
    ),
    "service_account_email": ApiOption(environment=("GCP_SERVICE_ACCOUNT_EMAIL",)),
    "service_account_file": ApiOption("path", environment=("GCP_SERVICE_ACCOUNT_FILE",)),
    "service_account_contents": ApiOption("jsonarg", environment=("GCP_SERVICE_ACCOUNT_CONTENTS",), is_secret=True),
    "access_token": ApiOption(environment=("GCP_ACCESS_TOKEN",), is_secret=True),
    "impersonate_service_account": ApiOption("list", environment=("CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT",)),
    "scopes": ApiOption("list", environment=("GCP_SCOPES",)),
    "api_endpoint": ApiOption(environment=("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE",)),
    "universe_domain": ApiOption(environment=("CLOUDSDK_CORE_UNIVERSE_DOMAIN", "GOOGLE_CLOUD_UNIVERSE_DOMAIN")),
    "retry_for": ApiOption("float", default=120.0),
    "request_timeout": ApiOption("float", default=30.0),
    "requests_per_minute": ApiOption("float", default=DEFAULT_REQUESTS_PER_MINUTE),
}
