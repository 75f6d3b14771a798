# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store etcd, by its JSON gateway (https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/), from etcd 3.4 on.

The holders' keys are `PREFIX/GROUP/holders/ID`, each attached to a lease. A transaction compares the revisions of the
whole range of these keys, so that it needs no further key: it fails if one was written since the range was read.
"""

from __future__ import annotations

import ssl
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from client import secret_file
from client.errors import Refusal
from client.http import Answer
from fleet_limit.api import Api
from fleet_limit.deadline import Deadline
from fleet_limit.semaphore import Held, Seen, held_from

_REMEDY = "check username and password_file, and the rights of the user; see the guide"
# Codes of gRPC: https://grpc.io/docs/guides/status-codes/
_INVALID_ARGUMENT, _NOT_FOUND, _DENIED, _FAILED_PRECONDITION, _UNAUTHENTICATED = 3, 5, 7, 9, 16
# What etcd says for a missing user, with the code of any other invalid argument.
_NO_USER = "user name is empty"


class Etcd:
    """A `Store` at one endpoint."""

    def __init__(self, limit: Mapping[str, Any], url: str, context: ssl.SSLContext | None, deadline: Deadline) -> None:
        self._api = _authenticated(limit, url, context, deadline)
        self._prefix = f"{limit['prefix'].rstrip('/')}/{limit['group']}/holders/"
        self._ttl: int = limit["ttl"]
        # The ID of a lease that no key depends on yet.
        self._spare = ""

    def check(self) -> None:
        # etcd checks the rights for all of a transaction's operations, also for those that it does not carry out.
        key = self._key("check")
        never = {"key": key, "target": "VERSION", "result": "LESS", "version": "0"}
        self._transaction(never, [{"request_put": {"key": key, "value": ""}}])

    def read(self) -> Seen:
        value = self._call("/v3/kv/range", self._range())
        held = [self._held(one) for one in value.get("kvs", [])]
        return Seen(tuple(held), int(value["header"]["revision"]))

    def add(self, name: str, text: str, seen: Seen) -> bool:
        unchanged = {**self._range(), "target": "MOD", "result": "LESS", "mod_revision": str(seen.version + 1)}
        return self._put(unchanged, name, text)

    def replace(self, held: Held, text: str) -> bool:
        done = self._put(self._same(held), held.holder.id, text)
        if done and held.lease:
            self._revoke(held.lease)
        return done

    def prolong(self, held: Held) -> bool:
        value = self._call("/v3/lease/keepalive", {"ID": held.lease})
        # A lease that has expired has no TTL.
        return int(value["result"].get("TTL", 0)) > 0

    def remove(self, held: Held) -> bool:
        change = {"request_delete_range": {"key": self._key(held.holder.id)}}
        done = self._transaction(self._same(held), [change])
        if done and held.lease:
            self._revoke(held.lease)
        return done

    def close(self) -> None:
        if self._spare:
            self._revoke(self._spare)

    def _put(self, condition: Mapping[str, Any], name: str, text: str) -> bool:
        if not self._spare:
            granted = self._call("/v3/lease/grant", {"TTL": str(self._ttl)})
            self._spare = str(int(granted["ID"]))
        put = {"key": self._key(name), "value": _encoded(text), "lease": self._spare}
        try:
            done = self._transaction(condition, [{"request_put": put}])
        except _NotFound:
            # The lease has expired meanwhile.
            self._spare = ""
            return False
        if done:
            self._spare = ""
        return done

    def _transaction(self, condition: Mapping[str, Any], changes: list[dict[str, Any]]) -> bool:
        value = self._call("/v3/kv/txn", {"compare": [condition], "success": changes})
        int(value["header"]["revision"])
        return value.get("succeeded", False) is True

    def _revoke(self, lease: str) -> None:
        # It expires anyway.
        with suppress(Refusal):
            self._call("/v3/lease/revoke", {"ID": lease})

    def _range(self) -> dict[str, str]:
        # "0" is the character after "/".
        return {"key": _encoded(self._prefix), "range_end": _encoded(f"{self._prefix[:-1]}0")}

    def _same(self, held: Held) -> dict[str, str]:
        key = self._key(held.holder.id)
        return {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": str(held.version)}

    def _key(self, name: str) -> str:
        return _encoded(self._prefix + name)

    def _held(self, pair: Mapping[str, Any]) -> Held:
        name = b64decode(pair["key"]).decode("utf-8", "replace")[len(self._prefix) :]
        # etcd leaves out a value that is empty.
        return held_from(name, b64decode(pair.get("value", "")), int(pair["mod_revision"]), str(pair.get("lease", "")))

    def _call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return _object(self._api, path, body)


class _NotFound(Refusal):
    """etcd does not know the lease."""


class _NotEnabled(Refusal):
    """etcd has users, but does not ask for them."""


def _authenticated(limit: Mapping[str, Any], url: str, context: ssl.SSLContext | None, deadline: Deadline) -> Api:
    if limit["username"] is None:
        return Api(url, deadline, context)
    password = secret_file.read(limit["password_file"])
    plain = Api(url, deadline, context, secret=password)
    try:
        value = _object(plain, "/v3/auth/authenticate", {"name": limit["username"], "password": password})
    except _NotEnabled:
        return plain
    token = value["token"]
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise ValueError("the token is not a word")
    return Api(url, deadline, context, {"Authorization": token}, token)


def _object(api: Api, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = api.send("POST", path, body)
    value = answer.json()
    if answer.status == 200 and isinstance(value, dict):
        return value
    code = value.get("code") if isinstance(value, dict) else None
    if code == _NOT_FOUND and path != "/v3/auth/authenticate":
        raise _NotFound(str(api.failed(answer, path)))
    if code == _FAILED_PRECONDITION and path == "/v3/auth/authenticate":
        raise _NotEnabled(str(api.failed(answer, path)))
    if code in (_DENIED, _UNAUTHENTICATED) or _names_no_valid_user(answer, code, path):
        raise api.rejected(answer, path, _REMEDY)
    raise api.failed(answer, path)


def _names_no_valid_user(answer: Answer, code: Any, path: str) -> bool:
    return code == _INVALID_ARGUMENT and (path == "/v3/auth/authenticate" or _NO_USER in answer.message)


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")
