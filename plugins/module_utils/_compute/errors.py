# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exceptions of the Compute API; their text says what to do. Pure.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_OBJECT = re.compile(r"^(<[^>]*>|\w+\([^)]*\)): ")


class ComputeError(Exception):
    """A call of the Compute API failed; str() is for a person.

    `codes` are the reasons in the answer, or the codes of an operation's errors; `message` is the API's message.
    """

    def __init__(self, text: str, *, status: int | None = None, codes: Collection[str] = (), message: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.codes = tuple(codes)
        self.message = message


class ComputeBadRequest(ComputeError):
    """The request is refused, by the API or before it is sent."""


class ComputeTooLarge(ComputeBadRequest):
    """A value is larger than the API takes."""


class CredentialsError(ComputeError):
    """There are no credentials, or the API rejects them (401)."""


class PermissionDenied(ComputeError):
    """The caller lacks a permission. `permission` is its name if the API gives it."""

    permission: str | None = None


class ApiDisabled(ComputeError):
    """The Compute Engine API is not enabled in the project."""


class ScopeMissing(PermissionDenied):
    """The access token lacks a scope, whatever roles its account has."""


class QuotaProjectDenied(PermissionDenied):
    """The caller lacks access to the quota project of the credentials."""


class ConstraintViolated(ComputeError):
    """An organization policy forbids this. `constraint` is its name if known, such as compute.requireOsLogin."""

    constraint: str | None = None


class PerimeterViolated(ComputeError):
    """A perimeter of VPC Service Controls forbids this."""


class BillingDisabled(ComputeError):
    """The project has no billing account, or one that is closed."""


class Suspended(ComputeError):
    """Google has suspended the project, or the account."""


class ProjectInvalid(ComputeBadRequest):
    """There is no such project, or it is deleted."""


class QuotaExceeded(ComputeError):
    """A quota that does not refill by the minute is used up."""


class RateLimited(ComputeError):
    """Too many requests, after all retries."""


class ComputeNotFound(ComputeError):
    """The resource does not exist, or is hidden from the caller."""


class ComputeConflict(ComputeError):
    """The resource has changed since the fingerprint was read. Raised for the call or for its operation."""


class ComputeUnavailable(ComputeError):
    """No answer of the API, after all retries."""


class OperationError(ComputeError):
    """An operation ended in errors, listed in `codes`."""


class OperationConflict(ComputeConflict, OperationError):
    """An operation failed because the resource has changed since the fingerprint was read."""


class OperationUnfinished(ComputeError):
    """An operation did not end in time. It may succeed later."""


def sentence(text: str) -> str:
    """With a full stop if it has none."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def reason_of(error: BaseException) -> str:
    """The cause of a library's exception, without the nested objects that its text shows."""
    while True:
        inner = getattr(error, "reason", None) or next(
            (each for each in error.args if isinstance(each, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # google-auth passes the whole answer as a second argument; urllib3 starts with the object that failed.
    text = _OBJECT.sub("", " ".join(str(error.args[0] if error.args else error).split()))
    return text[:300] or type(error).__name__
