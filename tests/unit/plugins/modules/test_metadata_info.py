# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module metadata_info, on an emulated VM."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import MetadataServer
from ansible_collections.gce.guest.plugins.modules import metadata_info

from support.emulator import EmulatorProcess
from support.modules import Result, run_module
from support.playbook import examples, run_play

TOKEN = "instance/service-accounts/default/token"


def read(*paths: str, check: bool = False, no_log: bool = False, **parameters: Any) -> Result:
    path = {"path": list(paths)} if paths else {}
    return run_module(metadata_info, {**path, **parameters}, check=check, no_log=no_log)


class TestOneRequest:
    """One request for the whole tree, without secrets, where amazon.aws.ec2_metadata_facts takes one for each key."""

    def test_reads_the_whole_tree(self, emulator: EmulatorProcess) -> None:
        result = read()
        assert len(emulator.control.journal()) == 1
        assert result["value"]["instance"]["name"] == "web-1"
        assert result["value"]["project"]["projectId"] == "acme"
        assert result["found"] is True
        assert result["changed"] is False

    @pytest.mark.parametrize(
        "path",
        [
            "instance/name",
            "instance/attributes",
            "instance/disks/0",
            "instance/network-interfaces/0/access-configs",
            "",
        ],
    )
    def test_reads_a_path(self, emulator: EmulatorProcess, path: str) -> None:
        result = read(path)
        assert result["found"]
        assert [request["status"] for request in emulator.control.journal()] == [200]

    def test_is_sent_for_each_path(self, emulator: EmulatorProcess) -> None:
        result = read("instance/name", "project/project-id")
        assert [answer["value"] for answer in result["answers"]] == ["web-1", "acme"]
        assert [answer["path"] for answer in result["answers"]] == ["instance/name", "project/project-id"]
        assert len(emulator.control.journal()) == 2

    def test_is_sent_in_check_mode(self, emulator: EmulatorProcess) -> None:
        assert read("instance/name", check=True) == read("instance/name")


class TestValues:
    @pytest.mark.parametrize("path", ["instance/id", "instance/"])
    def test_ids_are_exact(self, emulator: EmulatorProcess, path: str) -> None:
        value = read(path)["value"]
        # No float holds this number.
        assert (value["id"] if path.endswith("/") else value) == 9007199254740993

    def test_booleans_of_the_servers_own_keys_are_typed(self, emulator: EmulatorProcess) -> None:
        tree = read()["value"]["instance"]
        assert tree["scheduling"] == {"automaticRestart": True, "onHostMaintenance": "MIGRATE", "preemptible": False}
        assert tree["attributes"]["enabled"] == "TRUE"
        assert read("instance/preempted")["value"] is False
        assert read("instance/attributes/enabled")["value"] == "TRUE"

    def test_values_are_text_if_typed_is_false(self, emulator: EmulatorProcess) -> None:
        assert read("instance/preempted", typed=False)["value"] == "FALSE"
        assert read("instance/preempted", alt="text")["value"] == "FALSE"

    @pytest.mark.parametrize("alt", ["json", "text"])
    @pytest.mark.parametrize(
        "value",
        ["", "{{ 1+1 }}", "one\ntwo\r\n\n", "Grüße, 世界 🚀", "x" * 262144, " blanks ", '"quoted"', "null", "\u2028"],
        ids=lambda value: ascii(value[:12]),
    )
    def test_custom_values_are_unchanged(self, emulator: EmulatorProcess, value: str, alt: str) -> None:
        emulator.control.set("web-1", "instance/attributes/note", value)
        result = read("instance/attributes/note", alt=alt)
        assert result["value"] == value
        assert result["found"] is True

    @pytest.mark.parametrize("path", ["instance/guest-attributes/app/raw", "instance/guest-attributes/", ""])
    def test_bytes_that_are_not_utf_8_are_replaced(self, emulator: EmulatorProcess, path: str) -> None:
        with closing(MetadataServer()) as server:
            server.put("instance/guest-attributes/app/raw", b"a\xff\xc3\xbc")
        result = read(path)
        # Ansible refuses results with anything but Unicode text in them.
        assert "a\N{REPLACEMENT CHARACTER}" in json.dumps(result["value"], ensure_ascii=False)
        json.dumps(result, ensure_ascii=False).encode("utf-8", "strict")
        assert any("not UTF-8" in str(warning) for warning in result["warnings"])

    def test_directory_listing(self, emulator: EmulatorProcess) -> None:
        assert read("instance/disks/", recursive=False)["value"] == "0/\n"

    def test_the_etag_changes_with_the_value_only(self, emulator: EmulatorProcess) -> None:
        before = read("instance/attributes/role", "instance/name")["answers"]
        emulator.control.set("web-1", "instance/attributes/role", "db")
        after = read("instance/attributes/role", "instance/name")["answers"]
        assert before[0]["etag"] != after[0]["etag"]
        assert before[1]["etag"] == after[1]["etag"]


