# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of instances about power: stop, start, reset, delete; and the output of serial ports."""

from __future__ import annotations

import re
from typing import Any

from ..scenarios import power, runs
from ..state import errors
from ..state.booleans import is_true_parameter
from ..state.instance import Instance
from ..state.serial_console import PORTS
from .calls import INSTANCE, Calls
from .operations import OperationError, Work
from .request import Answer, ApiRequest, Routes
from .resources import SERVICE_URL, instance_path


class PowerMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def routes(self) -> Routes:
        return [
            ("POST", INSTANCE + "/stop", self.stop),
            ("POST", INSTANCE + "/start", self.start),
            ("POST", INSTANCE + "/reset", self.reset),
            ("DELETE", INSTANCE, self.delete),
            ("GET", INSTANCE + "/serialPort", self.get_serial_port_output),
        ]

    async def stop(self, request: ApiRequest) -> Answer:
        """Succeeds also for a VM that is stopped or being stopped."""
        instance = self._calls.instance_of(request)
        graceful = _is_graceful(request)

        async def work() -> OperationError | None:
            if instance.is_up:
                await power.stop(instance, graceful=graceful).done
            else:
                # The platform no longer boots it after an outage.
                runs.end_runs(instance)
            return None

        return self._start(request, instance, "stop", work)

    async def start(self, request: ApiRequest) -> Answer:
        """Succeeds also for a running VM."""
        instance = self._calls.instance_of(request)

        async def work() -> OperationError | None:
            if not instance.is_up:
                runs.end_runs(instance)
                instance.start()
            return None

        is_ready = instance.status in ("RUNNING", "TERMINATED")
        return self._start(request, instance, "start", work, is_ready=is_ready)

    async def reset(self, request: ApiRequest) -> Answer:
        instance = self._calls.instance_of(request)

        async def work() -> OperationError | None:
            if not instance.is_up:
                return _not_ready(instance)
            instance.reboot()
            return None

        return self._start(request, instance, "reset", work, is_ready=instance.status == "RUNNING")

    async def delete(self, request: ApiRequest) -> Answer:
        instance = self._calls.instance_of(request)
        graceful = _is_graceful(request)

        async def work() -> OperationError | None:
            if instance.is_up:
                await power.stop(instance, graceful=graceful, target="DELETED").done
            instance.project.delete(instance)
            return None

        return self._start(request, instance, "delete", work)

    async def get_serial_port_output(self, request: ApiRequest) -> Answer:
        instance = self._calls.instance_of(request)
        port = _integer(request, "port", 1)
        if port not in PORTS:
            raise errors.invalid("port", str(port), f"Must be between {PORTS[0]} and {PORTS[-1]}, inclusive.")
        start = _integer(request, "start", 0)
        if not instance.is_up:
            raise errors.not_ready(instance_path(instance))
        contents, begin = instance.serial(port).read(start)
        answer: dict[str, Any] = {
            "kind": "compute#serialPortOutput",
            "selfLink": f"{SERVICE_URL}/{instance_path(instance)}/serialPort",
            "contents": contents,
            "start": str(begin),
            "next": str(instance.serial(port).end),
        }
        return answer

    def _start(
        self, request: ApiRequest, instance: Instance, operation_type: str, work: Work, *, is_ready: bool = True
    ) -> Answer:
        replayed = self._calls.replayed(request, operation_type, instance_path(instance))
        if replayed is not None:
            return replayed
        if not is_ready:
            raise errors.not_ready(instance_path(instance))
        return self._calls.start_on(instance, request, operation_type, work)


def _is_graceful(request: ApiRequest) -> bool:
    return not is_true_parameter(request.query.get("noGracefulShutdown", ""))


def _not_ready(instance: Instance) -> OperationError:
    return OperationError("RESOURCE_NOT_READY", str(errors.not_ready(instance_path(instance))))


def _integer(request: ApiRequest, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if text and not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise errors.invalid(name, text, "Must be an integer.")
    return int(text) if text else default
