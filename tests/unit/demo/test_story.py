# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's timelines."""

from __future__ import annotations

import dataclasses

from demo.story import HANDLER, PLATFORM, rows


def test_everything_is_told_in_order_with_the_notice_that_was_left(good):
    told = [(round(row.at, 1), row.who, row.what, row.left and round(row.left, 1)) for row in rows(good)]
    assert told == [
        (0.0, PLATFORM, "says TERMINATE_ON_HOST_MAINTENANCE", None),
        (0.0, "drain", "Leave", 12.0),
        (0.0, HANDLER, "hears of it", 12.0),
        (6.0, "drain", "Save", 6.0),
        (7.0, HANDLER, "drained", 5.0),
        (12.0, PLATFORM, "stops the VM, and the handler dies", None),
        (16.0, PLATFORM, "starts the VM, its memory is empty", None),
        (16.2, "restore", "undo: Save", None),
        (17.2, "restore", "undo: Leave", None),
        (18.2, HANDLER, "back in service", None),
    ]


def test_a_vm_that_stays_up_is_moved_and_hears_that_it_is_over(good):
    stays = dataclasses.replace(good, fate=dataclasses.replace(good.fate, reboots=False), stopped_at=None)
    told = [(round(row.at, 1), row.what) for row in rows(stays) if row.who in (PLATFORM, HANDLER)]
    assert (12.0, "moves the VM to another host") in told
    assert (16.1, "hears that it is over") in told


def test_a_signal_whose_value_says_little_is_named(good, spoilt):
    past = [{**good.incidents[0]["past"][0], "value": "TRUE"}]
    fate = dataclasses.replace(good.fate, signal="instance/preempted")
    row = rows(spoilt(fate=fate, incidents=[{**good.incidents[0], "past": past}]))[0]
    assert row.what == "says preempted TRUE"


def test_a_step_that_failed_says_so(good, spoilt):
    steps = [{**good.incidents[0]["steps"][0], "outcome": "timeout", "detail": "after 2 s"}]
    assert [row.remark for row in rows(spoilt(steps=steps)) if row.who == "drain"] == ["timeout (after 2 s)"]


def test_a_vm_that_heard_nothing_has_a_timeline_too(spoilt):
    told = [row.what for row in rows(spoilt(incidents=[], notes=(), raised_at=None))]
    assert told == ["stops the VM, and the handler dies", "starts the VM, its memory is empty"]
