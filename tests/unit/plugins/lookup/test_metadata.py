# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup metadata, in Ansible's templates, on an emulated VM."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import MetadataServer

from support.emulator import EmulatorProcess
from support.playbook import examples, run_play
from support.templating import TemplateFailed, TemplateProcess

Emulator = EmulatorProcess
Worker = TemplateProcess


def lookup(worker: Worker, *paths: str, function: str = "lookup", **options: Any) -> Any:
    """The result of the lookup; options are variables, so that they are Ansible's own data."""
    names = "".join(f", {name}=option_{name}" for name in options)
    variables = {f"option_{name}": value for name, value in options.items()}
    return worker(f"{function}('gce.guest.metadata', *paths{names})", paths=list(paths), **variables)


def refusal(worker: Worker, *paths: str, **options: Any) -> str:
    with pytest.raises(TemplateFailed) as caught:
        lookup(worker, *paths, **options)
    return str(caught.value)


class TestValues:
    def test_returns_one_key(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "instance/name") == "web-1"

    def test_returns_several_keys_in_their_order(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "project/project-id", "instance/name", function="query") == ["acme", "web-1"]

    def test_returns_keys_of_a_list(self, emulator: Emulator, worker: Worker) -> None:
        assert worker("query('gce.guest.metadata', ['instance/name', 'project/project-id'])") == ["web-1", "acme"]

    @pytest.mark.parametrize("path", ["", "instance", "instance/"])
    def test_returns_a_tree_with_one_request(self, emulator: Emulator, worker: Worker, path: str) -> None:
        tree = lookup(worker, path)
        assert (tree if path else tree["instance"])["name"] == "web-1"
        assert [request["status"] for request in emulator.control.journal()] == [200]

    def test_ids_are_exact(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "instance/id") == 9007199254740993

    def test_booleans_of_the_servers_own_keys_are_typed(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "instance/scheduling/automatic-restart") is True
        assert lookup(worker, "instance/scheduling/automatic-restart", typed=False) == "TRUE"
        assert lookup(worker, "instance/attributes/enabled") == "TRUE"

    @pytest.mark.parametrize(
        "value",
        ["", "{{ 1+1 }}", "{% raw %}", "one\ntwo\r\n\n", "Grüße, 世界 🚀", "x" * 262144, " blanks ", "[1]", "null"],
        ids=lambda value: ascii(value[:12]),
    )
    def test_custom_values_are_unchanged(self, emulator: Emulator, worker: Worker, value: str) -> None:
        emulator.control.set("web-1", "instance/attributes/note", value)
        assert lookup(worker, "instance/attributes/note") == value

    @pytest.mark.parametrize("path", ["instance/guest-attributes/app/raw", "instance/guest-attributes/"])
    def test_warns_of_bytes_that_are_not_utf_8(self, emulator: Emulator, worker: Worker, path: str) -> None:
        with closing(MetadataServer(emulator.metadata["web-1"])) as server:
            server.put("instance/guest-attributes/app/raw", b"a\xff")
        assert "a\N{REPLACEMENT CHARACTER}" in json.dumps(lookup(worker, path), ensure_ascii=False)
        assert worker.warnings == [f"{path} has bytes that are not UTF-8. Each of them is shown as U+FFFD."]
        assert lookup(worker, "instance/name") == "web-1"
        assert worker.warnings == []

    def test_proxies_of_the_environment_are_not_used(self, emulator: Emulator, collections_path: Path) -> None:
        """A proxy of the environment cannot reach the metadata server."""
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
        environment = {"GCE_METADATA_HOST": emulator.metadata["web-1"], **proxies}
        with TemplateProcess(collections_path, environment) as proxied:
            assert lookup(proxied, "instance/name") == "web-1"


