# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module guest_attributes, on an emulated VM that counts queries on the same clock as the module."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.attribute_namespace import Namespace, leave_rate_alone, plan
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import Limits, MetadataServer, Time
from ansible_collections.gce.guest.plugins.modules import guest_attributes

from gce_emulator.state.faults import Fault
from gce_emulator.state.instance import Instance
from support.emulator import EmulatorProcess
from support.emulator_thread import EmulatorThread
from support.modules import Result, run_module
from support.playbook import examples, run_play
from support.shared_time import SharedTime

ENABLED = {"enable-guest-attributes": "TRUE"}
VMS: dict[str, Any] = {
    "instances": [
        {"name": "strict", "attributes": ENABLED},
        {"name": "lossy", "attributes": ENABLED, "guest_attributes_over_budget": "drop"},
        {"name": "off"},
    ]
}
NOT_GIVEN = object()
WRITES = ("PUT", "DELETE")
MANY = {f"key-{number:02}": str(number) for number in range(30)}


class Guest:
    """The VM that the module runs on, and its time."""

    def __init__(self, name: str, emulator: EmulatorThread, time: SharedTime) -> None:
        self.instance: Instance = emulator.instance(name)
        self.host = emulator.metadata[name]
        self.time = time
        self._emulator = emulator
        self.before_sleeping: Callable[[], object] = lambda: None

    def run(self, attributes: Any = NOT_GIVEN, *, check: bool = False, diff: bool = False, **parameters: Any) -> Result:
        """The module's result for these attributes of the namespace `ns`."""
        given = {} if attributes is NOT_GIVEN else {"attributes": attributes}
        # What does not count for a budget is not what these tests are about.
        whole = {"namespace": "ns", "metadata_host": self.host, "request_timeout": 30, **given, **parameters}
        return run_module(self.module(), whole, check=check, diff=diff)

    def module(self) -> ModuleType:
        """The module with this guest's time instead of the machine's."""
        module = ModuleType("guest_attributes")
        module.__dict__["main"] = lambda: guest_attributes.main(Time(self.time.clock, self.sleep))
        return module

    def sleep(self, seconds: float) -> None:
        self.before_sleeping()
        self.time.sleep(seconds)

    def write(self, attributes: dict[str, str]) -> None:
        """Run the module in a separate process, for tests that run several at once."""
        time = Time(self.time.clock, self.time.sleep)
        server = MetadataServer(self.host, limits=Limits(timeout=30), time=time, on_retry=leave_rate_alone)
        with closing(server):
            namespace = Namespace(server, "ns", time=time)
            namespace.carry_out(plan(namespace.read(), attributes))

    def set(self, **attributes: str) -> None:
        for key, text in attributes.items():
            self.instance.set(f"instance/guest-attributes/ns/{key}", text)

    @property
    def attributes(self) -> dict[str, str]:
        return self.instance.guest_attributes.get("ns", {})

    def requests(self) -> list[tuple[str, int | None]]:
        return [(method, status) for method, status, _unused in self._emulator.journal()]

    def writes(self) -> list[str]:
        return [
            path.removeprefix("instance/guest-attributes/")
            for method, _unused, path in self._emulator.journal()
            if method in WRITES
        ]


@pytest.fixture
def time() -> SharedTime:
    return SharedTime()


@pytest.fixture
def guest(time: SharedTime, request: pytest.FixtureRequest) -> Iterator[Guest]:
    """The VM `strict`, or the one that the test's parameter names."""
    with EmulatorThread(VMS, time.clock) as emulator:
        yield Guest(getattr(request, "param", "strict"), emulator, time)


