# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One namespace of guest attributes: plan its changes, and make them within the query budget.

Private to the collection: it may change at any time. Standard library only.

A query above the budget is rejected with 429, or, as Google documents, its data may be silently dropped. The budget is
for the whole VM, and how much of it others use is unknown. Changes are therefore read back, and missing ones are
written again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .._metadata.text import as_text
from .guest_attributes import (
    QUERIES_PER_MINUTE,
    SWITCH,
    GuestAttributeError,
    QueryBudget,
    attribute_path,
    attribute_value,
    namespace_path,
    remedy_for_denied,
    seconds_for,
)
from .metadata_server import (
    REAL_TIME,
    MetadataError,
    MetadataForbidden,
    MetadataNotFound,
    MetadataServer,
    MetadataTooManyRequests,
    Time,
)

# Seconds before a rejected query is retried: the budget, evenly spread.
REFUSED_PAUSE = 60.0 / QUERIES_PER_MINUTE


_T = TypeVar("_T")


class Disabled(GuestAttributeError):
    """Guest attributes are disabled, by the metadata or by a policy."""


class TooSlow(GuestAttributeError):
    """The changes do not fit the query budget within the given time."""


class Interrupted(GuestAttributeError):
    """An error after some of the changes were sent."""


@dataclass(frozen=True)
class NamespaceChange:
    """The changes to a namespace that has ``before``: for each key its new text, or None to delete it."""

    before: Mapping[str, str]
    changes: Mapping[str, str | None]

    @property
    def written(self) -> list[str]:
        return [key for key, text in self.changes.items() if text is not None]

    @property
    def deleted(self) -> list[str]:
        return [key for key, text in self.changes.items() if text is None]

    @property
    def after(self) -> dict[str, str]:
        return {key: text for key, text in {**self.before, **self.changes}.items() if text is not None}

    @property
    def queries(self) -> int:
        """The number of queries: one to read, one for each change, and one to read the changes back."""
        return 1 + len(self.changes) + (1 if self.changes else 0)

    @property
    def seconds(self) -> float:
        """The least number of seconds from the first query to the last."""
        return seconds_for(self.queries)

    def not_arrived(self, now: Mapping[str, str]) -> dict[str, str | None]:
        """The changes that the namespace does not show: their keys are still as before."""
        return {key: text for key, text in self.changes.items() if now.get(key) == self.before.get(key)}

    def overtaken(self, now: Mapping[str, str]) -> list[str]:
        """The keys with neither the old nor the new text: someone else has written them meanwhile."""
        return [key for key, text in self.changes.items() if now.get(key) not in (self.before.get(key), text)]


def plan(
    current: Mapping[str, str], attributes: Mapping[str, str], *, present: bool = True, purge: bool = False
) -> NamespaceChange:
    """The change that leaves a namespace with ``attributes``, or none of their keys; ``purge`` deletes all others."""
    wanted = attributes if present else {}
    written = {key: wanted[key] for key in sorted(wanted) if current.get(key) != wanted[key]}
    unwanted = [key for key in sorted(current) if key not in wanted and (purge or key in attributes)]
    return NamespaceChange(current, {**written, **dict.fromkeys(unwanted)})


def texts_of(attributes: Mapping[str, Any]) -> dict[str, str]:
    """The values as text: texts, numbers and booleans. Raises GuestAttributeError."""
    texts = {key: _text_of(key, value) for key, value in attributes.items()}
    for key, text in texts.items():
        attribute_value(text, key)
    return texts


