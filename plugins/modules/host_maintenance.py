#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_maintenance
short_description: Simulate or perform host maintenance, or report a faulty host
version_added: 0.1.0
description:
  - Simulates host maintenance of instances, to test how they cope with it, or starts announced maintenance at a
    convenient time, and waits until it ends.
  - It also works for the nodes of sole-tenant node groups, and announced maintenance for reservations with their blocks
    and sub-blocks.
  - Depending on its scheduling, an instance is live-migrated, or stopped and restarted. A Spot VM is preempted.
  - What is not possible is reported before anything is sent, and in check mode.
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
      - With V(simulate), maintenance of the host is simulated, for instances and nodes. This is not idempotent.
      - With V(perform), announced maintenance starts now instead of in its window. This is only possible while the
        maintenance can be rescheduled.
      - With V(report_faulty), the hosts of the instances are reported as faulty. This is for instances with
        accelerators, and requires O(disruption), O(faults) and O(confirm). It is not idempotent.
      - Google documents that maintenance cannot be simulated for H4D, A4, A4X and A3 Ultra. The module warns of them,
        and the API decides.
    type: str
    choices: [simulate, perform, report_faulty]
    required: true
  zone:
    description:
      - The zone of the instances, as a name, as C(projects/PROJECT/zones/ZONE), which is the form of the metadata
        server, or as a URL. By default, instances are looked up in all zones.
      - Required with O(node_group) and O(reservation).
    type: str
  node_group:
    description: A sole-tenant node group, instead of instances. Not for O(action=report_faulty).
    type: str
    version_added: 0.2.0
  nodes:
    description:
      - The nodes of the O(node_group).
      - By default, all nodes with O(action=simulate), and all nodes for which maintenance can be performed with
        O(action=perform). An empty list selects none.
    type: list
    version_added: 0.2.0
    elements: str
  reservation:
    description: A reservation, instead of instances. Only for O(action=perform).
    type: str
    version_added: 0.2.0
  block:
    description: Only this block of the O(reservation).
    type: str
    version_added: 0.2.0
  sub_block:
    description: Only this sub-block of the O(block).
    type: str
    version_added: 0.2.0
  scope:
    description: >-
      Which hosts of the O(reservation) or O(block) are maintained, V(all), those with V(running) instances, or the
      V(unused) ones.
    type: str
    version_added: 0.2.0
    choices: [all, running, unused]
    default: all
  disruption:
    description:
      - When the platform stops the instances of a faulty host, V(immediate) or later in a maintenance window.
      - Required with O(action=report_faulty).
    type: str
    version_added: 0.2.0
    choices: [immediate, future]
  faults:
    description: What is wrong with the host. Required with O(action=report_faulty).
    type: list
    version_added: 0.2.0
    elements: dict
    suboptions:
      behavior:
        description: The kind of fault.
        type: str
        choices: [chip_error, performance, silent_data_corruption, unrecoverable_gpu_error]
        required: true
      description:
        description: A description for Google.
        type: str
  confirm:
    description: Must be V(true) for O(action=report_faulty), which stops instances and has their host repaired.
    type: bool
    version_added: 0.2.0
    default: false
  on_missing:
    description:
      - With O(action=perform), whether it is an error if no maintenance can be performed for an instance, a node or a
        reservation, or whether it is left alone, with or without a warning.
      - With V(skip), a second run changes nothing.
    type: str
    choices: [error, warn, skip]
    default: error
  wait:
    description: Whether to wait until the maintenance ends.
    type: bool
    default: true
  timeout:
    description:
      - Seconds to wait for one instance or group, including retries while there is temporarily no host to migrate to.
      - An instance that is stopped for maintenance gets an hour's notice first. Maintenance in progress is not
        cancelled when the time is over.
    type: float
    default: 7200.0
notes:
  - Required permissions are C(compute.instances.simulateMaintenanceEvent), C(compute.instances.performMaintenance) or
    C(compute.instances.reportHostAsFaulty), C(compute.instances.get) or C(compute.instances.list), and
    C(compute.zoneOperations.get). For node groups they are C(compute.nodeGroups.get) and
    C(compute.nodeGroups.simulateMaintenanceEvent) or C(compute.nodeGroups.performMaintenance), for reservations
    C(compute.reservations.get) and C(compute.reservations.performMaintenance), and the same for
    C(compute.reservationBlocks) and C(compute.reservationSubBlocks).
  - All selected instances go through their maintenance at the same time, up to O(concurrency). For one after the other,
    set it to V(1), or use a loop.
