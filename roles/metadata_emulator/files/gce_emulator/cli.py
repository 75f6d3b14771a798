# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m gce_emulator --config fleet.yml`: everything in one process and one event loop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from . import __version__
from .compute import face as compute_face
from .control import face as control_face
from .metadata.face import MetadataFace
from .state.clock import Clock
from .state.fleet import Fleet
from .state.fleet_file import load
from .state.fleet_section import FleetError
from .state.project import Project
from .web.listening import Ports


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        # What a fleet is made of stays until the end: looking for garbage among it takes longer than making it.
        gc.disable()
        fleet = load(options.config)
        if not options.check:
            _allow_many_connections()
            asyncio.run(_serve(fleet, options.ready_file))
    except FleetError as error:
        print(f"{options.config}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{options.config}: {error.strerror or error}", file=sys.stderr)
        return 1
    finally:
        gc.enable()
    return 0


async def _serve(fleet: Fleet, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    emulator = Emulator(fleet)
    await emulator.start()
    gc.freeze()
    gc.enable()
    ready = json.dumps(emulator.ready())
    if ready_file is not None:
        ready_file.write_text(ready + "\n", encoding="utf-8")
    print(ready, flush=True)
    _tell_systemd("READY=1")
    await stop.wait()
    await emulator.stop()


class Emulator:
    """All faces of one fleet, in the running event loop. Tests may use it without a process."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.project = Project(fleet, Clock(fleet.speed))
        ports = Ports()
        self.metadata = {name: MetadataFace(instance, ports) for name, instance in self.project.instances.items()}
        self._runners: list[web.AppRunner] = []
        self._urls: dict[str, str] = {}

    async def start(self) -> None:
        await self._run(
            "control", control_face.make_app(self.project, self.ready, self._hanging), self.fleet.control_port
        )
        await self._run(
            "compute",
            compute_face.make_app(self.project, require_auth=self.fleet.require_auth),
            self.fleet.compute_port,
        )
        # Those first whose port is chosen, before somebody else is given it by chance.
        names = sorted(self.metadata, key=lambda name: self.project.instances[name].spec.port == 0)
        # Side by side: a turn of the event loop takes time for each socket that there is already.
        await asyncio.gather(*map(self._start_metadata, names))

    async def _start_metadata(self, name: str) -> None:
        with _told_of(f"the metadata server of {name}"):
            await self.metadata[name].start()

    async def stop(self) -> None:
        for face in self.metadata.values():
            await face.stop()
        for runner in self._runners:
            await runner.cleanup()

    def ready(self) -> dict[str, Any]:
        """Where everything listens; a VM that was deleted listens no more."""
        return {**self._urls, "metadata": {name: self.metadata[name].address for name in self.project.instances}}

    def _hanging(self, name: str) -> int:
        return self.metadata[name].held

    async def _run(self, name: str, app: web.Application, port: int) -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, self.fleet.listen, port)
        with _told_of(f"the {name} face"):
            await site.start()
        host, port = runner.addresses[0][:2]
        self._urls[name] = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _told_of(who: str) -> Iterator[None]:
    """Say whose address it was that cannot be had."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{who} cannot listen: {error.strerror}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gce_emulator", description="Emulate a Compute Engine project: metadata servers and the Compute API."
    )
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="the fleet file (YAML)")
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="also write the line that says where everything listens to FILE"
    )
    parser.add_argument("--check", action="store_true", help="check the fleet file and do nothing else")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _tell_systemd(state: str) -> None:
    """The protocol of sd_notify(3); nothing without systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        # A name in the abstract namespace is written with an @.
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(state.encode())


def _allow_many_connections() -> None:
    """Each hanging GET is an open file; the usual soft limit of 1024 is far below what a fleet can hold open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        print(
            f"The limit of open files stays at {soft}, which bounds the GETs that can hang at once:"
            f" raising it to {hard} failed: {error}.",
            file=sys.stderr,
        )
