#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_drain
short_description: Drain or restore a VM with its maintenance handler
version_added: 0.2.0
description:
  - Has the maintenance handler that runs on the VM drain the VM now, or restore it, and waits until that is done.
  - The handler is installed by the role
    R(gce.guest.maintenance_handler,ansible_collections.gce.guest.maintenance_handler_role).
  - The VM stays drained, over restarts of the handler and reboots as well, until it is restored or the time of O(for)
    is over.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.actiongroup_guest
  - gce.guest._guest
attributes:
  check_mode:
    support: full
    details:
      - Returns what would run in RV(would_run). For O(state=drained), this requires root, because only root and the
        handler's user can read the configuration of the handler.
  diff_mode:
    support: none
options:
  state:
    description:
      - V(drained) drains the tasks for V(manual), and those for the event in O(as_event). If the VM is already drained
        by hand as for this event, nothing is changed, and the module waits until the drain is finished.
      - V(restored) ends the drain by hand, and retries failed restores. It fails if a task stays drained, because it
        could not be restored, because an event is announced that keeps it drained, or because the VM is held with
        C(gce-maintenance-handler hold).
    type: str
    choices: [drained, restored]
    default: drained
  as_event:
    description:
      - The event whose tasks are drained, besides those for V(manual).
    type: str
    choices: [migrate, terminate, preempt, window, stop]
    default: terminate
  for:
    description:
      - Restore the VM after this time, such as V(90s), V(30m), V(2h) or V(1d).
      - By default, the VM stays drained until it is restored.
      - Used by O(state=drained) only. It does not change a drain that is already on.
    type: str
  reason:
    description:
      - Why the VM is drained, in one line of at most 200 characters. Everybody on the VM can read it.
    type: str
    default: ''
  timeout:
    description:
      - How many seconds to wait for the tasks. The handler continues after that.
      - If O(ignore:maintenance_handler_fleet_limit) is set, the handler waits this long for a slot, and does not drain
        if there is none.
    type: float
    default: 3600
  executable:
    description:
      - The program that the role has installed. It is elsewhere if O(ignore:maintenance_handler_prefix) is set.
    type: path
    default: /usr/local/bin/gce-maintenance-handler
notes:
  - Runs as root, or as a member of the group in O(ignore:maintenance_handler_operators).
  - The handler has its own connection to the metadata server. O(metadata_host), O(retry_for) and O(request_timeout) are
    accepted so that they can be set for the whole action group, and have no effect.
seealso:
  - ref: ansible_collections.gce.guest.docsite.guide_maintenance_handler.drain
    description: How a drain by hand and events of the platform work together.
  - module: gce.guest.maintenance_info
"""

EXAMPLES = r"""
- name: Drain the VM, for two hours at most
  gce.guest.maintenance_drain:
    state: drained
    for: 2h
    reason: new kernel
  become: true

- name: Restart it
  ansible.builtin.reboot:
  become: true

- name: Restore the VM
  gce.guest.maintenance_drain:
    state: restored
    timeout: 600
  become: true

- name: Prepare as for a live migration
  gce.guest.maintenance_drain:
    as_event: migrate
  become: true
  register: drain

- name: Show how long each task took
  ansible.builtin.debug:
    msg: "{{ item.task }}: {{ item.outcome }} in {{ item.seconds }} s"
  loop: "{{ drain.steps }}"
  loop_control:
    label: "{{ item.task }}"
"""

RETURN = r"""
steps:
  description:
    - The steps of this drain or restore, in the order of their start. With O(state=drained), the drains of tasks that
      are not restored since, also if an event has drained them before; with O(state=restored), the restores that had
      not ended before.
    - Also returned if a task failed.
  returned: success, unless in check mode
  type: list
  elements: dict
  contains:
    task:
      description: The name of the task.
      type: str
      returned: success
      sample: Leave the load balancer
    phase:
      description: V(drain) or V(restore).
      type: str
      returned: success
      sample: drain
    outcome:
      description: V(ok), V(failed), V(timeout), V(not started), V(cancelled) or V(interrupted).
      type: str
      returned: success
      sample: ok
    started_at:
      description: When it started, as RFC 3339 in UTC.
      type: str
      returned: success
      sample: "2026-12-01T02:00:00Z"
    seconds:
      description: How long it took. V(null) while it is running.
      type: float
      returned: success
      sample: 1.5
    detail:
      description: Why it failed.
      type: str
      returned: success
      sample: exit status 6
    output:
      description: The last line of output of a failed step. Empty unless the module runs as root.
      type: str
      returned: success
      sample: no route to host