seealso:
  - module: gce.guest.fleet_maintenance_info
  - module: gce.guest.scheduling
  - module: gce.guest.maintenance_info
  - name: Simulating a host maintenance event
    description: Google's documentation of simulated maintenance.
    link: https://cloud.google.com/compute/docs/instances/simulating-host-maintenance
"""

EXAMPLES = r"""
- name: Test how an instance copes with host maintenance
  gce.guest.host_maintenance:
    action: simulate
    instance: web-1
    zone: us-central1-a

- name: Perform announced maintenance, one instance after the other
  gce.guest.host_maintenance:
    action: perform
    filter: labels.env = prod
    on_missing: skip
    concurrency: 1

- name: Perform announced maintenance of all nodes of a sole-tenant node group
  gce.guest.host_maintenance:
    action: perform
    node_group: licensed
    zone: us-central1-a
    on_missing: skip

- name: Perform announced maintenance of the unused hosts of a block
  gce.guest.host_maintenance:
    action: perform
    reservation: train
    block: train-block-0001
    scope: unused
    zone: us-central1-a
    on_missing: skip

- name: Preview a simulation
  gce.guest.host_maintenance:
    action: simulate
    instances:
      - us-central1-a/web-1
      - europe-west1-b/db-1
  check_mode: true
  register: predicted

- name: Show the event that each instance would see
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.event }}"
  loop: "{{ predicted.instances }}"

- name: Have a broken GPU host replaced now
  gce.guest.host_maintenance:
    action: report_faulty
    instance: gpu-1
    zone: us-central1-a
    disruption: immediate
    faults:
      - behavior: unrecoverable_gpu_error
        description: XID 79 on GPU 3
    confirm: true
"""

RETURN = r"""
instances:
  description: The result for each instance. Empty for node groups and reservations.
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
      description: Whether its host was maintained or reported, or would be in check mode.
      type: bool
      returned: success
      sample: true
    failed:
      description: Whether the action failed.
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
      description: The event that the instance sees, V(migrate), V(terminate), V(preempt) or V(window).
      type: str
      returned: success
      sample: migrate
    window:
      description: The maintenance that had been announced for the instance. V(null) if none was.
      type: dict
      version_added: 0.2.0
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
      description: The operation of the API. V(null) without one.
      type: str
      returned: success
      sample: operation-1619221279356-5c0ac552b379f-4c936f4c-587403ae
    retries:
      description: How often it was tried again while there was temporarily no host to migrate to.
      type: int
      returned: success
      sample: 0
group:
  description: The result for a node group or a reservation. V(null) for instances.
  returned: success, and when it failed
  type: dict
  version_added: 0.2.0
  contains:
    kind:
      description: V(node_group), V(reservation), V(reservation_block) or V(reservation_sub_block).
      type: str
      returned: success
      sample: node_group
    name:
      description: The name of the node group, the reservation, the block or the sub-block.
      type: str
      returned: success
      sample: licensed
    zone:
      description: Its zone.
      type: str
      returned: success
      sample: us-central1-a
    changed:
      description: Whether its hosts were maintained, or would be in check mode.
      type: bool
      returned: success
      sample: true
    failed:
      description: Whether the action failed.
      type: bool
      returned: success
      sample: false
    msg:
      description: Why it failed, or why all or some nodes were left alone.
      type: str
      returned: when there is a reason
      sample: "licensed-2: no maintenance is announced for it."
    nodes:
      description: The nodes of the node group that were maintained, or would be. Empty for reservations.
      type: list
      elements: str
      returned: success
      sample: [licensed-1]
    window:
      description: >-
        The announced window as in RV(instances[].window), of a node group the earliest one of these nodes. V(null)
        without one.
      type: dict
      returned: success
      sample: null
    operation:
      description: The operation of the API. V(null) without one.
      type: str
      returned: success
      sample: operation-1619221279356-5c0ac552b379f-4c936f4c-587403ae
    retries:
      description: How often it was tried again while there was temporarily no host to migrate to.
      type: int
      returned: success
      sample: 0
unreachables:
  description: Zones that the API could not list. Their instances were not found.
  returned: success, and when some instances failed
  type: list
  elements: str
  sample: []
