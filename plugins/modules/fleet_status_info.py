#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_status_info
short_description: Show the state of the maintenance handler on all VMs of a project
version_added: 0.2.0
description:
  - For each instance, returns the state and the version of its maintenance handler, whether it is in service, the next
    event that can reach it, its announced maintenance window, and its last incident.
  - The state is read from the guest attribute C(maintenance-handler/status), with one request for each running instance
    whose guest attributes are not disabled. Everything else comes from two lists.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.info_module
  - gce.guest._attributes.actiongroup_api
  - gce.guest._api
options:
  zone:
    description: Only instances in this zone.
    type: str
  filter:
    description: Only instances that match this filter expression of the API, such as V(labels.env = prod).
    type: str
  history:
    description:
      - How far to look back for events of the platform, such as host errors and migrations, for example V(36h) or
        V(7d). With V(0), they are not listed.
    type: str
    default: 14d
notes:
  - Required permissions are C(compute.instances.list), C(compute.instances.getGuestAttributes) and, for O(history),
    C(compute.zoneOperations.list) or, without O(zone), C(compute.globalOperations.list).
  - At the default O(requests_per_minute), 3,000 instances take two and a half minutes. On a local connection,
    progress is shown meanwhile.
  - Any process on a VM can write its guest attributes.
seealso:
  - module: gce.guest.fleet_maintenance_info
  - module: gce.guest.guest_attributes_info
"""

EXAMPLES = r"""
- name: Read the state of production
  gce.guest.fleet_status_info:
    filter: labels.env = prod
  register: fleet

- name: Show what is out of service
  ansible.builtin.debug:
    msg: "{{ fleet.instances | selectattr('in_service', 'false') | map(attribute='name') }}"

- name: Fail if a handler needs attention
  ansible.builtin.assert:
    that: fleet.counts.groups.attention == 0
"""

RETURN = r"""
instances:
  description: The instances, those that need attention first.
  returned: success
  type: list
  elements: dict
  contains:
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
    instance_status:
      description: Its status in the API.
      type: str
      returned: success
      sample: RUNNING
    machine_type:
      description: Its machine type.
      type: str
      returned: success
      sample: n2-standard-4
    group:
      description:
        - V(attention) for the states V(not restored), V(stale), V(stopped) and V(unreadable).
        - V(out of service) for V(draining), V(drained) and V(restoring).
        - V(announced) for this state, and V(in service) for V(idle).
        - V(no status) for V(no handler), V(guest attributes disabled), V(denied) and V(failed).
        - V(not running) for this state.
      type: str
      returned: success
      sample: in service
    state:
      description:
        - The state that the handler has reported, V(idle), V(announced), V(draining), V(drained), V(restoring),
          V(not restored), or V(stopped).
        - V(stale) if the report is from before the last start of the instance, or more than 15 minutes overdue.
        - V(unreadable) if the guest attribute is not a report of a handler.
        - V(no handler) if there is no report, V(guest attributes disabled) if there cannot be one.
        - V(denied) if reading the guest attribute is not allowed, V(failed) if it failed.
        - V(not running) if the instance does not run.
      type: str
      returned: success
      sample: idle
    since:
      description: The time of the report or, for V(stale), since when there is none. RFC 3339, or V(null) if unknown.
      type: str
      returned: success
      sample: "2026-11-26T18:20:00Z"
    reason:
      description: >-
        The events, the drained tasks, who has drained it by hand and why, or why the state is not known. May be empty.
      type: str
      returned: success
      sample: "terminate; drained: Leave the load balancer"
    in_service:
      description: Whether the instance runs and nothing is drained on it. V(null) if unknown.
      type: bool
      returned: success
      sample: true
    handler:
      description:
        - The report with its V(version), V(state), V(at) (time), V(every) (seconds between reports), V(rehearsal),
          V(events), V(deadlines) (when each of them begins, as far as it is known), V(held) (drained tasks),
          V(not_restored) (tasks), V(incident) (ID), and V(order) and V(hold) of an operator, or V(null).
        - V(null) if there is none.
      type: dict
      returned: success
      sample: {version: 0.1.0, state: idle}
    next_event:
      description:
        - The event that is announced or, otherwise, the one with the shortest notice that can reach the instance, with
          V(event), V(announced), V(possible) (V(null) if unknown), V(notice) (seconds, V(null) if unknown) and
          V(reason).
        - The notice of an announced event is the time until it begins. It is V(null) if the handler has not reported
          it, as with earlier versions, unless the API shows the window.
        - V(null) if no event with a notice can reach it, or if it does not run.
      type: dict
      returned: success
      sample: {event: migrate, announced: false, possible: true, notice: 60}
    window:
      description: The announced maintenance window, with the fields of RV(windows) about it. V(null) if there is none.
      type: dict
      returned: success
      sample: null
    last_incident:
      description: >-
        The last closed incident of the handler, with V(id), V(event), V(rehearsal), V(opened_at), V(ended_at) and
        V(outcome), which is V(ok), V(drain failed), V(not restored) or V(nothing run). V(null) if unknown.
      type: dict
      returned: success
      sample: {event: migrate, outcome: ok}
    last_host_event:
      description: >-
        The last event of the platform within O(history), with V(time), V(event) and V(message), as in
        M(gce.guest.fleet_maintenance_info). V(null) if there is none.
      type: dict
      returned: success
      sample: null
