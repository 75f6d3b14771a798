# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules and lookups that use the metadata server. Private to the collection: it may change at any time."""

from __future__ import annotations


class ModuleDocFragment:
    """For GUEST_ARGSPEC and SECRETS_ARGSPEC in plugins/module_utils/_module; a test compares them."""

    DOCUMENTATION = r"""
requirements:
  - Python 3.9 or newer, with its standard library only.
options:
  metadata_host:
    description:
      - The metadata server as V(name), V(name:port), V([IPv6 address]:port) or V(http://name:port).
      - By default the environment variable E(GCE_METADATA_HOST), then E(GCE_METADATA_ROOT), then
        V(metadata.google.internal). If that name cannot be reached, V(169.254.169.254) is used, or else
        V(fd20:ce::254). There is no such fallback for a host that is set.
      - Proxies of the environment are never used.
    type: str
  retry_for:
    description:
      - For how many seconds to retry a request, counted from its first failure, if the metadata server is unavailable
        or limits the rate. Denied requests and missing keys are not retried.
      - V(0) disables retries.
    type: float
    default: 10.0
  request_timeout:
    description:
      - Timeout of one try in seconds.
    type: float
    default: 5.0
notes:
  - Runs on the VM itself, since each VM has its own metadata server.
"""

    # For lookups, in addition.
    PLUGINS = r"""
options:
  metadata_host:
    env:
      # The last one that is set takes precedence.
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
      - Whether to return secrets instead of V([redacted]).
      - Secrets are SSH keys, startup and shutdown scripts, user data, container declarations, the keys and certificates
        of workloads, and the keys that O(secret_patterns) matches.
      - A value is also secret if it has a private key, the key of a service account, a well-known kind of token, a
        password in a URL, or a variable, option or field whose name O(secret_patterns) matches, also in base64. So is a
        file of environment variables under a key such as V(env).
      - Tokens of service accounts are always redacted.
    type: bool
    default: false
  secret_patterns:
    description:
      - Regular expressions. Custom metadata and guest attributes with a match anywhere in their key are secret.
      - The default matches passwords, passphrases, tokens, credentials, private keys, licenses and URLs of databases,
        such as V(DB_PASS), V(server-tls-key) and V(DATABASE_URL), but not similar names such as V(token-ttl). A list
        that is set replaces the default.
      - With an empty list, only well-known keys and secret content are redacted.
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
