# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a poll of a project has found.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils._compute.fleet_maintenance import Announcement


@dataclass(frozen=True)
class Poll:
    """What one poll has found.

    `missing` are the scopes that could not be read, such as zones/europe-west1-b or the name of a kind, with the
    reason. With `is_partial`, others may be missing, too. `instances` are those that match the filter, as ZONE/NAME, or
    None without a filter. `operations` are the rows of `history`.
    """

    announcements: Iterable[Announcement]
    missing: Mapping[str, str]
    is_partial: bool
    operations: Sequence[Mapping[str, Any]]
    instances: Collection[str] | None = None

    def lacks(self, kind: str, zone: str) -> bool:
        """Whether resources of this kind in this zone may be missing."""
        return self.is_partial or f"zones/{zone}" in self.missing or kind in self.missing
