# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with the Compute API, as exceptions whose text a user can act on. Pure.

Private to the collection: it may change at any time. Standard library only.

https://cloud.google.com/apis/design/errors; the reasons are those that Compute Engine gives in `errors`, and the
codes those of its operations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Of what the API says. It may quote a value, and a value may be 256 KB.
LONGEST_MESSAGE = 500
HIDDEN = "[redacted]"

_RATE_REASONS = {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"}
_QUOTA_REASONS = {"quotaExceeded", "dailyLimitExceeded", "QUOTA_EXCEEDED", "limitExceeded"}
_DISABLED_REASONS = {"accessNotConfigured", "SERVICE_DISABLED"}
# Terraform's provider knows a conflict by the same two (FINGERPRINT_FAIL_ERRORS).
_CONFLICT_MESSAGES = ("Supplied fingerprint does not match", "Invalid fingerprint")
_PERMISSION = re.compile(r"""(?:Required|Permission) ['"]([a-z][\w.]+)['"]""")


class ComputeError(Exception):
    """The Compute API did not do what was asked; str() is for a person.

    `codes` are the reasons that it gives, or the codes of an operation's errors, and `message` is what it says.
    """

    def __init__(self, text: str, *, status: int | None = None, codes: Collection[str] = (), message: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.codes = tuple(codes)
        self.message = message


class BadRequest(ComputeError):
    """The API, or the client before anything was sent, refuses the request as it is."""


class TooLarge(BadRequest):
    """A value is larger than the API takes."""


class CredentialsError(ComputeError):
    """There are no credentials, or they are not accepted (401)."""


class PermissionDenied(ComputeError):
    """The caller may not do this. `permission` is the missing one, where the API names it."""

    permission: str | None = None


class ApiDisabled(ComputeError):
    """The Compute Engine API is not enabled in the project."""


class ConstraintViolated(ComputeError):
    """An organization policy forbids this."""


class QuotaExceeded(ComputeError):
    """A quota that does not fill up again by the minute."""


class RateLimited(ComputeError):
    """Too many requests, and still so when the time for retries was over."""


class NotFound(ComputeError):
    """There is no such resource, or the caller must not know of it."""


class Conflict(ComputeError):
    """Somebody else has written since the fingerprint was read; told at once or by the operation."""


class Unavailable(ComputeError):
    """No answer, or none of the API's, and still so when the time for retries was over."""


class OperationError(ComputeError):
    """An operation ended in errors; `codes` says which."""


class OperationConflict(Conflict, OperationError):
    """An operation ended because somebody else has written since the fingerprint was read."""


class OperationUnfinished(ComputeError):
    """An operation was not done in time. It may end well later."""


@dataclass(frozen=True)
class Act:
    """What is attempted, as in "Cannot {verb} {resource}"; `project` is the project that it is in."""

    verb: str
    resource: str
    project: str
    # What must not be repeated, should the API quote it.
    secrets: Collection[str] = ()

    def failure(self, why: str) -> str:
        return f"Cannot {self.verb} {self.resource}: {why}"

    def quoted(self, message: str) -> str:
        """What the API says, on one line, without secrets, and not longer than a person reads."""
        # The longest first: one secret may be part of another.
        for secret in sorted(self.secrets, key=len, reverse=True):
            # A short text says nothing, and would be found anywhere.
            if len(secret) >= 4:
                message = message.replace(secret, HIDDEN)
        line = " ".join(message.split())
        return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}[...]"


def refusal(act: Act, status: int, body: bytes) -> ComputeError:
    """The error that an answer with a status of 400 or more is."""
    message, codes = _envelope(body)
    kind = _kind(status, codes, message)
    said = f"the Compute API answers {' '.join([str(status), *codes[:1]])}"
    said += f": {act.quoted(message)}" if message else ""
    permission = _PERMISSION.search(message) if kind is PermissionDenied else None
    remedy = _remedy(kind, act, permission[1] if permission else None)
    text = act.failure(sentence(said)) + (f" {remedy}" if remedy else "")
    error = kind(text, status=status, codes=codes, message=act.quoted(message))
    if isinstance(error, PermissionDenied):
        error.permission = permission[1] if permission else None
    return error


def operation_error(act: Act, operation: Mapping[str, Any]) -> ComputeError | None:
    """The error that an operation which is DONE ended in, or None if it ended well."""
    problems = operation.get("error", {}).get("errors", [])
    if not problems and int(operation.get("httpErrorStatusCode", 200)) < 400:
        return None
    codes = [str(problem.get("code", "")) for problem in problems]
    messages = [str(problem.get("message", "")) for problem in problems] or [
        str(operation.get("httpErrorMessage", "it says nothing about why"))
    ]
    is_conflict = "CONDITION_NOT_MET" in codes or any(
        phrase in message for phrase in _CONFLICT_MESSAGES for message in messages
    )
    said = "; ".join(
        f"{code}: {act.quoted(message)}" if code else act.quoted(message)
        for code, message in zip(codes or [""], messages)
    )
    text = act.failure(sentence(f"its operation {operation.get('name', '')} ended in {said}"))
    return (OperationConflict if is_conflict else OperationError)(
        text, status=operation.get("httpErrorStatusCode"), codes=codes, message=act.quoted(messages[0])
    )


def _kind(status: int, codes: Collection[str], message: str) -> type[ComputeError]:
    reasons = set(codes)
    if any(message.startswith(phrase) for phrase in _CONFLICT_MESSAGES):
        return Conflict
    if status == 429 or reasons & _RATE_REASONS:
        return RateLimited
    if status >= 500 or status == 408:
        return Unavailable
    if status == 403:
        if reasons & _DISABLED_REASONS:
            return ApiDisabled
        return QuotaExceeded if reasons & _QUOTA_REASONS else PermissionDenied
    if status == 412:
        return ConstraintViolated if "Constraint constraints/" in message else Conflict
    return {401: CredentialsError, 404: NotFound, 413: TooLarge}.get(status, BadRequest)


def _remedy(kind: type[ComputeError], act: Act, permission: str | None) -> str:
    """What to do about it, as a sentence."""
    if kind is PermissionDenied:
        what = f"the permission {permission}" if permission else "the permission for it"
        return f"Have {what} granted to the account that this runs as, in a role on the project {act.project}."
    if kind is ApiDisabled:
        return f"Enable it with: gcloud services enable compute.googleapis.com --project {act.project}"
    return {
        CredentialsError: "Renew the access token or the credentials, see auth_kind.",
        ConstraintViolated: "Only who administers the organization's policies can change that.",
        QuotaExceeded: "Ask for a higher quota, or wait until there is some again.",
        RateLimited: "Lower requests_per_minute, or raise retry_for, if others use the same quota.",
        NotFound: f"Check the name, the zone, and that the project {act.project} is the right one.",
        Conflict: "Somebody else has written it meanwhile. Read it again, and try again.",
    }.get(kind, "")


def sentence(text: str) -> str:
    """With the full stop that is missing."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _envelope(body: bytes) -> tuple[str, list[str]]:
    """The message and the reasons of an error; nothing of what is not the API's, such as a proxy's page."""
    try:
        error = json.loads(body)["error"]
        message = str(error["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "", []
    reasons = [entry.get("reason") for entry in (*_mappings(error.get("errors")), *_mappings(error.get("details")))]
    codes = [str(reason) for reason in reasons if reason]
    if not codes and error.get("status"):
        codes = [str(error["status"])]
    return message, list(dict.fromkeys(codes))


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
