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

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest, ComputeError
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import path_of
from ansible_collections.gce.guest.plugins.module_utils._compute.scheduling import FIELDS, Plan, checked, plan, refusals
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

VERB = "set the scheduling of"


@dataclass
class Change:
    """What is to change of one instance, and what became of it."""

    target: Target
    plan: Plan | None = None

    @property
    def is_due(self) -> bool:
        return self.target.error is None and self.plan is not None and bool(self.plan.changed)

    def to_result(self) -> dict[str, Any]:
        plan, scheduling = self.plan, None
        if plan is not None:
            scheduling = plan.after if self.target.error is None else plan.before
        changes = plan.changed if plan is not None and self.is_due else []
        return self.target.to_result(changed=self.is_due, changes=changes, scheduling=scheduling)

    def to_diff(self, project: str) -> dict[str, Any]:
        header = f"projects/{project}/{path_of(self.target.instance or {})}"
        before: Mapping[str, Any] = self.plan.before if self.plan else {}
        after: Mapping[str, Any] = self.plan.after if self.plan else {}
        return {"before_header": header, "after_header": header, "before": dict(before), "after": dict(after)}


def main(clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
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
        refuse_empty(module)
        wanted = checked(module.params)
        with compute_api(module, clock=clock, sleep=sleep) as api:
            changes = [planned(api, target, wanted) for target in targets_of(module, api, FIELDS)]
            if not module.check_mode:
                carry_out(module, api, [change for change in changes if change.is_due])
            diff = {}
            if module._diff:
                diff["diff"] = [change.to_diff(api.project) for change in changes if change.is_due]
        finish(module, api, [change.to_result() for change in changes], **diff)


def planned(api: ComputeApi, target: Target, wanted: Mapping[str, Any]) -> Change:
    """What is to change, and refused before any of it is."""
    if target.instance is None:
        return Change(target)
    change = Change(target, plan(target.instance, wanted))
    reasons = refusals(target.instance, change.plan) if change.plan else []
    if reasons:
        resource = f"projects/{api.project}/{path_of(target.instance)}"
        target.error = ComputeBadRequest(f"Cannot {VERB} {resource}: {' '.join(reasons)}")
    return change


def carry_out(module: AnsibleModule, api: ComputeApi, changes: Sequence[Change]) -> None:
    def set_it(change: Change) -> None:
        path = path_of(change.target.instance or {})
        deadline = api.clock() + module.params["timeout"]
        bounded = api.until(deadline)
        body = change.plan.body if change.plan else {}
        operation = bounded.write("POST", f"{path}/setScheduling", VERB, body, resource=path)
        bounded.finish(operation, VERB, path, deadline=deadline)

    for change, outcome in zip(changes, each(api, changes, set_it)):
        if isinstance(outcome, ComputeError):
            change.target.error = outcome


if __name__ == "__main__":
    main()
