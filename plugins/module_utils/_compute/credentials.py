# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials of google-auth from options and the environment, with their project and universe.

Private to the collection: it may change at any time. Used only by api.py.

https://cloud.google.com/docs/authentication, https://google.aip.dev/auth/4110
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import CredentialsError, PermissionDenied, reason_of, sentence
from .refusals import Act, refusal

try:
    import google.auth
    import google.auth.compute_engine
    import google.auth.credentials
    import google.auth.exceptions
    import google.auth.impersonated_credentials
    import google.auth.transport.requests
    import google.oauth2.credentials
    import google.oauth2.service_account
except ImportError:
    pass  # api.connect() reports it

DEFAULT_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
DEFAULT_UNIVERSE = "googleapis.com"
# Often set for gcloud only. Not an option's fallback, so that it does not override a key in a task.
GCLOUD_TOKEN = "CLOUDSDK_AUTH_ACCESS_TOKEN"

_TOKEN = re.compile(r"[\x21-\x7e]+")
_DOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)+")
_EMAIL = re.compile(r"[^@\s/]+@[^@\s/]+")

# Other types in such files, which google-auth only accepts as application default credentials.
_OTHER_TYPES = {
    "authorized_user": "the credentials of a user",
    "external_account": "a configuration of workload identity federation",
    "external_account_authorized_user": "the credentials of a user by workforce identity federation",
    "impersonated_service_account": "credentials that impersonate a service account",
    "gdch_service_account": "a key of Google Distributed Cloud",
}

# It warns of what is an error here, or does not matter, such as a missing project.
logging.getLogger("google.auth").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Login:
    """Credentials, their project if known, and their universe domain."""

    credentials: Any
    project: str | None
    universe: str
    can_refresh: bool


def login(option: Callable[[str], Any], *, with_universe: bool = True) -> Login:
    """The credentials for a plugin's options; `option` reads one by its name. Raises CredentialsError.

    Without `with_universe`, a VM's account does not ask the metadata server for the universe domain.
    """
    kind = auth_kind(option)
    scopes = list(option("scopes") or [DEFAULT_SCOPE])
    universe = _checked_universe(option("universe_domain"))
    credentials, project = _SOURCES[kind](option, scopes, universe)
    accounts = [_checked_account(account) for account in option("impersonate_service_account") or []]
    try:
        if project is None and not option("project"):
            project = _project_of(credentials)
        if accounts:
            credentials = _impersonated(credentials, accounts, scopes)
        if universe or with_universe:
            universe = _agreed_universe(credentials, universe)
    except google.auth.exceptions.GoogleAuthError as error:
        raise unusable(error, f"The credentials of auth_kind={kind} cannot be used", credentials) from None
    return Login(credentials, project, universe or DEFAULT_UNIVERSE, kind != "accesstoken" or bool(accounts))


def auth_kind(option: Callable[[str], Any]) -> str:
    """The kind of credentials, derived from the other options if it is not set."""
    if option("auth_kind"):
        return str(option("auth_kind"))
    if option("access_token"):
        return "accesstoken"
    if option("service_account_file") or option("service_account_contents"):
        return "serviceaccount"
    return "accesstoken" if os.environ.get(GCLOUD_TOKEN) else "application"


def unusable(error: BaseException, what: str, credentials: Any) -> CredentialsError:
    """The error for an exception of google-auth, or of the API that issues tokens for other accounts."""
    body = next((part for part in error.args[1:] if isinstance(part, (str, bytes))), None)
    if "impersonat" in str(error.args[:1]) and body is not None:
        account = getattr(credentials, "service_account_email", None) or "the service account"
        act = Act("impersonate", account, "", api="the IAM Service Account Credentials API")
        refused = refusal(act, _code(body), body.encode() if isinstance(body, str) else body)
        advice = (
            " The role roles/iam.serviceAccountTokenCreator has it." if isinstance(refused, PermissionDenied) else ""
        )
        return CredentialsError(f"{what}: {refused}{advice}")
    return CredentialsError(f"{what}: {sentence(reason_of(error))} Renew them, or choose another auth_kind.")


# The kinds: options, scopes and universe domain to credentials and their project


def _access_token(option: Callable[[str], Any], scopes: list[str], universe: str | None) -> tuple[Any, str | None]:
    # Commands print it with a line feed.
    token = str(option("access_token") or os.environ.get(GCLOUD_TOKEN) or "").strip()
    if not token:
        raise CredentialsError("auth_kind is accesstoken, which requires access_token.")
    if not _TOKEN.fullmatch(token):
        raise CredentialsError("access_token cannot be sent in a header: it has blanks, or is not ASCII.")
    return google.oauth2.credentials.Credentials(token, **_in(universe)), None


def _machine_account(option: Callable[[str], Any], scopes: list[str], universe: str | None) -> tuple[Any, str | None]:
    account = option("service_account_email") or "default"
    return google.auth.compute_engine.Credentials(account, scopes=scopes, **_in(universe)), None


