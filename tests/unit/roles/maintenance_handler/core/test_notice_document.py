# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document that receivers get, and templates over it."""

from __future__ import annotations

from typing import Any

import pytest

from maintenance_handler._vm.notification import FIELDS
from maintenance_handler.core.notice_document import SEVERITIES, document, rendered, template_problems
from maintenance_handler.core.notices import KINDS, Notice

VM = {"instance": "web-1", "instance_id": "123", "zone": "us-central1-a", "project": "acme"}
NOTICE = Notice(
    id="1f-migrate-drained-2",
    kind="drained",
    text="drained for migrate: lb",
    at=1_780_000_030.5,
    opened_at=1_780_000_000.0,
    incident="1f-migrate",
    event="migrate",
    tasks=("lb", "app"),
    deadline=1_780_000_060.0,
)


def test_document_has_the_fields_that_templates_know() -> None:
    found = document(NOTICE.to_dict(), VM)
    assert set(found) == set(FIELDS)
    assert found["id"] == "123-1f-migrate-drained-2"
    assert found["summary"] == "web-1 (us-central1-a): drained for migrate: lb"
    assert found["at"] == "2026-05-28T20:27:10Z"
    assert found["severity"] == "info"


def test_every_kind_has_a_severity() -> None:
    assert set(SEVERITIES) == set(KINDS)


def test_vm_that_is_not_known_is_named_by_its_host() -> None:
    unknown = {"instance": "web-1", "instance_id": "", "zone": "", "project": ""}
    found = document({**NOTICE.to_dict(), "rehearsal": True}, unknown)
    assert found["id"] == "web-1-1f-migrate-drained-2"
    assert found["summary"] == "web-1: rehearsal: drained for migrate: lb"


def test_what_resolves_is_no_trouble() -> None:
    assert document({**NOTICE.to_dict(), "kind": "blind", "resolves": True}, VM)["severity"] == "info"


@pytest.mark.parametrize(
    "template, expected",
    [
        ("$kind: ${summary}s cost $$5", "drained: web-1 (us-central1-a): drained for migrate: lbs cost $5"),
        ({"a": ["$tasks", "$resolves", "$deadline"]}, {"a": [["lb", "app"], False, "2026-05-28T20:27:40Z"]}),
        ({"a": "$tasks!", "b": "is $rehearsal"}, {"a": "lb, app!", "b": "is false"}),
        ({"a": 3, "b": None, "c": True}, {"a": 3, "b": None, "c": True}),
    ],
)
def test_fields_are_put_into_templates(template: Any, expected: Any) -> None:
    assert list(template_problems(template)) == []
    assert rendered(template, document(NOTICE.to_dict(), VM)) == expected


def test_value_is_not_a_template() -> None:
    found = document({**NOTICE.to_dict(), "text": '$project "$kind" {{ x }}'}, VM)
    assert rendered({"t": "<$text>"}, found) == {"t": '<$project "$kind" {{ x }}>'}


@pytest.mark.parametrize("template", ["$", "a $ b", "$5", "${", "${}", "${a b}", {"x": ["$nothing"]}, "$kinds"])
def test_mistakes_in_templates_are_found(template: Any) -> None:
    assert list(template_problems(template))