order:
  description: The drain by hand. V(null) if the VM is not drained by hand, or not any more.
  returned: success, unless in check mode
  type: dict
  contains:
    by:
      description: The user who has ordered it.
      type: str
      returned: success
      sample: alice
    as_event:
      description: The event whose tasks are drained.
      type: str
      returned: success
      sample: terminate
    reason:
      description: Why. Empty if unknown.
      type: str
      returned: success
      sample: new kernel
    since:
      description: When it was ordered, as RFC 3339 in UTC.
      type: str
      returned: success
      sample: "2026-12-01T02:00:00Z"
    until:
      description: When it ends by itself. V(null) if it does not.
      type: str
      returned: success
      sample: "2026-12-01T04:00:00Z"
incident:
  description: The ID of the incident in the history of the handler. V(null) if there is none.
  returned: success, unless in check mode
  type: str
  sample: 19ac4c5f2d1-manual
would_run:
  description: The names of the tasks that would be drained or restored, in order of stages for a drain.
  returned: in check mode
  type: list
  elements: str
  sample: [Leave the load balancer]
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import ArgumentSpec, failing
from ansible_collections.gce.guest.plugins.module_utils._module.guest import GUEST_ARGSPEC
from ansible_collections.gce.guest.plugins.module_utils._vm.drains import Step, standing_drains, unsuccessful
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import format_time

DRAINED = "drained"
# Seconds for the handler to say that it has stopped waiting for a slot.
GIVES_UP_WITHIN = 5.0
EVENTS = ["migrate", "terminate", "preempt", "window", "stop"]
ARGSPEC: dict[str, Mapping[str, Any]] = {
    "state": {"type": "str", "choices": [DRAINED, "restored"], "default": DRAINED},
    "as_event": {"type": "str", "choices": EVENTS, "default": "terminate"},
    "for": {"type": "str"},
    "reason": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 3600.0},
    "executable": {"type": "path", "default": "/usr/local/bin/gce-maintenance-handler"},
}


class HandlerError(Exception):
    """The handler did not do what was asked of it. `result` is what to return nevertheless."""

    def __init__(self, text: str, **result: Any) -> None:
        super().__init__(text)
        self.result = result


class Handler:
    """The handler's command line."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._executable = module.params["executable"]
        if not os.path.exists(self._executable):
            raise HandlerError(
                f"There is no maintenance handler on this VM: {self._executable} does not exist. Install it with the "
                "role gce.guest.maintenance_handler."
            )

    def status(self) -> dict[str, Any]:
        """The status of the running handler."""
        # Only root can read the output of tasks.
        for further in (["--output"], []):
            _unused, out, err = self.run("status", "--json", *further)
            try:
                status: dict[str, Any] = json.loads(out)
                break
            except ValueError:
                continue
        else:
            raise HandlerError(f"The maintenance handler does not show its status: {said(out, err)}")
        if not status["running"]:
            raise HandlerError(
                "The maintenance handler is not running: start gce-maintenance-handler.service. "
                f"Its status: {'; '.join(status['problems'])}."
            )
        return status

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command. Returns its exit status, standard output and standard error."""
        code, out, err = self._module.run_command([self._executable, *arguments], errors="backslashreplace")
        return int(code), str(out), str(err)


def main() -> None:
    module = ArgumentSpec(ARGSPEC).update(GUEST_ARGSPEC).create_module()
    with failing(module, HandlerError):
        handler = Handler(module)
        act = drain if module.params["state"] == DRAINED else restore
        result = act(module, handler, handler.status())
    module.exit_json(**result)


def drain(module: AnsibleModule, handler: Handler, status: Mapping[str, Any]) -> dict[str, Any]:
    as_event, timeout = module.params["as_event"], module.params["timeout"]
    order = order_of(status)
    if order is None and module.check_mode:
        code, out, err = handler.run("drain", "--dry-run", "--json", f"--as={as_event}")
        if code:
            raise HandlerError(f"What would be drained is not known: {said(out, err)}")
        return {"changed": True, "would_run": [one["task"] for one in json.loads(out)]}
    is_changed = False
    if order is None:
        arguments = [f"--as={as_event}", f"--reason={module.params['reason']}"]
        arguments += [f"--for={module.params['for']}"] if module.params["for"] is not None else []
        # How long to wait for a slot of the fleet limit.
        arguments.append(f"--timeout={timeout:g}")
        code, out, err = handler.run("drain", *arguments)
        is_changed = code == 0
        # Someone else may have been faster.
        status = handler.status()
        order = order_of(status)
        if order is None:
            reason = given_up(status) if is_changed else ""
            raise HandlerError(f"The VM was not drained: {reason or said(out, err)}", changed=is_changed and not reason)
    if order["as_event"] != as_event:
        raise HandlerError(
            f"The VM is already drained by {order['by']}, as for {order['as_event']} and not for {as_event}: restore "
            "it first.",
            changed=is_changed,
        )
    if module.check_mode:
        return {"changed": False, "would_run": []}
    limited = (handler.status()["incident"] or {}).get("slot")
    code, out, err = handler.run(
        "wait", "--until=settled", f"--timeout={timeout + (GIVES_UP_WITHIN if limited else 0):g}"
    )
    status = handler.status()
    incident = status["incident"]
    result = {"changed": is_changed, **document(status, incident, standing_drains(steps_of(incident)))}
    if code:
        raise HandlerError(f"The drain has not ended within {timeout:g} s, and goes on: {said(out, err)}", **result)
    reason = given_up(status) if result["order"] is None else ""
    if reason:
        raise HandlerError(f"The VM was not drained within {timeout:g} s: {reason}.", **{**result, "changed": False})
    if result["order"] is None:
        raise HandlerError("The drain was ended by someone else in the meantime.", **result)
    failed = failures(result["steps"])
    if failed:
        raise HandlerError(f"The VM is drained, but these tasks failed: {'; '.join(failed)}.", **result)
    return result


