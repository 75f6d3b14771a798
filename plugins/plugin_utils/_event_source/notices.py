# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler's notifications as events for a rulebook. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import hmac
import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ...module_utils._vm.notification import FIELDS, TYPE_PREFIX
from .options import meta_of

# How many IDs are remembered: the handler sends a notification again if the answer is lost.
REMEMBERED = 10_000


class NotANotice(ValueError):
    """The body is not a notification; str() says why."""


def is_authorized(header: str | None, token: str) -> bool:
    """Whether a header Authorization has the token. Takes the same time for every wrong one."""
    scheme, _blank, given = (header or "").partition(" ")
    is_right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    return is_right and scheme.lower() == "bearer"


def notice_event(body: bytes, hosts_of: Callable[[str, str | None, str | None], list[str]]) -> dict[str, Any]:
    """The event for a CloudEvent in structured mode. Raises NotANotice."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        raise NotANotice("The body is not JSON.") from None
    data = envelope.get("data") if isinstance(envelope, dict) else None
    if not isinstance(data, dict) or str(envelope.get("specversion")) != "1.0":
        raise NotANotice("The body is not a CloudEvent 1.0 with JSON data. Set preset: cloudevents.")
    kind = str(envelope.get("type"))
    if not kind.startswith(TYPE_PREFIX) or kind != f"{TYPE_PREFIX}{data.get('kind')}":
        raise NotANotice(f"The type is not {TYPE_PREFIX} and the kind of the notification.")
    if not all(isinstance(data.get(field), str) and data[field] for field in ("id", "instance")):
        raise NotANotice("The notification has no id, or no instance.")
    zone, project = (value if isinstance(value, str) else None for value in (data.get("zone"), data.get("project")))
    return {
        **{field: data.get(field) for field in FIELDS},
        "source": str(envelope.get("source")),
        "meta": meta_of(hosts_of(data["instance"], zone, project)),
    }


class Remembered:
    """The IDs of the last notifications, to pass each of them on once."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, identifier: str) -> bool:
        """Whether the ID is new."""
        if identifier in self._ids:
            return False
        self._ids[identifier] = None
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)
        return True

    def forget(self, identifier: str) -> None:
        self._ids.pop(identifier, None)
