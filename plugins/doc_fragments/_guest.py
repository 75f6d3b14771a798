# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of what runs inside the guest. Private to the collection: it may change at any time."""

from __future__ import annotations


class ModuleDocFragment:
    """Kept in step with GUEST_ARGSPEC and SECRETS_ARGSPEC in plugins/module_utils/_module/guest.py."""

    DOCUMENTATION = r"""
requirements:
  - Python 3.9 or newer, and nothing but its standard library.
options:
  metadata_host:
    description:
      - The metadata server as V(name), V(name:port), V([IPv6 address]:port) or V(http://name:port).
      - By default the environment variable E(GCE_METADATA_HOST) says which, then E(GCE_METADATA_ROOT), else it is
        V(metadata.google.internal). Where that name does not lead to it, it is asked at V(169.254.169.254), or else at
        V(fd20:ce::254). A host that is given is used as it is.
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
      - So is a value that is or holds a private key, the key of a service account, a well-known kind of token, a
        password in a URL, or a variable, option or field whose name is found by O(secret_patterns), also in base64. And
        so is a file of variables under a key such as V(env).
      - The tokens of service accounts are redacted in any case.
    type: bool
    default: false
  secret_patterns:
    description:
      - Regular expressions. Custom metadata and guest attributes whose key has a match anywhere in it are secret, too.
      - The default finds passwords, passphrases, tokens, credentials, private keys, licenses and the URLs of databases,
        such as V(DB_PASS), V(server-tls-key) and V(DATABASE_URL), and passes over what only sounds like one, such as
        V(token-ttl). What is given here comes instead of it.
      - An empty list leaves what is secret by its well-known name, or by what it looks like.
    type: list
    elements: str
    default:
      - "(?i)^(?!((en|dis)able|allow|require|use|max|min)[-_]).*(passw(or)?d(?!less)|pass[-_]?phrase|pwd|secret(?!ary)|\
        token(?!i[sz])|(?<!load)credential)(?!.*(age|algorithm|audience|auth(entication)?|count|dir(ectory)?|\
        duration|enabled|endpoint|expir\\w*|file(name)?|helper|host|interval|issuer|length|lifetime|limit|manager([-_]\\w+)?|\
        mode|name(space)?|path|per[-_]\\w+|policy|prefix|project|provider|region|required|rotation([-_]\\w+)?|\
        scopes?|size|store|ttl|type|ur[il]|version)$)"
      - '(?i)(\b|_)(pass|creds?|psk|jwt|netrc|pgpass|htpasswd|kubeconfig|auth[-_]?key|docker[-_]?config([-_]?json)?)$'
      - "(?i)(api|private|access|encryption|licen[cs]e)[-_]?key(?!.*(dir|enabled|file(name)?|name|path|project|\
        ring|rotation([-_]\\w+)?|type|ur[il]|version)$)|(tls|ssl|ssh)[-_]?key$"
      - "(?i)^(?!.*(any|apt|cache|config|feature|foreign|group|hash|host|index|kms|label|lookup|object|partition|\
        primary|pub(lic)?|range|registry|repo|routing|row|search|shard|sort|tag|taint|topology)[-_]key$).*[-_]key$"
      - '(?i)(\b|_)(database|db|jdbc|mongo(db)?|postgres(ql)?|mysql|amqp)[-_]ur[il]$|dsn$|conn(ection)?[-_]?str(ing)?$'
      - '(?i)jwt[-_]service[-_]?account|(consul|new[-_]?relic|nomad|splunk|vault)[-_]licen[cs]e$'
      - '(?i)(bootstrap|shutdown|startup)[-_]script(?!.*(enabled|name|path|timeout|ur[il]|version)$)'
"""
