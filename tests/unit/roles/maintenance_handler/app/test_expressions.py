# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath in `when`, and messages for invalid expressions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from maintenance_handler.app.expressions import ExpressionError, compiled

DOCUMENT = {"event": {"name": "window", "can_reschedule": False, "reasons": ["FAILURE_DISK"]}}


@pytest.mark.parametrize(
    "expression, result",
    [
        ("event.can_reschedule == `false`", True),
        ("event.can_reschedule", False),
        ("event.name == 'migrate'", False),
        ("contains(event.reasons, 'FAILURE_DISK')", True),
        ("event.no_such_field", None),
    ],
)
def test_expression_is_evaluated_on_the_event(expression: str, result: object) -> None:
    assert compiled(expression)(DOCUMENT) == result


@pytest.mark.parametrize("expression", ["event.", "event ==", "event.name = 'x'", "]", "'unclosed"])
def test_invalid_expression_is_reported_in_one_line(expression: str) -> None:
    with pytest.raises(ExpressionError, match=r"^is not JMESPath: ") as caught:
        compiled(expression)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("expression", ["no_such_function(event)", "length(event, event)", "length()"])
def test_unknown_function_is_reported_before_any_event(expression: str) -> None:
    with pytest.raises(ExpressionError, match=r"^is not JMESPath: "):
        compiled(expression)


@pytest.mark.parametrize("expression", ["length(event.can_reschedule)", "event.reasons[::0]"])
def test_evaluation_error_is_reported_in_one_line(expression: str) -> None:
    evaluate = compiled(expression)
    with pytest.raises(ExpressionError, match=r"^cannot be evaluated: ") as caught:
        evaluate(DOCUMENT)
    assert len(str(caught.value).splitlines()) == 1


def test_missing_jmespath_is_reported_with_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a VM with the standard library only."""
    for name in [name for name in sys.modules if name.split(".")[0] == "jmespath"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ExpressionError, match="install the package python3-jmespath, or leave 'when' out"):
        compiled("event")