def _service_account(option: Callable[[str], Any], scopes: list[str], universe: str | None) -> tuple[Any, str | None]:
    information, origin = _key(option)
    try:
        found = google.oauth2.service_account.Credentials.from_service_account_info(information, scopes=scopes)
    # cryptography's errors are ValueErrors, and may quote the key.
    except (ValueError, google.auth.exceptions.GoogleAuthError):
        raise CredentialsError(f"{origin} is not the key of a service account.") from None
    return found, found.project_id


def _application(option: Callable[[str], Any], scopes: list[str], universe: str | None) -> tuple[Any, str | None]:
    try:
        # With scopes, federated credentials would ask another API for their project, which may be denied.
        credentials, project = google.auth.default()
    except google.auth.exceptions.GoogleAuthError as error:
        raise CredentialsError(
            f"There are no application default credentials: {sentence(reason_of(error))} Create them with gcloud auth "
            "application-default login, or choose another auth_kind."
        ) from None
    return google.auth.credentials.with_scopes_if_required(credentials, scopes), project


_SOURCES: Mapping[str, Callable[[Callable[[str], Any], list[str], str | None], tuple[Any, str | None]]] = {
    "accesstoken": _access_token,
    "machineaccount": _machine_account,
    "serviceaccount": _service_account,
    "application": _application,
}


def _project_of(credentials: Any) -> str | None:
    """The project of federated credentials. Takes a request to the Resource Manager API."""
    ask = getattr(credentials, "get_project_id", None)
    project = ask(google.auth.transport.requests.Request()) if callable(ask) else None
    return str(project) if project else None


def _impersonated(source: Any, accounts: list[str], scopes: list[str]) -> Any:
    """Credentials of the last account. Each account impersonates the next one."""
    *delegates, target = accounts
    return google.auth.impersonated_credentials.Credentials(
        source_credentials=source, target_principal=target, target_scopes=scopes, delegates=delegates
    )


def _agreed_universe(credentials: Any, wanted: str | None) -> str:
    own = str(getattr(credentials, "universe_domain", None) or DEFAULT_UNIVERSE)
    if wanted and wanted != own:
        raise CredentialsError(
            f"universe_domain is {wanted}, but the credentials are for {own}. Omit it, or use other credentials."
        )
    return own


def _in(universe: str | None) -> dict[str, str]:
    """An argument that only google-auth 2.23 and later accept, and only needed with a universe domain."""
    return {"universe_domain": universe} if universe else {}


def _checked_universe(domain: str | None) -> str | None:
    text = str(domain or "").strip()
    if text and not _DOMAIN.fullmatch(text):
        raise CredentialsError(f"universe_domain is {text!r}, which is not a domain such as {DEFAULT_UNIVERSE}.")
    return text or None


def _checked_account(account: Any) -> str:
    text = str(account).strip()
    if not _EMAIL.fullmatch(text):
        raise CredentialsError(
            f"impersonate_service_account has {text!r}, which is not the email address of a service account."
        )
    return text


def _code(body: str | bytes) -> int:
    try:
        return int(json.loads(body)["error"]["code"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return 403


# The key of a service account


def _key(option: Callable[[str], Any]) -> tuple[dict[str, Any], str]:
    """The key in a file or a text, and its name for errors."""
    path, contents = option("service_account_file"), option("service_account_contents")
    if path:
        origin, contents = _read(str(path))
    elif contents:
        origin = "service_account_contents"
    else:
        raise CredentialsError(
            "auth_kind is serviceaccount, which requires service_account_file or service_account_contents."
        )
    information = dict(contents) if isinstance(contents, Mapping) else _parsed(contents, origin)
    found = information.get("type")
    if found in _OTHER_TYPES:
        raise CredentialsError(
            f"{origin} is not the key of a service account, but {_OTHER_TYPES[found]} (its type is {found}). Set the "
            "environment variable GOOGLE_APPLICATION_CREDENTIALS to its file, and auth_kind=application."
        )
    if {"installed", "web"}.intersection(information):
        raise CredentialsError(
            f"{origin} is not the key of a service account, but the OAuth client of an application. Create a key with: "
            "gcloud iam service-accounts keys create FILE --iam-account ACCOUNT"
        )
    return information, origin


def _read(path: str) -> tuple[str, str]:
    if "{" in path or "\n" in path:
        raise CredentialsError(
            "service_account_file contains a key instead of a path. Use service_account_contents for a key."
        )
    origin = f"service_account_file {path}"
    try:
        with open(path, encoding="utf-8") as file:
            return origin, file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{origin} cannot be read: {getattr(error, 'strerror', None) or 'not text'}.") from None


def _parsed(contents: Any, origin: str) -> dict[str, Any]:
    information = _json_object(contents)
    if information is not None:
        return information
    try:
        is_encoded = _json_object(base64.b64decode(contents)) is not None
    except (ValueError, TypeError):
        is_encoded = False
    if is_encoded:
        raise CredentialsError(f"{origin} is in base64. Decode it, such as with the filter b64decode.")
    raise CredentialsError(f"{origin} is not the key of a service account: it is not a JSON object.")


def _json_object(text: Any) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