class TestQuery:
    def test_applies_to_a_tree(self, emulator: EmulatorProcess) -> None:
        assert read("instance/network-interfaces/", query="[].accessConfigs[].type")["value"] == ["ONE_TO_ONE_NAT"]

    def test_applies_to_each_path(self, emulator: EmulatorProcess) -> None:
        result = read("instance/name", "instance/zone", query="length(@) > `5`")
        assert [answer["value"] for answer in result["answers"]] == [False, True]

    @pytest.mark.parametrize("query", ["a[", "nofunc(@)", "length(@, @)"])
    def test_that_is_invalid_is_rejected_before_any_request(self, emulator: EmulatorProcess, query: str) -> None:
        result = read("instance/name", query=query)
        assert result.failed
        assert f"The query {query!r} " in result["msg"]
        assert emulator.control.journal() == []

    def test_that_does_not_fit_the_data_is_an_error(self, emulator: EmulatorProcess) -> None:
        result = read("instance/id", query="length(@)")
        assert result.failed
        assert "does not fit the data" in result["msg"]

    def test_gets_redacted_data(self, emulator: EmulatorProcess) -> None:
        result = read("instance/attributes/", query='{moved: "ssh-keys", inside: values(@)}')
        assert result["value"]["moved"] == "[redacted]"
        assert "hunter2" not in result.printed
        failing = read("instance/attributes/", query='abs("ssh-keys")')
        assert failing.failed
        assert "hunter2" not in failing.printed

    def test_reports_a_missing_library(self, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "jmespath", None)
        result = read("instance/name", query="@")
        assert result.failed
        assert "jmespath" in result["msg"]
        assert emulator.control.journal() == []
        assert not read("instance/name").failed


