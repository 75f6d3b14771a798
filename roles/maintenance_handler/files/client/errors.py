# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of programs that use services. Each text is one sentence for the person who reads it."""

from __future__ import annotations


class Refusal(Exception):
    """A program cannot do its work. The text is one sentence with the reason and the remedy."""


class Unreachable(Refusal):
    """An address does not answer. The text has the address and the reason."""
