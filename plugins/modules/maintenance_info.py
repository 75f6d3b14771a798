#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_info
short_description: Gather current and possible maintenance events of a VM
version_added: 0.1.0
description:
  - Gathers what the metadata server announces to the VM that this runs on, which may be host maintenance, a preemption,
    a maintenance window, or a stop with graceful shutdown.
  - Also reports for each event whether it can ever reach the VM, and why. The VM's own policy is decisive. What is
    documented of its machine type only adds to that, and what neither of them tells is unknown. An event that is
    announced can reach the VM.
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
      - Whether to request V(instance/maintenance-event) by itself.
      - A VM gets the notice of 60 seconds before a live migration only if this key was requested directly, and not as
        part of a tree, since the last event. With V(true), this module does that.
      - With V(false), the module leaves no trace. The next event then comes without notice unless something else
        requests the key.
    type: bool
    default: true
notes:
  - GPUs, TPUs and Confidential VMs are looked for among the VM's devices, since the metadata server does not show them.
    In a container, they may not be visible.
  - Sole tenancy cannot be seen from inside a VM. On a sole-tenant node, a VM is migrated without notice, and its
    RV(maintenance_event) is always V(NONE).
  - Graceful shutdown cannot be seen from inside a VM until a stop is under way.
seealso:
  - name: Monitor and plan for a host maintenance event
    description: What the maintenance window's fields mean.
    link: https://cloud.google.com/compute/docs/instances/monitor-plan-host-maintenance-event
  - module: gce.guest.wait_for_metadata
  - module: gce.guest.maintenance_drain
  - ref: ansible_collections.gce.guest.docsite.guide_maintenance_handler
    description: The handler that waits for these events, and drains and restores the VM.
"""

EXAMPLES = r"""
- name: Gather what maintenance is announced
  gce.guest.maintenance_info:
  register: maintenance

- name: Do not go on while the VM is about to be migrated, stopped or preempted
  ansible.builtin.assert:
    that:
      - maintenance.event is none
      - not maintenance.preempted
      - maintenance.stop is none
    fail_msg: "{{ maintenance.event | default('preempt' if maintenance.preempted else 'stop', true) }} is imminent"

- name: Show when the next window starts
  ansible.builtin.debug:
    msg: "{{ maintenance.window.window_start_time }}"
  when: maintenance.window is not none

- name: Show whether this VM has to be ready for live migrations
  ansible.builtin.debug:
    msg: "{{ 'no' if maintenance.reach.migrate.possible is false else 'yes' }}: {{ maintenance.reach.migrate.reason }}"

- name: Gather the same without a trace
  gce.guest.maintenance_info:
    arm_notice: false
"""

RETURN = r"""
maintenance_event:
  description: The raw value of V(instance/maintenance-event). V(null) if the key is missing.
  returned: success
  type: str
  sample: NONE
event:
  description:
    - The event that this value announces, which is V(migrate), V(terminate), or V(unknown) for an unknown value.
    - V(null) if it announces nothing, or if the key is missing.
  returned: success
  type: str
  sample: migrate
preempted:
  description: Whether the VM is being preempted. V(null) if the key is missing.
  returned: success
  type: bool
  sample: false
stop:
  description:
    - The stop or deletion of the VM that was requested through the API, and for which graceful shutdown leaves it time.
    - V(null) if none is under way.
  returned: success
  type: dict
  version_added: 0.2.0
  contains:
    state:
      description: V(PENDING_STOP) as long as the VM is left time, then V(STOPPING).
      type: str
      returned: success
      sample: PENDING_STOP
    target_state:
      description: V(STOPPED), V(DELETED), or V(UNKNOWN).
      type: str
      returned: success
      sample: STOPPED
    request_time:
      description: When the stop was requested, as RFC 3339 in UTC. V(null) if unknown.
      type: str
      returned: success
      sample: "2026-12-01T02:00:00Z"
    max_duration:
      description: How many seconds the VM is left from then on. V(null) if unknown.
      type: float
      returned: success
      sample: 600.0
window:
  description:
    - The announced maintenance window, in one form whatever the server's spelling.
    - V(null) if none is announced. Also V(null), with a warning, if the announcement cannot be read.
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
  description: The raw value of V(instance/upcoming-maintenance). V(null) if the key is missing.
  returned: success
  type: raw
  sample: "can_reschedule true\nmaintenance_status PENDING\nwindow_start_time 2026-12-01T02:00:00+00:00"
scheduling:
  description:
    - The VM's availability policy. What the metadata server does not show is V(null), which in a pod on GKE with
      Workload Identity Federation is all of it.
  returned: success
  type: dict
  contains:
    on_host_maintenance:
      description: V(MIGRATE) or V(TERMINATE).
      type: str
      returned: success
      sample: MIGRATE
    automatic_restart:
      description: Whether Compute Engine restarts the VM after it has stopped it.
      type: bool
      returned: success
      sample: true
    preemptible:
      description: Whether it is a Spot or preemptible VM.
      type: bool
      returned: success
      sample: false
    preemption_notice_duration:
      description: How many seconds ahead a preemption is announced, if the metadata server shows that.
      type: float
      returned: success
      sample: 120.0
