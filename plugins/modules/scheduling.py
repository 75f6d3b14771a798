#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scheduling
short_description: Change what becomes of instances when their host is maintained or fails
version_added: 0.1.0
description:
  - Sets the scheduling of existing instances, which says whether they are migrated or stopped for host maintenance,
    restarted after a failure, and the like.
  - Sends only what differs, and nothing if all is as it should be.
  - What the API would refuse, such as a Spot VM that is to be restarted automatically, is told before anything is sent,
    and in check mode.
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
    support: full
options:
  on_host_maintenance:
    description:
      - Whether the instance is migrated while it runs, or stopped, when its host is maintained.
      - Spot VMs, machine types with GPUs or TPUs, bare metal ones and H4D cannot be migrated, which is told before
        anything is sent. Of others, such as Z3 with more than 18,000 GiB of Titanium SSD, the API decides.
    type: str
    choices: [MIGRATE, TERMINATE]
  automatic_restart:
    description: Whether the instance is started again after the platform has stopped it. Not possible for Spot VMs.
    type: bool
  provisioning_model:
    description:
      - How the instance is provisioned. Can only be changed while it is stopped.
      - V(SPOT) needs O(on_host_maintenance=TERMINATE) and O(automatic_restart=false), unless it is so already.
    type: str
    choices: [STANDARD, SPOT]
  instance_termination_action:
    description:
      - What becomes of a Spot VM that is preempted, or of an instance when its O(max_run_duration) is over. Can only be
        changed while it is stopped.
    type: str
    choices: [STOP, DELETE]
  host_error_timeout:
    description:
      - After how many seconds a host that does not answer is given up, 90 to 330 in steps of 30.
      - With V(0), none is set, and the platform decides.
    type: int
  local_ssd_recovery_timeout:
    description:
      - For how many seconds to try to recover the data of local SSDs after a failure of the host, up to 604800, which
        is a week. With V(0) that is not tried.
    type: int
  max_run_duration:
    description:
      - After how many seconds the instance is stopped or deleted, 30 to 10368000, which is 120 days. Can only be
        changed while it is stopped.
      - With V(0), it runs for as long as it likes.
    type: int
  timeout:
    description: For how many seconds to wait until a change is made.
    type: float
    default: 300.0
notes:
  - Needs C(compute.instances.setScheduling), C(compute.instances.get) or C(compute.instances.list), and
    C(compute.zoneOperations.get).
  - Does not stop instances.
seealso:
  - module: gce.guest.host_maintenance
  - module: gce.guest.maintenance_info
  - name: Set VM host maintenance policy
    description: What Google says about it.
    link: https://cloud.google.com/compute/docs/instances/host-maintenance-options
"""

EXAMPLES = r"""
- name: Have instances migrated, and give up a host that does not answer early
  gce.guest.scheduling:
    filter: labels.env = prod
    on_host_maintenance: MIGRATE
    host_error_timeout: 90

- name: Have an instance stopped for maintenance, and started again
  gce.guest.scheduling:
    instance: us-central1-a/db-1
    on_host_maintenance: TERMINATE
    automatic_restart: true

- name: See what would change
  gce.guest.scheduling:
    instances: [web-1, web-2]
    zone: us-central1-a
    automatic_restart: false
  check_mode: true
  diff: true
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
      description: Whether its scheduling was changed, or would be.
      type: bool
      returned: success
      sample: true
    failed:
      description: Whether that failed.
      type: bool
      returned: success
      sample: false
    msg:
      description: Why it failed.
      type: str
      returned: when it failed
      sample: "Cannot set the scheduling of projects/acme/zones/us-central1-a/instances/spot-1: A Spot VM is not
        restarted automatically. Set automatic_restart=false."
    changes:
      description: The options that differed.
      type: list
      elements: str
      returned: success
      sample: [on_host_maintenance]
    scheduling:
      description: The scheduling after this, by the names of the options. V(null) if there is no such instance.
      type: dict
      returned: success
      contains:
        on_host_maintenance:
          description: See O(on_host_maintenance).
          type: str
          returned: success
          sample: MIGRATE
        automatic_restart:
          description: See O(automatic_restart).
          type: bool
          returned: success
          sample: true
        provisioning_model:
          description: See O(provisioning_model). Also others than can be set here.
          type: str
          returned: success
          sample: STANDARD
        instance_termination_action:
          description: See O(instance_termination_action). V(null) if none is set.
          type: str
          returned: success
          sample: STOP
        host_error_timeout:
          description: See O(host_error_timeout). V(null) if none is set.
          type: int
          returned: success
          sample: 90
        local_ssd_recovery_timeout:
          description: See O(local_ssd_recovery_timeout). V(null) if none is set.
          type: int
          returned: success
          sample: 3600
        max_run_duration:
          description: See O(max_run_duration). V(null) if none is set.
          type: int
          returned: success
          sample: 86400
