"""An endpoint that means harm: numbers, charsets and headers that no service sends."""

import json

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import HttpOptions, HttpSuspect
from anw_jax.suspects.http.client import Reply
from anw_jax.suspects.http.replies import retry_after
from tests.suspects import twins

URL = "http://model.test/predict"
PICTURES = twins.photos(3).astype(np.float32) / np.float32(255)
OPTIONS = HttpOptions(max_attempts=2, in_flight=1, timeout_seconds=2, max_answer_bytes=2**20)


def says(handler) -> str:
    with twins.over_http(handler, options=OPTIONS) as suspect, pytest.raises(SuspectError) as e:
        suspect.answers(PICTURES)
    return str(e.value)


NUMBERS = {
    "digits": "1" * 5000,
    "large": "1" + "0" * 400,
}


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_too_large(number):
    scores = f'{{"scores": [{NUMBERS[number]}, 1, 1, 1, 1]}}'
    text = f'{{"predictions": [{", ".join([scores] * 3)}]}}'
    assert "number too large to be one" in says(lambda request: Reply(200, body=text.encode()))


@pytest.mark.parametrize("charset", ["zlib", "unicode_escape", "utf-16", "no such"])
def test_the_services_word_on_its_charset_is_not_taken(charset):
    def handler(request):
        body = json.dumps(twins.http_answer(request.content)).encode()
        return Reply(200, {"content-type": f"application/json; charset={charset}"}, body)

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
