# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single lines of SSH keys in metadata, added and removed."""

from __future__ import annotations

import pytest
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import CustomMetadataError
from ansible_collections.gce.guest.plugins.module_utils._metadata.ssh_keys import (
    applied,
    changes,
    described,
    ignored,
    parsed,
    wanted,
)
from hypothesis import given
from hypothesis import strategies as st

K1 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9AX5xkfQ3IDuvWj5bM8VfoTZVhS1a0jQ2nZk0pYr7B"
K2 = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY="
K3 = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7"
EXPIRY = 'google-ssh {"userName":"carol@example.com","expireOn":"2026-11-27T10:00:00+0000"}'
LATER = EXPIRY.replace("11-27", "11-28")
LINES = [f"alice:{K1} alice@laptop", f"bob:{K2}", f"carol:{K2} {EXPIRY}"]
TEXT = "\n".join(LINES)


def change(values: dict[str, str], present: list[str] | None = None, absent: list[str] | None = None) -> dict[str, str]:
    keys = wanted(present or [], absent or [])
    result = applied(values, keys)
    assert applied(result, keys) == result
    return result


class TestPresent:
    def test_creates_the_metadata_key(self) -> None:
        assert change({"a": "b"}, [LINES[0]]) == {"a": "b", "ssh-keys": LINES[0]}

    @pytest.mark.parametrize("end", ["", "\n", "\n\n"])
    def test_appends_and_leaves_other_lines_unchanged(self, end: str) -> None:
        added = change({"ssh-keys": TEXT + end}, [f"dave:{K3}"])["ssh-keys"]
        assert added.split("\n")[:3] == LINES
        assert [line for line in added.split("\n") if line] == [*LINES, f"dave:{K3}"]

    def test_keeps_an_existing_comment_if_none_is_given(self) -> None:
        for line in (LINES[0], f"alice:{K1}", f"  alice:{K1}  "):
            assert change({"ssh-keys": TEXT}, [line]) == {"ssh-keys": TEXT}
        assert change({"ssh-keys": TEXT}, [f"carol:{K2}"]) == {"ssh-keys": TEXT}

    def test_replaces_comment_and_expiry_in_place(self) -> None:
        assert change({"ssh-keys": TEXT}, [f"carol:{K2} {LATER}"])["ssh-keys"] == TEXT.replace(EXPIRY, LATER)
        assert change({"ssh-keys": TEXT}, [f"alice:{K1} alice@desktop"])["ssh-keys"].startswith(
            f"alice:{K1} alice@desktop\n"
        )

    def test_accepts_options(self) -> None:
        line = f'alice:from="10.0.0.0/8",command="/bin/sh -c id" {K1} alice'
        assert change({}, [line]) == {"ssh-keys": line}
        assert change({"ssh-keys": TEXT}, [line])["ssh-keys"].split("\n")[0] == line

    def test_accepts_the_lines_of_a_file(self) -> None:
        assert change({}, [f"# us\n\n{LINES[0]}\r\n{LINES[1]}\n"])["ssh-keys"].split("\n") == LINES[:2]

    def test_same_key_of_another_user_is_a_different_line(self) -> None:
        assert change({"ssh-keys": TEXT}, [f"dave:{K1}"])["ssh-keys"] == f"{TEXT}\ndave:{K1}"

    def test_finds_a_key_under_the_older_metadata_key(self) -> None:
        assert change({"sshKeys": TEXT}, [LINES[0]]) == {"sshKeys": TEXT}
        assert change({"sshKeys": TEXT}, [f"dave:{K3}"]) == {"sshKeys": TEXT, "ssh-keys": f"dave:{K3}"}
        assert change({"sshKeys": TEXT}, [f"carol:{K2} {LATER}"]) == {"sshKeys": TEXT.replace(EXPIRY, LATER)}


class TestAbsent:
    def test_removes_lines_with_any_comment(self) -> None:
        assert change({"ssh-keys": TEXT}, absent=[f"alice:{K1} x"])["ssh-keys"] == "\n".join(LINES[1:])
        assert change({"ssh-keys": TEXT}, absent=[f"carol:{K2}"])["ssh-keys"] == "\n".join(LINES[:2])
        assert change({"ssh-keys": TEXT}, absent=[f"alice:{K3}"])["ssh-keys"] == TEXT

    def test_removes_a_key_of_all_users(self) -> None:
        assert change({"ssh-keys": TEXT}, absent=[K2])["ssh-keys"] == LINES[0]

    def test_removes_all_keys_of_a_user(self) -> None:
        text = f"{TEXT}\nalice:what is this\nalice2:{K1}\n"
        assert change({"ssh-keys": text}, absent=["alice"])["ssh-keys"] == "\n".join([*LINES[1:], f"alice2:{K1}", ""])

    def test_keeps_the_new_key_of_a_user(self) -> None:
        assert change({"ssh-keys": TEXT}, [f"alice:{K3}"], ["alice"])["ssh-keys"].split("\n") == [
            *LINES[1:],
            f"alice:{K3}",
        ]
        assert change({"ssh-keys": TEXT}, [f"alice:{K1}"], ["alice"])["ssh-keys"] == TEXT

    def test_removes_metadata_without_lines(self) -> None:
        assert change({"ssh-keys": f"{LINES[0]}\n\n", "a": "b"}, absent=["alice"]) == {"a": "b"}
        assert change({"sshKeys": LINES[0], "ssh-keys": TEXT}, absent=["alice"]) == {"ssh-keys": "\n".join(LINES[1:])}

    def test_keeps_invalid_lines(self) -> None:
        text = f"# ours\r\n\nwhat is this\n{LINES[0]}\r\n"
        assert change({"ssh-keys": text}, absent=[LINES[0]])["ssh-keys"] == "# ours\r\n\nwhat is this\n"
        assert change({"ssh-keys": ""}, absent=["alice"]) == {"ssh-keys": ""}


