#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_maintenance
short_description: Simulate or perform the host maintenance of instances
version_added: 0.1.0
description:
  - Has the host of instances maintained now, to see how they cope with it, or to get announced maintenance over with at
    a time that suits, and waits until it is over.
  - By its scheduling, an instance is migrated while it runs, or stopped and started again. A Spot VM is preempted.
  - What cannot be done, and why, is found before anything is sent, and in check mode.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.actiongroup_api
  - gce.guest._api
  - gce.guest._api.instances
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - An instance is the same after its maintenance as before.
options:
  action:
    description:
      - With V(simulate), the instance goes through what a maintenance of its host is for it. As often as this is asked
        for, it happens.
      - With V(perform), the maintenance that is announced for the instance begins now instead of in its window. That
        is only possible as long as it can be rescheduled.
    type: str
    choices: [simulate, perform]
    required: true
  on_missing:
    description:
      - With O(action=perform), what an instance is for which nothing is announced that could be performed. It is an
        error, or it is left alone, with or without a warning.
      - With V(skip), a second run changes nothing.
    type: str
    choices: [error, warn, skip]
    default: error
  wait:
    description: Whether to wait until the maintenance is over.
    type: bool
    default: true
  timeout:
    description:
      - For how many seconds to wait for an instance, and to try again if there is temporarily no host to migrate it to.
      - The maintenance of an instance that is to be stopped begins an hour after it was announced to it. What goes on
        when the time is over is not taken back.
    type: float
    default: 7200.0
notes:
  - Needs C(compute.instances.simulateMaintenanceEvent) or C(compute.instances.performMaintenance),
    C(compute.instances.get) or C(compute.instances.list), and C(compute.zoneOperations.get).
  - All of the instances that are given go through their maintenance at once, up to O(concurrency). To have them do so
    one after the other, set it to V(1), or use a loop.
seealso:
  - module: gce.guest.fleet_maintenance_info
  - module: gce.guest.scheduling
  - module: gce.guest.maintenance_info
  - name: Simulating a host maintenance event
    description: What Google says about it.
    link: https://cloud.google.com/compute/docs/instances/simulating-host-maintenance
"""

EXAMPLES = r"""
- name: See how an instance copes with the maintenance of its host
  gce.guest.host_maintenance:
    action: simulate
    instance: web-1
    zone: us-central1-a

- name: Get maintenance over with that can be, wherever it is announced
  gce.guest.host_maintenance:
    action: perform
    filter: labels.env = prod
    on_missing: skip
    concurrency: 1

- name: See what that would do
  gce.guest.host_maintenance:
    action: simulate
    instances:
      - us-central1-a/web-1
      - europe-west1-b/db-1
  check_mode: true
  register: predicted

- name: Show which event each of them would see
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.event }}"
  loop: "{{ predicted.instances }}"
"""

RETURN = r"""
instances:
  description: What became of each instance.
  returned: success, and when some instances failed
  type: list
  elements: dict
  contains:
    name:
      description: The instance.
      type: str
      returned: success
      sample: web-1
    zone:
      description: Its zone. V(null) if there is no such instance.
      type: str
      returned: success
      sample: us-central1-a
    changed:
      description: Whether its host was maintained, or would be.
      type: bool
      returned: success
      sample: true
    failed:
      description: Whether that failed.
      type: bool
      returned: success
      sample: false
    msg:
      description: Why it failed, or was left alone.
      type: str
      returned: when there is a reason
      sample: "Cannot perform the host maintenance of projects/acme/zones/us-central1-a/instances/web-1: no maintenance
        is announced for it."
    event:
      description: What the instance sees of it, which is V(migrate), V(terminate) or V(preempt).
      type: str
      returned: success
      sample: migrate
    window:
      description: The maintenance that had been announced for the instance. V(null) if none was.
      type: dict
      returned: success
      contains:
        type:
          description: V(SCHEDULED), V(UNSCHEDULED), V(MULTIPLE), or V(UNKNOWN_TYPE).
          type: str
          returned: success
          sample: SCHEDULED
        reasons:
          description: Why the maintenance is necessary. Empty if unknown.
          type: list
          elements: str
          returned: success
          sample: [PLANNED_UPDATE]
        status:
          description: V(PENDING), V(ONGOING), or V(UNKNOWN).
          type: str
          returned: success
          sample: PENDING
        can_reschedule:
          description: Whether it can be performed before its window. V(null) if unknown.
          type: bool
          returned: success
          sample: true
        window_start_time:
          description: When the window starts, as RFC 3339 in UTC. V(null) if unknown; applies to all timestamps.
          type: str
          returned: success
          sample: "2026-12-01T10:00:00Z"
        window_end_time:
          description: When the window ends.
          type: str
          returned: success
          sample: "2026-12-01T14:00:00Z"
        latest_window_start_time:
          description: The latest start that the maintenance can be rescheduled to.
          type: str
          returned: success
          sample: "2026-12-01T10:00:00Z"
    operation:
      description: The operation of the API. V(null) if there was none.
      type: str
      returned: success
      sample: operation-1619221279356-5c0ac552b379f-4c936f4c-587403ae
    retries:
      description: How often it was tried again, since there was temporarily no host to migrate to.
      type: int
      returned: success
      sample: 0
