# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The places that hold custom metadata (project, zone, instance), and changes to it while others write, too.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._metadata.custom import CustomMetadataError, MetadataChange
from .._metadata.secrets import SECRET_PATTERNS, is_secret_item
from .._vm.backoff import backoff
from .api import ComputeApi
from .errors import ComputeBadRequest, ComputeConflict, ComputeError
from .instances import path_of, select

# Pauses after a conflict, in seconds. The other writer's operation takes about that long.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0
# Wide, so that writers that met once do not meet again.
SPREAD = 0.9

# For this many seconds after a write, a read may still return the old values.
SEEN_AFTER = 10.0

# Not conflicts, but gone when another operation on the same resource ends.
_BUSY_CODES = {"resourceNotReady", "RESOURCE_NOT_READY", "RESOURCE_OPERATION_RATE_EXCEEDED"}

# From current metadata to what is to change.
Planner = Callable[[Mapping[str, str]], MetadataChange]


@dataclass(frozen=True)
class Snapshot:
    """Custom metadata as it was read. A write with this fingerprint fails if the metadata has changed since."""

    values: dict[str, str]
    fingerprint: str


class NotKept(ComputeError):
    """After a write, a read returned other values for these keys."""

    def __init__(self, resource: str, keys: Sequence[str]) -> None:
        super().__init__(
            f"The metadata of {resource} was written, but a read returns other values for {', '.join(keys)}. "
            "Another program writes these keys, too."
        )
        self.keys = tuple(keys)


class Store(ABC):
    """A place that holds custom metadata. `path` is below projects/PROJECT/, and empty for the project itself."""

    _VERB = "set the metadata of"

    def __init__(self, api: ComputeApi, path: str) -> None:
        self.api = api
        self.path = path

    def until(self, deadline: float) -> Store:
        """The same store with a deadline, on the API's clock."""
        bounded = copy.copy(self)
        bounded.api = self.api.until(deadline)
        return bounded

    @property
    def resource(self) -> str:
        return f"projects/{self.api.project}/{self.path}".rstrip("/")

    @abstractmethod
    def read(self) -> Snapshot:
        """Read the metadata with its fingerprint."""

    def write(self, snapshot: Snapshot, change: MetadataChange, *, secrets: Collection[str] = ()) -> None:
        """Write a change. Raises ComputeConflict if the metadata has changed since the snapshot."""
        method, path, body, query = self._request(snapshot, change)
        operation = self.api.write(method, path, self._VERB, body, resource=self.resource, secrets=secrets, **query)
        self.api.finish(operation, self._VERB, self.resource, secrets=secrets)

    @abstractmethod
    def _request(self, snapshot: Snapshot, change: MetadataChange) -> tuple[str, str, dict[str, Any], dict[str, str]]:
        """Method, path, body and query."""


class ProjectStore(Store):
    def __init__(self, api: ComputeApi) -> None:
        super().__init__(api, "")

    def read(self) -> Snapshot:
        project = self.api.get(self.path, "read the metadata of", fields="commonInstanceMetadata(fingerprint,items)")
        return snapshot_of(project.get("commonInstanceMetadata", {}))

    def _request(self, snapshot: Snapshot, change: MetadataChange) -> tuple[str, str, dict[str, Any], dict[str, str]]:
        return "POST", "setCommonInstanceMetadata", _list_form(snapshot, change), {}


class InstanceStore(Store):
    def __init__(self, api: ComputeApi, instance: Mapping[str, Any]) -> None:
        """`instance` has a name and a zone."""
        super().__init__(api, path_of(instance))

    def read(self) -> Snapshot:
        instance = self.api.get(self.path, "read the metadata of", fields="metadata(fingerprint,items)")
        return snapshot_of(instance.get("metadata", {}))

    def _request(self, snapshot: Snapshot, change: MetadataChange) -> tuple[str, str, dict[str, Any], dict[str, str]]:
        return "POST", f"{self.path}/setMetadata", _list_form(snapshot, change), {}


class ZonalStore(Store):
    """Zonal metadata is a map. A write lists the keys that it changes."""

    def __init__(self, api: ComputeApi, zone: str) -> None:
        super().__init__(api, f"zones/{zone}/instanceSettings")

    def read(self) -> Snapshot:
        settings = self.api.get(self.path, "read the metadata of", fields="fingerprint,metadata/items")
        return Snapshot(dict(settings.get("metadata", {}).get("items", {})), settings.get("fingerprint", ""))

    def _request(self, snapshot: Snapshot, change: MetadataChange) -> tuple[str, str, dict[str, Any], dict[str, str]]:
        # A key in the mask that is not in the body is deleted.
        mask = ",".join(f"metadata.items.{key}" for key in (*change.written, *change.deleted))
        items = {key: change.after[key] for key in change.written}
        return (
            "PATCH",
            self.path,
            {"fingerprint": snapshot.fingerprint, "metadata": {"items": items}},
            {"updateMask": mask},
        )


def snapshot_of(metadata: Mapping[str, Any]) -> Snapshot:
    """A Metadata resource, as instances and projects have it."""
    values = {item["key"]: item.get("value", "") for item in metadata.get("items", [])}
    return Snapshot(values, metadata.get("fingerprint", ""))


