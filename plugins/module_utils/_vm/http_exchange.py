# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP/1.1 request and its answer over a kept-alive TCP connection, with one deadline.

Private to the collection: it may change at any time.

Raw sockets, because http.client imports ssl and email (5 MB of a watcher's memory with Python 3.9 to 3.13), and
because its timeouts apply to each ``recv``: a server that sends a byte now and then blocks such a client for ever. Here
the rest of the deadline is set before each connect, send and receive.

Proxies are never used: the environment is not read.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from .addresses import ADDRESSES, Addresses, NotResolved

if TYPE_CHECKING:
    from .addresses import Address

# Seconds. The kernel repeats an unanswered SYN after 1, 3, 7, 15… s, so that without a limit of its own a connect would
# sleep long after an outage has ended.
CONNECT_SECONDS = 2.0
# Seconds for a lookup. One that takes longer goes on, and the next try waits for it.
RESOLVE_SECONDS = 5.0
# The same for a host with known addresses.
RESOLVE_SECONDS_WITH_OTHERS = 1.0

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 16 * 1024 * 1024

# Seconds. A live migration can leave a connection half open. While waiting for an answer, the kernel probes after
# KEEPALIVE_IDLE, and gives up on a peer that has acknowledged nothing for SILENCE_LIMIT, long before the deadline.
KEEPALIVE_IDLE = 10
KEEPALIVE_INTERVAL = 5
SILENCE_LIMIT = 20

_LONGEST_TIMEOUT = 86400.0  # Above, settimeout() overflows.
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9])(?: [^\r\n]*)?")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(r"[0-9]{1,16}")
# Compiled on first use: the metadata server is not known to send chunks.
_CHUNK_SIZE = rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?"


class ExchangeError(Exception):
    """The exchange failed; str() is a clause without a full stop."""


class CannotConnect(ExchangeError):
    """No address of the host accepted the connection."""


class NameNotResolved(CannotConnect):
    """The host's name has no address here."""


class ConnectionLost(ExchangeError):
    """The connection ended before the answer was complete.

    ``while_idle``: the connection had been used before, and no byte of this answer came. The server has probably closed
    it while it was idle, and the request can be sent again on a new one.
    """

    def __init__(self, message: str, *, while_idle: bool = False) -> None:
        super().__init__(message)
        self.while_idle = while_idle


class DeadlinePassed(ExchangeError):
    """The answer was not complete in time."""


class NotHTTP(ExchangeError):
    """The answer is not HTTP."""


class Oversized(NotHTTP):
    """The answer is larger than the limit."""


class Aborted(ExchangeError):
    """Another thread aborted the exchange."""


class Deadline:
    """The time limit of a whole exchange."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self) -> float:
        """The seconds that are left, above 0. Raises DeadlinePassed."""
        left = self._end - self._clock()
        if left <= 0:
            raise self.passed()
        return min(left, _LONGEST_TIMEOUT)

    def passed(self) -> DeadlinePassed:
        """The exception for a timeout of the remaining seconds."""
        return DeadlinePassed(f"there was no complete answer within {self._seconds:g} s")


class Response:
    """An answer. Header names are in lower case; the first of several headers of a name counts.

    ``reusable``: whether the connection can be used for another request.
    """

    # Not a dataclass: generating its methods would cost each run of a module about a millisecond.
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, *, reusable: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.reusable = reusable


class Connection:
    """A connection to one host, opened on first use and kept until it fails or the server closes it.

    For one thread at a time, except for `abort`. ``others``: further addresses of the host, besides those of its name.
    ``body_limit``: the bytes that the body of an answer may have.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        others: Sequence[str] = (),
        body_limit: int = BODY_LIMIT,
        addresses: Addresses = ADDRESSES,
    ) -> None:
        self._host = host
        self._port = port
        self._others = others
        self._body_limit = body_limit
        self._addresses = addresses
        self._socket: socket.socket | None = None
        self._aborted = False
        # While held, the number of the socket cannot become that of another file.
        self._closing = threading.Lock()

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Response:
        """Send a request and return its answer, whatever its status. An exception leaves the connection closed."""
        self._check()
        sock, reused = self._socket, True
        if sock is None or not _is_quiet(sock):
            self.close()
            sock = connect(self._host, self._port, deadline, others=self._others, addresses=self._addresses)
            reused = False
            self._socket = sock
        self._check()
        inflow = Inflow(_receiver(sock, deadline))
        try:
            _send(sock, _request(method, target, headers, body), deadline)
            response = read_response(inflow, self._body_limit)
        except ConnectionLost as error:
            self.close()
            self._check()
            error.while_idle = reused and not inflow.started
            raise
        except BaseException:
            self.close()
            raise
        if not response.reusable:
            self.close()
        return response

    def leave(self) -> None:
        """Close the connection and forget its address, since the wrong server answered there."""
        self.close()
        self._addresses.forget(self._host, self._port)

    def close(self) -> None:
        """Close the connection if it is open; the next exchange opens a new one."""
        with self._closing:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def abort(self) -> None:
        """End an exchange of another thread at once, and refuse all later ones.

        An attempt to connect ends after CONNECT_SECONDS at the latest.
        """
        # In this order: an exchange looks at the flag once it has a socket.
        self._aborted = True
        with self._closing:
            if self._socket is not None:
                # Closing it would not wake up the other thread.
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _check(self) -> None:
        if self._aborted:
            self.close()
            raise Aborted("it was aborted") from None


