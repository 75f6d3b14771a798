# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line. Here, and only here, errors become answers."""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Callable, Optional

from client import tls
from client.errors import Refusal, Unreachable
from client.http import shown
from fleet_limit import fleetlock, semaphore
from fleet_limit import question as questions
from fleet_limit.answer import INVALID, UNREACHABLE, Answer
from fleet_limit.api import Api
from fleet_limit.consul import Consul
from fleet_limit.deadline import Deadline, within
from fleet_limit.etcd import Etcd
from fleet_limit.options import CONSUL, ETCD, FLEETLOCK, urls
from fleet_limit.question import Question

# The part of the time in which the store must answer. The rest is for the answer to the handler.
_PART = 0.9
_MOST_INPUT = 1024 * 1024

# For a URL with http, None.
Context = Optional[ssl.SSLContext]


def main(arguments: Sequence[str]) -> int:
    """Answer the question on standard input. Returns the exit status."""
    if len(arguments) != 1 or arguments[0] not in questions.VERBS:
        print(f"usage: {'|'.join(questions.VERBS)}, with a question as JSON on standard input", file=sys.stderr)
        return 2
    try:
        question = questions.read(arguments[0], sys.stdin.buffer.read(_MOST_INPUT))
    except Refusal as exc:
        answer = Answer(INVALID, str(exc))
    else:
        answer = _answered(question)
    # ASCII, whatever the locale is.
    print(json.dumps(answer.as_dict()), flush=True)
    return 0


def _answered(question: Question) -> Answer:
    """Ask each URL of the store until one gives an answer."""
    deadline = Deadline(_PART * question.timeout)
    addresses = urls(question.limit)
    errors = []
    for tried, url in enumerate(addresses):
        share = deadline.share(len(addresses) - tried)
        try:
            return within(share, partial(_ask, question, url, share), shown(url))
        except Refusal as exc:
            errors.append(exc)
    # A wrong password is not mended by trying again.
    rejected = not all(isinstance(exc, Unreachable) for exc in errors)
    return Answer(INVALID if rejected else UNREACHABLE, "; ".join(map(str, errors)), slots=question.limit.get("slots"))


def _ask(question: Question, url: str, deadline: Deadline) -> Answer:
    """Raises `Refusal`; an answer that makes no sense is `Unreachable`."""
    limit = question.limit
    context = None
    if url.startswith("https://"):
        context = tls.context(limit["ca_file"], limit.get("client_cert"), limit.get("client_key"))
    try:
        return _STORES[limit["backend"]](question, url, context, deadline)
    except Refusal:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as exc:
        raise Unreachable(f"{shown(url)} answers with something unexpected ({type(exc).__name__})") from None


def _ask_etcd(question: Question, url: str, context: Context, deadline: Deadline) -> Answer:
    return semaphore.answered(question, Etcd(question.limit, url, context, deadline))


def _ask_consul(question: Question, url: str, context: Context, deadline: Deadline) -> Answer:
    return semaphore.answered(question, Consul(question.limit, url, context, deadline))


def _ask_fleetlock(question: Question, url: str, context: Context, deadline: Deadline) -> Answer:
    return fleetlock.answered(question, Api(url, deadline, context))


_STORES: Mapping[str, Callable[[Question, str, Context, Deadline], Answer]] = {
    ETCD: _ask_etcd,
    CONSUL: _ask_consul,
    FLEETLOCK: _ask_fleetlock,
}
