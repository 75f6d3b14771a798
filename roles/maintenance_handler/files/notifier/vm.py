# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of this VM, which every notice has."""

from __future__ import annotations

import json
import socket
from contextlib import suppress

from maintenance_handler._vm.metadata_server import Limits, MetadataError, MetadataServer
from maintenance_handler.io.files import read_own, write_whole
from maintenance_handler.io.notice_queue import NoticeQueue

# By the keys of the metadata server.
_KEYS = {
    "instance_id": "instance/id",
    "instance": "instance/name",
    "zone": "instance/zone",
    "project": "project/project-id",
}
# Seconds for each: a notice about a metadata server that does not answer must not wait for it.
_TIMEOUT = 2.0
_LONGEST = 200


def names(queue: NoticeQueue, host: str | None) -> dict[str, str]:
    """`instance`, `instance_id`, `zone` and `project`.

    From the metadata server; else as it answered last; else the host name, and the others empty.
    """
    path = queue.folder / "vm.json"
    server = MetadataServer(host, limits=Limits(retry_for=0, timeout=_TIMEOUT, body_limit=_LONGEST))
    try:
        found = {name: _printable(str(server.get(key).value)) for name, key in _KEYS.items()}
    except MetadataError:
        with suppress(OSError, ValueError, RecursionError, AttributeError):
            known = json.loads(read_own(path))
            return {name: str(known.get(name, "")) for name in _KEYS}
        return {**dict.fromkeys(_KEYS, ""), "instance": socket.gethostname().partition(".")[0]}
    finally:
        server.close()
    with suppress(OSError):
        write_whole(path, json.dumps(found).encode())
    return found


def _printable(text: str) -> str:
    """The last part of a path such as projects/123/zones/us-central1-a."""
    return "".join(each for each in text.rpartition("/")[2] if each.isprintable())
