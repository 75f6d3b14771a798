# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server for the FleetLock protocol (https://coreos.github.io/zincati/development/fleetlock/protocol)."""

from __future__ import annotations

from typing import Any

from .json_service import Call, Certificate, JsonService

# How each server says that there is no slot.
FULL = {
    "protocol": (409, {"kind": "failed_lock_semaphore_full", "value": "semaphore currently full"}),
    "airlock": (500, {"kind": "failed_lock", "value": "all slots are locked"}),
    "poseidon": (423, {"kind": "locked", "value": "reboot lease unavailable, held by another"}),
    "heathcliff26": (423, {"kind": "all_slots_full", "value": "Could not reserve a slot"}),
}


class FleetLock(JsonService):
    """A server with one slot for each of the groups `web` and `db`."""

    def __init__(self, server: str = "protocol", certificate: Certificate | None = None) -> None:
        super().__init__(certificate)
        self.holders: dict[str, str] = {}
        self._full = FULL[server]

    def answer(self, call: Call) -> tuple[int, Any]:
        if call.path not in ("/base/v1/pre-reboot", "/base/v1/steady-state"):
            return 404, {"kind": "not_found", "value": "no such URL"}
        if call.method != "POST" or call.headers.get("fleet-lock-protocol") != "true":
            return 400, {"kind": "missing_fleetlock_header", "value": "the header must be set"}
        client = call.body["client_params"]
        assert set(client) == {"id", "group"}
        if client["group"] not in ("web", "db"):
            return 400, {"kind": "unknown_group", "value": f"unknown group {client['group']!r}"}
        holder = self.holders.get(client["group"])
        if call.path.endswith("steady-state"):
            if holder == client["id"]:
                del self.holders[client["group"]]
            return 200, ""
        if holder not in (None, client["id"]):
            return self._full
        self.holders[client["group"]] = client["id"]
        return 200, ""
