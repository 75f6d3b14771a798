# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup guest_attributes, in Ansible's own templates, with an emulated Compute API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess, eventually
from support.handler import HandlerProcess, task
from support.playbook import examples, run_play
from support.templating import TemplateFailed, TemplateProcess

FLEET = {
    "project": "acme",
    "instances": [
        {"name": "web-1", "attributes": {"enable-guest-attributes": "TRUE"}},
        {"name": "off-1", "zone": "europe-west1-b"},
    ],
}
VALUES = {
    "deployment/version": "1.4.2",
    "deployment/template": "{{ 1 + 1 }}",
    "deployment/db-password": "hunter2",
    "maintenance-handler/status": '{"state": "idle"}',
}
READ = "projects/acme/zones/us-central1-a/instances/web-1/getGuestAttributes"

Emulator = EmulatorProcess
Worker = TemplateProcess


def environment(emulator: EmulatorProcess) -> dict[str, str]:
    return {
        "GCP_PROJECT": "acme",
        "GCP_ACCESS_TOKEN": "ya29.planted",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute,
        "GCE_GUEST_CACHE_SECONDS": "0",
    }


@pytest.fixture
def emulator(emulator: EmulatorProcess) -> EmulatorProcess:
    """With guest attributes of one instance."""
    for path, value in VALUES.items():
        emulator.control.set("web-1", f"instance/guest-attributes/{path}", value)
    return emulator


@pytest.fixture(scope="module")
def worker(running_emulator: EmulatorProcess, collections_path: Path) -> Iterator[TemplateProcess]:
    with TemplateProcess(collections_path, environment(running_emulator)) as process:
        yield process


def lookup(worker: Worker, *terms: str, function: str = "lookup", **options: Any) -> Any:
    """The result of the lookup. Options are variables, which Ansible tags."""
    options.setdefault("instance", "web-1")
    names = "".join(f", {name}=option_{name}" for name in options)
    variables = {f"option_{name}": value for name, value in options.items()}
    return worker(f"{function}('gce.guest.guest_attributes', *terms{names})", terms=list(terms), **variables)


def refusal(worker: Worker, *terms: str, **options: Any) -> str:
    with pytest.raises(TemplateFailed) as caught:
        lookup(worker, *terms, **options)
    return str(caught.value)


class TestValues:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"zone": "us-central1-a"},
            {"zone": "projects/acme/zones/us-central1-a"},
            {"instance": "us-central1-a/web-1"},
            {"instance": "//compute.googleapis.com/projects/acme/zones/us-central1-a/instances/web-1"},
        ],
    )
    def test_returns_one_attribute(self, emulator: Emulator, worker: Worker, options: dict[str, str]) -> None:
        assert lookup(worker, "deployment/version", **options) == "1.4.2"

    def test_returns_several_attributes(self, emulator: Emulator, worker: Worker) -> None:
        found = lookup(worker, "deployment/version", "maintenance-handler/status", function="query")
        assert found == ["1.4.2", '{"state": "idle"}']

    def test_returns_a_namespace(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "maintenance-handler/") == {"status": '{"state": "idle"}'}

    def test_are_not_evaluated_as_templates(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "deployment/template") == "{{ 1 + 1 }}"

    def test_applies_a_query(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "deployment/", query="version") == "1.4.2"

    def test_takes_one_request_if_the_zone_is_known(self, emulator: Emulator, worker: Worker) -> None:
        lookup(worker, "deployment/version", zone="us-central1-a")
        [request] = emulator.control.journal(face="compute")
        assert request["path"].endswith("/getGuestAttributes")


class TestSecrets:
    def test_are_rejected_as_single_values(self, emulator: Emulator, worker: Worker) -> None:
        assert "Cannot read deployment/db-password: it is secret." in refusal(worker, "deployment/db-password")
        assert lookup(worker, "deployment/db-password", show_secrets=True) == "hunter2"

    def test_are_redacted_in_a_namespace(self, emulator: Emulator, worker: Worker) -> None:
        assert lookup(worker, "deployment/")["db-password"] == "[redacted]"
        assert lookup(worker, "deployment/", show_secrets=True)["db-password"] == "hunter2"


class TestNothing:
    @pytest.mark.parametrize("term", ["deployment/nothing", "nothing/", "nothing/at-all"])
    def test_is_an_error_or_a_default(self, emulator: Emulator, worker: Worker, term: str) -> None:
        assert f"There is no guest attribute {term} of the instance web-1." in refusal(worker, term)
        assert lookup(worker, term, default="none") == "none"
        assert lookup(worker, term, function="query", on_missing="skip") == []

    def test_reports_that_they_are_not_enabled(self, emulator: Emulator, worker: Worker) -> None:
        said = refusal(worker, "deployment/version", instance="off-1")
        assert "Guest attributes are not enabled for it. Set enable-guest-attributes=TRUE" in said

    def test_instance_is_always_an_error(self, emulator: Emulator, worker: Worker) -> None:
        assert "There is no instance nobody in any zone" in refusal(worker, "a/b", instance="nobody", default="none")


class TestDenied:
    @pytest.mark.parametrize(
        "kind, words",
        [
            ("constraint", "Constraint constraints/compute.disableGuestAttributesAccess violated"),
            ("forbidden", "Grant the permission compute.instances.getGuestAttributes"),
        ],
    )
    def test_is_an_error_despite_a_default(self, emulator: Emulator, worker: Worker, kind: str, words: str) -> None:
        emulator.control.fault(kind, face="compute", path=READ)
        said = refusal(worker, "deployment/version", default="none")
        assert words in said
        assert "ya29.planted" not in said

    @pytest.mark.parametrize("term", ["", "/", "a b/", "ns/a/b"])
    def test_invalid_terms_are_rejected_before_any_request(self, emulator: Emulator, worker: Worker, term: str) -> None:
        refusal(worker, term)
        assert emulator.control.journal(face="compute") == []


def test_the_examples_run(emulator: EmulatorProcess, tmp_path: Path) -> None:
    """With the published status of a maintenance handler."""
    path = "instance/guest-attributes/maintenance-handler/status"
    emulator.control.remove("web-1", path)
    handler = HandlerProcess(tmp_path, emulator.metadata["web-1"], [task("x", "migrate")], guest_attributes=True)
    with closing(handler):
        handler.start()
        eventually(lambda: "maintenance-handler" in emulator.control.get("web-1", "instance/guest-attributes/"))
        status, output = run_play(examples("lookup", "guest_attributes"), environment=environment(emulator))
    assert status == 0, output
    assert '"msg": "idle"' in output
