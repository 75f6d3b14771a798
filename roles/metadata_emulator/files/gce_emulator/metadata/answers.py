# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers of a metadata server: header check, formats, hanging GETs, guest attributes, legacy endpoints."""

from __future__ import annotations

import asyncio
import html
import re

from ..state import guest_attributes, tree
from ..state.guest_metadata import GUEST_ATTRIBUTES, MAINTENANCE_EVENT
from ..state.instance import Instance
from . import legacy_endpoints
from .exchange import Exchange, read_body
from .tokens import Tokens
from .waiting import Question, Waiter, Waiting
from .wire import JSON, PLAIN, TEXT, Answer, bad_request, forbidden, not_found, too_many, unavailable, wrong_method

ROOT = "/computeMetadata/v1"

# Answers that are cached, because guests repeat the same few requests.
_MOST_KEPT = 32

# "The following characters are not supported in encoded form in a path":
# https://cloud.google.com/compute/docs/metadata/querying-metadata
_ENCODED = re.compile(r"%(?:21|24|27|28|29|2A|2C|40)", re.IGNORECASE)


class MetadataAnswers:
    """The answers of one instance's metadata server; `waiting` has the hanging GETs."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._tokens = Tokens(instance)
        self.waiting = Waiting(instance.find, self.current)
        # Rendered once for all clients, until something changes.
        self.kept: dict[Question, Answer] = {}
        instance.on_change(self._changed)

    async def respond(self, exchange: Exchange, *, in_person: bool = False) -> Answer | None:
        """The answer, or None if it was sent. With `in_person`, that of a hanging GET is returned as well."""
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
        node = self._instance.find(path)
        parameters = exchange.parameters
        if node is None or (isinstance(node, tree.Leaf) and exchange.path.endswith("/")):
            return not_found(exchange.raw_path)
        if isinstance(node, tree.Directory) and not exchange.path.endswith("/"):
            return exchange.redirect()
        if isinstance(node, tree.Leaf) and isinstance(node.value, tree.Computed):
            return self._computed(node.value.name, path, exchange)
        recursive = exchange.is_on("recursive") and isinstance(node, tree.Directory)
        alt = parameters.get("alt")
        if alt not in (None, "json", "text"):
            return bad_request("alt can be json or text.")
        question = Question(path, recursive, alt)
        if path == MAINTENANCE_EVENT:
            self._instance.asked_directly = True
        answer = self.current(question)
        if answer.status != 200 or not exchange.is_on("wait_for_change"):
            return answer
        if isinstance(node, tree.Directory) and not recursive:
            return bad_request("wait_for_change needs recursive=true on a directory.")
        timeout = parameters.get("timeout_sec")
        if timeout is not None and not re.fullmatch(r"[0-9]{1,9}", timeout):
            return bad_request("timeout_sec must be a whole number of seconds.")
        if parameters.get("last_etag", answer.etag) != answer.etag:
            return answer
        return await self._wait(exchange, question, answer, None if timeout is None else int(timeout), in_person)

    async def _wait(
        self, exchange: Exchange, question: Question, current: Answer, timeout: int | None, in_person: bool
    ) -> Answer | None:
        answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def deliver(answer: Answer) -> None:
            if answered.done():
                return
            if in_person:
                answered.set_result(answer)
                return
            # Sent in the call that changed the value: waking the handler's task costs a turn of the loop.
            exchange.send_now(answer)
            answered.set_result(None)

        let_go = self.waiting.add(question, Waiter(str(current.etag), deliver), timeout)
        try:
            return await answered
        finally:
            let_go()

    def _changed(self, path: str) -> None:
        self.kept.clear()
        self.waiting.changed(path)

    def current(self, question: Question) -> Answer:
        """The answer without a wait."""
        answer = self.kept.get(question)
        if answer is None:
            if len(self.kept) >= _MOST_KEPT:
                self.kept.clear()
            answer = self.kept[question] = self._make_answer(question)
        return answer

    def _make_answer(self, question: Question) -> Answer:
        node = self._instance.find(question.path)
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

    def _computed(self, name: str, path: str, exchange: Exchange) -> Answer:
        parameters = exchange.parameters
        email = str(self._instance.get(path.rpartition("/")[0] + "/email"))
        if name == "token":
            alt = parameters.get("alt", "json")
            if alt not in ("json", "text"):
                return bad_request("alt can be json or text.")
            token = self._tokens.access_token(email, parameters.get("scopes", ""))
            etag = tree.etag_of(path, name, token)
            if alt == "text":
                return Answer(200, "".join(f"{key} {value}\n" for key, value in token.items()).encode(), TEXT, etag)
            return Answer(200, tree.to_json(token).encode(), JSON, etag)
        audience = parameters.get("audience")
        if not audience:
            return Answer(400, b"non-empty audience parameter required", PLAIN)
        identity = self._tokens.identity(
            email, audience, full=parameters.get("format") == "full", licenses=exchange.is_on("licenses")
        )
        return Answer(200, identity.encode(), TEXT, tree.etag_of(path, name, identity))

    async def _guest_attributes(self, exchange: Exchange, names: list[str]) -> Answer | None:
        """Serve a PUT or DELETE, or refuse a GET. None for a GET that is allowed."""
        request, instance = exchange.request, self._instance
        if request.method not in ("GET", "PUT", "DELETE"):
            return wrong_method(request.method, exchange.raw_path)
        value = await read_body(request, guest_attributes.VALUE_LIMIT) if request.method == "PUT" else b""
        if not instance.is_enabled("enable-guest-attributes"):
            return Answer(403, b"Guest attributes endpoint access is disabled.", PLAIN, close=True)
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
            # Google's documentation: above the limits, data can be dropped silently.
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
        legacy, path = "/".join(names), legacy_endpoints.path_today(names)
        is_listing = legacy in legacy_endpoints.LISTINGS
        if (path is None and not is_listing) or self._instance.spec.legacy_endpoints == "gone":
            return not_found(exchange.raw_path)
        if self._instance.is_enabled("disable-legacy-endpoints"):
            return forbidden(
                exchange.raw_path,
                f"Legacy metadata endpoint accessed: {html.escape(exchange.raw_path)}\n"
                "    Legacy metadata endpoints are disabled. Please use the /v1/ endpoint.",
            )
        if path is None:
            return Answer(200, legacy_endpoints.LISTINGS[legacy].encode(), TEXT)
        node = self._instance.find(path)
        if node is None:
            return not_found(exchange.raw_path)
        if isinstance(node, tree.Directory) and not exchange.path.endswith("/"):
            return exchange.redirect()
        if isinstance(node, tree.Leaf) and isinstance(node.value, tree.Computed):
            return self._computed(node.value.name, path, exchange)
        return self.current(Question(path, exchange.is_on("recursive"), exchange.parameters.get("alt")))
