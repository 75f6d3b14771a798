# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rehearsal_summary
short_description: Summarize the rehearsals of a fleet
version_added: 0.2.0
description:
  - Used by the playbook C(gce.guest.fleet_rehearse).
author:
  - The gce.guest authors (@gce-guest)
positional: _input
options:
  _input:
    description: The hosts in their order.
    type: list
    elements: str
    required: true
  records:
    description:
      - The result of each host by its name, with V(rehearsals), a list of verdicts of P(gce.guest.rehearsal#filter),
        and V(problem), what a health check has found. A host without a result was not reached.
    type: dict
    required: true
seealso:
  - plugin: gce.guest.rehearsal
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the hosts that were not reached
  ansible.builtin.debug:
    msg: "{{ (['web-1', 'web-2'] | gce.guest.rehearsal_summary({'web-1': {'rehearsals': []}})).not_reached }}"
"""

RETURN = r"""
_value:
  description:
    - V(hosts), each with V(host), V(verdict), V(why) and V(rehearsals), V(not_well) and V(not_reached), lists of names,
      V(well), a boolean, and V(lines), a table for people.
  type: dict
  sample: {hosts: [], not_well: [], not_reached: [web-2], well: true, lines: []}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.gce.guest.plugins.plugin_utils._rehearsals import fleet_rehearsal


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rehearsal_summary": fleet_rehearsal}
