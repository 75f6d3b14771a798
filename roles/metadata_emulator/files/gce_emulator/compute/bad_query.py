# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A query parameter that the Compute API refuses."""

from __future__ import annotations


class BadQuery(ValueError):
    """str() is the API's own sentence."""

    def __init__(self, parameter: str, value: str, why: str) -> None:
        super().__init__(f"Invalid value for field '{parameter}': '{value}'. {why}")
        self.parameter = parameter
