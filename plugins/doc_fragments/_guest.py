# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of what runs inside the guest. Private to the collection: it may change at any time."""

from __future__ import annotations


class ModuleDocFragment:
    """Kept in step with GUEST_ARGSPEC and SECRETS_ARGSPEC in plugins/module_utils/_module.py."""

    DOCUMENTATION = r"""
requirements:
  - Python 3.9 or newer, and nothing but its standard library.
options:
  metadata_host:
    description:
      - The metadata server as V(name), V(name:port), V([IPv6 address]:port) or V(http://name:port).
      - By default the environment variable E(GCE_METADATA_HOST) says which, then E(GCE_METADATA_ROOT), else it is
        V(metadata.google.internal).
      - Proxies of the environment are never used.
    type: str
  retry_for:
    description:
      - For how many seconds a request is tried again, counted from its first failure, when the metadata server is
        unavailable or limits the rate. What it denies, or has no key for, is not tried again.
      - V(0) tries once.
    type: float
    default: 10.0
  request_timeout:
    description:
      - After how many seconds one try is given up.
    type: float
    default: 5.0
notes:
  - Runs on the VM whose metadata it is about, since each VM has a metadata server of its own.
"""

    # For what is no module, in addition to the above.
    PLUGINS = r"""
options:
  metadata_host:
    env:
      # Ansible takes the last one that is set.
      - name: GCE_METADATA_ROOT
      - name: GCE_METADATA_HOST
    ini:
      - section: gce_guest
        key: metadata_host
    vars:
      - name: gce_guest_metadata_host
  retry_for:
    env:
      - name: GCE_GUEST_RETRY_FOR
    ini:
      - section: gce_guest
        key: retry_for
    vars:
      - name: gce_guest_retry_for
  request_timeout:
    env:
      - name: GCE_GUEST_REQUEST_TIMEOUT
    ini:
      - section: gce_guest
        key: request_timeout
    vars:
      - name: gce_guest_request_timeout
"""

    SECRETS = r"""
options:
  show_secrets:
    description:
      - Whether to return secrets as they are, instead of V([redacted]).
      - Secrets are SSH keys, startup and shutdown scripts, user data, container declarations, the keys and certificates
        that the server hands out to workloads, and whatever O(secret_patterns) finds.
      - The tokens of service accounts are redacted in any case.
    type: bool
    default: false
  secret_patterns:
    description:
      - Regular expressions. Custom metadata and guest attributes whose key has a match anywhere in it are secret, too.
      - The default finds passwords, passphrases, tokens, credentials and private keys, such as V(DB_PASS) and
        V(server-tls-key). What is given here comes instead of it.
      - An empty list leaves only what is secret by its well-known name.
    type: list
    elements: str
    default:
      - (?i)passw(or)?d|pass[-_]?phrase|(\b|_)pass$|pwd
      - (?i)secret|token|credential|(api|private|access|encryption)[-_]?key|(tls|ssl|ssh)[-_]?key$
"""
