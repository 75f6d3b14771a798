# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTPS hosts of the internet, behind a test proxy: real connections and certificates, scripted answers."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.certificate import pem, signed
from support.raw_server import Peer, RawServer

# From a request's head and body to the answer.
Host = Callable[[bytes], bytes]


class Internet:
    """Hosts behind a proxy, by name. `environment` has a client go there and trust what it finds.

    `asked` has the hosts that clients wanted, in order, whether there are such or not.
    """

    def __init__(self, folder: Path, **hosts: Host) -> None:
        """The names in `hosts` have `_` for `.`."""
        self.asked: list[str] = []
        self._hosts = {name.replace("_", "."): host for name, host in hosts.items()}
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._authority = signed("Test", self._key, "Test", self._key, x509.DNSName("test"))
        self._bundle = folder / "authority.pem"
        self._bundle.write_bytes(self._authority.public_bytes(serialization.Encoding.PEM))
        self._contexts = {name: self._context(name) for name in self._hosts}
        self._proxy = RawServer(self._serve)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "https_proxy": f"http://{self._proxy.host}",
            "HTTPS_PROXY": f"http://{self._proxy.host}",
            "no_proxy": "",
            "NO_PROXY": "",
            "REQUESTS_CA_BUNDLE": str(self._bundle),
        }

    def __enter__(self) -> Internet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._proxy.close()

    def _serve(self, peer: Peer) -> None:
        request = peer.read_request()
        if not request:
            return
        name = request.split()[1].decode().rpartition(":")[0]
        self.asked.append(name)
        if name not in self._hosts:
            peer.send(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with peer.secured(self._contexts[name]) as secure:
            secure.send(self._hosts[name](secure.read_request()))

    def _context(self, name: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        file = self._folder / f"{name}.pem"
        chain = signed(name, key, "Test", self._key, x509.DNSName(name)).public_bytes(serialization.Encoding.PEM)
        file.write_bytes(pem(key) + chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context
