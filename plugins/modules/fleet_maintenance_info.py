#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_maintenance_info
short_description: Read every maintenance window that is announced in a project
version_added: 0.1.0
description:
  - Finds the instances for which host maintenance is announced, with one list over all zones, of which only what
    matters here is asked for.
  - Sorted by time, so that the first one is the next one.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.info_module
  - gce.guest._attributes.actiongroup_api
  - gce.guest._api
options:
  zone:
    description: Only the instances of this zone.
    type: str
  filter:
    description:
      - Only the instances that this filter expression of the API's lists finds, such as V(labels.env = prod).
    type: str
  within:
    description:
      - Only windows that have begun, or begin within this time from now, such as V(90m), V(36h), V(7d), V(2w) or a
        number of seconds.
    type: str
notes:
  - Needs C(compute.instances.list).
  - Windows are announced for some machine types only, such as C3, C3D, Z3, X4, and those with GPUs or TPUs. Others are
    migrated without one.
seealso:
  - module: gce.guest.host_maintenance
  - module: gce.guest.maintenance_info
  - name: Monitor and plan for a host maintenance event
    description: What Google says about it.
    link: https://cloud.google.com/compute/docs/instances/monitor-plan-host-maintenance-event
"""

EXAMPLES = r"""
- name: Find the windows of the next week
  gce.guest.fleet_maintenance_info:
    within: 7d
    filter: labels.env = prod
  register: maintenance

- name: Show them, the next one first
  ansible.builtin.debug:
    msg: "{{ item.window_start_time }} {{ item.zone }}/{{ item.name }}"
  loop: "{{ maintenance.windows }}"

- name: See to it that nothing was left out
  ansible.builtin.assert:
    that: maintenance.complete
"""

RETURN = r"""
windows:
  description: An entry for each instance that has a window announced, sorted by when it begins.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The instance.
      type: str
      returned: success
      sample: db-1
    zone:
      description: Its zone.
      type: str
      returned: success
      sample: us-central1-a
    instance_status:
      description: The status of the instance.
      type: str
      returned: success
      sample: RUNNING
    on_host_maintenance:
      description: Whether it is migrated or stopped, V(MIGRATE) or V(TERMINATE).
      type: str
      returned: success
      sample: TERMINATE
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
      description: Whether M(gce.guest.host_maintenance) can perform it before its window. V(null) if unknown.
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
    starts_in:
      description: In how many seconds the window begins. V(0) if it has begun, V(null) if the API does not say.
      type: int
      returned: success
      sample: 86400
window_count:
  description:
    - How many windows are announced for the instances that were looked at, with those that O(within) leaves out.
  returned: success
  type: int
  sample: 7
next_window_start_time:
  description: When the first of the windows begins that O(within) leaves out. V(null) if it leaves out none.
  returned: success
  type: str
  sample: "2026-12-08T10:00:00Z"
instance_count:
  description: How many instances were looked at, which are those of O(zone) and O(filter), or all.
  returned: success
  type: int
  sample: 412
complete:
  description: Whether all zones could be reached. What is missing otherwise is in a warning and in RV(unreachables).
  returned: success
  type: bool
  sample: true
unreachables:
  description: Scopes, such as zones, of which nothing is known.
  returned: success
  type: list
  elements: str
  sample: []
"""

import time
from collections.abc import Callable

from ansible_collections.gce.guest.plugins.module_utils._compute.fleet_maintenance import (
    FIELDS,
    is_near,
    seconds_of,
    windows_of,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import listed
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
from ansible_collections.gce.guest.plugins.module_utils._module.targets import refuse_empty


def main(now: Callable[[], float] = time.time) -> None:
    spec = ArgumentSpec({"zone": {"type": "str"}, "filter": {"type": "str"}, "within": {"type": "str"}})
    module = spec.update(API_ARGSPEC).create_module(kind=ApiModule)
    params = module.params
    with failing(module, *API_ERRORS):
        refuse_empty(params)
        within = None if params["within"] is None else seconds_of(params["within"])
        with compute_api(module) as api:
            instances = list(listed(api, params["zone"], FIELDS, params["filter"]))
        announced = windows_of(instances, now=now())
        later = [row for row in announced if not is_near(row, within)]
        module.exit_json(
            changed=False,
            windows=[row for row in announced if is_near(row, within)],
            window_count=len(announced),
            next_window_start_time=later[0]["window_start_time"] if later else None,
            instance_count=len(instances),
            complete=not api.warnings,
            unreachables=api.unreachables,
        )


if __name__ == "__main__":
    main()
