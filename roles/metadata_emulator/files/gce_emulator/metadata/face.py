# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server of one instance: its listening socket, and injected faults."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import socket

from aiohttp import web

from ..state.faults import Fault
from ..state.instance import Instance
from ..state.journal import Asked
from ..web.listening import BACKLOG, Ports
from .answers import ROOT, MetadataAnswers
from .exchange import Exchange
from .wire import HTML, Sent, Server, too_many, unavailable


class MetadataFace:
    """Listens on the instance's own address; `address` is `127.0.0.1:PORT` after `start`."""

    def __init__(self, instance: Instance, ports: Ports) -> None:
        self._instance = instance
        self._ports = ports
        self._faults = instance.project.faults
        self._port = instance.spec.port
        self._listening: socket.socket | None = None
        # While it refuses connections. Otherwise, an outgoing connection of any process may get the port meanwhile.
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._http: Server | None = None
        # A reference, so that the task is not garbage collected before it is done.
        self._reopening: asyncio.Task[None] | None = None
        self._answers = MetadataAnswers(instance)
        self._was_up = True
        instance.on_power(self._power_changed)
        self._faults.listen(self._open_or_close)

    @property
    def address(self) -> str:
        host = self._instance.spec.address
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    @property
    def held(self) -> int:
        """The number of hanging GETs."""
        return len(self._answers.waiting)

    async def start(self) -> None:
        self._http = Server(
            self._handle, handler_cancellation=True, access_log=None, keepalive_timeout=3600, lingering_time=0
        )
        if not self._is_refusing():
            await self._serve(self._listen())

    async def stop(self) -> None:
        self._close()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    # Listening

    def _listen(self) -> socket.socket:
        """Accept connections at once: who starts the VM may connect before the event loop's next turn."""
        self._listening = self._reserved or self._ports.listen(self._instance.spec.address, self._port)
        self._reserved = None
        self._listening.listen(BACKLOG)
        self._port = self._listening.getsockname()[1]
        return self._listening

    async def _serve(self, listening: socket.socket) -> None:
        if self._listening is not listening or self._http is None:
            listening.close()
            return
        self._http.is_refusing = False
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._http, sock=listening, backlog=BACKLOG)
        if self._listening is listening:
            self._server = server
        else:
            loop.call_soon(server.close)

    def _close(self) -> None:
        if self._listening is not None:
            # A connection that asyncio has accepted, but not yet attached to the server, is lost when the server is
            # closed, and its client waits for ever. So stop to listen now, and close in the next turn of the loop.
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._listening.fileno())
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            if self._server is not None:
                loop.call_soon(self._server.close)
            self._listening = self._server = None
            self._reserved = self._ports.reserve(self._instance.spec.address, self._port)
        if self._http is not None:
            self._http.refuse_connections()

    def _is_refusing(self) -> bool:
        instance = self._instance
        down = not instance.is_up and (instance.spec.while_down == "refuse" or not instance.exists)
        return down or self._faults.active("refuse", "metadata", self._instance.name)

    def _open_or_close(self) -> None:
        if self._is_refusing():
            if self._listening is not None:
                self._close()
        elif self._listening is None and self._http is not None:
            self._reopening = asyncio.get_running_loop().create_task(self._serve(self._listen()))

    def _power_changed(self) -> None:
        # Close first, so that hanging GETs get no answer where connections are refused.
        self._open_or_close()
        was_up, self._was_up = self._was_up, self._instance.is_up
        if not self._was_up:
            self._answers.waiting.answer_all(unavailable())
        elif was_up and self._http is not None:
            # A reset: the guest's connections are gone.
            self._http.abort_connections()

    # Requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw_path, _unused, query = request.raw_path.partition("?")
        instance = self._instance
        journal, clock = instance.project.journal, instance.clock
        entry = journal.record(clock.time(), Asked("metadata", instance.name, request.method, raw_path, query))
        exchange = Exchange(request, raw_path, query, lambda status: journal.answer(entry, status, clock.time()))
        below_root = raw_path[len(ROOT) :] if raw_path.startswith(f"{ROOT}/") else raw_path
        fault = self._faults.take("metadata", instance.name, below_root)
        if fault is not None:
            return await self._answer_with_fault(exchange, fault)
        answer = await self._answers.respond(exchange)
        return exchange.send(answer) if answer is not None else exchange.sent()

    async def _answer_with_fault(self, exchange: Exchange, fault: Fault) -> Sent:
        if fault.kind == "503":
            return exchange.send(unavailable())
        if fault.kind == "429":
            return exchange.send(too_many())
        if fault.kind == "reset":
            return exchange.abort()
        if fault.kind == "hang":
            exchange.note(0)
            await asyncio.get_running_loop().create_future()
        if fault.kind == "html":
            body = b"<html><body><h1>It works!</h1></body></html>\n"
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {HTML}\r\nContent-Length: {len(body)}\r\n\r\n"
            return exchange.send_bytes(200, head.encode() + body)
        if fault.kind == "garbage":
            return exchange.send_bytes(0, b"\x00\x01SSH-2.0-emulated", close=True)
        if fault.kind == "delay":
            await asyncio.sleep(fault.delay)
        if fault.kind == "etag-flap":
            exchange.parameters.pop("wait_for_change", None)
        answer = await self._answers.respond(exchange, in_person=True)
        if answer is None:
            return exchange.sent()
        if fault.kind == "etag-flap":
            return exchange.send(dataclasses.replace(answer, etag=secrets.token_hex(8)))
        payload = answer.encode()
        if fault.kind == "truncate":
            return exchange.send_bytes(answer.status, payload[: len(payload) - (len(answer.body) + 1) // 2], close=True)
        if fault.kind == "dribble":
            for position in range(len(payload)):
                if not exchange.write(payload[position : position + 1]):
                    break
                await asyncio.sleep(fault.delay)
            return exchange.sent()
        return exchange.send(answer)
