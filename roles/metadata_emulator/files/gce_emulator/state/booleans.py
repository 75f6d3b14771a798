# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words that the platform reads as true. Pure."""

from __future__ import annotations


def is_true_metadata(value: str) -> bool:
    """Whether a value of custom metadata is true: TRUE, Y, Yes or 1, in any case.

    https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#boolean
    """
    return value.lower() in ("true", "y", "yes", "1")


def is_true_parameter(value: str) -> bool:
    """Whether a query parameter is true: true, on, yes or 1, in any case. Anything else is false."""
    return value.lower() in ("true", "on", "yes", "1")
