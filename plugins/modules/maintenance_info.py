#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_info
short_description: Tell what maintenance a VM faces, now and ever
version_added: 0.1.0
description:
  - Tells what the metadata server announces to the VM that this runs on, which are host maintenance, a preemption, or a
    maintenance window.
  - Tells which of these events can ever reach the VM, and why not, or that it is not known. The VM's own policy comes
    first, then what is documented of its machine type. What is announced can reach it.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.info_module
  - gce.guest._attributes.actiongroup_guest
  - gce.guest._guest
options:
  arm_notice:
    description:
      - Whether to ask for V(instance/maintenance-event) by itself.
      - A VM gets the notice of 60 seconds before a live migration only if it has asked for this key, and not just for a
        tree with it in it, since its last event. With V(true), this module does that.
      - With V(false), the module leaves no trace, and the next event comes without a notice if nobody else has asked.
    type: bool
    default: true
notes:
  - GPUs, TPUs and Confidential VMs are looked for among the VM's devices, since the metadata server does not tell. In a
    container, nothing may be found.
  - That a VM is on a sole-tenant node cannot be known from inside. Such a VM is migrated without a notice, and its
    RV(maintenance_event) is V(NONE) all the time.
seealso:
  - name: Monitor and plan for a host maintenance event
    description: What the maintenance window's fields mean.
    link: https://cloud.google.com/compute/docs/instances/monitor-plan-host-maintenance-event
  - module: gce.guest.wait_for_metadata
  - ref: ansible_collections.gce.guest.docsite.guide_maintenance_handler
    description: What hears of these events, and drains and restores the VM.
"""

EXAMPLES = r"""
- name: See what maintenance this VM faces
  gce.guest.maintenance_info:
  register: maintenance

- name: Do not start anything while the VM is about to be moved, stopped or preempted
  ansible.builtin.assert:
    that:
      - maintenance.event is none
      - not maintenance.preempted
    fail_msg: "{{ maintenance.event | default('preemption', true) }} is imminent"

- name: Say when the next window starts
  ansible.builtin.debug:
    msg: "{{ maintenance.window.window_start_time }}"
  when: maintenance.window is not none

- name: Say whether this VM has to be ready for live migrations
  ansible.builtin.debug:
    msg: "{{ 'no' if maintenance.reach.migrate.possible is false else 'yes' }}: {{ maintenance.reach.migrate.reason }}"

- name: Look, without asking for a notice on behalf of somebody else
  gce.guest.maintenance_info:
    arm_notice: false
"""

RETURN = r"""
maintenance_event:
  description: The value of V(instance/maintenance-event), as it is. V(null) if the server has none.
  returned: success
  type: str
  sample: NONE
event:
  description:
    - What that value announces, which is V(migrate), V(terminate), or V(unknown) for a value that is not known.
    - V(null) if it announces nothing, or if there is no value.
  returned: success
  type: str
  sample: migrate
preempted:
  description: Whether the VM is being preempted. V(null) if the server does not say.
  returned: success
  type: bool
  sample: false
window:
  description:
    - The maintenance window that is announced, in the same form whatever the server's spelling.
    - V(null) if none is announced, and also if the announcement cannot be read, of which there is a warning.
  returned: success
  type: dict
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
      description: Whether the maintenance can be started before its window. V(null) if unknown.
      type: bool
      returned: success
      sample: true
    window_start_time:
      description: When the window starts, as RFC 3339 in UTC. V(null) if unknown; applies to all timestamps.
      type: str
      returned: success
      sample: "2026-12-01T02:00:00Z"
    window_end_time:
      description: When the window ends.
      type: str
      returned: success
      sample: "2026-12-01T06:00:00Z"
    latest_window_start_time:
      description: The latest start that the maintenance can be rescheduled to.
      type: str
      returned: success
      sample: "2026-12-01T02:00:00Z"
upcoming_maintenance:
  description: The value of V(instance/upcoming-maintenance), as it is. V(null) if the server has none.
  returned: success
  type: raw
  sample: "can_reschedule true\nmaintenance_status PENDING\nwindow_start_time 2026-12-01T02:00:00+00:00"
scheduling:
  description:
    - The VM's availability policy. What the metadata server does not say is V(null), which is all of it in a pod on GKE
      with Workload Identity Federation.
  returned: success
  type: dict
  contains:
    on_host_maintenance:
      description: V(MIGRATE) or V(TERMINATE).
      type: str
      returned: success
      sample: MIGRATE
    automatic_restart:
      description: Whether the VM is restarted after it was stopped by Compute Engine.
      type: bool
      returned: success
      sample: true
    preemptible:
      description: Whether it is a Spot or preemptible VM.
      type: bool
      returned: success
      sample: false
machine_type:
  description: The name of the VM's machine type. V(null) if the metadata server does not say.
  returned: success
  type: str
  sample: n2-standard-4
