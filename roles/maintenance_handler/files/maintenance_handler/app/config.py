# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file: one JSON object, read strictly.

What can be judged from the text alone is judged here; what depends on the machine (programs, users) in `preflight`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from .._vm.maintenance import DEFAULT_NOTICE, EVENTS, MIGRATE, TERMINATE, WINDOW
from .._vm.records import dataclass, field
from ..core.likeness import did_you_mean
from ..core.patience import Patience
from ..core.plan import batches, misfits, shortened
from ..core.tasks import AT_ONCE, CONTINUE, EVENTS_WITH_LEAD, STOP, TASK_EVENTS, Task

if TYPE_CHECKING:
    _Check = Callable[[Any], Any]

STANDARD_INPUT = ("-", "/dev/stdin")
_said: list[bytes] = []
LOG_LEVELS = ("debug", "info", "warning", "error")
_DAY = 86400.0
NAME = "gce-maintenance-handler"
BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"


class ConfigError(Exception):
    """The configuration cannot be used. `problems` has a line for each reason.

    `tasks` are those whose programs and users can be looked at all the same, as far as their fields are right.
    """

    def __init__(self, problems: list[str], tasks: tuple[Task, ...] = ()) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.tasks = tasks


@dataclass(frozen=True)
class Config:
    """A configuration that is valid in itself. Times in seconds."""

    state_dir: Path
    runtime_dir: Path
    tasks: tuple[Task, ...] = ()
    metadata_host: str | None = None
    notice: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_NOTICE))
    unknown_event: str = TERMINATE
    # One request a minute and key while nothing happens, and a half-open connection noticed 10 s after that.
    poll_timeout: int = 60
    guest_attributes: bool = True
    metrics_textfile: Path | None = None
    log_level: str = "info"
    stop_timeout: float = 90.0
    # How long a failed restore is tried again with growing pauses, and how often from then on.
    restore_retry_for: float = 3600.0
    restore_retry_every: float = 600.0
    # After so many drains in a row, each within an hour of the last, a task stays drained for a while after its event.
    flap_limit: int = 5
    # How long a step waits for the journal at most, in seconds.
    journal_wait: float = 1.0
    # Where tasks' programs are looked for; None: where the handler's are, and a login's besides.
    path: str | None = None
    # A container has the boot id of its host: restarted, it does not see that it is a new machine.
    boot_id_file: Path = Path(BOOT_ID_FILE)
    digest: str = ""
    # What can be used, but is seldom meant: a line each.
    cautions: tuple[str, ...] = ()

    @property
    def patience(self) -> Patience:
        return Patience(self.restore_retry_for, self.restore_retry_every, self.flap_limit)


def load(path: Path) -> Config:
    """The configuration in a file.

    :raises ConfigError: it cannot be read, does not parse, or says something that cannot be.
    """
    try:
        return parse(read(path))
    except ConfigError as exc:
        raise ConfigError([f"{path}: {problem}" for problem in exc.problems], exc.tasks) from None


def read(path: Path) -> bytes:
    """The bytes of a configuration file; of standard input for `-`. Raises `ConfigError`."""
    try:
        if str(path) not in STANDARD_INPUT:
            return path.read_bytes()
        # Not by its name, which a pipe's owner alone may open; and only once, for there is nothing to read again.
        if not _said:
            _said.append(sys.stdin.buffer.read())
        return _said[0]
    except OSError as exc:
        raise ConfigError([f"cannot be read: {exc.strerror}"]) from None


def without_file(path: Path, environ: Mapping[str, str]) -> Config | None:
    """What can be known of a configuration whose file cannot be used: the directories, if it is where the role puts it.

    systemd tells its services of theirs. The others are where they are in relation to the file.
    """
    state, runtime = environ.get("STATE_DIRECTORY", ""), environ.get("RUNTIME_DIRECTORY", "")
    if path.parts[-3:] == ("etc", NAME, "config.json"):
        prefix = path.parents[2]
        state, runtime = state or str(prefix / "var/lib" / NAME), runtime or str(prefix / "run" / NAME)
    # There may be several, with a colon in between.
    folders = [Path(folder.partition(":")[0]) for folder in (state, runtime)]
    if not all(folder.is_absolute() for folder in folders):
        return None
    return Config(state_dir=folders[0], runtime_dir=folders[1])


