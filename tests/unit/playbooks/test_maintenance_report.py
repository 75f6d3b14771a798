# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the playbook maintenance_report on an emulated project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess
from support.playbook import CHECKOUT, printed_lines, run_playbook
from support.templating import TemplateProcess

FLEET = {
    "project": "acme",
    "instances": [
        {"name": "later", "zone": "europe-west1-b", "machine_type": "c3-standard-8", "labels": {"env": "prod"}},
        {"name": "now", "machine_type": "a3-highgpu-8g", "scheduling": {"on_host_maintenance": "TERMINATE"}},
        {"name": "quiet"},
    ],
}
LATER = {
    "window_start_time": "2097-12-01T02:00:00+00:00",
    "window_end_time": "2097-12-01T06:00:00+00:00",
    "latest_window_start_time": "2097-12-01T04:00:00+00:00",
    "can_reschedule": True,
    "maintenance_status": "PENDING",
    "type": "SCHEDULED",
    "maintenance_reasons": ["PLANNED_UPDATE"],
}
NOW = {
    "window_start_time": "2026-01-01T02:00:00+00:00",
    "window_end_time": "2026-01-01T06:00:00+00:00",
    "can_reschedule": False,
    "maintenance_status": "ONGOING",
    "type": "UNSCHEDULED",
}


