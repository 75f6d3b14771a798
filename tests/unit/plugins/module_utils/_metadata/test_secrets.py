# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which metadata is secret, and trees without it."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gce.guest.plugins.module_utils._metadata import secret_content
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import (
    REDACTED,
    SECRET_PATTERNS,
    is_secret,
    is_secret_item,
    redact_tree,
    redacted,
)
from hypothesis import given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
ORDINARY: dict[str, str] = yaml.safe_load((HERE / "ordinary_metadata.yml").read_text(encoding="utf-8"))
SECRETS: dict[str, Any] = yaml.safe_load((HERE / "secret_metadata.yml").read_text(encoding="utf-8"))


def test_ordinary_values_are_not_secret() -> None:
    alarms = [key for key, value in ORDINARY.items() if is_secret_item(key, value)]
    assert len(ORDINARY) > 300
    assert alarms == []


@pytest.mark.parametrize("key", SECRETS["by_key"])
def test_secrets_are_recognized_by_key(key: str) -> None:
    assert is_secret(key)
    assert redacted({key: "x", "role": "web"}) == {key: REDACTED, "role": "web"}


@pytest.mark.parametrize("value", SECRETS["by_content"])
def test_secrets_are_recognized_by_value(value: str) -> None:
    assert redacted({"notes": value}) == {"notes": REDACTED}
    assert redacted({"notes": f"# first\n{value}\n# last"}) == {"notes": REDACTED}
    assert redacted({"notes": value}, show_secrets=True) == {"notes": value}
    assert redact_tree({"instance": {"attributes": {"notes": value}}}) == {
        "instance": {"attributes": {"notes": REDACTED}}
    }
    assert redact_tree(value, path="instance/guest-attributes/app/notes") == REDACTED


@pytest.mark.parametrize("key, value", SECRETS["environments"].items())
def test_environment_files_are_secret_by_their_key(key: str, value: str) -> None:
    assert is_secret_item(key, value)
    assert not is_secret_item("notes", value)


def test_patterns_apply_to_names_in_documents() -> None:
    assert is_secret_item("config", "role: web-role\n", ["^role$"])
    assert not is_secret_item("config", "db_password: hunter2\n", ["^role$"])
    # A private key is secret under any name.
    assert is_secret_item("config", "-----BEGIN PRIVATE KEY-----", [])