class TestSecrets:
    @pytest.mark.parametrize("path", ["", "instance/", "instance/attributes", "instance/attributes/"])
    def test_are_redacted_in_trees(self, emulator: EmulatorProcess, path: str) -> None:
        result = read(path)
        assert "hunter2" not in result.printed
        assert result.printed.count("[redacted]") == 2 * 3
        assert '"role": "web"' in result.printed

    @pytest.mark.parametrize("key", ["ssh-keys", "startup-script", "db-password"])
    @pytest.mark.parametrize("alt", ["json", "text"])
    def test_are_redacted_as_single_values(self, emulator: EmulatorProcess, key: str, alt: str) -> None:
        result = read(f"instance/attributes/{key}", alt=alt)
        assert result["value"] == "[redacted]"
        assert "hunter2" not in result.printed

    def test_are_shown_with_show_secrets(self, emulator: EmulatorProcess) -> None:
        assert read("instance/attributes/ssh-keys", show_secrets=True)["value"] == "alice:hunter2"

    def test_are_defined_by_the_patterns(self, emulator: EmulatorProcess) -> None:
        attributes = read("instance/attributes/", secret_patterns=["^role$"])["value"]
        assert attributes["role"] == "[redacted]"
        assert attributes["db-password"] == "hunter2"
        assert attributes["ssh-keys"] == "[redacted]"

    def test_are_redacted_in_guest_attributes(self, emulator: EmulatorProcess) -> None:
        emulator.control.set("web-1", "instance/guest-attributes/app/join-token", "hunter2")
        result = read("instance/guest-attributes")
        assert result["value"] == {"app": {"join-token": "[redacted]"}}

    @pytest.mark.parametrize("show_secrets", [False, True])
    def test_access_tokens_are_never_returned(self, emulator: EmulatorProcess, show_secrets: bool) -> None:
        result = read(TOKEN, show_secrets=show_secrets)
        assert result["value"] == "[redacted]"
        assert "ya29" not in result.printed
        assert "access_token" not in result.printed

    @pytest.mark.parametrize("path", ["", "instance/", "instance/attributes/"])
    def test_text_of_a_tree_is_rejected(self, emulator: EmulatorProcess, path: str) -> None:
        result = read(path, alt="text")
        assert result.failed
        assert "Secrets cannot be found reliably" in result["msg"]
        assert emulator.control.journal() == []
        assert "attributes/role web" in read("instance/", alt="text", show_secrets=True)["value"]

    def test_an_invalid_pattern_is_refused(self, emulator: EmulatorProcess) -> None:
        result = read("instance/name", secret_patterns=["("])
        assert "secret_patterns: '(' is not a regular expression" in result["msg"]
        assert emulator.control.journal() == []


class TestIdentity:
    def test_is_requested_for_its_audience(self, emulator: EmulatorProcess) -> None:
        result = read(audience="https://vault.example.com/?a=b&c", audience_format="full", no_log=True)
        assert result["identity_token"].count(".") == 2
        assert result["answers"] == []
        assert result["found"] is False
        query = emulator.control.journal()[0]["query"]
        assert query == "audience=https%3A%2F%2Fvault.example.com%2F%3Fa%3Db%26c&format=full"

    def test_is_rejected_without_no_log(self, emulator: EmulatorProcess) -> None:
        result = read(audience="https://vault.example.com")
        assert result.failed
        assert "no_log: true" in result["msg"]
        assert emulator.control.journal() == []

    def test_of_a_missing_account_is_an_error(self, emulator: EmulatorProcess) -> None:
        result = read(audience="a", service_account="nobody@example.com", no_log=True)
        assert "has no such key (404)" in result["msg"]

    @pytest.mark.parametrize("on_missing", ["warn", "skip"])
    def test_of_a_missing_account_can_be_skipped(self, emulator: EmulatorProcess, on_missing: str) -> None:
        nobody = f"nobody-to-{on_missing}@example.com"
        result = read(audience="a", service_account=nobody, on_missing=on_missing, no_log=True)
        assert result["identity_token"] is None
        assert any(nobody in str(warning) for warning in result.get("warnings", [])) == (on_missing == "warn")

    @pytest.mark.parametrize("option", [{"service_account": "default"}, {"audience_format": "full"}], ids=str)
    def test_requires_an_audience(self, emulator: EmulatorProcess, option: dict[str, Any]) -> None:
        result = read("instance/name", **option)
        assert "missing parameter(s) required by" in result["msg"]
        assert emulator.control.journal() == []

    def test_defaults_to_the_default_account_and_the_short_format(self, emulator: EmulatorProcess) -> None:
        read(audience="a", no_log=True)
        (request,) = emulator.control.journal()
        assert request["path"].endswith("/service-accounts/default/identity")
        assert request["query"] == "audience=a&format=standard"

    def test_is_redacted_when_read_as_a_path(self, emulator: EmulatorProcess) -> None:
        result = read("instance/service-accounts/default/identity", show_secrets=True)
        assert result.failed
        assert "non-empty audience parameter required" in result["msg"]


