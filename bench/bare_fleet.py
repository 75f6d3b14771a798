# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the guest attributes of a project with requests and a pool of threads, without retries and checks.

`python bare_fleet.py URL PROJECT` sends the same requests as fleet_status_info, and discards the answers.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

THREADS = 32
NOT_FOUND = 404
INSTANCE = (
    "name,zone,status,machineType,lastStartTimestamp,guestAccelerators,scheduling,"
    "resourceStatus(upcomingMaintenance,effectiveInstanceMetadata)"
)
EVENTS = 'operationType = "compute.instances.hostError"'

_local = threading.local()


def main() -> None:
    url, project = sys.argv[1:]
    base = f"{url}/compute/v1/projects/{project}"
    instances = list(listed(base, "instances", INSTANCE, {}))
    list(listed(base, "operations", "operationType,targetLink,insertTime,statusMessage", {"filter": EVENTS}))

    def read(instance: dict[str, Any]) -> None:
        zone = instance["zone"].rpartition("/")[2]
        path = f"{base}/zones/{zone}/instances/{instance['name']}/getGuestAttributes"
        asked(path, {"queryPath": "maintenance-handler/status"})

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, instances))


def listed(base: str, collection: str, fields: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    mask = f"items/*/{collection}({fields}),nextPageToken"
    query = {**query, "maxResults": "500", "fields": mask}
    while True:
        page = asked(f"{base}/aggregated/{collection}", query)
        for scope in page.get("items", {}).values():
            yield from scope.get(collection, [])
        if "nextPageToken" not in page:
            return
        query["pageToken"] = page["nextPageToken"]


def asked(url: str, query: dict[str, str]) -> Any:
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
        _local.session.headers["Authorization"] = "Bearer bench"
    response = _local.session.get(url, params={**query, "prettyPrint": "false"}, timeout=30)
    if response.status_code == NOT_FOUND:
        # No handler has written a guest attribute.
        return None
    response.raise_for_status()
    return response.json()


if __name__ == "__main__":
    main()
