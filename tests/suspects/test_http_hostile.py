"""An endpoint that means harm: bombs, dribbles, and headers that no service sends."""

import gzip
import json
import tracemalloc

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import HttpOptions, HttpSuspect, http_reading
from anw_jax.suspects.http_pacing import retry_after
from tests.suspects import twins

httpx = pytest.importorskip("httpx", reason="httpx is an optional library")

URL = "http://model.test/predict"
PICTURES = twins.photos(3).astype(np.float32) / np.float32(255)
OPTIONS = HttpOptions(max_attempts=2, in_flight=1, timeout_seconds=2, max_answer_bytes=2**20)


class Pieces(httpx.SyncByteStream):
    """A body that comes in pieces."""

    def __init__(self, pieces, read=None):
        self._pieces, self._read = pieces, [] if read is None else read

    def __iter__(self):
        for piece in self._pieces:
            self._read.append(len(piece))
            yield piece


def says(handler) -> str:
    with twins.over_http(handler, options=OPTIONS) as suspect, pytest.raises(SuspectError) as e:
        suspect.answers(PICTURES)
    return str(e.value)


def test_a_body_without_end_is_not_read_to_its_end():
    read = []
    pieces = (b"[" * 2**16 for _ in range(10_000))
    said = says(lambda request: httpx.Response(200, stream=Pieces(pieces, read)))
    assert said == (
        f"{URL} answers with more than 1,048,576 bytes: raise max_answer_bytes if they are an "
        "answer"
    )
    assert sum(read) < 2 * 2**20


def test_a_bomb_does_not_go_off():
    bomb = gzip.compress(b"0" * 2**28)
    pieces = [bomb[start : start + 2**12] for start in range(0, len(bomb), 2**12)]
    tracemalloc.start()
    said = says(
        lambda request: httpx.Response(
            200, headers={"content-encoding": "gzip"}, stream=Pieces(pieces)
        )
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "answers with more than" in said
    assert peak < 2**26


@pytest.mark.parametrize("packing", ["gzip, gzip", "br", "zstd"])
def test_other_packings_are_refused_unread(packing):
    body = gzip.compress(gzip.compress(b"0"))
    said = says(
        lambda request: httpx.Response(
            200, headers={"content-encoding": packing}, stream=Pieces([body])
        )
    )
    assert said == f"{URL} answers packed as '{packing}', which was not asked for"


def test_a_packed_answer_is_read():
    def handler(request):
        assert request.headers["accept-encoding"] == "gzip, deflate"
        body = gzip.compress(json.dumps(twins.http_answer(request.content)).encode())
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Pieces([body]))

    with twins.over_http(handler, options=OPTIONS) as suspect:
        assert len(suspect.answers(PICTURES)) == 3


def test_a_body_that_does_not_unpack():
    said = says(
        lambda request: httpx.Response(
            200, headers={"content-encoding": "gzip"}, stream=Pieces([b"no gzip"])
        )
    )
    assert said == f"{URL} answers with a body that does not unpack"


def test_a_byte_now_and_then_is_no_answer_in_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(http_reading.read_reply, "__defaults__", (lambda: now[0],))

    def dribble():
        for _ in range(1000):
            now[0] += 0.5
            yield b" "

    said = says(lambda request: httpx.Response(200, stream=Pieces(dribble())))
    assert said == f"{URL} does not answer within 2 s, in 2 attempts"
    assert now[0] < 10


NUMBERS = {
    "digits": "1" * 5000,
    "large": "1" + "0" * 400,
}


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_too_large(number):
    scores = f'{{"scores": [{NUMBERS[number]}, 1, 1, 1, 1]}}'
    text = f'{{"predictions": [{", ".join([scores] * 3)}]}}'
    assert "number too large to be one" in says(lambda request: httpx.Response(200, text=text))


@pytest.mark.parametrize("charset", ["zlib", "unicode_escape", "utf-16", "no such"])
def test_the_services_word_on_its_charset_is_not_taken(charset):
    def handler(request):
        body = json.dumps(twins.http_answer(request.content)).encode()
        return httpx.Response(
            200, headers={"content-type": f"application/json; charset={charset}"}, content=body
        )

    with twins.over_http(handler, options=OPTIONS) as suspect:
        assert len(suspect.answers(PICTURES)) == 3


@pytest.mark.parametrize(
    "header",
    [
        "\u00b2",
        "\u0663",
        "-1",
        "9" * 5000,
        "",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Mon, x",
        "0 " * 9,
    ],
)
def test_a_waiting_time_that_is_none(header):
    assert retry_after(header, 2e9) in (None, 0.0)


def test_a_password_in_the_url_is_refused_and_not_shown():
    with pytest.raises(ValueError, match="give them as a header") as error:
        HttpSuspect("https://ann:secret@model.test/", twins.NHWC)
    assert "secret" not in str(error.value)


def test_a_redirect_is_not_followed_even_by_a_client_that_would():
    asked = []

    def handler(request):
        asked.append(str(request.url))
        return httpx.Response(302, headers={"location": "http://inside.test/"})

    client = httpx.Client(transport=httpx.MockTransport(handler), follow_redirects=True)
    with (
        HttpSuspect(
            URL,
            twins.NHWC,
            client=client,
            options=OPTIONS,
            request=twins.REQUEST,
            answer=twins.ANSWER,
        ) as suspect,
        pytest.raises(SuspectError, match="answers with status 302"),
    ):
        suspect.answers(PICTURES[:1])
    assert asked == [URL]
