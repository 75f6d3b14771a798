# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A unit of systemd, stopped with what requires it or would start it again."""

from __future__ import annotations

from recipes import health, systemd
from recipes.run import Run


def check(run: Run) -> None:
    health.checked(run["health"])
    unit = systemd.known(run["unit"])
    systemd.refuse_vital(systemd.companions(unit))
    systemd.refuse_without_permission(unit)


def drain(run: Run) -> None:
    unit = systemd.known(run["unit"])
    companions = systemd.companions(unit)
    systemd.refuse_vital(companions)
    if unit not in run.record:
        running = [one for one in companions if systemd.is_active(one)]
        if not running:
            run.say(f"{unit} is not running: nothing to do")
            return
        run.record.note(unit, running)
    stopped = run.record.get(unit)
    systemd.stop_and_wait(stopped, run)
    run.say(f"stopped: {', '.join(stopped)}")


def restore(run: Run) -> None:
    unit = systemd.known(run["unit"])
    stopped = run.record.get(unit)
    if stopped is None:
        run.say(f"nothing to restore: this recipe has not stopped {unit}")
        return
    systemd.start_and_wait(stopped, run)
    health.wait_until_healthy(run, run["health"])
    run.record.forget(unit)
    run.say(f"running: {', '.join(stopped)}")


def state(run: Run) -> None:
    unit = systemd.known(run["unit"])
    now = systemd.show(unit, "ActiveState", "SubState")
    ours = ", stopped by this recipe" if unit in run.record else ""
    run.say(f"{unit} is {now['ActiveState']} ({now['SubState']}){ours}")
