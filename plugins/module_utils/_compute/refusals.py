# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From errors of the Compute API and its operations to exceptions. Pure.

Private to the collection: it may change at any time. Standard library only.

https://cloud.google.com/apis/design/errors. Reasons are Compute Engine's in `errors` and those in
google/api/error_reason.proto; codes are those of its operations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._metadata.secrets import REDACTED
from .errors import (
    ApiDisabled,
    BillingDisabled,
    ComputeBadRequest,
    ComputeConflict,
    ComputeError,
    ComputeNotFound,
    ComputeTooLarge,
    ComputeUnavailable,
    ConstraintViolated,
    CredentialsError,
    OperationConflict,
    OperationError,
    PerimeterViolated,
    PermissionDenied,
    ProjectInvalid,
    QuotaExceeded,
    QuotaProjectDenied,
    RateLimited,
    ScopeMissing,
    Suspended,
    sentence,
)

# Characters of the API's message. It may quote a value of 256 KB.
LONGEST_MESSAGE = 500

_RATE_REASONS = {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"}
_QUOTA_REASONS = {"quotaExceeded", "dailyLimitExceeded", "QUOTA_EXCEEDED", "limitExceeded"}
_DISABLED_REASONS = {"accessNotConfigured", "SERVICE_DISABLED"}
_PRECONDITION_REASONS = {"conditionNotMet", "CONDITION_NOT_MET", "FAILED_PRECONDITION"}
# The reasons of a 403 for a missing permission. No role helps against any other reason.
_PERMISSION_REASONS = {"forbidden", "insufficientPermissions", "IAM_PERMISSION_DENIED", "PERMISSION_DENIED"}
# The codes of an operation for a missing permission.
_DENIED_CODES = {"FORBIDDEN", "PERMISSIONS_ERROR", "PERMISSION_DENIED", "SERVICE_ACCOUNT_ACCESS_DENIED"}

# Terraform's provider detects conflicts by the same two (FINGERPRINT_FAIL_ERRORS).
_CONFLICT_MESSAGES = ("Supplied fingerprint does not match", "Invalid fingerprint")
# A failed precondition is a conflict if its message names the fingerprint, or says nothing more.
_CONFLICT = re.compile(r"fingerprint|\betag\b|\A\W*(?:precondition failed|condition not met)?\W*\Z", re.IGNORECASE)
_PERMISSION = re.compile(r"""(?:Required|Permission) ['"]([a-z][\w.]+)['"]""")
_ACT_AS = re.compile(r"access to service account ['\"]?([^\s'\"]+@[^\s'\"]*\w)")
_CONSTRAINT = re.compile(r"\b(?:constraints|customConstraints)/([\w.-]*\w)")
_PERIMETER = re.compile(r"vpcServiceControlsUniqueIdentifier: *([\w-]+)")


@dataclass(frozen=True)
class Act:
    """An attempted call, for messages such as "Cannot {verb} {resource}". `project` is the resource's."""

    verb: str
    resource: str
    project: str
    # Values that messages must not repeat if the API quotes them.
    secrets: Collection[str] = ()
    api: str = "the Compute API"

    def failure(self, why: str) -> str:
        return f"Cannot {self.verb} {self.resource}: {why}"

    def quoted(self, message: str) -> str:
        """The API's message on one line, without secrets, and cut to LONGEST_MESSAGE."""
        # Longest first, since one secret may contain another.
        for secret in sorted(self.secrets, key=len, reverse=True):
            # Short texts would match anywhere.
            if len(secret) >= 4:
                message = message.replace(secret, REDACTED)
        line = " ".join(message.split())
        return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}[...]"


def refusal(act: Act, status: int, body: bytes) -> ComputeError:
    """The exception for an answer with a status of 400 or more."""
    problem = _envelope(body)
    answer = f"{act.api} answers {' '.join([str(status), *problem.codes[:1]])}"
    answer += f": {act.quoted(problem.message)}" if problem.message else ""
    return _error(_kind(status, problem), act, problem, answer, status)


def operation_error(act: Act, operation: Mapping[str, Any]) -> ComputeError | None:
    """The exception for an operation that is DONE, or None if it succeeded.

    A refusal by a policy is the same exception as for a call; all others are OperationErrors.
    """
    entries = list(_mappings(operation.get("error", {}).get("errors")))
    status = operation.get("httpErrorStatusCode")
    if not entries and int(status or 200) < 400:
        return None
    entries = entries or [{"message": operation.get("httpErrorMessage", "an error without a message")}]
    answer = "; ".join(
        f"{entry['code']}: {act.quoted(_message(entry))}" if entry.get("code") else act.quoted(_message(entry))
        for entry in entries
    )
    answer = f"its operation {operation.get('name', '')} ended in {answer}"
    problems = [_operation_problem(entry) for entry in entries]
    for problem in problems:
        kind = _operation_kind(status, problem)
        if kind is not OperationError:
            return _error(kind, act, problem, answer, status, codes=[each.codes[0] for each in problems])
    return _error(OperationError, act, problems[0], answer, status, codes=[each.codes[0] for each in problems])


