# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source guest: threads that watch a VM's metadata keys, and events for a rulebook.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Union

from ...module_utils._compute.options import ApiOption
from ...module_utils._vm.maintenance import DRIFT_TOKEN_KEY, SIGNAL_KEYS
from ...module_utils._vm.metadata_server import Limits, MetadataError, MetadataServer, Time
from ...module_utils._vm.watch import Failed, Heard, Watcher
from .guest_signals import REACHABLE, UNKNOWN, UNREACHABLE, Change, GuestSignals, identified, restarted
from .guest_state import State, StateFile
from .inbox import Inbox, pass_on
from .options import COMMON_OPTIONS, INITIAL, SourceError, host_namer, read_options

OPTIONS: Mapping[str, ApiOption] = {
    **COMMON_OPTIONS,
    "metadata_host": ApiOption(),
    "poll_timeout": ApiOption("int", default=60),
    "state_file": ApiOption("path"),
    "initial": INITIAL,
    "unreachable_after": ApiOption("float", default=75.0),
}
KEYS = (*SIGNAL_KEYS, DRIFT_TOKEN_KEY)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LONGEST_POLL = 3600
# Seconds after an error that nobody expects.
_PAUSE = 5.0

_log = logging.getLogger("gce.guest.guest")


class _Vm:
    """Who the VM is, read by a thread of its own."""

    def __init__(self, instance: str, zone: str, project: str, instance_id: str) -> None:
        self.names = {"instance": instance, "zone": zone, "project": project, "instance_id": instance_id}


_Message = Union[Heard, Failed, _Vm]


async def run(queue: Any, args: Mapping[str, Any], *, boot_id: str | None = None) -> None:
    """Watch until cancelled. Raises SourceError for invalid options, and nothing later."""
    source = _Source(queue, args, boot_id)
    try:
        await source.run()
    finally:
        source.stop()


