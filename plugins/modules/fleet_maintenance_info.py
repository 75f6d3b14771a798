#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_maintenance_info
short_description: List announced and past host maintenance in a project
version_added: 0.1.0
description:
  - Lists the maintenance windows that are announced for instances, for the nodes of sole-tenant node groups, and for
    reservations with their blocks and sub-blocks. They are sorted by time, the next one first.
  - With O(history), also lists what the platform did to instances, such as migrations, preemptions and host errors.
  - Only the necessary fields are requested, with one list over all zones for each kind of resource. Node groups and
    reservations with blocks take one more request each.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.info_module
  - gce.guest._attributes.actiongroup_api
  - gce.guest._api
options:
  zone:
    description: Only resources in this zone.
    type: str
  filter:
    description:
      - Only instances that match this filter expression of the API, such as V(labels.env = prod).
      - It does not apply to node groups and reservations, which are then only listed if they are in O(kinds).
    type: str
  kinds:
    description:
      - The kinds of resources to list.
      - A kind without the permission to read it leads to a warning. The module only fails if this applies to all kinds.
      - Defaults to all of them, and to V(instance) with a O(filter).
    type: list
    version_added: 0.2.0
    elements: str
    choices: [instance, node_group, reservation]
  within:
    description:
      - Only windows that have started, or start within this time from now, such as V(90m), V(36h), V(7d), V(2w) or a
        number of seconds.
    type: str
  history:
    description:
      - Also list what the platform did to instances within this time before now, such as V(7d).
      - It covers the instances that match O(zone) and O(filter). The API keeps operations for a limited time only.
    type: str
    version_added: 0.2.0
notes:
  - Required permissions are C(compute.instances.list), for node groups C(compute.nodeGroups.list) and
    C(compute.nodeGroups.get), for reservations C(compute.reservations.list), C(compute.reservationBlocks.list) and
    C(compute.reservationSubBlocks.list), and for O(history) C(compute.zoneOperations.list) or, without O(zone),
    C(compute.globalOperations.list).
  - Windows are only announced for some machine types, such as C3, C3D, Z3, X4, and those with GPUs or TPUs. Others are
    migrated without one.
seealso:
  - module: gce.guest.host_maintenance
  - module: gce.guest.maintenance_info
  - name: Monitor and plan for a host maintenance event
    description: Google's documentation of maintenance windows.
    link: https://cloud.google.com/compute/docs/instances/monitor-plan-host-maintenance-event
"""

EXAMPLES = r"""
- name: List the windows of the next week
  gce.guest.fleet_maintenance_info:
    within: 7d
  register: maintenance

- name: Show them, the next one first
  ansible.builtin.debug:
    msg: "{{ item.window_start_time }} {{ item.kind }} {{ item.zone }}/{{ item.name }}"
  loop: "{{ maintenance.windows }}"

- name: Fail if the list is incomplete
  ansible.builtin.assert:
    that: maintenance.complete

- name: List what the platform did to production in the last week
  gce.guest.fleet_maintenance_info:
    filter: labels.env = prod
    history: 7d
  register: past

- name: Show it, the latest first
  ansible.builtin.debug:
    msg: "{{ item.time }} {{ item.event }} {{ item.zone }}/{{ item.name }}"
  loop: "{{ past.history }}"
"""

RETURN = r"""
windows:
  description: The announced windows, one for each resource that has one, sorted by their start.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: >-
        The kind of resource, V(instance), V(node), V(reservation), V(reservation_block) or V(reservation_sub_block).
      type: str
      returned: success
      sample: instance
    name:
      description: The name of the resource.
      type: str
      returned: success
      sample: db-1
    zone:
      description: Its zone.
      type: str
      returned: success
      sample: us-central1-a
    node_group:
      description: The node group of a node, as for M(gce.guest.host_maintenance). V(null) for other kinds.
      type: str
      returned: success
      sample: null
    reservation:
      description: The reservation, for this kind, blocks and sub-blocks. V(null) for other kinds.
      type: str
      returned: success
      sample: null
    block:
      description: The block, for blocks and sub-blocks. V(null) for other kinds.
      type: str
      returned: success
      sample: null
    sub_block:
      description: The sub-block. V(null) for other kinds.
      type: str
      returned: success
      sample: null
    instances:
      description: The names of the instances on a node. V(null) for other kinds.
      type: list
      elements: str
      returned: success
      sample: null
    pending_count:
      description: How many hosts have pending maintenance, for reservations and their parts. V(null) for other kinds.
      type: int
      returned: success
      sample: null
    ongoing_count:
      description: How many of them are being maintained. V(null) for other kinds.
      type: int
      returned: success
      sample: null
    id:
      description: The ID of an instance, as a string, because it can exceed 53 bits. V(null) for other kinds.
      type: str
      returned: success
      sample: "5946112923145563472"
    instance_status:
      description: The status of an instance. V(null) for other kinds.
      type: str
      returned: success
      sample: RUNNING
    on_host_maintenance:
      description: Whether an instance is migrated or stopped, V(MIGRATE) or V(TERMINATE). V(null) for other kinds.
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
      description: Seconds until the window starts. V(0) if it has started, V(null) if unknown.
      type: int
      returned: success
      sample: 86400
