#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scheduling
short_description: Set the scheduling of instances, such as their host maintenance policy
version_added: 0.1.0
description:
  - Sets the scheduling of existing instances. This includes their host maintenance policy, automatic restart, graceful
    shutdown and limits of their run time.
  - Only differences are sent.
  - Values that the API would refuse, such as automatic restart for a Spot VM, are reported before anything is sent, and
    in check mode.
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
      - Whether the instance is live-migrated or stopped when its host is maintained.
      - Spot VMs, bare metal instances, H4D and machine types with GPUs or TPUs cannot be migrated, and are refused
        before anything is sent. For others, such as Z3 with more than 18,000 GiB of Titanium SSD, the API decides.
    type: str
    choices: [MIGRATE, TERMINATE]
  automatic_restart:
    description: Whether the instance is restarted after the platform has stopped it. Not possible for Spot VMs.
    type: bool
  provisioning_model:
    description:
      - The provisioning model. Can only be changed while the instance is stopped.
      - V(SPOT) requires O(on_host_maintenance=TERMINATE) and O(automatic_restart=false), unless these are set already.
    type: str
    choices: [STANDARD, SPOT]
  instance_termination_action:
    description:
      - Whether a Spot VM is stopped or deleted when it is preempted, or an instance when its O(max_run_duration) or
        O(termination_time) is reached. Can only be changed while the instance is stopped.
    type: str
    choices: [STOP, DELETE]
  host_error_timeout:
    description:
      - Seconds after which an unresponsive host counts as failed, V(90) to V(330) in steps of 30.
      - V(0) clears it, so that the platform decides.
    type: int
  local_ssd_recovery_timeout:
    description:
      - Seconds to try to recover the data of local SSDs after a host error, V(0) to V(604800), which is a week, in
        steps of 3600.
    type: int
  max_run_duration:
    description:
      - Seconds after which the instance is stopped or deleted, V(30) to V(10368000), which is 120 days. Can only be
        changed while the instance is stopped.
      - V(0) removes the limit.
    type: int
  termination_time:
    description:
      - When the instance is stopped or deleted, as RFC 3339, such as V(2027-01-31T22:00:00Z). Can only be changed while
        the instance is stopped, and not be combined with O(max_run_duration).
      - An empty string removes the limit.
    type: str
    version_added: 0.2.0
  graceful_shutdown:
    description:
      - Whether the guest gets time to finish its work when the instance is stopped or deleted through the API. The
        maintenance handler then runs the tasks for the event C(stop).
    type: dict
    version_added: 0.2.0
    suboptions:
      enabled:
        description: Whether graceful shutdown is enabled.
        type: bool
        required: true
      max_duration:
        description:
          - The longest time for the guest in seconds, V(1) to V(3600). By default, it is left as it is. The API's
            default is 10 minutes.
        type: int
  preemption_notice_duration:
    description:
      - Seconds between the notice of a preemption and the shutdown of a Spot VM. Google documents V(120), as a preview.
      - V(0) clears it. The notice then comes with the shutdown, 30 seconds before the Spot VM is stopped.
    type: int
    version_added: 0.2.0
  timeout:
    description: Seconds to wait for the change of one instance.
    type: float
    default: 300.0
notes:
  - Required permissions are C(compute.instances.setScheduling), C(compute.instances.get) or C(compute.instances.list),
    and C(compute.zoneOperations.get).
  - The module does not stop instances.
seealso:
  - module: gce.guest.host_maintenance
  - module: gce.guest.maintenance_info
  - name: Set VM host maintenance policy
    description: Google's documentation of the policy.
    link: https://cloud.google.com/compute/docs/instances/host-maintenance-options
"""

EXAMPLES = r"""
- name: Migrate instances for maintenance, and fail over early from an unresponsive host
  gce.guest.scheduling:
    filter: labels.env = prod
    on_host_maintenance: MIGRATE
    host_error_timeout: 90

- name: Stop an instance for maintenance, and restart it afterwards
  gce.guest.scheduling:
    instance: us-central1-a/db-1
    on_host_maintenance: TERMINATE
    automatic_restart: true

- name: Give instances up to 10 minutes to drain when they are stopped
  gce.guest.scheduling:
    filter: labels.env = prod
    graceful_shutdown:
      enabled: true
      max_duration: 600

- name: Preview a change
  gce.guest.scheduling:
    instances: [web-1, web-2]
    zone: us-central1-a
    automatic_restart: false
  check_mode: true
  diff: true
"""

RETURN = r"""
instances:
  description: The result for each instance.
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
      description: Its zone. V(null) if it was not found.
      type: str
      returned: success
      sample: us-central1-a
    changed:
      description: Whether its scheduling was changed, or would be in check mode.
      type: bool
      returned: success
      sample: true
    failed:
      description: Whether the change failed.
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
      description:
        - The scheduling after the change, by the names of the options. V(null) if the instance was not found.
        - Options that are not set are V(null).
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
          description: See O(provisioning_model). Models that cannot be set by this module are returned, too.
          type: str
          returned: success
          sample: STANDARD
        instance_termination_action:
          description: See O(instance_termination_action).
          type: str
          returned: success
          sample: STOP
        host_error_timeout:
          description: See O(host_error_timeout).
          type: int
          returned: success
          sample: 90
        local_ssd_recovery_timeout:
          description: See O(local_ssd_recovery_timeout).
          type: int
          returned: success
          sample: 3600
        max_run_duration:
          description: See O(max_run_duration).
          type: int
          returned: success
          sample: 86400
        termination_time:
          description: See O(termination_time). In UTC.
          type: str
          returned: success
          sample: "2027-01-31T22:00:00Z"
        graceful_shutdown:
          description: See O(graceful_shutdown).
          type: dict
          returned: success
          sample: {enabled: true, max_duration: 600}
        preemption_notice_duration:
          description: See O(preemption_notice_duration).
          type: int
          returned: success
          sample: 120
unreachables:
  description: Zones that the API could not list. Their instances were not found.
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
            "termination_time": {"type": "str"},
            "graceful_shutdown": {
                "type": "dict",
                "options": {"enabled": {"type": "bool", "required": True}, "max_duration": {"type": "int"}},
            },
            "preemption_notice_duration": {"type": "int"},
            "timeout": {"type": "float", "default": 300.0},
        }
    )
    module = spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **SOME_SELECTION).create_module(kind=ApiModule)
    with failing(module, *API_ERRORS):
        refuse_empty(module.params)
        wanted = checked(module.params, now=time.now())
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