class _Source:
    def __init__(self, queue: Any, args: Mapping[str, Any], boot_id: str | None) -> None:
        options = read_options(args, OPTIONS)
        if not 1 <= options["poll_timeout"] <= _LONGEST_POLL:
            raise SourceError(f"poll_timeout has to be from 1 to {_LONGEST_POLL} seconds.")
        if not options["unreachable_after"] > 0:
            raise SourceError("unreachable_after has to be more than 0 seconds.")
        self._hosts_of = host_namer(options["host_pattern"], limit=options["limit"])
        self._queue = queue
        self._unreachable_after = options["unreachable_after"]
        self._boot_id = boot_id or _read_boot_id()
        self._file = None if options["state_file"] is None else StateFile(options["state_file"])
        self._state = State() if self._file is None else self._file.read()
        self._before = self._state
        self._report_initial = options["initial"] == "report"
        self._stopped = threading.Event()
        self._inbox: Inbox[_Message] = Inbox(asyncio.get_running_loop())
        self._writing: asyncio.Future[None] | None = None
        self._written: Any = None
        self._write_lock = threading.Lock()
        timing = Time(sleep=self._sleep)
        try:
            self._server = MetadataServer(options["metadata_host"], limits=Limits(retry_for=0), time=timing)
            self._watchers = [
                Watcher(key, options["metadata_host"], self._inbox.post, options["poll_timeout"], sleep=self._sleep)
                for key in KEYS
            ]
        except MetadataError as error:
            raise SourceError(str(error)) from None
        self._last_answer = time.monotonic()
        self._is_unreachable = False
        self._last_reason: str | None = None
        self._vm: dict[str, str | None] = dict.fromkeys(("instance", "zone", "project", "instance_id"))

    async def run(self) -> None:
        self._start(self._identify, "identity")
        vm = await self._identified()
        self._adopt(vm)
        if self._file is not None:
            _set_signal_handlers_again()
        signals = GuestSignals(self._state.known, report_initial=self._report_initial)
        await self._send(restarted(self._before.known, **self._boot()))
        for watcher in self._watchers:
            # With the etag, an unchanged value would only be answered after the timeout.
            if not self._report_initial and watcher.key in self._state.known.values:
                watcher.resume(self._state.etags.get(watcher.key), self._state.known.values[watcher.key])
            self._start(lambda watcher=watcher: self._watch(watcher), watcher.key)
        self._write(self._state)
        while True:
            message = await self._inbox.get(self._patience(signals))
            now = time.time()
            if isinstance(message, Heard):
                await self._send([*self._reachable(), *signals.heard(message, now)])
            changes = [*signals.due(time.monotonic(), now), *self._unreachable(message)]
            await self._send(changes)
            self._keep()

    def stop(self) -> None:
        """End all requests at once, and keep what is known."""
        self._stopped.set()
        self._server.abort()
        for watcher in self._watchers:
            watcher.abort()
        if self._vm["instance_id"] is not None:
            self._state.was_stopped = True
            self._write(self._state)

    # Threads

    def _start(self, target: Any, name: str) -> None:
        threading.Thread(target=target, name=f"gce.guest {name}", daemon=True).start()

    def _sleep(self, seconds: float) -> None:
        self._stopped.wait(seconds)

    def _watch(self, watcher: Watcher) -> None:
        while not self._stopped.is_set():
            try:
                pause = watcher.turn()
            except Exception as error:
                # Whatever the server says, the source must not become deaf.
                self._inbox.post(Failed(watcher.key, f"{type(error).__name__}: {error}", time.monotonic()))
                pause = _PAUSE
            self._stopped.wait(pause)
        watcher.close()

    def _identify(self) -> None:
        while not self._stopped.is_set():
            try:
                zone = str(self._server.get("instance/zone").value).rpartition("/")[2]
                name, number = (str(self._server.get(f"instance/{key}").value).strip() for key in ("name", "id"))
                project = str(self._server.get("project/project-id").value).strip()
            except MetadataError as error:
                self._inbox.post(Failed("instance/name", str(error), time.monotonic()))
            else:
                self._inbox.post(_Vm(name, zone.strip(), project, number))
                break
            self._stopped.wait(1.0)
        self._server.close()

    # The loop

    async def _identified(self) -> _Vm:
        while True:
            message = await self._inbox.get(self._unreachable_after)
            if isinstance(message, _Vm):
                await self._send(self._reachable())
                return message
            await self._send(self._unreachable(message))

    def _adopt(self, vm: _Vm) -> None:
        """Start anew if the state is that of another VM; forget what does not outlive a boot."""
        self._vm = {**vm.names}
        if self._before.instance_id != vm.names["instance_id"]:
            self._state = self._before = State(was_stopped=True)
        self._last_boot_id, self._was_stopped = self._before.boot_id, self._before.was_stopped
        if self._last_boot_id != self._boot_id:
            self._state.known.token = None
        self._state.instance_id, self._state.boot_id = vm.names["instance_id"], self._boot_id
        self._state.was_stopped = False

    def _boot(self) -> dict[str, bool]:
        is_other = self._last_boot_id is not None and self._last_boot_id != self._boot_id
        return {"is_other_boot": is_other, "was_stopped": self._was_stopped}

    async def _send(self, changes: list[Change]) -> None:
        name = self._vm["instance"]
        hosts = [] if name is None else self._hosts_of(name, self._vm["zone"], self._vm["project"])
        for change in changes:
            await pass_on(self._queue, identified(change, self._vm, hosts, time.time()))

    def _patience(self, signals: GuestSignals) -> float:
        due = signals.seconds_until_due(time.monotonic(), time.time())
        return float(min(self._unreachable_after, 60.0 if due is None else due))

    def _reachable(self) -> list[Change]:
        self._last_answer = time.monotonic()
        was_unreachable, self._is_unreachable = self._is_unreachable, False
        return [Change(REACHABLE, UNKNOWN)] if was_unreachable else []

    def _unreachable(self, message: _Message | None) -> list[Change]:
        """Once, when nothing has been heard for too long."""
        if isinstance(message, Failed):
            _log.warning("%s", message.reason)
            self._last_reason = message.reason
        silence = time.monotonic() - self._last_answer
        if self._is_unreachable or silence < self._unreachable_after:
            return []
        self._is_unreachable = True
        return [Change(UNREACHABLE, UNKNOWN, reason=self._last_reason or f"No answer for {silence:.0f} s.")]

    # The state

    def _keep(self) -> None:
        """Write the state if it has changed, in a thread: a disk that hangs must not delay events."""
        if self._file is None or (self._writing is not None and not self._writing.done()):
            return
        etags = {watcher.key: watcher.etag for watcher in self._watchers if watcher.etag is not None}
        mark = (etags, dict(self._state.known.values), self._state.known.is_begun, self._state.known.token)
        if mark != self._written:
            self._written = mark
            self._state.etags = etags
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, copy.deepcopy(self._state))

    def _write(self, state: State) -> None:
        with self._write_lock:
            # A thread may come late.
            if self._file is None or (self._stopped.is_set() and not state.was_stopped):
                return
            try:
                self._file.write(state)
            except OSError as error:
                _log.warning("The state_file cannot be written: %s", error.strerror)


def _set_signal_handlers_again() -> None:
    """End in order on SIGTERM and SIGINT, with the handlers of ansible-rulebook.

    The Java virtual machine that ansible-rulebook starts replaces them, and ends the process without any cleanup.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, handler)


def _read_boot_id() -> str | None:
    with suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return None
