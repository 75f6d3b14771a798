# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read tokens and passwords from files."""

from __future__ import annotations

from pathlib import Path

from client.errors import Refusal


def read(path: str) -> str:
    """The secret in a file, a single line. Raises `Refusal`; its text never contains the secret."""
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except OSError as exc:
        raise Refusal(f"{path} cannot be read: {exc.strerror}") from None
    except ValueError:
        text = ""
    # Anything else is not a valid HTTP header, and the error of http.client would contain it.
    if not text.isprintable() or not text:
        raise Refusal(f"{path} must contain a single line of ASCII characters")
    return text
