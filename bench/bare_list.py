# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the instances of a project with requests, page by page, without retries and checks.

`python bare_list.py URL PROJECT` sends the same requests as fleet_maintenance_info for instances, and discards the
answers.
"""

from __future__ import annotations

import sys

import requests

INSTANCE = "name,id,zone,status,scheduling(onHostMaintenance),resourceStatus(upcomingMaintenance)"


def main() -> None:
    url, project = sys.argv[1:]
    query = {
        "maxResults": "500",
        "fields": f"items/*/instances({INSTANCE}),nextPageToken",
        "prettyPrint": "false",
    }
    session = requests.Session()
    session.headers["Authorization"] = "Bearer bench"
    while True:
        response = session.get(f"{url}/compute/v1/projects/{project}/aggregated/instances", params=query, timeout=30)
        response.raise_for_status()
        page = response.json()
        if "nextPageToken" not in page:
            return
        query["pageToken"] = page["nextPageToken"]


if __name__ == "__main__":
    main()
