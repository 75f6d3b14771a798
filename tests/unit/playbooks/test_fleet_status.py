# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the playbook fleet_status on an emulated project."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.plugin_utils._fleet_report import page_variables

from support.emulator import EmulatorProcess
from support.playbook import CHECKOUT, printed_lines, run_playbook
from support.templating import TemplateProcess

ENABLED = {"enable-guest-attributes": "TRUE"}
FLEET = {
    "project": "acme",
    "instances": [
        {
            "name": "later",
            "zone": "europe-west1-b",
            "machine_type": "c3-standard-8",
            "labels": {"env": "prod"},
            "attributes": ENABLED,
        },
        {
            "name": "now",
            "machine_type": "a3-highgpu-8g",
            "scheduling": {"on_host_maintenance": "TERMINATE"},
            "attributes": ENABLED,
        },
        {"name": "quiet"},
    ],
}
STATUS = "instance/guest-attributes/maintenance-handler/status"
MARKUP = "</script><script>alert(1)</script>"
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
    """The cells of the tables of a page, its groups, and the bars of its timeline."""

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
        # The groups by class, and whether they are open.
        self.groups: dict[str, bool] = {}
        self.title = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag == "details" and (values.get("class") or "").startswith("group "):
            self.groups[str(values["class"]).removeprefix("group ")] = "open" in values
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
    return run_playbook("fleet_status", folder, *arguments, environment=environment)