class TestBasename:
    def test_shortens_a_resource_name(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "instance/zone", basename=True) == "europe-west1-b"
        assert lookup(worker, "instance/machine-type", basename=True) == "e2-medium"
        assert lookup(worker, "instance/network-interfaces/0/network", basename=True) == "default"

    def test_shortens_resource_names_in_a_tree(self, emulator: Emulator, worker: Worker) -> None:
        tree = lookup(worker, "instance/", basename=True)
        assert (tree["zone"], tree["networkInterfaces"][0]["network"]) == ("europe-west1-b", "default")
        assert tree["attributes"]["created-by"] == "web"
        assert tree["networkInterfaces"][0]["subnetmask"] == "255.255.240.0"

    def test_keeps_other_values(self, emulator: Emulator, worker: Worker) -> None:
        emulator.control.set("web-1", "instance/attributes/note", "see projects/1/zones/z\nthere")
        assert lookup(worker, "instance/attributes/note", basename=True) == "see projects/1/zones/z\nthere"
        assert lookup(worker, "instance/id", basename=True) == 9007199254740993

    def test_is_applied_before_the_query(self, emulator: Emulator, worker: Worker) -> None:
        found = lookup(worker, "instance/network-interfaces/", basename=True, query="[].network")
        assert found == ["default"]


class TestQuery:
    @pytest.mark.parametrize(
        "query, found",
        [
            ("keys(@)[?starts_with(@, 'app-')]", ["app-port"]),
            ("length(role)", 3),
            ("max_by([{a: `1`}, {a: `2`}], &a)", {"a": 2}),
            ("join(',', sort(keys(@)[?contains(@, 'e-')]))", "enable-guest-attributes"),
            ('to_number("app-port")', 8080),
            ("role", "web"),
            ("nothing", None),
        ],
    )
    def test_functions_work_on_values_that_ansible_would_tag(
        self, emulator: Emulator, worker: Worker, query: str, found: Any
    ) -> None:
        assert lookup(worker, "instance/attributes/", query=query) == found

    def test_applies_to_each_term(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "instance/name", "project/project-id", query="length(@)") == [5, 4]

    def test_invalid_expression_is_rejected_before_any_request(self, emulator: Emulator, worker: Worker) -> None:
        assert "'a[' is not a JMESPath expression" in refusal(worker, "instance/name", query="a[")
        assert "calls nofunc, which is not a function" in refusal(worker, "instance/name", query="nofunc(@)")
        assert emulator.control.journal() == []

    def test_that_does_not_fit_the_data_is_an_error(self, emulator: Emulator, worker: Worker) -> None:
        assert "does not fit the data" in refusal(worker, "instance/id", query="length(@)")

    def test_gets_redacted_data(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "instance/attributes/", query='"ssh-keys"') == "[redacted]"
        assert "hunter2" not in refusal(worker, "instance/attributes/", query='abs("ssh-keys")')

    def test_reports_a_missing_library(self, emulator: Emulator, collections_path: Path, tmp_path: Path) -> None:
        (tmp_path / "jmespath.py").write_text("raise ImportError('not installed')", encoding="utf-8")
        environment = {"GCE_METADATA_HOST": emulator.metadata["web-1"], "PYTHONPATH": str(tmp_path)}
        with TemplateProcess(collections_path, environment) as bare:
            assert "requires the Python library jmespath" in refusal(bare, "instance/name", query="@")
            assert emulator.control.journal() == []
            assert lookup(bare, "instance/name") == "web-1"


class TestMissing:
    PATH = "instance/attributes/nothing"

    def test_is_an_error(self, emulator: Emulator, worker: Worker) -> None:
        said = refusal(worker, self.PATH)
        assert f"Cannot read {self.PATH}" in said
        assert said.endswith(" Set on_missing=skip, or give a default, if it may be missing.")

    @pytest.mark.parametrize("on_missing", ["skip", "warn"])
    def test_is_skipped(self, emulator: Emulator, worker: Worker, on_missing: str) -> None:
        assert lookup(worker, self.PATH, "instance/name", function="query", on_missing=on_missing) == ["web-1"]
        assert [self.PATH in warning for warning in worker.warnings] == ([True] if on_missing == "warn" else [])
        assert lookup(worker, self.PATH, on_missing=on_missing) == []

    @pytest.mark.parametrize("default", ["", "none", None, False, {"a": "b"}])
    def test_becomes_the_default(self, emulator: Emulator, worker: Worker, default: Any) -> None:
        assert lookup(worker, self.PATH, default=default) == default
        assert lookup(worker, "instance/name", default=default) == "web-1"

    def test_includes_upcoming_maintenance_before_the_first_notification(
        self, emulator: Emulator, worker: Worker
    ) -> None:
        """The 503 "no notifications have been received yet" on `upcoming-maintenance` is an answer, not an outage."""
        assert lookup(worker, "instance/upcoming-maintenance", default="none") == "none"
        assert len(emulator.control.journal()) == 1


