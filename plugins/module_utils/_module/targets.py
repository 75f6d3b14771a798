# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline of modules that change many resources: select, plan, apply, report.

Private to the collection: it may change at any time.

The options are described in plugins/doc_fragments/_api.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from ansible.module_utils.basic import AnsibleModule

from .._compute.api import DEFAULT_CONCURRENCY, ComputeApi
from .._compute.errors import ComputeBadRequest, ComputeError
from .._compute.instances import Selection, select, zone_of
from .api import PartialFailure

INSTANCES_ARGSPEC: dict[str, Mapping[str, Any]] = {
    "zone": {"type": "str"},
    "instance": {"type": "str"},
    "instances": {"type": "list", "elements": "str"},
    "filter": {"type": "str"},
    "concurrency": {"type": "int", "default": DEFAULT_CONCURRENCY},
}

# A write and the wait for its operation.
WRITE_REQUESTS = 2

_SELECTIONS = ("instance", "instances", "filter")


def one_selection(*others: str, required: bool = False) -> dict[str, Any]:
    """Conditions for these options, and for `others` in their place.

    An undefined variable must not select the whole project, so null is refused: a null option requires another one, and
    only one is allowed. Later, null looks the same as an omitted option.
    """
    names = (*_SELECTIONS, *others)
    return {
        "mutually_exclusive": [names],
        "required_if": [(name, None, [other for other in names if other != name], True) for name in names],
        **({"required_one_of": [names]} if required else {}),
    }


ONE_SELECTION = one_selection()
# The same where instances are required.
SOME_SELECTION = one_selection(required=True)


class Plan(Protocol):
    @property
    def changed(self) -> bool:
        """Whether there is something to do."""


_Plan = TypeVar("_Plan", bound=Plan)


@dataclass
class Target(Generic[_Plan]):
    """A resource that a module changes. `plan` is what was done, or would be in check mode, unless `error` is set."""

    name: str
    zone: str | None
    plan: _Plan | None = field(init=False, default=None)
    error: ComputeError | None = field(init=False, default=None)

    @property
    def changed(self) -> bool:
        return self.done is not None and self.done.changed

    @property
    def done(self) -> _Plan | None:
        return self.plan if self.error is None else None

    def row(self, **details: Any) -> dict[str, Any]:
        """Its entry in the module's result."""
        row = {"name": self.name, "zone": self.zone, "changed": self.changed, "failed": self.error is not None}
        return {**row, **details} if self.error is None else {**row, **details, "msg": str(self.error)}


@dataclass
class InstanceTarget(Target[_Plan]):
    # As the API returns it.
    instance: Mapping[str, Any]


_Target = TypeVar("_Target", bound=Target[Any])


# Select


def refuse_empty(params: Mapping[str, Any]) -> None:
    """An empty template must not select all zones, or every instance."""
    for name in ("instance", "filter", "zone", "node_group", "reservation"):
        if params.get(name) == "":
            raise ComputeBadRequest(f"{name} is empty. Omit it, or give a value.")


def selections(params: Mapping[str, Any]) -> list[str]:
    """The names of the parameters that select instances; empty if none of them is set."""
    return [name for name in _SELECTIONS if params[name] is not None]


def selected(params: Mapping[str, Any], api: ComputeApi, fields: str) -> Selection:
    """The selected instances with these fields, and why others were not found."""
    return select(
        api,
        names=[params["instance"]] if params["instance"] is not None else params["instances"],
        expression=params["filter"],
        zone=params["zone"],
        fields=fields,
    )


def instance_targets(instances: Iterable[Mapping[str, Any]]) -> list[InstanceTarget[Any]]:
    return [InstanceTarget(str(instance["name"]), zone_of(instance), instance) for instance in instances]


def missing_rows(failures: Mapping[str, ComputeError], **details: Any) -> list[dict[str, Any]]:
    """The entries of instances that were not found."""
    return [
        {"name": name, "zone": None, "failed": True, **details, "msg": str(error)} for name, error in failures.items()
    ]


# Plan and apply


def plan_each(targets: Iterable[_Target], plan: Callable[[_Target], Any]) -> None:
    """Set each target's plan, or its error if the plan is refused. The others go on."""
    for target in targets:
        try:
            target.plan = plan(target)
        except ComputeError as error:  # noqa: PERF203 - each target is refused by itself
            target.error = error


def apply_each(
    module: AnsibleModule, api: ComputeApi, targets: Iterable[_Target], apply: Callable[[_Target, ComputeApi], Any]
) -> None:
    """Apply the plans that change something, several at once, and none in check mode.

    `apply` gets a client whose deadline is the option `timeout` from when the target's turn comes. It returns the plan
    as it was carried out. A target that fails does not stop the others.
    """
    if module.check_mode:
        return
    due = [target for target in targets if target.changed]
    timeout = float(module.params["timeout"])
    outcomes = api.each(due, lambda target: apply(target, api.until(api.clock() + timeout)), requests=WRITE_REQUESTS)
    for target, outcome in zip(due, outcomes):
        if isinstance(outcome, ComputeError):
            target.error = outcome
        else:
            target.plan = outcome


# Report


def checked_result(
    result: dict[str, Any], rows: Sequence[Mapping[str, Any]], what: str = "instances"
) -> dict[str, Any]:
    """A module's result, if none of these rows has failed; else raises PartialFailure with it."""
    failures = [(str(row["name"]), str(row["msg"])) for row in rows if row["failed"]]
    if not failures:
        return result
    if len(rows) == 1:
        raise PartialFailure(failures[0][1], result)
    shown = " ".join(f"{name}: {text}" for name, text in failures[:3])
    more = f" And {len(failures) - 3} more, see the results." if len(failures) > 3 else ""
    raise PartialFailure(f"{len(failures)} of {len(rows)} {what} failed. {shown}{more}", result)


def instances_result(api: ComputeApi, rows: Sequence[Mapping[str, Any]], **details: Any) -> dict[str, Any]:
    """The result of a module whose result is one row for each instance. Raises PartialFailure if one has failed."""
    result = {
        "changed": any(row.get("changed") for row in rows),
        "instances": rows,
        "unreachables": api.unreachables,
        **details,
    }
    return checked_result(result, rows)