class Inflow:
    """The bytes of an answer from ``receive``, whose b"" means that the server has closed the connection."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._buffer = bytearray()
        self._head_left = HEAD_LIMIT
        self.started = False

    def line(self) -> bytes:
        """The next line without its end. All lines of an answer may have HEAD_LIMIT bytes and those allowed later."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched, self._head_left)) < 0:
            if len(self._buffer) >= self._head_left:
                raise Oversized(f"the head of the answer is larger than {HEAD_LIMIT} bytes")
            searched = len(self._buffer)
            self._fill("in the head of the answer")
        self._head_left -= end + 1
        return self._take(end + 1)[:-1].removesuffix(b"\r")

    def allow_lines(self, size: int) -> None:
        self._head_left += size

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill(f"{size - len(self._buffer)} bytes before the end of the answer")
        return self._take(size)

    def rest(self, limit: int) -> bytes:
        """Everything until the server closes the connection."""
        while self._more():
            if len(self._buffer) > limit:
                raise _too_large(limit)
        return self._take(len(self._buffer))

    def is_empty(self) -> bool:
        """Whether all received bytes have been read."""
        return not self._buffer

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _fill(self, place: str) -> None:
        if not self._more():
            raise ConnectionLost(f"the server closed the connection {place if self.started else 'without an answer'}")

    def _more(self) -> bool:
        data = self._receive()
        self._buffer += data
        self.started = self.started or bool(data)
        return bool(data)


def read_response(inflow: Inflow, body_limit: int = BODY_LIMIT) -> Response:
    """Parse one answer to a GET, PUT or DELETE. Raises only ConnectionLost, DeadlinePassed or NotHTTP."""
    version, status = _read_status(inflow)
    headers = _read_headers(inflow)
    while status < 200:
        if status == 101:
            raise NotHTTP("the server switched to another protocol")
        version, status = _read_status(inflow)
        headers = _read_headers(inflow)
    body, delimited = _read_body(inflow, status, headers, body_limit)
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    persistent = "close" not in tokens and (version >= 1 or "keep-alive" in tokens)
    return Response(status, headers, body, reusable=persistent and delimited and inflow.is_empty())


def _read_status(inflow: Inflow) -> tuple[int, int]:
    match = _STATUS_LINE.fullmatch(inflow.line())
    if match is None:
        raise NotHTTP("the answer is not HTTP")
    return int(match[1]), int(match[2])


def _read_headers(inflow: Inflow) -> dict[str, str]:
    headers: dict[str, str] = {}
    while line := inflow.line():
        name, colon, rest = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise NotHTTP("the head of the answer has a line that is not a header")
        key, value = name.decode("ascii").lower(), rest.strip(b" \t").decode("latin-1")
        if headers.setdefault(key, value) != value and key in ("content-length", "transfer-encoding"):
            raise NotHTTP(f"the answer has two different headers {key}")
    return headers


def _read_body(inflow: Inflow, status: int, headers: Mapping[str, str], limit: int) -> tuple[bytes, bool]:
    """The body, and whether anything but the end of the connection marks its end."""
    if status in (204, 304):
        return b"", True
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise NotHTTP("the length of the answer is ambiguous")
        return _read_chunks(inflow, limit), True
    if length is None:
        return inflow.rest(limit), False
    if not _LENGTH.fullmatch(length):
        raise NotHTTP("the answer has a Content-Length that is not a number")
    if int(length) > limit:
        raise _too_large(limit)
    return inflow.exactly(int(length)), True


