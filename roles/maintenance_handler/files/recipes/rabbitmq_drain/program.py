# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""RabbitMQ's maintenance mode (https://www.rabbitmq.com/docs/upgrade#maintenance-mode)."""

from __future__ import annotations

import json
import socket
from typing import Any

from recipes.commands import Failed, output
from recipes.run import Refusal, Run, counted

# The command line tools start a virtual machine of Erlang each time.
_TIMEOUT = 20.0
_EVERY = 1.0
# With less time than this, quorum is not waited for.
_HURRY = 30.0


def check(run: Run) -> None:
    status = _status(run)
    if len(status["running_nodes"]) < 2:
        raise Refusal(
            f"{_node(run)} is the only running node of its cluster: its clients could not move to another one"
        )
    run.say(f"{_node(run)} is {'under' if _in_maintenance(status, run) else 'not under'} maintenance")


def drain(run: Run) -> None:
    node = _node(run)
    if not _in_maintenance(_status(run), run):
        _await_quorum(run)
        run.record.note(node, "regular")
        try:
            output(["rabbitmq-upgrade", "-n", node, "drain"], timeout=run.bounded(run.left()))
        except Failed as exc:
            # It may fail with status 69 although the node is drained.
            run.say(str(exc))
    run.wait_until(lambda: _still_open(run), every=_EVERY)
    run.say(f"{node} is under maintenance and has no clients")


def restore(run: Run) -> None:
    node = _node(run)
    if node not in run.record:
        run.say("nothing to restore: this recipe has not drained the node")
        return
    run.wait_until(lambda: _still_away(run), every=_EVERY)
    run.record.forget(node)
    run.say(f"{node} is running and serves clients")


def state(run: Run) -> None:
    ours = ", by this recipe" if _node(run) in run.record else ""
    run.say(f"{_node(run)} is {'under' if _in_maintenance(_status(run), run) else 'not under'} maintenance{ours}")


def _node(run: Run) -> str:
    return str(run["node"] or f"rabbit@{socket.gethostname().partition('.')[0]}")


def _ask(run: Run, *words: str) -> str:
    try:
        return output(["rabbitmqctl", "-q", "-n", _node(run), *words], timeout=run.bounded(_TIMEOUT))
    except Failed as exc:
        why = "it does not run, or this user may not ask it" if exc.status == 69 else str(exc)
        raise Failed(f"the node {_node(run)} does not answer {words[0]}: {why}", exc.status) from None


def _status(run: Run) -> dict[str, Any]:
    try:
        status: dict[str, Any] = json.loads(_ask(run, "cluster_status", "--formatter", "json"))
    except ValueError:
        status = {}
    if "maintenance_status" not in status:
        raise Refusal("this RabbitMQ knows no maintenance mode: 3.8.8 or newer is needed")
    return status


def _in_maintenance(status: dict[str, Any], run: Run) -> bool:
    # "marked for maintenance", with codes that colour it.
    return "not under maintenance" not in str(status["maintenance_status"].get(_node(run), ""))


def _await_quorum(run: Run) -> None:
    seconds = min(float(run["await_quorum"]), run.left() / 2)
    if not seconds or run.left() < _HURRY:
        return
    command = ["rabbitmq-queues", "-q", "-n", _node(run), "await_online_quorum_plus_one", "-t", str(int(seconds))]
    try:
        output(command, timeout=seconds + _TIMEOUT)
    except Failed as exc:
        # The VM goes down anyway, and its clients should move before that.
        run.say(f"a quorum queue may become unavailable: {exc}")


def _still_open(run: Run) -> str:
    if not _in_maintenance(_status(run), run):
        return f"{_node(run)} is not under maintenance"
    # "<rabbit@host.1700000000.546.0> running"; the JSON form lacks the node. A connection that was cut stays "closed"
    # until the client has answered.
    lines = [line.split() for line in _ask(run, "list_connections", "--no-table-headers", "pid", "state").splitlines()]
    connections = [one for one in lines if one and one[0].startswith(f"<{_node(run)}.") and one[-1] != "closed"]
    return f"{counted(len(connections), 'client')} of {_node(run)}" if connections else ""


def _still_away(run: Run) -> str:
    node = _node(run)
    try:
        status = _status(run)
        if _in_maintenance(status, run):
            output(["rabbitmq-upgrade", "-n", node, "revive"], timeout=run.bounded(_TIMEOUT))
            status = _status(run)
    except Failed as exc:
        # It may be starting.
        return str(exc)
    if _in_maintenance(status, run):
        return f"{node} is still under maintenance"
    return "" if node in status["running_nodes"] else f"{node} is not among the nodes that run"
