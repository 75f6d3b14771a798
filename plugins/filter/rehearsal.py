# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rehearsal
short_description: Get the verdict on a rehearsal of the maintenance handler
version_added: 0.2.0
description:
  - Converts the result of C(gce-maintenance-handler rehearse EVENT --json) to a verdict.
author:
  - The gce.guest authors (@gce-guest)
positional: _input
options:
  _input:
    description: The result of M(ansible.builtin.command) with this command, whether it succeeded or not.
    type: dict
    required: true
  event:
    description: The event.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Rehearse a live migration
  ansible.builtin.command:
    argv: [gce-maintenance-handler, rehearse, migrate, --execute, --json]
  register: rehearsed
  changed_when: true
  failed_when: (rehearsed | gce.guest.rehearsal('migrate')).verdict == 'NOT WELL'
  become: true
"""

RETURN = r"""
_value:
  description:
    - V(event), V(verdict), V(why), V(steps), V(skipped) (tasks) and V(seconds) of all steps.
    - The verdict is V(well), V(NOT WELL), V(no task) if no task is for this event, or V(not executed).
    - A step has V(task), V(phase), V(outcome), V(seconds) and V(detail). The outcome is V(null) if it was not executed.
  type: dict
  sample: {event: migrate, verdict: well, why: '', steps: [], skipped: [], seconds: 1.5}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.gce.guest.plugins.plugin_utils._rehearsals import rehearsal


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rehearsal": rehearsal}
