# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server with the parts of Consul's documented HTTP API that limits use: KV, transactions and sessions.

No package of Consul is available for tests. Consul's rules: https://developer.hashicorp.com/consul/api-docs/txn
"""

from __future__ import annotations

import time
import uuid
from base64 import b64decode, b64encode
from typing import Any

from .json_service import Call, Certificate, JsonService

DENIED = "Permission denied: token with AccessorID '00000000-0000-0000-0000-000000000002' lacks permission 'key:write'"


class Failed(Exception):
    """An operation of a transaction failed."""


class Consul(JsonService):
    """An agent. `tokens` are the rights of each token: any of `key:read`, `key:write`, `session:write`."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        super().__init__(certificate)
        self.tokens: dict[str, set[str]] = {}
        self.keys: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        # How many holders there were after each change.
        self.counts: list[int] = []
        self._index = 10

    def expire(self, session: str) -> None:
        """End a session, as after its TTL."""
        with self.lock:
            self._end(session)

    def answer(self, call: Call) -> tuple[int, Any]:
        for name, session in list(self.sessions.items()):
            # Consul waits for up to twice the TTL.
            if time.monotonic() > session["at"] + 2 * float(session["TTL"].removesuffix("s")):
                self._end(name)
        if call.path.startswith("/v1/kv/") and call.method == "GET":
            return self._list(call)
        if call.path == "/v1/txn" and call.method == "PUT":
            return self._transact(call)
        if call.path.startswith("/v1/session/") and call.method == "PUT":
            return self._session(call)
        return 405, f"method {call.method} not allowed"

    def _may(self, call: Call, right: str) -> bool:
        return not self.tokens or right in self.tokens.get(call.headers.get("x-consul-token", ""), set())

    def _list(self, call: Call) -> tuple[int, Any]:
        prefix = call.path.removeprefix("/v1/kv/")
        found = [
            {**entry, "Key": key, "Value": b64encode(entry["Value"]).decode() or None}
            for key, entry in sorted(self.keys.items())
            if key == prefix or ("recurse" in call.query and key.startswith(prefix))
        ]
        # Entries without the right to read are left out.
        return (200, found) if found and self._may(call, "key:read") else (404, "")

    def _transact(self, call: Call) -> tuple[int, Any]:
        operations = [one["KV"] for one in call.body]
        errors = [
            {"OpIndex": place, "What": DENIED}
            for place, one in enumerate(operations)
            if not self._may(call, "key:read" if one["Verb"].startswith("check") else "key:write")
        ]
        if errors:
            return 409, {"Results": None, "Errors": errors}
        before = {key: dict(entry) for key, entry in self.keys.items()}
        self._index += 1
        results = []
        for place, one in enumerate(operations):
            try:
                getattr(self, f"_{one['Verb'].replace('-', '_')}")(one)
                results.append({"KV": {"Key": one["Key"], "ModifyIndex": self._index}})
            except Failed as exc:
                errors.append({"OpIndex": place, "What": str(exc)})
        if errors:
            self.keys = before
            return 409, {"Results": None, "Errors": errors}
        self._count()
        return 200, {"Results": results if operations[0]["Verb"] != "delete-cas" else [], "Errors": None}

    def _check_index(self, one: dict[str, Any]) -> None:
        entry = self.keys.get(one["Key"])
        if entry is None or entry["ModifyIndex"] != one["Index"]:
            raise Failed(f"failed to check index for key {one['Key']!r}")

    def _set(self, one: dict[str, Any]) -> None:
        self._write(one, self.keys.get(one["Key"], {}).get("Session"))

    def _cas(self, one: dict[str, Any]) -> None:
        if self.keys.get(one["Key"], {"ModifyIndex": 0})["ModifyIndex"] != one["Index"]:
            raise Failed(f"failed to set key {one['Key']!r}, index is stale")
        self._set(one)

    def _delete_cas(self, one: dict[str, Any]) -> None:
        entry = self.keys.get(one["Key"])
        if entry is not None and entry["ModifyIndex"] != one["Index"]:
            raise Failed(f"failed to delete key {one['Key']!r}, index is stale")
        self.keys.pop(one["Key"], None)

    def _lock(self, one: dict[str, Any]) -> None:
        if one["Session"] not in self.sessions:
            raise Failed(f"invalid session {one['Session']!r}")
        if self.keys.get(one["Key"], {}).get("Session") not in (None, one["Session"]):
            raise Failed(f"failed to lock key {one['Key']!r}, lock is already held")
        self._write(one, one["Session"])

    def _write(self, one: dict[str, Any], session: str | None) -> None:
        value = b64decode(one["Value"])
        before = self.keys.get(one["Key"])
        # A write that changes nothing leaves the index as it is.
        if before is None or (before["Value"], before.get("Session")) != (value, session):
            entry: dict[str, Any] = {"Value": value, "ModifyIndex": self._index}
            self.keys[one["Key"]] = entry if session is None else {**entry, "Session": session}

    def _session(self, call: Call) -> tuple[int, Any]:
        if not self._may(call, "session:write"):
            return 403, DENIED.replace("key", "session")
        verb, _slash, name = call.path.removeprefix("/v1/session/").partition("/")
        if verb == "create":
            name = str(uuid.uuid4())
            self.sessions[name] = {**call.body, "at": time.monotonic()}
            return 200, {"ID": name}
        if verb == "destroy":
            self._end(name)
            return 200, True
        if name not in self.sessions:
            return 404, f"Session id '{name}' not found"
        self.sessions[name]["at"] = time.monotonic()
        return 200, [{"ID": name}]

    def _end(self, name: str) -> None:
        if self.sessions.pop(name, None) is not None:
            self._index += 1
            self.keys = {key: entry for key, entry in self.keys.items() if entry.get("Session") != name}
            self._count()

    def _count(self) -> None:
        self.counts.append(sum("Session" in entry for entry in self.keys.values()))