counts:
  description: >-
    How many V(instances) there are, how many of them are V(in_service), V(out_of_service) and V(unknown), how many
    V(windows) are announced, and how many instances are in each of the V(groups) and V(states).
  returned: success
  type: dict
  sample: {instances: 412, in_service: 405, out_of_service: 3, unknown: 4}
windows:
  description: >-
    The announced windows, the next one first, with the fields of RV(gce.guest.fleet_maintenance_info#module:windows).
  returned: success
  type: list
  elements: dict
  sample: []
table:
  description: >-
    The instances as text, for a table, with V(columns), and V(groups), each with V(name) and V(rows).
  returned: success
  type: dict
  sample: {columns: [INSTANCE, ZONE], groups: [{name: in service, rows: [[web-1, us-central1-a]]}]}
time:
  description: When the instances were read, as RFC 3339 in UTC.
  returned: success
  type: str
  sample: "2026-11-26T18:20:00Z"
complete:
  description: Whether all zones and past events could be listed. Otherwise, warnings tell what is missing.
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
  description: V(history), if past events could not be listed for lack of a permission, and why.
  returned: success
  type: dict
  sample: {}
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.gce.guest.plugins.module_utils._compute.api import REAL_TIME, ComputeApi, Time
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import (
    ComputeNotFound,
    PermissionDenied,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.fleet_maintenance import (
    Announcement,
    history,
    of_instance,
    seconds_of,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.fleet_status import (
    DENIED,
    FAILED,
    FIELDS,
    KEY,
    NAMESPACE,
    counts,
    may_have_status,
    order,
    row_of,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.fleet_table import table
from ansible_collections.gce.guest.plugins.module_utils._compute.guest_attributes import Attributes, query_path, read
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import select, zone_named, zone_of
from ansible_collections.gce.guest.plugins.module_utils._module.api import (
    API_ARGSPEC,
    API_ERRORS,
    ApiModule,
    compute_api,
)
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import ArgumentSpec, failing
from ansible_collections.gce.guest.plugins.module_utils._module.targets import refuse_empty
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import format_time

Instance = Mapping[str, Any]


def main(now: Callable[[], float] = time.time, api_time: Time = REAL_TIME) -> None:
    spec = ArgumentSpec(
        {"zone": {"type": "str"}, "filter": {"type": "str"}, "history": {"type": "str", "default": "14d"}}
    )
    module = spec.update(API_ARGSPEC).create_module(kind=ApiModule)
    params = module.params
    with failing(module, *API_ERRORS):
        refuse_empty(params)
        age = seconds_of(params["history"], "history")
        denied: dict[str, str] = {}
        with compute_api(module, api_time) as api:
            zone = None if params["zone"] is None else zone_named(api, params["zone"])
            instances = select(api, expression=params["filter"], zone=zone, fields=FIELDS).instances
            try:
                host_events = last_events(api, zone, now() - age) if age else {}
            except PermissionDenied as error:
                denied["history"], host_events = str(error), {}
                module.warn(f"The list of past events is incomplete. {error}")
            outcomes = statuses(api, instances)
        time_read = now()
        rows = rows_of(instances, outcomes, host_events, time_read)
        warn_of_unread(module, rows)
        windows = sorted((window for instance in instances for window in of_instance(instance)), key=Announcement.order)
        module.exit_json(
            changed=False,
            instances=rows,
            counts=counts(rows),
            windows=[window.row(time_read) for window in windows],
            table=table(rows),
            time=format_time(time_read),
            complete=not api.warnings and not denied,
            unreachables=api.unreachables,
            denied=denied,
        )


def last_events(api: ComputeApi, zone: str | None, since: float) -> dict[tuple[str, str], dict[str, Any]]:
    """The last event of the platform for each instance, by zone and name."""
    # The latest is the first, and the last one in a dictionary.
    return {(event["zone"], event["name"]): event for event in reversed(history(api, zone, since))}


def statuses(api: ComputeApi, instances: Sequence[Instance]) -> list[Any]:
    """For each instance its attributes, an error, or None if it was not asked."""
    path = query_path(NAMESPACE, KEY)

    def ask(instance: Instance) -> Attributes:
        return read(api, instance, path)

    asked = [instance for instance in instances if may_have_status(instance)]
    outcomes = iter(api.each(asked, ask, requests=1))
    return [next(outcomes) if may_have_status(instance) else None for instance in instances]


def rows_of(
    instances: Sequence[Instance],
    outcomes: Sequence[Any],
    host_events: Mapping[tuple[str, str], Mapping[str, Any]],
    time_read: float,
) -> list[dict[str, Any]]:
    """The rows in their order, without instances that were deleted after the list."""
    return sorted(
        (
            row_of(instance, outcome, host_events.get((zone_of(instance), instance["name"])), time_read)
            for instance, outcome in zip(instances, outcomes)
            if not isinstance(outcome, ComputeNotFound)
        ),
        key=order,
    )


def warn_of_unread(module: ApiModule, rows: Sequence[Mapping[str, Any]]) -> None:
    unread = [row for row in rows if row["state"] in (DENIED, FAILED)]
    if unread:
        module.warn(f"The status of {len(unread)} instances could not be read. The first one: {unread[0]['reason']}")


if __name__ == "__main__":
    main()