class Namespace:
    """A namespace on the metadata server, read and changed within the query budget.

    ``server`` needs ``on_retry=leave_rate_alone``. ``max_wait``: the most seconds to wait for the budget.
    ``denied_for``: the most seconds to wait while guest attributes are denied, as they are for some minutes after they
    were enabled.
    """

    def __init__(
        self,
        server: MetadataServer,
        name: str,
        *,
        max_wait: float = math.inf,
        denied_for: float = 0.0,
        time: Time = REAL_TIME,
    ) -> None:
        self.path = namespace_path(name)
        self._server = server
        self._name = name
        self._max_wait = max_wait
        self._denied_for = denied_for
        self._clock, self._sleep = time.clock, time.sleep
        self._budget = QueryBudget()
        self._waited = 0.0

    def read(self) -> dict[str, str]:
        """All keys and their texts; none if the namespace does not exist."""
        try:
            content = self._query(lambda: self._server.get(self.path, recursive=True, alt="json").value)
        except MetadataNotFound:
            return {}
        if not isinstance(content, dict):
            raise GuestAttributeError(
                f"Cannot read {self.path}: the metadata server sent something other than keys and values."
            )
        return {key: str(text) for key, text in content.items()}

    def refuse_to_take_long(self, change: NamespaceChange) -> None:
        """Raise TooSlow if the change takes longer than ``max_wait`` even if nothing else uses the budget."""
        if change.seconds > self._max_wait:
            raise TooSlow(
                f"Making {len(change.changes)} changes to {self.path} takes {change.queries} requests and at least "
                f"{change.seconds:.0f} s, since the metadata server allows {QUERIES_PER_MINUTE} a minute, but max_wait "
                f"is {self._max_wait:g}. Nothing was changed. Raise max_wait, or change fewer at once."
            )

    def carry_out(self, change: NamespaceChange) -> list[str]:
        """Make the changes and read them back. Returns the keys that someone else has written meanwhile."""
        outstanding = dict(change.changes)
        now = change.before
        try:
            while outstanding:
                for key, text in list(outstanding.items()):
                    self._change(key, text)
                    del outstanding[key]
                now = self.read()
                outstanding = change.not_arrived(now)
        except (MetadataError, GuestAttributeError) as error:
            sent = len(change.changes) - len(outstanding)
            raise Interrupted(f"{error} Before that, {sent} of {len(change.changes)} changes were made.") from error
        return change.overtaken(now)

    def _change(self, key: str, text: str | None) -> None:
        path = attribute_path(self._name, key)
        if text is not None:
            value = attribute_value(text, key)
            return self._query(lambda: self._server.put(path, value))
        try:
            return self._query(lambda: self._server.delete(path))
        except MetadataNotFound:
            return None  # deleted by someone else

    def _query(self, call: Callable[[], _T]) -> _T:
        """The answer to one query, sent as soon as the budget allows, and retried while the server rejects it."""
        denied_since = None
        while True:
            self._wait_for_budget(self._budget.take(self._clock()))
            try:
                return self._send(call)
            except MetadataTooManyRequests:
                self._wait_for_budget(REFUSED_PAUSE)
            except MetadataForbidden as error:
                now = self._clock()
                denied_since = now if denied_since is None else denied_since
                left = denied_since + self._denied_for - now
                if left <= 0:
                    # Without the general remedy: the metadata may already be set.
                    raise Disabled(f"{error.args[0]} {self._why_denied()}") from error
                self._sleep(min(REFUSED_PAUSE, left))

    def _send(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        finally:
            self._budget.answered(self._clock())

    def _wait_for_budget(self, seconds: float) -> None:
        if self._waited + seconds > self._max_wait:
            raise TooSlow(
                f"Cannot continue with {self.path}: the metadata server allows {QUERIES_PER_MINUTE} requests a minute, "
                f"which other processes use as well. Waited {self._waited:.0f} s, and max_wait is {self._max_wait:g}."
            )
        self._waited += seconds
        if seconds > 0:
            self._sleep(seconds)

    def _why_denied(self) -> str:
        """What to do, by the metadata, which can be read even then. A zone's value is shown as the project's."""
        return remedy_for_denied(self._switch_of("instance"), self._switch_of("project"))

    def _switch_of(self, owner: str) -> str | None:
        try:
            return str(self._server.get(f"{owner}/attributes/{SWITCH}").value)
        except MetadataNotFound:
            return None


def leave_rate_alone(error: MetadataError, pause: float) -> None:
    """For MetadataServer's on_retry: 429 is not retried at once, but by Namespace within the budget."""
    if isinstance(error, MetadataTooManyRequests):
        raise error


def _text_of(key: str, value: Any) -> str:
    text = as_text(value)
    if text is not None:
        return text
    what = "null" if value is None else str(value) if isinstance(value, float) else f"a {type(value).__name__}"
    raise GuestAttributeError(
        f"The value of the guest attribute {key!r} is {what}, but it has to be text, a finite number or a boolean. "
        "Convert it, such as with the filter to_json."
    )