unreachables:
  description: Scopes, such as zones, in which instances could not be looked up.
  returned: success, and when some instances failed
  type: list
  elements: str
  sample: []
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.gce.guest.plugins.module_utils._compute.api import REAL_TIME, ComputeApi, Time
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import path_of
from ansible_collections.gce.guest.plugins.module_utils._compute.scheduling import (
    FIELDS,
    SchedulingChange,
    checked,
    plan,
    refusals,
)
from ansible_collections.gce.guest.plugins.module_utils._module.api import (
    API_ARGSPEC,
    ApiModule,
    compute_api,
    failing,
)
from ansible_collections.gce.guest.plugins.module_utils._module.guest import ArgumentSpec
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

VERB = "set the scheduling of"

Target = InstanceTarget[SchedulingChange]


def main(time: Time = REAL_TIME) -> None:
    spec = ArgumentSpec(
        {
            "on_host_maintenance": {"type": "str", "choices": ["MIGRATE", "TERMINATE"]},
            "automatic_restart": {"type": "bool"},
            "provisioning_model": {"type": "str", "choices": ["STANDARD", "SPOT"]},
            "instance_termination_action": {"type": "str", "choices": ["STOP", "DELETE"]},
            "host_error_timeout": {"type": "int"},
            "local_ssd_recovery_timeout": {"type": "int"},
            "max_run_duration": {"type": "int"},
            "timeout": {"type": "float", "default": 300.0},
        }
    )
    module = spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **SOME_SELECTION).create_module(kind=ApiModule)
    with failing(module):
        refuse_empty(module.params)
        wanted = checked(module.params)
        with compute_api(module, time) as api:
            selection = selected(module.params, api, FIELDS)
            targets: list[Target] = instance_targets(selection.instances)
            plan_each(targets, lambda target: planned(api, target.instance, wanted))
            apply_each(module, api, targets, set_scheduling)
        rows = [
            *map(row_of, targets),
            *missing_rows(selection.failures, changed=False, changes=[], scheduling=None),
        ]
        diff = {"diff": [diff_of(api, target) for target in targets if target.changed]} if module._diff else {}
        module.exit_json(**instances_result(api, rows, **diff))


def planned(api: ComputeApi, instance: Mapping[str, Any], wanted: Mapping[str, Any]) -> SchedulingChange:
    """The change of an instance. Raises ComputeBadRequest if the API would refuse it."""
    change = plan(instance, wanted)
    reasons = refusals(instance, change)
    if reasons:
        raise ComputeBadRequest(f"Cannot {VERB} projects/{api.project}/{path_of(instance)}: {' '.join(reasons)}")
    return change


def set_scheduling(target: Target, api: ComputeApi) -> SchedulingChange | None:
    path = path_of(target.instance)
    if target.plan is not None:
        api.finish(api.write("POST", f"{path}/setScheduling", VERB, target.plan.body, resource=path), VERB, path)
    return target.plan


def row_of(target: Target) -> dict[str, Any]:
    """With the scheduling after the change, or as it is if the change failed."""
    done = target.done
    scheduling = plan(target.instance, {}).before if done is None else done.after
    return target.row(changes=done.changes if done else [], scheduling=scheduling)


def diff_of(api: ComputeApi, target: Target) -> dict[str, Any]:
    header = f"projects/{api.project}/{path_of(target.instance)}"
    before, after = ({}, {}) if target.done is None else (target.done.before, target.done.after)
    return {"before_header": header, "after_header": header, "before": dict(before), "after": dict(after)}


if __name__ == "__main__":
    main()
