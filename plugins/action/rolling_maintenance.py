# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook rolling_maintenance does by more than YAML: its plan, its steps with their progress, its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.gce.guest.plugins.module_utils._module.numbers import NumberError, check_numbers
from ansible_collections.gce.guest.plugins.plugin_utils._handler_verdict import MARK
from ansible_collections.gce.guest.plugins.plugin_utils._heartbeat import heartbeat
from ansible_collections.gce.guest.plugins.plugin_utils._opening_hours import BadHours
from ansible_collections.gce.guest.plugins.plugin_utils._progress import DEFAULT_PAUSE
from ansible_collections.gce.guest.plugins.plugin_utils._rolling_hosts import BadPlan
from ansible_collections.gce.guest.plugins.plugin_utils._rolling_run import (
    PLAN,
    made_plan,
    plan_of,
    record_of,
    recorded,
    report,
)
from ansible_collections.gce.guest.plugins.plugin_utils._rolling_step import CONDITIONS, Place, Step, place_of

SPEC: dict[str, dict[str, Any]] = {
    "operation": {"type": "str", "choices": ["plan", "step", "end", "report"], "required": True},
    # plan
    "action": {"type": "str", "choices": ["maintenance", "reboot", "command", "none"], "default": "maintenance"},
    "hosts": {"type": "list", "elements": "str"},
    "named": {"type": "bool", "default": False},
    "windows": {"type": "list", "elements": "dict", "default": []},
    "history": {"type": "list", "elements": "dict", "default": []},
    "host_by": {"type": "str"},
    "order": {"type": "list", "elements": "str", "default": []},
    "canaries": {"type": "list", "elements": "str", "default": []},
    "serial": {"type": "list", "elements": "raw", "default": [1]},
    "hours": {"type": "list", "elements": "str", "default": []},
    "as_event": {"type": "str", "choices": ["migrate", "terminate", "preempt", "window", "stop"]},
    "minutes": {"type": "float"},
    "note": {"type": "str", "default": ""},
    "resume_within": {"type": "float", "default": 43200.0},
    # step
    "step": {"type": "str"},
    "module": {"type": "str"},
    "parameters": {"type": "dict", "default": {}},
    "until": {"type": "str", "choices": sorted(CONDITIONS)},
    "timeout": {"type": "float", "default": 0.0},
    "pause": {"type": "float", "default": 5.0},
    "own": {"type": "bool", "default": False},
    # step and end
    "record": {"type": "dict"},
    # end
    "result": {"type": "str", "choices": ["done", "not well"]},
    "why": {"type": "str", "default": ""},
    # report
    "max_fail_percentage": {"type": "float", "default": 0.0},
    # Options of the action group, which have no effect.
    "metadata_host": {"type": "str"},
    "retry_for": {"type": "float"},
    "request_timeout": {"type": "float"},
}


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """Runs one operation. All but steps run on the control node only."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _validation, options = self.validate_argument_spec(
            argument_spec=SPEC,
            required_if=[
                ("operation", "plan", ["hosts"]),
                ("operation", "step", ["step", "module"]),
                ("operation", "end", ["step", "result"]),
            ],
        )
        operations: dict[str, Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]] = {
            "plan": self._plan,
            "step": self._step,
            "end": self._end,
            "report": self._report,
        }
        try:
            check_numbers(options)
            return operations[options["operation"]](options, variables)
        except (BadPlan, BadHours, NumberError) as error:
            raise AnsibleActionFail(str(error)) from None

    def _plan(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        hosts, groups = variables["hostvars"], variables["groups"]
        return {
            "changed": False,
            **made_plan(options, hosts, groups, now=time.time(), is_preview=self._task.check_mode),
        }

    def _report(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        plan, hosts = variables["hostvars"]["localhost"][PLAN], variables["hostvars"]
        records = {turn["host"]: record_of(hosts[turn["host"]], plan) for turn in plan["turns"]}
        return {"changed": False, **report(plan, records, options["max_fail_percentage"], now=time.time())}

    def _end(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        plan = plan_of(variables)
        record = options["record"] or record_of(variables, plan)
        is_done, steps = options["result"] == "done", list(record["steps"])
        if not is_done and all(step["outcome"] == "ok" for step in steps):
            # A task of a file with health checks has failed, and is no step.
            steps.append(Step(options["step"], time.time()).ended(False, options["why"]))
        self._say(place_of(variables, plan), options["result"] if is_done else f"NOT WELL: {options['why']}")
        return recorded({**record, "steps": steps, "result": options["result"], "why": options["why"]}, changed=False)

    def _step(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        plan = plan_of(variables)
        record = options["record"] or record_of(variables, plan)
        place, step = place_of(variables, plan), Step(options["step"], time.time())
        self._say(place, step.name)
        with heartbeat(lambda text: self._say(place, text), lambda: step.shown, self._progress_pause(variables)):
            result = self._until(options, step, variables)
        ours = record["ours"]
        if options["own"]:
            ours, step.problem = _ownership(result)
        is_good = not result.get("failed") and not (options["own"] and step.problem)
        words = "" if is_good else step.problem or _words(result)
        facts = {
            name: value for name, value in (result.get("ansible_facts") or {}).items() if name.startswith("discov")
        }
        return recorded(
            {**record, "steps": [*record["steps"], step.ended(is_good, words)], "ours": ours},
            facts,
            changed=bool(result.get("changed")) and options["until"] is None,
            failed=not is_good,
            **({} if is_good else {"msg": f"{step.name}: {words}"}),
        )

    def _until(self, options: Mapping[str, Any], step: Step, variables: dict[str, Any]) -> dict[str, Any]:
        """The result of the module, which is run again until the condition is true or the time is over."""
        give_up_at = time.monotonic() + options["timeout"]
        while True:
            result = self._run_module(options["module"], options["parameters"], variables)
            if options["until"] is None:
                return result
            step.problem = CONDITIONS[options["until"]](result)
            if not step.problem:
                return {**result, "failed": False}
            if time.monotonic() >= give_up_at:
                return {**result, "failed": True}
            if result.get("unreachable"):
                self._reset_connection()
            time.sleep(max(0.0, min(options["pause"], give_up_at - time.monotonic())))

    def _run_module(self, name: str, parameters: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Run a module, with its action plugin if it has one. A VM that does not answer is a failure like others."""
        task = self._task.copy()
        task.action, task.args = name, dict(parameters)
        load = self._shared_loader_obj.action_loader.get
        parts = {
            "task": task,
            "connection": self._connection,
            "play_context": self._play_context,
            "loader": self._loader,
            "templar": self._templar,
            "shared_loader_obj": self._shared_loader_obj,
        }
        action = load(name, **parts) or load("ansible.legacy.normal", **parts)
        try:
            result: dict[str, Any] = action.run(task_vars=variables)
        except AnsibleConnectionFailure as error:
            return {"failed": True, "unreachable": True, "msg": f"the VM does not answer: {error}"}
        except AnsibleError as error:
            return {"failed": True, "msg": str(error)}
        # A failure of a command has no "failed" before Ansible has looked at it.
        return {**result, "failed": bool(result.get("failed") or result.get("rc") or result.get("unreachable"))}

    def _reset_connection(self) -> None:
        """Drop a connection that the VM's end has left half open."""
        with suppress(AnsibleError, AttributeError):
            self._connection.reset()

    def _progress_pause(self, variables: Mapping[str, Any]) -> float:
        try:
            return float(self._templar.template(variables.get("gce_progress", DEFAULT_PAUSE)))
        except (TypeError, ValueError):
            return DEFAULT_PAUSE

    def _say(self, place: Place, text: str) -> None:
        # Callbacks write to standard output, some of them JSON.
        Display().display(f"{time.strftime('%H:%M:%S')} {place}: {text}", stderr=True)


def _ownership(result: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a drain is that of a rolling maintenance, and the problem if it is somebody else's."""
    order = result.get("order")
    if not order:
        return False, ""
    if str(order["reason"]).startswith(MARK):
        return True, ""
    return False, f"{order['by']} has drained the VM meanwhile" + (f": {order['reason']}" if order["reason"] else "")


def _words(result: Mapping[str, Any]) -> str:
    """Why a module failed, in one line."""
    rows = [str(row["msg"]) for row in result.get("instances") or () if isinstance(row, dict) and row.get("failed")]
    texts = [*rows, result.get("msg"), result.get("stderr") or result.get("stdout")]
    found = [" ".join(str(text).split()) for text in texts if text]
    return ": ".join(dict.fromkeys(found))[:500] or "it failed without a message"
