# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bodies of requests, by preset."""

from __future__ import annotations

import json
from typing import Any

import pytest

from maintenance_handler.app.notify_targets import PRESETS, targets
from maintenance_handler.core.notice_document import document
from maintenance_handler.core.notices import KINDS, Notice
from notifier.payloads import payload

VM = {"instance": "web-1", "instance_id": "123", "zone": "us-central1-a", "project": "acme"}
OPENED, AT = 1_780_000_000.0, 1_780_000_030.0


def about(kind: str, *, resolves: bool = False, text: str = "a <!channel> & b", incident: str = "1f-migrate") -> Any:
    notice = Notice(
        id=f"{incident}-{kind}-2", kind=kind, text=text, at=AT, opened_at=OPENED, incident=incident, resolves=resolves
    )
    return document(notice.to_dict(), VM)


def target(preset: str | None = None, **fields: Any) -> dict[str, Any]:
    key = {"routing_key": "hunter2"} if preset == "pagerduty" else {}
    entry = {"name": "x", "preset": preset, "url": "http://x", **key, **fields}
    problems: list[str] = []
    (found,) = targets([{name: value for name, value in entry.items() if value is not None}], problems, [])
    assert problems == []
    return found


def sent(target: dict[str, Any], document: Any) -> tuple[Any, str]:
    body, headers = payload(target, document)
    assert headers["Idempotency-Key"] == document["id"]
    return json.loads(body), headers["Content-Type"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", [*KINDS, "test"])
def test_every_kind_can_be_sent_by_every_preset(preset: str, kind: str) -> None:
    body, _kind = sent(target(preset), about(kind))
    assert "web-1" in json.dumps(body)


def test_slack_gets_a_text_that_alerts_nobody() -> None:
    assert sent(target("slack"), about("drained")) == (
        {"text": "web-1 (us-central1-a): a &lt;!channel&gt; &amp; b"},
        "application/json",
    )


def test_google_chat_gets_a_text_that_mentions_nobody() -> None:
    body, _kind = sent(target("google_chat"), about("drained", text="<users/all> & b"))
    assert body == {"text": "web-1 (us-central1-a): (users/all) & b"}


def test_pagerduty_has_one_alert_for_each_incident() -> None:
    pager = target("pagerduty")
    trigger, _kind = sent(pager, about("failed", text="x" * 5000))
    resolve, _kind = sent(pager, about("restored", resolves=True))
    other, _kind = sent(pager, about("failed", incident="2f-migrate"))
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"] != other["dedup_key"]
    assert trigger["routing_key"] == "hunter2"
    assert 1000 < len(trigger["payload"]["summary"]) <= 1024
    assert trigger["payload"]["severity"] == "error"
    assert trigger["payload"]["source"] == "web-1"
    assert trigger["payload"]["timestamp"] == "2026-05-28T20:27:10Z"
    assert "hunter2" not in json.dumps(trigger["payload"])


def test_pagerduty_has_an_alert_of_its_own_for_blindness() -> None:
    pager = target("pagerduty")
    blind, _kind = sent(pager, about("blind", incident=""))
    seeing, _kind = sent(pager, about("blind", incident="", resolves=True))
    assert blind["dedup_key"] == seeing["dedup_key"]
    assert seeing["event_action"] == "resolve"
    assert blind["dedup_key"].endswith("/blind")


def test_alertmanager_resolves_what_it_has_opened() -> None:
    alertmanager = target("alertmanager")
    opened = {}
    for kind in alertmanager["on"]:
        if kind not in ("restored", "blind"):
            (alert,), _kind = sent(alertmanager, about(kind))
            assert alert["startsAt"] == "2026-05-28T20:26:40Z"
            assert alert["endsAt"] == "2026-06-04T20:27:10Z"
            opened[json.dumps(alert["labels"])] = alert
    resolved, _kind = sent(alertmanager, about("restored", resolves=True))
    assert {json.dumps(alert["labels"]) for alert in resolved} == set(opened)
    assert {alert["endsAt"] for alert in resolved} == {"2026-05-28T20:27:10Z"}
    names = {alert["labels"]["alertname"]: alert["labels"]["severity"] for alert in resolved}
    assert names["GceMaintenanceNotRestored"] == "critical"
    assert names["GceMaintenance"] == "info"


def test_labels_of_alerts_do_not_depend_on_time_and_text() -> None:
    alertmanager = target("alertmanager")
    (one,), _kind = sent(alertmanager, about("noticed", text="one"))
    (other,), _kind = sent(alertmanager, about("drained", text="other"))
    assert one["labels"] == other["labels"]
    assert one["annotations"] != other["annotations"]


def test_alert_of_a_clock_that_was_set_back_is_valid() -> None:
    (alert,), _kind = sent(target("alertmanager"), {**about("failed"), "opened_at": "2030-01-01T00:00:00Z"})
    assert alert["startsAt"] < alert["endsAt"]


def test_vm_without_names_has_no_empty_labels() -> None:
    unknown = {**about("failed"), "zone": "", "project": "", "instance_id": ""}
    (alert,), _kind = sent(target("alertmanager"), unknown)
    assert "zone" not in alert["labels"]
    assert all(alert["labels"].values())


def test_cloudevents_are_structured() -> None:
    event, kind = sent(target("cloudevents"), about("drained"))
    assert kind.startswith("application/cloudevents+json")
    assert event["specversion"] == "1.0"
    assert event["id"] == "123-1f-migrate-drained-2"
    assert event["source"] == "//compute.googleapis.com/projects/acme/zones/us-central1-a/instances/123"
    assert event["type"] == "gce.guest.maintenance.drained"
    assert event["subject"] == "web-1"
    assert event["time"] == "2026-05-28T20:27:10Z"
    assert event["data"] == about("drained")


def test_template_is_filled_in() -> None:
    body, kind = sent(target(template={"t": "$kind on $instance", "tasks": "$tasks"}), about("drained"))
    assert (body, kind) == ({"t": "drained on web-1", "tasks": []}, "application/json")


def test_template_may_be_a_text() -> None:
    body, headers = payload(target(template="$kind: $text"), about("drained", text="ä"))
    assert body == "drained: ä".encode()
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
