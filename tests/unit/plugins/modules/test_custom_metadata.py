# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module custom_metadata, on an emulated project."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute import api as _compute_api
from ansible_collections.gce.guest.plugins.module_utils._compute.api import Time
from ansible_collections.gce.guest.plugins.module_utils._module import api as _api_module
from ansible_collections.gce.guest.plugins.module_utils._module.targets import INSTANCES_ARGSPEC
from ansible_collections.gce.guest.plugins.modules import custom_metadata

from support.emulator import EmulatorProcess, eventually
from support.modules import Result, run_module
from support.playbook import examples, run_play
from support.shared_time import SharedTime

A, B = "europe-west1-b", "europe-west1-c"
TOKEN = "ya29.planted"
WEB_1 = f"projects/acme/zones/{A}/instances/web-1"
FLEET: dict[str, Any] = {
    "project": "acme",
    "speed": 1000,
    "require_auth": True,
    "attributes": {"release": "1.4.2", "enable-oslogin": "TRUE"},
    "instances": [
        {
            "name": "web-1",
            "zone": A,
            "labels": {"env": "prod"},
            "attributes": {"role": "web", "ssh-keys": "alice:hunter2", "db-password": "hunter2", "gke-cluster": "c"},
        },
        {"name": "web-2", "zone": B, "labels": {"env": "prod"}, "attributes": {"role": "web"}},
        {"name": "db-1", "zone": A, "attributes": {}},
    ],
}


def run(emulator: EmulatorProcess, *, check: bool = False, diff: bool = False, **parameters: Any) -> Result:
    defaults = {"project": "acme", "api_endpoint": emulator.compute, "access_token": TOKEN, "retry_for": 0}
    result = run_module(custom_metadata, {**defaults, **parameters}, check=check, diff=diff)
    assert "hunter2" not in result.printed
    assert TOKEN not in result.printed
    return result


def timed(time: Time) -> ModuleType:
    """The module with another time."""
    module = ModuleType("custom_metadata")
    module.__dict__["main"] = lambda: custom_metadata.main(time)
    return module


def writes(emulator: EmulatorProcess) -> list[str]:
    return [
        entry["path"].split("/acme/")[1]
        for entry in emulator.control.journal(face="compute")
        if entry["method"] == "PATCH" or entry["path"].endswith("etadata")
    ]


def metadata(emulator: EmulatorProcess, name: str) -> dict[str, str]:
    """The metadata as the guest sees it."""
    keys = emulator.control.get(name, "instance/attributes/")
    return dict(keys)


SCOPES: list[dict[str, Any]] = [
    {"instance": "web-1"},
    {"instance": "web-1", "zone": A},
    {"instances": ["web-1", f"{B}/web-2"]},
    {"filter": "labels.env = prod"},
    {"filter": "labels.env = prod", "zone": A},
    {},
    {"scope": "zonal", "zone": A},
]
CHANGES: list[dict[str, Any]] = [
    {"metadata": {"release": "1.5.0", "canary": True, "db-password": "hunter2-new"}},
    {"metadata": {"release": "1.5.0", "role": "db"}, "purge": True},
    {"metadata": {"release": None, "role": None}, "state": "absent"},
    {"state": "absent", "purge": True, "keep": []},
]


class TestAnyScope:
    @pytest.mark.parametrize("changes", CHANGES, ids=["merge", "exact", "remove", "nothing"])
    @pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: "-".join(scope) or "project")
    def test_check_mode_predicts_the_run_and_a_second_run_changes_nothing(
        self, emulator: EmulatorProcess, scope: dict[str, Any], changes: dict[str, Any]
    ) -> None:
        predicted = run(emulator, check=True, diff=True, **scope, **changes)
        assert writes(emulator) == []
        done = run(emulator, diff=True, **scope, **changes)
        assert predicted == done
        assert bool(writes(emulator)) == done["changed"] == bool(done["diff"])
        emulator.control.clear_journal()
        again = run(emulator, diff=True, **scope, **changes)
        assert not again.failed
        assert not again["changed"]
        assert again["diff"] == again["written"] == again["deleted"] == []
        assert writes(emulator) == []


