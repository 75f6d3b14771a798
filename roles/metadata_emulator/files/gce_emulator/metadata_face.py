# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server of one instance: `http://metadata.google.internal` as its guest sees it."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import secrets
import urllib.parse
from collections.abc import Mapping

from aiohttp import web

from . import guest_attributes, tree
from .connection import reset
from .faults import Fault
from .journal import Entry
from .metadata_wire import (
    HTML,
    JSON,
    TEXT,
    Answer,
    Sent,
    Server,
    bad_request,
    forbidden,
    not_found,
    too_many,
    unavailable,
    wrong_method,
)
from .state import GUEST_ATTRIBUTES, MAINTENANCE_EVENT, Instance
from .tokens import Tokens
from .waiting import Question, Waiter, Waiting

ROOT = "/computeMetadata/v1"
# Not taken in their encoded form in a path, says Google's documentation.
_ENCODED = re.compile(r"%(?:21|24|27|28|29|2A|2C|40)", re.IGNORECASE)
_TRUE = ("true", "on", "yes", "1")
_MOST_CONNECTIONS_WAITING = 4096

# What /0.1/meta-data/ had, and where it is today.
_OLDEST = {
    "attributes": "instance/attributes",
    "description": "instance/description",
    "hostname": "instance/hostname",
    "image": "instance/image",
    "instance-id": "instance/id",
    "machine-type": "instance/machine-type",
    "numeric-project-id": "project/numeric-project-id",
    "project-id": "project/project-id",
    "service-accounts": "instance/service-accounts",
    "tags": "instance/tags",
    "zone": "instance/zone",
}


