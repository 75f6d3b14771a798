# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Poll a project with requests, without retries and checks.

`python -m bench.bare_polls URL PROJECT POLLS` sends the same requests as the event source fleet, and discards the
answers.
"""

from __future__ import annotations

import sys

from .bare_fleet import listed
from .bare_list import INSTANCE

OPERATION = "operationType,targetLink,insertTime,statusMessage"
EVENTS = " OR ".join(
    f'(operationType = "compute.instances.{event}")'
    for event in (
        "migrateOnHostMaintenance",
        "terminateOnHostMaintenance",
        "hostError",
        "preempted",
        "automaticRestart",
        "guestTerminate",
    )
)


def main() -> None:
    url, project, polls = sys.argv[1:]
    base = f"{url}/compute/v1/projects/{project}"
    for _poll in range(int(polls)):
        for collection, fields, query in (("instances", INSTANCE, {}), ("operations", OPERATION, {"filter": EVENTS})):
            for _one in listed(base, collection, fields, query):
                pass


if __name__ == "__main__":
    main()