class TestSecrets:
    """One request for the whole tree, without secrets, where amazon.aws.ec2_metadata_facts takes one for each key."""

    def test_are_redacted_in_trees(self, emulator: Emulator, worker: Worker) -> None:
        attributes = lookup(worker, "instance/attributes/")
        assert (attributes["ssh-keys"], attributes["db-password"]) == ("[redacted]", "[redacted]")
        assert attributes["role"] == "web"

    @pytest.mark.parametrize("key", ["ssh-keys", "db-password"])
    def test_are_rejected_as_single_values(self, emulator: Emulator, worker: Worker, key: str) -> None:
        path = f"instance/attributes/{key}"
        assert "it is secret" in refusal(worker, "instance/name", path)
        assert emulator.control.journal() == []
        assert "hunter2" in lookup(worker, path, show_secrets=True)

    def test_are_defined_by_the_patterns(self, emulator: Emulator, worker: Worker) -> None:
        attributes = lookup(worker, "instance/attributes/", secret_patterns=["^role$"])
        assert (attributes["role"], attributes["db-password"]) == ("[redacted]", "hunter2")
        said = refusal(worker, "instance/name", secret_patterns=["^role$", "("])
        assert "secret_patterns: '(' is not a regular expression: missing )" in said

    @pytest.mark.parametrize("show_secrets", [False, True])
    @pytest.mark.parametrize("key", ["token", "identity"])
    def test_tokens_are_never_returned(self, emulator: Emulator, worker: Worker, key: str, show_secrets: bool) -> None:
        path = f"instance/service-accounts/default/{key}"
        assert "tokens are never returned" in refusal(worker, path, show_secrets=show_secrets)
        assert emulator.control.journal() == []


