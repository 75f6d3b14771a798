# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file: one JSON object, validated strictly.

Checks that depend on the machine (programs, users) are in `preflight`.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._vm.maintenance import DEFAULT_NOTICE, EVENTS, STOP, TERMINATE, WINDOW
from .._vm.records import dataclass, field
from ..core.likeness import did_you_mean
from ..core.patience import Patience
from ..core.plan import Notice, assumed_notice, batches, misfits, shortened
from ..core.tasks import AT_ONCE, EVENTS_WITH_LEAD, Task
from .config_fields import FIELDS, TASK_FIELDS, Check, kind_of

if TYPE_CHECKING:
    from ..core.fleet_limit import FleetLimit

STANDARD_INPUT = ("-", "/dev/stdin")
_said: list[bytes] = []
NAME = "gce-maintenance-handler"
BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"


class ConfigError(Exception):
    """The configuration cannot be used. `problems` has a line for each reason.

    `tasks` and `metrics_textfile` are valid in themselves, so that they can be checked against the machine as well, and
    so are the targets `notify`.
    """

    def __init__(
        self,
        problems: list[str],
        tasks: tuple[Task, ...] = (),
        metrics_textfile: Path | None = None,
        notify: tuple[dict[str, Any], ...] = (),
    ) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.tasks = tasks
        self.metrics_textfile = metrics_textfile
        self.notify = notify


@dataclass(frozen=True)
class Config:
    """A valid configuration. Times in seconds."""

    state_dir: Path
    runtime_dir: Path
    tasks: tuple[Task, ...] = ()
    metadata_host: str | None = None
    notice: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_NOTICE))
    # The events whose notice the configuration sets.
    notice_set: frozenset[str] = frozenset()
    unknown_event: str = TERMINATE
    # One request per minute and key; a half-open connection is detected 10 s later.
    poll_timeout: int = 60
    guest_attributes: bool = True
    # The seconds after which the guest attribute is written again, although nothing has changed.
    guest_attributes_every: float = 3600.0
    # Power off once all tasks are drained for a graceful shutdown, instead of waiting for its end.
    stop_when_drained: bool = False
    metrics_textfile: Path | None = None
    log_level: str = "info"
    stop_timeout: float = 90.0
    # How long a failed restore is retried with growing pauses, and the pause after that.
    restore_retry_for: float = 3600.0
    restore_retry_every: float = 600.0
    # After more drains than this in a row, each within an hour, a task stays drained for a while after its event.
    flap_limit: int = 5
    # The maximum seconds that a step waits for the journal.
    journal_wait: float = 1.0
    # The PATH of tasks; None: the handler's, followed by the directories of a login shell.
    path: str | None = None
    # The group whose members may drain, restore and hold by hand, besides root.
    operators: str | None = None
    # Who is notified of what, in the form that the notifier takes (`notify_targets`). They have secrets.
    notify: tuple[dict[str, Any], ...] = ()
    # How many VMs of a group may be drained at one time.
    fleet_limit: FleetLimit | None = None
    # A container has the boot id of its host, so that its restart would not count as a boot.
    boot_id_file: Path = Path(BOOT_ID_FILE)
    digest: str = ""
    # Notes about valid settings that are rarely intended.
    cautions: tuple[str, ...] = ()

    def assumed_notice(self, preemption: float | None = None) -> dict[str, Notice]:
        """The notice of each event, if the VM's scheduling shows this one for a preemption."""
        return assumed_notice(self.notice, self.notice_set, preemption)

    def boot_id(self) -> str:
        """The current boot. Raises OSError."""
        text = self.boot_id_file.read_text(encoding="ascii", errors="replace").strip()
        if not text:
            # Every boot would be the same one.
            raise OSError(errno.ENODATA, "is empty", str(self.boot_id_file))
        return text

    @property
    def patience(self) -> Patience:
        return Patience(self.restore_retry_for, self.restore_retry_every, self.flap_limit)


def load(path: Path) -> Config:
    """The configuration in a file.

    :raises ConfigError: it cannot be read or parsed, or is invalid.
    """
    try:
        return parse(read(path))
    except ConfigError as exc:
        problems = [f"{path}: {problem}" for problem in exc.problems]
        raise ConfigError(problems, exc.tasks, exc.metrics_textfile, exc.notify) from None


def read(path: Path) -> bytes:
    """The bytes of a configuration file; of standard input for `-`. Raises `ConfigError`."""
    try:
        if str(path) not in STANDARD_INPUT:
            return path.read_bytes()
        # Not by its name, which only the owner of a pipe may open, and only once.
        if not _said:
            _said.append(sys.stdin.buffer.read())
        return _said[0]
    except OSError as exc:
        raise ConfigError([f"cannot be read: {exc.strerror}"]) from None


def without_file(path: Path, environ: Mapping[str, str], notify: tuple[dict[str, Any], ...] = ()) -> Config | None:
    """The directories of a configuration whose file is invalid, if the file is where the role puts it.

    They come from the environment of a systemd service, or from the path of the file. `notify`: its valid targets.
    """
    state, runtime = environ.get("STATE_DIRECTORY", ""), environ.get("RUNTIME_DIRECTORY", "")
    if path.parts[-3:] == ("etc", NAME, "config.json"):
        prefix = path.parents[2]
        state, runtime = state or str(prefix / "var/lib" / NAME), runtime or str(prefix / "run" / NAME)
    # There may be several, separated by colons.
    folders = [Path(folder.partition(":")[0]) for folder in (state, runtime)]
    if not all(folder.is_absolute() for folder in folders):
        return None
    return Config(state_dir=folders[0], runtime_dir=folders[1], notify=notify)