"""

from dataclasses import dataclass, replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._compute.api import REAL_TIME, ComputeApi, Time
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest
from ansible_collections.gce.guest.plugins.module_utils._compute.host_groups import (
    SCOPES,
    plan_nodes,
    plan_reservation,
    reservation_path,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.host_maintenance import (
    FAULTS,
    FIELDS,
    FUTURE,
    IMMEDIATE,
    PERFORM,
    REPORT_FAULTY,
    SIMULATE,
    Maintenance,
    announced,
    effect,
    failure,
    fault_report,
    maintain,
    obstacle,
    plan_instance,
    simulation_warning,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import path_of, zone_named
from ansible_collections.gce.guest.plugins.module_utils._compute.resource_names import checked_name
from ansible_collections.gce.guest.plugins.module_utils._module.api import (
    API_ARGSPEC,
    API_ERRORS,
    ApiModule,
    compute_api,
)
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import ArgumentSpec, failing
from ansible_collections.gce.guest.plugins.module_utils._module.targets import (
    INSTANCES_ARGSPEC,
    InstanceTarget,
    Target,
    apply_each,
    checked_result,
    instance_targets,
    instances_result,
    missing_rows,
    one_selection,
    plan_each,
    refuse_empty,
    selected,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import Window, window_document


@dataclass
class GroupTarget(Target[Maintenance]):
    kind: str
    # Below projects/PROJECT/.
    path: str


def main(time: Time = REAL_TIME) -> None:
    fault = {"behavior": {"type": "str", "choices": list(FAULTS), "required": True}, "description": {"type": "str"}}
    spec = ArgumentSpec(
        {
            "action": {"type": "str", "choices": [SIMULATE, PERFORM, REPORT_FAULTY], "required": True},
            "node_group": {"type": "str"},
            "nodes": {"type": "list", "elements": "str"},
            "reservation": {"type": "str"},
            "block": {"type": "str"},
            "sub_block": {"type": "str"},
            "scope": {"type": "str", "choices": list(SCOPES), "default": "all"},
            "disruption": {"type": "str", "choices": [IMMEDIATE, FUTURE]},
            "faults": {"type": "list", "elements": "dict", "options": fault},
            "confirm": {"type": "bool", "default": False},
            "on_missing": {"type": "str", "choices": ["error", "warn", "skip"], "default": "error"},
            "wait": {"type": "bool", "default": True},
            "timeout": {"type": "float", "default": 7200.0},
        },
        required_by={
            "node_group": ["zone"],
            "nodes": ["node_group"],
            "reservation": ["zone"],
            "block": ["reservation"],
            "sub_block": ["block"],
        },
        required_if=[("action", REPORT_FAULTY, ["disruption", "faults"])],
    )
    conditions = one_selection("node_group", "reservation", required=True)
    module = spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **conditions).create_module(kind=ApiModule)
    with failing(module, *API_ERRORS):
        refuse_empty(module.params)
        check_action(module)
        is_group = module.params["node_group"] is not None or module.params["reservation"] is not None
        with compute_api(module, time) as api:
            result = maintain_group(module, api) if is_group else maintain_instances(module, api)
        module.exit_json(**result)


def check_action(module: ApiModule) -> None:
    params = module.params
    for name in sorted(module.nulls.intersection(("nodes", "block", "sub_block"))):
        # An undefined variable must not select the whole node group or reservation.
        raise ComputeBadRequest(f"{name} is null. Omit it to maintain all hosts, or give a value.")
    action, group = params["action"], "node_group" if params["node_group"] is not None else "reservation"
    if action == REPORT_FAULTY and not params["faults"]:
        raise ComputeBadRequest("faults is empty. Give at least one fault of the host.")
    if action == REPORT_FAULTY and not params["confirm"]:
        raise ComputeBadRequest(
            "Reporting a host as faulty stops its instances and has it repaired. If that is intended, set confirm=true."
        )
    if action != REPORT_FAULTY and (params["faults"] is not None or params["disruption"] is not None):
        raise ComputeBadRequest(f"faults and disruption are for action=report_faulty, and the action is {action}.")
    if params["reservation"] is None and params["scope"] != "all":
        raise ComputeBadRequest("scope applies to reservations and blocks. Omit it for instances and node groups.")
    if params[group] is None:
        return
    if action == REPORT_FAULTY or (action == SIMULATE and group == "reservation"):
        raise ComputeBadRequest(f"action={action} is not possible for a {group.replace('_', ' ')}.")
    if params["sub_block"] is not None and params["scope"] != "all":
        raise ComputeBadRequest("scope applies to reservations and blocks. Omit it for a sub_block.")


# Instances


def maintain_instances(module: AnsibleModule, api: ComputeApi) -> dict[str, Any]:
    params, action = module.params, module.params["action"]
    report = fault_report(params["disruption"], params["faults"]) if action == REPORT_FAULTY else {}

    def plan(target: InstanceTarget[Maintenance]) -> Maintenance:
        path = path_of(target.instance)
        planned = accepted(module, api, path, plan_instance(target.instance, action, report))
        why = obstacle(target.instance) if planned.changed else None
        if why is not None:
            raise failure(api, path, action, why)
        warning = simulation_warning(target.instance) if action == SIMULATE else None
        if warning is not None:
            module.warn(warning)
        return planned

    def apply(target: InstanceTarget[Maintenance], bounded: ComputeApi) -> Maintenance | None:
        return target.plan and maintain(bounded, path_of(target.instance), action, target.plan, wait=params["wait"])

    selection = selected(params, api, FIELDS)
    targets: list[InstanceTarget[Maintenance]] = instance_targets(selection.instances)
    plan_each(targets, plan)
    apply_each(module, api, targets, apply)
    missing = {"event": None, "window": None, "operation": None, "retries": 0}
    rows = [
        *(
            row_of(target, announced(target.instance), event=effect(target.instance, action, report))
            for target in targets
        ),
        *missing_rows(selection.failures, changed=False, **missing),
    ]
    return instances_result(api, rows, group=None)


# Node groups and reservations


def maintain_group(module: AnsibleModule, api: ComputeApi) -> dict[str, Any]:
    params, action = module.params, module.params["action"]
    target = group_target(module, api)

    def plan(target: GroupTarget) -> Maintenance:
        if target.kind == "node_group":
            return accepted(module, api, target.path, plan_nodes(api, target.path, params["nodes"], action))
        return accepted(module, api, target.path, plan_reservation(api, target.path, params["scope"]))

    def apply(target: GroupTarget, bounded: ComputeApi) -> Maintenance | None:
        return target.plan and maintain(bounded, target.path, action, target.plan, wait=params["wait"])

    plan_each([target], plan)
    apply_each(module, api, [target], apply)
    window, nodes = (target.plan.window, list(target.plan.nodes)) if target.plan else (None, [])
    row = row_of(target, window, kind=target.kind, nodes=nodes)
    result = {"changed": target.changed, "instances": [], "group": row, "unreachables": api.unreachables}
    return checked_result(result, [row])


def group_target(module: AnsibleModule, api: ComputeApi) -> GroupTarget:
    params = module.params
    zone = zone_named(api, params["zone"])
    options = ("node_group", "reservation", "block", "sub_block")
    names = {option: checked_name(option, params[option]) for option in options if params[option] is not None}
    # The innermost resource is the last one.
    option, name = list(names.items())[-1]
    if option == "node_group":
        return GroupTarget(name, zone, option, f"zones/{zone}/nodeGroups/{name}")
    path = reservation_path(zone, names["reservation"], names.get("block"), names.get("sub_block"))
    return GroupTarget(name, zone, option if option == "reservation" else f"reservation_{option}", path)


# Both


def accepted(module: AnsibleModule, api: ComputeApi, path: str, plan: Maintenance) -> Maintenance:
    """A plan whose problem, if it has one, `on_missing` accepts. Raises ComputeBadRequest otherwise."""
    if plan.problem is None:
        return plan
    error = failure(api, path, module.params["action"], plan.problem)
    if module.params["on_missing"] == "error":
        raise error
    if module.params["on_missing"] == "warn":
        module.warn(str(error))
    return replace(plan, problem=str(error))


def row_of(target: Target[Maintenance], window: Window | None, **details: Any) -> dict[str, Any]:
    done = target.done
    row = target.row(
        **details,
        window=window_document(window) if window else None,
        operation=done.operation if done else None,
        retries=done.retries if done else 0,
    )
    return row if done is None or done.problem is None else {**row, "msg": done.problem}


if __name__ == "__main__":
    main()