def read_zones(api: ComputeApi, zones: Iterable[str]) -> dict[str, Snapshot]:
    """The metadata of zones, by zone. Raises the first ComputeError."""
    names = sorted(set(zones))
    found: dict[str, Snapshot] = {}
    for name, snapshot in zip(names, api.each(names, lambda zone: ZonalStore(api, zone).read())):
        if isinstance(snapshot, ComputeError):
            raise snapshot
        found[name] = snapshot
    return found


def change(
    store: Store,
    planner: Planner,
    *,
    deadline: float,
    snapshot: Snapshot | None = None,
    patterns: Sequence[str | re.Pattern[str]] = SECRET_PATTERNS,
) -> MetadataChange:
    """Change metadata as planned; the change that was made.

    After a conflict, reads again and plans again, until `deadline` on the API's clock. Without `snapshot`, reads first.
    A change of nothing sends nothing. Errors do not repeat secrets: by `patterns` for keys, and by their content.
    """
    store = store.until(deadline)
    api = store.api
    pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE, api.random, spread=SPREAD)
    while True:
        snapshot = snapshot or store.read()
        planned = planned_change(store, snapshot, planner)
        if not planned.changed:
            return planned
        secrets = [value for key, value in planned.after.items() if is_secret_item(key, value, patterns)]
        try:
            store.write(snapshot, planned, secrets=secrets)
        except ComputeError as error:
            if not (isinstance(error, ComputeConflict) or _BUSY_CODES.intersection(error.codes)):
                raise
            pause = next(pauses)
            if api.clock() + pause >= deadline:
                error.args = (f"{error} There was no time left to try again.",)
                raise
        else:
            return planned
        api.sleep(pause)
        snapshot = None


def planned_change(store: Store, snapshot: Snapshot, planner: Planner) -> MetadataChange:
    """The change for a store. Raises ComputeBadRequest if the metadata would become too large."""
    try:
        return planner(snapshot.values)
    except CustomMetadataError as error:
        raise ComputeBadRequest(f"Cannot set the metadata of {store.resource}: {error}") from error


def unverified(
    done: Sequence[tuple[Store, MetadataChange]],
    *,
    deadline: float,
    planners: Mapping[str, Planner] | None = None,
) -> dict[str, ComputeError]:
    """The changes that a read does not confirm, by path, and why.

    With the planner of a change, by path, others may have changed a key again to a value that the planner would leave
    as it is, such as SSH keys with one more line.

    The stores are all of one kind and one API. Many instances are read with a few requests. Since a read may be behind,
    reads are repeated for up to SEEN_AFTER seconds after the first one, for all stores together, but not after
    `deadline`. The first read of thousands of instances may take longer than that.
    """
    if not done:
        return {}
    api = done[0][0].api
    repeat_until: float | None = None
    pending = {store.path: (store.until(deadline), change) for store, change in done}
    problems: dict[str, ComputeError] = {}
    lost: dict[str, ComputeError] = {}
    pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE, api.random, spread=SPREAD)
    while pending:
        try:
            seen = _snapshots([store for store, _change in pending.values()])
        except ComputeError as error:
            return {**problems, **dict.fromkeys(pending, error), **lost}
        lost = {}
        for path, (store, change) in list(pending.items()):
            outcome = seen[path]
            if isinstance(outcome, Snapshot) and (keys := _differing(change, outcome, (planners or {}).get(path))):
                lost[path] = NotKept(store.resource, keys)
                continue
            del pending[path]
            if isinstance(outcome, ComputeError):
                problems[path] = outcome
        if repeat_until is None:
            repeat_until = min(deadline, api.clock() + SEEN_AFTER)
        left = repeat_until - api.clock()
        if left <= 0:
            break
        if pending:
            api.sleep(min(next(pauses), left))
    return {**problems, **lost}


def _snapshots(stores: Sequence[Store]) -> dict[str, Snapshot | ComputeError]:
    """The current metadata of each store, by path."""
    if len(stores) == 1:
        [store] = stores
        return {store.path: store.read()}
    selection = select(stores[0].api, names=[store.resource for store in stores], fields="metadata(fingerprint,items)")
    found = {path_of(instance): snapshot_of(instance.get("metadata", {})) for instance in selection.instances}
    return {store.path: found.get(store.path) or selection.failures[store.resource] for store in stores}


def _differing(change: MetadataChange, snapshot: Snapshot, planner: Planner | None) -> list[str]:
    """The changed keys that have another value now, and would be changed again. Other keys may be anything."""
    keys = [key for key in (*change.written, *change.deleted) if snapshot.values.get(key) != change.after.get(key)]
    if not keys or planner is None:
        return keys
    try:
        again = planner(snapshot.values)
    except CustomMetadataError:
        return keys
    return [key for key in keys if key in (*again.written, *again.deleted)]


def _list_form(snapshot: Snapshot, change: MetadataChange) -> dict[str, Any]:
    items = [{"key": key, "value": value} for key, value in change.after.items()]
    return {"fingerprint": snapshot.fingerprint, "items": items}
