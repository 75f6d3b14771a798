# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the Compute API as exceptions and messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute import errors
from ansible_collections.gce.guest.plugins.module_utils._compute.refusals import Act, operation_error, refusal

RESOURCE = "projects/acme/zones/europe-west1-b/instances/web-1"
ACT = Act("set the metadata of", RESOURCE, "acme", secrets=["hunter2", "TRUE", "hun"])
MISMATCH = "Supplied fingerprint does not match current metadata fingerprint."
BEGIN = f"Cannot set the metadata of {RESOURCE}: the Compute API answers "


def envelope(code: int, message: str, reason: str, **more: Any) -> bytes:
    entry = {"message": message, "domain": "global", "reason": reason}
    return json.dumps({"error": {"code": code, "message": message, "errors": [entry], **more}}).encode()


def detailed(code: int, message: str, reason: str, detail: str, **metadata: str) -> bytes:
    """An error with Compute Engine's reason and that of google.rpc.ErrorInfo."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": detail, "metadata": metadata}
    return envelope(code, message, reason, details=[{"@type": "type.googleapis.com/google.rpc.Help"}, info])


# Status, body, exception, the answer in its message, and facts of the remedy.
ROWS: list[tuple[int, bytes, type[errors.ComputeError], str, list[str]]] = [
    (
        404,
        envelope(404, f"The resource '{RESOURCE}' was not found", "notFound"),
        errors.ComputeNotFound,
        f"404 notFound: The resource '{RESOURCE}' was not found.",
        ["the project acme"],
    ),
    (
        412,
        envelope(412, MISMATCH, "conditionNotMet"),
        errors.ComputeConflict,
        f"412 conditionNotMet: {MISMATCH}",
        ["Try again."],
    ),
    (
        412,
        envelope(412, "Invalid fingerprint.", "conditionNotMet"),
        errors.ComputeConflict,
        "412 conditionNotMet: Invalid fingerprint.",
        ["Try again."],
    ),
    (
        400,
        envelope(400, "Invalid value for field 'metadata.items[0].key': 'a b'. Must be a match of regex", "invalid"),
        errors.ComputeBadRequest,
        "400 invalid: Invalid value for field 'metadata.items[0].key': 'a b'. Must be a match of regex.",
        [],
    ),
    (
        413,
        envelope(
            413, "Value for field 'metadata.items[X].value' is too large: maximum size 262144", "fieldSizeTooLarge"
        ),
        errors.ComputeTooLarge,
        "413 fieldSizeTooLarge: Value for field 'metadata.items[X].value' is too large: maximum size 262144.",
        [],
    ),
    (
        400,
        envelope(400, "Metadata has duplicate keys: a", "invalid"),
        errors.ComputeBadRequest,
        "400 invalid: Metadata has duplicate keys: a.",
        [],
    ),
    (
        403,
        envelope(403, "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'.", "rateLimitExceeded"),
        errors.RateLimited,
        "403 rateLimitExceeded: Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'.",
        ["requests_per_minute", "retry_for"],
    ),
    (
        429,
        json.dumps({"error": {"code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED"}}).encode(),
        errors.RateLimited,
        "429 RESOURCE_EXHAUSTED: Slow down.",
        ["requests_per_minute", "retry_for"],
    ),
    (
        401,
        envelope(401, "Request had invalid authentication credentials.", "authError"),
        errors.CredentialsError,
        "401 authError: Request had invalid authentication credentials.",
        ["auth_kind"],
    ),
    (
        403,
        envelope(403, f"Required 'compute.instances.setMetadata' permission for '{RESOURCE}'", "forbidden"),
        errors.PermissionDenied,
        f"403 forbidden: Required 'compute.instances.setMetadata' permission for '{RESOURCE}'.",
        ["Grant the permission compute.instances.setMetadata", "the project acme"],
    ),
    (
        403,
        envelope(403, "The user does not have access to service account 'x@acme'.", "forbidden"),
        errors.PermissionDenied,
        "403 forbidden: The user does not have access to service account 'x@acme'.",
        ["Grant the role roles/iam.serviceAccountUser on the service account x@acme"],
    ),
    (
        403,
        envelope(
            403, "Compute Engine API has not been used in project 1 before or it is disabled.", "accessNotConfigured"
        ),
        errors.ApiDisabled,
        "403 accessNotConfigured: Compute Engine API has not been used in project 1 before or it is disabled.",
        ["gcloud services enable compute.googleapis.com --project acme"],
    ),
    (
        403,
        json.dumps(
            {"error": {"code": 403, "message": "Disabled.", "details": [{"reason": "SERVICE_DISABLED"}, "x"]}}
        ).encode(),
        errors.ApiDisabled,
        "403 SERVICE_DISABLED: Disabled.",
        ["gcloud services enable compute.googleapis.com --project acme"],
    ),
    (
        403,
        envelope(403, "Quota 'X' exceeded. Limit: 5", "quotaExceeded"),
        errors.QuotaExceeded,
        "403 quotaExceeded: Quota 'X' exceeded. Limit: 5.",
        ["Request a higher quota"],
    ),
    (
        412,
        envelope(
            412,
            "Constraint constraints/compute.disableGuestAttributesAccess violated for project 1.",
            "conditionNotMet",
        ),
        errors.ConstraintViolated,
        "412 conditionNotMet: Constraint constraints/compute.disableGuestAttributesAccess violated for project 1.",
        [
            "gcloud org-policies describe compute.disableGuestAttributesAccess --project acme --effective",
            "organization policy administrator",
        ],
    ),
    (
        412,
        envelope(
            412, 'Operation denied by custom org policies: ["customConstraints/custom.keep": "x"]', "conditionNotMet"
        ),
        errors.ConstraintViolated,
        '412 conditionNotMet: Operation denied by custom org policies: ["customConstraints/custom.keep": "x"].',
        [
            "gcloud org-policies describe custom.keep --project acme --effective",
            "organization policy administrator",
        ],
    ),
    (
        412,
        envelope(412, "Shielded VM is not supported for this image.", "conditionNotMet"),
        errors.ComputeBadRequest,
        "412 conditionNotMet: Shielded VM is not supported for this image.",
        [],
    ),
    (
        412,
        b"",
        errors.ComputeConflict,
        "412.",
        ["Try again."],
    ),
    (
        403,
        detailed(
            403,
            "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: eYhD_k-fYCu",
            "forbidden",
            "SECURITY_POLICY_VIOLATED",
        ),
        errors.PerimeterViolated,
        "403 forbidden: Request is prohibited by organization's policy. "
        "vpcServiceControlsUniqueIdentifier: eYhD_k-fYCu.",
        ["VPC Service Controls", "ingress rule", "eYhD_k-fYCu"],
    ),
    (
        403,
        envelope(403, "Project web (#80) has billing disabled. Please enable it.", "forbidden"),
        errors.BillingDisabled,
        "403 forbidden: Project web (#80) has billing disabled. Please enable it.",
        ["gcloud billing projects link acme --billing-account ACCOUNT"],
    ),
    (
        403,
        detailed(403, "This API method requires billing.", "forbidden", "BILLING_DISABLED", consumer="projects/80"),
        errors.BillingDisabled,
        "403 forbidden: This API method requires billing.",
        ["gcloud billing projects link 80 --billing-account ACCOUNT"],
    ),
    (
        403,
        envelope(403, "The account for the specified project has been disabled.", "accountDisabled"),
        errors.BillingDisabled,
        "403 accountDisabled: The account for the specified project has been disabled.",
        ["gcloud billing projects link acme --billing-account ACCOUNT"],
    ),
    (
        403,
        detailed(
            403, "Permission denied: Consumer 'project:acme' has been suspended.", "forbidden", "CONSUMER_SUSPENDED"
        ),
        errors.Suspended,
        "403 forbidden: Permission denied: Consumer 'project:acme' has been suspended.",
        ["Google Cloud console"],
    ),
    (
        403,
        envelope(403, "Request had insufficient authentication scopes.", "insufficientPermissions"),
        errors.ScopeMissing,
        "403 insufficientPermissions: Request had insufficient authentication scopes.",
        ["auth_kind=machineaccount", "gcloud compute instances set-service-account", "the option scopes"],
    ),
    (
        403,
        detailed(403, "Caller does not have required permission to use project x.", "forbidden", "USER_PROJECT_DENIED"),
        errors.QuotaProjectDenied,
        "403 forbidden: Caller does not have required permission to use project x.",
        ["gcloud auth application-default set-quota-project PROJECT"],
    ),
    (
        403,
        detailed(403, "Permission denied on resource project x.", "forbidden", "CONSUMER_INVALID"),
        errors.ProjectInvalid,
        "403 forbidden: Permission denied on resource project x.",
        ["the project acme"],
    ),
    (
        403,
        detailed(
            403, "Disabled.", "forbidden", "SERVICE_DISABLED", consumer="projects/80", service="iam.googleapis.com"
        ),
        errors.ApiDisabled,
        "403 forbidden: Disabled.",
        ["gcloud services enable iam.googleapis.com --project 80"],
    ),
    (
        403,
        detailed(403, "Not from this address.", "forbidden", "SOMETHING_NEW"),
        errors.PermissionDenied,
        "403 forbidden: Not from this address.",
        [],
    ),
    (
        403,
        detailed(403, "Denied.", "forbidden", "IAM_PERMISSION_DENIED", permission="compute.projects.get"),
        errors.PermissionDenied,
        "403 forbidden: Denied.",
        ["Grant the permission compute.projects.get", "the project acme"],
    ),
    (
        403,
        b"<html>Blocked by your company</html>",
        errors.PermissionDenied,
        "403.",
        ["a proxy or a firewall"],
    ),
    (
        401,
        detailed(401, "The account is disabled.", "authError", "ACCOUNT_STATE_INVALID"),
        errors.CredentialsError,
        "401 authError: The account is disabled.",
        ["disabled or deleted"],
    ),
    (
        503,
        envelope(503, "Try later.", "backendError"),
        errors.ComputeUnavailable,
        "503 backendError: Try later.",
        [],
    ),
    (
        502,
        b"<html>password: hunter2</html>",
        errors.ComputeUnavailable,
        "502.",
        [],
    ),
    (
        404,
        b"[]",
        errors.ComputeNotFound,
        "404.",
        ["the project acme"],
    ),
    (
        400,
        b'{"error": "x"}',
        errors.ComputeBadRequest,
        "400.",
        [],
    ),
]


@pytest.mark.parametrize("status, body, kind, answer, facts", ROWS, ids=[f"{row[0]}-{row[2].__name__}" for row in ROWS])
def test_refusals(status: int, body: bytes, kind: type[errors.ComputeError], answer: str, facts: list[str]) -> None:
    error = refusal(ACT, status, body)
    assert error.__class__ is kind
    assert error.status == status
    assert str(error).startswith(BEGIN + answer)
    remedy = str(error)[len(BEGIN + answer) :]
    assert bool(remedy) == bool(facts)
    assert [fact for fact in facts if fact not in remedy] == []


def test_a_missing_permission_has_its_name() -> None:
    error = refusal(
        ACT, 403, envelope(403, "Required 'compute.projects.get' permission for 'projects/acme'", "forbidden")
    )
    assert isinstance(error, errors.PermissionDenied)
    assert error.permission == "compute.projects.get"


def test_secrets_that_the_api_quotes_are_not_repeated() -> None:
    error = refusal(ACT, 400, envelope(400, "Invalid value for field 'x': 'a hunter2 b'. TRUE hun", "invalid"))
    assert "hunter2" not in str(error) + error.message
    # A short secret is not redacted, since it would match anywhere.
    assert "'a [redacted] b'" in str(error)


def test_messages_are_one_line_of_limited_length() -> None:
    error = refusal(ACT, 400, envelope(400, "a\nb\r\n" + "x" * 300_000, "invalid"))
    assert "\n" not in str(error)
    assert len(str(error)) < 800


def operation(*problems: tuple[str, str], **more: Any) -> dict[str, Any]:
    entries = [{"code": code, "message": message} for code, message in problems]
    return {"name": "operation-1", "status": "DONE", "error": {"errors": entries}, **more}


class TestOperations:
    def test_that_succeed(self) -> None:
        assert operation_error(ACT, {"name": "operation-1", "status": "DONE"}) is None

    def test_that_end_in_a_conflict(self) -> None:
        error = operation_error(ACT, operation(("CONDITION_NOT_MET", MISMATCH), httpErrorStatusCode=412))
        assert isinstance(error, errors.ComputeConflict)
        assert isinstance(error, errors.OperationError)
        assert str(error) == (
            f"Cannot set the metadata of {RESOURCE}: its operation operation-1 ended in CONDITION_NOT_MET: {MISMATCH}"
        )

    @pytest.mark.parametrize("message", ["", "Condition not met", "Precondition failed."])
    def test_that_end_in_a_condition_without_details(self, message: str) -> None:
        assert isinstance(operation_error(ACT, operation(("CONDITION_NOT_MET", message))), errors.OperationConflict)

    def test_that_a_policy_refuses(self) -> None:
        message = "Constraint constraints/compute.requireOsLogin violated for project 1."
        error = operation_error(ACT, operation(("CONDITION_NOT_MET", message), httpErrorStatusCode=412))
        assert isinstance(error, errors.ConstraintViolated)
        assert error.constraint == "compute.requireOsLogin"
        assert error.codes == ("CONDITION_NOT_MET",)
        assert str(error) == (
            f"Cannot set the metadata of {RESOURCE}: its operation operation-1 ended in CONDITION_NOT_MET: {message} "
            "The organization policy compute.requireOsLogin forbids it, see: gcloud org-policies describe "
            "compute.requireOsLogin --project acme --effective. Ask an organization policy administrator."
        )

    @pytest.mark.parametrize(
        "problem, kind",
        [
            (("CONDITION_NOT_MET", "The instance is managed by a group."), errors.OperationError),
            (("PERMISSIONS_ERROR", "Required 'compute.disks.use' permission for 'x'"), errors.PermissionDenied),
            (("FORBIDDEN", "Project web has billing disabled."), errors.BillingDisabled),
            (("QUOTA_EXCEEDED", "Quota 'X' exceeded."), errors.QuotaExceeded),
            (("INVALID_FIELD_VALUE", "Value 'constraints/x' is invalid."), errors.OperationError),
        ],
    )
    def test_that_are_refused_otherwise(self, problem: tuple[str, str], kind: type[errors.ComputeError]) -> None:
        assert operation_error(ACT, operation(problem)).__class__ is kind

    def test_that_end_in_several_errors(self) -> None:
        error = operation_error(ACT, operation(("A", "One hunter2"), ("B", "Two")))
        assert isinstance(error, errors.OperationError)
        assert not isinstance(error, errors.ComputeConflict)
        assert error.codes == ("A", "B")
        assert str(error).endswith("ended in A: One [redacted]; B: Two.")

    def test_that_only_have_a_status(self) -> None:
        error = operation_error(ACT, {"name": "o", "httpErrorStatusCode": 404, "httpErrorMessage": "NOT FOUND"})
        assert isinstance(error, errors.OperationError)
        assert str(error).endswith("its operation o ended in NOT FOUND.")
