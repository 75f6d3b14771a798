# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup custom_metadata, in Ansible's templates, on an emulated project."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gce.guest.plugins.doc_fragments import _api, _lookup

from support.emulator import EmulatorProcess
from support.playbook import examples, run_play
from support.templating import TemplateFailed, TemplateProcess

A = "europe-west1-b"
TOKEN = "ya29.planted"
FLEET: dict[str, Any] = {
    "project": "acme",
    "attributes": {"release": "1.4.2", "mirror": "far", "enable-oslogin": "TRUE"},
    "instances": [
        {
            "name": "web-1",
            "zone": A,
            "attributes": {
                "release": "1.5.0",
                "db-password": "hunter2",
                "settings": '{"a": [1]}',
                "template": "{{ 1 + 1 }}",
            },
        }
    ],
}

Worker = TemplateProcess


def environment(emulator: EmulatorProcess) -> dict[str, str]:
    return {
        "GCP_PROJECT": "acme",
        "GCP_ACCESS_TOKEN": TOKEN,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute,
        "GCE_GUEST_CACHE_SECONDS": "0",
    }


@pytest.fixture(scope="module")
def worker(running_emulator: EmulatorProcess, collections_path: Path) -> Iterator[Worker]:
    with TemplateProcess(collections_path, environment(running_emulator)) as process:
        yield process


def lookup(worker: Worker, *keys: str, function: str = "lookup", **options: Any) -> Any:
    names = "".join(f", {name}=option_{name}" for name in options)
    variables = {f"option_{name}": value for name, value in options.items()}
    return worker(f"{function}('gce.guest.custom_metadata', *keys{names})", keys=list(keys), **variables)


def refusal(worker: Worker, *keys: str, **options: Any) -> str:
    with pytest.raises(TemplateFailed) as caught:
        lookup(worker, *keys, **options)
    assert TOKEN not in str(caught.value)
    return str(caught.value)


def asked(emulator: EmulatorProcess) -> list[str]:
    return [entry["path"].split("projects/")[1] for entry in emulator.control.journal(face="compute")]


class TestEffective:
    def test_has_the_documented_precedence(self, emulator: EmulatorProcess, worker: Worker) -> None:
        keys = ["release", "mirror"]
        assert lookup(worker, *keys, function="query", instance="web-1") == ["1.5.0", "far"]
        assert lookup(worker, *keys, function="query", zone=A) == ["1.4.2", "far"]
        assert lookup(worker, *keys, function="query") == ["1.4.2", "far"]

    def test_stops_at_the_first_layer_with_the_key(self, emulator: EmulatorProcess, worker: Worker) -> None:
        lookup(worker, "release", instance="web-1", zone=A)
        assert asked(emulator) == [f"acme/zones/{A}/instances/web-1"]

    def test_accepts_names_in_the_forms_of_the_api(self, emulator: EmulatorProcess, worker: Worker) -> None:
        zone = f"https://www.googleapis.com/compute/v1/{emulator.control.get('web-1', 'instance/zone')}"
        expected = lookup(worker, "release", instance="web-1", zone=A)
        assert lookup(worker, "release", instance=f"{zone}/instances/web-1") == expected
        assert lookup(worker, "release", instance="web-1", zone=zone) == expected
        assert lookup(worker, "release", zone=zone, scope="zonal", default="none") == "none"
        assert "is not in the project acme" in refusal(worker, "x", zone="projects/other/zones/a")

    def test_reads_the_zone_and_then_the_project(self, emulator: EmulatorProcess, worker: Worker) -> None:
        lookup(worker, "mirror", instance=f"{A}/web-1")
        assert asked(emulator)[-2:] == [f"acme/zones/{A}/instanceSettings", "acme"]

    def test_templates_are_not_evaluated(self, emulator: EmulatorProcess, worker: Worker) -> None:
        assert lookup(worker, "template", instance="web-1") == "{{ 1 + 1 }}"


class TestScope:
    def test_of_an_instance_reads_its_own_metadata(self, emulator: EmulatorProcess, worker: Worker) -> None:
        assert lookup(worker, "mirror", instance="web-1", scope="instance", default="none") == "none"

    def test_of_the_project_reads_its_metadata(self, emulator: EmulatorProcess, worker: Worker) -> None:
        assert lookup(worker, "release", instance="web-1", scope="project") == "1.4.2"

    def test_of_a_zone_reads_its_metadata(self, emulator: EmulatorProcess, worker: Worker) -> None:
        assert lookup(worker, "release", zone=A, scope="zonal", default="none") == "none"
        assert asked(emulator) == [f"acme/zones/{A}/instanceSettings"]

    @pytest.mark.parametrize("scope, option", [("instance", "instance"), ("zonal", "zone")])
    def test_requires_the_option_with_its_name(
        self, emulator: EmulatorProcess, worker: Worker, scope: str, option: str
    ) -> None:
        assert f"scope is {scope}, which requires the option {option}" in refusal(worker, "release", scope=scope)
        assert asked(emulator) == []


