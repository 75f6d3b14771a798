# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the Compute API refuses, at once or by an operation, to the exception that it is. Pure.

Private to the collection: it may change at any time. Standard library only.

https://cloud.google.com/apis/design/errors; the reasons are those that Compute Engine gives in `errors` and
google/api/error_reason.proto has, and the codes those of its operations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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

# Of what the API says. It may quote a value, and a value may be 256 KB.
LONGEST_MESSAGE = 500
HIDDEN = "[redacted]"

_RATE_REASONS = {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"}
_QUOTA_REASONS = {"quotaExceeded", "dailyLimitExceeded", "QUOTA_EXCEEDED", "limitExceeded"}
_DISABLED_REASONS = {"accessNotConfigured", "SERVICE_DISABLED"}
_PRECONDITION_REASONS = {"conditionNotMet", "CONDITION_NOT_MET", "FAILED_PRECONDITION"}
# What a 403 says if it is about a permission. Any other reason is about something that no role changes.
_PERMISSION_REASONS = {"forbidden", "insufficientPermissions", "IAM_PERMISSION_DENIED", "PERMISSION_DENIED"}
# What an operation that is not permitted ends in.
_DENIED_CODES = {"FORBIDDEN", "PERMISSIONS_ERROR", "PERMISSION_DENIED", "SERVICE_ACCOUNT_ACCESS_DENIED"}

# Terraform's provider knows a conflict by the same two (FINGERPRINT_FAIL_ERRORS).
_CONFLICT_MESSAGES = ("Supplied fingerprint does not match", "Invalid fingerprint")
# A precondition that is not met is a conflict if it is the fingerprint's, or if nothing more is said.
_CONFLICT = re.compile(r"fingerprint|\betag\b|\A\W*(?:precondition failed|condition not met)?\W*\Z", re.IGNORECASE)
_PERMISSION = re.compile(r"""(?:Required|Permission) ['"]([a-z][\w.]+)['"]""")
_ACT_AS = re.compile(r"access to service account ['\"]?([^\s'\"]+@[^\s'\"]*\w)")
_CONSTRAINT = re.compile(r"\b(?:constraints|customConstraints)/([\w.-]*\w)")
_PERIMETER = re.compile(r"vpcServiceControlsUniqueIdentifier: *([\w-]+)")


@dataclass(frozen=True)
class Act:
    """What is attempted, as in "Cannot {verb} {resource}"; `project` is the project that it is in."""

    verb: str
    resource: str
    project: str
    # What must not be repeated, should the API quote it.
    secrets: Collection[str] = ()
    api: str = "the Compute API"

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
    problem = _envelope(body)
    said = f"{act.api} answers {' '.join([str(status), *problem.codes[:1]])}"
    said += f": {act.quoted(problem.message)}" if problem.message else ""
    return _error(_kind(status, problem), act, problem, said, status)


def operation_error(act: Act, operation: Mapping[str, Any]) -> ComputeError | None:
    """The error that an operation which is DONE ended in, or None if it ended well.

    A policy's refusal is the same error that it is when it is told at once; all else is an OperationError.
    """
    entries = list(_mappings(operation.get("error", {}).get("errors")))
    status = operation.get("httpErrorStatusCode")
    if not entries and int(status or 200) < 400:
        return None
    entries = entries or [{"message": operation.get("httpErrorMessage", "it says nothing about why")}]
    said = "; ".join(
        f"{entry['code']}: {act.quoted(_message(entry))}" if entry.get("code") else act.quoted(_message(entry))
        for entry in entries
    )
    said = f"its operation {operation.get('name', '')} ended in {said}"
    problems = [_operation_problem(entry) for entry in entries]
    for problem in problems:
        kind = _operation_kind(status, problem)
        if kind is not OperationError:
            return _error(kind, act, problem, said, status, codes=[each.codes[0] for each in problems])
    return _error(OperationError, act, problems[0], said, status, codes=[each.codes[0] for each in problems])


@dataclass(frozen=True)
class _Problem:
    """What the API says: its words, its reasons, and what it adds to them, such as the consumer or the permission."""

    message: str
    codes: Sequence[str]
    info: Mapping[str, Any] = field(default_factory=dict)


# Refusals that neither a repetition nor a role changes: by their reasons, or by words where Compute Engine only says
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
    said: str,
    status: int | None,
    codes: Collection[str] | None = None,
) -> ComputeError:
    # A conflict of an operation is for whoever tries again; what is left of it in the end says enough.
    remedy = "" if kind is OperationConflict else _remedy(kind, act, problem)
    text = act.failure(sentence(said)) + (f" {remedy}" if remedy else "")
    error = kind(
        text, status=status, codes=problem.codes if codes is None else codes, message=act.quoted(problem.message)
    )
    if isinstance(error, PermissionDenied):
        error.permission = _permission(problem)
    elif isinstance(error, ConstraintViolated):
        error.constraint = _constraint(problem)
    return error