def parse(text: bytes) -> Config:
    """The configuration in the bytes of a file. Raises `ConfigError`, with all problems at once."""
    problems: list[str] = []
    try:
        raw = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, problems))
    except (ValueError, RecursionError) as exc:
        raise ConfigError([f"does not parse as JSON: {exc}"]) from None
    if not isinstance(raw, dict):
        raise ConfigError([*problems, f"must be one JSON object, not {_kind(raw)}"])
    values = _checked(raw, _FIELDS, "", problems)
    tasks_of_recipes = _tasks_of_recipes(values, raw.get("recipes", []), problems)
    problems += [f"field {name!r}: is missing" for name in ("state_dir", "runtime_dir") if name not in raw]
    drafts = _drafts(raw.get("tasks", []), problems, tasks_of_recipes)
    if "notice" in values or "notice" not in raw:
        notice = {**DEFAULT_NOTICE, **values.pop("notice", {})}
        timed = [draft.task for draft in drafts if draft.has_times]
        for event in EVENTS:
            problems += misfits(timed, event, notice)
    if problems:
        raise ConfigError(problems, tuple(draft.task for draft in drafts if "env" not in draft.wrong))
    cautions = tuple(line for draft in drafts for line in _cautions(draft, notice))
    tasks = tuple(draft.task for draft in drafts)
    cautions += tuple(line for event in EVENTS for line in _shortages(tasks, event, notice))
    return Config(**values, tasks=tasks, notice=notice, digest=_sha256(text)[:12], cautions=cautions)


@dataclass(frozen=True)
class _Draft:
    """A task as far as its entry is right, and the names of the fields that are wrong."""

    task: Task
    wrong: frozenset[str]
    has_termination_lead: bool

    @property
    def has_times(self) -> bool:
        """Whether it is known when the task would run, and for how long."""
        return not self.wrong & {"on", "stage", "timeout", "lead", "drain", "playbook"}


def _sha256(data: bytes) -> str:
    # Without OpenSSL, which hashlib would load: 4 MB of memory for one digest. The interpreter's own is in the first of
    # these modules since Python 3.12, in the second before; a Python for FIPS may have neither.
    for module in ("_sha2", "_sha256"):
        with suppress(ImportError, AttributeError):
            return str(import_module(module).sha256(data).hexdigest())
    return str(import_module("hashlib").sha256(data).hexdigest())


def _checked(
    raw: Mapping[str, Any], fields: Mapping[str, _Check], where: str, problems: list[str], wrong: set[str] | None = None
) -> dict[str, Any]:
    """The values that are right. The others are told, and their names added to `wrong`."""
    values = {}
    for key, value in raw.items():
        if key not in fields:
            known = ", ".join(sorted(fields))
            problems.append(f"{where}field {key!r}: is not known; known are {known}{did_you_mean(key, fields)}")
            continue
        try:
            checked = fields[key](value)
        except ValueError as exc:
            problems.append(f"{where}field {key!r}: {exc}")
            if wrong is not None:
                wrong.add(key)
            continue
        if checked is not None:
            values[key] = checked
    return values


def _tasks_of_recipes(values: dict[str, Any], raw: Any, problems: list[str]) -> list[dict[str, Any]]:
    """The entries of `tasks` that those of `recipes` become."""
    folders = values.pop("recipe_folders", ())
    if raw == []:
        return []
    # Not in the memory of a handler without recipes.
    from .recipe_tasks import recipe_tasks

    tasks, found = recipe_tasks(raw, folders, str(values.get("state_dir", "")), tuple(_TASK_FIELDS))
    problems += found
    return tasks


