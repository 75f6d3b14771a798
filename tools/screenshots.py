# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the screenshots of the documentation: `PYTHONPATH=tests python -m tools.screenshots`.

The playbook fleet_status reports an emulated fleet, and Chromium shows its page. With --all, it takes the
views that are worth a look after a change of the page's template.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.emulator import EmulatorProcess
from support.playbook import run_playbook
from tools.browser import BrowserFailed, View, tab

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "docsite" / "rst" / "images"
PROJECT = "acme"
STATUS = "instance/guest-attributes/maintenance-handler/status"
COLLAPSED = "document.querySelectorAll('.no-status, .in-service, .windows').forEach((group) => { group.open = false; })"
TO_WINDOWS = "document.querySelector('.windows').scrollIntoView()"

DOCUMENTED = {
    "fleet_status": View(1280, 1000, scale=1.5, script=COLLAPSED),
    "fleet_status_phone": View(390, 844, dark=True),
    "fleet_status_timeline": View(1280, 500, scale=1.5, script=TO_WINDOWS),
}
WHOLE = 20000
OTHER = {
    "desk_light": View(1280, WHOLE, scale=1, format="png"),
    "desk_dark": View(1280, WHOLE, dark=True, scale=1, format="png"),
    "phone_light": View(390, 2400, scale=1, format="png"),
    "phone_dark": View(390, 2400, dark=True, scale=1, format="png"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Take the screenshots of the documentation.")
    parser.add_argument("--all", type=Path, metavar="DIRECTORY", help="take other views, and write them there")
    parser.add_argument("--instances", type=int, default=24, metavar="N", help="of the fleet, default: %(default)s")
    options = parser.parse_args()
    views, folder = (OTHER, options.all) if options.all else (DOCUMENTED, IMAGES)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gce-guest-screenshots-") as name:
        page = reported(Path(name), options.instances)
        try:
            images = asyncio.run(screenshots(page.as_uri(), views))
        except BrowserFailed as exc:
            print(f"Cannot take screenshots: {exc}", file=sys.stderr)
            return 1
    for name, image in images.items():
        file = folder / f"{name}.{views[name].format}"
        file.write_bytes(image)
        print(f"{file}: {len(image) / 1000:.0f} kB")
    return 0


async def screenshots(page: str, views: dict[str, View]) -> dict[str, bytes]:
    async with tab() as browser:
        return {name: await browser.screenshot(page, view) for name, view in views.items()}


def reported(folder: Path, instances: int) -> Path:
    """Report an emulated fleet. Returns the path of the page."""
    fleet = [instance(number) for number in range(instances)]
    with EmulatorProcess({"project": PROJECT, "instances": fleet}) as emulator:
        # After the start of the VMs, also without the fraction of the second.
        now = datetime.now(UTC) + timedelta(seconds=1)
        for number, described in enumerate(fleet):
            if status := handler_status(number, now):
                emulator.control.set(described["name"], STATUS, json.dumps(status))
            if window := announced(number, now):
                emulator.control.set(described["name"], "instance/upcoming-maintenance", window)
        environment = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute, "GCP_ACCESS_TOKEN": "ya29.planted"}
        arguments = ("-e", f"gce_project={PROJECT}", "-e", "gce_requests_per_minute=0")
        failed, output = run_playbook("fleet_status", folder, *arguments, environment=environment)
    if failed:
        raise SystemExit(output)
    return folder / "fleet_status.html"


def instance(number: int) -> dict[str, Any]:
    role = ("web", "web", "db", "cache", "web", "queue", "web", "train")[number % 8]
    described: dict[str, Any] = {
        "name": f"{role}-{number // 8 + 1}{'abcdefgh'[number % 8]}",
        "zone": ("us-central1-a", "us-central1-b", "europe-west1-c")[number % 3],
        "machine_type": "a3-highgpu-8g" if role == "train" else "c3-standard-8",
        "attributes": {} if number % 97 == 12 else {"enable-guest-attributes": "TRUE"},
    }
    if role == "train":
        described["scheduling"] = {"on_host_maintenance": "TERMINATE"}
    return described


def handler_status(number: int, now: datetime) -> dict[str, Any] | None:
    """The report of a handler, or None if the instance has none."""
    incident = {
        "id": "20261120-031200-migrate",
        "event": "migrate",
        "rehearsal": False,
        "opened_at": "2026-11-20T03:12:00Z",
        "ended_at": "2026-11-20T03:13:00Z",
        "outcome": "ok",
    }
    status: dict[str, Any] = {"state": "idle", "at": at(now), "every": 3600, "version": "0.2.0"}
    if number % 97 in (12, 20):
        return None
    if number % 97 == 3:
        failed = {**incident, "outcome": "restore failed"}
        return {**status, "state": "not restored", "not_restored": ["Enable the cache"], "last_incident": failed}
    if number % 97 == 9:
        return {**status, "at": at(now - timedelta(days=2)), "version": "0.1.0"}
    if number % 97 == 7:
        deadlines = {"terminate": at(now + timedelta(minutes=40))}
        told = {"events": ["terminate"], "deadlines": deadlines}
        return {**status, "state": "draining", **told, "held": ["Save a checkpoint"]}
    if number % 97 == 16:
        order = {
            "by": "alice",
            "reason": "kernel update",
            "until": at(now + timedelta(hours=2)),
            "as_event": "terminate",
        }
        return {**status, "state": "drained", "events": ["manual"], "held": ["Leave the load balancer"], "order": order}
    if number % 97 == 18:
        return {**status, "state": "announced", "events": ["window"]}
    return {**status, "last_incident": incident} if number % 4 == 0 else status


def announced(number: int, now: datetime) -> dict[str, Any] | None:
    """An announced window of maintenance, or None."""
    if number % 97 not in (7, 18, 2, 5, 10, 14, 15, 23):
        return None
    is_ongoing = number % 97 == 7
    start = now - timedelta(minutes=20) if is_ongoing else now + timedelta(hours=7 * (number % 97))
    return {
        "window_start_time": written(start),
        "window_end_time": written(start + timedelta(hours=4)),
        "latest_window_start_time": written(start + timedelta(hours=2)),
        "can_reschedule": not is_ongoing and number % 2 == 0,
        "maintenance_status": "ONGOING" if is_ongoing else "PENDING",
        "type": "SCHEDULED",
        "maintenance_reasons": ["PLANNED_UPDATE"],
    }


def at(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00")


if __name__ == "__main__":
    sys.exit(main())