class TestMissing:
    def test_key_is_reported_with_its_scopes(self, emulator: EmulatorProcess, worker: Worker) -> None:
        words = "There is no custom metadata x of the instance web-1, its zone or the project in the project acme."
        assert words in refusal(worker, "x", instance="web-1")

    def test_key_may_have_a_default(self, emulator: EmulatorProcess, worker: Worker) -> None:
        assert lookup(worker, "x", default="none") == "none"
        assert lookup(worker, "x", function="query", on_missing="skip") == []

    def test_instance_is_always_an_error(self, emulator: EmulatorProcess, worker: Worker) -> None:
        assert "There is no instance web-9 in any zone" in refusal(worker, "x", instance="web-9", default="none")


class TestSecrets:
    def test_are_rejected(self, emulator: EmulatorProcess, worker: Worker) -> None:
        words = refusal(worker, "db-password", instance="web-1")
        assert "Cannot read db-password: it is secret." in words
        assert "hunter2" not in words
        assert asked(emulator) == []

    def test_are_read_with_show_secrets(self, emulator: EmulatorProcess, worker: Worker) -> None:
        assert lookup(worker, "db-password", instance="web-1", show_secrets=True) == "hunter2"


class TestOptions:
    def test_that_are_wrong_are_refused_before_any_request(self, emulator: EmulatorProcess, worker: Worker) -> None:
        assert "is not an instance" in refusal(worker, "x", instance="Web_1")
        assert "'a['" in refusal(worker, "x", query="a[")
        assert "retry_for is -1" in refusal(worker, "x", retry_for=-1)
        assert "api_endpoint is" in refusal(worker, "x", api_endpoint="nowhere")
        assert "'(' is not a regular expression" in refusal(worker, "x", secret_patterns=["("])
        assert asked(emulator) == []

    def test_may_be_variables(self, emulator: EmulatorProcess, worker: Worker) -> None:
        words = "Cannot read the metadata of projects/other"
        with pytest.raises(TemplateFailed, match=words):
            worker("lookup('gce.guest.custom_metadata', 'x')", gce_guest_project="{{ 'other' }}")

    def test_answers_are_cached(self, emulator: EmulatorProcess, worker: Worker) -> None:
        template = "lookup('gce.guest.custom_metadata', 'release', cache_seconds=60)"
        assert worker(f"{template} ~ {template}") == "1.4.21.4.2"
        assert len(asked(emulator)) == 1
        assert lookup(worker, "release") == "1.4.2"
        assert len(asked(emulator)) == 2

    def test_failures_of_the_api_are_reported(self, emulator: EmulatorProcess, worker: Worker) -> None:
        emulator.control.fault("503", face="compute")
        words = "Cannot read the metadata of projects/acme: the Compute API answers 503 backendError"
        assert words in refusal(worker, "x", retry_for=0)


def test_an_empty_environment_variable_counts_as_unset(emulator: EmulatorProcess, collections_path: Path) -> None:
    """CI jobs set unset variables to an empty text. The token is gcloud's."""
    options = [
        *yaml.safe_load(_api.ModuleDocFragment.PLUGINS)["options"].values(),
        *yaml.safe_load(_lookup.ModuleDocFragment.DOCUMENTATION)["options"].values(),
    ]
    names = [variable["name"] for option in options for variable in option.get("env", [])]
    assert {"GCP_AUTH_KIND", "GCE_GUEST_ON_MISSING"} <= set(names)
    chosen = {**dict.fromkeys(names, ""), **environment(emulator), "GCP_ACCESS_TOKEN": ""}
    with TemplateProcess(collections_path, {**chosen, "CLOUDSDK_AUTH_ACCESS_TOKEN": TOKEN}) as worker:
        assert lookup(worker, "release", instance="web-1") == "1.5.0"


def test_the_examples_run(emulator: EmulatorProcess) -> None:
    status, output = run_play(examples("lookup", "custom_metadata"), environment=environment(emulator))
    assert status == 0, output
    assert '"msg": "1.5.0"' in output


def test_secret_values_are_refused(emulator: EmulatorProcess, worker: Worker) -> None:
    emulator.control.set("web-1", "instance/attributes/settings", "url: redis://:hunter2@10.0.0.1/")
    assert "its value is or contains a secret" in (text := refusal(worker, "settings", instance="web-1"))
    assert "hunter2" not in text
    assert "hunter2" in lookup(worker, "settings", instance="web-1", show_secrets=True)


def test_no_option_is_declared_secret() -> None:
    """ansible-core before 2.19 refuses the key in the documentation."""
    fragments = (_api.ModuleDocFragment.DOCUMENTATION, _api.ModuleDocFragment.PLUGINS)
    assert not any("secret" in option for text in fragments for option in yaml.safe_load(text)["options"].values())


@pytest.mark.skipif(find_spec("ansible.module_utils.secrets") is None, reason="ansible-core 2.22 masks secrets")
def test_access_token_is_masked(emulator: EmulatorProcess) -> None:
    tasks = [
        {"ansible.builtin.debug": {"msg": "{{ lookup('gce.guest.custom_metadata', 'release', instance='web-1') }}"}},
        {"ansible.builtin.debug": {"msg": "{{ lookup('ansible.builtin.env', 'GCP_ACCESS_TOKEN') }}"}},
    ]
    status, output = run_play(tasks, environment=environment(emulator))
    assert status == 0, output
    assert "1.5.0" in output
    assert TOKEN not in output
