# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline's steps for custom metadata: plan, change, and read back.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._compute.api import ComputeApi
from .._compute.instances import zone_of
from .._compute.metadata_store import (
    InstanceStore,
    Planner,
    Snapshot,
    Store,
    change,
    planned_change,
    snapshot_of,
    unverified,
)
from .._metadata.custom import MetadataChange
from .._metadata.secrets import SECRET_PATTERNS
from .targets import Target, apply_each

INSTANCE_FIELDS = "metadata(fingerprint,items)"


@dataclass
class MetadataTarget(Target[MetadataChange]):
    """The metadata of an instance, a zone or the project. `snapshot` is from before the change."""

    store: Store
    snapshot: Snapshot

    @property
    def values(self) -> Mapping[str, str]:
        """The metadata after the change, or as it is if the change failed."""
        return self.snapshot.values if self.done is None else self.done.after


def metadata_targets(api: ComputeApi, instances: Iterable[Mapping[str, Any]]) -> list[MetadataTarget]:
    """Instances, read with INSTANCE_FIELDS."""
    return [
        MetadataTarget(
            str(instance["name"]),
            zone_of(instance),
            InstanceStore(api, instance),
            snapshot_of(instance.get("metadata", {})),
        )
        for instance in instances
    ]


def change_metadata(
    module: AnsibleModule,
    api: ComputeApi,
    targets: Sequence[MetadataTarget],
    planner: Callable[[MetadataTarget], Planner],
    patterns: Sequence[str | re.Pattern[str]] = SECRET_PATTERNS,
) -> None:
    """Plan all targets, and unless in check mode, change them and read them back.

    The targets are instances, or a single zone or project. Raises ComputeError if one of the plans is too large: then
    none of them is written.
    """
    for target in targets:
        target.plan = planned_change(target.store, target.snapshot, planner(target))
    deadlines = [0.0]

    def apply(target: MetadataTarget, bounded: ComputeApi) -> MetadataChange:
        deadlines.append(bounded.deadline)
        return change(
            target.store,
            planner(target),
            snapshot=target.snapshot,
            deadline=bounded.deadline,
            patterns=patterns,
        )

    planned = [target for target in targets if target.changed]
    apply_each(module, api, planned, apply)
    if module.check_mode:
        return
    # Without those that another program has meanwhile changed to the wanted values.
    written = [target for target in planned if target.changed]
    problems = unverified(
        [(target.store, target.done) for target in written if target.done],
        deadline=max(deadlines),
        planners={target.store.path: planner(target) for target in written},
    )
    for target in written:
        target.error = problems.get(target.store.path)


def metadata_diff(target: MetadataTarget, diff: Mapping[str, Any]) -> dict[str, Any]:
    return {"before_header": target.store.resource, "after_header": target.store.resource, **diff}
