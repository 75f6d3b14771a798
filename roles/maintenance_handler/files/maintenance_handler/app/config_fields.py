# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of the configuration file and of its tasks, and which values each takes.

A check returns the value in the form in which it is used, and raises ValueError with the rest of a sentence about the
field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

from .._vm.maintenance import EVENTS, MIGRATE, TERMINATE
from ..core.tasks import AT_ONCE, CONTINUE, DENIED_POLICIES, EVENTS_WITH_LEAD, SKIP_LATER, TASK_EVENTS

Check = Callable[[Any], Any]

LOG_LEVELS = ("debug", "info", "warning", "error")
DAY = 86400.0


def kind_of(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {kind_of(value)}")
    if not value.strip():
        raise ValueError("must not be empty")
    return _passable(value)


def _passable(text: str) -> str:
    """Text that can be passed to the system as a path or an argument."""
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be Unicode text, but contains half a surrogate pair") from None
    return text


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _path(value: Any) -> Path:
    path = Path(text_of(value))
    if not path.is_absolute():
        raise ValueError(f"must be an absolute path, not {shown(value)}")
    return path


def _paths(value: Any) -> tuple[Path, ...]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of absolute paths, not {kind_of(value)}")
    return tuple(map(_path, value))


def _search_path(value: Any) -> str:
    folders = text_of(value).split(":")
    for folder in folders:
        if not folder.startswith("/"):
            raise ValueError(f"must be absolute paths separated by colons; {shown(folder)} is not one")
    return ":".join(folders)


def _path_text(value: Any) -> str:
    return str(_path(value))


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {kind_of(value)}")
    return value


def one_of(*choices: str) -> Check:
    def check(value: Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise ValueError(f"must be one of {', '.join(choices)}, not {shown(value)}")
        return value

    return check


def number(low: float, high: float) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"must be a number, not {kind_of(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low:g} to {high:g}, not {shown(value)}")
        return float(value)

    return check


def _by_event(check: Check, events: tuple[str, ...] = TASK_EVENTS) -> Check:
    """A value for all events, or an object with a value for each of some."""

    def check_each(value: Any) -> Any:
        if not isinstance(value, dict):
            return check(value)
        values = {}
        for event, one in value.items():
            if event not in events:
                raise ValueError(f"event {shown(event)} is not one of {', '.join(events)}")
            try:
                checked = check(one)
            except ValueError as exc:
                raise ValueError(f"{event}: {exc}") from None
            if checked is not None:
                values[event] = checked
        return values

    return check_each


def _lead(value: Any) -> float | None:
    if value is None or value == AT_ONCE:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"must be a number of seconds, or {AT_ONCE}, not {shown(value)}")
    return float(number(0, 90 * DAY)(value))


def whole(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number, not {kind_of(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}, not {shown(value)}")
        return value

    return check


def _command(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError("must be a list of words, not a string: no shell splits it")
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of at least one word")
    for word in value:
        if not isinstance(word, str):
            raise ValueError(f"must be a list of strings, but contains {kind_of(word)}")
        _passable(word)
    return (text_of(value[0]), *value[1:])


def _events(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of at least one of {', '.join(TASK_EVENTS)}")
    for event in value:
        if event not in TASK_EVENTS:
            raise ValueError(f"event {shown(event)} is not one of {', '.join(TASK_EVENTS)}")
    if len(set(value)) != len(value):
        raise ValueError("names an event twice")
    return tuple(value)


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, not {kind_of(value)}")
    for name, text in value.items():
        # The value may be a secret, so only its kind is reported.
        if not isinstance(text, str):
            raise ValueError(f"variable {name!r} must be a string, not {kind_of(text)}")
        if not name or "=" in name:
            raise ValueError(f"{name!r} is not the name of a variable")
        _passable(name)
        _passable(text)
    return value


def _notice(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object of seconds for each event, not {kind_of(value)}")
    notice: dict[str, float] = _by_event(number(0.1, 86400), EVENTS)(value)
    return notice


def _fleet_limit(value: Any) -> Any:
    if value == {} or value is None:
        return None
    # Only if there is a limit, to save memory.
    from .fleet_limit_fields import fleet_limit

    return fleet_limit(value)


FIELDS: dict[str, Check] = {
    # Checked apart from the other fields.
    "tasks": lambda value: None,
    "recipes": lambda value: None,
    "notify": lambda value: None,
    "recipe_folders": _paths,
    "state_dir": _path,
    "runtime_dir": _path,
    "metadata_host": _optional(text_of),
    "notice": _notice,
    "unknown_event": one_of(MIGRATE, TERMINATE),
    # A half-open connection is detected only after timeout_sec.
    "poll_timeout": whole(1, 600),
    "guest_attributes": _boolean,
    # Other programs share the query limit of guest attributes.
    "guest_attributes_every": number(60, 86400),
    "stop_when_drained": _boolean,
    "metrics_textfile": _optional(_path),
    "log_level": one_of(*LOG_LEVELS),
    "stop_timeout": number(1, 86400),
    "restore_retry_for": number(0, 30 * 86400),
    "restore_retry_every": number(1, 86400),
    "flap_limit": whole(1, 1_000_000),
    "journal_wait": number(0, 60),
    "path": _optional(_search_path),
    "operators": _optional(text_of),
    "boot_id_file": _path,
    "fleet_limit": _fleet_limit,
}
TASK_FIELDS: dict[str, Check] = {
    "name": text_of,
    "on": _events,
    "stage": whole(0, 9999),
    "drain": _optional(_command),
    "restore": _optional(_command),
    "check": _optional(_command),
    "playbook": _optional(_path_text),
    "restore_playbook": _optional(_path_text),
    "timeout": _by_event(number(0.1, DAY)),
    "restore_timeout": _by_event(_optional(number(0.1, DAY))),
    "retries": whole(0, 100),
    "user": _optional(text_of),
    "env": _environment,
    "on_failure": _by_event(one_of(CONTINUE, SKIP_LATER)),
    "lead": _by_event(_lead, EVENTS_WITH_LEAD),
    "when": _optional(text_of),
    "when_denied": _by_event(one_of(*DENIED_POLICIES)),
}
