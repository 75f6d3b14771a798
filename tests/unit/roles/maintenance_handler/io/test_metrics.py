# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters, and the text that Prometheus reads."""

from __future__ import annotations

from maintenance_handler.io.metrics import Metrics


def test_counters_and_gauges_by_label() -> None:
    metrics = Metrics()
    metrics.count("polls_total", key="a", result="answer")
    metrics.count("polls_total", result="answer", key="a")
    metrics.count("polls_total", key="a", result="failure")
    metrics.set("healthy", 1.0)
    metrics.set("healthy", 0.0)
    assert metrics.text() == (
        "# HELP gce_maintenance_handler_healthy 1 while the handler is healthy, as shown by its command status.\n"
        "# TYPE gce_maintenance_handler_healthy gauge\n"
        "gce_maintenance_handler_healthy 0\n"
        "# HELP gce_maintenance_handler_polls_total Requests to the metadata server, by key and result.\n"
        "# TYPE gce_maintenance_handler_polls_total counter\n"
        'gce_maintenance_handler_polls_total{key="a",result="answer"} 2\n'
        'gce_maintenance_handler_polls_total{key="a",result="failure"} 1\n'
    )


def test_a_time_keeps_its_milliseconds() -> None:
    metrics = Metrics()
    metrics.set("last_good_answer_timestamp_seconds", 1780000000.123, key="a")
    assert " 1780000000.123\n" in metrics.text()


def test_a_label_is_escaped() -> None:
    metrics = Metrics()
    metrics.set("info", 1.0, version='a"b\\c\nd')
    assert '{version="a\\"b\\\\c\\nd"} 1\n' in metrics.text()


def test_counted_returns_the_current_value() -> None:
    metrics = Metrics()
    metrics.count("steps_total", phase="drain")
    assert metrics.counted("steps_total", phase="drain") == 1
    assert metrics.counted("steps_total", phase="restore") == 0
    assert metrics.counted("incidents_total") == 0


def test_size_does_not_grow_with_polls() -> None:
    """Memory leaked over days (aws/aws-node-termination-handler#121)."""
    metrics = Metrics()
    metrics.count("polls_total", key="a")
    size = len(metrics.text())
    for _unused in range(8):
        metrics.count("polls_total", key="a")
    assert len(metrics.text()) == size
