# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where custom metadata is kept: the project, a zone, an instance; and how it is changed while others change it, too.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._metadata.custom import CustomMetadataError, Plan
from .._metadata.secrets import SECRET_PATTERNS, is_secret_item
from .api import ComputeApi
from .errors import ComputeBadRequest, ComputeConflict, ComputeError
from .instances import path_of, select

# Pauses after a conflict, in seconds. Whoever was faster has an operation under way, which takes about so long.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0

# For so many seconds, what was written may be read back as it was before.
SEEN_AFTER = 10.0

# Not conflicts, but over as soon as another operation on the same resource is.
_BUSY_CODES = {"resourceNotReady", "RESOURCE_NOT_READY", "RESOURCE_OPERATION_RATE_EXCEEDED"}


@dataclass(frozen=True)
class Snapshot:
    """Custom metadata at a moment, and what the API calls this state of it."""

    values: dict[str, str]
    fingerprint: str


class NotKept(ComputeError):
    """What was written is read back with something else for these keys."""

    def __init__(self, resource: str, keys: Sequence[str]) -> None:
        super().__init__(
            f"The metadata of {resource} was written, but is read back with something else for {', '.join(keys)}. "
            "Somebody else writes there, too."
        )
        self.keys = tuple(keys)


class Store(ABC):
    """One place for custom metadata. `path` is the resource's, below projects/PROJECT/, and empty for that itself."""

    _VERB = "set the metadata of"

    def __init__(self, api: ComputeApi, path: str) -> None:
        self.api = api
        self.path = path

    def until(self, deadline: float) -> Store:
        """The same store for what has to be over by then, on the API's clock."""
        bounded = copy.copy(self)
        bounded.api = self.api.until(deadline)
        return bounded

    @property
    def resource(self) -> str:
        return f"projects/{self.api.project}/{self.path}".rstrip("/")

    @abstractmethod
    def read(self) -> Snapshot: ...

    def write(self, snapshot: Snapshot, plan: Plan, *, deadline: float, secrets: Collection[str] = ()) -> None:
        """Carry a plan out, unless somebody has written since the snapshot: then raises ComputeConflict."""
        method, path, body, query = self._request(snapshot, plan)
        operation = self.api.write(method, path, self._VERB, body, resource=self.resource, secrets=secrets, **query)
        self.api.finish(operation, self._VERB, self.resource, deadline=deadline, secrets=secrets)

    @abstractmethod
    def _request(self, snapshot: Snapshot, plan: Plan) -> tuple[str, str, dict[str, Any], dict[str, str]]:
        """Method, path, body and query."""


class ProjectStore(Store):
    def __init__(self, api: ComputeApi) -> None:
        super().__init__(api, "")

    def read(self) -> Snapshot:
        project = self.api.get(self.path, "read the metadata of", fields="commonInstanceMetadata(fingerprint,items)")
        return snapshot_of(project.get("commonInstanceMetadata", {}))

    def _request(self, snapshot: Snapshot, plan: Plan) -> tuple[str, str, dict[str, Any], dict[str, str]]:
        return "POST", "setCommonInstanceMetadata", _list_form(snapshot, plan), {}


class InstanceStore(Store):
    def __init__(self, api: ComputeApi, instance: Mapping[str, Any]) -> None:
        """`instance` has a name and a zone."""
        super().__init__(api, path_of(instance))

    def read(self) -> Snapshot:
        instance = self.api.get(self.path, "read the metadata of", fields="metadata(fingerprint,items)")
        return snapshot_of(instance.get("metadata", {}))

    def _request(self, snapshot: Snapshot, plan: Plan) -> tuple[str, str, dict[str, Any], dict[str, str]]:
        return "POST", f"{self.path}/setMetadata", _list_form(snapshot, plan), {}


class ZonalStore(Store):
    """Zonal metadata is a map, of which a write names the keys that it is about."""

    def __init__(self, api: ComputeApi, zone: str) -> None:
        super().__init__(api, f"zones/{zone}/instanceSettings")

    def read(self) -> Snapshot:
        settings = self.api.get(self.path, "read the metadata of", fields="fingerprint,metadata/items")
        return Snapshot(dict(settings.get("metadata", {}).get("items", {})), settings.get("fingerprint", ""))

    def _request(self, snapshot: Snapshot, plan: Plan) -> tuple[str, str, dict[str, Any], dict[str, str]]:
        # A key that the mask has and the body has not is deleted.
        mask = ",".join(f"metadata.items.{key}" for key in (*plan.written, *plan.deleted))
        items = {key: plan.after[key] for key in plan.written}
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


