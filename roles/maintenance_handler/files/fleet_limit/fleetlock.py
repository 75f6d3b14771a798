# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server for the FleetLock protocol (https://coreos.github.io/zincati/development/fleetlock/protocol).

The server has the number of slots of each group. It tells who holds them to nobody, and a slot does not expire.
"""

from __future__ import annotations

from typing import Any

from client.errors import Refusal, Unreachable
from client.http import Answer as HttpAnswer
from fleet_limit.answer import DENIED, HELD, OK, RELEASED, Answer
from fleet_limit.api import Api
from fleet_limit.question import ACQUIRE, CHECK, HOLDERS, RENEW, Question

_LOCK = "/v1/pre-reboot"
_UNLOCK = "/v1/steady-state"
_HEADER = {"fleet-lock-protocol": "true"}


def answered(question: Question, api: Api) -> Answer:
    """Answer a question. Raises `Refusal`, `Unreachable` if the server does not serve it."""
    group = question.limit["group"]
    if question.verb == CHECK:
        return _checked(api)
    if question.verb == HOLDERS:
        return Answer(OK, f"a FleetLock server does not tell who holds the slots of group {group}")
    body = {"client_params": {"id": question.id, "group": group}}
    if question.verb in (ACQUIRE, RENEW):
        answer = api.send("POST", _LOCK, body, _HEADER)
        if _is_done(answer):
            return Answer(HELD, f"{question.id} holds a slot of group {group}")
        if _is_held_by_others(answer):
            return Answer(DENIED, f"no slot of group {group} is free: {answer.message}")
        raise _error(api, answer, _LOCK)
    answer = api.send("POST", _UNLOCK, body, _HEADER)
    if _is_done(answer):
        return Answer(RELEASED, f"{question.id} holds no slot of group {group}")
    raise _error(api, answer, _UNLOCK)


def _checked(api: Api) -> Answer:
    """A request without the header must be refused, so it shows what is there without taking or freeing a slot."""
    answer = api.send("POST", _LOCK, {})
    if answer.status == 400 and _kind(answer):
        return Answer(OK, f"{api.shown} speaks the FleetLock protocol, and has the slots of its groups")
    raise Unreachable(f"{api.shown} does not answer like a FleetLock server: status {answer.status}: {answer.message}")


def _is_done(answer: HttpAnswer) -> bool:
    # The text of a success is free, but a page is for people: of a proxy, or of another service.
    return answer.status == 200 and not answer.text.startswith("<")


def _is_held_by_others(answer: HttpAnswer) -> bool:
    # The protocol leaves statuses and kinds to the servers. coreos/airlock answers with 500 and failed_lock, also if
    # its own etcd fails; poseidon/fleetlock with 423 and locked; heathcliff26/fleetlock with 423 and all_slots_full.
    kind = _kind(answer)
    return bool(kind) and (answer.status in (409, 423) or (answer.status >= 400 and kind.startswith("failed_lock")))


def _error(api: Api, answer: HttpAnswer, path: str) -> Refusal:
    if 400 <= answer.status < 500 and _kind(answer):
        return api.rejected(answer, path, "check the group and the URL")
    return api.failed(answer, path)


def _kind(answer: HttpAnswer) -> str:
    value: Any = answer.json()
    kind = value.get("kind") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else ""