class TestPresent:
    def test_writes_only_differences(self, guest: Guest) -> None:
        guest.set(same="1", other="x", old="a")
        result = guest.run({"same": "1", "old": "b", "new": "c"})
        assert (result["changed"], result["written"], result["deleted"]) == (True, ["new", "old"], [])
        assert guest.attributes == {"same": "1", "other": "x", "old": "b", "new": "c"}
        assert guest.writes() == ["ns/new", "ns/old"]

    def test_the_second_run_writes_nothing(self, guest: Guest) -> None:
        guest.run({"a": "1", "b": True, "c": 2.5})
        written = guest.writes()
        result = guest.run({"a": "1", "b": True, "c": 2.5})
        assert (result["changed"], result["written"], result["deleted"]) == (False, [], [])
        assert guest.writes() == written
        assert (result["requests"], result["seconds"]) == (1, 0.0)

    @pytest.mark.parametrize(
        "value, text",
        [
            ("{{ 1+1 }}", "{{ 1+1 }}"),
            ("two\nlines\n", "two\nlines\n"),
            ("\r\n\t ", "\r\n\t "),
            ("zwölf 🎉", "zwölf 🎉"),
            ("", ""),
            ("x" * 262144, "x" * 262144),
            (True, "TRUE"),
            (False, "FALSE"),
            (0, "0"),
            (-7, "-7"),
            (2**64, "18446744073709551616"),
            (1.5, "1.5"),
            ("TRUE", "TRUE"),
            ("yes", "yes"),
        ],
    )
    def test_values_arrive_unchanged(self, guest: Guest, value: Any, text: str) -> None:
        assert guest.run({"key": value})["changed"]
        assert guest.attributes == {"key": text}
        assert not guest.run({"key": value})["changed"]

    def test_purge_deletes_all_other_keys(self, guest: Guest) -> None:
        guest.set(keep="1", drop="2")
        result = guest.run({"keep": "1"}, purge=True)
        assert (result["written"], result["deleted"]) == ([], ["drop"])
        assert guest.attributes == {"keep": "1"}
        assert guest.writes() == ["ns/drop"]

    def test_purge_without_attributes_empties_the_namespace(self, guest: Guest) -> None:
        guest.set(a="1", b="2")
        assert guest.run({}, purge=True)["deleted"] == ["a", "b"]
        assert guest.attributes == {}

    def test_other_namespaces_are_unchanged(self, guest: Guest) -> None:
        guest.instance.set("instance/guest-attributes/other/key", "1")
        guest.run({"a": "1"}, purge=True)
        assert guest.instance.guest_attributes == {"other": {"key": "1"}, "ns": {"a": "1"}}


class TestAbsent:
    def test_deletes_keys_with_any_value(self, guest: Guest) -> None:
        guest.set(a="1", b="2", c="3")
        result = guest.run({"a": None, "b": "something else", "none": ["x"]}, state="absent")
        assert (result["changed"], result["written"], result["deleted"]) == (True, [], ["a", "b"])
        assert guest.attributes == {"c": "3"}

    def test_the_second_run_writes_nothing(self, guest: Guest) -> None:
        assert not guest.run({"a": None}, state="absent")["changed"]
        assert guest.writes() == []

    @pytest.mark.parametrize("attributes", [NOT_GIVEN, None, {}])
    def test_with_purge_deletes_the_namespace(self, guest: Guest, attributes: Any) -> None:
        guest.set(a="1", b="2")
        assert guest.run(attributes, state="absent", purge=True)["deleted"] == ["a", "b"]
        assert guest.attributes == {}


class TestCheckMode:
    @pytest.mark.parametrize(
        "parameters", [{"attributes": {"a": "2", "c": "3"}, "purge": True}, {"state": "absent", "purge": True}]
    )
    def test_predicts_the_run_and_writes_nothing(self, guest: Guest, parameters: dict[str, Any]) -> None:
        guest.set(a="1", b="2")
        predicted = guest.run(**parameters, check=True, diff=True)
        assert guest.writes() == []
        assert guest.attributes == {"a": "1", "b": "2"}
        guest.time.now += 60
        assert guest.run(**parameters, diff=True) == predicted
        assert guest.attributes == predicted["diff"]["after"]

    def test_diff_is_returned_only_on_request(self, guest: Guest) -> None:
        guest.set(a="1")
        assert "diff" not in guest.run({"a": "2"})
        assert guest.run({"b": "3"}, diff=True)["diff"] == {
            "before_header": "instance/guest-attributes/ns/",
            "after_header": "instance/guest-attributes/ns/",
            "before": {"a": "2"},
            "after": {"a": "2", "b": "3"},
        }

    def test_bytes_that_are_not_utf_8_are_replaced(self, guest: Guest) -> None:
        guest.set(theirs="\udcff")
        diff = guest.run({"ours": "1"}, diff=True)["diff"]
        assert diff["after"] == {"ours": "1", "theirs": "\ufffd"}
        assert guest.attributes["theirs"] == "\udcff"