def handler(emulator: EmulatorProcess, name: str, state: str, **changes: Any) -> str:
    """Write the report of a handler, a minute ahead of the VM's start. Returns its time, to the minute."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    status = {"state": state, "at": at, "every": 3600, "version": "0.1.0", **changes}
    emulator.control.set(name, STATUS, json.dumps(status))
    return at[:16].replace("T", " ")


def test_page_table_and_json(tmp_path: Path) -> None:
    incident = {
        "id": "one",
        "event": "migrate",
        "rehearsal": False,
        "opened_at": "2026-11-20T03:12:00Z",
        "ended_at": "2026-11-20T03:13:00Z",
        "outcome": "ok",
    }
    with EmulatorProcess(FLEET) as emulator:
        emulator.control.set("later", "instance/upcoming-maintenance", LATER)
        emulator.control.set("now", "instance/upcoming-maintenance", NOW)
        idle = handler(emulator, "later", "idle", last_incident=incident)
        drained = handler(emulator, "now", "drained", events=["terminate"], held=[MARKUP])
        status, output = report(emulator, tmp_path, "-e", "gce_project=acme", "-e", "gce_json_file=fleet.json")
        requests = emulator.control.journal()
    assert status == 0, output
    assert "WARNING" not in output
    # Two lists, and a request for each VM that may have a handler.
    assert len(requests) == 4

    window = "2026-01-01 02:00, ongoing"
    now = ["now", "us-central1-a", "drained", "out", drained, "0.1.0", "terminate, announced", "", window, ""]
    quiet = ["quiet", "us-central1-a", "guest attributes disabled", "unknown", "", "", "migrate", "60 s", "", "", ""]
    later = ["later", "europe-west1-b", "idle", "in", idle, "0.1.0", "window, announced", notice_of("later", output)]
    past = "2026-11-20 03:12 migrate, ok"
    expected = [[*now, f"terminate; drained: {MARKUP}"], quiet, [*later, "2097-12-01 02:00", past, ""]]
    lines = printed_lines(output)
    assert re.split(r"  +", lines[0])[:4] == ["INSTANCE", "ZONE", "STATE", "SERVICE"]
    assert [re.split(r"  +", line) for line in lines[1:4]] == [[cell or "-" for cell in row] for row in expected]
    assert lines[4:8] == [
        "Instances: 3.",
        "Service: 1 in, 1 out, 1 unknown.",
        "States: 1 drained, 1 guest attributes disabled, 1 idle.",
        "Windows: 2 announced.",
    ]

    text = (tmp_path / "fleet_status.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.title == "Fleet status of acme"
    assert page.links == []
    assert page.notices == []
    assert text.count("<script>") == text.count("</script>") == 1
    assert page.groups == {"out-of-service": True, "no-status": True, "in-service": True}
    assert [row for row in page.rows if len(row) == 11] == expected
    windows = [row for row in page.rows if len(row) == 8]
    assert [row[0] for row in windows] == ["now", "later"]
    assert windows[0][2:5] == ["Thu 01 Jan, 02:00", "Thu 01 Jan, 06:00", "Thu 01 Jan, 02:00"]
    assert windows[0][5:] == ["ongoing", "stopped", "unscheduled"]
    assert windows[1][5:] == ["can be started earlier", "migrated", "scheduled, planned update"]
    lefts = [float(left) for style in page.bars for left in re.findall(r"left: ([\d.]+)%", style)]
    assert page.effects == ["stopped", "migrated"]
    assert 0 < lefts[0] < lefts[1] < 100

    document = json.loads((tmp_path / "fleet.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in document["instances"]] == ["now", "quiet", "later"]
    assert document["instances"][0]["handler"]["held"] == [MARKUP]
    assert (document["project"], document["counts"]["instances"], document["complete"]) == ("acme", 3, True)
    assert [window["name"] for window in document["windows"]] == ["now", "later"]


def notice_of(name: str, output: str) -> str:
    """The notice of a window in the table, which depends on the date."""
    [line] = [line for line in printed_lines(output) if line.startswith(name)]
    return str(re.findall(r"\d+ d", line)[0])


def test_a_small_table_has_the_most_urgent_rows(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        handler(emulator, "later", "not restored", not_restored=["lb"])
        arguments = ["-e", "gce_project=acme", "-e", "gce_table_rows=1", "-e", "gce_report_file=page.html"]
        status, output = report(emulator, tmp_path, *arguments, "-e", '{"gce_report_title": "Mine & <yours>"}')
    assert status == 0, output
    lines = printed_lines(output)
    assert lines[1].startswith("later")
    assert lines[2:4] == ["Shown: 1 of 3 instances, those that need attention first.", "Instances: 3."]
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert Page(text).title == "Mine & <yours>"
    assert "<yours>" not in text
    assert not (tmp_path / "fleet.json").exists()


def test_says_which_instances_are_left_out(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = report(
            emulator, tmp_path, "-e", "gce_project=acme", "-e", '{"gce_filter": "labels.env = prod"}'
        )
        assert status == 0, output
        assert "Instances: 1, only those that match labels.env = prod." in printed_lines(output)
        page = Page((tmp_path / "fleet_status.html").read_text(encoding="utf-8"))
        assert page.notices == [("only", "Only instances that match labels.env = prod.")]

        status, output = report(emulator, tmp_path, "-e", "gce_project=acme", "-e", "gce_filter=labels.env=prdo")
    assert status == 0, output
    assert "Instances: none, only those that match labels.env=prdo." in printed_lines(output)
    page = Page((tmp_path / "fleet_status.html").read_text(encoding="utf-8"))
    assert page.notices[-1] == ("notice warning", "No instance matches the filter.")
    assert page.groups == {}


def test_an_incomplete_report_says_so(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        emulator.control.fault("unreachable", face="compute")
        emulator.control.fault("forbidden", face="compute", path="projects/acme/aggregated/operations")
        status, output = report(emulator, tmp_path, "-e", "gce_project=acme")
    assert status == 0, output
    first, second = Page((tmp_path / "fleet_status.html").read_text(encoding="utf-8")).notices[:2]
    assert first[0] == second[0] == "notice warning"
    assert first[1].startswith("This report is incomplete. The API could not reach zones/")
    assert "compute.globalOperations.list" in second[1]
    assert "This report is incomplete. The API could not reach zones/" in output
    assert "Past events are missing." in output


def test_check_mode_shows_the_table_and_writes_nothing(tmp_path: Path) -> None:
    with EmulatorProcess(FLEET) as emulator:
        status, output = report(
            emulator, tmp_path, "--check", "-e", "gce_project=acme", "-e", "gce_json_file=fleet.json"
        )
    assert status == 0, output
    assert "Instances: 3." in printed_lines(output)
    assert not list(tmp_path.glob("fleet*"))


def test_files_may_be_anywhere(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with EmulatorProcess(FLEET) as emulator:
        arguments = ["-e", f"gce_report_file={other}/page.html", "-e", f"gce_json_file={other}/fleet.json"]
        status, output = report(emulator, tmp_path, "-e", "gce_project=acme", *arguments)
    assert status == 0, output
    assert sorted(path.name for path in other.iterdir()) == ["fleet.json", "page.html"]


@pytest.fixture(scope="module")
def template(collections_path: Path) -> Iterator[TemplateProcess]:
    with TemplateProcess(collections_path) as process:
        yield process


def variables(windows: list[dict[str, Any]], groups: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The variables of the template."""
    instances = sum(len(group["rows"]) for group in groups or [])
    found = {
        "time": "2026-11-21T20:00:00Z",
        "unreachables": [],
        "denied": {},
        "windows": windows,
        "table": {"columns": ["INSTANCE", "STATE"], "groups": groups or []},
        "counts": {
            "windows": len(windows),
            "instances": instances,
            "in_service": instances,
            "out_of_service": 0,
            "unknown": 0,
            "groups": {"attention": 0},
        },
    }
    return page_variables(found, "Fleet status", "")


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
        path=str(CHECKOUT / "playbooks" / "templates" / "fleet_status.html.j2"),
        **variables([window, {**window, "name": "some time", "window_start_time": None}]),
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
        path=str(CHECKOUT / "playbooks" / "templates" / "fleet_status.html.j2"),
        **variables([{**window, "name": name} for name in names]),
    )
    # The end of a name is a separate element that is not cut off.
    assert re.findall(r'<span class="tail">([^<]*)</span>', text) == [name[-12:] for name in names]
    assert Page(text).names == [f"{name}northamerica-northeast1-a" for name in names]