unreachables:
  description: Scopes, such as zones, in which instances could not be looked up.
  returned: success, and when some instances failed
  type: list
  elements: str
  sample: []
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest
from ansible_collections.gce.guest.plugins.module_utils._compute.host_maintenance import (
    FIELDS,
    PERFORM,
    Done,
    announced,
    effect,
    maintain,
    nothing_to_perform,
    obstacle,
    refusal,
)
from ansible_collections.gce.guest.plugins.module_utils._module.api import (
    API_ARGSPEC,
    ApiModule,
    compute_api,
    each,
    failing,
)
from ansible_collections.gce.guest.plugins.module_utils._module.guest import ArgumentSpec
from ansible_collections.gce.guest.plugins.module_utils._module.instance_results import (
    Target,
    finish,
    targets_of,
)
from ansible_collections.gce.guest.plugins.module_utils._module.selection import (
    INSTANCES_ARGSPEC,
    SOME_SELECTION,
    refuse_empty,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import window_document


@dataclass
class Maintenance:
    """What is to be done with one instance, and what became of it."""

    target: Target
    # Why it is left alone, if it is.
    skipped: str | None = None
    done: Done | None = None

    @property
    def is_due(self) -> bool:
        return self.target.error is None and self.skipped is None

    def to_result(self, action: str) -> dict[str, Any]:
        instance = self.target.instance
        window = announced(instance) if instance else None
        result = {
            "changed": self.is_due,
            "event": effect(instance, action) if instance else None,
            "window": window_document(window) if window else None,
            "operation": self.done.operation if self.done else None,
            "retries": self.done.retries if self.done else 0,
        }
        if self.skipped is not None:
            result["msg"] = self.skipped
        return self.target.to_result(**result)


def main(clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
    spec = ArgumentSpec(
        {
            "action": {"type": "str", "choices": ["simulate", "perform"], "required": True},
            "on_missing": {"type": "str", "choices": ["error", "warn", "skip"], "default": "error"},
            "wait": {"type": "bool", "default": True},
            "timeout": {"type": "float", "default": 7200.0},
        }
    )
    module = spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **SOME_SELECTION).create_module(kind=ApiModule)
    with failing(module):
        refuse_empty(module)
        if module.params["timeout"] == math.inf:
            module.fail_json(msg="timeout is inf, but it has to be a finite number of seconds.")
        with compute_api(module, clock=clock, sleep=sleep) as api:
            plans = [planned(module, api, target) for target in targets_of(module, api, FIELDS)]
            if not module.check_mode:
                carry_out(module, api, [plan for plan in plans if plan.is_due])
            results = [plan.to_result(module.params["action"]) for plan in plans]
        finish(module, api, results)


def planned(module: AnsibleModule, api: ComputeApi, target: Target) -> Maintenance:
    """What is to be done, and refused before any of it is."""
    if target.instance is None:
        return Maintenance(target)
    action = module.params["action"]
    why = nothing_to_perform(announced(target.instance)) if action == PERFORM else None
    if why is not None and module.params["on_missing"] != "error":
        reason = refusal(api, target.instance, action, why)
        if module.params["on_missing"] == "warn":
            module.warn(reason)
        return Maintenance(target, skipped=reason)
    why = why or obstacle(target.instance)
    if why is not None:
        target.error = ComputeBadRequest(refusal(api, target.instance, action, why))
    return Maintenance(target)


def carry_out(module: AnsibleModule, api: ComputeApi, plans: Sequence[Maintenance]) -> None:
    params = module.params

    def maintain_it(plan: Maintenance) -> Done:
        # Counted from when it is the instance's turn.
        deadline = api.clock() + params["timeout"]
        return maintain(api, plan.target.instance or {}, params["action"], deadline=deadline, wait=params["wait"])

    for plan, outcome in zip(plans, each(api, plans, maintain_it)):
        if isinstance(outcome, Done):
            plan.done = outcome
        else:
            plan.target.error = outcome


if __name__ == "__main__":
    main()
