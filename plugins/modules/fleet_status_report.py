#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_status_report
short_description: Write the state of the maintenance handler on all VMs of a project to a page and to JSON
version_added: 0.2.0
description:
  - Reads the same as M(gce.guest.fleet_status_info), and writes it as a self-contained HTML page, which also has a
    timeline of the announced maintenance windows, and as JSON. Returns a table as text.
  - The playbook C(gce.guest.fleet_status) consists of this module. With thousands of instances, it takes much less time
    than templates with the result of M(gce.guest.fleet_status_info).
  - The files are on the control node.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.actiongroup_api
  - gce.guest._api
attributes:
  action:
    description: Indicates that the module has an action plugin, which runs on the controller first.
    support: full
    details:
      - It runs M(gce.guest.fleet_status_info) on the host, and writes the files on the controller.
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  page:
    description:
      - The file of the page, in a directory that exists. It is replaced if its content differs, and keeps its mode.
      - By default, no page is written.
    type: path
  json:
    description:
      - The file of the JSON, in a directory that exists. It has RV(time), C(project), C(filter), RV(counts),
        C(instances), C(windows), RV(complete), RV(unreachables) and RV(denied), with the fields that
        M(gce.guest.fleet_status_info) returns.
      - By default, no JSON is written.
    type: path
  title:
    description: The title of the page. By default, it names the O(project).
    type: str
  rows:
    description: How many instances RV(lines) have at most, those that need attention first. The files have all.
    type: int
    default: 50
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
  - Required permissions are those of M(gce.guest.fleet_status_info).
  - The page has the time at which the instances were read, so that it changes with each run.
seealso:
  - module: gce.guest.fleet_status_info
  - ref: ansible_collections.gce.guest.docsite.guide_planning_maintenance_fleet
    description: The page and the table.
"""

EXAMPLES = r"""
- name: Write a page about production, and the same as JSON
  gce.guest.fleet_status_report:
    filter: labels.env = prod
    page: /tmp/fleet_status.html
    json: /tmp/fleet_status.json
  register: fleet

- name: Show the table
  ansible.builtin.debug:
    msg: "{{ fleet.lines }}"

- name: Fail if a handler needs attention
  ansible.builtin.assert:
    that: fleet.counts.groups.attention == 0
"""

RETURN = r"""
page:
  description: The file of the page, or V(null). In check mode, it is not written.
  returned: success
  type: str
  sample: /tmp/fleet_status.html
json:
  description: The file of the JSON, or V(null). In check mode, it is not written.
  returned: success
  type: str
  sample: /tmp/fleet_status.json
lines:
  description: A table of the instances, and the figures of all.
  returned: success
  type: list
  elements: str
  sample: ["INSTANCE  ZONE           STATE", "web-1     us-central1-a  idle", "Instances: 1."]
counts:
  description: As RV(gce.guest.fleet_status_info#module:counts).
  returned: success
  type: dict
  sample: {instances: 412, in_service: 405, out_of_service: 3, unknown: 4}
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