def _drafts(raw: Any, problems: list[str], further: list[dict[str, Any]]) -> list[_Draft]:
    if not isinstance(raw, list):
        problems.append(f"field 'tasks': must be a list, not {_kind(raw)}")
        raw = []
    drafts = []
    names: set[str] = set()
    for number, entry in enumerate([*raw, *further], start=1):
        if not isinstance(entry, dict):
            problems.append(f"task {number}: must be an object, not {_kind(entry)}")
            continue
        name = entry.get("name")
        name = name if isinstance(name, str) else ""
        where = f"task {name!r}, " if name else f"task {number}, "
        wrong: set[str] = set()
        values = _checked(entry, _TASK_FIELDS, where, problems, wrong)
        for field_name, problem in _task_conflicts(entry):
            wrong.add(field_name)
            problems.append(f"{where}field {field_name!r}: {problem}")
        if name and name in names:
            problems.append(f"{where}field 'name': is used by more than one task")
        names.add(name)
        task = Task.from_dict({"name": name or f"task {number}", "on": (), **values})
        drafts.append(_Draft(task, frozenset(wrong), _is_given(entry.get("lead"), TERMINATE)))
    return drafts


def _task_conflicts(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which fields of a task do not go together, or are missing, and why."""
    problems = [(key, "is missing") for key in ("name", "on") if key not in entry]
    if entry.get("drain") is None and entry.get("playbook") is None:
        problems.append(("drain", "is missing (or give a 'playbook')"))
    for one, other in (("drain", "playbook"), ("restore", "restore_playbook")):
        if entry.get(one) is not None and entry.get(other) is not None:
            problems.append((other, f"cannot be given together with {one!r}"))
    on = entry.get("on")
    events = set(map(str, on)) if isinstance(on, list) else set()
    if WINDOW in events and not _is_given(entry.get("lead"), WINDOW):
        problems.append(
            (
                "lead",
                "is missing, and a window is announced days ahead: give the seconds before the window at which to "
                f"drain, or {AT_ONCE} to drain as soon as it is announced",
            )
        )
    if entry.get("lead") is not None and events and not events.intersection(EVENTS_WITH_LEAD):
        problems.append(("lead", f"is only for {' and '.join(EVENTS_WITH_LEAD)}, which are not in 'on'"))
    return problems


def _is_given(value: Any, event: str) -> bool:
    """Whether a field that may have values by event has one for this event."""
    return value.get(event) is not None if isinstance(value, dict) else value is not None


def _cautions(draft: _Draft, notice: Mapping[str, float]) -> list[str]:
    if TERMINATE not in draft.task.on or draft.has_termination_lead:
        return []
    return [
        f"task {draft.task.name!r}, field 'lead': is not given, so that the task drains {notice[TERMINATE]:g} s before "
        f"a termination, as soon as it is announced; give the seconds before it, or {AT_ONCE} if that is what you want"
    ]


def _shortages(tasks: tuple[Task, ...], event: str, notice: Mapping[str, float]) -> list[str]:
    return [f"event {event}: {line}" for batch in batches(tasks, event) for line in shortened(batch, event, notice)]


def _object(pairs: list[tuple[str, Any]], problems: list[str]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _unused in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        problems.append(f"key {twice!r} stands twice in one object")
    return result


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {_kind(value)}")
    if not value.strip():
        raise ValueError("must not be empty")
    return _passable(value)


def _passable(text: str) -> str:
    """Text that can be handed to the system, as a path or an argument."""
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be Unicode text, but has half a surrogate pair in it") from None
    return text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _optional(check: _Check) -> _Check:
    return lambda value: None if value is None else check(value)


def _path(value: Any) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise ValueError(f"must be an absolute path, not {_shown(value)}")
    return path


def _paths(value: Any) -> tuple[Path, ...]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of absolute paths, not {_kind(value)}")
    return tuple(map(_path, value))


def _search_path(value: Any) -> str:
    folders = _text(value).split(":")
    for folder in folders:
        if not folder.startswith("/"):
            raise ValueError(f"must be absolute directories with a colon between them; {_shown(folder)} is none")
    return ":".join(folders)


def _path_text(value: Any) -> str:
    return str(_path(value))


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {_kind(value)}")
    return value


def _one_of(*choices: str) -> _Check:
    def check(value: Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise ValueError(f"must be one of {', '.join(choices)}, not {_shown(value)}")
        return value

    return check


def _number(low: float, high: float) -> _Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"must be a number, not {_kind(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low:g} to {high:g}, not {_shown(value)}")
        return float(value)

    return check


def _by_event(check: _Check, events: tuple[str, ...] = TASK_EVENTS) -> _Check:
    """A value for all events, or an object with a value for each of some."""

    def check_each(value: Any) -> Any:
        if not isinstance(value, dict):
            return check(value)
        values = {}
        for event, one in value.items():
            if event not in events:
                raise ValueError(f"event {_shown(event)} is not known; known are {', '.join(events)}")
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
        raise ValueError(f"must be a number of seconds, or {AT_ONCE}, not {_shown(value)}")
    return float(_number(0, 90 * _DAY)(value))


def _whole(low: int, high: int) -> _Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number, not {_kind(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}, not {_shown(value)}")
        return value

    return check


def _command(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError("must be a list of words (no shell takes it apart), not a string")
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of at least one word")
    for word in value:
        if not isinstance(word, str):
            raise ValueError(f"must be a list of strings, but has {_kind(word)} in it")
        _passable(word)
    return (_text(value[0]), *value[1:])


def _events(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of at least one of {', '.join(TASK_EVENTS)}")
    for event in value:
        if event not in TASK_EVENTS:
            raise ValueError(f"event {_shown(event)} is not known; known are {', '.join(TASK_EVENTS)}")
    if len(set(value)) != len(value):
        raise ValueError("names an event twice")
    return tuple(value)


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, not {_kind(value)}")
    for name, text in value.items():
        # The value may be a secret: only its kind is told.
        if not isinstance(text, str):
            raise ValueError(f"variable {name!r} must be a string, not {_kind(text)}")
        if not name or "=" in name:
            raise ValueError(f"{name!r} is not the name of a variable")
        _passable(name)
        _passable(text)
    return value


def _notice(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object of seconds for each event, not {_kind(value)}")
    notice: dict[str, float] = _by_event(_number(0.1, 86400), EVENTS)(value)
    return notice


_FIELDS: dict[str, _Check] = {
    # Checked apart from the other fields.
    "tasks": lambda value: None,
    "recipes": lambda value: None,
    "recipe_folders": _paths,
    "state_dir": _path,
    "runtime_dir": _path,
    "metadata_host": _optional(_text),
    "notice": _notice,
    "unknown_event": _one_of(MIGRATE, TERMINATE),
    # The server closes a wait by itself at timeout_sec; beyond some minutes a half-open connection goes unnoticed.
    "poll_timeout": _whole(1, 600),
    "guest_attributes": _boolean,
    "metrics_textfile": _optional(_path),
    "log_level": _one_of(*LOG_LEVELS),
    "stop_timeout": _number(1, 86400),
    "restore_retry_for": _number(0, 30 * 86400),
    "restore_retry_every": _number(1, 86400),
    "flap_limit": _whole(1, 1_000_000),
    "journal_wait": _number(0, 60),
    "path": _optional(_search_path),
    "boot_id_file": _path,
}
_TASK_FIELDS: dict[str, _Check] = {
    "name": _text,
    "on": _events,
    "stage": _whole(0, 9999),
    "drain": _optional(_command),
    "restore": _optional(_command),
    "check": _optional(_command),
    "playbook": _optional(_path_text),
    "restore_playbook": _optional(_path_text),
    "timeout": _by_event(_number(0.1, _DAY)),
    "restore_timeout": _by_event(_optional(_number(0.1, _DAY))),
    "retries": _whole(0, 100),
    "user": _optional(_text),
    "env": _environment,
    "on_failure": _by_event(_one_of(CONTINUE, STOP)),
    "lead": _by_event(_lead, EVENTS_WITH_LEAD),
    "when": _optional(_text),
}
