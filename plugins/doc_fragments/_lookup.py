# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the lookups. Private to the collection: it may change at any time."""

from __future__ import annotations


class ModuleDocFragment:
    """Kept in step with TermLookup in plugins/plugin_utils/_lookup_base.py."""

    DOCUMENTATION = r"""
requirements:
  - jmespath, for O(query)
options:
  cache_seconds:
    description:
      - For how many seconds a process uses an answer again, instead of asking for the same once more.
      - Ansible evaluates the templates of each task on each host in a process of its own.
      - V(0) asks each time, which is needed with C(until).
    type: float
    default: 1.0
    env:
      - name: GCE_GUEST_CACHE_SECONDS
    ini:
      - section: gce_guest
        key: cache_seconds
    vars:
      - name: gce_guest_cache_seconds
  default:
    description:
      - What to return for a term that does not exist, instead of what O(on_missing) says. It may also be V(null).
    type: raw
  on_missing:
    description:
      - What a term that does not exist is.
      - With V(error), the lookup fails.
      - With V(warn) and V(skip), the term is left out of the result, with and without a warning. Where nothing is left,
        C(lookup) and C(query) return an empty list.
    type: str
    choices: [error, warn, skip]
    default: error
    env:
      - name: GCE_GUEST_ON_MISSING
    ini:
      - section: gce_guest
        key: on_missing
    vars:
      - name: gce_guest_on_missing
  query:
    description:
      - A JMESPath expression that is applied to the value of each term.
      - Needs C(jmespath) on the controller.
    type: str
notes:
  - Use C(query), or C(lookup) with C(wantlist=true), for more than one term. By itself, C(lookup) joins texts with
    commas.
"""
