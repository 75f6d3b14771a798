#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rolling_maintenance
short_description: Plan, run and report the steps of rolling maintenance
version_added: 0.2.0
description:
  - Does what the playbook C(gce.guest.rolling_maintenance) cannot do in YAML. Use it through the playbook, or as
    a part of a playbook of your own that is made like it.
  - With O(operation=plan), makes the plan of a rolling maintenance, which tasks register as C(gce_rolling_plan) on
    localhost.
  - With O(operation=step), runs another module as a step of a host's turn, and shows the VM, the step, since when it
    runs and how many VMs are left, on standard error. A VM that does not answer fails the step like other failures, so
    that C(rescue) can handle it.
  - With O(operation=end), ends a host's turn, and with O(operation=report), returns the results of all turns and
    whether the next batch may start.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.actiongroup_guest
  - gce.guest._guest
attributes:
  action:
    description: Indicates that the module has an action plugin, which runs on the controller first.
    support: full
    details:
      - Everything but the module of a step runs on the controller.
  check_mode:
    support: full
    details:
      - With O(operation=step), the module runs in check mode.
  diff_mode:
    support: none
options:
  operation:
    description: What to do.
    type: str
    choices: [plan, step, end, report]
    required: true
  action:
    description: What is done on the drained VMs. For O(operation=plan).
    type: str
    choices: [maintenance, reboot, command, none]
    default: maintenance
  hosts:
    description:
      - The hosts. Required with O(operation=plan).
      - If tasks have registered the status of the handlers of some of them as C(gce_rolling_look), only those.
    type: list
    elements: str
  named:
    description: Whether the hosts were named, so that each of them has to answer. For O(operation=plan).
    type: bool
    default: false
  windows:
    description: The announced windows, as M(gce.guest.fleet_maintenance_info) returns them. For O(operation=plan).
    type: list
    elements: dict
    default: []
  history:
    description: Past events, as M(gce.guest.fleet_maintenance_info) returns them. For O(operation=plan).
    type: list
    elements: dict
    default: []
  host_by:
    description:
      - The variable that has the instance of a host, as a name, V(ZONE/NAME), an ID or a URL. For O(operation=plan).
      - By default, an instance is the host with its ID in the variable C(id), or with its name as the variable C(name),
        as the host's name, or as the first part of that. If the host has a variable C(zone), it must be the zone.
    type: str
  order:
    description:
      - Hosts, groups and zones that come first, in this order, and V(zone), V(window), V(name) or V(inventory), by
        which the others are sorted. For O(operation=plan). V(window) is the default.
      - With a zone or V(zone), no batch has hosts of two zones.
    type: list
    elements: str
    default: []
  canaries:
    description: Hosts or groups that come before all others, one by one. For O(operation=plan).
    type: list
    elements: str
    default: []
  serial:
    description: The sizes of the batches, as numbers and percentages. The last one is repeated. For O(operation=plan).
    type: list
    elements: raw
    default: [1]
  hours:
    description:
      - When batches may start, such as V(Mon-Fri 22:00-04:00 Europe/Berlin). A night belongs to the day on which it
        starts. For O(operation=plan).
    type: list
    elements: str
    default: []
  as_event:
    description: The event whose tasks are drained, instead of the one that the maintenance is. For O(operation=plan).
    type: str
    choices: [migrate, terminate, preempt, window, stop]
  minutes:
    description: How many minutes a host takes, instead of an estimate. For O(operation=plan).
    type: float
  note:
    description: A note for the reason of the drains, in one line of at most 120 characters. For O(operation=plan).
    type: str
    default: ''
  resume_within:
    description: Seconds within which an earlier run is continued. For O(operation=plan).
    type: float
    default: 43200
  step:
    description: The name of the step. Required with O(operation=step) and O(operation=end).
    type: str
  module:
    description: The module to run. Required with O(operation=step).
    type: str
  parameters:
    description: The options of the O(module).
    type: dict
    default: {}
  until:
    description:
      - Run the O(module) again until this is the case. For O(operation=step).
      - With V(succeeds), until it succeeds. The others need C(gce-maintenance-handler status --json) as the module's
        command. V(answers) is when the handler answers, V(over) when no event is left but a drain by hand, and V(well)
        when the handler is healthy and nothing is drained.
    type: str
    choices: [answers, over, succeeds, well]
  timeout:
    description: Seconds to wait for O(until).
    type: float
    default: 0
  pause:
    description: Seconds between two runs of the O(module) while it waits for O(until).
    type: float
    default: 5
  own:
    description: Whether the step fails if the VM is drained for another reason than rolling maintenance.
    type: bool
    default: false
  record:
    description: >-
      The RV(record) of a failed step, which is not kept as a fact. For O(operation=step) and O(operation=end).
    type: dict
  result:
    description: How the turn ended. Required with O(operation=end).
    type: str
    choices: [done, not well]
  why:
    description: Why the VM is not well. For O(operation=end).
    type: str
    default: ''
  max_fail_percentage:
    description: RV(stop) if more than this percentage of a batch is not well. For O(operation=report).
    type: float
    default: 0