window_count:
  description:
    - How many windows are announced, including those that O(within) leaves out.
  returned: success
  type: int
  version_added: 0.2.0
  sample: 7
next_window_start_time:
  description: When the first window starts that O(within) leaves out. V(null) if it leaves out none.
  returned: success
  type: str
  version_added: 0.2.0
  sample: "2026-12-08T10:00:00Z"
instance_count:
  description: How many instances match O(zone) and O(filter). V(0) if O(kinds) excludes instances.
  returned: success
  type: int
  version_added: 0.2.0
  sample: 412
complete:
  description:
    - Whether all zones and kinds could be read. Otherwise, warnings, RV(unreachables) and RV(denied) list what is
      missing.
  returned: success
  type: bool
  sample: true
unreachables:
  description: Zones that the API could not list.
  returned: success
  type: list
  elements: str
  sample: []
denied:
  description: The kinds, and V(history), that could not be read for lack of a permission, and why.
  returned: success
  type: dict
  version_added: 0.2.0
  sample: {}
history:
  description: What the platform did to instances, the latest first. V(null) without O(history).
  returned: success
  type: list
  version_added: 0.2.0
  elements: dict
  contains:
    time:
      description: When it started, as RFC 3339 in UTC.
      type: str
      returned: success
      sample: "2026-11-24T03:12:45Z"
    event:
      description: >-
        The event, V(migrateOnHostMaintenance), V(terminateOnHostMaintenance), V(hostError), V(preempted),
        V(automaticRestart) or V(guestTerminate).
      type: str
      returned: success
      sample: hostError
    name:
      description: The instance.
      type: str
      returned: success
      sample: web-1
    zone:
      description: Its zone.
      type: str
      returned: success
      sample: us-central1-a
    message:
      description: The API's message. V(null) if it has none.
      type: str
      returned: success
      sample: Instance terminated by Compute Engine.
"""

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest, PermissionDenied
from ansible_collections.gce.guest.plugins.module_utils._compute.fleet_maintenance import (
    KINDS,
    Fleet,
    history,
    is_near,
    read_fleet,
    seconds_of,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import zone_named
from ansible_collections.gce.guest.plugins.module_utils._module.api import (
    API_ARGSPEC,
    API_ERRORS,
    ApiModule,
    compute_api,
)
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import ArgumentSpec, failing
from ansible_collections.gce.guest.plugins.module_utils._module.targets import refuse_empty

TITLES = {
    "instance": "instances",
    "node_group": "node groups",
    "reservation": "reservations",
    "history": "past events",
}


def main(now: Callable[[], float] = time.time) -> None:
    spec = ArgumentSpec(
        {
            "zone": {"type": "str"},
            "filter": {"type": "str"},
            "kinds": {"type": "list", "elements": "str", "choices": list(KINDS)},
            "within": {"type": "str"},
            "history": {"type": "str"},
        }
    )
    module = spec.update(API_ARGSPEC).create_module(kind=ApiModule)
    params = module.params
    with failing(module, *API_ERRORS):
        refuse_empty(params)
        within = None if params["within"] is None else seconds_of(params["within"], "within")
        age = None if params["history"] is None else seconds_of(params["history"], "history")
        kinds = params["kinds"] or (["instance"] if params["filter"] is not None else KINDS)
        if age is not None and params["filter"] is not None and "instance" not in kinds:
            raise ComputeBadRequest("history with a filter needs the instances. Add instance to kinds, or omit filter.")
        with compute_api(module) as api:
            zone = None if params["zone"] is None else zone_named(api, params["zone"])
            fleet = read_fleet(api, kinds, zone, params["filter"])
            past = None
            if age is not None:
                past = past_events(api, zone, now() - age, fleet)
                if params["filter"] is not None:
                    names = set(fleet.instances)
                    past = [row for row in past if f"{row['zone']}/{row['name']}" in names]
        for kind, error in fleet.denied.items():
            module.warn(f"The list of {TITLES[kind]} is incomplete. {error}")
        rows = fleet.rows(now())
        later = [row for row in rows if not is_near(row, within)]
        module.exit_json(
            changed=False,
            windows=[row for row in rows if is_near(row, within)],
            window_count=len(rows),
            next_window_start_time=later[0]["window_start_time"] if later else None,
            instance_count=len(fleet.instances),
            complete=not api.warnings and not fleet.denied,
            unreachables=api.unreachables,
            denied={kind: str(error) for kind, error in fleet.denied.items()},
            history=past,
        )


def past_events(api: ComputeApi, zone: str | None, since: float, fleet: Fleet) -> list[dict[str, Any]]:
    try:
        return history(api, zone, since)
    except PermissionDenied as error:
        fleet.denied["history"] = error
        return []


if __name__ == "__main__":
    main()
