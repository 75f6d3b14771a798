# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes of the collection's modules. Private to the collection: it may change at any time."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments for all modules, for modules that only read, and for each action group."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Returns details on what has changed, or possibly needs changing in C(check_mode), when in diff mode.
  platform:
    description: Target operating systems that the module runs on.
    support: full
    platforms: posix
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module only reads, so check mode makes no difference.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
"""

    ACTIONGROUP_GUEST = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/gce.guest.guest) in C(module_defaults) to set options for this module.
    support: full
    membership:
      - gce.guest.guest
"""

    ACTIONGROUP_API = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/gce.guest.api) in C(module_defaults) to set options for this module.
    support: full
    membership:
      - gce.guest.api
"""
