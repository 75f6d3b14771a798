# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alerting rules, the dashboard and the guide use the metrics that the handler writes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from maintenance_handler.core.incident import FAILURES
from maintenance_handler.io.metrics import HELP
from support.playbook import CHECKOUT

MONITORING = CHECKOUT / "extensions" / "monitoring"
ALERTS = MONITORING / "alerts.yml"
GUIDE = CHECKOUT / "docs" / "docsite" / "rst" / "guide_monitoring.rst"
METRIC = re.compile(r"gce_maintenance_handler_(\w+)")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool, of the package prometheus"
)


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    return dict(json.loads((MONITORING / "dashboard.json").read_bytes()))


def queries() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(section: str) -> list[list[str]]:
    """The cells of the table in a section of the guide."""
    text = GUIDE.read_text(encoding="utf-8").partition(f"\n{section}\n-")[2].partition(".. list-table::")[2]
    found: list[list[str]] = []
    for line in text.splitlines()[3:]:
        if line and not line.startswith(" "):
            break
        if line.startswith("   * -"):
            found.append([])
        if line.startswith(("   * -", "     -")):
            found[-1].append(line[7:].strip())
    return found[1:]


def test_alerts_and_dashboard_use_existing_metrics() -> None:
    used = {name for text in [*(rule["expr"] for rule in alerts()), *queries()] for name in METRIC.findall(text)}
    assert used
    assert used <= set(HELP)


def test_the_dashboard_shows_the_fleet_limit_and_the_notifications() -> None:
    used = {name for query in queries() for name in METRIC.findall(query)}
    assert {name for name in HELP if name.startswith("fleet_limit_")} <= used
    assert {"notifications_queued", "notifications_failed_total"} <= used


def test_the_guide_describes_every_metric() -> None:
    described = [(row[0].strip("`"), row[1]) for row in rows("Metrics")]
    assert described == [(name, kind) for name, (kind, _help) in HELP.items()]


def test_the_guide_describes_every_alert() -> None:
    described = {(row[0].strip("`"), row[1]) for row in rows("Alerts")}
    assert described == {(rule["alert"], rule["labels"]["severity"]) for rule in alerts()}


def test_the_alert_for_failed_drains_knows_all_outcomes_of_a_failure() -> None:
    (expression,) = [rule["expr"] for rule in alerts() if rule["alert"] == "GceMaintenanceHandlerDrainFailed"]
    matched = {frozenset(outcomes.split("|")) for outcomes in re.findall(r'outcome=~"([^"]+)"', expression)}
    assert matched == {frozenset(FAILURES)}


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_above, (one, other)


@needs_promtool
def test_the_rules_raise_their_alerts() -> None:
    promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", str(Path(__file__).with_name("alerts_test.yml")))


@needs_promtool
def test_prometheus_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    expressions = [query.replace("$instance", ".*").replace("$__rate_interval", "5m") for query in queries()]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(expressions)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))


@needs_promtool
@pytest.mark.parametrize("panel", ["Surprises", "Fleet limit exceeded or unanswered", "Notifications"])
def test_the_dashboard_shows_what_happens_for_the_first_time(tmp_path: Path, panel: str) -> None:
    """A counter has no series before its first count. Most of these count once in months."""
    (shown,) = [one for one in dashboard()["panels"] if one["title"] == panel]
    checks = []
    for target in shown["targets"]:
        query = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5m")
        checks += [{"expr": f"count({query})", "eval_time": at, "exp_samples": [{"value": 1}]} for at in ("12m", "32m")]
        checks.append({"expr": f"count({query} > 0)", "eval_time": "25m", "exp_samples": []})
    names = sorted({name for target in shown["targets"] for name in METRIC.findall(target["expr"])})
    values = {name: "_x10 1x10 0x10 2x10" if HELP[name][0] == "gauge" else "_x10 1x20 2x10" for name in names}
    series = [
        {"series": f'gce_maintenance_handler_{name}{{instance="web-1"}}', "values": told}
        for name, told in values.items()
    ]
    path = tmp_path / "test.yml"
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": checks}]
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": tests}), encoding="utf-8")
    promtool("test", "rules", str(path))
