# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of the program `fleet_limit`, with a file as its store, so that tests decide what the store does.

The option `file` names the file: {"holders": {id: reason}, "mode": ""}. With the mode `hang` it never answers, with
`away` it answers that the store does not, with `silent` it ends without an answer. `asked` lists all questions.
"""

from __future__ import annotations

import fcntl
import json
import sys
import time
from pathlib import Path
from typing import Any


def main(verb: str, question: dict[str, Any]) -> dict[str, Any] | None:
    limit = question["limit"]
    with Path(limit["file"]).open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        store = json.load(file)
        found = answer(verb, question, store, limit["slots"])
        store.setdefault("asked", []).append([verb, question["id"], question["reason"]])
        file.seek(0)
        file.truncate()
        json.dump(store, file)
    if store.get("mode") == "hang":
        time.sleep(3600)
    return None if store.get("mode") == "silent" else found


def answer(verb: str, question: dict[str, Any], store: dict[str, Any], slots: int) -> dict[str, Any]:
    mode, holders, mine = store.get("mode"), store["holders"], question["id"]
    outcome, detail = "ok", ""
    if mode == "away":
        outcome, detail = "unreachable", "connection refused"
    elif mode == "hang":
        pass
    elif verb in ("release", "unlock"):
        holders.pop(mine, None)
        outcome = "released"
    elif verb in ("acquire", "renew"):
        is_free = mine in holders or (verb == "acquire" and len(holders) < slots)
        outcome = "held" if is_free else "denied"
        if is_free:
            holders[mine] = question["reason"]
    shown = [{"id": holder, "reason": reason, "since": None} for holder, reason in holders.items()]
    return {"outcome": outcome, "state": {}, "holders": shown, "slots": slots, "detail": detail}


if __name__ == "__main__":
    said = main(sys.argv[1], json.load(sys.stdin))
    if said is not None:
        print(json.dumps(said))
