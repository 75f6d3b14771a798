# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last handler left in the journal: an open incident, or the trace of a crash.

After a reboot, both count only once the metadata server has confirmed the instance, because an image of a VM contains
the journal of another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.incident import Incident

if TYPE_CHECKING:
    from ..core.observations import Reading
    from ..io.journal import Entry
    from ..io.log import Log
    from .state_files import StateFiles


class Recovery:
    """The journal of the last handler, until it is clear what it means."""

    def __init__(self, files: StateFiles, log: Log) -> None:
        self._files = files
        self._log = log
        # An incident of an earlier boot, until the instance is known.
        self._unclaimed: Entry | None = None
        # The newest reading of each source meanwhile.
        self._early: dict[str, Reading] = {}
        # The instance that went down without an orderly stop, until it is known whether that is this one.
        self._crashed_instance: str | None = None

    def begin(self) -> Incident | None:
        """Read the journal. Returns an incident of this boot, to be resumed now."""
        entry = self._files.take_journal()
        if entry is None:
            return None
        is_of_this_boot = entry.boot_id == self._files.boot_id
        if entry.incident is not None and not is_of_this_boot:
            self._unclaimed = entry
            self._log.info("an incident of an earlier boot is open: waiting for the metadata server")
            return None
        self._files.instance_id = entry.instance_id
        if entry.incident is not None:
            return entry.incident
        if not is_of_this_boot and entry.stopped is False:
            self._crashed_instance = entry.instance_id
        else:
            # From now on, a journal without an orderly stop means a crash.
            self._files.write_journal(None)
        return None

    def is_waiting(self) -> bool:
        """Whether an incident of an earlier boot waits for the metadata server."""
        return self._unclaimed is not None

    def needs_journal(self) -> bool:
        """Whether the journal of the earlier boot is still needed."""
        return self._unclaimed is not None or self._crashed_instance is not None

    def defer(self, source: str, reading: Reading) -> None:
        """Keep a reading until the incident of the earlier boot is resumed."""
        self._early[source] = reading

    def deferred(self) -> list[Reading]:
        """The readings that were kept, once."""
        readings, self._early = list(self._early.values()), {}
        return readings

    def claim_incident(self, instance_id: str) -> Incident | None:
        """The incident of the earlier boot if it is of this instance. The journal of another one is set aside."""
        entry, self._unclaimed = self._unclaimed, None
        if entry is None:
            return None
        if entry.instance_id in (None, instance_id):
            return entry.incident
        self._log.warning(f"the journal belongs to instance {entry.instance_id}: setting it aside")
        self._files.set_journal_aside("of-another-instance")
        return None

    def claim_crash(self, instance_id: str) -> bool:
        """Whether this instance went down without an orderly stop; True once."""
        crashed_instance, self._crashed_instance = self._crashed_instance, None
        return crashed_instance == instance_id