def _remedy(kind: type[ComputeError], act: Act, problem: _Problem) -> str:
    """What to do about it, as a sentence."""
    consumer = str(problem.info.get("consumer", "")).rpartition("/")[2] or act.project
    if kind is PermissionDenied:
        return _permission_remedy(act, problem)
    if kind is ConstraintViolated:
        constraint = _constraint(problem)
        see = f"gcloud org-policies describe {constraint} --project {act.project} --effective"
        what = f"The organization policy {constraint} forbids it, see: {see}. " if constraint else ""
        return f"{what}Only an administrator of the organization's policies can change that."
    if kind is PerimeterViolated:
        found = _PERIMETER.search(problem.message)
        look = f" Its audit log knows this refusal as {found[1]}." if found else ""
        return (
            "A perimeter of VPC Service Controls forbids it, and no role changes that. Run this from inside the "
            f"perimeter, or have its administrator allow it by an ingress rule.{look}"
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
        ScopeMissing: "The access token lacks the scope, and no role changes that. With auth_kind=machineaccount, the "
        "access scopes of the VM count, which can be changed while it is stopped, with: gcloud compute instances "
        "set-service-account. With other credentials, the option scopes does.",
        QuotaProjectDenied: "The quota project of the credentials is meant. Use another one with: gcloud auth "
        "application-default set-quota-project PROJECT",
        Suspended: "Its owner finds the reason in the Google Cloud console, and can appeal there.",
        ProjectInvalid: f"Check that the project {act.project} is the right one.",
        QuotaExceeded: "Ask for a higher quota, or wait until there is some again.",
        RateLimited: "Lower requests_per_minute, or raise retry_for, if others use the same quota.",
        ComputeNotFound: f"Check the name, the zone, and that the project {act.project} is the right one.",
        ComputeConflict: "Somebody else has written it meanwhile. Read it again, and try again.",
    }.get(kind, "")


def _permission_remedy(act: Act, problem: _Problem) -> str:
    if not problem.message:
        return "Those are not the API's own words, but may be those of a proxy or a firewall on the way."
    if not _PERMISSION_REASONS.union(_DENIED_CODES).issuperset(problem.codes):
        return ""
    account = _ACT_AS.search(problem.message)
    if account:
        return (
            f"Have the role roles/iam.serviceAccountUser on the service account {account[1]} granted to the account "
            "that this runs as."
        )
    permission = _permission(problem)
    what = f"the permission {permission}" if permission else "the permission for it"
    where = f", in a role on the project {act.project}" if act.project else ""
    return f"Have {what} granted to the account that this runs as{where}."


def _permission(problem: _Problem) -> str | None:
    found = _PERMISSION.search(problem.message)
    return found[1] if found else problem.info.get("permission")


def _constraint(problem: _Problem) -> str | None:
    found = _CONSTRAINT.search(problem.message)
    return found[1] if found else None


def _envelope(body: bytes) -> _Problem:
    """What an error says; nothing of what is not the API's, such as a proxy's page."""
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
    """One of the errors of an operation. Its code comes first, and is empty if there is none."""
    details = [detail.get("errorInfo", {}) for detail in _mappings(entry.get("errorDetails"))]
    return _Problem(_message(entry), [str(entry.get("code", "")), *_reasons(details)], _info(details))


def _message(entry: Mapping[str, Any]) -> str:
    return str(entry.get("message", ""))


def _reasons(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(entry["reason"]) for entry in entries if entry.get("reason")))


def _info(details: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the first ErrorInfo adds to its reason. https://cloud.google.com/apis/design/errors#error_info"""
    return next((dict(detail["metadata"]) for detail in details if isinstance(detail.get("metadata"), Mapping)), {})


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