def parse(text: bytes) -> Config:
    """The configuration in the bytes of a file. Raises `ConfigError`, with all problems at once."""
    problems: list[str] = []
    try:
        raw = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, problems))
    except (ValueError, RecursionError) as exc:
        raise ConfigError([f"does not parse as JSON: {exc}"]) from None
    if not isinstance(raw, dict):
        raise ConfigError([*problems, f"must be one JSON object, not {kind_of(raw)}"])
    values = _checked(raw, FIELDS, "", problems)
    tasks_of_recipes = _tasks_of_recipes(values, raw.get("recipes", []), problems)
    cautions = _notify(values, raw.get("notify", []), problems)
    problems += [f"field {name!r}: is missing" for name in ("state_dir", "runtime_dir") if name not in raw]
    drafts = _drafts(raw.get("tasks", []), problems, tasks_of_recipes)
    if "notice" in values or "notice" not in raw:
        values["notice_set"] = frozenset(values.get("notice", {}))
        notice = {**DEFAULT_NOTICE, **values.pop("notice", {})}
        timed = [draft.task for draft in drafts if draft.has_times]
        for event in EVENTS:
            problems += misfits(timed, event, notice)
    if problems:
        checkable = tuple(draft.task for draft in drafts if "env" not in draft.wrong)
        raise ConfigError(problems, checkable, values.get("metrics_textfile"), values.get("notify", ()))
    cautions += tuple(line for draft in drafts for line in _cautions(draft, notice))
    tasks = tuple(draft.task for draft in drafts)
    cautions += tuple(line for event in EVENTS for line in _shortages(tasks, event, notice))
    cautions += _cautions_about_limit(tasks, values.get("fleet_limit"))
    if values.get("stop_when_drained") and not any(STOP in task.on for task in tasks):
        cautions += ("field 'stop_when_drained': has no effect, because no task is for stop",)
    return Config(**values, tasks=tasks, notice=notice, digest=_sha256(text)[:12], cautions=cautions)


@dataclass(frozen=True)
class _Draft:
    """A task from the valid fields of its entry, and the names of its invalid fields."""

    task: Task
    wrong: frozenset[str]
    has_termination_lead: bool

    @property
    def has_times(self) -> bool:
        """Whether the fields that decide when and how long it runs are valid."""
        return not self.wrong & {"on", "stage", "timeout", "lead", "drain", "playbook"}


def _sha256(data: bytes) -> str:
    # Without OpenSSL, which hashlib would load: 4 MB of memory. The interpreter's own implementation is in the first of
    # these modules since Python 3.12, before in the second; a Python for FIPS may have neither.
    for module in ("_sha2", "_sha256"):
        with suppress(ImportError, AttributeError):
            return str(import_module(module).sha256(data).hexdigest())
    return str(import_module("hashlib").sha256(data).hexdigest())


def _checked(
    raw: Mapping[str, Any], fields: Mapping[str, Check], where: str, problems: list[str], wrong: set[str] | None = None
) -> dict[str, Any]:
    """The valid values. Invalid ones are added to `problems`, and their names to `wrong`."""
    values = {}
    for key, value in raw.items():
        if key not in fields:
            known = ", ".join(sorted(fields))
            problems.append(f"{where}field {key!r}: is unknown; the fields are {known}{did_you_mean(key, fields)}")
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
    """The entries of `tasks` made from the entries of `recipes`."""
    folders = values.pop("recipe_folders", ())
    if raw == []:
        return []
    # Imported only if there are recipes, to save memory.
    from .recipe_tasks import recipe_tasks

    tasks, found = recipe_tasks(raw, folders, str(values.get("state_dir", "")), tuple(TASK_FIELDS))
    problems += found
    return tasks


def _notify(values: dict[str, Any], raw: Any, problems: list[str]) -> tuple[str, ...]:
    """Set the targets of notifications. Returns notes about them."""
    if raw == []:
        return ()
    # Imported only if there are some, to save memory.
    from .notify_targets import targets

    cautions: list[str] = []
    values["notify"] = targets(raw, problems, cautions)
    return tuple(cautions)


def _drafts(raw: Any, problems: list[str], further: list[dict[str, Any]]) -> list[_Draft]:
    if not isinstance(raw, list):
        problems.append(f"field 'tasks': must be a list, not {kind_of(raw)}")
        raw = []
    drafts = []
    names: set[str] = set()
    for number, entry in enumerate([*raw, *further], start=1):
        if not isinstance(entry, dict):
            problems.append(f"task {number}: must be an object, not {kind_of(entry)}")
            continue
        name = entry.get("name")
        name = name if isinstance(name, str) else ""
        where = f"task {name!r}, " if name else f"task {number}, "
        wrong: set[str] = set()
        values = _checked(entry, TASK_FIELDS, where, problems, wrong)
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
    """The fields of a task that are missing or conflict with others, and why."""
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


def _cautions_about_limit(tasks: tuple[Task, ...], limit: FleetLimit | None) -> tuple[str, ...]:
    return tuple(
        f"task {task.name!r}, field 'when_denied': has no effect without 'fleet_limit'"
        for task in tasks
        if task.when_denied is not None and limit is None
    )


def _shortages(tasks: tuple[Task, ...], event: str, notice: Mapping[str, float]) -> list[str]:
    return [f"event {event}: {line}" for batch in batches(tasks, event) for line in shortened(batch, event, notice)]


def _object(pairs: list[tuple[str, Any]], problems: list[str]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _unused in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        problems.append(f"key {twice!r} is duplicated in an object")
    return result
