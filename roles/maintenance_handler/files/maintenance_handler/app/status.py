# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status file in the runtime directory, and how commands read it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._vm.maintenance import PREEMPT, format_time
from ..core.checked import fits
from ..core.incident import DRAINING, IDLE, RESTORING, Moment
from ..core.observations import recovered
from ..core.plan import SHOWN
from ..core.public import PUBLIC, public
from ..io.files import write_whole
from ..io.journal import Journal, JournalError
from ..io.lock import is_locked, lock_paths
from .config import Config

# Seconds without an answer after the timeout of a hanging GET, which is given up after 10 of them. Until then a failed
# poll is no problem: the metadata server answers 503 during maintenance.
SILENT_AFTER = 15.0

# The state if neither the status nor, of a stopped handler, the journal can be read.
UNKNOWN = "unknown"

# The part of the status that readers rely on (`checked.fits`); `incident` is None or has the shape `incident.PUBLIC`.
_WRITTEN = {
    "version": "str",
    "pid": "int",
    "boot_id": "str",
    "started_at": "float",
    "state": "str",
    "last_good_answer": {...: "float | None"},
    "poll_timeout": "float",
    "problems": ["str"],
    "config_digest": "str",
    "config_refused": ["str"],
    "restart_required": "bool",
    "missed_migrations": "int",
    "guest_attribute": "str",
    "reach": {...: {"possible": "bool | None", "reason": "str"}},
    "tasks?": "int",
    "notice?": {...: {"seconds": "float", "source": "str"}},
    "answers?": {...: "str"},
    "notifications?": {...: {"queued": "int", "sent": "int", "failed": "int", "problem": "str"}},
    "last_incident?": "Mapping[str, Any] | None",
    "fleet_limit?": {"backend": "str", "group": "str", "may_hold": "bool"},
}


def status_path(config: Config) -> Path:
    return config.runtime_dir / "status.json"


def write(config: Config, status: Mapping[str, Any]) -> None:
    """Raises OSError, and deletes the previous status, which is no longer true."""
    path = status_path(config)
    data = json.dumps(status).encode()
    try:
        try:
            write_whole(path, data, mode=0o644)
        except FileNotFoundError:
            # The directory was deleted.
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data, mode=0o644)
    except OSError:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def forget(config: Config) -> None:
    """Delete the status of an earlier handler. Raises OSError."""
    config.runtime_dir.mkdir(parents=True, exist_ok=True)
    status_path(config).unlink(missing_ok=True)


