"""The client on real sockets of this machine: what each trouble is called."""

import contextlib
import gzip
import itertools
import socket
import threading
import time
import tracemalloc
import zlib

import pytest

from anw_jax.suspects.http.client import (
    BrokenOffError,
    NoAnswerError,
    PooledClient,
    Reply,
    TooSlowError,
    UnreachableError,
)

pytest.importorskip("urllib3", reason="urllib3 is an optional library")
pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

OK = b"HTTP/1.1 200 OK\r\n"


@contextlib.contextmanager
def serving(talk):
    """Runs `talk(connection, number of the connection)` for each connection; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            with contextlib.suppress(OSError):
                for number in itertools.count():
                    connection, _ = server.accept()
                    threading.Thread(target=one, args=(connection, number), daemon=True).start()

        def one(connection, number):
            with connection, contextlib.suppress(OSError):
                talk(connection, number)

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/predict"
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def asked(connection) -> bytes:
    """Head and body of one request; empty at the end of the connection."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(65536)
        if not piece:
            return b""
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
    while len(body) < size:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def says(*pieces: bytes):
    def talk(connection, number):
        asked(connection)
        for piece in pieces:
            connection.sendall(piece)

    return talk


def sent(url, body=b"abc", seconds=5.0, headers=None) -> Reply:
    client = PooledClient(url, 2)
    try:
        return client.send("POST", url, body, headers or {}, seconds, 2**20)
    finally:
        client.close()


def sized(body: bytes, head: bytes = b"") -> bytes:
    return OK + head + b"content-length: %d\r\n\r\n" % len(body) + body


WHOLE = {
    "sized": sized(b'{"a": 1}', b"Retry-After: 7\r\n"),
    "chunked": OK + b'transfer-encoding: chunked\r\n\r\n4\r\n{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n',
    "till the end": OK + b'connection: close\r\n\r\n{"a": 1}',
    "compressed": sized(gzip.compress(b'{"a": 1}'), b"content-encoding: gzip\r\n"),
}


@pytest.mark.parametrize("reply", WHOLE.values(), ids=WHOLE)
def test_a_whole_reply_is_read(reply):
    with serving(says(reply)) as url:
        got = sent(url)
    assert got.status == 200
    assert got.body == b'{"a": 1}'
    assert got.headers.get("retry-after") == ("7" if reply == WHOLE["sized"] else None)


def test_redirects_are_not_followed():
    head = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    with serving(says(head)) as url:
        assert sent(url).status == 302


def test_method_headers_and_body_arrive_and_connections_are_kept():
    got = []

    def talk(connection, number):
        while request := asked(connection):
            got.append((number, request))
            connection.sendall(sized(b"{}"))

    with serving(talk) as url:
        client = PooledClient(url, 2)
        for _ in range(3):
            client.send("PUT", url, b"\x00\xff", {"authorization": "Bearer x"}, 5.0, 99)
        client.close()
    assert [number for number, _ in got] == [0, 0, 0]
    assert got[0][1].startswith(b"PUT /predict HTTP/1.1\r\n")
    assert b"authorization: Bearer x" in got[0][1]
    assert got[0][1].endswith(b"\r\n\r\n\x00\xff")


BROKEN = {
    "nothing": ((), "RemoteDisconnected"),
    "half a head": ((OK,), None),
    "half a body": ((OK + b"content-length: 100\r\n\r\nabc",), "IncompleteRead"),
    "no HTTP": ((b"220 mail ready\r\n\r\n",), "BadStatusLine"),
}


@pytest.mark.parametrize(("pieces", "cause"), BROKEN.values(), ids=BROKEN)
def test_a_broken_reply_is_told_as_such(pieces, cause):
    with serving(says(*pieces)) as url:
        if cause is None:  # a head without an end is an empty reply for the standard library
            assert sent(url).body == b""
            return
        with pytest.raises(BrokenOffError, match=cause):
            sent(url)


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UnreachableError, match="NewConnectionError"):
        sent(f"http://127.0.0.1:{port}/")


def test_silence_and_dripping_end_at_the_time_limit():
    def silent(connection, number):
        asked(connection)
        time.sleep(3)

    def dripping(connection, number):
        asked(connection)
        connection.sendall(OK + b"content-length: 1000\r\n\r\n")
        for _ in range(60):
            connection.sendall(b"x")
            time.sleep(0.05)

    for talk in (silent, dripping):
        with serving(talk) as url:
            start = time.monotonic()
            with pytest.raises(TooSlowError):
                sent(url, seconds=0.4)
            assert time.monotonic() - start < 2.5