machine_type:
  description: The name of the VM's machine type. V(null) if unknown.
  returned: success
  type: str
  sample: n2-standard-4
reach:
  description: For each event, whether it can ever reach this VM. The maintenance handler's status has the same.
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
            - Whether it can. V(null) if unknown. Be ready for every event that C(possible is not false) holds for.
          type: bool
          returned: success
          sample: true
        reason:
          description: Why.
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
    stop:
      description: A stop or deletion through the API, with a notice.
      type: dict
      returned: success
      contains: *reach
    restart:
      description: A stop or reset without notice, such as after a host error.
      type: dict
      returned: success
      contains: *reach
traits:
  description:
    - The properties that RV(reach) is derived from, besides the policy. Each is V(true), V(false), or V(null) if
      unknown.
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
      description: Whether it is a Confidential VM. A Confidential VM need not be visible as one.
      type: bool
      returned: success
      sample: null
    sole_tenant:
      description: Whether it is on a sole-tenant node. Always V(null).
      type: bool
      returned: success
      sample: null
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import (
    ArgumentSpec,
    failing,
)
from ansible_collections.gce.guest.plugins.module_utils._module.guest import (
    GUEST_ARGSPEC,
    metadata_server,
)
from ansible_collections.gce.guest.plugins.module_utils._vm import hardware as _hardware
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import (
    MAINTENANCE_EVENT_KEY,
    PREEMPT,
    STOP,
    UPCOMING_MAINTENANCE_KEY,
    WINDOW,
    UnreadableWindow,
    event_of,
    is_preempted,
    parse_scheduling,
    parse_stop,
    parse_window,
    stop_document,
    window_document,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import (
    MetadataError,
    MetadataNotFound,
    MetadataServer,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.reach import applicability, traits_of


def main(root: Path = Path("/")) -> None:
    spec = ArgumentSpec({"arm_notice": {"type": "bool", "default": True}})
    module = spec.update(GUEST_ARGSPEC).create_module()
    with failing(module, MetadataError), closing(metadata_server(module)) as server:
        result = read(module, server, root)
    module.exit_json(changed=False, **result)


def read(module: AnsibleModule, server: MetadataServer, root: Path) -> dict[str, Any]:
    instance = mapping(server.get("instance/", recursive=True).value)
    value = instance.get("maintenanceEvent")
    if module.params["arm_notice"]:
        value = value_of(server, MAINTENANCE_EVENT_KEY)
    event = None if value is None else event_of(str(value), "unknown")
    preempted = is_preempted(str(instance["preempted"])) if "preempted" in instance else None
    stop = parse_stop(mapping(instance.get("shutdownDetails")))
    upcoming = value_of(server, UPCOMING_MAINTENANCE_KEY)
    window, is_unreadable = None, False
    try:
        window = None if upcoming is None else parse_window(upcoming)
    except UnreadableWindow as error:
        module.warn(str(error))
        is_unreadable = True
    signals = {str(event): event, PREEMPT: preempted, WINDOW: window or is_unreadable, STOP: stop}
    return {
        "maintenance_event": None if value is None else str(value),
        "event": event,
        "preempted": preempted,
        "stop": stop_document(stop) if stop else None,
        "window": window_document(window) if window else None,
        "upcoming_maintenance": upcoming,
        **policy(instance, root, [name for name, is_on in signals.items() if is_on]),
    }


def value_of(server: MetadataServer, key: str) -> Any:
    """The value of a key, asked for by itself, since not every VM has it in its tree; None if it is missing."""
    try:
        return server.get(key).value
    except MetadataNotFound:
        return None


def policy(instance: Mapping[str, Any], root: Path, announced: Sequence[str]) -> dict[str, Any]:
    """The VM's own policy and traits, and which events can reach it by them."""
    scheduling = parse_scheduling(instance.get("scheduling"))
    machine_type = str(instance.get("machineType", "")).rpartition("/")[2]
    traits = traits_of(machine_type, scheduling.preemptible, _hardware.seen(root))
    reach = applicability(machine_type, scheduling, traits, announced)
    return {
        "machine_type": machine_type or None,
        "scheduling": {
            "on_host_maintenance": scheduling.on_host_maintenance or None,
            "automatic_restart": scheduling.automatic_restart,
            "preemptible": scheduling.preemptible,
            "preemption_notice_duration": scheduling.preemption_notice,
        },
        "reach": {event: dict(vars(one)) for event, one in reach.items()},
        "traits": dict(vars(traits)),
    }


def mapping(value: Any) -> dict[str, Any]:
    """A directory of the tree; empty if it is missing, as on GKE's metadata server."""
    return value if isinstance(value, dict) else {}


if __name__ == "__main__":
    main()
