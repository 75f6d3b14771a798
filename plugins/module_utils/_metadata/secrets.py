# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which metadata is secret, and how to redact it. Pure.

Private to the collection: it may change at any time. Standard library only.

Everyone who can read an instance's metadata can read its secrets. They are kept out of results, logs and facts, which
more people can read. Secrets are recognized by their keys and by their content.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .tree import is_chosen_by_users, split

REDACTED = "[redacted]"

# Keys of custom metadata for credentials, and for scripts and documents that often have credentials.
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

# Common names of other secrets, without names that only look similar: DB_PASS but not compass, server-tls-key but not
# block-project-ssh-keys, join-token but not token-ttl.
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
# Each name that a pattern matches has one of these. Checked first, since compiling the patterns takes milliseconds.
_STEMS = (
    *("pass", "pwd", "secret", "token", "cred", "psk", "jwt", "netrc"),
    *("config", "key", "url", "uri", "dsn", "conn", "licen", "script"),
)

# Each value with a secret has one of these, or an encoded document that has.
_SIGNS = (
    *('"', "=", "$", "%", "\\", "\n", "\r", "--", ": ", ":\t", "curl", "hooks.slack.com"),
    *("PuTTY", "SECRET-KEY", "AIza", "ya29.", "GOCSPX", "1//0", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat"),
    *("glpat", "npm_", "xox", "k_live_", "SG.", "hvs.", "hvb.", "NRA", "eyJ"),
    *("\u0130", "\u0131"),  # which re.IGNORECASE takes for an i
)
_WORDS = ("authorization", "value")
_ENCODED = r"[\w+/-]{20,}"

_SERVICE_ACCOUNTS = ("service-accounts", "serviceAccounts")
_TOKENS = ("token", "identity")
_OWN_SECRETS = ("credentials", "gce-workload-certificates", "gceWorkloadCertificates")


def is_secret(key: str, patterns: Sequence[str | re.Pattern[str]] = SECRET_PATTERNS) -> bool:
    """Whether the name of a key or guest attribute is that of a secret: a known key, or a match of a pattern."""
    if key in SECRET_KEYS:
        return True
    if patterns is SECRET_PATTERNS and key.isascii() and not any(stem in key.lower() for stem in _STEMS):
        return False
    return any(re.search(pattern, key) for pattern in patterns)


def is_secret_item(key: str, value: Any, patterns: Sequence[str | re.Pattern[str]] = SECRET_PATTERNS) -> bool:
    """Whether to redact a value: its key is secret, or the value has a secret."""
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
    """The tree at a path with REDACTED for each secret. Tokens of service accounts are always redacted."""
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
    # Here, since it takes longer to import than a request, and most values are too short to need it.
    from .secret_content import holds_secret

    return holds_secret(key, value, lambda name: is_secret(name, patterns))


def _may_hold_secret(value: str) -> bool:
    """A quick check: False only for values without a secret by the rules of secret_content.py."""
    if any(sign in value for sign in _SIGNS) or ("://" in value and "@" in value):
        return True
    lower = value.lower()
    if any(word in lower for word in _WORDS):
        return True
    # Keys of OpenAI, and of Mailchimp with their data center. Shorter words are names such as persistent-disk-0.
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
    # The shortest text that encoded_documents.py looks for.
    strange = sum(1 for sign in text[:4096] if sign == "\ufffd" or (sign < " " and sign not in "\t\n\r\f\b\x1b"))
    return bool(text) and strange * 20 <= min(len(text), 4096) and _may_hold_secret(text)


def _is_token(trail: tuple[str, ...]) -> bool:
    return len(trail) > 3 and trail[0] == "instance" and trail[1] in _SERVICE_ACCOUNTS and trail[3] in _TOKENS


def _is_secret_place(trail: tuple[str, ...], patterns: Sequence[str | re.Pattern[str]]) -> bool:
    if len(trail) > 2 and trail[0] == "instance" and trail[1] in _OWN_SECRETS:
        return True
    return is_chosen_by_users(trail) and any(is_secret(name, patterns) for name in trail[2:])
