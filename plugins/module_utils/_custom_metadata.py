# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom metadata: as a dictionary, as the Compute API's list, and which of it is secret. Pure.

Private to the collection: it may change at any time. Standard library only.

Whoever may read an instance's metadata may read its secrets. They are kept out of results, logs and facts, where more
people look than that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
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

# What people call other secrets.
SECRET_PATTERNS = (r"(?i)passw(or)?d|secret|token|credential|(api|private|access|encryption)[-_]?key",)

_SERVICE_ACCOUNTS = ("service-accounts", "serviceAccounts")
_TOKENS = ("token", "identity")
_OWN_SECRETS = ("credentials", "gce-workload-certificates", "gceWorkloadCertificates")

# https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#boolean
_BOOLEANS = {**dict.fromkeys(("true", "y", "yes", "1"), True), **dict.fromkeys(("false", "n", "no", "0"), False)}
_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")


class CustomMetadataError(Exception):
    """Something cannot be custom metadata; str() is a sentence for a person, and without the value."""


def as_bool(value: Any) -> bool | None:
    """What Compute Engine takes a value for: TRUE, Y, Yes and 1, FALSE, N, No and 0 in any case, or else None."""
    return _BOOLEANS.get(str(value).lower()) if isinstance(value, (str, int)) else None


def as_items(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """A dictionary as the API's list, in the same order. Numbers and booleans become text."""
    return [{"key": _checked(key), "value": _text(key, value)} for key, value in values.items()]


def as_dict(items: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The API's list as a dictionary, in the same order."""
    values: dict[str, str] = {}
    for item in items:
        if not isinstance(item, Mapping) or not isinstance(item.get("key"), str):
            raise CustomMetadataError("An item of custom metadata has to be a dictionary with key and value.")
        key = _checked(item["key"])
        if key in values:
            raise CustomMetadataError(f"The key {key!r} is more than once in the items of custom metadata.")
        values[key] = _text(key, item.get("value", ""))
    return values


def _checked(key: Any) -> str:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise CustomMetadataError(
            f"A key of custom metadata has up to 128 letters, digits, '_' and '-', and {key!r} has not."
        )
    return key


def _text(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        return str(value)
    raise CustomMetadataError(
        f"The value of {key!r} is neither text nor a number nor a boolean. Make it text, such as with to_json."
    )


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
