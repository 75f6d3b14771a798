# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slurm: `scontrol update NodeName=… State=DRAIN`, until no job is left (https://slurm.schedmd.com/scontrol.html)."""

from __future__ import annotations

import re
import socket

from recipes.commands import Failed, output
from recipes.run import Refusal, Run, counted

_TIMEOUT = 10.0
_EVERY = 2.0
# The recipe recognizes its own drain by this.
_MARK = "gce-maintenance-handler"
# The reason that Slurm sets for a node that was down.
_REBOOTED = ("Node unexpectedly rebooted", "Not responding")
# States of a node that runs no jobs for other reasons.
_UNUSABLE = ("DOWN", "DRAIN", "FAIL", "NOT_RESPONDING", "UNKNOWN")


def check(run: Run) -> None:
    states, reason = _standing(run)
    # Changes nothing, but requires the same permission: updates need SlurmUser, root or an operator.
    config = output(["scontrol", "show", "config"], timeout=run.bounded(_TIMEOUT))
    user = re.search(r"^SlurmUser\s*=\s*(\S+)\((\d+)\)", config, re.MULTILINE)
    run.say(f"{_node(run)} is {'+'.join(states)} {reason}, SlurmUser is {user.group(1) if user else 'unknown'}")


def drain(run: Run) -> None:
    node = _node(run)
    states, reason = _standing(run)
    if "DRAIN" not in states:
        text = f"{run['reason']} ({_MARK})"
        run.record.note(node, text)
        _update(run, "state=drain", f"reason={text}")
    elif node not in run.record:
        run.say(f"{node} was already drained: {reason}")
    run.wait_until(lambda: _jobs(run), every=_EVERY)
    run.say(f"{node} is drained and has no jobs")


def restore(run: Run) -> None:
    node = _node(run)
    if node not in run.record:
        run.say("nothing to restore: this recipe has not drained the node")
        return
    run.wait_until(lambda: _still_out(run), every=_EVERY)
    run.record.forget(node)
    run.say(f"{node} is {'+'.join(_standing(run)[0])}")


def state(run: Run) -> None:
    states, reason = _standing(run)
    ours = ", drained by this recipe" if _node(run) in run.record else ""
    run.say(f"{_node(run)} is {'+'.join(states)} {reason}{ours}")


def _node(run: Run) -> str:
    return str(run["node"] or socket.gethostname().partition(".")[0])


def _standing(run: Run) -> tuple[list[str], str]:
    """The states of the node, such as IDLE and DRAIN, and their reason."""
    said = output(["scontrol", "--oneliner", "show", "node", _node(run)], timeout=run.bounded(_TIMEOUT))
    states = re.search(r"\bState=(\S+)", said)
    if states is None:
        raise Refusal(f"Slurm knows no node {_node(run)}: {said.strip() or 'it says nothing'}")
    reason = re.search(r"\bReason=(.*?)(?: \[|$)", said.strip())
    return states.group(1).rstrip("*").split("+"), reason.group(1) if reason else ""


def _update(run: Run, *changes: str) -> None:
    try:
        output(["scontrol", "update", f"nodename={_node(run)}", *changes], timeout=run.bounded(_TIMEOUT))
    except Failed as exc:
        raise Refusal(f"{_node(run)} cannot be changed: {exc}") from None


def _jobs(run: Run) -> str:
    command = ["squeue", "--noheader", f"--nodelist={_node(run)}", "--states=R,CG,S,ST,SO", "--format=%i"]
    jobs = output(command, timeout=run.bounded(_TIMEOUT)).split()
    return f"{counted(len(jobs), 'job')} on {_node(run)}: {', '.join(jobs[:5])}" if jobs else ""


def _still_out(run: Run) -> str:
    """Resume the node if this recipe or its reboot took it out. Returns why it accepts no jobs yet."""
    states, reason = _standing(run)
    if not {"DRAIN", "DOWN"}.intersection(states):
        out = [state for state in states if state in _UNUSABLE]
        return f"{_node(run)} is {'+'.join(states)}" if out else ""
    if _MARK not in reason and not reason.startswith(_REBOOTED):
        run.say(f"{_node(run)} is {'+'.join(states)} for another reason ({reason}); left as is")
        return ""
    if "NOT_RESPONDING" not in states:
        _update(run, "state=resume")
    return f"{_node(run)} is {'+'.join(states)} ({reason})"
