# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m gce_emulator --config fleet.yml`: all faces in one process and one event loop."""

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
from .scenarios.hooks import Hooks
from .state.clock import Clock
from .state.fleet import Fleet
from .state.fleet_file import load
from .state.fleet_section import FleetError
from .state.project import Project
from .web.listening import Ports


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        # A fleet lives until the process ends; collecting garbage takes longer than building it.
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
    _notify_systemd("READY=1")
    await stop.wait()
    await emulator.stop()


class Emulator:
    """All faces of one fleet, in the running event loop. Tests may use it without a process."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.project = Project(fleet, Clock(fleet.speed))
        self.hooks = Hooks(self.project)
        ports = Ports()
        self.metadata = {name: MetadataFace(instance, ports) for name, instance in self.project.instances.items()}
        self._runners: list[web.AppRunner] = []
        self._urls: dict[str, str] = {}

    async def start(self) -> None:
        await self._run(
            "control",
            control_face.make_app(self.project, self.hooks, self.ready, self._hanging),
            self.fleet.control_port,
        )
        await self._run(
            "compute",
            compute_face.make_app(self.project, require_auth=self.fleet.require_auth),
            self.fleet.compute_port,
        )
        # Configured ports first, before an ephemeral one takes one of them.
        names = sorted(self.metadata, key=lambda name: self.project.instances[name].spec.port == 0)
        # Concurrently: each turn of the event loop takes longer the more sockets there are.
        await asyncio.gather(*map(self._start_metadata, names))

    async def _start_metadata(self, name: str) -> None:
        with _named(f"the metadata server of {name}"):
            await self.metadata[name].start()

    async def stop(self) -> None:
        await self.hooks.close()
        for face in self.metadata.values():
            await face.stop()
        for runner in self._runners:
            await runner.cleanup()

    def ready(self) -> dict[str, Any]:
        """The addresses of all faces, without the metadata servers of deleted VMs."""
        return {**self._urls, "metadata": {name: self.metadata[name].address for name in self.project.instances}}

    def _hanging(self, name: str) -> int:
        return self.metadata[name].held

    async def _run(self, name: str, app: web.Application, port: int) -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, self.fleet.listen, port)
        with _named(f"the {name} face"):
            await site.start()
        host, port = runner.addresses[0][:2]
        self._urls[name] = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _named(who: str) -> Iterator[None]:
    """Name the face in the message of an OSError."""
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
        "--ready-file", type=Path, metavar="FILE", help="also write the line with the addresses to FILE"
    )
    parser.add_argument("--check", action="store_true", help="check the fleet file and exit")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _notify_systemd(state: str) -> None:
    """sd_notify(3); does nothing without systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        # @ stands for the null byte of an abstract socket address.
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(state.encode())


def _allow_many_connections() -> None:
    """Raise the soft limit of open files: each hanging GET is one, and the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        print(
            f"Raising the limit of open files from {soft} to {hard} failed: {error}. Each hanging GET is an open file.",
            file=sys.stderr,
        )
