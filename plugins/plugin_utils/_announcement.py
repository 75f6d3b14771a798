# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The announcement of the module guest_attributes on the controller. Pure.

Private to the collection: it may change at any time. Apart from the action plugin, since importing that imports
Ansible's controller, which changes how modules warn in the same process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.gce.guest.plugins.module_utils._vm.attribute_namespace import NamespaceChange
from ansible_collections.gce.guest.plugins.module_utils._vm.guest_attributes import QUERIES_PER_MINUTE

# Seconds up to which nothing is announced.
SHORT = 10.0


def announcement(host: Any, arguments: Mapping[str, Any]) -> str | None:
    """The longest time that the attributes can take; None if it is short. The module reports wrong arguments."""
    try:
        attributes = check_type_dict(arguments.get("attributes"))
        purge = boolean(arguments.get("purge"), strict=False)
    except (TypeError, ValueError):
        return None
    # If all of them change. The module knows more when it has read the current ones.
    most = NamespaceChange({}, dict.fromkeys(attributes)).seconds
    if most <= SHORT:
        return None
    minutes, seconds = divmod(math.ceil(most), 60)
    return (
        f"guest_attributes on {host}: {len(attributes)} attributes take up to {minutes} min {seconds} s at the "
        f"{QUERIES_PER_MINUTE} requests a minute that the metadata server allows"
        + (", and more for those that it purges" if purge else "")
    )
