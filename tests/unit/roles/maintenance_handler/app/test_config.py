# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file: valid values, and one message for each invalid one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maintenance_handler._vm.maintenance import DEFAULT_NOTICE
from maintenance_handler.app.config import Config, ConfigError, load, parse
from maintenance_handler.core.tasks import Task

TASK = {"name": "lb", "on": ["migrate"], "drain": ["/bin/true"]}
DIRECTORIES = {"state_dir": "/var/lib/h", "runtime_dir": "/run/h"}


def encoded(*tasks: Any, **fields: Any) -> bytes:
    return json.dumps({**DIRECTORIES, "tasks": tasks, **fields}).encode()


def config(*tasks: Any, **fields: Any) -> Config:
    return parse(encoded(*tasks, **fields))


def problems(*tasks: Any, **fields: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(*tasks, **fields)
    return caught.value.problems


def problem(*tasks: Any, **fields: Any) -> str:
    (only,) = problems(*tasks, **fields)
    return only


class TestValid:
    def test_minimal_configuration(self) -> None:
        least = parse(json.dumps(DIRECTORIES).encode())
        assert least.tasks == ()
        assert least.notice == DEFAULT_NOTICE
        assert (least.unknown_event, least.poll_timeout, least.guest_attributes) == ("terminate", 60, True)

    def test_a_task_has_defaults(self) -> None:
        assert config(TASK).tasks == (Task("lb", ("migrate",), drain=("/bin/true",)),)

    def test_all_fields(self) -> None:
        task = {
            "name": "Fail over",
            "on": ["terminate", "window"],
            "stage": 10,
            "playbook": "/etc/drain.yml",
            "restore_playbook": "/etc/restore.yml",
            "timeout": 15,
            "restore_timeout": 60.5,
            "retries": 2,
            "user": "postgres",
            "env": {"PGPORT": "5432"},
            "on_failure": "stop",
            "lead": 600,
            "when": "event.can_reschedule",
        }
        whole = config(
            task,
            metadata_host="127.0.0.1:8080",
            notice={"migrate": 6, "window": 0.5},
            stop_when_drained=True,
            unknown_event="migrate",
            poll_timeout=30,
            guest_attributes=False,
            guest_attributes_every=600,
            metrics_textfile="/var/lib/node_exporter/h.prom",
            log_level="debug",
            stop_timeout=12,
            boot_id_file="/run/boot",
        )
        assert whole == Config(
            state_dir=Path("/var/lib/h"),
            runtime_dir=Path("/run/h"),
            tasks=(
                Task(
                    "Fail over",
                    ("terminate", "window"),
                    10,
                    playbook="/etc/drain.yml",
                    restore_playbook="/etc/restore.yml",
                    timeout=15.0,
                    restore_timeout=60.5,
                    retries=2,
                    user="postgres",
                    env={"PGPORT": "5432"},
                    on_failure="stop",
                    lead=600.0,
                    when="event.can_reschedule",
                ),
            ),
            metadata_host="127.0.0.1:8080",
            notice={**DEFAULT_NOTICE, "migrate": 6.0, "window": 0.5},
            notice_set=frozenset({"migrate", "window"}),
            stop_when_drained=True,
            unknown_event="migrate",
            poll_timeout=30,
            guest_attributes=False,
            guest_attributes_every=600.0,
            metrics_textfile=Path("/var/lib/node_exporter/h.prom"),
            log_level="debug",
            stop_timeout=12.0,
            boot_id_file=Path("/run/boot"),
            digest=whole.digest,
            cautions=whole.cautions,
        )

    def test_null_counts_as_missing(self) -> None:
        """So that a template need not leave out what is not set."""
        optional = ("restore", "playbook", "restore_playbook", "restore_timeout", "user", "lead", "when")
        assert config({**TASK, **dict.fromkeys(optional)}).tasks == config(TASK).tasks
        instead = {"name": "lb", "on": ["migrate"], "drain": None, "playbook": "/etc/drain.yml"}
        assert config(instead).tasks == (Task("lb", ("migrate",), playbook="/etc/drain.yml"),)
        assert config(metadata_host=None, metrics_textfile=None) == parse(
            encoded(metadata_host=None, metrics_textfile=None)
        )

    def test_the_digest_changes_with_the_text(self) -> None:
        assert config(TASK).digest == config(TASK).digest != config().digest


class TestTask:
    """Each refusal names the task and the field, in one line."""

    @pytest.mark.parametrize(
        "change, field, reason",
        [
            # unknown keys and events
            ({"colour": "red"}, "colour", "is unknown; the fields are check, drain, env, lead, name, on"),
            ({"on": ["explode"]}, "on", "event 'explode' is not one of migrate, terminate, preempt, window"),
            # wrong types and values
            ({"on": "migrate"}, "on", "must be a list"),
            ({"on": []}, "on", "must be a list of at least one of migrate"),
            ({"on": ["migrate", "migrate"]}, "on", "names an event twice"),
            ({"on": [["migrate"]]}, "on", "event ['migrate'] is not one of migrate, terminate"),
            ({"on": {"migrate": True}}, "on", "must be a list"),
            ({"stage": "first"}, "stage", "must be a whole number, not a string"),
            ({"stage": 1.5}, "stage", "must be a whole number, not a number"),
            ({"stage": True}, "stage", "must be a whole number, not a boolean"),
            ({"stage": -1}, "stage", "must be from 0 to 9999, not -1"),
            ({"drain": "/bin/lb drain"}, "drain", "must be a list of words, not a string"),
            ({"drain": []}, "drain", "must be a list of at least one word"),
            ({"drain": [""]}, "drain", "must not be empty"),
            ({"drain": ["/bin/lb", 1]}, "drain", "must be a list of strings, but contains a number"),
            ({"drain": ["/bin/lb", "\0"]}, "drain", "must not contain a NUL character"),
            ({"restore": {"a": 1}}, "restore", "must be a list of at least one word"),
            ({"playbook": 1, "drain": None}, "playbook", "must be a string, not a number"),
            ({"playbook": "drain.yml", "drain": None}, "playbook", "must be an absolute path, not 'drain.yml'"),
            ({"restore_playbook": "a.yml"}, "restore_playbook", "must be an absolute path"),
            ({"timeout": "15s"}, "timeout", "must be a number, not a string"),
            ({"timeout": None}, "timeout", "must be a number, not null"),
            ({"timeout": 0}, "timeout", "must be from 0.1 to 86400, not 0"),
            ({"timeout": float("nan")}, "timeout", "must be from 0.1 to 86400, not nan"),
            ({"timeout": float("inf")}, "timeout", "must be from 0.1 to 86400, not inf"),
            ({"timeout": 10**400}, "timeout", "must be from 0.1 to 86400"),
            ({"timeout": -(10**400)}, "timeout", "must be from 0.1 to 86400"),
            ({"restore_timeout": False}, "restore_timeout", "must be a number, not a boolean"),
            ({"retries": -1}, "retries", "must be from 0 to 100, not -1"),
            ({"retries": 10**400}, "retries", "must be from 0 to 100"),
            ({"user": ["root"]}, "user", "must be a string, not a list"),
            ({"user": " "}, "user", "must not be empty"),
            ({"user": "a\0b"}, "user", "must not contain a NUL character"),
            ({"user": "\ud800"}, "user", "must be Unicode text"),
            ({"env": ["A=1"]}, "env", "must be an object, not a list"),
            ({"env": {"A": 1}}, "env", "variable 'A' must be a string, not a number"),
            ({"env": {"A=B": "1"}}, "env", "'A=B' is not the name of a variable"),
            ({"env": {"": "1"}}, "env", "'' is not the name of a variable"),
            ({"env": {"A": "\ud800"}}, "env", "must be Unicode text"),
            ({"drain": ["/bin/true", "\ud800"]}, "drain", "must be Unicode text"),
            ({"on_failure": "ignore"}, "on_failure", "must be one of continue, stop, not 'ignore'"),
            ({"on_failure": ["stop"]}, "on_failure", "must be one of continue, stop"),
            ({"lead": "soon", "on": ["window"]}, "lead", "must be a number of seconds, or at_once, not 'soon'"),
            ({"lead": True, "on": ["window"]}, "lead", "must be a number of seconds, or at_once, not True"),
            ({"on": ["window"]}, "lead", "is missing, and a window is announced days ahead: give the seconds before"),
            ({"on": ["window"], "lead": None}, "lead", "is missing, and a window is announced days ahead"),
            ({"lead": "at_once"}, "lead", "is only for terminate and window, which are not in 'on'"),
            ({"lead": 600}, "lead", "is only for terminate and window, which are not in 'on'"),
            ({"when": 1}, "when", "must be a string, not a number"),
            # what does not go together
            ({"playbook": "/a.yml"}, "playbook", "cannot be given together with 'drain'"),
            (
                {"restore": ["/bin/true"], "restore_playbook": "/a.yml"},
                "restore_playbook",
                "cannot be given together with 'restore'",
            ),
            ({"drain": None}, "drain", "is missing (or give a 'playbook')"),
        ],
    )
    def test_is_rejected_with_its_name_and_the_field(self, change: dict[str, Any], field: str, reason: str) -> None:
        line = problem({**TASK, **change})
        assert line.startswith(f"task 'lb', field {field!r}: {reason}")
        assert "\n" not in line
        assert len(line) < 300

    @pytest.mark.parametrize("field", ["on", "drain"])
    def test_missing_field_is_reported(self, field: str) -> None:
        task = {key: value for key, value in TASK.items() if key != field}
        assert problem(task).startswith(f"task 'lb', field {field!r}: is missing")

    @pytest.mark.parametrize(
        "name, reason", [(5, "must be a string, not a number"), ("", "must not be empty"), (None, "must be a string")]
    )
    def test_without_a_valid_name_is_reported_by_its_number(self, name: Any, reason: str) -> None:
        assert problem(TASK, {**TASK, "name": name}).startswith(f"task 2, field 'name': {reason}")

    def test_without_a_name_is_reported_by_its_number(self) -> None:
        assert problem(TASK, {"on": ["migrate"], "drain": ["/bin/true"]}) == "task 2, field 'name': is missing"

    def test_that_is_not_an_object_is_reported_by_its_number(self) -> None:
        assert problem(TASK, "lb") == "task 2: must be an object, not a string"

    def test_duplicate_names(self) -> None:
        assert problem(TASK, {**TASK, "stage": 1}) == "task 'lb', field 'name': is used by more than one task"

    def test_missing_name_is_not_a_duplicate_of_the_name_none(self) -> None:
        lines = problems({"on": ["migrate"], "drain": ["/bin/true"]}, {**TASK, "name": "None"})
        assert lines == ["task 1, field 'name': is missing"]

    def test_secret_in_the_environment_is_not_shown(self) -> None:
        assert "hunter2" not in problem({**TASK, "env": {"PASSWORD": ["hunter2"]}})

    def test_each_problem_has_a_line(self) -> None:
        lines = problems({**TASK, "stage": "x", "colour": 1}, {**TASK, "name": "b", "retries": -1}, poll_timeout=0)
        assert [line.split(": ")[0] for line in lines] == [
            "field 'poll_timeout'",
            "task 'lb', field 'stage'",
            "task 'lb', field 'colour'",
            "task 'b', field 'retries'",
        ]


class TestNotice:
    """Stages that exceed the notice of an event."""

    def test_task_longer_than_the_notice_is_reported(self) -> None:
        assert problem({**TASK, "on": ["preempt"], "timeout": 31}) == (
            "task 'lb', field 'timeout': the stages for preempt take 31 s, more than the notice of 30 s; "
            "shorten timeouts, or let tasks share a stage"
        )

    def test_stages_longer_than_the_notice_name_the_longest_task(self) -> None:
        tasks = [{**TASK, "name": name, "stage": n, "timeout": 25 + n} for n, name in enumerate(("a", "b", "c"))]
        assert problem(*tasks).startswith(
            "task 'c', field 'timeout': the stages for migrate take 25 + 26 + 27 = 78 s, more than the notice of 60 s"
        )

    def test_tasks_of_one_stage_run_in_parallel(self) -> None:
        assert len(config(*({**TASK, "name": name, "timeout": 60} for name in "abc")).tasks) == 3

    def test_notice_can_be_configured(self) -> None:
        assert config({**TASK, "timeout": 90}, notice={"migrate": 90}).notice["migrate"] == 90.0

    def test_lead_longer_than_the_notice_is_reported(self) -> None:
        assert problem({**TASK, "on": ["terminate"], "lead": 3601}).startswith(
            "task 'lb', field 'lead': 3601 s before a terminate event, of which 3600 s of notice are given"
        )

    def test_task_longer_than_its_lead_is_reported(self) -> None:
        assert problem({**TASK, "on": ["window"], "lead": 10, "timeout": 20}).startswith(
            "task 'lb', field 'timeout': the stages for window take 20 s, more than the lead of 10 s"
        )

    def test_is_reported_with_other_problems(self) -> None:
        lines = problems({**TASK, "timeout": 61, "colour": 1}, {"name": "b"}, "c", poll_timeout=0)
        assert [line.split(": ")[0] for line in lines] == [
            "field 'poll_timeout'",
            "task 'lb', field 'colour'",
            "task 'b', field 'on'",
            "task 'b', field 'drain'",
            "task 3",
            "task 'lb', field 'timeout'",
        ]

    def test_is_not_computed_from_invalid_fields(self) -> None:
        assert len(problems({**TASK, "timeout": 61}, notice={"migrate": "long"})) == 1
        assert len(problems({**TASK, "timeout": 61, "stage": "x"})) == 1


class TestLead:
    """A window is announced days ahead, and a termination an hour: draining at once must be explicit."""

    def test_announced_drains_at_once(self) -> None:
        assert config({**TASK, "on": ["window"], "lead": "at_once"}).tasks[0].lead is None
        assert config({**TASK, "on": ["window"], "lead": 0.5, "timeout": 0.5}).tasks[0].lead == 0.5

    def test_termination_without_a_lead_is_noted(self) -> None:
        (line,) = config({**TASK, "on": ["migrate", "terminate"]}, {**TASK, "name": "b"}).cautions
        assert line == (
            "task 'lb', field 'lead': is not given, so that the task drains 3600 s before a termination, as soon as it "
            "is announced; give the seconds before it, or at_once if that is what you want"
        )

    @pytest.mark.parametrize("lead", [600, "at_once"])
    def test_termination_with_a_lead_is_not_noted(self, lead: Any) -> None:
        assert config({**TASK, "on": ["terminate"], "lead": lead}).cautions == ()


class TestConfiguration:
    @pytest.mark.parametrize(
        "change, meant", [({"taks": []}, "tasks"), ({"tasks": [{**TASK, "timeuot": 3}]}, "timeout")]
    )
    def test_suggests_the_name_of_a_misspelled_field(self, change: dict[str, Any], meant: str) -> None:
        assert problem(**change).endswith(f"; did you mean '{meant}'?")

    @pytest.mark.parametrize(
        "change, field, reason",
        [
            ({"colour": 1}, "colour", "is unknown; the fields are boot_id_file, flap_limit, fleet_limit, guest_attrib"),
            ({"tasks": {}}, "tasks", "must be a list, not an object"),
            ({"tasks": None}, "tasks", "must be a list, not null"),
            ({"state_dir": "relative"}, "state_dir", "must be an absolute path"),
            ({"state_dir": None}, "state_dir", "must be a string, not null"),
            ({"runtime_dir": 1}, "runtime_dir", "must be a string"),
            ({"metadata_host": ["a"]}, "metadata_host", "must be a string"),
            ({"notice": 60}, "notice", "must be an object of seconds for each event, not a number"),
            ({"notice": {"reboot": 1}}, "notice", "event 'reboot' is not one of migrate, terminate"),
            ({"notice": {"migrate": "60"}}, "notice", "migrate: must be a number, not a string"),
            ({"notice": {"migrate": 0}}, "notice", "migrate: must be from 0.1 to 86400"),
            ({"unknown_event": "window"}, "unknown_event", "must be one of migrate, terminate, not 'window'"),
            ({"poll_timeout": 60.0}, "poll_timeout", "must be a whole number"),
            ({"poll_timeout": 0}, "poll_timeout", "must be from 1 to 600, not 0"),
            ({"guest_attributes": "yes"}, "guest_attributes", "must be true or false, not a string"),
            ({"guest_attributes_every": 5}, "guest_attributes_every", "must be from 60 to 86400, not 5"),
            ({"metrics_textfile": "h.prom"}, "metrics_textfile", "must be an absolute path"),
            ({"log_level": "loud"}, "log_level", "must be one of debug, info, warning, error"),
            ({"stop_timeout": 0}, "stop_timeout", "must be from 1 to 86400"),
            ({"boot_id_file": 1}, "boot_id_file", "must be a string"),
            ({"fleet_limit": {"group": "web"}}, "fleet_limit", "backend is missing"),
            ({"fleet_limit": {"backend": "etcd", "group": None}}, "fleet_limit", "group is missing"),
        ],
    )
    def test_is_rejected_with_the_field(self, change: dict[str, Any], field: str, reason: str) -> None:
        assert problem(**change).startswith(f"field {field!r}: {reason}")

    @pytest.mark.parametrize("field", ["state_dir", "runtime_dir"])
    def test_missing_directory_is_reported(self, field: str) -> None:
        with pytest.raises(ConfigError, match=f"^field '{field}': is missing$"):
            parse(json.dumps({key: value for key, value in DIRECTORIES.items() if key != field}).encode())

    @pytest.mark.parametrize(
        "text, reason",
        [
            (b"", "does not parse as JSON: "),
            (b"{", "does not parse as JSON: "),
            (b"{'tasks': []}", "does not parse as JSON: "),
            (b"\xff\xfe\x00", "does not parse as JSON: "),
            (b"[" * 100_000, "does not parse as JSON: "),
            (b"[]", "must be one JSON object, not a list"),
            (b'"text"', "must be one JSON object, not a string"),
            (b"null", "must be one JSON object, not null"),
        ],
    )
    def test_that_is_not_a_json_object_is_rejected(self, text: bytes, reason: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse(text)
        (line,) = caught.value.problems
        assert line.startswith(reason)

    def test_duplicate_keys_are_reported_with_other_problems(self) -> None:
        with pytest.raises(ConfigError) as caught:
            parse(
                b'{"tasks": [{"name": "a", "name": "a", "on": []}], "tasks": [], "state_dir": "/a", "poll_timeout": 0}'
            )
        assert [line.split(": ")[0] for line in caught.value.problems] == [
            "key 'name' is duplicated in an object",
            "key 'tasks' is duplicated in an object",
            "field 'poll_timeout'",
            "field 'runtime_dir'",
        ]


class TestFile:
    def test_is_named_in_every_line(self, tmp_path: Path) -> None:
        path = tmp_path / "config.json"
        path.write_bytes(encoded({**TASK, "stage": "x"}, poll_timeout=0))
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert [line.startswith(f"{path}: ") for line in caught.value.problems] == [True, True]
        assert str(caught.value) == "\n".join(caught.value.problems)

    def test_that_is_missing_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"none\.json: cannot be read: No such file or directory$"):
            load(tmp_path / "none.json")

    def test_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "config.json"
        path.write_bytes(encoded(TASK))
        assert load(path) == config(TASK)


KEYS = [*TASK, "stage", "restore", "playbook", "timeout", "retries", "user", "env", "on_failure", "lead", "when"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["migrate", "window", "/bin/true", "stop", 10**400, -1, "\ud800", "\0"])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
TASKS = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), VALUES, max_size=4).map(
    lambda bad: {**TASK, **bad}
)
OBJECTS = st.fixed_dictionaries(
    {"tasks": st.lists(TASKS | VALUES, max_size=3) | VALUES},
    optional=dict.fromkeys(
        ("state_dir", "notice", "poll_timeout", "log_level", "stop_timeout", "unknown_event", "x"), VALUES
    ),
).map(lambda drawn: {**DIRECTORIES, **drawn})


@given(st.binary() | VALUES.map(json.dumps).map(str.encode) | OBJECTS.map(json.dumps).map(str.encode))
@example(encoded({**TASK, "restore": None}))
def test_any_text_is_parsed_or_rejected(text: bytes) -> None:
    try:
        read = parse(text)
    except ConfigError as error:
        lines = error.problems
    else:
        lines = [task.name for task in read.tasks]
        assert len(set(lines)) == len(lines)
        return
    assert lines
    assert not [line for line in lines if len(line.splitlines()) != 1]


def test_notice_that_shortens_timeouts_is_reported() -> None:
    stages = [
        {**TASK, "name": name, "on": ["preempt"], "stage": stage, "timeout": 15} for stage, name in enumerate("ab")
    ]
    (caution,) = config(*stages).cautions
    assert caution.startswith("event preempt: the stages get 12.5 s and 12.5 s; ")
    assert config(*stages[:1]).cautions == ()
