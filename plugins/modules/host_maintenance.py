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

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._compute.api import REAL_TIME, ComputeApi, Time
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest
from ansible_collections.gce.guest.plugins.module_utils._compute.host_maintenance import (
    FIELDS,
    PERFORM,
    Maintenance,
    announced,
    effect,
    maintain,
    nothing_to_perform,
    obstacle,
    refusal,
)
from ansible_collections.gce.guest.plugins.module_utils._module.api import (
    API_ARGSPEC,
    API_ERRORS,
    ApiModule,
    compute_api,
)
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import (
    ArgumentSpec,
    failing,
)
from ansible_collections.gce.guest.plugins.module_utils._module.targets import (
    INSTANCES_ARGSPEC,
    SOME_SELECTION,
    InstanceTarget,
    apply_each,
    instance_targets,
    instances_result,
    missing_rows,
    plan_each,
    refuse_empty,
    selected,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import window_document

Target = InstanceTarget[Maintenance]


def main(time: Time = REAL_TIME) -> None:
    spec = ArgumentSpec(
        {
            "action": {"type": "str", "choices": ["simulate", "perform"], "required": True},
            "on_missing": {"type": "str", "choices": ["error", "warn", "skip"], "default": "error"},
            "wait": {"type": "bool", "default": True},
            "timeout": {"type": "float", "default": 7200.0},
        }
    )
    module = spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **SOME_SELECTION).create_module(kind=ApiModule)
    params = module.params
    with failing(module, *API_ERRORS):
        refuse_empty(params)

        def apply(target: Target, api: ComputeApi) -> Maintenance | None:
            operation, retries = maintain(api, target.instance, params["action"], wait=params["wait"])
            return target.plan and replace(target.plan, operation=operation, retries=retries)

        with compute_api(module, time) as api:
            selection = selected(params, api, FIELDS)
            targets: list[Target] = instance_targets(selection.instances)
            plan_each(targets, lambda target: planned(module, api, target.instance))
            apply_each(module, api, targets, apply)
        missing = {"event": None, "window": None, "operation": None, "retries": 0}
        rows = [
            *(row_of(target, params["action"]) for target in targets),
            *missing_rows(selection.failures, changed=False, **missing),
        ]
        module.exit_json(**instances_result(api, rows))


def planned(module: AnsibleModule, api: ComputeApi, instance: Mapping[str, Any]) -> Maintenance:
    """What is to be done with an instance. Raises ComputeBadRequest if it is not possible."""
    action, on_missing = module.params["action"], module.params["on_missing"]
    window = announced(instance)
    maintenance = Maintenance(effect(instance, action), window)
    why = nothing_to_perform(window) if action == PERFORM else None
    if why is not None and on_missing != "error":
        reason = refusal(api, instance, action, why)
        if on_missing == "warn":
            module.warn(reason)
        return replace(maintenance, skipped=reason)
    why = why or obstacle(instance)
    if why is not None:
        raise ComputeBadRequest(refusal(api, instance, action, why))
    return maintenance


def row_of(target: Target, action: str) -> dict[str, Any]:
    done, window = target.done, announced(target.instance)
    row = target.row(
        event=effect(target.instance, action),
        window=window_document(window) if window else None,
        operation=done.operation if done else None,
        retries=done.retries if done else 0,
    )
    return row if done is None or done.skipped is None else {**row, "msg": done.skipped}


if __name__ == "__main__":
    main()