class TestBudget:
    @pytest.mark.parametrize("guest", ["strict", "lossy"], indirect=True)
    def test_thirty_attributes_are_written_in_the_predicted_time(self, guest: Guest, time: SharedTime) -> None:
        asked = guest.run(MANY, check=True)
        assert (asked["requests"], asked["seconds"]) == (32, 180.0)
        time.now += 60
        began = time.now
        result = guest.run(MANY)
        assert guest.attributes == MANY
        assert result["seconds"] == 180.0
        assert time.now - began == pytest.approx(180.0)
        # With the two reads. None of them was refused, and none was dropped, or there were more.
        assert guest.requests()[1:] == [("GET", 404), *[("PUT", 200)] * 30, ("GET", 200)]

    def test_change_longer_than_max_wait_is_rejected_before_any_write(self, guest: Guest) -> None:
        for check in (True, False):
            result = guest.run(MANY, max_wait=60, check=check)
            assert result.failed
            assert "takes 32 requests and at least 180 s" in result["msg"]
            assert "max_wait is 60. Nothing was changed. Raise max_wait" in result["msg"]
        assert guest.writes() == []

    def test_budget_used_by_an_earlier_task_is_waited_for(self, guest: Guest, time: SharedTime) -> None:
        guest.run({f"first-{number}": "x" for number in range(8)})
        began = time.now
        result = guest.run({"second": "x"})
        assert result["changed"]
        assert guest.attributes["second"] == "x"
        assert 50 < time.now - began < 80

    def test_max_wait_of_zero_fails_with_a_reason(self, guest: Guest) -> None:
        guest.run({f"first-{number}": "x" for number in range(8)})
        result = guest.run({"second": "x"}, max_wait=3)
        assert result.failed
        assert (
            "allows 10 requests a minute, which other processes use as well. Waited 0 s, and max_wait is 3"
            in result["msg"]
        )
        assert "second" not in guest.attributes

    def test_an_error_reports_the_changes_made_before(self, guest: Guest) -> None:
        def switch_off() -> None:
            guest.instance.set("instance/attributes/enable-guest-attributes", "FALSE")

        guest.before_sleeping = switch_off
        result = guest.run({"a": "1", "b": "2", "c": "3"}, retry_for=0)
        assert result.failed
        assert "2 of 3 changes were made." in result["msg"]

    def test_dropped_writes_are_written_again(self, time: SharedTime) -> None:
        """GoogleCloudPlatform/osconfig#411: writes are denied (403), also for a while after enabling."""
        with EmulatorThread(VMS, time.clock) as emulator:
            guest = Guest("lossy", emulator, time)
            # Three queries of another process in this second.
            for _unused in range(3):
                guest.instance.guest_attribute_queries.spend()
            assert guest.run({"a": "1", "b": "2"})["changed"]
            assert guest.attributes == {"a": "1", "b": "2"}
            # Two attributes, and yet more than two writes: each got 200, and the first ones were for nothing.
            assert len(guest.writes()) > 2

    def test_outage_is_survived(self, guest: Guest) -> None:
        guest.instance.project.faults.inject(Fault("503", count=3))
        assert guest.run({"a": "1"})["changed"]
        assert guest.attributes == {"a": "1"}


class TestTwoAtOnce:
    @pytest.mark.parametrize("name", ["strict", "lossy"])
    def test_no_write_is_lost_although_both_share_the_budget(self, name: str) -> None:
        time = SharedTime(parties=2)
        with EmulatorThread(VMS, time.clock) as emulator:
            guest = Guest(name, emulator, time)
            failures: list[BaseException] = []

            def play(who: str) -> None:
                try:
                    guest.write({f"{who}-{number}": who for number in range(12)})
                except BaseException as failure:
                    failures.append(failure)
                finally:
                    time.leave()

            threads = [threading.Thread(target=play, args=(who,)) for who in ("left", "right")]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert failures == []
            assert guest.attributes == {f"{who}-{number}": who for who in ("left", "right") for number in range(12)}

    def test_purge_keeps_keys_written_after_its_read(self, guest: Guest) -> None:
        guest.set(old1="x", old2="x", old3="x")
        guest.before_sleeping = lambda: guest.set(late="y")
        assert guest.run({}, purge=True)["deleted"] == ["old1", "old2", "old3"]
        assert guest.attributes == {"late": "y"}

    def test_last_writer_of_a_key_wins_and_the_other_one_warns(self, guest: Guest) -> None:
        guest.before_sleeping = lambda: guest.set(a="theirs")
        result = guest.run({"a": "ours", "b": "1", "c": "2"})
        assert result["overtaken"] == ["a"]
        assert "Something else has changed keys in instance/guest-attributes/ns/ meanwhile: a." in result.printed
        assert guest.attributes["a"] == "theirs"

    def test_keys_deleted_by_another_task_are_no_error(self, guest: Guest) -> None:
        guest.set(a="1", b="2", c="3")
        guest.before_sleeping = lambda: guest.instance.remove("instance/guest-attributes/ns/c")
        result = guest.run(state="absent", purge=True)
        assert not result.failed
        assert result["deleted"] == ["a", "b", "c"]


