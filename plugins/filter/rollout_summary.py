# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_summary
short_description: Summarize a rollout in batches
version_added: 0.2.0
description:
  - Used by the playbook C(gce.guest.rollout), and by plays of one's own that work in batches and record their results.
author:
  - The gce.guest authors (@gce-guest)
positional: _input
options:
  _input:
    description: The hosts in their order.
    type: list
    elements: str
    required: true
  sizes:
    description: The hosts per batch, as in the keyword C(serial) of the play.
    type: list
    elements: raw
    required: true
  current:
    description: A host of the current batch.
    type: str
    required: true
  records:
    description:
      - The result of each host by its name, with V(result), which is V(done) or V(failed), V(why) and V(rolled_back).
      - A host of the current batch or an earlier one without a result counts as failed.
    type: dict
    required: true
  most:
    description: The work stops if more than this percentage of the current batch has failed, or all of it.
    type: float
    default: 0
  declined:
    description: Whether the current batch is not to be started.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show the hosts that a rollout has not reached
  ansible.builtin.debug:
    msg: "{{ summary.not_reached }}"
  vars:
    summary: "{{ ['web-1', 'web-2'] | gce.guest.rollout_summary([1], 'web-1', {'web-1': {'result': 'done'}}) }}"
"""

RETURN = r"""
_value:
  description:
    - V(batch) and V(batches), numbers, V(done), V(failed), V(rolled_back) and V(not_reached), lists of hosts, V(stop)
      and V(last), booleans, and V(lines) for people.
  type: dict
  sample: {batch: 1, batches: 2, done: [web-1], failed: [], rolled_back: [], not_reached: [web-2], stop: false}
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gce.guest.plugins.plugin_utils import _rollout


def rollout_summary(
    hosts: Sequence[str],
    sizes: Sequence[int | str],
    current: str,
    records: Mapping[str, Mapping[str, Any]],
    most: Any = 0,
    declined: bool = False,
) -> dict[str, Any]:
    try:
        return _rollout.rollout_summary(hosts, sizes, current, records, most=float(most), declined=declined)
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"rollout_summary: {error}") from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rollout_summary": rollout_summary}
