# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS contexts for HTTP APIs. Certificates are always verified."""

from __future__ import annotations

import ssl
from pathlib import Path

from client.errors import Refusal


def context(ca_file: str | None, cert_file: str | None = None, key_file: str | None = None) -> ssl.SSLContext:
    """A context with a certificate authority (default: the VM's) and a client certificate. Raises `Refusal`."""
    for path in (ca_file, cert_file, key_file):
        if path is not None:
            _refuse_unreadable(path)
    try:
        made = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise Refusal(f"{ca_file} contains no certificates in PEM format") from None
    if cert_file is not None:
        try:
            # The password prevents a prompt; a key without encryption does not use it.
            made.load_cert_chain(cert_file, key_file, password="")
        except (ssl.SSLError, ValueError):
            files = f"{cert_file} and {key_file}" if key_file else cert_file
            raise Refusal(f"{files}: no certificate and key in PEM format that match, without a password") from None
    return made


def _refuse_unreadable(path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as exc:
        raise Refusal(f"{path} cannot be read: {exc.strerror}") from None
