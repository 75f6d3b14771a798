# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set a key on many instances with requests and a pool of threads, without retries, conflict handling and checks.

`python bare_pool.py URL PROJECT ZONE KEY VALUE` sends the same requests as custom_metadata does for a filter.
"""

from __future__ import annotations

import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

THREADS = 32
NAMES_IN_A_FILTER = 250

_local = threading.local()


def main() -> None:
    url, project, zone, key, value = sys.argv[1:]
    base = f"{url}/compute/v1/projects/{project}"
    instances = listed(base, zone, "name = vm-*")

    def write(instance: dict[str, Any]) -> None:
        items = [*instance["metadata"].get("items", []), {"key": key, "value": value}]
        body = {"fingerprint": instance["metadata"]["fingerprint"], "items": items}
        path = f"{base}/zones/{zone}/instances/{instance['name']}/setMetadata"
        operation = asked("POST", path, {"requestId": str(uuid.uuid4())}, body)
        while operation["status"] != "DONE":
            operation = asked("POST", f"{base}/zones/{zone}/operations/{operation['name']}/wait", {}, None)
        if "error" in operation:
            raise SystemExit(f"{instance['name']}: {operation['error']}")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(write, instances))
    names = [instance["name"] for instance in instances]
    for start in range(0, len(names), NAMES_IN_A_FILTER):
        few = "|".join(names[start : start + NAMES_IN_A_FILTER])
        for instance in listed(base, zone, f'name eq "({few})"'):
            if {"key": key, "value": value} not in instance["metadata"]["items"]:
                raise SystemExit(f"{instance['name']} does not have {key}={value} after the write")


def listed(base: str, zone: str, expression: str) -> list[dict[str, Any]]:
    fields = "items(id,name,zone,metadata(fingerprint,items)),nextPageToken,warning,unreachables"
    query = {"filter": expression, "maxResults": "500", "fields": fields}
    found = []
    while True:
        page = asked("GET", f"{base}/zones/{zone}/instances", query, None)
        found += page.get("items", [])
        if "nextPageToken" not in page:
            return found
        query["pageToken"] = page["nextPageToken"]


def asked(method: str, url: str, query: dict[str, str], body: Any) -> Any:
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
        _local.session.headers["Authorization"] = "Bearer bench"
    response = _local.session.request(method, url, params={**query, "prettyPrint": "false"}, json=body, timeout=30)
    response.raise_for_status()
    return response.json()


if __name__ == "__main__":
    main()