@pytest.mark.parametrize("packing", ["identity", "gzip"])
def test_a_reply_without_end_or_a_bomb_fills_no_memory(packing):
    body = bytes(2**27)
    body = gzip.compress(body, 1) if packing == "gzip" else body
    with serving(says(sized(body, b"content-encoding: %s\r\n" % packing.encode()))) as url:
        tracemalloc.start()
        with pytest.raises(NoAnswerError) as error:
            sent(url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert str(error.value) == (
        "answers with more than 1,048,576 bytes: raise max_answer_bytes if they are an answer"
    )
    assert peak < 2**24


@pytest.mark.parametrize("packing", ["gzip, gzip", "br", "zstd"])
def test_other_packings_are_refused_unread(packing):
    with serving(says(sized(b"abc", b"content-encoding: %s\r\n" % packing.encode()))) as url:
        with pytest.raises(NoAnswerError) as error:
            sent(url)
    assert str(error.value) == f"answers with encoding '{packing}', which was not requested"


def test_a_body_that_does_not_unpack():
    with (
        serving(says(sized(b"abcdefgh", b"content-encoding: gzip\r\n"))) as url,
        pytest.raises(NoAnswerError, match="answers with a body that does not unpack"),
    ):
        sent(url)


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    got = []

    def talk(connection, number):
        got.append(asked(connection))
        connection.sendall(sized(b"{}"))

    with serving(talk) as url:
        monkeypatch.setenv("http_proxy", url.replace("//", "//ann:s%20x@", 1))
        assert sent("http://model.invalid/predict").status == 200
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert sent(url).status == 200
    assert got[0].startswith(b"POST http://model.invalid/predict HTTP/1.1\r\n")
    assert b"Basic YW5uOnMgeA==" in got[0]  # "ann:s x"
    assert got[1].startswith(b"POST /predict HTTP/1.1\r\n")


def test_what_is_no_url():
    with pytest.raises(ValueError, match="url must be a URL, got 'http://a:port/'"):
        PooledClient("http://a:port/", 1)


def drips(head: bytes, piece: bytes):
    """Says `head`, and then `piece` again and again."""

    def talk(connection, number):
        asked(connection)
        connection.sendall(head)
        for _ in range(400):
            connection.sendall(piece)
            time.sleep(0.01)

    return talk


EMPTY_MEMBER = gzip.compress(b"")
DRIPS = {
    "status": (b"HTTP/1.1 2", b"0"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "head": (OK, b"x"),
    "size of a chunk": (OK + b"transfer-encoding: chunked\r\n\r\n", b"0"),
    "chunks": (OK + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "trailers": (OK + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    "body": (OK + b"content-length: 1000\r\n\r\n", b" "),
    "body without a length": (OK + b"connection: close\r\n\r\n", b" "),
    "packing that holds nothing": (
        OK + b"connection: close\r\ncontent-encoding: gzip\r\n\r\n",
        EMPTY_MEMBER,
    ),
}


@pytest.mark.parametrize(("head", "piece"), DRIPS.values(), ids=DRIPS)
def test_a_drip_of_any_part_ends_at_the_time_limit(head, piece):
    """No read takes as long as the limit: only a watch over the whole request ends these."""
    with serving(drips(head, piece)) as url:
        start = time.monotonic()
        with pytest.raises(TooSlowError):
            sent(url, seconds=0.3)
        assert time.monotonic() - start < 2.0


@pytest.mark.parametrize("wait", [0.0, 0.9])
def test_a_dripping_tls_handshake_ends_at_the_time_limit(monkeypatch, wait):
    """Behind a proxy that takes its time: the socket's time-out begins anew for a handshake."""

    def talk(connection, number):
        asked(connection)
        time.sleep(wait)
        connection.sendall(OK + b"\r\n")
        connection.recv(65536)
        connection.sendall(b"\x16\x03\x03\x40\x00")  # 16 KiB are to come
        for _ in range(400):
            connection.sendall(b"\x00")
            time.sleep(0.01)

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(talk) as url:
        monkeypatch.setenv("https_proxy", url)
        start = time.monotonic()
        with pytest.raises(TooSlowError):
            sent("https://model.invalid/", seconds=1.0)
        assert time.monotonic() - start < 1.6


def test_after_a_drip_the_client_asks_on():
    def talk(connection, number):
        while asked(connection):
            if number == 0:
                connection.sendall(OK + b"content-length: 1000\r\n\r\n")
                time.sleep(1.0)
                return
            connection.sendall(sized(b"{}"))

    with serving(talk) as url:
        client = PooledClient(url, 2)
        with pytest.raises(TooSlowError):
            client.send("POST", url, b"", {}, 0.2, 99)
        assert [client.send("POST", url, b"", {}, 5.0, 99).body for _ in range(3)] == [
            b"{}"
        ] * 3
        client.close()


ODD = {
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n{}", 200, b"{}"),
    "HTTP/1.0, kept": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}",
        200,
        b"{}",
    ),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
    "nothing to say": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "after a continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b"{}"), 200, b"{}"),
    "more than its length": (sized(b"{}") + b"{}", 200, b"{}"),
    "a wrong type": (sized(b"{}", b"content-type: text/html; charset=utf-16\r\n"), 200, b"{}"),
    "packed raw": (
        sized(
            zlib.compressobj(wbits=-15).flush() or b"",
            b"content-encoding: deflate\r\n",
        ),
        200,
        b"",
    ),
    "packed in parts": (
        sized(gzip.compress(b"{") + gzip.compress(b"}"), b"content-encoding: gzip\r\n"),
        200,
        b"{}",
    ),
}


@pytest.mark.parametrize(("reply", "status", "body"), ODD.values(), ids=ODD)
def test_odd_replies_are_read(reply, status, body):
    with serving(says(reply)) as url:
        got = sent(url)
    assert (got.status, got.body) == (status, body)


SPOILT = {
    "half a chunk": (OK + b"transfer-encoding: chunked\r\n\r\nff\r\nabc", BrokenOffError),
    "no size of a chunk": (OK + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc", BrokenOffError),
    "no end of chunks": (OK + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n", BrokenOffError),
    "two lengths": (OK + b"content-length: 2, 5\r\n\r\n{}", BrokenOffError),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BrokenOffError),
    "a secure greeting": (b"\x15\x03\x01\x00\x02\x02\x16", BrokenOffError),
    "a head without end": (OK + b"a: " + b"x" * 2**17, BrokenOffError),
    "too many lines": (OK + b"a: b\r\n" * 200 + b"\r\n", BrokenOffError),
    "half a packing": (
        sized(gzip.compress(bytes(99))[:12], b"content-encoding: gzip\r\n"),
        (NoAnswerError, Reply),
    ),
    "no packing": (sized(b"{}", b"content-encoding: deflate\r\n"), (NoAnswerError, Reply)),
    "no packing at all": (sized(b"{}" * 9, b"content-encoding: gzip\r\n"), NoAnswerError),
    "too long in chunks": (
        OK + b"transfer-encoding: chunked\r\n\r\n" + b"40000\r\n" + bytes(2**18) + b"\r\n" * 1,
        BrokenOffError,
    ),
}


@pytest.mark.parametrize(("reply", "error"), SPOILT.values(), ids=SPOILT)
def test_spoilt_replies_have_one_error(reply, error):
    with serving(says(reply)) as url:
        if isinstance(error, tuple):  # what was unpacked is no JSON, which the reader tells
            assert len(sent(url).body) < 99
            return
        with pytest.raises(error):
            sent(url)


def test_errors_show_nothing_of_what_was_sent():
    """The standard library's own texts hold the header."""
    headers = {"authorization": "Bearer s3cret\nx"}
    with serving(says(sized(b"{}"))) as url:
        with pytest.raises(BrokenOffError) as error:
            sent(url, headers=headers)
        with pytest.raises(BrokenOffError) as other:
            sent(url, headers={"authorization": "s3cret\u2026"})
    assert str(error.value) == "ValueError"
    assert str(other.value) == "UnicodeEncodeError"


def test_a_proxy_that_is_not_there_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://ann:s3cret@127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UnreachableError) as error:
        sent("http://model.invalid/")
    assert str(error.value).endswith(", through the proxy of http_proxy")
    assert "s3cret" not in str(error.value)
