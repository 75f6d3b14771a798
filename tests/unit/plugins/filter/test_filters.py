# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters metadata_bool, metadata_items and metadata_dict, in Ansible's templates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.playbook import examples, run_play
from support.templating import TemplateFailed, TemplateProcess


@pytest.fixture(scope="module")
def template(collections_path: Path) -> Iterator[TemplateProcess]:
    with TemplateProcess(collections_path) as process:
        yield process


def refusal(template: TemplateProcess, filter_name: str, value: Any) -> str:
    with pytest.raises(TemplateFailed) as caught:
        template(f"value | gce.guest.{filter_name}", value=value)
    return str(caught.value)


class TestBool:
    @pytest.mark.parametrize("value", ["TRUE", "true", "tRuE", "Y", "y", "Yes", "YES", "1", 1, True])
    def test_true(self, template: TemplateProcess, value: Any) -> None:
        assert template("value | gce.guest.metadata_bool", value=value) is True

    @pytest.mark.parametrize("value", ["FALSE", "false", "N", "n", "No", "NO", "0", 0, False])
    def test_false(self, template: TemplateProcess, value: Any) -> None:
        assert template("value | gce.guest.metadata_bool", value=value) is False

    @pytest.mark.parametrize("value", ["on", "off", "", "t", "TRUE ", "2", 2, 1.0, None, ["TRUE"], {}])
    def test_values_that_are_not_booleans_are_rejected(self, template: TemplateProcess, value: Any) -> None:
        assert "is none of TRUE, Y, Yes, 1" in refusal(template, "metadata_bool", value)
        assert template("value | gce.guest.metadata_bool(default=false)", value=value) is False
        assert template("value | gce.guest.metadata_bool(none)", value=value) is None

    def test_error_does_not_show_the_value(self, template: TemplateProcess) -> None:
        assert "hunter2" not in refusal(template, "metadata_bool", "hunter2")


VALUES = {
    "role": "web",
    "enable-oslogin": True,
    "port": 8080,
    "load": 0.5,
    "empty": "",
    "t": "{% raw %}{{ 1 }}{% endraw %}",
}
ITEMS = [
    {"key": "role", "value": "web"},
    {"key": "enable-oslogin", "value": "TRUE"},
    {"key": "port", "value": "8080"},
    {"key": "load", "value": "0.5"},
    {"key": "empty", "value": ""},
    {"key": "t", "value": "{{ 1 }}"},
]


class TestItems:
    def test_converts_a_dictionary(self, template: TemplateProcess) -> None:
        assert template("value | gce.guest.metadata_items", value=VALUES) == ITEMS

    def test_round_trip(self, template: TemplateProcess) -> None:
        there_and_back = "value | gce.guest.metadata_items | gce.guest.metadata_dict | gce.guest.metadata_items"
        assert template(there_and_back, value=VALUES) == ITEMS

    def test_converts_an_empty_dictionary(self, template: TemplateProcess) -> None:
        assert template("value | gce.guest.metadata_items", value={}) == []

    @pytest.mark.parametrize("value", [None, ["a"], {"b": "hunter2"}])
    def test_rejects_values_that_are_not_text(self, template: TemplateProcess, value: Any) -> None:
        said = refusal(template, "metadata_items", {"a": value})
        assert "The value of 'a' is neither text" in said
        assert "hunter2" not in said

    @pytest.mark.parametrize("number", ["inf", "-inf", "nan"])
    def test_rejects_numbers_that_are_not_finite(self, template: TemplateProcess, number: str) -> None:
        assert f"The value of 'a' is {number}, not a finite number" in refusal(
            template, "metadata_items", {"a": float(number)}
        )

    @pytest.mark.parametrize("key", ["", "a b", "ä", "a/b", "a" * 129])
    def test_rejects_invalid_keys(self, template: TemplateProcess, key: str) -> None:
        assert "is not a key of custom metadata" in refusal(template, "metadata_items", {key: "x"})

    @pytest.mark.parametrize("value", ["text", ["a"], None, 3])
    def test_rejects_other_types(self, template: TemplateProcess, value: Any) -> None:
        assert "needs a dictionary" in refusal(template, "metadata_items", value)


class TestDict:
    def test_converts_a_list(self, template: TemplateProcess) -> None:
        items = [{"key": "role", "value": "web"}, {"key": "empty"}]
        assert template("value | gce.guest.metadata_dict", value=items) == {"role": "web", "empty": ""}

    @pytest.mark.parametrize(
        "metadata", [{}, {"fingerprint": "x", "kind": "compute#metadata"}, {"items": []}, {"items": None}]
    )
    def test_converts_metadata_without_items(self, template: TemplateProcess, metadata: dict[str, Any]) -> None:
        assert template("value | gce.guest.metadata_dict", value=metadata) == {}

    @pytest.mark.parametrize(
        "value", [{"role": "web"}, {"name": "web-1", "metadata": {"items": [{"key": "role", "value": "web"}]}}]
    )
    def test_rejects_a_dictionary_that_is_not_metadata(self, template: TemplateProcess, value: dict[str, Any]) -> None:
        said = refusal(template, "metadata_dict", value)
        assert f"has {', '.join(sorted(value))}, and no items" in said
        assert "web" not in said

    def test_converts_metadata_with_items(self, template: TemplateProcess) -> None:
        metadata = {"kind": "compute#metadata", "items": [{"key": "role", "value": "{{ 'we' ~ 'b' }}"}]}
        assert template("value | gce.guest.metadata_dict", value=metadata) == {"role": "web"}

    def test_rejects_duplicate_keys(self, template: TemplateProcess) -> None:
        items = [{"key": "role", "value": "web"}, {"key": "role", "value": "db"}]
        assert "have the key 'role' twice" in refusal(template, "metadata_dict", items)

    @pytest.mark.parametrize("item", ["role", {"value": "web"}, {"key": 3, "value": "web"}, None])
    def test_rejects_invalid_items(self, template: TemplateProcess, item: Any) -> None:
        assert "has to be a dictionary with key and value" in refusal(template, "metadata_dict", [item])

    @pytest.mark.parametrize("value", ["text", 3, None, {"items": "text"}])
    def test_rejects_other_types(self, template: TemplateProcess, value: Any) -> None:
        assert "needs a list of items" in refusal(template, "metadata_dict", value)


def test_examples() -> None:
    tasks = [task for name in ("bool", "items", "dict") for task in examples("filter", f"metadata_{name}")]
    with EmulatorProcess({"instances": [{"name": "vm", "attributes": {"enable-guest-attributes": "yes"}}]}) as emulator:
        status, output = run_play(tasks, environment={"GCE_METADATA_HOST": emulator.metadata["vm"]})
    assert status == 0, output
    assert '"msg": "Guest attributes are enabled."' in output
    assert '"key": "enable-oslogin"' in output
    assert '"msg": "web"' in output
