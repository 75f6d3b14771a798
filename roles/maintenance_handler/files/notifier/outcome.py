# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How sending a notice can fail. The texts contain no secret: no path of a URL, no header, no password."""

from __future__ import annotations


class Refused(Exception):
    """The target refuses this notice for good. Sending it again would not help."""


class Unavailable(Exception):
    """The target cannot take the notice now. `retry_after`: the seconds that it asks to wait, if it does."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after
