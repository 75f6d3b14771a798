# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals of the Compute API, with the statuses, reasons and messages of the real one."""

from __future__ import annotations

from typing import Any

CONFLICT = "Supplied fingerprint does not match current metadata fingerprint."

# As in google.rpc.Code. 400 can also be FAILED_PRECONDITION; clients do not tell them apart.
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class ApiError(Exception):
    """A refused request; str() is the message for the client."""

    def __init__(self, code: int, reason: str, message: str, **extra: str) -> None:
        """`extra` is added to the entry in `errors`: `location`, `locationType`, `domain`."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.extra = extra

    def to_api(self) -> dict[str, Any]:
        """The error response of https://cloud.google.com/apis/design/errors, with the older list `errors`."""
        message = str(self)
        entry = {"message": message, "domain": "global", "reason": self.reason, **self.extra}
        error: dict[str, Any] = {"code": self.code, "message": message, "errors": [entry]}
        if self.code in _STATUS:
            error["status"] = _STATUS[self.code]
        return {"error": error}


def not_found(resource: str) -> ApiError:
    return ApiError(404, "notFound", f"The resource '{resource}' was not found")


def invalid(field: str, value: str, why: str) -> ApiError:
    return ApiError(400, "invalid", f"Invalid value for field '{field}': '{value}'. {why}")


def not_ready(resource: str) -> ApiError:
    return ApiError(400, "resourceNotReady", f"The resource '{resource}' is not ready")


def conflict() -> ApiError:
    return ApiError(412, "conditionNotMet", CONFLICT, location="If-Match", locationType="header")


def refused_credentials() -> ApiError:
    return ApiError(
        401,
        "authError",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        location="Authorization",
        locationType="header",
    )


def forbidden(permission: str, resource: str) -> ApiError:
    return ApiError(403, "forbidden", f"Required '{permission}' permission for '{resource}'")


def api_disabled(project_number: int) -> ApiError:
    return ApiError(
        403,
        "accessNotConfigured",
        f"Compute Engine API has not been used in project {project_number} before or it is disabled. Enable it by "
        "visiting https://console.developers.google.com/apis/api/compute.googleapis.com/overview then retry.",
        domain="usageLimits",
    )


def quota_exceeded() -> ApiError:
    return ApiError(403, "quotaExceeded", "Quota 'READ_REQUESTS_PER_DAY' exceeded. Limit: 1000.0 globally.")


def constraint_violated(project_number: int) -> ApiError:
    constraint = "constraints/compute.disableGuestAttributesAccess"
    return ApiError(412, "conditionNotMet", f"Constraint {constraint} violated for project {project_number}.")


def unauthenticated() -> ApiError:
    return ApiError(
        401,
        "required",
        "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        location="Authorization",
        locationType="header",
    )


def over_quota(project_number: int) -> ApiError:
    return ApiError(
        403,
        "rateLimitExceeded",
        "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service 'compute.googleapis.com' "
        f"for consumer 'project_number:{project_number}'.",
        domain="usageLimits",
    )
