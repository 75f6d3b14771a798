# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets recognized by the content of a value, whatever its key. Pure.

Private to the collection: it may change at any time. Standard library only.

A reference to a secret, such as ${DB_PASSWORD} or projects/acme/secrets/db, is not a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .encoded_documents import decoded, documents

# Shorter values cannot match.
_SHORTEST = 8

_KEYS_AND_TOKENS = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY"  # PEM and PGP
    r"|PuTTY-User-Key-File-|AGE-SECRET-KEY-1"
    r"|\$(?:1|2[aby]|5|6|y|argon2i?d?)\$[^\s\"']{8,}"  # crypt(3)
    r"|(?<![\w-])(?:"
    r"AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}|1//0[\w-]{30,}"  # Google
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}|npm_[A-Za-z0-9]{36}"
    r"|xox[abeoprs]-[\w-]{10,}|[sr]k_live_\w{16,}|sk-[\w-]{32,}|SG\.[\w-]{16,}\.[\w-]{16,}"
    r"|hv[sb]\.[\w-]{20,}|[0-9a-f]{32}-us\d{1,2}|[0-9a-f]{36}NRAL|NRAK-[A-Z0-9]{27}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"  # JSON Web Token
    r")|hooks\.slack\.com(?:\\?/)services(?:\\?/)[\w/\\]{20,}"
)
_PASSWORDS = (
    # scheme://user:password@host
    re.compile(
        r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,40}:(?:\\?/){2}[^\s/\"'<>@:]{0,256}:([^\s/\"'<>@]{1,1024})@"
    ),
    re.compile(r"\bcurl\b[^\n]{0,300}?\s(?:-u|--user)[ =]?[\"']?[^\s:\"'$]+:([^\s\"']+)"),
    re.compile(r"(?i)\bauthorization\\?[\"']?\s*[:=]\s*\\?[\"']?(?:bearer|basic|token)\s+([^\s\"']{8,})"),
)
# Each matches a name and a value: NAME=value, "name": "value", a line with name: value, --name value, and the pairs of
# name and value in a container's environment.
_NAME, _VALUE = r"([A-Za-z_][\w.-]{0,63})", r"([^\s\"'&;,<>]+)"
_ASSIGNMENTS = (
    re.compile(rf"(?<![\w.]){_NAME}[\"']?[ \t]?=[ \t]?\\?[\"']?{_VALUE}"),
    re.compile(rf"\"{_NAME}\\?\"\s*:\s*\\?\"([^\"\\]+)"),
    re.compile(rf"(?m)^[ \t]*(?:-[ \t]+)?[\"']?{_NAME}[\"']?[ \t]*:[ \t]+[\"']?{_VALUE}[\"']?[ \t]*,?\r?$"),
    re.compile(rf"--{_NAME}[ \t]+[\"']?{_VALUE}"),
    re.compile(rf"(?i)\b(?:name|key)[\"']?\s*:\s*[\"']?{_NAME}[\"']?\s*,?\s*[\"']?value[\"']?\s*:\s*[\"']?{_VALUE}"),
)
_REFERENCE = re.compile(
    r"(?i)[$({\[<`/~@*|>!-]|%[a-z_{(]|\\|(https?|gs|sm|file|env|vault|arn|projects|secrets?)[:/]"
    r"|(process|os|self|var|local|data|secrets|each|env)\.|.*\(|x{3,}$|\.{3}"
)
_NO_VALUE = re.compile(r"(?i)(true|false|yes|no|on|off|null|none|nil|required|optional|enabled|disabled)$")
_NUMBER = re.compile(r"[\d.]+[a-z]?$")
_PASSWORD = re.compile(r"(?i)pass|pwd")

_ENV_KEY = re.compile(
    r"(?i)(?:^|[-_.])(?:dot)?env(?:[-_.](?:file|vars?|variables|content))?$|environment[-_](?:file|vars?|variables)$"
)
_ENV_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?[A-Za-z_]\w*=.*")


def holds_secret(key: str, value: str, is_secret_name: Callable[[str], bool]) -> bool:
    """Whether a value is or has a secret. `is_secret_name` judges the names of its fields, options and variables."""
    if len(value) < _SHORTEST:
        return _is_environment(key, value)
    if _is_environment(key, value) or _shows_secret(value, is_secret_name):
        return True
    whole = decoded(value)
    if whole is not None and _shows_secret(whole, is_secret_name):
        return True
    return any(_shows_secret(document.text, is_secret_name) for document in documents(value))


def _is_environment(key: str, value: str) -> bool:
    """Whether a value is a file of environment variables, by its key and its lines."""
    if not _ENV_KEY.search(key):
        return False
    lines = [line for line in value.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return bool(lines) and all(_ENV_LINE.fullmatch(line) for line in lines)


def _shows_secret(text: str, is_secret_name: Callable[[str], bool]) -> bool:
    if _KEYS_AND_TOKENS.search(text):
        return True
    if any(not _REFERENCE.match(found) for pattern in _PASSWORDS for found in pattern.findall(text)):
        return True
    found = {
        name: value for pattern in _ASSIGNMENTS for name, value in pattern.findall(text) if _is_literal(name, value)
    }
    return any(map(is_secret_name, found))


def _is_literal(name: str, value: str) -> bool:
    if _REFERENCE.match(value) or _NO_VALUE.match(value):
        return False
    # A number is a lifetime or a limit, unless it is a password.
    return _NUMBER.match(value) is None or _PASSWORD.search(name) is not None