class TestMissing:
    def test_is_an_error(self, emulator: EmulatorProcess) -> None:
        result = read("instance/attributes/nothing")
        assert result.failed
        assert "Cannot read instance/attributes/nothing" in result["msg"]
        assert result["msg"].endswith(" Set on_missing=skip if it may be missing.")

    @pytest.mark.parametrize("on_missing", ["warn", "skip"])
    def test_can_be_reported_in_the_result(self, emulator: EmulatorProcess, on_missing: str) -> None:
        path = f"instance/attributes/not-there-to-{on_missing}"
        result = read(path, "instance/name", on_missing=on_missing)
        assert result["answers"][0] == {"path": path, "found": False, "value": None, "etag": None}
        assert result["answers"][1]["value"] == "web-1"
        assert (result["found"], result["value"], result["etag"]) == (False, None, None)
        assert any(path in str(warning) for warning in result.get("warnings", [])) == (on_missing == "warn")

    def test_includes_upcoming_maintenance_before_the_first_notification(self, emulator: EmulatorProcess) -> None:
        """The 503 "no notifications have been received yet" on `upcoming-maintenance` is an answer, not an outage."""
        result = read("instance/upcoming-maintenance", on_missing="skip")
        assert result["found"] is False
        assert len(emulator.control.journal()) == 1
        assert "nothing is announced" in read("instance/upcoming-maintenance")["msg"]


class TestBadInput:
    @pytest.mark.parametrize(
        "path, said",
        [
            ("instance/../project/attributes/x", "has '..' between its slashes"),
            ("/computeMetadata/v1/instance/zone", "an empty part"),
            ("instance//zone", "an empty part"),
            ("instance/attributes/a\nb", "control character"),
        ],
    )
    def test_without_paths(self, emulator: EmulatorProcess, path: str, said: str) -> None:
        result = read("instance/name", path)
        assert result.failed
        assert said in result["msg"]
        assert emulator.control.journal() == []

    def test_host_that_cannot_be_resolved(self, emulator: EmulatorProcess) -> None:
        result = read("instance/name", metadata_host="nowhere.invalid", retry_for=0)
        assert result.failed
        assert "nowhere.invalid" in result["msg"]
        assert "Check the option metadata_host" in result["msg"]

    @pytest.mark.parametrize("host", ["", "ftp://x", "a b", "host:99999"])
    def test_an_invalid_host(self, emulator: EmulatorProcess, host: str) -> None:
        result = read("instance/name", metadata_host=host)
        assert result.failed
        assert "is not a host" in result["msg"]

    def test_host_that_is_not_a_metadata_server(self, emulator: EmulatorProcess) -> None:
        result = read("instance/name", metadata_host=emulator.compute.removeprefix("http://"), retry_for=0)
        assert result.failed
        assert "is not the metadata server" in result["msg"]

    @pytest.mark.parametrize(
        "parameters",
        [
            {"retry_for": -1},
            {"retry_for": float("nan")},
            {"request_timeout": 0},
            {"request_timeout": float("inf")},
            {"audience": "a", "path": ["instance/name"]},
            {"audience": "a", "query": "@"},
        ],
        ids=str,
    )
    def test_contradicting_options(self, emulator: EmulatorProcess, parameters: dict[str, Any]) -> None:
        assert read(no_log=True, **parameters).failed
        assert emulator.control.journal() == []


class TestOutages:
    def test_are_survived(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("503", instance="web-1", count=2)
        assert read("instance/name")["value"] == "web-1"

    def test_error_shows_the_tries(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("503", instance="web-1")
        result = read("instance/name", retry_for=0)
        assert result.failed
        assert "is unavailable (503)" in result["msg"]

    def test_proxies_of_the_environment_are_not_used(
        self, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A proxy of the environment cannot reach the metadata server."""
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert read("instance/name")["value"] == "web-1"


def test_the_examples_run(emulator: EmulatorProcess) -> None:
    status, output = run_play(
        examples("modules", "metadata_info"),
        "-vvv",
        environment={"GCE_METADATA_HOST": emulator.metadata["web-1"]},
    )
    assert status == 0, output
    assert '"msg": "us-central1-a"' in output
    assert '"msg": "web"' in output
    assert "hunter2" not in output
    assert json.dumps("eyJ")[:-1] not in output
