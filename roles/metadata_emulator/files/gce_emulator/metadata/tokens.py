# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access and identity tokens that look real and are worthless."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any

from ..state.instance import Instance

LIFETIME = 3599
# As on the real server, which caches tokens until shortly before they expire.
RENEW_BEFORE = 300


class Tokens:
    """The access tokens of one instance."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._cached: dict[tuple[str, str], tuple[str, float]] = {}

    def access_token(self, email: str, scopes: str) -> dict[str, Any]:
        now = self._instance.clock.time()
        token, expires = self._cached.get((email, scopes), ("", 0.0))
        if expires - now < RENEW_BEFORE:
            token, expires = f"ya29.c.emulated-{secrets.token_urlsafe(96)}", now + LIFETIME
            self._cached[email, scopes] = (token, expires)
        return {"access_token": token, "expires_in": int(expires - now), "token_type": "Bearer"}

    def identity(self, email: str, audience: str, *, full: bool, licenses: bool) -> str:
        """A JWT with the claims of a real one and an invalid signature."""
        instance, project = self._instance, self._instance.project
        subject = str(int.from_bytes(hashlib.blake2b(email.encode(), digest_size=8).digest(), "big"))
        issued = int(instance.clock.time())
        claims: dict[str, Any] = {
            "aud": audience,
            "azp": subject,
            "exp": issued + 3600,
            "iat": issued,
            "iss": "https://accounts.google.com",
            "sub": subject,
        }
        if full:
            compute: dict[str, Any] = {
                "instance_creation_timestamp": int(instance.created.timestamp()),
                "instance_id": str(instance.id),
                "instance_name": instance.name,
                "project_id": project.name,
                "project_number": project.number,
                "zone": instance.zone,
            }
            if licenses:
                compute["license_id"] = [str(instance.get("instance/licenses/0/id"))]
            claims |= {"email": email, "email_verified": True, "google": {"compute_engine": compute}}
        header = {"alg": "RS256", "kid": hashlib.sha1(b"emulated").hexdigest(), "typ": "JWT"}
        return ".".join([_part(json.dumps(each).encode()) for each in (header, claims)] + [_part(bytes(256))])


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
