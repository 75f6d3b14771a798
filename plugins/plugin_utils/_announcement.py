# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller says of the module guest_attributes before it runs. Pure.

Private to the collection: it may change at any time. Apart from the action plugin, as whoever imports that imports
Ansible's controller, in whose process modules warn in another way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.gce.guest.plugins.module_utils._vm.attribute_namespace import Plan
from ansible_collections.gce.guest.plugins.module_utils._vm.guest_attributes import QUERIES_PER_MINUTE

# What takes no longer than this is not worth a word.
SHORT = 10.0


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