reach:
  description: For each event, whether it can reach this VM at all. The handler's status has the same.
  returned: success
  type: dict
  contains:
    migrate:
      description: A live migration, with a notice.
      type: dict
      returned: success
      contains: &reach
        possible:
          description:
            - Whether it can. V(null) if that is not known, so that C(possible is not false) is what to be ready for.
          type: bool
          returned: success
          sample: true
        reason:
          description: Why, in words.
          type: str
          returned: success
          sample: on-host-maintenance is MIGRATE
    terminate:
      description: A stop for host maintenance, with a notice.
      type: dict
      returned: success
      contains: *reach
    preempt:
      description: A preemption.
      type: dict
      returned: success
      contains: *reach
    window:
      description: A maintenance window that is announced days ahead.
      type: dict
      returned: success
      contains: *reach
traits:
  description:
    - What RV(reach) was told by, next to the policy. Each is V(true), V(false), or V(null) if it is not known.
  returned: success
  type: dict
  contains:
    gpu:
      description: Whether it has GPUs.
      type: bool
      returned: success
      sample: false
    tpu:
      description: Whether it has TPUs.
      type: bool
      returned: success
      sample: false
    bare_metal:
      description: Whether it is a bare metal instance.
      type: bool
      returned: success
      sample: false
    spot:
      description: Whether it is a Spot or preemptible VM.
      type: bool
      returned: success
      sample: false
    confidential_vm:
      description: Whether it is a Confidential VM. What does not show that it is one may still be one.
      type: bool
      returned: success
      sample: null
    sole_tenant:
      description: Whether it is on a sole-tenant node, which is always V(null).
      type: bool
      returned: success
      sample: null
"""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._metadata.tree import typed
from ansible_collections.gce.guest.plugins.module_utils._module.guest import (
    GUEST_ARGSPEC,
    ArgumentSpec,
    failing,
    metadata_server,
)
from ansible_collections.gce.guest.plugins.module_utils._vm import hardware as _hardware
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import (
    MAINTENANCE_EVENT_KEY,
    PREEMPT,
    UPCOMING_MAINTENANCE_KEY,
    WINDOW,
    UnreadableWindow,
    event_of,
    is_preempted,
    parse_window,
    window_document,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import MetadataNotFound, MetadataServer
from ansible_collections.gce.guest.plugins.module_utils._vm.reach import applicability, traits_of


def main(root: Path = Path("/")) -> None:
    spec = ArgumentSpec({"arm_notice": {"type": "bool", "default": True}})
    module = spec.update(GUEST_ARGSPEC).create_module()
    with failing(module), closing(metadata_server(module)) as server:
        result = read(module, server, root)
    module.exit_json(changed=False, **result)


def read(module: AnsibleModule, server: MetadataServer, root: Path) -> dict[str, Any]:
    instance = mapping(server.get("instance/", recursive=True).value)
    told = instance.get("maintenanceEvent")
    if module.params["arm_notice"]:
        told = value_of(server, MAINTENANCE_EVENT_KEY)
    event = None if told is None else event_of(str(told), "unknown")
    preempted = is_preempted(str(instance["preempted"])) if "preempted" in instance else None
    upcoming, window, announced = value_of(server, UPCOMING_MAINTENANCE_KEY), None, {event}
    try:
        window = None if upcoming is None else parse_window(upcoming)
        announced |= {WINDOW} if window else set()
    except UnreadableWindow as error:
        module.warn(str(error))
        announced.add(WINDOW)
    if preempted:
        announced.add(PREEMPT)
    return {
        "maintenance_event": None if told is None else str(told),
        "event": event,
        "preempted": preempted,
        "window": window_document(window) if window else None,
        "upcoming_maintenance": upcoming,
        **policy(instance, root, {str(one) for one in announced}),
    }


def value_of(server: MetadataServer, key: str) -> Any:
    """The value of a key itself: not every VM has it in its tree. None where there is none."""
    try:
        return server.get(key).value
    except MetadataNotFound:
        return None


def policy(instance: Mapping[str, Any], root: Path, announced: set[str]) -> dict[str, Any]:
    """What does not change while the VM runs, but for what is learned of it by what is announced."""
    scheduling = mapping(instance.get("scheduling"))
    machine_type = str(instance.get("machineType", "")).rpartition("/")[2]
    traits = traits_of(machine_type, str(scheduling.get("preemptible", "")), **_hardware.seen(root))
    reach = applicability(machine_type, str(scheduling.get("onHostMaintenance", "")), traits, announced)
    known = typed(scheduling, "instance/scheduling")
    return {
        "machine_type": machine_type or None,
        "scheduling": {
            "on_host_maintenance": known.get("onHostMaintenance"),
            "automatic_restart": known.get("automaticRestart"),
            "preemptible": known.get("preemptible"),
        },
        "reach": {event: dict(vars(one)) for event, one in reach.items()},
        "traits": dict(vars(traits)),
    }


def mapping(value: Any) -> dict[str, Any]:
    """A directory of the tree; an empty one where there is none, as on GKE's metadata server."""
    return value if isinstance(value, dict) else {}


if __name__ == "__main__":
    main()
