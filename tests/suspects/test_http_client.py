"""The client on real sockets of this machine: what each trouble is called."""

import contextlib
import gzip
import itertools
import socket
import threading
import time
import tracemalloc

import pytest

from anw_jax.suspects.http_client import (
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
    assert str(error.value) == f"answers packed as '{packing}', which was not asked for"


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
