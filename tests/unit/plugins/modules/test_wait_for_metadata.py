# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module wait_for_metadata, on an emulated VM. How it waits is tested with module_utils/_vm/waiting.py."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.modules import metadata_info, wait_for_metadata

from support.emulator import EmulatorProcess, eventually
from support.modules import Result, run_module
from support.playbook import examples, started_play

ROLE = "instance/attributes/role"


def wait(path: str, **parameters: Any) -> Result:
    # None of these has to wait: the condition is met, or the timeout is 0.
    return run_module(wait_for_metadata, {"path": path, "timeout": 0, **parameters})


class TestConditions:
    @pytest.mark.parametrize(
        "path, parameters, is_met",
        [
            (ROLE, {"equals": "web"}, True),
            (ROLE, {"equals": "WEB"}, False),
            (ROLE, {"matches": "^w"}, True),
            (ROLE, {"matches": "^e"}, False),
            (ROLE, {"state": "present"}, True),
            (ROLE, {"state": "absent"}, False),
            (ROLE, {"state": "changed"}, False),
            (ROLE, {"state": "changed", "last_etag": "0"}, True),
            (ROLE, {"query": "@ == 'web'"}, True),
            ("instance/attributes/nothing", {"state": "absent"}, True),
            ("instance/attributes/nothing", {"state": "present"}, False),
            ("instance/attributes/nothing", {"equals": ""}, False),
            ("instance/attributes/nothing", {"query": "!@"}, False),
            ("instance/upcoming-maintenance", {"state": "absent"}, True),
            ("instance/id", {"equals": 9007199254740993}, True),
            ("instance/id", {"equals": "9007199254740993"}, True),
            ("instance/id", {"equals": 9007199254740992}, False),
            ("instance/attributes/enabled", {"equals": True}, True),
            ("instance/attributes/enabled", {"equals": False}, False),
            ("instance/preempted", {"equals": False}, True),
            ("instance/preempted", {"matches": "^FALSE$"}, True),
            ("instance/attributes", {"query": "role == 'web' && !phase"}, True),
            ("instance/attributes/", {"query": "phase"}, False),
            ("instance/tags", {"query": "@"}, False),
            ("instance/disks/", {"query": "[0].index"}, True),
        ],
        ids=str,
    )
    def test_are_checked_at_once(
        self, emulator: EmulatorProcess, path: str, parameters: dict[str, Any], is_met: bool
    ) -> None:
        result = wait(path, **parameters)
        assert result.failed is not is_met
        assert ("Timed out after" in result.get("msg", "")) is not is_met
        assert result.get("changed", False) is False
        assert "elapsed" in result

    def test_query_that_does_not_fit_yet_is_false(self, emulator: EmulatorProcess) -> None:
        parameters = {"path": "instance/attributes/", "query": "starts_with(phase, 'done')"}
        result = wait(**parameters)
        assert "Timed out after" in result["msg"]
        assert "does not fit the data" in result["msg"]
        emulator.control.set("web-1", "instance/attributes/phase", "starting")
        assert "does not fit" not in wait(**parameters)["msg"]
        emulator.control.set("web-1", "instance/attributes/phase", "done-with-it")
        assert not wait(**parameters).failed

    def test_empty_value_is_not_a_missing_one(self, emulator: EmulatorProcess) -> None:
        emulator.control.set("web-1", ROLE, "")
        assert not wait(ROLE, equals="").failed

    def test_wait_can_be_unlimited(self, emulator: EmulatorProcess) -> None:
        assert not wait(ROLE, equals="web", timeout=float("inf")).failed

    def test_changed_since_last_etag(self, emulator: EmulatorProcess) -> None:
        etag = run_module(metadata_info, {"path": [ROLE]})["etag"]
        assert wait(ROLE, state="changed", last_etag=etag).failed
        emulator.control.set("web-1", ROLE, "db")
        result = wait(ROLE, state="changed", last_etag=etag)
        assert (result["value"], result["found"]) == ("db", True)
        emulator.control.remove("web-1", ROLE)
        result = wait(ROLE, state="changed", last_etag=etag)
        assert (result["value"], result["found"], result["etag"]) == (None, False, None)

    def test_values_are_compared_exactly(self, emulator: EmulatorProcess) -> None:
        value = "{{ 1+1 }}\nGrüße\n"
        emulator.control.set("web-1", ROLE, value)
        assert wait(ROLE, equals=value)["value"] == value