class TestDenied:
    @pytest.mark.parametrize("guest", ["off"], indirect=True)
    def test_is_retried_until_it_is_enabled(self, guest: Guest, time: SharedTime) -> None:
        """GoogleCloudPlatform/osconfig#411: writes are denied (403), also for a while after enabling."""
        began = time.now

        def enable_later() -> None:
            if time.now - began > 150:
                guest.instance.set("instance/attributes/enable-guest-attributes", "TRUE")

        guest.before_sleeping = enable_later
        result = guest.run({"a": "1"}, retry_for=300)
        assert result["changed"]
        assert 150 < time.now - began < 180
        assert guest.attributes == {"a": "1"}

    @pytest.mark.parametrize("guest", ["off"], indirect=True)
    @pytest.mark.parametrize(
        "project, instance, explanation",
        [
            (None, None, "Neither the metadata of the instance nor that of the project has enable-guest-attributes."),
            ("TRUE", "no", "The metadata of the instance has enable-guest-attributes='no'."),
            ("FALSE", None, "The metadata of the project has enable-guest-attributes='FALSE'."),
        ],
    )
    @pytest.mark.parametrize("check", [True, False])
    def test_is_explained(
        self, guest: Guest, project: str | None, instance: str | None, explanation: str, check: bool
    ) -> None:
        if project is not None:
            guest.instance.set("project/attributes/enable-guest-attributes", project)
        if instance is not None:
            guest.instance.set("instance/attributes/enable-guest-attributes", instance)
        result = guest.run({"a": "1"}, check=check)
        assert result.failed
        assert "Guest attributes endpoint access is disabled" in result["msg"]
        assert explanation in result["msg"]
        assert result["msg"].count("Set enable-guest-attributes=TRUE") == 1
        assert "retry_for=300" in result["msg"]
        assert "constraints/compute.disableGuestAttributesAccess" in result["msg"]

    @pytest.mark.parametrize("value", ["TRUE", "yes"])
    def test_by_a_policy_is_explained(self, guest: Guest, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        """The metadata already enables them, so the remedy is not to set it."""
        guest.instance.set("instance/attributes/enable-guest-attributes", value)
        monkeypatch.setattr(guest.instance, "is_enabled", lambda key: False)
        message = guest.run({"a": "1"}, retry_for=20)["msg"]
        assert f"The metadata of the instance has enable-guest-attributes={value!r} already." in message
        assert "constraints/compute.disableGuestAttributesAccess" in message
        assert "retry_for=300" in message
        assert "Set enable-guest-attributes" not in message


class TestBadInput:
    @pytest.mark.parametrize(
        "parameters, message",
        [
            ({"namespace": "a b", "attributes": {"a": "1"}}, "The namespace of a guest attribute is 'a b'"),
            ({"namespace": "", "attributes": {"a": "1"}}, "The namespace of a guest attribute is ''"),
            ({"namespace": "..", "attributes": {}, "purge": True}, "The namespace of a guest attribute is '..'"),
            ({"attributes": {"a/b": "1"}}, "The key of a guest attribute is 'a/b'"),
            ({"attributes": {"k" * 129: "1"}}, "may have 128 characters"),
            (
                {"attributes": {"ok": "1", "big": "x" * 262145}},
                "The value of the guest attribute 'big' has 262145 bytes",
            ),
            ({"attributes": {"a": ["x"]}}, "The value of the guest attribute 'a' is a list, but it has to be text"),
            ({"attributes": {"a": {"b": 1}}}, "The value of the guest attribute 'a' is a dict"),
            ({"attributes": {"a": None}}, "The value of the guest attribute 'a' is null"),
            (
                {"attributes": {"a": float("nan")}},
                "The value of the guest attribute 'a' is nan, but it has to be text, a",
            ),
            (
                {"attributes": {"a": float("-inf")}},
                "'a' is -inf, but it has to be text, a finite number or a boolean",
            ),
            ({"attributes": {"a!": None}, "state": "absent"}, "The key of a guest attribute is 'a!'"),
            ({}, "state is present but all of the following are missing: attributes"),
            ({"state": "absent"}, "all of the following are missing: attributes"),
            ({"attributes": None}, "attributes is null"),
            ({"attributes": None, "purge": True}, "attributes is null"),
            ({"attributes": None, "state": "absent"}, "attributes is null"),
            ({"attributes": {"a": "1"}, "max_wait": -1}, "max_wait is -1"),
            ({"attributes": {"a": "1"}, "max_wait": float("nan")}, "max_wait is nan"),
            ({"attributes": {"a": "1"}, "secret_patterns": ["("]}, "secret_patterns: '(' is not a regular expression"),
        ],
    )
    @pytest.mark.parametrize("check", [True, False])
    def test_is_rejected_before_any_request(
        self, guest: Guest, parameters: dict[str, Any], message: str, check: bool
    ) -> None:
        result = guest.run(**parameters, check=check)
        assert result.failed
        assert message in result["msg"]
        assert guest.requests() == []

    def test_namespace_is_required(self, guest: Guest) -> None:
        result = run_module(guest.module(), {"attributes": {"a": "1"}, "metadata_host": guest.host})
        assert result["msg"] == "missing required arguments: namespace"

    def test_an_unknown_host_is_reported(self, guest: Guest) -> None:
        result = guest.run({"a": "1"}, metadata_host="no-such-host.invalid", retry_for=0)
        assert result.failed
        assert "no-such-host.invalid" in result["msg"]


class TestSecrets:
    def test_are_not_in_results_and_diffs(self, guest: Guest) -> None:
        guest.set(**{"old-token": "hunter2"})
        result = guest.run({"db-password": "hunter2", "user": "alice"}, purge=True, diff=True)
        assert guest.attributes == {"db-password": "hunter2", "user": "alice"}
        assert "hunter2" not in result.printed
        assert result["diff"]["after"] == {"db-password": "[redacted]", "user": "alice"}

    @pytest.mark.parametrize(
        "extra",
        [
            {"secret_patterns": ["("]},
            {"max_wait": -1},
            {"metadata_host": "a b"},
            {"state": "bogus"},
            {"bogus": 1},
            {"attribute": {"db-password": "hunter2"}},
            {"purge": "hunter"},
        ],
    )
    def test_are_not_in_errors(self, guest: Guest, extra: dict[str, Any]) -> None:
        result = guest.run({"db-password": "hunter2"}, **extra)
        assert result.failed
        assert "hunter2" not in result.printed

    @pytest.mark.parametrize(
        "attributes", ["db-password=hunter2", '{"db-password": "hunter2"}', "hunter2", ["hunter2"]]
    )
    def test_are_not_in_errors_in_any_encoding(self, guest: Guest, attributes: Any) -> None:
        result = guest.run(attributes, state="bogus")
        assert result.failed
        assert "hunter2" not in result.printed

    def test_are_shown_with_show_secrets(self, guest: Guest) -> None:
        result = guest.run({"db-password": "hunter2"}, diff=True, show_secrets=True)
        assert result["diff"]["after"] == {"db-password": "hunter2"}


def test_the_examples_run(emulator: EmulatorProcess) -> None:
    host = emulator.metadata["web-1"]
    status, output = run_play(examples("modules", "guest_attributes"), environment={"GCE_METADATA_HOST": host})
    assert status == 0, output
    assert "32 requests, 180.0 seconds" in output
    assert emulator.control.instance("web-1")["guest_attributes"] == {}


def test_templates_unicode_and_secrets_through_ansible(emulator: EmulatorProcess) -> None:
    """How Ansible passes values to the module and back, and its output at -vvv."""
    text = "{{ 1+1 }}\nzwölf 🎉"
    task = {
        "gce.guest.guest_attributes": {
            "namespace": "ns",
            "attributes": {"text": "{{ text }}", "db-password": "hunter2", "number": 8080, "flag": True},
        },
        "diff": True,
    }
    status, output = run_play(
        [{"name": "Write", **task}],
        "-vvv",
        environment={"GCE_METADATA_HOST": emulator.metadata["web-1"], "TEXT": text},
        vars={"text": "{{ lookup('ansible.builtin.env', 'TEXT') }}"},
    )
    assert status == 0, output
    assert emulator.control.instance("web-1")["guest_attributes"]["ns"] == {
        "text": text,
        "db-password": "hunter2",
        "number": "8080",
        "flag": "TRUE",
    }
    assert "hunter2" not in output
