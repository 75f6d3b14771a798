# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of fleet_limit."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from support.fleet_limit import PROGRAM, ended, started
from support.vm_python import VM_PYTHON

LIMIT = {"backend": "etcd", "group": "web", "slots": 1, "endpoints": ["http://127.0.0.1:1"]}
QUESTION = {"limit": LIMIT, "id": "z/a/1", "reason": "stop", "timeout": 10, "state": {}}


@pytest.mark.parametrize("arguments", [[], ["steal"], ["acquire", "more"]])
def test_the_usage(arguments: list[str]) -> None:
    done = subprocess.run(
        [VM_PYTHON, "-I", str(PROGRAM), *arguments], input="{}", capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: check|acquire|renew|release|holders|unlock")


@pytest.mark.parametrize(
    "question, problem",
    [
        ("", "the question must be a JSON object"),
        ("{", "the question must be a JSON object"),
        ("[" * 100_000, "the question must be a JSON object"),
        ([], "the question must be a JSON object"),
        ({**QUESTION, "timeout": 0}, "timeout must be a number of seconds"),
        ({**QUESTION, "timeout": "3"}, "timeout must be a number of seconds"),
        ('{"timeout": NaN}', "timeout must be a number of seconds"),
        ({**QUESTION, "state": []}, "state must be an object"),
        ({**QUESTION, "id": ""}, "id must say whose slot it is"),
        ({**QUESTION, "id": "a\nb"}, "id must be one line of text"),
        ({**QUESTION, "id": "a  b"}, "id must have no spaces"),
        ({**QUESTION, "id": "a" * 201}, "id must be one line of text"),
        ({**QUESTION, "reason": 1}, "reason must be one line of text"),
        ({**QUESTION, "limit": {**LIMIT, "slots": 0}}, "slots must be a whole number"),
    ],
)
def test_invalid_questions(question: Any, problem: str) -> None:
    answer = ended(started("acquire", question))

    assert (answer["outcome"], answer["holders"], answer["slots"]) == ("invalid", None, None)
    assert answer["detail"].startswith(problem)


def test_check_distinguishes_wrong_options_from_a_store_that_is_away() -> None:
    question = {"limit": LIMIT, "timeout": 10}

    away = ended(started("check", question))
    assert (away["outcome"], away["slots"]) == ("unreachable", 1)
    assert "http://127.0.0.1:1/v3/kv/range does not answer" in away["detail"] or "/v3/kv/txn" in away["detail"]
    assert ended(started("check", {**question, "limit": {**LIMIT, "size": 1}}))["outcome"] == "invalid"
