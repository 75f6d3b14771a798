# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handlers of several VMs with one limit in a real etcd."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .emulator import eventually
from .etcd import Etcd
from .handler import HandlerProcess, task
from .vm import Vm

MakeHandler = Callable[..., HandlerProcess]
_groups = itertools.count(1)


class Member:
    """A VM of a group, and its handler. When it is drained, and when it is restored, it adds a line to `lines`."""

    def __init__(self, vm: Vm, make_handler: MakeHandler, lines: Path, limit: dict[str, Any], **settings: Any) -> None:
        self.vm = vm
        self.handler = make_handler(
            task("lb", drain=f'echo "+ {vm.name}" >> {lines}', restore=f'echo "- {vm.name}" >> {lines}'),
            metadata_host=vm.host,
            fleet_limit=limit,
            **settings,
        )

    def slot(self) -> dict[str, Any]:
        return dict((self.handler.status().get("incident") or {}).get("slot") or {})

    def is_drained(self) -> bool:
        return self.handler.state() == "drained"

    def is_skipped(self) -> bool:
        return bool((self.handler.status().get("incident") or {}).get("skips"))

    def until_decided(self) -> None:
        """Wait until it is drained, or is not going to be."""
        self.handler.until(lambda: self.is_drained() or self.is_skipped(), "a decision")

    def until_held(self) -> None:
        self.handler.until(lambda: self.slot().get("held"), "the slot", within=120)


class Group:
    """VMs with a limit of their own."""

    def __init__(self, etcd: Etcd, make_vm: Callable[[], Vm], make_handler: MakeHandler, folder: Path) -> None:
        self.lines = folder / "lines"
        self._make_vm = make_vm
        self._make_handler = make_handler
        self._limit = {"backend": "etcd", "group": f"handlers-{next(_groups)}", "endpoints": [etcd.url], "reserve": 0}

    def members(self, count: int, slots: int = 1, **settings: Any) -> list[Member]:
        limit = {**self._limit, "slots": slots, **settings.pop("limit", {})}
        found = [Member(self._make_vm(), self._make_handler, self.lines, limit, **settings) for _member in range(count)]
        for member in found:
            member.handler.start(ready=False)
        for member in found:
            member.handler.until(member.handler.has_heard_all, "an answer for each key")
        return found

    def most_drained(self) -> int:
        """How many VMs were drained at the same time at most."""
        drained: set[str] = set()
        most = 0
        for line in self.lines.read_text(encoding="utf-8").splitlines():
            sign, name = line.split()
            drained = drained | {name} if sign == "+" else drained - {name}
            most = max(most, len(drained))
        return most

    def take_turns(self, count: int) -> None:
        """Announce a termination to VMs at once, of which two may be drained at one time."""
        members = self.members(count, slots=2)
        for member in members:
            member.vm.announce("terminate")
        waiting = list(members)

        def drained() -> list[Member]:
            found = [member for member in waiting if member.is_drained()]
            return found if len(found) >= min(2, len(waiting)) else []

        while waiting:
            member = eventually(drained, within=120, what="two VMs that are drained")[0]
            waiting.remove(member)
            member.vm.withdraw("terminate")
        for member in members:
            incident = member.handler.until_over()
            assert "goes ahead without a slot" not in [entry["what"] for entry in incident["slot"]["entries"]]
        assert self.most_drained() == 2
        assert len(self.lines.read_text(encoding="utf-8").splitlines()) == 2 * count