class TestInstances:
    def test_are_changed_independently(self, emulator: EmulatorProcess) -> None:
        result = run(emulator, instances=["web-1", "web-2"], metadata={"role": "web", "release": "2"})
        assert result["changed"]
        emulator.control.set("web-1", "instance/attributes/release", "3")
        result = run(emulator, filter="labels.env = prod", metadata={"release": "2"})
        assert result["instances"] == [
            {"name": "web-1", "zone": A, "changed": True, "failed": False, "written": ["release"], "deleted": []},
            {"name": "web-2", "zone": B, "changed": False, "failed": False, "written": [], "deleted": []},
        ]
        assert writes(emulator)[2:] == [f"zones/{A}/instances/web-1/setMetadata"]

    def test_that_fail_do_not_stop_the_others(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("503", face="compute", instance="web-2")
        result = run(emulator, instances=["web-1", "web-2", "web-9", "db-1"], metadata={"release": "2"})
        assert result.failed
        assert result["changed"]
        assert {each["name"]: (each["changed"], each["failed"]) for each in result["instances"]} == {
            "web-1": (True, False),
            "web-2": (False, True),
            "db-1": (True, False),
            "web-9": (False, True),
        }
        assert result["msg"].startswith(
            "2 of 4 instances failed. web-2: Cannot set the metadata of projects/acme/zones/"
        )
        assert "web-9: There is no instance web-9 in any zone of the project acme." in result["msg"]
        emulator.control.clear_faults()
        again = run(emulator, instances=["web-1", "web-2", "db-1"], metadata={"release": "2"})
        assert [each["changed"] for each in again["instances"]] == [False, True, False]

    def test_that_others_overwrite_are_reported_in_time(self, emulator: EmulatorProcess) -> None:
        passing = SharedTime()

        def clock() -> float:
            """Meanwhile, another program reverts the change of one instance."""
            if metadata(emulator, "web-2").get("release") == "2":
                emulator.control.set("web-2", "instance/attributes/release", "1")
            return passing.clock()

        module = timed(Time(clock, passing.sleep))
        options = {"project": "acme", "api_endpoint": emulator.compute, "access_token": TOKEN, "timeout": 5}
        wanted = {"instances": ["web-1", "web-2"], "metadata": {"release": "2"}}
        result = run_module(module, {**options, **wanted})
        assert result.failed
        assert [(each["name"], each["failed"], each.get("not_kept")) for each in result["instances"]] == [
            ("web-1", False, None),
            ("web-2", True, ["release"]),
        ]
        assert "a read returns other values for release" in result["msg"]
        assert "web-2" in result["msg"]
        assert passing.now == pytest.approx(1005)

    def test_by_a_filter_without_matches_change_nothing(self, emulator: EmulatorProcess) -> None:
        result = run(emulator, filter="labels.env = test", metadata={"a": "b"})
        assert (result.failed, result["changed"], result["instances"]) == (False, False, [])

    def test_in_an_empty_list_are_not_the_project(self, emulator: EmulatorProcess) -> None:
        result = run(emulator, instances=[], metadata={"a": "b"})
        assert (result.failed, result["changed"], result["scope"]) == (False, False, "instance")
        assert writes(emulator) == []

    def test_in_unreachable_zones_are_reported(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("unreachable", face="compute", zone=B)
        result = run(emulator, filter="labels.env = prod", metadata={"a": "b"})
        assert [each["name"] for each in result["instances"]] == ["web-1"]
        assert result["unreachables"] == [f"zones/{B}"]
        assert any(f"zones/{B} could not be reached" in str(warning) for warning in result["warnings"])

    def test_keep_keys_of_services(self, emulator: EmulatorProcess) -> None:
        result = run(emulator, instance="web-1", metadata={"role": "db"}, purge=True)
        assert (result["written"], result["deleted"]) == (["role"], ["db-password"])
        assert sorted(metadata(emulator, "web-1")) == ["gke-cluster", "role", "ssh-keys"]

    @pytest.mark.parametrize("parameters", [{"metadata": {}}, {"state": "absent"}])
    def test_are_all_removed(self, emulator: EmulatorProcess, parameters: dict[str, Any]) -> None:
        result = run(emulator, instance="web-1", purge=True, **parameters)
        assert result["deleted"] == ["db-password", "role"]

    def test_have_the_values_in_the_guest(self, emulator: EmulatorProcess) -> None:
        run(emulator, instance="web-1", metadata={"canary": True, "port": 8443})
        assert emulator.control.get("web-1", "instance/attributes/canary") == "TRUE"
        assert emulator.control.get("web-1", "instance/attributes/port") == "8443"

    def test_that_would_be_too_large_leave_all_unchanged(self, emulator: EmulatorProcess) -> None:
        for number in (1, 2):
            run(emulator, instance="web-1", metadata={f"blob-{number}": "x" * 250_000})
        emulator.control.clear_journal()
        result = run(emulator, instances=["db-1", "web-1"], metadata={"blob-3": "x" * 50_000})
        assert result.failed
        assert result["msg"].startswith(f"Cannot set the metadata of {WEB_1}: The custom metadata would have 5500")
        assert writes(emulator) == []


class TestNames:
    @pytest.mark.parametrize("before", ["https://www.googleapis.com/compute/v1/", "//compute.googleapis.com/", ""])
    def test_in_the_forms_of_the_api_and_the_metadata_server(self, emulator: EmulatorProcess, before: str) -> None:
        zone = f"{before}{emulator.control.get('web-1', 'instance/zone')}"
        assert run(emulator, scope="zonal", zone=zone, metadata={"a": "1"})["changed"]
        assert not run(emulator, scope="zonal", zone=A, metadata={"a": "1"})["changed"]
        assert run(emulator, instance=f"{zone}/instances/web-1", metadata={"a": "2"})["changed"]
        assert run(emulator, instance="web-2", zone=zone.replace(A, B), metadata={"a": "2"})["changed"]


class TestFiles:
    @pytest.mark.parametrize("check", [True, False])
    def test_with_windows_line_endings_cause_a_warning(
        self, emulator: EmulatorProcess, tmp_path: Path, check: bool
    ) -> None:
        script = tmp_path / "script"
        script.write_bytes(b"#!/bin/sh\r\necho hello\r\n")
        chosen = {"startup-script": str(script)}
        result = run(emulator, check=check, instance="web-1", metadata_from_file=chosen)
        assert "startup-script has Windows line ends (CRLF)" in json.dumps(result["warnings"])

    def test_contain_values(self, emulator: EmulatorProcess, tmp_path: Path) -> None:
        script = tmp_path / "script.sh"
        script.write_bytes("#!/bin/sh\r\necho Grüße hunter2\n".encode())
        result = run(emulator, instance="db-1", metadata={"a": "b"}, metadata_from_file={"startup-script": str(script)})
        assert result["written"] == ["a", "startup-script"]
        value = emulator.control.get("db-1", "instance/attributes/startup-script")
        assert value == "#!/bin/sh\r\necho Grüße hunter2\n"

    @pytest.mark.parametrize(
        "name, content, words",
        [
            ("none", None, "No such file"),
            ("binary", b"\xff\xfe", "is not UTF-8"),
            ("large", b"x" * 262_145, "262145 bytes"),
        ],
    )
    def test_that_cannot_be_sent(
        self, emulator: EmulatorProcess, tmp_path: Path, name: str, content: bytes | None, words: str
    ) -> None:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        result = run(emulator, instance="db-1", metadata_from_file={"key": str(path)})
        assert result.failed
        assert words in result["msg"]
        assert emulator.control.journal(face="compute") == []


class TestInvalidOptions:
    @pytest.mark.parametrize(
        "parameters, words",
        [
            ({"metadata": {"a b": "c"}}, "has up to 128 letters"),
            ({"metadata": {"a": ["hunter2"]}}, "Make it text"),
            ({"metadata": {"a": "x" * 262_145}}, "262145 bytes"),
            ({"metadata": {"a": "b"}, "metadata_from_file": {"a": "/x"}}, "both in metadata and in metadata_from_file"),
            ({}, "There is nothing to do"),
            ({"instance": "web-1", "metadata": None, "purge": True}, "{} for none"),
            ({"instance": "web-1", "metadata_from_file": None, "purge": True}, "{} for none"),
            ({"metadata": {"a": "b"}, "zone": A}, "Set scope=zonal"),
            ({"metadata": {"a": "b"}, "scope": "zonal"}, "missing: zone"),
            ({"metadata": {"a": "b"}, "scope": "instance"}, "instance, instances, filter"),
            ({"metadata": {"a": "b"}, "scope": "project", "instance": "web-1"}, "the scope is project"),
            ({"metadata": {"a": "b"}, "filter": ""}, "filter is empty"),
            ({"metadata": {"a": "b"}, "instance": ""}, "instance is empty"),
            ({"metadata": {"a": "b"}, "instances": None}, "instances is None"),
            ({"metadata": {"a": "b"}, "filter": None}, "filter is None"),
            ({"metadata": {"db-password": "hunter2"}, "instance": "web-1", "filter": "a"}, "mutually exclusive"),
            ({"metadatum": {"db-password": "hunter2"}}, "Unsupported parameters"),
            ({"metadata": {"a": "b"}, "timeout": -1}, "timeout is -1"),
            ({"metadata": {"a": "b"}, "secret_patterns": ["("]}, "not a regular expression"),
            ({"metadata": {"a": "b"}, "requests_per_minute": -1}, "requests_per_minute is -1"),
            ({"metadata": {"a": "b"}, "concurrency": 0}, "concurrency is 0"),
            ({"metadata": {"a": "b"}, "api_endpoint": "x"}, "api_endpoint is 'x'"),
            ({"metadata": {"a": "b"}, "instance": "Web_1"}, "'Web_1' is not an instance"),
        ],
    )
    def test_are_rejected_before_any_request(
        self, emulator: EmulatorProcess, parameters: dict[str, Any], words: str
    ) -> None:
        result = run(emulator, **parameters)
        assert result.failed
        assert words in result["msg"]
        assert emulator.control.journal(face="compute") == []

    @pytest.mark.parametrize("flag, name", [("_HAS_REQUESTS", "requests"), ("_HAS_GOOGLE_AUTH", "google-auth")])
    def test_without_the_library(
        self, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, flag: str, name: str
    ) -> None:
        monkeypatch.setattr(_compute_api, flag, False)
        result = run(emulator, metadata={"a": "b"})
        assert result.failed
        assert f"({name})" in result["msg"]


class TestFailures:
    def test_of_the_api_fail_the_module(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("503", face="compute")
        result = run(emulator, instance="web-1", zone=A, metadata={"a": "b"})
        assert result.failed
        assert result["msg"] == (
            f"Cannot read {WEB_1}: the Compute API answers 503 backendError: The service is currently unavailable."
        )

    @pytest.mark.parametrize("kind", ["conflict", "operation-conflict"])
    def test_by_permanent_conflicts_are_reported(self, emulator: EmulatorProcess, kind: str) -> None:
        emulator.control.fault(kind, face="compute")
        passing = SharedTime()
        # The longest pauses: the last try has seconds of real time for its answers.
        module = timed(Time(passing.clock, passing.sleep, lambda: 0.0))
        options = {"project": "acme", "api_endpoint": emulator.compute, "access_token": TOKEN, "timeout": 30}
        result = run_module(module, {**options, "metadata": {"a": "b"}})
        assert result.failed
        assert "no time left to try again" in result["msg"]

    def test_to_authenticate_are_reported(self, emulator: EmulatorProcess) -> None:
        result = run(emulator, metadata={"a": "b"}, access_token=None, auth_kind="accesstoken")
        assert "auth_kind is accesstoken, which requires access_token" in result["msg"]


class TestEnvironment:
    def test_has_options(self, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GCP_PROJECT", "acme")
        monkeypatch.setenv("GCP_AUTH_KIND", "accesstoken")
        monkeypatch.setenv("GCP_ACCESS_TOKEN", TOKEN)
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", f"{emulator.compute}/compute/v1/")
        result = run_module(custom_metadata, {"metadata": {"a": "b"}})
        assert result["changed"]

    def test_that_is_empty_counts_as_unset(self, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        """CI jobs set unset variables to an empty text."""
        for option in _api_module.API_ARGSPEC.values():
            for name in option.get("fallback", (None, []))[1]:
                monkeypatch.setenv(name, "")
        result = run(emulator, metadata={"a": "b"})
        assert not result.failed, result["msg"]

    def test_has_the_token_of_gcloud(self, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GCP_ACCESS_TOKEN", "")
        monkeypatch.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", TOKEN)
        result = run_module(
            custom_metadata, {"project": "acme", "api_endpoint": emulator.compute, "metadata": {"a": "b"}}
        )
        assert result["changed"]
        assert TOKEN not in result.printed


class TestSecrets:
    def test_are_not_in_the_output_of_a_play(self, emulator: EmulatorProcess, tmp_path: Path) -> None:
        file = tmp_path / "script"
        file.write_text("planted-script", encoding="utf-8")
        common = {"project": "acme", "api_endpoint": emulator.compute, "access_token": "planted-token"}
        secrets = {"db-password": "planted-password", "ssh-keys": "planted-keys", "shown": "public-value"}

        def task(**parameters: Any) -> dict[str, Any]:
            return {"gce.guest.custom_metadata": {**common, **parameters}, "ignore_errors": True}

        key = json.dumps({"client_email": "a@b", "private_key": "planted-key", "token_uri": "https://x"})
        status, output = run_play(
            [
                task(instance="web-1", metadata=secrets, metadata_from_file={"startup-script": str(file)}),
                task(instance="web-1", metadata={"db-password": "planted-other"}),
                task(instance="web-1", filter="a = b", metadata=secrets),
                task(instance="web-9", metadata=secrets),
                task(metadata=secrets, api_endpoint="http://127.0.0.1:1", retry_for=0),
                task(metadata=secrets, concurrency="planted"),
                task(metadata=secrets, access_token=None, service_account_contents=key),
            ],
            "-vvvv",
            "--diff",
            environment={"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"},
        )
        assert status == 0, output
        assert "public-value" in output
        assert "[redacted, another value]" in output
        told = output.replace("'planted'", "").replace("'<class 'str'>'", "")
        for secret in ("password", "keys", "script", "token", "other", "key"):
            assert f"planted-{secret}" not in told

    def test_are_recognized_by_their_values(self, emulator: EmulatorProcess) -> None:
        values = {
            "notes": "postgres://app:hunter2@10.0.0.12/orders",
            "tls": "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
            "env": "DB_PASSWORD=hunter2\n",
            "port": "8080",
        }
        result = run(emulator, diff=True, instance="db-1", metadata=values)
        assert result["diff"][0]["after"] == {**dict.fromkeys(values, "[redacted]"), "port": "8080"}
        result = run(emulator, diff=True, instance="db-1", metadata={**values, "notes": "postgres://10.0.0.12/orders"})
        assert result["diff"][0]["before"]["notes"] == "[redacted]"
        assert result["diff"][0]["after"]["notes"] == "postgres://10.0.0.12/orders"
        emulator.control.fault(
            "503", face="compute", instance="db-1", path=f"projects/acme/zones/{A}/instances/db-1/setMetadata"
        )
        assert run(emulator, instance="db-1", metadata={"notes": "redis://:hunter2@10.0.0.1/"}).failed

    def test_are_shown_with_show_secrets(self, emulator: EmulatorProcess) -> None:
        emulator.control.set("db-1", "instance/attributes/api-key", "visible")
        result = run(emulator, check=True, diff=True, instance="db-1", metadata={"api-key": "new"}, show_secrets=True)
        [diff] = result["diff"]
        assert (diff["before"], diff["after"]) == ({"api-key": "visible"}, {"api-key": "new"})


def test_options_match_their_documentation() -> None:
    import yaml
    from ansible_collections.gce.guest.plugins.doc_fragments._api import ModuleDocFragment as Fragment

    for text, spec in (
        (Fragment.DOCUMENTATION, _api_module.API_ARGSPEC),
        (Fragment.INSTANCES, INSTANCES_ARGSPEC),
    ):
        documented = yaml.safe_load(text)["options"]
        assert documented.keys() == spec.keys()
        for name, option in spec.items():
            for aspect in ("type", "default", "elements", "choices"):
                assert documented[name].get(aspect) == option.get(aspect), name


def test_the_examples_run(emulator: EmulatorProcess) -> None:
    environment = {"GCP_ACCESS_TOKEN": TOKEN, "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute}
    status, output = run_play(examples("modules", "custom_metadata"), environment=environment)
    assert status == 0, output
    assert '"msg": "web-1, web-2"' in output


# More than the module has in flight, which may be lost.
FEW, MANY = 100, 1000


def test_a_run_after_a_kill_completes_the_change(tmp_path: Path) -> None:
    fleet = {
        "project": "acme",
        "speed": 1000,
        "instances": [{"name": f"vm-{number}", "attributes": {"own": str(number)}} for number in range(MANY)],
    }
    with EmulatorProcess(fleet) as emulator:
        # However late the kill comes, the module is not done.
        emulator.control.fault("hang", face="compute", path="projects/acme/zones/us-central1-a/instances/vm-9")
        parameters = {
            "project": "acme",
            "api_endpoint": emulator.compute,
            "access_token": "x",
            "requests_per_minute": 0,
            "filter": "name = vm-*",
            "metadata": {"release": "2"},
            "retry_for": 30,
            "_ansible_remote_tmp": str(tmp_path),
        }
        program = (
            "import json, sys; parameters, *sys.path[:0] = sys.argv[1:]\n"
            "from ansible_collections.gce.guest.plugins.modules import custom_metadata\n"
            "from support.modules import run_module\n"
            "run_module(custom_metadata, json.loads(parameters))\n"
        )
        paths = [
            next(entry for entry in sys.path if (Path(entry) / name).exists())
            for name in ("ansible_collections/gce", "support")
        ]
        with subprocess.Popen([sys.executable, "-c", program, json.dumps(parameters), *paths]) as process:
            eventually(lambda: len(written(emulator)) >= FEW, within=60, what="the first writes")
            os.kill(process.pid, signal.SIGKILL)
        before = len(written(emulator))
        assert FEW <= before < MANY
        emulator.control.clear_faults()
        result = run_module(custom_metadata, parameters)
        assert not result.failed
        changed = [each["name"] for each in result["instances"] if each["changed"]]
        # Operations that had started at the kill ended, or did not.
        assert MANY - before <= len(changed) + 32 <= MANY
        assert not run_module(custom_metadata, parameters)["changed"]
        for number in range(0, MANY, 97):
            assert emulator.control.get(f"vm-{number}", "instance/attributes/own") == str(number)
            assert emulator.control.get(f"vm-{number}", "instance/attributes/release") == "2"


def written(emulator: EmulatorProcess) -> list[str]:
    return [entry["path"] for entry in emulator.control.journal(face="compute") if "setMetadata" in entry["path"]]
