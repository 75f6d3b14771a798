# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of custom metadata, its limits, and its diff."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import (
    LARGEST_TOTAL,
    CustomMetadataError,
    merged,
    plan,
    script_warnings,
    texts_of,
)
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import SECRET_PATTERNS
from ansible_collections.gce.guest.plugins.module_utils._metadata.text import LARGEST_VALUE
from hypothesis import given
from hypothesis import strategies as st

METADATA = st.dictionaries(st.sampled_from(["a", "b", "c", "ssh-keys", "gke-x"]), st.sampled_from(["1", "2", ""]))


class TestTexts:
    @pytest.mark.parametrize(
        "value, text", [("web", "web"), (True, "TRUE"), (False, "FALSE"), (8443, "8443"), (1.5, "1.5"), ("", "")]
    )
    def test_of_supported_values(self, value: Any, text: str) -> None:
        assert texts_of({"key": value}) == {"key": text}

    @pytest.mark.parametrize("value", [None, [], ["a"], {"a": "b"}])
    def test_other_types_are_rejected(self, value: Any) -> None:
        with pytest.raises(CustomMetadataError, match="'role' is neither text nor a number nor a boolean"):
            texts_of({"role": value})

    @pytest.mark.parametrize("number", ["inf", "-inf", "nan"])
    def test_numbers_that_are_not_finite_are_rejected(self, number: str) -> None:
        with pytest.raises(CustomMetadataError, match=f"'role' is {number}, not a finite number"):
            texts_of({"role": float(number)})

    @pytest.mark.parametrize("key", ["", "a b", "a.b", "ü", "a/b", "x" * 129])
    def test_invalid_keys_are_rejected(self, key: str) -> None:
        with pytest.raises(CustomMetadataError, match="has up to 128 letters"):
            texts_of({key: "value"})

    def test_size_is_limited_in_bytes(self) -> None:
        assert texts_of({"k": "x" * LARGEST_VALUE, "u": "ü" * (LARGEST_VALUE // 2)})
        for value in ("x" * (LARGEST_VALUE + 1), "ü" * (LARGEST_VALUE // 2 + 1)):
            with pytest.raises(CustomMetadataError, match=rf"26214[56] bytes.*{LARGEST_VALUE} at most") as caught:
                texts_of({"k": value})
            assert len(str(caught.value)) < 200

    def test_text_that_is_not_unicode_is_rejected(self) -> None:
        with pytest.raises(CustomMetadataError, match="not Unicode"):
            texts_of({"k": "\ud800"})


class TestPlan:
    def test_merges(self) -> None:
        result = plan({"a": "1", "b": "2"}, {"b": "3", "c": "4"})
        assert result.after == {"a": "1", "b": "3", "c": "4"}
        assert (result.written, result.deleted) == (["b", "c"], [])

    def test_removes(self) -> None:
        result = plan({"a": "1", "b": "2"}, {"b": "", "c": ""}, present=False)
        assert result.after == {"a": "1"}
        assert (result.written, result.deleted) == ([], ["b"])

    def test_purge_removes_all_keys_but_those_of_services(self) -> None:
        current = {
            "a": "1",
            "ssh-keys": "k",
            "gke-cluster": "c",
            "windows-keys": "w",
            "created-by": "m",
            "enable-x": "",
        }
        result = plan(current, {"b": "2"}, purge=True)
        assert result.after == {"ssh-keys": "k", "gke-cluster": "c", "windows-keys": "w", "created-by": "m", "b": "2"}
        assert result.deleted == ["a", "enable-x"]

    def test_purge_keeps_the_given_patterns(self) -> None:
        current = {"a": "1", "ab": "2", "ssh-keys": "k"}
        assert plan(current, {}, purge=True, keep=["a"]).after == {"a": "1"}
        assert plan(current, {}, purge=True, keep=["a*"]).after == {"a": "1", "ab": "2"}
        assert plan(current, {}, purge=True, keep=[]).after == {}

    def test_named_keys_are_removed_even_if_purge_keeps_them(self) -> None:
        assert plan({"ssh-keys": "k", "a": "1"}, {"ssh-keys": ""}, present=False, purge=True).after == {}

    def test_without_a_difference_changes_nothing(self) -> None:
        assert not plan({"a": "1"}, {"a": "1"}).changed
        assert not plan({"a": "1"}, {"b": ""}, present=False).changed
        assert not plan({"ssh-keys": "1"}, {}, purge=True).changed

    @given(METADATA, METADATA, st.booleans(), st.booleans())
    def test_second_run_changes_nothing(
        self, current: dict[str, str], wanted: dict[str, str], present: bool, purge: bool
    ) -> None:
        once = plan(current, wanted, present=present, purge=purge)
        again = plan(once.after, wanted, present=present, purge=purge)
        assert not again.changed
        assert again.after == once.after
        assert once.changed == (once.after != current)
        # The plan is what it does.
        rebuilt = {key: value for key, value in current.items() if key not in once.deleted}
        rebuilt.update({key: once.after[key] for key in once.written})
        assert rebuilt == once.after

    def test_rejects_a_change_that_exceeds_the_limit(self) -> None:
        current = {"a": "x" * LARGEST_VALUE}
        room = LARGEST_TOTAL - LARGEST_VALUE - 2
        assert plan(current, {"b": "x" * room}).changed
        with pytest.raises(CustomMetadataError, match=f"{LARGEST_TOTAL + 1} bytes.*{LARGEST_TOTAL} at most"):
            plan(current, {"b": "x" * (room + 1)})

    def test_too_large_metadata_can_shrink(self) -> None:
        current = {"a": "x" * LARGEST_VALUE, "b": "x" * LARGEST_VALUE, "c": ""}
        assert plan(current, {"c": ""}, present=False).changed
        assert not plan(current, {"c": ""}).changed


class TestDiff:
    def test_shows_changed_keys(self) -> None:
        assert plan({"a": "1"}, {"b": "2"}).diff(SECRET_PATTERNS, show_secrets=False) == {
            "before": {"a": "1"},
            "after": {"a": "1", "b": "2"},
        }

    def test_shows_that_a_secret_changes_without_its_value(self) -> None:
        result = plan({"db-password": "old", "ssh-keys": "same"}, {"db-password": "new", "api-key": "k"})
        assert result.diff(SECRET_PATTERNS, show_secrets=False) == {
            "before": {"db-password": "[redacted]", "ssh-keys": "[redacted]"},
            "after": {
                "db-password": "[redacted, another value]",
                "ssh-keys": "[redacted]",
                "api-key": "[redacted]",
            },
        }

    def test_shows_secrets_on_request(self) -> None:
        shown = plan({"db-password": "old"}, {"db-password": "new"}).diff(SECRET_PATTERNS, show_secrets=True)
        assert shown == {"before": {"db-password": "old"}, "after": {"db-password": "new"}}


def test_first_layer_with_the_key_takes_precedence() -> None:
    layers = {"instance": {"b": "i"}, "zonal": {"a": "z", "b": "z"}, "project": {"a": "p", "b": "p", "c": "p"}}
    assert merged(layers) == {"a": ("z", "zonal"), "b": ("i", "instance"), "c": ("p", "project")}


class TestScripts:
    @pytest.mark.parametrize(
        "key, value",
        [
            ("startup-script", "#!/bin/bash\r\necho hello\r\n"),
            ("startup-script", "#!/bin/bash\necho hello\r\n"),
            ("shutdown-script", "#!/bin/sh\r\n"),
            ("user-data", "#!/bin/sh\r\n"),
        ],
    )
    def test_with_windows_line_ends_cause_a_warning(self, key: str, value: str) -> None:
        [warning] = script_warnings({"role": "web", key: value})
        assert warning.startswith(f"{key} has Windows line ends (CRLF)")
        assert "dos2unix" in warning
        assert "replace('\\r\\n', '\\n')" in warning

    def test_with_a_byte_order_mark_cause_a_warning(self) -> None:
        [warning] = script_warnings({"startup-script": "\ufeff#!/bin/sh\n"})
        assert warning.startswith("startup-script begins with a byte order mark")

    @pytest.mark.parametrize(
        "key, value",
        [
            ("startup-script", "#!/bin/bash\n"),
            ("startup-script", "tr -d '\r'\n"),
            ("windows-startup-script-ps1", "Get-Date\r\n"),
            ("sysprep-specialize-script-cmd", "dir\r\n"),
            ("user-data", "MIME-Version: 1.0\r\n\r\n"),
            ("user-data", "#cloud-config\r\n{}\r\n"),
            ("motd", "#!/bin/sh\r\n"),
        ],
    )
    def test_that_linux_can_run_cause_no_warning(self, key: str, value: str) -> None:
        assert script_warnings({key: value}) == []
