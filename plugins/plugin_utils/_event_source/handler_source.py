# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source handler: a web server for the handler's notifications, and events for a rulebook.

Private to the collection: it may change at any time. Requires aiohttp, which ansible-rulebook requires itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...module_utils._compute.options import ApiOption
from .inbox import pass_on
from .notices import NotANotice, Remembered, is_authorized, notice_event
from .options import COMMON_OPTIONS, SourceError, host_namer, read_options

try:
    from aiohttp import web
except ImportError:
    _HAS_AIOHTTP = False
else:
    _HAS_AIOHTTP = True

OPTIONS: Mapping[str, ApiOption] = {
    **COMMON_OPTIONS,
    "host": ApiOption(default="127.0.0.1"),
    "port": ApiOption("int"),
    "token": ApiOption(is_secret=True),
    "token_file": ApiOption("path"),
    "certificate": ApiOption("path"),
    "private_key": ApiOption("path"),
}
SHORTEST_TOKEN = 16
# A notification has less than 8 KiB.
LONGEST_BODY = 256 * 1024
# Seconds that a notification waits for the rulebook. The handler waits 10 s for an answer, and then tries again.
PATIENCE = 5.0


async def run(queue: Any, args: Mapping[str, Any]) -> None:
    """Serve until cancelled. Raises SourceError for invalid options, and if it cannot listen."""
    options = read_options(args, OPTIONS)
    if not _HAS_AIOHTTP:
        raise SourceError("The source handler requires aiohttp: run pip install aiohttp.")
    port = options["port"]
    if port is None or not 0 <= port <= 65535:
        raise SourceError("port has to be set, to a number from 1 to 65535.")
    receiver = _Receiver(queue, _token(options), host_namer(options["host_pattern"], limit=options["limit"]))
    application = web.Application(client_max_size=LONGEST_BODY)
    application.router.add_post("/{path:.*}", receiver.receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, options["host"], port, ssl_context=_tls(options))
        try:
            await site.start()
        except OSError as error:
            raise SourceError(f"Cannot listen on {options['host']}, port {port}: {error.strerror or error}.") from None
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


class _Receiver:
    def __init__(self, queue: Any, token: str, hosts_of: Any) -> None:
        self._queue = queue
        self._token = token
        self._hosts_of = hosts_of
        self._remembered = Remembered()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer 204 once the rulebook has the event, 503 if it takes none."""
        if not is_authorized(request.headers.get("Authorization"), self._token):
            return web.Response(status=401, text="The header Authorization does not have the token.\n")
        try:
            event = notice_event(await request.read(), self._hosts_of)
        except NotANotice as error:
            return web.Response(status=400, text=f"{error}\n")
        identifier = event["id"]
        if not self._remembered.add(identifier):
            return web.Response(status=204)
        try:
            await asyncio.wait_for(pass_on(self._queue, event), PATIENCE)
        except asyncio.TimeoutError:
            self._remembered.forget(identifier)
            return web.Response(status=503, headers={"Retry-After": "5"}, text="The rulebook is busy.\n")
        except BaseException:
            self._remembered.forget(identifier)
            raise
        return web.Response(status=204)


def _token(options: Mapping[str, Any]) -> str:
    if (options["token"] is None) == (options["token_file"] is None):
        raise SourceError("One of token and token_file has to be set.")
    token = options["token"]
    if token is None:
        try:
            token = Path(options["token_file"]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SourceError(f"token_file {options['token_file']} cannot be read: {reason}.") from None
    token = str(token).strip()
    if len(token) < SHORTEST_TOKEN:
        raise SourceError(f"The token has to have at least {SHORTEST_TOKEN} characters.")
    return token


def _tls(options: Mapping[str, Any]) -> ssl.SSLContext | None:
    if options["certificate"] is None and options["private_key"] is None:
        return None
    if options["certificate"] is None:
        raise SourceError("private_key requires certificate.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options["certificate"], options["private_key"])
    except (OSError, ssl.SSLError) as error:
        raise SourceError(f"certificate and private_key cannot be used: {error.strerror or error}.") from None
    return context
