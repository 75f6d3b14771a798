# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's timelines."""

from __future__ import annotations

import dataclasses

from demo.timeline import HANDLER, PLATFORM, rows


def test_rows_are_in_chronological_order_with_the_notice_left(good):
    shown = [(round(row.at, 1), row.who, row.what, row.left and round(row.left, 1)) for row in rows(good)]
    assert shown == [
        (0.0, PLATFORM, "TERMINATE_ON_HOST_MAINTENANCE", None),
        (0.0, "drain", "Leave", 12.0),
        (0.0, HANDLER, "notices the event", 12.0),
        (6.0, "drain", "Save", 6.0),
        (7.0, HANDLER, "drained", 5.0),
        (12.0, PLATFORM, "stops the VM, killing the handler", None),
        (16.0, PLATFORM, "starts the VM with empty memory", None),
        (16.2, "restore", "Save", None),
        (17.2, "restore", "Leave", None),
        (18.2, HANDLER, "restored", None),
    ]


def test_a_vm_that_is_migrated_notices_the_end(good):
    stays = dataclasses.replace(good, case=dataclasses.replace(good.case, reboots=False), stopped_at=None)
    shown = [(round(row.at, 1), row.what) for row in rows(stays) if row.who in (PLATFORM, HANDLER)]
    assert (12.0, "moves the VM to another host") in shown
    assert (16.1, "notices the end") in shown


def test_a_value_that_needs_its_key_has_it(good, spoilt):
    past = [{**good.incidents[0]["past"][0], "value": "TRUE"}]
    case = dataclasses.replace(good.case, signal="instance/preempted")
    row = rows(spoilt(case=case, incidents=[{**good.incidents[0], "past": past}]))[0]
    assert row.what == "preempted TRUE"


def test_a_failed_step_has_a_remark(good, spoilt):
    steps = [{**good.incidents[0]["steps"][0], "outcome": "timeout", "detail": "after 2 s"}]
    assert [row.remark for row in rows(spoilt(steps=steps)) if row.who == "drain"] == ["timeout (after 2 s)"]


def test_a_vm_without_an_incident_has_a_timeline(spoilt):
    shown = [row.what for row in rows(spoilt(incidents=[], notes=(), raised_at=None))]
    assert shown == ["stops the VM, killing the handler", "starts the VM with empty memory"]
