# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request and its response, parsed from samples and over real sockets."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.http_exchange import (
    BODY_LIMIT,
    HEAD_LIMIT,
    CannotConnect,
    Connection,
    ConnectionLost,
    Deadline,
    DeadlinePassed,
    ExchangeError,
    Inflow,
    NameNotResolved,
    NotHTTP,
    Response,
    connect,
    read_response,
)
from hypothesis import example, given
from hypothesis import strategies as st

from support.raw_server import PATIENCE, Peer, RawServer, Script, answering, refusing_host

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nNONE"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nNON\r\n1\r\nE\r\n0\r\nTrailer: 1\r\n\r\n"


def parse(data: bytes, piece: int = 65536) -> Response:
    return read_response(Inflow(receiver(data[at : at + piece] for at in range(0, len(data), piece))))


def receiver(pieces: Iterable[bytes]) -> Callable[[], bytes]:
    """Returns the pieces like a socket, and then its end repeatedly."""
    return itertools.chain(pieces, itertools.repeat(b"")).__next__


class TestReadResponse:
    @pytest.mark.parametrize("piece", [1, 2, 7, 65536])
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(OK, id="length"),
            pytest.param(CHUNKED, id="chunks"),
            pytest.param(b"HTTP/1.1 200\r\n\r\nNONE", id="until the end, without a reason"),
            pytest.param(b"HTTP/1.0 200 OK\nContent-length:4\n\nNONE", id="HTTP/1.0 with bare line feeds"),
            pytest.param(b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + OK, id="after two 1xx"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\ncontent-length:  4 \r\n\r\nNONE", id="same lengths"),
        ],
    )
    def test_accepts_valid_responses(self, data: bytes, piece: int) -> None:
        response = parse(data, piece)

        assert (response.status, response.body) == (200, b"NONE")

    def test_header_names_ignore_case_and_the_first_one_counts(self) -> None:
        response = parse(b"HTTP/1.1 404 Not Found\r\nETag: a\r\nX: \r\neTAG: b\r\nContent-Length: 0\r\n\r\n")

        assert response.headers == {"etag": "a", "x": "", "content-length": "0"}

    @pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
    def test_some_statuses_have_no_body(self, status: bytes) -> None:
        response = parse(b"HTTP/1.1 " + status + b"\r\n\r\n")

        assert (response.status, response.headers, response.body) == (int(status[:3]), {}, b"")
        assert response.reusable

    @pytest.mark.parametrize(
        "data, reusable",
        [
            pytest.param(OK, True, id="HTTP/1.1"),
            pytest.param(CHUNKED, True, id="chunks"),
            pytest.param(OK.replace(b"/1.1", b"/1.0"), False, id="HTTP/1.0"),
            pytest.param(OK.replace(b"/1.1 200 OK", b"/1.0 200 OK\r\nConnection: Keep-Alive"), True, id="1.0 keeps"),
            pytest.param(OK.replace(b"OK", b"OK\r\nConnection: Close"), False, id="told to close"),
            pytest.param(OK.replace(b"OK", b"OK\r\nConnection: x, close"), False, id="told to close in a list"),
            pytest.param(OK + b"!", False, id="more bytes than asked for"),
            pytest.param(b"HTTP/1.1 200 OK\r\n\r\nNONE", False, id="ended by the connection"),
        ],
    )
    def test_reports_whether_the_connection_can_be_reused(self, data: bytes, reusable: bool) -> None:
        assert parse(data).reusable is reusable

    @pytest.mark.parametrize(
        "data, words",
        [
            pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP", id="SSH"),
            pytest.param(b"<html>\n", "not HTTP", id="HTML"),
            pytest.param(b"\r\n" + OK, "not HTTP", id="empty line first"),
            pytest.param(OK.replace(b"/1.1", b"/2"), "not HTTP", id="HTTP/2"),
            pytest.param(OK.replace(b"200", b"2000"), "not HTTP", id="status of four digits"),
            pytest.param(OK.replace(b"200", b"099"), "not HTTP", id="status below 100"),
            pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "another protocol", id="101"),
            pytest.param(OK.replace(b"Content", b" Content"), "not a header", id="folded header"),
            pytest.param(OK.replace(b"Length:", b"Length :"), "not a header", id="blank before colon"),
            pytest.param(OK.replace(b": 4", b""), "not a header", id="no colon"),
            pytest.param(OK.replace(b"4", b"4\r\nContent-Length: 5"), "two different", id="two lengths"),
            pytest.param(OK.replace(b"4", b"+4"), "not a number", id="signed length"),
            pytest.param(OK.replace(b"4", b""), "not a number", id="empty length"),
            pytest.param(OK.replace(b"4", b"9" * 5000), "not a number", id="endless length"),
            pytest.param(OK.replace(b"4", b"%d" % (BODY_LIMIT + 1)), "larger than", id="length above the limit"),
            pytest.param(OK.replace(b"4", b"4\r\nTransfer-Encoding: chunked"), "ambiguous", id="length and chunks"),
            pytest.param(CHUNKED.replace(b"chunked", b"gzip, chunked"), "ambiguous", id="other coding"),
            pytest.param(CHUNKED.replace(b"3;", b"x;"), "without a size", id="chunk size that is none"),
            pytest.param(CHUNKED.replace(b"3;", b"-3;"), "without a size", id="negative chunk size"),
            pytest.param(CHUNKED.replace(b"3;", b"2;"), "longer than its size", id="chunk longer than its size"),
            pytest.param(CHUNKED.replace(b"3;", b"fffffff;"), "larger than", id="chunk above the limit"),
            pytest.param(CHUNKED.replace(b"Trailer:", b"Trailer"), "not a header", id="bad trailer"),
        ],
    )
    def test_rejects_invalid_responses(self, data: bytes, words: str) -> None:
        with pytest.raises(NotHTTP, match=words):
            parse(data)

    @pytest.mark.parametrize(
        "start, forever, what",
        [
            pytest.param(b"", b"x", "the head of the answer", id="status line"),
            pytest.param(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", "the head of the answer", id="headers"),
            pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", "the head of the answer", id="1xx"),
            pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"x", "the answer", id="body"),
            pytest.param(CHUNKED.partition(b"3;")[0], b"1\r\nx\r\n", "the head of the answer", id="tiny chunks"),
            pytest.param(CHUNKED.partition(b"3;")[0], b"80\r\n%b\r\n" % (b"x" * 128), "the answer", id="chunks"),
            pytest.param(CHUNKED.partition(b"Trailer")[0], b"x: y\r\n", "the head of the answer", id="trailers"),
        ],
    )
    def test_limits_endless_responses(self, start: bytes, forever: bytes, what: str) -> None:
        pieces = itertools.chain([start or forever], itertools.repeat(forever * 10000))

        with pytest.raises(NotHTTP, match=f"^{what} is larger than"):
            read_response(Inflow(pieces.__next__))

    def test_accepts_a_body_and_a_head_of_the_largest_size(self) -> None:
        status, length = b"HTTP/1.1 200 OK\r\n", b"Content-Length: %d\r\n\r\n" % BODY_LIMIT
        filler = b"X: " + b"x" * (HEAD_LIMIT - len(status) - len(length) - 5) + b"\r\n"

        assert len(parse(status + filler + length + b"." * BODY_LIMIT).body) == BODY_LIMIT
        with pytest.raises(NotHTTP, match="head of the answer is larger"):
            parse(status + b"X" + filler + length)

    @pytest.mark.parametrize("data", [OK, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + OK])
    def test_every_truncation_is_detected(self, data: bytes) -> None:
        for size in range(len(data)):
            with pytest.raises(ConnectionLost, match="closed the connection"):
                parse(data[:size])

    @given(st.lists(st.binary(min_size=1, max_size=20)), st.integers(1, 50))
    def test_chunks_are_joined_however_they_are_split(self, chunks: list[bytes], piece: int) -> None:
        coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"

        assert parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded, piece).body == b"".join(chunks)

    @given(st.lists(st.binary(min_size=1)))
    @example([b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n"])  # a digit to str.isdigit, not to int
    def test_random_bytes_raise_only_documented_exceptions(self, pieces: list[bytes]) -> None:
        with pytest.raises(ExchangeError):
            read_response(Inflow(receiver(pieces)))

    @given(st.data())
    def test_damaged_response_raises_only_documented_exceptions(self, data: st.DataObject) -> None:
        whole = data.draw(st.sampled_from([OK, CHUNKED]))
        at, size = data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, 5))
        damaged = whole[:at] + data.draw(st.binary(max_size=5)) + whole[at + size :]

        try:
            response = parse(damaged, data.draw(st.integers(1, 50)))
        except ExchangeError:
            return
        assert 100 <= response.status < 600


