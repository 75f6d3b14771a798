# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which metadata is secret, and trees without it. Pure.

Private to the collection: it may change at any time. Standard library only.

Whoever may read an instance's metadata may read its secrets. They are kept out of results, logs and facts, where more
people look than that. They are known by their keys, and by what they look like. This is the one rule for all of that.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .tree import is_chosen_by_users, split

REDACTED = "[redacted]"

# Keys of custom metadata that hold credentials, or scripts and documents in which people put them.
SECRET_KEYS = frozenset(
    {
        "bosh_settings",
        "configure-sh",
        "gce-container-declaration",
        "google-container-manifest",
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
            for name in (
                "windows-startup-script",
                "windows-shutdown-script",
                "sysprep-oobe-script",
                "sysprep-specialize-script",
            )
            for kind in ("bat", "cmd", "ps1")
        ),
    }
)

# What people call other secrets, and what only sounds like one: DB_PASS and not compass, server-tls-key and not
# block-project-ssh-keys, join-token and not token-ttl.
SECRET_PATTERNS = (
    r"(?i)^(?!((en|dis)able|allow|require|use|max|min)[-_]).*(passw(or)?d(?!less)|pass[-_]?phrase|pwd|secret(?!ary)"
    r"|token(?!i[sz])|(?<!load)credential)"
    r"(?!.*(age|algorithm|audience|auth(entication)?|count|dir(ectory)?|duration|enabled|endpoint|expir\w*|file(name)?"
    r"|helper|host|interval|issuer|length|lifetime|limit|manager([-_]\w+)?|mode|name(space)?|path|per[-_]\w+|policy|prefix"
    r"|project|provider|region|required|rotation([-_]\w+)?|scopes?|size|store|ttl|type|ur[il]|version)$)",
    r"(?i)(\b|_)(pass|creds?|psk|jwt|netrc|pgpass|htpasswd|kubeconfig|auth[-_]?key|docker[-_]?config([-_]?json)?)$",
    r"(?i)(api|private|access|encryption|licen[cs]e)[-_]?key(?!.*(dir|enabled|file(name)?|name|path|project|ring|"
    r"rotation([-_]\w+)?|type|ur[il]|version)$)|(tls|ssl|ssh)[-_]?key$",
    r"(?i)^(?!.*(any|apt|cache|config|feature|foreign|group|hash|host|index|kms|label|lookup|object|partition|primary|pub(lic)?|"
    r"range|registry|repo|routing|row|search|shard|sort|tag|taint|topology)[-_]key$).*[-_]key$",
    r"(?i)(\b|_)(database|db|jdbc|mongo(db)?|postgres(ql)?|mysql|amqp)[-_]ur[il]$|dsn$|conn(ection)?[-_]?str(ing)?$",
    r"(?i)jwt[-_]service[-_]?account|(consul|new[-_]?relic|nomad|splunk|vault)[-_]licen[cs]e$",
    r"(?i)(bootstrap|shutdown|startup)[-_]script(?!.*(enabled|name|path|timeout|ur[il]|version)$)",
)
# Each name that a pattern finds has one of these in it. To compile the patterns takes a run some milliseconds.
_STEMS = (
    *("pass", "pwd", "secret", "token", "cred", "psk", "jwt", "netrc"),
    *("config", "key", "url", "uri", "dsn", "conn", "licen", "script"),
)

