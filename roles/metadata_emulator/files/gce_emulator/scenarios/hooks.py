# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of the fleet file that do to a machine what the platform does to the instance, such as to cut its power.

The commands of an instance run one after the other, in the order of the events.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import itertools
import os
import shlex
import signal
import sys
import tempfile
from typing import IO, Any

from ..state.instance import BLACKOUT_BEGINS, BLACKOUT_ENDS, BOOT, POWER_OFF, SHUTDOWN, Instance
from ..state.project import Project

# The hook of each event, and its phase.
_HOOKS = {
    BLACKOUT_BEGINS: ("on_blackout", "begin"),
    BLACKOUT_ENDS: ("on_blackout", "end"),
    SHUTDOWN: ("on_shutdown", ""),
    POWER_OFF: ("on_power_off", ""),
    BOOT: ("on_boot", ""),
}
_CAPACITY = 1000
_LONGEST_OUTPUT = 2000


@dataclasses.dataclass
class HookRun:
    """A command. `status` is its exit status, negative for a signal; None while it runs, and if it could not start."""

    number: int
    instance: str
    hook: str
    phase: str
    command: tuple[str, ...]
    started_at: float | None = None
    ended_at: float | None = None
    status: int | None = None
    # Why it failed, in a few words; empty if it did not.
    problem: str = ""
    output: str = ""

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


class Hooks:
    """Runs the hooks of a project, in the running event loop."""

    def __init__(self, project: Project, *, timeout: float = 120.0) -> None:
        """`timeout`: real seconds for a command, after which it is killed."""
        self._project = project
        self._timeout = timeout
        self._numbers = itertools.count(1)
        self._runs: collections.deque[HookRun] = collections.deque(maxlen=_CAPACITY)
        # The last command of each instance.
        self._last: dict[str, asyncio.Task[None]] = {}
        project.on_machine_event(self._happened)
        project.on_reset(self._runs.clear)

    def runs(self, instance: str | None = None) -> list[HookRun]:
        """The last thousand commands, of one instance or of all."""
        return [run for run in self._runs if instance in (None, run.instance)]

    async def close(self) -> None:
        """Let no machine stay frozen, and wait for the commands that run."""
        for instance in self._project.instances.values():
            instance.thaw()
        if self._last:
            await asyncio.wait(set(self._last.values()))

    def _happened(self, instance: Instance, event: str) -> None:
        hook, phase = _HOOKS[event]
        command: tuple[str, ...] = getattr(instance.spec, hook)
        if not command:
            return
        run = HookRun(next(self._numbers), instance.name, hook, phase, command)
        self._runs.append(run)
        environ = {
            "GCE_EMULATOR_INSTANCE": instance.name,
            "GCE_EMULATOR_ZONE": instance.zone,
            "GCE_EMULATOR_HOOK": hook,
            "GCE_EMULATOR_PHASE": phase,
            "GCE_EMULATOR_BLACKOUT_SECONDS": f"{instance.blackout:g}" if phase else "",
            "GCE_EMULATOR_BOOT_COUNT": str(instance.boot_count),
        }
        previous = self._last.get(instance.name)
        self._last[instance.name] = asyncio.get_running_loop().create_task(self._run(run, environ, previous))

    async def _run(self, run: HookRun, environ: dict[str, str], previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await asyncio.wait({previous})
        run.started_at = self._project.clock.time()
        # Not a pipe: what the command leaves running may keep it open.
        with tempfile.TemporaryFile() as output:
            try:
                await self._execute(run, environ, output)
            except (OSError, ValueError) as exc:
                run.problem = f"could not be started: {getattr(exc, 'strerror', None) or exc}"
            output.seek(0)
            run.output = output.read().decode("utf-8", "replace")[-_LONGEST_OUTPUT:]
        run.ended_at = self._project.clock.time()
        if run.problem:
            print(_failure(run), file=sys.stderr, flush=True)

    async def _execute(self, run: HookRun, environ: dict[str, str], output: IO[bytes]) -> None:
        process = await asyncio.create_subprocess_exec(
            *run.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environ},
            start_new_session=True,
        )
        try:
            await asyncio.wait_for(process.wait(), self._timeout)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            run.problem = f"was killed after {self._timeout:g} s"
        run.status = process.returncode
        if run.status and not run.problem:
            run.problem = f"ended with exit status {run.status}" if run.status > 0 else f"died of signal {-run.status}"


def _failure(run: HookRun) -> str:
    hook = f"{run.hook} ({run.phase})" if run.phase else run.hook
    said = "".join(f"\n    {line}" for line in run.output.splitlines()[-5:])
    return f"{run.instance}: the hook {hook} {run.problem}: {shlex.join(run.command)}{said}"
