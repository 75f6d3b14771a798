# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary of a rollout."""

from __future__ import annotations

from typing import Any

from ansible_collections.gce.guest.plugins.plugin_utils._rollout import rollout_summary

HOSTS = ["a", "b", "c", "d"]
DONE = {"result": "done"}


def failed(why: str = "no reason", **further: str) -> dict[str, Any]:
    return {"result": "failed", "why": why, **further}


def test_a_batch_in_between_takes_one_line() -> None:
    found = rollout_summary(HOSTS, [1, 2, "100%"], "a", {"a": DONE}, most=10)
    assert (found["batch"], found["batches"], found["stop"], found["last"]) == (1, 3, False, False)
    assert found["lines"] == ["Batch 1 of 3: the rollout continues. Hosts: 1 done, 0 failed, 3 not reached."]


def test_a_stop_names_all_hosts() -> None:
    records = {
        "a": DONE,
        "b": failed("no route\nto host", rolled_back="Uninstalled."),
        "c": {**DONE, "rolled_back": "Rolled back."},
    }
    found = rollout_summary(HOSTS, [1, 2, "100%"], "c", records, most=10)
    assert (found["stop"], found["last"]) == (True, True)
    assert found["lines"] == [
        "Batch 2 of 3: not well. The rollout has stopped. Hosts: 1 done, 1 failed, 1 not reached.",
        "Done: 1: a.",
        "Failed: 1: b.",
        "  b: no route to host",
        "  b: Uninstalled.",
        "  c: Rolled back.",
        "Not reached: 1: d.",
        "To continue, run the playbook again: it changes nothing on hosts that are done.",
    ]


def test_a_host_without_a_result_has_failed() -> None:
    found = rollout_summary(HOSTS, [2], "a", {"a": DONE}, most=50)
    assert (found["failed"], found["stop"]) == (["b"], False)
    assert "  b: It became unreachable, and was not rolled back." in found["lines"]
    assert found["not_reached"] == ["c", "d"]


def test_failures_of_earlier_batches_do_not_count_again() -> None:
    records = {"a": DONE, "b": failed(), "c": DONE, "d": DONE}
    found = rollout_summary(HOSTS, [2], "d", records, most=50)
    assert (found["stop"], found["last"], found["failed"]) == (False, True, ["b"])
    assert found["lines"][0] == "Batch 2 of 2: the rollout is complete. Hosts: 3 done, 1 failed, 0 not reached."
    assert "Not reached: none." in found["lines"]


def test_a_batch_that_is_not_confirmed_is_not_reached() -> None:
    found = rollout_summary(HOSTS, [1], "b", {"a": DONE}, most=10, declined=True)
    assert (found["batch"], found["done"], found["failed"], found["stop"]) == (1, ["a"], [], True)
    assert found["not_reached"] == ["b", "c", "d"]
    assert "not confirmed" in found["lines"][0]
