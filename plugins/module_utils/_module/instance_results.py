# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that do the same to each of some instances: which ones, and one result made of theirs.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from .._compute.api import ComputeApi
from .._compute.errors import ComputeError
from .._compute.instances import zone_of
from .api import summary_of_failures
from .selection import selected


@dataclass
class Target:
    """An instance that was asked for: as the API has it, or why there is none."""

    name: str
    zone: str | None = None
    instance: Mapping[str, Any] | None = None
    error: ComputeError | None = None

    def to_result(self, **result: Any) -> dict[str, Any]:
        """This with its name, its zone, and what went wrong, if anything did."""
        shown = {"name": self.name, "zone": self.zone, "failed": self.error is not None, **result}
        return shown if self.error is None else {**shown, "msg": str(self.error)}


def targets_of(module: AnsibleModule, api: ComputeApi, fields: str) -> list[Target]:
    """The instances that the parameters say, with these fields."""
    selection = selected(module.params, api, fields)
    found = [Target(instance["name"], zone_of(instance), instance) for instance in selection.instances]
    return found + [Target(name, error=error) for name, error in selection.failures.items()]


def finish(module: AnsibleModule, api: ComputeApi, results: Sequence[Mapping[str, Any]], **common: Any) -> NoReturn:
    """End the module with the results of all instances; it fails if one of them has."""
    whole = {
        "changed": any(result.get("changed") for result in results),
        "instances": results,
        "unreachables": api.unreachables,
        **common,
    }
    failures = {result["name"]: result["msg"] for result in results if result["failed"]}
    if not failures:
        module.exit_json(**whole)
    only = next(iter(failures.values()))
    msg = only if len(results) == 1 else summary_of_failures(failures, len(results), "instances")
    module.fail_json(msg=msg, **whole)
    raise SystemExit  # never, but for those who check types
