# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report a Python that is too old for the module metadata_info."""

from __future__ import annotations

from ansible_collections.gce.guest.plugins.plugin_utils._python_action import PythonAction


class ActionModule(PythonAction):
    """Runs the module as Ansible does by default."""