class Page(HTMLParser):
    """The cells of the table of a page, and the bars of its timeline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.bars: list[str] = []
        self.effects: list[str] = []
        self.notices: list[tuple[str, str]] = []
        self.names: list[str] = []
        self.place = ""
        self.open: list[str] = []
        self.links: list[str] = []
        self.title = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        classes = (values.get("class") or "").split()
        if "bar" in classes:
            self.bars.append(values["style"] or "")
            self.effects.append(classes[-1])
        if classes[:1] in (["only"], ["notice"]):
            self.notices.append((" ".join(classes), ""))
        if classes[:1] == ["name"]:
            self.names.append("")
        # It ends with the next paragraph, or with the bar of a name.
        if tag == "p" or classes[:1] in (["name"], ["track"]):
            self.place = classes[0] if classes else ""
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.place in ("only", "notice") and "p" in self.open:
            self.notices[-1] = (self.notices[-1][0], self.notices[-1][1] + data)
        if self.place == "name":
            self.names[-1] += data.strip()
        if "td" in self.open:
            self.rows[-1][-1] += data
        if self.open and self.open[-1] == "title":
            self.title += data


def report(emulator: EmulatorProcess, folder: Path, *arguments: str) -> tuple[int, str]:
    environment = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute, "GCP_ACCESS_TOKEN": "ya29.planted"}
    return run_playbook("maintenance_report", folder, *arguments, environment=environment)


def test_page_and_table(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        emulator.control.set("later", "instance/upcoming-maintenance", LATER)
        emulator.control.set("now", "instance/upcoming-maintenance", NOW)
        status, output = report(emulator, tmp_path, "-e", "gce_project=acme")
        requests = emulator.control.journal()
    assert status == 0, output
    assert [line.split() for line in printed_lines(output)][:3] == [
        ["STARTS", "ENDS", "INSTANCE", "ZONE", "POLICY", "STATE", "CAN", "START", "EARLIER", "REASONS"],
        *(
            line.split()
            for line in (
                "2026-01-01T02:00:00Z 2026-01-01T06:00:00Z now us-central1-a TERMINATE ONGOING no UNSCHEDULED",
                "2097-12-01T02:00:00Z 2097-12-01T06:00:00Z later europe-west1-b MIGRATE PENDING yes "
                "SCHEDULED PLANNED_UPDATE",
            )
        ),
    ]
    assert str(tmp_path / "maintenance_report.html") in output
    page = Page((tmp_path / "maintenance_report.html").read_text(encoding="utf-8"))
    assert page.title == "Host maintenance of acme"
    assert page.rows[1:] == [
        [
            "now",
            "us-central1-a",
            "Thu 01 Jan, 02:00",
            "Thu 01 Jan, 06:00",
            "Thu 01 Jan, 02:00",
            "ongoing",
            "stopped",
            "unscheduled",
        ],
        [
            "later",
            "europe-west1-b",
            "Sun 01 Dec, 02:00",
            "Sun 01 Dec, 06:00",
            "Sun 01 Dec, 04:00",
            "can be started earlier",
            "migrated",
            "scheduled, planned update",
        ],
    ]
    lefts = [float(left) for style in page.bars for left in re.findall(r"left: ([\d.]+)%", style)]
    assert len(lefts) == 2
    assert page.effects == ["stopped", "migrated"]
    assert page.notices == []
    assert printed_lines(output)[3:5] == ["Windows: 2 announced.", "Instances: 3."]
    assert 0 < lefts[0] < lefts[1] < 100
    assert page.links == []
    assert "WARNING" not in output
    # A single list request, whatever the size of the project.
    assert len(requests) == 1


def test_without_announced_maintenance(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = report(emulator, tmp_path, "-e", "gce_project=acme", "-e", "gce_report_file=report.html")
    assert status == 0, output
    assert printed_lines(output)[1:3] == ["Windows: none announced.", "Instances: 3."]
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.notices == [("notice calm", "No maintenance is announced for any of the 3 instances.")]


def test_reports_omissions_by_filters(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        emulator.control.set("later", "instance/upcoming-maintenance", LATER)
        emulator.control.set("now", "instance/upcoming-maintenance", NOW)
        status, output = report(emulator, tmp_path, "-e", "gce_project=acme", "-e", "gce_within=1h")
        assert status == 0, output
        assert printed_lines(output)[2:4] == [
            "Windows: 1 of 2 announced, only those that start within 1h. The next one starts at 2097-12-01T02:00:00Z.",
            "Instances: 3.",
        ]
        page = Page((tmp_path / "maintenance_report.html").read_text(encoding="utf-8"))
        assert page.notices == [("only", "Windows: 1 of 2 announced, only those that start within 1h.")]
        assert [row[0] for row in page.rows[1:]] == ["now"]

        arguments = ["-e", "gce_project=acme", "-e", "gce_within=1h", "-e", '{"gce_filter": "labels.env = prod"}']
        status, output = report(emulator, tmp_path, *arguments)
    assert status == 0, output
    assert printed_lines(output)[1:3] == [
        "Windows: 0 of 1 announced, only those that start within 1h. The next one starts at 2097-12-01T02:00:00Z.",
        "Instances: 1, only those that match labels.env = prod.",
    ]
    text = (tmp_path / "maintenance_report.html").read_text(encoding="utf-8")
    assert "No maintenance is announced" not in text + output
    assert Page(text).notices == [
        (
            "only",
            "Windows: 0 of 1 announced, only those that start within 1h. Instances: 1, only those that match "
            "labels.env = prod.",
        ),
        ("notice", "No maintenance starts within 1h. Windows that start later: 1, the first one on Sun 01 Dec, 02:00."),
    ]


def test_a_filter_that_matches_nothing_is_a_warning(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = report(emulator, tmp_path, "-e", "gce_project=acme", "-e", "gce_filter=labels.env=prdo")
    assert status == 0, output
    assert printed_lines(output)[1:3] == [
        "Windows: none announced.",
        "Instances: none, only those that match labels.env=prdo.",
    ]
    page = Page((tmp_path / "maintenance_report.html").read_text(encoding="utf-8"))
    assert page.notices[-1] == ("notice warning", "No instance matches the filter.")


def test_an_incomplete_page_has_a_warning_and_escapes_text(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        emulator.control.fault("unreachable", face="compute")
        status, output = report(
            emulator, tmp_path, "-e", "gce_project=acme", "-e", '{"gce_report_title": "Mine & <yours>"}'
        )
    assert status == 0, output
    text = (tmp_path / "maintenance_report.html").read_text(encoding="utf-8")
    kind, words = Page(text).notices[0]
    assert kind == "notice warning"
    assert words.startswith("This report is incomplete. The API could not reach zones/")
    # No window is known, but the result is incomplete.
    assert "calm" not in [kind for kind, _words in Page(text).notices]
    assert "This report is incomplete. The API could not reach zones/" in output
    assert "zones/us-central1-a" in text
    assert "<yours>" not in text
    assert Page(text).title == "Mine & <yours>"


@pytest.fixture(scope="module")
def template(collections_path: Path) -> Iterator[TemplateProcess]:
    with TemplateProcess(collections_path) as process:
        yield process


@pytest.mark.parametrize(
    "end, axis",
    [
        ("2026-11-22T01:00:00Z", ["Sun 22 Nov", "06:00", "12:00", "18:00", "now"]),
        ("2026-11-26T00:00:00Z", ["Mon 23 Nov", "Tue 24 Nov", "Wed 25 Nov", "now"]),
        ("2026-12-31T00:00:00Z", ["Mon 30 Nov", "Mon 07 Dec", "Mon 14 Dec", "Mon 21 Dec", "Mon 28 Dec", "now"]),
        ("2027-11-21T00:00:00Z", ["Mon 18 Jan", "Mon 15 Mar"]),
        ("2097-11-21T00:00:00Z", []),
    ],
)
def test_a_timeline_of_any_length_has_some_dates(template: TemplateProcess, end: str, axis: list[str]) -> None:
    window: dict[str, Any] = {
        "name": "later",
        "zone": "europe-west1-b",
        "on_host_maintenance": None,
        "window_start_time": "2026-11-22T00:00:00Z",
        "window_end_time": end,
        "latest_window_start_time": None,
        "status": "PENDING",
        "type": "UNKNOWN_TYPE",
        "can_reschedule": None,
        "reasons": [],
    }
    text = template(
        "lookup('ansible.builtin.template', path)",
        path=str(CHECKOUT / "playbooks" / "templates" / "maintenance_report.html.j2"),
        gce_report_heading="Host maintenance",
        gce_report_time="2026-11-21T20:00:00Z",
        gce_report_unreachables=[],
        gce_report_counts={"windows": 2, "instances": 2},
        gce_report_only={"filter": "", "within": ""},
        gce_report_next=None,
        gce_report_windows=[window, {**window, "name": "some time", "window_start_time": None}],
    )
    shown = re.findall(r"<span[^>]*>([^<]*)</span>", text[text.index('class="axis"') : text.index('class="grid"')])
    assert shown[: len(axis)] == axis
    assert 3 <= len(shown) <= 16
    page = Page(text)
    assert len(page.bars) == 1
    assert [row[0] for row in page.rows[1:]] == ["later", "some time"]
    assert page.rows[2][2] == "unknown"


def test_a_long_name_keeps_its_end_and_its_zone(template: TemplateProcess) -> None:
    names = [f"gke-production-cluster-default-pool-europe-5f3c9a1b-{end}" for end in ("x7k2", "q9ab")]
    window: dict[str, Any] = {
        "zone": "northamerica-northeast1-a",
        "on_host_maintenance": "MIGRATE",
        "window_start_time": "2026-11-22T00:00:00Z",
        "window_end_time": "2026-11-22T04:00:00Z",
        "latest_window_start_time": None,
        "status": "PENDING",
        "type": "SCHEDULED",
        "can_reschedule": None,
        "reasons": [],
    }
    text = template(
        "lookup('ansible.builtin.template', path)",
        path=str(CHECKOUT / "playbooks" / "templates" / "maintenance_report.html.j2"),
        gce_report_heading="Host maintenance",
        gce_report_time="2026-11-21T20:00:00Z",
        gce_report_unreachables=[],
        gce_report_counts={"windows": 2, "instances": 2},
        gce_report_only={"filter": "", "within": ""},
        gce_report_next=None,
        gce_report_windows=[{**window, "name": name} for name in names],
    )
    # The end of a name is a separate element that is not cut off.
    assert re.findall(r'<span class="tail">([^<]*)</span>', text) == [name[-12:] for name in names]
    assert Page(text).names == [f"{name}northamerica-northeast1-a" for name in names]
