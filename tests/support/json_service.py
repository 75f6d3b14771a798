# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP server with a JSON API, on a real socket, also with TLS. Tests implement the API of a product with it."""

from __future__ import annotations

import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.certificate import pem, signed
from support.ports import free_port


@dataclass(frozen=True)
class Call:
    """A request. Names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class JsonService:
    """Override `answer`. `calls` has all requests, `changes` those that are not GET."""

    def __init__(self, certificate: Certificate | None = None, *, client_certificates: bool = False) -> None:
        self.calls: list[Call] = []
        # These requests are answered with this status and value instead.
        self.failures: dict[str, tuple[int, Any]] = {}
        self.lock = threading.RLock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                data = self.rfile.read(length)
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                body = json.loads(data) if data else None
                call = Call(self.command, parts.path, query, headers, body)
                with service.lock:
                    service.calls.append(call)
                    status, value = service.failures.get(str(call)) or service.answer(call)
                text = value if isinstance(value, str) else json.dumps(value)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._handler = Handler
        self._context = None if certificate is None else certificate.server_context(client_certificates)
        # Another server could take a port of those for port 0 between `stop` and `start`.
        self.port = free_port()
        self._server = self._listening()
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}"

    def answer(self, call: Call) -> tuple[int, Any]:
        """The status and the value of the answer."""
        raise NotImplementedError

    @property
    def changes(self) -> list[str]:
        with self.lock:
            return [str(call) for call in self.calls if call.method != "GET"]

    def looks_again(self, call: str, each: int = 1) -> Callable[[], bool]:
        """Returns a function that returns whether a client that sends such a request `each` times has begun anew."""
        enough = self._calls_of(call) + each + 1
        return lambda: self._calls_of(call) >= enough

    def stop(self) -> None:
        """Refuse connections until `start`."""
        self._server.shutdown()
        self._server.server_close()

    def start(self) -> None:
        self._server = self._listening()

    def _calls_of(self, call: str) -> int:
        with self.lock:
            return sum(str(one) == call for one in self.calls)

    def _listening(self) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        server.daemon_threads = True
        if self._context is not None:
            server.socket = self._context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server


class Certificate:
    """A certificate for 127.0.0.1 that signed itself: `file`, with its key in `key_file`."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = signed("test", key, "test", key, host)
        self.file, self.key_file = folder / "certificate.pem", folder / "key.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key_file.write_bytes(pem(key))

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of a recipe that trusts this certificate, and authenticates itself with it."""
        return {"ca_file": str(self.file), "cert_file": str(self.file), "key_file": str(self.key_file)}

    def server_context(self, client_certificates: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        if client_certificates:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context
