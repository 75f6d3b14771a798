# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with the Compute API, as exceptions whose text a user can act on. Pure.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_OBJECT = re.compile(r"^(<[^>]*>|\w+\([^)]*\)): ")


class ComputeError(Exception):
    """The Compute API did not do what was asked; str() is for a person.

    `codes` are the reasons that it gives, or the codes of an operation's errors, and `message` is what it says.
    """

    def __init__(self, text: str, *, status: int | None = None, codes: Collection[str] = (), message: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.codes = tuple(codes)
        self.message = message


class ComputeBadRequest(ComputeError):
    """The API, or the client before anything was sent, refuses the request as it is."""


class ComputeTooLarge(ComputeBadRequest):
    """A value is larger than the API takes."""


class CredentialsError(ComputeError):
    """There are no credentials, or they are not accepted (401)."""


class PermissionDenied(ComputeError):
    """The caller may not do this. `permission` is the missing one, where the API names it."""

    permission: str | None = None


class ApiDisabled(ComputeError):
    """The Compute Engine API is not enabled in the project."""


class ScopeMissing(PermissionDenied):
    """The access token may not do this, whatever roles its account has."""


class QuotaProjectDenied(PermissionDenied):
    """The caller may not use the quota project that the credentials name."""


class ConstraintViolated(ComputeError):
    """An organization policy forbids this. `constraint` is its name, where the API gives it: compute.requireOsLogin."""

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
    """A quota that does not fill up again by the minute."""


class RateLimited(ComputeError):
    """Too many requests, and still so when the time for retries was over."""


class ComputeNotFound(ComputeError):
    """There is no such resource, or the caller must not know of it."""


class ComputeConflict(ComputeError):
    """Somebody else has written since the fingerprint was read; told at once or by the operation."""


class ComputeUnavailable(ComputeError):
    """No answer, or none of the API's, and still so when the time for retries was over."""


class OperationError(ComputeError):
    """An operation ended in errors; `codes` says which."""


class OperationConflict(ComputeConflict, OperationError):
    """An operation ended because somebody else has written since the fingerprint was read."""


class OperationUnfinished(ComputeError):
    """An operation was not done in time. It may end well later."""


def sentence(text: str) -> str:
    """With the full stop that is missing."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def reason_of(error: BaseException) -> str:
    """What an exception of a library comes to, without the chain of objects that its text shows."""
    while True:
        inner = getattr(error, "reason", None) or next(
            (each for each in error.args if isinstance(each, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # google-auth has the answer as a whole for a second argument; urllib3 begins with the object that failed.
    text = _OBJECT.sub("", " ".join(str(error.args[0] if error.args else error).split()))
    return text[:300] or type(error).__name__
