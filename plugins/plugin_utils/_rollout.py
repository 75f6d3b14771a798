# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary of a rollout, and whether it stops. Pure.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._batches import batches_of, is_too_many, named, number_of, one_line

DONE = "done"


def rollout_summary(
    hosts: Sequence[str],
    sizes: Sequence[int | str],
    current: str,
    records: Mapping[str, Mapping[str, Any]],
    *,
    most: float,
    declined: bool = False,
) -> dict[str, Any]:
    """The state of a rollout after the batch with the host `current`, or before it if its start was `declined`.

    A record has `result`, `why` and `rolled_back`. A host without one has left the play, because it is unreachable.
    """
    batches = batches_of(hosts, sizes)
    number = number_of(current, batches) - declined
    reached = [host for batch in batches[:number] for host in batch]
    members = batches[number - 1] if number else []
    failed = [host for host in reached if records.get(host, {}).get("result") != DONE]
    back = [host for host in reached if records.get(host, {}).get("rolled_back")]
    failed_here = [host for host in members if host in failed]
    stop = declined or is_too_many(len(failed_here), len(members), most)
    found = {
        "batch": number,
        "batches": len(batches),
        "done": [host for host in reached if host not in failed and host not in back],
        "failed": failed,
        "rolled_back": back,
        "not_reached": [host for batch in batches[number:] for host in batch],
        "stop": stop,
        "last": stop or number == len(batches),
    }
    return {**found, "lines": _lines(found, records, declined=declined)}


def _lines(found: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]], *, declined: bool) -> list[str]:
    where = f"Batch {found['batch']} of {found['batches']}"
    counts = [
        f"{len(found[each])} {words}"
        for each, words in (("done", "done"), ("failed", "failed"), ("not_reached", "not reached"))
    ]
    if declined:
        how = "the rollout has stopped, because the next batch was not confirmed"
    elif found["stop"]:
        how = "not well. The rollout has stopped"
    else:
        how = "the rollout is complete" if found["last"] else "the rollout continues"
    lines = [f"{where}: {how}. Hosts: {', '.join(counts)}."]
    if not found["last"] and not found["failed"]:
        return lines
    lines += [f"Done: {named(found['done'])}."] if found["last"] else []
    lines += [f"Failed: {named(found['failed'])}."]
    for host in found["failed"]:
        why = records.get(host, {}).get("why") or "It became unreachable, and was not rolled back."
        lines.append(f"  {host}: {one_line(why)}")
    lines += [f"  {host}: {records[host]['rolled_back']}" for host in found["rolled_back"]]
    lines += [f"Not reached: {named(found['not_reached'])}."] if found["last"] else []
    if found["stop"] or found["failed"]:
        lines.append("To continue, run the playbook again: it changes nothing on hosts that are done.")
    return lines