class Ticking:
    """A clock that advances by a second with each reading."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def soon() -> Deadline:
    """A deadline that no good exchange misses."""
    return Deadline(PATIENCE, time.monotonic)


def patient(seconds: float) -> Deadline:
    """A deadline that passes only while an exchange waits, however late its thread is scheduled."""
    return Deadline(seconds, lambda: 0.0)


def get(connection: Connection, target: str = "/", deadline: Deadline | None = None) -> Response:
    return connection.exchange("GET", target, {"Host": "x"}, None, deadline or soon())


@pytest.fixture
def play() -> Iterator[Callable[..., tuple[RawServer, Connection]]]:
    """Start a server with scripts, and a connection to it that is not open yet."""
    started: list[tuple[RawServer, Connection]] = []

    def start(*scripts: Script) -> tuple[RawServer, Connection]:
        server = RawServer(*scripts)
        started.append((server, Connection("127.0.0.1", server.port)))
        return started[-1]

    yield start
    for server, connection in started:
        connection.close()
        server.close()


Play = Callable[..., tuple[RawServer, Connection]]


class TestConnection:
    def test_sends_a_valid_request(self, play: Play) -> None:
        server, connection = play(answering(OK, OK))

        connection.exchange("GET", "/a?b=c", {"Host": "h:1", "X-Y": "z"}, None, soon())
        connection.exchange("PUT", "/a", {"Host": "h:1"}, b"value\x00", soon())

        assert server.requests == [
            b"GET /a?b=c HTTP/1.1\r\nHost: h:1\r\nX-Y: z\r\n\r\n",
            b"PUT /a HTTP/1.1\r\nHost: h:1\r\nContent-Length: 6\r\n\r\nvalue\x00",
        ]

    def test_is_reused_for_the_next_exchange(self, play: Play) -> None:
        server, connection = play(answering(*[OK] * 3))

        assert [get(connection).body for _unused in range(3)] == [b"NONE"] * 3
        assert server.connections == 1

    def test_is_closed_if_the_server_asks_for_it(self, play: Play) -> None:
        server, connection = play(answering(OK.replace(b"OK", b"OK\r\nConnection: close")))

        get(connection)
        assert server.ends.get(timeout=PATIENCE) == "FIN"
        get(connection)
        assert server.connections == 2

    @pytest.mark.parametrize("end", [Peer.close, Peer.reset])
    def test_is_reopened_if_the_server_closed_it_while_idle(self, play: Play, end: Callable[[Peer], None]) -> None:
        asked, closed = threading.Event(), threading.Event()

        def answer_and_close(peer: Peer) -> None:
            peer.read_request()
            peer.send(OK)
            asked.wait(PATIENCE)
            end(peer)
            closed.set()

        server, connection = play(answer_and_close, answering(OK))

        get(connection)
        asked.set()
        closed.wait(PATIENCE)
        assert get(connection).body == b"NONE"
        assert server.connections == 2

    def test_is_reopened_after_unexpected_bytes(self, play: Play) -> None:
        asked, sent = threading.Event(), threading.Event()

        def speak_unasked(peer: Peer) -> None:
            peer.read_request()
            peer.send(OK)
            asked.wait(PATIENCE)
            peer.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            sent.set()
            peer.hang()

        server, connection = play(speak_unasked, answering(OK))

        get(connection)
        asked.set()
        sent.wait(PATIENCE)
        assert get(connection).status == 200
        assert server.connections == 2

    @pytest.mark.parametrize("end", [Peer.half_close, Peer.reset])
    def test_detects_that_an_idle_connection_was_closed(self, play: Play, end: Callable[[Peer], None]) -> None:
        def read_two_answer_one(peer: Peer) -> None:
            peer.read_request()
            peer.send(OK)
            peer.read_request()
            end(peer)

        _unused, connection = play(read_two_answer_one, answering(OK))

        get(connection)
        with pytest.raises(ConnectionLost) as caught:
            get(connection)
        assert caught.value.while_idle
        assert get(connection).status == 200

    def test_reused_connection_lost_during_a_response_was_not_idle(self, play: Play) -> None:
        def answer_one_and_a_bit(peer: Peer) -> None:
            peer.read_request()
            peer.send(OK)
            peer.read_request()
            peer.send(OK[:1])

        _unused, connection = play(answer_one_and_a_bit)

        get(connection)
        with pytest.raises(ConnectionLost) as caught:
            get(connection)
        assert not caught.value.while_idle

    @pytest.mark.parametrize("end", [Peer.half_close, Peer.reset])
    @pytest.mark.parametrize("sent", [b"", OK[:10], OK[:-1]])
    def test_reports_the_loss_of_a_new_connection(self, play: Play, end: Callable[[Peer], None], sent: bytes) -> None:
        def cut(peer: Peer) -> None:
            peer.read_request()
            peer.send(sent)
            end(peer)

        _unused, connection = play(cut)

        with pytest.raises(ConnectionLost) as caught:
            get(connection)
        assert not caught.value.while_idle

    def test_silent_server_times_out(self, play: Play) -> None:
        """googleapis/google-cloud-go#6498: without a deadline, a client hangs for ever on a half-open connection."""
        server, connection = play(Peer.hang)

        with pytest.raises(DeadlinePassed, match=r"within 0\.2 s"):
            get(connection, deadline=patient(0.2))
        assert server.ends.get(timeout=PATIENCE) == "FIN"

    def test_slow_server_times_out(self, play: Play) -> None:
        def drip(peer: Peer) -> None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
            while True:
                peer.send(b".")

        server, connection = play(drip, answering(OK))

        with pytest.raises(DeadlinePassed):
            get(connection, deadline=Deadline(9, Ticking()))
        assert get(connection).status == 200
        assert server.connections == 2

    def test_server_that_does_not_read_times_out(self, play: Play) -> None:
        release = threading.Event()

        def stare(peer: Peer) -> None:
            release.wait(PATIENCE)

        _unused, connection = play(stare)

        with pytest.raises(DeadlinePassed):
            connection.exchange("PUT", "/", {}, b"." * (1 << 25), Deadline(0.2, time.monotonic))
        release.set()

    def test_sends_nothing_without_time_left(self, play: Play) -> None:
        server, connection = play(answering(OK))

        with pytest.raises(DeadlinePassed):
            get(connection, deadline=Deadline(0, time.monotonic))
        assert server.requests == []

    def test_is_closed_by_any_exception(self, play: Play) -> None:
        server, connection = play(Peer.hang)
        times = iter([0.0, 0.0, 0.0])  # StopIteration for whoever looks again

        with pytest.raises(StopIteration):
            get(connection, deadline=Deadline(5, times.__next__))
        assert server.ends.get(timeout=PATIENCE) == "FIN"

    def test_reports_a_refused_connection(self) -> None:
        with refusing_host() as host, pytest.raises(CannotConnect, match=r"no connection to port \d+ \(.*refused"):
            get(Connection("127.0.0.1", int(host.rpartition(":")[2])))

    @pytest.mark.parametrize("name", ["no-such-host.invalid", "a..b", "a" * 70, "ö", "a\0b"])
    def test_reports_a_name_that_cannot_be_resolved(self, name: str) -> None:
        with pytest.raises(NameNotResolved, match="could not be resolved"):
            get(Connection(name, 80))

    def test_ipv6(self) -> None:
        try:
            server = RawServer(answering(OK), address="::1")
        except OSError:
            pytest.skip("this machine has no IPv6")
        connection = Connection("::1", server.port)

        assert get(connection).status == 200
        connection.close()
        server.close()

    def test_tries_every_address_of_a_name(self, play: Play) -> None:
        """localhost is ::1 and 127.0.0.1 on most machines, and the server listens on the second only."""
        server, _unused = play(answering(OK))
        connection = Connection("localhost", server.port)

        assert get(connection).status == 200
        connection.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="options of Linux")
def test_lost_peer_is_detected_long_before_the_deadline(play: Play) -> None:
    """googleapis/google-cloud-go#6498: without a deadline, a client hangs for ever on a half-open connection."""
    server, _unused = play(Peer.hang)

    with connect("127.0.0.1", server.port, soon()) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 60
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) < 60000
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_repr_of_a_response_does_not_show_its_body() -> None:
    assert "NONE" not in repr(parse(OK))
