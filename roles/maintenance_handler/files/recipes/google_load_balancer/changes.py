# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leave groups, and join those again that were left, also after an interruption at any point."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from recipes.api import NotFound, Rejected
from recipes.google_load_balancer.cloud import Cloud, OperationFailed
from recipes.google_load_balancer.groups import HEALTHY, Group, Groups, Member
from recipes.run import Refusal, Run, counted


@dataclass(frozen=True)
class Note:
    """What the record has about a group.

    `leaving` and `joining` are the IDs of the requests, which the API carries out only once. `left_at` is a time of
    `time.time`, `seconds` the time from then on until connections have ended. `checked` are the paths of the backend
    services that reported the health of the members.
    """

    members: list[Member]
    checked: list[str]
    seconds: float
    leaving: str
    left_at: float | None = None
    joining: str | None = None


class Changes:
    """A drain or a restore. Its steps can be repeated, and raise `Unreachable` for what may succeed later."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._record = run.record
        self._known: Groups | None = None

    def notes(self) -> list[tuple[str, Note]]:
        """The notes of all groups that this recipe has left, by their paths."""
        return [(path, Note(**self._record.get(path))) for path in sorted(self._record.keys())]

    def managed(self) -> list[Group]:
        """The managed groups that this VM is in."""
        return [group for group in self._groups().of_this_vm(self._run["groups"]) if group.is_managed()]

    def leave(self) -> str:
        """Leave all groups. Returns which ones this VM may still be in."""
        groups = {path: self._groups().at(path) for path in sorted(self._record.keys())}
        own = self._groups().of_this_vm(self._run["groups"])
        groups.update({group.path: group for group in own if not group.is_managed()})
        # All begin before the first ends: operations may take long.
        begun = [(group, self._begin_to_leave(group)) for group in groups.values()]
        return _joined(self._finish_leaving(group, operation) for group, operation in begun if operation)

    def still_seen(self) -> str:
        """Which groups and backend services still show this VM, although it has left."""
        return _joined(self._still_seen(self._groups().at(path), note) for path, note in self.notes())

    def join(self) -> str:
        """Join all groups that this recipe has left. Returns what is missing until all of them send to this VM."""
        return _joined(self._join(self._groups().at(path), note) for path, note in self.notes())

    def _groups(self) -> Groups:
        if self._known is None:
            self._known = Groups(Cloud(self._run))
        return self._known

    def _begin_to_leave(self, group: Group) -> str | None:
        """The path of the operation; None if this VM is not in the group."""
        note = self._note(group)
        if note is not None and note.joining is not None:
            self._end_interrupted(group, note.joining)
            self._change(group, joining=None)
        members = self._members(group)
        note = self._note(group)
        if not members:
            if note is not None and note.left_at is None:
                self._change(group, left_at=time.time())
            return None
        if note is None or note.left_at is not None:
            note = self._before_leaving(group, members, note)
        try:
            return group.leave(members, note.leaving)
        except Rejected as exc:
            # Someone else may have removed it.
            if exc.status != 400 or self._members(group):
                raise
            self._change(group, left_at=time.time())
            return None

    def _before_leaving(self, group: Group, members: Sequence[Member], earlier: Note | None) -> Note:
        """Note what this VM is about to leave, in addition to what it has left earlier."""
        known = {group.identity(member): member for member in [*(earlier.members if earlier else []), *members]}
        checked = {path for path, states in group.health(members).items() if states}
        note = Note(
            members=list(known.values()),
            checked=sorted(checked.union(earlier.checked if earlier else [])),
            seconds=group.draining_seconds(self._run["settle_seconds"]),
            leaving=str(uuid.uuid4()),
        )
        self._write(group, note)
        return note

    def _finish_leaving(self, group: Group, operation: str) -> str:
        try:
            group.finish(operation)
        except OperationFailed as exc:
            # With the same ID, the API would answer with the same operation again.
            self._change(group, leaving=str(uuid.uuid4()))
            # The group may have been deleted, or someone else may have removed this VM: then the next try ends it.
            if self._members(group) and not exc.may_succeed_later:
                raise Refusal(f"{group}: {exc}") from None
            return f"{group}: {exc}"
        self._change(group, left_at=time.time())
        return f"{group} still lists this VM" if self._members(group) else ""

    def _still_seen(self, group: Group, note: Note) -> str:
        try:
            draining = group.draining()
            if draining:
                return f"{counted(draining, 'endpoint')} of {group} still draining"
            sending = group.health_of_former(note.members)
        except NotFound:
            return ""
        return _joined(f"{path.lstrip('/')} still reports {HEALTHY}" for path in sending if HEALTHY in sending[path])

    def _join(self, group: Group, note: Note) -> str:
        try:
            if note.left_at is None:
                self._end_interrupted(group, note.leaving)
                note = replace(note, left_at=time.time())
                self._write(group, note)
            missing = self._missing(group, note)
            problem = self._join_with(group, missing, note) if missing else ""
            problem = problem or _unhealthy(group, note)
        except NotFound:
            self._members(group)
            if group.path in self._record:
                raise
            self._run.say(f"{group} no longer exists")
            return ""
        if not problem:
            self._record.forget(group.path)
            self._run.say(f"this VM is in {group} again{', and healthy' if note.checked else ''}")
        return problem

    def _end_interrupted(self, group: Group, request: str) -> None:
        """Wait for the operation that an interrupted run has begun; else it could undo what follows."""
        operation = group.begun(request)
        if operation is not None:
            try:
                group.finish(operation)
            except OperationFailed as exc:
                self._run.say(f"{group}: {exc}")

    def _join_with(self, group: Group, missing: Sequence[Member], note: Note) -> str:
        request = note.joining or str(uuid.uuid4())
        self._write(group, replace(note, joining=request))
        try:
            group.finish(group.join(missing, request))
        except OperationFailed as exc:
            self._change(group, joining=None)
            # Someone else may have added it.
            if self._missing(group, note) and not exc.may_succeed_later:
                raise Refusal(f"{group}: {exc}") from None
            return f"{group}: {exc}"
        self._change(group, joining=None)
        return f"{group} does not list this VM yet" if self._missing(group, note) else ""

    def _missing(self, group: Group, note: Note) -> list[Member]:
        present = {group.identity(member) for member in group.members()}
        return [member for member in note.members if group.identity(member) not in present]

    def _members(self, group: Group) -> list[Member]:
        """This VM's members; none in a group that no longer exists, which is not noted any more either."""
        try:
            return group.members()
        except NotFound:
            self._record.forget(group.path)
            return []

    def _change(self, group: Group, **fields: Any) -> None:
        note = self._note(group)
        if note is not None:
            self._write(group, replace(note, **fields))

    def _note(self, group: Group) -> Note | None:
        found = self._record.get(group.path)
        return None if found is None else Note(**found)

    def _write(self, group: Group, note: Note) -> None:
        self._record.note(group.path, asdict(note))


def _unhealthy(group: Group, note: Note) -> str:
    """Which backend services do not report all members as healthy, of those that check them."""
    problems = []
    for path, states in group.health(note.members).items():
        if path in note.checked and (len(states) < len(note.members) or set(states) != {HEALTHY}):
            problems.append(
                f"{path.lstrip('/')} reports {' and '.join(sorted(set(states))) or 'no health'} for {group}"
            )
    return _joined(problems)


def _joined(problems: Iterable[str]) -> str:
    return "; ".join(filter(None, problems))
