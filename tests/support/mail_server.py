# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail server on a real socket, as far as notifications need one: STARTTLS, AUTH PLAIN, and refusals."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from email import message_from_bytes
from email.message import Message
from typing import Any

from .json_service import Certificate
from .ports import free_port


class MailServer:
    """Accepts mails, also without a certificate. `replies` has answers to commands that replace the usual ones."""

    def __init__(self, certificate: Certificate | None = None, *, tls: bool = False) -> None:
        self.mails: list[Message] = []
        self.recipients: list[str] = []
        self.logins: list[str] = []
        self.replies: dict[str, str] = {}
        context = None if certificate is None else certificate.server_context(False)
        server = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                session = _Session(server, self, context, tls)
                try:
                    session.run()
                except OSError:
                    # The client has given up, as it does if it does not trust the certificate.
                    pass
                finally:
                    session.close()

        self._server = _Server(("127.0.0.1", free_port()), Session)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


class _Session:
    def __init__(
        self, server: MailServer, handler: socketserver.StreamRequestHandler, context: ssl.SSLContext | None, tls: bool
    ) -> None:
        self._server = server
        self._context = context
        self._socket: Any = handler.connection
        self._reader: Any = None
        self._is_secure = False
        self._wraps = tls

    def run(self) -> None:
        if self._wraps:
            self._wrap()
        else:
            self._reader = self._socket.makefile("rb")
        self._say("220 mail.test ready")
        while line := self._reader.readline().decode().strip():
            verb = line.partition(" ")[0].upper()
            reply = self._server.replies.get(verb) or self._reply(verb, line)
            self._say(reply)
            if verb == "QUIT" or reply.startswith("421"):
                return
            if verb == "STARTTLS":
                self._wrap()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._socket.close()

    def _reply(self, verb: str, line: str) -> str:
        if verb == "EHLO":
            offers = ["AUTH PLAIN"] if self._is_secure else ["STARTTLS"] if self._context else []
            lines = ["mail.test", *offers]
            return "\r\n".join([*(f"250-{one}" for one in lines[:-1]), f"250 {lines[-1]}"])
        if verb == "STARTTLS":
            return "220 go ahead"
        if verb == "AUTH":
            self._server.logins.append(base64.b64decode(line.split()[2]).decode())
            return "235 welcome"
        if verb == "QUIT":
            return "221 bye"
        if verb == "RCPT":
            self._server.recipients.append(line.partition(":")[2])
        if verb == "DATA":
            self._say("354 go ahead")
            data = b""
            while (part := self._reader.readline()) not in (b".\r\n", b""):
                data += part
            self._server.mails.append(message_from_bytes(data))
        return "250 ok"

    def _say(self, text: str) -> None:
        self._socket.sendall(f"{text}\r\n".encode())

    def _wrap(self) -> None:
        if self._context is None:
            raise AssertionError("without a certificate there is no TLS")
        if self._reader is not None:
            self._reader.close()
        # The handshake is done by hand, so that `close` also closes a socket whose handshake fails.
        self._socket = self._context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket.do_handshake()
        self._reader = self._socket.makefile("rb")
        self._is_secure = True
