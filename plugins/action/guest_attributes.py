# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say beforehand how long the module guest_attributes can take, since a module cannot speak before it ends."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.utils.display import Display
from ansible_collections.gce.guest.plugins.plugin_utils._announcement import announcement


class ActionModule(NormalAction):  # type: ignore[misc] # Ansible has no types
    """What Ansible does with a module that has no action plugin, after a word about it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        host = self._task.delegate_to or (task_vars or {}).get("inventory_hostname")
        # In check mode there is one request, and nothing to wait for.
        text = None if self._task.check_mode else announcement(host, self._task.args)
        if text:
            # Standard output belongs to the callbacks, some of which write JSON. It may be held back in a pipe, too.
            Display().display(text, stderr=True)
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result