@dataclass(frozen=True)
class _Problem:
    """The API's message, its reasons, and the details of the first reason, such as the consumer or the permission."""

    message: str
    codes: Sequence[str]
    info: Mapping[str, Any] = field(default_factory=dict)


# Refusals that neither a retry nor a role changes, by reason, or by message where Compute Engine only gives the reason
# "forbidden" or "conditionNotMet".
_POLICIES: Sequence[tuple[type[ComputeError], Collection[str], re.Pattern[str]]] = (
    (
        PerimeterViolated,
        {"SECURITY_POLICY_VIOLATED"},
        re.compile(r"vpcServiceControls|VPC Service Controls|prohibited by organization's policy"),
    ),
    (
        ConstraintViolated,
        {"LOCATION_ORG_POLICY_VIOLATED", "RESOURCE_USAGE_RESTRICTION_VIOLATED", "CUSTOM_ORG_POLICY_VIOLATION"},
        re.compile(rf"{_CONSTRAINT.pattern}|\b[Oo]rg(?:anization)? [Pp]olic(?:y|ies)\b"),
    ),
    (
        BillingDisabled,
        {"BILLING_DISABLED", "BILLING_NOT_ENABLED", "accountDisabled", "UREQ_PROJECT_BILLING_NOT_FOUND"},
        re.compile(r"billing account\b|[Bb]illing (?:is |has been |must be |to be )*(?:not )?(?:disabled|enabled)"),
    ),
    (Suspended, {"CONSUMER_SUSPENDED", "GCP_SUSPENDED"}, re.compile(r"has been suspended")),
    (ScopeMissing, {"ACCESS_TOKEN_SCOPE_INSUFFICIENT"}, re.compile(r"insufficient authentication scopes")),
    (QuotaProjectDenied, {"USER_PROJECT_DENIED"}, re.compile(r"roles/serviceusage\.serviceUsageConsumer")),
    (
        ProjectInvalid,
        {"CONSUMER_INVALID", "RESOURCE_PROJECT_INVALID"},
        re.compile(r"Consumer '[^']*' (?:is invalid|has been deleted)"),
    ),
    (ApiDisabled, _DISABLED_REASONS, re.compile(r"API has not been used in project")),
)


def _policy(problem: _Problem) -> type[ComputeError] | None:
    for kind, reasons, words in _POLICIES:
        if not set(problem.codes).isdisjoint(reasons) or words.search(problem.message):
            return kind
    return None


def _kind(status: int, problem: _Problem) -> type[ComputeError]:
    reasons = set(problem.codes)
    if problem.message.startswith(_CONFLICT_MESSAGES):
        return ComputeConflict
    if status == 429 or reasons & _RATE_REASONS:
        return RateLimited
    if status >= 500 or status == 408:
        return ComputeUnavailable
    if status == 403:
        return _policy(problem) or (QuotaExceeded if reasons & _QUOTA_REASONS else PermissionDenied)
    if status == 412 or reasons & _PRECONDITION_REASONS:
        return _policy(problem) or (ComputeConflict if _CONFLICT.search(problem.message) else ComputeBadRequest)
    return {401: CredentialsError, 404: ComputeNotFound, 413: ComputeTooLarge}.get(status, ComputeBadRequest)


def _operation_kind(status: int | None, problem: _Problem) -> type[ComputeError]:
    reasons = set(problem.codes)
    if any(phrase in problem.message for phrase in _CONFLICT_MESSAGES):
        return OperationConflict
    if status == 412 or reasons & _PRECONDITION_REASONS:
        return _policy(problem) or (OperationConflict if _CONFLICT.search(problem.message) else OperationError)
    if status == 403 or reasons & _DENIED_CODES:
        return _policy(problem) or PermissionDenied
    return QuotaExceeded if reasons & _QUOTA_REASONS else OperationError


def _error(
    kind: type[ComputeError],
    act: Act,
    problem: _Problem,
    answer: str,
    status: int | None,
    codes: Collection[str] | None = None,
) -> ComputeError:
    # The caller retries a conflict of an operation, and adds its own remedy.
    remedy = "" if kind is OperationConflict else _remedy(kind, act, problem)
    text = act.failure(sentence(answer)) + (f" {remedy}" if remedy else "")
    error = kind(
        text, status=status, codes=problem.codes if codes is None else codes, message=act.quoted(problem.message)
    )
    if isinstance(error, PermissionDenied):
        error.permission = _permission(problem)
    elif isinstance(error, ConstraintViolated):
        error.constraint = _constraint(problem)
    return error


