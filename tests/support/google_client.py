# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's own client of the Compute API, unmodified, with an emulated project for a cloud."""

from __future__ import annotations

from typing import Any

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1

_OPERATIONS = {
    "zone_operations": compute_v1.ZoneOperationsClient,
    "region_operations": compute_v1.RegionOperationsClient,
    "global_operations": compute_v1.GlobalOperationsClient,
}


def google_client(service: Any, compute: str) -> Any:
    """A client of one of its services. At `compute`, the URL of the Compute API, its operations are polled as well."""
    arguments = {"credentials": AnonymousCredentials(), "client_options": ClientOptions(api_endpoint=compute)}
    made = service(**arguments)
    if service not in _OPERATIONS.values():
        # Its own clients of operations do not know the api_endpoint.
        made.transport._extended_operations_services = {
            name: operations(**arguments) for name, operations in _OPERATIONS.items()
        }
    return made
