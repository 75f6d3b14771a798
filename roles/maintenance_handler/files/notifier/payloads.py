# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bodies of requests to webhooks, by preset. Pure.

The receivers' descriptions of them:

- Slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
- Google Chat: https://developers.google.com/workspace/chat/quickstart/webhooks
- PagerDuty: https://developer.pagerduty.com/docs/send-alert-event
- Alertmanager: https://prometheus.io/docs/alerting/latest/alerts_api/
- CloudEvents: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Mapping
from typing import Any, Callable

from maintenance_handler._vm.maintenance import format_time
from maintenance_handler._vm.notification import TYPE_PREFIX
from maintenance_handler.core.notice_document import SEVERITIES, rendered
from maintenance_handler.core.notices import BLIND, FAILED, LIMIT_EXCEEDED, OVERDUE, RESTORE_FAILED, RESTORED

JSON = "application/json"

# Limits of PagerDuty's API, in characters.
_LONGEST_SUMMARY = 1024
_LONGEST_KEY = 255

# Alertmanager resolves an alert at `endsAt`; without it, after a few minutes (resolve_timeout), unless it comes again.
# The handler sends each notice once, so that an alert lasts until `restored` resolves it, or for this many seconds.
_ALERT_FOR = 7 * 86400

# The labels of an alert identify it. The kinds of trouble that can exist at the same time are alerts of their own.
_ALERTS = {
    FAILED: "GceMaintenanceDrainFailed",
    OVERDUE: "GceMaintenanceDrainOverdue",
    RESTORE_FAILED: "GceMaintenanceNotRestored",
    LIMIT_EXCEEDED: "GceMaintenanceLimitExceeded",
    BLIND: "GceMaintenanceHandlerBlind",
}
_OTHER_ALERT = "GceMaintenance"


def payload(target: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The body for a target and a document (of `notice_document.document`), and its headers."""
    preset = target.get("preset")
    template = target.get("template")
    if preset is not None:
        body, kind = _PRESETS[preset](target, document)
    elif isinstance(template, str):
        return rendered_text(template, document), {"Content-Type": "text/plain; charset=utf-8", **_idempotent(document)}
    elif template is not None:
        body, kind = rendered(template, document), JSON
    else:
        body, kind = dict(document), JSON
    return json.dumps(body).encode(), {"Content-Type": kind, **_idempotent(document)}


def rendered_text(template: str, document: Mapping[str, Any]) -> bytes:
    text = rendered(template, document)
    return (text if isinstance(text, str) else json.dumps(text)).encode()


def _idempotent(document: Mapping[str, Any]) -> dict[str, str]:
    # https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
    return {"Idempotency-Key": document["id"]}


def _slack(_target: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[Any, str]:
    # https://docs.slack.dev/messaging/formatting-message-text#escaping: otherwise "<!channel>" in the reason of an
    # operator would alert everybody.
    text = document["summary"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": text}, JSON


def _google_chat(_target: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[Any, str]:
    # "<users/all>" would mention everybody, and there is no way to escape it.
    return {"text": document["summary"].replace("<", "(").replace(">", ")")}, "application/json; charset=UTF-8"


def _pagerduty(target: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[Any, str]:
    about = document["incident"] or document["kind"]
    key = f"gce-maintenance-handler/{document['instance_id'] or document['instance']}/{about}"
    return {
        "routing_key": target["routing_key"],
        "event_action": "resolve" if document["resolves"] else "trigger",
        "dedup_key": key[:_LONGEST_KEY],
        "client": "gce-maintenance-handler",
        "payload": {
            "summary": document["summary"][:_LONGEST_SUMMARY],
            "source": document["instance"],
            "severity": document["severity"],
            "timestamp": document["at"],
            "component": "maintenance",
            "group": document["zone"],
            "class": document["kind"],
            "custom_details": dict(document),
        },
    }, JSON


def _alertmanager(target: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[Any, str]:
    kinds = [document["kind"]]
    if document["kind"] == RESTORED:
        # It resolves all alerts of its incident that this target may have got.
        kinds = [kind for kind in target["on"] if kind not in (BLIND, RESTORED)] or kinds
    alerts = {json.dumps(alert["labels"]): alert for alert in (_alert(kind, document) for kind in kinds)}
    return list(alerts.values()), JSON


def _alert(kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    began, now = _epoch(document["opened_at"]), _epoch(document["at"])
    labels = {
        "alertname": _ALERTS.get(kind, _OTHER_ALERT),
        "severity": SEVERITIES.get(kind, "info"),
        "instance": document["instance"],
        "instance_id": document["instance_id"],
        "zone": document["zone"],
        "project": document["project"],
        "incident": document["incident"],
    }
    return {
        # A label with an empty value is the same as none.
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {"summary": document["summary"], "description": document["text"], "kind": document["kind"]},
        "startsAt": format_time(min(began, now)),
        "endsAt": format_time(now if document["resolves"] else now + _ALERT_FOR),
    }


def _cloudevents(_target: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[Any, str]:
    vm = f"projects/{document['project'] or '-'}/zones/{document['zone'] or '-'}/instances"
    return {
        "specversion": "1.0",
        "id": document["id"],
        "source": f"//compute.googleapis.com/{vm}/{document['instance_id'] or document['instance']}",
        "type": f"{TYPE_PREFIX}{document['kind']}",
        "subject": document["instance"],
        "time": document["at"],
        "datacontenttype": JSON,
        "data": dict(document),
    }, "application/cloudevents+json; charset=UTF-8"


def _epoch(text: str) -> int:
    """Epoch seconds of `format_time`."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


_PRESETS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[Any, str]]] = {
    "slack": _slack,
    "google_chat": _google_chat,
    "pagerduty": _pagerduty,
    "alertmanager": _alertmanager,
    "cloudevents": _cloudevents,
}