notes:
  - Set the variable C(gce_progress) to the seconds between two lines of progress, V(10) by default. V(0) shows only the
    start of each step.
  - O(metadata_host), O(retry_for) and O(request_timeout) are accepted so that they can be set for the whole action
    group, and have no effect.
seealso:
  - ref: ansible_collections.gce.guest.docsite.guide_rolling_maintenance
    description: How rolling maintenance works.
  - module: gce.guest.maintenance_drain
  - module: gce.guest.host_maintenance
"""

EXAMPLES = r"""
- name: Plan kernel updates, the canary first, at night
  gce.guest.rolling_maintenance:
    operation: plan
    action: reboot
    hosts: "{{ groups['web'] }}"
    canaries: [web-1]
    serial: [1, 10%]
    hours: [Mon-Sun 00:00-24:00 Europe/Berlin]
  register: gce_rolling_plan

- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ gce_rolling_plan.lines }}"

- name: Wait for the service, and show that
  gce.guest.rolling_maintenance:
    operation: step
    step: wait for the service
    module: ansible.builtin.command
    parameters:
      argv: ['true']
    until: succeeds
    timeout: 300

- name: End the turn
  gce.guest.rolling_maintenance:
    operation: end
    step: end
    result: done
"""

RETURN = r"""
turns:
  description: The turns in their order, with O(operation=plan).
  returned: with O(operation=plan)
  type: list
  elements: dict
  sample: []
hosts:
  description: The hosts of the turns.
  returned: with O(operation=plan)
  type: list
  elements: str
  sample: [web-1, web-2]
batches:
  description: The sizes of the batches, for C(serial).
  returned: with O(operation=plan)
  type: list
  elements: int
  sample: [1, 1]
left_alone:
  description: Why other hosts have no turn.
  returned: with O(operation=plan)
  type: dict
  sample: {}
without_host:
  description: Instances with announced maintenance that are no host.
  returned: with O(operation=plan)
  type: list
  elements: str
  sample: [us-central1-a/web-9]
reason:
  description: The reason of the drains, by which a later run recognizes them.
  returned: with O(operation=plan)
  type: str
  sample: "gce.guest.rolling_maintenance: reboot"
minutes:
  description: About how many minutes all turns take.
  returned: with O(operation=plan)
  type: float
  sample: 20.0
hours:
  description: The hours.
  returned: with O(operation=plan)
  type: list
  elements: str
  sample: [Mon-Fri 22:00-04:00 Europe/Berlin]
made_at:
  description: The time of the plan, as RFC 3339 in UTC.
  returned: with O(operation=plan)
  type: str
  sample: "2026-12-01T22:00:00Z"
record:
  description: The steps of the turn so far. Also returned if the step failed.
  returned: with O(operation=step) and O(operation=end)
  type: dict
  sample: {}
rows:
  description: The result of each turn, V(done), V(not well), V(not finished) or V(not reached), and its steps.
  returned: with O(operation=report)
  type: list
  elements: dict
  sample: []
counts:
  description: How many turns have each result.
  returned: with O(operation=report)
  type: dict
  sample: {done: 2, not well: 0, not finished: 0, not reached: 4}
stop:
  description: Why no further batch may start. Empty if it may.
  returned: with O(operation=report)
  type: str
  sample: more than 0 % of batch 2 of 3 is not well
outcome:
  description: V(finished), V(stopped), V(hours over), or V(running) while batches are left.
  returned: with O(operation=report)
  type: str
  sample: finished
well:
  description: Whether no VM is left that is not well.
  returned: with O(operation=report)
  type: bool
  sample: true
batch:
  description: The number of the last batch that has started.
  returned: with O(operation=report)
  type: int
  sample: 2
time:
  description: The time of the report, as RFC 3339 in UTC.
  returned: with O(operation=report)
  type: str
  sample: "2026-12-01T22:30:00Z"
lines:
  description: The plan or the report as a table.
  returned: with O(operation=plan) and O(operation=report)
  type: list
  elements: str
  sample: []
"""