class TestTimeout:
    def test_names_the_condition_and_the_last_value(self, emulator: EmulatorProcess) -> None:
        assert wait(ROLE, equals="db")["msg"] == (
            f"Timed out after 0 s waiting for {ROLE} to equal 'db'. Its last value was \"web\"."
        )
        assert "The key did not exist at the end" in wait("instance/attributes/nothing", state="present")["msg"]

    @pytest.mark.parametrize("wanted", [{"equals": "false"}, {"matches": "false"}], ids=str)
    def test_shows_the_compared_text(self, emulator: EmulatorProcess, wanted: dict[str, str]) -> None:
        result = wait("instance/preempted", **wanted)
        assert result["msg"].endswith('Its last value was "FALSE".')
        assert result["value"] is False

    def test_returns_the_last_value(self, emulator: EmulatorProcess) -> None:
        result = wait("instance/attributes/", query="phase", secret_patterns=[])
        assert result["value"]["role"] == "web"
        assert result["found"] is True
        assert result["etag"]

    def test_shows_a_long_value_once(self, emulator: EmulatorProcess) -> None:
        emulator.control.set("web-1", ROLE, "x" * 10000)
        assert len(wait(ROLE, equals="db")["msg"]) < 400

    def test_during_an_outage(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("503", instance="web-1")
        result = wait(ROLE, state="changed", timeout=5, retry_for=0)
        assert result.failed
        assert "is unavailable (503)" in result["msg"]


class TestSecrets:
    @pytest.mark.parametrize(
        "path, parameters",
        [
            ("instance/attributes/ssh-keys", {"equals": "x"}),
            ("instance/attributes/ssh-keys", {"state": "present"}),
            ("instance/attributes/", {"query": 'abs("ssh-keys")'}),
            ("instance/attributes/", {"query": "nothing"}),
        ],
        ids=str,
    )
    def test_are_not_returned_or_quoted(self, emulator: EmulatorProcess, path: str, parameters: dict[str, Any]) -> None:
        assert "hunter2" not in wait(path, **parameters).printed

    @pytest.mark.parametrize(
        "parameters, said",
        [
            ({"equals": "HUNTER2"}, "to equal [redacted]"),
            ({"equals": "hunter2"}, ""),
            ({"matches": "HUNTER2"}, "to match [redacted]"),
            ({"matches": "(HUNTER2"}, "matches is not a regular expression"),
            ({"equals": "hunter2", "matches": "HUNTER2"}, "mutually exclusive"),
            ({"state": "present", "equal": "HUNTER2"}, "Unsupported parameters"),
            ({"equals": "HUNTER2", "secret_patterns": "("}, "secret_patterns"),
        ],
        ids=str,
    )
    def test_compared_values_are_not_shown(
        self, emulator: EmulatorProcess, parameters: dict[str, Any], said: str
    ) -> None:
        result = wait(**{"path": "instance/attributes/db-password", **parameters})
        assert said in result.get("msg", "")
        assert "hunter2" not in result.printed.lower()

    def test_are_distinguished_from_other_values(self, emulator: EmulatorProcess) -> None:
        assert '"equals": "db"' in wait(ROLE, equals="db").printed
        result = wait("instance/attributes/db-password", equals="HUNTER2", show_secrets=True)
        assert "to equal 'HUNTER2'. Its last value was \"hunter2\"" in result["msg"]

    def test_can_be_waited_for(self, emulator: EmulatorProcess) -> None:
        result = wait("instance/attributes/db-password", matches="hunter")
        assert result["value"] == "[redacted]"
        assert wait("instance/attributes/db-password", state="present", show_secrets=True)["value"] == "hunter2"


class TestBadInput:
    @pytest.mark.parametrize(
        "parameters, said",
        [
            ({}, "one of the following is required: state, equals, matches, query"),
            ({"state": "present", "equals": "a"}, "mutually exclusive"),
            ({"equals": ["a"]}, "Use query"),
            ({"equals": None}, "There is nothing to wait for"),
            ({"matches": None}, "There is nothing to wait for"),
            ({"query": None}, "There is nothing to wait for"),
            ({"state": None}, "value of state must be one of"),
            ({"query": "nothing_like_it(@)"}, "nothing_like_it"),
            ({"matches": "("}, "matches: '(' is not a regular expression"),
            ({"query": "a["}, "is not a JMESPath expression"),
            ({"state": "present", "last_etag": "0"}, "last_etag requires state=changed"),
            ({"equals": "a", "last_etag": "0"}, "last_etag"),
            ({"state": "present", "timeout": -1}, "timeout is -1"),
            ({"state": "present", "timeout": float("nan")}, "timeout is nan"),
            ({"state": "present", "path": "instance/../project"}, "has '..'"),
            ({"equals": "a", "path": "instance/attributes"}, "is a directory. Use query"),
            ({"matches": "a", "path": "instance/foo/"}, "is a directory. Use query"),
        ],
        ids=str,
    )
    def test_is_rejected_before_any_request(
        self, emulator: EmulatorProcess, parameters: dict[str, Any], said: str
    ) -> None:
        result = wait(**{"path": ROLE, **parameters})
        assert result.failed
        assert said in result["msg"]
        assert emulator.control.journal() == []

    def test_host_that_cannot_be_resolved(self, emulator: EmulatorProcess) -> None:
        result = wait(ROLE, state="present", timeout=300, retry_for=0, metadata_host="nowhere.invalid")
        assert "Check the option metadata_host" in result["msg"]

    def test_disabled_guest_attributes(self, emulator: EmulatorProcess) -> None:
        emulator.control.remove("web-1", "instance/attributes/enable-guest-attributes")
        result = wait("instance/guest-attributes/a/b", state="present", timeout=300)
        assert "enable-guest-attributes=TRUE" in result["msg"]


def test_the_examples_run(emulator: EmulatorProcess) -> None:
    emulator.control.set("web-1", "instance/attributes/drain", "TRUE")
    config = "instance/attributes/app-config"
    emulator.control.set("web-1", config, "one")
    environment = {"GCE_METADATA_HOST": emulator.metadata["web-1"]}
    with started_play(examples("modules", "wait_for_metadata"), environment=environment) as process:
        hanging = {"instance": "web-1", "path": config}
        eventually(
            lambda: any("wait_for_change" in request["query"] for request in emulator.control.journal(**hanging)),
            within=60,
        )
        emulator.control.set("web-1", config, "two")
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