class TestBadInput:
    @pytest.mark.parametrize(
        "path, options, error",
        [
            ("instance/../project", {}, "'..' between its slashes"),
            ("instance/a\nb", {}, "control character"),
            ("instance/name", {"misspelt": 1}, "There is no option misspelt"),
            ("instance/name", {"on_missing": "fail"}, "Invalid value 'fail'"),
            ("instance/name", {"retry_for": -1}, "retry_for is -1"),
            ("instance/name", {"cache_seconds": "nan"}, "cache_seconds is nan"),
            ("instance/name", {"request_timeout": 0}, "request_timeout is 0"),
            ("instance/name", {"metadata_host": "a b"}, "which is not a host"),
        ],
    )
    def test_is_rejected_before_any_request(
        self, emulator: Emulator, worker: Worker, path: str, options: dict[str, Any], error: str
    ) -> None:
        # Before ansible-core 2.19, Ansible's own messages have double quotes.
        assert error in refusal(worker, path, **options).replace('"', "'")
        assert emulator.control.journal() == []

    @pytest.mark.parametrize("terms", ["", ", []"])
    def test_without_terms_returns_an_empty_list(self, emulator: Emulator, worker: Worker, terms: str) -> None:
        """Ansible calls it without terms for with_gce.guest.metadata and an empty list."""
        assert worker(f"query('gce.guest.metadata'{terms})") == []
        assert emulator.control.journal() == []

    def test_term_that_is_not_text(self, emulator: Emulator, worker: Worker) -> None:
        with pytest.raises(TemplateFailed, match="has to be text"):
            worker("lookup('gce.guest.metadata', 3)")

    def test_host_that_cannot_be_resolved(self, emulator: Emulator, worker: Worker) -> None:
        said = refusal(worker, "instance/name", metadata_host="nowhere.invalid", retry_for=0)
        assert "could not be resolved" in said
        assert "Check the option metadata_host." in said

    def test_a_host_in_a_variable(self, emulator: Emulator, worker: Worker) -> None:
        with pytest.raises(TemplateFailed, match="The variable gce_guest_metadata_host is 'a b'"):
            worker("lookup('gce.guest.metadata', 'instance/name')", gce_guest_metadata_host="a b")

    @pytest.mark.parametrize("name", ["GCE_METADATA_HOST", "GCE_METADATA_ROOT"])
    def test_a_host_in_the_environment(self, collections_path: Path, name: str) -> None:
        environment = {"GCE_METADATA_HOST": "", name: "nowhere.invalid"}
        with TemplateProcess(collections_path, environment) as misled:
            said = refusal(misled, "instance/name", retry_for=0)
        assert f"Check the environment variable {name}." in said

    def test_a_host_in_ansibles_configuration(
        self, collections_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("GCE_METADATA_HOST", raising=False)
        config = tmp_path / "ansible.cfg"
        config.write_text("[gce_guest]\nmetadata_host = a b\n", encoding="utf-8")
        with TemplateProcess(collections_path, {"ANSIBLE_CONFIG": str(config)}) as misled:
            assert f"The setting metadata_host in {config} is 'a b'" in refusal(misled, "instance/name")

    def test_host_that_is_not_a_metadata_server(self, emulator: Emulator, worker: Worker) -> None:
        host = emulator.control.url.removeprefix("http://")
        said = refusal(worker, "instance/name", metadata_host=host, retry_for=0)
        assert "is not the metadata server" in said


class TestOptions:
    def test_by_variable_with_a_template(self, emulator: Emulator, worker: Worker) -> None:
        found = worker(
            "lookup('gce.guest.metadata', 'instance/name')",
            gce_guest_metadata_host="{{ hosts['web-2'] }}",
            hosts=emulator.metadata,
        )
        assert found == "web-2"

    def test_by_ini(
        self, emulator: Emulator, collections_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("GCE_METADATA_HOST", raising=False)
        config = tmp_path / "ansible.cfg"
        config.write_text(
            f"[gce_guest]\nmetadata_host = {emulator.metadata['web-2']}\non_missing = skip\n", encoding="utf-8"
        )
        with TemplateProcess(collections_path, {"ANSIBLE_CONFIG": str(config)}) as configured:
            found = lookup(configured, "instance/name", "instance/attributes/nothing", function="query")
        assert found == ["web-2"]

    def test_by_environment(self, emulator: Emulator, collections_path: Path) -> None:
        environment = {"GCE_METADATA_HOST": "", "GCE_METADATA_ROOT": emulator.metadata["web-2"]}
        environment["GCE_GUEST_ON_MISSING"] = "skip"
        with TemplateProcess(collections_path, environment) as configured:
            found = lookup(configured, "instance/name", "instance/attributes/nothing", function="query")
        assert found == ["web-2"]

    def test_environment_variables_have_the_precedence_of_google_s_tools(
        self, emulator: Emulator, collections_path: Path
    ) -> None:
        environment = {"GCE_METADATA_HOST": emulator.metadata["web-1"], "GCE_METADATA_ROOT": emulator.metadata["web-2"]}
        with TemplateProcess(collections_path, environment) as configured:
            assert lookup(configured, "instance/name") == "web-1"


class TestCache:
    def test_requests_a_path_once(self, emulator: Emulator, worker: Worker) -> None:
        once = "lookup('gce.guest.metadata', 'instance/tags', cache_seconds=60)"
        assert worker(f"[{once}, {once}, {once}]") == [[], [], []]
        assert len(emulator.control.journal()) == 1

    def test_separates_hosts(self, emulator: Emulator, worker: Worker) -> None:
        for name, host in emulator.metadata.items():
            assert lookup(worker, "instance/name", metadata_host=host, cache_seconds=60) == name

    def test_can_be_disabled(self, emulator: Emulator, worker: Worker) -> None:
        for role in ("web", "db"):
            emulator.control.set("web-1", "instance/attributes/role", role)
            assert lookup(worker, "instance/attributes/role", cache_seconds=0) == role


def test_examples(emulator: Emulator) -> None:
    environment = {"GCE_METADATA_HOST": emulator.metadata["web-1"]}
    status, output = run_play(examples("lookup", "metadata"), environment=environment)
    assert status == 0, output
    assert '"msg": "europe-west1-b"' in output
    assert '"app-port"' in output