def restore(module: AnsibleModule, handler: Handler, status: Mapping[str, Any]) -> dict[str, Any]:
    incident = status["incident"] or {}
    order, held = order_of(status), incident.get("held", [])
    is_changed = order is not None or bool(incident.get("not_restored"))
    if module.check_mode:
        return {"changed": is_changed, "would_run": held if is_changed else []}
    if not held and order is None:
        return {"changed": False, **document(status, None, [])}
    before = {number(step) for step in steps_of(incident) if step["outcome"]}
    code, out, err = handler.run("restore", "--wait", f"--timeout={module.params['timeout']:g}")
    status = handler.status()
    known = [one for one in (status["incident"], status.get("last_incident")) if one and one["id"] == incident["id"]]
    shown = known[0] if known else None
    restores = [step for step in steps_of(shown) if step["phase"] == "restore" and number(step) not in before]
    result = {"changed": is_changed, **document(status, shown, restores)}
    failed = failures(result["steps"])
    if code and (failed or still_held(status)):
        reasons = [*failed, said(out.splitlines()[-1] if out else "", err)]
        raise HandlerError(f"The VM is not restored: {'; '.join(reasons)}", **result)
    return result


def order_of(status: Mapping[str, Any]) -> dict[str, Any] | None:
    """The drain by hand, if there is one."""
    for signal in (status["incident"] or {}).get("signals", ()):
        order = signal.get("order")
        if order:
            until = None if order["until"] is None else format_time(order["until"])
            return {**order, "since": format_time(signal["noticed_at"]), "until": until}
    return None


def given_up(status: Mapping[str, Any]) -> str:
    """Why the last drain by hand got no slot of the fleet limit; empty if it did not need one, or got one."""
    incident = status["incident"] or status.get("last_incident") or {}
    entries = (incident.get("slot") or {}).get("entries", ())
    return entries[-1]["detail"] if entries and entries[-1]["what"] == "gives up, without a slot" else ""


def still_held(status: Mapping[str, Any]) -> list[str]:
    """The tasks that are drained."""
    return list((status["incident"] or {}).get("held", ()))


def steps_of(incident: Mapping[str, Any] | None) -> list[Step]:
    """The steps of an incident, in the order of their start."""
    return list((incident or {}).get("steps", ()))


def number(step: Step) -> float:
    """The number of a step in its incident. Earlier versions of the handler have none."""
    return float(step.get("number", step["started_at"]))


def document(status: Mapping[str, Any], incident: Mapping[str, Any] | None, steps: list[Step]) -> dict[str, Any]:
    """What the module returns of an incident and these steps of it."""
    shown = [
        {
            "task": step["task"],
            "phase": step["phase"],
            "outcome": step["outcome"],
            "started_at": format_time(step["started_at"]),
            "seconds": step["seconds"],
            "detail": step["detail"],
            "output": step.get("output", ""),
        }
        for step in steps
    ]
    return {"order": order_of(status), "incident": incident["id"] if incident else None, "steps": shown}


def failures(steps: list[dict[str, Any]]) -> list[str]:
    """Why tasks failed in their last step."""
    return [
        f"{step['task']}: {': '.join(filter(None, (step['outcome'], step['detail'], step['output'])))}"
        for step in unsuccessful(steps)
    ]


def said(out: str, err: str) -> str:
    """What a command has printed, on one line."""
    text = " ".join((err or out).split())
    return text.replace("gce-maintenance-handler: ", "", 1) or "it printed nothing"


if __name__ == "__main__":
    main()
