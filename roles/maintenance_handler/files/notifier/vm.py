# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of this VM, which every notice has."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from maintenance_handler._vm.metadata_server import Limits, MetadataError, MetadataServer
from maintenance_handler.io.files import read_own, write_whole
from maintenance_handler.io.notice_queue import NAMES, NoticeQueue

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


@dataclass(frozen=True)
class Names:
    """`instance`, `instance_id`, `zone` and `project`. `is_certain`: the metadata server has just said so."""

    values: Mapping[str, str]
    is_certain: bool = True

    def of(self, instance_id: str | None) -> Mapping[str, str] | None:
        """The names for a notice of this instance; None if that is another one, of which this disk is a copy."""
        if not instance_id or instance_id == self.values["instance_id"]:
            return self.values
        return None if self.is_certain else {**_unknown(), "instance_id": instance_id}


def names(queue: NoticeQueue, host: str | None) -> Names:
    """From the metadata server; else as it answered last; else the host name only."""
    server = MetadataServer(host, limits=Limits(retry_for=0, timeout=_TIMEOUT, body_limit=_LONGEST))
    try:
        found = {name: _printable(str(server.get(key).value)) for name, key in _KEYS.items()}
    except MetadataError:
        return Names(_last(queue), is_certain=False)
    finally:
        server.close()
    with suppress(OSError):
        write_whole(queue.folder / NAMES, json.dumps(found).encode())
    return Names(found)


def _last(queue: NoticeQueue) -> dict[str, str]:
    with suppress(OSError, ValueError, RecursionError, AttributeError):
        known = json.loads(read_own(queue.folder / NAMES))
        return {name: str(known.get(name, "")) for name in _KEYS}
    return _unknown()


def _unknown() -> dict[str, str]:
    return {**dict.fromkeys(_KEYS, ""), "instance": socket.gethostname().partition(".")[0]}


def _printable(text: str) -> str:
    """The last part of a path such as projects/123/zones/us-central1-a."""
    return "".join(each for each in text.rpartition("/")[2] if each.isprintable())
