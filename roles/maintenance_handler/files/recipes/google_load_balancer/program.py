# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's load balancers: leave the groups of backend services and the target pools, and join them again.

https://cloud.google.com/load-balancing/docs/enabling-connection-draining
"""

from __future__ import annotations

from contextlib import suppress
from typing import Callable

from client.errors import Unreachable
from recipes import health
from recipes.api import NotFound
from recipes.google_load_balancer.changes import Changes
from recipes.google_load_balancer.cloud import SCOPES, Cloud
from recipes.google_load_balancer.groups import Group, Groups, lacking
from recipes.run import Refusal, Run, counted
from recipes.waits import wait_since

_EVERY = 2.0
_MANAGED = (
    "is a managed instance group, which a VM cannot leave: use the recipe lame_duck, or name other groups in 'groups'"
)


def check(run: Run) -> None:
    health.checked(run["health"])
    cloud = Cloud(run)
    account = cloud.account()
    if not set(SCOPES).intersection(account.scopes):
        raise Refusal(
            f"the scopes of the VM do not allow {account.email} to change load balancers: stop the VM and add "
            f"{SCOPES[1]}, with 'gcloud compute instances set-service-account'"
        )
    groups = Groups(cloud)
    own = groups.of_this_vm(run["groups"])
    concerned = {group.path: group for group in [*own, *map(groups.at, run.record.keys())]}
    problems = [f"{group} {_MANAGED}" for group in own if group.is_managed()]
    if not concerned:
        manager = cloud.managed_by()
        problems.append(f"{_in_no_group(run)}{f'; {manager} {_MANAGED}' if manager else ''}")
    for group in concerned.values():
        group.health(group.members())
        problems += [f"{account.email} lacks {each} for {group}" for each in group.lacking_permissions()]
        _try_to_read_operations(cloud, group)
    on_vm = lacking(cloud, cloud.instance_path, ["compute.instances.use"])
    problems += [f"{account.email} lacks {each} for {cloud.instance}" for each in on_vm]
    if problems:
        raise Refusal("; ".join(problems))
    for group in concerned.values():
        run.say(f"{group}: drained {group.draining_seconds(run['settle_seconds']):g} s after this VM has left it")


def drain(run: Run) -> None:
    changes = Changes(run)
    run.wait_until(lambda: _patiently(changes.leave, run), every=_EVERY)
    for path, note in changes.notes():
        wait_since(run, note.left_at or 0.0, note.seconds, f"connections of {path.lstrip('/')}")
    run.wait_until(lambda: _patiently(changes.still_seen, run), every=_EVERY)
    managed = changes.managed()
    if managed:
        raise Refusal(f"{managed[0]} {_MANAGED}")
    left = ", ".join(path.lstrip("/") for path, _note in changes.notes())
    run.say(f"this VM has left {left}, and their connections have ended" if left else _in_no_group(run))


def restore(run: Run) -> None:
    if not run.record.keys():
        run.say("nothing to restore: this recipe has not left any group")
        return
    health.wait_until_healthy(run, run["health"])
    changes = Changes(run)
    run.wait_until(lambda: _patiently(changes.join, run), every=_EVERY)


def state(run: Run) -> None:
    own = Groups(Cloud(run)).of_this_vm(run["groups"])
    left = sorted(set(run.record.keys()).difference(group.path for group in own))
    for group in own:
        members = group.members()
        states = sorted({one for found in group.health(members).values() for one in found})
        run.say(f"in {group}: {counted(len(members), 'member')}, {' and '.join(states) or 'health unknown'}")
    for path in left:
        run.say(f"not in {path.lstrip('/')}, left by this recipe")
    if not own and not left:
        run.say(_in_no_group(run))


def _patiently(step: Callable[[], str], run: Run) -> str:
    """What a step returns; or, if the API or the metadata server is not available now, why."""
    try:
        return step()
    except Unreachable as exc:
        return run.unanswered(str(exc))


def _try_to_read_operations(cloud: Cloud, group: Group) -> None:
    """Raises `Refusal` if the service account lacks the permissions for that."""
    operations = "/".join([*group.path.split("/")[:3], "operations"])
    next(cloud.items("GET", operations, maxResults="1"), None)
    with suppress(NotFound):
        cloud.get(f"{operations}/operation-0")


def _in_no_group(run: Run) -> str:
    if run["groups"]:
        return f"this VM is not in {' or '.join(run['groups'])}"
    return "this VM is in no zonal group of a backend service and in no target pool"