@pytest.mark.parametrize(
    "present, absent, words",
    [
        ([K1], [], "entry 1 of ssh_keys.present is a key without its user"),
        ([f"alice:{K1}", "alice"], [], "entry 2 of ssh_keys.present is not an SSH key"),
        (["alice:hunter2"], [], "entry 1 of ssh_keys.present, for alice, is not a public SSH key"),
        (["alice:ssh-ed25519"], [], "is not a public SSH key"),
        (["alice:ssh-ed25519 hunter2!"], [], "is not a public SSH key"),
        (["al ice:" + K1], [], "has no valid Linux user name"),
        ([":" + K1], [], "has no valid Linux user name"),
        (["-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"], [], "is a private key. Write the public key"),
        ([f"alice:{K1} google-ssh hunter2"], [], "has no valid expiry"),
        ([f'alice:{K1} google-ssh {{"userName":"hunter2"}}'], [], "has no valid expiry"),
        ([], ["alice:hunter2"], "entry 1 of ssh_keys.absent, for alice"),
        ([], ["no user at all"], "entry 1 of ssh_keys.absent is not an SSH key"),
        ([f"alice:{K1} a"], [f"alice:{K1} b"], "is in both present and absent"),
    ],
)
def test_invalid_line_is_rejected_without_repeating_it(present: list[str], absent: list[str], words: str) -> None:
    with pytest.raises(CustomMetadataError) as caught:
        wanted(present, absent)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_lines_are_described_by_their_fingerprint() -> None:
    assert described(LINES[0]) == "alice ssh-ed25519 SHA256:+jmrI8gw8Vi8BXj/Hs0ilwlkbNAUfR2LsuvP86d9FNY"
    assert described(LINES[2]).endswith(" until 2026-11-27T10:00:00+0000")
    assert "laptop" not in described(LINES[0])
    assert described("alice:hunter2") == "a line without a valid key"
    assert changes({"ssh-keys": TEXT}, {"ssh-keys": LINES[0]}) == ([], [described(line) for line in LINES[1:]])


@pytest.mark.parametrize(
    "own, zone, project, scope, reason",
    [
        ({}, {}, {}, "instance", None),
        ({}, {}, {"enable-oslogin": "TRUE"}, "instance", "enable-oslogin"),
        ({"enable-oslogin": "FALSE"}, {}, {"enable-oslogin": "TRUE"}, "instance", None),
        ({"block-project-ssh-keys": "TRUE"}, {}, {}, "instance", None),
        ({"block-project-ssh-keys": "yes"}, {}, {}, "project", "block-project-ssh-keys"),
        ({}, {"block-project-ssh-keys": "TRUE"}, {}, "project", "block-project-ssh-keys"),
        ({"sshKeys": LINES[0]}, {}, {}, "project", "sshKeys"),
        ({"sshKeys": LINES[0]}, {}, {}, "instance", None),
        ({}, {}, {"sshKeys": LINES[0]}, "project", None),
    ],
)
def test_instances_that_ignore_the_keys(
    own: dict[str, str], zone: dict[str, str], project: dict[str, str], scope: str, reason: str | None
) -> None:
    found = ignored({"instance": own, "zonal": zone, "project": project}, scope)
    assert found is None if reason is None else reason in str(found)


_lines = st.lists(st.sampled_from([*LINES, f"bob:{K1}", f"carol:{K2} {LATER}", "", "# x", "y:z"]), max_size=8)
_keys = st.lists(st.sampled_from([f"alice:{K1}", f"bob:{K2} b", f"carol:{K2} {LATER}"]), max_size=3)


@given(_lines, _lines, _keys, st.lists(st.sampled_from(["alice", "bob", K3, f"dave:{K1}"]), max_size=2))
def test_second_run_changes_nothing(lines: list[str], legacy: list[str], present: list[str], absent: list[str]) -> None:
    result = change({"ssh-keys": "\n".join(lines), "sshKeys": "\n".join(legacy)}, present, absent)
    rows = [line for key in ("ssh-keys", "sshKeys") for line in result.get(key, "").split("\n")]
    found, named = ({key.identity for key in map(parsed, each) if key} for each in (rows, present))
    assert named <= found
    # Other lines are unchanged.
    assert [line for line in rows if line in ("# x", "y:z")] == [
        line for line in [*lines, *legacy] if line in ("# x", "y:z")
    ]