# Each value that holds a secret has one of these in it, or in what it encodes.
_SIGNS = (
    *('"', "=", "$", "%", "\\", "\n", "\r", "--", ": ", ":\t", "curl", "hooks.slack.com"),
    *("PuTTY", "SECRET-KEY", "AIza", "ya29.", "GOCSPX", "1//0", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat"),
    *("glpat", "npm_", "xox", "k_live_", "SG.", "hvs.", "hvb.", "NRA", "eyJ"),
    *("\u0130", "\u0131"),  # which regular expressions take for an i
)
_WORDS = ("authorization", "value")
_ENCODED = r"[\w+/-]{20,}"

_SERVICE_ACCOUNTS = ("service-accounts", "serviceAccounts")
_TOKENS = ("token", "identity")
_OWN_SECRETS = ("credentials", "gce-workload-certificates", "gceWorkloadCertificates")


def is_secret(key: str, patterns: Sequence[str | re.Pattern[str]] = SECRET_PATTERNS) -> bool:
    """Whether a key of custom metadata or a guest attribute names a secret: known as such, or found by a pattern."""
    if key in SECRET_KEYS:
        return True
    if patterns is SECRET_PATTERNS and key.isascii() and not any(stem in key.lower() for stem in _STEMS):
        return False
    return any(re.search(pattern, key) for pattern in patterns)


def is_secret_item(key: str, value: Any, patterns: Sequence[str | re.Pattern[str]] = SECRET_PATTERNS) -> bool:
    """Whether a value is to be redacted: its key names a secret, or it holds one."""
    return is_secret(key, patterns) or _holds_secret(key, value, patterns)


def redacted(
    values: Mapping[str, str],
    patterns: Sequence[str | re.Pattern[str]] = SECRET_PATTERNS,
    *,
    show_secrets: bool = False,
) -> dict[str, str]:
    """Custom metadata with REDACTED for each secret."""
    return {
        key: value if show_secrets or not is_secret_item(key, value, patterns) else REDACTED
        for key, value in values.items()
    }


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
    if not show_secrets and _holds_secret(trail[-1] if trail else "", value, patterns):
        return REDACTED
    return value


def _holds_secret(key: str, value: Any, patterns: Sequence[str | re.Pattern[str]]) -> bool:
    if not isinstance(value, str) or not _may_hold_secret(value):
        return False
    # Here, since it takes a run longer to load than to ask the metadata server, and most values are as short as a name.
    from .secret_content import holds_secret

    return holds_secret(key, value, lambda name: is_secret(name, patterns))


def _may_hold_secret(value: str) -> bool:
    """Whether a value is worth a look; False for no value that holds a secret by the rules of secret_content.py."""
    if any(sign in value for sign in _SIGNS) or ("://" in value and "@" in value):
        return True
    lower = value.lower()
    if any(word in lower for word in _WORDS):
        return True
    # Keys of OpenAI, and of Mailchimp with their data center. Shorter, it is a name such as persistent-disk-0.
    if len(value) > 34 and ("sk-" in value or "-us" in value):
        return True
    return any(map(_encodes_secret, ["".join(value.split()), *re.findall(_ENCODED, value)]))


def _encodes_secret(data: str) -> bool:
    compact = data.replace("-", "+").replace("_", "/")
    compact = compact[: len(compact) - (len(compact) % 4 == 1)]
    try:
        content = binascii.a2b_base64(compact + "=" * (-len(compact) % 4))
    except ValueError:
        return False
    if content.startswith(b"\x1f\x8b"):  # gzip
        return True
    text = content.decode("utf-8", "replace")
    # No less is taken for a text than what encoded_documents.py takes for one.
    strange = sum(1 for sign in text[:4096] if sign == "\ufffd" or (sign < " " and sign not in "\t\n\r\f\b\x1b"))
    return bool(text) and strange * 20 <= min(len(text), 4096) and _may_hold_secret(text)


def _is_token(trail: tuple[str, ...]) -> bool:
    return len(trail) > 3 and trail[0] == "instance" and trail[1] in _SERVICE_ACCOUNTS and trail[3] in _TOKENS


def _is_secret_place(trail: tuple[str, ...], patterns: Sequence[str | re.Pattern[str]]) -> bool:
    if len(trail) > 2 and trail[0] == "instance" and trail[1] in _OWN_SECRETS:
        return True
    return is_chosen_by_users(trail) and any(is_secret(name, patterns) for name in trail[2:])
