# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store Consul, by sessions and its KV store (https://developer.hashicorp.com/consul/api-docs).

The holders' keys are `PREFIX/GROUP/holders/ID`, each locked by a session with a TTL, at whose end the key is deleted.
Consul cannot compare a whole range of keys. Therefore each transaction that takes a slot also writes the key
`PREFIX/GROUP/taken`, and fails if that was written since the holders were read.
"""

from __future__ import annotations

import ssl
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

from client import secret_file
from client.errors import Refusal
from client.http import Answer
from fleet_limit.api import Api
from fleet_limit.deadline import Deadline
from fleet_limit.semaphore import Held, Seen, held_from

_REMEDY = "give the limit a token_file with a token that has the rights in the guide"
_DENIED = "ermission denied"
# No key has this index.
_NEVER = 2**53 - 1


class Consul:
    """A `Store` at one agent or server."""

    def __init__(self, limit: Mapping[str, Any], url: str, context: ssl.SSLContext | None, deadline: Deadline) -> None:
        token = "" if limit["token_file"] is None else secret_file.read(limit["token_file"])
        self._api = Api(url, deadline, context, {"X-Consul-Token": token} if token else {}, token)
        self._datacenter = {} if limit["datacenter"] is None else {"dc": limit["datacenter"]}
        self._group = f"{limit['prefix'].strip('/')}/{limit['group']}"
        self._ttl: int = limit["ttl"]
        # The ID of a session that no key is locked by yet.
        self._spare = ""

    def check(self) -> None:
        # Consul checks the rights for all operations, before it carries out the first.
        never = {"Verb": "check-index", "Key": f"{self._group}/taken", "Index": _NEVER}
        self._transaction(never, {"Verb": "set", "Key": self._key("check"), "Value": ""})
        self._spare = self._new_session()

    def read(self) -> Seen:
        path = f"/v1/kv/{quote(self._group)}/"
        answer = self._send("GET", path, {"recurse": "true", "consistent": "true"})
        if answer.status == 404 and not answer.body:
            return Seen((), 0)
        entries = {one["Key"]: one for one in self._list(answer, path)}
        taken = entries.get(f"{self._group}/taken")
        holders = [one for key, one in entries.items() if key.startswith(self._key("")) and one.get("Session")]
        return Seen(tuple(map(self._held, holders)), 0 if taken is None else int(taken["ModifyIndex"]))

    def add(self, name: str, text: str, seen: Seen) -> bool:
        # The index 0 is for a key that does not exist.
        unchanged = {"Verb": "cas", "Key": f"{self._group}/taken", "Index": seen.version, "Value": _encoded(text)}
        if not self._spare:
            self._spare = self._new_session()
        done = self._transaction(unchanged, self._lock(name, text, self._spare))
        if done:
            self._spare = ""
        return done

    def replace(self, held: Held, text: str) -> bool:
        same = {"Verb": "check-index", "Key": self._key(held.holder.id), "Index": held.version}
        return self._transaction(same, self._lock(held.holder.id, text, held.lease)) and self.prolong(held)

    def prolong(self, held: Held) -> bool:
        path = f"/v1/session/renew/{quote(held.lease, safe='')}"
        answer = self._send("PUT", path)
        if answer.status == 404:
            return False
        return bool(self._list(answer, path))

    def remove(self, held: Held) -> bool:
        done = self._transaction({"Verb": "delete-cas", "Key": self._key(held.holder.id), "Index": held.version})
        if done:
            self._destroy(held.lease)
        return done

    def close(self) -> None:
        if self._spare:
            self._destroy(self._spare)
            self._spare = ""

    def _new_session(self) -> str:
        body = {
            "Name": f"gce.guest limit of {self._group}",
            "TTL": f"{self._ttl}s",
            "Behavior": "delete",
            # A lock delay would only keep the same VM from taking its slot again. It must be more than 0.
            "LockDelay": "1ms",
            # Without checks, also before Consul 1.7: a slot outlives a reboot, in which the node's check fails.
            "Checks": [],
            "NodeChecks": [],
        }
        path = "/v1/session/create"
        answer = self._send("PUT", path, body=body)
        value = answer.json()
        if answer.status != 200 or not isinstance(value, dict):
            raise self._api.failed(answer, path)
        return str(value["ID"])

    def _destroy(self, session: str) -> None:
        # It expires anyway.
        with suppress(Refusal):
            self._send("PUT", f"/v1/session/destroy/{quote(session, safe='')}")

    def _transaction(self, *operations: Mapping[str, Any]) -> bool:
        path = "/v1/txn"
        answer = self._send("PUT", path, body=[{"KV": operation} for operation in operations])
        value = answer.json()
        if answer.status == 200 and isinstance(value, dict) and not value.get("Errors"):
            return bool(value["Results"]) or operations[0]["Verb"] == "delete-cas"
        if answer.status != 409 or not isinstance(value, dict):
            raise self._api.failed(answer, path)
        if any(_DENIED in str(one["What"]) for one in value["Errors"]):
            raise self._api.rejected(answer, path, _REMEDY)
        if any(one["OpIndex"] > 0 for one in value["Errors"]):
            # The session cannot lock the key. It may have expired.
            self.close()
        return False

    def _lock(self, name: str, text: str, session: str) -> dict[str, str]:
        return {"Verb": "lock", "Key": self._key(name), "Session": session, "Value": _encoded(text)}

    def _key(self, name: str) -> str:
        return f"{self._group}/holders/{name}"

    def _held(self, entry: Mapping[str, Any]) -> Held:
        name = entry["Key"][len(self._key("")) :]
        return held_from(name, b64decode(entry["Value"] or ""), int(entry["ModifyIndex"]), str(entry["Session"]))

    def _list(self, answer: Answer, path: str) -> list[dict[str, Any]]:
        value = answer.json()
        if answer.status != 200 or not isinstance(value, list):
            raise self._api.failed(answer, path)
        return value

    def _send(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Answer:
        parameters = urlencode({**(query or {}), **self._datacenter})
        answer = self._api.send(method, f"{path}?{parameters}" if parameters else path, body)
        if answer.status in (401, 403):
            raise self._api.rejected(answer, path, _REMEDY)
        return answer


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")
