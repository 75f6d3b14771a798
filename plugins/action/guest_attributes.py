# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say beforehand how long the module guest_attributes can take, since a module cannot speak before it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.utils.display import Display
from ansible_collections.gce.guest.plugins.module_utils._attribute_namespace import Plan
from ansible_collections.gce.guest.plugins.module_utils._guest_attributes import QUERIES_PER_MINUTE

# What takes no longer than this is not worth a word.
SHORT = 10.0


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


def announcement(host: Any, arguments: Mapping[str, Any]) -> str | None:
    """How long the attributes can take at most, if that is long. What is wrong is for the module to judge."""
    try:
        attributes = check_type_dict(arguments.get("attributes"))
        purge = boolean(arguments.get("purge"), strict=False)
    except (TypeError, ValueError):
        return None
    # At most, all of them are to be changed. The module knows better as soon as it has read what is there.
    most = Plan({}, dict.fromkeys(attributes)).seconds
    if most <= SHORT:
        return None
    minutes, seconds = divmod(math.ceil(most), 60)
    return (
        f"guest_attributes on {host}: {len(attributes)} attributes take up to {minutes} min {seconds} s at the "
        f"{QUERIES_PER_MINUTE} requests a minute that the metadata server allows"
        + (", and more for what it purges" if purge else "")
    )
