# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Poll a project as the event source fleet does, without its pauses, and write its memory after each poll to a file.

`python -m bench.source_polls URL PROJECT POLLS FILE` writes KiB as JSON. The collection has to be in PYTHONPATH.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible_collections.gce.guest.plugins.module_utils._compute.api import connect
from ansible_collections.gce.guest.plugins.plugin_utils._event_source.fleet_changes import FleetChanges
from ansible_collections.gce.guest.plugins.plugin_utils._event_source.fleet_poller import FleetPoller
from ansible_collections.gce.guest.plugins.plugin_utils._event_source.fleet_source import OPTIONS
from ansible_collections.gce.guest.plugins.plugin_utils._event_source.options import read_options

from .resident import resident_kib


def main() -> None:
    url, project, polls, file = sys.argv[1:]
    given = {"api_endpoint": url, "project": project, "access_token": "bench", "requests_per_minute": 0}
    options = read_options(given, OPTIONS)
    api = connect(options.__getitem__)
    changes = FleetChanges(api.project, lambda name, _zone, _project: [name], report_initial=True)
    poller = FleetPoller(api, options, changes)
    memory = []
    for _poll in range(int(polls)):
        problems = [event for event in poller.events() if event["event"] == "unknown"]
        if problems:
            raise SystemExit(f"A poll failed: {problems}")
        memory.append(resident_kib("self"))
    Path(file).write_text(json.dumps(memory), encoding="ascii")


if __name__ == "__main__":
    main()
