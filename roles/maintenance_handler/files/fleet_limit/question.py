# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The question on standard input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from client.errors import Refusal
from fleet_limit.options import validated

CHECK = "check"
ACQUIRE = "acquire"
RENEW = "renew"
RELEASE = "release"
HOLDERS = "holders"
UNLOCK = "unlock"
VERBS = (CHECK, ACQUIRE, RENEW, RELEASE, HOLDERS, UNLOCK)

_LONGEST_TIMEOUT = 3600
_LONGEST_ID = 200
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Question:
    """`limit` has all options of its backend; None for those without a value."""

    verb: str
    limit: dict[str, Any]
    id: str
    reason: str
    # Seconds.
    timeout: float


def read(verb: str, text: bytes) -> Question:
    """The question for a verb. Raises `Refusal`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal("the question must be a JSON object on standard input")
    timeout = value.get("timeout")
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= _LONGEST_TIMEOUT:
        raise Refusal(f"timeout must be a number of seconds, more than 0 and at most {_LONGEST_TIMEOUT}")
    if not isinstance(value.get("state", {}), dict):
        raise Refusal("state must be an object: the state of the previous answer, or {}")
    named = _line(value, "id", _LONGEST_ID)
    if " " in named:
        raise Refusal("id must have no spaces")
    if not named and verb not in (CHECK, HOLDERS):
        raise Refusal("id must say whose slot it is, as zone/name/instance id")
    return Question(verb, validated(value.get("limit")), named, _line(value, "reason", _LONGEST_REASON), float(timeout))


def _line(value: dict[str, Any], name: str, longest: int) -> str:
    text = value.get(name, "")
    if not isinstance(text, str) or not text.isprintable() or len(text) > longest:
        raise Refusal(f"{name} must be one line of text with at most {longest} characters")
    return text
