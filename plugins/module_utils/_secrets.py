# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which metadata is secret, and trees without it. Pure.

Private to the collection: it may change at any time. Standard library only.

Whoever may read an instance's metadata may read its secrets. They are kept out of results, logs and facts, where more
people look than that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ._metadata_tree import is_chosen_by_users, split

REDACTED = "[redacted]"

# Keys of custom metadata that hold credentials, or scripts and documents in which people put them.
SECRET_KEYS = frozenset(
    {
        "configure-sh",
        "gce-container-declaration",
        "kube-env",
        "kubeconfig",
        "shutdown-script",
        "ssh-keys",
        "sshKeys",
        "startup-script",
        "user-data",
        "windows-keys",
        *(
            f"{name}-{kind}"
            for name in ("windows-startup-script", "windows-shutdown-script", "sysprep-specialize-script")
            for kind in ("bat", "cmd", "ps1")
        ),
    }
)

# What people call other secrets: DB_PASS and not compass, server-tls-key and not block-project-ssh-keys.
SECRET_PATTERNS = (
    r"(?i)passw(or)?d|pass[-_]?phrase|(\b|_)pass$|pwd",
    r"(?i)secret|token|credential|(api|private|access|encryption)[-_]?key|(tls|ssl|ssh)[-_]?key$",
)

_SERVICE_ACCOUNTS = ("service-accounts", "serviceAccounts")
_TOKENS = ("token", "identity")
_OWN_SECRETS = ("credentials", "gce-workload-certificates", "gceWorkloadCertificates")


def is_secret(key: str, patterns: Sequence[str | re.Pattern[str]] = SECRET_PATTERNS) -> bool:
    """Whether a key of custom metadata or a guest attribute names a secret: known as such, or found by a pattern."""
    return key in SECRET_KEYS or any(re.search(pattern, key) for pattern in patterns)


def redact_tree(
    tree: Any,
    patterns: Sequence[str | re.Pattern[str]] = SECRET_PATTERNS,
    path: str = "",
    *,
    show_secrets: bool = False,
) -> Any:
    """The tree at a path with REDACTED for each secret; tokens of service accounts are redacted in any case."""
    return _redacted(tree, split(path), patterns, show_secrets)


def _redacted(value: Any, trail: tuple[str, ...], patterns: Sequence[str | re.Pattern[str]], show_secrets: bool) -> Any:
    if _is_token(trail) or (not show_secrets and _is_secret_place(trail, patterns)):
        return REDACTED
    if isinstance(value, dict):
        return {key: _redacted(below, (*trail, key), patterns, show_secrets) for key, below in value.items()}
    if isinstance(value, list):
        return [_redacted(below, (*trail, ""), patterns, show_secrets) for below in value]
    return value


def _is_token(trail: tuple[str, ...]) -> bool:
    return len(trail) > 3 and trail[0] == "instance" and trail[1] in _SERVICE_ACCOUNTS and trail[3] in _TOKENS


def _is_secret_place(trail: tuple[str, ...], patterns: Sequence[str | re.Pattern[str]]) -> bool:
    if len(trail) > 2 and trail[0] == "instance" and trail[1] in _OWN_SECRETS:
        return True
    return is_chosen_by_users(trail) and any(is_secret(name, patterns) for name in trail[2:])