def read(config: Config, now_clock: float, boot_id: str) -> dict[str, Any]:
    """The current status; if the handler is not running, that of its journal.

    Always has `running`, `healthy`, `state`, `incident`, `problems` and `last_good_answer_age`.

    Raises OSError if the state directory cannot be read.
    """
    try:
        status = json.loads(status_path(config).read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        status = {}
    running = _is_running(config, status)
    if not running or not isinstance(status, dict) or status.get("boot_id") != boot_id:
        said = {"running": running, "healthy": False, "last_good_answer_age": None}
        return {**said, **_by_journal(config, now_clock, boot_id, running)}
    if not _is_readable(status):
        return _barely_readable(status)
    answers = status.pop("last_good_answer")
    ages = {key: None if clock is None else round(now_clock - clock, 3) for key, clock in answers.items()}
    known = [age for age in ages.values() if age is not None]
    problems = list(status.pop("problems"))
    silence = _silence(answers, status["poll_timeout"], now_clock)
    if silence and isinstance(status.get("last_failure"), str):
        # The cause comes before its consequences.
        problems += [status["last_failure"]] if status["last_failure"] else []
    problems += silence
    problems += _unrestored(status["incident"])
    return {
        **status,
        "running": True,
        "healthy": not problems,
        "problems": problems,
        "last_good_answer_age": max(known, default=None) if len(known) == len(ages) else None,
        "last_good_answer_ages": ages,
    }


def silent_keys(last_good: Mapping[str, float | None], poll_timeout: float, now: float) -> list[str]:
    """The keys for which there was no answer for too long, or none yet. Times on the monotonic clock."""
    return [key for key, at in last_good.items() if at is None or now - at > poll_timeout + SILENT_AFTER]


def silent_from(last_good: Mapping[str, float | None], poll_timeout: float, now: float) -> float | None:
    """When the next key becomes silent, unless a request for it succeeds."""
    times = [at + poll_timeout + SILENT_AFTER + 0.01 for at in last_good.values() if at is not None]
    return min((at for at in times if at > now), default=None)


def shown_preemption_notice(status: Mapping[str, Any]) -> float | None:
    """The seconds of notice of a preemption that the running handler has read from the VM's scheduling, if any."""
    notice = status.get("notice", {}).get(PREEMPT, {})
    return float(notice["seconds"]) if notice.get("source") == SHOWN else None


def by_hand(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The drain that an operator has ordered, if it is on: its signal in the incident."""
    signals = status["incident"]["signals"] if status["incident"] else ()
    found: Mapping[str, Any] | None = next((one for one in signals if one.get("order")), None)
    return found


def waits_by_hand(status: Mapping[str, Any]) -> bool:
    """Whether a drain that an operator has ordered waits for a slot of the fleet limit."""
    slot = (status.get("incident") or {}).get("slot")
    return bool(slot and slot["waiting"] and by_hand(status))


def in_flight(status: Mapping[str, Any]) -> bool:
    """Whether steps are running, so that the handler should not be restarted."""
    return bool(status["running"]) and status["state"] in (DRAINING, RESTORING)


def _is_running(config: Config, status: Any) -> bool:
    try:
        return any(is_locked(path) for path in lock_paths(config.state_dir, config.runtime_dir))
    except PermissionError:
        # Only root and the handler's user can see the lock.
        pid = status.get("pid") if isinstance(status, dict) else None
        return isinstance(pid, int) and _exists(pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_readable(status: Mapping[str, Any]) -> bool:
    incident = status.get("incident", "missing")
    return fits(status, _WRITTEN) and (incident is None or fits(incident, PUBLIC))


def _barely_readable(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status of another version: whether a drain is in flight, so that it can be restarted afterwards."""
    version = f"{status.get('version')!s:.40}"
    problem = f"runs version {version}, whose status this command cannot read: restart it when nothing is drained"
    return {
        "running": True,
        "healthy": False,
        "version": version,
        "state": status["state"] if isinstance(status.get("state"), str) else UNKNOWN,
        "incident": None,
        "last_good_answer_age": None,
        "problems": [problem],
    }


def _by_journal(config: Config, now_clock: float, boot_id: str, running: bool) -> dict[str, Any]:
    """The status according to the journal, of a handler that has no status or is not running."""
    problems = [f"has not written its status {status_path(config)} yet" if running else "is not running"]
    try:
        entry = Journal(config.state_dir).read()
    except JournalError as exc:
        return {"state": UNKNOWN, "incident": None, "problems": [*problems, str(exc)]}
    if entry is None or entry.incident is None:
        return {"state": IDLE, "incident": None, "problems": problems}
    now = Moment(now_clock, time.time())
    if running:
        incident = public(entry.incident, now)
    else:
        incident = public(recovered(entry.incident, now, entry.boot_id == boot_id), now)
        what = f", with {', '.join(incident['held'])} drained" if incident["held"] else ""
        problems.append(f"an incident is open{what}: the next handler continues it")
    problems += _unrestored(incident)
    return {"state": entry.incident.phase, "incident": incident, "problems": problems}


def _unrestored(incident: Mapping[str, Any] | None) -> list[str]:
    """A line for each task that is not restored."""
    problems = []
    for one in (incident or {}).get("not_restored", ()):
        detail = f" ({one['detail']})" if one["detail"] else ""
        again = "tries again"
        if one["next_attempt_at"] is not None:
            again += f" at {format_time(one['next_attempt_at'])}"
        problems.append(f"could not restore {one['task']!r} in {one['attempts']} attempts{detail}: {again}")
    return problems


def _silence(last_good: Mapping[str, float | None], poll_timeout: float, now: float) -> list[str]:
    problems = []
    for key in silent_keys(last_good, poll_timeout, now):
        answered_at = last_good[key]
        since = "yet" if answered_at is None else f"for {now - answered_at:.0f} s"
        problems.append(f"no answer for {key} {since}")
    return problems