def rendered(template: TemplateProcess, windows: list[dict[str, Any]], groups: list[dict[str, Any]]) -> Page:
    path = str(CHECKOUT / "playbooks" / "templates" / "fleet_status.html.j2")
    return Page(template("lookup('ansible.builtin.template', path)", path=path, **variables(windows, groups)))


def test_a_large_fleet_is_collapsed_but_for_what_is_urgent(template: TemplateProcess) -> None:
    groups = [
        {"name": "attention", "rows": [["web-1", "stale"]]},
        {"name": "in service", "rows": [[f"web-{number}", "idle"] for number in range(2, 52)]},
    ]
    page = rendered(template, [], groups)
    assert page.groups == {"attention": True, "in-service": False}
    assert [row for row in page.rows if row] == [["web-1", "stale"], *([f"web-{n}", "idle"] for n in range(2, 52))]
    assert rendered(template, [], [{**groups[1], "rows": groups[1]["rows"][:50]}]).groups == {"in-service": True}


def test_many_windows_are_cut_off_with_a_notice(template: TemplateProcess) -> None:
    window: dict[str, Any] = {
        "zone": "europe-west1-b",
        "on_host_maintenance": "MIGRATE",
        "window_start_time": "2026-11-22T00:00:00Z",
        "window_end_time": "2026-11-22T04:00:00Z",
        "latest_window_start_time": None,
        "status": "PENDING",
        "type": "SCHEDULED",
        "can_reschedule": None,
        "reasons": [],
    }
    page = rendered(template, [{**window, "name": f"web-{number}"} for number in range(101)], [])
    assert len(page.bars) == 100
    notices = [words for _kind, words in page.notices if "windows" in words]
    assert notices == ["These are the first 100 of 101 windows. The tables above have the others."]