@pytest.mark.parametrize(
    "unit",
    ["a=b ", "a: b\n", "--a b ", "name: a\nvalue: b\n", "http://a:", "x", "curl ", '"a": ', "env\n", "-" * 7, "token"],
)
def test_large_values_take_linear_time(unit: str) -> None:
    """Patterns that restart at each character would take minutes."""
    value = (unit * (262_144 // len(unit) + 1))[:262_144]
    assert not is_secret_item("notes", value)


@pytest.mark.parametrize(
    "key",
    [
        "ssh-keys",
        "sshKeys",
        "startup-script",
        "shutdown-script",
        "windows-startup-script-ps1",
        "sysprep-specialize-script-cmd",
        "user-data",
        "kube-env",
        "db-password",
        "DB_PASSWORD",
        "passwd",
        "join-token",
        "client_secret",
        "api-key",
        "apikey",
        "aws-access-key",
        "tls_private_key",
        "gpg-passphrase",
        "PASS_PHRASE",
        "disk-pass-phrase",
        "pwd",
        "db-pwd",
        "DB_PWD",
        "dbpwd",
        "pass",
        "DB_PASS",
        "smtp-pass",
        "smtp.pass",
        "server-tls-key",
        "TLS_KEY",
        "tlskey",
        "ssl-key",
        "nginx_ssl_key",
        "ssh-key",
        "deploy-ssh-key",
    ],
)
def test_secret_keys(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        "role",
        "startup-script-url",
        "block-project-ssh-keys",
        "enable-oslogin",
        "user-data-encoding",
        "monkey",
        "key",
        "keys",
        "public-key",
        "key-name",
        "tls-key-path",
        "ssl-keylog",
        "ssh-public-key",
        "compass",
        "compass-url",
        "passenger",
        "passenger-version",
        "bypass",
        "proxy-bypass",
        "pass-through",
        "passive",
        "passed",
        "tests-passed",
        "encompass",
        "phrase",
        "keyboard",
        "SSH-KEYS",
        "cluster-name",
    ],
)
def test_other_keys(key: str) -> None:
    assert not is_secret(key)


def test_patterns_replace_the_defaults_but_not_the_well_known_keys() -> None:
    assert is_secret("role", ["^role$"])
    assert not is_secret("db-password", ["^role$"])
    assert is_secret("ssh-keys", [])


class TestTrees:
    def test_keep_everything_but_the_values(self) -> None:
        tree: dict[str, Any] = {
            "instance": {
                "attributes": {"ssh-keys": "a", "role": "web", "startup-script": ""},
                "credentials": {"certs": {"key": "a"}},
                "gceWorkloadCertificates": {"workloadIdentities": "a", "configStatus": "b"},
                "guestAttributes": {"app": {"token": "a", "state": "b"}, "secrets": {"x": "a", "y": ["a"]}},
                "serviceAccounts": {"default": {"email": "me@example.com", "token": {"access_token": "a"}}},
                "virtualClock": {"driftToken": "0"},
            },
            "project": {"attributes": {"sshKeys": "a", "zone": "b"}},
        }
        assert redact_tree(tree) == {
            "instance": {
                "attributes": {"ssh-keys": REDACTED, "role": "web", "startup-script": REDACTED},
                "credentials": {"certs": REDACTED},
                "gceWorkloadCertificates": {"workloadIdentities": REDACTED, "configStatus": REDACTED},
                "guestAttributes": {"app": {"token": REDACTED, "state": "b"}, "secrets": REDACTED},
                "serviceAccounts": {"default": {"email": "me@example.com", "token": REDACTED}},
                "virtualClock": {"driftToken": "0"},
            },
            "project": {"attributes": {"sshKeys": REDACTED, "zone": "b"}},
        }
        assert tree["instance"]["attributes"]["ssh-keys"] == "a"

    @pytest.mark.parametrize(
        "path, tree, expected",
        [
            ("instance/attributes/ssh-keys", "a", REDACTED),
            ("instance/attributes/ssh-keys/", "a", REDACTED),
            ("instance/attributes/", {"ssh-keys": "a"}, {"ssh-keys": REDACTED}),
            ("instance/guest-attributes/app/", {"token": "a"}, {"token": REDACTED}),
            ("instance/guest-attributes/app/token", "a", REDACTED),
            ("instance/service-accounts/default/token", {"access_token": "a"}, REDACTED),
            ("instance/service-accounts/me@example.com/identity", "a", REDACTED),
            ("instance/service-accounts/default/", {"token": "a", "email": "b"}, {"token": REDACTED, "email": "b"}),
            ("instance/gce-workload-certificates/workload-identities", "a", REDACTED),
            ("instance/name", "ssh-keys", "ssh-keys"),
            ("project/attributes/", {"user-data": "a"}, {"user-data": REDACTED}),
            ("project/project-id", "token", "token"),
        ],
    )
    def test_can_start_at_any_path(self, path: str, tree: Any, expected: Any) -> None:
        assert redact_tree(tree, path=path) == expected

    def test_never_show_tokens(self) -> None:
        tree = {
            "instance": {"attributes": {"ssh-keys": "a"}, "serviceAccounts": {"x": {"token": "a", "identity": "a"}}}
        }
        assert redact_tree(tree, show_secrets=True) == {
            "instance": {
                "attributes": {"ssh-keys": "a"},
                "serviceAccounts": {"x": {"token": REDACTED, "identity": REDACTED}},
            }
        }


_values = st.recursive(
    st.text(max_size=3) | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner)
)


@given(secret=_values, other=_values)
def test_secrets_are_redacted_at_any_depth(secret: Any, other: Any) -> None:
    tree = {"instance": {"attributes": {"ssh-keys": secret, "other": other}}}
    redacted = redact_tree(tree, patterns=[])
    assert redacted == {"instance": {"attributes": {"ssh-keys": REDACTED, "other": other}}}


_CONTENT = [
    pattern
    for value in vars(secret_content).values()
    for pattern in (value if isinstance(value, tuple) else (value,))
    if isinstance(pattern, re.Pattern)
]


class TestShortcuts:
    """Quick checks that avoid the rules and patterns must not miss a secret."""

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    @pytest.mark.parametrize("pattern", SECRET_PATTERNS)
    def test_no_name_that_matches_a_pattern_is_skipped(self, pattern: str, data: st.DataObject) -> None:
        name = data.draw(st.from_regex(pattern, alphabet=st.characters(max_codepoint=255)))
        assert is_secret(name)

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    @pytest.mark.parametrize("pattern", _CONTENT, ids=range(len(_CONTENT)))
    def test_no_value_that_matches_a_rule_is_skipped(self, pattern: re.Pattern[str], data: st.DataObject) -> None:
        value = data.draw(st.from_regex(pattern, alphabet=st.characters(max_codepoint=255)))
        encoded = base64.b64encode(value.encode()).decode()
        twice = base64.urlsafe_b64encode(encoded.encode()).decode()
        for text in (value, encoded, f"see {encoded.rstrip('=')} there", twice):
            # Each name that has a letter counts as secret, and that of the value is none.
            found = is_secret_item("", text, ["."])
            assert found == secret_content.holds_secret("", text, lambda _name: True)