def _remedy(kind: type[ComputeError], act: Act, problem: _Problem) -> str:
    """A sentence that says what to do."""
    consumer = str(problem.info.get("consumer", "")).rpartition("/")[2] or act.project
    if kind is PermissionDenied:
        return _permission_remedy(act, problem)
    if kind is ConstraintViolated:
        constraint = _constraint(problem)
        see = f"gcloud org-policies describe {constraint} --project {act.project} --effective"
        what = f"The organization policy {constraint} forbids it, see: {see}. " if constraint else ""
        return f"{what}Ask an organization policy administrator."
    if kind is PerimeterViolated:
        found = _PERIMETER.search(problem.message)
        look = f" The ID of this refusal in its audit log is {found[1]}." if found else ""
        return (
            "A perimeter of VPC Service Controls forbids it, whatever roles the account has. Run this from inside the "
            f"perimeter, or ask its administrator for an ingress rule.{look}"
        )
    if kind is ApiDisabled:
        service = problem.info.get("service", "compute.googleapis.com")
        return f"Enable it with: gcloud services enable {service} --project {consumer}"
    if kind is BillingDisabled:
        return f"Link a billing account to it with: gcloud billing projects link {consumer} --billing-account ACCOUNT"
    if "ACCOUNT_STATE_INVALID" in problem.codes:
        return "The account of the credentials is disabled or deleted. Enable it, or use another one."
    return {
        CredentialsError: "Renew the access token or the credentials, see auth_kind.",
        ScopeMissing: "The access token lacks the scope, whatever roles the account has. For auth_kind=machineaccount, "
        "set the access scopes of the VM while it is stopped, with: gcloud compute instances set-service-account. With "
        "other credentials, set the option scopes.",
        QuotaProjectDenied: "This is about the quota project of the credentials. Set another one with: gcloud auth "
        "application-default set-quota-project PROJECT",
        Suspended: "Its owner can see the reason and appeal in the Google Cloud console.",
        ProjectInvalid: f"Check that the project {act.project} is the right one.",
        QuotaExceeded: "Request a higher quota, or wait until it is available again.",
        RateLimited: "If others use the same quota, lower requests_per_minute or raise retry_for.",
        ComputeNotFound: f"Check the name, the zone, and that the project {act.project} is the right one.",
        ComputeConflict: "It has changed since it was read. Try again.",
    }.get(kind, "")


def _permission_remedy(act: Act, problem: _Problem) -> str:
    if not problem.message:
        return "This is not an answer of the API. It may come from a proxy or a firewall."
    if not _PERMISSION_REASONS.union(_DENIED_CODES).issuperset(problem.codes):
        return ""
    account = _ACT_AS.search(problem.message)
    if account:
        return (
            f"Grant the role roles/iam.serviceAccountUser on the service account {account[1]} to the account of the "
            "credentials."
        )
    permission = _permission(problem)
    what = f"the permission {permission}" if permission else "the permission for it"
    where = f", by a role on the project {act.project}" if act.project else ""
    return f"Grant {what} to the account of the credentials{where}."


def _permission(problem: _Problem) -> str | None:
    found = _PERMISSION.search(problem.message)
    return found[1] if found else problem.info.get("permission")


def _constraint(problem: _Problem) -> str | None:
    found = _CONSTRAINT.search(problem.message)
    return found[1] if found else None


def _envelope(body: bytes) -> _Problem:
    """The problem in an answer; empty if the answer is not the API's, such as a proxy's page."""
    try:
        error = json.loads(body)["error"]
        message = str(error["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return _Problem("", [])
    details = list(_mappings(error.get("details")))
    codes = _reasons([*_mappings(error.get("errors")), *details])
    if not codes and error.get("status"):
        codes = [str(error["status"])]
    return _Problem(message, codes, _info(details))


def _operation_problem(entry: Mapping[str, Any]) -> _Problem:
    """One error of an operation. Its code comes first, and may be empty."""
    details = [detail.get("errorInfo", {}) for detail in _mappings(entry.get("errorDetails"))]
    return _Problem(_message(entry), [str(entry.get("code", "")), *_reasons(details)], _info(details))


def _message(entry: Mapping[str, Any]) -> str:
    return str(entry.get("message", ""))


def _reasons(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(entry["reason"]) for entry in entries if entry.get("reason")))


def _info(details: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The metadata of the first ErrorInfo. https://cloud.google.com/apis/design/errors#error_info"""
    return next((dict(detail["metadata"]) for detail in details if isinstance(detail.get("metadata"), Mapping)), {})


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