def change(
    store: Store,
    planned: Callable[[Mapping[str, str]], Plan],
    *,
    deadline: float,
    snapshot: Snapshot | None = None,
    patterns: Sequence[str | re.Pattern[str]] = SECRET_PATTERNS,
) -> Plan:
    """Change metadata as `planned` says, and again from the start while others are faster; the plan that came true.

    Without `snapshot` it is read first. `deadline` is on the API's clock. A plan without a change sends nothing.
    Secrets, by their keys or `patterns` or by themselves, are not repeated in errors.
    """
    store = store.until(deadline)
    api = store.api
    pauses = _pauses(api.random)
    while True:
        snapshot = snapshot or store.read()
        plan = plan_for(store, snapshot, planned)
        if not plan.changed:
            return plan
        secrets = [value for key, value in plan.after.items() if is_secret_item(key, value, patterns)]
        try:
            store.write(snapshot, plan, deadline=deadline, secrets=secrets)
        except ComputeError as error:
            if not (isinstance(error, ComputeConflict) or _BUSY_CODES.intersection(error.codes)):
                raise
            pause = next(pauses)
            if api.clock() + pause >= deadline:
                error.args = (f"{error} There was no time left for that.",)
                raise
        else:
            return plan
        api.sleep(pause)
        snapshot = None


def unverified(done: Sequence[tuple[Store, Plan]], *, deadline: float) -> dict[str, ComputeError]:
    """Those of what was carried out that cannot be read back as it was written, by path, and why.

    All of one kind of store, and of one API. Many instances are read with a few requests. A read may be behind for a
    moment, so that they are read again for up to SEEN_AFTER seconds, all of them together, and not after `deadline`.
    """
    if not done:
        return {}
    api = done[0][0].api
    deadline = min(deadline, api.clock() + SEEN_AFTER)
    pending = {store.path: (store.until(deadline), plan) for store, plan in done}
    problems: dict[str, ComputeError] = {}
    lost: dict[str, ComputeError] = {}
    pauses = _pauses(api.random)
    while pending:
        try:
            seen = _snapshots([store for store, plan in pending.values()])
        except ComputeError as error:
            return {**problems, **dict.fromkeys(pending, error), **lost}
        lost = {}
        for path, (store, plan) in list(pending.items()):
            outcome = seen[path]
            if isinstance(outcome, Snapshot) and (keys := _differing(plan, outcome)):
                lost[path] = NotKept(store.resource, keys)
                continue
            del pending[path]
            if isinstance(outcome, ComputeError):
                problems[path] = outcome
        left = deadline - api.clock()
        if left <= 0:
            break
        if pending:
            api.sleep(min(next(pauses), left))
    return {**problems, **lost}


def _snapshots(stores: Sequence[Store]) -> dict[str, Snapshot | ComputeError]:
    """What each of them has now, by path."""
    if len(stores) == 1:
        [store] = stores
        return {store.path: store.read()}
    selection = select(stores[0].api, names=[store.resource for store in stores], fields="metadata(fingerprint,items)")
    found = {path_of(instance): snapshot_of(instance.get("metadata", {})) for instance in selection.instances}
    return {store.path: found.get(store.path) or selection.failures[store.resource] for store in stores}


def _differing(plan: Plan, snapshot: Snapshot) -> list[str]:
    """The keys of a plan that are not as it left them. What it did not touch is others' business."""
    return [key for key in (*plan.written, *plan.deleted) if snapshot.values.get(key) != plan.after.get(key)]


def plan_for(store: Store, snapshot: Snapshot, planned: Callable[[Mapping[str, str]], Plan]) -> Plan:
    """The plan for a store; raises ComputeBadRequest if that would make too much of it."""
    try:
        return planned(snapshot.values)
    except CustomMetadataError as error:
        raise ComputeBadRequest(f"Cannot set the metadata of {store.resource}: {error}") from error


def _list_form(snapshot: Snapshot, plan: Plan) -> dict[str, Any]:
    items = [{"key": key, "value": value} for key, value in plan.after.items()]
    return {"fingerprint": snapshot.fingerprint, "items": items}


def _pauses(random: Callable[[], float]) -> Iterator[float]:
    """Anything up to a limit that doubles: those who met once are not to meet again."""
    limit = FIRST_PAUSE
    while True:
        yield limit * random()
        limit = min(2 * limit, LONGEST_PAUSE)