class MetadataFace:
    """Listens on the instance's own address; `address` is `127.0.0.1:PORT` once it is started."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._faults = instance.project.faults
        self._port = instance.spec.port
        self._server: asyncio.AbstractServer | None = None
        self._http: Server | None = None
        self._opening = asyncio.Lock()
        self._tokens = Tokens(instance)
        self._waiting = Waiting(instance.root, self._answer)
        instance.on_change(self._waiting.changed)
        instance.on_power(self._power_changed)
        self._faults.listen(self._open_or_close)

    @property
    def address(self) -> str:
        host = self._instance.spec.address
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    @property
    def held(self) -> int:
        """How many GETs hang."""
        return len(self._waiting)

    async def start(self) -> None:
        self._http = Server(
            self._handle, handler_cancellation=True, access_log=None, keepalive_timeout=3600, lingering_time=0
        )
        await self._listen()

    async def stop(self) -> None:
        self._close()

    # Being reachable

    async def _listen(self) -> None:
        async with self._opening:
            if self._server is not None or self._http is None or self._is_refusing():
                return
            self._server = await asyncio.get_running_loop().create_server(
                self._http, self._instance.spec.address, self._port, backlog=_MOST_CONNECTIONS_WAITING
            )
            self._port = self._server.sockets[0].getsockname()[1]

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._http is not None:
            self._http.abort_connections()

    def _is_refusing(self) -> bool:
        down = not self._instance.is_up and self._instance.spec.while_down == "refuse"
        return down or self._faults.active("refuse", "metadata", self._instance.name)

    def _open_or_close(self) -> None:
        if self._is_refusing():
            if self._server is not None:
                self._close()
        elif self._server is None and self._http is not None:
            asyncio.get_running_loop().create_task(self._listen())

    def _power_changed(self) -> None:
        # First the door: behind one that is closed there is nobody to answer.
        self._open_or_close()
        if not self._instance.is_up:
            self._waiting.tell_all(unavailable())

    # Requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw_path, _, query = request.raw_path.partition("?")
        instance = self._instance
        entry = instance.project.journal.record(
            instance.clock.time(), "metadata", instance.name, request.method, raw_path, query
        )
        exchange = Exchange(request, raw_path, query, entry, instance)
        below_root = raw_path[len(ROOT) :].strip("/") if raw_path.startswith(ROOT) else raw_path
        fault = self._faults.take("metadata", instance.name, below_root)
        if fault is not None:
            return await self._answer_with_fault(exchange, fault)
        answer = await self._respond(exchange)
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
        answer = await self._respond(exchange, in_person=True)
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

    async def _respond(self, exchange: Exchange, *, in_person: bool = False) -> Answer | None:
        """The answer; None when it was sent already. `in_person` brings it back here even from a hanging GET."""
        request, path = exchange.request, exchange.path
        if not self._instance.is_up:
            return unavailable()
        if "X-Forwarded-For" in request.headers:
            return forbidden(exchange.raw_path, "")
        if _ENCODED.search(exchange.raw_path):
            return not_found(exchange.raw_path)
        if path == ROOT or path.startswith(ROOT + "/"):
            if request.headers.get("Metadata-Flavor") != "Google":
                return forbidden(exchange.raw_path, "Missing Metadata-Flavor:Google header.")
            return await self._v1(exchange, path[len(ROOT) :], in_person)
        if request.method != "GET":
            return wrong_method(request.method, exchange.raw_path)
        if path == "/":
            return Answer(200, b"computeMetadata/\n", TEXT)
        if path == "/computeMetadata":
            return exchange.redirect()
        if path == "/computeMetadata/":
            return Answer(200, b"v1/\n", TEXT)
        return self._legacy(exchange)

    async def _v1(self, exchange: Exchange, below: str, in_person: bool) -> Answer | None:
        request = exchange.request
        names = tree.split(below)
        if names[:2] == GUEST_ATTRIBUTES.split("/"):
            refusal = await self._guest_attributes(exchange, names[2:])
            if refusal is not None:
                return refusal
        elif request.method != "GET":
            return wrong_method(request.method, exchange.raw_path)
        return await self._get(exchange, "/".join(names), in_person)

    async def _get(self, exchange: Exchange, path: str, in_person: bool) -> Answer | None:
        node = tree.find(self._instance.root, path)
        parameters = exchange.parameters
        if node is None or (isinstance(node, tree.Leaf) and exchange.path.endswith("/")):
            return not_found(exchange.raw_path)
        if isinstance(node, tree.Directory) and not exchange.path.endswith("/"):
            return exchange.redirect()
        if isinstance(node, tree.Leaf) and isinstance(node.value, tree.Computed):
            return self._computed(node.value.name, path, parameters)
        recursive = _is_true(parameters.get("recursive")) and isinstance(node, tree.Directory)
        alt = parameters.get("alt")
        if alt not in (None, "json", "text"):
            return bad_request("alt can be json or text.")
        question = Question(path, recursive, alt)
        if path == MAINTENANCE_EVENT:
            self._instance.asked_directly = True
        answer = self._answer(question)
        if answer.status != 200 or not _is_true(parameters.get("wait_for_change")):
            return answer
        if isinstance(node, tree.Directory) and not recursive:
            return bad_request("wait_for_change needs recursive=true on a directory.")
        timeout = parameters.get("timeout_sec")
        if timeout is not None and not re.fullmatch(r"[0-9]{1,9}", timeout):
            return bad_request("timeout_sec has to be a whole number of seconds.")
        if parameters.get("last_etag", answer.etag) != answer.etag:
            return answer
        return await self._wait(exchange, question, answer, None if timeout is None else int(timeout), in_person)

    async def _wait(
        self, exchange: Exchange, question: Question, current: Answer, timeout: int | None, in_person: bool
    ) -> Answer | None:
        told: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def tell(answer: Answer) -> None:
            if told.done():
                return
            if in_person:
                told.set_result(answer)
                return
            # Sent from the call that changed the value: going through the handler's task costs a round of the loop.
            exchange.send_now(answer)
            told.set_result(None)

        let_go = self._waiting.add(question, Waiter(str(current.etag), tell), timeout)
        try:
            return await told
        finally:
            let_go()

    def _answer(self, question: Question) -> Answer:
        """What there is to say now, without any waiting."""
        node = tree.find(self._instance.root, question.path)
        url = f"{ROOT}/{question.path}"
        if node is None:
            return not_found(url)
        if isinstance(node, tree.Leaf) and isinstance(node.value, tree.NothingYet):
            return Answer(503, tree.NO_NOTIFICATIONS.encode(), JSON)
        try:
            rendered = tree.render(node, question.path, recursive=question.recursive, alt=question.alt)
        except tree.NotAllowed as error:
            return bad_request(f"{error}.")
        return Answer(200, rendered.body, rendered.content_type, rendered.etag)

    def _computed(self, name: str, path: str, parameters: Mapping[str, str]) -> Answer:
        email = str(self._instance.get(path.rpartition("/")[0] + "/email"))
        if name == "token":
            body = tree.to_json(self._tokens.access_token(email, parameters.get("scopes", "")))
            return Answer(200, body.encode(), JSON, tree.etag_of(path, name, body))
        audience = parameters.get("audience")
        if not audience:
            return Answer(400, b"non-empty audience parameter required", "text/plain; charset=utf-8")
        token = self._tokens.identity(
            email, audience, full=parameters.get("format") == "full", licenses=_is_true(parameters.get("licenses"))
        )
        return Answer(200, token.encode(), TEXT, tree.etag_of(path, name, token))

    async def _guest_attributes(self, exchange: Exchange, names: list[str]) -> Answer | None:
        """Do a PUT or a DELETE. None for a GET that may be answered as any other."""
        request, instance = exchange.request, self._instance
        if request.method not in ("GET", "PUT", "DELETE"):
            return wrong_method(request.method, exchange.raw_path)
        value = await _body(request) if request.method == "PUT" else b""
        if not instance.is_enabled("enable-guest-attributes"):
            return Answer(
                403, b"Guest attributes endpoint access is disabled.", "text/plain; charset=utf-8", close=True
            )
        over_budget = instance.spec.guest_attributes_over_budget
        within_budget = over_budget == "allow" or instance.guest_attribute_queries.spend()
        if not within_budget and over_budget == "429":
            return too_many()
        if request.method == "GET":
            return None
        problem = guest_attributes.name_problem(names)
        if problem is not None:
            return bad_request(problem)
        if value is None:
            return bad_request(f"The value has more than {guest_attributes.VALUE_LIMIT} bytes.")
        path = "/".join([GUEST_ATTRIBUTES, *names])
        if request.method == "PUT":
            # Over the budget data may be dropped without a word, says Google's documentation.
            if within_budget:
                instance.set(path, value.decode("utf-8", "surrogateescape"))
            return Answer(200, b"", TEXT)
        if instance.get(path) is None:
            return not_found(exchange.raw_path)
        if within_budget:
            with instance.changing():
                instance.remove(path)
                if not instance.guest_attributes[names[0]]:
                    instance.remove(f"{GUEST_ATTRIBUTES}/{names[0]}")
        return Answer(200, b"", TEXT)

    def _legacy(self, exchange: Exchange) -> Answer:
        names = tree.split(exchange.path)
        if names[:2] == ["computeMetadata", "v1beta1"]:
            path = "/".join(names[2:])
        elif names[:2] == ["0.1", "meta-data"] and names[2:3] and names[2] in _OLDEST:
            path = "/".join([_OLDEST[names[2]], *names[3:]])
        elif names[:1] == ["0.1"]:
            path = ""
        else:
            return not_found(exchange.raw_path)
        if self._instance.spec.legacy_endpoints == "gone":
            return not_found(exchange.raw_path)
        if self._instance.is_enabled("disable-legacy-endpoints"):
            return forbidden(
                exchange.raw_path,
                f"Legacy metadata endpoint accessed: {exchange.raw_path}\n"
                "    Legacy metadata endpoints are disabled. Please use the /v1/ endpoint.",
            )
        if names == ["0.1"]:
            return Answer(200, b"meta-data/\n", TEXT)
        if names == ["0.1", "meta-data"]:
            return Answer(200, "".join(f"{name}\n" for name in sorted(_OLDEST)).encode(), TEXT)
        node = tree.find(self._instance.root, path)
        if node is None or (not path and names[0] == "0.1"):
            return not_found(exchange.raw_path)
        if isinstance(node, tree.Directory) and not exchange.path.endswith("/"):
            return exchange.redirect()
        if isinstance(node, tree.Leaf) and isinstance(node.value, tree.Computed):
            return self._computed(node.value.name, path, exchange.parameters)
        recursive = _is_true(exchange.parameters.get("recursive"))
        return self._answer(Question(path, recursive, exchange.parameters.get("alt")))


class Exchange:
    """One request on its way to an answer."""

    def __init__(self, request: web.BaseRequest, raw_path: str, query: str, entry: Entry, instance: Instance) -> None:
        self.request = request
        self.raw_path = raw_path
        # Repeated slashes count as one, but one at the end says that a directory is meant.
        self.path = re.sub("/+", "/", urllib.parse.unquote(raw_path, errors="surrogateescape"))
        self.parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self._query = query
        self._entry = entry
        self._instance = instance
        self._closes = not request.keep_alive

    def redirect(self) -> Answer:
        """To the directory's own URL, on the host that the client named."""
        query = f"?{self._query}" if self._query else ""
        location = f"http://{self.request.headers.get('Host', 'metadata.google.internal')}{self.raw_path}/{query}"
        return Answer(301, f"{self.raw_path}/\n".encode(), "text/html", location=location)

    def send(self, answer: Answer) -> Sent:
        self.note(answer.status)
        self._closes = self._closes or answer.close
        return Sent(answer.encode(close=self._closes), close=self._closes)

    def send_bytes(self, status: int, payload: bytes, *, close: bool = False) -> Sent:
        self.note(status)
        return Sent(payload, close=close or self._closes)

    def send_now(self, answer: Answer) -> None:
        """Send past the handler, which then gives back `sent()`."""
        self.note(answer.status)
        self._closes = self._closes or answer.close
        self.write(answer.encode(close=self._closes))

    def sent(self) -> Sent:
        return Sent(close=self._closes)

    def write(self, payload: bytes) -> bool:
        transport = self.request.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(payload)
        return True

    def abort(self) -> Sent:
        self.note(0)
        reset(self.request.transport)
        return Sent(close=True)

    def note(self, status: int) -> None:
        self._entry.status = status
        self._entry.answered_at = self._instance.clock.time()


def _is_true(value: str | None) -> bool:
    return value is not None and value.lower() in _TRUE


async def _body(request: web.BaseRequest) -> bytes | None:
    """The request's body, or None when it is larger than any value may be."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    too_large = False
    async for chunk in request.content.iter_any():
        too_large = too_large or len(body) + len(chunk) > guest_attributes.VALUE_LIMIT
        if not too_large:
            body += chunk
    return None if too_large else bytes(body)
