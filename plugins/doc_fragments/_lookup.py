# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the lookups. Private to the collection: it may change at any time."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of TermLookup in plugins/plugin_utils/_lookup_base.py."""

    DOCUMENTATION = r"""
requirements:
  - jmespath, for O(query)
options:
  cache_seconds:
    description:
      - For how many seconds a process reuses an answer.
      - Ansible evaluates the templates of each task on each host in a separate process.
      - V(0) disables the cache, which C(until) needs.
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
      - The value for a term that does not exist. Takes precedence over O(on_missing). It may be V(null).
    type: raw
  on_missing:
    description:
      - How to treat a term that does not exist.
      - With V(error), the lookup fails.
      - With V(warn) and V(skip), the term is left out of the result, with or without a warning. If no term is left,
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
  - For more than one term, use C(query), or C(lookup) with C(wantlist=true). Otherwise C(lookup) joins texts with
    commas.
"""
