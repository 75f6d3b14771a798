# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM's id, which events can reach it, and its notice of a preemption: read once, by a thread that retries."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Union

from .._vm.hardware import seen
from .._vm.maintenance import SCHEDULING, SIGNAL_LIMIT, parse_scheduling
from .._vm.metadata_server import Limits, MetadataError, MetadataNotFound, MetadataServer
from .._vm.reach import applicability, traits_of
from .._vm.records import dataclass
from .._vm.watch import Failed

INSTANCE_ID_KEY = "instance/id"

# An id is a number of up to 20 digits. It is used in file names.
_UNLIKE_ID = re.compile(r"[^0-9A-Za-z-]")
LONGEST_ID = 64

# Seconds after a refusal or a redirect. During an outage, the client itself retries.
PAUSE = 20.0


@dataclass(frozen=True)
class InstanceRead:
    """The properties of this VM according to the metadata server."""

    instance_id: str
    # `zone/name/instance id`, which a person recognizes.
    full_id: str
    reach: Mapping[str, Any]
    # Seconds of notice of a preemption, if the metadata server shows them.
    preemption_notice: float | None = None


if TYPE_CHECKING:
    Post = Callable[[Union[InstanceRead, Failed]], None]


def start_reading_instance(host: str | None, post: Post) -> None:
    """Post `InstanceRead` when the server answers. Only incidents of an earlier boot wait for it."""
    server = MetadataServer(host, limits=Limits(retry_for=None, body_limit=SIGNAL_LIMIT))
    threading.Thread(target=_read_in_thread, args=(server, post), name="identity", daemon=True).start()


def _read_in_thread(server: MetadataServer, post: Post) -> None:
    while True:
        try:
            found = read_instance(server)
            break
        except MetadataError as exc:
            post(Failed(INSTANCE_ID_KEY, str(exc), time.monotonic()))
            time.sleep(PAUSE)
    server.close()
    post(found)


def read_instance(server: MetadataServer, root: Path = Path("/")) -> InstanceRead:
    """Send one request for each key. Raises MetadataError."""
    instance_id = _UNLIKE_ID.sub("", str(server.get(INSTANCE_ID_KEY).value))[:LONGEST_ID]
    if not instance_id:
        raise MetadataError(f"The metadata server has an {INSTANCE_ID_KEY} with neither a digit nor a letter in it.")
    zone = _word(_value(server, "instance/zone"))
    full_id = f"{zone}/{_word(_value(server, 'instance/name'))}/{instance_id}"
    machine_type = str(_value(server, "instance/machine-type") or "")
    scheduling = parse_scheduling(_value(server, SCHEDULING, recursive=True))
    traits = traits_of(machine_type, scheduling.preemptible, seen(root))
    reach = applicability(machine_type, scheduling, traits)
    possible = {event: vars(one) for event, one in reach.items()}
    return InstanceRead(instance_id, full_id, possible, scheduling.preemption_notice)


def _word(value: Any) -> str:
    """The last part of a path such as `projects/1/zones/us-central1-a`."""
    return _UNLIKE_ID.sub("", str(value or "").rpartition("/")[2])[:LONGEST_ID] or "unknown"


def _value(server: MetadataServer, path: str, *, recursive: bool = False) -> Any:
    try:
        return server.get(path, recursive=recursive).value
    except MetadataNotFound:
        return None
