# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Announce how long the module guest_attributes can take; a module itself shows nothing until it ends."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.gce.guest.plugins.plugin_utils._announcement import announcement
from ansible_collections.gce.guest.plugins.plugin_utils._python_action import PythonAction


class ActionModule(PythonAction):
    """Runs the module as Ansible does by default, after the announcement."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        host = self._task.delegate_to or (task_vars or {}).get("inventory_hostname")
        # Check mode takes a single request.
        text = None if self._task.check_mode else announcement(host, self._task.args)
        if text:
            # Callbacks write to standard output, some of them JSON, and a pipe may buffer it.
            Display().display(text, stderr=True)
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result
