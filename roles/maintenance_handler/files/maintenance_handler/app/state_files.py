# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the handler keeps in its state directory: the journal, the history and the drift token.

One thread writes them, in order. Problems are logged and reported; the handler goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

from .._vm.records import dataclass
from ..core.incident import Incident
from ..io.files import sweep
from ..io.history import History
from ..io.journal import UNREADABLE, Entry, Journal, JournalError
from ..io.state_writer import Journaled, StateWriter
from ..io.token_file import TokenFile

if TYPE_CHECKING:
    from ..io.log import Log
    from .config import Config
    from .report import Reporter


@dataclass(frozen=True)
class LastIncident:
    """The newest incident in the history."""

    document: Mapping[str, Any]


class StateFiles:
    """The files of one state directory. `instance_id` is the instance whose incidents they hold, None if unknown."""

    def __init__(
        self,
        config: Config,
        boot_id: str,
        log: Log,
        reporter: Reporter,
        post: Callable[[Any], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.boot_id = boot_id
        self.instance_id: str | None = None
        self._log = log
        self._reporter = reporter
        self._post = post
        self._clock = clock
        self._journal = Journal(config.state_dir)
        self._history = History(config.state_dir)
        self._token_file = TokenFile(config.state_dir, boot_id)
        self._writer = StateWriter(self._journal, post, config.journal_wait, clock)
        # Whether a stall of the disk was reported.
        self._stalled = False
        for path in (self._journal.path, self._history.path):
            sweep(path)

    def read_journal(self) -> Entry | None:
        """The newest entry, None if there is none. Raises `JournalError`."""
        return self._journal.read()

    def take_journal(self) -> Entry | None:
        """The newest entry, None if there is none. An unreadable journal is set aside."""
        try:
            entry = self._journal.read()
        except JournalError as exc:
            self._log.error(f"{exc} The handler cannot restore what it contained.")
            self.set_journal_aside(UNREADABLE)
            # The file must exist before it is looked for.
            self._writer.finish(self._writer.journal_wait)
            entry = None
        self.look_for_lost_journal()
        return entry

    def write_journal(self, incident: Incident | None, stopped: bool = False) -> Callable[[float], bool]:
        """`stopped`: in order. Returns a function that waits until it is written."""
        return self._writer.write_journal(Entry(self.instance_id, self.boot_id, incident, stopped))

    def set_journal_aside(self, suffix: str) -> None:
        self._reporter.journal_set_aside()
        self._writer.do(lambda: self._rename_journal(suffix))

    def look_for_lost_journal(self) -> None:
        """Report an unreadable journal until someone has deleted it: its tasks may still be drained."""
        lost = self._journal.aside(UNREADABLE)
        self._reporter.journal_lost(lost if lost.exists() else None)

    def claim(self, instance_id: str) -> None:
        """Take the files over for this instance. Incidents of another are moved out of the history."""
        written_by = self.instance_id
        self._writer.do(lambda: self._claim_history(instance_id, written_by))
        self.instance_id = instance_id

    def keep_incident(self, incident: dict[str, Any]) -> None:
        """Add a closed incident to the history."""
        kept = {**incident, "instance_id": self.instance_id}
        self._writer.do(lambda: self._add_to_history(kept))

    def read_token(self) -> str | None:
        """The last drift token of this boot."""
        return self._token_file.read()

    def keep_token(self, token: str) -> None:
        self._writer.do(lambda: self._write_token(token))

    def after_writes(self, call: Callable[[], None]) -> None:
        """Call something that does not block, once everything that was written before is on disk."""
        self._writer.do(call)

    def journaled(self, journaled: Journaled) -> None:
        """The writer has written an entry of the journal, or failed."""
        self._stalled = False
        if journaled.problem:
            # A drain without a journal is better than none.
            self._reporter.journal_failed(f"Writing the journal {self._journal.path}: {journaled.problem}.")
        else:
            self._reporter.journal_written()

    def journal_waits(self) -> bool:
        """Whether an entry is not on disk yet."""
        return self._writer.journal_waits()

    def next_time(self) -> float | None:
        """When the disk counts as stalled, if it does not respond until then."""
        since = self._writer.waiting_since()
        return None if since is None or self._stalled else since + self._writer.journal_wait

    def holds_reports(self) -> bool:
        """Whether reports wait for the journal, because a crash could undo what they say."""
        return self.journal_waits() and not self._stalled

    def look_for_stall(self) -> None:
        """Report a disk that does not respond."""
        stall_at = self.next_time()
        if stall_at is not None and self._clock() >= stall_at:
            self._stalled = True
            why = f"no response from the disk for {self._writer.journal_wait:g} s"
            self._reporter.journal_failed(f"Writing the journal {self._journal.path}: {why}.")

    def configured(self, config: Config) -> None:
        """Another configuration is in force."""
        self._writer.journal_wait = config.journal_wait
        self.look_for_lost_journal()

    def finish(self, within: float) -> None:
        """Wait until everything is written, at most `within` seconds."""
        self._writer.finish(within)

    def _rename_journal(self, suffix: str) -> None:
        try:
            self._log.warning(f"the journal was moved to {self._journal.set_aside(suffix)}")
        except OSError as exc:
            self._log.error(f"Moving the journal {self._journal.path}: {exc}.")

    def _claim_history(self, instance_id: str, written_by: str | None) -> None:
        try:
            aside = self._history.claim(instance_id, written_by)
        except OSError as exc:
            self._log.error(f"Checking the history {self._history.path} for incidents of another instance: {exc}.")
            return
        if aside is not None:
            self._log.warning(f"the history contained incidents of another instance, which are now in {aside}")
        self._post_last_incident()

    def _post_last_incident(self) -> None:
        try:
            incidents = self._history.read()
        except OSError as exc:
            self._log.error(f"Reading the history {self._history.path}: {exc}. The last incident is not reported.")
            return
        if incidents:
            self._post(LastIncident(incidents[-1]))

    def _add_to_history(self, incident: dict[str, Any]) -> None:
        try:
            self._history.add(incident)
        except OSError as exc:
            self._log.error(f"Writing the history {self._history.path}: {exc}. The incident is only in this log.")

    def _write_token(self, token: str) -> None:
        try:
            self._token_file.write(token)
        except OSError as exc:
            self._log.error(
                f"Writing the drift token: {exc}. A migration while the handler is stopped is not detected."
            )