def _read_chunks(inflow: Inflow, limit: int) -> bytes:
    body = bytearray()
    while True:
        match = re.fullmatch(_CHUNK_SIZE, inflow.line())
        if match is None:
            raise NotHTTP("the answer has a chunk without a size")
        size = int(match[1], 16)
        if size == 0:
            _read_headers(inflow)
            return bytes(body)
        if len(body) + size > limit:
            raise _too_large(limit)
        body += inflow.exactly(size)
        inflow.allow_lines(size)  # too little for chunks of a byte or two, enough for sensible ones
        if inflow.line():
            raise NotHTTP("the answer has a chunk that is longer than its size")


def _too_large(limit: int) -> Oversized:
    return Oversized(f"the answer is larger than {limit} bytes")


def connect(
    host: str, port: int, deadline: Deadline, *, others: Sequence[str] = (), addresses: Addresses = ADDRESSES
) -> socket.socket:
    """Connect to the last address that worked, else to those of the host's name, else to ``others``.

    Raises CannotConnect or DeadlinePassed.
    """
    known = addresses.kept(host, port)
    tried: list[Address] = []
    failure: CannotConnect | None = None
    if known is not None:
        try:
            return _open(known, min(deadline.remaining() / 2, CONNECT_SECONDS))
        except OSError as error:
            tried, failure = [known], _no_connection(port, error)
    candidates: list[Address] = []
    try:
        candidates += addresses.resolve(host, port, _patience(deadline, bool(others)))
    except NotResolved as error:
        failure = failure or NameNotResolved(f"the name {host} could not be resolved ({error})")
    for other in others:
        candidates += addresses.literal(other, port)
    candidates = [address for address in dict.fromkeys(candidates) if address not in tried]
    for number, address in enumerate(candidates):
        try:
            sock = _open(address, min(deadline.remaining() / (len(candidates) - number), CONNECT_SECONDS))
        except OSError as error:  # noqa: PERF203 - each address has its own failure
            failure = failure or _no_connection(port, error)
        else:
            addresses.keep(host, port, address)
            return sock
    failure = failure or NameNotResolved(f"the name {host} has no address")
    if others:
        failure = type(failure)(f"{failure}, and no connection to {' or '.join(others)}")
    raise failure


def _patience(deadline: Deadline, has_others: bool) -> float:
    """The seconds to wait for the addresses of a name."""
    left = deadline.remaining()
    return min(left / 2, RESOLVE_SECONDS_WITH_OTHERS) if has_others else min(left, RESOLVE_SECONDS)


def _no_connection(port: int, error: OSError) -> CannotConnect:
    return CannotConnect(f"no connection to port {port} ({_reason(error)})")


def _open(address: Address, seconds: float) -> socket.socket:
    family, kind, protocol, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(seconds)
        sock.connect(where)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
            ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
            ("TCP_USER_TIMEOUT", SILENCE_LIMIT * 1000),
        ):
            if hasattr(socket, option):  # only Linux has all three
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_quiet(sock: socket.socket) -> bool:
    """Whether an idle connection is still usable: without an end, an error or unexpected bytes."""
    try:
        sock.setblocking(False)
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _request(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")


def _send(sock: socket.socket, request: bytes, deadline: Deadline) -> None:
    sock.settimeout(deadline.remaining())
    try:
        sock.sendall(request)  # one timeout for all of it, unlike recv
    except OSError as error:
        raise _lost(error, deadline) from error


def _receiver(sock: socket.socket, deadline: Deadline) -> Callable[[], bytes]:
    def receive() -> bytes:
        sock.settimeout(deadline.remaining())
        try:
            return sock.recv(65536)
        except OSError as error:
            raise _lost(error, deadline) from error

    return receive


def _lost(error: OSError, deadline: Deadline) -> ExchangeError:
    """The exception for a failure of a socket: DeadlinePassed, or ConnectionLost for all others."""
    if isinstance(error, socket.timeout) and error.errno is None:
        return deadline.passed()
    return ConnectionLost(f"the connection was lost ({_reason(error)})")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
