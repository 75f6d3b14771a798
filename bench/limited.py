# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler with a limit across the fleet, in a real etcd."""

from __future__ import annotations

from typing import Any

from support.etcd import MISSING, Etcd

from .rivals import EVENT_KEY, Handler

IS_AVAILABLE = not MISSING


class LimitedHandler(Handler):
    """It has taken the slot and given it back once, because the handler loads code for that."""

    name = "limited"
    title = "with a limit in etcd"
    _etcd: Etcd | None = None

    def settings(self) -> dict[str, Any]:
        if self._etcd is None:
            self._etcd = Etcd(self.folder / "etcd")
        limit = {"backend": "etcd", "endpoints": [self._etcd.url], "group": "bench", "slots": 1}
        return {**super().settings(), "fleet_limit": limit}

    def start(self) -> None:
        super().start()
        self.emulator.control.set(self.name, EVENT_KEY, "MIGRATE_ON_HOST_MAINTENANCE")
        self.task_began()
        self.rearm()

    def close(self) -> None:
        super().close()
        if self._etcd is not None:
            self._etcd.kill()
